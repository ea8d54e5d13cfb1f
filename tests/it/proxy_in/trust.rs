//! Whose header is read: sources, the three modes, and headers stacked by several balancers.

use std::time::Duration;

use super::{PROXIED_V4, PROXIED_V6, TRUSTED, TRUSTED_SOURCE, V4, edge, join, naming, own, v2};
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::{eventually, free_addr};

const STRANGER: &str = "127.0.0.1";

#[test]
fn require_closes_a_trusted_source_without_a_header() {
    let origin = Origin::bind();
    let proxy = edge(&origin, "require");
    let rows: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"hello\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PROPFIND / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIZ\n!!!!!!",
    ];
    for bytes in rows {
        let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
        client.send(bytes);
        client.expect_ended();
    }
    eventually("a line for each", || {
        let lines = proxy.access_lines();
        lines
            .iter()
            .filter(|line| line["event"] == "refused")
            .count()
            == rows.len()
    });
    proxy.wait_cause("refused", "proxy-header-missing");
    origin.expect_untouched();
}

#[test]
fn require_closes_an_untrusted_source() {
    let origin = Origin::bind();
    let proxy = edge(&origin, "require");
    for bytes in [PROXIED_V4.as_bytes(), b"hello\r\n"] {
        let mut client = Peer::connect_from(STRANGER, proxy.addr());
        // It may be closed before it has said anything.
        let _ = client.try_send(bytes);
        client.expect_ended();
    }
    let line = proxy.wait_cause("refused", "untrusted-source");
    assert!(line["client"].as_str().unwrap().contains("127.0.0.1"));
    origin.expect_untouched();
}

#[test]
fn optional_takes_a_trusted_source_without_a_header() {
    let origin = Origin::bind();
    let proxy = edge(&origin, "optional");
    let rows: [&[u8]; 4] = [
        b"hello",
        b"\r\n\r\n\0\r\nQUIZ and so on",
        b"PROPFIND / HTTP/1.1\r\n\r\n",
        b"PROXIMITY",
    ];
    for bytes in rows {
        let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
        client.send(bytes);
        client.finish();
        let expected = own(&client, proxy.addr());
        let (received, _) = origin.accept().read_to_end();
        assert_eq!(
            String::from_utf8_lossy(&received),
            String::from_utf8_lossy(&join(&[expected.as_bytes(), bytes]))
        );
    }
}

#[test]
fn optional_lets_the_server_speak_first_when_no_header_comes() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .listener_keys(&format!("proxy_protocol = \"optional\"\n{TRUSTED}"))
        .listener_timeouts("proxy_header = \"300ms\"")
        .start();
    // Whether a header comes is known when its time is over.
    let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
    let mut server = origin.accept();
    server.send("220 ready\r\n");
    client.expect("220 ready\r\n");
    client.send("HELO");
    server.expect("HELO");
}

#[test]
fn an_untrusted_sources_header_is_payload_unless_required() {
    for mode in ["optional", "off"] {
        let origin = Origin::bind();
        let proxy = edge(&origin, mode);
        for (header, _) in naming() {
            let mut client = Peer::connect_from(STRANGER, proxy.addr());
            client.send(&header);
            let mut expected = own(&client, proxy.addr()).into_bytes();
            expected.extend(&header);
            origin.accept().expect(expected);
        }
    }
}

#[test]
fn off_takes_every_header_as_payload() {
    let origin = Origin::bind();
    let proxy = edge(&origin, "off");
    let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
    client.send(PROXIED_V4);
    let expected = own(&client, proxy.addr());
    origin.accept().expect(format!("{expected}{PROXIED_V4}"));
}

/// A line that names the trusted balancer 10.0.0.N.
fn from_balancer(number: usize) -> String {
    format!("PROXY TCP4 10.0.0.{number} 192.0.2.1 1000 80\r\n")
}

#[test]
fn stacked_headers_are_believed_as_far_as_trust_reaches() {
    let origin = Origin::bind();
    let proxy = edge(&origin, "require");
    let v2_balancer = v2(0x21, 0x11, &[10, 0, 0, 9, 192, 0, 2, 1, 0x03, 0xe8, 0, 80]);
    let five: String = (1..=5).map(from_balancer).collect();
    let stranger = "PROXY TCP4 198.51.100.1 192.0.2.1 2000 80\r\n";
    // What arrives, and what the server gets.
    let rows: Vec<(Vec<u8>, String)> = vec![
        // A chain of trusted balancers: the innermost header names the client.
        (
            format!("{}{PROXIED_V4}", from_balancer(1)).into(),
            PROXIED_V4.into(),
        ),
        (
            join(&[&v2_balancer, PROXIED_V4.as_bytes()]),
            PROXIED_V4.into(),
        ),
        (
            join(&[from_balancer(1).as_bytes(), &v2(0x21, 0x11, &V4)]),
            PROXIED_V4.into(),
        ),
        (
            format!(
                "{}{}{}{PROXIED_V6}",
                from_balancer(1),
                from_balancer(2),
                from_balancer(3)
            )
            .into(),
            PROXIED_V6.into(),
        ),
        // A stranger's header ends the chain: what follows is payload, header or not.
        (
            format!("{stranger}{PROXIED_V4}").into(),
            format!("{stranger}{PROXIED_V4}"),
        ),
        (
            format!("{}{stranger}{PROXIED_V4}", from_balancer(1)).into(),
            format!("{stranger}{PROXIED_V4}"),
        ),
        // Four at most: the fifth is payload.
        (
            five.clone().into(),
            format!("{}{}", from_balancer(4), from_balancer(5)),
        ),
    ];
    for (bytes, expected) in rows {
        let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
        client.send(join(&[&bytes, b"payload"]));
        origin.accept().expect(format!("{expected}payload"));
        let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
        client
            .drip(&join(&[&bytes, b"payload"]), Duration::from_micros(100))
            .unwrap();
        origin.accept().expect(format!("{expected}payload"));
    }
}

#[test]
fn nobody_is_believed_by_default() {
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .listener_keys("proxy_protocol = \"optional\"")
        .start();
    let mut client = proxy.connect();
    client.send(PROXIED_V4);
    origin.accept().expect(PROXIED_V4);
    drop(proxy);
    let proxy = Plan::tcp(free_addr())
        .listener_keys("proxy_protocol = \"off\"")
        .start();
    proxy.connect().expect_ended();
}
