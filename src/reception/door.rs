//! What happens at one bind address: published by main as a whole, taken as a whole by a connection,
//! and taken anew by each further request of it. So nobody ever meets the routes of one configuration
//! with the backends of another, and a socket stays open whatever changes behind it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::client_place::Clients;
use super::refusal::Refusal;
use crate::config::{BackendId, Bind, Listener};
use crate::journal::Cause;
use crate::upstream::Upstream;

/// Between two looks for the snapshot that a reload has begun to publish, and how often it is looked
/// for: two seconds, where it takes far less.
const NEXT_PAUSE: Duration = Duration::from_millis(1);
const NEXT_LOOKS_MAX: u32 = 2000;

/// How often a route is chosen for a request, since reloads come in between.
pub(super) const ROUTES_MAX: u32 = 8;

/// How TLS is ended at this moment: read once for each handshake, replaced from outside.
pub type TlsNow = watch::Receiver<Arc<ServerConfig>>;

/// A configuration as the connections of one bind address meet it.
#[derive(Debug)]
pub struct Snapshot {
    /// Whose they are.
    pub listener: Arc<Listener>,
    /// Present = their clients speak TLS, which ends here.
    pub tls: Option<TlsNow>,
    /// By [`BackendId`].
    pub upstreams: Arc<[Arc<Upstream>]>,
    /// Of them: which configuration of each the routes mean, by [`BackendId`].
    pub editions: Arc<[u32]>,
    /// The listener's clients, under this configuration and others.
    pub clients: Clients,
}

/// A backend as a route means it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meant<'a> {
    /// Which.
    pub(super) upstream: &'a Arc<Upstream>,
    /// Which configuration of it.
    pub(super) edition: u32,
}

impl Snapshot {
    /// Returns the backend that a route names.
    ///
    /// # Errors
    /// Never with a parsed configuration, whose routes name backends that exist.
    pub(super) fn meant(&self, id: BackendId) -> Result<Meant<'_>, Refusal> {
        let found = self.upstreams.get(id.0).zip(self.editions.get(id.0));
        let meant = found.map(|(upstream, edition)| Meant {
            upstream,
            edition: *edition,
        });
        meant.ok_or_else(|| Refusal::new(Cause::InternalError, "the route names no backend"))
    }

    /// Tells whether handshakes are made for it, with clients or with servers.
    #[must_use]
    pub fn shakes_hands(&self) -> bool {
        let speaks_tls = |upstream: &Arc<Upstream>| upstream.lineup().backend.tls.is_some();
        self.tls.is_some() || self.upstreams.iter().any(speaks_tls)
    }

    /// Tells whether a connection that was opened under the `other` one speaks what is spoken here.
    fn speaks_like(&self, other: &Self) -> bool {
        self.listener.mode == other.listener.mode && self.tls.is_some() == other.tls.is_some()
    }
}

/// Where main publishes the present snapshot of a bind address.
pub type Present = Arc<ArcSwap<Snapshot>>;

/// A bind address as one thread serves it.
#[derive(Debug)]
pub(super) struct BoundAddress {
    /// The address.
    pub(super) bind: Bind,
    /// Another process listens here too, and goes on when this one ends.
    pub(super) is_shared: bool,
    present: Present,
    closed: Cell<bool>,
    closing: Notify,
}

impl BoundAddress {
    /// Opens.
    pub(super) fn new(bind: Bind, present: Present, is_shared: bool) -> Self {
        Self {
            bind,
            is_shared,
            present,
            closed: Cell::new(false),
            closing: Notify::new(),
        }
    }

    /// Returns the present snapshot.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.present.load_full()
    }

    /// Returns the snapshot by which to choose again what was chosen by `taken`, for a backend that
    /// has been configured otherwise since: a reload has the backends first, and their routes at once
    /// afterwards.
    ///
    /// # Errors
    /// Nobody is let in here any more, or something else is spoken.
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

    /// Puts the present snapshot in place of `taken`; true = it is another one, and the connection
    /// speaks what is spoken there.
    pub(super) fn renew(&self, taken: &mut Arc<Snapshot>) -> bool {
        let present = self.present.load();
        let changes = !Arc::ptr_eq(&present, taken) && present.speaks_like(taken);
        if changes {
            *taken = Arc::clone(&present);
        }
        changes
    }

    /// Tells whether a connection that has `taken` its snapshot here gets no further request: nobody
    /// is let in any more, or something else is spoken here now.
    pub(super) fn is_behind(&self, taken: &Arc<Snapshot>) -> bool {
        self.closed.get() || !self.present.load().speaks_like(taken)
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.closing.notify_waiters();
    }

    /// Waits until nobody is let in any more.
    pub(super) async fn closed(&self) {
        // Nothing comes between the look and the wait, both are in one poll of one thread.
        if !self.closed.get() {
            self.closing.notified().await;
        }
    }
}
