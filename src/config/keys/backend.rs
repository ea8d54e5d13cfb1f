//! `[[backend]]` with its timeouts; TLS, health checks and servers have files of their own.

use std::sync::{Arc, OnceLock};

use super::backend_tls::{BACKEND_TLS, servers_speak_tls};
use super::drafts::BackendDraft;
use super::health::{HEALTH, checks_over_tls_are_possible};
use super::server::{SERVER, servers_have_weight, servers_inherit};
use super::shared::{SEND_PROXY, SOURCE, name_text};
use crate::config::read::Among;
use crate::config::section::{At, Key, Section, Sub, Tables};
use crate::config::shape::Fallback;
use crate::config::types::{
    Bool, Choice, Maybe, OR_ZERO, POSITIVE, Size, Text, Time, Unique, Whole,
};
use crate::config::{BackendLimits, BackendTimeouts, Balance, DrainClose, WhenDown};
use crate::proto::http::pattern::is_host_value;

const MAX_QUEUE_MAX: u64 = 1_000_000;
const RETRIES_MAX: u64 = 10;

const METHODS: Choice<Balance> = Choice(Balance::WORDS);

/// Checks the name of a backend.
pub(super) fn name(text: &str) -> Result<Arc<str>, String> {
    let name = name_text(text)?;
    if name.contains(|character: char| character.is_whitespace() || character == '/') {
        return Err("holds white space or '/'".to_owned());
    }
    Ok(name.into())
}

fn host_value(text: &str) -> Result<Arc<str>, String> {
    if !is_host_value(text) {
        return Err("is no value of a Host header".to_owned());
    }
    Ok(text.into())
}

