//! The values of `[[backend]]`: balancing, health checks, TLS, servers.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::common::{CertificateFiles, TlsVersion};
use crate::balance::Method as Balance;
use crate::proto::http::head::HeadLimits;
use crate::proto::proxy;
use crate::tls::offload::Offload;
use crate::tls::servers::ServerName;

/// `[[backend]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Name in routes, logs and metrics.
    pub name: Arc<str>,
    /// The balancing method.
    pub balance: Balance,
    /// Whether HTTP connections to the servers are reused.
    pub keep_alive: bool,
    /// Whether a client that ends its direction gives up its request.
    pub abort_on_close: bool,
    /// Requests that may wait for a server.
    pub max_queue: usize,
    /// What happens to requests while no server is up.
    pub when_down: WhenDown,
    /// Number of other servers to try when a connection fails.
    pub retries: usize,
    /// Time in which a server that came up reaches its full weight; zero = at once.
    pub slow_start: Duration,
    /// How clients of tunnels learn that a drain ends them.
    pub drain_close: DrainClose,
    /// The Host that servers get; none = the client's.
    pub host_header: Option<Arc<str>>,
    /// `[backend.timeouts]`.
    pub timeouts: BackendTimeouts,
    /// `[backend.limits]`.
    pub limits: BackendLimits,
    /// `[backend.health]`; none = off.
    pub health: Option<HealthCheck>,
    /// `[[backend.server]]`, at least one.
    pub servers: Vec<BackendServer>,
    /// `[backend.tls]`, or its defaults; none = no server speaks TLS.
    pub tls: Option<BackendTls>,
}

/// `drain_close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainClose {
    /// By the end of the connection alone.
    Plain,
    /// For WebSockets, by a Close frame before the end, if one can be sent.
    Websocket,
}

/// `[backend.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendTls {
    /// CA certificates that must have signed the servers' certificates.
    pub ca: PathBuf,
    /// The name in the certificates and in the ClientHello; none = from the server's address.
    pub server_name: Option<String>,
    /// Whether the certificates are verified.
    pub verify: bool,
    /// Lowest version spoken.
    pub min_version: TlsVersion,
    /// Our certificate, for servers that request one.
    pub certificate: Option<CertificateFiles>,
    /// When the kernel takes over the records.
    pub offload: Offload,
}

/// The TLS settings of one server. Equal values have equal effects; the contents of a file that was read
/// again may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The name it must prove.
    pub name: ServerName<'static>,
    /// When the kernel takes over the records.
    pub offload: Offload,
    /// SHA-256 of the contents of the files of `[backend.tls]`, from
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
    /// Time limit of a connect to a server.
    pub connect: Duration,
    /// Time limit of waiting in the queue.
    pub queue: Duration,
    /// Time limit of the answer's head.
    pub response: Duration,
    /// Longest silence of both sides of a tunnel.
    pub tunnel_idle: Duration,
    /// Longest silence after one side has ended.
    pub half_close: Duration,
}

/// `[backend.limits]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackendLimits {
    /// Bytes of a whole head.
    pub head: usize,
    /// Number of header lines.
    pub headers: usize,
}

impl From<BackendLimits> for HeadLimits {
    fn from(limits: BackendLimits) -> Self {
        Self {
            // Responses have none.
            request_line: 0,
            head: limits.head,
            headers: limits.headers,
        }
    }
}

/// `[backend.health]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The kind of check.
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
    /// Time between two checks.
    pub interval: Duration,
    /// Time between two checks of a server that is on its way up or down.
    pub fast_interval: Duration,
    /// Time limit of one check.
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

/// `health.method`: safe methods that every server supports.
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
    /// The address as written: the name in logs and metrics.
    pub name: Arc<str>,
    /// The address.
    pub address: ServerAddress,
    /// Share of new connections, 0 to 256; 0 = none.
    pub weight: u16,
    /// Connections at one time; none = no limit.
    pub max_connections: Option<NonZeroUsize>,
    /// Version of the PROXY header to send; none = no header.
    pub send_proxy: Option<proxy::HeaderVersion>,
    /// Local addresses for connections to it, in turn; empty = the system chooses.
    pub source: Vec<IpAddr>,
    /// TLS settings; none = plain.
    pub tls: Option<ServerTls>,
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// An IP address and a port.
    Inet(IpAddr, u16),
    /// A name to be resolved, and a port.
    Name(String, u16),
    /// A name whose SRV records list the servers (RFC 2782).
    Srv(String),
    /// A unix stream socket.
    Unix(PathBuf),
}
