//! The PROXY protocol in front of the client's bytes: who is believed, in any fragmentation.
//!
//! The server is asked for a version 1 line, which tells the test what the proxy believes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::eventually;
use crate::harness::free_addr;
use crate::harness::http;
use crate::harness::origin::Origin;
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;

/// Signature of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Trusted sources of these tests; 127.0.0.1 is not one of them.
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]";
const TRUSTED_SOURCE: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.1";

/// A version 2 header: command, family, addresses and TLVs.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

/// Addresses of version 2 over IPv4: 203.0.113.7:56324 to 192.0.2.1:443.
const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 0x04, 0x01, 0xbb];

/// Addresses of version 2 over IPv6: [2001:db8::7]:56324 to [2001:db8::1]:443.
fn v6() -> Vec<u8> {
    let mut bytes = Vec::new();
    for last in [7, 1] {
        bytes.extend([0x20, 0x01, 0x0d, 0xb8]);
        bytes.extend([0; 11]);
        bytes.push(last);
    }
    bytes.extend([0xdc, 0x04, 0x01, 0xbb]);
    bytes
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend(value);
    bytes
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A version 2 header over IPv4 with a right (or, on demand, wrong) CRC32C (proxy-protocol.txt 2.2.3).
fn v2_with_crc(right: bool) -> Vec<u8> {
    let mut header = v2(0x21, 0x11, &join(&[&V4, &tlv(0x03, &[0; 4])]));
    let at = header.len() - 4;
    let sum = crc32c::crc32c(&header) ^ u32::from(!right);
    header[at..].copy_from_slice(&sum.to_be_bytes());
    header
}

/// What a PP2_TYPE_SSL says: over TLS, certificate verified, version TLSv1.3.
fn ssl_tlv() -> Vec<u8> {
    tlv(0x20, &join(&[&[0x01, 0, 0, 0, 0], &tlv(0x21, b"TLSv1.3")]))
}

fn edge(origin: &Origin, proxy_protocol: &str) -> Proxy {
    Plan::tcp(origin.addr())
        .listener_keys(&format!("proxy_protocol = \"{proxy_protocol}\"\n{TRUSTED}"))
        .server_keys("send_proxy = \"v1\"")
        .start()
}

/// The client whose header was believed.
const PROXIED_V4: &str = "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";
const PROXIED_V6: &str = "PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n";

/// The line that stands for a connection itself.
fn own(client: &Peer, proxy: SocketAddr) -> String {
    let addr = client.local_addr();
    format!(
        "PROXY TCP4 {} {} {} {}\r\n",
        addr.ip(),
        proxy.ip(),
        addr.port(),
        proxy.port()
    )
}

/// Headers that name a client, and the line the server gets.
fn naming() -> Vec<(Vec<u8>, &'static str)> {
    let long = tlv(0xe0, &[b'x'; 600]);
    vec![
        (PROXIED_V4.into(), PROXIED_V4),
        (PROXIED_V6.into(), PROXIED_V6),
        (v2(0x21, 0x11, &V4), PROXIED_V4),
        (v2(0x21, 0x21, &v6()), PROXIED_V6),
        (
            v2(
                0x21,
                0x11,
                &join(&[
                    &V4,
                    &tlv(0x01, b"http/1.1"),
                    &tlv(0x02, b"app.example"),
                    &tlv(0x04, b""),
                    &tlv(0x05, b"unique"),
                    &ssl_tlv(),
                    &tlv(0xea, b"\x01vpce-08d2bf15fac5001c9"),
                ]),
            ),
            PROXIED_V4,
        ),
        (v2(0x21, 0x11, &join(&[&V4, &long])), PROXIED_V4),
        (v2_with_crc(true), PROXIED_V4),
    ]
}

/// Headers that name nobody: the connection's own addresses stand.
fn nameless() -> Vec<Vec<u8>> {
    let unix = [b'/'; 216];
    vec![
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 1\r\n".to_vec(),
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &V4),
        v2(0x21, 0x00, b""),
        v2(0x21, 0x31, &unix),
        // What an NLB's health check looks like: nothing but TLVs.
        v2(0x20, 0x00, &tlv(0xea, b"\x01vpce-08d2bf15fac5001c9")),
        v2(
            0x21,
            0x00,
            &join(&[&tlv(0x04, &[0; 3]), &tlv(0xea, b"\x01x")]),
        ),
    ]
}

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
            std::thread::sleep(Duration::from_micros(500));
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

