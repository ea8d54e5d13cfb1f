//! `[[listener.route]]`: conditions that the mode allows, and exactly one action.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::OnceLock;

use super::conditions::{HEADER, METHOD, QUERY};
use super::drafts::{ListenerDraft, RouteDraft};
use super::shared::{RANGE, range};
use crate::config::address::is_name;
use crate::config::page::quoted;
use crate::config::read::{Scope, Value};
use crate::config::section::{At, Inline, Key, Section};
use crate::config::shape::{Fallback, Shape};
use crate::config::types::{Bool, Choice, Custom, Many, Maybe, Text, Whole};
use crate::config::{Mode, Redirect, Respond, Route};
use crate::proto::addr::Cidr;
use crate::proto::http::Scheme;
use crate::proto::http::condition::Condition;
use crate::proto::http::pattern::{ExactPath, HostPattern, PathPrefix};

/// Longest body of `respond`, in bytes.
const RESPOND_BODY_LEN_MAX: usize = 64 * 1024;
const REDIRECTS: &[u16] = &[301, 302, 303, 307, 308];

const SCHEMES: Choice<Scheme> = Choice(&[
    ("http", Scheme::Http, "Plain HTTP."),
    ("https", Scheme::Https, "HTTP over TLS."),
]);

const PATTERNS: Many<Text<HostPattern>> = Many {
    of: Text {
        wanted: "name, *.name or prefix*",
        pattern: "",
        parse: pattern,
        show: ToString::to_string,
    },
    wanted: "",
    len: 1..=usize::MAX,
    plural: "patterns",
    shows_empty: false,
};

const CLIENTS: Many<Text<Cidr>> = Many {
    of: Text {
        wanted: RANGE,
        pattern: "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
        parse: range,
        show: ToString::to_string,
    },
    wanted: "",
    len: 1..=usize::MAX,
    plural: "ranges",
    shows_empty: false,
};

const PATH_PREFIX: Text<PathPrefix> = Text {
    wanted: "a path such as \"/socket.io/\"",
    pattern: "^/",
    parse: |_, text| text.parse().map_err(|wrong| format!("is no path: {wrong}")),
    show: ToString::to_string,
};

const EXACT_PATH: Text<ExactPath> = Text {
    wanted: "a path such as \"/healthz\"",
    pattern: "^/",
    parse: |_, text| text.parse().map_err(|wrong| format!("is no path: {wrong}")),
    show: ToString::to_string,
};

const BACKEND: Custom<String> = Custom {
    read: backend_name,
    show: |name| Some(quoted(name)),
    wanted: "the name of a [[backend]]",
    shape: || Shape::Text {
        what: "the name of a `[[backend]]`".to_owned(),
        pattern: "",
    },
};

