//! A process that serves: it answers signals, and drains when it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::backends::Backends;
use super::certificates::Watch;
use super::listeners::Listeners;
use super::notify::Notifier;
use super::pid_file::PidFile;
use super::places::Places;
use super::sandbox::Sandbox;
use crate::admin::ctl::Errand;
use crate::admin::ctl::socket::AdminSocket;
use crate::admin::state::Sources;
use crate::admin::{diagnostics, log};
use crate::config::Config;
use crate::journal::{Cause, Counts};
use crate::reception::thread::Phase;
use crate::relay::Relay;
use crate::sys::signals::{Received, Signals};

/// How often a draining process looks whether it is done.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);
/// Between two looks at how many tunnels may be left; what was ended at the last one is gone by then.
const PACE_PAUSE: Duration = Duration::from_millis(100);
/// How long what is ended at the end of a drain may take to close.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// A process that serves.
pub(super) struct Running {
    /// Its configuration, as far as it is in effect.
    pub(super) config: Config,
    pub(super) signals: Signals,
    pub(super) notifier: Notifier,
    pub(super) listeners: Listeners,
    pub(super) places: Places,
    pub(super) watch: Watch,
    pub(super) log_settings: log::Settings,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) receptions: Vec<JoinHandle<()>>,
    /// Which of them have ended.
    pub(super) reception_ended: mpsc::UnboundedReceiver<usize>,
    pub(super) relays: Vec<Relay>,
    /// Where operators look.
    pub(super) sources: Arc<Sources>,
    /// Serves `admin_http`, to the end.
    pub(super) _admin: Option<tokio::task::JoinHandle<()>>,
    pub(super) counts: Arc<Counts>,
    pub(super) log: JoinHandle<()>,
    /// Looked after for as long as this value lives.
    pub(super) backends: Backends,
    pub(super) sandbox: Sandbox,
    /// Removed with this value.
    pub(super) _admin_socket: Option<AdminSocket>,
    /// What operators want done.
    pub(super) errands: mpsc::Receiver<Errand>,
    /// Removed with this value.
    pub(super) _pid_file: Option<PidFile>,
}

/// How many tunnels may be left at each moment of a drain that is spread over a time.
struct Pace {
    began: Instant,
    window: Duration,
    /// Tunnels of each relay thread when it began.
    tunnels: Vec<usize>,
    next: Instant,
}

impl Pace {
    fn new(window: Duration, relays: &[Relay]) -> Self {
        let now = Instant::now();
        Self {
            began: now,
            window,
            tunnels: relays.iter().map(|relay| relay.handle().alive()).collect(),
            next: now,
        }
    }

    /// Ends those that are too many by now; the rest of their clients come back later.
    fn keep(&mut self, relays: &[Relay]) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + PACE_PAUSE;
        let spent = now.duration_since(self.began).as_millis();
        let window = self.window.as_millis().max(1);
        for (relay, tunnels) in relays.iter().zip(&self.tunnels) {
            let left = *tunnels as u128 * window.saturating_sub(spent) / window;
            // No more than there were.
            let left = usize::try_from(left).unwrap_or(*tunnels);
            let too_many = relay.handle().alive().saturating_sub(left);
            if too_many > 0 {
                relay.handle().end_some(too_many, Cause::Drained);
            }
        }
    }
}

/// Gets what came of a reload, if anybody waits for it.
pub(super) type ReloadReply = Option<oneshot::Sender<Result<Vec<String>, Vec<String>>>>;

/// What a process is asked for, by a signal or by an operator.
enum Asked {
    Reload(ReloadReply),
    Reopen,
    Stop,
    /// A thread is gone that clients depend on.
    GiveUp,
}

impl Running {
    /// Does what it is asked for until one of these, or the end of them, stops the process.
    pub(super) async fn until_stopped(mut self) -> ExitCode {
        self.notifier.feed_watchdog();
        self.notifier.ready("serving");
        loop {
            match self.next_asked().await {
                Asked::Stop => return self.drain().await,
                Asked::GiveUp => {
                    self.drain().await;
                    return ExitCode::FAILURE;
                }
                Asked::Reopen => diagnostics::reopen(),
                Asked::Reload(reply) => {
                    if self.reload(reply).await.is_break() {
                        return self.drain().await;
                    }
                }
            }
        }
    }

