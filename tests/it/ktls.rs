//! TLS tunnels whose records the kernel protects from the start, from some point on, or not at all.
//!
//! Every test runs on any kernel: where it does no TLS, all of it happens in user space, and only the
//! few tests that are about the kernel alone are skipped. `cargo xtask lab` runs them in guest kernels.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind};
use serde_json::Value;

use crate::harness::eventually;
use crate::harness::kernel::{
    Forger, Pieces, Site, Suite, Traffic, does_tls, exchange, rekeys, takes, tls_stat,
};
use crate::harness::origin::Origin;
use crate::harness::parts::Part;
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::random::Random;
use crate::harness::tls::Secure;
use crate::harness::websocket;

// The server's end of tunnels.
mod servers;

const OFFLOADS: [&str; 3] = ["adaptive", "always", "never"];
const MIB: usize = 1 << 20;
/// Enough to make a direction bulky.
const MUCH: usize = 3 * MIB;

/// Says that a test is about kernel TLS alone, unless there is one.
fn needs_kernel_tls() -> bool {
    if !does_tls() {
        println!("skipped: kernel TLS is not offered by this kernel");
    }
    does_tls()
}

/// Bytes for the long transfers; `LONGSPLICE_TEST_TRANSFER_MIB` names another amount.
fn transfer_len() -> usize {
    let mib = std::env::var("LONGSPLICE_TEST_TRANSFER_MIB").ok();
    mib.and_then(|mib| mib.parse().ok()).unwrap_or(64) * MIB
}

/// A tunnel with both its ends in the test's hands.
struct Joined {
    proxy: Proxy,
    client: Secure,
    server: Peer,
}

fn join(suite: Suite, offload: &str) -> Joined {
    join_with(suite, offload, "")
}

/// Joins and makes both directions bulky where that matters.
fn join_with(suite: Suite, offload: &str, timeouts: &str) -> Joined {
    let mut joined = join_quietly(suite, offload, timeouts);
    if offload == "adaptive" {
        joined.move_much();
    }
    joined
}

fn join_quietly(suite: Suite, offload: &str, timeouts: &str) -> Joined {
    let site = Site::here();
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .listener_keys(&site.listener_keys(suite, offload))
        .backend_timeouts(timeouts)
        .start();
    let mut client = Secure::connect(proxy.addr(), &suite.client(site));
    client.send("hello");
    let mut server = origin.accept();
    server.expect("hello");
    server.send("welcome");
    client.expect("welcome");
    Joined {
        proxy,
        client,
        server,
    }
}

impl Joined {
    /// Moves so much both ways that both directions are bulky afterwards.
    fn move_much(&mut self) {
        let mut server = self.server.twin();
        let echo = thread::spawn(move || {
            let mut left = MUCH;
            let mut buffer = vec![0; 65_536];
            while left > 0 {
                let len = server.receive(&mut buffer).unwrap();
                server.send(&buffer[..len]);
                left -= len;
            }
        });
        let traffic = Traffic {
            up: MUCH,
            down: MUCH,
            pieces: Pieces::Large,
            key_update_every: None,
        };
        let hash = exchange(&mut self.client, 9, &traffic);
        echo.join().unwrap();
        assert_eq!(hash, traffic.hash(9));
    }
}

/// Demands that the directions went as `offload` and this kernel allow.
fn expect_paths(line: &Value, suite: Suite, offload: &str) {
    for key in ["path_in", "path_out"] {
        let path = line[key].as_str().unwrap();
        let words: HashSet<&str> = path.split('+').collect();
        let kernel = takes(suite, offload);
        assert_eq!(words.contains("kernel-tls"), kernel, "{offload} {line}");
        // What came with the handshake was opened by us even with "always".
        let user = !kernel || offload == "adaptive";
        assert!(!user || words.contains("user-records"), "{offload} {line}");
    }
}

