//! Resolution of servers' names.
//!
//! [`Resolution::ask`] asks hosts(5) and then DNS; [`Watch`] decides what an answer changes and when the next
//! question is due, without a clock or a socket. After any failure, the last addresses stay in use.
//!
//! - A and AAAA are both asked for; each address is a server. An address that this machine has no
//!   route to is left out while the name has others.
//! - `localhost`, and every name under it, is 127.0.0.1, without a question.
//! - SRV (RFC 2782): the servers of the lowest priority of which any has an address. Weights are
//!   scaled down to at most 256; 0 counts as the smallest share there is.
//! - resolv.conf(5) and hosts(5) are read again at every question.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::task::Poll;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::timeout;

use crate::config::{ServerAddress, duration_text};

/// Shortest time between two questions, whatever the TTL; a TTL of 0 is in use for "now only".
const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest time between two questions, so that a mistaken TTL does not outlive the day.
const TTL_MAX: Duration = Duration::from_hours(1);
/// Pause after the first unanswered question; doubled with each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause after an unanswered question.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Time limit of one question to DNS, including retries and search domains.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long an entry of hosts(5) is used, because it carries no TTL.
const HOSTS_TTL: Duration = Duration::from_secs(30);
/// Time limit of an SRV question and the concurrent questions for its targets.
const SERVICE_TIME_MAX: Duration = Duration::from_secs(10);
/// Time a name server of `nameservers` has before it, or the next, is asked again.
const NAMESERVER_TIME: Duration = Duration::from_secs(1);
/// Servers that one name may stand for; further ones are left out.
const ENDPOINTS_MAX: usize = 256;
/// Targets of SRV records that are looked up.
const TARGETS_MAX: usize = 64;
/// Highest weight of a server (`backend.server.weight`).
const WEIGHT_MAX: u16 = 256;

/// One address and port that a name resolves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address and port.
    pub addr: SocketAddr,
    /// The weight from an SRV record, 1 to 256; none = the server's own.
    pub weight: Option<u16>,
}

/// The endpoints a name resolves to, sorted, without duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAnswer {
    /// The endpoints, at least one.
    pub endpoints: Vec<Endpoint>,
    /// How long the answer is valid.
    pub ttl: Duration,
}

/// The means to resolve one name repeatedly.
#[derive(Debug)]
pub struct Resolution {
    wanted: Wanted,
    nameservers: Vec<SocketAddr>,
    /// The last addresses of each host, for use when a family or a target gets no answer.
    last: HashMap<String, Vec<IpAddr>>,
}

/// The addresses of a host with their TTL, or why there are none.
type Found = Result<(Vec<IpAddr>, Duration), String>;

#[derive(Debug, Clone)]
enum Wanted {
    Host(String, u16),
    Service(String),
}

impl Resolution {
    /// Prepares questions for a server's name, to `nameservers` or, if there are none, to those of
    /// resolv.conf(5); none for an address that needs no questions.
    #[must_use]
    pub fn new(address: &ServerAddress, nameservers: &[SocketAddr]) -> Option<Self> {
        let wanted = match address {
            ServerAddress::Inet(..) | ServerAddress::Unix(_) => return None,
            ServerAddress::Name(name, port) => Wanted::Host(name.clone(), *port),
            ServerAddress::Srv(name) => Wanted::Service(name.clone()),
        };
        Some(Self {
            wanted,
            nameservers: nameservers.to_vec(),
            last: HashMap::new(),
        })
    }

    /// Asks once, for some seconds at most.
    ///
    /// # Errors
    /// Why there is no answer, or that the answer has no address.
    pub async fn ask(&mut self) -> Result<NameAnswer, String> {
        match self.wanted.clone() {
            Wanted::Host(name, port) => {
                let (ips, ttl) = self.host(&name).await?;
                self.last.insert(name, ips.clone());
                let here = |ip| Endpoint {
                    addr: SocketAddr::new(ip, port),
                    weight: None,
                };
                answer(ips.into_iter().map(here).collect(), ttl)
            }
            Wanted::Service(name) => {
                let late = || format!("is not answered within {}", duration_text(SERVICE_TIME_MAX));
                let asking = timeout(SERVICE_TIME_MAX, self.service(&name));
                asking.await.map_err(|_| late())?
            }
        }
    }

