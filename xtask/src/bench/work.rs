//! The kinds of work measured, and how each becomes figures.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::backend::{Backend, Behaviour};
use super::exchanges::Exchanges;
use super::meter::{Meter, SETTLE, percentile_us, socket_bytes};
use super::pings::Pings;
use super::process;
use super::reactor::Reactor;
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

/// Tunnels whose reader stalls.
const STALLED_TUNNELS: usize = 16;

/// Bytes each reader takes at full speed before it stalls, so that the kernel's buffers have grown.
const READ_BEFORE_STALL_BYTES: usize = 32_000_000;

/// Unit of bulk: a gigabyte of 10^9 bytes.
const GIGABYTE: usize = 1_000_000_000;

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Round trips on `tunnels` tunnels, one outstanding on each.
    Trips {
        /// Bytes each way.
        message_bytes: usize,
        /// Tunnels active at the same time.
        tunnels: usize,
    },
    /// One way, 64 KiB writes, [`BULK_TUNNELS`] tunnels.
    Bulk,
    /// Connect, one round trip of 64 bytes, close; 32 at a time.
    Short,
    /// Connect, upgrade to WebSocket, one round trip, close; 32 at a time.
    Upgrade,
    /// HTTP requests on [`REQUEST_CONNECTIONS`] kept connections, one outstanding on each.
    Requests {
        /// Bytes of each answer's body.
        body_bytes: usize,
    },
    /// Messages at a gentle pace, and nothing else.
    Quiet,
    /// The same while short connections come as fast as they can.
    Flood,
    /// Tunnels that have carried one message and wait.
    Idle,
    /// Tunnels whose reader has stopped while the writer goes on.
    Stalled,
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
    pub(super) const ALL: [Self; 13] = [
        Self::Trips {
            message_bytes: 64,
            tunnels: 64,
        },
        Self::Trips {
            message_bytes: 1024,
            tunnels: 64,
        },
        Self::Trips {
            message_bytes: 64,
            tunnels: 1000,
        },
        Self::Trips {
            message_bytes: 1024,
            tunnels: 1000,
        },
        Self::Bulk,
        Self::Short,
        Self::Upgrade,
        Self::Requests { body_bytes: 1024 },
        Self::Requests {
            body_bytes: 100 * 1024,
        },
        Self::Quiet,
        Self::Flood,
        Self::Idle,
        Self::Stalled,
    ];

    /// The name in tables and raw rows.
    pub(super) fn name(self) -> String {
        match self {
            Self::Trips {
                message_bytes,
                tunnels,
            } => format!("trips-{message_bytes}B-{tunnels}"),
            Self::Bulk => "bulk".to_owned(),
            Self::Short => "short".to_owned(),
            Self::Upgrade => "upgrade".to_owned(),
            Self::Requests { body_bytes } => format!("requests-{}K", body_bytes / 1024),
            Self::Quiet => "quiet".to_owned(),
            Self::Flood => "flood".to_owned(),
            Self::Idle => "idle".to_owned(),
            Self::Stalled => "stalled".to_owned(),
        }
    }

    /// One sentence for the table.
    pub(super) fn description(self, amounts: &Amounts) -> String {
        match self {
            Self::Trips {
                message_bytes,
                tunnels,
            } => format!(
                "{} round trips of {message_bytes} B on {tunnels} tunnels",
                amounts.trips
            ),
            Self::Bulk => format!(
                "{} MB one way on {BULK_TUNNELS} tunnels, 64 KiB writes",
                amounts.bulk_bytes / 1_000_000
            ),
            Self::Short => format!(
                "{} connections, one 64 B round trip each, 32 in flight",
                amounts.connections
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
            Self::Quiet => {
                format!("messages of 64 B on {PACED_TUNNELS} tunnels, one every {PACE:?}")
            }
            Self::Flood => format!(
                "messages of 64 B on {PACED_TUNNELS} tunnels, one every {PACE:?}, while short \
                 connections flood in"
            ),
            Self::Idle => format!("{} tunnels that wait", amounts.idle_tunnels),
            Self::Stalled => format!("{STALLED_TUNNELS} tunnels whose reader has stopped"),
        }
    }

    /// Who is compared at this work.
    pub(super) const fn subjects(self) -> &'static [Subject] {
        use Subject::{Haproxy, HaproxySplice, Longsplice, Nginx, NginxSmallBuffers, SpliceLoop};
        match self {
            Self::Bulk => &[
                Longsplice,
                Haproxy,
                HaproxySplice,
                Nginx,
                NginxSmallBuffers,
                SpliceLoop,
            ],
            Self::Upgrade | Self::Requests { .. } | Self::Quiet | Self::Flood => {
                &[Longsplice, Haproxy, Nginx]
            }
            Self::Trips { .. } | Self::Short | Self::Idle | Self::Stalled => {
                &[Longsplice, Haproxy, HaproxySplice, Nginx]
            }
        }
    }

    /// Does the work once with `subject` in between.
    ///
    /// # Errors
    /// A proxy that does not start, ends, or loses a byte.
    pub(super) fn measure(self, subject: Subject, setup: &Setup) -> Result<Vec<Figure>> {
        let (mode, behaviour) = match self {
            Self::Trips { .. } | Self::Short | Self::Quiet | Self::Flood | Self::Idle => {
                (Mode::Tcp, Behaviour::Echo)
            }
            Self::Bulk => (Mode::Tcp, Behaviour::Sink),
            Self::Stalled => (
                Mode::Tcp,
                Behaviour::Stall {
                    after_bytes: READ_BEFORE_STALL_BYTES,
                },
            ),
            Self::Upgrade => (Mode::Http, Behaviour::UpgradeThenEcho),
            Self::Requests { body_bytes } => (Mode::Http, Behaviour::Serve { body_bytes }),
        };
        let reactor = Reactor::new()?;
        let mut backend = Backend::start(&reactor, behaviour)?;
        let address = backend.address()?;
        let proxy = Proxy::start(subject, mode, &setup.programs, setup.proxy_core, address)?;
        process::pin(setup.load_core)?;
        let stage = Stage {
            reactor: &reactor,
            backend: &mut backend,
            proxy: &proxy,
        };
        match self {
            Self::Trips {
                message_bytes,
                tunnels,
            } => stage.trips(message_bytes, tunnels, setup.amounts.trips),
            Self::Bulk => stage.bulk(setup.amounts.bulk_bytes),
            Self::Short => stage.connections(false, setup.amounts.connections),
            Self::Upgrade => stage.connections(true, setup.amounts.connections),
            Self::Requests { body_bytes } => stage.requests(body_bytes, setup.amounts.requests),
            Self::Quiet => stage.paced(false, setup.amounts.paced_trips),
            Self::Flood => stage.paced(true, setup.amounts.paced_trips),
            Self::Idle => stage.idle(setup.amounts.idle_tunnels),
            Self::Stalled => stage.stalled(),
        }
    }
}

