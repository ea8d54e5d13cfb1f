//! Headers that are believed: those that name a client, those that name none, in any pieces.

use std::time::Duration;

use super::{TRUSTED_SOURCE, edge, join, nameless, naming, own};
use crate::harness::origin::Origin;
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;

#[test]
fn a_header_that_names_a_client_is_believed() {
    for mode in ["require", "optional"] {
        let origin = Origin::bind();
        let proxy = edge(&origin, mode);
        for (header, line) in naming() {
            let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
            client.send(join(&[&header, b"payload"]));
            let mut server = origin.accept();
            server.expect(format!("{line}payload"));
            server.send("answer");
            client.expect("answer");
        }
        proxy.wait_access("open", |line| {
            line["client"].as_str().unwrap().contains("203.0.113.7")
        });
        proxy.wait_access("open", |line| {
            line["client"].as_str().unwrap().contains("2001:db8::7")
        });
    }
}

#[test]
fn a_header_that_names_nobody_leaves_the_connections_own_address() {
    for mode in ["require", "optional"] {
        let origin = Origin::bind();
        let proxy = edge(&origin, mode);
        for header in nameless() {
            let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
            client.send(join(&[&header, b"payload"]));
            let expected = own(&client, proxy.addr());
            origin.accept().expect(format!("{expected}payload"));
        }
    }
}

#[test]
fn a_header_may_arrive_in_any_two_pieces() {
    let origin = Origin::bind();
    let proxy = edge(&origin, "require");
    for (header, line) in naming() {
        let whole = join(&[&header, b"payload"]);
        // A long header only around its parts, to keep the test short.
        let step = whole.len() / 100 + 1;
        for cut in (1..whole.len()).step_by(step) {
            let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
            client.send(&whole[..cut]);
            proxy.wait_received(&client);
            client.send(&whole[cut..]);
            origin.accept().expect(format!("{line}payload"));
        }
    }
}

#[test]
fn a_header_may_arrive_byte_by_byte() {
    for mode in ["require", "optional"] {
        let origin = Origin::bind();
        let proxy = edge(&origin, mode);
        for (header, line) in naming() {
            let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
            let whole = join(&[&header, b"payload"]);
            client.drip(&whole, Duration::from_micros(300)).unwrap();
            origin.accept().expect(format!("{line}payload"));
        }
    }
}

#[test]
fn a_long_payload_glued_to_the_header_is_delivered_once() {
    let origin = Origin::bind();
    let proxy = edge(&origin, "require");
    let payload = crate::harness::random::Random::new(5).bytes(200_000);
    for (header, line) in naming() {
        let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
        client.send(join(&[&header, &payload]));
        client.finish();
        let (received, _) = origin.accept().read_to_end();
        assert!(received == join(&[line.as_bytes(), &payload]));
    }
}

#[test]
fn a_reset_reaches_a_client_that_named_nobody_and_never_spoke() {
    let origin = Origin::bind();
    let plan = Plan::tcp(origin.addr())
        .listener_keys("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]");
    let proxy = plan.start();
    let mut client = proxy.connect();
    client.send("PROXY UNKNOWN\r\n");
    let server = origin.accept();
    proxy.wait_access("open", |_| true);
    server.reset();
    let (bytes, end) = client.read_to_end();
    assert_eq!((bytes.as_slice(), end), (&b""[..], End::Reset));
    proxy.wait_cause("close", "server-reset");
}
