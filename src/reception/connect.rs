//! The server side of a new connection: a place at a server, and reaching it.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, SockAddr, Type};
use tokio::time::{Instant, sleep};

use super::arrival::Arrival;
use super::handshake;
use super::listen::{NOTSENT_LEN_BYTES, RECEIVE_LEN_BYTES};
use super::proxy_header::Origin;
use super::refusal::Refusal;
use super::snapshot::RoutedBackend;
use super::socket::driver::{Driver, Interest, until};
use super::socket::{Half, Socket};
use crate::config::{BackendServer, BackendTimeouts, Mode};
use crate::journal::{Cause, Timing};
use crate::proto::addr::PeerAddr;
use crate::proto::proxy::{self, Addresses, Header, Ssl, Tlvs};
use crate::relay::Timeouts;
use crate::tls::terms::Terms;
use crate::upstream::{Address, Denied, InLine, Lineup, Member, MemberId, Reservation, Upstream};

/// A full accept queue of a unix socket gives no readiness, so it is asked again after this time.
const UNIX_BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// Returns when silence ends a tunnel.
#[must_use]
pub(super) fn tunnel_timeouts(timeouts: &BackendTimeouts) -> Timeouts {
    Timeouts {
        idle: timeouts.tunnel_idle,
        half_close: timeouts.half_close,
    }
}

/// The search of one request for a server that can be reached.
pub(super) struct Search<'a> {
    /// The backend.
    pub(super) upstream: &'a Arc<Upstream>,
    /// Which configuration of it the route means.
    edition: u32,
    /// The backend as it was when the search began.
    pub(super) lineup: Arc<Lineup>,
    client: &'a Socket,
    mode: Mode,
    half: Half,
    client_ip: Option<IpAddr>,
    tried: Vec<MemberId>,
    /// What it took so far.
    timing: &'a Cell<Timing>,
    /// In attempts to connect.
    spent: Duration,
    /// What came of the last try.
    refusal: Option<Refusal>,
}

impl<'a> Search<'a> {
    /// Begins a search for a request of `speaker` that came on `arrival`, for which its end means what
    /// `half` says.
    #[must_use]
    pub(super) fn new(
        RoutedBackend { upstream, edition }: RoutedBackend<'a>,
        arrival: &'a Arrival,
        half: Half,
        speaker: PeerAddr,
        timing: &'a Cell<Timing>,
    ) -> Self {
        Self {
            upstream,
            edition,
            lineup: upstream.lineup(),
            client: &arrival.socket,
            mode: arrival.listener().mode,
            half,
            client_ip: speaker.ip(),
            tried: Vec::new(),
            timing,
            spent: Duration::ZERO,
            refusal: None,
        }
    }

    /// Gets a place at a server that was not tried yet; waits in the queue where there is none. None =
    /// the backend has been configured otherwise since it was chosen, and what is a server of it now
    /// may belong to somebody else.
    ///
    /// # Errors
    /// Nobody may get the request, nobody is left to try, the wait was too long, or the client left.
    pub(super) async fn place(&mut self) -> Result<Option<Reservation>, Refusal> {
        let began = Instant::now();
        let tell = |line: InLine| {
            self.note(|timing| {
                timing.server_queue += line.for_server;
                timing.backend_queue += line.for_backend;
            });
        };
        let upstream = self.upstream;
        let placing = upstream.place_telling(self.client_ip, &self.tried, tell);
        let placed = tokio::select! {
            biased;
            placed = placing => placed,
            () = self.client.leaving(self.half) => {
                return Err(Refusal::new(Cause::ClientClosed, "the client left the queue"));
            }
        };
        self.note(|timing| {
            let waited = began.elapsed();
            timing.queue = Some(timing.queue.unwrap_or_default() + waited);
        });
        let edition = match &placed {
            Ok(place) => place.edition(),
            Err(_) => self.upstream.lineup().edition,
        };
        if edition != self.edition {
            return Ok(None);
        }
        placed
            .map(Some)
            .map_err(|denied| match (denied, self.refusal.take()) {
                (Denied::AllTried, Some(refusal)) => refusal,
                (Denied::AllTried, None) => {
                    Refusal::new(Cause::NoServer, "no server is left to try")
                }
                (Denied::Nobody(why), _) => Refusal::new(Cause::NoServer, why),
                (Denied::QueueFull, _) => Refusal::new(Cause::QueueFull, ""),
                (Denied::QueueTimeout, _) => Refusal::new(Cause::QueueTimeout, ""),
            })
    }

