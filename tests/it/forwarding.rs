//! X-Forwarded-*, X-Real-IP, and every other header line left alone, in both directions.

use crate::harness::free_port;
use crate::harness::http;
use crate::harness::origin::{Answering, Origin};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::websocket;

/// The one source these listeners trust, beside 10.0.0.0/8.
const TRUSTED: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.1";

/// What the application is told: the lines this proxy writes.
const TOLD: [&str; 5] = [
    "x-forwarded-for",
    "x-real-ip",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
];

struct Edge {
    proxy: Proxy,
    origin: Answering,
}

fn edge() -> Edge {
    let origin = Origin::answering(http::ok("hello"));
    let proxy = Plan::http(origin.addr)
        .listener_keys(
            "proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]",
        )
        .start();
    Edge { proxy, origin }
}

impl Edge {
    /// Sends a request from `source` and returns the head the application got.
    fn ask(&self, source: &str, request: &str) -> String {
        let mut client = Peer::connect_from(source, self.proxy.addr());
        assert_eq!(http::exchange_on(&mut client, request).status, 200);
        self.origin.head()
    }

    /// Sends header lines as a plain request and as an upgrade, and demands that the application is
    /// told the same five things by both: for, real ip, proto, host, port.
    fn check(&self, source: &str, before: &str, lines: &str, told: [&str; 5]) {
        for request in [
            http::get("app.example:8080", "/", lines),
            websocket::request("app.example:8080", "/", lines),
        ] {
            let head = self.ask(source, &format!("{before}{request}"));
            for (name, value) in TOLD.iter().zip(told) {
                assert_eq!(http::values(&head, name), [value], "{name} in {head}");
            }
        }
    }
}

#[test]
fn a_stranger_is_named_and_not_believed() {
    let edge = edge();
    let port = edge.proxy.addr().port().to_string();
    let own = ["127.0.0.1", "127.0.0.1", "http", "app.example:8080", &port];
    edge.check(STRANGER, "", "", own);
    let spoofed = "X-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: bank.example\r\nX-Forwarded-Port: 443\r\n\
        x-forwarded-for: 198.51.100.1\r\nFORWARDED: for=203.0.113.9;proto=https\r\n\
        Forwarded: for=198.51.100.2\r\n";
    edge.check(STRANGER, "", spoofed, own);
    let head = edge.ask(STRANGER, &http::get("app.example", "/", spoofed));
    assert_eq!(http::values(&head, "forwarded"), [""; 0], "{head}");
    assert!(!head.contains("203.0.113.9"), "{head}");
}

#[test]
fn names_that_gateways_take_for_ours_are_dropped_too() {
    // To CGI and WSGI an underscore is a dash.
    let edge = edge();
    let lines = "X_Forwarded_For: 203.0.113.9\r\nX_Real-IP: 203.0.113.9\r\n\
        X-Forwarded_Proto: https\r\nX-Stays: 1\r\n";
    let head = edge.ask(STRANGER, &http::get("x", "/", lines));
    assert_eq!(others(&head), ["Host: x", "X-Stays: 1"], "{head}");
}

#[test]
fn lookalikes_are_dropped_whoever_sends_them() {
    let edge = edge();
    let lines = "X.Real.IP: 203.0.113.9\r\nX~Forwarded~For: 203.0.113.9\r\n\
        X|Forwarded|Proto: https\r\nX-Client'Subject: CN=evil\r\nX_Forwarded_Prefix: /evil\r\n\
        Content_Length: 5\r\nTransfer.Encoding: chunked\r\nX-Stays: 1\r\n";
    for source in [STRANGER, TRUSTED] {
        let head = edge.ask(source, &http::get("x", "/", lines));
        assert_eq!(others(&head), ["Host: x", "X-Stays: 1"], "{head}");
    }
    // The subject of a certificate, on a listener without TLS.
    let subject = "X-Client-Subject: CN=a\r\n";
    let head = edge.ask(STRANGER, &http::get("x", "/", subject));
    assert_eq!(others(&head), ["Host: x"], "{head}");
    let head = edge.ask(TRUSTED, &http::get("x", "/", subject));
    assert_eq!(
        others(&head),
        ["Host: x", "X-Client-Subject: CN=a"],
        "{head}"
    );
}