/// `[[listener.route]]`.
pub(super) static ROUTE: Section<RouteDraft> = Section {
    path: "listener.route",
    short: "A route: conditions that must all hold, and what happens then.",
    long: "Routes are tried in their order. A route without conditions matches everything. Each has exactly \
           one of `backend`, `redirect` and `respond`.",
    blank: RouteDraft::blank,
    defaults: OnceLock::new(),
    rules: &[has_one_action],
    keys: &[
        Key {
            name: "host",
            since: "0.1",
            default: Fallback::Words("any host"),
            short: "Patterns of the Host header, any of which must match.",
            long: "`name` is that name, `*.name` every name below it, `prefix*` every name that begins so. Case \
                   and port do not matter. Only in `mode = \"http\"`.",
            example: "[\"maps.example.com\", \"*.maps.example.com\"]",
            wrong: "\"a*b\"",
            kind: &At {
                of: PATTERNS,
                at: |it: &mut RouteDraft| &mut it.route.host,
            },
        },
        Key {
            name: "server_name",
            since: "0.1",
            default: Fallback::Words("any server name, or none"),
            short: "Patterns of the server name in the TLS handshake (SNI), any of which must match.",
            long: "Patterns are those of `host`. Only in `mode = \"sni\"`, and in `mode = \"tcp\"` with \
                   `[listener.tls]`.",
            example: "[\"*.example.com\"]",
            wrong: "\"a*b\"",
            kind: &At {
                of: PATTERNS,
                at: |it: &mut RouteDraft| &mut it.route.server_name,
            },
        },
        Key {
            name: "path",
            since: "0.1",
            default: Fallback::Words("any path"),
            short: "A prefix of the path, compared segment by segment.",
            long: "`/a` and `/a/` match `/a` and `/a/b`, but not `/ab`. Before the comparison, dots and escapes \
                   are resolved and repeated slashes count as one; the request that a server gets keeps its \
                   form. Only in `mode = \"http\"`.",
            example: "\"/socket.io/\"",
            wrong: "\"x\"",
            kind: &At {
                of: Maybe(PATH_PREFIX),
                at: |it: &mut RouteDraft| &mut it.route.path,
            },
        },
        Key {
            name: "exact_path",
            since: "0.2",
            default: Fallback::Words("any path"),
            short: "The whole path.",
            long: "`/a` matches `/a`, but neither `/a/` nor `/a/b`. The path is resolved as for `path`; the query \
                   does not belong to it. Only in `mode = \"http\"`.",
            example: "\"/healthz\"",
            wrong: "\"x\"",
            kind: &At {
                of: Maybe(EXACT_PATH),
                at: |it: &mut RouteDraft| &mut it.route.exact_path,
            },
        },
        Key {
            name: "method",
            since: "0.2",
            default: Fallback::Words("any method"),
            short: "Methods, one of which the request must have.",
            long: "Methods are case-sensitive, and `GET` does not include `HEAD`. Only in `mode = \"http\"`.",
            example: "[\"GET\", \"HEAD\"]",
            wrong: "\"get\"",
            kind: &At {
                of: METHOD,
                at: |it: &mut RouteDraft| &mut it.route.method,
            },
        },
        Key {
            name: "header",
            since: "0.2",
            default: Fallback::Words("any headers"),
            short: "Headers of the request, all of which must match: names with a pattern, or a list of patterns.",
            long: "One pattern that matches is enough for a name. `*` stands for any number of characters, so \
                   that `\"*\"` asks only whether the header is there. Names ignore case, values do not. If a header comes \
                   in several lines, one that matches is enough; a line is compared as a whole, commas \
                   included. `X-Forwarded-*`, `X-Real-IP` and `Forwarded` count from trusted senders only. Only \
                   in `mode = \"http\"`.",
            example: "{ X-Api-Version = \"2*\", Authorization = \"*\" }",
            wrong: "{ Host = \"a\" }",
            kind: &At {
                of: HEADER,
                at: |it: &mut RouteDraft| &mut it.route.header,
            },
        },
        Key {
            name: "query",
            since: "0.2",
            default: Fallback::Words("any query"),
            short: "Parameters of the query, all of which must match: names with a pattern, or a list of patterns.",
            long: "Patterns are those of `header`. Percent-escapes and `+` are decoded before the comparison; \
                   case counts. If a parameter comes several times, one that matches is enough. One without \
                   `=` has an empty value, which `\"\"` and `\"*\"` match. Only in `mode = \"http\"`.",
            example: "{ version = [\"2\", \"3*\"] }",
            wrong: "\"version=2\"",
            kind: &At {
                of: QUERY,
                at: |it: &mut RouteDraft| &mut it.route.query,
            },
        },
        Key {
            name: "websocket",
            since: "0.1",
            default: Fallback::Words("both"),
            short: "Whether the request is, or is not, a WebSocket upgrade.",
            long: "Only in `mode = \"http\"`.",
            example: "true",
            wrong: "\"yes\"",
            kind: &At {
                of: Maybe(Bool),
                at: |it: &mut RouteDraft| &mut it.route.websocket,
            },
        },
        Key {
            name: "scheme",
            since: "0.1",
            default: Fallback::Words("both"),
            short: "The scheme as the client's first hop saw it.",
            long: "It is the listener's own, or what a trusted balancer says in X-Forwarded-Proto. Only in \
                   `mode = \"http\"`.",
            example: "\"http\"",
            wrong: "\"ws\"",
            kind: &At {
                of: Maybe(SCHEMES),
                at: |it: &mut RouteDraft| &mut it.route.scheme,
            },
        },
        Key {
            name: "client",
            since: "0.1",
            default: Fallback::Words("any client"),
            short: "Ranges of the client's address, any of which must hold it.",
            long: "The client is who the access line names: the peer, or whom a trusted PROXY header or \
                   X-Forwarded-For names.",
            example: "[\"10.0.0.0/8\"]",
            wrong: "\"10.0.0.1/8\"",
            kind: &At {
                of: CLIENTS,
                at: |it: &mut RouteDraft| &mut it.route.client,
            },
        },
        Key {
            name: "backend",
            since: "0.1",
            default: Fallback::Words("another action"),
            short: "The backend that the request or connection goes to.",
            long: "",
            example: "\"app\"",
            wrong: "\"no such backend\"",
            kind: &At {
                of: Maybe(BACKEND),
                at: |it: &mut RouteDraft| &mut it.backend,
            },
        },
        Key {
            name: "redirect",
            since: "0.1",
            default: Fallback::Words("another action"),
            short: "Answers with a redirect that keeps path and query.",
            long: "Only in `mode = \"http\"`.",
            example: "{ scheme = \"https\" }",
            wrong: "\"https\"",
            kind: &At {
                of: Maybe(Inline(&REDIRECT)),
                at: |it: &mut RouteDraft| &mut it.redirect,
            },
        },
        Key {
            name: "respond",
            since: "0.1",
            default: Fallback::Words("another action"),
            short: "Answers with a status and a text.",
            long: "Only in `mode = \"http\"`.",
            example: "{ status = 404, body = \"gone\" }",
            wrong: "404",
            kind: &At {
                of: Maybe(Inline(&RESPOND)),
                at: |it: &mut RouteDraft| &mut it.respond,
            },
        },
    ],
};

