//! WebSockets that a drain ends with a Close frame, where one may be sent.

use std::process::Command;
use std::thread;

use nix::sys::signal::Signal;

use crate::harness::kernel::takes;
use crate::harness::kernel::{Site, Suite};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, file};
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::tls::{Identity, Secure, VERSIONS};
use crate::harness::tls_server::{TlsOrigin, server_config};
use crate::harness::websocket::{self, server_text};

/// Close, status 1001.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];
const WITH_CLOSE: &str = "drain_close = \"websocket\"";
const SOON: &str = "drain_timeout = \"200ms\"";
const MIB: usize = 1 << 20;

/// A binary frame of a server, with a payload of so many zeroes.
fn binary(len: usize) -> Vec<u8> {
    let mut frame = vec![0x82, 127];
    frame.extend((len as u64).to_be_bytes());
    frame.resize(10 + len, 0);
    frame
}

/// A plan whose WebSockets are ended soon after SIGTERM.
fn plan(server: std::net::SocketAddr) -> Plan {
    Plan::http(server)
        .process_keys(SOON)
        .backend_keys(WITH_CLOSE)
}

/// A WebSocket with both its ends in the test's hands.
struct Joined {
    proxy: Proxy,
    client: Peer,
    server: Peer,
}

/// Opens a WebSocket whose server sends `early` with its 101, of which the client gets all.
fn join_with(plan: impl FnOnce(Plan) -> Plan, early: &[u8]) -> Joined {
    let origin = Origin::bind();
    let proxy = plan(self::plan(origin.addr())).start();
    let mut client = proxy.connect();
    client.send(websocket::request("app.example", "/chat", ""));
    let mut server = origin.accept();
    server.read_head();
    server.send([websocket::switching("").as_bytes(), early].concat());
    client.read_head();
    client.expect(early);
    Joined {
        proxy,
        client,
        server,
    }
}

fn join() -> Joined {
    join_with(|plan| plan, b"")
}

impl Joined {
    /// The server says `bytes`, and the client gets them.
    fn say(&mut self, bytes: &[u8]) {
        let mut server = self.server.twin();
        thread::scope(|scope| {
            scope.spawn(move || server.send(bytes));
            self.client.expect(bytes);
        });
    }

    /// Stops the process; returns what the client gets then, after which both are at their end.
    fn last_words(&mut self) -> Vec<u8> {
        self.proxy.signal(Signal::SIGTERM);
        let (last, end) = self.client.read_to_end();
        assert_eq!(end, End::Closed);
        self.client.finish();
        self.server.expect_closed();
        self.proxy.wait_cause("close", "drained");
        last
    }
}

#[test]
fn a_client_hears_that_its_server_goes_away() {
    let whole = server_text("hello");
    let ping = [0x89, 1, b'?'];
    let first_of_two = [0x01, 2, b'h', b'i'];
    let rows: [&[&[u8]]; 5] = [
        &[],
        &[&whole],
        &[&whole[..1], &whole[1..]],
        &[&first_of_two],
        &[&first_of_two, &ping, &binary(300)],
    ];
    for parts in rows {
        let mut joined = join();
        for part in parts {
            joined.say(part);
        }
        assert_eq!(joined.last_words(), GOING_AWAY, "{parts:?}");
    }
}

#[test]
fn where_no_frame_may_come_none_comes() {
    let half = &server_text("hello")[..4];
    let rows: [&[u8]; 5] = [
        &[0x81],
        half,
        &binary(300)[..9],
        // The server's own Close.
        &[0x88, 0x02, 0x03, 0xE8],
        // What no server may send.
        &[0x81, 0x80, 1, 2, 3, 4],
    ];
    for bytes in rows {
        let mut joined = join();
        joined.say(bytes);
        assert_eq!(joined.last_words(), b"", "{bytes:02x?}");
    }
}

