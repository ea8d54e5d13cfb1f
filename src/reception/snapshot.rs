//! A configuration as the connections of one bind address see it. The main thread publishes it as a
//! whole, so no connection combines the routes of one configuration with the backends of another.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::watch;

use super::client_place::Clients;
use super::refusal::Refusal;
use crate::config::{BackendId, Listener};
use crate::journal::Cause;
use crate::upstream::Upstream;

/// Where the main thread publishes the current snapshot of a bind address.
pub type Present = Arc<ArcSwap<Snapshot>>;

/// The TLS configuration of a listener: read once per handshake, replaced from outside.
pub type TlsNow = watch::Receiver<Arc<ServerConfig>>;

/// A configuration as the connections of one bind address see it.
#[derive(Debug)]
pub struct Snapshot {
    /// The listener that owns the address.
    pub listener: Arc<Listener>,
    /// Present = clients speak TLS, and it ends here.
    pub tls: Option<TlsNow>,
    /// All backends, indexed by [`BackendId`].
    pub upstreams: Arc<[Arc<Upstream>]>,
    /// The edition of each backend that the routes refer to, indexed by [`BackendId`].
    pub editions: Arc<[u32]>,
    /// The clients of the listener, under this snapshot and others.
    pub clients: Clients,
}

/// A backend in the edition that a route refers to.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoutedBackend<'a> {
    /// The backend.
    pub(super) upstream: &'a Arc<Upstream>,
    /// The number of its configuration; each change of the configuration gives it another one.
    pub(super) edition: u32,
}

impl Snapshot {
    /// Returns the backend that a route names.
    ///
    /// # Errors
    /// Never with a parsed configuration, whose routes name backends that exist.
    pub(super) fn backend(&self, id: BackendId) -> Result<RoutedBackend<'_>, Refusal> {
        let found = self.upstreams.get(id.0).zip(self.editions.get(id.0));
        let routed = found.map(|(upstream, edition)| RoutedBackend {
            upstream,
            edition: *edition,
        });
        routed.ok_or_else(|| Refusal::new(Cause::InternalError, "the route names no backend"))
    }

    /// Tells whether its connections need TLS handshakes, with clients or with servers.
    #[must_use]
    pub fn shakes_hands(&self) -> bool {
        let speaks_tls = |upstream: &Arc<Upstream>| upstream.lineup().backend.tls.is_some();
        self.tls.is_some() || self.upstreams.iter().any(speaks_tls)
    }

    /// Tells whether a connection accepted under `other` speaks the same protocol as connections
    /// accepted under this snapshot.
    pub(super) fn speaks_like(&self, other: &Self) -> bool {
        self.listener.mode == other.listener.mode && self.tls.is_some() == other.tls.is_some()
    }
}
