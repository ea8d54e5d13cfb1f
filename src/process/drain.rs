//! The orderly end of a serving process: it becomes unready, stops accepting, and then waits for tunnels and
//! requests, which end by themselves, at the configured pace, or at the deadline.
//!
//! The control thread keeps running: it handles signals, the admin socket answers, and a second stop signal
//! ends the process at once.
//! stop signal ends it at once.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::running::Running;
use crate::admin::ctl::Errand;
use crate::config::Process;
use crate::journal::{Cause, Counts};
use crate::log::diagnostics;
use crate::reception::context::Phase;
use crate::relay::Relay;
use crate::sys::signals::Received;

mod pace;
mod progress;

use pace::{Pace, divide};
use progress::{Ended, Progress};

/// Interval at which a draining process checks whether it is done.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Time limit for closing connections that the drain ends.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The pace of ending tunnels, and the threads that end them.
struct Spread {
    began: Instant,
    pace: Pace,
    next: Instant,
}

impl Spread {
    fn new(process: &Process) -> Option<Self> {
        // The standard library seeds it from the system.
        let seed = RandomState::new().hash_one(0_u64);
        let now = Instant::now();
        Some(Self {
            began: now,
            pace: Pace::new(process.drain_window?, process.drain_rate, seed),
            next: now,
        })
    }

    fn warn_if_slow(&self, process: &Process, tunnels: usize) {
        let takes = self.pace.length(tunnels);
        if Some(takes) > process.drain_window {
            tracing::warn!(
                tunnels,
                rate = process.drain_rate,
                ?takes,
                timeout = ?process.drain_timeout,
                "at server.drain_rate these tunnels take longer than server.drain_window; \
                 those that are left at server.drain_timeout end at once"
            );
        }
    }

    /// Ends the tunnels that are due by now.
    fn keep(&mut self, relays: &[Relay]) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + self.pace.pause();
        let left: Vec<usize> = relays.iter().map(|it| it.handle().alive()).collect();
        let due = self.pace.due(now - self.began, left.iter().sum());
        for (relay, count) in relays.iter().zip(divide(due, &left)) {
            if count > 0 {
                relay.handle().end_some(count, Cause::Drained);
            }
        }
    }
}

/// Breaks at a second stop signal.
type Step = ControlFlow<()>;

impl Running {
    /// Ends the process in good order, unless it is told to stop again.
    pub(super) async fn drain(mut self) -> ExitCode {
        match self.run_dry().await {
            Step::Continue(()) => ExitCode::SUCCESS,
            Step::Break(()) => ExitCode::FAILURE,
        }
    }

    async fn run_dry(&mut self) -> Step {
        self.become_unready();
        self.lead().await?;
        self.stop_accepting();
        let mut progress = Progress::new(self);
        self.wait_until_idle(&mut progress).await?;
        let before_the_end = progress.ended(&self.counts);
        self.end_the_rest().await?;
        self.say_stopped(&progress, before_the_end);
        self.finish_log().await
    }

    /// Reports to the service manager and to health checks that this process is about to stop.
    fn become_unready(&self) {
        self.sources.draining.store(true, Ordering::Relaxed);
        let process = &self.config.process;
        let patience = process.drain_lead + process.drain_timeout + END_PATIENCE * 2;
        let status = format!("draining {} tunnels", self.tunnels());
        self.notifier.stopping(&status, patience);
    }

