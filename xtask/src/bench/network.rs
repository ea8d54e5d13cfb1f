//! A network namespace of the benchmark's own, with the kernel's usual settings.
//!
//! Ports, TIME_WAIT and settings of the machine then play no part. BBR above all: it paces with
//! timers per socket, which on loopback costs more than the relaying that is measured.

use std::fs;
use std::io;
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

/// What is taken where the congestion control asked for is not allowed.
const FALLBACK: &str = "reno";

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
    for (name, value) in SETTINGS {
        set(name, value).with_context(|| format!("set {name}"))?;
    }
    let name = "tcp_congestion_control";
    let Err(error) = set(name, congestion_control) else {
        return Ok(format!(
            "network namespace of its own, {congestion_control}"
        ));
    };
    // The kernel restricts a namespace to what tcp_allowed_congestion_control of the first one
    // names; reno is always there, and paces as little as cubic.
    set(name, FALLBACK).with_context(|| format!("set {FALLBACK}"))?;
    Ok(format!(
        "network namespace of its own, {FALLBACK} ({congestion_control}: {error})"
    ))
}

fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
}
