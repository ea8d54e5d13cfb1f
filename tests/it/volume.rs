//! A lot of bytes, a lot of tunnels, a reader that does not read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::random::Random;
use crate::harness::websocket;

const MIB: usize = 1 << 20;

/// Bytes of a bulk transfer in each direction.
const BULK: usize = 64 * MIB;

/// A stretch of random bytes that is sent over and over; its odd length makes every position of the
/// stream differ from the one a buffer length before.
fn block(seed: u64) -> Arc<Vec<u8>> {
    Arc::new(Random::new(seed).bytes(MIB + 4_099))
}

/// Sends `len` bytes of `block` over and over in random pieces, then ends its half.
fn send_stream(mut peer: Peer, block: &[u8], len: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut sent = 0;
    while sent < len {
        let at = sent % block.len();
        // Most pieces small, some large.
        let most = [64, 1_500, 16_384, 262_144][random.between(0, 3)];
        let piece = random
            .between(1, most)
            .min(len - sent)
            .min(block.len() - at);
        peer.send(&block[at..at + piece]);
        sent += piece;
    }
    peer.finish();
}

/// Receives to the end in random pieces and demands exactly `len` bytes of `block`.
fn receive_stream(mut peer: Peer, block: &[u8], len: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut buffer = vec![0; 262_144];
    let mut received = 0;
    loop {
        let room = random.between(1, buffer.len());
        let count = peer.receive(&mut buffer[..room]).unwrap();
        if count == 0 {
            break;
        }
        let mut checked = 0;
        while checked < count {
            let at = received % block.len();
            let piece = (count - checked).min(block.len() - at);
            assert!(
                buffer[checked..checked + piece] == block[at..at + piece],
                "wrong bytes between {received} and {}",
                received + piece
            );
            checked += piece;
            received += piece;
        }
    }
    assert_eq!(received, len, "not one byte more or less");
}

/// Moves [`BULK`] bytes both ways at once.
fn exchange_bulk(client: &Peer, server: &Peer) {
    let (up, down) = (block(11), block(12));
    thread::scope(|scope| {
        scope.spawn(|| send_stream(client.twin(), &up, BULK, 13));
        scope.spawn(|| receive_stream(server.twin(), &up, BULK, 14));
        scope.spawn(|| send_stream(server.twin(), &down, BULK, 15));
        scope.spawn(|| receive_stream(client.twin(), &down, BULK, 16));
    });
}

#[test]
fn bulk_in_both_directions_arrives_whole_in_tcp_mode() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let client = proxy.connect();
    let server = origin.accept();
    exchange_bulk(&client, &server);
    let line = proxy.wait_access("close", |_| true);
    assert_eq!(line["bytes_in"], BULK);
    assert_eq!(line["bytes_out"], BULK);
}

#[test]
fn bulk_in_both_directions_arrives_whole_after_an_upgrade() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(websocket::request("app.example", "/", ""));
    let mut server = origin.accept();
    websocket::accept(&mut server);
    client.read_head();
    exchange_bulk(&client, &server);
    let line = proxy.wait_access("close", |_| true);
    assert_eq!(line["bytes_in"], BULK);
    assert_eq!(line["bytes_out"], BULK);
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer_and_costs_no_memory() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let client = proxy.connect();
    let mut server = origin.accept();
    let down = block(21);
    let before = proxy.resident_kib();
    let taken = server.send_until_stalled(&down, 256 * MIB, Duration::from_secs(1));
    assert!(taken < 64 * MIB, "{taken} bytes went nowhere");
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB more");

    // The other direction is not held up by it.
    let mut writer = client.twin();
    writer.send("still here");
    server.expect("still here");
    drop(writer);

    server.finish();
    receive_stream(client, &down, taken, 22);
    drop(server);
    let line = proxy.wait_access("close", |_| true);
    assert_eq!(line["bytes_out"], taken);
}

#[test]
fn many_stalled_readers_cost_no_memory_either() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let down = block(31);
    let mut held = Vec::new();
    let before = proxy.resident_kib();
    for _ in 0..40 {
        let client = proxy.connect();
        let mut server = origin.accept();
        server.send_until_stalled(&down, 64 * MIB, Duration::from_millis(50));
        held.push((client, server));
    }
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 40 * 128, "{grown} KiB more for 40 stalled tunnels");
}

