//! What the connections of one reception thread share: the way to the log and to relay, the phase of the
//! process, and how many of them there are.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::socket::driver::Driver;
use crate::journal::Journal;
use crate::relay;

/// Minimum time between two warnings that descriptors or memory are exhausted.
const EXHAUSTED_WARNING_PAUSE: Duration = Duration::from_secs(10);

/// The phase of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connections are accepted.
    Running,
    /// No connection is accepted; open ones continue.
    Draining,
    /// Connections that are left are closed.
    Ended,
}

/// What all reception threads share. It holds no lock.
#[derive(Debug)]
pub struct Shared {
    /// The places below `max_connections` that are free.
    pub places: Arc<Semaphore>,
    /// All places, free or taken.
    pub places_max: Arc<AtomicUsize>,
}

impl Shared {
    /// Returns the number of client connections.
    #[must_use]
    pub fn connections(&self) -> u32 {
        let open = self
            .places_max
            .load(Ordering::Relaxed)
            .saturating_sub(self.places.available_permits());
        u32::try_from(open).unwrap_or(u32::MAX)
    }
}

/// What the connections of one thread share.
pub(super) struct ThreadContext {
    /// How the thread waits for sockets.
    pub(super) driver: Driver,
    /// What all reception threads share.
    pub(super) shared: Arc<Shared>,
    /// Where log entries go.
    pub(super) journal: Journal,
    /// Where tunnels go.
    pub(super) relay: relay::Handle,
    /// Tunnels handed over since relay was last woken.
    pub(super) unannounced: Cell<u32>,
    /// The phase of the process.
    pub(super) phase: watch::Receiver<Phase>,
    connections: Cell<usize>,
    idle: Notify,
    draining: Cell<bool>,
    drain_begun: Notify,
    exhausted_warning: Cell<Option<Instant>>,
}

impl ThreadContext {
    /// Makes the context of a thread without connections.
    pub(super) fn new(
        driver: Driver,
        shared: Arc<Shared>,
        journal: Journal,
        relay: relay::Handle,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            driver,
            shared,
            journal,
            relay,
            unannounced: Cell::new(0),
            phase,
            connections: Cell::new(0),
            idle: Notify::new(),
            draining: Cell::new(false),
            drain_begun: Notify::new(),
            exhausted_warning: Cell::new(None),
        }
    }

    /// Tells whether a drain has begun: an answer that is sent now is the last one on its connection.
    #[must_use]
    pub(super) fn is_draining(&self) -> bool {
        // The phase changes for all threads at once, the flag when this thread has noticed.
        self.draining.get() || *self.phase.borrow() != Phase::Running
    }

    /// Waits until a drain begins.
    pub(super) async fn drain(&self) {
        // Nothing happens between the check and the wait: both are in one poll of one thread.
        if !self.is_draining() {
            self.drain_begun.notified().await;
        }
    }

    /// Tells waiting connections that a drain has begun.
    pub(super) fn begin_drain(&self) {
        self.draining.set(true);
        self.drain_begun.notify_waiters();
    }

    /// Waits until the thread has no connection.
    pub(super) async fn all_gone(&self) {
        while self.connections.get() > 0 {
            self.idle.notified().await;
        }
    }

    /// Tells whether a warning about exhausted resources is due, and counts it as given.
    pub(super) fn may_warn_exhausted(&self) -> bool {
        let now = Instant::now();
        let may = self
            .exhausted_warning
            .get()
            .is_none_or(|last| now - last >= EXHAUSTED_WARNING_PAUSE);
        if may {
            self.exhausted_warning.set(Some(now));
        }
        may
    }
}

/// Counts a connection until it is dropped, which happens even if the task panics.
pub(super) struct Counted(Rc<ThreadContext>);

impl Counted {
    /// Counts one more.
    pub(super) fn new(context: &Rc<ThreadContext>) -> Self {
        context.connections.set(context.connections.get() + 1);
        Self(Rc::clone(context))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.0.connections.get().saturating_sub(1);
        self.0.connections.set(left);
        if left == 0 {
            self.0.idle.notify_one();
        }
    }
}
