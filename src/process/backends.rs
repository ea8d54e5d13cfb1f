//! Backends and their supervisors, at the start and in a reload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::certificates::ServersTls;
use crate::config::Backend;
use crate::tls::wrong::Wrong;
use crate::upstream::client_tls::ClientTls;
use crate::upstream::{Supervisor, Upstream, supervise};

/// How long the start, or a reload with new backends, waits in total for names and first checks. What is
/// still unknown then is determined while connections are accepted.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// The backends with their supervisors.
pub(super) struct Backends {
    /// In the order of the configuration.
    all: Vec<Supervised>,
}

struct Supervised {
    upstream: Arc<Upstream>,
    /// Ends when this value is dropped.
    supervisor: Supervisor,
    /// The configurations of TLS that its servers use.
    tls: Option<ClientTls>,
}

/// The parts of a configuration's backends that can fail: TLS to their servers, in the order of the
/// configuration.
pub(super) struct PreparedTls(Vec<Option<ServersTls>>);

impl PreparedTls {
    /// Reads the files of every backend.
    ///
    /// # Errors
    /// The first backend whose files cannot be used, and the reason.
    pub(super) fn of(backends: &[Backend]) -> Result<Self, (Arc<str>, Wrong)> {
        let each = backends.iter().map(|backend| {
            let tls = ServersTls::of(backend);
            tls.map_err(|wrong| (Arc::clone(&backend.name), wrong))
        });
        Ok(Self(each.collect::<Result<_, _>>()?))
    }

    /// Returns the files to be watched.
    pub(super) fn into_watched(self) -> Vec<ServersTls> {
        self.0.into_iter().flatten().collect()
    }
}

impl Supervised {
    fn begin(backend: &Backend, tls: Option<&ServersTls>, nameservers: &[SocketAddr]) -> Self {
        let tls = tls.map(ServersTls::tls);
        let backend = Arc::new(backend.clone());
        let upstream = Upstream::new(Arc::clone(&backend), Vec::new());
        let supervisor = supervise(Arc::clone(&upstream), backend, tls, nameservers);
        Self {
            upstream,
            supervisor,
            tls: tls.cloned(),
        }
    }
}

impl Backends {
    /// Makes the backends of a start, with their supervisors.
    pub(super) fn begin(
        backends: &[Backend],
        tls: &PreparedTls,
        nameservers: &[SocketAddr],
    ) -> Self {
        let each = backends.iter().zip(&tls.0);
        let all = each.map(|(backend, tls)| Supervised::begin(backend, tls.as_ref(), nameservers));
        Self { all: all.collect() }
    }

    /// Returns the backends, in the order of the configuration.
    pub(super) fn upstreams(&self) -> Arc<[Arc<Upstream>]> {
        let all = self.all.iter();
        all.map(|one| Arc::clone(&one.upstream)).collect()
    }

    /// Waits until every backend may serve, or its servers have all been checked once, for some seconds at
    /// most.
    pub(super) async fn settle(&mut self) {
        let deadline = Instant::now() + SETTLE_TIME;
        for one in &mut self.all {
            // All share one deadline, so a late server does not delay the others.
            let _ = timeout_at(deadline, one.supervisor.settled()).await;
        }
    }

    /// Changes to the backends of another configuration. A backend that keeps its name keeps its queue and
    /// the state of its servers; unchanged backends are not touched. New backends get a moment for their
    /// first checks, and removed ones are no longer supervised. Returns the files to be watched.
    pub(super) async fn apply(
        &mut self,
        backends: &[Backend],
        mut tls: PreparedTls,
        nameservers: &[SocketAddr],
        asks_others: bool,
    ) -> Vec<ServersTls> {
        let mut before = std::mem::take(&mut self.all);
        let mut changed = Vec::new();
        let deadline = Instant::now() + SETTLE_TIME;
        let mut new = Vec::new();
        for (backend, tls) in backends.iter().zip(&mut tls.0) {
            let known = (before.iter()).position(|one| one.upstream.name == backend.name);
            let Some(known) = known else {
                new.push(self.all.len());
                self.all
                    .push(Supervised::begin(backend, tls.as_ref(), nameservers));
                continue;
            };
            let mut known = before.swap_remove(known);
            if let (Some(tls), Some(used)) = (&mut *tls, &known.tls) {
                tls.succeed(used);
            }
            known.tls = tls.as_ref().map(|tls| tls.tls().clone());
            if asks_others || *known.upstream.lineup().backend != *backend {
                changed.push((self.all.len(), backend, known.tls.clone()));
            }
            self.all.push(known);
        }
        for place in new {
            if let Some(one) = self.all.get_mut(place) {
                let _ = timeout_at(deadline, one.supervisor.settled()).await;
            }
        }
        for (place, backend, tls) in changed {
            if let Some(one) = self.all.get_mut(place) {
                let backend = Arc::new(backend.clone());
                one.supervisor.reconfigure(backend, tls, nameservers).await;
            }
        }
        tls.into_watched()
    }
}
