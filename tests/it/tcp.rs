//! Tunnels in tcp mode: bytes, ends, silence.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::eventually;
use crate::harness::free_port;
use crate::harness::origin::Origin;
use crate::harness::peer::{End, Peer};
use crate::harness::plan::{Plan, backend};
use crate::harness::process::Proxy;
use crate::harness::random::Random;

/// Pause of a side that talks: a tenth of its time-out, so that a busy machine makes no silence of it.
const TALKING_PAUSE: Duration = Duration::from_millis(100);

/// A tunnel with both its ends in the test's hands.
struct Joined {
    proxy: Proxy,
    client: Peer,
    server: Peer,
}

fn join(backend_timeouts: &str) -> Joined {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .backend_timeouts(backend_timeouts)
        .start();
    let mut client = proxy.connect();
    let mut server = origin.accept();
    client.send("hello");
    server.expect("hello");
    Joined {
        proxy,
        client,
        server,
    }
}

fn count(line: &Value, field: &str) -> u64 {
    line[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} is a number: {line}"))
}

#[test]
fn bytes_come_back_and_are_counted_exactly() {
    let proxy = Plan::tcp(Origin::echo()).start();
    let mut client = proxy.connect();
    let block = Random::new(1).bytes(100_000);
    client.send("first");
    client.expect("first");
    for piece in block.chunks(9_999) {
        client.send(piece);
        client.expect(piece);
    }
    client.finish();
    client.expect_closed();

    let line = proxy.wait_cause("close", "client-closed");
    assert_eq!(count(&line, "bytes_in"), 100_005);
    assert_eq!(count(&line, "bytes_out"), 100_005);
}

#[test]
fn a_server_may_speak_first() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let mut client = proxy.connect();
    origin.accept().send("220 ready\r\n");
    client.expect("220 ready\r\n");
    client.expect_closed();
    drop(client);
    let line = proxy.wait_cause("close", "server-closed");
    assert_eq!(count(&line, "bytes_in"), 0);
    assert_eq!(count(&line, "bytes_out"), 11);
}

#[test]
fn a_client_that_has_ended_still_gets_the_answer() {
    let Joined {
        proxy,
        mut client,
        mut server,
    } = join("");
    client.send("question");
    client.finish();
    assert_eq!(server.read_to_end(), (b"question".to_vec(), End::Closed));
    let answer = Random::new(2).bytes(300_000);
    server.send(&answer[..1000]);
    client.expect(&answer[..1000]);
    server.send(&answer[1000..]);
    drop(server);
    let (rest, end) = client.read_to_end();
    assert!(rest == answer[1000..], "the whole answer");
    assert_eq!(end, End::Closed);
    let line = proxy.wait_cause("close", "client-closed");
    assert_eq!(count(&line, "bytes_in"), 13);
    assert_eq!(count(&line, "bytes_out"), 300_000);
}

#[test]
fn a_client_that_says_all_and_ends_at_once_is_answered() {
    // Its end is there before the server's connection is open.
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let question = Random::new(6).bytes(100_000);
    for len in [0, 1, 4_096, 100_000] {
        let mut client = proxy.connect();
        client.send(&question[..len]);
        client.finish();
        let mut server = origin.accept();
        let (received, end) = server.read_to_end();
        assert!(received == question[..len], "{len} bytes");
        assert_eq!(end, End::Closed);
        server.send("answer");
        drop(server);
        assert_eq!(client.read_to_end(), (b"answer".to_vec(), End::Closed));
    }
}

#[test]
fn a_server_that_has_ended_still_gets_the_rest() {
    let Joined {
        proxy,
        mut client,
        mut server,
    } = join("");
    server.send("that is all from me");
    server.finish();
    assert_eq!(
        client.read_to_end(),
        (b"that is all from me".to_vec(), End::Closed)
    );
    let upload = Random::new(3).bytes(1 << 20);
    client.send(&upload);
    client.finish();
    let (received, end) = server.read_to_end();
    assert!(received == upload, "the whole upload");
    assert_eq!(end, End::Closed);
    drop(server);
    let line = proxy.wait_cause("close", "server-closed");
    assert_eq!(count(&line, "bytes_in"), 5 + (1 << 20));
}