static REDIRECT: Section<Redirect> = Section {
    path: "listener.route.redirect",
    short: "Where a redirect leads; at least one of `scheme`, `host` and `port`.",
    long: "",
    blank: Redirect::default,
    defaults: OnceLock::new(),
    rules: &[redirect_leads_elsewhere],
    keys: &[
        Key {
            name: "scheme",
            since: "0.1",
            default: Fallback::Words("as the request came"),
            short: "Scheme of the new place.",
            long: "",
            example: "\"https\"",
            wrong: "\"ws\"",
            kind: &At {
                of: Maybe(SCHEMES),
                at: |it: &mut Redirect| &mut it.scheme,
            },
        },
        Key {
            name: "host",
            since: "0.1",
            default: Fallback::Words("the host of the request, without its port"),
            short: "Host of the new place: a name or an address, without a port.",
            long: "",
            example: "\"www.example.com\"",
            wrong: "\"x:80\"",
            kind: &At {
                of: Maybe(Text {
                    wanted: "a name or an address, without port",
                    pattern: "^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._-]+)$",
                    parse: redirect_host,
                    show: String::clone,
                }),
                at: |it: &mut Redirect| &mut it.host,
            },
        },
        Key {
            name: "port",
            since: "0.1",
            default: Fallback::Words("the usual port of the scheme"),
            short: "Port of the new place.",
            long: "",
            example: "8443",
            wrong: "0",
            kind: &At {
                of: Maybe(Whole::within(1..=65_535)),
                at: |it: &mut Redirect| &mut it.port,
            },
        },
        Key {
            name: "status",
            since: "0.1",
            default: Fallback::Is("301"),
            short: "Status of the answer.",
            long: "301 and 308 may be remembered by browsers; 307 and 308 keep the method.",
            example: "308",
            wrong: "304",
            kind: &At {
                of: Custom {
                    read: redirect_status,
                    show: |status| Some(status.to_string()),
                    wanted: "301, 302, 303, 307 or 308",
                    shape: || Shape::Numbers(REDIRECTS),
                },
                at: |it: &mut Redirect| &mut it.status,
            },
        },
    ],
};

