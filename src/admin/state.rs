//! The state of a running process: one model for the socket of `longsplice ctl`, the metrics and the
//! dashboard.
//!
//! [`Sources`] is where it is read; everything else here is plain data for JSON. Names are those of the
//! configuration, words those of the log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::config::{AdminAccess, Bind, Listener, Mode};
use crate::journal::{Cause, Counts, Path};
use crate::relay;
use crate::relay::inspect::{Glance, TunnelId};
use crate::upstream::{Seat, Upstream};

/// The present configuration; replaced as a whole by a reload.
#[derive(Debug, Default)]
pub struct Scene {
    /// Every listener.
    pub listeners: Vec<Arc<Listener>>,
    /// Every backend.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Access rules of `server.admin_http`.
    pub access: AdminAccess,
}

/// The name of the listener or backend to which a certificate belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateOwner {
    /// A listener.
    Listener(Arc<str>),
    /// A backend.
    Backend(Arc<str>),
}

/// A certificate that a listener or a backend shows, or the ones that a backend trusts. The file may hold
/// others by now that were not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInUse {
    /// To which listener or backend it belongs.
    pub owner: CertificateOwner,
    /// What it is for: `certificate` is shown, `ca` is trusted.
    pub role: &'static str,
    /// The file of the certificate.
    pub file: PathBuf,
    /// DNS names it is valid for; of trusted certificates the subjects (RFC 4514), or their number.
    pub names: Vec<String>,
    /// The issuer (RFC 4514); empty if there are several.
    pub issuer: String,
    /// End of validity, of several the first one, in seconds since 1970; none = unreadable.
    pub not_after: Option<i64>,
    /// Why what stands in its files now is not used; none = it is.
    pub refused: Option<String>,
}

/// The certificates in use; replaced as a whole when one of them, or the configuration, changes.
pub type CertificatesInUse = Arc<ArcSwap<Vec<CertificateInUse>>>;

/// The sources from which the state of the process is read.
#[derive(Debug)]
pub struct Sources {
    /// When the process started.
    pub started: SystemTime,
    /// Relay threads, by number.
    pub relays: Vec<relay::Handle>,
    /// The present configuration; a reload stores another.
    pub scene: ArcSwap<Scene>,
    /// The certificates of listeners and backends.
    pub certificates: CertificatesInUse,
    /// Free places of `max_connections`.
    pub places: Arc<Semaphore>,
    /// `max_connections`.
    pub max_connections: Arc<AtomicUsize>,
    /// Number of entries by cause.
    pub counts: Arc<Counts>,
    /// Set when the process is told to stop; it may still accept for a while.
    pub draining: AtomicBool,
}

/// The process as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of longsplice.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// `running` or `draining`.
    pub phase: String,
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Time since the start.
    pub uptime_ms: u64,
    /// Client connections now, tunnels among them.
    pub connections: usize,
    /// `max_connections`.
    pub max_connections: usize,
    /// Open tunnels.
    pub tunnels: usize,
    /// Open tunnels of each relay thread.
    pub tunnels_by_thread: Vec<usize>,
    /// Number of entries by cause; causes that did not occur are left out.
    pub causes: BTreeMap<String, u64>,
    /// Log entries dropped because the queue was full.
    pub log_lines_dropped: u64,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListenerState {
    /// Its name.
    pub name: String,
    /// `http`, `tcp` or `sni`.
    pub mode: String,
    /// Where it listens, as configured.
    pub bind: Vec<String>,
    /// Whether TLS ends there.
    pub tls: bool,
}

/// One backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendState {
    /// Its name.
    pub name: String,
    /// Balancing method, as in the configuration.
    pub balance: String,
    /// Requests that wait for a place.
    pub waiting: usize,
    /// `max_queue`.
    pub max_queue: usize,
    /// Its servers, in the order of the configuration.
    pub servers: Vec<ServerState>,
}

/// One address of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerState {
    /// Its name: the address as configured.
    pub name: String,
    /// Its resolved address.
    pub address: String,
    /// `up`, `suspect`, `down` or `drained`.
    pub standing: String,
    /// `weight`, as configured.
    pub weight: u16,
    /// Its present weight: less than `weight` during slow start.
    pub share: u16,
    /// Requests and tunnels it has now.
    pub active: u32,
    /// `max_connections`, if it has one.
    pub max_connections: Option<usize>,
    /// Connections to it that were opened.
    pub connected: u64,
    /// Connections to it that could not be opened.
    pub refused: u64,
    /// Time of the last change of standing, in milliseconds since 1970.
    pub since_ms: u64,
    /// Reason of that change; empty = there was none.
    pub why: String,
    /// Number of changes of standing.
    pub changes: u64,
    /// Checks it passed.
    pub checks_passed: u64,
    /// Checks it failed.
    pub checks_failed: u64,
}

/// One open tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TunnelState {
    /// Id for `longsplice ctl kill`.
    pub id: String,
    /// Name of its listener.
    pub listener: String,
    /// The client's address, from a PROXY header if there is one.
    pub client: String,
    /// The address of the connection itself.
    pub peer: String,
    /// Name of its backend.
    pub backend: Option<String>,
    /// Name of its server.
    pub server: Option<String>,
    /// When its connection was accepted, or its request began, in milliseconds since 1970.
    pub started_ms: u64,
    /// Time since a byte last moved, in either direction.
    pub idle_ms: u64,
    /// Whether one side has ended.
    pub half_closed: bool,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes sent to the client.
    pub bytes_out: u64,
    /// How bytes from the client are moved, as in access lines.
    pub path_in: String,
    /// How bytes to the client are moved, as in access lines.
    pub path_out: String,
    /// Offload state of receiving from the client; none = no TLS.
    pub offload_in: Option<String>,
    /// Offload state of sending to the client; none = no TLS.
    pub offload_out: Option<String>,
    /// TLS version and cipher of the client, such as `tls13-aes128gcm`; none = no TLS ends here.
    pub tls: Option<String>,
}

