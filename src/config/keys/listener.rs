//! `[[listener]]` with its timeouts and limits; TLS, pages and routes have files of their own.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::behind::{question_balancer, sets_defaults};
use super::drafts::ListenerDraft;
use super::listener_tls::{
    TLS, certificates_fit_routes, client_subject_can_be_known, hsts_is_http, tls_is_opened,
};
use super::pages::{ERRORS, errors_are_http};
use super::route::{ROUTE, routes_are_reached, routes_fit_mode};
use super::shared::{bind_spelling, name_text, range};
use crate::config::address::{self, BIND};
use crate::config::read::{Among, Scope, Value};
use crate::config::section::{At, Key, Section, Sub, Tables};
use crate::config::shape::{Fallback, Shape};
use crate::config::types::{
    Bool, Choice, Custom, Many, Maybe, POSITIVE, Seconds, Size, Text, Time, Unique, Whole, WordOr,
};
use crate::config::units;
use crate::config::{Behind, Bind, Limits, ListenerTimeouts, Mode, ProxyProtocol, TcpKeepalive};
use crate::proto::addr::TrustedProxies;

/// Range of TCP_KEEPIDLE in tcp(7).
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);
/// Highest limit on bodies, in bytes: the largest integer of TOML.
const BODY_LEN_MAX: u64 = i64::MAX.unsigned_abs();
const TRUSTED: &str = "an address, a range such as 10.0.0.0/8, or unix:";

const MODES: Choice<Mode> = Choice(&[
    (
        "http",
        Mode::Http,
        "HTTP/1.1: each request is routed, and an upgrade becomes a tunnel.",
    ),
    (
        "tcp",
        Mode::Tcp,
        "Bytes: the connection is a tunnel from its first byte.",
    ),
    (
        "sni",
        Mode::Sni,
        "TLS that stays closed: a tunnel, routed by the server name of the ClientHello.",
    ),
]);

const BALANCERS: Choice<Behind> = Choice(&[
    (
        "clb",
        Behind::Clb,
        "A Classic Load Balancer with a TCP or SSL listener and a PROXY protocol policy.",
    ),
    (
        "nlb",
        Behind::Nlb,
        "A Network Load Balancer whose target group sends PROXY version 2.",
    ),
    (
        "alb",
        Behind::Alb,
        "An Application Load Balancer, which names the client in X-Forwarded-For.",
    ),
]);

const PROXY_MODES: Choice<ProxyProtocol> = Choice(&[
    (
        "off",
        ProxyProtocol::Off,
        "The first bytes are the client's.",
    ),
    (
        "optional",
        ProxyProtocol::Optional,
        "A trusted source may send a header.",
    ),
    (
        "require",
        ProxyProtocol::Require,
        "Only trusted sources may connect, and they must send a header.",
    ),
]);

const KEEPALIVES: WordOr<TcpKeepalive, Seconds> = WordOr {
    words: Choice(&[
        ("off", TcpKeepalive::Off, "The kernel never asks."),
        (
            "system",
            TcpKeepalive::System,
            "As `net.ipv4.tcp_keepalive_time` says.",
        ),
    ]),
    or: Seconds {
        range: KEEPALIVE,
        wanted: "a whole number and a unit such as \"60s\"",
    },
    wrap: TcpKeepalive::After,
    unwrap: |keepalive| match keepalive {
        TcpKeepalive::Off | TcpKeepalive::System => None,
        TcpKeepalive::After(pause) => Some(*pause),
    },
};

const MAX_BODY: WordOr<Option<u64>, Size<u64>> = WordOr {
    words: Choice(&[("none", None, "No limit.")]),
    or: Size::within(0..=BODY_LEN_MAX),
    wrap: Some,
    unwrap: |limit| *limit,
};

