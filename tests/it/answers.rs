//! The proxy's own answers: each status, its framing and its cause.

use std::time::{Duration, Instant};

use crate::harness::http::{self, expect_own_answer, get};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::websocket;
use crate::harness::{eventually, free_addr};

/// Sends `request` and demands an own answer with `status`, and a line with `cause`.
fn check(proxy: &Proxy, request: impl AsRef<[u8]>, status: u16, cause: &str) -> http::Answer {
    let mut client = proxy.connect();
    // The answer may come before the whole request is taken.
    let _ = client.try_send(request);
    let answer = expect_own_answer(&mut client, status);
    let line = proxy.wait_access("refused", |line| line["cause"] == cause);
    assert_eq!(line["listener"], "edge");
    answer
}

#[test]
fn a_malformed_request_is_a_400() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let answer = check(&proxy, "nonsense\r\n\r\n", 400, "bad-request");
    assert_eq!(answer.values("connection"), ["close"]);
    origin.expect_untouched();
}

#[test]
fn no_route_is_a_404() {
    let proxy = Plan::routes_only(
        "[[listener.route]]\nhost = \"a\"\nrespond = { status = 200, body = \"a\" }\n",
    )
    .start();
    check(&proxy, get("b", "/", ""), 404, "no-route");
    check(&proxy, websocket::request("b", "/", ""), 404, "no-route");
}

#[test]
fn a_head_that_does_not_end_is_a_408() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_timeouts("request_header = \"400ms\"")
        .start();
    let started = Instant::now();
    let answer = check(
        &proxy,
        "GET / HTTP/1.1\r\nHost: x\r\n",
        408,
        "request-header-timeout",
    );
    assert_eq!(answer.values("connection"), ["close"]);
    assert!(started.elapsed() >= Duration::from_millis(350));

    // Dripping does not extend the time.
    let mut client = proxy.connect();
    let mut sender = client.twin();
    let started = Instant::now();
    let dripping = std::thread::spawn(move || {
        let head = get("x", "/", &format!("X: {}\r\n", "y".repeat(1000)));
        sender.drip(head.as_bytes(), Duration::from_millis(50))
    });
    expect_own_answer(&mut client, 408);
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    drop(client);
    assert!(dripping.join().unwrap().is_err(), "the connection is gone");
    origin.expect_untouched();
}

#[test]
fn a_body_over_the_limit_is_a_413() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .limits("max_body = \"1KiB\"")
        .start();
    let post = |framing: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
    check(&proxy, post("Content-Length: 1025"), 413, "body-too-large");
    origin.expect_untouched();
    let chunked = format!(
        "{}401\r\n{}\r\n0\r\n\r\n",
        post("Transfer-Encoding: chunked"),
        "x".repeat(0x401)
    );
    check(&proxy, chunked, 413, "body-too-large");
}

#[test]
fn a_body_of_just_the_limit_passes() {
    let origin = Origin::serve(|mut peer| {
        peer.read_head();
        peer.read(1024);
        peer.send(http::ok("fine"));
    });
    let proxy = Plan::http(origin).limits("max_body = \"1KiB\"").start();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1024\r\n\r\n{}",
        "x".repeat(1024)
    );
    assert_eq!(http::exchange(proxy.addr(), request).text(), "fine");
}

#[test]
fn a_long_request_line_is_a_414() {
    let origin = Origin::answering(http::ok("fine"));
    let proxy = Plan::http(origin.addr).start();
    let long = |len: usize| format!("/{}", "x".repeat(len - "GET / HTTP/1.1".len()));
    check(
        &proxy,
        get("x", &long(8193), ""),
        414,
        "request-line-too-long",
    );
    // Without an end: the answer does not wait for one.
    check(
        &proxy,
        format!("GET /{}", "x".repeat(9000)),
        414,
        "request-line-too-long",
    );
    origin.expect_untouched();
    assert_eq!(
        http::exchange(proxy.addr(), get("x", &long(8192), "")).text(),
        "fine"
    );
}

