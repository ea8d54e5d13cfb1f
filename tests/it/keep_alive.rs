//! Many requests on one connection: their order, their servers, and where each message ends.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::eventually;
use crate::harness::http::{self, Answer, exchange_on, get, ok, read_answer, values};
use crate::harness::origin::{Origin, echo};
use crate::harness::peer::{End, Peer};
use crate::harness::plan::{Plan, backend, responding};
use crate::harness::process::Proxy;
use crate::harness::websocket;

/// Long enough for what must not come to have come.
const MOMENT: Duration = Duration::from_millis(150);

fn post(target: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Answers every request with its method, target and body, and the number of its connection's
/// requests so far.
fn telling(mut peer: Peer) {
    let mut count = 0;
    while let Some(head) = peer.try_read_head() {
        count += 1;
        let len = values(&head, "content-length")
            .first()
            .map_or(0, |len| len.parse().unwrap());
        let body = String::from_utf8(peer.read(len)).unwrap();
        let line = head.split(" HTTP/").next().unwrap();
        if peer
            .try_send(ok(&format!("{count} {line} {body}")))
            .is_err()
        {
            return;
        }
    }
}

/// Takes the next request of a server's connection and answers it.
fn answer(server: &mut Peer, bytes: impl AsRef<[u8]>) -> String {
    let head = server.read_head();
    server.send(bytes);
    head
}

fn text(client: &mut Peer, request: impl AsRef<[u8]>) -> String {
    exchange_on(client, request).text()
}

fn says_close(answer: &Answer) -> bool {
    answer.values("connection").contains(&"close")
}

#[test]
fn requests_sent_ahead_are_answered_in_order_each_on_its_own_route() {
    let (first, second) = (Origin::serve(telling), Origin::serve(telling));
    let routes = "[[listener.route]]\npath = \"/second\"\nbackend = \"second\"\n".to_owned()
        + &responding("path = \"/own\"", "own")
        + "[[listener.route]]\nhost = \"away\"\nredirect = { host = \"there\" }\n"
        + "[[listener.route]]\npath = \"/none\"\nhost = \"nobody\"\nbackend = \"app\"\n"
        + "[[listener.route]]\nhost = \"x\"\nbackend = \"app\"\n";
    let plan = Plan::http(first)
        .routes(&routes)
        .more(&backend("second", second));
    let requests = [
        (get("x", "/1", ""), 200, "1 GET /1 "),
        (
            post("/2", "GET /evil HTTP/1.1\r\n\r\n"),
            200,
            "2 POST /2 GET /evil HTTP/1.1\r\n\r\n",
        ),
        (get("x", "/second/3", ""), 200, "1 GET /second/3 "),
        (get("x", "/own", ""), 200, "own"),
        (post("/own", "unread"), 200, "own"),
        (get("away", "/6", ""), 301, "http://there/6\n"),
        (
            get("nobody", "/7", ""),
            404,
            "404 Not Found\nno route fits this request\n",
        ),
        (post("/second/8", ""), 200, "2 POST /second/8 "),
        (get("x", "/9", "Connection: close\r\n"), 200, "3 GET /9 "),
    ];
    let stream: String = requests
        .iter()
        .map(|(request, ..)| request.as_str())
        .collect();
    // Whole, and in pieces of every kind of length.
    for piece_len in [stream.len(), 1, 7, 100] {
        let proxy = plan.start();
        let mut client = proxy.connect();
        let mut sender = client.twin();
        let bytes = stream.clone().into_bytes();
        let sending = thread::spawn(move || {
            for piece in bytes.chunks(piece_len) {
                sender.send(piece);
            }
        });
        for (request, status, body) in &requests {
            let answer = read_answer(&mut client);
            assert_eq!(answer.status, *status, "{request}");
            assert_eq!(answer.text(), *body, "{request}");
        }
        client.expect_closed();
        sending.join().unwrap();
        proxy.wait_access("request", |line| line["target"] == "/9");
        let lines = proxy.access_lines();
        let targets: Vec<&str> = lines
            .iter()
            .filter_map(|line| line["target"].as_str())
            .collect();
        let asked = [
            "/1",
            "/2",
            "/second/3",
            "/own",
            "/own",
            "/6",
            "/7",
            "/second/8",
            "/9",
        ];
        assert_eq!(targets, asked);
    }
}

#[test]
fn nothing_is_served_behind_a_close() {
    let closing = |line: &str| get("x", "/2", line);
    let rows = [
        closing("Connection: close\r\n"),
        closing("Connection: x, Close\r\n"),
        closing("").replace("HTTP/1.1", "HTTP/1.0"),
        // Routed to nobody, it closes all the same.
        get("nobody", "/2", "Connection: close\r\n"),
    ];
    for second in rows {
        let routes = "[[listener.route]]\nhost = \"x\"\nbackend = \"app\"\n";
        let proxy = Plan::http(Origin::serve(telling)).routes(routes).start();
        let mut client = proxy.connect();
        client.send(get("x", "/1", "") + &second + &get("x", "/3", ""));
        assert_eq!(read_answer(&mut client).text(), "1 GET /1 ");
        read_answer(&mut client);
        client.expect_closed();
        proxy.wait_access("request", |line| line["target"] == "/1");
        let lines = proxy.access_lines();
        assert!(lines.iter().all(|line| line["target"] != "/3"), "{second}");
    }
}

#[test]
fn a_line_tells_of_its_request_alone() {
    let proxy = Plan::http(Origin::serve(telling)).start();
    let mut client = proxy.connect();
    text(&mut client, get("x", "/first", ""));
    thread::sleep(Duration::from_millis(600));
    text(&mut client, post("/second", "four"));
    let line = proxy.wait_access("request", |line| line["target"] == "/second");
    assert!(line["duration_ms"].as_u64().unwrap() < 500, "{line}");
    assert_eq!(line["bytes_in"], 4);
    let first = proxy.wait_access("request", |line| line["target"] == "/first");
    assert!(
        first["started"].as_str() < line["started"].as_str(),
        "{first} {line}"
    );
}

#[test]
fn a_server_connection_is_used_again_by_the_same_client_only() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(get("x", "/1", ""));
    let mut server = origin.accept();
    let head = answer(&mut server, ok("one"));
    assert!(values(&head, "connection").is_empty(), "{head}");
    assert_eq!(read_answer(&mut client).text(), "one");

    let mut other = proxy.connect();
    other.send(get("x", "/other", ""));
    let mut others = origin.accept();
    answer(&mut others, ok("other"));
    assert_eq!(read_answer(&mut other).text(), "other");

    // Answers without a body, and one whose end a trailer makes.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
    client.send("HEAD /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    answer(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(http::status(&client.read_head()), 200);
    for (bytes, body) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (chunked, "3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
    ] {
        client.send(get("x", "/3", ""));
        answer(&mut server, bytes);
        client.read_head();
        client.expect(body);
    }
    assert_eq!(text_over(&mut client, &mut server, "last"), "last");
    origin.expect_untouched();

    // The server's connection ends with the client's.
    drop(client);
    server.expect_closed();
}

fn text_over(client: &mut Peer, server: &mut Peer, body: &str) -> String {
    client.send(get("x", "/", ""));
    answer(server, ok(body));
    read_answer(client).text()
}

#[test]
fn without_keep_alive_a_server_gets_one_request_per_connection() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .backend_keys("keep_alive = false")
        .start();
    let mut client = proxy.connect();
    for body in ["one", "two"] {
        client.send(get("x", "/", ""));
        let mut server = origin.accept();
        let head = answer(&mut server, ok(body));
        assert_eq!(values(&head, "connection"), ["close"], "{head}");
        let answer = read_answer(&mut client);
        assert_eq!(answer.text(), body);
        assert!(answer.values("connection").is_empty(), "{}", answer.head);
        server.expect_closed();
    }
}

