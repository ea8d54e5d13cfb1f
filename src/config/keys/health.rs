//! `[backend.health]`: checks of servers.

use std::path::Path;
use std::sync::OnceLock;

use super::drafts::{BackendDraft, HealthDraft};
use crate::config::read::Scope;
use crate::config::section::{At, Key, Section};
use crate::config::shape::Fallback;
use crate::config::types::{Bool, Choice, Maybe, POSITIVE, Text, Time, Whole};
use crate::config::units;
use crate::config::{HealthKind, HealthMethod};

/// Limit on `rise` and `fall`.
const CHECKS_MAX: u64 = 1000;

const KINDS: Choice<Option<HealthKind>> = Choice(&[
    (
        "http",
        Some(HealthKind::Http),
        "A request, answered with a status in `expect`.",
    ),
    (
        "tcp",
        Some(HealthKind::Tcp),
        "A connection, with its TLS handshake where TLS is spoken.",
    ),
    (
        "websocket",
        Some(HealthKind::Websocket),
        "A WebSocket upgrade, answered with 101.",
    ),
    (
        "off",
        None,
        "No checks; the other keys stay without effect.",
    ),
]);

const METHODS: Choice<HealthMethod> = Choice(&[
    ("GET", HealthMethod::Get, "The usual request."),
    (
        "HEAD",
        HealthMethod::Head,
        "A request for an answer without a body.",
    ),
    (
        "OPTIONS",
        HealthMethod::Options,
        "A request for what the server can do.",
    ),
]);

/// `[backend.health]`.
pub(super) static HEALTH: Section<HealthDraft> = Section {
    path: "backend.health",
    short: "Checks that find out whether a server can serve.",
    long: "Without this table every server counts as up. A server that several connections in a row cannot \
           be opened to is avoided for a moment in any case.",
    blank: HealthDraft::default,
    defaults: OnceLock::new(),
    rules: &[keys_fit_kind, fast_interval_fits_interval],
    keys: &[
        Key {
            name: "kind",
            since: "0.1",
            default: Fallback::Is("\"tcp\""),
            short: "What a check does.",
            long: "`tcp` connects, and makes the handshake if the server speaks TLS. With TLS 1.3 it then waits \
                   for the server's first record, 500ms at most, because the server refuses our certificate \
                   or the lack of one only then.",
            example: "\"http\"",
            wrong: "\"https\"",
            kind: &At {
                of: KINDS,
                at: |it: &mut HealthDraft| &mut it.kind,
            },
        },
        Key {
            name: "method",
            since: "0.1",
            default: Fallback::Is("\"GET\""),
            short: "Method of the request.",
            long: "Only with `kind = \"http\"`.",
            example: "\"HEAD\"",
            wrong: "\"POST\"",
            kind: &At {
                of: Maybe(METHODS),
                at: |it: &mut HealthDraft| &mut it.method,
            },
        },
        Key {
            name: "path",
            since: "0.1",
            default: Fallback::Is("\"/\""),
            short: "Path of the request, with its query if it has one.",
            long: "Only with `kind = \"http\"` and `kind = \"websocket\"`.",
            example: "\"/healthz\"",
            wrong: "\"/a b\"",
            kind: &At {
                of: Maybe(Text {
                    wanted: "a path such as \"/healthz\"",
                    pattern: "^/[!\"$-~]*$",
                    parse: path,
                    show: String::clone,
                }),
                at: |it: &mut HealthDraft| &mut it.path,
            },
        },
        Key {
            name: "host",
            since: "0.1",
            default: Fallback::Words("the backend's `host_header`, or the server's address"),
            short: "Host header of the request.",
            long: "Only with `kind = \"http\"` and `kind = \"websocket\"`.",
            example: "\"maps.example.com\"",
            wrong: "\"a/b\"",
            kind: &At {
                of: Maybe(Text {
                    wanted: "a Host header such as \"example.com\"",
                    pattern: "^[!-~]+$",
                    parse: host,
                    show: String::clone,
                }),
                at: |it: &mut HealthDraft| &mut it.host,
            },
        },
        Key {
            name: "expect",
            since: "0.1",
            default: Fallback::Is("\"200-399\""),
            short: "Status codes that count as success: codes and ranges, separated by commas.",
            long: "Only with `kind = \"http\"`.",
            example: "\"200,301-302\"",
            wrong: "\"399-200\"",
            kind: &At {
                of: Maybe(Text {
                    wanted: "status codes from 100 to 599 such as \"200-399\" or \"200,301-302\"",
                    pattern: "^ *[1-5][0-9]{2}(-[1-5][0-9]{2})?( *, *[1-5][0-9]{2}(-[1-5][0-9]{2})?)* *$",
                    parse: expected,
                    show: |ranges: &Vec<(u16, u16)>| units::status_ranges_text(ranges),
                }),
                at: |it: &mut HealthDraft| &mut it.expect,
            },
        },
        Key {
            name: "tls",
            since: "0.1",
            default: Fallback::Is("true"),
            short: "Whether servers that speak TLS are checked over TLS.",
            long: "Writing `true` needs a server that speaks TLS.",
            example: "false",
            wrong: "\"yes\"",
            kind: &At {
                of: Maybe(Bool),
                at: |it: &mut HealthDraft| &mut it.tls,
            },
        },
        Key {
            name: "interval",
            since: "0.1",
            default: Fallback::Is("\"10s\""),
            short: "Between two checks of a server.",
            long: "",
            example: "\"5s\"",
            wrong: "\"0s\"",
            kind: &At {
                of: Maybe(Time(POSITIVE)),
                at: |it: &mut HealthDraft| &mut it.interval,
            },
        },
        Key {
            name: "fast_interval",
            since: "0.1",
            default: Fallback::Is("\"1s\""),
            short: "Between two checks of a server that is on its way up or down.",
            long: "A smaller `interval` lowers the default with it.",
            example: "\"500ms\"",
            wrong: "1",
            kind: &At {
                of: Maybe(Time(POSITIVE)),
                at: |it: &mut HealthDraft| &mut it.fast_interval,
            },
        },
        Key {
            name: "timeout",
            since: "0.1",
            default: Fallback::Is("\"2s\""),
            short: "How long one check may take.",
            long: "",
            example: "\"1s\"",
            wrong: "\"0s\"",
            kind: &At {
                of: Maybe(Time(POSITIVE)),
                at: |it: &mut HealthDraft| &mut it.timeout,
            },
        },
        Key {
            name: "rise",
            since: "0.1",
            default: Fallback::Is("2"),
            short: "Checks in a row that must succeed until a server is up.",
            long: "",
            example: "1",
            wrong: "0",
            kind: &At {
                of: Maybe(Whole::within(1..=CHECKS_MAX)),
                at: |it: &mut HealthDraft| &mut it.rise,
            },
        },
        Key {
            name: "fall",
            since: "0.1",
            default: Fallback::Is("3"),
            short: "Checks in a row that must fail until a server is down.",
            long: "",
            example: "5",
            wrong: "0",
            kind: &At {
                of: Maybe(Whole::within(1..=CHECKS_MAX)),
                at: |it: &mut HealthDraft| &mut it.fall,
            },
        },
    ],
};