/// `[[backend]]`.
pub(super) static BACKEND: Section<BackendDraft> = Section {
    path: "backend",
    short: "A backend: servers of the same kind, and how one of them is chosen.",
    long: "Routes lead to backends by name. A reload adds, changes and removes backends and servers; tunnels \
           to a server that is gone go on.",
    blank: BackendDraft::blank,
    defaults: OnceLock::new(),
    rules: &[
        servers_inherit,
        servers_have_weight,
        servers_speak_tls,
        checks_over_tls_are_possible,
    ],
    keys: &[
        Key {
            name: "name",
            since: "0.1",
            default: Fallback::Required,
            short: "Its name in routes, logs and metrics.",
            long: "At most 128 bytes without white space and `/`, and no other backend has it.",
            example: "\"app\"",
            wrong: "\"a/b\"",
            kind: &At {
                of: Unique {
                    of: Text {
                        wanted: "a name without white space and '/', at most 128 bytes",
                        pattern: "^[^\\s/]{1,128}$",
                        parse: |_, text| name(text),
                        show: |name: &Arc<str>| name.to_string(),
                    },
                    among: Among::BackendNames,
                    spelling: |name: &Arc<str>| name.to_string(),
                    taken: "is the name of",
                },
                at: |it: &mut BackendDraft| &mut it.backend.name,
            },
        },
        Key {
            name: "balance",
            since: "0.1",
            default: Fallback::Is("\"source\""),
            short: "How a server is chosen for a request or connection.",
            long: "",
            example: "\"least_connections\"",
            wrong: "\"fair\"",
            kind: &At {
                of: METHODS,
                at: |it: &mut BackendDraft| &mut it.backend.balance,
            },
        },
        Key {
            name: "host_header",
            since: "0.2",
            default: Fallback::Words("the Host of the request"),
            short: "The Host that servers get.",
            long: "For servers that answer to one name only. Upgrades have it, too, and checks without `host`. \
                   X-Forwarded-Host tells what the client asked for. Only requests of listeners in `mode = \
                   \"http\"` are rewritten; the name for TLS is `tls.server_name`.",
            example: "\"app.internal:8080\"",
            wrong: "\"http://app\"",
            kind: &At {
                of: Maybe(Text {
                    wanted: "a name or an address, with or without port",
                    pattern: "^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._~-]+)(:[0-9]{1,5})?$",
                    parse: |_, text| host_value(text),
                    show: |host: &Arc<str>| host.to_string(),
                }),
                at: |it: &mut BackendDraft| &mut it.backend.host_header,
            },
        },
        Key {
            name: "keep_alive",
            since: "0.1",
            default: Fallback::Is("true"),
            short: "Whether HTTP connections to the servers are used for several requests.",
            long: "With `false`, each request has a connection of its own (`Connection: close`).",
            example: "false",
            wrong: "\"65s\"",
            kind: &At {
                of: Bool,
                at: |it: &mut BackendDraft| &mut it.backend.keep_alive,
            },
        },
        Key {
            name: "abort_on_close",
            since: "0.2",
            default: Fallback::Is("true"),
            short: "Whether a client that ends its connection gives up its HTTP request.",
            long: "Its request leaves the queue or its place at the server at once, and the connection to the \
                   server is closed. With `false`, a client that only ends its sending direction (`nc -N`) \
                   still gets its answer. A reset always gives up the request. Tunnels and `mode = \"tcp\"` are \
                   not concerned.",
            example: "false",
            wrong: "\"yes\"",
            kind: &At {
                of: Bool,
                at: |it: &mut BackendDraft| &mut it.backend.abort_on_close,
            },
        },
        Key {
            name: "max_queue",
            since: "0.1",
            default: Fallback::Is("1024"),
            short: "Requests and connections that may wait while every server is full.",
            long: "One more is refused with 503. How long they wait is `timeouts.queue`.",
            example: "0",
            wrong: "\"1024\"",
            kind: &At {
                of: Whole::within(0..=MAX_QUEUE_MAX),
                at: |it: &mut BackendDraft| &mut it.backend.max_queue,
            },
        },
        Key {
            name: "when_down",
            since: "0.1",
            default: Fallback::Is("\"refuse\""),
            short: "What happens to requests while no server is up.",
            long: "",
            example: "\"queue\"",
            wrong: "\"wait\"",
            kind: &At {
                of: Choice(&[
                    ("refuse", WhenDown::Refuse, "They are refused at once."),
                    (
                        "queue",
                        WhenDown::Queue,
                        "They wait in the queue, as if every server were full.",
                    ),
                ]),
                at: |it: &mut BackendDraft| &mut it.backend.when_down,
            },
        },
        Key {
            name: "retries",
            since: "0.1",
            default: Fallback::Is("2"),
            short: "Other servers that are tried when one cannot be connected to.",
            long: "Nothing of a request has been sent then, so it reaches one server only.",
            example: "0",
            wrong: "11",
            kind: &At {
                of: Whole::within(0..=RETRIES_MAX),
                at: |it: &mut BackendDraft| &mut it.backend.retries,
            },
        },
        Key {
            name: "slow_start",
            since: "0.1",
            default: Fallback::Is("\"0s\""),
            short: "Over which time a server that came up gets up to its whole share of new connections.",
            long: "Zero gives it its share at once.",
            example: "\"30s\"",
            wrong: "30",
            kind: &At {
                of: Time(OR_ZERO),
                at: |it: &mut BackendDraft| &mut it.backend.slow_start,
            },
        },
        Key {
            name: "drain_close",
            since: "0.1",
            default: Fallback::Is("\"plain\""),
            short: "How clients are told that a drain ends their tunnel.",
            long: "",
            example: "\"websocket\"",
            wrong: "true",
            kind: &At {
                of: Choice(&[
                    ("plain", DrainClose::Plain, "The connection closes."),
                    (
                        "websocket",
                        DrainClose::Websocket,
                        "A WebSocket gets a Close frame with status 1001 first, where one can be sent.",
                    ),
                ]),
                at: |it: &mut BackendDraft| &mut it.backend.drain_close,
            },
        },
        Key {
            name: "send_proxy",
            since: "0.1",
            default: Fallback::Is("\"off\""),
            short: "Which PROXY header the servers get before the client's bytes.",
            long: "A server can say otherwise.",
            example: "\"v2\"",
            wrong: "true",
            kind: &At {
                of: Maybe(SEND_PROXY),
                at: |it: &mut BackendDraft| &mut it.send_proxy,
            },
        },
        Key {
            name: "source",
            since: "0.1",
            default: Fallback::Words("the kernel chooses"),
            short: "Addresses of this machine that connections to the servers come from, in turn.",
            long: "Each address brings its own range of ports, so several of them lift the limit of some 28000 \
                   connections to one server. A server can say otherwise.",
            example: "[\"127.0.0.2\", \"127.0.0.3\"]",
            wrong: "\"lo\"",
            kind: &At {
                of: Maybe(SOURCE),
                at: |it: &mut BackendDraft| &mut it.source,
            },
        },
        Key {
            name: "timeouts",
            since: "0.1",
            default: Fallback::Is("{}"),
            short: "How long servers may take, and how long tunnels may be silent.",
            long: "",
            example: "{ tunnel_idle = \"1h\" }",
            wrong: "\"5s\"",
            kind: &At {
                of: Sub(&TIMEOUTS),
                at: |it: &mut BackendDraft| &mut it.backend.timeouts,
            },
        },
        Key {
            name: "limits",
            since: "0.2",
            default: Fallback::Is("{}"),
            short: "How long the head of a server's response may be.",
            long: "",
            example: "{ head = \"128KiB\" }",
            wrong: "\"64KiB\"",
            kind: &At {
                of: Sub(&LIMITS),
                at: |it: &mut BackendDraft| &mut it.backend.limits,
            },
        },
        Key {
            name: "health",
            since: "0.1",
            default: Fallback::Words("no checks: every server counts as up"),
            short: "Checks that find out whether a server can serve.",
            long: "",
            example: "{ kind = \"tcp\" }",
            wrong: "true",
            kind: &At {
                of: Maybe(Sub(&HEALTH)),
                at: |it: &mut BackendDraft| &mut it.health,
            },
        },
        Key {
            name: "tls",
            since: "0.1",
            default: Fallback::Words("plain text"),
            short: "TLS towards the servers.",
            long: "",
            example: "{ verify = false }",
            wrong: "true",
            kind: &At {
                of: Maybe(Sub(&BACKEND_TLS)),
                at: |it: &mut BackendDraft| &mut it.tls,
            },
        },
        Key {
            name: "server",
            since: "0.1",
            default: Fallback::Required,
            short: "The servers.",
            long: "",
            example: "[{ address = \"127.0.0.1:3000\" }]",
            wrong: "{ address = \"127.0.0.1:3000\" }",
            kind: &At {
                of: Tables(&SERVER),
                at: |it: &mut BackendDraft| &mut it.servers,
            },
        },
    ],
};