#[test]
fn the_balancing_decides_for_every_request() {
    let (a, b) = (Origin::serve(telling), Origin::serve(telling));
    let proxy = Plan::http(a)
        .backend_keys("balance = \"round_robin\"")
        .server_keys(&format!("[[backend.server]]\naddress = \"{b}\""))
        .start();
    let mut client = proxy.connect();
    let answers: Vec<String> = (0..6)
        .map(|_| text(&mut client, get("x", "/", "")))
        .collect();
    // Two servers in turn, each on the one connection that is kept to it.
    let expected = [
        "1 GET / ", "1 GET / ", "2 GET / ", "2 GET / ", "3 GET / ", "3 GET / ",
    ];
    assert_eq!(answers, expected);
    let lines = proxy.access_lines();
    let servers: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["server"].as_str())
        .collect();
    assert!(
        servers.windows(2).all(|pair| pair[0] != pair[1]),
        "{servers:?}"
    );
}

#[test]
fn a_server_that_was_told_of_one_client_is_not_asked_for_another() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys("trusted_proxies = [\"127.0.0.0/8\"]")
        .server_keys("send_proxy = \"v1\"")
        .start();
    let mut client = proxy.connect();
    let from = |ip: &str| get("x", "/", &format!("X-Forwarded-For: {ip}\r\n"));
    let mut servers = Vec::new();
    for ip in ["203.0.113.1", "203.0.113.2"] {
        client.send(from(ip));
        let mut server = origin.accept();
        let header = String::from_utf8(server.read_until(b"\r\n")).unwrap();
        assert!(header.starts_with(&format!("PROXY TCP4 {ip} ")), "{header}");
        answer(&mut server, ok(ip));
        assert_eq!(read_answer(&mut client).text(), ip);
        servers.push((ip, server));
    }
    for (ip, server) in &mut servers {
        client.send(from(ip));
        let head = answer(server, ok("again"));
        assert_eq!(values(&head, "x-real-ip"), [*ip]);
        assert_eq!(read_answer(&mut client).text(), "again");
    }
    origin.expect_untouched();
}