    async fn service(&mut self, name: &str) -> Result<NameAnswer, String> {
        let records = self.records(name, RecordType::SRV).await?;
        let mut targets: Vec<SRV> = records.iter().filter_map(target).collect();
        if targets.is_empty() {
            return Err(records.why_none("has no SRV record that names a server"));
        }
        targets.sort_by_key(|srv| srv.priority);
        targets.truncate(TARGETS_MAX);
        let names: HashSet<String> = targets.iter().map(|srv| srv.target.to_ascii()).collect();
        self.last.retain(|host, _| names.contains(host));
        let hosts = self.hosts(names).await;
        for (host, found) in &hosts {
            if let Ok((ips, _)) = found {
                self.last.insert(host.clone(), ips.clone());
            }
        }
        let (mut ttl, mut why) = (records.ttl, String::new());
        for group in targets.chunk_by(|a, b| a.priority == b.priority) {
            let weights: Vec<u16> = group.iter().map(|srv| srv.weight).collect();
            let mut endpoints = Vec::new();
            for (srv, weight) in group.iter().zip(scaled(&weights)) {
                match hosts.get(&srv.target.to_ascii()) {
                    Some(Ok((ips, host_ttl))) => {
                        ttl = ttl.min(*host_ttl);
                        endpoints.extend(ips.iter().map(|ip| Endpoint {
                            addr: SocketAddr::new(*ip, srv.port),
                            weight: Some(weight),
                        }));
                    }
                    Some(Err(wrong)) => {
                        ttl = ttl.min(RETRY_MAX);
                        why = format!("{} {wrong}", srv.target);
                    }
                    None => {}
                }
            }
            if !endpoints.is_empty() {
                return answer(endpoints, ttl);
            }
        }
        Err(why)
    }

    /// Resolves hosts concurrently, so that silent name servers do not use up the time of others.
    async fn hosts(&self, names: HashSet<String>) -> HashMap<String, Found> {
        let mut asking: Vec<_> = names
            .into_iter()
            .map(|name| Box::pin(async move { (self.host(&name).await, name) }))
            .collect();
        let mut hosts = HashMap::new();
        poll_fn(|context| {
            asking.retain_mut(|host| match host.as_mut().poll(context) {
                Poll::Ready((found, name)) => {
                    hosts.insert(name, found);
                    false
                }
                Poll::Pending => true,
            });
            if asking.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        hosts
    }

    /// Returns the addresses of a host; a family without an answer keeps its last ones.
    async fn host(&self, name: &str) -> Found {
        if is_localhost(name) {
            return Ok((vec![Ipv4Addr::LOCALHOST.into()], TTL_MAX));
        }
        if let Some(ips) = in_hosts_file(name) {
            return Ok((ips, HOSTS_TTL));
        }
        let (v4, v6) = tokio::join!(
            self.records(name, RecordType::A),
            self.records(name, RecordType::AAAA)
        );
        let last = self.last.get(name).map_or(&[][..], Vec::as_slice);
        let found = merged(v4.map(|it| it.ips()), v6.map(|it| it.ips()), last)?;
        let ips = routable(found.ips);
        Ok((ips, found.ttl))
    }

    /// Asks DNS for records of one type.
    async fn records(&self, name: &str, kind: RecordType) -> Result<Records, String> {
        let resolver = self.resolver().map_err(|error| error.to_string())?;
        let name = Name::from_ascii(name).map_err(|error| error.to_string())?;
        match timeout(ANSWER_TIME_MAX, resolver.lookup(name, kind)).await {
            Ok(Ok(lookup)) => Ok(Records::of(lookup.answers())),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => Ok(Records {
                data: Vec::new(),
                ttl: TTL_MAX,
                exists: none.response_code != ResponseCode::NXDomain,
            }),
            Ok(Err(NetError::Dns(DnsError::ResponseCode(code)))) => {
                Err(format!("is not answered: the name server says {code}"))
            }
            Ok(Err(error)) => Err(format!("is not answered: {error}")),
            Err(_) => Err(format!(
                "is not answered within {}",
                duration_text(ANSWER_TIME_MAX)
            )),
        }
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.nameservers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let mut config = ResolverConfig::default();
            for addr in &self.nameservers {
                config.add_name_server(nameserver(*addr));
            }
            let provider = TokioRuntimeProvider::default();
            let mut builder = TokioResolver::builder_with_config(config, provider);
            builder.options_mut().timeout = NAMESERVER_TIME;
            builder
        };
        let options: &mut ResolverOpts = builder.options_mut();
        // We do both ourselves: hosts(5) comes first for both families, and an expired TTL is final.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        // The TTL of a CNAME counts, too.
        options.preserve_intermediates = true;
        builder.build()
    }
}

fn nameserver(addr: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = addr.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(addr.ip(), true, connections)
}

/// Records of one name and type, aliases too.
#[derive(Debug, Clone)]
struct Records {
    data: Vec<RData>,
    ttl: Duration,
    exists: bool,
}

impl Records {
    fn of(records: &[Record]) -> Self {
        let ttl = records.iter().map(|record| record.ttl).min();
        Self {
            data: records.iter().map(|record| record.data.clone()).collect(),
            ttl: ttl.map_or(TTL_MAX, |secs| Duration::from_secs(secs.into())),
            exists: true,
        }
    }

