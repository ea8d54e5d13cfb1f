//! The sources of the admin interfaces' data.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::admin::state::{CertificatesInUse, Scene, Sources};
use crate::config::Config;
use crate::journal::Counts;
use crate::reception::context::Shared;
use crate::relay::Relay;
use crate::upstream::Upstream;

/// Collects the sources of the admin interfaces.
pub(super) fn sources(
    config: &Config,
    upstreams: &[Arc<Upstream>],
    shared: &Shared,
    relays: &[Relay],
    counts: &Arc<Counts>,
) -> Arc<Sources> {
    Arc::new(Sources {
        started: SystemTime::now(),
        relays: relays.iter().map(Relay::handle).collect(),
        scene: ArcSwap::from_pointee(scene(config, upstreams)),
        certificates: CertificatesInUse::default(),
        places: Arc::clone(&shared.places),
        max_connections: Arc::clone(&shared.places_max),
        counts: Arc::clone(counts),
        draining: AtomicBool::new(false),
    })
}

/// Returns the part that a reload replaces: listeners, backends, and the access rules of HTTP.
pub(super) fn scene(config: &Config, upstreams: &[Arc<Upstream>]) -> Scene {
    Scene {
        listeners: config.listeners.iter().cloned().map(Arc::new).collect(),
        upstreams: upstreams.to_vec(),
        access: config.process.admin_access.clone(),
    }
}
