//! Forwarded heads: lines about the client, trust in them, and lines that are removed.

use super::*;
use crate::proto::Progress;
use crate::proto::http::head::{HeadLimits, parse_request, parse_response};

mod start;

const LIMITS: HeadLimits = HeadLimits {
    request_line: 8192,
    head: 32768,
    headers: 100,
};

/// Calls `f` with the request whose head is `head`, with `\n` for CRLF and without the empty line.
fn with_request<T>(head: &str, f: impl FnOnce(&Request<'_>) -> T) -> T {
    let bytes = format!("{head}\n\n").replace('\n', "\r\n");
    match parse_request(bytes.as_bytes(), &LIMITS) {
        Ok(Progress::Complete { value, .. }) => f(&value),
        other => panic!("{other:?}: {head}"),
    }
}

fn peer(text: &str) -> PeerAddr {
    match text {
        "unix" => PeerAddr::Unix,
        text => PeerAddr::from(text.parse::<SocketAddr>().unwrap()),
    }
}

fn trusted_proxies() -> TrustedProxies {
    TrustedProxies {
        ranges: ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
            .map(|range| range.parse().unwrap())
            .to_vec(),
        unix: true,
    }
}

#[test]
fn the_client_is_the_last_who_is_not_trusted() {
    let rows = [
        // Without a trusted peer only the peer's address counts.
        ("203.0.113.9:5", "X-Forwarded-For: 1.1.1.1", "203.0.113.9:5"),
        ("10.0.0.1:5", "A: b", "10.0.0.1:5"),
        ("10.0.0.1:5", "X-Forwarded-For: 1.1.1.1", "1.1.1.1:0"),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 1.1.1.1, 2.2.2.2",
            "2.2.2.2:0",
        ),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.9.9.9",
            "2.2.2.2:0",
        ),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 1.1.1.1\nX-FORWARDED-FOR: 10.2.2.2 ,\t127.0.0.1,",
            "1.1.1.1:0",
        ),
        // All trusted: the leftmost.
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 10.3.3.3, 10.2.2.2",
            "10.3.3.3:0",
        ),
        ("unix", "X-Forwarded-For: 1.1.1.1", "1.1.1.1:0"),
        ("unix", "A: b", "unix"),
        // X-Real-IP counts alone, once, and from a trusted peer.
        ("203.0.113.9:5", "X-Real-IP: 1.1.1.1", "203.0.113.9:5"),
        ("10.0.0.1:5", "X-Real-IP: 1.1.1.1", "1.1.1.1:0"),
        ("unix", "x-real-ip: [2001:db8::1]:77", "[2001:db8::1]:77"),
        ("10.0.0.1:5", "X-Real-IP: 10.2.2.2", "10.2.2.2:0"),
        (
            "10.0.0.1:5",
            "X-Real-IP: 1.1.1.1\nX-Forwarded-For: 2.2.2.2",
            "2.2.2.2:0",
        ),
        (
            "10.0.0.1:5",
            "X-Real-IP: 1.1.1.1\nX-Forwarded-For: unknown",
            "10.0.0.1:5",
        ),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: ,\nX-Real-IP: 1.1.1.1",
            "1.1.1.1:0",
        ),
        (
            "10.0.0.1:5",
            "X-Real-IP: 1.1.1.1\nX-Real-IP: 1.1.1.1",
            "10.0.0.1:5",
        ),
        ("10.0.0.1:5", "X-Real-IP: 1.1.1.1, 2.2.2.2", "10.0.0.1:5"),
        ("10.0.0.1:5", "X-Real-IP: localhost", "10.0.0.1:5"),
        ("10.0.0.1:5", "X-Real-IP:", "10.0.0.1:5"),
        ("10.0.0.1:5", "X_Real_IP: 1.1.1.1", "10.0.0.1:5"),
        // Forms of elements.
        ("10.0.0.1:5", "X-Forwarded-For: 1.1.1.1:77", "1.1.1.1:77"),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 2001:db8::1",
            "[2001:db8::1]:0",
        ),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: [2001:db8::1]",
            "[2001:db8::1]:0",
        ),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: [2001:db8::1]:77",
            "[2001:db8::1]:77",
        ),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 1.1.1.1, ::ffff:10.1.1.1",
            "1.1.1.1:0",
        ),
        (
            "[fd00::1]:5",
            "X-Forwarded-For: 1.1.1.1, [fd00::2]:9",
            "1.1.1.1:0",
        ),
        // The search ends at an element that is not an address.
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 1.1.1.1, unknown",
            "10.0.0.1:5",
        ),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 1.1.1.1, x, 10.2.2.2",
            "10.2.2.2:0",
        ),
        (
            "10.0.0.1:5",
            "X-Forwarded-For: 1.1.1.1, 2.2.2.2:99999",
            "10.0.0.1:5",
        ),
        ("10.0.0.1:5", "X-Forwarded-For: \u{e4}", "10.0.0.1:5"),
        ("10.0.0.1:5", "X-Forwarded-For:", "10.0.0.1:5"),
        ("10.0.0.1:5", "X_Forwarded_For: 1.1.1.1", "10.0.0.1:5"),
    ];
    let trusted = trusted_proxies();
    for (from, line, expected) in rows {
        let speaker = Speaker {
            peer: peer(from),
            trusted: trusted.contains(peer(from)),
        };
        let head = format!("GET / HTTP/1.1\nHost: a\n{line}");
        let found = with_request(&head, |request| client_of(request, speaker, &trusted));
        assert_eq!(found, peer(expected), "{from} {line}");
    }
}

