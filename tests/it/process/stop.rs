//! Stop of the process: what a signal means, what a drain waits for, and what its end cuts off.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::{eventually, free_addr, http, websocket};

/// Waits until connections to the proxy's address are refused.
fn wait_refusing(proxy: &Proxy) {
    eventually("new connections are refused", || {
        match Peer::try_connect(proxy.addr()) {
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
            Ok(_) => false,
        }
    });
}

#[test]
fn a_stop_signal_without_tunnels_is_an_exit_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut proxy = Plan::tcp(Origin::echo()).start();
        let started = Instant::now();
        proxy.signal(signal);
        assert_eq!(proxy.wait_exit(), Some(0));
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_tunnel_outlives_the_stop_signal_and_ends_in_peace() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let origin = Origin::bind();
        let mut proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        client.send(websocket::request("x", "/", ""));
        let mut server = origin.accept();
        websocket::accept(&mut server);
        client.read_head();

        proxy.signal(signal);
        wait_refusing(&proxy);
        for _ in 0..3 {
            client.send("still here");
            server.expect("still here");
            server.send("me too");
            client.expect("me too");
        }
        assert!(proxy.is_running());
        drop(client);
        server.expect_closed();
        drop(server);
        assert_eq!(proxy.wait_exit(), Some(0));
        proxy.wait_cause("close", "client-closed");
    }
}

#[test]
fn drain_timeout_ends_what_still_lives() {
    let origin = Origin::bind();
    let mut proxy = Plan::tcp(origin.addr())
        .process_keys("drain_timeout = \"500ms\"")
        .start();
    let mut client = proxy.connect();
    let mut server = origin.accept();
    client.send("x");
    server.expect("x");
    let started = Instant::now();
    proxy.signal(Signal::SIGTERM);
    client.expect_ended();
    server.expect_ended();
    assert!(
        started.elapsed() >= Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(proxy.wait_exit(), Some(0));
    let line = proxy.wait_cause("close", "drained");
    assert_eq!(line["bytes_in"], 1);
}

#[test]
fn drain_timeout_ends_requests_without_an_answer_too() {
    let origin = Origin::bind();
    let mut proxy = Plan::http(origin.addr())
        .process_keys("drain_timeout = \"500ms\"")
        .start();
    let mut client = proxy.connect();
    client.send(http::get("x", "/", ""));
    let mut server = origin.accept();
    server.read_head();
    let started = Instant::now();
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    client.drain();
    server.expect_ended();
}

#[test]
fn a_second_stop_signal_exits_at_once() {
    for signals in [
        [Signal::SIGTERM, Signal::SIGTERM],
        [Signal::SIGINT, Signal::SIGINT],
        [Signal::SIGTERM, Signal::SIGINT],
    ] {
        let mut proxy = Plan::tcp(Origin::echo()).start();
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
        proxy.signal(signals[0]);
        wait_refusing(&proxy);
        assert!(proxy.is_running());
        proxy.signal(signals[1]);
        assert_eq!(proxy.wait_exit(), Some(1));
        client.expect_ended();
    }
}

#[test]
fn a_request_under_way_is_served_while_draining() {
    let origin = Origin::bind();
    let mut proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(http::get("x", "/", ""));
    let mut server = origin.accept();
    server.read_head();
    proxy.signal(Signal::SIGTERM);
    wait_refusing(&proxy);
    server.send(http::ok("late but whole"));
    assert_eq!(http::read_answer(&mut client).text(), "late but whole");
    drop(client);
    drop(server);
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_client_that_has_not_asked_yet_does_not_hold_up_the_stop() {
    let mut proxy = Plan::http(Origin::echo())
        .listener_timeouts("request_header = \"500ms\"")
        .start();
    let mut silent = proxy.connect();
    let mut halfway = proxy.connect();
    halfway.send("GET / HT");
    let started = Instant::now();
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    silent.drain();
    halfway.drain();
}

#[test]
fn signals_that_mean_something_else_do_not_stop_it() {
    let mut proxy = Plan::tcp(Origin::echo()).start();
    let mut client = proxy.connect();
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGPIPE] {
        proxy.signal(signal);
        for _ in 0..3 {
            client.send("x");
            client.expect("x");
        }
    }
    drop(client);
    let mut client = proxy.connect();
    client.send("y");
    client.expect("y");
    assert!(proxy.is_running());
}

#[test]
fn what_the_end_of_a_drain_cuts_off_has_a_cause() {
    let origin = Origin::bind();
    let plan = Plan::http(origin.addr()).process_keys("drain_timeout = \"300ms\"");
    let mut proxy = plan.start();
    let mut unanswered = proxy.connect();
    unanswered.send(http::get("x", "/", ""));
    let _server = origin.accept();
    let mut unfinished = proxy.connect();
    unfinished.send("GET / HT");
    proxy.signal(Signal::SIGTERM);
    unanswered.expect_ended();
    unfinished.expect_ended();
    assert_eq!(proxy.wait_exit(), Some(0));
    let lines = proxy.access_lines();
    let drained = lines.iter().filter(|line| line["cause"] == "drained");
    assert_eq!(drained.count(), 2, "{}", proxy.log());
}

#[test]
fn a_stop_with_nothing_to_wait_for_is_over_at_once() {
    let mut proxy = Plan::tcp(Origin::echo())
        .process_keys(&format!("admin_http = \"{}\"", free_addr()))
        .start();
    let began = Instant::now();
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert!(
        proxy
            .log_lines()
            .iter()
            .any(|line| line.contains("stopped"))
    );
}