#[test]
fn what_comes_with_the_101_counts() {
    let frame = server_text("hello");
    assert_eq!(join_with(|plan| plan, &frame).last_words(), GOING_AWAY);
    let mut joined = join_with(|plan| plan, &frame[..3]);
    joined.say(&frame[3..]);
    assert_eq!(joined.last_words(), GOING_AWAY);
    assert_eq!(join_with(|plan| plan, &frame[..3]).last_words(), b"");
}

#[test]
fn bulk_that_goes_unseen_is_counted() {
    for (last, expected) in [(server_text("x"), &GOING_AWAY[..]), (vec![0x82, 2, 0], b"")] {
        let mut joined = join();
        for len in [20 * MIB, 100, 3 * MIB, 70_000, MIB] {
            joined.say(&binary(len));
        }
        joined.say(&last);
        assert_eq!(joined.last_words(), expected);
        let line = joined.proxy.wait_cause("close", "drained");
        let path = line["path_out"].as_str().unwrap();
        assert!(path.contains("splice"), "{line}");
    }
}

#[test]
fn in_the_middle_of_bulk_nothing_is_put_in() {
    let mut joined = join();
    joined.say(&binary(6 * MIB)[..5 * MIB]);
    assert_eq!(joined.last_words(), b"");
}

#[test]
fn without_the_key_not_a_byte_is_added() {
    for keys in ["", "drain_close = \"plain\""] {
        let mut joined = join_with(|plan| plan.backend_keys(keys), b"");
        joined.say(&server_text("hello"));
        assert_eq!(joined.last_words(), b"");
    }
}

#[test]
fn a_client_that_is_talking_is_not_reset() {
    for _ in 0..5 {
        let mut joined = join();
        let mut talker = joined.client.twin();
        let mut listener = joined.server.twin();
        let listening = thread::spawn(move || listener.drain());
        let talking = thread::spawn(move || {
            let frame = websocket::client_text(&"a".repeat(100)).repeat(10);
            while talker.try_send(&frame).is_ok() {
                thread::yield_now();
            }
        });
        joined.proxy.signal(Signal::SIGTERM);
        let (last, end) = joined.client.read_to_end();
        assert_eq!((&last[..], end), (&GOING_AWAY[..], End::Closed));
        joined.client.finish_if_open();
        talking.join().unwrap();
        listening.join().unwrap();
        assert_eq!(joined.proxy.wait_exit(), Some(0));
    }
}

#[test]
fn a_client_that_does_not_answer_holds_nothing_up_for_long() {
    let mut joined = join();
    joined.proxy.signal(Signal::SIGTERM);
    // The client is still open when the process has ended.
    assert_eq!(joined.proxy.wait_exit(), Some(0));
    assert_eq!(joined.client.read_to_end().0, GOING_AWAY);
}

#[test]
fn over_a_window_each_hears_it_at_its_end() {
    let origin = websocket::echo_server();
    let mut proxy = plan(origin).process_keys("drain_window = \"1s\"").start();
    let mut clients: Vec<Peer> = (0..20).map(|_| websocket::open(proxy.addr())).collect();
    proxy.signal(Signal::SIGTERM);
    for client in &mut clients {
        assert_eq!(client.read_to_end(), (GOING_AWAY.to_vec(), End::Closed));
        client.finish();
    }
    assert_eq!(proxy.wait_exit(), Some(0));
}

/// Opens a WebSocket over TLS to a server that says `parts`; returns what comes at the end.
fn last_words_over_tls(offload: &str, parts: &[Vec<u8>]) -> (Vec<u8>, serde_json::Value) {
    let (site, suite) = (Site::here(), Suite::tls13());
    let origin = Origin::bind();
    let mut proxy = plan(origin.addr())
        .listener_keys(&site.listener_keys(suite, offload))
        .start();
    let mut client = Secure::connect(proxy.addr(), &suite.client(site));
    client.send(websocket::request("app.example", "/chat", ""));
    let mut server = origin.accept();
    server.read_head();
    server.send(websocket::switching(""));
    client.read_head();
    for part in parts {
        thread::scope(|scope| {
            scope.spawn(|| server.send(part));
            client.expect(part);
        });
    }
    proxy.signal(Signal::SIGTERM);
    // An error unless close_notify comes behind it.
    let last = client.read_to_end().unwrap();
    client.notify();
    drop(client);
    server.expect_closed();
    assert_eq!(proxy.wait_exit(), Some(0));
    (last, proxy.wait_cause("close", "drained"))
}