#[test]
fn a_large_head_is_a_431() {
    let origin = Origin::answering(http::ok("fine"));
    let proxy = Plan::http(origin.addr).start();
    let lines = |count: usize| {
        (0..count)
            .map(|n| format!("X-{n}: 1\r\n"))
            .collect::<String>()
    };
    check(
        &proxy,
        get("x", "/", &lines(100)),
        431,
        "request-head-too-large",
    );
    let wide = format!("X: {}\r\n", "y".repeat(33_000));
    check(&proxy, get("x", "/", &wide), 431, "request-head-too-large");
    // Without an end: the answer does not wait for one.
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(33_000));
    check(&proxy, endless, 431, "request-head-too-large");
    origin.expect_untouched();
    // The Host line is one of the hundred.
    assert_eq!(
        http::exchange(proxy.addr(), get("x", "/", &lines(99))).text(),
        "fine"
    );
    let wide = format!("X: {}\r\n", "y".repeat(32_000));
    assert_eq!(
        http::exchange(proxy.addr(), get("x", "/", &wide)).text(),
        "fine"
    );
}

#[test]
fn limits_are_what_the_configuration_says() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .limits("request_line = \"64B\"\nhead = \"256B\"\nheaders = 3")
        .start();
    check(
        &proxy,
        get("x", &format!("/{}", "x".repeat(60)), ""),
        414,
        "request-line-too-long",
    );
    check(
        &proxy,
        get("x", "/", "A: 1\r\nB: 2\r\nC: 3\r\n"),
        431,
        "request-head-too-large",
    );
    let wide = format!("A: {}\r\n", "y".repeat(250));
    check(&proxy, get("x", "/", &wide), 431, "request-head-too-large");
    origin.expect_untouched();
}

/// Sends a response head with `lines` and returns the answer to the client, with the detail in the log.
fn answered_with(plan: &Plan, lines: &str) -> (u16, usize, String) {
    let proxy = plan.start();
    let answer = http::exchange(proxy.addr(), get("x", "/", ""));
    if answer.status == 200 {
        let count = answer.values("set-cookie").len();
        assert_eq!(
            (count, answer.text().as_str()),
            (lines.lines().count(), "fine")
        );
        return (200, count, String::new());
    }
    let line = proxy.wait_access("refused", |line| line["cause"] == "bad-response");
    (
        answer.status,
        0,
        line["detail"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn heads_of_servers_have_limits_of_their_own() {
    let cookies = |count: usize| "Set-Cookie: a=b\r\n".repeat(count);
    let wide = |len: usize| format!("Set-Cookie: {}\r\n", "y".repeat(len));
    let lines = |limit: usize| {
        format!("there are more than {limit} header lines, the limit `headers` in [backend.limits]")
    };
    let long = |limit: usize| {
        format!("the head is longer than {limit} bytes, the limit `head` in [backend.limits]")
    };
    let small = "[backend.limits]\nhead = \"1KiB\"\nheaders = 10\n";
    let rows = [
        // Content-Length is one of the lines.
        ("", cookies(120), (200, 120, String::new())),
        ("", cookies(255), (200, 255, String::new())),
        ("", cookies(256), (502, 0, lines(256))),
        ("", wide(65_000), (200, 1, String::new())),
        ("", wide(66_000), (502, 0, long(65_536))),
        (small, cookies(9), (200, 9, String::new())),
        (small, cookies(10), (502, 0, lines(10))),
        (small, wide(900), (200, 1, String::new())),
        (small, wide(1024), (502, 0, long(1024))),
    ];
    for (limits, sent, expected) in rows {
        let answer = http::ok("fine").replacen("\r\n", &format!("\r\n{sent}"), 1);
        let origin = Origin::answering(answer);
        let plan = Plan::http(origin.addr).more(limits);
        assert_eq!(answered_with(&plan, &sent), expected);
    }
}

#[test]
fn trailers_over_a_limit_are_told_which() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).limits("headers = 3").start();
    let head = get("x", "/", "Transfer-Encoding: chunked\r\n").replace("GET", "POST");
    let trailers = "0\r\nA: b\r\nB: c\r\nC: d\r\nD: e\r\n\r\n";
    check(&proxy, head + trailers, 400, "bad-request");
    let detail = "there are more than 3 trailers, the limit `headers` in [listener.limits]";
    proxy.wait_access("refused", |line| line["detail"] == detail);
    origin.expect_untouched();
}

#[test]
fn an_unknown_coding_is_a_501() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    for coding in [
        "zip",
        "gzip",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "br;q=1, chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n{}",
            get("x", "/behind", "")
        );
        let answer = check(&proxy, request, 501, "unknown-coding");
        assert_eq!(answer.values("connection"), ["close"]);
        let told = "501 Not Implemented\nTransfer-Encoding names a coding other than 'chunked', \
                    the only one that longsplice knows\n";
        assert_eq!(answer.text(), told);
    }
    // Nothing behind it was taken for a request.
    eventually("a line each", || proxy.access_lines().len() == 6);
    origin.expect_untouched();
}

