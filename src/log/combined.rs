//! The combined format of Apache and nginx: one line for each request, and one for each tunnel when
//! it ends; with the client's address, however many balancers are in front.
//!
//! Escapes are nginx's (`\xHH`). An end without an answer has the status that nginx gives it: 499
//! when the client went, 444 when it was closed without a word; a tunnel of `tcp` mode has 200, as in
//! nginx's stream module.

use std::time::SystemTime;

use super::time::LocalTime;
use super::words::{address, push_escaped};
use crate::journal::{Cause, Entry, RequestFacts, Side, Subject};

/// Status of an end without an answer, when the client went.
const CLIENT_WENT: u16 = 499;
/// Status of an end without an answer that the client was not told about.
const CLOSED: u16 = 444;
/// Status of a server that could not be reached, where nobody was told.
const BAD_GATEWAY: u16 = 502;
/// Status of a tunnel without a request.
const PASSED: u16 = 200;

/// Writes an entry as one line without its end; none for what leaves no line in this format.
#[must_use]
pub(super) fn line(entry: &Entry, now: SystemTime, time: &LocalTime) -> Option<String> {
    let (subject, request, status, bytes_out) = match entry {
        Entry::Open { .. } | Entry::Progress { .. } => return None,
        Entry::Close {
            subject, bytes_out, ..
        } => {
            let request = subject.request.as_deref();
            let status = request.map_or(PASSED, |request| request.status);
            (subject, request, status, *bytes_out)
        }
        Entry::Request {
            subject,
            request,
            bytes_out,
            ..
        } => (subject, Some(&**request), request.status, *bytes_out),
        Entry::Refused {
            subject,
            cause,
            status,
            request,
            ..
        } => {
            let status = status.unwrap_or_else(|| status_of(*cause));
            (subject, request.as_deref(), status, 0)
        }
    };
    Some(written(
        subject,
        request,
        status,
        bytes_out,
        &time.common(now),
    ))
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

fn written(
    subject: &Subject,
    request: Option<&RequestFacts>,
    status: u16,
    bytes_out: u64,
    at: &str,
) -> String {
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
