//! A serving process: its state, and its handling of signals and operators' requests.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

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
use crate::config::Config;
use crate::journal::Counts;
use crate::log::{self, diagnostics};
use crate::reception::context::Phase;
use crate::relay::Relay;
use crate::sys::signals::{Received, Signals};

/// A process that serves.
pub(super) struct Running {
    /// Its configuration in effect.
    pub(super) config: Config,
    pub(super) signals: Signals,
    pub(super) notifier: Notifier,
    pub(super) listeners: Listeners,
    pub(super) places: Places,
    pub(super) watch: Watch,
    pub(super) log_settings: log::Settings,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) receptions: Vec<JoinHandle<()>>,
    /// Indices of threads that have ended.
    pub(super) reception_ended: mpsc::UnboundedReceiver<usize>,
    pub(super) relays: Vec<Relay>,
    /// State for operators.
    pub(super) sources: Arc<Sources>,
    /// The server of `admin_http`, until the end.
    pub(super) _admin: Option<tokio::task::JoinHandle<()>>,
    pub(super) counts: Arc<Counts>,
    pub(super) log: JoinHandle<()>,
    /// Supervised for as long as this value lives.
    pub(super) backends: Backends,
    pub(super) sandbox: Sandbox,
    /// Removed with this value.
    pub(super) _admin_socket: Option<AdminSocket>,
    /// Requests of operators.
    pub(super) errands: mpsc::Receiver<Errand>,
    /// Removed with this value.
    pub(super) _pid_file: Option<PidFile>,
}

/// Gets the outcome of a reload, if a client waits for it.
pub(super) type ReloadReply = Option<oneshot::Sender<Result<Vec<String>, Vec<String>>>>;

/// A request by a signal or by an operator.
enum Asked {
    Reload(ReloadReply),
    Reopen,
    Stop,
    /// A thread that clients depend on has ended.
    GiveUp,
}

impl Running {
    /// Serves requests until one of them, or their end, stops the process.
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
                    // The client may have stopped waiting for the answer.
                    let _ = reply.send("draining");
                    Asked::Stop
                }
            },
        }
    }
}
