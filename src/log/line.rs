//! One line of the log: its text, its severity, and the parts of it that targets with fields use.

use std::time::SystemTime;

use tracing::Level;

use super::access::{Access, Event};
use super::time::preface;
use crate::journal::{Cause, Diagnostic, DiagnosticText, Side};

/// The severity of a line, by the numbers of syslog (RFC 5424 section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// 3.
    Error,
    /// 4.
    Warning,
    /// 5.
    Notice,
    /// 6.
    Info,
    /// 7.
    Debug,
}

impl Severity {
    /// Returns syslog's number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }

    /// Returns the severity of a diagnostic.
    pub(super) fn of_level(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Info,
            Level::DEBUG | Level::TRACE => Self::Debug,
        }
    }

    /// Returns the severity of an access line: notice for a client's fault, warning for a fault of a server
    /// or of this machine.
    pub(super) fn of_access(access: &Access<'_>) -> Self {
        match (access.event, access.cause) {
            (Event::Request | Event::Refused, Some(cause)) => Self::of_cause(cause),
            (_, Some(Cause::InternalError)) => Self::Error,
            _ => Self::Info,
        }
    }

    fn of_cause(cause: Cause) -> Self {
        const WELL: [Cause; 4] = [
            Cause::Served,
            Cause::Redirected,
            Cause::Responded,
            Cause::Drained,
        ];
        match cause.side() {
            _ if WELL.contains(&cause) => Self::Info,
            _ if cause == Cause::InternalError => Self::Error,
            Side::Client => Self::Notice,
            Side::Server | Side::Proxy => Self::Warning,
        }
    }
}

/// A line without its end.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Time of writing, or of the message.
    pub(super) time: SystemTime,
    /// Its severity.
    pub(super) severity: Severity,
    /// Its text, without control characters.
    pub(super) text: &'a str,
    /// Its subject.
    pub(super) kind: Kind<'a>,
}

/// The subject of a line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    /// The process itself; the time and level are not in the text.
    Diagnostic(Level),
    /// The process itself, as a whole JSON object.
    Object,
    /// A connection, a request or a tunnel.
    Access(&'a Access<'a>),
}

impl<'a> Line<'a> {
    /// Returns the line of a diagnostic.
    pub(super) fn of(diagnostic: &'a Diagnostic) -> Self {
        let kind = match diagnostic.text {
            DiagnosticText::Plain(_) => Kind::Diagnostic(diagnostic.level),
            DiagnosticText::Json(_) => Kind::Object,
        };
        Self {
            time: diagnostic.time,
            severity: Severity::of_level(diagnostic.level),
            text: diagnostic.text.as_str(),
            kind,
        }
    }

    /// Returns the prefix with time and level, for targets that do not add them.
    pub(super) fn preface(&self) -> String {
        match self.kind {
            Kind::Diagnostic(level) => preface(self.time, level),
            Kind::Access(_) | Kind::Object => String::new(),
        }
    }
}
