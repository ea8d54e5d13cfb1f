//! Backends: who looks after them, what the start waits for, and what becomes of them in a reload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::Backend;
use crate::tls::identity::Wrong;
use crate::upstream::client_tls::ClientTls;
use crate::upstream::{Supervisor, Upstream, supervise};

/// How long the start, or a reload that brings new backends, waits for names and first checks, all of
/// them together. What is not known by then is found out while connections are accepted.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// The backends, and those who look after them.
pub(super) struct Backends {
    /// In the order of the configuration.
    all: Vec<Supervised>,
}

struct Supervised {
    upstream: Arc<Upstream>,
    /// Ends with this value.
    supervisor: Supervisor,
}

/// What the backends of one configuration need that can fail: TLS towards their servers, in the order
/// of the configuration.
pub(super) struct PreparedTls(Vec<Option<ClientTls>>);

impl PreparedTls {
    /// Reads the files of every backend.
    ///
    /// # Errors
    /// The first backend whose files cannot be used, and why.
    pub(super) fn of(backends: &[Backend]) -> Result<Self, (Arc<str>, Wrong)> {
        let each = backends.iter().map(|backend| {
            let tls = ClientTls::of(backend);
            tls.map_err(|wrong| (Arc::clone(&backend.name), wrong))
        });
        Ok(Self(each.collect::<Result<_, _>>()?))
    }
}

impl Supervised {
    fn begin(backend: &Backend, tls: Option<&ClientTls>, nameservers: &[SocketAddr]) -> Self {
        let backend = Arc::new(backend.clone());
        let upstream = Upstream::new(Arc::clone(&backend), Vec::new());
        let supervisor = supervise(Arc::clone(&upstream), backend, tls, nameservers);
        Self {
            upstream,
            supervisor,
        }
    }
}

impl Backends {
    /// Prepares the backends of a start; from now on they are looked after.
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

    /// Waits until every backend may serve, or its servers have all been looked at, for some
    /// seconds at most.
    pub(super) async fn settle(&mut self) {
        let deadline = Instant::now() + SETTLE_TIME;
        for one in &mut self.all {
            // Time is the same for all, so a late server does not delay the others.
            let _ = timeout_at(deadline, one.supervisor.settled()).await;
        }
    }

    /// Makes them those of another configuration. One that keeps its name keeps its queue, and its
    /// servers what is known of them; where nothing changed nobody is disturbed. Those that are new
    /// have had their first checks, if that took no longer than a moment, and those that are gone are
    /// no longer looked after.
    pub(super) async fn apply(
        &mut self,
        backends: &[Backend],
        tls: PreparedTls,
        nameservers: &[SocketAddr],
        asks_others: bool,
    ) {
        let mut before = std::mem::take(&mut self.all);
        let mut changed = Vec::new();
        let deadline = Instant::now() + SETTLE_TIME;
        let mut new = Vec::new();
        for (backend, tls) in backends.iter().zip(tls.0) {
            let known = (before.iter()).position(|one| one.upstream.name == backend.name);
            let Some(known) = known else {
                new.push(self.all.len());
                self.all
                    .push(Supervised::begin(backend, tls.as_ref(), nameservers));
                continue;
            };
            let known = before.swap_remove(known);
            if asks_others || *known.upstream.lineup().backend != *backend {
                changed.push((self.all.len(), backend, tls));
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
    }
}
