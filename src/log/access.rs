//! The view of an entry that all formats of access lines use: one shape for all events.
//!
//! A value that an event does not have is none, empty or zero, so that a format asks for values and not for
//! the kind of entry.

use std::time::{Duration, SystemTime};

use crate::journal::{Cause, Entry, Path, RequestFacts, Subject, Timing};

/// The event of an access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A tunnel opened.
    Open,
    /// A tunnel is still open.
    Progress,
    /// A tunnel ended.
    Close,
    /// A request was answered.
    Request,
    /// A connection or a request was refused.
    Refused,
}

impl Event {
    /// Every event, in the order of a tunnel's life.
    pub(super) const ALL: [Self; 5] = [
        Self::Open,
        Self::Progress,
        Self::Close,
        Self::Request,
        Self::Refused,
    ];

    /// Returns the word of the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Progress => "progress",
            Self::Close => "close",
            Self::Request => "request",
            Self::Refused => "refused",
        }
    }
}

/// One entry, and when it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access<'a> {
    pub(super) event: Event,
    /// When the line is written.
    pub(super) now: SystemTime,
    pub(super) subject: &'a Subject,
    /// The request of this event, see also [`Access::story`].
    pub(super) request: Option<&'a RequestFacts>,
    /// Status sent to the client at this event.
    pub(super) status: Option<u16>,
    /// Cause of the end; none = it is still open.
    pub(super) cause: Option<Cause>,
    /// The broken rule, or empty.
    pub(super) detail: &'a str,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// How the bytes of a tunnel that ended were moved, in and out.
    pub(super) paths: Option<[Path; 2]>,
    /// Time since accept, or since the request began.
    pub(super) lasted: Duration,
}

impl<'a> Access<'a> {
    /// Makes the view of an entry that is written at `now`.
    pub(super) fn of(entry: &'a Entry, now: SystemTime) -> Self {
        match entry {
            Entry::Open { subject, request } => Self {
                request: request.as_deref(),
                status: request.as_ref().map(|request| request.status),
                lasted: now.duration_since(subject.started).unwrap_or_default(),
                ..Self::bare(Event::Open, subject, now)
            },
            Entry::Progress {
                subject,
                bytes_in,
                bytes_out,
                lasted,
            } => Self {
                bytes_in: *bytes_in,
                bytes_out: *bytes_out,
                lasted: *lasted,
                ..Self::bare(Event::Progress, subject, now)
            },
            Entry::Close {
                subject,
                cause,
                detail,
                bytes_in,
                bytes_out,
                path_in,
                path_out,
                lasted,
            } => Self {
                cause: Some(*cause),
                detail,
                bytes_in: *bytes_in,
                bytes_out: *bytes_out,
                paths: Some([*path_in, *path_out]),
                lasted: *lasted,
                ..Self::bare(Event::Close, subject, now)
            },
            Entry::Request {
                subject,
                request,
                cause,
                bytes_in,
                bytes_out,
                lasted,
            } => Self {
                request: Some(request),
                status: Some(request.status),
                cause: Some(*cause),
                detail: request.note,
                bytes_in: *bytes_in,
                bytes_out: *bytes_out,
                lasted: *lasted,
                ..Self::bare(Event::Request, subject, now)
            },
            Entry::Refused {
                subject,
                cause,
                detail,
                status,
                request,
                lasted,
            } => Self {
                request: request.as_deref(),
                status: *status,
                cause: Some(*cause),
                detail,
                lasted: *lasted,
                ..Self::bare(Event::Refused, subject, now)
            },
        }
    }

    fn bare(event: Event, subject: &'a Subject, now: SystemTime) -> Self {
        Self {
            event,
            now,
            subject,
            request: None,
            status: None,
            cause: None,
            detail: "",
            bytes_in: 0,
            bytes_out: 0,
            paths: None,
            lasted: Duration::ZERO,
        }
    }

    /// Returns the request of the line: for later events of a tunnel, the request that opened it, if the
    /// format shows it ([`crate::journal::Wishes::stories`]).
    pub(super) fn story(&self) -> Option<&'a RequestFacts> {
        match self.event {
            Event::Progress | Event::Close => self.subject.request.as_deref(),
            Event::Open | Event::Request | Event::Refused => self.request,
        }
    }

    /// Returns the status of [`Access::story`], or of a refusal.
    pub(super) fn story_status(&self) -> Option<u16> {
        match self.event {
            Event::Progress | Event::Close => self.story().map(|request| request.status),
            Event::Open | Event::Request | Event::Refused => self.status,
        }
    }

    /// Returns the durations of the stages, as far as measured.
    pub(super) fn timing(&self) -> Timing {
        self.subject.timing.as_deref().copied().unwrap_or_default()
    }
}
