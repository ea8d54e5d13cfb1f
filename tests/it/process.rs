//! Start, stop, drain, limits on connections.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};
use crate::harness::{eventually, free_addr, http, websocket};

/// Waits until nobody takes connections at the proxy's address any more.
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
fn a_taken_port_is_an_exit_that_names_the_address() {
    let taken = std::net::TcpListener::bind(free_addr()).unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let plan = Plan::tcp(free_addr()).bind(format!("\"{addr}\""));
    let mut proxy = Proxy::spawn(&plan.toml());
    assert_eq!(proxy.wait_exit(), Some(1));
    assert!(proxy.log().contains(&addr), "{}", proxy.log());
}

#[test]
fn a_second_process_on_the_same_port_is_refused() {
    let first = Plan::tcp(Origin::echo());
    let proxy = first.start();
    let mut second = Proxy::spawn(&first.toml());
    assert_eq!(second.wait_exit(), Some(1));
    let addr = proxy.addr().to_string();
    assert!(second.log().contains(&addr), "{}", second.log());
    // The first is not disturbed.
    let mut client = proxy.connect();
    client.send("x");
    client.expect("x");
}

#[test]
fn share_port_lets_a_second_process_listen_too() {
    let plan = Plan::tcp(Origin::echo()).process_keys("share_port = true");
    let mut first = plan.start();
    let second = plan.start();
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait_exit(), Some(0));
    for _ in 0..10 {
        let mut client = second.connect();
        client.send("x");
        client.expect("x");
    }
}

#[test]
fn one_that_does_not_share_keeps_off_one_that_does() {
    let plan = Plan::tcp(Origin::echo());
    let _first = plan.clone().process_keys("share_port = true").start();
    let mut second = Proxy::spawn(&plan.toml());
    assert_eq!(second.wait_exit(), Some(1));
}

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

/// Lets clients come while the process stands still, and demands that each is served although
/// nobody comes after them.
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

#[test]
fn a_server_that_appears_later_is_found() {
    let addr = free_addr();
    let proxy = Plan::http(addr).start();
    assert_eq!(
        http::exchange(proxy.addr(), http::get("x", "/", "")).status,
        502
    );
    let listener = std::net::TcpListener::bind(addr).unwrap();
    let mut client = proxy.connect();
    client.send(http::get("x", "/", ""));
    let (stream, _) = listener.accept().unwrap();
    let mut server = Peer::new(stream.into());
    server.read_head();
    server.send(http::ok("here now"));
    assert_eq!(http::read_answer(&mut client).text(), "here now");
}

#[test]
fn the_one_liner_is_the_same_engine() {
    let origin = Origin::bind();
    let (listen, to) = (free_addr().to_string(), origin.addr().to_string());
    let proxy = Proxy::start_with(
        &[
            "run",
            "--listen",
            &listen,
            "--to",
            &to,
            "--mode",
            "tcp",
            "--proxy-protocol",
            "require",
            "--trust",
            "127.0.0.2",
            "--trust",
            "10.0.0.0/8",
            "--send-proxy",
            "v1",
        ],
        std::slice::from_ref(&listen),
    );
    let mut client = Peer::connect_from("127.0.0.2", proxy.addr());
    client.send("PROXY TCP4 203.0.113.7 192.0.2.1 1000 443\r\nhello");
    origin
        .accept()
        .expect("PROXY TCP4 203.0.113.7 192.0.2.1 1000 443\r\nhello");
}

#[test]
fn the_one_liner_speaks_http_unless_told_otherwise() {
    let origin = Origin::answering(http::ok("hello"));
    let (listen, to) = (free_addr().to_string(), origin.addr.to_string());
    let mut proxy = Proxy::start_with(
        &["run", "--listen", &listen, "--to", &to],
        std::slice::from_ref(&listen),
    );
    assert_eq!(
        http::exchange(proxy.addr(), http::get("x", "/", "")).text(),
        "hello"
    );
    assert_eq!(http::values(&origin.head(), "x-real-ip"), ["127.0.0.1"]);
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_killed_process_can_be_started_again_at_once() {
    let dir = tempfile::TempDir::new().unwrap();
    let socket = dir.path().join("edge.sock");
    let addr = free_addr();
    let plan = Plan::tcp(Origin::echo()).bind(format!("\"{addr}\", \"unix:{}\"", socket.display()));
    for _ in 0..5 {
        let proxy = plan.start();
        let mut over_tcp = Peer::connect(addr);
        let mut over_unix = Peer::connect_unix(&socket);
        for client in [&mut over_tcp, &mut over_unix] {
            client.send("x");
            client.expect("x");
        }
        // Dropping kills; its connections and listeners go with it, at the kernel's leisure.
        drop(proxy);
    }
}

#[test]
fn a_wrong_command_line_or_file_is_exit_2() {
    let dir = tempfile::TempDir::new().unwrap();
    let broken = dir.path().join("broken.toml");
    std::fs::write(&broken, "[server\n").unwrap();
    let broken = broken.to_str().unwrap();
    let missing = dir.path().join("missing.toml");
    let missing = missing.to_str().unwrap();
    let rows: [&[&str]; 9] = [
        &["run"],
        &["run", "-c", missing],
        &["run", "-c", broken],
        &["run", "--listen", "127.0.0.1:1"],
        &["run", "--listen", "nonsense", "--to", "127.0.0.1:1"],
        &[
            "run",
            "--listen",
            "127.0.0.1:1",
            "--to",
            "127.0.0.1:2",
            "--mode",
            "ftp",
        ],
        &["check", "-c", missing],
        &["no-such-command"],
        &["run", "--no-such-flag"],
    ];
    for arguments in rows {
        let outcome = run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome:?}");
        assert!(!outcome.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_unix_socket_left_by_a_dead_process_is_taken_over() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("edge.sock");
    let plan = Plan::tcp(Origin::echo()).bind(format!("\"unix:{}\"", path.display()));
    drop(plan.start());
    assert!(path.exists(), "killed: the file stays");
    let mut proxy = plan.start();
    let mut client = Peer::connect_unix(&path);
    client.send("x");
    client.expect("x");
    // One that is alive keeps its socket.
    let mut second = Proxy::spawn(&plan.toml());
    assert_eq!(second.wait_exit(), Some(1));
    drop(client);
    proxy.signal(Signal::SIGTERM);
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
fn a_unix_socket_of_a_successor_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.sock");
    let plan = Plan::tcp(Origin::echo()).bind(format!("\"unix:{}\"", path.display()));
    let mut old = plan.start();
    let mut client = Peer::connect_unix(&path);
    client.send("before");
    client.expect("before");
    old.signal(Signal::SIGTERM);
    eventually("the path to be free", || !path.exists());
    let _new = plan.start();
    drop(client);
    assert_eq!(old.wait_exit(), Some(0));
    let mut client = Peer::connect_unix(&path);
    client.send("after");
    client.expect("after");
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
