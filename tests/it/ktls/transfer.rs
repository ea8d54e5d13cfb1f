//! Bytes in both directions, with every suite and every offload: none is lost, even when one side reads slowly.

use std::io::Write;
use std::thread;
use std::time::Duration;

use super::{MIB, MUCH, OFFLOADS, expect_paths, join, join_quietly};
use crate::harness::kernel::{Pieces, Site, Suite, Traffic, does_tls, exchange, takes, tls_stat};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::random::Random;
use crate::harness::tls::Secure;

/// Bytes for the long transfers; `LONGSPLICE_TEST_TRANSFER_MIB` names another amount.
fn transfer_len() -> usize {
    let mib = std::env::var("LONGSPLICE_TEST_TRANSFER_MIB").ok();
    mib.and_then(|mib| mib.parse().ok()).unwrap_or(64) * MIB
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
        // At least "always" of each, and more if other tests run meanwhile.
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
            // Both sides send more than fits and end; neither is read from until they have.
            let (to_client, to_server) = (all.clone(), all.clone());
            let mut server = joined.server.twin();
            let sender = thread::spawn(move || {
                server.send(&to_client);
                server.finish();
            });
            joined.client.wait_stalled();
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
        // An alert goes out all the same, under the keys of the side that has them, kernel or proxy.
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
fn a_record_in_single_bytes_arrives_whole() {
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            let mut joined = join(suite, offload);
            joined.client.tls.writer().write_all(b"piecemeal").unwrap();
            let mut bytes = Vec::new();
            joined.client.tls.write_tls(&mut bytes).unwrap();
            for byte in bytes {
                joined.client.tcp.write_all(&[byte]).unwrap();
                // A slow client: each byte travels alone.
                thread::sleep(Duration::from_millis(1));
            }
            joined.server.expect("piecemeal");
            joined.client.send(b"and whole");
            joined.server.expect("and whole");
        }
    }
}
