//! The kinds of work measured, and how each becomes figures.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::backend::{Backend, Behaviour};
use super::exchanges::Exchanges;
use super::link::Dial;
use super::meter::{Meter, SETTLE, percentile_us, socket_bytes};
use super::observer::Observer;
use super::pings::Pings;
use super::process;
use super::reactor::Reactor;
use super::readers::Readers;
use super::requests::Requests;
use super::subject::{Mode, Programs, Proxy, Subject};
use super::writers::Writers;

/// Tunnels that carry bulk.
const BULK_TUNNELS: usize = 16;

/// Tunnels that carry messages at a pace, and the pace: 5000 messages a second load a core by a few
/// percent.
const PACED_TUNNELS: usize = 100;
const PACE: Duration = Duration::from_micros(200);

/// Connections that requests come on.
const REQUEST_CONNECTIONS: usize = 64;

/// Silence after which a tunnel counts as idle: what a proxy keeps ready for the next message of a busy
/// one is not what an idle one holds.
const IDLE_FOR: Duration = Duration::from_secs(3);

/// Tunnels whose reader stalls.
const STALLED_TUNNELS: usize = 16;

/// Tunnels and bytes of round trips that are observed, and how many times the usual amount of trips is
/// made, for what happens once a second.
const OBSERVED_TUNNELS: usize = 64;
const OBSERVED_BYTES: usize = 64;
const OBSERVED_TIMES: usize = 2;

/// Bytes each reader takes at full speed before it stalls, so that the kernel's buffers have grown.
const READ_BEFORE_STALL_BYTES: usize = 32_000_000;

/// One kind of work. By `tls` the clients speak TLS 1.3 to the proxy, which ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Round trips on `tunnels` tunnels, one outstanding on each.
    Trips {
        /// Bytes each way.
        message_bytes: usize,
        /// Tunnels active at the same time.
        tunnels: usize,
        tls: bool,
    },
    /// One way, 64 KiB writes, [`BULK_TUNNELS`] tunnels.
    Bulk,
    /// The same by TLS, from the clients (up) or to them.
    TlsBulk { up: bool },
    /// Connect, one round trip of 64 bytes, close; 32 at a time.
    Short,
    /// The same with a handshake of TLS, full or resumed.
    Handshakes { resumed: bool },
    /// Connect, upgrade to WebSocket, one round trip, close; 32 at a time.
    Upgrade,
    /// HTTP requests on [`REQUEST_CONNECTIONS`] kept connections, one outstanding on each.
    Requests {
        /// Bytes of each answer's body.
        body_bytes: usize,
    },
    /// Messages at a gentle pace, and nothing else.
    Quiet { tls: bool },
    /// The same while short connections come as fast as they can.
    Flood { tls: bool },
    /// Tunnels that have carried one message and wait.
    Idle { tls: bool },
    /// Tunnels whose reader has stopped while the writer goes on.
    Stalled,
    /// Round trips of 64 bytes, or openings by upgrade, without logs and metrics and with them.
    Observed { upgrade: bool },
}

/// What a figure says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    /// CPU time of the proxy per round trip or connection, microseconds.
    CpuUs,
    /// CPU time of the proxy per gigabyte, seconds.
    CpuSecondsPerGb,
    /// Median latency, microseconds.
    P50Us,
    /// 99th percentile of latency, microseconds.
    P99Us,
    /// Share of the measured time in which the proxy ran, percent.
    BusyPercent,
    /// Resident bytes per tunnel.
    ResidentBytes,
    /// Bytes in the kernel's buffers of the proxy's own sockets, per tunnel.
    KernelBytes,
}

impl Metric {
    /// The name in tables and raw rows.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CpuUs => "cpu_us",
            Self::CpuSecondsPerGb => "cpu_s_per_gb",
            Self::P50Us => "p50_us",
            Self::P99Us => "p99_us",
            Self::BusyPercent => "busy_percent",
            Self::ResidentBytes => "resident_bytes",
            Self::KernelBytes => "kernel_bytes",
        }
    }
}

