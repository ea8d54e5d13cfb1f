//! Diagnostics: what longsplice says about itself, as lines of text on standard error.
//!
//! While the process serves, lines go through the journal's queue like access lines, so that a
//! reader of standard error that is slow or gone never holds up a thread that moves bytes. Before
//! and after they are written directly.

use std::io::{self, Write};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::access_log::timestamp;
use crate::config::LogLevel;
use crate::journal::{Entry, Journal};

/// Where lines go instead of standard error.
static QUEUE: RwLock<Option<Journal>> = RwLock::new(None);

/// Sends lines through `journal` from now on, or, with none, directly to standard error again.
pub fn queue_in(journal: Option<Journal>) {
    *QUEUE.write().unwrap_or_else(PoisonError::into_inner) = journal;
}

struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str(&timestamp(SystemTime::now()))
    }
}

/// Takes whole lines; tracing writes each event with one call.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let queue = QUEUE.read().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref() {
            Some(journal) => {
                let text = String::from_utf8_lossy(line).into_owned();
                journal.write(Entry::Diagnostic(text));
                Ok(line.len())
            }
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// Writes `text` to standard error; a reader that is gone is no reason to fail.
pub fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Begins to write diagnostics from `level` up; panics are reported there too.
pub fn begin(level: LogLevel) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Lines)
        .with_timer(Rfc3339)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(level)
        .log_internal_errors(false)
        .finish();
    // A second start in one process (tests) keeps the first one's subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
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
