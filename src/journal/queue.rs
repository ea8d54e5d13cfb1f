//! The bounded queue that carries entries and diagnostics to the thread that writes them.
//!
//! A data thread never waits here: an entry that finds the queue full is dropped and counted.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::cause::Cause;
use super::counts::{Counts, Tally};
use super::entry::{Diagnostic, Entry, Subject};
use super::timing::Timing;

/// Makes a journal; the receiver is for the writer's thread.
#[must_use]
pub fn journal() -> (Journal, Entries) {
    // The bound is a count: a bounded channel keeps the memory of every entry it has ever held, this one only
    // that of waiting entries.
    let (queue, received) = channel();
    let counts = Arc::new(Counts::new());
    let wishes = Arc::new(PresentWishes {
        lines: AtomicBool::new(true),
        stories: AtomicBool::new(false),
        progress_ms: AtomicU64::new(0),
        reopening: AtomicBool::new(false),
    });
    let entries = Entries {
        queue: received,
        counts: Arc::clone(&counts),
        wishes: Arc::clone(&wishes),
        ended: Cell::new(false),
    };
    let journal = Journal {
        queue,
        counts,
        wishes,
    };
    (journal, entries)
}

/// A message for the writer.
#[derive(Debug)]
pub enum Message {
    /// An event of a connection, a request or a tunnel.
    Entry(Entry),
    /// A line of diagnostics.
    Diagnostic(Diagnostic),
    /// The writer opens its file again.
    Reopen,
}

impl Message {
    /// Returns the bytes of text whose length an outsider controls.
    fn text_bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.text_bytes(),
            Self::Diagnostic(diagnostic) => diagnostic.text.as_str().len(),
            Self::Reopen => 0,
        }
    }
}

/// The contents of the channel.
#[derive(Debug)]
enum Sent {
    Message(Message),
    /// The writer takes no later message.
    End,
}

/// The sending end: cheap to clone, one per thread.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: Sender<Sent>,
    counts: Arc<Counts>,
    wishes: Arc<PresentWishes>,
}

impl Journal {
    /// Counts an entry and, if entries become access lines, hands it to the writer; never waits.
    pub fn note(&self, entry: Entry) {
        self.counts.note(&entry);
        if self.wishes.lines.load(Ordering::Relaxed) {
            self.enqueue(Message::Entry(entry));
        }
    }

    /// Counts an answered request, with the bytes of its bodies in and out, and, if entries become access
    /// lines, hands the result of `entry` to the writer.
    pub fn note_request(
        &self,
        subject: &Subject,
        timing: &Timing,
        cause: Cause,
        bytes: (u64, u64),
        entry: impl FnOnce() -> Entry,
    ) {
        self.counts.note_request(subject, timing, cause, bytes);
        if self.wishes.lines.load(Ordering::Relaxed) {
            self.enqueue(Message::Entry(entry()));
        }
    }

    /// Counts an end at a listener that has no access line, such as a probe.
    pub fn note_silently(&self, listener: &Arc<str>, cause: Cause) {
        self.counts.note_silently(listener, cause);
    }

    /// Hands a diagnostic to the writer; never waits.
    pub fn say(&self, diagnostic: Diagnostic) {
        self.enqueue(Message::Diagnostic(diagnostic));
    }

    fn enqueue(&self, message: Message) {
        let (backlog, text_bytes) = (self.counts.backlog(), message.text_bytes());
        let has_room = backlog.enter(text_bytes);
        if !has_room || self.queue.send(Sent::Message(message)).is_err() {
            backlog.leave(text_bytes);
            backlog.drop_one();
        }
    }

    /// Asks the writer to open its file again, after all earlier messages.
    pub fn reopen(&self) {
        // Sent even if the queue is full: at most one such message waits at a time.
        if !self.wishes.reopening.swap(true, Ordering::Relaxed) {
            self.send_always(Sent::Message(Message::Reopen));
        }
    }

    /// Ends the writer after all earlier messages. Other senders may exist: the writer does not wait for
    /// them.
    pub fn end(&self) {
        self.send_always(Sent::End);
    }

    fn send_always(&self, sent: Sent) {
        let backlog = self.counts.backlog();
        backlog.enter(0);
        if self.queue.send(sent).is_err() {
            backlog.leave(0);
        }
    }

