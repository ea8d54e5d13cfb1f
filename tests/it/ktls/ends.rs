//! How a tunnel ends: close_notify, truncation, reset, time-out; everything sent before is delivered.

use std::io::Write;
use std::thread;
use std::time::Duration;

use super::{MUCH, OFFLOADS, expect_paths, join, join_with};
use crate::harness::eventually;
use crate::harness::kernel::{Suite, does_tls, tls_stat};
use crate::harness::peer::End;
use crate::harness::random::Random;

/// Says that a test is about kernel TLS alone, unless there is one.
fn needs_kernel_tls() -> bool {
    if !does_tls() {
        println!("skipped: kernel TLS is not offered by this kernel");
    }
    does_tls()
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
                joined.client.wait_stalled();
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
fn an_end_by_the_proxy_says_close_notify() {
    for offload in OFFLOADS {
        let mut joined = join_with(Suite::tls13(), offload, "tunnel_idle = \"300ms\"");
        assert_eq!(joined.client.read_to_end().unwrap(), b"");
        joined.server.expect_ended();
        joined.proxy.wait_cause("close", "tunnel-idle");
    }
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