    fn iter(&self) -> impl Iterator<Item = &RData> {
        self.data.iter()
    }

    fn ips(&self) -> Ips {
        Ips {
            ips: self.iter().filter_map(RData::ip_addr).collect(),
            ttl: self.ttl,
            exists: self.exists,
        }
    }

    fn why_none(&self, otherwise: &str) -> String {
        if self.exists {
            otherwise.to_owned()
        } else {
            "does not exist".to_owned()
        }
    }
}

/// Returns the target of a record; none if it says that there is no such service (RFC 2782).
fn target(data: &RData) -> Option<SRV> {
    let RData::SRV(srv) = data else {
        return None;
    };
    (!srv.target.is_root() && srv.port != 0).then(|| srv.clone())
}

/// Addresses of one family, or of both.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ips {
    ips: Vec<IpAddr>,
    ttl: Duration,
    exists: bool,
}

/// Merges both families; a family without an answer keeps its addresses of `last`.
fn merged(
    v4: Result<Ips, String>,
    v6: Result<Ips, String>,
    last: &[IpAddr],
) -> Result<Ips, String> {
    let stale = |fits: fn(&IpAddr) -> bool| Ips {
        ips: last.iter().copied().filter(fits).collect(),
        ttl: RETRY_MAX,
        exists: true,
    };
    let (mut both, other) = match (v4, v6) {
        (Ok(v4), Ok(v6)) => (v4, v6),
        (Ok(v4), Err(why)) if v4.ips.is_empty() && !last.iter().any(IpAddr::is_ipv6) => {
            return Err(why);
        }
        (Err(why), Ok(v6)) if v6.ips.is_empty() && !last.iter().any(IpAddr::is_ipv4) => {
            return Err(why);
        }
        (Ok(v4), Err(_)) => (v4, stale(IpAddr::is_ipv6)),
        (Err(_), Ok(v6)) => (stale(IpAddr::is_ipv4), v6),
        (Err(why), Err(_)) => return Err(why),
    };
    both.ips.extend(other.ips);
    both.ttl = both.ttl.min(other.ttl);
    both.exists &= other.exists;
    match (both.ips.is_empty(), both.exists) {
        (false, _) => Ok(both),
        (true, true) => Err("has no address".to_owned()),
        (true, false) => Err("does not exist".to_owned()),
    }
}

