//! The values of `[[listener]]`: addresses, trust, TLS, limits, routes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::common::{BackendId, CertificateSource, TlsVersion};
use crate::config::behind::Behind;
use crate::proto::addr::{Cidr, TrustedProxies};
use crate::proto::http::Scheme;
use crate::proto::http::condition::{Condition, FieldName, MethodName, ParameterName};
use crate::proto::http::pattern::{ExactPath, HostPattern, PathPrefix};
use crate::tls::judge::Asked;
use crate::tls::offload::Offload;

/// `[[listener]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listener {
    /// Name in logs and metrics.
    pub name: Arc<str>,
    /// Addresses to listen on, at least one.
    pub bind: Vec<Bind>,
    /// The protocol.
    pub mode: Mode,
    /// The load balancer in front; its defaults are in the other fields already.
    pub behind: Option<Behind>,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: ProxyProtocol,
    /// Peers whose PROXY header and forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// When the kernel probes a silent client.
    pub tcp_keepalive: TcpKeepalive,
    /// Whether addresses are listened on that no interface has yet.
    pub freebind: bool,
    /// `[listener.tls]`; none = no TLS ends here.
    pub tls: Option<Tls>,
    /// `[listener.timeouts]`.
    pub timeouts: ListenerTimeouts,
    /// Whether this or another listener forwards the subject of client certificates. Lines of other peers
    /// about it are then removed on every listener.
    pub guards_client_subject: bool,
    /// `[listener.limits]`.
    pub limits: Limits,
    /// `[listener.errors]`.
    pub errors: ErrorPages,
    /// `[[listener.route]]`, first match wins.
    pub routes: Vec<Route>,
}

impl Listener {
    /// Returns the value of Strict-Transport-Security for its answers, if they carry it.
    #[must_use]
    pub fn strict_transport(&self) -> Option<&str> {
        let hsts = self.tls.as_ref()?.hsts.as_ref()?;
        Some(&hsts.value)
    }

    /// Returns the names that its routes take.
    #[must_use]
    pub fn asked(&self) -> Asked {
        asked(self.mode, self.routes.iter())
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
    /// The system's default, net.ipv4.tcp_keepalive_time.
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
    pub certificates: Vec<CertificateSource>,
    /// CA certificates; present = clients are asked for a certificate signed by one of them.
    pub client_ca: Option<PathBuf>,
    /// Whether a client may come without one.
    pub client_auth: ClientAuth,
    /// Lists of revoked certificates; none = revocation is not checked.
    pub crl: Option<PathBuf>,
    /// Files with the keys of session tickets, the first of which seals; empty = keys of the process's own.
    pub ticket_keys: Vec<PathBuf>,
    /// Lowest version offered.
    pub min_version: TlsVersion,
    /// Whether the subject of the client's certificate is forwarded to the application.
    pub client_subject: bool,
    /// When the kernel takes over the records.
    pub offload: Offload,
    /// Strict-Transport-Security, if it is sent.
    pub hsts: Option<Hsts>,
}

/// `tls.client_auth`, where there is a `client_ca`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client without a certificate is refused.
    #[default]
    Require,
    /// A client without a certificate passes.
    Request,
}

/// `tls.hsts`: Strict-Transport-Security (RFC 6797).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers remember the policy, in whole seconds; zero makes them forget it.
    pub max_age: Duration,
    /// Whether the policy includes subdomains.
    pub include_subdomains: bool,
    /// Whether the host may be put into preload lists.
    pub preload: bool,
    /// The header's value.
    pub value: String,
}

/// `[listener.timeouts]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// Time limit of the PROXY header, from accept.
    pub proxy_header: Duration,
    /// Time limit of the TLS handshake.
    pub tls_handshake: Duration,
    /// Time limit of a request's head, from its first byte.
    pub request_header: Duration,
    /// Time limit between two requests of one connection.
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

/// Statuses of longsplice's own refusals, for which `[listener.errors]` may set a page.
pub const REFUSAL_STATUSES: [u16; 12] =
    [400, 404, 408, 413, 414, 426, 431, 500, 501, 502, 503, 504];

/// `[listener.errors]`: pages that replace the short texts of our own answers.
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
    /// The file of the page.
    pub file: PathBuf,
    /// The value of Content-Type.
    pub media_type: &'static str,
    /// The contents of the file.
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
    /// The whole path.
    pub exact_path: Option<ExactPath>,
    /// Methods, any of them; empty = no condition.
    pub method: Vec<MethodName>,
    /// Conditions on header fields, all of them.
    pub header: Vec<Condition<FieldName>>,
    /// Conditions on parameters of the query, all of them.
    pub query: Vec<Condition<ParameterName>>,
    /// Whether the request is (or is not) a WebSocket upgrade.
    pub websocket: Option<bool>,
    /// Scheme as the client's first hop saw it.
    pub scheme: Option<Scheme>,
    /// Ranges of the client's address, any of them; empty = no condition.
    pub client: Vec<Cidr>,
    /// The action.
    pub action: RouteAction,
}

/// Returns the names that the routes of a listener take, whatever else their conditions are.
pub(in crate::config) fn asked<'a>(mode: Mode, routes: impl Iterator<Item = &'a Route>) -> Asked {
    let mut asked = Asked::default();
    for route in routes {
        let patterns = match mode {
            Mode::Http => &route.host,
            Mode::Tcp | Mode::Sni => &route.server_name,
        };
        asked.any |= patterns.is_empty();
        asked.hosts.extend(patterns.iter().cloned());
    }
    asked
}

/// The action of a route.
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
    /// New scheme; none = that of the request.
    pub scheme: Option<Scheme>,
    /// New host; none = the request's, without port.
    pub host: Option<String>,
    /// New port; none = the scheme's default.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// `respond = { ... }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The body, sent as text/plain.
    pub body: String,
}