#[test]
fn a_thousand_tunnels_leave_no_descriptor_behind() {
    const TUNNELS: usize = 1000;
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let tunnel = |number: usize| {
        let mut client = proxy.connect();
        let mut server = origin.accept();
        let text = format!("tunnel {number}");
        client.send(&text);
        server.expect(&text);
        server.send(&text);
        client.expect(&text);
        (client, server)
    };
    drop(tunnel(0));
    proxy.wait_access("close", |_| true);
    let descriptors = proxy.settled_descriptors();

    let mut tunnels: Vec<_> = (0..TUNNELS).map(tunnel).collect();
    assert!(proxy.descriptors() >= descriptors + 2 * TUNNELS);
    for (number, (client, server)) in tunnels.iter_mut().enumerate() {
        let text = format!("again {number}");
        server.send(&text);
        client.expect(&text);
    }
    for (number, (client, server)) in tunnels.into_iter().enumerate() {
        match number % 4 {
            0 => drop((client, server)),
            1 => drop((server, client)),
            2 => client.reset(),
            _ => server.reset(),
        }
    }
    proxy.wait_descriptors(descriptors);
    eventually("every tunnel has its line", || {
        let lines = proxy.access_lines();
        let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
        of("open") == TUNNELS + 1 && of("close") == TUNNELS + 1
    });
}

#[test]
fn a_busy_tunnel_does_not_starve_the_others() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let mut busy = Vec::new();
    for _ in 0..4 {
        let client = proxy.connect();
        let server = origin.accept();
        busy.push((client, server));
    }
    let data = block(41);
    thread::scope(|scope| {
        for (client, server) in &busy {
            let data = &data;
            scope.spawn(move || send_stream(server.twin(), data, BULK / 4, 42));
            scope.spawn(move || receive_stream(client.twin(), data, BULK / 4, 43));
        }
        let mut client = proxy.connect();
        let mut server = origin.accept();
        let mut worst = Duration::ZERO;
        for round in 0..200_u8 {
            let started = std::time::Instant::now();
            client.send([round]);
            server.expect([round]);
            server.send([round]);
            client.expect([round]);
            worst = worst.max(started.elapsed());
        }
        assert!(
            worst < Duration::from_secs(2),
            "a round trip took {worst:?}"
        );
    });
}

#[test]
fn many_tunnels_of_every_temper_at_a_time_lose_nothing() {
    const AT_A_TIME: u64 = 24;
    const ROUNDS: u64 = 8;
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr()).start();
    let before = proxy.settled_descriptors();
    let (up, down) = (block(51), block(52));
    let opening = Mutex::new(());
    let total = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..AT_A_TIME {
            let (up, down, opening, total) = (&up, &down, &opening, &total);
            let (proxy, origin) = (&proxy, &origin);
            scope.spawn(move || {
                let mut random = Random::new(5300 + worker);
                for round in 0..ROUNDS {
                    // One at a time, so that the two ends are known to belong together.
                    let guard = opening.lock().unwrap_or_else(PoisonError::into_inner);
                    let client = proxy.connect();
                    let server = origin.accept();
                    drop(guard);
                    let most = [100, 5_000, 100_000, 3 * MIB][random.between(0, 3)];
                    let (sent_up, sent_down) = (random.between(0, most), random.between(0, most));
                    let seed = 1000 * worker + 10 * round;
                    thread::scope(|scope| {
                        scope.spawn(|| send_stream(client.twin(), up, sent_up, seed));
                        scope.spawn(|| receive_stream(server.twin(), up, sent_up, seed + 1));
                        scope.spawn(|| send_stream(server.twin(), down, sent_down, seed + 2));
                        scope.spawn(|| receive_stream(client.twin(), down, sent_down, seed + 3));
                    });
                    total.fetch_add(sent_up + sent_down, Ordering::Relaxed);
                }
            });
        }
    });
    // The pipes are kept for the next bulk: at most one for each flow, of two descriptors.
    let pipes = 2 * 2 * usize::try_from(AT_A_TIME).unwrap();
    eventually("the descriptors are given back", || {
        proxy.descriptors() <= before + pipes
    });
    let counted = |field: &str| -> usize {
        let lines = proxy.access_lines();
        let closes = lines.iter().filter(|line| line["event"] == "close");
        closes
            .map(|line| usize::try_from(line[field].as_u64().unwrap()).unwrap())
            .sum()
    };
    eventually("every byte is counted", || {
        counted("bytes_in") + counted("bytes_out") == total.load(Ordering::Relaxed)
    });
}
