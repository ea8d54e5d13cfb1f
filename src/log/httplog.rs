//! HAProxy's `option httplog` and, for tunnels without a request, `option tcplog`: the same fields in
//! the same order, so that what reads HAProxy's logs reads these (its configuration manual, sections
//! 8.2.2, 8.2.3, 8.5 and 8.6).
//!
//! A tunnel has its line when it ends. What HAProxy writes early with `option logasap` marks what may
//! still grow with a plus sign, and so do the lines of a tunnel that opens or goes on. Bytes are
//! payload: heads are not counted.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::time::LocalTime;
use super::words::{address, field, push_escaped};
use crate::journal::{Cause, Entry, RequestFacts, Subject, Timing};

/// The termination state of what goes on.
const GOES_ON: &str = "--";

/// Writes an entry as one line without its end; none for diagnostics.
#[must_use]
pub(super) fn line(entry: &Entry, now: SystemTime, time: &LocalTime) -> Option<String> {
    let told = match entry {
        Entry::Open { subject, request } => Told {
            request: Asked::of(request.as_deref()),
            status: request.as_ref().map(|request| request.status),
            lasted: now.duration_since(subject.started).unwrap_or_default(),
            ..Told::unfinished(subject)
        },
        Entry::Progress {
            subject,
            bytes_out,
            lasted,
            ..
        } => Told {
            bytes: *bytes_out,
            lasted: *lasted,
            ..Told::unfinished(subject)
        },
        Entry::Close {
            subject,
            cause,
            bytes_out,
            lasted,
            ..
        } => Told {
            cause: Some(*cause),
            bytes: *bytes_out,
            lasted: *lasted,
            ..Told::unfinished(subject)
        },
        Entry::Request {
            subject,
            request,
            cause,
            bytes_out,
            lasted,
            ..
        } => Told {
            request: Asked::Request(request),
            status: Some(request.status),
            cause: Some(*cause),
            bytes: *bytes_out,
            lasted: *lasted,
            ..Told::unfinished(subject)
        },
        Entry::Refused {
            subject,
            cause,
            status,
            request,
            lasted,
            ..
        } => Told {
            request: match request {
                Some(request) => Asked::Request(request),
                None if subject.is_http => Asked::Unreadable,
                None => Asked::Nothing,
            },
            status: *status,
            cause: Some(*cause),
            lasted: *lasted,
            ..Told::unfinished(subject)
        },
    };
    Some(told.written(time))
}

/// What was asked, as far as it can be told.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// This.
    Request(&'a RequestFacts),
    /// Something that is no request.
    Unreadable,
    /// Nothing: the connection is a tunnel from its first byte.
    Nothing,
}

impl<'a> Asked<'a> {
    fn of(request: Option<&'a RequestFacts>) -> Self {
        request.map_or(Self::Nothing, Self::Request)
    }
}

/// The fields of a line.
struct Told<'a> {
    subject: &'a Subject,
    timing: Timing,
    request: Asked<'a>,
    /// None = no answer.
    status: Option<u16>,
    /// None = it goes on.
    cause: Option<Cause>,
    bytes: u64,
    lasted: Duration,
}

impl<'a> Told<'a> {
    fn unfinished(subject: &'a Subject) -> Self {
        let request = subject.request.as_deref();
        Self {
            subject,
            timing: subject.timing.as_deref().copied().unwrap_or_default(),
            request: Asked::of(request),
            status: request.map(|request| request.status),
            cause: None,
            bytes: 0,
            lasted: Duration::ZERO,
        }
    }

    fn written(&self, time: &LocalTime) -> String {
        let mut out = String::with_capacity(256);
        // Writing to a string cannot fail.
        let _ = self.write(&mut out, &time.haproxy(self.subject.started));
        out
    }

    fn write(&self, out: &mut String, date: &str) -> std::fmt::Result {
        let (subject, timing) = (self.subject, &self.timing);
        let listener = field(&subject.listener, "\"");
        write!(
            out,
            "{}:{} [{date}] {listener}{} {}/{} ",
            address(subject.client),
            subject.client.port().unwrap_or(0),
            if subject.over_tls { "~" } else { "" },
            // HAProxy names the frontend again where it did not get as far as a backend.
            field(subject.backend.as_deref().unwrap_or(&listener), "/\""),
            field(subject.server.as_deref().unwrap_or("<NOSRV>"), "\""),
        )?;
        let growing = if self.cause.is_none() { "+" } else { "" };
        let (queue, connect) = (millis(timing.queue), millis(timing.connect));
        let lasted = self.lasted.as_millis();
        match self.request {
            Asked::Nothing => write!(out, "{queue}/{connect}/{growing}{lasted} ")?,
            Asked::Request(_) | Asked::Unreadable => write!(
                out,
                "{}/{queue}/{connect}/{}/{growing}{lasted} {} ",
                millis(timing.head),
                millis(timing.response),
                self.status.map_or(-1, i32::from),
            )?,
        }
        write!(out, "{growing}{} ", self.bytes)?;
        let state = self.cause.map_or(GOES_ON, Cause::state);
        let state = state.replace('.', self.reached());
        let connections = timing.connections;
        let counts = format_args!(
            "{}/{}/{}/{}/{}{}",
            connections.process,
            connections.listener,
            connections.backend,
            connections.server,
            if timing.redispatched { "+" } else { "" },
            timing.retries,
        );
        let queues = format_args!("{}/{}", timing.server_queue, timing.backend_queue);
        match self.request {
            Asked::Nothing => write!(out, "{state} {counts} {queues}"),
            Asked::Unreadable => {
                write!(out, "- - {state}-- {counts} {queues} \"<BADREQ>\"")
            }
            Asked::Request(request) => {
                write!(out, "- - {state}-- {counts} {queues} \"")?;
                push(out, &request.method);
                out.push(' ');
                push(out, &request.target);
                write!(out, " HTTP/{}\"", request.version)
            }
        }
    }

    /// Returns the letter of the phase that was reached: request, queue, connection, headers, data.
    fn reached(&self) -> &'static str {
        let is_tunnel = matches!(self.request, Asked::Nothing);
        match self.timing {
            Timing {
                response: Some(_), ..
            } => "D",
            Timing {
                connect: Some(_), ..
            } if is_tunnel => "D",
            Timing {
                connect: Some(_), ..
            } => "H",
            Timing { queue: Some(_), .. } => "C",
            _ if self.subject.server.is_some() => "C",
            _ if self.subject.backend.is_some() => "Q",
            _ => "R",
        }
    }
}

/// Returns milliseconds, or -1 for what was not reached.
fn millis(time: Option<Duration>) -> i64 {
    time.map_or(-1, |time| {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    })
}

fn push(out: &mut String, text: &str) {
    push_escaped(out, text, "\"#", |byte| format!("#{byte:02X}"));
}
