//! The server side of a new connection: whose turn it is, and reaching it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};
use tokio::time::{Instant, sleep};

use super::driver::{Driver, Interest, until};
use super::listen::{NOTSENT_LEN_BYTES, RECEIVE_LEN_BYTES};
use super::proxy_header::Origin;
use super::refusal::Refusal;
use super::socket::Socket;
use crate::balance::{Asking, Candidate, Chooser, Load, Method, Pick};
use crate::config::{Backend, BackendId, BackendServer, ServerAddress};
use crate::journal::Cause;
use crate::proto::addr::PeerAddr;
use crate::proto::proxy::{self, Addresses, Header, Ssl, Tlvs};
use crate::relay::Timeouts;
use crate::tls::terms::Terms;

/// A full accept queue of a unix socket gives no readiness, so it is asked again after this time.
const UNIX_BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// A backend as reception threads share it.
#[derive(Debug)]
pub struct Upstream {
    /// What the configuration says of it.
    pub backend: Backend,
    chooser: Chooser,
    ticket: AtomicUsize,
    addresses: Vec<Address>,
}

#[derive(Debug, Clone)]
enum Address {
    Inet(SocketAddr),
    Unix(PathBuf),
}

/// A name that has no address.
#[derive(Debug, thiserror::Error)]
#[error("backend '{backend}': server '{server}': {reason}")]
pub struct Unresolved {
    backend: Arc<str>,
    server: Arc<str>,
    reason: String,
}

impl Upstream {
    /// Prepares a backend; names are looked up now, once.
    ///
    /// # Errors
    /// A name does not resolve.
    pub fn new(backend: Backend) -> Result<Self, Unresolved> {
        let mut addresses = Vec::with_capacity(backend.servers.len());
        for server in &backend.servers {
            addresses.push(resolve(&server.address).map_err(|reason| Unresolved {
                backend: Arc::clone(&backend.name),
                server: Arc::clone(&server.name),
                reason,
            })?);
        }
        let method = match backend.balance {
            Method::Source => Method::Source,
            Method::RoundRobin | Method::LeastConnections | Method::RandomTwo | Method::Maglev => {
                Method::RoundRobin
            }
        };
        let candidates: Vec<Candidate<'_>> = backend
            .servers
            .iter()
            .map(|server| Candidate {
                key: &server.name,
                weight: server.weight,
            })
            .collect();
        Ok(Self {
            chooser: Chooser::new(method, &candidates),
            ticket: AtomicUsize::new(0),
            backend,
            addresses,
        })
    }

    /// Returns the place of the server for `client`: the one its address always gets, or the next in
    /// turn.
    fn choose(&self, client: PeerAddr) -> Option<usize> {
        let asking = Asking {
            client: client.ip(),
            ticket: self.ticket.fetch_add(1, Ordering::Relaxed),
            random: 0,
        };
        match self.chooser.choose(&asking, |_| Load::Active(0)) {
            Pick::Server(place) => Some(place),
            Pick::Wait(_) | Pick::Nobody => None,
        }
    }

    /// Returns when silence ends a tunnel to it.
    #[must_use]
    pub(super) fn tunnel_timeouts(&self) -> Timeouts {
        let timeouts = &self.backend.timeouts;
        Timeouts {
            idle: timeouts.tunnel_idle,
            half_close: timeouts.half_close,
        }
    }

    /// Returns the place of the server that a new request of `client` goes to.
    ///
    /// # Errors
    /// No server may be used.
    pub(super) fn turn(&self, client: PeerAddr) -> Result<usize, Refusal> {
        self.choose(client)
            .ok_or_else(|| Refusal::new(Cause::NoServer, "every server has weight 0"))
    }

    /// Connects to a server for `client`.
    ///
    /// # Errors
    /// No server may be used, or it cannot be reached within `timeouts.connect`.
    pub(super) async fn connect(
        &self,
        client: PeerAddr,
        driver: Driver,
    ) -> Result<(Socket, &BackendServer), Refusal> {
        self.connect_to(self.turn(client)?, driver).await
    }

    /// Connects to the server at a place that [`Upstream::turn`] named.
    ///
    /// # Errors
    /// It cannot be reached within `timeouts.connect`.
    pub(super) async fn connect_to(
        &self,
        place: usize,
        driver: Driver,
    ) -> Result<(Socket, &BackendServer), Refusal> {
        let found = (self.backend.servers.get(place)).zip(self.addresses.get(place));
        let (server, address) =
            found.ok_or_else(|| Refusal::new(Cause::InternalError, "there is no such server"))?;
        let deadline = Instant::now() + self.backend.timeouts.connect;
        let opening = open(address, driver);
        let refusal = match until(deadline, opening).await {
            Ok(Ok(socket)) => return Ok((socket, server)),
            Ok(Err(error)) => Refusal::new(cause_of(&error), format!("connect: {error}")),
            Err(_) => Refusal::new(Cause::ConnectTimeout, ""),
        };
        Err(refusal.at_server(server))
    }
}

/// Returns the backend that a route names.
///
/// # Errors
/// Never with a parsed configuration, whose routes name backends that exist.
pub(super) fn of(upstreams: &[Upstream], id: BackendId) -> Result<&Upstream, Refusal> {
    let found = upstreams.get(id.0);
    found.ok_or_else(|| Refusal::new(Cause::InternalError, "the route names no backend"))
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

fn resolve(address: &ServerAddress) -> Result<Address, String> {
    match address {
        ServerAddress::Inet(ip, port) => Ok(Address::Inet(SocketAddr::new(*ip, *port))),
        ServerAddress::Unix(path) => Ok(Address::Unix(path.clone())),
        ServerAddress::Name(name, port) => {
            let mut found = (name.as_str(), *port)
                .to_socket_addrs()
                .map_err(|error| format!("the name does not resolve: {error}"))?;
            found
                .next()
                .map(Address::Inet)
                .ok_or_else(|| "the name has no address".to_owned())
        }
    }
}

async fn open(address: &Address, driver: Driver) -> io::Result<Socket> {
    match address {
        Address::Inet(addr) => open_inet(*addr, driver).await,
        Address::Unix(path) => open_unix(path, driver).await,
    }
}

async fn open_inet(addr: SocketAddr, driver: Driver) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LEN_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_LEN_BYTES)?;
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

fn cause_of(error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => Cause::ConnectRefused,
        Some(libc::ETIMEDOUT) => Cause::ConnectTimeout,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL) => {
            Cause::OutOfResources
        }
        _ => Cause::ConnectFailed,
    }
}