/// How much of each work is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amounts {
    /// Round trips per measurement.
    pub(super) trips: usize,
    /// Bytes of bulk per measurement.
    pub(super) bulk_bytes: usize,
    /// Short connections or upgrades per measurement.
    pub(super) connections: usize,
    /// HTTP requests per measurement.
    pub(super) requests: usize,
    /// Round trips at a pace per measurement.
    pub(super) paced_trips: usize,
    /// Idle tunnels; two descriptors each, in the proxy and in the generator.
    pub(super) idle_tunnels: usize,
}

/// What a measurement needs to know of its surroundings.
#[derive(Debug)]
pub(super) struct Setup {
    /// The proxies.
    pub(super) programs: Programs,
    /// The core of the proxy.
    pub(super) proxy_core: usize,
    /// The core of clients and backend.
    pub(super) load_core: usize,
    /// How much is done.
    pub(super) amounts: Amounts,
}

/// A figure of one measurement.
pub(super) type Figure = (Metric, f64);

impl Work {
    /// All works, in the order in which they are run.
    pub(super) const ALL: [Self; 24] = [
        Self::trips(64, 64, false),
        Self::trips(1024, 64, false),
        Self::trips(64, 1000, false),
        Self::trips(1024, 1000, false),
        Self::Bulk,
        Self::Short,
        Self::Upgrade,
        Self::Requests { body_bytes: 1024 },
        Self::Requests {
            body_bytes: 100 * 1024,
        },
        Self::Quiet { tls: false },
        Self::Flood { tls: false },
        Self::Idle { tls: false },
        Self::Stalled,
        Self::Observed { upgrade: false },
        Self::Observed { upgrade: true },
        Self::Handshakes { resumed: false },
        Self::Handshakes { resumed: true },
        Self::trips(64, 64, true),
        Self::trips(1024, 64, true),
        Self::TlsBulk { up: true },
        Self::TlsBulk { up: false },
        Self::Quiet { tls: true },
        Self::Flood { tls: true },
        Self::Idle { tls: true },
    ];

    const fn trips(message_bytes: usize, tunnels: usize, tls: bool) -> Self {
        Self::Trips {
            message_bytes,
            tunnels,
            tls,
        }
    }

    /// Whether the clients speak TLS.
    pub(super) const fn is_tls(self) -> bool {
        match self {
            Self::Trips { tls, .. }
            | Self::Quiet { tls }
            | Self::Flood { tls }
            | Self::Idle { tls } => tls,
            Self::TlsBulk { .. } | Self::Handshakes { .. } => true,
            Self::Bulk
            | Self::Short
            | Self::Upgrade
            | Self::Requests { .. }
            | Self::Stalled
            | Self::Observed { .. } => false,
        }
    }

    /// The name in tables and raw rows.
    pub(super) fn name(self) -> String {
        let name = match self {
            Self::Trips {
                message_bytes,
                tunnels,
                ..
            } => return format!("{}trips-{message_bytes}B-{tunnels}", self.prefix()),
            Self::Bulk => "bulk",
            Self::TlsBulk { up: true } => "bulk-up",
            Self::TlsBulk { up: false } => "bulk-down",
            Self::Short => "short",
            Self::Handshakes { resumed: false } => "full",
            Self::Handshakes { resumed: true } => "resumed",
            Self::Upgrade => "upgrade",
            Self::Requests { body_bytes } => return format!("requests-{}K", body_bytes / 1024),
            Self::Quiet { .. } => "quiet",
            Self::Flood { .. } => "flood",
            Self::Idle { .. } => "idle",
            Self::Stalled => "stalled",
            Self::Observed { upgrade: false } => "observed-trips",
            Self::Observed { upgrade: true } => "observed-upgrade",
        };
        format!("{}{name}", self.prefix())
    }

