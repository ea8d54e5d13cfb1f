//! Headers that break a rule, come too slowly or never come, and probes, which leave no line.

use std::time::{Duration, Instant};

use super::{PROXIED_V4, TRUSTED, TRUSTED_SOURCE, V4, join, nameless, tlv, v2, v2_with_crc, v6};
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::{eventually, http};

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
        let descriptors = proxy.settled_descriptors();
        let before = proxy.log_lines().len();
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