#[test]
fn the_scheme_is_found_in_the_order_of_the_contract() {
    use Scheme::{Http, Https};
    let https = "X-Forwarded-Proto: https";
    let http = "X-Forwarded-Proto: http";
    let rows = [
        ("A: b", false, None, None, Http),
        ("A: b", false, Some(Https), None, Https),
        (http, true, Some(Https), Some(80), Https),
        (https, true, Some(Http), Some(443), Http),
        (https, true, None, Some(80), Https),
        (http, true, None, Some(443), Http),
        (https, false, None, None, Http),
        (https, false, None, Some(80), Http),
        (http, false, None, Some(443), Https),
        ("A: b", true, None, Some(443), Https),
        ("A: b", true, None, Some(8443), Http),
        ("X-Forwarded-Proto: WSS", true, None, None, Https),
        ("X-Forwarded-Proto: ws", true, None, Some(443), Http),
        ("X-Forwarded-Proto: ftp", true, None, Some(443), Https),
        ("X-Forwarded-Proto:", true, None, Some(443), Https),
        ("X-Forwarded-Proto: https, http", true, None, None, Https),
        (
            "X-Forwarded-Proto: https\nX-Forwarded-Proto: http",
            true,
            None,
            None,
            Https,
        ),
    ];
    for (line, trusted, known, port, expected) in rows {
        let head = format!("GET / HTTP/1.1\nHost: a\n{line}");
        let found = with_request(&head, |request| scheme_of(request, trusted, known, port));
        assert_eq!(found, expected, "{line} {trusted} {known:?} {port:?}");
    }
}

#[test]
fn the_port_is_found_in_the_order_of_the_contract() {
    let rows = [
        ("A: b", true, Some(0), 80),
        ("A: b", false, Some(0), 80),
        ("X-Forwarded-Port: 8443", true, Some(0), 8443),
        ("A: b", false, None, 80),
        ("A: b", true, Some(443), 443),
        ("X-Forwarded-Port: 8443", true, Some(443), 8443),
        ("X-Forwarded-Port: 8443", false, Some(443), 443),
        ("X-Forwarded-Port: 8443", false, None, 80),
        ("X-Forwarded-Port: 8443, 1", true, None, 8443),
        ("X-Forwarded-Port: +1", true, None, 80),
        ("X-Forwarded-Port: 0", true, None, 80),
        ("X-Forwarded-Port: 65536", true, None, 80),
        ("X-Forwarded-Port: x", true, Some(443), 443),
    ];
    for (line, trusted, destination, expected) in rows {
        let head = format!("GET / HTTP/1.1\nHost: a\n{line}");
        let found = with_request(&head, |request| port_of(request, trusted, destination, 80));
        assert_eq!(found, expected, "{line} {trusted} {destination:?}");
    }
}

/// Forwards a request, with `\n` for CRLF on both sides and without the empty lines.
fn check_request(head: &str, speaker: Speaker, hop: Hop, expected: &str) {
    let mut out = Vec::new();
    with_request(head, |request| {
        let facts = ForwardingFacts {
            speaker,
            client: client_of(request, speaker, &trusted_proxies()),
            scheme: Scheme::Https,
            port: 443,
            client_subject: None,
            server_host: None,
        };
        request_head(request, &facts, hop, "server:1", &mut out);
    });
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        format!("{expected}\n\n").replace('\n', "\r\n"),
        "{head}"
    );
}

