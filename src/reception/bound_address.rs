//! A bind address as one thread serves it. A connection takes the current snapshot when it is accepted,
//! and takes the newer one, if there is one, with each further request. The listening socket stays open
//! across reloads.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::refusal::Refusal;
use super::snapshot::{Present, Snapshot};
use crate::config::Bind;
use crate::journal::Cause;

/// Pause between two looks for the snapshot of a reload in progress, and how many looks there are: two
/// seconds in all, where publishing takes far less.
const NEXT_PAUSE: Duration = Duration::from_millis(1);
const NEXT_LOOKS_MAX: u32 = 2000;

/// How often a route is chosen for one request: again after each reload that changes its backend.
pub(super) const ROUTES_MAX: u32 = 8;

/// A bind address as one thread serves it.
#[derive(Debug)]
pub(super) struct BoundAddress {
    /// The address.
    pub(super) bind: Bind,
    /// Another process listens here too, and continues when this one ends.
    pub(super) is_shared: bool,
    present: Present,
    closed: Cell<bool>,
    closing: Notify,
}

impl BoundAddress {
    /// Makes an open one.
    pub(super) fn new(bind: Bind, present: Present, is_shared: bool) -> Self {
        Self {
            bind,
            is_shared,
            present,
            closed: Cell::new(false),
            closing: Notify::new(),
        }
    }

    /// Returns the current snapshot.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.present.load_full()
    }

    /// Returns the snapshot that follows `taken`, to choose a route again: the backend chosen by
    /// `taken` has a newer configuration. A reload publishes backends first and routes right after.
    ///
    /// # Errors
    /// The address was closed, or its connections now speak another protocol.
    pub(super) async fn next(&self, taken: &Arc<Snapshot>) -> Result<Arc<Snapshot>, Refusal> {
        let mut next = Arc::clone(taken);
        for _ in 0..NEXT_LOOKS_MAX {
            if self.renew(&mut next) {
                return Ok(next);
            }
            if self.is_behind(taken) {
                break;
            }
            sleep(NEXT_PAUSE).await;
        }
        let why = "a reload has taken its listener away, and changed its backend";
        Err(Refusal::new(Cause::NoServer, why))
    }

    /// Replaces `taken` with the current snapshot; true = that is another one. A snapshot whose
    /// connections speak another protocol is not taken.
    pub(super) fn renew(&self, taken: &mut Arc<Snapshot>) -> bool {
        let present = self.present.load();
        let changes = !Arc::ptr_eq(&present, taken) && present.speaks_like(taken);
        if changes {
            *taken = Arc::clone(&present);
        }
        changes
    }

    /// Tells whether a connection with the snapshot `taken` gets no further request, because the
    /// address was closed or its connections now speak another protocol.
    pub(super) fn is_behind(&self, taken: &Arc<Snapshot>) -> bool {
        self.closed.get() || !self.present.load().speaks_like(taken)
    }

    /// Accepts no further connections.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.closing.notify_waiters();
    }

    /// Waits until the address is closed.
    pub(super) async fn closed(&self) {
        // Nothing happens between the check and the wait: both are in one poll of one thread.
        if !self.closed.get() {
            self.closing.notified().await;
        }
    }
}
