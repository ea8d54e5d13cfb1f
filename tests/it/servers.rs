//! Several servers of one backend: who gets a connection, limits, the queue, and who is tried when one
//! cannot be reached. Health and names are elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::http::sample;
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::{PATIENCE, eventually, free_addr};

/// More servers of the plan's backend.
fn servers(addresses: &[SocketAddr], keys: &str) -> String {
    let table = |addr| format!("[[backend.server]]\naddress = \"{addr}\"\n{keys}\n");
    addresses.iter().map(table).collect()
}

/// A server that says its name and then echoes, one connection after another at a time.
fn named(name: &'static str) -> SocketAddr {
    Origin::serve(move |mut peer| {
        if peer.try_send(name).is_ok() {
            crate::harness::origin::echo(peer);
        }
    })
}

/// Opens a tunnel from `source` and returns which server it got.
fn open_from(source: &str, proxy: &Proxy) -> (Peer, String) {
    let mut client = Peer::connect_from(source, proxy.addr());
    let name = client.read(1);
    (client, String::from_utf8(name).unwrap())
}

fn open(proxy: &Proxy) -> (Peer, String) {
    open_from("127.0.0.1", proxy)
}

fn get(proxy: &Proxy) -> (Peer, String) {
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.read_head();
    (client, head)
}

/// Waits until so many wait for a place at a server.
fn await_queue(admin: SocketAddr, len: usize) {
    eventually("they are in the queue", || {
        sample(admin, "queue_length{backend=\"app\"}") == Some(len)
    });
}

#[test]
fn a_full_server_has_a_queue_in_order() {
    let (origin, admin) = (Origin::bind(), free_addr());
    let proxy = Plan::tcp(origin.addr())
        .process_keys(&format!("admin_http = \"{admin}\""))
        .server_keys("max_connections = 1")
        .start();
    let first = proxy.connect();
    let served = origin.accept();
    // Each is in the queue before the next one comes: what a client sends waits with it, even if that
    // was all it had to say.
    let mut waiting: Vec<Peer> = Vec::new();
    for name in ["2", "", "4"] {
        let mut client = proxy.connect();
        client.send(name);
        waiting.push(client);
        await_queue(admin, waiting.len());
    }
    origin.expect_untouched();
    waiting[2].finish();
    // The one in the middle gives up.
    drop(waiting.remove(1));
    proxy.wait_cause("refused", "client-closed");
    first.finish();
    drop(served);
    let mut second = origin.accept();
    second.expect("2");
    origin.expect_untouched();
    drop((waiting.remove(0), second));
    let mut third = origin.accept();
    third.expect("4");
    third.expect_closed();
    third.send("answer");
    waiting.remove(0).expect("answer");
}

#[test]
fn a_queue_is_bounded_and_says_so() {
    let (origin, admin) = (Origin::bind(), free_addr());
    let proxy = Plan::http(origin.addr())
        .process_keys(&format!("admin_http = \"{admin}\""))
        .backend_keys("max_queue = 1")
        .backend_timeouts("queue = \"700ms\"")
        .server_keys("max_connections = 1")
        .start();
    let mut first = proxy.connect();
    first.send("GET /first HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut served = origin.accept();
    served.read_head();
    let mut waits = proxy.connect();
    let began = Instant::now();
    waits.send("GET /waits HTTP/1.1\r\nHost: x\r\n\r\n");
    await_queue(admin, 1);
    let (_, head) = get(&proxy);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    proxy.wait_cause("refused", "queue-full");
    let head = waits.read_head();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(700), "{waited:?}");
    let line = proxy.wait_cause("refused", "queue-timeout");
    assert_eq!(
        (&line["target"], &line["backend"]),
        (&"/waits".into(), &"app".into())
    );
    // The connection that was kept for the first client takes no place.
    served.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    first.read_head();
    let mut next = proxy.connect();
    next.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(origin.accept().read_head().starts_with("GET /next "));
}

#[test]
fn another_server_is_tried_when_one_cannot_be_reached() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let good = Origin::serve(move |mut peer| {
        let head = peer.read_head();
        let len = if head.starts_with("POST") { 5 } else { 0 };
        assert_eq!(peer.read(len), &b"hello"[..len]);
        let _ = peer.try_send(answer);
    });
    let clogged = Origin::clogged();
    for bad in [free_addr(), clogged.addr()] {
        let proxy = Plan::http(bad)
            .backend_keys("balance = \"round_robin\"")
            .backend_timeouts("connect = \"200ms\"")
            .more(&servers(&[good], ""))
            .start();
        for _ in 0..4 {
            let mut client = proxy.connect();
            client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
            let head = client.read_head();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        }
        let line = proxy.wait_cause("request", "served");
        assert_eq!(line["server"], good.to_string());
    }
}

#[test]
fn the_last_failure_is_the_answer_and_retries_are_bounded() {
    let refused = [free_addr(), free_addr(), free_addr()];
    let good = named("1");
    // Four servers, of which the good one comes last in turn.
    for (retries, served) in [(0, false), (2, false), (3, true)] {
        let proxy = Plan::tcp(refused[0])
            .backend_keys(&format!("balance = \"round_robin\"\nretries = {retries}"))
            .more(&servers(&[refused[1], refused[2], good], ""))
            .start();
        let mut client = proxy.connect();
        if served {
            assert_eq!(client.read(1), b"1");
        } else {
            client.expect_closed();
            let line = proxy.wait_cause("refused", "connect-refused");
            assert_eq!(line["server"], refused[retries].to_string(), "{retries}");
        }
    }
}

