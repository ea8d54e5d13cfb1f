//! Access lines as JSON: one object a line.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::time::rfc3339;
use crate::journal::{Cause, Entry, Offloaded, RequestFacts, Subject, Timing};
use crate::proto::addr::PeerAddr;

/// Writes an access entry as one JSON object without a line end; none for diagnostics.
#[must_use]
pub(super) fn line(entry: &Entry, now: SystemTime) -> Option<String> {
    let line = match entry {
        Entry::Open { subject, request } => {
            let line = Line::new("open", subject, now);
            match request {
                Some(request) => line.asked(request),
                None => line,
            }
        }
        Entry::Progress {
            subject,
            bytes_in,
            bytes_out,
            lasted,
        } => {
            let mut line = Line::new("progress", subject, now);
            (line.bytes_in, line.bytes_out) = (*bytes_in, *bytes_out);
            line.duration_ms = millis(*lasted);
            line.timing = None;
            line
        }
        Entry::Close {
            subject,
            cause,
            bytes_in,
            bytes_out,
            path_in,
            path_out,
            lasted,
        } => {
            let mut line =
                Line::new("close", subject, now).ended(*cause, (*bytes_in, *bytes_out), *lasted);
            line.path_in = Some(path_in.to_string());
            line.path_out = Some(path_out.to_string());
            line.offload_in = path_in.offload.map(Offloaded::as_str);
            line.offload_out = path_out.offload.map(Offloaded::as_str);
            line.timing = None;
            line
        }
        Entry::Request {
            subject,
            request,
            cause,
            bytes_in,
            bytes_out,
            lasted,
        } => Line::new("request", subject, now)
            .ended(*cause, (*bytes_in, *bytes_out), *lasted)
            .asked(request),
        Entry::Refused {
            subject,
            cause,
            detail,
            status,
            request,
            lasted,
        } => {
            let mut line = Line::new("refused", subject, now).ended(*cause, (0, 0), *lasted);
            if let Some(request) = request {
                line = line.asked(request);
            }
            line.detail = detail;
            line.status = *status;
            line
        }
    };
    // Strings and numbers always serialise.
    serde_json::to_string(&line).ok().map(shown_safely)
}

/// Escapes what JSON may hold as it is and a terminal acts on: the controls of C1, and marks that turn
/// the direction of text around.
fn shown_safely(line: String) -> String {
    let is_harmful = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if line.is_ascii() && !line.contains('\u{7f}') {
        return line;
    }
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if is_harmful(c) {
            // All of them have four digits.
            out += &format!("\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// One line; the order of the fields is the order in the log.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    event: &'static str,
    listener: &'a str,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_port: Option<u16>,
    peer: String,
    backend: Option<&'a str>,
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_in: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_out: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offload_in: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offload_out: Option<&'static str>,
    started: String,
    duration_ms: u64,
    #[serde(flatten)]
    timing: Option<TimingLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(flatten)]
    request: Option<RequestLine<'a>>,
}

/// How long the parts took; told once, not again when a tunnel ends.
#[derive(Debug, Serialize)]
struct TimingLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    head_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u16>,
}

impl TimingLine {
    fn of(timing: &Timing) -> Self {
        Self {
            head_ms: timing.head.map(millis),
            queue_ms: timing.queue.map(millis),
            connect_ms: timing.connect.map(millis),
            response_ms: timing.response.map(millis),
            retries: Some(timing.retries).filter(|retries| *retries > 0),
        }
    }
}

#[derive(Debug, Serialize)]
struct RequestLine<'a> {
    method: &'a str,
    host: &'a str,
    target: &'a str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(event: &'static str, subject: &'a Subject, now: SystemTime) -> Self {
        let client = match subject.client {
            PeerAddr::Inet(addr) => addr.ip().to_string(),
            PeerAddr::Unix => "unix:".to_owned(),
        };
        Self {
            time: rfc3339(now),
            event,
            listener: &subject.listener,
            client,
            client_port: subject.client.port().filter(|port| *port != 0),
            peer: subject.peer.to_string(),
            backend: subject.backend.as_deref(),
            server: subject.server.as_deref(),
            cause: None,
            side: None,
            detail: "",
            bytes_in: 0,
            bytes_out: 0,
            path_in: None,
            path_out: None,
            offload_in: None,
            offload_out: None,
            started: rfc3339(subject.started),
            duration_ms: now.duration_since(subject.started).map_or(0, millis),
            timing: subject.timing.as_deref().map(TimingLine::of),
            status: None,
            request: None,
        }
    }

    fn ended(mut self, cause: Cause, bytes: (u64, u64), lasted: Duration) -> Self {
        self.cause = Some(cause.as_str());
        self.side = Some(cause.side().as_str());
        (self.bytes_in, self.bytes_out) = bytes;
        self.duration_ms = millis(lasted);
        self
    }

    fn asked(mut self, request: &'a RequestFacts) -> Self {
        self.status = Some(request.status);
        self.request = Some(RequestLine {
            method: &request.method,
            host: &request.host,
            target: &request.target,
            version: request.version,
            referer: request.referer.as_deref(),
            user_agent: request.user_agent.as_deref(),
        });
        self
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_line_moves_a_terminal() {
        let text = "a\u{9b}31m\u{7f}\u{202e}é".to_owned();
        let line = serde_json::to_string(&text).unwrap();
        let safe = shown_safely(line);
        assert_eq!(safe, "\"a\\u009b31m\\u007f\\u202eé\"");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        assert_eq!(shown_safely("plain".to_owned()), "plain");
    }
}
