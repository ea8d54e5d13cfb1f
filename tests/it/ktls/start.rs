//! How a tunnel begins: the handshake, what comes with it, and what the log says of the kernel.

use std::io::Write;

use rustls::HandshakeKind;

use super::{OFFLOADS, expect_paths};
use crate::harness::kernel::{Site, Suite, does_tls};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::tls::Secure;
use crate::harness::{eventually, websocket};

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
