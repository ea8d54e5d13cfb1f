//! The loop of a relay thread.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use super::poller::{PollerChoice, PollerInUse, PollerKind};
use super::{Shared, end_unseen};
use crate::journal::Cause;

/// Runs until a stop was asked for and no tunnel is left.
pub(super) fn run(
    shared: &Shared,
    _cpu: Option<usize>,
    _choice: PollerChoice,
    report: &SyncSender<io::Result<PollerInUse>>,
) {
    let kind = PollerKind::Epoll;
    let _ = report.send(Ok(PollerInUse {
        kind,
        refused: None,
    }));
    loop {
        shared.bell.wait();
        let mut inbox = shared.inbox();
        let starts = std::mem::take(&mut inbox.starts);
        inbox.closed = inbox.stop_when_empty;
        let (closed, end) = (inbox.closed, inbox.end.take());
        drop(inbox);
        shared.alive.fetch_sub(starts.len(), Ordering::Relaxed);
        let cause = end.map_or(Cause::InternalError, |(_, cause)| cause);
        for start in starts {
            end_unseen(&shared.journal, start, cause);
        }
        if closed {
            return;
        }
    }
}
