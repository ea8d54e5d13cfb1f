//! Messages about unknown words: the known words, the one that was probably meant, or the equivalent of a
//! word of HAProxy or nginx.

/// Longest piece of a user's text in a message, in bytes.
const SHOWN_LEN_MAX: usize = 80;
/// Longer words are no typing errors of ours; it bounds the work, too.
const WORD_LEN_MAX: usize = 32;

/// The equivalent of another program's word.
#[derive(Debug, Clone, Copy)]
enum Ours {
    /// This key or word, where it is known.
    Is(&'static str),
    /// A sentence, for wherever the word turns up.
    Said(&'static str),
}
use Ours::{Is, Said};

/// Keys of HAProxy and nginx, in lower case with underscores. The first row that fits counts.
const FOREIGN_KEYS: &[(&str, Ours)] = &[
    // Sections and their usual misnomers.
    ("frontend", Said("a `frontend` is a [[listener]] here")),
    ("listen", Is("listener")),
    ("listen", Is("bind")),
    ("upstream", Said("an `upstream` is a [[backend]] here")),
    (
        "location",
        Said("a `location` is a [[listener.route]] with `path` here"),
    ),
    (
        "global",
        Said("what `global` sets stands in [server] and [log] here"),
    ),
    ("events", Said("what `events` sets stands in [server] here")),
    (
        "defaults",
        Said("there are no `defaults` sections; each key has its default"),
    ),
    (
        "http",
        Said("mode = \"http\" at a [[listener]] does what an `http` block does"),
    ),
    (
        "stream",
        Said("mode = \"tcp\" at a [[listener]] does what a `stream` block does"),
    ),
    (
        "userlist",
        Said("passwords are not checked here; applications do that"),
    ),
    // Routing.
    (
        "acl",
        Said(
            "the keys of a [[listener.route]] are the conditions: host, path, exact_path, method, header, query, websocket, scheme, client",
        ),
    ),
    (
        "use_backend",
        Said("`backend` in a [[listener.route]] with conditions does that"),
    ),
    (
        "default_backend",
        Said("a last [[listener.route]] with `backend` and no conditions does that"),
    ),
    ("proxy_pass", Is("backend")),
    (
        "proxy_pass",
        Said("`backend` in a [[listener.route]] does what `proxy_pass` does"),
    ),
    (
        "server_name",
        Said("host names are conditions: `host` in a [[listener.route]]"),
    ),
    (
        "return",
        Said("`redirect` or `respond` in a [[listener.route]] does what `return` does"),
    ),
    (
        "rewrite",
        Said(
            "paths are passed on as they came; `redirect` in a [[listener.route]] answers with another place",
        ),
    ),
    ("url_param", Is("query")),
    ("hdr", Is("header")),
    (
        "hdr",
        Said("`header` in a [[listener.route]] is a condition on a header"),
    ),
    (
        "limit_except",
        Said("`method` in a [[listener.route]] is a condition on the method"),
    ),
    (
        "proxy_redirect",
        Said("answers pass as they came; `host_header` in [[backend]] sets the Host of requests"),
    ),
    ("http_request", Is("request_header")),
    (
        "http_request",
        Said(
            "headers of requests are not edited; X-Forwarded-* and X-Real-IP are set by themselves",
        ),
    ),
    (
        "add_header",
        Said("headers of answers are not edited, apart from `hsts` in [listener.tls]"),
    ),
    (
        "proxy_set_header",
        Said(
            "X-Forwarded-*, X-Real-IP and the headers of an upgrade are set by themselves, Host by `host_header` in [[backend]]",
        ),
    ),
    (
        "proxy_http_version",
        Said("HTTP/1.1 is spoken with servers, and upgrades pass by themselves"),
    ),
    ("forwardfor", Said("X-Forwarded-For is always set")),
    (
        "option",
        Said(
            "there are no options: X-Forwarded-For is always set, the format of access lines is `access` in [log]",
        ),
    ),
    // Balancing.
    (
        "cookie",
        Said(
            "a client stays at its server by its address: balance = \"source\"; cookies are not used",
        ),
    ),
    (
        "sticky",
        Said("a client stays at its server by its address: balance = \"source\""),
    ),
    (
        "backup",
        Said("there are no backup servers; weight = 0 takes a server out"),
    ),
    (
        "disabled",
        Said("weight = 0 takes a server out; `longsplice ctl drain` does so while it runs"),
    ),
    (
        "down",
        Said("weight = 0 takes a server out; `longsplice ctl drain` does so while it runs"),
    ),
    ("maxconn", Is("max_connections")),
    (
        "maxconn",
        Said("`maxconn` is max_connections here, in [server] and in [[backend.server]]"),
    ),
    ("max_conns", Is("max_connections")),
    ("worker_connections", Is("max_connections")),
    ("maxqueue", Is("max_queue")),
    (
        "fullconn",
        Said("max_connections in [[backend.server]] limits a server"),
    ),
    ("slowstart", Is("slow_start")),
    ("redispatch", Is("retries")),
    ("proxy_next_upstream", Is("retries")),
    // Threads and accounts.
    (
        "nbthread",
        Said("reception_threads and relay_threads do that"),
    ),
    (
        "worker_processes",
        Said("reception_threads and relay_threads do that; there is one process"),
    ),
    (
        "daemon",
        Said("the process stays in the foreground; systemd or another supervisor runs it"),
    ),
    (
        "master_worker",
        Said("there is one process; `longsplice ctl reload` or SIGHUP reloads it in place"),
    ),
    ("pidfile", Is("pid_file")),
    ("pid", Is("pid_file")),
    (
        "chroot",
        Said("`sandbox` confines the process to the files it needs"),
    ),
    ("uid", Is("user")),
    ("gid", Is("group")),
    (
        "stats",
        Said(
            "admin_http in [server] serves the dashboard and metrics, admin_socket `longsplice ctl`",
        ),
    ),
    (
        "stub_status",
        Said("admin_http in [server] serves metrics and the dashboard"),
    ),
    ("resolver", Is("nameservers")),
    (
        "resolver",
        Said("`nameservers` in [server] does what a `resolver` does"),
    ),
    (
        "resolvers",
        Said("`nameservers` in [server] does what `resolvers` do"),
    ),
    ("hard_stop_after", Is("drain_timeout")),
    ("worker_shutdown_timeout", Is("drain_timeout")),
    ("grace", Is("drain_lead")),
    // Times.
    ("timeout", Is("timeouts")),
    (
        "timeout_connect",
        Said("`connect` in [backend.timeouts] does that"),
    ),
    (
        "proxy_connect_timeout",
        Said("`connect` in [backend.timeouts] does that"),
    ),
    (
        "timeout_client",
        Said(
            "`tunnel_idle` in [backend.timeouts] does that for tunnels, `keep_alive` in [listener.timeouts] between requests",
        ),
    ),
    (
        "timeout_tunnel",
        Said("`tunnel_idle` in [backend.timeouts] does that"),
    ),
    (
        "proxy_read_timeout",
        Said("`tunnel_idle` in [backend.timeouts] does that for tunnels, `response` for answers"),
    ),
    (
        "proxy_send_timeout",
        Said("`tunnel_idle` in [backend.timeouts] does that for tunnels"),
    ),
    (
        "timeout_server",
        Said("`response` in [backend.timeouts] does that for answers, `tunnel_idle` for tunnels"),
    ),
    (
        "timeout_queue",
        Said("`queue` in [backend.timeouts] does that"),
    ),
    (
        "timeout_http_request",
        Said("`request_header` in [listener.timeouts] does that"),
    ),
    (
        "client_header_timeout",
        Said("`request_header` in [listener.timeouts] does that"),
    ),
    (
        "timeout_http_keep_alive",
        Said("`keep_alive` in [listener.timeouts] does that"),
    ),
    (
        "keepalive_timeout",
        Said("`keep_alive` in [listener.timeouts] does that"),
    ),
    (
        "timeout_check",
        Said("`timeout` in [backend.health] does that"),
    ),
    ("client", Is("tunnel_idle")),
    ("tunnel", Is("tunnel_idle")),
    ("client_fin", Is("half_close")),
    ("server_fin", Is("half_close")),
    ("http_keep_alive", Is("keep_alive")),
    ("abortonclose", Is("abort_on_close")),
    (
        "proxy_ignore_client_abort",
        Said("`abort_on_close = false` in [[backend]] does that"),
    ),
    // Limits.
    (
        "client_max_body_size",
        Said("`max_body` in [listener.limits] does that"),
    ),
    (
        "large_client_header_buffers",
        Said("`head` and `request_line` in [listener.limits] do that"),
    ),
    (
        "tune.bufsize",
        Said("`head` in [listener.limits] and [backend.limits] limits heads"),
    ),
    (
        "tune.http.maxhdr",
        Said("`headers` in [listener.limits] and [backend.limits] does that"),
    ),
    (
        "proxy_buffer_size",
        Said("`head` in [backend.limits] limits heads"),
    ),
    // TLS and the PROXY protocol.
    ("ssl", Is("tls")),
    ("crt", Is("certificates")),
    ("crt", Is("cert")),
    ("cert", Is("certificates")),
    ("certificate", Is("certificates")),
    ("ssl_certificate", Is("certificates")),
    (
        "ssl_certificate",
        Said("`certificates` in [listener.tls] does that"),
    ),
    (
        "ssl_certificate_key",
        Said("`certificates` in [listener.tls] takes { cert = PATH, key = PATH }"),
    ),
    ("ssl_client_certificate", Is("client_ca")),
    ("ssl_verify_client", Is("client_auth")),
    ("verify", Is("client_auth")),
    ("ssl_crl", Is("crl")),
    ("crl_file", Is("crl")),
    ("ca_file", Is("client_ca")),
    ("ca_file", Is("ca")),
    ("transparent", Is("freebind")),
    ("ssl_session_ticket_key", Is("ticket_keys")),
    ("tls_ticket_keys", Is("ticket_keys")),
    ("ssl_protocols", Is("min_version")),
    ("ssl_min_ver", Is("min_version")),
    ("sni", Is("server_name")),
    (
        "ssl_preread",
        Said("mode = \"sni\" at a [[listener]] does that"),
    ),
    ("accept_proxy", Is("proxy_protocol")),
    ("proxy_protocol", Is("send_proxy")),
    ("send_proxy_v2", Said("send_proxy = \"v2\" does that")),
    ("set_real_ip_from", Is("trusted_proxies")),
    (
        "real_ip_header",
        Said("X-Forwarded-For of trusted_proxies is believed"),
    ),
    ("ssl_verify", Is("verify")),
    ("proxy_ssl_verify", Is("verify")),
    // Checks.
    ("check", Is("health")),
    ("check", Said("[backend.health] does what `check` does")),
    ("httpchk", Is("health")),
    ("inter", Is("interval")),
    ("fastinter", Is("fast_interval")),
    ("max_fails", Said("`fall` in [backend.health] does that")),
    (
        "fail_timeout",
        Said("`interval` and `rise` in [backend.health] do that"),
    ),
    ("errorfile", Is("errors")),
    ("error_page", Is("errors")),
    // Logs.
    ("access_log", Said("`access` and `target` in [log] do that")),
    ("error_log", Said("`level` and `target` in [log] do that")),
    ("log_format", Is("access")),
    ("httplog", Said("access = \"httplog\" in [log] does that")),
];

/// Words of their choices.
const FOREIGN_WORDS: &[(&str, Ours)] = &[
    ("roundrobin", Is("round_robin")),
    ("static_rr", Is("round_robin")),
    ("leastconn", Is("least_connections")),
    ("least_conn", Is("least_connections")),
    ("ip_hash", Is("source")),
    ("hash", Is("source")),
    ("random", Is("random_two")),
    ("consistent", Is("maglev")),
    ("warning", Is("warn")),
    ("notice", Is("info")),
    ("err", Is("error")),
    ("crit", Is("error")),
    (
        "https",
        Said("https is http over TLS, which [listener.tls] and [backend.tls] switch on"),
    ),
    ("websocket", Is("http")),
];

/// Quotes a user's text, shortened, without control characters.
pub(super) fn shown(text: &str) -> String {
    let head = &text[..text.floor_char_boundary(SHOWN_LEN_MAX)];
    if head.len() == text.len() {
        format!("{head:?}")
    } else {
        format!("{head:?}...")
    }
}

/// Joins words as `a, b or c`.
pub(super) fn alternatives(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Returns the message about an unknown word of a choice; `wanted` lists the known ones.
pub(super) fn wrong_word(word: &str, known: &[&str], wanted: &str) -> String {
    let unknown = format!("{} is unknown", shown(word));
    match hint(word, known, FOREIGN_WORDS) {
        Some(hint) => format!("{unknown}; {hint} One of {wanted}"),
        None => format!("{unknown}; {wanted}"),
    }
}

/// Returns the message about an unknown key.
pub(super) fn unknown_key(key: &str, known: &[&str]) -> String {
    match hint(key, known, FOREIGN_KEYS) {
        Some(hint) => format!("unknown key; {hint}"),
        None if known.is_empty() => "unknown key".to_owned(),
        None => format!("unknown key; {}", known.join(", ")),
    }
}

/// Returns a suggestion of another word, or the equivalent of a foreign one, as the end of a sentence.
fn hint(word: &str, known: &[&str], foreign: &[(&str, Ours)]) -> Option<String> {
    if word.len() > WORD_LEN_MAX {
        return None;
    }
    let written = normal(word);
    let meant = |word: &str| format!("did you mean {word}?");
    let foreign = foreign.iter().filter(|(word, _)| *word == written);
    let mut foreign = foreign.map(|(_, ours)| ours);
    let fits = |ours: &&Ours| match ours {
        Is(word) => known.contains(word),
        Said(_) => true,
    };
    match foreign.find(fits) {
        Some(Is(word)) => Some(meant(word)),
        Some(Said(sentence)) => Some(format!("{sentence}.")),
        None => near(&written, known).map(meant),
    }
}

fn normal(word: &str) -> String {
    word.to_ascii_lowercase().replace(['-', ' '], "_")
}

/// Returns the nearest known word, if one is near and no other is as near.
fn near<'w>(written: &str, known: &[&'w str]) -> Option<&'w str> {
    let distances = known.iter().map(|known| {
        let distance = strsim::osa_distance(written, &normal(known));
        (distance, *known)
    });
    let close = |(distance, known): &(usize, &str)| *distance <= 2 && distance * 2 < known.len();
    let mut close: Vec<(usize, &str)> = distances.filter(close).collect();
    close.sort_unstable();
    match close.as_slice() {
        [(first, _), (second, _), ..] if first == second => None,
        [(_, word), ..] => Some(word),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_foreign_row_can_be_reached() {
        for table in [FOREIGN_KEYS, FOREIGN_WORDS] {
            for (at, (word, ours)) in table.iter().enumerate() {
                assert_eq!(*word, normal(word));
                let later = table.iter().skip(at + 1).any(|(other, _)| other == word);
                assert!(!(later && matches!(ours, Said(_))), "{word}");
            }
        }
    }
}
