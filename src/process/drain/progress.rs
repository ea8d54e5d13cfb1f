//! Progress of a drain, for the log and for systemd.

use std::time::{Duration, Instant};

use super::super::running::Running;
use crate::config::Process;
use crate::journal::counts::{Count, Sum};
use crate::journal::{Cause, Counts};

/// Least time between two lines.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// Number of lines within the window, and within the timeout.
const LINES: u32 = 20;

/// Tunnels and requests ended since the start of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// Tunnels, by any cause.
    tunnels: u64,
    /// Tunnels ended by the drain.
    pub(super) by_us: u64,
    /// Requests and connections without a tunnel that were cut off.
    pub(super) cut_off: u64,
}

impl Ended {
    fn read(counts: &Counts) -> Self {
        let sums = counts.tally().read();
        let all = |of: fn(&Sum) -> u64| sums.values().map(of).sum();
        Self {
            tunnels: all(Sum::ended),
            by_us: all(|sum| sum.of(Count::Ended(Cause::Drained))),
            cut_off: all(|sum| {
                sum.of(Count::Refused(Cause::Drained)) + sum.of(Count::Requests(Cause::Drained))
            }),
        }
    }

    /// Returns the difference to `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            tunnels: self.tunnels.saturating_sub(before.tunnels),
            by_us: self.by_us.saturating_sub(before.by_us),
            cut_off: self.cut_off.saturating_sub(before.cut_off),
        }
    }

    /// Returns how many tunnels ended by themselves.
    pub(super) fn by_themselves(self) -> u64 {
        self.tunnels.saturating_sub(self.by_us)
    }
}

/// The progress of a drain.
pub(super) struct Progress {
    /// Time of its beginning.
    pub(super) began: Instant,
    before: Ended,
    next: Instant,
}

impl Progress {
    /// Starts counting.
    pub(super) fn new(running: &Running) -> Self {
        let now = Instant::now();
        Self {
            began: now,
            before: Ended::read(&running.counts),
            next: now + PAUSE_MIN,
        }
    }

    /// Returns the tunnels and requests ended since the drain began.
    pub(super) fn ended(&self, counts: &Counts) -> Ended {
        Ended::read(counts).since(self.before)
    }

    /// Logs the progress, if that is due.
    pub(super) fn tell(&mut self, running: &Running) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let process = &running.config.process;
        let spent = now - self.began;
        self.next = now + pause(process, spent);
        let ended = self.ended(&running.counts);
        let tunnels = running.tunnels();
        tracing::info!(
            tunnels,
            connections = running.sources.status().connections,
            ended_by_themselves = ended.by_themselves(),
            ended_by_window = ended.by_us,
            seconds_left = process.drain_timeout.saturating_sub(spent).as_secs(),
            "still draining"
        );
        let (gone, spent) = (ended.tunnels, spent.as_secs());
        let status = format!("draining for {spent} s: {tunnels} tunnels left, {gone} ended");
        running.notifier.status(&status);
    }
}

/// Returns the pause between two lines.
fn pause(process: &Process, spent: Duration) -> Duration {
    let window = process.drain_window.filter(|window| spent < *window);
    let whole = window.unwrap_or(process.drain_timeout);
    PAUSE_MIN.max(whole / LINES)
}