    const fn prefix(self) -> &'static str {
        if self.is_tls() { "tls-" } else { "" }
    }

    /// One sentence for the table.
    pub(super) fn description(self, amounts: &Amounts) -> String {
        let kind = if self.is_tls() { "TLS " } else { "" };
        match self {
            Self::Trips {
                message_bytes,
                tunnels,
                ..
            } => format!(
                "{} round trips of {message_bytes} B on {tunnels} {kind}tunnels",
                amounts.trips
            ),
            Self::Bulk => format!(
                "{} MB one way on {BULK_TUNNELS} tunnels, 64 KiB writes",
                amounts.bulk_bytes / 1_000_000
            ),
            Self::TlsBulk { up } => format!(
                "{} MB {} the clients on {BULK_TUNNELS} TLS tunnels, 64 KiB writes",
                amounts.bulk_bytes / 1_000_000,
                if up { "from" } else { "to" }
            ),
            Self::Short => format!(
                "{} connections, one 64 B round trip each, 32 in flight",
                amounts.connections
            ),
            Self::Handshakes { resumed } => format!(
                "{} connections with a {} handshake of TLS 1.3, one 64 B round trip each, 32 in \
                 flight",
                amounts.connections,
                if resumed { "resumed" } else { "full" }
            ),
            Self::Upgrade => format!(
                "{} WebSocket upgrades, one 64 B round trip each, 32 in flight",
                amounts.connections
            ),
            Self::Requests { body_bytes } => format!(
                "{} requests on {REQUEST_CONNECTIONS} kept connections, answers of {} KiB",
                amounts.requests,
                body_bytes / 1024
            ),
            Self::Quiet { .. } => {
                format!("messages of 64 B on {PACED_TUNNELS} {kind}tunnels, one every {PACE:?}")
            }
            Self::Flood { tls } => format!(
                "messages of 64 B on {PACED_TUNNELS} {kind}tunnels, one every {PACE:?}, while {} \
                 flood in",
                if tls {
                    "full handshakes"
                } else {
                    "short connections"
                }
            ),
            Self::Idle { .. } => format!("{} {kind}tunnels that wait", amounts.idle_tunnels),
            Self::Stalled => format!("{STALLED_TUNNELS} tunnels whose reader has stopped"),
            Self::Observed { upgrade: false } => format!(
                "{} round trips of {OBSERVED_BYTES} B on {OBSERVED_TUNNELS} tunnels, logs and \
                 metrics off and on",
                amounts.trips * OBSERVED_TIMES
            ),
            Self::Observed { upgrade: true } => format!(
                "{} WebSocket upgrades, one 64 B round trip each, 32 in flight, logs and metrics \
                 off and on",
                amounts.connections
            ),
        }
    }

    /// Who is compared at this work.
    pub(super) const fn subjects(self) -> &'static [Subject] {
        use Subject::{
            Haproxy, HaproxySplice, Longsplice, LongspliceObserved, Nginx, NginxSmallBuffers,
            SpliceLoop,
        };
        if self.is_tls() {
            return &[Longsplice, Haproxy, Nginx];
        }
        match self {
            Self::Bulk => &[
                Longsplice,
                Haproxy,
                HaproxySplice,
                Nginx,
                NginxSmallBuffers,
                SpliceLoop,
            ],
            Self::Observed { .. } => &[Longsplice, LongspliceObserved],
            Self::Trips { .. } | Self::Short | Self::Idle { .. } | Self::Stalled => {
                &[Longsplice, Haproxy, HaproxySplice, Nginx]
            }
            Self::Upgrade
            | Self::Requests { .. }
            | Self::Quiet { .. }
            | Self::Flood { .. }
            | Self::TlsBulk { .. }
            | Self::Handshakes { .. } => &[Longsplice, Haproxy, Nginx],
        }
    }

    /// Does the work once with `subject` in between.
    ///
    /// # Errors
    /// A proxy that does not start, ends, or loses a byte.
    pub(super) fn measure(self, subject: Subject, setup: &Setup) -> Result<Vec<Figure>> {
        let reactor = Reactor::new()?;
        let mut backend = Backend::start(&reactor, self.behaviour())?;
        let address = backend.address()?;
        let mode = if matches!(
            self,
            Self::Upgrade | Self::Requests { .. } | Self::Observed { upgrade: true }
        ) {
            Mode::Http
        } else if self.is_tls() {
            Mode::Tls
        } else {
            Mode::Tcp
        };
        let proxy = Proxy::start(subject, mode, &setup.programs, setup.proxy_core, address)?;
        process::pin(setup.load_core)?;
        let resuming = matches!(self, Self::Handshakes { resumed: true });
        let dial = if self.is_tls() {
            Dial::tls(proxy.address, resuming)?
        } else {
            Dial::plain(proxy.address)
        };
        let stage = Stage {
            reactor: &reactor,
            backend: &mut backend,
            proxy: &proxy,
            dial,
        };
        let amounts = &setup.amounts;
        let observer = (subject == Subject::LongspliceObserved)
            .then(|| Observer::start(proxy.admin, &setup.programs.scratch));
        let figures = match self {
            Self::Trips {
                message_bytes,
                tunnels,
                ..
            } => stage.trips(message_bytes, tunnels, amounts.trips),
            Self::Bulk | Self::TlsBulk { up: true } => stage.bulk(amounts.bulk_bytes),
            Self::TlsBulk { up: false } => stage.bulk_down(amounts.bulk_bytes),
            Self::Short | Self::Handshakes { .. } => {
                stage.connections(false, resuming, amounts.connections)
            }
            Self::Upgrade => stage.connections(true, resuming, amounts.connections),
            Self::Requests { body_bytes } => stage.requests(body_bytes, amounts.requests),
            Self::Quiet { .. } => stage.paced(false, amounts.paced_trips),
            Self::Flood { .. } => stage.paced(true, amounts.paced_trips),
            Self::Idle { .. } => stage.idle(amounts.idle_tunnels),
            Self::Stalled => stage.stalled(),
            Self::Observed { upgrade: false } => stage.trips(
                OBSERVED_BYTES,
                OBSERVED_TUNNELS,
                amounts.trips * OBSERVED_TIMES,
            ),
            Self::Observed { upgrade: true } => {
                stage.connections(true, resuming, amounts.connections)
            }
        }?;
        observer.map_or(Ok(()), Observer::finish)?;
        Ok(figures)
    }

    const fn behaviour(self) -> Behaviour {
        match self {
            Self::Trips { .. }
            | Self::Short
            | Self::Handshakes { .. }
            | Self::Quiet { .. }
            | Self::Flood { .. }
            | Self::Idle { .. }
            | Self::Observed { upgrade: false } => Behaviour::Echo,
            Self::Bulk | Self::TlsBulk { up: true } => Behaviour::Sink,
            Self::TlsBulk { up: false } => Behaviour::Source,
            Self::Stalled => Behaviour::Stall {
                after_bytes: READ_BEFORE_STALL_BYTES,
            },
            Self::Upgrade | Self::Observed { upgrade: true } => Behaviour::UpgradeThenEcho,
            Self::Requests { body_bytes } => Behaviour::Serve { body_bytes },
        }
    }
}

