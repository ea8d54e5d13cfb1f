//! The effective configuration: after parsing only legal values exist, so no code checks again.
//!
//! `read` reads TOML into a tree that knows positions, `parse` turns it into [`Config`] and collects
//! every error at once. Names and defaults are the contract with operators.

mod address;
mod admin;
mod behind;
mod errors;
mod one_liner;
mod parse;
mod print;
mod read;
#[cfg(test)]
mod tests;
mod units;

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::proto::addr::{Cidr, TrustedProxies};
use crate::proto::http::Scheme;
use crate::proto::http::pattern::{HostPattern, PathPrefix};
use crate::proto::proxy;
use crate::tls::servers::ServerName;

pub use crate::balance::Method as Balance;
pub use admin::{AdminAccess, AdminToken};
pub use behind::Behind;
pub use errors::{Error, Errors, Position};
pub use one_liner::OneLiner;
pub(crate) use units::duration_text;

/// Longest configuration file, in bytes; it also bounds every list in it.
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// Reads and parses a configuration file.
///
/// # Errors
/// That the file cannot be read, or everything that is wrong in it.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let mut config = parse(&text_of(path)?, path)?;
    config.source = std::path::absolute(path).ok();
    Ok(config)
}

/// Reads a time such as "10s" as the configuration does.
///
/// # Errors
/// What is wrong, in words that follow the quoted text.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    units::duration(text, &(Duration::ZERO..=Duration::MAX))
}

/// Parses a configuration; `file` is for messages, and relative paths start at its directory.
///
/// Certificates, error pages and the token of `admin_http` are read, nothing else outside `text`.
///
/// # Errors
/// Everything that is wrong, in the order of the text.
pub fn parse(text: &str, file: &Path) -> Result<Config, Errors> {
    let (mut config, warnings) = parse::config(text, file)?;
    config.warnings = warnings.iter().map(Error::to_string).collect();
    Ok(config)
}

fn text_of(path: &Path) -> Result<String, Errors> {
    let unreadable = |error: std::io::Error| {
        Errors::of_file(path, &format!("cannot be read: {error}; a file in TOML"))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let len = file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes);
    if len.map_err(unreadable)? as u64 > FILE_LEN_MAX {
        let message = format!("is too long; at most {}", units::size_text(FILE_LEN_MAX));
        return Err(Errors::of_file(path, &message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        Errors::of_encoding(path, &String::from_utf8_lossy(error.as_bytes()), valid)
    })
}

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from, if it was one.
    pub source: Option<PathBuf>,
    /// `[server]`.
    pub process: Process,
    /// `[log]`.
    pub log: Log,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[[backend]]`; [`BackendId`] is an index into it.
    pub backends: Vec<Backend>,
    /// What is legal but deserves a word (weak key, untrusted PROXY source ...).
    pub warnings: Vec<String>,
}

impl Config {
    /// Returns every file that reading this configuration reads: itself and those that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let of_listeners = self.listeners.iter().flat_map(|listener| {
            let tls = listener.tls.iter();
            let of_tls = tls.flat_map(|tls| {
                let pairs = tls.certificates.iter().flat_map(CertificateFiles::paths);
                pairs.chain(tls.client_ca.as_deref())
            });
            listener.errors.files().chain(of_tls)
        });
        let of_backends = self
            .backends
            .iter()
            .filter_map(|backend| backend.tls.as_ref());
        let of_backends = of_backends.flat_map(|tls| {
            let pair = tls.certificate.iter().flat_map(CertificateFiles::paths);
            let ca = tls.verify.then_some(tls.ca.as_path());
            pair.chain(ca)
        });
        let itself = self.source.as_deref().into_iter();
        let token = self.process.admin_access.token.iter();
        let token = token.map(|token| token.file.as_path());
        itself.chain(token).chain(of_listeners).chain(of_backends)
    }
}

/// `[server]`: the process as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Threads that open connections.
    pub reception_threads: Threads,
    /// Threads that move bytes of established tunnels.
    pub relay_threads: Threads,
    /// Client connections at one time; beyond, nothing is accepted.
    pub max_connections: NonZeroUsize,
    /// How long connections are still accepted after the first stop signal, for balancers to see it.
    pub drain_lead: Duration,
    /// How long tunnels may live after that.
    pub drain_timeout: Duration,
    /// Over which time tunnels are ended instead, if set.
    pub drain_window: Option<Duration>,
    /// How many tunnels a second end at the most within that time, if set.
    pub drain_rate: Option<NonZeroUsize>,
    /// Whether several processes may listen on the same port.
    pub share_port: bool,
    /// User to become after binding.
    pub user: Option<String>,
    /// Group to become after binding.
    pub group: Option<String>,
    /// Whether the process confines itself.
    pub sandbox: Sandbox,
    /// File that holds the process id while running.
    pub pid_file: Option<PathBuf>,
    /// Unix socket of `longsplice ctl`.
    pub admin_socket: Option<PathBuf>,
    /// Address of metrics, health and dashboard.
    pub admin_http: Option<SocketAddr>,
    /// Who may do what there.
    pub admin_access: AdminAccess,
    /// Whom names of servers are asked of; empty = as the system does, with resolv.conf(5).
    pub nameservers: Vec<SocketAddr>,
}

/// `server.sandbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// Not at all.
    Off,
    /// As far as the kernel can.
    On,
    /// System calls that would be refused are done and logged by the kernel.
    Log,
}

