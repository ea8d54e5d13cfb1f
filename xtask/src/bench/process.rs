//! The kernel's figures of a process: CPU time, resident bytes, and affinity.

use std::fs;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Pins the calling thread, and the processes it starts from now on, to one core.
pub(super) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core).with_context(|| format!("core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {core}"))
}

/// CPU time of a process and its descendants so far, over all their threads, in nanoseconds.
///
/// # Source
/// `/proc/PID/task/TID/schedstat`, first field; proc(5), Documentation/scheduler/sched-stats.
pub(super) fn cpu_ns(pid: u32) -> Result<u64> {
    let mut total_ns = 0;
    for process in family(pid)? {
        for task in tasks(process)? {
            let path = format!("/proc/{process}/task/{task}/schedstat");
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let field = text.split(' ').next().unwrap_or_default();
            total_ns += field
                .parse::<u64>()
                .with_context(|| format!("{path}: {text:?}"))?;
        }
    }
    Ok(total_ns)
}

/// Resident bytes of a process and its descendants, exact (`smaps_rollup`, not the counters in
/// `status`, which the kernel updates in batches).
pub(super) fn resident_bytes(pid: u32) -> Result<u64> {
    let mut total_kib = 0;
    for process in family(pid)? {
        let path = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&path).context(path)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Rss:"))
            .unwrap_or("0 kB");
        let kib = line.trim().trim_end_matches("kB").trim();
        total_kib += kib.parse::<u64>().with_context(|| format!("Rss {kib:?}"))?;
    }
    Ok(total_kib * 1024)
}

/// A process and its descendants.
pub(crate) fn family(pid: u32) -> Result<Vec<u32>> {
    let mut members = vec![pid];
    let mut next = 0;
    while let Some(&member) = members.get(next) {
        next += 1;
        for task in tasks(member)? {
            let path = format!("/proc/{member}/task/{task}/children");
            let Ok(text) = fs::read_to_string(path) else {
                continue;
            };
            members.extend(
                text.split_whitespace()
                    .filter_map(|word| word.parse::<u32>().ok()),
            );
        }
    }
    Ok(members)
}

fn tasks(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&path).with_context(|| format!("{path}: the proxy has ended"))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}
