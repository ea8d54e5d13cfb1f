//! The handle of a relay thread: starts the thread, gives it tunnels, and carries its answers.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::engine;
use super::inbox::{Shared, end_unseen};
use super::inspect::{Ask, Page, Settled, TunnelId};
use super::offload::KernelTls;
use super::poller::{PollerChoice, PollerInUse};
use super::start::Start;
use super::stats::Stats;
use crate::journal::{Cause, Journal};
use crate::sys::event::Bell;

/// A running relay thread.
#[derive(Debug)]
pub struct Relay {
    handle: Handle,
    thread: JoinHandle<()>,
    poller: PollerInUse,
}

/// Starts the thread `relay-INDEX`, pinned to `cpu` if one is named, and waits until its poller is ready.
/// `kernel_tls` says which TLS work tunnels may leave to the kernel.
///
/// A `cpu` that this process may not use is not an error: the thread then runs unpinned.
///
/// # Errors
///
/// The system's error if no thread, no eventfd or no poller of `choice` could be made.
pub fn spawn(
    index: usize,
    cpu: Option<usize>,
    choice: PollerChoice,
    kernel_tls: Arc<KernelTls>,
    journal: Journal,
) -> io::Result<Relay> {
    let shared = Arc::new(Shared {
        index,
        stats: Arc::default(),
        inbox: Mutex::default(),
        pushed: AtomicBool::new(false),
        alive: AtomicUsize::new(0),
        bell: Bell::new()?,
        kernel_tls,
        journal,
    });
    let (report, reported) = mpsc::sync_channel(1);
    let of_thread = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name(format!("relay-{index}"))
        .spawn(move || engine::run(&of_thread, cpu, choice, &report))?;
    let poller = reported
        .recv()
        .map_err(|_| io::Error::other("the relay thread ended while it started"))??;
    let handle = Handle { shared };
    Ok(Relay {
        handle,
        thread,
        poller,
    })
}

impl Relay {
    /// Returns a handle of the thread; there may be any number of them.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns how the thread waits for readiness, and why the ring is not used if it is not.
    #[must_use]
    pub fn poller(&self) -> &PollerInUse {
        &self.poller
    }

    /// Returns whether the thread has ended, so that [`Relay::join`] does not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until the thread has ended; it ends after [`Handle::stop_when_empty`].
    pub fn join(self) {
        // The thread catches panics of tunnels. If it dies anyway, it has closed its inbox and every tunnel
        // has its entry, so there is nothing left to do.
        let _ = self.thread.join();
    }
}

/// A handle of a relay thread.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Hands a tunnel over without a system call; the thread looks at it after the next [`Handle::wake`].
    ///
    /// When the thread has already stopped, the tunnel ends here with [`Cause::Drained`].
    pub fn adopt(&self, start: Start) {
        let mut inbox = self.shared.inbox();
        if inbox.closed {
            drop(inbox);
            return end_unseen(&self.shared.journal, start, Cause::Drained);
        }
        self.shared.alive.fetch_add(1, Ordering::Relaxed);
        inbox.starts.push(start);
        drop(inbox);
        self.shared.pushed.store(true, Ordering::Release);
    }

    /// Wakes the thread if anything was handed over since the last time; else does nothing.
    pub fn wake(&self) {
        if self.shared.pushed.swap(false, Ordering::AcqRel) {
            self.shared.bell.ring();
        }
    }

    /// Ends every tunnel handed over so far with `cause`.
    pub fn end_all(&self, cause: Cause) {
        self.end_some(usize::MAX, cause);
    }

    /// Ends up to `count` tunnels with `cause`, so that a stop can be spread over time.
    pub fn end_some(&self, count: usize, cause: Cause) {
        let mut inbox = self.shared.inbox();
        // Earlier requests may still be waiting.
        let waiting = inbox.end.map_or(0, |(count, _)| count);
        inbox.end = Some((count.saturating_add(waiting), cause));
        drop(inbox);
        self.shared.bell.ring();
    }

    /// Lets the thread end as soon as it has no tunnel left.
    pub fn stop_when_empty(&self) {
        self.shared.inbox().stop_when_empty = true;
        self.shared.bell.ring();
    }

    /// Returns the counters of the thread.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Returns how many tunnels were handed over and have not ended.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::Relaxed)
    }
}

impl Handle {
    /// Describes a slice of the tunnels, beginning with `from`: zero, or the last page's `next`.
    ///
    /// If the thread has ended, the channel answers with an error.
    #[must_use]
    pub fn inspect(&self, from: u32) -> oneshot::Receiver<Page> {
        self.ask(|answer| Ask::Inspect(from, answer))
    }

    /// Adds to the named counters the bytes that a slice of the open tunnels has moved since the last call,
    /// beginning with `from`: zero, or the last answer's `next`. Tunnels that end are counted without a call.
    #[must_use]
    pub fn settle(&self, from: u32) -> oneshot::Receiver<Settled> {
        self.ask(|answer| Ask::Settle(from, answer))
    }

    /// Ends one tunnel with `cause`; the answer is whether it was open.
    #[must_use]
    pub fn end_one(&self, id: TunnelId, cause: Cause) -> oneshot::Receiver<bool> {
        self.ask(|answer| Ask::End(id, cause, answer))
    }

    fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        let mut inbox = self.shared.inbox();
        if !inbox.closed {
            inbox.asks.push_back(question(answer));
            drop(inbox);
            self.shared.bell.ring();
        }
        answered
    }
}
