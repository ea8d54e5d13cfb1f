//! Limits of the process: connections, descriptors, a log that nobody reads, and time that passes by.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::{eventually, free_addr, http, websocket};

#[test]
fn beyond_max_connections_clients_wait_and_are_served_later() {
    let proxy = Plan::tcp(Origin::echo())
        .process_keys("max_connections = 2")
        .start();
    let served = || {
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
        client
    };
    let (first, mut second) = (served(), served());
    let mut third = proxy.connect();
    third.send("waiting");
    third.expect_silence(Duration::from_millis(300));
    second.send("not disturbed");
    second.expect("not disturbed");
    drop(first);
    third.expect("waiting");
    let mut fourth = proxy.connect();
    fourth.send("waiting");
    fourth.expect_silence(Duration::from_millis(300));
    second.reset();
    fourth.expect("waiting");
    // Places are given back however often.
    drop((third, fourth));
    for _ in 0..20 {
        drop(served());
    }
}

#[test]
fn a_crowd_that_came_at_once_is_served() {
    let proxy = Plan::tcp(Origin::echo()).start();
    serve_crowd(&proxy);
}

/// Connects clients while the process stands still, and demands that each is served although no
/// client comes after them.
pub(crate) fn serve_crowd(proxy: &Proxy) {
    proxy.settled_descriptors();
    proxy.freeze();
    let mut crowd: Vec<Peer> = (0..400).map(|_| proxy.connect()).collect();
    for client in &mut crowd {
        client.send("x");
    }
    proxy.signal(Signal::SIGCONT);
    for client in &mut crowd {
        client.expect("x");
    }
}

#[test]
fn places_come_back_from_refused_and_plain_requests() {
    let proxy = Plan::http(free_addr())
        .process_keys("max_connections = 2")
        .start();
    for _ in 0..10 {
        assert_eq!(
            http::exchange(proxy.addr(), http::get("x", "/", "")).status,
            502
        );
        assert_eq!(http::exchange(proxy.addr(), "nonsense\r\n\r\n").status, 400);
        drop(proxy.connect());
    }
}

/// A shell that does something and then becomes its arguments.
fn after(something: &str) -> [String; 4] {
    ["sh", "-c", &format!("{something} exec \"$@\""), "sh"].map(str::to_owned)
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let dir = tempfile::TempDir::new().unwrap();
    let pipe = dir.path().join("log");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Open for both, so that neither side waits for the other; never read.
    let _unread = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let wrapper = after(&format!("exec 2>'{}';", pipe.display()));
    let plan = Plan::tcp(Origin::echo());
    let mut proxy = Proxy::spawn_through(&wrapper.each_ref().map(String::as_str), &plan.toml());
    proxy.wait_listening();
    let mut canary = proxy.connect();
    // Two lines each: many times what a pipe holds.
    for _ in 0..1_000 {
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
        drop(client);
        canary.send("y");
        canary.expect("y");
    }
    assert!(proxy.is_running());
}

#[test]
fn without_a_descriptor_left_it_waits_and_goes_on_later() {
    let wrapper = after("ulimit -n 100;");
    let plan = Plan::tcp(Origin::echo());
    let mut proxy = Proxy::spawn_through(&wrapper.each_ref().map(String::as_str), &plan.toml());
    proxy.wait_listening();
    let mut canary = proxy.connect();
    canary.send("x");
    canary.expect("x");
    let crowd: Vec<Peer> = (0..200).map(|_| proxy.connect()).collect();
    for _ in 0..20 {
        canary.send("still here");
        canary.expect("still here");
    }
    drop(crowd);
    eventually("new clients are served again", || {
        let mut client = proxy.connect();
        client.send("and now");
        let mut buffer = [0; 7];
        client.receive(&mut buffer).is_ok() && &buffer == b"and now"
    });
    proxy.expect_sound();
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_connections_nor_the_end() {
    let origin = Origin::answering(http::ok("here"));
    let toml = Plan::http(origin.addr).toml();
    // Standard error is a pipe that this process itself keeps open, so it fills and never breaks.
    let unread = "f=$(mktemp -u); mkfifo $f; exec 3<>$f; rm $f; exec \"$@\" 2>&3";
    let mut proxy = Proxy::spawn_through(&["sh", "-c", unread, "sh"], &toml);
    proxy.wait_listening();
    // More lines than a pipe holds.
    for _ in 0..400 {
        assert_eq!(
            http::exchange(proxy.addr(), http::get("x", "/", "")).text(),
            "here"
        );
    }
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
}

/// How long a process is held up where its time-outs are shorter.
const HELD_UP: Duration = Duration::from_millis(700);

/// Holds the process up, as a busy machine does, while `meanwhile` happens and time-outs pass.
fn hold_up(proxy: &Proxy, meanwhile: impl FnOnce()) {
    proxy.freeze();
    meanwhile();
    // A time that passes by the process: no condition ends it.
    std::thread::sleep(HELD_UP);
    proxy.signal(Signal::SIGCONT);
}

#[test]
fn a_process_that_was_held_up_looks_before_it_blames() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .listener_timeouts("proxy_header = \"500ms\"\nrequest_header = \"500ms\"")
        .backend_timeouts("response = \"500ms\"\ntunnel_idle = \"500ms\"")
        .start();
    let mut client = proxy.connect();
    client.send("PROXY TCP4 203.0.113.7 ");
    hold_up(&proxy, || {
        client.send("192.0.2.1 1 2\r\nGET / HTTP/1.1\r\n");
    });
    hold_up(&proxy, || client.send("Host: x\r\n\r\n"));
    let mut server = origin.accept();
    server.read_head();
    hold_up(&proxy, || server.send(http::ok("in time")));
    assert_eq!(http::read_answer(&mut client).text(), "in time");

    let mut client = proxy.connect();
    client.send("PROXY UNKNOWN\r\n".to_owned() + &websocket::request("x", "/", ""));
    let mut server = origin.accept();
    websocket::accept(&mut server);
    client.read_head();
    for _ in 0..2 {
        hold_up(&proxy, || server.send("in time"));
        client.expect("in time");
        client.send("too");
        server.expect("too");
    }
}
