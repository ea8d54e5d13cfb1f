//! Messages about words of other programs, and about misspelt words.

use std::fmt::Write;

use expect_test::expect;

use super::{SMALL, listener, wrong};

fn said(rows: &[(&str, String)]) -> String {
    let mut said = String::new();
    for (lines, text) in rows {
        let errors = wrong(text);
        let lines = lines.trim();
        writeln!(said, "{lines}").expect("a String");
        for error in errors.lines() {
            let (_, error) = error.split_once(": ").expect("a position");
            writeln!(said, "    {error}").expect("a String");
        }
    }
    said
}

fn server(lines: &str) -> String {
    format!("[server]\n{lines}\n{SMALL}")
}

fn backend(lines: &str) -> String {
    SMALL.replace("name = \"app\"\n", &format!("name = \"app\"\n{lines}\n"))
}

fn bound(lines: &str) -> String {
    listener(&format!("bind = \"127.0.0.1:80\"\n{lines}"))
}

fn route(lines: &str) -> String {
    SMALL.replace(
        "backend = \"app\"\n",
        &format!("backend = \"app\"\n{lines}\n"),
    )
}

fn rows(make: fn(&str) -> String, lines: &[&'static str]) -> Vec<(&'static str, String)> {
    lines.iter().map(|lines| (*lines, make(lines))).collect()
}

#[test]
fn words_of_haproxy_and_nginx() {
    let mut all = rows(
        server,
        &[
            "maxconn = 1",
            "nbthread = 4",
            "pidfile = \"/x\"",
            "stats = true",
            "chroot = \"/x\"",
        ],
    );
    all.extend(rows(
        bound,
        &[
            "ssl_certificate = \"x\"",
            "crt = \"x\"",
            "maxconn = 100",
            "server_name = \"x\"",
            "accept-proxy = true",
            "default_backend = \"app\"",
            "timeout = { client = \"1h\" }",
            "timeouts = { \"timeout client\" = \"1h\" }",
            "client_max_body_size = \"1m\"",
            "mode = \"https\"",
        ],
    ));
    all.extend(rows(
        route,
        &["proxy_pass = \"http://app\"", "use_backend = \"app\""],
    ));
    all.extend(rows(
        backend,
        &[
            "balance = \"leastconn\"",
            "balance = \"least_conn\"",
            "balance = \"roundrobin\"",
            "balance = \"ip_hash\"",
            "option = \"forwardfor\"",
            "cookie = \"SRV\"",
            "send-proxy = true",
            "send_proxy_v2 = true",
            "maxconn = 1",
            "timeouts = { proxy_read_timeout = \"1h\" }",
            "timeouts = { tunnel = \"1h\" }",
            "health = { inter = \"2s\" }",
            "health = { kind = \"https\" }",
            "tls = { ca-file = \"x\", verify = false }",
        ],
    ));
    all.extend(rows(
        |lines| format!("{SMALL}{lines}"),
        &["[[upstream]]\nx = 1", "[frontend]", "[global]"],
    ));
    expect![[r#"
        maxconn = 1
            server.maxconn: unknown key; did you mean max_connections?
        nbthread = 4
            server.nbthread: unknown key; reception_threads and relay_threads do that.
        pidfile = "/x"
            server.pidfile: unknown key; did you mean pid_file?
        stats = true
            server.stats: unknown key; admin_http in [server] serves the dashboard and metrics, admin_socket `longsplice ctl`.
        chroot = "/x"
            server.chroot: unknown key; `sandbox` confines the process to the files it needs.
        ssl_certificate = "x"
            listener[0].ssl_certificate: unknown key; `certificates` in [listener.tls] does that.
        crt = "x"
            listener[0].crt: unknown key; name, bind, mode, behind, proxy_protocol, trusted_proxies, tcp_keepalive, freebind, tls, timeouts, limits, errors, route
        maxconn = 100
            listener[0].maxconn: unknown key; `maxconn` is max_connections here, in [server] and in [[backend.server]].
        server_name = "x"
            listener[0].server_name: unknown key; host names are conditions: `host` in a [[listener.route]].
        accept-proxy = true
            listener[0].accept-proxy: unknown key; did you mean proxy_protocol?
        default_backend = "app"
            listener[0].default_backend: unknown key; a last [[listener.route]] with `backend` and no conditions does that.
        timeout = { client = "1h" }
            listener[0].timeout: unknown key; did you mean timeouts?
        timeouts = { "timeout client" = "1h" }
            listener[0].timeouts."timeout client": unknown key; `tunnel_idle` in [backend.timeouts] does that for tunnels, `keep_alive` in [listener.timeouts] between requests.
        client_max_body_size = "1m"
            listener[0].client_max_body_size: unknown key; `max_body` in [listener.limits] does that.
        mode = "https"
            listener[0].mode: "https" is unknown; https is http over TLS, which [listener.tls] and [backend.tls] switch on. One of http, tcp or sni
        proxy_pass = "http://app"
            listener[0].route[0].proxy_pass: unknown key; did you mean backend?
        use_backend = "app"
            listener[0].route[0].use_backend: unknown key; `backend` in a [[listener.route]] with conditions does that.
        balance = "leastconn"
            backend[0].balance: "leastconn" is unknown; did you mean least_connections? One of source, round_robin, least_connections, random_two or maglev
        balance = "least_conn"
            backend[0].balance: "least_conn" is unknown; did you mean least_connections? One of source, round_robin, least_connections, random_two or maglev
        balance = "roundrobin"
            backend[0].balance: "roundrobin" is unknown; did you mean round_robin? One of source, round_robin, least_connections, random_two or maglev
        balance = "ip_hash"
            backend[0].balance: "ip_hash" is unknown; did you mean source? One of source, round_robin, least_connections, random_two or maglev
        option = "forwardfor"
            backend[0].option: unknown key; there are no options: X-Forwarded-For is always set, the format of access lines is `access` in [log].
        cookie = "SRV"
            backend[0].cookie: unknown key; a client stays at its server by its address: balance = "source"; cookies are not used.
        send-proxy = true
            backend[0].send-proxy: unknown key; did you mean send_proxy?
        send_proxy_v2 = true
            backend[0].send_proxy_v2: unknown key; send_proxy = "v2" does that.
        maxconn = 1
            backend[0].maxconn: unknown key; `maxconn` is max_connections here, in [server] and in [[backend.server]].
        timeouts = { proxy_read_timeout = "1h" }
            backend[0].timeouts.proxy_read_timeout: unknown key; `tunnel_idle` in [backend.timeouts] does that for tunnels, `response` for answers.
        timeouts = { tunnel = "1h" }
            backend[0].timeouts.tunnel: unknown key; did you mean tunnel_idle?
        health = { inter = "2s" }
            backend[0].health.inter: unknown key; did you mean interval?
        health = { kind = "https" }
            backend[0].health.kind: "https" is unknown; https is http over TLS, which [listener.tls] and [backend.tls] switch on. One of http, tcp, websocket or off
        tls = { ca-file = "x", verify = false }
            backend[0].tls.ca-file: unknown key; did you mean ca?
        [[upstream]]
        x = 1
            upstream: unknown key; an `upstream` is a [[backend]] here.
        [frontend]
            frontend: unknown key; a `frontend` is a [[listener]] here.
        [global]
            global: unknown key; what `global` sets stands in [server] and [log] here.
    "#]].assert_eq(&said(&all));
}

#[test]
fn words_that_are_nearly_right() {
    let mut all = rows(
        server,
        &[
            "drian_timeout = \"1s\"",
            "max-connections = 1",
            "sandboxx = true",
        ],
    );
    all.extend(rows(
        bound,
        &[
            "mode = \"htpp\"",
            "mode = \"TCP\"",
            "proxy_protocol = \"required\"",
            "tcp_keep_alive = \"60s\"",
        ],
    ));
    all.extend(rows(
        backend,
        &[
            "balance = \"maglef\"",
            "when_down = \"quue\"",
            "weight = 1",
            "tls = { min_version = \"1.4\" }",
        ],
    ));
    expect![[r#"
        drian_timeout = "1s"
            server.drian_timeout: unknown key; did you mean drain_timeout?
        max-connections = 1
            server.max-connections: unknown key; did you mean max_connections?
        sandboxx = true
            server.sandboxx: unknown key; did you mean sandbox?
        mode = "htpp"
            listener[0].mode: "htpp" is unknown; did you mean http? One of http, tcp or sni
        mode = "TCP"
            listener[0].mode: "TCP" is unknown; did you mean tcp? One of http, tcp or sni
        proxy_protocol = "required"
            listener[0].proxy_protocol: "required" is unknown; did you mean require? One of off, optional or require
        tcp_keep_alive = "60s"
            listener[0].tcp_keep_alive: unknown key; did you mean tcp_keepalive?
        balance = "maglef"
            backend[0].balance: "maglef" is unknown; did you mean maglev? One of source, round_robin, least_connections, random_two or maglev
        when_down = "quue"
            backend[0].when_down: "quue" is unknown; did you mean queue? One of refuse or queue
        weight = 1
            backend[0].weight: unknown key; name, balance, host_header, keep_alive, abort_on_close, max_queue, when_down, retries, slow_start, drain_close, send_proxy, source, timeouts, limits, health, tls, server
        tls = { min_version = "1.4" }
            backend[0].tls.min_version: "1.4" is unknown; 1.2 or 1.3
    "#]].assert_eq(&said(&all));
}
