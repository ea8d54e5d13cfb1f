//! Real servers that die, stop, clog, refuse, and come back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::app::App;
use crate::harness::http::{exchange, get};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, file};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::{eventually, websocket};
use crate::health::{QUICK, wait_up, who_answers};

/// A real server process with a name.
struct Process {
    running: Running,
    addr: SocketAddr,
}

impl Process {
    fn start(name: &str, port: u16) -> Option<Self> {
        let mut python = Part::Python.command()?;
        let running = Running::start(
            python
                .arg(file("real/app.py"))
                .args([name, &port.to_string()]),
        );
        let addr = SocketAddr::from(([127, 0, 0, 1], running.port()));
        Some(Self { running, addr })
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(self.running.pid().try_into().unwrap()),
            signal,
        )
        .unwrap();
    }
}

/// A backend with a process that suffers and an application that does not.
fn beside(process: &Process, healthy: &App, health: &str) -> Proxy {
    let proxy = Plan::http(process.addr)
        .backend_keys("balance = \"round_robin\"")
        .backend_timeouts("connect = \"1s\"\nresponse = \"1s\"")
        .and_server(healthy.addr())
        .health(health)
        .start();
    wait_up(&proxy, process.addr);
    wait_up(&proxy, healthy.addr());
    proxy
}

/// Waits until everybody who asks is served by the one that is left, which must be within what the
/// checks allow, and returns how long that took.
fn wait_left_alone(proxy: &Proxy, server: SocketAddr) -> Duration {
    let started = Instant::now();
    proxy.wait_said(&["state=\"down\"", &server.to_string()]);
    let took = started.elapsed();
    assert_eq!(who_answers(proxy, 10), ["healthy"; 10]);
    took
}

#[test]
fn a_server_that_is_killed_takes_its_own_tunnels_with_it_and_no_others() {
    let Some(process) = Process::start("mortal", 0) else {
        return;
    };
    let healthy = App::start("healthy");
    let mut proxy = beside(&process, &healthy, QUICK);
    let mut tunnels: Vec<_> = (0..6).map(|_| websocket::open(proxy.addr())).collect();
    assert_eq!(healthy.upgrades(), 3);
    process.signal(Signal::SIGKILL);
    // fall = 2 at 100 ms and 50 ms; the rest is the machine's.
    let took = wait_left_alone(&proxy, process.addr);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let mut alive = 0;
    for tunnel in &mut tunnels {
        if tunnel.try_send("x").is_ok() && tunnel.receive(&mut [0; 1]).is_ok_and(|len| len == 1) {
            alive += 1;
        }
    }
    assert_eq!(alive, 3);

    let port = process.addr.port();
    drop(process);
    let reborn = Process::start("mortal", port).unwrap();
    eventually("it is up again", || {
        proxy.count_said(&["state=\"up\"", &reborn.addr.to_string()]) == 2
    });
    assert!(who_answers(&proxy, 4).contains(&"mortal".to_owned()));
    proxy.expect_sound();
}

#[test]
fn a_server_that_stands_still_is_left_alone_and_its_tunnels_wait_for_it() {
    let Some(process) = Process::start("sleepy", 0) else {
        return;
    };
    let healthy = App::start("healthy");
    let health = QUICK.replace("timeout = \"2s\"", "timeout = \"1s\"");
    let mut proxy = beside(&process, &healthy, &health);
    let mut tunnels: Vec<_> = (0..4).map(|_| websocket::open(proxy.addr())).collect();
    process.signal(Signal::SIGSTOP);
    let took = wait_left_alone(&proxy, process.addr);
    // fall = 2 checks of a second each.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let line = proxy.wait_said(&["state=\"down\""]);
    assert!(line.contains("no answer within 1s"), "{line}");
    for tunnel in &mut tunnels {
        tunnel.send("patience");
    }
    process.signal(Signal::SIGCONT);
    for tunnel in &mut tunnels {
        tunnel.expect("patience");
    }
    eventually("it is up again", || {
        proxy.count_said(&["state=\"up\"", &process.addr.to_string()]) == 2
    });
    assert!(who_answers(&proxy, 4).contains(&"sleepy".to_owned()));
    proxy.expect_sound();
}

/// Two servers, the first of which fails in its own way: what the log says of it, while everybody is
/// served by the other one.
fn failing_beside_healthy(failing: SocketAddr, health: &str) -> String {
    let healthy = App::start("healthy");
    let proxy = Plan::http(failing)
        .backend_keys("balance = \"round_robin\"")
        .backend_timeouts("connect = \"300ms\"")
        .and_server(healthy.addr())
        .health(health)
        .start();
    wait_up(&proxy, healthy.addr());
    let line = proxy.wait_said(&["state=\"down\"", &failing.to_string()]);
    assert_eq!(who_answers(&proxy, 6), ["healthy"; 6]);
    line
}

#[test]
fn a_server_that_does_not_accept_is_found_out() {
    let clogged = Origin::clogged();
    let health = QUICK.replace("timeout = \"2s\"", "timeout = \"300ms\"");
    for kind in ["http", "tcp"] {
        let health = match kind {
            "tcp" => "interval = \"100ms\"\ntimeout = \"300ms\"",
            _ => &health,
        };
        let line = failing_beside_healthy(clogged.addr(), health);
        assert!(line.contains("no connection within 300ms"), "{line}");
    }
}

#[test]
fn a_server_that_resets_what_it_accepts_is_found_out() {
    let resetting = Origin::serve(|peer| {
        let mut peer = peer;
        let _ = peer.try_read_head();
        peer.reset();
    });
    let line = failing_beside_healthy(resetting, QUICK);
    assert!(line.contains("reset the connection"), "{line}");
}

#[test]
fn a_server_that_closes_what_it_accepts_is_found_out() {
    let closing = Origin::serve(|mut peer| {
        let _ = peer.try_read_head();
    });
    let line = failing_beside_healthy(closing, QUICK);
    assert!(line.contains("closed without an answer"), "{line}");
}

#[test]
fn a_unix_socket_is_checked_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let proxy = Plan::http(([127, 0, 0, 1], 1).into())
        .server(format!("unix:{}", path.display()))
        .health("interval = \"100ms\"\nrise = 1\nfall = 1")
        .start();
    let name = format!("server=unix:{} ", path.display());
    proxy.wait_said(&["state=\"down\"", "cannot be reached", &name]);
    assert_eq!(
        exchange(proxy.addr(), get("a.example", "/", "")).status,
        503
    );
    let origin = Origin::bind_unix(&path);
    proxy.wait_said(&["state=\"up\"", &name]);
    let mut client = proxy.connect();
    client.send(get("a.example", "/", ""));
    // Checks connect and close; the request comes among them.
    loop {
        let mut server = origin.accept();
        if server.try_read_head().is_some() {
            server.send(crate::harness::http::ok("unix"));
            break;
        }
    }
    assert_eq!(
        crate::harness::http::read_answer(&mut client).text(),
        "unix"
    );
    drop(origin);
    std::fs::remove_file(&path).unwrap();
    eventually("it is down again", || {
        proxy.count_said(&["state=\"down\"", &name]) == 2
    });
}
