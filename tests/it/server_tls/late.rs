//! Servers that refuse our certificate, or the lack of one, after the handshake looks complete to us: with TLS
//! 1.3 their alert comes in place of the first byte.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use super::believing;
use super::checks::{quick, wait_down, wait_up};
use super::programs::Rsa;
use crate::harness::http::{exchange, get, ok};
use crate::harness::openssl::Openssl;
use crate::harness::peer::End;
use crate::harness::plan::Plan;
use crate::harness::tls::{Identity, VERSIONS};
use crate::harness::tls_server::{TlsOrigin, demanding, server_config};
use crate::harness::{free_port, within};

const REFUSED: &str = "the server refused with the alert certificate_required (116): it demands a \
                       certificate (cert in [backend.tls])";

/// Starts a server that demands a certificate and never gets one.
fn refusing(server: &Identity) -> SocketAddr {
    let origin = TlsOrigin::bind(demanding(server, &TLS13, &Identity::new(&["client"])));
    let addr = origin.addr();
    thread::spawn(move || {
        loop {
            drop(origin.accept_refused());
        }
    });
    addr
}

/// Starts a server that answers each request.
fn answering(server: &Identity) -> SocketAddr {
    let origin = TlsOrigin::bind(server_config(server, &[&TLS13], None));
    let addr = origin.addr();
    thread::spawn(move || {
        loop {
            let mut served = origin.accept();
            thread::spawn(move || {
                served.read_head();
                served.send(ok("from the other one"));
                // Whatever comes: the connection has served.
                let _ = served.read_to_end();
            });
        }
    });
    addr
}

fn post() -> String {
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".to_owned()
}

#[test]
fn a_late_alert_is_a_failed_handshake_and_named() {
    let server = Identity::new(&["localhost"]);
    let addr = refusing(&server);
    let proxy = Plan::http(addr)
        .backend_keys(&believing(&server, ""))
        .start();
    for request in [get("x", "/", ""), post()] {
        let answer = exchange(proxy.addr(), request);
        assert_eq!(answer.status, 502, "{answer:?}");
        let line = proxy.wait_cause("refused", "server-tls-failed");
        assert_eq!(line["detail"], REFUSED, "{line}");
        assert_eq!(line["server"], addr.to_string(), "{line}");
    }
    let proxy = Plan::tcp(addr)
        .backend_keys(&believing(&server, ""))
        .start();
    let mut client = proxy.connect();
    client.send("hello");
    assert_eq!(client.read_to_end(), (vec![], End::Reset));
    let line = proxy.wait_cause("close", "server-tls-failed");
    assert_eq!(line["detail"], REFUSED, "{line}");
    assert_eq!(line["side"], "server", "{line}");
}

#[test]
fn an_alert_behind_the_first_byte_is_a_reset() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        let origin = TlsOrigin::bind(server_config(&identity, &[version], None));
        let proxy = Plan::tcp(origin.addr())
            .backend_keys(&believing(&identity, ""))
            .start();
        let mut client = proxy.connect();
        let mut server = origin.accept();
        server.send("first");
        client.expect("first");
        // Bytes that are no record: rustls ends with an alert.
        let mut wrong = server.tls;
        let _ = wrong.read_tls(
            &mut &[
                23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
                20,
            ][..],
        );
        assert!(wrong.process_new_packets().is_err());
        while wrong.wants_write() {
            wrong.write_tls(&mut server.tcp).unwrap();
        }
        assert_eq!(client.read_to_end().1, End::Reset);
        let line = proxy.wait_cause("close", "server-reset");
        let detail = line["detail"].as_str().unwrap();
        assert!(detail.contains("bad_record_mac"), "{version:?} {line}");
    }
}