#[test]
fn the_real_ip_of_a_trusted_peer_is_believed_where_nothing_else_names_the_client() {
    let edge = edge();
    let rows = [
        (
            "X-Real-IP: 203.0.113.9\r\n",
            "203.0.113.9",
            "203.0.113.9, 127.0.0.2",
        ),
        (
            "X-Real-IP: 203.0.113.9\r\nX-Forwarded-For: 198.51.100.1\r\n",
            "198.51.100.1",
            "198.51.100.1, 127.0.0.2",
        ),
        ("X-Real-IP: nonsense\r\n", TRUSTED, TRUSTED),
    ];
    for (lines, client, chain) in rows {
        let head = edge.ask(TRUSTED, &http::get("x", "/", lines));
        assert_eq!(http::values(&head, "x-real-ip"), [client], "{head}");
        assert_eq!(http::values(&head, "x-forwarded-for"), [chain], "{head}");
        edge.proxy
            .wait_access("request", |line| line["client"] == client);
    }
    let head = edge.ask(STRANGER, &http::get("x", "/", rows[0].0));
    assert_eq!(http::values(&head, "x-real-ip"), [STRANGER], "{head}");
}

#[test]
fn a_forwarded_host_is_a_host_or_ignored() {
    let edge = edge();
    let rows = [
        ("www.example:8443", "www.example:8443"),
        ("www.example, inner.example", "www.example"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("www.example/path", "x"),
        ("a b", "x"),
        ("<script>", "x"),
        ("user@www.example", "x"),
    ];
    for (sent, told) in rows {
        let lines = format!("X-Forwarded-Host: {sent}\r\n");
        let head = edge.ask(TRUSTED, &http::get("x", "/", &lines));
        assert_eq!(http::values(&head, "x-forwarded-host"), [told], "{head}");
    }
}

#[test]
fn port_0_of_a_proxy_header_is_no_port() {
    let edge = edge();
    let header = "PROXY TCP4 203.0.113.50 192.0.2.1 0 0\r\n";
    let request = http::get("x", "/", "");
    let head = edge.ask(TRUSTED, &format!("{header}{request}"));
    let port = edge.proxy.addr().port().to_string();
    assert_eq!(http::values(&head, "x-forwarded-port"), [port], "{head}");
    assert_eq!(http::values(&head, "x-forwarded-proto"), ["http"], "{head}");
    assert_eq!(http::values(&head, "x-real-ip"), ["203.0.113.50"], "{head}");
}

#[test]
fn an_absolute_target_reaches_the_server_as_path_and_query() {
    let edge = edge();
    let rows = [
        (
            "GET http://x/a//%2e?b=http://c HTTP/1.1",
            "GET /a//%2e?b=http://c HTTP/1.1",
        ),
        ("GET http://X:80 HTTP/1.1", "GET / HTTP/1.1"),
        ("GET http://x?y HTTP/1.1", "GET /?y HTTP/1.1"),
        ("OPTIONS http://x HTTP/1.1", "OPTIONS * HTTP/1.1"),
    ];
    for (line, expected) in rows {
        let head = edge.ask(STRANGER, &format!("{line}\r\nHost: x\r\n\r\n"));
        assert!(head.starts_with(&format!("{expected}\r\n")), "{head}");
        assert_eq!(http::values(&head, "host"), ["x"], "{head}");
        // The log has what the client sent.
        let target = line.split(' ').nth(1).unwrap();
        edge.proxy
            .wait_access("request", |line| line["target"] == target);
    }
    let head = edge.ask(STRANGER, "GET http://only.example/ HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("GET / HTTP/1."), "{head}");
    assert_eq!(http::values(&head, "host"), ["only.example"], "{head}");
    // A scheme must be the client's, or the trusted peer's own.
    let of_scheme = |lines: &str| format!("GET https://x/ HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    let forwarded = "X-Forwarded-Proto: https\r\n";
    for (source, lines, status) in [
        (STRANGER, "", 400),
        (STRANGER, forwarded, 400),
        (TRUSTED, "", 400),
        (TRUSTED, forwarded, 200),
    ] {
        let mut client = Peer::connect_from(source, edge.proxy.addr());
        let answer = http::exchange_on(&mut client, of_scheme(lines));
        assert_eq!(answer.status, status, "{source} {lines}");
        match status {
            200 => assert!(edge.origin.head().starts_with("GET / HTTP/1.1\r\n")),
            _ => assert!(answer.text().contains("scheme"), "{}", answer.text()),
        }
    }
}

#[test]
fn a_client_over_ipv6_is_written_as_one() {
    let origin = Origin::answering(http::ok("hello"));
    let proxy = Plan::http(origin.addr)
        .bind(format!("\"[::1]:{}\"", free_port()))
        .start();
    http::exchange(proxy.addr(), http::get("x", "/", ""));
    let head = origin.head();
    assert_eq!(http::values(&head, "x-forwarded-for"), ["::1"], "{head}");
    assert_eq!(http::values(&head, "x-real-ip"), ["::1"], "{head}");
}

#[test]
fn a_chain_is_believed_as_far_as_it_can_be_read() {
    let edge = edge();
    let rows = [
        ("unknown", TRUSTED),
        ("203.0.113.9, unknown", TRUSTED),
        ("203.0.113.9, unknown, 10.1.1.1", "10.1.1.1"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("\"; drop table", TRUSTED),
        (", ,203.0.113.9,,", "203.0.113.9"),
        ("203.0.113.999", TRUSTED),
    ];
    for (chain, client) in rows {
        let lines = format!("X-Forwarded-For: {chain}\r\n");
        let head = edge.ask(TRUSTED, &http::get("x", "/", &lines));
        assert_eq!(
            http::values(&head, "x-real-ip"),
            [client],
            "{chain}: {head}"
        );
    }
}

#[test]
fn a_trusted_peer_is_believed_and_added_to_the_chain() {
    let edge = edge();
    let port = edge.proxy.addr().port().to_string();
    edge.check(
        TRUSTED,
        "",
        "",
        ["127.0.0.2", "127.0.0.2", "http", "app.example:8080", &port],
    );
    edge.check(
        TRUSTED,
        "",
        "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: www.example\r\nX-Forwarded-Port: 8443\r\nX-Real-IP: 192.0.2.99\r\n",
        [
            "203.0.113.9, 127.0.0.2",
            "203.0.113.9",
            "https",
            "www.example",
            "8443",
        ],
    );
    // From the right, to the first address that is not trusted.
    edge.check(
        TRUSTED,
        "",
        "X-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.1.1.1\r\n",
        [
            "198.51.100.1, 203.0.113.9, 10.1.1.1, 127.0.0.2",
            "203.0.113.9",
            "http",
            "app.example:8080",
            &port,
        ],
    );
    // All trusted: the leftmost.
    edge.check(
        TRUSTED,
        "",
        "X-Forwarded-For: 10.3.3.3, 10.2.2.2\r\n",
        [
            "10.3.3.3, 10.2.2.2, 127.0.0.2",
            "10.3.3.3",
            "http",
            "app.example:8080",
            &port,
        ],
    );
    // Several lines are one list.
    edge.check(
        TRUSTED,
        "",
        "X-Forwarded-For: 203.0.113.9\r\nX-Other: 1\r\nx-forwarded-for: 10.1.1.1\r\n",
        [
            "203.0.113.9, 10.1.1.1, 127.0.0.2",
            "203.0.113.9",
            "http",
            "app.example:8080",
            &port,
        ],
    );
    edge.check(
        TRUSTED,
        "",
        "X-Forwarded-For: 2001:db8::9\r\n",
        [
            "2001:db8::9, 127.0.0.2",
            "2001:db8::9",
            "http",
            "app.example:8080",
            &port,
        ],
    );
}

#[test]
fn a_trusted_peers_forwarded_line_stands() {
    let edge = edge();
    let line = "Forwarded: for=203.0.113.9;proto=https\r\n";
    let head = edge.ask(TRUSTED, &http::get("app.example", "/", line));
    assert_eq!(
        http::values(&head, "forwarded"),
        ["for=203.0.113.9;proto=https"]
    );
}

#[test]
fn behind_a_trusted_balancer_the_speaker_is_the_address_of_its_header() {
    let edge = edge();
    let stranger = "PROXY TCP4 203.0.113.50 192.0.2.1 1000 8080\r\n";
    // What a stranger behind a trusted balancer writes is dropped.
    edge.check(
        TRUSTED,
        stranger,
        "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n",
        [
            "203.0.113.50",
            "203.0.113.50",
            "http",
            "app.example:8080",
            "8080",
        ],
    );
    // A trusted proxy behind a trusted balancer is believed.
    let inner = "PROXY TCP4 10.0.0.1 192.0.2.1 1000 8080\r\n";
    edge.check(
        TRUSTED,
        inner,
        "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n",
        [
            "198.51.100.1, 10.0.0.1",
            "198.51.100.1",
            "https",
            "app.example:8080",
            "1",
        ],
    );
}

#[test]
fn the_log_names_the_client_the_application_is_told() {
    let edge = edge();
    edge.ask(
        TRUSTED,
        &http::get("app.example", "/", "X-Forwarded-For: 203.0.113.77\r\n"),
    );
    let line = edge.proxy.wait_access("request", |_| true);
    assert!(
        line["client"].as_str().unwrap().contains("203.0.113.77"),
        "{line}"
    );
}

/// Lines of a head that this proxy does not write itself.
fn others(head: &str) -> Vec<&str> {
    http::lines(head)
        .into_iter()
        .filter(|line| {
            let name = line.split(':').next().unwrap().to_lowercase();
            !TOLD.contains(&name.as_str()) && name != "connection"
        })
        .collect()
}

const PECULIAR: &str = "X-Zulu: 1\r\nx-alpha:2\r\nX-ZULU:\t  3 \t\r\nAccept: */*\r\nX-Empty:\r\n\
    X-Quoted: \"a, b\" ; c\r\nCookie: a=b; c=d\r\nX-Alpha: again\r\nUser-Agent: test/1.0 (x)\r\n";

#[test]
fn other_request_lines_pass_byte_for_byte_and_in_order() {
    let edge = edge();
    let head = edge.ask(STRANGER, &http::get("App.Example:8080", "/", PECULIAR));
    let expected = format!("Host: App.Example:8080\r\n{PECULIAR}");
    assert_eq!(
        others(&head),
        expected.trim_end().split("\r\n").collect::<Vec<_>>()
    );

    let head = edge.ask(
        STRANGER,
        &websocket::request("App.Example:8080", "/", PECULIAR),
    );
    let kept: Vec<_> = others(&head)
        .into_iter()
        .filter(|line| !line.starts_with("Upgrade"))
        .collect();
    let expected = format!(
        "Host: App.Example:8080\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n{PECULIAR}",
        websocket::KEY
    );
    assert_eq!(kept, expected.trim_end().split("\r\n").collect::<Vec<_>>());
    assert_eq!(http::values(&head, "upgrade"), ["websocket"]);
    assert!(http::values(&head, "connection")[0].eq_ignore_ascii_case("upgrade"));
}

#[test]
fn bytes_beyond_ascii_in_values_pass() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Name: \xc3\xa4 \xff\r\n\r\n");
    let mut server = origin.accept();
    let head = server.read_until(b"\r\n\r\n");
    let line = b"X-Name: \xc3\xa4 \xff\r\n";
    assert!(head.windows(line.len()).any(|window| window == line));
    server.send(b"HTTP/1.1 200 OK\r\nX-Name: \xe9\r\nContent-Length: 0\r\n\r\n");
    let head = client.read_until(b"\r\n\r\n");
    let line = b"X-Name: \xe9\r\n";
    assert!(head.windows(line.len()).any(|window| window == line));
}

#[test]
fn hop_by_hop_request_lines_stay_here() {
    let edge = edge();
    let head = edge.ask(
        STRANGER,
        &http::get(
            "x",
            "/",
            "Connection: close, X-Hop\r\nX-Hop: 1\r\nx-hop: 2\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nTE: gzip\r\nX-Stays: 1\r\n",
        ),
    );
    assert_eq!(others(&head), ["Host: x", "X-Stays: 1"], "{head}");
    let head = edge.ask(
        STRANGER,
        &http::get("x", "/", "Connection: TE\r\nTE: trailers\r\n"),
    );
    assert_eq!(http::values(&head, "te"), ["trailers"], "{head}");
    let lines = "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let head = edge.ask(STRANGER, &http::get("x", "/", lines));
    assert_eq!(others(&head), ["Host: x"], "{head}");
}

#[test]
fn response_lines_pass_byte_for_byte_and_in_order() {
    let lines = "Server: app/2\r\nSet-Cookie: a=1; Path=/\r\nset-cookie: b=2\r\nX-Odd:\t value \t\r\n\
        X-Empty:\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\nVia: 1.1 app\r\n";
    let hop = "Keep-Alive: timeout=5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n";
    let answer =
        format!("HTTP/1.1 203 Anything At All\r\n{lines}{hop}Content-Length: 5\r\n\r\nhello");
    let origin = Origin::answering(answer);
    let proxy = Plan::http(origin.addr).start();
    let answer = http::exchange(proxy.addr(), http::get("x", "/", ""));
    assert!(
        answer.head.starts_with("HTTP/1.1 203 Anything At All\r\n"),
        "{}",
        answer.head
    );
    let expected = format!("{lines}Content-Length: 5");
    let found: Vec<_> = others(&answer.head);
    assert_eq!(found, expected.split("\r\n").collect::<Vec<_>>());
    assert_eq!(answer.text(), "hello");
}

#[test]
fn a_switching_answer_passes_with_its_own_lines() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(websocket::request(
        "x",
        "/",
        "Sec-WebSocket-Protocol: chat, other\r\n",
    ));
    let mut server = origin.accept();
    let head = server.read_head();
    assert_eq!(
        http::values(&head, "sec-websocket-protocol"),
        ["chat, other"]
    );
    server.send(websocket::switching(
        "Sec-WebSocket-Protocol: chat\r\nX-oDD:\tvalue\r\nSet-Cookie: a=1\r\n",
    ));
    let head = client.read_head();
    for line in [
        "Sec-WebSocket-Protocol: chat",
        "X-oDD:\tvalue",
        "Set-Cookie: a=1",
    ] {
        assert!(http::lines(&head).contains(&line), "{line} in {head}");
    }
    assert_eq!(
        http::values(&head, "sec-websocket-accept"),
        [websocket::ACCEPT]
    );
}

#[test]
fn bodies_pass_in_both_directions() {
    let body = "0123456789".repeat(10_000);
    let counted = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let pieces: String = body
        .as_bytes()
        .chunks(4_001)
        .map(|piece| {
            format!(
                "{:x};ext=1\r\n{}\r\n",
                piece.len(),
                String::from_utf8_lossy(piece)
            )
        })
        .collect();
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{pieces}0\r\nX-Sum: 1\r\n\r\n");
    for message in [&counted, &chunked] {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        client.send(format!("POST /in HTTP/1.1\r\nHost: x\r\n{message}"));
        let mut server = origin.accept();
        server.read_head();
        let body = message.split_once("\r\n\r\n").unwrap().1;
        // An extension concerns one connection only.
        let passed = body.replace(";ext=1", "");
        server.expect(&passed);
        server.send(format!("HTTP/1.1 200 OK\r\n{message}"));
        client.read_head();
        client.expect(&passed);
        let line = proxy.wait_access("request", |_| true);
        assert_eq!(line["cause"], "served");
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let origin = Origin::answering("HTTP/1.0 200 OK\r\n\r\nall of this");
    let proxy = Plan::http(origin.addr).start();
    let answer = http::exchange(proxy.addr(), http::get("x", "/", ""));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "all of this")
    );
}

#[test]
fn informational_answers_come_before_the_final_one() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut server = origin.accept();
    server.read_head();
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(http::status(&client.read_head()), 100);
    client.send("body");
    server.expect("body");
    server.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    server.send(http::ok("done"));
    let head = client.read_head();
    assert_eq!(http::status(&head), 103, "{head}");
    assert_eq!(http::read_answer(&mut client).text(), "done");
}

#[test]
fn answers_without_a_body_have_none() {
    let rows = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
        ),
    ];
    for (method, answer) in rows {
        let origin = Origin::answering(answer);
        let proxy = Plan::http(origin.addr).start();
        let mut client = proxy.connect();
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let head = client.read_head();
        assert_eq!(head.lines().next(), answer.lines().next());
        client.expect_ended();
    }
}
