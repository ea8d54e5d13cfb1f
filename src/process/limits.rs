//! The limit of open descriptors (getrlimit(2)), compared with the configuration's need.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors other than connections: listeners, rings, pipes, logs.
const SPARE_DESCRIPTORS: u64 = 256;
/// Raises the limit of open files as far as possible and compares it with the need.
pub(super) fn raise_descriptor_limit(max_connections: usize) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let wanted = (max_connections as u64)
        .saturating_mul(2)
        .saturating_add(SPARE_DESCRIPTORS);
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "too few descriptors for server.max_connections: raise LimitNOFILE= or lower it"
        );
    }
}