/// `[[listener]]`.
pub(super) static LISTENER: Section<ListenerDraft> = Section {
    path: "listener",
    short: "A listener: where connections are accepted, what is spoken there, and where they go.",
    long: "There is at least one. A reload adds, changes and removes listeners; connections of a changed \
           one go on as they began.",
    blank: ListenerDraft::default,
    defaults: OnceLock::new(),
    rules: &[
        is_called_by_its_address,
        sets_defaults,
        trust_fits_proxy_protocol,
        optional_headers_fit_the_mode,
        question_balancer,
        tls_is_opened,
        client_subject_can_be_known,
        hsts_is_http,
        errors_are_http,
        routes_fit_mode,
        routes_are_reached,
        certificates_fit_routes,
    ],
    keys: &[
        Key {
            name: "name",
            since: "0.1",
            default: Fallback::Words("the first address of `bind`"),
            short: "Its name in logs and metrics.",
            long: "At most 128 bytes, and no other listener has it.",
            example: "\"edge\"",
            wrong: "\"\"",
            kind: &At {
                of: Unique {
                    of: Text {
                        wanted: "a name of at most 128 bytes",
                        pattern: "^[^\\u0000-\\u001f]{1,128}$",
                        parse: |_, text| name_text(text).map(Arc::from),
                        show: |name: &Arc<str>| name.to_string(),
                    },
                    among: Among::ListenerNames,
                    spelling: |name: &Arc<str>| name.to_string(),
                    taken: "is the name of",
                },
                at: |it: &mut ListenerDraft| &mut it.listener.name,
            },
        },
        Key {
            name: "bind",
            since: "0.1",
            default: Fallback::Required,
            short: "Where to listen: one address, or a list of them.",
            long: "`0.0.0.0:PORT` is every IPv4 address, `[::]:PORT` every IPv6 address and no IPv4 one. The \
                   path of a unix socket starts at the configuration's directory unless it begins with `/`.",
            example: "[\"0.0.0.0:443\", \"[::]:443\"]",
            wrong: "\"*:80\"",
            kind: &At {
                of: Many {
                    of: Unique {
                        of: Text {
                            wanted: BIND,
                            pattern: "^(unix:.+|.+:[0-9]{1,5})$",
                            parse: address::bind,
                            show: ToString::to_string,
                        },
                        among: Among::Binds,
                        spelling: bind_spelling,
                        taken: "is taken by",
                    },
                    wanted: "",
                    len: 1..=usize::MAX,
                    plural: "addresses",
                    shows_empty: true,
                },
                at: |it: &mut ListenerDraft| &mut it.listener.bind,
            },
        },
        Key {
            name: "mode",
            since: "0.1",
            default: Fallback::Is("\"http\""),
            short: "What is spoken on this listener.",
            long: "",
            example: "\"tcp\"",
            wrong: "\"https\"",
            kind: &At {
                of: MODES,
                at: |it: &mut ListenerDraft| &mut it.listener.mode,
            },
        },
        Key {
            name: "behind",
            since: "0.1",
            default: Fallback::Words("no known balancer"),
            short: "Which balancer of AWS is in front; it sets defaults that fit that balancer.",
            long: "`clb` and `nlb` stand for `proxy_protocol = \"require\"`, so they need `trusted_proxies`. \
                   `nlb` stands for `tcp_keepalive = \"60s\"`, below its idle timeout of 350 s. `clb` and `alb` \
                   stand for `timeouts.keep_alive = \"75s\"`, above their idle timeout of 60 s. A key that is \
                   written goes before the preset; `check` warns where it contradicts the balancer.",
            example: "\"nlb\"",
            wrong: "\"aws\"",
            kind: &At {
                of: Maybe(BALANCERS),
                at: |it: &mut ListenerDraft| &mut it.listener.behind,
            },
        },
        Key {
            name: "proxy_protocol",
            since: "0.1",
            default: Fallback::Is("\"off\""),
            short: "Whether a PROXY header (version 1 or 2) comes before the client's bytes.",
            long: "`behind` may set another default. In `mode = \"tcp\"`, `optional` waits up to \
                   `timeouts.proxy_header` for a header of a trusted client before it connects, which delays a \
                   server that speaks first.",
            example: "\"require\"",
            wrong: "\"on\"",
            kind: &At {
                of: PROXY_MODES,
                at: |it: &mut ListenerDraft| &mut it.listener.proxy_protocol,
            },
        },
        Key {
            name: "trusted_proxies",
            since: "0.1",
            default: Fallback::Is("[]"),
            short: "Peers whose PROXY header, X-Forwarded-For and X-Real-IP are believed.",
            long: "`unix:` stands for every peer on a unix socket. Headers of other peers are replaced.",
            example: "[\"10.0.0.0/8\", \"unix:\"]",
            wrong: "[\"10.0.0.1/8\"]",
            kind: &At {
                of: Custom {
                    read: trusted_proxies,
                    show: |trusted| Some(trusted_text(trusted)),
                    wanted: TRUSTED,
                    shape: || {
                        Shape::Text {
                            what: TRUSTED.to_owned(),
                            pattern: "^(unix:|[0-9A-Fa-f:.]+(/[0-9]{1,3})?)$",
                        }
                        .one_or_more(0..=usize::MAX)
                    },
                },
                at: |it: &mut ListenerDraft| &mut it.listener.trusted_proxies,
            },
        },
        Key {
            name: "tcp_keepalive",
            since: "0.1",
            default: Fallback::Is("\"system\""),
            short: "After how much silence the kernel asks a client whether it is still there.",
            long: "The time also separates the probes that follow. `behind` may set another default.",
            example: "\"60s\"",
            wrong: "\"1500ms\"",
            kind: &At {
                of: KEEPALIVES,
                at: |it: &mut ListenerDraft| &mut it.listener.tcp_keepalive,
            },
        },
        Key {
            name: "freebind",
            since: "0.2",
            default: Fallback::Is("false"),
            short: "Whether to listen on addresses that no interface of this machine has yet.",
            long: "For an address that comes later: of a failover (VRRP), of a tunnel, or of an interface that is \
                   not up yet (IP_FREEBIND, ip(7)). It counts when the address is opened: at the start, or at the \
                   reload that adds the address.",
            example: "true",
            wrong: "\"yes\"",
            kind: &At {
                of: Bool,
                at: |it: &mut ListenerDraft| &mut it.listener.freebind,
            },
        },
        Key {
            name: "tls",
            since: "0.1",
            default: Fallback::Words("plain text"),
            short: "TLS that ends on this listener.",
            long: "",
            example: "{ certificates = \"site.pem\" }",
            wrong: "true",
            kind: &At {
                of: Maybe(Sub(&TLS)),
                at: |it: &mut ListenerDraft| &mut it.listener.tls,
            },
        },
        Key {
            name: "timeouts",
            since: "0.1",
            default: Fallback::Is("{}"),
            short: "How long a client may take to open its connection.",
            long: "",
            example: "{ keep_alive = \"75s\" }",
            wrong: "\"5s\"",
            kind: &At {
                of: Sub(&TIMEOUTS),
                at: |it: &mut ListenerDraft| &mut it.listener.timeouts,
            },
        },
        Key {
            name: "limits",
            since: "0.1",
            default: Fallback::Is("{}"),
            short: "How much a client may send before it is refused.",
            long: "",
            example: "{ head = \"16KiB\" }",
            wrong: "1",
            kind: &At {
                of: Sub(&LIMITS),
                at: |it: &mut ListenerDraft| &mut it.listener.limits,
            },
        },
        Key {
            name: "errors",
            since: "0.1",
            default: Fallback::Words("a short text for each status"),
            short: "Pages in place of the short texts that longsplice answers refused requests with.",
            long: "Each key is a status, and its value is the path of a file of at most 64KiB. Files ending in \
                   `.html` or `.htm` are sent as `text/html`, others as `text/plain`. Only in `mode = \"http\"`.",
            example: "{ 503 = \"busy.html\" }",
            wrong: "{ 200 = \"ok.html\" }",
            kind: &At {
                of: ERRORS,
                at: |it: &mut ListenerDraft| &mut it.listener.errors,
            },
        },
        Key {
            name: "route",
            since: "0.1",
            default: Fallback::Required,
            short: "Where requests or connections go; the first route that matches counts.",
            long: "A request that no route matches is answered with 404, a connection is closed.",
            example: "[{ backend = \"app\" }]",
            wrong: "{ backend = \"app\" }",
            kind: &At {
                of: Tables(&ROUTE),
                at: |it: &mut ListenerDraft| &mut it.routes,
            },
        },
    ],
};

