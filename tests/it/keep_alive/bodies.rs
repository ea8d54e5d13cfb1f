//! Where the body of a request ends: no part of it becomes a request, whether it is read or not.

use std::net::SocketAddr;

use super::{MOMENT, answer, post, says_close, telling, text, text_over};
use crate::harness::http::{self, exchange_on, get, ok, read_answer, values};
use crate::harness::origin::Origin;
use crate::harness::peer::End;
use crate::harness::plan::{Plan, responding};

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
    // The server did not get the whole body, so the connection takes no further request.
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