#[test]
fn much_goes_both_ways_at_once_with_every_suite() {
    let site = Site::here();
    let origin = Origin::echo();
    let total = transfer_len();
    let before = (tls_stat("TlsTxSw"), tls_stat("TlsRxSw"));
    for (nth, suite) in Suite::all().into_iter().enumerate() {
        for offload in OFFLOADS {
            // The usual suites carry all of it through the kernel; the others, and what stays with us,
            // enough for many records and a switch.
            let usual = nth == 0 || nth == 3;
            let up = if usual && (offload != "never" || !does_tls()) {
                total
            } else {
                MUCH.max(total / 16)
            };
            let proxy = Plan::tcp(origin)
                .listener_keys(&site.listener_keys(suite, offload))
                .start();
            let mut client = Secure::connect(proxy.addr(), &suite.client(site));
            let traffic = Traffic {
                up,
                down: up,
                pieces: if usual { Pieces::Mixed } else { Pieces::Large },
                key_update_every: None,
            };
            let seed = nth as u64 * 10;
            let hash = exchange(&mut client, seed, &traffic);
            assert_eq!(hash, traffic.hash(seed), "{suite:?} {offload}");
            client.notify();
            assert_eq!(client.read_to_end().unwrap(), b"");
            let line = proxy.wait_cause("close", "client-closed");
            assert_eq!(
                (&line["bytes_in"], &line["bytes_out"]),
                (&up.into(), &up.into())
            );
            expect_paths(&line, suite, offload);
        }
    }
    let after = (tls_stat("TlsTxSw"), tls_stat("TlsRxSw"));
    if does_tls() {
        // At least "always" of each, whatever other tests do meanwhile.
        let suites = Suite::all().len() as u64;
        assert!(after.0 >= before.0 + suites, "{before:?} {after:?}");
        assert!(after.1 >= before.1 + suites, "{before:?} {after:?}");
    }
}

#[test]
fn nothing_is_lost_while_the_other_side_does_not_read() {
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            let mut joined = join(suite, offload);
            let all = Random::new(5).bytes(MUCH);
            // Both sides send more than fits and end; nobody reads until they have.
            let (to_client, to_server) = (all.clone(), all.clone());
            let mut server = joined.server.twin();
            let sender = thread::spawn(move || {
                server.send(&to_client);
                server.finish();
            });
            thread::sleep(Duration::from_millis(300));
            let mut server = joined.server.twin();
            let receiver = thread::spawn(move || server.read(MUCH));
            joined.client.send(&to_server);
            joined.client.notify();
            assert_eq!(receiver.join().unwrap(), all, "{suite:?} {offload}");
            let received = joined.client.read_to_end().unwrap();
            assert!(received == all, "{} {suite:?} {offload}", received.len());
            sender.join().unwrap();
        }
    }
}

#[test]
fn an_end_behind_a_full_buffer_comes_after_the_last_byte() {
    // The server ends while the client reads nothing: the kernel has records that it could not queue.
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            for round in 0..4 {
                let mut joined = join(suite, offload);
                let len = MUCH + round * 7_919;
                let all = Random::new(round as u64).bytes(len);
                let mut server = joined.server;
                let sent = all.clone();
                let sender = thread::spawn(move || {
                    server.send(&sent);
                    server.finish();
                    server
                });
                thread::sleep(Duration::from_millis(200));
                let received = joined.client.read_to_end().unwrap();
                assert!(
                    received == all,
                    "{} of {len} {suite:?} {offload}",
                    received.len()
                );
                joined.client.notify();
                sender.join().unwrap().expect_ended();
                joined.proxy.wait_cause("close", "server-closed");
            }
        }
    }
}

#[test]
fn a_half_close_goes_both_ways() {
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            let mut joined = join(suite, offload);
            joined.client.notify();
            joined.server.expect_ended();
            // A client of TLS 1.2 that has said close_notify hears nothing more (RFC 5246, 7.2.1).
            if suite.version == &rustls::version::TLS13 {
                joined.server.send("still here");
                joined.client.expect("still here");
            }
            joined.server.finish();
            assert_eq!(joined.client.read_to_end().unwrap(), b"");
            joined.proxy.wait_cause("close", "client-closed");

            let mut joined = join(suite, offload);
            joined.server.finish();
            assert_eq!(joined.client.read_to_end().unwrap(), b"", "no close_notify");
            joined.client.send("still here");
            joined.server.expect("still here");
            joined.client.notify();
            joined.server.expect_ended();
            let line = joined.proxy.wait_cause("close", "server-closed");
            expect_paths(&line, suite, offload);
        }
    }
}

