//! What a header means in http mode: the client's address, the scheme and the port.

use super::{TRUSTED, TRUSTED_SOURCE, V4, join, naming, ssl_tlv, tlv, v2};
use crate::harness::http;
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;

#[test]
fn http_gets_the_address_and_the_port_of_the_header() {
    let origin = Origin::answering(http::ok("hello"));
    let proxy = Plan::http(origin.addr)
        .listener_keys(&format!("proxy_protocol = \"require\"\n{TRUSTED}"))
        .start();
    for (header, _) in naming() {
        let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
        client.send(join(&[&header, http::get("app", "/", "").as_bytes()]));
        assert_eq!(http::read_answer(&mut client).text(), "hello");
        let head = origin.head();
        let from = http::values(&head, "x-real-ip");
        assert!(from == ["203.0.113.7"] || from == ["2001:db8::7"], "{head}");
        assert_eq!(http::values(&head, "x-forwarded-for"), from);
        // Destination port 443: the balancer in front ended TLS.
        assert_eq!(http::values(&head, "x-forwarded-proto"), ["https"]);
        assert_eq!(http::values(&head, "x-forwarded-port"), ["443"]);
    }
}

#[test]
fn the_ssl_tlv_outranks_the_destination_port() {
    let origin = Origin::answering(http::ok("hello"));
    let proxy = Plan::http(origin.addr)
        .listener_keys(&format!("proxy_protocol = \"require\"\n{TRUSTED}"))
        .start();
    let mut port_80 = V4;
    port_80[10..].copy_from_slice(&[0, 80]);
    let plain_tlv = tlv(0x20, &[0, 0, 0, 0, 1]);
    let rows = [
        (join(&[&port_80, &ssl_tlv()]), "https", "80"),
        (join(&[&V4, &plain_tlv]), "http", "443"),
        (port_80.to_vec(), "http", "80"),
    ];
    for (rest, scheme, port) in rows {
        let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
        client.send(v2(0x21, 0x11, &rest));
        client.send(http::get("app", "/", ""));
        http::read_answer(&mut client);
        let head = origin.head();
        assert_eq!(http::values(&head, "x-forwarded-proto"), [scheme], "{head}");
        assert_eq!(http::values(&head, "x-forwarded-port"), [port], "{head}");
    }
}
