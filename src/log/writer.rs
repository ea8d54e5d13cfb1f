//! The thread that writes the log: it takes entries and diagnostics from the journal and hands lines to
//! the target.
//!
//! It counts the lines that the target did not take, and reports them when the target takes lines again.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant, SystemTime};

use tracing::Level;

use super::access::Access;
use super::diagnostics::{diagnostic, reopen, say_diagnostic};
use super::line::{Kind, Line, Severity};
use super::loss::Loss;
use super::target::{LogError, Refused, Target};
use super::time::LocalTime;
use super::{combined, httplog, json};
use crate::config::{AccessFormat, Log};
use crate::journal::{
    Diagnostic, Entries, Entry, Journal, Message, PresentWishes, Waited, Wishes, journal,
};

/// Time to collect entries before writing. A thread that waited for each entry would have to be woken for
/// each, which costs more than the rest of the entry's handling, and the threads that move bytes would pay
/// for it.
const COLLECT_TIME: Duration = Duration::from_millis(10);

/// Number of entries after which a writer that never catches up checks rotation and losses anyway.
const ROUND_LEN_MAX: usize = 4096;

/// Makes the journal of a log that starts later: messages until then wait in its queue.
#[must_use]
pub fn prepare(log: &Log) -> (Journal, Prepared) {
    let (journal, entries) = journal();
    let prepared = Prepared {
        log: log.clone(),
        entries: Some(entries),
        wishes: journal.wishes(),
    };
    prepared.wishes.set(wishes(log));
    (journal, prepared)
}

/// A log that has not started. If it never does, waiting messages go to standard error.
#[derive(Debug)]
pub struct Prepared {
    log: Log,
    entries: Option<Entries>,
    wishes: Arc<PresentWishes>,
}

impl Prepared {
    /// Opens the target and starts the thread that writes to it until every journal is gone.
    ///
    /// # Errors
    /// A file that cannot be opened. An absent receiver of syslog or journald is not an error: it is tried again,
    /// and lines that could not be sent meanwhile are counted.
    pub fn begin(mut self) -> Result<(JoinHandle<()>, Settings), LogError> {
        let time = LocalTime::of_system();
        let target = Target::open(&self.log, &time)?;
        let (settings, changes) = channel();
        let writer = Writer {
            changes,
            format: self.log.access,
            time,
            target,
            loss: Loss::default(),
            trouble: None,
        };
        let settings = Settings {
            changes: settings,
            wishes: Arc::clone(&self.wishes),
        };
        let entries = self.entries.take();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                if let Some(entries) = entries {
                    writer.run(&entries);
                }
            })
            .map(|thread| (thread, settings))
            .map_err(LogError::Thread)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        let waiting = self.entries.take();
        for message in waiting
            .iter()
            .flat_map(|entries| std::iter::from_fn(|| entries.take()))
        {
            if let Message::Diagnostic(diagnostic) = message {
                say_diagnostic(&diagnostic);
            }
        }
    }
}

/// Changes the settings of a started log.
#[derive(Debug)]
pub struct Settings {
    changes: Sender<LogChange>,
    wishes: Arc<PresentWishes>,
}

/// New settings, with everything opened that they need.
#[derive(Debug)]
pub struct LogChange {
    format: AccessFormat,
    wishes: Wishes,
    /// The new target; none = the target stays.
    target: Option<Target>,
}

impl LogChange {
    /// Prepares the change from the settings `before` to those `after`.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn prepare(before: &Log, after: &Log) -> Result<Self, LogError> {
        let moves =
            (&before.target, before.facility_number()) != (&after.target, after.facility_number());
        let open = || Target::open(after, &LocalTime::of_system());
        Ok(Self {
            format: after.access,
            wishes: wishes(after),
            target: moves.then(open).transpose()?,
        })
    }
}

impl Settings {
    /// Applies a change after all earlier messages, and opens files again.
    pub fn apply(&self, change: LogChange) {
        self.wishes.set(change.wishes);
        // A writer that has ended writes nothing.
        let _ = self.changes.send(change);
        reopen();
    }
}

fn wishes(log: &Log) -> Wishes {
    Wishes {
        lines: log.access != AccessFormat::Off,
        stories: match log.access {
            AccessFormat::Httplog | AccessFormat::Combined => true,
            AccessFormat::Json | AccessFormat::Off => false,
        },
        progress: log.progress.filter(|_| log.access != AccessFormat::Off),
    }
}

