//! WebSocket upgrades in http mode: the opening, the bytes around it, refusals.

use std::time::Duration;

use crate::harness::http::{self, values};
use crate::harness::origin::Origin;
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;
use crate::harness::random::Random;
use crate::harness::websocket::{self, ACCEPT, request, switching};

#[test]
fn an_upgrade_opens_a_tunnel() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(request(
        "app.example",
        "/chat?room=1",
        "Origin: http://app.example\r\n",
    ));
    let mut server = origin.accept();
    let head = websocket::accept(&mut server);
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(values(&head, "host"), ["app.example"]);
    assert_eq!(values(&head, "origin"), ["http://app.example"]);
    assert_eq!(values(&head, "sec-websocket-key"), [websocket::KEY]);
    let head = client.read_head();
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert_eq!(values(&head, "sec-websocket-accept"), [ACCEPT]);
    assert!(values(&head, "upgrade")[0].eq_ignore_ascii_case("websocket"));

    let (ping, pong) = (
        websocket::client_text("ping"),
        websocket::server_text("pong"),
    );
    client.send(&ping);
    server.expect(&ping);
    server.send(&pong);
    client.expect(&pong);
    let line = proxy.wait_access("open", |_| true);
    assert_eq!(line["backend"], "app");

    client.finish();
    server.expect_closed();
    drop(server);
    client.expect_closed();
    let line = proxy.wait_cause("close", "client-closed");
    assert_eq!(line["bytes_in"], ping.len());
    assert_eq!(line["bytes_out"], pong.len());
}

#[test]
fn bytes_glued_to_the_request_come_after_it_in_order() {
    let early = Random::new(51).bytes(70_000);
    for len in [1, 100, 5_000, 70_000] {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        let mut bytes = request("x", "/", "").into_bytes();
        bytes.extend(&early[..len]);
        client.send(&bytes);
        let mut server = origin.accept();
        websocket::accept(&mut server);
        client.read_head();
        client.send("later");
        server.expect(&early[..len]);
        server.expect("later");
        client.finish();
        server.expect_closed();
    }
}

#[test]
fn bytes_sent_before_the_answer_come_after_the_request_in_order() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(request("x", "/", ""));
    let mut server = origin.accept();
    let head = server.read_head();
    assert_eq!(values(&head, "sec-websocket-key").len(), 1);
    // The request is with the server, the answer is not out yet.
    let early = Random::new(52).bytes(20_000);
    client.send(&early);
    server.send(switching(""));
    client.read_head();
    client.send("later");
    server.expect(&early);
    server.expect("later");
}

#[test]
fn bytes_glued_to_the_answer_come_after_it_in_order() {
    let early = Random::new(53).bytes(200_000);
    for len in [1, 100, 5_000, 200_000] {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        client.send(request("x", "/", ""));
        let mut server = origin.accept();
        server.read_head();
        let mut bytes = switching("").into_bytes();
        bytes.extend(&early[..len]);
        let mut sender = server.twin();
        let sending = std::thread::spawn(move || sender.send(&bytes));
        client.read_head();
        client.expect(&early[..len]);
        sending.join().unwrap();
        server.send("later");
        client.expect("later");
        drop(server);
        client.expect_closed();
        drop(client);
        let line = proxy.wait_access("close", |_| true);
        assert_eq!(line["bytes_out"], len + 5);
    }
}

#[test]
fn a_server_that_answers_speaks_and_ends_at_once_is_heard() {
    let origin = Origin::answering(format!("{}goodbye", switching("")));
    let proxy = Plan::http(origin.addr).start();
    for _ in 0..20 {
        let mut client = proxy.connect();
        client.send(request("x", "/", ""));
        client.read_head();
        assert_eq!(client.read_to_end(), (b"goodbye".to_vec(), End::Closed));
    }
}

#[test]
fn a_client_that_ends_its_half_with_the_request_is_answered_where_it_may() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .backend_keys("abort_on_close = false")
        .start();
    let mut client = proxy.connect();
    client.send(request("x", "/", "") + "only this");
    client.finish();
    let mut server = origin.accept();
    websocket::accept(&mut server);
    assert_eq!(server.read_to_end(), (b"only this".to_vec(), End::Closed));
    server.send("answer");
    drop(server);
    client.read_head();
    assert_eq!(client.read_to_end(), (b"answer".to_vec(), End::Closed));
}