#[test]
fn another_websocket_version_is_a_426() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    for version in ["12", "8", "14"] {
        let request =
            websocket::request("x", "/", "").replace("Version: 13", &format!("Version: {version}"));
        let answer = check(&proxy, request, 426, "websocket-version");
        assert_eq!(answer.values("sec-websocket-version"), ["13"]);
        assert_eq!(answer.values("connection"), ["close, Upgrade"]);
    }
    origin.expect_untouched();
}

#[test]
fn a_bad_upgrade_is_a_400() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let good = websocket::request("x", "/", "");
    let key = format!("Sec-WebSocket-Key: {}\r\n", websocket::KEY);
    let rows = [
        ("no key", good.replace(&key, "")),
        ("two keys", good.replace(&key, &key.repeat(2))),
        ("a short key", good.replace(websocket::KEY, "c2hvcnQ=")),
        (
            "a long key",
            good.replace(websocket::KEY, "dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ=="),
        ),
        (
            "no base64",
            good.replace(websocket::KEY, "!!!!!!!!!!!!!!!!!!!!!!=="),
        ),
        (
            "no version",
            good.replace("Sec-WebSocket-Version: 13\r\n", ""),
        ),
    ];
    for (what, request) in rows {
        let mut client = proxy.connect();
        client.send(request);
        let head = client.read_head();
        assert_eq!(http::status(&head), 400, "{what}");
        proxy.wait_cause("refused", "bad-upgrade");
    }
    origin.expect_untouched();
}

#[test]
fn a_server_that_refuses_is_a_502() {
    let proxy = Plan::http(free_addr()).start();
    check(&proxy, get("x", "/", ""), 502, "connect-refused");
    check(
        &proxy,
        websocket::request("x", "/", ""),
        502,
        "connect-refused",
    );
    let line = proxy.wait_cause("refused", "connect-refused");
    assert_eq!(line["backend"], "app");
}

#[test]
fn a_server_that_closes_without_an_answer_is_a_502() {
    for bytes in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let origin = Origin::serve(move |mut peer| {
            peer.read_head();
            peer.send(bytes);
        });
        let proxy = Plan::http(origin).start();
        check(&proxy, get("x", "/", ""), 502, "response-incomplete");
        check(
            &proxy,
            websocket::request("x", "/", ""),
            502,
            "response-incomplete",
        );
    }
}

#[test]
fn a_server_that_resets_is_a_502() {
    let origin = Origin::serve(|mut peer| {
        peer.read_head();
        peer.reset();
    });
    let proxy = Plan::http(origin).start();
    check(&proxy, get("x", "/", ""), 502, "server-reset");
}