    async fn next_asked(&mut self) -> Asked {
        tokio::select! {
            received = self.signals.next() => match received {
                Ok(Received::Stop) => Asked::Stop,
                Ok(Received::Reload) => Asked::Reload(None),
                Ok(Received::Reopen) => Asked::Reopen,
                Err(error) => {
                    tracing::error!(%error, "cannot wait for signals; stopping");
                    Asked::Stop
                }
            },
            Some(thread) = self.reception_ended.recv() => {
                tracing::error!(thread, "internal-error: a reception thread has ended; stopping");
                Asked::GiveUp
            }
            Some(errand) = self.errands.recv() => match errand {
                Errand::Reload(reply) => Asked::Reload(Some(reply)),
                Errand::Drain(reply) => {
                    // Whoever asked need not wait for the answer.
                    let _ = reply.send(());
                    Asked::Stop
                }
            },
        }
    }

    /// Accepts nothing more, waits for what is established, and ends what is left at the deadline.
    async fn drain(mut self) -> ExitCode {
        tracing::info!(tunnels = self.tunnels(), "draining");
        let patience = self.config.server.drain_timeout + END_PATIENCE * 2;
        let status = format!("draining {} tunnels", self.tunnels());
        self.notifier.stopping(&status, patience);
        // A successor may want to listen there while we drain.
        self.listeners.remove_paths();
        let deadline = Instant::now() + self.config.server.drain_timeout;
        self.sources.draining.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Draining);
        let mut pace = self
            .config
            .server
            .drain_window
            .map(|window| Pace::new(window, &self.relays));
        while !self.is_idle() && Instant::now() < deadline {
            if self.stopped_again().await {
                return ExitCode::FAILURE;
            }
            if let Some(pace) = &mut pace {
                pace.keep(&self.relays);
            }
        }
        self.end().await
    }

    async fn end(mut self) -> ExitCode {
        let left = self.tunnels();
        self.phase.send_replace(Phase::Ended);
        let deadline = Instant::now() + END_PATIENCE;
        // Reception first: it may still have a tunnel to hand over.
        while !self.receptions.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
            if self.stopped_again().await {
                return ExitCode::FAILURE;
            }
        }
        for relay in &self.relays {
            relay.handle().end_all(Cause::Drained);
            relay.handle().stop_when_empty();
        }
        for relay in self.relays.drain(..) {
            relay.join();
        }
        tracing::info!(
            ended_by_us = left,
            causes = summary(&self.counts),
            log_lines_dropped = self.counts.dropped(),
            "stopped"
        );
        // The journal's senders are gone with the threads, so the log's thread ends as well, unless
        // whoever reads standard error has stopped reading: that is not worth waiting for.
        diagnostics::queue_in(None);
        while !self.log.is_finished() && Instant::now() < deadline {
            if self.stopped_again().await {
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }

    fn tunnels(&self) -> usize {
        self.relays.iter().map(|relay| relay.handle().alive()).sum()
    }

    fn is_idle(&self) -> bool {
        self.receptions.iter().all(JoinHandle::is_finished) && self.tunnels() == 0
    }

    /// Waits a moment and tells whether a second stop signal came meanwhile.
    async fn stopped_again(&self) -> bool {
        match timeout(DRAIN_PAUSE, self.signals.next()).await {
            Ok(Ok(Received::Stop)) => true,
            // Logs are rotated while tunnels are waited for.
            Ok(Ok(Received::Reload | Received::Reopen)) => {
                diagnostics::reopen();
                false
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

fn summary(counts: &Counts) -> String {
    let seen = Cause::ALL.iter().filter(|cause| counts.of(**cause) > 0);
    let words: Vec<String> = seen
        .map(|cause| format!("{}={}", cause.as_str(), counts.of(*cause)))
        .collect();
    words.join(" ")
}