/// A proxy and the two sides of it, ready for one measurement.
struct Stage<'a> {
    reactor: &'a Reactor,
    backend: &'a mut Backend,
    proxy: &'a Proxy,
}

impl Stage<'_> {
    fn trips(self, message_bytes: usize, tunnels: usize, trips: usize) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
        } = self;
        let mut pings = Pings::open(reactor, backend, proxy.address, tunnels, message_bytes)?;
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
        } = self;
        let mut writers = Writers::open(proxy.address, BULK_TUNNELS)?;
        writers.transfer(reactor, backend, bytes / 10)?;
        let meter = Meter::start(proxy.pid())?;
        writers.transfer(reactor, backend, bytes)?;
        let spent = meter.stop()?;
        let gigabytes = bytes as f64 / GIGABYTE as f64;
        Ok(vec![
            (Metric::CpuSecondsPerGb, spent.cpu.as_secs_f64() / gigabytes),
            (Metric::BusyPercent, spent.busy_percent()),
        ])
    }

    fn connections(self, upgrade: bool, total: usize) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
        } = self;
        let mut exchanges = Exchanges::new(proxy.address, upgrade);
        exchanges.run(reactor, backend, total / 10)?;
        let meter = Meter::start(proxy.pid())?;
        let latencies_ns = exchanges.run(reactor, backend, total)?;
        Ok(meter.stop()?.per_unit(total, &latencies_ns))
    }

    fn requests(self, body_bytes: usize, total: usize) -> Result<Vec<Figure>> {
        let Self {
            reactor,
            backend,
            proxy,
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
            proxy,
        } = self;
        let address = proxy.address;
        let mut pings = Pings::open(reactor, backend, address, PACED_TUNNELS, MESSAGE_BYTES)?;
        let flood = with_flood.then(|| Exchanges::new(address, false));
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
        } = self;
        Exchanges::new(proxy.address, false).run(reactor, backend, EARLIER_CONNECTIONS)?;
        sleep(SETTLE);
        let before = process::resident_bytes(proxy.pid())?;
        let pings = Pings::open(reactor, backend, proxy.address, tunnels, MESSAGE_BYTES)?;
        sleep(SETTLE);
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
        } = self;
        let mut writers = Writers::open(proxy.address, STALLED_TUNNELS)?;
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