/// A number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One per core this process may run on.
    Auto,
    /// As many as written.
    Count(NonZeroUsize),
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Lowest level written.
    pub level: LogLevel,
    /// Form of access lines.
    pub access: AccessFormat,
    /// Where access lines and diagnostics go.
    pub target: LogTarget,
    /// Facility for syslog and the journal.
    pub facility: String,
    /// How often a tunnel that goes on gets a line; none = never.
    pub progress: Option<Duration>,
}

impl Log {
    /// Returns the number of the facility (RFC 5424 section 6.2.1): the target's own, if it names one.
    #[must_use]
    pub fn facility_number(&self) -> u8 {
        let name = match &self.target {
            LogTarget::SyslogUdp(_, Some(facility)) => facility,
            LogTarget::Stderr
            | LogTarget::Journald
            | LogTarget::File(_)
            | LogTarget::SyslogUdp(_, None)
            | LogTarget::SyslogUnix(_) => &self.facility,
        };
        address::facility_number(name)
    }
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `log.access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
    /// HAProxy's httplog fields.
    Httplog,
    /// The combined format of web servers.
    Combined,
    /// None.
    Off,
}

/// `log.target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// The journal's native socket.
    Journald,
    /// A file, opened again on SIGUSR1 and SIGHUP and after rotation.
    File(PathBuf),
    /// A syslog receiver over UDP, as `HOST:PORT`, with the facility of the target if it names one.
    SyslogUdp(String, Option<String>),
    /// A syslog receiver on a unix datagram socket.
    SyslogUnix(PathBuf),
}

/// `[[listener]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.1: requests are routed, upgrades become tunnels.
    Http,
    /// Bytes: the connection is a tunnel from its first byte.
    Tcp,
    /// TLS passed through unopened, routed by server name.
    Sni,
}

/// `listener.tcp_keepalive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpKeepalive {
    /// Never.
    Off,
    /// As net.ipv4.tcp_keepalive_time says.
    System,
    /// After this much silence, and as often; whole seconds.
    After(Duration),
}

/// `listener.proxy_protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Never a header: the first bytes are payload.
    Off,
    /// A trusted source may send one.
    Optional,
    /// Only trusted sources, and they must send one.
    Require,
}

/// `[listener.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first, or the combined file.
    pub cert: PathBuf,
    /// The private key; the same path for a combined file.
    pub key: PathBuf,
}

impl CertificateFiles {
    fn paths(&self) -> [&Path; 2] {
        [&self.cert, &self.key]
    }
}

/// `tls.min_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// `tls.offload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// User space first, the kernel when a direction turns bulky.
    Adaptive,
    /// The kernel whenever it can.
    Always,
    /// Never the kernel.
    Never,
}

/// `[listener.timeouts]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub struct ErrorPages(Vec<ErrorPage>);

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

/// Index into [`Config::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackendId(pub usize);

/// `redirect = { ... }`: path and query are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// Sent as text/plain.
    pub body: String,
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