const STRANGER: &str = "203.0.113.9:5";
const BALANCER: &str = "10.0.0.1:5";

fn from(text: &str) -> Speaker {
    Speaker {
        peer: peer(text),
        trusted: trusted_proxies().contains(peer(text)),
    }
}

#[test]
fn a_server_may_get_another_host() {
    let rows = [
        (
            "GET / HTTP/1.1\nA: b\nhOst: a:8080\nC: d",
            "GET / HTTP/1.1\nHost: app.internal\nA: b\nC: d",
            "a:8080",
        ),
        (
            "GET / HTTP/1.0\nA: b",
            "GET / HTTP/1.1\nHost: app.internal\nA: b",
            "",
        ),
    ];
    for (head, expected, forwarded) in rows {
        let mut out = Vec::new();
        with_request(head, |request| {
            let facts = ForwardingFacts {
                speaker: from(STRANGER),
                client: peer(STRANGER),
                scheme: Scheme::Https,
                port: 443,
                client_subject: None,
                server_host: Some("app.internal"),
            };
            request_head(request, &facts, Hop::Close, "server:1", &mut out);
        });
        let text = String::from_utf8(out).unwrap().replace("\r\n", "\n");
        assert!(
            text.starts_with(&format!("{expected}\nX-Forwarded-For: ")),
            "{text}"
        );
        let host = text
            .lines()
            .find_map(|line| line.strip_prefix("X-Forwarded-Host: "));
        assert_eq!(host.unwrap_or(""), forwarded, "{text}");
        assert_eq!(text.to_lowercase().matches("\nhost:").count(), 1, "{text}");
    }
}

/// The lines added to an untrusted peer's request to host `a`.
const ADDED: &str = "X-Forwarded-For: 203.0.113.9\nX-Real-IP: 203.0.113.9\n\
    X-Forwarded-Proto: https\nX-Forwarded-Host: a\nX-Forwarded-Port: 443";

