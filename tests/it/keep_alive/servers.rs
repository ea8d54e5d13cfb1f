//! Connections to servers that are kept: for which client, for which request, and for how long.

use super::{answer, post, telling, text, text_over};
use crate::harness::http::{self, get, ok, read_answer, values};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;

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
        (chunked, "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
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