static RESPOND: Section<Respond> = Section {
    path: "listener.route.respond",
    short: "An answer of a fixed text.",
    long: "",
    blank: Respond::default,
    defaults: OnceLock::new(),
    rules: &[body_fits_status],
    keys: &[
        Key {
            name: "status",
            since: "0.1",
            default: Fallback::Required,
            short: "Status of the answer.",
            long: "",
            example: "404",
            wrong: "101",
            kind: &At {
                of: Custom {
                    read: |value| {
                        value
                            .number(200..=599)
                            .and_then(|it| u16::try_from(it).ok())
                    },
                    show: |status| Some(status.to_string()),
                    wanted: "a status code from 200 to 599",
                    shape: || Shape::Whole(200..=599),
                },
                at: |it: &mut Respond| &mut it.status,
            },
        },
        Key {
            name: "body",
            since: "0.1",
            default: Fallback::Is("\"\""),
            short: "Body of the answer, as text/plain; at most 64KiB.",
            long: "",
            example: "\"gone\"",
            wrong: "404",
            kind: &At {
                of: Custom {
                    read: respond_body,
                    show: |body: &mut String| Some(quoted(body)),
                    wanted: "a text",
                    shape: || Shape::Text {
                        what: "a text".to_owned(),
                        pattern: "",
                    },
                },
                at: |it: &mut Respond| &mut it.body,
            },
        },
    ],
};

fn pattern(_: &Path, text: &str) -> Result<HostPattern, String> {
    text.parse()
        .map_err(|wrong| format!("is no host pattern: {wrong}"))
}

fn backend_name(value: Value<'_, '_>) -> Option<String> {
    let place = value.place.clone();
    value.parse(&place.backends_listed(), |text| {
        if place.is_backend(text) {
            Ok(text.to_owned())
        } else {
            Err("is no backend".to_owned())
        }
    })
}

fn redirect_host(_: &Path, text: &str) -> Result<String, String> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_ipv6 = bracketed.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    if is_ipv6 || is_name(text) || text.parse::<Ipv4Addr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("is no host".to_owned())
}

fn redirect_status(value: Value<'_, '_>) -> Option<u16> {
    let place = value.place.clone();
    let number = value.number(300..=399)?;
    let status = REDIRECTS
        .iter()
        .find(|status| u64::from(**status) == number);
    if status.is_none() {
        place.reject(format!(
            "{number} is no redirect; 301, 302, 303, 307 or 308"
        ));
    }
    status.copied()
}

fn respond_body(value: Value<'_, '_>) -> Option<String> {
    let place = value.place.clone();
    let body = value.parse("a text", |text| Ok(text.to_owned()))?;
    if body.len() > RESPOND_BODY_LEN_MAX {
        let len = body.len();
        place.reject(format!(
            "is {len} bytes long; at most {RESPOND_BODY_LEN_MAX}"
        ));
        return None;
    }
    Some(body)
}

/// Refuses a redirect that changes nothing.
fn redirect_leads_elsewhere(_: &mut Redirect, scope: &Scope<'_, '_>) {
    if !["scheme", "host", "port"].iter().any(|key| scope.has(key)) {
        scope.place.reject(
            "leads back to where the request came from; at least one of scheme, host and port",
        );
    }
}

/// Refuses a body for a status without one (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5).
fn body_fits_status(respond: &mut Respond, scope: &Scope<'_, '_>) {
    let Respond { status, body } = respond;
    if [204, 205, 304].contains(status) && !body.is_empty() {
        scope.place.reject(format!(
            "an answer with status {status} has no body; no body, or another status"
        ));
    }
}