impl Sources {
    /// Returns whether the process was told to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns the present configuration.
    #[must_use]
    pub fn scene(&self) -> Arc<Scene> {
        self.scene.load_full()
    }

    /// Describes the process as a whole.
    #[must_use]
    pub fn status(&self) -> Status {
        let seen = Cause::ALL
            .iter()
            .map(|cause| (cause, self.counts.of(*cause)));
        let causes = seen.filter(|(_, count)| *count > 0);
        let tunnels_by_thread: Vec<usize> = self.relays.iter().map(relay::Handle::alive).collect();
        let max_connections = self.max_connections.load(Ordering::Relaxed);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: if self.is_draining() {
                "draining"
            } else {
                "running"
            }
            .to_owned(),
            started_ms: since_1970_ms(self.started),
            uptime_ms: millis(self.started.elapsed().unwrap_or_default()),
            connections: max_connections.saturating_sub(self.places.available_permits()),
            max_connections,
            tunnels: tunnels_by_thread.iter().sum(),
            tunnels_by_thread,
            causes: causes
                .map(|(cause, count)| (cause.as_str().to_owned(), count))
                .collect(),
            log_lines_dropped: self.counts.dropped(),
        }
    }

    /// Describes every listener.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerState> {
        self.scene()
            .listeners
            .iter()
            .map(|it| listener(it))
            .collect()
    }

    /// Describes every backend.
    #[must_use]
    pub fn backends(&self) -> Vec<BackendState> {
        self.scene()
            .upstreams
            .iter()
            .map(|it| backend(it))
            .collect()
    }

    /// Describes open tunnels, at most `count_max` that `wanted` accepts; asks the relay threads slice by
    /// slice.
    pub async fn tunnels(
        &self,
        count_max: usize,
        wanted: impl Fn(&Glance) -> bool,
    ) -> Vec<TunnelState> {
        let mut found = Vec::new();
        for relay in &self.relays {
            let mut next = Some(0);
            while let Some(from) = next
                && found.len() < count_max
            {
                // A thread that has ended has no tunnel.
                let page = relay.inspect(from).await.unwrap_or_default();
                found.extend(page.tunnels.iter().filter(|it| wanted(it)).map(tunnel));
                next = page.next;
            }
        }
        found.truncate(count_max);
        found
    }

    /// Ends one tunnel as `killed`; returns whether it was open.
    pub async fn kill(&self, id: TunnelId) -> bool {
        match self.relays.get(id.thread()) {
            Some(relay) => relay.end_one(id, Cause::Killed).await.unwrap_or(false),
            None => false,
        }
    }
}

fn listener(listener: &Listener) -> ListenerState {
    let mode = match listener.mode {
        Mode::Http => "http",
        Mode::Tcp => "tcp",
        Mode::Sni => "sni",
    };
    let bind = listener.bind.iter().map(|bind| match bind {
        Bind::Inet(address) => address.to_string(),
        Bind::Unix(path) => format!("unix:{}", path.display()),
    });
    ListenerState {
        name: listener.name.to_string(),
        mode: mode.to_owned(),
        bind: bind.collect(),
        tls: listener.tls.is_some(),
    }
}

fn backend(upstream: &Upstream) -> BackendState {
    let lineup = upstream.lineup();
    BackendState {
        name: upstream.name.to_string(),
        balance: lineup.backend.balance.as_str().to_owned(),
        waiting: upstream.waiting(),
        max_queue: lineup.backend.max_queue,
        servers: lineup.seats.iter().map(server).collect(),
    }
}

fn server(seat: &Seat) -> ServerState {
    let member = &seat.member;
    let record = &member.record;
    let (checks_passed, checks_failed) = record.checks();
    ServerState {
        name: member.name.to_string(),
        address: member.address.to_string(),
        standing: seat.standing.as_str().to_owned(),
        weight: member.server.weight,
        share: seat.weight,
        active: member.traffic.active(),
        max_connections: member.server.max_connections.map(Into::into),
        connected: member.traffic.connected(),
        refused: member.traffic.refused(),
        since_ms: record.since_ms(),
        why: record
            .recent()
            .last()
            .map(|turn| turn.why.to_string())
            .unwrap_or_default(),
        changes: record.changes(),
        checks_passed,
        checks_failed,
    }
}

/// Converts the description of a tunnel into its JSON form.
#[must_use]
pub fn tunnel(glance: &Glance) -> TunnelState {
    let offload = |path: Path| path.offload.map(|offload| offload.as_str().to_owned());
    TunnelState {
        id: glance.id.to_string(),
        listener: glance.listener.to_string(),
        client: glance.client.to_string(),
        peer: glance.peer.to_string(),
        backend: glance.backend.as_deref().map(str::to_owned),
        server: glance.server.as_deref().map(str::to_owned),
        started_ms: since_1970_ms(glance.started),
        idle_ms: millis(glance.idle),
        half_closed: glance.half_closed,
        bytes_in: glance.bytes_in,
        bytes_out: glance.bytes_out,
        path_in: glance.path_in.to_string(),
        path_out: glance.path_out.to_string(),
        offload_in: offload(glance.path_in),
        offload_out: offload(glance.path_out),
        tls: glance.tls.map(str::to_owned),
    }
}

fn since_1970_ms(time: SystemTime) -> u64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
