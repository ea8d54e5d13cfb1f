//! Records that rustls's own client would never send: bad, empty, padded, or of another type than data.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use super::{OFFLOADS, join};
use crate::harness::kernel::{Forger, Suite};
use crate::harness::peer::End;

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
            // The pace of this traffic: a wave that waits behind another is met in the same receive.
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
            // A slow client: the data comes when the records in front of it were looked at.
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
        // A time in which nothing is to happen: no condition ends it.
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
fn a_client_that_renegotiates_is_told_no_and_goes_on_wherever_its_records_are() {
    let hello = [&[1, 0, 1, 44][..], &[3; 300]].concat();
    let [_, suite] = Suite::usual()[..] else {
        panic!("not both versions");
    };
    for offload in OFFLOADS {
        let joined = join(suite, offload);
        let (proxy, mut server) = (joined.proxy, joined.server);
        let mut forger = Forger::of(joined.client);
        for _ in 0..3 {
            let wish = forger.seal(22, &hello, 0);
            forger.send(&wish);
            assert_eq!(forger.receive(), Some((21, vec![1, 100])), "{offload}");
            let data = forger.seal(23, b"up", 0);
            forger.send(&data);
            server.expect("up");
            server.send("down");
            assert_eq!(forger.receive(), Some((23, b"down".to_vec())), "{offload}");
        }
        let wishes: Vec<u8> = (0..40).flat_map(|_| forger.seal(22, &hello, 0)).collect();
        forger.send(&wishes);
        let mut said = forger.receive_rest();
        assert_eq!(said.pop(), Some((21, vec![2, 10])), "{offload}");
        proxy.wait_cause("close", "tls-bad-record");
    }
}

#[test]
fn nothing_follows_a_fatal_alert_wherever_the_records_are() {
    for suite in Suite::usual() {
        for offload in OFFLOADS {
            let joined = join(suite, offload);
            let mut forger = Forger::of(joined.client);
            forger.send(&[&[23, 3, 3, 0, 48][..], &[0x5a; 48]].concat());
            let said = forger.receive_rest();
            assert_eq!(said, [(21, vec![2, 20])], "{suite:?} {offload}");
            let line = joined.proxy.wait_cause("close", "tls-bad-record");
            assert_eq!(line["detail"], "the record does not authenticate", "{line}");

            let joined = join(suite, offload);
            let mut forger = Forger::of(joined.client);
            let alert = forger.seal(21, &[2, 80], 0);
            forger.send(&alert);
            assert_eq!(forger.receive_rest(), [], "{suite:?} {offload}");
            joined.proxy.wait_cause("close", "client-reset");
        }
    }
}
