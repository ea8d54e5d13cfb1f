//! Waiting costs no processor time, in any state: none is polled in a loop.

use std::thread;
use std::time::Duration;

use crate::harness::http;
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::random::Random;
use crate::harness::websocket;

/// How long the processor time is watched. A thread that turns in a circle uses all of it.
const WATCHED: Duration = Duration::from_millis(600);

/// What may be used meanwhile, in ticks of 10 ms: a timer now and then.
const TICKS_MAX: u64 = 12;

/// Demands that the process rests.
fn check(proxy: &Proxy, what: &str) {
    // What is under way comes to rest first.
    proxy.settled_descriptors();
    let before = proxy.cpu_ticks();
    // A time in which nothing is to happen: no condition ends it.
    thread::sleep(WATCHED);
    let used = proxy.cpu_ticks() - before;
    assert!(used <= TICKS_MAX, "{what}: {used} ticks in {WATCHED:?}");
}

fn joined(proxy: &Proxy, origin: &Origin) -> (Peer, Peer) {
    let mut client = proxy.connect();
    let mut server = origin.accept();
    client.send("x");
    server.expect("x");
    (client, server)
}

#[test]
fn nothing_to_do() {
    check(&Plan::tcp(Origin::echo()).start(), "no connection");
    check(&Plan::http(Origin::echo()).start(), "no connection");
}

#[test]
fn tunnels_in_which_nobody_speaks() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let _tunnels: Vec<_> = (0..100).map(|_| joined(&proxy, &origin)).collect();
    check(&proxy, "100 idle tunnels");
}

#[test]
fn tunnels_that_one_side_has_ended() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let (client, mut server) = joined(&proxy, &origin);
    client.finish();
    server.expect_closed();
    let (mut other_client, other_server) = joined(&proxy, &origin);
    other_server.finish();
    other_client.expect_closed();
    check(&proxy, "half-closed tunnels");
}

#[test]
fn a_reader_that_does_not_read() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let block = Random::new(81).bytes(1 << 20);
    let (_client, mut server) = joined(&proxy, &origin);
    server.send_until_stalled(&block, 256 << 20, Duration::from_millis(300));
    check(&proxy, "a stalled client");
    let (mut other_client, other_server) = joined(&proxy, &origin);
    other_client.send_until_stalled(&block, 256 << 20, Duration::from_millis(300));
    check(&proxy, "a stalled client and a stalled server");
    // Ended while what was said before cannot be delivered.
    server.finish();
    other_client.finish();
    check(&proxy, "stalled and ended");
    drop(other_server);
}

#[test]
fn clients_that_do_not_speak_or_not_to_the_end() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys("proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .start();
    let _silent = proxy.connect();
    let mut half_header = proxy.connect();
    half_header.send("PROXY TCP4 ");
    let mut half_head = proxy.connect();
    half_head.send("GET / HTTP/1.1\r\nHo");
    let mut half_body = proxy.connect();
    half_body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
    let mut server = origin.accept();
    server.read_head();
    server.expect("half");
    check(&proxy, "half a header, half a head, half a body");
}

#[test]
fn servers_that_do_not_answer() {
    let clogged = Origin::clogged();
    let proxy = Plan::http(clogged.addr())
        .backend_timeouts("connect = \"1h\"")
        .start();
    let mut client = proxy.connect();
    client.send(http::get("x", "/", ""));
    check(&proxy, "a server that cannot be reached");

    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .backend_keys("abort_on_close = false")
        .start();
    let mut plain = proxy.connect();
    plain.send(http::get("x", "/", ""));
    let mut plain_server = origin.accept();
    plain_server.read_head();
    let mut upgrade = proxy.connect();
    upgrade.send(websocket::request("x", "/", "") + "early");
    let mut server = origin.accept();
    server.read_head();
    let mut ended = proxy.connect();
    ended.send(http::get("x", "/", ""));
    ended.finish();
    let mut other = origin.accept();
    other.read_head();
    check(&proxy, "servers that do not answer");

    let proxy = Plan::http(origin.addr()).start();
    let mut ahead = proxy.connect();
    ahead.send(http::get("x", "/", ""));
    let mut asked = origin.accept();
    asked.read_head();
    // It is not read before its turn.
    ahead.send(http::get("x", "/", ""));
    check(&proxy, "a client that asks ahead");
}

#[test]
fn a_full_house() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .process_keys("max_connections = 2")
        .start();
    let _first = joined(&proxy, &origin);
    let _second = joined(&proxy, &origin);
    let _waiting: Vec<_> = (0..10).map(|_| proxy.connect()).collect();
    check(&proxy, "max_connections reached, others waiting");
}

#[test]
fn no_descriptor_left() {
    let origin = Origin::bind();
    let wrapper = ["sh", "-c", "ulimit -n 60; exec \"$@\"", "sh"];
    let mut proxy = Proxy::spawn_through(&wrapper, &Plan::tcp(origin.addr()).toml());
    proxy.wait_listening();
    let _crowd: Vec<_> = (0..200).map(|_| proxy.connect()).collect();
    check(&proxy, "no descriptor left, others waiting");
}

#[test]
fn a_drain_that_waits() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let (mut client, mut server) = joined(&proxy, &origin);
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    check(&proxy, "draining");
    client.send("still");
    server.expect("still");
}
