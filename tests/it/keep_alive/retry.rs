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
fn a_request_that_may_have_done_something_is_left_to_the_client() {
    let rows = [
        post("/", ""),
        post("/", "body"),
        get("x", "/", "").replace("GET", "PATCH"),
        post("/", "").replace("POST", "post"),
        // Its body is gone.
        post("/", "body").replace("POST", "PUT"),
    ];
    for request in rows {
        let (proxy, mut client, origin) = die_on(&request, "");
        // Not a byte of an answer: the client may repeat it on a new connection, and browsers do.
        client.expect_ended();
        assert!(origin.accept_within(MOMENT).is_none(), "again: {request}");
        let line = proxy.wait_access("refused", |_| true);
        let cause = line["cause"].as_str().unwrap();
        assert!(
            ["response-incomplete", "server-reset"].contains(&cause),
            "{line}"
        );
        assert_eq!(line["status"], serde_json::Value::Null, "{line}");
        let detail = line["detail"].as_str().unwrap();
        assert!(detail.contains("only the client may repeat"), "{line}");
    }
}

#[test]
fn a_server_that_has_begun_to_answer_is_not_asked_again() {
    for said in ["H", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        for request in [get("x", "/", ""), post("/", "")] {
            let (_proxy, mut client, origin) = die_on(&request, said);
            let mut answer = read_head_and_body(&mut client);
            if answer.0 == 103 {
                answer = read_head_and_body(&mut client);
            }
            assert_eq!(answer.0, 502, "{request}");
            assert!(origin.accept_within(MOMENT).is_none(), "again: {request}");
        }
    }
}

#[test]
fn a_request_on_a_new_connection_that_dies_is_answered() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(post("/", ""));
    answer(&mut origin.accept(), "");
    assert_eq!(read_answer(&mut client).status, 502);
}

fn read_head_and_body(client: &mut Peer) -> (u16, Vec<u8>) {
    let answer = read_answer(client);
    (answer.status, answer.body)
}
