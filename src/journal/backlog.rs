//! The two limits of the queue, and the counters that enforce them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Messages that may wait for the writer; at about 400 bytes each this is 26 MB at the worst.
pub(super) const QUEUE_LEN_MAX: usize = 65_536;
/// Text from outside and diagnostics in the queue, in bytes: 256 for each message of a full one.
pub(super) const QUEUED_TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Fill level of the queue, and number of messages dropped.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    dropped: AtomicU64,
    /// Messages in the queue.
    waiting: AtomicUsize,
    /// Bytes of their text.
    text_bytes: AtomicUsize,
}

impl Backlog {
    /// Adds a message with this much text; returns whether there was room for it.
    pub(super) fn enter(&self, text_bytes: usize) -> bool {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let text_before = self.text_bytes.fetch_add(text_bytes, Ordering::Relaxed);
        waiting < QUEUE_LEN_MAX && text_before < QUEUED_TEXT_BYTES_MAX
    }

    /// Takes a message with this much text off the queue.
    pub(super) fn leave(&self, text_bytes: usize) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.text_bytes.fetch_sub(text_bytes, Ordering::Relaxed);
    }

    /// Counts a message that was not written.
    pub(super) fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many messages wait for the writer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns how many messages were not written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn text_bytes(&self) -> usize {
        self.text_bytes.load(Ordering::Relaxed)
    }
}
