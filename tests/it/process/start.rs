//! Start of the process: its command line, and addresses that are free, taken, shared or left behind.

use nix::sys::signal::Signal;

use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};
use crate::harness::{eventually, free_addr, http};

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
