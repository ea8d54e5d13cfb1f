//! The log: one JSON object a line for every tunnel opened and closed, every request and every
//! refusal, and diagnostics between them. A thread of its own writes it; nobody ever waits for it.

use std::io::{self, BufWriter, Write};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::config::AccessFormat;
use crate::journal::{Cause, Entries, Entry, Offloaded, RequestFacts, Subject};
use crate::proto::addr::PeerAddr;

/// Lines collected into one write.
const BUFFER_LEN_BYTES: usize = 64 * 1024;

/// How long entries are collected after those that were just taken. A thread that waited for the
/// very next entry would have to be woken for each one, at a price above all the rest of an entry,
/// and paid by those who move bytes.
const COLLECT_TIME: Duration = Duration::from_millis(10);

/// Starts the thread that writes `entries` to standard error until every sender is gone.
///
/// # Errors
/// The system refuses the thread.
pub fn spawn(entries: Entries, format: AccessFormat) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || write_all(&entries, format, io::stderr()))
}

/// Writes entries as they come; what waits together is written together.
fn write_all(entries: &Entries, format: AccessFormat, target: impl Write) {
    let mut target = BufWriter::with_capacity(BUFFER_LEN_BYTES, target);
    while let Some(entry) = entries.wait() {
        write_line(&entry, format, &mut target);
        while let Some(entry) = entries.take() {
            write_line(&entry, format, &mut target);
        }
        // A reader that is gone is no reason to stop serving.
        let _ = target.flush();
        sleep(COLLECT_TIME);
    }
}

fn write_line(entry: &Entry, format: AccessFormat, target: &mut impl Write) {
    let now = SystemTime::now();
    let line = match (entry, format) {
        (Entry::Diagnostic(line), _) => Some(line.clone()),
        (_, AccessFormat::Off) => None,
        (_, AccessFormat::Json | AccessFormat::Httplog | AccessFormat::Combined) => {
            to_json(entry, now).map(|line| line + "\n")
        }
    };
    if let Some(line) = line {
        let _ = target.write_all(line.as_bytes());
    }
}

/// Writes a point in time as RFC 3339 with milliseconds, in UTC.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
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
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(flatten)]
    request: Option<RequestLine<'a>>,
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
            time: timestamp(now),
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
            started: timestamp(subject.started),
            duration_ms: now.duration_since(subject.started).map_or(0, millis),
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

/// Writes an access entry as one JSON object without a line end; none for diagnostics.
#[must_use]
pub fn to_json(entry: &Entry, now: SystemTime) -> Option<String> {
    let line = match entry {
        Entry::Diagnostic(_) => return None,
        Entry::Open { subject, request } => {
            let line = Line::new("open", subject, now);
            match request {
                Some(request) => line.asked(request),
                None => line,
            }
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
    serde_json::to_string(&line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Path;
    use expect_test::{Expect, expect};
    use std::sync::Arc;

    fn subject() -> Box<Subject> {
        Box::new(Subject {
            listener: Arc::from("edge"),
            peer: PeerAddr::from(std::net::SocketAddr::from(([10, 0, 0, 1], 40000))),
            client: PeerAddr::from(std::net::SocketAddr::from(([203, 0, 113, 9], 5678))),
            backend: Some(Arc::from("app")),
            server: Some(Arc::from("127.0.0.1:3000")),
            started: SystemTime::UNIX_EPOCH,
        })
    }

    fn check(entry: &Entry, expected: &Expect) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        expected.assert_eq(&to_json(entry, now).unwrap());
    }

    fn request() -> Box<RequestFacts> {
        Box::new(RequestFacts {
            method: "GET".to_owned(),
            target: "/a\"b".to_owned(),
            host: "x".to_owned(),
            version: "1.1",
            status: 101,
            referer: None,
            user_agent: Some("curl\n".to_owned()),
        })
    }

    #[test]
    fn lines_read_like_this() {
        check(
            &Entry::Open {
                subject: subject(),
                request: Some(request()),
            },
            &expect![[
                r#"{"time":"1970-01-01T00:00:01.500Z","event":"open","listener":"edge","client":"203.0.113.9","client_port":5678,"peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","bytes_in":0,"bytes_out":0,"started":"1970-01-01T00:00:00.000Z","duration_ms":1500,"status":101,"method":"GET","host":"x","target":"/a\"b","version":"1.1","user_agent":"curl\n"}"#
            ]],
        );
        check(
            &Entry::Close {
                subject: subject(),
                cause: Cause::ClientClosed,
                bytes_in: 1,
                bytes_out: 2,
                path_in: Path {
                    copied: true,
                    spliced: false,
                    records: false,
                    kernel: false,
                    offload: None,
                },
                path_out: Path {
                    copied: true,
                    spliced: true,
                    records: false,
                    kernel: false,
                    offload: None,
                },
                lasted: Duration::from_millis(1234),
            },
            &expect![[
                r#"{"time":"1970-01-01T00:00:01.500Z","event":"close","listener":"edge","client":"203.0.113.9","client_port":5678,"peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","cause":"client-closed","side":"client","bytes_in":1,"bytes_out":2,"path_in":"copy","path_out":"copy+splice","started":"1970-01-01T00:00:00.000Z","duration_ms":1234}"#
            ]],
        );
        check(
            &Entry::Refused {
                subject: subject(),
                cause: Cause::BadRequest,
                detail: "why".to_owned(),
                status: Some(400),
                request: None,
                lasted: Duration::ZERO,
            },
            &expect![[
                r#"{"time":"1970-01-01T00:00:01.500Z","event":"refused","listener":"edge","client":"203.0.113.9","client_port":5678,"peer":"10.0.0.1:40000","backend":"app","server":"127.0.0.1:3000","cause":"bad-request","side":"client","detail":"why","bytes_in":0,"bytes_out":0,"started":"1970-01-01T00:00:00.000Z","duration_ms":0,"status":400}"#
            ]],
        );
    }
}
