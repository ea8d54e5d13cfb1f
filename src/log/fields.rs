//! The fields of an access line: each is declared once, in the order of a JSON line.
//!
//! JSON lines, journald's fields and the page of the manual come from the table. The httplog and combined
//! formats have their own shape and read the same [`Access`].

use std::time::{Duration, SystemTime};

use super::access::{Access, Event};
use crate::journal::{Cause, ClientCertificate, Offloaded, Path, RequestFacts, Timing};
use crate::proto::addr::PeerAddr;

/// One field of an access line.
#[derive(Debug)]
pub(super) struct Field {
    /// The name in JSON lines.
    pub(super) name: &'static str,
    /// The type of its values.
    pub(super) kind: Kind,
    /// The events that have the field, unless there is no value.
    pub(super) events: &'static [Event],
    /// Its description, in Markdown.
    pub(super) text: &'static str,
    /// Reads its value.
    pub(super) read: for<'a> fn(&Access<'a>) -> Value<'a>,
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// RFC 3339 with milliseconds.
    Time,
}

impl Kind {
    /// Returns the word of the manual.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Time => "time",
        }
    }
}

/// The value of a field in one line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// The line has no such field.
    Absent,
    /// Not chosen yet: JSON's null.
    Null,
    Text(&'a str),
    Number(u64),
    Time(SystemTime),
    /// An address without its port.
    Host(PeerAddr),
    /// An address with its port.
    Address(PeerAddr),
    /// How bytes were moved.
    Path(Path),
}

impl Value<'_> {
    fn number(number: Option<impl Into<u64>>) -> Self {
        number.map_or(Self::Absent, |number| Self::Number(number.into()))
    }

    fn millis(time: Option<Duration>) -> Self {
        let ms = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Self::number(ms)
    }
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Absent, Self::Text)
    }

    fn name(name: Option<&'a str>) -> Self {
        name.map_or(Self::Null, Self::Text)
    }
}

fn asked<'a>(access: &Access<'a>, read: fn(&'a RequestFacts) -> Option<&'a str>) -> Value<'a> {
    Value::text(access.request.and_then(read))
}

fn took(access: &Access<'_>, read: fn(&Timing) -> Option<Duration>) -> Value<'static> {
    Value::millis(access.subject.timing.as_deref().and_then(read))
}

fn offload(path: Option<Path>) -> Value<'static> {
    let state = path.and_then(|path| path.offload);
    Value::text(state.map(Offloaded::as_str))
}

const ALWAYS: &[Event] = &Event::ALL;
/// Events of an end.
const ENDS: &[Event] = &[Event::Close, Event::Request, Event::Refused];
/// Events of a request; later lines of a tunnel do not repeat it.
const TOLD_ONCE: &[Event] = &[Event::Open, Event::Request, Event::Refused];

