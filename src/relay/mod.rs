//! Established tunnels: two descriptors and a hundred-odd bytes of state each, moved by one thread
//! per core until they end.
//!
//! This file is the door: [`spawn`] starts a thread, [`Handle`] gives it tunnels. Behind it,
//! [`tunnel`] is the pure state machine, `pump` does what it says, `leg` opens and seals records
//! or leaves them to the kernel, [`offload`] knows what that can do, `engine` is the loop, [`inspect`]
//! what others ask it, `table` holds the tunnels, `timer` knows when silence ends them, `warm` which
//! keep their ciphers, `progress` when those that go on are told about, `pipes` lends the pipes of
//! splice(2), `followed` knows where frames begin in tunnels whose clients are told of a drain,
//! `partings` waits for those that were, and [`poller`] waits for readiness.
//!
//! A tunnel that was adopted always ends with one [`Entry::Close`], also when the thread has already
//! stopped.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use inspect::Ask;
use offload::KernelTls;
use stats::Stats;

use crate::journal::tally::{Count, Way};
use crate::journal::{Cause, Entry, Journal, Path, Subject};
use crate::sys::event::Bell;

mod engine;
mod followed;
pub mod inspect;
mod leg;
pub mod offload;
mod partings;
mod pipes;
pub mod poller;
mod progress;
mod pump;
pub mod stats;
mod table;
#[cfg(test)]
mod tests;
mod timer;
pub mod tunnel;
mod warm;

pub use leg::{Leg, cause_of};
pub use poller::{PollerChoice, PollerInUse, PollerKind};

/// A tunnel as reception hands it over: both ends connected, non-blocking, every option set.
#[derive(Debug)]
pub struct Start {
    /// The client's connection.
    pub client: OwnedFd,
    /// The server's connection.
    pub server: OwnedFd,
    /// Present = the client, or the server, speaks TLS, and this is its session.
    pub legs: [Option<Box<Leg>>; 2],
    /// Bytes already received from the client that the server has not got; they go first.
    pub to_server: Vec<u8>,
    /// Bytes already received from the server that the client has not got; they go first.
    pub to_client: Vec<u8>,
    /// Whether a WebSocket runs in it whose client is to get a Close frame when a drain ends it.
    pub says_goodbye: bool,
    /// When silence ends the tunnel.
    pub timeouts: Timeouts,
    /// For the log.
    pub subject: Box<Subject>,
    /// What is given back when the tunnel ends (places in limits).
    pub lease: Lease,
}

/// When silence ends a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// While both sides are open.
    pub idle: Duration,
    /// After one side has ended.
    pub half_close: Duration,
}

/// Something that is given back by being dropped.
pub struct Lease(pub Box<dyn Send>);

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease")
    }
}

/// A running relay thread.
#[derive(Debug)]
pub struct Relay {
    handle: Handle,
    thread: JoinHandle<()>,
    poller: PollerInUse,
}

/// Starts the thread `relay-INDEX`, pinned to `cpu` if one is named, and waits until its poller
/// stands. `kernel_tls` is what tunnels over TLS may leave to the kernel.
///
/// A `cpu` this process may not run on is no error: the thread then runs where it likes.
///
/// # Errors
///
/// What the system said when no thread, no eventfd or no poller of `choice` could be made.
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
    /// Returns a door to the thread, as many as wanted.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Tells how the thread waits for readiness, and why not by the ring if it does not.
    #[must_use]
    pub fn poller(&self) -> &PollerInUse {
        &self.poller
    }

    /// Tells whether the thread has ended, so that [`Relay::join`] does not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until the thread has ended, which takes a [`Handle::stop_when_empty`].
    pub fn join(self) {
        // The thread catches what tunnels panic with; should it die all the same, its inbox was
        // closed on the way and every tunnel has its entry, so there is nothing left to do.
        let _ = self.thread.join();
    }
}

/// The door to a relay thread.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Hands a tunnel over; no system call, the thread looks after the next [`Handle::wake`].
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

    /// Ends every tunnel that was handed over until now with `cause`.
    pub fn end_all(&self, cause: Cause) {
        self.end_some(usize::MAX, cause);
    }

    /// Ends up to `count` tunnels with `cause`, so that a stop can be spread over time.
    pub fn end_some(&self, count: usize, cause: Cause) {
        let mut inbox = self.shared.inbox();
        // Those that were asked for last may wait still.
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

    /// Returns what the thread counts.
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

/// What the thread and its handles have in common.
#[derive(Debug)]
struct Shared {
    stats: Arc<Stats>,
    /// Number of the thread.
    index: usize,
    inbox: Mutex<Inbox>,
    /// Whether the inbox got a tunnel since the bell was last rung for it.
    pushed: AtomicBool,
    /// Tunnels handed over and not ended; the thread subtracts once per batch.
    alive: AtomicUsize,
    bell: Bell,
    kernel_tls: Arc<KernelTls>,
    journal: Journal,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Nothing that can panic runs under the lock, and every field is whole at any time.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages to the thread. Locked once per tunnel and never by the moving of bytes; its length is
/// bounded by the limit on connections.
#[derive(Debug, Default)]
struct Inbox {
    starts: Vec<Start>,
    end: Option<(usize, Cause)>,
    asks: VecDeque<Ask>,
    stop_when_empty: bool,
    closed: bool,
}

/// Ends a tunnel of which no byte was moved.
fn end_unseen(journal: &Journal, start: Start, cause: Cause) {
    journal.tally().of(&start.subject, |row| {
        let bytes = start.to_server.len() as u64;
        row.add(Count::TunnelBytes(Way::In), bytes);
    });
    let lasted = start.subject.started.elapsed().unwrap_or_default();
    journal.write(Entry::Close {
        subject: start.subject,
        cause,
        bytes_in: start.to_server.len() as u64,
        bytes_out: 0,
        path_in: Path::default(),
        path_out: Path::default(),
        lasted,
    });
}
