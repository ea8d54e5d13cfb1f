//! The combined format of Apache and nginx: one line for each request, and one for each tunnel when it ends;
//! with the client's address, even behind load balancers.
//!
//! Escapes are nginx's (`\xHH`). An end without an answer has nginx's status: 499 if the client closed, 444
//! if the connection was closed without an answer. A tunnel of `tcp` mode has 200, as in nginx's stream
//! module.

use super::access::{Access, Event};
use super::time::LocalTime;
use super::words::{address, push_escaped};
use crate::journal::{Cause, RequestFacts, Side};

/// Status of an end without an answer, if the client closed.
const CLIENT_WENT: u16 = 499;
/// Status of an end without an answer for another reason.
const CLOSED: u16 = 444;
/// Status of an end without an answer that is the server's fault.
const BAD_GATEWAY: u16 = 502;
/// Status of a tunnel without a request.
const PASSED: u16 = 200;

/// Returns an access line without its line end; none for events without a line in this format.
#[must_use]
pub(super) fn line(access: &Access<'_>, time: &LocalTime) -> Option<String> {
    match access.event {
        Event::Open | Event::Progress => None,
        Event::Close | Event::Request | Event::Refused => Some(written(access, time)),
    }
}

/// Returns the status of the answer, or its substitute if there was none.
fn status(access: &Access<'_>) -> u16 {
    let refused = access.cause.filter(|_| access.event == Event::Refused);
    let without = refused.map_or(PASSED, status_of);
    access.story_status().unwrap_or(without)
}

fn status_of(cause: Cause) -> u16 {
    const WENT: [Cause; 4] = [
        Cause::ClientReset,
        Cause::ClientClosed,
        Cause::ClientTruncated,
        Cause::RequestIncomplete,
    ];
    match cause.side() {
        Side::Client if WENT.contains(&cause) => CLIENT_WENT,
        Side::Server => BAD_GATEWAY,
        Side::Client | Side::Proxy => CLOSED,
    }
}

fn written(access: &Access<'_>, time: &LocalTime) -> String {
    let (subject, request) = (access.subject, access.story());
    let at = time.common(access.now);
    let mut out = format!("{} - - [{at}] \"", address(subject.client));
    match request {
        Some(request) => {
            let RequestFacts {
                method,
                target,
                version,
                ..
            } = request;
            push(&mut out, method);
            out.push(' ');
            push(&mut out, target);
            out.push_str(" HTTP/");
            out.push_str(version);
        }
        None => out.push('-'),
    }
    let (status, bytes_out) = (status(access), access.bytes_out);
    out.push_str(&format!("\" {status} {bytes_out} \""));
    push(
        &mut out,
        request.and_then(|it| it.referer.as_deref()).unwrap_or("-"),
    );
    out.push_str("\" \"");
    push(
        &mut out,
        request
            .and_then(|it| it.user_agent.as_deref())
            .unwrap_or("-"),
    );
    out.push('"');
    out
}

fn push(out: &mut String, text: &str) {
    push_escaped(out, text, "\"\\", |byte| format!("\\x{byte:02X}"));
}