/// Every field, in the order of a JSON line.
pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "time",
        kind: Kind::Time,
        events: ALWAYS,
        text: "When the line was written.",
        read: |it| Value::Time(it.now),
    },
    Field {
        name: "event",
        kind: Kind::Text,
        events: ALWAYS,
        text: "`open`, `progress` or `close` of a tunnel; `request` for a request that was answered and opened no tunnel; `refused` for a connection or a request that was refused.",
        read: |it| Value::Text(it.event.as_str()),
    },
    Field {
        name: "listener",
        kind: Kind::Text,
        events: ALWAYS,
        text: "Name of the listener.",
        read: |it| Value::Text(&it.subject.listener),
    },
    Field {
        name: "client",
        kind: Kind::Text,
        events: ALWAYS,
        text: "Address of the client, as reported by trusted proxies; `unix:` for a unix socket.",
        read: |it| Value::Host(it.subject.client),
    },
    Field {
        name: "client_port",
        kind: Kind::Number,
        events: ALWAYS,
        text: "Port of the client, if known.",
        read: |it| Value::number(it.subject.client.port().filter(|port| *port != 0)),
    },
    Field {
        name: "client_certificate",
        kind: Kind::Text,
        events: ALWAYS,
        text: "`verified` if the client showed a certificate, `none` if not; only where `client_ca` asks for one.",
        read: |it| Value::text(it.subject.certificate.map(ClientCertificate::as_str)),
    },
    Field {
        name: "peer",
        kind: Kind::Text,
        events: ALWAYS,
        text: "Address and port of the connection itself.",
        read: |it| Value::Address(it.subject.peer),
    },
    Field {
        name: "backend",
        kind: Kind::Text,
        events: ALWAYS,
        text: "Name of the backend; null until it is chosen.",
        read: |it| Value::name(it.subject.backend.as_deref()),
    },
    Field {
        name: "server",
        kind: Kind::Text,
        events: ALWAYS,
        text: "Name of the server; null until it is chosen.",
        read: |it| Value::name(it.subject.server.as_deref()),
    },
    Field {
        name: "cause",
        kind: Kind::Text,
        events: ENDS,
        text: "Why the connection or the request ended: one of the [causes](causes.md).",
        read: |it| Value::text(it.cause.map(Cause::as_str)),
    },
    Field {
        name: "side",
        kind: Kind::Text,
        events: ENDS,
        text: "The side that ended it, or whose fault the end was: `client`, `server` or `proxy`.",
        read: |it| Value::text(it.cause.map(|cause| cause.side().as_str())),
    },
    Field {
        name: "detail",
        kind: Kind::Text,
        events: &[Event::Close, Event::Request, Event::Refused],
        text: "The rule that was broken, or the TLS alert that came, where the cause does not name it; with `request`, why an upgrade was served as an ordinary request.",
        read: |it| Value::text(Some(it.detail).filter(|detail| !detail.is_empty())),
    },
    Field {
        name: "bytes_in",
        kind: Kind::Number,
        events: ALWAYS,
        text: "Payload received from the client: data of the tunnel, or the request body. Zero at `open` and `refused`.",
        read: |it| Value::Number(it.bytes_in),
    },
    Field {
        name: "bytes_out",
        kind: Kind::Number,
        events: ALWAYS,
        text: "Payload sent to the client: data of the tunnel, or the response body. Zero at `open` and `refused`.",
        read: |it| Value::Number(it.bytes_out),
    },
    Field {
        name: "path_in",
        kind: Kind::Text,
        events: &[Event::Close],
        text: "How the bytes from the client went: `none`, or some of `user-records` (longsplice opened or sealed TLS records), `kernel-tls` (the kernel did), `copy`, `splice`, joined by `+`.",
        read: |it| {
            it.paths
                .map_or(Value::Absent, |[path, _]| Value::Path(path))
        },
    },
    Field {
        name: "path_out",
        kind: Kind::Text,
        events: &[Event::Close],
        text: "How the bytes to the client went, in the words of `path_in`.",
        read: |it| {
            it.paths
                .map_or(Value::Absent, |[_, path]| Value::Path(path))
        },
    },
    Field {
        name: "offload_in",
        kind: Kind::Text,
        events: &[Event::Close],
        text: "Whether the kernel handled the TLS records from the client (or to the server, if only the server speaks TLS): `kernel`, or the reason why not: `never` (configured), `not-offered` (this kernel does not support the cipher, or is slow at it), `not-bulky` (too little data), `not-yet` (the tunnel ended first), `refused` (the kernel refused).",
        read: |it| offload(it.paths.map(|[path, _]| path)),
    },
    Field {
        name: "offload_out",
        kind: Kind::Text,
        events: &[Event::Close],
        text: "The same for the records in the other direction.",
        read: |it| offload(it.paths.map(|[_, path]| path)),
    },
    Field {
        name: "started",
        kind: Kind::Time,
        events: ALWAYS,
        text: "When the request began, or the connection was accepted; the first request of a connection begins with it.",
        read: |it| Value::Time(it.subject.started),
    },
    Field {
        name: "duration_ms",
        kind: Kind::Number,
        events: ALWAYS,
        text: "Milliseconds since `started`.",
        read: |it| Value::millis(Some(it.lasted)),
    },
    Field {
        name: "head_ms",
        kind: Kind::Number,
        events: TOLD_ONCE,
        text: "Milliseconds from the first byte of the request to the end of its head.",
        read: |it| took(it, |timing| timing.head),
    },
    Field {
        name: "queue_ms",
        kind: Kind::Number,
        events: TOLD_ONCE,
        text: "Milliseconds in queues for a server.",
        read: |it| took(it, |timing| timing.queue),
    },
    Field {
        name: "connect_ms",
        kind: Kind::Number,
        events: TOLD_ONCE,
        text: "Milliseconds until the connection to the server was open, retries included; 0 for a kept one.",
        read: |it| took(it, |timing| timing.connect),
    },
    Field {
        name: "response_ms",
        kind: Kind::Number,
        events: TOLD_ONCE,
        text: "Milliseconds from the end of the request to the end of the response head.",
        read: |it| took(it, |timing| timing.response),
    },
    Field {
        name: "retries",
        kind: Kind::Number,
        events: TOLD_ONCE,
        text: "How many connections to servers were tried after the first; absent if none.",
        read: |it| Value::number(Some(it.timing().retries).filter(|retries| *retries > 0)),
    },
    Field {
        name: "status",
        kind: Kind::Number,
        events: TOLD_ONCE,
        text: "Status sent to the client.",
        read: |it| Value::number(it.status),
    },
    Field {
        name: "method",
        kind: Kind::Text,
        events: TOLD_ONCE,
        text: "Method of the request, as received.",
        read: |it| asked(it, |request| Some(&request.method)),
    },
    Field {
        name: "host",
        kind: Kind::Text,
        events: TOLD_ONCE,
        text: "Host of the request, as received.",
        read: |it| asked(it, |request| Some(&request.host)),
    },
    Field {
        name: "target",
        kind: Kind::Text,
        events: TOLD_ONCE,
        text: "Target of the request, as received; at most its first 1024 bytes.",
        read: |it| asked(it, |request| Some(&request.target)),
    },
    Field {
        name: "version",
        kind: Kind::Text,
        events: TOLD_ONCE,
        text: "HTTP version of the request: `1.0` or `1.1`.",
        read: |it| asked(it, |request| Some(request.version)),
    },
    Field {
        name: "referer",
        kind: Kind::Text,
        events: TOLD_ONCE,
        text: "Header `Referer` of the request, if sent.",
        read: |it| asked(it, |request| request.referer.as_deref()),
    },
    Field {
        name: "user_agent",
        kind: Kind::Text,
        events: TOLD_ONCE,
        text: "Header `User-Agent` of the request, if sent.",
        read: |it| asked(it, |request| request.user_agent.as_deref()),
    },
];

/// Returns the field of that name; an unknown name does not compile where this makes a constant.
pub(super) const fn named(name: &str) -> &'static Field {
    let mut at = 0;
    while at < FIELDS.len() {
        // In bounds by the condition above; a constant cannot iterate.
        if is_same(FIELDS[at].name.as_bytes(), name.as_bytes()) {
            return &FIELDS[at];
        }
        at += 1;
    }
    panic!("no field of this name")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        // In bounds by the condition above, and `other` has the same length.
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}
