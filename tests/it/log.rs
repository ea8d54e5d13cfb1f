//! Access lines: what they say and when.

mod counts;
mod diagnostics;
mod real;
mod targets;

use serde_json::Value;

use crate::harness::free_addr;
use crate::harness::http::{self, get};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::websocket;

/// Demands what every access line has.
fn check_common(line: &Value) {
    let time = line["time"]
        .as_str()
        .unwrap_or_else(|| panic!("time: {line}"));
    // RFC 3339 with milliseconds: 2026-11-20T12:00:00.000Z, or with an offset.
    let (date, rest) = time.split_once('T').unwrap_or_else(|| panic!("{time}"));
    assert_eq!(date.len(), 10, "{time}");
    assert_eq!(rest.find('.'), Some(8), "{time}");
    let zone = &rest[12..];
    assert!(zone == "Z" || zone.len() == 6, "{time}");
    assert!(
        rest[9..12].bytes().all(|byte| byte.is_ascii_digit()),
        "{time}"
    );
    for field in ["event", "listener", "client"] {
        assert!(line[field].is_string(), "{field}: {line}");
    }
}

/// Demands what every line of an end has.
fn check_end(line: &Value) {
    check_common(line);
    assert!(line["cause"].is_string(), "{line}");
    assert!(line["duration_ms"].is_number(), "{line}");
}

#[test]
fn a_tunnel_leaves_a_line_when_it_opens_and_one_when_it_ends() {
    let server = Origin::echo();
    let proxy = Plan::tcp(server).start();
    let mut client = proxy.connect();
    client.send("hello");
    client.expect("hello");
    let open = proxy.wait_access("open", |_| true);
    assert!(
        proxy
            .access_lines()
            .iter()
            .all(|line| line["event"] == "open")
    );
    let from = client.local_addr();
    drop(client);
    let close = proxy.wait_access("close", |_| true);
    check_common(&open);
    check_end(&close);
    for line in [&open, &close] {
        assert_eq!(line["listener"], "edge");
        assert!(
            line["client"]
                .as_str()
                .unwrap()
                .starts_with(&from.ip().to_string())
        );
        assert_eq!(line["backend"], "app");
        assert_eq!(line["server"], server.to_string());
    }
    assert_eq!(close["bytes_in"], 5);
    assert_eq!(close["bytes_out"], 5);
    assert_eq!(close["cause"], "client-closed");
    assert_eq!(proxy.access_lines().len(), 2);
}

#[test]
fn a_tunnel_that_goes_on_leaves_a_line_so_often() {
    let server = Origin::echo();
    let proxy = Plan::tcp(server).more("[log]\nprogress = \"1s\"\n").start();
    let mut client = proxy.connect();
    client.send("hello");
    client.expect("hello");
    let first = proxy.wait_access("progress", |_| true);
    check_common(&first);
    assert_eq!(
        (&first["bytes_in"], &first["bytes_out"]),
        (&5.into(), &5.into())
    );
    assert_eq!(first["server"], server.to_string());
    assert!(first["duration_ms"].as_u64().unwrap() >= 1000, "{first}");
    client.send(" again");
    client.expect(" again");
    let second = proxy.wait_access("progress", |line| line["bytes_in"] == 11);
    assert!(second["duration_ms"].as_u64().unwrap() >= 2000, "{second}");
    drop(client);
    proxy.wait_access("close", |_| true);
    let events = proxy.access_lines();
    assert_eq!(events.last().unwrap()["event"], "close");
}

#[test]
fn a_request_leaves_one_line_with_what_was_asked_and_answered() {
    let origin = Origin::serve(|mut peer| {
        peer.read_head();
        peer.read(4);
        peer.send(http::ok("a body of 20 bytes!!"));
    });
    let proxy = Plan::http(origin).start();
    let request = "POST /path?q=1 HTTP/1.1\r\nHost: app.example\r\nUser-Agent: test/1\r\n\
        Referer: http://a/\r\nContent-Length: 4\r\n\r\nbody";
    http::exchange(proxy.addr(), request);
    let line = proxy.wait_access("request", |_| true);
    check_end(&line);
    assert_eq!(line["cause"], "served");
    assert_eq!(line["bytes_in"], 4);
    assert_eq!(line["bytes_out"], 20);
    assert_eq!(line["status"], 200);
    assert_eq!(line["method"], "POST");
    assert_eq!(proxy.access_lines().len(), 1);
}

#[test]
fn a_refusal_leaves_one_line_with_its_cause() {
    let proxy = Plan::http(free_addr()).start();
    http::exchange(proxy.addr(), get("x", "/", ""));
    http::exchange(proxy.addr(), "nonsense\r\n\r\n");
    let refused = proxy.wait_cause("refused", "connect-refused");
    check_end(&refused);
    assert_eq!(refused["backend"], "app");
    let bad = proxy.wait_cause("refused", "bad-request");
    check_end(&bad);
    assert_eq!(proxy.access_lines().len(), 2);
}

#[test]
fn what_clients_write_cannot_forge_a_line() {
    let origin = Origin::answering(http::ok(""));
    let proxy = Plan::http(origin.addr).start();
    let agent = "x\" , \"event\":\"forged\", \\\"y\u{e4}";
    http::exchange(
        proxy.addr(),
        get(
            "x",
            "/%22%0a{\"event\":\"forged\"}",
            &format!("User-Agent: {agent}\r\n"),
        ),
    );
    let line = proxy.wait_access("request", |_| true);
    check_end(&line);
    assert!(
        proxy
            .access_lines()
            .iter()
            .all(|line| line["event"] != "forged")
    );
    assert_eq!(proxy.access_lines().len(), 1);
}

#[test]
fn an_upgraded_tunnel_names_what_was_asked() {
    let proxy = Plan::http(websocket::echo_server()).start();
    let client = websocket::open(proxy.addr());
    let line = proxy.wait_access("open", |_| true);
    check_common(&line);
    assert_eq!(line["status"], 101, "{line}");
    assert_eq!(line["target"], "/chat", "{line}");
    drop(client);
    check_end(&proxy.wait_access("close", |_| true));
}

#[test]
fn access_off_leaves_no_line() {
    let proxy = Plan::tcp(Origin::echo())
        .more("[log]\naccess = \"off\"\n")
        .start();
    let mut client = proxy.connect();
    client.send("x");
    client.expect("x");
    client.finish();
    client.expect_closed();
    let mut proxy = proxy;
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert_eq!(proxy.access_lines(), Vec::<Value>::new());
}
