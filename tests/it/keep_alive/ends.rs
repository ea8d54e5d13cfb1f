//! How a kept connection of a client ends: by its time-outs, or by a stop of the process.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{MOMENT, answer, post, says_close, telling, text};
use crate::harness::eventually;
use crate::harness::http::{get, ok, read_answer};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;

#[test]
fn an_idle_connection_ends_without_a_word() {
    let proxy = Plan::http(Origin::serve(telling))
        .listener_timeouts("keep_alive = \"2s\"\nrequest_header = \"20s\"")
        .start();
    let mut client = proxy.connect();
    for _ in 0..3 {
        text(&mut client, get("x", "/", ""));
        // A client that asks now and then, sooner than its time is over.
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
    // A time in which no line is to come: no condition ends it.
    thread::sleep(MOMENT);
    let lines = proxy.access_lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines.iter().all(|line| line["event"] == "request"),
        "{lines:?}"
    );
}

/// Some clients send an empty line behind a body: it is no request, and its sender owes nothing.
#[test]
fn empty_lines_between_requests_start_no_clock() {
    let proxy = Plan::http(Origin::serve(telling))
        .listener_timeouts("keep_alive = \"20s\"\nrequest_header = \"200ms\"")
        .start();
    for (with_body, pieces) in [
        ("\r\n", &[][..]),
        ("", &["\r\n"]),
        ("\r\n\r\n", &["\r\n"]),
        ("\r", &["\n", "\r", "\n", "\r\n"]),
        ("\r\n\r\n\r\n\r\n", &[]),
    ] {
        let mut client = proxy.connect();
        client.send(post("/a", "body") + with_body);
        assert_eq!(read_answer(&mut client).text(), "1 POST /a body");
        for piece in pieces {
            client.send(piece);
            client.expect_silence(Duration::from_millis(30));
        }
        // Longer than the time that a request has, once it has begun.
        client.expect_silence(Duration::from_millis(300));
        let again = text(&mut client, post("/b", ""));
        assert_eq!(again, "2 POST /b ", "{with_body:?} {pieces:?}");
        drop(client);
    }
    eventually("a line for each request", || {
        proxy.access_lines().len() == 10
    });
    let lines = proxy.access_lines();
    assert!(lines.iter().all(|line| line["status"] == 200), "{lines:?}");
}

#[test]
fn empty_lines_before_the_first_request_are_not_the_beginning_of_one() {
    let proxy = Plan::http(Origin::serve(telling))
        .listener_timeouts("request_header = \"300ms\"")
        .start();
    let mut silent = proxy.connect();
    silent.send("\r\n\r\n");
    let mut slow = proxy.connect();
    slow.drip(b"\r\n\r\n\r\n", Duration::from_millis(10))
        .unwrap();
    assert_eq!(text(&mut slow, get("x", "/", "")), "1 GET / ");
    // It never asked, so that it gets no answer.
    silent.expect_closed();
    let mut gone = proxy.connect();
    gone.send("\r\n");
    gone.finish();
    gone.expect_closed();
    let lines = proxy.access_lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn empty_lines_do_not_keep_an_idle_connection() {
    let proxy = Plan::http(Origin::serve(telling))
        .listener_timeouts("keep_alive = \"400ms\"\nrequest_header = \"20s\"")
        .start();
    let mut client = proxy.connect();
    text(&mut client, get("x", "/", ""));
    let started = Instant::now();
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(80));
        let _ = client.try_send("\r\n");
    }
    client.expect_closed();
    assert!(started.elapsed() < Duration::from_secs(5));
    // More than a few are refused.
    let mut many = proxy.connect();
    text(&mut many, get("x", "/", ""));
    many.send("\r\n".repeat(5));
    let answer = read_answer(&mut many);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("empty lines"), "{}", answer.text());
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
    // A client that is silent for longer than a request may take: its time begins with its first byte.
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
    // The thread of the connection hears of the stop by itself, and says nothing of it.
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