static TIMEOUTS: Section<ListenerTimeouts> = Section {
    path: "listener.timeouts",
    short: "How long a client may take to open its connection.",
    long: "A request whose head is not complete in time is answered with 408; the other limits close the connection.",
    blank: ListenerTimeouts::default,
    defaults: OnceLock::new(),
    rules: &[],
    keys: &[
        Key {
            name: "proxy_header",
            since: "0.1",
            default: Fallback::Is("\"5s\""),
            short: "From accept until the PROXY header is complete.",
            long: "",
            example: "\"3s\"",
            wrong: "\"0s\"",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut ListenerTimeouts| &mut it.proxy_header,
            },
        },
        Key {
            name: "tls_handshake",
            since: "0.1",
            default: Fallback::Is("\"10s\""),
            short: "For the TLS handshake.",
            long: "",
            example: "\"5s\"",
            wrong: "10",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut ListenerTimeouts| &mut it.tls_handshake,
            },
        },
        Key {
            name: "request_header",
            since: "0.1",
            default: Fallback::Is("\"10s\""),
            short: "From the first byte of a request until its head is complete.",
            long: "",
            example: "\"5s\"",
            wrong: "\"ten\"",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut ListenerTimeouts| &mut it.request_header,
            },
        },
        Key {
            name: "keep_alive",
            since: "0.1",
            default: Fallback::Is("\"65s\""),
            short: "Between two requests of one connection.",
            long: "Behind a balancer that reuses connections it must be longer than the balancer's own idle \
                   timeout: the side that sends requests has to close first. `behind` sets a default that is.",
            example: "\"75s\"",
            wrong: "65",
            kind: &At {
                of: Time(POSITIVE),
                at: |it: &mut ListenerTimeouts| &mut it.keep_alive,
            },
        },
    ],
};