/// Refuses a route with no action, or with several.
fn has_one_action(_: &mut RouteDraft, scope: &Scope<'_, '_>) {
    let rule = "exactly one of backend, redirect and respond";
    let given = ["backend", "redirect", "respond"].iter();
    match given.filter(|key| scope.has(key)).count() {
        0 => scope.place.reject(format!("leads nowhere; {rule}")),
        1 => {}
        _ => scope
            .place
            .reject(format!("leads to several places; {rule}")),
    }
}

/// Conditions on what only an HTTP request has.
const HTTP_CONDITIONS: &[&str] = &[
    "host",
    "path",
    "exact_path",
    "method",
    "header",
    "query",
    "websocket",
    "scheme",
];

/// Refuses conditions and actions that the mode of the listener does not support.
pub(super) fn routes_fit_mode(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    let allowed = match draft.listener.mode {
        Mode::Http => None,
        Mode::Tcp => Some("in mode \"tcp\" there is no HTTP; client or server_name"),
        Mode::Sni => Some("in mode \"sni\" TLS stays closed; client or server_name"),
    };
    let opens_tls = scope.has("tls");
    for row in &draft.routes {
        let route = scope.row(&row.key);
        let Some(allowed) = allowed else {
            route.refuse(
                &["server_name"],
                "in mode \"http\" routes go by the Host header; host",
            );
            continue;
        };
        route.refuse(HTTP_CONDITIONS, allowed);
        let answers = "the proxy speaks no HTTP on this listener; backend";
        route.refuse(&["redirect", "respond"], answers);
        if draft.listener.mode == Mode::Tcp && !opens_tls {
            let unknown =
                "without [listener.tls] no server name is known; client, or mode = \"sni\"";
            route.refuse(&["server_name"], unknown);
        }
    }
}

/// Warns of routes that an earlier route, or a condition of their own, makes unreachable.
pub(super) fn routes_are_reached(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    for row in &draft.routes {
        let route = &row.value.route;
        let paths = route.path.as_ref().zip(route.exact_path.as_ref());
        if let Some((prefix, exact)) = paths.filter(|(prefix, exact)| !prefix.holds(exact)) {
            let place = scope.row(&row.key).place_of("exact_path");
            place.warn(format!(
                "never reached: {exact} is not below the `path` {prefix}"
            ));
        }
    }
    for (index, row) in draft.routes.iter().enumerate() {
        let mut before = draft.routes.iter().take(index);
        if before.any(|before| covers(&before.value.route, &row.value.route)) {
            let place = scope.row(&row.key).place;
            place.warn("never reached: an earlier route matches every request that it matches");
        }
    }
}

/// Returns whether `before` matches everything that `route` matches, as far as equal conditions show.
fn covers(before: &Route, route: &Route) -> bool {
    within(&before.host, &route.host)
        && within(&before.server_name, &route.server_name)
        && within::<Cidr>(&before.client, &route.client)
        && path_covers(before, route)
        && within(&before.method, &route.method)
        && conditions_cover(&before.header, &route.header)
        && conditions_cover(&before.query, &route.query)
        && (before.websocket.is_none() || before.websocket == route.websocket)
        && (before.scheme.is_none() || before.scheme == route.scheme)
}

/// Returns whether `before` matches every path that `route` matches.
fn path_covers(before: &Route, route: &Route) -> bool {
    let exact_covers = before.exact_path.is_none() || before.exact_path == route.exact_path;
    let prefix_covers = before.path.as_ref().is_none_or(|wide| {
        let prefix = route.path.as_ref();
        let exact = route.exact_path.as_ref();
        prefix.is_some_and(|path| wide.covers(path)) || exact.is_some_and(|path| wide.holds(path))
    });
    exact_covers && prefix_covers
}

/// Returns whether requests for which each of `narrow` holds satisfy each of `wide`.
fn conditions_cover<N: PartialEq>(wide: &[Condition<N>], narrow: &[Condition<N>]) -> bool {
    wide.iter()
        .all(|wide| narrow.iter().any(|narrow| wide.covers(narrow)))
}

fn within<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
}