#[test]
fn turns_are_exact_over_all_threads() {
    let names = ["a", "b", "c"].map(named);
    let proxy = Plan::tcp(names[0])
        .backend_keys("balance = \"round_robin\"")
        .server_keys("weight = 5")
        .more(&(servers(&names[1..2], "weight = 3") + &servers(&names[2..], "weight = 0")))
        .start();
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    let clients: Vec<_> = (0..80).map(|_| open(&proxy)).collect();
    for (_, name) in &clients {
        *turns.entry(name.clone()).or_default() += 1;
    }
    assert_eq!(
        turns,
        BTreeMap::from([("a".to_owned(), 50), ("b".to_owned(), 30)])
    );
}

#[test]
fn the_fewest_tunnels_win() {
    let names = ["a", "b", "c"].map(named);
    let proxy = Plan::tcp(names[0])
        .backend_keys("balance = \"least_connections\"")
        .more(&servers(&names[1..], ""))
        .start();
    let mut tunnels: Vec<(Peer, String)> = (0..30).map(|_| open(&proxy)).collect();
    let count = |tunnels: &[(Peer, String)], wanted: &str| {
        tunnels.iter().filter(|(_, name)| name == wanted).count()
    };
    for name in ["a", "b", "c"] {
        assert_eq!(count(&tunnels, name), 10, "{name}");
    }
    // All of one server end; all that come now go there, whichever thread takes them.
    tunnels.retain(|(_, name)| name != "b");
    let ended = || {
        let lines = proxy.access_lines();
        lines.iter().filter(|line| line["event"] == "close").count() == 10
    };
    eventually("ten tunnels have ended", ended);
    for _ in 0..10 {
        let tunnel = open(&proxy);
        assert_eq!(tunnel.1, "b");
        tunnels.push(tunnel);
    }
}

#[test]
fn a_client_keeps_its_server_and_clients_spread() {
    for balance in ["source", "maglev"] {
        let names = ["a", "b", "c"].map(named);
        let start = |order: [SocketAddr; 3]| {
            Plan::tcp(order[0])
                .backend_keys(&format!("balance = \"{balance}\""))
                .more(&servers(&order[1..], ""))
                .start()
        };
        let [a, b, c] = names;
        let (one, other) = (start([a, b, c]), start([c, a, b]));
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for host in 1..=60 {
            let source = format!("127.0.7.{host}");
            let (_client, name) = open_from(&source, &one);
            let (_again, same) = open_from(&source, &one);
            assert_eq!(name, same, "{balance} {source}");
            // Another node of the fleet, whose list has another order.
            let (_there, there) = open_from(&source, &other);
            assert_eq!(name, there, "{balance} {source}");
            *seen.entry(name).or_default() += 1;
        }
        assert_eq!(seen.len(), 3, "{balance} {seen:?}");
    }
}

#[test]
fn connections_to_a_server_come_from_the_addresses_of_source() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .server_keys("source = [\"127.0.0.41\", \"127.0.0.42\", \"::1\"]")
        .start();
    let mut tunnels = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..4 {
        let client = proxy.connect();
        let server = origin.accept();
        *seen.entry(server.peer_addr().ip().to_string()).or_default() += 1;
        tunnels.push((client, server));
    }
    let expected = ["127.0.0.41", "127.0.0.42"].map(|ip| (ip.to_owned(), 2));
    assert_eq!(seen, BTreeMap::from(expected));
    // An address that is not ours leads nowhere; the server is not to blame, and another one may be
    // reached.
    let foreign = "source = [\"192.0.2.1\", \"127.0.0.41\"]";
    let proxy = Plan::tcp(origin.addr()).server_keys(foreign).start();
    let tunnels: Vec<Peer> = (0..2).map(|_| proxy.connect()).collect();
    for _ in &tunnels {
        assert_eq!(origin.accept().peer_addr().ip().to_string(), "127.0.0.41");
    }
    let proxy = Plan::tcp(origin.addr())
        .backend_keys("balance = \"round_robin\"")
        .server_keys("source = \"192.0.2.1\"")
        .more(&servers(&[named("1")], ""))
        .start();
    for _ in 0..2 {
        assert_eq!(open(&proxy).1, "1");
    }
    let proxy = Plan::http(origin.addr())
        .backend_keys("source = \"192.0.2.1\"")
        .start();
    let (_, head) = get(&proxy);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let line = proxy.wait_cause("refused", "out-of-resources");
    assert!(
        line["detail"].as_str().unwrap().contains("192.0.2.1"),
        "{line}"
    );
}

/// Clients that come and go while one server has few places: none of those that stay is lost, and no
/// place either.
#[test]
fn places_and_queue_survive_a_crowd() {
    let origin = Origin::serve(|mut peer| {
        let mut byte = [0];
        while peer.receive(&mut byte).is_ok_and(|len| len == 1) && peer.try_send(byte).is_ok() {}
    });
    let mut proxy = Plan::tcp(origin).server_keys("max_connections = 3").start();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let proxy = &proxy;
            scope.spawn(move || {
                for round in 0..20 {
                    let mut client = proxy.connect();
                    if (thread + round) % 3 == 0 {
                        // Leaves, wherever it stands.
                        continue;
                    }
                    client.send("x");
                    client.expect("x");
                }
            });
        }
    });
    assert!(began.elapsed() < PATIENCE);
    let mut last: Vec<Peer> = (0..3).map(|_| proxy.connect()).collect();
    for client in &mut last {
        client.send("y");
        client.expect("y");
    }
    proxy.expect_sound();
}
