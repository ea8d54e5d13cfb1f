//! Checks of servers, and what follows from them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::app::App;
use crate::harness::http::{self, exchange, get};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::{eventually, free_addr, free_port, websocket};

/// Checks that are quick enough for a test and slow enough for a busy machine.
pub(crate) const QUICK: &str = "kind = \"http\"\npath = \"/healthz\"\ninterval = \"100ms\"\n\
     fast_interval = \"50ms\"\ntimeout = \"2s\"\nrise = 2\nfall = 2";

/// Two servers in turn.
fn two(a: SocketAddr, b: SocketAddr) -> Plan {
    Plan::http(a)
        .backend_keys("balance = \"round_robin\"")
        .and_server(b)
}

pub(crate) fn wait_up(proxy: &Proxy, server: impl std::fmt::Display) {
    proxy.wait_said(&["state=\"up\"", &format!("server={server} ")]);
}

/// Asks `count` times, each on a new connection, and returns who answered.
pub(crate) fn who_answers(proxy: &Proxy, count: usize) -> Vec<String> {
    let ask = |_| {
        let answer = exchange(
            proxy.addr(),
            get("app.example", "/", "Connection: close\r\n"),
        );
        assert_eq!(answer.status, 200, "{}\n{}", answer.head, proxy.log());
        answer.text()
    };
    (0..count).map(ask).collect()
}

fn count_of(answers: &[String], name: &str) -> usize {
    answers.iter().filter(|answer| *answer == name).count()
}

#[test]
fn a_server_that_fails_its_checks_gets_nothing_new_and_keeps_its_tunnels() {
    let (a, b) = (App::start("a"), App::start("b"));
    let mut proxy = two(a.addr(), b.addr()).health(QUICK).start();
    wait_up(&proxy, a.addr());
    wait_up(&proxy, b.addr());
    let answers = who_answers(&proxy, 10);
    assert_eq!((count_of(&answers, "a"), count_of(&answers, "b")), (5, 5));
    let mut tunnels: Vec<_> = (0..2).map(|_| websocket::open(proxy.addr())).collect();
    assert_eq!((a.upgrades(), b.upgrades()), (1, 1));

    a.set_health(500);
    let a_addr = a.addr().to_string();
    let line = proxy.wait_said(&["state=\"down\"", &a_addr]);
    assert!(line.contains("answered 500"), "{line}");
    assert!(line.contains("backend=app"), "{line}");
    assert_eq!(count_of(&who_answers(&proxy, 10), "b"), 10);
    for tunnel in &mut tunnels {
        tunnel.send("still here");
        tunnel.expect("still here");
    }

    let ups = proxy.count_said(&["state=\"up\"", &a_addr]);
    a.set_health(204);
    eventually("it is up again", || {
        proxy.count_said(&["state=\"up\"", &a_addr]) == ups + 1
    });
    let answers = who_answers(&proxy, 10);
    assert_eq!((count_of(&answers, "a"), count_of(&answers, "b")), (5, 5));
    // One line for each change, and none for checks that change nothing.
    assert_eq!(proxy.count_said(&["state=\"down\""]), 1);
    proxy.expect_sound();
}

#[test]
fn while_no_server_is_up_the_answer_is_503_at_once() {
    let app = App::start("a");
    app.set_health(503);
    let proxy = Plan::http(app.addr()).health(QUICK).start();
    eventually("it was checked", || app.checks() > 2);
    let started = Instant::now();
    let answer = exchange(proxy.addr(), get("app.example", "/", ""));
    assert_eq!(answer.status, 503);
    assert!(started.elapsed() < Duration::from_secs(1));
    let line = proxy.wait_cause("refused", "no-server");
    assert_eq!(line["detail"], "every server is down");
    assert_eq!(app.requests(), 0);
    app.set_health(200);
    wait_up(&proxy, app.addr());
    assert_eq!(who_answers(&proxy, 1), ["a"]);
}

#[test]
fn a_request_waits_for_a_server_where_it_may() {
    let app = App::start("a");
    app.set_health(503);
    let proxy = Plan::http(app.addr())
        .backend_keys("when_down = \"queue\"")
        .health(QUICK)
        .start();
    let mut client = proxy.connect();
    client.send(get("app.example", "/", ""));
    client.expect_silence(Duration::from_millis(300));
    app.set_health(200);
    let answer = http::read_answer(&mut client);
    assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
}

#[test]
fn a_websocket_check_wants_a_websocket() {
    let open = websocket::echo_server();
    let shut = Origin::serve(|mut peer| {
        while peer.try_read_head().is_some() {
            if peer.try_send(http::ok("shut")).is_err() {
                return;
            }
        }
    });
    let health = "kind = \"websocket\"\npath = \"/chat\"\ninterval = \"100ms\"\nrise = 1\nfall = 1";
    let proxy = two(open, shut).health(health).start();
    wait_up(&proxy, open);
    assert_eq!(proxy.count_said(&["state=\"up\"", &shut.to_string()]), 0);
    for _ in 0..4 {
        let mut tunnel = websocket::open(proxy.addr());
        tunnel.send("hello");
        tunnel.expect("hello");
    }
}

