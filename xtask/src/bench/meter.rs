//! Clocks and memory around a measurement, and what the readings become.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::process;
use super::work::{Figure, Metric};

/// Time given to a proxy to finish what it does behind the last byte, before its clock is read.
pub(super) const SETTLE: Duration = Duration::from_millis(20);

/// Unit of bulk: a gigabyte of 10^9 bytes.
const GIGABYTE: usize = 1_000_000_000;

/// Reads the clocks around a measurement.
pub(super) struct Meter {
    pid: u32,
    cpu_ns: u64,
    started_at: Instant,
}

/// What a measurement took.
pub(super) struct Spent {
    cpu: Duration,
    wall: Duration,
}

impl Meter {
    /// Reads the clocks of a process and its descendants.
    pub(super) fn start(pid: u32) -> Result<Self> {
        sleep(SETTLE);
        Ok(Self {
            pid,
            cpu_ns: process::cpu_ns(pid)?,
            started_at: Instant::now(),
        })
    }

    /// Reads them again.
    pub(super) fn stop(self) -> Result<Spent> {
        let wall = self.started_at.elapsed();
        sleep(SETTLE);
        let cpu_ns = process::cpu_ns(self.pid)?.saturating_sub(self.cpu_ns);
        Ok(Spent {
            cpu: Duration::from_nanos(cpu_ns),
            wall,
        })
    }
}

impl Spent {
    /// The figures of `units` pieces of work with these latencies.
    pub(super) fn per_unit(&self, units: usize, sorted_latencies_ns: &[u64]) -> Vec<Figure> {
        vec![
            (Metric::CpuUs, self.cpu.as_secs_f64() * 1e6 / units as f64),
            (Metric::P50Us, percentile_us(sorted_latencies_ns, 50)),
            (Metric::P99Us, percentile_us(sorted_latencies_ns, 99)),
            (Metric::BusyPercent, self.busy_percent()),
        ]
    }

    /// The figures of bulk.
    pub(super) fn per_gigabyte(&self, bytes: usize) -> Vec<Figure> {
        let gigabytes = bytes as f64 / GIGABYTE as f64;
        vec![
            (Metric::CpuSecondsPerGb, self.cpu.as_secs_f64() / gigabytes),
            (Metric::BusyPercent, self.busy_percent()),
        ]
    }

    /// Share of the time in which the proxy ran.
    fn busy_percent(&self) -> f64 {
        self.cpu.as_secs_f64() * 100.0 / self.wall.as_secs_f64()
    }
}

/// The smallest latency that `percent` of all do not exceed, in microseconds; 0 of none.
pub(super) fn percentile_us(sorted_ns: &[u64], percent: usize) -> f64 {
    let rank = (sorted_ns.len() * percent).div_ceil(100);
    sorted_ns
        .get(rank.saturating_sub(1))
        .map_or(0.0, |&ns| ns as f64 / 1e3)
}

/// Bytes the kernel holds for the TCP sockets of these processes: received, queued to send, and
/// reserved.
///
/// # Source
/// `ss -tmnp`; ss(8), `skmem`.
pub(super) fn socket_bytes(processes: &[u32]) -> Result<u64> {
    let output = Command::new("ss")
        .arg("-Htmnp")
        .output()
        .context("run ss (iproute2)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(sum_socket_bytes(&text, processes))
}

fn sum_socket_bytes(text: &str, processes: &[u32]) -> u64 {
    let owners: Vec<String> = processes.iter().map(|pid| format!("pid={pid},")).collect();
    let is_ours = |line: &str| owners.iter().any(|owner| line.contains(owner));
    let mut total = 0;
    let mut ours = false;
    for line in text.lines() {
        if !line.starts_with(char::is_whitespace) {
            ours = is_ours(line);
        }
        if let Some((_, memory)) = line.split_once("skmem:(")
            && ours
        {
            let memory = memory.split(')').next().unwrap_or_default();
            total += memory.split(',').filter_map(held_bytes).sum::<u64>();
        }
    }
    total
}

/// The bytes of one `skmem` field that counts memory in use: `r` received, `w` queued to send, `f`
/// reserved, `bl` backlog.
fn held_bytes(field: &str) -> Option<u64> {
    let digits = field.find(|char: char| char.is_ascii_digit())?;
    let (name, value) = field.split_at(digits);
    matches!(name, "r" | "w" | "f" | "bl")
        .then(|| value.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let sorted: Vec<u64> = (1..=200).map(|value| value * 1000).collect();
        assert_eq!(percentile_us(&sorted, 50).to_string(), "100");
        assert_eq!(percentile_us(&sorted, 99).to_string(), "198");
        assert_eq!(percentile_us(&[5000], 99).to_string(), "5");
        assert_eq!(percentile_us(&[], 99).to_string(), "0");
    }

    #[test]
    fn only_memory_of_the_proxy_is_summed() {
        let text = "\
ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:((\"nginx\",pid=10,fd=3))
\t skmem:(r100,rb131072,t7,tb2626560,f20,w3,o0,bl4,d9)
ESTAB 0 0 127.0.0.1:2 127.0.0.1:1 users:((\"nginx\",pid=101,fd=3))
\t skmem:(r5000,rb131072,t0,tb2626560,f0,w0,o0,bl0,d0)
";
        assert_eq!(sum_socket_bytes(text, &[10]), 127);
        assert_eq!(sum_socket_bytes(text, &[10, 101]), 5127);
    }
}