/// A proxy and the two sides of it, ready for one measurement.
struct Stage<'a> {
    reactor: &'a Reactor,
    backend: &'a mut Backend,
    proxy: &'a Proxy,
    dial: Dial,
}

impl Stage<'_> {
    fn trips(self, message_bytes: usize, tunnels: usize, trips: usize) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
            dial,
        } = self;
        let mut pings = Pings::open(reactor, backend, &dial, tunnels, message_bytes)?;
        pings.run(reactor, backend, trips / 10)?;
        let meter = Meter::start(proxy.pid())?;
        let latencies_ns = pings.run(reactor, backend, trips)?;
        Ok(meter.stop()?.per_unit(trips, &latencies_ns))
    }

    fn bulk(self, bytes: usize) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
            dial,
        } = self;
        let mut writers = Writers::open(&dial, BULK_TUNNELS)?;
        writers.transfer(reactor, backend, bytes / 10)?;
        let meter = Meter::start(proxy.pid())?;
        writers.transfer(reactor, backend, bytes)?;
        Ok(meter.stop()?.per_gigabyte(bytes))
    }

    fn bulk_down(self, bytes: usize) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
            dial,
        } = self;
        let mut readers = Readers::open(reactor, backend, &dial, BULK_TUNNELS)?;
        readers.transfer(reactor, backend, bytes / 10)?;
        let meter = Meter::start(proxy.pid())?;
        readers.transfer(reactor, backend, bytes)?;
        Ok(meter.stop()?.per_gigabyte(bytes))
    }

    fn connections(self, upgrade: bool, resuming: bool, total: usize) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
            dial,
        } = self;
        let mut exchanges = Exchanges::new(dial, upgrade);
        exchanges.run(reactor, backend, total / 10)?;
        let meter = Meter::start(proxy.pid())?;
        let latencies_ns = exchanges.run(reactor, backend, total)?;
        let spent = meter.stop()?;
        let resumed = exchanges.resumed();
        ensure!(
            resumed == if resuming { total } else { 0 },
            "{resumed} of {total} handshakes were resumed"
        );
        Ok(spent.per_unit(total, &latencies_ns))
    }

    fn requests(self, body_bytes: usize, total: usize) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
            ..
        } = self;
        let mut requests = Requests::open(reactor, proxy.address, REQUEST_CONNECTIONS, body_bytes)?;
        requests.run(reactor, backend, total / 10)?;
        let meter = Meter::start(proxy.pid())?;
        let latencies_ns = requests.run(reactor, backend, total)?;
        Ok(meter.stop()?.per_unit(total, &latencies_ns))
    }

    fn paced(self, with_flood: bool, trips: usize) -> Result<Vec<Figure>> {
        const MESSAGE_BYTES: usize = 64;
        let Self {
            reactor,
            backend,
            dial,
            ..
        } = self;
        let mut pings = Pings::open(reactor, backend, &dial, PACED_TUNNELS, MESSAGE_BYTES)?;
        let flood = with_flood.then(|| Exchanges::new(dial, false));
        let latencies_ns = pings.run_paced(reactor, backend, trips, PACE, flood)?;
        Ok(vec![
            (Metric::P50Us, percentile_us(&latencies_ns, 50)),
            (Metric::P99Us, percentile_us(&latencies_ns, 99)),
        ])
    }

    fn idle(self, tunnels: usize) -> Result<Vec<Figure>> {
        /// Opened and closed before, so that what every first connection allocates is in place.
        const EARLIER_CONNECTIONS: usize = 64;
        const MESSAGE_BYTES: usize = 1024;
        let Self {
            reactor,
            backend,
            proxy,
            dial,
        } = self;
        Exchanges::new(dial.clone(), false).run(reactor, backend, EARLIER_CONNECTIONS)?;
        sleep(SETTLE);
        let before = process::resident_bytes(proxy.pid())?;
        let pings = Pings::open(reactor, backend, &dial, tunnels, MESSAGE_BYTES)?;
        sleep(IDLE_FOR);
        let after = process::resident_bytes(proxy.pid())?;
        drop(pings);
        Ok(vec![(
            Metric::ResidentBytes,
            after.saturating_sub(before) as f64 / tunnels as f64,
        )])
    }

    fn stalled(self) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
            dial,
        } = self;
        let mut writers = Writers::open(&dial, STALLED_TUNNELS)?;
        let before = process::resident_bytes(proxy.pid())?;
        writers.fill(reactor, backend)?;
        let after = process::resident_bytes(proxy.pid())?;
        let kernel = socket_bytes(&process::family(proxy.pid())?)?;
        let per_tunnel = |bytes: u64| bytes as f64 / STALLED_TUNNELS as f64;
        Ok(vec![
            (Metric::KernelBytes, per_tunnel(kernel)),
            (
                Metric::ResidentBytes,
                per_tunnel(after.saturating_sub(before)),
            ),
        ])
    }
}