#[test]
fn a_kept_connection_that_ended_is_not_used() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    for body in ["one", "two", "three"] {
        // Nothing is lost with the old connection, so any request may go over a new one.
        client.send(post("/", body));
        let mut server = origin.accept();
        answer(&mut server, ok(body));
        server.expect(body);
        assert_eq!(read_answer(&mut client).text(), body);
        drop(server);
    }
}

/// Lets a kept connection die with the request on it, after `said`; returns the client and the
/// server's listener after the request was read.
fn die_on(request: &str, said: &'static str) -> (Proxy, Peer, Origin) {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(get("x", "/first", ""));
    let mut server = origin.accept();
    answer(&mut server, ok("first"));
    assert_eq!(read_answer(&mut client).text(), "first");
    client.send(request);
    answer(&mut server, said);
    drop(server);
    (proxy, client, origin)
}

#[test]
fn a_harmless_request_is_sent_again_when_a_kept_connection_dies() {
    for method in ["GET", "OPTIONS", "PUT", "DELETE"] {
        let request = get("x", "/again", "").replace("GET", method);
        let (_proxy, mut client, origin) = die_on(&request, "");
        let mut server = origin.accept();
        let head = answer(&mut server, ok("again"));
        assert!(head.starts_with(&format!("{method} /again ")), "{head}");
        assert_eq!(read_answer(&mut client).text(), "again");
        // The new one is kept as well.
        assert_eq!(text_over(&mut client, &mut server, "more"), "more");
    }
}

#[test]
fn an_upgrade_is_sent_again_when_a_kept_connection_dies() {
    let (_proxy, mut client, origin) = die_on(&websocket::request("x", "/", ""), "");
    let mut server = origin.accept();
    websocket::accept(&mut server);
    assert_eq!(http::status(&client.read_head()), 101);
    server.send("opaque");
    client.expect("opaque");
}

#[test]
fn a_request_is_sent_again_only_once() {
    let (proxy, mut client, origin) = die_on(&get("x", "/again", ""), "");
    answer(&mut origin.accept(), "");
    assert_eq!(read_answer(&mut client).status, 502);
    proxy.wait_cause("refused", "response-incomplete");
    assert!(origin.accept_within(MOMENT).is_none(), "a third time");
}

