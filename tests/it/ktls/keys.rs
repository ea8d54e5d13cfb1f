//! Keys that change while a tunnel lives (RFC 8446, 4.6.3), and nonces, none of which is used twice.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::{MUCH, OFFLOADS, expect_paths, join};
use crate::harness::PATIENCE;
use crate::harness::kernel::{Pieces, Site, Suite, Traffic, does_tls, exchange, rekeys, takes};
use crate::harness::openssl::Openssl;
use crate::harness::origin::Origin;
use crate::harness::parts::Part;
use crate::harness::plan::Plan;
use crate::harness::tls::Secure;

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
        if Part::Openssl.command().is_none() {
            return;
        }
        update_keys_by_openssl(offload);
    }
}

fn update_keys_by_openssl(offload: &str) {
    let site = Site::here();
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .listener_keys(&site.listener_keys(Suite::tls13(), offload))
        .start();
    let options = ["-tls1_3", "-msg", "-CAfile", &site.ec_file()];
    let mut client = Openssl::client(proxy.addr(), &options);
    let mut server = origin.accept();
    client.type_line("one");
    server.expect("one\n");
    server.send("answer\n");
    let dies = takes(Suite::tls13(), offload) && !rekeys();
    for (letter, text) in [('K', "two"), ('k', "three"), ('K', "four")] {
        client.command(letter);
        if dies {
            break;
        }
        client.await_line(">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
        client.type_line(text);
        server.expect(format!("{text}\n"));
        server.send("answer under new keys\n");
    }
    if dies {
        server.expect_ended();
        proxy.wait_cause("close", "tls-key-update-unsupported");
        return;
    }
    client.command('Q');
    server.expect_ended();
    server.finish();
    assert!(client.wait().success());
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
            let origin = Origin::bind();
            let proxy = Plan::tcp(origin.addr())
                .listener_keys(&site.listener_keys(suite, offload))
                .start();
            let (heard, first_heard) = channel();
            let server = thread::spawn(move || {
                let mut peer = origin.accept();
                peer.read(1);
                // Alone, and as much as makes it bulky.
                peer.send("first");
                first_heard.recv_timeout(PATIENCE).unwrap();
                peer.send(vec![7; MUCH]);
                peer.finish();
            });
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
                    while tls.reader().read(&mut [0; 65_536]).is_ok_and(|len| len > 0) {
                        // The first one counts.
                        let _ = heard.send(());
                    }
                }
            }
            server.join().unwrap();
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
