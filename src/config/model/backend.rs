//! The values of `[[backend]]`: balancing, health checks, TLS, servers.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::common::{CertificateFiles, TlsVersion};
use crate::balance::Method as Balance;
use crate::proto::proxy;
use crate::tls::offload::Offload;
use crate::tls::servers::ServerName;

/// `[[backend]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Name in routes, logs and metrics.
    pub name: Arc<str>,
    /// How a server is chosen.
    pub balance: Balance,
    /// Whether HTTP connections to the servers are used again.
    pub keep_alive: bool,
    /// Requests that may wait for a server.
    pub max_queue: usize,
    /// What happens to requests while no server is up.
    pub when_down: WhenDown,
    /// Other servers that are tried when one cannot be connected to.
    pub retries: usize,
    /// Over which time a server that came up gets up to its whole share; zero = at once.
    pub slow_start: Duration,
    /// How clients of tunnels are told that a drain ends them.
    pub drain_close: DrainClose,
    /// `[backend.timeouts]`.
    pub timeouts: BackendTimeouts,
    /// `[backend.health]`; none = off.
    pub health: Option<HealthCheck>,
    /// `[[backend.server]]`, at least one.
    pub servers: Vec<BackendServer>,
    /// `[backend.tls]`, or its defaults; none = no server is spoken to over TLS.
    pub tls: Option<BackendTls>,
}

/// `drain_close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainClose {
    /// By the end of the connection alone.
    Plain,
    /// Those of WebSockets by a Close frame before it, where one can be sent.
    Websocket,
}

/// `[backend.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendTls {
    /// Where the servers' certificates must come from.
    pub ca: PathBuf,
    /// The name they must be for, and the one in the ClientHello; none = as the server's address says.
    pub server_name: Option<String>,
    /// Whether the certificates are looked at.
    pub verify: bool,
    /// Lowest version spoken.
    pub min_version: TlsVersion,
    /// What servers are shown that ask for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// Who encrypts after the handshake.
    pub offload: Offload,
}

/// How one server is spoken to over TLS. Values are equal when the same would be done: a file that
/// was read again may hold something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The name it must prove.
    pub name: ServerName<'static>,
    /// Who encrypts after the handshake.
    pub offload: Offload,
    /// SHA-256 of what the files of `[backend.tls]` hold, as
    /// [`servers::fingerprint`](crate::tls::servers::fingerprint).
    pub fingerprint: [u8; 32],
}

/// `backend.when_down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    /// They are refused at once.
    Refuse,
    /// They wait in the queue.
    Queue,
}

/// `[backend.timeouts]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackendTimeouts {
    /// To connect to a server.
    pub connect: Duration,
    /// To wait in the queue.
    pub queue: Duration,
    /// Until the head of the answer is complete.
    pub response: Duration,
    /// Silence of both sides of a tunnel.
    pub tunnel_idle: Duration,
    /// Silence after one side has ended.
    pub half_close: Duration,
}

/// `[backend.health]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub kind: HealthKind,
    /// Method of http checks.
    pub method: HealthMethod,
    /// Request target of http and websocket checks.
    pub path: String,
    /// Host header of http and websocket checks; none = the server's address.
    pub host: Option<String>,
    /// Whether servers that speak TLS are checked over TLS.
    pub tls: bool,
    /// Inclusive ranges of status codes that count as success.
    pub expect: Vec<(u16, u16)>,
    /// Between two checks.
    pub interval: Duration,
    /// Between two checks of a server that is on its way up or down.
    pub fast_interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// Successes until a server is up.
    pub rise: u32,
    /// Failures until a server is down.
    pub fall: u32,
}

/// `health.kind`, `off` being the absence of [`HealthCheck`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthKind {
    /// A request and its status.
    Http,
    /// A connection.
    Tcp,
    /// An upgrade answered with 101.
    Websocket,
}

/// `health.method`: those that leave everything as it is and that every server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum HealthMethod {
    Get,
    Head,
    Options,
}

impl HealthMethod {
    /// Returns the method as requests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// `[[backend.server]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendServer {
    /// Where it is, as written: the name in logs and metrics.
    pub name: Arc<str>,
    /// Where it is.
    pub address: ServerAddress,
    /// Share of new connections, 0 to 256; 0 = none.
    pub weight: u16,
    /// Connections at one time; none = no limit.
    pub max_connections: Option<NonZeroUsize>,
    /// Which PROXY header it wants; none = none.
    pub send_proxy: Option<proxy::HeaderVersion>,
    /// Addresses of ours that connections to it come from, in turn; empty = the system chooses.
    pub source: Vec<IpAddr>,
    /// How it is spoken to over TLS; none = in the clear.
    pub tls: Option<ServerTls>,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// An IP address and a port.
    Inet(IpAddr, u16),
    /// A name to be resolved, and a port.
    Name(String, u16),
    /// A name whose SRV records say where the servers are (RFC 2782).
    Srv(String),
    /// A unix stream socket.
    Unix(PathBuf),
}