#[test]
fn close_notify_in_the_segment_of_the_last_data_is_seen() {
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            let mut joined = join(suite, offload);
            joined.client.tls.writer().write_all(b"last words").unwrap();
            joined.client.tls.send_close_notify();
            let mut bytes = Vec::new();
            joined.client.tls.write_tls(&mut bytes).unwrap();
            joined.client.tcp.write_all(&bytes).unwrap();
            joined.server.expect("last words");
            // The connection itself stays open: only the record tells.
            joined.server.expect_ended();
            joined.server.finish();
            joined.proxy.wait_cause("close", "client-closed");
        }
    }
}

#[test]
fn an_end_without_close_notify_is_a_truncation() {
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            let mut joined = join(suite, offload);
            joined.client.send("last words");
            joined.client.truncate();
            joined.server.expect("last words");
            joined.server.expect_ended();
            joined.server.finish();
            let line = joined.proxy.wait_cause("close", "client-truncated");
            assert_eq!(line["side"], "client");
        }
    }
}

#[test]
fn a_reset_is_passed_on_as_one() {
    for offload in OFFLOADS {
        let joined = join(Suite::tls13(), offload);
        joined.server.reset();
        let mut client = joined.client;
        let error = client.read_to_end().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        joined.proxy.wait_cause("close", "server-reset");

        let mut joined = join(Suite::tls13(), offload);
        joined.client.send("last words");
        joined.server.expect("last words");
        let socket = socket2::SockRef::from(&joined.client.tcp);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(joined.client);
        assert_eq!(joined.server.read_to_end().1, End::Reset);
        joined.proxy.wait_cause("close", "client-reset");
    }
}

#[test]
fn a_bad_record_is_answered_with_its_alert() {
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            for (record, alert) in [
                (
                    [&[23, 3, 3, 0, 48][..], &[0x5a; 48]].concat(),
                    "BadRecordMac",
                ),
                // A kernel looks at a header with the explicit nonce behind it.
                (
                    [&[23, 3, 3, 0xff, 0xff][..], &[0; 20]].concat(),
                    "RecordOverflow",
                ),
            ] {
                let mut joined = join(suite, offload);
                joined.client.tcp.write_all(&record).unwrap();
                let error = joined.client.read_to_end().unwrap_err();
                assert!(
                    error.to_string().contains(alert),
                    "{error} {suite:?} {offload}"
                );
                assert_eq!(joined.server.read_to_end().1, End::Reset);
                joined.proxy.wait_cause("close", "tls-bad-record");
            }
        }
    }
}

#[test]
fn what_is_no_record_ends_the_tunnel() {
    for offload in OFFLOADS {
        let mut joined = join(Suite::tls13(), offload);
        joined
            .client
            .tcp
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .unwrap();
        assert!(joined.client.read_to_end().is_err());
        assert_eq!(joined.server.read_to_end().1, End::Reset);
        joined.proxy.wait_cause("close", "tls-bad-record");
    }
}