#[test]
fn a_reset_of_the_client_reaches_the_server_as_a_reset() {
    let Joined {
        proxy,
        client,
        mut server,
    } = join("");
    client.reset();
    assert_eq!(server.read_to_end(), (Vec::new(), End::Reset));
    proxy.wait_cause("close", "client-reset");
}

#[test]
fn a_reset_of_the_server_reaches_the_client_as_a_reset() {
    let Joined {
        proxy,
        mut client,
        server,
    } = join("");
    server.reset();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Reset));
    proxy.wait_cause("close", "server-reset");
}

#[test]
fn a_reset_after_the_other_side_has_ended_is_passed_on_too() {
    let Joined {
        proxy,
        client,
        mut server,
    } = join("");
    server.finish();
    let mut reader = client.twin();
    reader.expect_closed();
    drop(reader);
    client.reset();
    assert_eq!(server.read_to_end(), (Vec::new(), End::Reset));
    proxy.wait_cause("close", "client-reset");
}

#[test]
fn silence_after_one_side_has_ended_ends_the_tunnel() {
    let Joined {
        proxy,
        mut client,
        mut server,
    } = join("half_close = \"300ms\"\ntunnel_idle = \"1h\"");
    client.finish();
    server.expect_closed();
    let started = Instant::now();
    client.expect_ended();
    assert!(started.elapsed() > Duration::from_millis(200), "too early");
    proxy.wait_cause("close", "half-close-idle");
    server.drip_until_refused(Duration::from_millis(10));
}

#[test]
fn a_side_that_talks_outlives_half_close() {
    let Joined {
        proxy,
        client,
        mut server,
    } = join("half_close = \"1s\"");
    client.finish();
    server.expect_closed();
    let mut reader = client;
    for round in 0..20_u8 {
        server.send([round]);
        reader.expect([round]);
        thread::sleep(TALKING_PAUSE);
    }
    drop(server);
    reader.expect_closed();
    proxy.wait_cause("close", "client-closed");
}

#[test]
fn a_talking_server_keeps_a_silent_client_alive() {
    let Joined {
        proxy,
        mut client,
        mut server,
    } = join("tunnel_idle = \"1s\"");
    for round in 0..20_u8 {
        server.send([round]);
        client.expect([round]);
        thread::sleep(TALKING_PAUSE);
    }
    let silent_since = Instant::now();
    client.expect_ended();
    assert!(
        silent_since.elapsed() > Duration::from_millis(800),
        "ended {:?} after the last byte",
        silent_since.elapsed()
    );
    server.expect_ended();
    let line = proxy.wait_cause("close", "tunnel-idle");
    assert_eq!(count(&line, "bytes_out"), 20);
    assert!(count(&line, "duration_ms") >= 2900, "{line}");
}

#[test]
fn a_talking_client_keeps_a_silent_server_alive() {
    let Joined {
        proxy,
        mut client,
        mut server,
    } = join("tunnel_idle = \"1s\"");
    for round in 0..20_u8 {
        client.send([round]);
        server.expect([round]);
        thread::sleep(TALKING_PAUSE);
    }
    server.expect_ended();
    proxy.wait_cause("close", "tunnel-idle");
}

#[test]
fn a_server_that_refuses_ends_the_connection() {
    let proxy = Plan::tcp(crate::harness::free_addr()).start();
    proxy.connect().expect_ended();
    let line = proxy.wait_cause("refused", "connect-refused");
    assert_eq!(line["backend"], "app");
}

#[test]
fn a_server_that_does_not_answer_ends_the_connection_in_time() {
    let clogged = Origin::clogged();
    let proxy = Plan::tcp(clogged.addr())
        .backend_timeouts("connect = \"300ms\"")
        .start();
    let started = Instant::now();
    proxy.connect().expect_ended();
    assert!(started.elapsed() >= Duration::from_millis(250));
    proxy.wait_cause("refused", "connect-timeout");
}

