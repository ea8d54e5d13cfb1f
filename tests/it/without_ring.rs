//! A machine that refuses io_uring: everything works over epoll, and the log says so once.
//!
//! The kernel is made to refuse by a seccomp filter that a few lines of Python put on before they
//! become longsplice (seccomp(2)).

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::eventually;
use crate::harness::http;
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, file};
use crate::harness::peer::End;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::random::Random;
use crate::harness::websocket;
use crate::process::limits::serve_crowd;

/// Starts the proxy where io_uring_setup fails with EPERM; none = no Python to do it.
pub(crate) fn start(plan: &Plan) -> Option<Proxy> {
    let python = Part::Python.command()?;
    let wrapper = [
        python.get_program(),
        file("it/without_io_uring.py").as_os_str(),
    ]
    .map(|word| word.to_str().unwrap().to_owned());
    let mut proxy = Proxy::spawn_through(&[&wrapper[0], &wrapper[1]], &plan.toml());
    proxy.wait_listening();
    Some(proxy)
}

#[test]
fn tunnels_work_and_the_log_says_once_how() {
    let origin = Origin::bind();
    let plan = Plan::tcp(origin.addr()).backend_timeouts("tunnel_idle = \"1s\"");
    let Some(mut proxy) = start(&plan) else {
        return;
    };
    let mut client = proxy.connect();
    let mut server = origin.accept();
    let block = Random::new(61).bytes(4 << 20);
    let sent = block.clone();
    let mut sender = client.twin();
    let sending = std::thread::spawn(move || sender.send(&sent));
    server.expect(&block);
    sending.join().unwrap();
    server.send("answer");
    client.expect("answer");
    server.finish();
    client.expect_closed();
    client.send("last");
    server.expect("last");
    drop(client);
    server.expect_closed();
    let line = proxy.wait_access("close", |_| true);
    assert_eq!(line["bytes_in"], (4 << 20) + 4);

    // Time passes there as well.
    let mut idle = proxy.connect();
    let _server = origin.accept();
    idle.expect_ended();
    proxy.wait_cause("close", "tunnel-idle");

    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    let said = proxy
        .log_lines()
        .iter()
        .filter(|line| line.contains("io_uring"))
        .count();
    assert_eq!(said, 1, "{}", proxy.log());
}

#[test]
fn requests_and_upgrades_work() {
    let origin = Origin::bind();
    let plan = Plan::http(origin.addr())
        .listener_keys("proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .listener_timeouts("request_header = \"500ms\"");
    let Some(proxy) = start(&plan) else {
        return;
    };
    let mut client = proxy.connect();
    client
        .drip(
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1000 443\r\n",
            Duration::from_micros(500),
        )
        .unwrap();
    client.send(http::get("x", "/", ""));
    let mut server = origin.accept();
    assert_eq!(
        http::values(&server.read_head(), "x-real-ip"),
        ["203.0.113.7"]
    );
    server.send(http::ok("hello"));
    assert_eq!(http::read_answer(&mut client).text(), "hello");

    let mut client = proxy.connect();
    client.send(websocket::request("x", "/", "") + "early");
    let mut server = origin.accept();
    websocket::accept(&mut server);
    server.expect("early");
    client.read_head();
    server.send("late");
    client.expect("late");
    server.reset();
    client.expect_ended();
    proxy.wait_cause("close", "server-reset");

    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\n");
    http::expect_own_answer(&mut client, 408);
}

#[test]
fn many_tunnels_at_a_time_leave_nothing_behind() {
    let origin = Origin::bind();
    let Some(proxy) = start(&Plan::tcp(origin.addr())) else {
        return;
    };
    let before = proxy.settled_descriptors();
    let mut tunnels: Vec<_> = (0..200)
        .map(|_| (proxy.connect(), origin.accept()))
        .collect();
    for (client, server) in &mut tunnels {
        client.send("ping");
        server.expect("ping");
        server.send("pong");
        client.expect("pong");
    }
    drop(tunnels);
    proxy.wait_descriptors(before);
}

#[test]
fn a_crowd_that_came_at_once_is_served() {
    if let Some(proxy) = start(&Plan::tcp(Origin::echo())) {
        serve_crowd(&proxy);
    }
}

#[test]
fn beyond_max_connections_clients_wait_and_are_served_later() {
    let plan = Plan::tcp(Origin::echo()).process_keys("max_connections = 2");
    let Some(proxy) = start(&plan) else {
        return;
    };
    let mut waiting: Vec<_> = (0..100).map(|_| proxy.connect()).collect();
    for client in &mut waiting {
        client.send("x");
    }
    // Two threads accept, in no order of ours: whoever is served makes place.
    eventually("everybody is served", || {
        waiting.retain(|client| !client.has_received());
        waiting.is_empty()
    });
}

#[test]
fn a_cut_answer_ends_at_once_and_behind_the_one_before_it() {
    let first = "x".repeat(150_000);
    let origin = Origin::bind();
    let Some(proxy) = start(&Plan::http(origin.addr())) else {
        return;
    };
    let mut client = proxy.connect();
    client.send(http::get("x", "/1", "") + &http::get("x", "/2", ""));
    let mut server = origin.accept();
    server.read_head();
    server.send(http::ok(&first));
    server.read_head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort");
    drop(server);
    proxy.wait_cause("request", "response-incomplete");
    assert_eq!(http::read_answer(&mut client).text(), first);
    client.read_head();
    let read_all = Instant::now();
    assert_eq!(client.read_to_end(), (b"short".to_vec(), End::Reset));
    let lasted = read_all.elapsed();
    assert!(lasted < Duration::from_secs(5), "{lasted:?}");
}