#[test]
fn empty_and_padded_records_pass_and_floods_do_not() {
    for offload in OFFLOADS {
        let joined = join(Suite::tls13(), offload);
        let (proxy, mut server) = (joined.proxy, joined.server);
        let mut forger = Forger::of(joined.client);
        for round in 0..3 {
            let mut bytes = Vec::new();
            for _ in 0..50 {
                bytes.extend(forger.seal(23, b"", 0));
            }
            bytes.extend(forger.seal(23, b"padded", 300 * round));
            forger.send(&bytes);
            server.expect("padded");
        }
        // A record of nothing but padding is empty too.
        let empty = forger.seal(23, b"", 1000);
        let data = forger.seal(23, b"and on", 0);
        forger.send(&[empty, data].concat());
        server.expect("and on");
        // A kernel passes over those it meets in one receive, so that it may take more than one wave.
        let ended = thread::spawn(move || server.read_to_end());
        while !ended.is_finished() {
            let wave: Vec<u8> = (0..80).flat_map(|_| forger.seal(23, b"", 0)).collect();
            if forger.tcp.write_all(&wave).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(ended.join().unwrap(), (vec![], End::Reset));
        proxy.wait_cause("close", "tls-bad-record");
    }
}

#[test]
fn empty_records_in_front_of_one_that_is_no_data_hide_nothing() {
    for offload in OFFLOADS {
        for count in [1, 2, 3, 10] {
            let joined = join(Suite::tls13(), offload);
            let (proxy, mut server) = (joined.proxy, joined.server);
            let mut forger = Forger::of(joined.client);
            let empties = |forger: &mut Forger| -> Vec<u8> {
                (0..count).flat_map(|_| forger.seal(23, b"", 0)).collect()
            };
            // user_canceled announces nothing that has to happen (RFC 8446, 6.1).
            let mut bytes = empties(&mut forger);
            bytes.extend(forger.seal(21, &[1, 90], 0));
            forger.send(&bytes);
            let behind = forger.seal(23, b"behind", 0);
            thread::sleep(Duration::from_millis(20));
            forger.send(&behind);
            server.expect("behind");
            // More data than empty records may follow each other is none of those.
            let mut bytes: Vec<u8> = (0..100).flat_map(|_| forger.seal(23, b"x", 0)).collect();
            bytes.extend(forger.seal(21, &[1, 90], 0));
            forger.send(&bytes);
            server.expect([b'x'; 100]);
            let mut bytes = empties(&mut forger);
            bytes.extend(forger.seal(21, &[1, 0], 0));
            forger.send(&bytes);
            server.expect_ended();
            server.finish();
            proxy.wait_cause("close", "client-closed");
        }
    }
}

#[test]
fn what_follows_close_notify_is_ignored() {
    for offload in OFFLOADS {
        let joined = join(Suite::tls13(), offload);
        let (proxy, mut server) = (joined.proxy, joined.server);
        let mut forger = Forger::of(joined.client);
        let mut bytes = forger.seal(21, &[1, 0], 0);
        forger.send(&bytes);
        server.expect_ended();
        bytes = vec![0x47; 100];
        forger.send(&bytes);
        thread::sleep(Duration::from_millis(50));
        server.send("the answer, whole");
        server.finish();
        let mut heard = Vec::new();
        forger.tcp.read_to_end(&mut heard).unwrap();
        assert!(heard.len() > 17, "{} bytes of {offload}", heard.len());
        proxy.wait_cause("close", "client-closed");
    }
}

#[test]
fn a_direction_that_is_bulky_alone_goes_to_the_kernel_alone() {
    for upwards in [true, false] {
        let mut joined = join_quietly(Suite::tls13(), "adaptive", "");
        let traffic = Traffic {
            up: if upwards { 2 * MUCH } else { 0 },
            down: if upwards { 0 } else { 2 * MUCH },
            pieces: Pieces::Large,
            key_update_every: None,
        };
        let mut server = joined.server.twin();
        let far = thread::spawn(move || {
            if upwards {
                server.read(2 * MUCH);
            } else {
                server.send(vec![7; 2 * MUCH]);
            }
        });
        exchange(&mut joined.client, 11, &traffic);
        far.join().unwrap();
        // An alert goes out all the same, under the keys of whoever has them.
        let bad = [&[23, 3, 3, 0, 48][..], &[0x5a; 48]].concat();
        joined.client.tcp.write_all(&bad).unwrap();
        let error = joined.client.read_to_end().unwrap_err();
        assert!(
            error.to_string().contains("BadRecordMac"),
            "{error} {upwards}"
        );
        let line = joined.proxy.wait_cause("close", "tls-bad-record");
        if takes(Suite::tls13(), "adaptive") {
            let (bulky, other) = if upwards {
                ("offload_in", "offload_out")
            } else {
                ("offload_out", "offload_in")
            };
            assert_eq!(
                (&line[bulky], &line[other]),
                (&"kernel".into(), &"not-bulky".into())
            );
        }
    }
}

#[test]
fn records_that_are_no_data_mean_what_they_should() {
    // Type, payload, and the cause it ends with; none = it passes.
    let rows: [(u8, &[u8], Option<&str>); 8] = [
        (21, &[1, 90], None),
        (21, &[1, 0], Some("client-closed")),
        (21, &[2, 20], Some("client-reset")),
        (21, &[1], Some("tls-bad-record")),
        (22, &[1, 0, 0, 0], Some("tls-bad-record")),
        (22, &[24, 0, 0, 1, 9], Some("tls-bad-record")),
        (20, &[1], Some("tls-bad-record")),
        (99, &[1], Some("tls-bad-record")),
    ];
    for offload in OFFLOADS {
        for (kind, payload, cause) in rows {
            let joined = join(Suite::tls13(), offload);
            let (proxy, mut server) = (joined.proxy, joined.server);
            let mut forger = Forger::of(joined.client);
            let before = forger.seal(23, b"before", 0);
            let control = forger.seal(kind, payload, 0);
            forger.send(&[before, control].concat());
            server.expect("before");
            match cause {
                None => {
                    let behind = forger.seal(23, b"behind", 0);
                    forger.send(&behind);
                    server.expect("behind");
                }
                Some(cause) => {
                    server.drain();
                    server.finish_if_open();
                    proxy.wait_cause("close", cause);
                }
            }
        }
    }
}

#[test]
fn a_record_in_single_bytes_arrives_whole() {
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            let mut joined = join(suite, offload);
            joined.client.tls.writer().write_all(b"piecemeal").unwrap();
            let mut bytes = Vec::new();
            joined.client.tls.write_tls(&mut bytes).unwrap();
            for byte in bytes {
                joined.client.tcp.write_all(&[byte]).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
            joined.server.expect("piecemeal");
            joined.client.send(b"and whole");
            joined.server.expect("and whole");
        }
    }
}