#[test]
fn a_request_that_may_have_done_something_is_not_sent_again() {
    let rows = [
        (post("/", ""), ""),
        (get("x", "/", "").replace("GET", "PATCH"), ""),
        (post("/", "").replace("POST", "post"), ""),
        // The server has begun to answer.
        (get("x", "/", ""), "H"),
        (get("x", "/", ""), "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ];
    for (request, said) in rows {
        let (_proxy, mut client, origin) = die_on(&request, said);
        let mut answer = read_head_and_body(&mut client);
        if answer.0 == 103 {
            answer = read_head_and_body(&mut client);
        }
        assert_eq!(answer.0, 502, "{request}");
        assert!(origin.accept_within(MOMENT).is_none(), "again: {request}");
    }
    // A body, which is gone.
    let request = post("/", "body").replace("POST", "PUT");
    let (_proxy, mut client, origin) = die_on(&request, "");
    assert_eq!(read_answer(&mut client).status, 502);
    assert!(origin.accept_within(MOMENT).is_none(), "again");
}

fn read_head_and_body(client: &mut Peer) -> (u16, Vec<u8>) {
    let answer = read_answer(client);
    (answer.status, answer.body)
}

#[test]
fn no_answer_holds_a_byte_of_an_earlier_one() {
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    // An answer, and the method of the request it answers.
    let rows = [
        (ok("right") + smuggled, "GET"),
        (ok("right") + "\r\n", "GET"),
        (ok("right") + "x", "GET"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n".to_owned()
                + smuggled,
            "GET",
        ),
        (
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned() + smuggled,
            "GET",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned() + smuggled,
            "GET",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong".to_owned(),
            "HEAD",
        ),
        (
            ok("right").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
            "GET",
        ),
        (ok("right").replace("HTTP/1.1", "HTTP/1.0"), "GET"),
        // Refused: two lengths, both framings, a 101 nobody asked for, a line that is none.
        (ok("right").replace("OK", "OK\r\nContent-Length: 60"), "GET"),
        (
            ok("right").replace("OK", "OK\r\nTransfer-Encoding: chunked"),
            "GET",
        ),
        (websocket::switching("") + smuggled, "GET"),
        ("nonsense\r\n\r\n".to_owned() + smuggled, "GET"),
        (
            "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc".to_owned() + smuggled,
            "GET",
        ),
        // Header injection that a server let through: a head, as far as anybody can see.
        (
            "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned() + smuggled,
            "GET",
        ),
    ];
    for (bytes, method) in rows {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        client.send(get("x", "/first", "").replace("GET", method));
        let mut server = origin.accept();
        answer(&mut server, &bytes);
        let head = client.read_head();
        let len = values(&head, "content-length");
        if method == "GET" && ![204, 304].contains(&http::status(&head)) {
            match len.first() {
                Some(len) => drop(client.read(len.parse().unwrap())),
                None => client.expect("1\r\nx\r\n0\r\n\r\n"),
            }
        }
        client.send(get("x", "/second", ""));
        // Not on the connection that said too much; the rest of it is read by nobody.
        let mut fresh = origin.accept();
        answer(&mut fresh, ok("second"));
        assert_eq!(read_answer(&mut client).text(), "second", "after {bytes}");
        let (rest, _) = server.read_to_end();
        assert!(rest.is_empty(), "after {bytes}");
    }
}

#[test]
fn what_a_server_says_unasked_ends_its_connection() {
    for unasked in [
        ok("unasked"),
        "HTTP/1.1 408 Too late\r\n\r\n".to_owned(),
        "\n".to_owned(),
    ] {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        client.send(get("x", "/", ""));
        let mut server = origin.accept();
        answer(&mut server, ok("one"));
        assert_eq!(read_answer(&mut client).text(), "one");
        server.send(unasked);
        // It ends while the client is silent.
        server.expect_ended();
        client.send(get("x", "/", ""));
        answer(&mut origin.accept(), ok("two"));
        assert_eq!(read_answer(&mut client).text(), "two");
    }
}

#[test]
fn an_answer_that_falls_short_ends_the_connection_of_the_client() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort",
    ] {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        client.send(get("x", "/", "") + &get("x", "/second", ""));
        let mut server = origin.accept();
        answer(&mut server, bytes);
        drop(server);
        client.read_head();
        let (body, _) = client.read_to_end();
        assert!(
            body.ends_with(b"short"),
            "{}",
            String::from_utf8_lossy(&body)
        );
        assert!(origin.accept_within(MOMENT).is_none(), "the second one");
        proxy.wait_cause("request", "response-incomplete");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_the_last_one() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    let proxy = Plan::http(origin.addr).start();
    let mut client = proxy.connect();
    client.send(get("x", "/", "") + &get("x", "/second", ""));
    let answer = read_answer(&mut client);
    assert!(says_close(&answer), "{}", answer.head);
    assert_eq!(answer.text(), "until the end");
    origin.head();
    origin.expect_untouched();
}

#[test]
fn http_1_0_ends_after_its_answer_unless_it_asks_for_more() {
    let origin = Origin::serve(telling);
    let proxy = Plan::http(origin).start();
    let mut client = proxy.connect();
    client.send("GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n");
    assert_eq!(read_answer(&mut client).text(), "1 GET /1 ");
    client.expect_closed();

    let mut client = proxy.connect();
    for _ in 0..2 {
        let request = "GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
        let answer = exchange_on(&mut client, request);
        assert_eq!(
            answer.values("connection"),
            ["keep-alive"],
            "{}",
            answer.head
        );
        // A server connection of its own each time.
        assert_eq!(answer.text(), "1 GET /1 ");
    }
    assert_eq!(text(&mut client, get("x", "/3", "")), "1 GET /3 ");
    assert_eq!(text(&mut client, "GET /4 HTTP/1.0\r\n\r\n"), "2 GET /4 ");
    client.expect_closed();
}

#[test]
fn an_upgrade_may_follow_requests() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(get("x", "/1", ""));
    let mut server = origin.accept();
    answer(&mut server, ok("one"));
    assert_eq!(read_answer(&mut client).text(), "one");
    // All at once: a request, the upgrade, and bytes of the tunnel.
    client.send(post("/2", "body") + &websocket::request("x", "/ws", "") + "early");
    answer(&mut server, ok("two"));
    server.expect("body");
    let head = server.read_head();
    assert!(head.starts_with("GET /ws "), "{head}");
    server.send(websocket::switching("") + "hello");
    assert_eq!(read_answer(&mut client).text(), "two");
    assert_eq!(http::status(&client.read_head()), 101);
    client.expect("hello");
    server.expect("early");
    let echoing = thread::spawn(move || echo(server));
    client.send("and more");
    client.expect("and more");
    client.finish();
    client.expect_closed();
    echoing.join().unwrap();
    origin.expect_untouched();
    let line = proxy.wait_access("close", |_| true);
    assert_eq!(line["target"], serde_json::Value::Null);
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&13.into(), &13.into()),
        "{line}"
    );
}

