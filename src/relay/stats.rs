//! Counters of a relay thread: plain additions in cache lines that no other thread writes, read from outside.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tunnel::{Action, Flow, Outcome, Tunnel};

/// How bytes were moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// recv and send.
    Copy,
    /// splice(2).
    Splice,
    /// TLS records that we opened or sealed.
    UserRecords,
    /// TLS records that the kernel opened or sealed.
    KernelTls,
}

impl Means {
    /// All variants.
    pub const ALL: [Self; 4] = [Self::Copy, Self::Splice, Self::UserRecords, Self::KernelTls];

    /// Returns the word used in the log and in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Splice => "splice",
            Self::UserRecords => "user-records",
            Self::KernelTls => "kernel-tls",
        }
    }
}

/// The counters of one thread, in cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Stats {
    moved: [[AtomicU64; Means::ALL.len()]; 2],
    pipes_refused: AtomicU64,
}

impl Stats {
    /// Returns how many bytes were moved by `means`, from clients or to them.
    #[must_use]
    pub fn moved(&self, to_clients: bool, means: Means) -> u64 {
        let flow = if to_clients {
            Flow::ToClient
        } else {
            Flow::ToServer
        };
        self.counter(flow, means).load(Ordering::Relaxed)
    }

    /// Returns how often a pipe was wanted and not available.
    #[must_use]
    pub fn pipes_refused(&self) -> u64 {
        self.pipes_refused.load(Ordering::Relaxed)
    }

    fn counter(&self, flow: Flow, means: Means) -> &AtomicU64 {
        let [to_server, to_client] = &self.moved;
        let [copy, splice, user_records, kernel_tls] = match flow {
            Flow::ToServer => to_server,
            Flow::ToClient => to_client,
        };
        match means {
            Means::Copy => copy,
            Means::Splice => splice,
            Means::UserRecords => user_records,
            Means::KernelTls => kernel_tls,
        }
    }

    pub(super) fn note(&self, flow: Flow, means: Means, bytes: u64) {
        add(self.counter(flow, means), bytes);
    }

    pub(super) fn note_no_pipe(&self) {
        add(&self.pipes_refused, 1);
    }

    /// Counts the outcome of an action of `tunnel`; bytes are counted when they come in.
    pub(super) fn note_outcome(
        &self,
        tunnel: &Tunnel,
        flow: Flow,
        action: Action,
        outcome: Outcome,
    ) {
        let (means, bytes) = match (action, outcome) {
            (Action::Receive, Outcome::Moved(bytes)) => (Means::Copy, bytes),
            (Action::SpliceIn, Outcome::Moved(bytes)) => (Means::Splice, bytes),
            (Action::Receive, Outcome::Records { payload, .. }) => (Means::UserRecords, payload),
            (_, _) => return,
        };
        let by_kernel = means != Means::UserRecords && tunnel.path(flow).kernel;
        let means = if by_kernel { Means::KernelTls } else { means };
        self.note(flow, means, u64::from(bytes));
    }
}

/// Only the thread itself adds, so this needs no locked instruction.
fn add(counter: &AtomicU64, more: u64) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(more);
    counter.store(sum, Ordering::Relaxed);
}