static LIMITS: Section<Limits> = Section {
    path: "listener.limits",
    short: "How much a client may send before it is refused.",
    long: "",
    blank: Limits::default,
    defaults: OnceLock::new(),
    rules: &[request_line_fits_head],
    keys: &[
        Key {
            name: "request_line",
            since: "0.1",
            default: Fallback::Is("\"8KiB\""),
            short: "Longest request line; a longer one is answered with 414.",
            long: "It cannot be more than `head`. A smaller `head` lowers the default with it.",
            example: "\"4KiB\"",
            wrong: "\"1B\"",
            kind: &At {
                of: Size::within(64..=64 * 1024),
                at: |it: &mut Limits| &mut it.request_line,
            },
        },
        Key {
            name: "head",
            since: "0.1",
            default: Fallback::Is("\"32KiB\""),
            short: "Longest head of a request, the request line included; a longer one is answered with 431.",
            long: "",
            example: "\"16KiB\"",
            wrong: "\"32K\"",
            kind: &At {
                of: Size::within(256..=1 << 20),
                at: |it: &mut Limits| &mut it.head,
            },
        },
        Key {
            name: "headers",
            since: "0.1",
            default: Fallback::Is("100"),
            short: "Most header lines of a request; more are answered with 431.",
            long: "",
            example: "50",
            wrong: "0",
            kind: &At {
                of: Whole::within(1..=1024),
                at: |it: &mut Limits| &mut it.headers,
            },
        },
        Key {
            name: "max_body",
            since: "0.1",
            default: Fallback::Is("\"none\""),
            short: "Longest body of a request; a longer one is answered with 413.",
            long: "",
            example: "\"10MiB\"",
            wrong: "\"off\"",
            kind: &At {
                of: MAX_BODY,
                at: |it: &mut Limits| &mut it.max_body,
            },
        },
    ],
};