    /// Connects to the server that `place` is at; none = it cannot be reached, but another may be.
    /// `preface` is what it gets first, and empty afterwards if it has gone: before a TLS handshake.
    ///
    /// # Errors
    /// It cannot be reached, and no other server is to be tried.
    pub(super) async fn connect(
        &mut self,
        place: &Reservation,
        driver: Driver,
        preface: &mut Vec<u8>,
    ) -> Result<Option<Socket>, Refusal> {
        let member = place.member();
        let began = Instant::now();
        let deadline = began + self.lineup.backend.timeouts.connect;
        let mut opened = until(deadline, open(member, driver)).await;
        if let Ok(Ok(socket)) = opened {
            let secured = self.secure(member, socket, preface, deadline).await;
            opened = Ok(secured.map_err(|refusal| (Fault::Server, refusal)));
        }
        self.spent += began.elapsed();
        let (fault, refusal) = match opened {
            Ok(Ok(socket)) => {
                member.traffic.note_connected();
                self.note_reached(member, self.spent);
                return Ok(Some(socket));
            }
            Ok(Err(failed)) => failed,
            Err(_) => (Fault::Server, Refusal::new(Cause::ConnectTimeout, "")),
        };
        let refusal = refusal.at_server(member);
        match fault {
            // Another server would not help.
            Fault::Machine => return Err(refusal),
            Fault::Way => {}
            Fault::Server => place.note_refused(),
        }
        if self.tried.len() >= self.lineup.backend.retries {
            return Err(refusal);
        }
        tracing::debug!(
            backend = %self.upstream.name,
            server = %member.name,
            cause = refusal.cause.as_str(),
            "another server is tried"
        );
        self.tried.push(member.id());
        self.note(|timing| {
            timing.retries += 1;
            timing.redispatched = true;
        });
        self.refusal = Some(refusal);
        Ok(None)
    }

    /// Opens TLS on a connection to a server that speaks it.
    async fn secure(
        &self,
        member: &Member,
        mut socket: Socket,
        preface: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<Socket, Refusal> {
        let Some(tls) = &member.tls else {
            return Ok(socket);
        };
        let securing = async {
            let sent = socket.send_all(preface).await;
            sent.map_err(Refusal::server_gone)?;
            handshake::with_server(&mut socket, tls, self.mode == Mode::Http).await
        };
        match until(deadline, securing).await {
            Ok(secured) => secured?,
            Err(_) => {
                let detail = "the server's end of the handshake did not come";
                return Err(Refusal::new(Cause::ServerTlsTimeout, detail));
            }
        }
        preface.clear();
        Ok(socket)
    }
}

impl Search<'_> {
    /// Notes that there is a connection to `member`, which took so long: none, where one was kept.
    pub(super) fn note_reached(&self, member: &Member, spent: Duration) {
        let active = |member: &Member| member.traffic.active();
        self.note(|timing| {
            timing.connect = Some(spent);
            timing.connections.server = active(member);
            let seats = self.lineup.seats.iter();
            timing.connections.backend = seats.map(|seat| active(&seat.member)).sum();
        });
    }

    fn note(&self, change: impl FnOnce(&mut Timing)) {
        let mut timing = self.timing.get();
        change(&mut timing);
        self.timing.set(timing);
    }
}

/// Writes the PROXY header that `server` wants before anything else, if it wants one.
pub(super) fn introduce(
    server: &BackendServer,
    client: PeerAddr,
    origin: &Origin,
    arrived_on: &Socket,
    out: &mut Vec<u8>,
) {
    let Some(version) = server.send_proxy else {
        return;
    };
    let destination = origin
        .destination
        .map_or_else(|| arrived_on.local(), PeerAddr::from);
    let header = Header {
        addresses: Addresses::between(client, destination),
        tlvs: tlvs(&origin.tlvs, arrived_on.terms()),
    };
    proxy::encode(version, &header, out);
}

