//! Where an answer ends: nothing that a server sends beyond it reaches a later request.

use super::{MOMENT, answer, says_close};
use crate::harness::http::{self, get, ok, read_answer, values};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::websocket;

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
        // Refused: two lengths, both framings, an unrequested 101, a line that is none.
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
        // Header injection that a server let through: it looks like any other head.
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
        // Not on the connection that said too much, the rest of which is not read.
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