fn trusted_proxies(value: Value<'_, '_>) -> Option<TrustedProxies> {
    let mut trusted = TrustedProxies::default();
    let values = if value.is_text() {
        vec![value]
    } else {
        value.list(TRUSTED)
    };
    for value in values {
        if value.is("unix:") {
            trusted.unix = true;
        } else if let Some(range) = value.parse(TRUSTED, |text| range(Path::new(""), text)) {
            trusted.ranges.push(range);
        }
    }
    Some(trusted)
}

fn trusted_text(trusted: &TrustedProxies) -> String {
    let ranges = trusted.ranges.iter().map(|range| format!("\"{range}\""));
    let unix = trusted.unix.then(|| "\"unix:\"".to_owned());
    let all: Vec<String> = ranges.chain(unix).collect();
    format!("[{}]", all.join(", "))
}

/// Names a listener without a name after its first address.
fn is_called_by_its_address(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    if scope.has("name") {
        return;
    }
    let first = draft.listener.bind.first();
    let name = first.map(Bind::to_string).unwrap_or_default();
    // A repeated name would be a repeated address, which is an error of its own.
    scope.place.claim(Among::ListenerNames, name.clone());
    draft.listener.name = name.into();
}

/// Checks a written `proxy_protocol` if no peer is trusted.
fn trust_fits_proxy_protocol(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    // A list with a mistake in it is an error of its own, and not empty.
    if scope.names_any("trusted_proxies") || !scope.has("proxy_protocol") {
        return;
    }
    let place = scope.place_of("proxy_protocol");
    match draft.listener.proxy_protocol {
        ProxyProtocol::Require => place.reject(
            "\"require\" with empty trusted_proxies refuses every connection; name the balancers \
             in trusted_proxies",
        ),
        ProxyProtocol::Optional => {
            place.warn("\"optional\" with empty trusted_proxies never believes a PROXY header");
        }
        ProxyProtocol::Off => {}
    }
}

/// Warns of a wait for headers in front of a server that speaks first. In `http` and `sni` mode, and with TLS,
/// the client speaks first.
fn optional_headers_fit_the_mode(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    let listener = &draft.listener;
    let waits = listener.mode == Mode::Tcp
        && listener.proxy_protocol == ProxyProtocol::Optional
        && scope.names_any("trusted_proxies")
        && !scope.has("tls");
    if waits && scope.has("proxy_protocol") {
        scope.place_of("proxy_protocol").warn(
            "\"optional\" with mode = \"tcp\" waits for a header of a trusted client as long as \
             timeouts.proxy_header says before it connects, which delays a server that speaks first (SMTP, \
             MySQL, SSH); use \"require\" if every trusted client sends one, else \"off\"",
        );
    }
}

/// Lowers the default of `request_line` to a smaller `head`, and refuses a written one that is longer.
fn request_line_fits_head(limits: &mut Limits, scope: &Scope<'_, '_>) {
    if limits.request_line <= limits.head || scope.is_wrong("request_line") {
        return;
    }
    if scope.has("request_line") {
        let head = u64::try_from(limits.head).unwrap_or(u64::MAX);
        scope.place_of("request_line").reject(format!(
            "is more than head; at most {}",
            units::size_text(head)
        ));
    } else {
        limits.request_line = limits.head;
    }
}