    /// Returns the shared settings of the writer.
    #[must_use]
    pub fn wishes(&self) -> Arc<PresentWishes> {
        Arc::clone(&self.wishes)
    }

    /// Returns whether the line of a tunnel's end shows the request that opened it.
    #[must_use]
    pub fn has_stories(&self) -> bool {
        self.wishes.stories.load(Ordering::Relaxed)
    }

    /// Returns the interval between two lines of an open tunnel; none = no such lines.
    #[must_use]
    pub fn progress(&self) -> Option<Duration> {
        let ms = self.wishes.progress_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// Returns the counters by listener, backend and server.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        self.counts.tally()
    }

    /// Returns the counts, which go on changing.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

/// Settings of the writer, by which data threads avoid preparing text that is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// Whether entries become access lines.
    pub lines: bool,
    /// Whether the line of a tunnel's end shows the request that opened it.
    pub stories: bool,
    /// Interval between two lines of an open tunnel; none = no such lines.
    pub progress: Option<Duration>,
}

/// The present settings, shared by all senders; a reload changes them.
#[derive(Debug)]
pub struct PresentWishes {
    lines: AtomicBool,
    stories: AtomicBool,
    /// In milliseconds; 0 = never.
    progress_ms: AtomicU64,
    /// Whether a [`Message::Reopen`] is in the queue.
    reopening: AtomicBool,
}

impl PresentWishes {
    /// Sets the settings from now on.
    pub fn set(&self, wishes: Wishes) {
        let Wishes {
            lines,
            stories,
            progress,
        } = wishes;
        let ms = progress.map_or(0, |pause| pause.as_millis().max(1));
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        self.lines.store(lines, Ordering::Relaxed);
        self.stories.store(stories, Ordering::Relaxed);
        self.progress_ms.store(ms, Ordering::Relaxed);
    }
}

/// The receiving end, for the writer's thread.
#[derive(Debug)]
pub struct Entries {
    queue: Receiver<Sent>,
    counts: Arc<Counts>,
    wishes: Arc<PresentWishes>,
    /// Whether the end has been taken out.
    ended: Cell<bool>,
}

/// The result of waiting for a message.
#[derive(Debug)]
pub enum Waited {
    /// A message came.
    Message(Message),
    /// The time is over.
    Nothing,
    /// The end was taken, or every sender is gone.
    Closed,
}

impl Entries {
    /// Waits for the next message, at most `patience`; none = no limit.
    #[must_use]
    pub fn next_within(&self, patience: Option<Duration>) -> Waited {
        if self.ended.get() {
            return Waited::Closed;
        }
        let received = match patience {
            Some(patience) => self.queue.recv_timeout(patience),
            None => self.queue.recv().map_err(RecvTimeoutError::from),
        };
        match received {
            Ok(sent) => self.taken(sent).map_or(Waited::Closed, Waited::Message),
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(RecvTimeoutError::Disconnected) => Waited::Closed,
        }
    }

    /// Waits for the next entry, at most `patience`, and skips other messages.
    #[must_use]
    pub fn wait_for(&self, patience: Duration) -> Option<Entry> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_within(Some(left)) {
                Waited::Message(Message::Entry(entry)) => return Some(entry),
                Waited::Message(Message::Diagnostic(_) | Message::Reopen) => {}
                Waited::Nothing | Waited::Closed => return None,
            }
        }
    }

    /// Returns the next message if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Message> {
        let received = self.queue.try_recv().ok().filter(|_| !self.ended.get());
        received.and_then(|sent| self.taken(sent))
    }

    /// Counts a message as taken; none = it was the end.
    fn taken(&self, sent: Sent) -> Option<Message> {
        let message = match sent {
            Sent::Message(message) => Some(message),
            Sent::End => None,
        };
        let text_bytes = message.as_ref().map_or(0, Message::text_bytes);
        self.counts.backlog().leave(text_bytes);
        match message {
            Some(Message::Reopen) => self.wishes.reopening.store(false, Ordering::Relaxed),
            Some(Message::Entry(_) | Message::Diagnostic(_)) => {}
            None => self.ended.set(true),
        }
        message
    }

    /// Returns the counts, which go on changing.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}
