//! The PROXY protocol in front of the client's bytes: who is believed, in any fragmentation.
//!
//! The server is asked for a version 1 line, which tells the test what the proxy believes.

use std::net::SocketAddr;

use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;

// Headers that name a client or none, in any pieces.
mod headers;
// Whose header is read, and whose is payload.
mod trust;
// Headers that break a rule, come slowly, or never come.
mod refused;
// What a header means in http mode.
mod http_mode;

/// Signature of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Trusted sources of these tests; 127.0.0.1 is not one of them.
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]";
const TRUSTED_SOURCE: &str = "127.0.0.2";

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

/// Headers that name no client: the connection's own addresses stand.
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
