//! State shared by a thread and its handles: the inbox, the bell that announces its messages, and the
//! thread's counters.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::inspect::Ask;
use super::offload::KernelTls;
use super::start::Start;
use super::stats::Stats;
use crate::journal::counts::{Count, Way};
use crate::journal::{Cause, Entry, Journal, Path};
use crate::sys::event::Bell;

/// State shared by the thread and its handles.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) stats: Arc<Stats>,
    /// Number of the thread.
    pub(super) index: usize,
    pub(super) inbox: Mutex<Inbox>,
    /// Whether the inbox got a tunnel since the bell was last rung for it.
    pub(super) pushed: AtomicBool,
    /// Tunnels handed over and not ended; the thread subtracts once per batch.
    pub(super) alive: AtomicUsize,
    pub(super) bell: Bell,
    pub(super) kernel_tls: Arc<KernelTls>,
    pub(super) journal: Journal,
}

impl Shared {
    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // No code that can panic runs under the lock, and every field is valid at any time.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages to the thread. Locked once per tunnel, never while bytes are moved; its length is bounded by the
/// limit on connections.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) starts: Vec<Start>,
    pub(super) end: Option<(usize, Cause)>,
    pub(super) asks: VecDeque<Ask>,
    pub(super) stop_when_empty: bool,
    pub(super) closed: bool,
}

impl Inbox {
    /// Takes one question out; also returns whether there are more.
    pub(super) fn take_ask(&mut self) -> (Option<Ask>, bool) {
        (self.asks.pop_front(), !self.asks.is_empty())
    }
}

/// Ends a tunnel that has moved no byte.
pub(super) fn end_unseen(journal: &Journal, start: Start, cause: Cause) {
    journal.tally().of(&start.subject, |row| {
        let bytes = start.to_server.len() as u64;
        row.add(Count::TunnelBytes(Way::In), bytes);
    });
    let lasted = start.subject.started.elapsed().unwrap_or_default();
    journal.note(Entry::Close {
        subject: start.subject,
        cause,
        detail: String::new(),
        bytes_in: start.to_server.len() as u64,
        bytes_out: 0,
        path_in: Path::default(),
        path_out: Path::default(),
        lasted,
    });
}