#[test]
fn data_with_the_clients_finished_arrives_once() {
    let site = Site::here();
    let cuts = [1, 7, 40, 80, 10_000];
    let rows = Suite::usual()
        .into_iter()
        .flat_map(|suite| cuts.map(|cut| (suite, cut)));
    for (suite, cut) in rows {
        for offload in ["always", "never"] {
            let origin = Origin::bind();
            let proxy = Plan::tcp(origin.addr())
                .listener_keys(&site.listener_keys(suite, offload))
                .start();
            let config = suite.client(site);
            let mut client = Secure::begin(proxy.addr(), &config, "localhost", b"");
            client.tls.writer().write_all(b"with finished").unwrap();
            while client.tls.is_handshaking() {
                client.tls.read_tls(&mut client.tcp).unwrap();
                client.tls.process_new_packets().unwrap();
                let mut bytes = Vec::new();
                while client.tls.wants_write() {
                    client.tls.write_tls(&mut bytes).unwrap();
                }
                for piece in bytes.chunks(cut) {
                    client.tcp.write_all(piece).unwrap();
                }
            }
            client.send(", and behind it");
            origin.accept().expect("with finished, and behind it");
        }
    }
}

#[test]
fn a_resumed_session_is_left_to_the_kernel_too() {
    let site = Site::here();
    for suite in Suite::usual() {
        let proxy = Plan::tcp(Origin::echo())
            .listener_keys(&site.listener_keys(suite, "always"))
            .start();
        let config = suite.client(site);
        for nth in 0..3 {
            let mut client = Secure::connect(proxy.addr(), &config);
            let resumed = client.tls.handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, nth > 0);
            client.send("x");
            client.expect("x");
            client.notify();
            assert_eq!(client.read_to_end().unwrap(), b"");
            expect_paths(&proxy.wait_cause("close", "client-closed"), suite, "always");
        }
    }
}

#[test]
fn a_websocket_with_early_frames_becomes_a_tunnel() {
    let site = Site::here();
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            let origin = Origin::bind();
            let proxy = Plan::http(origin.addr())
                .listener_keys(&site.listener_keys(suite, offload))
                .start();
            let mut client = Secure::connect(proxy.addr(), &suite.client(site));
            let request = websocket::request("localhost", "/ws", "");
            client.send([request.as_bytes(), b"early frame"].concat());
            let mut server = origin.accept();
            websocket::accept(&mut server);
            server.send("first of the server");
            assert!(client.read_head().starts_with("HTTP/1.1 101"));
            client.expect("first of the server");
            server.expect("early frame");
            server.send("another");
            client.expect("another");
            client.notify();
            server.expect_ended();
            server.finish();
            assert_eq!(client.read_to_end().unwrap(), b"");
            let line = proxy.wait_cause("close", "client-closed");
            assert_eq!(
                (&line["bytes_in"], &line["bytes_out"]),
                (&11.into(), &26.into())
            );
        }
    }
}

#[test]
fn an_end_by_the_proxy_says_close_notify() {
    for offload in OFFLOADS {
        let mut joined = join_with(Suite::tls13(), offload, "tunnel_idle = \"300ms\"");
        assert_eq!(joined.client.read_to_end().unwrap(), b"");
        joined.server.expect_ended();
        joined.proxy.wait_cause("close", "tunnel-idle");
    }
}