#[test]
fn a_connection_without_a_route_is_closed() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .routes("[[listener.route]]\nclient = [\"127.0.0.2\"]\nbackend = \"app\"")
        .start();
    Peer::connect_from("127.0.0.3", proxy.addr()).expect_ended();
    proxy.wait_cause("refused", "no-route");
    origin.expect_untouched();

    let mut client = Peer::connect_from("127.0.0.2", proxy.addr());
    client.send("x");
    origin.accept().expect("x");
}

#[test]
fn routes_go_by_the_client_that_a_header_names() {
    let (inside, outside) = (Origin::bind(), Origin::bind());
    let proxy = Plan::tcp(inside.addr())
        .listener_keys("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .routes(
            "[[listener.route]]\nclient = [\"203.0.113.0/24\"]\nbackend = \"app\"\n\
             [[listener.route]]\nbackend = \"outside\"\n",
        )
        .more(&backend("outside", outside.addr()))
        .start();
    for (from, origin) in [("203.0.113.7", &inside), ("198.51.100.7", &outside)] {
        let mut client = proxy.connect();
        client.send(format!("PROXY TCP4 {from} 192.0.2.1 1 2\r\nhello"));
        origin.accept().expect("hello");
    }
}

#[test]
fn ipv6_is_listened_on_beside_ipv4() {
    let (v4, v6) = (free_port(), free_port());
    let proxy = Plan::tcp(Origin::echo())
        .bind(format!("\"127.0.0.1:{v4}\", \"[::1]:{v6}\""))
        .start();
    for addr in [format!("127.0.0.1:{v4}"), format!("[::1]:{v6}")] {
        let mut client = Peer::connect(addr.parse().unwrap());
        client.send(&addr);
        client.expect(&addr);
    }
    let line = proxy.wait_access("open", |line| {
        line["client"].as_str().unwrap().contains("::1")
    });
    assert_eq!(line["listener"], "edge");
}

#[test]
fn both_ends_may_be_unix_sockets() {
    let dir = tempfile::TempDir::new().unwrap();
    let (outside, inside) = (dir.path().join("edge.sock"), dir.path().join("app.sock"));
    let origin = Origin::bind_unix(&inside);
    let proxy = Plan::tcp(crate::harness::free_addr())
        .bind(format!("\"unix:{}\"", outside.display()))
        .server(format!("unix:{}", inside.display()))
        .start();
    let mut client = Peer::connect_unix(&outside);
    let mut server = origin.accept();
    let block = Random::new(4).bytes(200_000);
    let sent = block.clone();
    let mut sender = client.twin();
    let sending = thread::spawn(move || {
        sender.send(&sent);
        sender.finish();
    });
    let (received, end) = server.read_to_end();
    assert!(received == block, "every byte");
    assert_eq!(end, End::Closed);
    sending.join().unwrap();
    server.send("done");
    drop(server);
    assert_eq!(client.read_to_end(), (b"done".to_vec(), End::Closed));
    let line = proxy.wait_cause("close", "client-closed");
    assert_eq!(count(&line, "bytes_in"), 200_000);
}

#[test]
fn no_descriptor_is_left_whichever_way_tunnels_end() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .backend_timeouts("half_close = \"300ms\"\ntunnel_idle = \"2s\"")
        .start();
    let join = || {
        let mut client = proxy.connect();
        let mut server = origin.accept();
        client.send("x");
        server.expect("x");
        (client, server)
    };
    drop(join());
    proxy.wait_access("close", |_| true);
    let before = proxy.settled_descriptors();
    for _ in 0..10 {
        let (client, server) = join();
        client.reset();
        drop(server);
        let (client, server) = join();
        server.reset();
        drop(client);
        let (client, server) = join();
        client.finish();
        server.finish();
    }
    let half_closed = join();
    half_closed.0.finish();
    let idle = join();
    eventually("32 tunnels have ended", || {
        let lines = proxy.access_lines();
        lines.iter().filter(|line| line["event"] == "close").count() == 33
    });
    proxy.wait_descriptors(before);
    drop((half_closed, idle));
}