#[test]
fn only_a_request_that_may_be_repeated_goes_to_another_server() {
    let server = Identity::new(&["localhost"]);
    let start = || {
        let keys = believing(&server, "");
        Plan::http(refusing(&server))
            .and_server(answering(&server))
            .backend_keys(&format!("{keys}\nbalance = \"round_robin\""))
            .start()
    };
    let proxy = start();
    for _ in 0..4 {
        let answer = exchange(proxy.addr(), get("x", "/", ""));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.text().contains("from the other one"));
    }
    proxy.wait_access("request", |line| line["retries"] == 1);
    // What has a body stays where it was sent, until the server counts as suspect.
    let proxy = start();
    let statuses = || exchange(proxy.addr(), post()).status;
    let statuses: Vec<u16> = std::iter::repeat_with(statuses).take(6).collect();
    let refused = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!(refused, 3, "{statuses:?}");
}

#[test]
fn a_tcp_check_hears_a_late_alert() {
    let server = Identity::new(&["localhost"]);
    for (version, words) in [(&TLS12, "refused with the alert"), (&TLS13, REFUSED)] {
        let demands = demanding(&server, version, &Identity::new(&["client"]));
        let origin = TlsOrigin::bind(demands);
        let addr = origin.addr();
        thread::spawn(move || {
            loop {
                drop(origin.accept_refused());
            }
        });
        let proxy = Plan::tcp(addr)
            .backend_keys(&believing(&server, ""))
            .health(&quick("tcp"))
            .start();
        let line = wait_down(&proxy, addr);
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn a_tcp_check_waits_for_a_silent_server_for_half_a_second_at_most() {
    let server = Identity::new(&["localhost"]);
    for (version, tickets, least, most) in [
        (
            &TLS13,
            0,
            Duration::from_millis(450),
            Duration::from_secs(5),
        ),
        (&TLS13, 1, Duration::ZERO, Duration::from_millis(400)),
        (&TLS12, 0, Duration::ZERO, Duration::from_millis(400)),
    ] {
        let mut config = server_config(&server, &[version], None);
        config.send_tls13_tickets = tickets;
        let origin = TlsOrigin::bind(config);
        let proxy = Plan::tcp(origin.addr())
            .backend_keys(&believing(&server, ""))
            .health(&quick("tcp"))
            .start();
        // A busy machine can make one check slow, not all of them.
        let fits = within(Duration::from_secs(10), || {
            let mut served = origin.accept();
            let began = Instant::now();
            assert_eq!(served.read_to_end().unwrap(), b"");
            let took = began.elapsed();
            assert!(took >= least, "{took:?}");
            took < most
        });
        assert!(fits, "{version:?} {tickets}");
        wait_up(&proxy, origin.addr());
    }
}

#[test]
fn openssl_refuses_a_request_without_a_certificate() {
    let Some(rsa) = Rsa::new() else { return };
    let port = free_port();
    let files = rsa.files();
    let files = files.each_ref().map(String::as_str);
    let _server = Openssl::server(files, port, &["-tls1_3", "-Verify", "1"]);
    let addr: SocketAddr = ([127, 0, 0, 1], port).into();
    let proxy = Plan::http(addr).backend_keys(&rsa.keys()).start();
    let answer = exchange(proxy.addr(), get("x", "/", ""));
    assert_eq!(answer.status, 502, "{answer:?}");
    let line = proxy.wait_cause("refused", "server-tls-failed");
    assert_eq!(line["detail"], REFUSED, "{line}");
}

#[test]
fn openssl_that_asks_for_another_handshake_is_told_no() {
    let Some(rsa) = Rsa::new() else { return };
    let port = free_port();
    let files = rsa.files();
    let files = files.each_ref().map(String::as_str);
    let mut server = Openssl::server(files, port, &["-tls1_2", "-msg"]);
    let proxy = Plan::tcp(([127, 0, 0, 1], port).into())
        .backend_keys(&rsa.keys())
        .start();
    let mut client = proxy.connect();
    client.send("from the client\n");
    server.await_line("from the client");
    server.command('r');
    server.await_line("<<< TLS 1.2, Alert [length 0002], warning no_renegotiation");
}