static LIMITS: Section<BackendLimits> = Section {
    path: "backend.limits",
    short: "How long the head of a server's response may be.",
    long: "The client gets 502 in place of a longer one, and a server whose health check is answered so is down. The \
           limits of requests are in `[listener.limits]`; they are lower, because strangers send requests.",
    blank: BackendLimits::default,
    defaults: OnceLock::new(),
    rules: &[],
    keys: &[
        Key {
            name: "head",
            since: "0.2",
            default: Fallback::Is("\"64KiB\""),
            short: "Longest head of a response, the status line included.",
            long: "The trailers of a chunked response may be as long.",
            example: "\"128KiB\"",
            wrong: "\"64K\"",
            kind: &At {
                of: Size::within(256..=1 << 20),
                at: |it: &mut BackendLimits| &mut it.head,
            },
        },
        Key {
            name: "headers",
            since: "0.2",
            default: Fallback::Is("256"),
            short: "Most header lines of a response.",
            long: "Each `Set-Cookie` is a line of its own.",
            example: "512",
            wrong: "0",
            kind: &At {
                of: Whole::within(1..=1024),
                at: |it: &mut BackendLimits| &mut it.headers,
            },
        },
    ],
};

static TIMEOUTS: Section<BackendTimeouts> = Section {
    path: "backend.timeouts",
    short: "How long servers may take, and how long tunnels may be silent.",
    long: "",
    blank: BackendTimeouts::default,
    defaults: OnceLock::new(),
    rules: &[],
    keys: &[
        Key {
            name: "connect",
            since: "0.1",
            default: Fallback::Is("\"5s\""),
            short: "To connect to a server, the TLS handshake with it included.",
            long: "Then another server is tried, as `retries` allows; at last the client gets 504.",
            example: "\"2s\"",
            wrong: "\"0s\"",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut BackendTimeouts| &mut it.connect,
            },
        },
        Key {
            name: "queue",
            since: "0.1",
            default: Fallback::Is("\"30s\""),
            short: "To wait in the queue; then the request is refused with 503.",
            long: "",
            example: "\"5s\"",
            wrong: "30",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut BackendTimeouts| &mut it.queue,
            },
        },
        Key {
            name: "response",
            since: "0.1",
            default: Fallback::Is("\"1m\""),
            short: "From the end of a request until the head of its answer is complete.",
            long: "Then the client gets 504.",
            example: "\"5m\"",
            wrong: "\"1 m\"",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut BackendTimeouts| &mut it.response,
            },
        },
        Key {
            name: "tunnel_idle",
            since: "0.1",
            default: Fallback::Is("\"24h\""),
            short: "How long both sides of a tunnel may be silent before it is closed.",
            long: "Any byte of either side counts. Applications that ping never reach it.",
            example: "\"1h\"",
            wrong: "\"1d\"",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut BackendTimeouts| &mut it.tunnel_idle,
            },
        },
        Key {
            name: "half_close",
            since: "0.1",
            default: Fallback::Is("\"30s\""),
            short: "How long the other side may be silent after one side has ended.",
            long: "",
            example: "\"10s\"",
            wrong: "\"0s\"",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut BackendTimeouts| &mut it.half_close,
            },
        },
    ],
};
