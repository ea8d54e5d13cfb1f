//! The values of a configuration: the whole, `[server]` and `[log]` here, listeners and backends in files of
//! their own.
//!
//! Every value is legal, so no code checks again. The values of `Default` are blank; the defaults of keys are
//! in `keys`.

mod backend;
mod common;
mod listener;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::admin::AdminAccess;
use super::facility;

pub use backend::*;
pub use common::*;
pub use listener::*;

pub use crate::tls::offload::Offload;

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from; none if there was none.
    pub source: Option<PathBuf>,
    /// `[server]`.
    pub process: Process,
    /// `[log]`.
    pub log: Log,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[[backend]]`; [`BackendId`] is an index into it.
    pub backends: Vec<Backend>,
    /// Warnings about legal settings (weak key, untrusted PROXY source ...).
    pub warnings: Vec<String>,
}

impl Config {
    /// Returns the files of this configuration: its own and those it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let of_listeners = self.listeners.iter().flat_map(|listener| {
            let tls = listener.tls.iter();
            let of_tls = tls.flat_map(|tls| {
                let pairs = tls.certificates.iter().flat_map(CertificateSource::paths);
                let of_clients = tls.client_ca.iter().chain(&tls.crl);
                let of_clients = of_clients.chain(&tls.ticket_keys);
                pairs.chain(of_clients.map(PathBuf::as_path))
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Threads that open connections.
    pub reception_threads: Threads,
    /// Threads that move bytes of established tunnels.
    pub relay_threads: Threads,
    /// Limit on client connections; at the limit, no more are accepted.
    pub max_connections: usize,
    /// How long connections are still accepted after the first stop signal, so that load balancers notice.
    pub drain_lead: Duration,
    /// How long tunnels may live after that.
    pub drain_timeout: Duration,
    /// Time over which tunnels are ended instead, if set.
    pub drain_window: Option<Duration>,
    /// Limit on tunnels ended per second in that time, if set.
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
    /// Access rules of that address.
    pub admin_access: AdminAccess,
    /// Name servers to ask; empty = those of resolv.conf(5).
    pub nameservers: Vec<SocketAddr>,
}

/// `server.sandbox`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Not at all.
    Off,
    /// As far as the kernel can.
    #[default]
    On,
    /// System calls that would be refused are allowed, and the kernel logs them.
    Log,
}

/// A number of threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Threads {
    /// One per core this process may run on.
    #[default]
    Auto,
    /// This many threads.
    Count(NonZeroUsize),
}

/// `[log]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Lowest level written.
    pub level: LogLevel,
    /// Form of diagnostics.
    pub format: DiagnosticFormat,
    /// Form of access lines.
    pub access: AccessFormat,
    /// Where access lines and diagnostics go.
    pub target: LogTarget,
    /// Facility for syslog and the journal.
    pub facility: &'static str,
    /// Interval of progress lines of open tunnels; none = no such lines.
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
            | LogTarget::SyslogUnix(_) => self.facility,
        };
        facility::number(name)
    }
}

/// `log.level`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DiagnosticFormat {
    /// Time, level, message and fields as words.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `log.access`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// HAProxy's httplog fields.
    Httplog,
    /// The combined format of web servers.
    Combined,
    /// No access lines.
    Off,
}

/// `log.target`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    #[default]
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