#[test]
fn an_answer_in_pieces_is_the_same_answer() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    let asked = request("x", "/", "");
    client
        .drip(asked.as_bytes(), Duration::from_micros(200))
        .unwrap();
    let mut server = origin.accept();
    server.read_head();
    server
        .drip(
            (switching("") + "hello").as_bytes(),
            Duration::from_micros(200),
        )
        .unwrap();
    assert_eq!(http::status(&client.read_head()), 101);
    client.expect("hello");
}

#[test]
fn spellings_of_the_upgrade_that_browsers_and_libraries_use() {
    let base = request("x", "/", "");
    let rows = [
        base.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        base.replace("Connection: Upgrade", "connection: upgrade"),
        base.replace(
            "Connection: Upgrade",
            "Connection: foo\r\nConnection: ,UPGRADE",
        ),
        base.replace("Upgrade: websocket", "UPGRADE: WebSocket"),
        base.replace("Sec-WebSocket-Key:", "sec-websocket-key:"),
    ];
    let proxy = Plan::http(websocket::echo_server()).start();
    for asked in rows {
        let mut client = proxy.connect();
        client.send(&asked);
        assert_eq!(http::status(&client.read_head()), 101, "{asked}");
        client.send("ping");
        client.expect("ping");
    }
}

#[test]
fn upgrade_without_its_connection_option_is_no_upgrade() {
    let origin = Origin::answering(http::ok("plain"));
    let proxy = Plan::http(origin.addr).start();
    let asked = request("x", "/", "").replace("Connection: Upgrade\r\n", "");
    assert_eq!(http::exchange(proxy.addr(), asked).text(), "plain");
    assert_eq!(values(&origin.head(), "upgrade"), [""; 0]);
}

#[test]
fn other_upgrades_are_removed_and_the_request_is_served() {
    let origin = Origin::answering(http::ok("plain"));
    let proxy = Plan::http(origin.addr).start();
    for value in ["h2c", "TLS/1.2", "websocket2", "foo, bar"] {
        let asked = http::get(
            "x",
            "/",
            &format!("Upgrade: {value}\r\nConnection: Upgrade\r\n"),
        );
        assert_eq!(
            http::exchange(proxy.addr(), asked).text(),
            "plain",
            "{value}"
        );
        let head = origin.head();
        assert_eq!(values(&head, "upgrade"), [""; 0], "{head}");
        assert!(
            !values(&head, "connection")
                .iter()
                .any(|value| value.contains("pgrade")),
            "{head}"
        );
    }
}

#[test]
fn an_upgrade_that_cannot_be_one_is_served_as_a_request() {
    let origin = Origin::answering(http::ok("plain"));
    let proxy = Plan::http(origin.addr).start();
    let asked = request("x", "/", "X-Stays: 1\r\n");
    let with_body = request("x", "/", "X-Stays: 1\r\nContent-Length: 3\r\n") + "abc";
    let rows = [
        (
            asked.replace("HTTP/1.1", "HTTP/1.0"),
            "proxy_http_version 1.1",
        ),
        (asked.replace("GET", "HEAD"), "method GET"),
        (asked.replace("GET", "POST"), "method GET"),
        (
            asked
                .replace("GET", "POST")
                .replace(websocket::KEY, "no key"),
            "method GET",
        ),
        (with_body, "body"),
    ];
    for (asked, told) in rows {
        let mut client = proxy.connect();
        client.send(&asked);
        let answer = client.read_head();
        assert_eq!(http::status(&answer), 200, "{answer} to {asked}");
        let head = origin.head();
        for name in ["upgrade", "sec-websocket-key", "sec-websocket-version"] {
            assert_eq!(values(&head, name), [""; 0], "{head}");
        }
        let options = values(&head, "connection");
        assert!(options.iter().all(|option| *option == "close"), "{head}");
        assert_eq!(values(&head, "x-stays"), ["1"], "{head}");
        proxy.wait_access("request", |line| {
            let detail = line["detail"].as_str().unwrap_or_default();
            line["status"] == 200 && detail.contains(told)
        });
    }
    // What can be an upgrade is still judged, and the text names the likely culprit.
    let rows = [("Sec-WebSocket-Key", 400), ("Sec-WebSocket-Version", 400)];
    for (name, status) in rows {
        let asked = asked.replace(name, "X-Removed");
        let mut client = proxy.connect();
        client.send(&asked);
        let text = http::expect_own_answer(&mut client, status).text();
        assert!(text.contains("proxy in front"), "{text}");
    }
    let mut client = proxy.connect();
    client.send(asked.replace("Version: 13", "Version: 8"));
    http::expect_own_answer(&mut client, 426);
}

