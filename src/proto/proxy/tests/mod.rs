//! Tests of both versions: every row is read whole, followed by more bytes, and prefix by prefix.

use std::net::SocketAddr;

use super::*;
use crate::proto::addr::PeerAddr;

mod blocks;
mod lines;
mod writing;

/// Checks that `bytes` is read as `expected`, whatever follows, and not before its last byte.
fn check(bytes: &[u8], expected: Result<Header, MalformedHeader>) {
    let shown = bytes.escape_ascii();
    let expected = expected.map(|value| {
        let used = bytes.len();
        Progress::Complete { value, used }
    });
    assert_eq!(parse(bytes), expected, "{shown}");
    for rest in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\r\n",
        b"PROXY UNKNOWN\r\n",
    ] {
        let glued = [bytes, rest].concat();
        assert_eq!(parse(&glued), expected, "with {rest:?} behind: {shown}");
    }
    let prefixes = (0..bytes.len()).map(|len| parse(&bytes[..len]));
    let settled: Vec<_> = prefixes
        .skip_while(|answer| *answer == Ok(Progress::Partial))
        .collect();
    if expected.is_ok() {
        assert!(settled.is_empty(), "settled too early: {shown}");
    }
    assert!(
        settled.iter().all(|answer| *answer == expected),
        "the answer changes: {shown}"
    );
}

fn proxied(source: &str, destination: &str) -> Header {
    Header::from(Addresses::Proxied {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    })
}

/// Makes a version 2 header with these two bytes after the signature, and its block.
fn v2_header(version_command: u8, family_transport: u8, block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    let fixed = [version_command, family_transport, len[0], len[1]];
    [b"\r\n\r\n\0\r\nQUIT\n", &fixed[..], block].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind, len[0], len[1]], value].concat()
}

/// 192.0.2.1:56324 to 198.51.100.2:443.
const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 0x04, 0x01, 0xBB];
/// The checksum of a header of [`INET`] and nothing else, by another implementation.
const INET_CRC32C: [u8; 4] = [0x20, 0xEC, 0x95, 0x49];

fn inet() -> Header {
    proxied("192.0.2.1:56324", "198.51.100.2:443")
}

/// 2001:db8::1 port 1 to 2001:db8::2 port 443.
fn inet6_block() -> Vec<u8> {
    let mut block = [[0; 16], [0; 16]].concat();
    block[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    block[16..20].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    (block[15], block[31]) = (1, 2);
    [&block[..], &[0, 1, 0x01, 0xBB]].concat()
}

fn ssl_tlv(client: u8, verify: u8, inner: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [client, 0, 0, 0, verify];
    tlv(0x20, &[&fixed[..], &inner.concat()].concat())
}

#[test]
fn what_is_no_header_is_known_at_its_first_wrong_byte() {
    let rows: [(&[u8], usize); 12] = [
        (b"GET / HTTP/1.1\r\n", 1),
        (b"PUT / HTTP/1.1\r\n", 2),
        (b"POST / HTTP/1.1\r\n", 2),
        (b"PROPFIND / HTTP/1.1\r\n", 4),
        (b"PROXYTCP4 ", 6),
        (b"PROXY\r\n", 6),
        (b"proxy UNKNOWN\r\n", 1),
        (b"\x16\x03\x01\x02\x00", 1),
        (b"\r\nGET / HTTP/1.1\r\n", 3),
        (b"\r\n\r\nx", 5),
        (b"\r\n\r\n\0\r\nQUIT\r", 12),
        (b"\0", 1),
    ];
    for (bytes, wrong_at) in rows {
        for len in 0..=bytes.len() {
            let expected = if len < wrong_at {
                Ok(Progress::Partial)
            } else {
                Err(MalformedHeader::NotProxy)
            };
            assert_eq!(parse(&bytes[..len]), expected, "{}", bytes.escape_ascii());
        }
    }
}