/// Returns what a PROXY header says besides: what a believed one said, and of TLS that ended here
/// what we know at first hand.
fn tlvs(believed: &Tlvs, terms: Option<&Terms>) -> Tlvs {
    let unique_id = believed.unique_id.clone();
    let Some(terms) = terms else {
        return Tlvs {
            alpn: believed.alpn.clone(),
            authority: believed.authority.clone(),
            unique_id,
            ..Tlvs::default()
        };
    };
    let client = terms.client.as_ref();
    Tlvs {
        alpn: terms.alpn.clone(),
        authority: (terms.server_name.clone()).or_else(|| believed.authority.clone()),
        unique_id,
        ssl: Some(Ssl {
            over_tls: true,
            client_verified: client.is_some(),
            resumed: terms.resumed,
            version: Some(terms.version_name().to_owned()),
            common_name: client.and_then(|client| client.common_name.clone()),
            cipher: terms.cipher.map(str::to_owned),
        }),
        ..Tlvs::default()
    }
}

/// Why a connection could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// This machine has nothing left to open connections with.
    Machine,
    /// No address or port of ours leads to this server; another one may be reached.
    Way,
    /// The server, or what is between.
    Server,
}

async fn open(member: &Member, driver: Driver) -> Result<Socket, (Fault, Refusal)> {
    match &member.address {
        Address::Inet(addr) => open_inet(*addr, member, driver).await,
        Address::Unix(path) => open_unix(path, driver).await.map_err(not_opened),
    }
}

/// Connects to `addr`, from each address of ours in turn as long as it has no port left.
async fn open_inet(
    addr: SocketAddr,
    member: &Member,
    driver: Driver,
) -> Result<Socket, (Fault, Refusal)> {
    let fitting = |ip: &&IpAddr| ip.is_ipv4() == addr.is_ipv4();
    let sources: Vec<IpAddr> = member
        .server
        .source
        .iter()
        .filter(fitting)
        .copied()
        .collect();
    if sources.is_empty() {
        let socket = stream_to(addr).map_err(not_opened)?;
        return connect(socket, addr, driver).await.map_err(not_opened);
    }
    let turn = member.traffic.next_source();
    let mut failed = None;
    for step in 0..sources.len() {
        // In range, for there is at least one.
        let Some(ip) = sources.get(turn.wrapping_add(step) % sources.len()) else {
            break;
        };
        let socket = stream_to(addr).map_err(not_opened)?;
        let opened = match set_source(&socket, *ip) {
            Ok(()) => connect(socket, addr, driver).await,
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                let detail = format!("the source address {ip} cannot be used: {error}");
                failed = Some((Fault::Way, Refusal::new(Cause::OutOfResources, detail)));
            }
            opened => return opened.map_err(not_opened),
        }
    }
    Err(failed.unwrap_or_else(|| (Fault::Way, Refusal::new(Cause::InternalError, "no source"))))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_opened(error: io::Error) -> (Fault, Refusal) {
    let (fault, cause) = match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => (Fault::Server, Cause::ConnectRefused),
        Some(libc::ETIMEDOUT) => (Fault::Server, Cause::ConnectTimeout),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            (Fault::Machine, Cause::OutOfResources)
        }
        // Ports are counted for each server.
        Some(libc::EADDRNOTAVAIL) => (Fault::Way, Cause::OutOfResources),
        _ => (Fault::Server, Cause::ConnectFailed),
    };
    (fault, Refusal::new(cause, format!("connect: {error}")))
}

fn stream_to(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LEN_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_LEN_BYTES)?;
    Ok(socket)
}

fn set_source(socket: &socket2::Socket, ip: IpAddr) -> io::Result<()> {
    // The port is chosen at connect, so that one port serves many servers (ip(7)).
    setsockopt(socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(ip, 0).into())
}

async fn connect(socket: socket2::Socket, addr: SocketAddr, driver: Driver) -> io::Result<Socket> {
    let started = socket.connect(&addr.into());
    let socket = Socket::new(socket.into(), driver);
    match started {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            socket.wait(Interest::Writable).await?;
            socket.take_error()?;
        }
        result => result?,
    }
    Ok(socket)
}

async fn open_unix(path: &PathBuf, driver: Driver) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    loop {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        match socket.connect(&address) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                sleep(UNIX_BACKLOG_PAUSE).await;
            }
            result => return result.map(|()| Socket::new(socket.into(), driver)),
        }
    }
}