#[test]
fn over_tls_it_comes_in_front_of_close_notify() {
    let small = vec![server_text("hello")];
    let bulk = vec![
        binary(6 * MIB),
        binary(100),
        binary(2 * MIB),
        server_text("x"),
    ];
    for offload in ["never", "adaptive", "always"] {
        for parts in [&small, &bulk] {
            let (last, line) = last_words_over_tls(offload, parts);
            assert_eq!(last, GOING_AWAY, "{offload} {line}");
        }
        let half = vec![binary(6 * MIB), binary(3 * MIB)[..2 * MIB].to_vec()];
        let (last, line) = last_words_over_tls(offload, &half);
        assert_eq!(last, b"", "{offload} {line}");
        let kernel = line["path_out"].as_str().unwrap().contains("kernel-tls");
        assert_eq!(kernel, takes(Suite::tls13(), offload), "{line}");
    }
}

#[test]
fn a_server_over_tls_is_followed_too() {
    for version in VERSIONS {
        for offload in ["never", "adaptive", "always"] {
            let identity = Identity::new(&["localhost"]);
            let origin = TlsOrigin::bind(server_config(&identity, &[version], None));
            let tls = format!(
                "tls = {{ ca = \"{}\", server_name = \"localhost\", offload = \"{offload}\" }}",
                identity.cert_file()
            );
            let mut proxy = plan(origin.addr())
                .backend_keys(&format!("{WITH_CLOSE}\n{tls}"))
                .start();
            let mut client = proxy.connect();
            client.send(websocket::request("app.example", "/chat", ""));
            let mut server = origin.accept();
            server.read_head();
            server.send(websocket::switching(""));
            client.read_head();
            for part in [
                binary(6 * MIB),
                binary(100),
                binary(2 * MIB),
                server_text("x"),
            ] {
                thread::scope(|scope| {
                    scope.spawn(|| server.send(&part));
                    client.expect(&part);
                });
            }
            proxy.signal(Signal::SIGTERM);
            let end = (GOING_AWAY.to_vec(), End::Closed);
            assert_eq!(client.read_to_end(), end, "{offload}");
            client.finish();
            assert_eq!(proxy.wait_exit(), Some(0));
        }
    }
}

/// Runs a client that says when it has heard something, and then how it was closed.
fn code_seen_by(command: &mut Command, proxy: &Proxy) -> String {
    let client = Running::start(command);
    assert_eq!(client.line(), "open");
    proxy.signal(Signal::SIGTERM);
    client.line()
}

#[test]
fn programs_see_the_code() {
    let clients = [
        (Part::Node, "real/goodbye_client.js"),
        (Part::Websockets, "real/goodbye_client.py"),
    ];
    for (part, script) in clients {
        let Some(mut server) = Part::Node.command() else {
            return;
        };
        let app = Running::start(server.arg(file("real/ws_server.js")));
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], app.port()));
        let identity = Identity::new(&["localhost"]);
        let (plain, tls) = (String::new(), identity.listener_keys());
        let rows = [
            ("ws", &plain, WITH_CLOSE, "1001"),
            ("wss", &tls, WITH_CLOSE, "1001"),
            ("ws", &plain, "", "1006"),
        ];
        for (scheme, keys, more, code) in rows {
            let Some(mut client) = part.command() else {
                continue;
            };
            let proxy = Plan::http(addr)
                .process_keys("drain_timeout = \"1s\"")
                .listener_keys(keys)
                .backend_keys(more)
                .start();
            let url = format!("{scheme}://localhost:{}/chat", proxy.addr().port());
            client.arg(file(script)).arg(url).arg(identity.cert_file());
            let seen = code_seen_by(&mut client, &proxy);
            assert_eq!(seen, code, "{script} {scheme} {more}");
        }
    }
}