#[test]
fn a_server_that_does_not_answer_is_a_504() {
    let origin = Origin::serve(|mut peer| {
        peer.read_to_end();
    });
    let proxy = Plan::http(origin)
        .backend_timeouts("response = \"300ms\"")
        .start();
    check(&proxy, get("x", "/", ""), 504, "response-timeout");
    check(
        &proxy,
        websocket::request("x", "/", ""),
        504,
        "response-timeout",
    );
}

#[test]
fn a_server_that_drips_its_answer_is_a_504() {
    let origin = Origin::serve(|mut peer| {
        peer.read_head();
        let _ = peer.drip(&[b'H'; 100], Duration::from_millis(50));
    });
    // Not a head of an answer, but that is known only when the line is complete; the time is a total.
    let proxy = Plan::http(origin)
        .backend_timeouts("response = \"400ms\"")
        .start();
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    let started = Instant::now();
    let head = client.read_head();
    assert!([502, 504].contains(&http::status(&head)), "{head}");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_server_that_cannot_be_reached_in_time_is_a_504() {
    let clogged = Origin::clogged();
    let proxy = Plan::http(clogged.addr())
        .backend_timeouts("connect = \"300ms\"")
        .start();
    check(&proxy, get("x", "/", ""), 504, "connect-timeout");
}

#[test]
fn no_server_to_use_is_a_503() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).server_keys("weight = 0").start();
    check(&proxy, get("x", "/", ""), 503, "no-server");
    origin.expect_untouched();
}

#[test]
fn an_answer_to_head_has_no_body() {
    let proxy = Plan::http(free_addr()).start();
    let mut client = proxy.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let head = client.read_head();
    assert_eq!(http::status(&head), 502);
    client.expect_ended();
}

#[test]
fn a_server_that_breaks_off_in_the_body_ends_the_connection() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    let proxy = Plan::http(origin.addr).start();
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    client.read_head();
    let (body, _) = client.read_to_end();
    assert_eq!(body, b"only this");
    proxy.wait_access("request", |line| line["cause"] == "response-incomplete");
}

#[test]
fn a_connection_ends_after_the_answer_when_the_client_says_so() {
    let origin = Origin::answering(http::ok("one"));
    let proxy = Plan::http(origin.addr).start();
    let mut client = proxy.connect();
    client.send(get("x", "/1", "Connection: close\r\n"));
    let answer = http::read_answer(&mut client);
    assert_eq!(answer.text(), "one");
    assert_eq!(answer.values("connection"), ["close"]);
    client.expect_ended();
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    // The answer must not be lost in a reset because the client's bytes were not read.
    let proxy =
        Plan::routes_only("[[listener.route]]\nrespond = { status = 403, body = \"go away\" }\n")
            .start();
    for _ in 0..20 {
        let mut client = proxy.connect();
        let mut sender = client.twin();
        let sending = std::thread::spawn(move || {
            let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n";
            let _ = sender.try_send(head);
            for _ in 0..20 {
                if sender.try_send([b'x'; 100_000]).is_err() {
                    break;
                }
            }
        });
        let answer = http::read_answer(&mut client);
        assert_eq!((answer.status, answer.text().as_str()), (403, "go away"));
        drop(client);
        sending.join().unwrap();
    }
}

#[test]
fn a_client_that_ends_its_half_after_a_request_is_answered_where_it_may() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .backend_keys("abort_on_close = false")
        .start();
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    client.finish();
    let mut server = origin.accept();
    server.read_head();
    server.send(http::ok("here you are"));
    assert_eq!(http::read_answer(&mut client).text(), "here you are");
}

#[test]
fn a_client_that_ends_inside_its_body_ends_the_request() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let before = proxy.settled_descriptors();
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
    let mut server = origin.accept();
    server.read_head();
    server.expect("half");
    drop(client);
    // The server must not take the half for the whole.
    server.expect_ended();
    drop(server);
    proxy.wait_descriptors(before);
    let line = proxy.wait_access("refused", |_| true);
    assert_eq!(line["cause"], "request-incomplete");
}