    /// Serves as before for a while, so that load balancers choose other targets before they are refused.
    async fn lead(&mut self) -> Step {
        let lead = self.config.process.drain_lead;
        if lead.is_zero() {
            return Step::Continue(());
        }
        tracing::info!(?lead, "not ready any more; connections are still accepted");
        let end = Instant::now() + lead;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Step::Continue(());
            }
            self.hear(left).await?;
        }
    }

    fn stop_accepting(&mut self) {
        let process = &self.config.process;
        tracing::info!(
            tunnels = self.tunnels(),
            connections = self.sources.status().connections,
            timeout = ?process.drain_timeout,
            window = process.drain_window.map(tracing::field::debug),
            rate = process.drain_rate,
            "draining"
        );
        // Another process may want to listen there while this one drains.
        self.listeners.remove_paths();
        self.phase.send_replace(Phase::Draining);
    }

    /// Waits for tunnels and requests, and ends tunnels at the pace, until none is left or the time is up.
    async fn wait_until_idle(&mut self, progress: &mut Progress) -> Step {
        let mut spread = Spread::new(&self.config.process);
        if let Some(spread) = &spread {
            spread.warn_if_slow(&self.config.process, self.tunnels());
        }
        let deadline = progress.began + self.config.process.drain_timeout;
        while !self.is_idle() && Instant::now() < deadline {
            self.hear(LOOK_PAUSE).await?;
            if let Some(spread) = &mut spread {
                spread.keep(&self.relays);
            }
            progress.tell(self);
        }
        Step::Continue(())
    }

    /// Ends the remaining tunnels and requests and waits until they are gone.
    async fn end_the_rest(&mut self) -> Step {
        self.phase.send_replace(Phase::Ended);
        let deadline = Instant::now() + END_PATIENCE;
        // Reception first: it may still hand over a tunnel.
        while !self.receptions.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
            self.hear(LOOK_PAUSE).await?;
        }
        for relay in &self.relays {
            relay.handle().end_all(Cause::Drained);
            relay.handle().stop_when_empty();
        }
        while !self.relays.iter().all(Relay::is_finished) {
            self.hear(LOOK_PAUSE).await?;
        }
        self.relays.drain(..).for_each(Relay::join);
        Step::Continue(())
    }

    fn say_stopped(&self, progress: &Progress, before_the_end: Ended) {
        let ended = progress.ended(&self.counts);
        tracing::info!(
            ended_by_themselves = ended.by_themselves(),
            ended_by_window = before_the_end.by_us,
            ended_at_timeout = ended.since(before_the_end).by_us,
            cut_off_at_timeout = ended.cut_off,
            seconds = progress.began.elapsed().as_secs(),
            causes = summary(&self.counts),
            log_lines_dropped = self.counts.dropped(),
            "stopped"
        );
    }

    /// Waits until the log is written.
    async fn finish_log(&mut self) -> Step {
        let deadline = Instant::now() + END_PATIENCE;
        // The log's thread ends as well, unless its reader has stopped reading: that is not worth waiting
        // for.
        diagnostics::end();
        while !self.log.is_finished() && Instant::now() < deadline {
            self.hear(LOOK_PAUSE).await?;
        }
        Step::Continue(())
    }

    /// Answers requests of operators for at most `pause`.
    async fn hear(&mut self, pause: Duration) -> Step {
        tokio::select! {
            received = self.signals.next() => match received {
                Ok(Received::Stop) => return Step::Break(()),
                Ok(Received::Reload) => {
                    tracing::warn!("not reloaded: {DRAINING}");
                    diagnostics::reopen();
                }
                // Logs may be rotated during a drain.
                Ok(Received::Reopen) => diagnostics::reopen(),
                Err(_) => sleep(pause).await,
            },
            // The client may have stopped waiting for the answer.
            Some(errand) = self.errands.recv() => match errand {
                Errand::Drain(reply) => drop(reply.send("draining already")),
                Errand::Reload(reply) => {
                    drop(reply.send(Err(vec![format!("not reloaded: {DRAINING}")])));
                }
            },
            () = sleep(pause) => {}
        }
        Step::Continue(())
    }

    fn tunnels(&self) -> usize {
        self.relays.iter().map(|relay| relay.handle().alive()).sum()
    }

    fn is_idle(&self) -> bool {
        self.receptions.iter().all(JoinHandle::is_finished) && self.tunnels() == 0
    }
}

const DRAINING: &str = "the process is draining";

fn summary(counts: &Counts) -> String {
    let seen = Cause::ALL.iter().filter(|cause| counts.of(**cause) > 0);
    let words: Vec<String> = seen
        .map(|cause| format!("{}={}", cause.as_str(), counts.of(*cause)))
        .collect();
    words.join(" ")
}
