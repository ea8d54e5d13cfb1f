//! Diagnostics: messages of longsplice about itself.
//!
//! While the process serves, lines go through the journal's queue like access lines, to the same target, so
//! that a slow or absent target never blocks a thread that moves bytes. Before and after that they are
//! written directly to standard error.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry, reload};

use super::object;
use super::time::preface;
use crate::config::{DiagnosticFormat, LogLevel};
use crate::journal::{Diagnostic, DiagnosticText, Journal};

/// The levels that are written.
static FILTER: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Whether diagnostics are JSON objects.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The journal that gets the lines instead of standard error.
static QUEUE: RwLock<Option<Journal>> = RwLock::new(None);

/// Sends lines through `journal` from now on, or, with none, directly to standard error again.
pub fn queue_in(journal: Option<Journal>) {
    *QUEUE.write().unwrap_or_else(PoisonError::into_inner) = journal;
}

/// Ends the log after all earlier lines; later ones go to standard error.
pub fn end() {
    let queue = QUEUE.write().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(journal) = queue {
        journal.end();
    }
}

/// Opens the log's file again, after all earlier lines.
pub fn reopen() {
    let queue = QUEUE.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(journal) = queue.as_ref() {
        journal.reopen();
    }
}

/// A sink of whole lines of one level; tracing writes each event with one call.
struct Lines(Level);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !IS_JSON.load(Ordering::Relaxed) {
            let text = one_line(&String::from_utf8_lossy(line));
            pass_on(Diagnostic {
                time: SystemTime::now(),
                level: self.0,
                text: DiagnosticText::Plain(text),
            });
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes one line of a text, whatever a message or a peer's words in it contain.
fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.trim_end().chars().map(shown).collect()
}

/// Hands a diagnostic to the journal, or else writes it.
fn pass_on(diagnostic: Diagnostic) {
    let queue = QUEUE.read().unwrap_or_else(PoisonError::into_inner);
    match queue.as_ref() {
        Some(journal) => journal.say(diagnostic),
        None => say_diagnostic(&diagnostic),
    }
}

/// Writes a diagnostic to standard error.
pub(super) fn say_diagnostic(diagnostic: &Diagnostic) {
    let Diagnostic { time, level, text } = diagnostic;
    match text {
        DiagnosticText::Plain(text) => say(&format!("{}{text}\n", preface(*time, *level))),
        DiagnosticText::Json(object) => say(&format!("{object}\n")),
    }
}

/// Makes a diagnostic of this moment, in the present format.
pub(super) fn diagnostic(level: Level, text: String) -> Diagnostic {
    let time = SystemTime::now();
    let text = if IS_JSON.load(Ordering::Relaxed) {
        DiagnosticText::Json(object::of_text(time, level, &text))
    } else {
        DiagnosticText::Plain(text)
    };
    Diagnostic { time, level, text }
}

/// Writes events as JSON objects, if that is the format.
struct Objects;

impl<S: Subscriber> Layer<S> for Objects {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if IS_JSON.load(Ordering::Relaxed) {
            let time = SystemTime::now();
            pass_on(Diagnostic {
                time,
                level: *event.metadata().level(),
                text: DiagnosticText::Json(object::of_event(time, event)),
            });
        }
    }
}

struct Everything;

impl MakeWriter<'_> for Everything {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        Lines(Level::INFO)
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> Lines {
        Lines(*meta.level())
    }
}

/// Writes `text` to standard error; a closed standard error is ignored.
pub fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Writes diagnostics from `level` up from now on.
pub fn set_level(level: LogLevel) {
    if let Some(filter) = FILTER.get() {
        // Fails only without a subscriber, which is there for good.
        let _ = filter.reload(filter_of(level));
    }
}

/// Writes diagnostics in `format` from now on.
pub fn set_format(format: DiagnosticFormat) {
    let is_json = match format {
        DiagnosticFormat::Text => false,
        DiagnosticFormat::Json => true,
    };
    IS_JSON.store(is_json, Ordering::Relaxed);
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Begins to write diagnostics from `level` up in `format`; panics are reported there too.
pub fn begin(level: LogLevel, format: DiagnosticFormat) {
    set_format(format);
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Everything)
        .without_time()
        .with_level(false)
        .with_ansi(false)
        .with_target(false)
        .log_internal_errors(false);
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(Objects);
    // A second start in one process (tests) keeps the first one's subscriber.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = FILTER.set(handle);
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(
            place,
            what,
            "internal-error: one connection was given up; please report"
        );
    }));
}