/// Leaves out addresses to which this machine has no route, unless all are such.
fn routable(ips: Vec<IpAddr>) -> Vec<IpAddr> {
    let reached: Vec<IpAddr> = ips.iter().copied().filter(|ip| has_route(*ip)).collect();
    if reached.is_empty() { ips } else { reached }
}

/// Asks the kernel for a route; nothing is sent. Only a definite no counts.
fn has_route(ip: IpAddr) -> bool {
    let any = match ip {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let connected = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((ip, 1)));
    let no = |error: &io::Error| {
        let code = error.raw_os_error();
        matches!(
            code,
            Some(libc::ENETUNREACH | libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
        )
    };
    !connected.is_err_and(|error| no(&error))
}

/// Returns whether a name is one of those that RFC 6761 section 6.3 reserves for the local host.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Returns the addresses of hosts(5); a name listed there is not resolved elsewhere.
fn in_hosts_file(name: &str) -> Option<Vec<IpAddr>> {
    let hosts = Hosts::from_system().ok()?;
    let name = Name::from_ascii(name).ok()?;
    let of = |kind| {
        let found = hosts.lookup_static_host(&Query::query(name.clone(), kind));
        found.map_or_else(Vec::new, |it| Records::of(it.answers()).ips().ips)
    };
    let ips = [of(RecordType::A), of(RecordType::AAAA)].concat();
    (!ips.is_empty()).then_some(ips)
}

/// Scales weights of SRV records to 1..=256, in proportion as far as possible.
fn scaled(weights: &[u16]) -> Vec<u16> {
    let highest = u32::from(weights.iter().copied().max().unwrap_or(0).max(WEIGHT_MAX));
    let scale = |weight: &u16| {
        let share = (u32::from(*weight) * u32::from(WEIGHT_MAX)).div_ceil(highest);
        u16::try_from(share).unwrap_or(WEIGHT_MAX).max(1)
    };
    weights.iter().map(scale).collect()
}

fn answer(mut endpoints: Vec<Endpoint>, ttl: Duration) -> Result<NameAnswer, String> {
    endpoints.sort_unstable();
    endpoints.dedup_by_key(|endpoint| endpoint.addr);
    endpoints.truncate(ENDPOINTS_MAX);
    Ok(NameAnswer { endpoints, ttl })
}

/// The state of a name over time.
#[derive(Debug, Default)]
pub struct Watch {
    endpoints: Vec<Endpoint>,
    unanswered: u32,
    /// Why the last question had no answer.
    wrong: Option<String>,
}

/// What an answer, or its absence, changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// The name has other endpoints than before.
    Changed,
    /// The endpoints are as before, after questions without an answer.
    Again,
    /// There is no answer, and the last endpoints stay; reported once per reason.
    Unanswered(String),
}

impl Watch {
    /// Returns the last known endpoints of the name.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Returns why the last question had no answer; none if it had one.
    #[must_use]
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// Processes the result of a question; returns what changed, and when to ask again.
    pub fn learn(&mut self, result: Result<NameAnswer, String>) -> (News, Duration) {
        match result {
            Ok(answer) => {
                self.unanswered = 0;
                let was_wrong = self.wrong.take().is_some();
                let news = match (self.endpoints == answer.endpoints, was_wrong) {
                    (false, _) => News::Changed,
                    (true, true) => News::Again,
                    (true, false) => News::Nothing,
                };
                self.endpoints = answer.endpoints;
                (news, answer.ttl.clamp(TTL_MIN, TTL_MAX))
            }
            Err(why) => {
                let pause = RETRY_MIN * 2_u32.saturating_pow(self.unanswered.min(8));
                self.unanswered = self.unanswered.saturating_add(1);
                let known = self.wrong.as_ref() == Some(&why);
                self.wrong = Some(why.clone());
                let news = if known {
                    News::Nothing
                } else {
                    News::Unanswered(why)
                };
                (news, pause.min(RETRY_MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests;