/// With routes for WebSockets alone, a proxy in front that speaks HTTP/1.0 shows as 404. The log says why.
#[test]
fn an_upgrade_that_cannot_be_one_may_have_no_route() {
    let origin = Origin::answering(http::ok("plain"));
    let proxy = Plan::http(origin.addr)
        .routes("[[listener.route]]\nwebsocket = true\nbackend = \"app\"\n")
        .start();
    let asked = request("x", "/", "");
    let with_body = request("x", "/", "Content-Length: 3\r\n") + "abc";
    let plain = asked.replace("Upgrade: websocket\r\n", "");
    for (asked, told) in [
        (
            asked.replace("HTTP/1.1", "HTTP/1.0"),
            "speak HTTP/1.0 (nginx: proxy_http_version 1.1)?",
        ),
        (
            asked.replace("GET", "POST"),
            "without its Upgrade, which needs the method GET",
        ),
        (with_body, "without its Upgrade, which may not have a body"),
        (plain, "no route fits this request"),
    ] {
        let mut client = proxy.connect();
        client.send(&asked);
        let text = http::expect_own_answer(&mut client, 404).text();
        assert_eq!(text, "404 Not Found\nno route fits this request\n");
        proxy.wait_access("refused", |line| {
            line["detail"]
                .as_str()
                .is_some_and(|detail| detail.ends_with(told))
        });
    }
}

/// Answers to an upgrade that open nothing: each is a 502.
fn wrong_answers() -> Vec<(&'static str, String)> {
    let right = switching("");
    vec![
        (
            "another accept",
            right.replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ),
        (
            "accept of another case",
            right.replace(ACCEPT, &ACCEPT.to_lowercase()),
        ),
        (
            "no accept",
            right.replace(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n"), ""),
        ),
        (
            "two accepts",
            switching(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n")),
        ),
        ("no Upgrade", right.replace("Upgrade: websocket\r\n", "")),
        (
            "another Upgrade",
            right.replace("Upgrade: websocket", "Upgrade: h2c"),
        ),
        ("HTTP/1.0", right.replace("HTTP/1.1", "HTTP/1.0")),
        (
            "no Connection",
            right.replace("Connection: Upgrade\r\n", ""),
        ),
    ]
}

#[test]
fn a_101_that_proves_nothing_is_a_502() {
    for (what, answer) in wrong_answers() {
        let origin = Origin::serve(move |mut peer| {
            peer.read_head();
            peer.send(&answer);
            peer.read_to_end();
        });
        let proxy = Plan::http(origin).start();
        let mut client = proxy.connect();
        client.send(request("x", "/", ""));
        let answer = http::expect_own_answer(&mut client, 502);
        assert!(!answer.head.contains("Sec-WebSocket-Accept"), "{what}");
        proxy.wait_cause("refused", "bad-response");
    }
}

/// The bytes behind a 101 are the tunnel's, whatever its fields say (RFC 9112 section 6.3); aiohttp 3.5.4
/// sends the second of these.
#[test]
fn a_101_that_announces_a_body_opens_a_tunnel_without_the_announcement() {
    for field in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        client.send(request("x", "/", ""));
        let mut server = origin.accept();
        server.read_head();
        server.send(switching(&format!("{field}\r\n")) + "5\r\nearly");
        let head = client.read_head();
        assert_eq!(http::status(&head), 101, "{field}: {head}");
        for name in ["content-length", "transfer-encoding"] {
            assert_eq!(values(&head, name), [""; 0], "{field}: {head}");
        }
        client.expect("5\r\nearly");
        client.send("0123456");
        server.expect("0123456");
    }
}

#[test]
fn an_interim_answer_may_come_before_the_101() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(request("x", "/", ""));
    let mut server = origin.accept();
    server.read_head();
    server.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    assert_eq!(http::status(&client.read_head()), 103);
    server.send(switching("") + "hello");
    assert_eq!(http::status(&client.read_head()), 101);
    client.expect("hello");
    client.send("ping");
    server.expect("ping");
}