#[test]
fn an_idle_connection_ends_without_a_word() {
    let proxy = Plan::http(Origin::serve(telling))
        .listener_timeouts("keep_alive = \"2s\"\nrequest_header = \"20s\"")
        .start();
    let mut client = proxy.connect();
    for _ in 0..3 {
        text(&mut client, get("x", "/", ""));
        thread::sleep(Duration::from_millis(100));
    }
    let started = Instant::now();
    client.expect_closed();
    assert!(started.elapsed() < Duration::from_secs(10));
    // Nor does a client's own end leave a line.
    let mut other = proxy.connect();
    text(&mut other, get("x", "/last", ""));
    drop(other);
    proxy.wait_access("request", |line| line["target"] == "/last");
    thread::sleep(MOMENT);
    let lines = proxy.access_lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines.iter().all(|line| line["event"] == "request"),
        "{lines:?}"
    );
}

#[test]
fn the_end_of_an_idle_connection_is_counted_under_a_cause_of_its_own() {
    let proxy = Plan::http(Origin::serve(telling))
        .listener_timeouts("keep_alive = \"300ms\"")
        .more("[log]\nlevel = \"debug\"\n")
        .start();
    let mut client = proxy.connect();
    text(&mut client, get("x", "/", ""));
    client.expect_closed();
    eventually("a line of diagnostics", || {
        proxy.log().contains("keep-alive-timeout")
    });
}