#[test]
fn key_updates_before_the_switch_pass_everywhere() {
    let suite = Suite::tls13();
    for offload in OFFLOADS {
        let site = Site::here();
        let proxy = Plan::tcp(Origin::echo())
            .listener_keys(&site.listener_keys(suite, offload))
            .start();
        let mut client = Secure::connect(proxy.addr(), &suite.client(site));
        if offload == "always" && does_tls() && !rekeys() {
            continue;
        }
        for text in ["one", "two", "three"] {
            client.tls.refresh_traffic_keys().unwrap();
            client.send(text);
            client.expect(text);
        }
        // Right before it: the switch comes in the middle of this.
        client.tls.refresh_traffic_keys().unwrap();
        let traffic = Traffic {
            up: MUCH,
            down: MUCH,
            pieces: Pieces::Large,
            key_update_every: None,
        };
        assert_eq!(exchange(&mut client, 3, &traffic), traffic.hash(3));
        client.notify();
        assert_eq!(client.read_to_end().unwrap(), b"");
        expect_paths(&proxy.wait_cause("close", "client-closed"), suite, offload);
    }
}

#[test]
fn key_updates_in_the_kernel_pass_where_it_can_and_end_with_their_cause_where_not() {
    for offload in ["adaptive", "always"] {
        let mut joined = join(Suite::tls13(), offload);
        joined.client.tls.refresh_traffic_keys().unwrap();
        if takes(Suite::tls13(), offload) && !rekeys() {
            joined.client.tls.writer().write_all(b"x").unwrap();
            joined.client.tls.write_tls(&mut joined.client.tcp).unwrap();
            let error = joined.client.read_to_end().unwrap_err();
            assert!(error.to_string().contains("InternalError"), "{error}");
            joined.server.expect_ended();
            joined
                .proxy
                .wait_cause("close", "tls-key-update-unsupported");
            continue;
        }
        let server = joined.server;
        let echo = thread::spawn(move || crate::harness::origin::echo(server.twin()));
        let traffic = Traffic {
            up: 2 * MUCH,
            down: 2 * MUCH,
            pieces: Pieces::Mixed,
            key_update_every: Some(MUCH / 5),
        };
        let hash = exchange(&mut joined.client, 4, &traffic);
        assert_eq!(hash, traffic.hash(4));
        joined.client.notify();
        assert_eq!(joined.client.read_to_end().unwrap(), b"");
        echo.join().unwrap();
        expect_paths(
            &joined.proxy.wait_cause("close", "client-closed"),
            Suite::tls13(),
            offload,
        );
    }
}

#[test]
fn openssl_updates_its_keys() {
    for offload in ["always", "never"] {
        let Some(openssl) = Part::Openssl.command() else {
            return;
        };
        update_keys_by_openssl(openssl, offload);
    }
}