/// Headers that break a rule.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let line = |rest: &str| format!("PROXY {rest}\r\n").into_bytes();
    let mut dangling = V4.to_vec();
    dangling.extend([0x04, 0x00]);
    let overrun = join(&[&V4, &[0x04, 0x00, 0x05, 1, 2]]);
    let mut other_version = v2(0x21, 0x11, &V4);
    other_version[12] = 0x11;
    let too_long = v2(0x21, 0x11, &join(&[&V4, &tlv(0xe0, &[0; 8300])]));
    vec![
        (
            "port out of range",
            line("TCP4 203.0.113.7 192.0.2.1 65536 443"),
        ),
        ("negative port", line("TCP4 203.0.113.7 192.0.2.1 -1 443")),
        (
            "port with a sign",
            line("TCP4 203.0.113.7 192.0.2.1 +1 443"),
        ),
        (
            "port that is no number",
            line("TCP4 203.0.113.7 192.0.2.1 http 443"),
        ),
        (
            "no destination port",
            line("TCP4 203.0.113.7 192.0.2.1 1000"),
        ),
        ("no addresses", line("TCP4")),
        (
            "one field too many",
            line("TCP4 203.0.113.7 192.0.2.1 1000 443 1"),
        ),
        ("two spaces", line("TCP4 203.0.113.7  192.0.2.1 1000 443")),
        (
            "a space at the end",
            line("TCP4 203.0.113.7 192.0.2.1 1000 443 "),
        ),
        (
            "unknown family",
            line("TCP5 203.0.113.7 192.0.2.1 1000 443"),
        ),
        (
            "family of lower case",
            line("tcp4 203.0.113.7 192.0.2.1 1000 443"),
        ),
        (
            "IPv6 in TCP4",
            line("TCP4 2001:db8::7 2001:db8::1 1000 443"),
        ),
        ("IPv4 in TCP6", line("TCP6 203.0.113.7 192.0.2.1 1000 443")),
        (
            "an octet too large",
            line("TCP4 203.0.113.256 192.0.2.1 1000 443"),
        ),
        ("a name", line("TCP4 localhost 192.0.2.1 1000 443")),
        (
            "LF without CR",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1000 443\n".to_vec(),
        ),
        (
            "108 bytes",
            line(&format!("UNKNOWN {}", "x".repeat(108 - 16))),
        ),
        (
            "no end",
            format!("PROXY UNKNOWN {}", "x".repeat(300)).into(),
        ),
        ("version 1 in binary", other_version),
        ("unknown command", v2(0x22, 0x11, &V4)),
        ("unknown family of version 2", v2(0x21, 0x41, &V4)),
        ("unknown transport", v2(0x21, 0x13, &V4)),
        ("addresses cut short", v2(0x21, 0x11, &V4[..11])),
        ("IPv6 addresses cut short", v2(0x21, 0x21, &v6()[..35])),
        ("wrong CRC", v2_with_crc(false)),
        ("TLV longer than the header", v2(0x21, 0x11, &overrun)),
        ("dangling bytes", v2(0x21, 0x11, &dangling)),
        ("over 8 KiB", too_long),
    ]
}

#[test]
fn a_malformed_header_is_a_close_without_an_answer() {
    let origin = Origin::bind();
    for mode in ["require", "optional"] {
        for plan in [Plan::tcp(origin.addr()), Plan::http(origin.addr())] {
            let proxy = plan
                .listener_keys(&format!("proxy_protocol = \"{mode}\"\n{TRUSTED}"))
                .start();
            let rows = malformed();
            for (what, header) in &rows {
                let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
                let request = http::get("x", "/", "");
                // It may be closed before all of it is taken.
                let _ = client.try_send(join(&[header, request.as_bytes()]));
                let (bytes, _) = client.read_to_end();
                assert_eq!(String::from_utf8_lossy(&bytes), "", "{mode}: {what}");
            }
            eventually("a line for each", || {
                let lines = proxy.access_lines();
                let fits = |line: &&serde_json::Value| {
                    line["event"] == "refused" && line["cause"] == "proxy-header-malformed"
                };
                lines.iter().filter(fits).count() == rows.len()
            });
            origin.expect_untouched();
        }
    }
}

#[test]
fn dripping_does_not_extend_the_time_of_a_header() {
    let origin = Origin::bind();
    for mode in ["require", "optional"] {
        let proxy = Plan::tcp(origin.addr())
            .listener_keys(&format!("proxy_protocol = \"{mode}\"\n{TRUSTED}"))
            .listener_timeouts("proxy_header = \"500ms\"")
            .start();
        for header in [PROXIED_V4.as_bytes(), &v2(0x21, 0x11, &V4)] {
            let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
            let started = Instant::now();
            let dripped = client.drip(header, Duration::from_millis(100));
            let took = started.elapsed();
            assert!(dripped.is_err(), "the whole header in {took:?}");
            assert!(took > Duration::from_millis(400), "ended after {took:?}");
            assert!(took < Duration::from_millis(2500), "ended after {took:?}");
        }
        proxy.wait_cause("refused", "proxy-header-timeout");
    }
    origin.expect_untouched();
}

#[test]
fn probes_leave_no_line() {
    let plans = [
        Plan::http(Origin::echo())
            .listener_keys(&format!("proxy_protocol = \"require\"\n{TRUSTED}")),
        Plan::http(Origin::echo())
            .listener_keys(&format!("proxy_protocol = \"optional\"\n{TRUSTED}")),
        Plan::http(Origin::echo()).listener_keys(TRUSTED),
        Plan::tcp(Origin::echo())
            .listener_keys(&format!("proxy_protocol = \"require\"\n{TRUSTED}")),
    ];
    for plan in plans {
        let with_header = plan.toml().contains("proxy_protocol");
        let proxy = plan
            .listener_timeouts(
                "proxy_header = \"300ms\"\nrequest_header = \"300ms\"\nkeep_alive = \"300ms\"",
            )
            .start();
        let before = proxy.log_lines().len();
        let descriptors = proxy.settled_descriptors();
        for _ in 0..5 {
            drop(Peer::connect_from(TRUSTED_SOURCE, proxy.addr()));
            Peer::connect_from(TRUSTED_SOURCE, proxy.addr()).reset();
            if with_header {
                for header in nameless() {
                    let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
                    client.send(header);
                    client.finish();
                    client.expect_ended();
                }
            }
        }
        // Connected, and never a word: closed when its time is over.
        let (_, _) = Peer::connect_from(TRUSTED_SOURCE, proxy.addr()).read_to_end();
        proxy.wait_descriptors(descriptors);
        // One that is no probe: its line comes after whatever the probes would have left.
        let mut client = Peer::connect_from(TRUSTED_SOURCE, proxy.addr());
        let _ = client.try_send("\x01 neither header nor request\r\n\r\n");
        client.read_to_end();
        proxy.wait_access("refused", |_| true);
        let lines = proxy.log_lines();
        assert_eq!(lines.len(), before + 1, "{}", lines[before..].join("\n"));
    }
}

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
