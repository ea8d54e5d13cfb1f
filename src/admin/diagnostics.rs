//! Diagnostics: what longsplice says about itself, as lines of text on standard error.

use std::time::SystemTime;

use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::access_log::timestamp;
use crate::config::LogLevel;

struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str(&timestamp(SystemTime::now()))
    }
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
        .with_writer(std::io::stderr)
        .with_timer(Rfc3339)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(level)
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