fn path(_: &Path, text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits || text.contains('#') {
        return Err("does not fit into a request line".to_owned());
    }
    Ok(text.to_owned())
}

fn host(_: &Path, text: &str) -> Result<String, String> {
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.is_empty();
    if !fits || text.contains(['/', '@', '#', '?', '\\']) {
        return Err("is no host".to_owned());
    }
    Ok(text.to_owned())
}

fn expected(_: &Path, text: &str) -> Result<Vec<(u16, u16)>, String> {
    let ranges = text.split(',');
    ranges
        .map(|range| units::status_range(range.trim()))
        .collect()
}

/// Refuses keys of another kind of check, but not for `kind = "off"`, so that one word switches checks off
/// and on.
fn keys_fit_kind(health: &mut HealthDraft, scope: &Scope<'_, '_>) {
    let refuse = |keys: &[&str], message: &str| {
        let written = keys.iter().filter(|key| scope.has(key));
        written.for_each(|key| scope.place_of(key).reject(message));
    };
    match health.kind {
        Some(HealthKind::Tcp) => refuse(
            &["method", "path", "host", "expect"],
            "a check with kind = \"tcp\" only connects; kind = \"http\" or \"websocket\"",
        ),
        Some(HealthKind::Websocket) => {
            refuse(
                &["expect"],
                "a check with kind = \"websocket\" expects 101; kind = \"http\"",
            );
            refuse(
                &["method"],
                "a check with kind = \"websocket\" is a GET; kind = \"http\"",
            );
        }
        Some(HealthKind::Http) | None => {}
    }
}

/// Lowers the default of `fast_interval` to a smaller `interval`.
fn fast_interval_fits_interval(health: &mut HealthDraft, scope: &Scope<'_, '_>) {
    if !scope.has("fast_interval") {
        health.fast_interval = health.fast_interval.min(health.interval);
    }
}

/// Refuses checks over TLS if no server speaks TLS.
pub(super) fn checks_over_tls_are_possible(draft: &mut BackendDraft, scope: &Scope<'_, '_>) {
    let Some(health) = &draft.health else {
        return;
    };
    let is_written = scope.has("health.tls") && !scope.is_wrong("health.tls");
    let demanded = is_written && health.tls == Some(true) && health.kind.is_some();
    if demanded && draft.backend.tls.is_none() {
        scope.place_of("health.tls").reject(
            "no server of the backend speaks TLS; tls = true at a server, or [backend.tls]",
        );
    }
}
