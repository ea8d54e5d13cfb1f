//! Backends: who looks after them, and what the start waits for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::Backend;
use crate::upstream::{Supervisor, Upstream, supervise};

/// How long the start waits for names and first checks, all of them together. What is not known by
/// then is found out while connections are accepted.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// The backends, and those who look after them.
pub(super) struct Backends {
    /// In the order of the configuration.
    pub(super) upstreams: Vec<Arc<Upstream>>,
    supervisors: Vec<Supervisor>,
}

/// Prepares the backends; from now on they are looked after.
pub(super) fn open(backends: Vec<Backend>, nameservers: &[SocketAddr]) -> Backends {
    let mut upstreams = Vec::with_capacity(backends.len());
    let mut supervisors = Vec::with_capacity(backends.len());
    for backend in backends {
        let backend = Arc::new(backend);
        let upstream = Upstream::new(Arc::clone(&backend), Vec::new());
        supervisors.push(supervise(Arc::clone(&upstream), backend, nameservers));
        upstreams.push(upstream);
    }
    Backends {
        upstreams,
        supervisors,
    }
}

impl Backends {
    /// Waits until every backend may serve, or its servers have all been looked at, for some
    /// seconds at most.
    pub(super) async fn settle(&mut self) {
        let deadline = Instant::now() + SETTLE_TIME;
        for supervisor in &mut self.supervisors {
            // Time is the same for all, so whoever is late delays nobody else's turn.
            let _ = timeout_at(deadline, supervisor.settled()).await;
        }
    }
}
