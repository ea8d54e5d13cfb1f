//! Number of data threads, their cores, and their start.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

use super::listeners::{Listeners, Orders};
use super::start_error::StartError;
use crate::config::{Process, Threads};
use crate::journal::Journal;
use crate::reception::context::{Phase, Shared};
use crate::reception::socket::driver::Driver;
use crate::reception::thread::{self as reception, Setup};
use crate::relay::offload::KernelTls;
use crate::relay::poller::{PollerChoice, PollerKind};
use crate::relay::{self, Relay};

/// Resources that all reception threads share.
pub(super) struct Common<'a> {
    pub(super) relays: &'a [Relay],
    pub(super) shared: &'a Arc<Shared>,
    pub(super) journal: &'a Journal,
    pub(super) phase: &'a watch::Receiver<Phase>,
    pub(super) ended: mpsc::UnboundedSender<usize>,
}

/// The number of threads and their cores.
pub(super) struct Plan<'a> {
    pub(super) receptions: usize,
    pub(super) relays: usize,
    /// Cores to pin to; none if the threads do not cover them all, because the scheduler places fewer threads
    /// than cores better than pinning to the first ones.
    pinned: Option<&'a [usize]>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(process: &Process, cores: &'a [usize]) -> Self {
        let count = |threads| match threads {
            Threads::Auto => cores.len().max(1),
            Threads::Count(count) => count.get(),
        };
        let (receptions, relays) = (
            count(process.reception_threads),
            count(process.relay_threads),
        );
        let paired = receptions == relays && relays == cores.len();
        Self {
            receptions,
            relays,
            pinned: paired.then_some(cores),
        }
    }

    pub(super) fn say_ready(&self, listeners: &Listeners) {
        for address in listeners.addresses() {
            tracing::info!(%address, "listening");
        }
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            reception_threads = self.receptions,
            relay_threads = self.relays,
            "ready"
        );
    }

    pub(super) fn core(&self, index: usize) -> Option<usize> {
        self.pinned.and_then(|cores| cores.get(index).copied())
    }

    pub(super) fn start_relays(
        &self,
        kernel_tls: &Arc<KernelTls>,
        journal: &Journal,
    ) -> Result<Vec<Relay>, StartError> {
        let mut relays: Vec<Relay> = Vec::with_capacity(self.relays);
        for index in 0..self.relays {
            let (core, kernel_tls) = (self.core(index), Arc::clone(kernel_tls));
            let relay = relay::spawn(index, core, PollerChoice::Auto, kernel_tls, journal.clone())
                .map_err(|error| StartError::System("relay thread", error))?;
            relays.push(relay);
        }
        if let Some(why) = relays
            .first()
            .and_then(|relay| relay.poller().refused.as_deref())
        {
            tracing::warn!(
                why,
                "io_uring cannot be used; epoll stands in: see longsplice doctor"
            );
        }
        Ok(relays)
    }

    pub(super) fn start_receptions(
        &self,
        orders: Vec<Orders>,
        common: &Common<'_>,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let mut threads = Vec::with_capacity(self.receptions);
        for ((index, orders), relay) in orders
            .into_iter()
            .enumerate()
            .zip(common.relays.iter().cycle())
        {
            let driver = match relay.poller().kind {
                PollerKind::IoUring => Driver::Ring,
                PollerKind::Epoll => Driver::Epoll,
            };
            let setup = Setup {
                index,
                core: self.core(index),
                driver,
                orders,
                relay: relay.handle(),
                shared: Arc::clone(common.shared),
                journal: common.journal.clone(),
                phase: common.phase.clone(),
                ended: common.ended.clone(),
            };
            let thread = reception::spawn(setup)
                .map_err(|error| StartError::System("reception thread", error))?;
            threads.push(thread);
        }
        Ok(threads)
    }
}