/// The state of the thread.
struct Writer {
    /// Changes, applied when files are opened again.
    changes: Receiver<LogChange>,
    format: AccessFormat,
    time: LocalTime,
    target: Target,
    loss: Loss,
    /// The last complaint about the target on standard error, until the target takes lines again.
    trouble: Option<String>,
}

impl Writer {
    /// Writes entries as they come; waiting ones are written together.
    fn run(mut self, entries: &Entries) {
        let counts = entries.counts();
        if let Err(error) = self.target.prepare() {
            self.complain(&error);
        }
        loop {
            match entries.next_within(self.loss.patience()) {
                Waited::Message(message) => {
                    self.renew(false);
                    self.obey(&message);
                    let rest = std::iter::from_fn(|| entries.take());
                    rest.take(ROUND_LEN_MAX)
                        .for_each(|message| self.obey(&message));
                    self.flush();
                }
                Waited::Nothing => self.renew(false),
                Waited::Closed => break,
            }
            self.loss.see_dropped(counts.dropped());
            self.tell_losses(Instant::now());
            sleep(COLLECT_TIME);
        }
        self.loss.see_dropped(counts.dropped());
        self.tell_losses(Instant::now());
    }

    fn obey(&mut self, message: &Message) {
        match message {
            Message::Entry(entry) => self.write(entry),
            Message::Diagnostic(diagnostic) => self.put(diagnostic),
            Message::Reopen => {
                // Earlier lines belong to the previous file.
                self.flush();
                self.change();
                self.renew(true);
            }
        }
    }

    fn write(&mut self, entry: &Entry) {
        let access = Access::of(entry, SystemTime::now());
        let Some(text) = self.text_of(&access) else {
            return;
        };
        let line = Line {
            time: access.now,
            severity: Severity::of_access(&access),
            text: &text,
            kind: Kind::Access(&access),
        };
        if let Err(refused) = self.target.take(&line, 1) {
            self.lose(refused);
        }
    }

    fn change(&mut self) {
        while let Ok(change) = self.changes.try_recv() {
            self.format = change.format;
            let Some(target) = change.target else {
                continue;
            };
            self.target = target;
            self.trouble = None;
            if let Err(error) = self.target.prepare() {
                self.complain(&error);
            }
        }
    }

    fn text_of(&self, access: &Access<'_>) -> Option<String> {
        match self.format {
            AccessFormat::Json => Some(json::line(access)),
            AccessFormat::Httplog => Some(httplog::line(access, &self.time)),
            AccessFormat::Combined => combined::line(access, &self.time),
            AccessFormat::Off => None,
        }
    }

    /// Writes a diagnostic.
    fn put(&mut self, diagnostic: &Diagnostic) {
        if let Err(refused) = self.target.take(&Line::of(diagnostic), 1) {
            self.lose(refused);
        }
    }

    fn flush(&mut self) {
        if let Err(refused) = self.target.flush() {
            self.lose(refused);
        }
    }

    fn lose(&mut self, refused: Refused) {
        self.loss.add(refused.lines + refused.earlier);
        if let Some(error) = refused.error {
            self.complain(&error);
        }
    }

    /// Reports on standard error why the target takes no lines, once until it takes lines again.
    fn complain(&mut self, error: &io::Error) {
        let text = error.to_string();
        if self.target.is_stderr() || self.trouble.as_ref() == Some(&text) {
            return;
        }
        let said = format!("the log takes no lines: {text}; it is tried again");
        say_diagnostic(&diagnostic(Level::WARN, said));
        self.trouble = Some(text);
    }

    /// Reports the number of lost lines, as soon as the target takes lines.
    fn tell_losses(&mut self, now: Instant) {
        let Some(lines) = self.loss.due(now) else {
            return;
        };
        let text = format!("{lines} lines were dropped: the log did not take them in time");
        let diagnostic = diagnostic(Level::WARN, text);
        let taken = self.target.take(&Line::of(&diagnostic), lines);
        let refused = match taken.and_then(|()| self.target.flush()) {
            Ok(()) => Refused::default(),
            Err(refused) => refused,
        };
        self.loss.add(refused.earlier);
        match refused.error {
            Some(error) => self.complain(&error),
            None => {
                self.loss.told(lines);
                self.trouble = None;
            }
        }
    }

    /// Opens a file again if that is due.
    fn renew(&mut self, told: bool) {
        let Err(error) = self.target.renew(told) else {
            return;
        };
        let text = format!("the log file cannot be opened again, the old one is kept: {error}");
        let diagnostic = diagnostic(Level::ERROR, text);
        say_diagnostic(&diagnostic);
        self.put(&diagnostic);
    }
}
