//! A process that serves: it answers signals, and drains when it is told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::backends::Backends;
use super::certificates::Watch;
use super::notify::Notifier;
use super::pid_file::PidFile;
use crate::admin::ctl::Errand;
use crate::admin::ctl::socket::AdminSocket;
use crate::admin::diagnostics;
use crate::admin::state::Sources;
use crate::config::Server;
use crate::journal::{Cause, Counts};
use crate::reception::listen::UnixPath;
use crate::reception::thread::Phase;
use crate::relay::Relay;
use crate::sys::signals::{Received, Signals};

/// How often a draining process looks whether it is done.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);
/// How long what is ended at the end of a drain may take to close.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// A process that serves.
pub(super) struct Running {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) signals: Signals,
    pub(super) notifier: Notifier,
    pub(super) server: Server,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) receptions: Vec<JoinHandle<()>>,
    pub(super) relays: Vec<Relay>,
    /// Where operators look.
    pub(super) sources: Arc<Sources>,
    /// Serves `admin_http`, to the end.
    pub(super) _admin: Option<tokio::task::JoinHandle<()>>,
    pub(super) counts: Arc<Counts>,
    pub(super) log: JoinHandle<()>,
    /// Ends with this value.
    pub(super) _watch: Option<Watch>,
    /// Looked after for as long as this value lives.
    pub(super) _backends: Backends,
    /// Removed with this value.
    pub(super) _admin_socket: Option<AdminSocket>,
    /// What operators want done.
    pub(super) errands: mpsc::Receiver<Errand>,
    /// Removed with this value.
    pub(super) _pid_file: Option<PidFile>,
    /// Removed from the file system when they are dropped.
    pub(super) unix_paths: Vec<UnixPath>,
}

impl Running {
    /// Answers signals until one of them, or the end of them, stops the process.
    pub(super) async fn until_stopped(mut self) -> ExitCode {
        self.notifier.feed_watchdog();
        self.notifier.ready("serving");
        loop {
            let received = tokio::select! {
                received = self.signals.next() => received,
                Some(errand) = self.errands.recv() => {
                    match errand {
                        Errand::Reload(reply) => {
                            let lines = self.reload();
                            // Whoever asked may have gone.
                            let _ = reply.send(lines);
                        }
                        Errand::Drain(reply) => {
                            let _ = reply.send(());
                            return self.drain().await;
                        }
                    }
                    continue;
                }
            };
            match received {
                Ok(Received::Stop) => return self.drain().await,
                Ok(Received::Reload) => drop(self.reload()),
                Ok(Received::Reopen) => diagnostics::reopen(),
                Err(error) => {
                    tracing::error!(%error, "cannot wait for signals; stopping");
                    return self.drain().await;
                }
            }
        }
    }

    /// Opens the log again; says that this is all.
    fn reload(&self) -> Result<Vec<String>, Vec<String>> {
        self.notifier.reloading();
        diagnostics::reopen();
        tracing::warn!("SIGHUP: reloading is not in this version yet; nothing changed");
        self.notifier.ready("serving");
        Err(vec!["reloading is not in this version yet".to_owned()])
    }

    /// Accepts nothing more, waits for what is established, and ends what is left at the deadline.
    async fn drain(mut self) -> ExitCode {
        tracing::info!(tunnels = self.tunnels(), "draining");
        let patience = self.server.drain_timeout + END_PATIENCE * 2;
        let status = format!("draining {} tunnels", self.tunnels());
        self.notifier.stopping(&status, patience);
        // A successor may want to listen there while we drain.
        self.unix_paths.clear();
        let deadline = Instant::now() + self.server.drain_timeout;
        self.sources.draining.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Draining);
        while !self.is_idle() && Instant::now() < deadline {
            if self.stopped_again().await {
                return ExitCode::FAILURE;
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