#[test]
fn a_refusal_of_the_server_is_passed_on_as_a_normal_response() {
    let rows = [
        "HTTP/1.1 403 Forbidden\r\nX-Why: no cookie\r\nContent-Length: 9\r\n\r\ngo away\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n",
    ];
    for answer in rows {
        let origin = Origin::answering(answer);
        let proxy = Plan::http(origin.addr).start();
        let mut client = proxy.connect();
        client.send(request("x", "/", "Connection: close\r\n"));
        let (bytes, _) = client.read_to_end();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        for line in head.split("\r\n") {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
        let line = proxy.wait_access("request", |_| true);
        assert_eq!(line["cause"], "served");
        assert_eq!(
            line["status"].as_u64(),
            Some(u64::from(http::status(answer)))
        );
        assert!(
            proxy
                .access_lines()
                .iter()
                .all(|line| line["event"] != "open")
        );
    }
}

#[test]
fn resets_and_ends_pass_through_an_upgraded_tunnel() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let join = || {
        let mut client = proxy.connect();
        client.send(request("x", "/", ""));
        let mut server = origin.accept();
        websocket::accept(&mut server);
        client.read_head();
        (client, server)
    };
    let (client, mut server) = join();
    client.reset();
    assert_eq!(server.read_to_end(), (Vec::new(), End::Reset));
    proxy.wait_cause("close", "client-reset");

    let (mut client, server) = join();
    server.reset();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    proxy.wait_cause("close", "server-reset");

    let (mut client, mut server) = join();
    server.finish();
    client.expect_closed();
    client.send("still");
    server.expect("still");
    drop(client);
    server.expect_closed();
    drop(server);
    proxy.wait_cause("close", "server-closed");
}

#[test]
fn an_upgraded_tunnel_ends_after_its_silence_and_not_after_the_response_time() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_timeouts("request_header = \"1s\"\nkeep_alive = \"1s\"")
        .backend_timeouts("response = \"1s\"\nconnect = \"1s\"\ntunnel_idle = \"3s\"")
        .start();
    let mut client = proxy.connect();
    client.send(request("x", "/", ""));
    let mut server = origin.accept();
    websocket::accept(&mut server);
    client.read_head();
    client.expect_silence(Duration::from_millis(1500));
    client.send("alive");
    server.expect("alive");
    client.expect_ended();
    server.expect_ended();
    proxy.wait_cause("close", "tunnel-idle");
}

#[test]
fn a_client_that_leaves_before_the_answer_frees_the_server() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let before = proxy.settled_descriptors();
    let mut client = proxy.connect();
    client.send(request("x", "/", ""));
    let mut server = origin.accept();
    server.read_head();
    client.reset();
    server.expect_ended();
    drop(server);
    proxy.wait_descriptors(before);
    proxy.wait_access("refused", |line| line["cause"] == "client-reset");
}

#[test]
fn an_independent_library_agrees_on_both_sides() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let url = format!("ws://{}/chat", proxy.addr());
    let server_addr = origin.addr();
    drop(origin);
    let listener = std::net::TcpListener::bind(server_addr).unwrap();
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_close() {
                break;
            }
            socket.send(message).unwrap();
        }
        let _ = socket.flush();
    });
    let stream = std::net::TcpStream::connect(proxy.addr()).unwrap();
    let (mut socket, _) = tungstenite::client(&url, stream).unwrap();
    for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let message = tungstenite::Message::binary(Random::new(54).bytes(len));
        socket.send(message.clone()).unwrap();
        assert!(socket.read().unwrap() == message, "{len} bytes");
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    serving.join().unwrap();
}

#[test]
fn many_upgrades_on_fresh_connections() {
    let proxy = Plan::http(websocket::echo_server()).start();
    for round in 0..200_u8 {
        let mut client: Peer = websocket::open(proxy.addr());
        client.send([round; 3]);
        client.expect([round; 3]);
    }
}
