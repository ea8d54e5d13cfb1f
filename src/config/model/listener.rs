//! The values of `[[listener]]`: addresses, trust, TLS, limits, routes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::common::{BackendId, CertificateFiles, TlsVersion};
use crate::config::behind::Behind;
use crate::proto::addr::{Cidr, TrustedProxies};
use crate::proto::http::Scheme;
use crate::proto::http::pattern::{HostPattern, PathPrefix};
use crate::tls::offload::Offload;

/// `[[listener]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listener {
    /// Name in logs and metrics.
    pub name: Arc<str>,
    /// Where to listen, at least one.
    pub bind: Vec<Bind>,
    /// What is spoken there.
    pub mode: Mode,
    /// Which balancer is in front; what it stands for is in the other fields already.
    pub behind: Option<Behind>,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: ProxyProtocol,
    /// Whose PROXY header and forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// When the kernel asks a silent client whether it is still there.
    pub tcp_keepalive: TcpKeepalive,
    /// Whether `[listener.tls]` is present, and what it says.
    pub tls: Option<Tls>,
    /// `[listener.timeouts]`.
    pub timeouts: ListenerTimeouts,
    /// Whether this or another listener tells applications the subject of a client's certificate:
    /// nobody but us may do that then, wherever the application is reached.
    pub guards_client_subject: bool,
    /// `[listener.limits]`.
    pub limits: Limits,
    /// `[listener.errors]`.
    pub errors: ErrorPages,
    /// `[[listener.route]]`, first match wins.
    pub routes: Vec<Route>,
}

impl Listener {
    /// Returns the value of Strict-Transport-Security that its answers carry, if they do.
    #[must_use]
    pub fn strict_transport(&self) -> Option<&str> {
        let hsts = self.tls.as_ref()?.hsts.as_ref()?;
        Some(&hsts.value)
    }
}

/// One address of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `listener.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.1: requests are routed, upgrades become tunnels.
    #[default]
    Http,
    /// Bytes: the connection is a tunnel from its first byte.
    Tcp,
    /// TLS passed through unopened, routed by server name.
    Sni,
}

/// `listener.tcp_keepalive`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TcpKeepalive {
    /// Never.
    Off,
    /// As net.ipv4.tcp_keepalive_time says.
    #[default]
    System,
    /// After this much silence, and as often; whole seconds.
    After(Duration),
}

/// `listener.proxy_protocol`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Never a header: the first bytes are payload.
    #[default]
    Off,
    /// A trusted source may send one.
    Optional,
    /// Only trusted sources, and they must send one.
    Require,
}

/// `[listener.tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first is the default.
    pub certificates: Vec<CertificateFiles>,
    /// Present = a client certificate signed by one of these is required.
    pub client_ca: Option<PathBuf>,
    /// Lowest version offered.
    pub min_version: TlsVersion,
    /// Whether the application is told the subject of the client's certificate.
    pub client_subject: bool,
    /// Who encrypts after the handshake.
    pub offload: Offload,
    /// What browsers are told about coming back without TLS, if anything.
    pub hsts: Option<Hsts>,
}

/// `tls.hsts`: Strict-Transport-Security (RFC 6797).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers remember it, in whole seconds; zero makes them forget.
    pub max_age: Duration,
    /// Whether it holds for the names below the host as well.
    pub include_subdomains: bool,
    /// Whether the host may be put into the browsers' own lists.
    pub preload: bool,
    /// The same as the header's value.
    pub value: String,
}

/// `[listener.timeouts]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From accept until the PROXY header is complete.
    pub proxy_header: Duration,
    /// For the TLS handshake.
    pub tls_handshake: Duration,
    /// From the first byte of a request until its head is complete.
    pub request_header: Duration,
    /// Between two requests of one connection.
    pub keep_alive: Duration,
}

/// `[listener.limits]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request line.
    pub request_line: usize,
    /// Bytes of a whole head.
    pub head: usize,
    /// Number of header lines.
    pub headers: usize,
    /// Bytes of a request's body; none = no limit.
    pub max_body: Option<u64>,
}

/// Statuses of the answers that longsplice gives itself when it refuses, and that `[listener.errors]`
/// may give a page to.
pub const REFUSAL_STATUSES: [u16; 11] = [400, 404, 408, 413, 414, 426, 431, 500, 502, 503, 504];

/// `[listener.errors]`: what is sent in place of the short texts of our own answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages(pub(in crate::config) Vec<ErrorPage>);

impl ErrorPages {
    /// Returns the page for a status, if there is one.
    #[must_use]
    pub fn of(&self, status: u16) -> Option<&ErrorPage> {
        self.0.iter().find(|page| page.status == status)
    }

    /// Returns the files of all pages.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|page| page.file.as_path())
    }
}

/// One page, read at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// One of [`REFUSAL_STATUSES`].
    pub status: u16,
    /// Where it was read.
    pub file: PathBuf,
    /// The value of Content-Type.
    pub media_type: &'static str,
    /// What the file held.
    pub bytes: Arc<[u8]>,
}

/// `[[listener.route]]`: every condition given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Host patterns, any of them; empty = no condition.
    pub host: Vec<HostPattern>,
    /// Server name patterns (`sni` and `tcp` mode), any of them; empty = no condition.
    pub server_name: Vec<HostPattern>,
    /// Prefix of the path on segments.
    pub path: Option<PathPrefix>,
    /// Whether the request is (or is not) a WebSocket upgrade.
    pub websocket: Option<bool>,
    /// Scheme as the client's first hop saw it.
    pub scheme: Option<Scheme>,
    /// Ranges of the client's address, any of them; empty = no condition.
    pub client: Vec<Cidr>,
    /// What happens then.
    pub action: RouteAction,
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAction {
    /// Forward to a backend.
    Backend(BackendId),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer with a fixed text.
    Respond(Respond),
}

/// `redirect = { ... }`: path and query are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Scheme of the new place; none = as the request came.
    pub scheme: Option<Scheme>,
    /// Host of the new place; none = the request's, without port.
    pub host: Option<String>,
    /// Port of the new place; none = the scheme's default.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// `respond = { ... }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// Sent as text/plain.
    pub body: String,
}
