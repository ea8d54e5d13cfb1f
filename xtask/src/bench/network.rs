//! A network namespace of the benchmark's own, with the kernel's usual settings.
//!
//! Ports, TIME_WAIT and settings of the machine then play no part. BBR above all: it paces with
//! timers per socket, which on loopback costs more than the relaying that is measured.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

/// What differs between distributions, set to the defaults of the kernel.
const SETTINGS: &[(&str, &str)] = &[
    ("tcp_rmem", "4096 131072 6291456"),
    ("tcp_wmem", "4096 16384 4194304"),
    ("ip_local_port_range", "10000 65000"),
];

/// Moves this process, and those it starts from now on, into a namespace of their own where that is
/// allowed; returns what a reader of the figures must know.
///
/// # Errors
/// A namespace that was made and could not be set up.
pub(super) fn enter(congestion_control: &str) -> Result<String> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {}
        Err(Errno::EPERM) => {
            let path = "/proc/sys/net/ipv4/tcp_congestion_control";
            let control = fs::read_to_string(path).context(path)?;
            return Ok(format!("network of the machine, {}", control.trim()));
        }
        Err(errno) => return Err(errno).context("unshare the network"),
    }
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    ensure!(
        status.context("run ip (iproute2)")?.success(),
        "ip link set lo up"
    );
    let chosen = [("tcp_congestion_control", congestion_control)];
    for (name, value) in SETTINGS.iter().chain(&chosen) {
        let path = format!("/proc/sys/net/ipv4/{name}");
        fs::write(&path, value).context(path)?;
    }
    Ok(format!(
        "network namespace of its own, {congestion_control}"
    ))
}
