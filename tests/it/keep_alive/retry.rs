//! Requests on a kept connection that dies: which of them are sent again, and how often.

use super::{MOMENT, answer, post, text_over};
use crate::harness::http::{self, get, ok, read_answer};
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::websocket;

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