#[test]
fn a_check_opens_with_the_header_that_the_server_expects() {
    for (version, expected) in [
        ("v1", &b"PROXY UNKNOWN\r\nGET /healthz HTTP/1.1\r\n"[..]),
        ("v2", &b"\r\n\r\n\0\r\nQUIT\n\x20"[..]),
    ] {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr())
            .backend_keys(&format!("send_proxy = \"{version}\""))
            .health(QUICK)
            .start();
        let mut check = origin.accept();
        check.expect(expected);
        check.read_head();
        drop((check, proxy));
    }
}

#[test]
fn a_check_asks_as_configured() {
    let origin = Origin::bind();
    let _proxy = Plan::http(origin.addr())
        .health("kind = \"http\"\npath = \"/up?x\"\nhost = \"maps\"\nmethod = \"HEAD\"")
        .start();
    let head = origin.accept().read_head();
    assert_eq!(
        head,
        "HEAD /up?x HTTP/1.1\r\nHost: maps\r\nUser-Agent: longsplice\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn a_tcp_check_finds_out_who_listens() {
    let (app, nobody) = (App::start("a"), free_addr());
    let health = "interval = \"100ms\"\nrise = 1\nfall = 1";
    let proxy = two(app.addr(), nobody).health(health).start();
    wait_up(&proxy, app.addr());
    assert_eq!(count_of(&who_answers(&proxy, 6), "a"), 6);
    let late = App::start_at("b", nobody);
    wait_up(&proxy, late.addr());
    assert_eq!(count_of(&who_answers(&proxy, 6), "b"), 3);
}

#[test]
fn connections_that_fail_bring_a_check_forward() {
    let (a, b) = (App::start("a"), free_addr());
    // After the first look, the next check is an hour away.
    let listener = TcpListener::bind(b).unwrap();
    let proxy = two(a.addr(), b)
        .health("interval = \"1h\"\nfast_interval = \"50ms\"\nrise = 1\nfall = 2")
        .start();
    wait_up(&proxy, a.addr());
    wait_up(&proxy, b);
    drop(listener);
    eventually("the dead server is down", || {
        // Those that meet the dead server go on to the other one.
        assert_eq!(who_answers(&proxy, 1), ["a"]);
        proxy.count_said(&["state=\"down\"", &b.to_string()]) > 0
    });
    assert_eq!(count_of(&who_answers(&proxy, 6), "a"), 6);
}

#[test]
fn without_checks_a_server_that_refuses_is_left_alone_for_a_while() {
    let (a, b) = (App::start("a"), free_addr());
    let proxy = two(a.addr(), b).start();
    let b = b.to_string();
    for _ in 0..10 {
        assert_eq!(who_answers(&proxy, 1), ["a"]);
    }
    let line = proxy.wait_said(&["state=\"suspect\"", &b]);
    assert!(line.contains("could not be opened"), "{line}");
    // It gets its next chance by itself.
    let late = App::start_at("b", b.parse().unwrap());
    eventually("it serves", || {
        let _ = who_answers(&proxy, 2);
        late.requests() > 0
    });
}

#[test]
fn a_server_that_comes_back_starts_slowly_where_it_should() {
    let (a, b) = (App::start("a"), App::start("b"));
    let plan = two(a.addr(), b.addr());
    let proxy = plan
        .backend_keys("balance = \"round_robin\"\nslow_start = \"4s\"")
        .health(QUICK)
        .start();
    wait_up(&proxy, a.addr());
    wait_up(&proxy, b.addr());
    // At the start of the process each server has its whole share at once.
    assert_eq!(count_of(&who_answers(&proxy, 40), "a"), 20);
    a.set_health(500);
    let a_addr = a.addr().to_string();
    proxy.wait_said(&["state=\"down\"", &a_addr]);
    a.set_health(200);
    eventually("it is up again", || {
        proxy.count_said(&["state=\"up\"", &a_addr]) == 2
    });
    let share = |count| count_of(&who_answers(&proxy, count), "a");
    let first = share(40);
    assert!(first < 15, "{first} of 40 right after it came up");
    eventually("it has its whole share", || share(20) == 10);
}

#[test]
fn checks_do_not_come_all_at_once() {
    const SERVERS: usize = 100;
    const AT_ONCE_MAX: usize = 32;
    let port = free_port();
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    let (now, most, all) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let counters = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&all));
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let (now, most, all) = counters.clone();
            thread::spawn(move || {
                let mut peer = crate::harness::peer::Peer::new(stream.into());
                let _ = peer.try_read_head();
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                all.fetch_add(1, Ordering::SeqCst);
                // A slow server: as many checks as will come meanwhile meet here.
                thread::sleep(Duration::from_millis(50));
                now.fetch_sub(1, Ordering::SeqCst);
                let _ = peer.try_send(http::ok("up"));
            });
        }
    });
    let mut plan = Plan::http(SocketAddr::from(([127, 0, 1, 1], port)))
        .health("kind = \"http\"\ninterval = \"1h\"\nrise = 1\ntimeout = \"10s\"");
    for host in 2..=SERVERS {
        plan = plan.and_server(format!("127.0.1.{host}:{port}"));
    }
    let proxy = plan.start();
    eventually("every server is up", || {
        proxy.count_said(&["state=\"up\""]) == SERVERS
    });
    assert_eq!(all.load(Ordering::SeqCst), SERVERS);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=AT_ONCE_MAX).contains(&most), "{most} at once");
}
