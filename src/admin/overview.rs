//! The process at one moment, for the dashboard and `longsplice top`.
//!
//! Counters only grow, as in the metrics; a rate is the difference of two overviews over that of `at_ms`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::sample::{Busy, Sample, Sampler};
use super::state::{BackendState, ListenerState, Sources, Status, millis};
use crate::journal::counts::{Count, Names, Sum, Way};
use crate::journal::{Cause, Offloaded};
use crate::relay::stats::Means;

/// Changes of servers in one overview.
const CHANGES_MAX: usize = 100;
/// Directions of bytes: their word, and whether they go to the client.
const DIRECTIONS: [(&str, bool); 2] = [("in", false), ("out", true)];

/// The state of a process except single tunnels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: u64,
    /// The process as a whole.
    pub status: Status,
    /// Sums of `traffic`.
    pub totals: Totals,
    /// The listeners.
    pub listeners: Vec<ListenerState>,
    /// Counts by listener, backend and server.
    pub traffic: Vec<TrafficCount>,
    /// The backends and their servers.
    pub backends: Vec<BackendState>,
    /// Changes of servers, the latest first; at most a hundred.
    pub changes: Vec<ServerChange>,
    /// Bytes through tunnels by path, since the start.
    pub moved: Vec<Moved>,
    /// Open tunnels by offload state.
    pub offload: Vec<OffloadCount>,
    /// The tunnels that moved most since the last sample.
    pub busiest: Vec<Busy>,
}

/// Counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Connections of clients.
    pub accepted: u64,
    /// Tunnels that were opened.
    pub tunnels_opened: u64,
    /// Tunnels that ended.
    pub tunnels_ended: u64,
    /// Requests that were answered and are no tunnels.
    pub requests: u64,
    /// Connections and requests that were refused or failed.
    pub refused: u64,
    /// Bytes from clients, through tunnels and in bodies.
    pub bytes_in: u64,
    /// Bytes to clients, through tunnels and in bodies.
    pub bytes_out: u64,
}

/// Counted since the start for one combination of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficCount {
    /// Name of the listener.
    pub listener: String,
    /// Name of the backend; none = not chosen yet.
    pub backend: Option<String>,
    /// Name of the server; none = not chosen yet.
    pub server: Option<String>,
    /// Tunnels that are open now.
    pub tunnels: u64,
    /// The counts.
    #[serde(flatten)]
    pub totals: Totals,
}

/// A change of a server's standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerChange {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Name of the backend.
    pub backend: String,
    /// Name of the server.
    pub server: String,
    /// Its new standing: `up`, `suspect`, `down` or `drained`.
    pub state: String,
    /// The reason.
    pub why: String,
}

/// Bytes of one direction and one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// `in` from clients or `out` to them.
    pub direction: String,
    /// `copy`, `splice`, `user-records` or `kernel-tls`.
    pub path: String,
    /// Number of bytes.
    pub bytes: u64,
}

/// Open tunnels over TLS in one state of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffloadCount {
    /// `in` from clients or `out` to them.
    pub direction: String,
    /// The offload state, as in access lines.
    pub state: String,
    /// Number of tunnels.
    pub tunnels: usize,
}

/// Takes an overview.
pub async fn overview(sampler: &Sampler) -> Overview {
    // First the sample, which adds the bytes of open tunnels to the counters.
    let sample = sampler.sample().await;
    let sources = sampler.sources();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let traffic = traffic(&sources.counts.tally().read());
    let mut totals = Totals::default();
    for row in &traffic {
        totals.add(&row.totals);
    }
    Overview {
        at_ms: millis(now.unwrap_or_default()),
        status: sources.status(),
        totals,
        listeners: sources.listeners(),
        traffic,
        backends: sources.backends(),
        changes: changes(sources),
        moved: moved(sources),
        offload: offload(&sample),
        busiest: sample.busiest.clone(),
    }
}

impl Totals {
    fn of(sum: &Sum) -> Self {
        Self {
            accepted: sum.of(Count::Accepted),
            tunnels_opened: sum.of(Count::Opened),
            tunnels_ended: sum.ended(),
            requests: over_causes(sum, Count::Requests),
            refused: over_causes(sum, Count::Refused),
            bytes_in: bytes(sum, Way::In),
            bytes_out: bytes(sum, Way::Out),
        }
    }

    /// Adds `more`.
    pub fn add(&mut self, more: &Self) {
        self.accepted += more.accepted;
        self.tunnels_opened += more.tunnels_opened;
        self.tunnels_ended += more.tunnels_ended;
        self.requests += more.requests;
        self.refused += more.refused;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
    }
}

fn over_causes(sum: &Sum, count: fn(Cause) -> Count) -> u64 {
    Cause::ALL.iter().map(|cause| sum.of(count(*cause))).sum()
}

fn bytes(sum: &Sum, way: Way) -> u64 {
    sum.of(Count::TunnelBytes(way)) + sum.of(Count::BodyBytes(way))
}

fn traffic(sums: &BTreeMap<Names, Sum>) -> Vec<TrafficCount> {
    let row = |(names, sum): (&Names, &Sum)| {
        let totals = Totals::of(sum);
        TrafficCount {
            listener: names.listener.to_string(),
            backend: names.backend.as_deref().map(str::to_owned),
            server: names.server.as_deref().map(str::to_owned),
            // The end of a tunnel may be read before its beginning.
            tunnels: totals.tunnels_opened.saturating_sub(totals.tunnels_ended),
            totals,
        }
    };
    sums.iter().map(row).collect()
}

fn changes(sources: &Sources) -> Vec<ServerChange> {
    let mut changes = Vec::new();
    for upstream in &sources.scene().upstreams {
        for seat in &upstream.lineup().seats {
            let turns = seat.member.record.recent();
            changes.extend(turns.into_iter().map(|turn| ServerChange {
                time_ms: turn.time_ms,
                backend: upstream.name.to_string(),
                server: seat.member.name.to_string(),
                state: turn.standing.as_str().to_owned(),
                why: turn.why.to_string(),
            }));
        }
    }
    // Of the same moment, the later one first.
    changes.reverse();
    changes.sort_by_key(|change| Reverse(change.time_ms));
    changes.truncate(CHANGES_MAX);
    changes
}

fn moved(sources: &Sources) -> Vec<Moved> {
    let of = |to_clients, means| {
        let each = sources.relays.iter();
        each.map(|relay| relay.stats().moved(to_clients, means))
            .sum()
    };
    let all = DIRECTIONS
        .into_iter()
        .flat_map(|direction| Means::ALL.map(|means| (direction, means)));
    all.map(|((direction, to_clients), means)| Moved {
        direction: direction.to_owned(),
        path: means.as_str().to_owned(),
        bytes: of(to_clients, means),
    })
    .collect()
}

fn offload(sample: &Sample) -> Vec<OffloadCount> {
    let mut rows = Vec::new();
    for ((direction, _), counts) in DIRECTIONS.into_iter().zip(&sample.offload) {
        for (state, tunnels) in Offloaded::ALL.into_iter().zip(counts) {
            if *tunnels > 0 {
                rows.push(OffloadCount {
                    direction: direction.to_owned(),
                    state: state.as_str().to_owned(),
                    tunnels: *tunnels,
                });
            }
        }
    }
    rows
}