#[test]
fn the_subject_is_ours_to_tell() {
    let head = "GET / HTTP/1.1\nHost: a\nX-Client-Subject: CN=evil\nx_client_SUBJECT: CN=evil\n\
                Connection: X-Client-Subject";
    let told = |speaker, client_subject| {
        let mut out = Vec::new();
        with_request(head, |request| {
            let facts = ForwardingFacts {
                speaker: from(speaker),
                client: peer(STRANGER),
                scheme: Scheme::Https,
                port: 443,
                client_subject,
                server_host: None,
            };
            request_head(request, &facts, Hop::KeepAlive, "server:1", &mut out);
        });
        let text = String::from_utf8(out).unwrap();
        let lines = text
            .lines()
            .filter(|line| line.to_lowercase().contains("subject"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for speaker in [STRANGER, BALANCER] {
        let subject = told(speaker, Some("CN=good\\, really"));
        assert_eq!(subject, ["X-Client-Subject: CN=good\\, really"]);
        assert_eq!(told(speaker, Some("")), [""; 0]);
        assert_eq!(told(speaker, None), [""; 0]);
    }
    // Without a subject of ours, a trusted peer tells its own.
    let head = "GET / HTTP/1.1\nHost: a\nX-Client-Subject: CN=good\nX.Client.Subject: CN=evil";
    let rows = [(STRANGER, ""), (BALANCER, "\nX-Client-Subject: CN=good")];
    for (speaker, passed) in rows {
        let added = ADDED.replace("203.0.113.9", speaker.split(':').next().unwrap());
        let expected = format!("GET / HTTP/1.1\nHost: a{passed}\n{added}");
        check_request(head, from(speaker), Hop::KeepAlive, &expected);
    }
}

#[test]
fn lines_pass_byte_for_byte() {
    let rows = [
        (
            "GET /%2e/a//?b=\"<>| HTTP/1.1\nHoST:a\nx-A:  y \t \nX-A: \u{fc}\nB:",
            Hop::KeepAlive,
            "",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTrailer: X\nExpect: 100-continue",
            Hop::KeepAlive,
            "",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 7\nVia: 1.1 x\nCookie: a=b\nCookie: c=d",
            Hop::KeepAlive,
            "",
        ),
        ("GET / HTTP/1.1\nHost: a", Hop::Close, "\nConnection: close"),
        (
            "GET / HTTP/1.1\nHost: a\nTE: trailers",
            Hop::KeepAlive,
            "\nConnection: TE",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nte:Trailers",
            Hop::Close,
            "\nConnection: close, TE",
        ),
    ];
    for (head, hop, connection) in rows {
        let expected = format!("{head}\n{ADDED}{connection}");
        check_request(head, from(STRANGER), hop, &expected);
    }
}

#[test]
fn lines_of_one_connection_end_with_it() {
    let rows = [
        ("Connection: close", ""),
        (
            "Connection: keep-alive, X-A\nx-a: 1\nX-B: 2\nConnection: x-c\nX-C: 3",
            "\nX-B: 2",
        ),
        ("Keep-Alive: timeout=5\nProxy-Connection: keep-alive", ""),
        ("TE: gzip", ""),
        (
            "TE: gzip, trailers, deflate\nTE: trailers",
            "\nTE: trailers",
        ),
        ("Connection: TE\nTE: trailers", "\nTE: trailers"),
        ("Upgrade: h2c, foo", ""),
        (
            "Upgrade: h2c\nConnection: Upgrade, HTTP2-Settings\nHTTP2-Settings: x",
            "",
        ),
        (
            "Upgrade: websocket\nSec-WebSocket-Key: x",
            "\nSec-WebSocket-Key: x",
        ),
        // Lines that frame or route the message, and our own, cannot be removed.
        (
            "Connection: Host, X-Forwarded-For, X-Real-IP, Content-Length\nContent-Length: 1",
            "\nContent-Length: 1",
        ),
        (
            "Connection: transfer-encoding\nTransfer-Encoding: chunked",
            "\nTransfer-Encoding: chunked",
        ),
    ];
    for (lines, passed) in rows {
        let connection = if passed.contains("TE:") {
            "\nConnection: TE"
        } else {
            ""
        };
        check_request(
            &format!("GET / HTTP/1.1\nHost: a\n{lines}"),
            from(STRANGER),
            Hop::KeepAlive,
            &format!("GET / HTTP/1.1\nHost: a{passed}\n{ADDED}{connection}"),
        );
    }
    let head = "GET / HTTP/1.0\nHost: a\nTE: trailers";
    let expected = format!("GET / HTTP/1.1\nHost: a\n{ADDED}\nConnection: close");
    check_request(head, from(STRANGER), Hop::Close, &expected);
}

#[test]
fn a_stranger_speaks_for_nobody() {
    let forged = [
        "X-Forwarded-For: 1.1.1.1",
        "x-forwarded-for: 1.1.1.1\nX-Forwarded-For: 2.2.2.2",
        "X-Real-IP: 1.1.1.1",
        "X-Forwarded-Proto: http\nX-Forwarded-Host: b\nX-Forwarded-Port: 1",
        "Forwarded: for=1.1.1.1",
        "X-Forwarded-Prefix: /x\nX-Forwarded-Ssl: on",
        "X_Forwarded_For: 1.1.1.1\nX-Forwarded_For: 1.1.1.1\nX_Real_IP: 1.1.1.1",
        "X.Real.IP: 1.1.1.1\nX~Forwarded~For: 1.1.1.1\nX-Forwarded!Proto: https",
        "X-Client-Subject: CN=evil\nX'Client`Subject: CN=evil\nContent_Length: 5",
        "Transfer_Encoding: chunked\nx*forwarded|host: evil",
    ];
    for lines in forged {
        check_request(
            &format!("GET / HTTP/1.1\n{lines}\nHost: a\nX-ForwardedFor: y"),
            from(STRANGER),
            Hop::KeepAlive,
            &format!("GET / HTTP/1.1\nHost: a\nX-ForwardedFor: y\n{ADDED}"),
        );
    }
}

#[test]
fn a_trusted_peer_is_believed() {
    let rows = [
        ("", "", "10.0.0.1", "10.0.0.1", "a"),
        (
            "X-Forwarded-For: 1.1.1.1",
            "",
            "1.1.1.1, 10.0.0.1",
            "1.1.1.1",
            "a",
        ),
        (
            "X-Forwarded-For: 9.9.9.9 , 1.1.1.1,\nForwarded: for=x\nx-forwarded-for:\nX-Forwarded-For: 10.2.2.2",
            "\nForwarded: for=x",
            "9.9.9.9, 1.1.1.1, 10.2.2.2, 10.0.0.1",
            "1.1.1.1",
            "a",
        ),
        (
            "X-Real-IP: 8.8.8.8\nX_Real_IP: 9.9.9.9",
            "",
            "8.8.8.8, 10.0.0.1",
            "8.8.8.8",
            "a",
        ),
        (
            "X-Real-IP: 8.8.8.8\nX-Forwarded-For: 1.1.1.1",
            "",
            "1.1.1.1, 10.0.0.1",
            "1.1.1.1",
            "a",
        ),
        (
            "X-Forwarded-Host: b.example, c\nX~Forwarded~For: 1.1.1.1",
            "",
            "10.0.0.1",
            "10.0.0.1",
            "b.example",
        ),
        ("X-Forwarded-Host: b/../c", "", "10.0.0.1", "10.0.0.1", "a"),
        (
            "X-Forwarded-Host: user@b\nX_Forwarded_Prefix: /evil",
            "",
            "10.0.0.1",
            "10.0.0.1",
            "a",
        ),
        (
            "X-Forwarded-Host: b:81\nX-Forwarded-Host: c\nX-Forwarded-Prefix: /x",
            "\nX-Forwarded-Prefix: /x",
            "10.0.0.1",
            "10.0.0.1",
            "b:81",
        ),
        (
            "X-Forwarded-Host:\nX-Forwarded-Proto: ftp\nX-Forwarded-Port: x",
            "",
            "10.0.0.1",
            "10.0.0.1",
            "a",
        ),
        (
            "X-Forwarded-For: [2001:db8::1]:5",
            "",
            "[2001:db8::1]:5, 10.0.0.1",
            "2001:db8::1",
            "a",
        ),
    ];
    for (lines, passed, chain, client, host) in rows {
        let lines = if lines.is_empty() {
            String::new()
        } else {
            format!("\n{lines}")
        };
        check_request(
            &format!("GET / HTTP/1.1\nHost: a{lines}"),
            from(BALANCER),
            Hop::KeepAlive,
            &format!(
                "GET / HTTP/1.1\nHost: a{passed}\nX-Forwarded-For: {chain}\nX-Real-IP: {client}\n\
                 X-Forwarded-Proto: https\nX-Forwarded-Host: {host}\nX-Forwarded-Port: 443"
            ),
        );
    }
}

#[test]
fn what_is_unknown_is_left_out() {
    check_request(
        "GET / HTTP/1.0",
        Speaker {
            peer: PeerAddr::Unix,
            trusted: false,
        },
        Hop::Close,
        "GET / HTTP/1.1\nHost: server:1\nX-Forwarded-Proto: https\nX-Forwarded-Port: 443\nConnection: close",
    );
    check_request(
        "GET http://b:81/ HTTP/1.0\nX-Forwarded-For: 1.1.1.1",
        from("unix"),
        Hop::Close,
        "GET / HTTP/1.1\nHost: b:81\nX-Forwarded-For: 1.1.1.1\nX-Real-IP: 1.1.1.1\n\
         X-Forwarded-Proto: https\nX-Forwarded-Host: b:81\nX-Forwarded-Port: 443\nConnection: close",
    );
}

#[test]
fn an_upgrade_passes_with_what_it_needs() {
    let needs = "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let rows = [
        ("Upgrade:WebSocket ", "Upgrade:WebSocket "),
        ("upgrade: h2c, WebSocket", "Upgrade: websocket"),
        ("Upgrade: h2c\nUpgrade: websocket", "Upgrade: websocket"),
    ];
    for (upgrade, passed) in rows {
        check_request(
            &format!(
                "GET / HTTP/1.1\nHost: a\n{upgrade}\n\
                 Connection: keep-alive, Upgrade, Sec-WebSocket-Key\n{needs}"
            ),
            from(STRANGER),
            Hop::Upgrade,
            &format!("GET / HTTP/1.1\nHost: a\n{passed}\n{needs}\n{ADDED}\nConnection: Upgrade"),
        );
    }
}

#[test]
fn responses_pass_byte_for_byte() {
    use HttpVersion::{Http10, Http11};
    let opening = "HTTP/1.1 101 Switching Protocols\nupgrade:WebSocket\nSec-WebSocket-Accept: x";
    let rows = [
        (
            "HTTP/1.1 200 Fine \u{fc}\nContent-Length: 5\nserver:  x \nX: \u{fc}",
            "",
            Http11,
            Hop::KeepAlive,
            "",
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 5",
            "",
            Http11,
            Hop::Close,
            "\nConnection: close",
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 5",
            "",
            Http10,
            Hop::KeepAlive,
            "\nConnection: keep-alive",
        ),
        (
            "HTTP/1.1 200",
            "",
            Http11,
            Hop::Close,
            "\nConnection: close",
        ),
        (
            "HTTP/1.1 200 OK\nX-Forwarded-For: x\nVia: y",
            "\nConnection: keep-alive, x-a, content-length\nX-A: 1\nKeep-Alive: 5\nProxy-Connection: x\nUpgrade: h2c\nTE: x",
            Http11,
            Hop::KeepAlive,
            "",
        ),
        (
            opening,
            "\nConnection: Upgrade",
            Http11,
            Hop::Upgrade,
            "\nConnection: Upgrade",
        ),
        (
            "HTTP/1.1 426 No\nUpgrade: websocket\nContent-Length: 0",
            "\nConnection: Upgrade",
            Http11,
            Hop::Close,
            "\nConnection: close, Upgrade",
        ),
        (
            opening,
            "\nConnection: Upgrade\nTransfer-Encoding: chunked",
            Http11,
            Hop::Upgrade,
            "\nConnection: Upgrade",
        ),
        (
            "HTTP/1.1 204 No Content\nETag: x",
            "\nContent-Length: 5\nTransfer-Encoding: chunked\nContent-Length: 0",
            Http11,
            Hop::KeepAlive,
            "",
        ),
        (
            "HTTP/1.1 304 Not Modified\nETag: x",
            "\nContent-Length: 5\nTransfer-Encoding: chunked",
            Http11,
            Hop::KeepAlive,
            "",
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 0",
            "\nUpgrade: websocket",
            Http11,
            Hop::KeepAlive,
            "",
        ),
        (
            "HTTP/1.1 103 Early Hints\nLink: </a>",
            "\nConnection: x",
            Http11,
            Hop::Close,
            "",
        ),
    ];
    for (head, dropped, reader, hop, added) in rows {
        let bytes = format!("{head}{dropped}\n\n").replace('\n', "\r\n");
        let Ok(Progress::Complete { value, .. }) = parse_response(bytes.as_bytes(), "GET", &LIMITS)
        else {
            panic!("{head}")
        };
        let mut out = Vec::new();
        let reader = Reader {
            version: reader,
            connection: hop,
            strict_transport: None,
        };
        response_head(&value, reader, &mut out);
        let expected = format!("{head}{added}\n\n").replace('\n', "\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn strict_transport_security_is_said_once() {
    let ours = "Strict-Transport-Security: max-age=60\n";
    let theirs = "strict-transport-security: max-age=0\n";
    let (plain, own) = (
        "Content-Length: 0\n",
        format!("{theirs}Content-Length: 0\n"),
    );
    let rows = [
        ("HTTP/1.1 200 OK\n", plain, ours),
        ("HTTP/1.1 404 No\n", plain, ours),
        ("HTTP/1.1 304 Not Modified\n", plain, ours),
        ("HTTP/1.1 200 OK\n", &own, ""),
        ("HTTP/1.1 103 Early Hints\n", "", ""),
        ("HTTP/1.1 101 Switching Protocols\n", "", ""),
    ];
    for (status_line, lines, added) in rows {
        for nominating in ["", "Connection: strict-transport-security\n"] {
            let head = format!("{status_line}{nominating}{lines}\n").replace('\n', "\r\n");
            let Ok(Progress::Complete { value, .. }) =
                parse_response(head.as_bytes(), "GET", &LIMITS)
            else {
                panic!("{head}")
            };
            let mut out = Vec::new();
            let reader = Reader {
                version: HttpVersion::Http11,
                connection: Hop::Upgrade,
                strict_transport: Some("max-age=60"),
            };
            response_head(&value, reader, &mut out);
            let expected = format!("{status_line}{lines}{added}\n").replace('\n', "\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

/// Whatever a reader makes of odd forms, it gets one form only.
#[test]
fn framing_is_written_anew() {
    let rows = [
        ("Content-Length: 5", "Content-Length: 5"),
        ("content-length:5", "Content-Length: 5"),
        ("CONTENT-LENGTH: \t 005 \t", "Content-Length: 5"),
        ("Content-Length: 000", "Content-Length: 0"),
        (
            "Content-Length: 00009223372036854775807",
            "Content-Length: 9223372036854775807",
        ),
        ("transfer-encoding:chunked", "Transfer-Encoding: chunked"),
        (
            "Transfer-Encoding:\t Chunked ",
            "Transfer-Encoding: chunked",
        ),
        (
            "TRANSFER-ENCODING: ,, CHUNKED,",
            "Transfer-Encoding: chunked",
        ),
    ];
    for (received, sent) in rows {
        check_request(
            &format!("POST / HTTP/1.1\nHost: a\nA: b\n{received}\nC: d"),
            from(STRANGER),
            Hop::KeepAlive,
            &format!("POST / HTTP/1.1\nHost: a\nA: b\n{sent}\nC: d\n{ADDED}"),
        );
        let head = format!("HTTP/1.1 200 OK\nA: b\n{received}\nC: d\n\n").replace('\n', "\r\n");
        for method in ["GET", "HEAD"] {
            let Ok(Progress::Complete { value, .. }) =
                parse_response(head.as_bytes(), method, &LIMITS)
            else {
                panic!("{head}")
            };
            let mut out = Vec::new();
            let reader = Reader {
                version: HttpVersion::Http11,
                connection: Hop::KeepAlive,
                strict_transport: None,
            };
            response_head(&value, reader, &mut out);
            let expected = format!("HTTP/1.1 200 OK\nA: b\n{sent}\nC: d\n\n");
            assert_eq!(
                String::from_utf8(out).unwrap(),
                expected.replace('\n', "\r\n")
            );
        }
    }
}

/// Both sides are told our own version, and what it needs.
#[test]
fn the_version_is_our_own() {
    let requests = [
        ("GET /%2e HTTP/1.0\nHost: a", "GET /%2e HTTP/1.1\nHost: a"),
        // Nothing of the old version is kept: neither what it does not know, nor what means something else in it.
        (
            "POST / HTTP/1.0\nhost:a\nConnection: keep-alive\nKeep-Alive: 5\nExpect: 100-continue\nTE: trailers\nContent-Length: 1",
            "POST / HTTP/1.1\nhost:a\nContent-Length: 1",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 1",
            "POST / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 1",
        ),
    ];
    for (received, sent) in requests {
        for (hop, connection) in [(Hop::KeepAlive, ""), (Hop::Close, "\nConnection: close")] {
            check_request(
                received,
                from(STRANGER),
                hop,
                &format!("{sent}\n{ADDED}{connection}"),
            );
        }
    }
    let responses = [
        (
            "HTTP/1.0 200 OK\nContent-Length: 5",
            "HTTP/1.1 200 OK\nContent-Length: 5",
            "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: keep-alive",
        ),
        (
            "HTTP/1.0 404 \u{fc}\nX: y",
            "HTTP/1.1 404 \u{fc}\nX: y",
            "HTTP/1.1 404 \u{fc}\nX: y\nConnection: keep-alive",
        ),
        (
            "HTTP/1.0 999\nX: y",
            "HTTP/1.1 999\nX: y",
            "HTTP/1.1 999\nX: y\nConnection: keep-alive",
        ),
        (
            "HTTP/1.1 200 OK\nA: b\nTransfer-Encoding: chunked\nTrailer: X",
            "HTTP/1.1 200 OK\nA: b\nTransfer-Encoding: chunked\nTrailer: X",
            "HTTP/1.1 200 OK\nA: b\nTrailer: X\nConnection: keep-alive",
        ),
    ];
    for (received, to_new, to_old) in responses {
        let head = format!("{received}\n\n").replace('\n', "\r\n");
        let Ok(Progress::Complete { value, .. }) = parse_response(head.as_bytes(), "HEAD", &LIMITS)
        else {
            panic!("{head}")
        };
        for (version, sent) in [(HttpVersion::Http11, to_new), (HttpVersion::Http10, to_old)] {
            let mut out = Vec::new();
            let reader = Reader {
                version,
                connection: Hop::KeepAlive,
                strict_transport: None,
            };
            response_head(&value, reader, &mut out);
            let expected = format!("{sent}\n\n").replace('\n', "\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
