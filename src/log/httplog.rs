//! HAProxy's `option httplog` and, for tunnels without a request, `option tcplog`: the same fields in the
//! same order, so that tools for HAProxy's logs read these (its configuration manual, sections 8.2.2, 8.2.3,
//! 8.5 and 8.6).
//!
//! A tunnel has its line when it ends. Lines of a tunnel that opens or is still open mark values that may
//! grow with a plus sign, as HAProxy does with `option logasap`. Bytes are payload: heads are not counted.

use std::fmt::Write as _;
use std::time::Duration;

use super::access::{Access, Event};
use super::time::LocalTime;
use super::words::{address, field, push_escaped};
use crate::journal::{Cause, RequestFacts, Timing};

/// The termination state of a request that its client gave up.
const GAVE_UP: &str = "C.";
/// The termination state of an open tunnel.
const GOES_ON: &str = "--";

/// Writes an access line without its end.
#[must_use]
pub(super) fn line(access: &Access<'_>, time: &LocalTime) -> String {
    let mut out = String::with_capacity(256);
    // Writing to a `String` is infallible.
    let _ = write_line(access, &mut out, &time.haproxy(access.subject.started));
    out
}

/// The request, as far as it is known.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// This.
    Request(&'a RequestFacts),
    /// Bytes that were not a valid request.
    Unreadable,
    /// No request: the connection is a tunnel from its first byte.
    Nothing,
}

impl<'a> Asked<'a> {
    fn of(access: &Access<'a>) -> Self {
        match access.story() {
            Some(request) => Self::Request(request),
            None if access.event == Event::Refused && access.subject.is_http => Self::Unreadable,
            None => Self::Nothing,
        }
    }
}

fn write_line(access: &Access<'_>, out: &mut String, date: &str) -> std::fmt::Result {
    let (subject, timing, asked) = (access.subject, access.timing(), Asked::of(access));
    let listener = field(&subject.listener, "\"");
    write!(
        out,
        "{}:{} [{date}] {listener}{} {}/{} ",
        address(subject.client),
        subject.client.port().unwrap_or(0),
        if subject.over_tls { "~" } else { "" },
        // HAProxy repeats the frontend's name if no backend was chosen.
        field(subject.backend.as_deref().unwrap_or(&listener), "/\""),
        field(subject.server.as_deref().unwrap_or("<NOSRV>"), "\""),
    )?;
    let growing = if access.cause.is_none() { "+" } else { "" };
    let (queue, connect) = (millis(timing.queue), millis(timing.connect));
    let lasted = access.lasted.as_millis();
    match asked {
        Asked::Nothing => write!(out, "{queue}/{connect}/{growing}{lasted} ")?,
        Asked::Request(_) | Asked::Unreadable => write!(
            out,
            "{}/{queue}/{connect}/{}/{growing}{lasted} {} ",
            millis(timing.head),
            millis(timing.response),
            access.story_status().map_or(-1, i32::from),
        )?,
    }
    write!(out, "{growing}{} ", access.bytes_out)?;
    let state = match (access.cause, access.event) {
        (Some(Cause::ClientClosed), Event::Request | Event::Refused) => GAVE_UP,
        // It is the usual end of a tunnel.
        (cause, _) => cause.map_or(GOES_ON, Cause::state),
    };
    let state = state.replace('.', reached(access, asked));
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
    match asked {
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
fn reached(access: &Access<'_>, asked: Asked<'_>) -> &'static str {
    let is_tunnel = matches!(asked, Asked::Nothing);
    match access.timing() {
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
        _ if access.subject.server.is_some() => "C",
        _ if access.subject.backend.is_some() => "Q",
        _ => "R",
    }
}

/// Returns milliseconds, or -1 for a stage that was not reached.
fn millis(time: Option<Duration>) -> i64 {
    time.map_or(-1, |time| {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    })
}

fn push(out: &mut String, text: &str) {
    push_escaped(out, text, "\"#", |byte| format!("#{byte:02X}"));
}
