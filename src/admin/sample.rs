//! A sample of the data that relay threads must be asked for: bytes of open tunnels, the busiest of them,
//! pipes. Concurrent callers share one sample, and a new one is taken when it is too old.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::state::{Sources, TunnelState, tunnel};
use crate::journal::Offloaded;
use crate::relay::inspect::Settled;

/// A sample younger than this is used again.
const FRESH: Duration = Duration::from_millis(500);
/// Tunnels reported as the busiest.
const BUSIEST_LEN: usize = 10;

/// The sampled data.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Number of open tunnels by offload state, in and out, in the order of [`Offloaded::ALL`].
    pub offload: [[usize; Offloaded::ALL.len()]; 2],
    /// Pipes of each relay thread, and how many of them hold bytes.
    pub pipes: Vec<(usize, usize)>,
    /// Waits that found the ring of a relay thread overflowed.
    pub overflows: Vec<u64>,
    /// The tunnels that moved most since the sample before.
    pub busiest: Vec<Busy>,
}

/// A tunnel and its throughput.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// Bytes a second, both directions together.
    pub bytes_per_second: u64,
    /// The tunnel.
    pub tunnel: TunnelState,
}

/// Takes samples on demand.
#[derive(Debug)]
pub struct Sampler {
    sources: Arc<Sources>,
    last: Mutex<Option<(Instant, Arc<Sample>)>>,
}

impl Sampler {
    /// Makes a sampler of `sources`.
    #[must_use]
    pub fn new(sources: Arc<Sources>) -> Self {
        let last = Mutex::default();
        Self { sources, last }
    }

    /// Returns the sources of all other data.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns a fresh sample; concurrent callers wait for the same one.
    pub async fn sample(&self) -> Arc<Sample> {
        let mut last = self.last.lock().await;
        let now = Instant::now();
        let since = match &*last {
            Some((at, sample)) if now - *at < FRESH => return Arc::clone(sample),
            Some((at, _)) => now - *at,
            None => self.sources.started.elapsed().unwrap_or_default(),
        };
        let sample = Arc::new(self.take(since).await);
        *last = Some((now, Arc::clone(&sample)));
        sample
    }

    async fn take(&self, since: Duration) -> Sample {
        let mut sample = Sample::default();
        let mut busiest = Vec::new();
        for relay in &self.sources.relays {
            let mut last = Settled::default();
            let mut next = Some(0);
            while let Some(from) = next {
                // A thread that has ended has no open tunnels.
                let mut settled = relay.settle(from).await.unwrap_or_default();
                let ways = sample.offload.iter_mut().zip(&settled.offload);
                for (sum, more) in ways.flat_map(|(sums, mores)| sums.iter_mut().zip(mores)) {
                    *sum += more;
                }
                busiest.append(&mut settled.busiest);
                next = settled.next;
                last = settled;
            }
            sample.pipes.push(last.pipes);
            sample.overflows.push(last.overflows);
        }
        busiest.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        busiest.truncate(BUSIEST_LEN);
        let pace = |bytes: u64| {
            let per_second = u128::from(bytes) * 1000 / since.as_millis().max(1);
            u64::try_from(per_second).unwrap_or(u64::MAX)
        };
        let busy = busiest.iter().map(|(bytes, glance)| Busy {
            bytes_per_second: pace(*bytes),
            tunnel: tunnel(glance),
        });
        sample.busiest = busy.collect();
        sample
    }
}