fn update_keys_by_openssl(mut openssl: Command, offload: &str) {
    let site = Site::here();
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .listener_keys(&site.listener_keys(Suite::tls13(), offload))
        .start();
    openssl
        .args(["s_client", "-tls1_3", "-connect", &proxy.addr().to_string()])
        .args(["-CAfile", &site.ec_file()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = openssl.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut server = origin.accept();
    stdin.write_all(b"one\n").unwrap();
    server.expect("one\n");
    server.send("answer\n");
    let dies = takes(Suite::tls13(), offload) && !rekeys();
    for (command, text) in [("K", "two\n"), ("k", "three\n"), ("K", "four\n")] {
        // A line that is a command is read alone.
        stdin.write_all(format!("{command}\n").as_bytes()).unwrap();
        if dies {
            break;
        }
        thread::sleep(Duration::from_millis(300));
        stdin.write_all(text.as_bytes()).unwrap();
        server.expect(text);
        server.send("answer under new keys\n");
    }
    if dies {
        server.expect_ended();
        proxy.wait_cause("close", "tls-key-update-unsupported");
        let _ = child.kill();
        child.wait().unwrap();
        return;
    }
    stdin.write_all(b"Q\n").unwrap();
    server.expect_ended();
    server.finish();
    assert!(child.wait().unwrap().success());
    proxy.wait_cause("close", "client-closed");
}

/// Returns the explicit nonces of everything the server sent, Finished first.
fn explicit_nonces(wire: &[u8]) -> Vec<[u8; 8]> {
    let (mut nonces, mut at, mut encrypted) = (Vec::new(), 0, false);
    while at < wire.len() {
        let len = usize::from(u16::from_be_bytes([wire[at + 3], wire[at + 4]]));
        let body = &wire[at + 5..at + 5 + len];
        if encrypted {
            nonces.push(body[..8].try_into().unwrap());
        }
        encrypted |= wire[at] == 20;
        at += 5 + len;
    }
    nonces
}

#[test]
fn no_nonce_of_tls12_is_used_twice() {
    let site = Site::here();
    let gcm = |suite: &Suite| {
        let name = format!("{:?}", suite.cipher.suite());
        suite.version == &rustls::version::TLS12 && name.contains("GCM")
    };
    for suite in Suite::all().into_iter().filter(gcm) {
        for offload in OFFLOADS {
            let origin = Origin::serve(|mut peer| {
                peer.read(1);
                // Alone, and as much as makes it bulky.
                peer.send("first");
                thread::sleep(Duration::from_millis(50));
                peer.send(vec![7; MUCH]);
                peer.finish();
            });
            let proxy = Plan::tcp(origin)
                .listener_keys(&site.listener_keys(suite, offload))
                .start();
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = ClientConnection::new(suite.client(site), name).unwrap();
            let mut tcp = TcpStream::connect(proxy.addr()).unwrap();
            tls.writer().write_all(b"x").unwrap();
            let mut wire = Vec::new();
            let mut buffer = vec![0; 65_536];
            loop {
                while tls.wants_write() {
                    tls.write_tls(&mut tcp).unwrap();
                }
                let len = tcp.read(&mut buffer).unwrap();
                if len == 0 {
                    break;
                }
                wire.extend_from_slice(&buffer[..len]);
                let mut rest = &buffer[..len];
                while !rest.is_empty() {
                    tls.read_tls(&mut rest).unwrap();
                    tls.process_new_packets().unwrap();
                    while tls.reader().read(&mut [0; 65_536]).is_ok_and(|len| len > 0) {}
                }
            }
            let nonces = explicit_nonces(&wire);
            assert!(nonces.len() > MUCH / 16_384, "{}", nonces.len());
            let different: HashSet<_> = nonces.iter().collect();
            assert_eq!(different.len(), nonces.len(), "{suite:?} {offload}");
            drop((tls, tcp));
            let line = proxy.wait_access("close", |_| true);
            let in_kernel = line["path_out"].as_str().unwrap().contains("kernel-tls");
            assert_eq!(in_kernel, takes(suite, offload), "{line}");
        }
    }
}

#[test]
fn the_log_says_who_protects_records_here() {
    let site = Site::here();
    let log_of = |offload| {
        let proxy = Plan::tcp(Origin::echo())
            .listener_keys(&site.listener_keys(Suite::tls13(), offload))
            .start();
        eventually("it is ready", || proxy.log().contains("ready version"));
        proxy.log()
    };
    let log = log_of("adaptive");
    if does_tls() {
        assert!(
            log.contains("kernel TLS offers=tls12-aes128gcm tx+rx"),
            "{log}"
        );
    } else {
        assert!(log.contains("no kernel TLS here"), "{log}");
        assert!(log.contains("ENOENT"), "{log}");
    }
    let log = log_of("never");
    assert!(!log.contains("kernel TLS"), "{log}");
}

#[test]
fn the_kernel_has_nothing_left_when_tunnels_are_gone() {
    if !needs_kernel_tls() {
        return;
    }
    let mut joined = join(Suite::tls13(), "always");
    assert!(tls_stat("TlsCurrTxSw") > 0 && tls_stat("TlsCurrRxSw") > 0);
    let descriptors = joined.proxy.descriptors();
    joined.client.notify();
    joined.server.expect_ended();
    joined.server.finish();
    joined.proxy.wait_cause("close", "client-closed");
    // The pipes that were lent go with the last tunnel.
    eventually("both connections are closed", || {
        joined.proxy.descriptors() <= descriptors - 2
    });
    joined.proxy.expect_sound();
}