#[test]
fn dripping_does_not_extend_the_time_of_a_later_request() {
    let proxy = Plan::http(Origin::serve(telling))
        .listener_timeouts("keep_alive = \"20s\"\nrequest_header = \"400ms\"")
        .start();
    let mut client = proxy.connect();
    text(&mut client, get("x", "/", ""));
    // Its time begins with its first byte.
    thread::sleep(Duration::from_millis(600));
    let mut sender = client.twin();
    let started = Instant::now();
    let dripping = thread::spawn(move || {
        let _ = sender.drip(
            get("x", "/", "X: y\r\n").repeat(9).as_bytes(),
            Duration::from_millis(40),
        );
    });
    let answer = read_answer(&mut client);
    assert_eq!(answer.status, 408);
    assert!(says_close(&answer));
    let lasted = started.elapsed();
    assert!(
        lasted > Duration::from_millis(350) && lasted < Duration::from_secs(3),
        "{lasted:?}"
    );
    drop(client);
    dripping.join().unwrap();
}

#[test]
fn a_request_that_is_here_at_a_stop_is_still_served() {
    let origin = Origin::bind();
    let mut proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(get("x", "/first", ""));
    let mut server = origin.accept();
    assert!(server.read_head().starts_with("GET /first "));
    // The beginning of an answer promises another request, which comes at once.
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfir");
    assert!(client.read_head().starts_with("HTTP/1.1 200"));
    client.send(get("x", "/second", ""));
    proxy.signal(Signal::SIGTERM);
    eventually("it drains", || proxy.log().contains("draining"));
    thread::sleep(MOMENT);
    server.send("st!");
    client.expect("first!");
    // Over the same connection to the server or another.
    let mut second = if server.has_received() {
        server
    } else {
        match origin.accept_within(Duration::from_secs(2)) {
            Some(another) => another,
            None => server,
        }
    };
    assert!(second.read_head().starts_with("GET /second "));
    second.send(ok("second!"));
    let answer = String::from_utf8(client.read_to_end().0).unwrap();
    assert!(answer.ends_with("second!"), "{answer}");
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_stop_ends_idle_connections_and_lets_requests_finish() {
    let origin = Origin::bind();
    let mut proxy = Plan::http(origin.addr()).start();
    let mut idle = proxy.connect();
    idle.send(get("x", "/", ""));
    let mut server = origin.accept();
    answer(&mut server, ok("one"));
    read_answer(&mut idle);
    let mut busy = proxy.connect();
    busy.send(get("x", "/", "") + &get("x", "/never", ""));
    let mut busy_server = origin.accept();
    busy_server.read_head();
    proxy.signal(Signal::SIGTERM);
    idle.expect_closed();
    server.expect_closed();
    busy_server.send(ok("the last"));
    let answer = read_answer(&mut busy);
    assert_eq!(answer.text(), "the last");
    assert!(says_close(&answer), "{}", answer.head);
    busy.expect_ended();
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_body_nobody_reads_does_not_become_a_request() {
    let plan = Plan::routes_only(&responding("", "own"));
    let proxy = plan.start();
    let smuggled = get("x", "/smuggled", "");
    // Short enough to be read over: the connection goes on behind it, however late it comes.
    let mut client = proxy.connect();
    let request = post("/", &smuggled);
    let (head, body) = request.split_at(request.find("\r\n\r\n").unwrap() + 4);
    assert_eq!(text(&mut client, head), "own");
    client.send(body.to_owned() + &get("x", "/next", ""));
    assert_eq!(read_answer(&mut client).text(), "own");
    client.expect_silence(MOMENT);
    // Without a known end, or too long: it does not.
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let long = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n".to_owned();
    let expecting =
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    for head in [chunked + "5", long, expecting.to_owned()] {
        let mut client = proxy.connect();
        client.send(head.clone() + &smuggled);
        let answer = read_answer(&mut client);
        assert_eq!(answer.text(), "own");
        assert!(says_close(&answer), "{head}");
        client.expect_ended();
    }
    let lines = proxy.access_lines();
    assert!(
        lines.iter().all(|line| line["target"] != "/smuggled"),
        "{lines:?}"
    );
}

#[test]
fn an_answer_may_come_while_the_body_flows() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf ");
    let mut server = origin.accept();
    answer(&mut server, "");
    server.expect("half ");
    server.send(ok("enough"));
    assert_eq!(read_answer(&mut client).text(), "enough");
    client.send("other".to_owned() + &get("x", "/next", ""));
    // The server did not get the whole body, so nobody may ask it again on that connection.
    let mut fresh = origin.accept();
    let head = answer(&mut fresh, ok("next"));
    assert!(head.starts_with("GET /next "), "{head}");
    assert_eq!(read_answer(&mut client).text(), "next");
}

#[test]
fn a_client_that_expects_100_gets_it_from_the_server() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(head);
    let mut server = origin.accept();
    let received = answer(&mut server, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(values(&received, "expect"), ["100-continue"]);
    assert_eq!(http::status(&client.read_head()), 100);
    client.send("body");
    server.expect("body");
    server.send(ok("done"));
    let answered = read_answer(&mut client);
    assert_eq!(answered.text(), "done");
    assert!(!says_close(&answered), "{}", answered.head);
    // The second time the server refuses at once; what comes next on the connection could be the
    // body or a request.
    client.send(head);
    answer(
        &mut server,
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    );
    let answered = read_answer(&mut client);
    assert_eq!((answered.status, answered.text().as_str()), (403, "no"));
    assert!(says_close(&answered), "{}", answered.head);
    client.expect_ended();
    // The third time the server says nothing, and the client sends after a while.
    let mut client = proxy.connect();
    client.send(head);
    let mut server = origin.accept();
    server.read_head();
    client.expect_silence(MOMENT);
    client.send("body");
    server.expect("body");
    server.send(ok("done"));
    assert_eq!(read_answer(&mut client).text(), "done");
    assert_eq!(text_over(&mut client, &mut server, "next"), "next");
}

#[test]
fn a_body_that_breaks_a_rule_ends_the_connection() {
    let plan = |origin| Plan::http(origin).limits("max_body = \"1KiB\"");
    let proxy = plan(Origin::serve(telling)).start();
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let smuggled = get("x", "/smuggled", "");
    let rows = [
        ("0x1\r\n", 400, "bad-request"),
        ("1\r\nabc\r\n", 400, "bad-request"),
        ("0\r\nContent-Length: 1\r\n\r\n", 400, "bad-request"),
        ("500\r\n", 413, "body-too-large"),
    ];
    for (body, status, cause) in rows {
        let body = match status {
            413 => body.to_owned() + &"x".repeat(0x401),
            _ => body.to_owned(),
        };
        let origin = Origin::bind();
        let proxy = plan(origin.addr()).start();
        let mut client = proxy.connect();
        client.send(chunked.to_owned() + &body + &smuggled);
        let answer = read_answer(&mut client);
        assert_eq!(answer.status, status, "{body}");
        assert!(says_close(&answer), "{body}");
        client.expect_ended();
        proxy.wait_cause("refused", cause);
    }
    // The end of a body that is too long may be known all the same.
    let mut client = proxy.connect();
    let whole = "401\r\n".to_owned() + &"x".repeat(0x401) + "\r\n0\r\n\r\n";
    client.send(chunked.to_owned() + &whole + &get("x", "/next", ""));
    assert_eq!(read_answer(&mut client).status, 413);
    assert_eq!(read_answer(&mut client).text(), "1 GET /next ");
    // Announced, it is known before the server is asked, and the body is read over.
    let mut client = proxy.connect();
    let answer = exchange_on(&mut client, post("/", &"x".repeat(1025)));
    assert_eq!(answer.status, 413);
    assert_eq!(text(&mut client, post("/", "short")), "1 POST / short");
}

#[test]
fn silence_in_a_body_has_a_cause_for_either_side() {
    let silent = |said: &'static str| {
        let addr: SocketAddr = Origin::serve(move |mut peer| {
            peer.read_head();
            peer.send(said);
            peer.drain();
        });
        Plan::http(addr)
            .backend_timeouts("response = \"300ms\"")
            .start()
    };
    let proxy = silent("");
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf ");
    let answer = read_answer(&mut client);
    assert_eq!(answer.status, 408);
    assert!(says_close(&answer));
    client.expect_ended();
    proxy.wait_cause("refused", "body-timeout");

    let proxy = silent("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    client.read_head();
    assert_eq!(client.read_to_end(), (b"half ".to_vec(), End::Reset));
    proxy.wait_cause("request", "response-timeout");
}
