//! The data of one scrape, read at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::super::sample::{Sample, Sampler};
use super::super::state::{BackendState, Sources, Status};
use crate::journal::counts::{Names, Sum, Way};
use crate::relay::stats::Means;

/// The directions and their words.
pub(super) const WAYS: [(Way, &str); 2] = [(Way::In, "in"), (Way::Out, "out")];

/// One scrape.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) status: Status,
    pub(super) backends: Vec<BackendState>,
    pub(super) sums: BTreeMap<Names, Sum>,
    pub(super) threads: Vec<Thread>,
    pub(super) sample: Arc<Sample>,
    pub(super) log_waiting: usize,
    pub(super) started_s: f64,
}

impl Scrape {
    /// Reads everything.
    pub(super) async fn take(sampler: &Sampler) -> Self {
        // The sample moves the bytes of open tunnels into the counters, so it comes first.
        let sample = sampler.sample().await;
        let sources = sampler.sources();
        Self {
            status: sources.status(),
            backends: sources.backends(),
            sums: sources.counts.tally().read(),
            threads: threads_of(sources, &sample),
            log_waiting: sources.counts.waiting(),
            sample,
            started_s: since_1970_s(sources),
        }
    }
}

/// The counters of a relay thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) number: String,
    pub(super) tunnels: u64,
    pub(super) moved: Vec<(&'static str, &'static str, u64)>,
    pub(super) pipes: (u64, u64),
    pub(super) pipes_refused: u64,
    pub(super) overflows: u64,
}

fn since_1970_s(sources: &Sources) -> f64 {
    let since = sources.started.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

fn threads_of(sources: &Sources, sample: &Sample) -> Vec<Thread> {
    let seen = sample.pipes.iter().zip(&sample.overflows);
    let threads = sources.relays.iter().zip(seen).enumerate();
    let thread = threads.map(|(number, (relay, ((open, lent), overflows)))| Thread {
        number: number.to_string(),
        tunnels: relay.alive() as u64,
        moved: WAYS
            .into_iter()
            .flat_map(|(way, word)| {
                let stats = relay.stats();
                Means::ALL.map(|means| {
                    let moved = stats.moved(way == Way::Out, means);
                    (word, means.as_str(), moved)
                })
            })
            .collect(),
        pipes: (*open as u64, *lent as u64),
        pipes_refused: relay.stats().pipes_refused(),
        overflows: *overflows,
    });
    thread.collect()
}
