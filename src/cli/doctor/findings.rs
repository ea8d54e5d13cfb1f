//! What the machine answers to the probes of `sys`, before it is judged.

use crate::sys::probe::{self, KtlsOffer, LimitPair, Refused};

/// What the machine answered, before it is judged.
#[derive(Debug, Clone)]
pub(super) struct Findings {
    pub(super) kernel: String,
    pub(super) io_uring: Result<(), Refused>,
    pub(super) io_uring_disabled: Option<String>,
    pub(super) seccomp: bool,
    pub(super) splice: Result<(), Refused>,
    pub(super) ktls: Result<KtlsOffer, Refused>,
    pub(super) open_files: Option<LimitPair>,
    pub(super) locked_memory: Option<LimitPair>,
    pub(super) pipe_pages_soft: Option<u64>,
    pub(super) pipe_pages_hard: Option<u64>,
    pub(super) pipe_size_max: Option<u64>,
    pub(super) ports: Option<(u64, u64)>,
    pub(super) ports_reserved: String,
    pub(super) time_wait_reuse: Option<u64>,
    pub(super) listen_queue: Option<u64>,
    pub(super) syn_queue: Option<u64>,
}

/// Asks the machine.
pub(super) fn examine() -> Findings {
    let number = |name: &str| probe::sysctl(name)?.parse().ok();
    Findings {
        kernel: probe::sysctl("kernel.osrelease").unwrap_or_default(),
        io_uring: probe::io_uring(),
        io_uring_disabled: probe::sysctl("kernel.io_uring_disabled"),
        seccomp: probe::seccomp_filtered(),
        splice: probe::splice_byte(),
        ktls: probe::ktls(),
        open_files: probe::open_files(),
        locked_memory: probe::locked_memory(),
        pipe_pages_soft: number("fs.pipe-user-pages-soft"),
        pipe_pages_hard: number("fs.pipe-user-pages-hard"),
        pipe_size_max: number("fs.pipe-max-size"),
        ports: probe::sysctl("net.ipv4.ip_local_port_range").and_then(|range| port_range(&range)),
        ports_reserved: probe::sysctl("net.ipv4.ip_local_reserved_ports").unwrap_or_default(),
        time_wait_reuse: number("net.ipv4.tcp_tw_reuse"),
        listen_queue: number("net.core.somaxconn"),
        syn_queue: number("net.ipv4.tcp_max_syn_backlog"),
    }
}

fn port_range(range: &str) -> Option<(u64, u64)> {
    let mut ends = range.split_whitespace().map(str::parse);
    Some((ends.next()?.ok()?, ends.next()?.ok()?))
}
