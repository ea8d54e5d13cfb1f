//! What happens to bad input: nothing, to anybody else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::http::{self, get};
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::random::Random;
use crate::harness::websocket;

/// Connections of the flood.
const FLOOD: usize = 10_000;

/// How many of them at a time.
const AT_A_TIME: usize = 16;

/// How much larger the process may be after the flood than after a first tenth of it, in KiB: what
/// allocators keep, not what connections do.
const GROWTH_KIB_MAX: usize = 8 * 1024;

/// One bad connection, of a kind that `random` chooses; every failure on the way is fine.
fn misbehave(addr: std::net::SocketAddr, random: &mut Random) {
    let Ok(mut peer) = Peer::try_connect(addr) else {
        return;
    };
    match random.between(0, 7) {
        // Connect and close.
        0 => {}
        // Connect and reset.
        1 => peer.reset(),
        // Random bytes.
        2 | 3 => {
            let len = random.between(1, 3000);
            let _ = peer.try_send(random.bytes(len));
            if random.between(0, 1) == 0 {
                peer.finish_if_open();
                peer.drain();
            }
        }
        // Half a head.
        4 => {
            let head = websocket::request("app.example", "/chat", "X: y\r\n");
            let cut = random.between(1, head.len() - 1);
            let _ = peer.try_send(&head[..cut]);
        }
        // Half a PROXY header, and nonsense behind it.
        5 => {
            let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
            let _ = peer.try_send(&header[..random.between(1, header.len())]);
            let len = random.between(0, 40);
            let _ = peer.try_send(random.bytes(len));
        }
        // A head with random damage.
        6 => {
            let mut head = websocket::request("app.example", "/chat", "").into_bytes();
            for _ in 0..random.between(1, 4) {
                let at = random.between(0, head.len() - 1);
                head[at] = random.bytes(1)[0];
            }
            let _ = peer.try_send(&head);
            if random.between(0, 1) == 0 {
                peer.finish_if_open();
                peer.drain();
            }
        }
        // A good request, and gone before the answer.
        _ => {
            let _ = peer.try_send(get("app.example", "/", ""));
            if random.between(0, 1) == 0 {
                peer.reset();
            }
        }
    }
}

/// Runs `count` bad connections.
fn flood(addr: std::net::SocketAddr, count: usize, seed: u64) {
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..AT_A_TIME as u64 {
            let done = &done;
            scope.spawn(move || {
                let mut random = Random::new(seed * 1000 + worker);
                while done.fetch_add(1, Ordering::Relaxed) < count {
                    misbehave(addr, &mut random);
                }
            });
        }
    });
}

/// Opens connections that send a byte now and then and never come to an end.
fn trickle(addr: std::net::SocketAddr) -> Vec<thread::JoinHandle<()>> {
    (0..20)
        .map(|number| {
            thread::spawn(move || {
                let head = websocket::request("app.example", "/", &"X: y\r\n".repeat(number + 1));
                let Ok(mut peer) = Peer::try_connect(addr) else {
                    return;
                };
                let _ = peer.drip(head.as_bytes(), Duration::from_millis(40));
            })
        })
        .collect()
}

fn check(plan: &Plan) {
    let mut proxy = plan.start();
    let addr = proxy.addr();
    let mut canary = websocket::open(addr);
    let before_flood = proxy.settled_descriptors();
    let said_at_start = proxy.log_lines().len();

    // What allocators and pools keep is there after a first tenth.
    flood(addr, FLOOD / 10, 1);
    proxy.wait_descriptors(before_flood);
    let resident = proxy.resident_kib();

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let canary = &mut canary;
        // The tunnel that was there, and new clients, are served throughout.
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                canary.send("still here");
                canary.expect("still here");
                let mut fresh = websocket::open(addr);
                fresh.send("me too");
                fresh.expect("me too");
                // The pace of this traffic.
                thread::sleep(Duration::from_millis(5));
            }
        });
        let slow = trickle(addr);
        flood(addr, FLOOD - FLOOD / 10, 2);
        for thread in slow {
            thread.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    proxy.wait_descriptors(before_flood);
    let grown = proxy.resident_kib().saturating_sub(resident);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB more");
    canary.send("at the end");
    canary.expect("at the end");
    proxy.expect_sound();
    expect_no_error_lines(&proxy.log_lines()[said_at_start..]);
}

/// A diagnostic of level error is for the operator to act on; nothing here is.
fn expect_no_error_lines(lines: &[String]) {
    for line in lines {
        let is_access = line.starts_with('{') && line.contains("\"event\"");
        let lower = line.to_lowercase();
        assert!(
            is_access || !(lower.contains("error") || lower.contains("panick")),
            "{line}"
        );
    }
}

/// Every connection gets a little, and never long.
const SHORT: &str = "proxy_header = \"1s\"\nrequest_header = \"1s\"\nkeep_alive = \"1s\"";

#[test]
fn a_flood_of_nonsense_on_http_disturbs_nobody() {
    check(&Plan::http(websocket_or_page()).listener_timeouts(SHORT));
}

#[test]
fn a_flood_of_nonsense_behind_a_header_disturbs_nobody() {
    check(
        &Plan::http(websocket_or_page())
            .listener_keys("proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.0/8\"]")
            .listener_timeouts(SHORT),
    );
}

#[test]
fn a_flood_of_nonsense_through_tunnels_disturbs_nobody() {
    check(
        &Plan::tcp(websocket_or_page())
            .listener_keys("proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.0/8\"]")
            .listener_timeouts(SHORT)
            .backend_timeouts("half_close = \"1s\""),
    );
}

/// An application that echoes on upgraded connections and answers everything else.
fn websocket_or_page() -> std::net::SocketAddr {
    Origin::serve(|mut peer| {
        let Some(head) = peer.try_read_head() else {
            return;
        };
        let key = http::values(&head, "sec-websocket-key");
        if head.to_lowercase().contains("upgrade: websocket") && key.len() == 1 {
            let accept = websocket::accept_for(key[0]);
            let _ = peer.try_send(websocket::switching("").replace(websocket::ACCEPT, &accept));
            crate::harness::origin::echo(peer);
        } else {
            let _ = peer.try_send(http::ok("page"));
        }
    })
}

#[test]
fn every_prefix_of_a_good_request_is_answered_or_closed() {
    let proxy = Plan::http(websocket_or_page())
        .listener_timeouts("request_header = \"1s\"")
        .start();
    let before = proxy.settled_descriptors();
    let request = websocket::request("app.example", "/chat", "Origin: http://a\r\n");
    for cut in 1..request.len() {
        let mut client = proxy.connect();
        client.send(&request[..cut]);
        client.finish();
        let (bytes, _) = client.read_to_end();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 400 "),
            "{cut}: {text}"
        );
    }
    proxy.wait_descriptors(before);
}
