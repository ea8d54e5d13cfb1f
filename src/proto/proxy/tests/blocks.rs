//! Version 2: fixed part, addresses, TLVs, checksum.

use super::*;

#[test]
fn families_and_commands_are_read() {
    let inet6 = inet6_block();
    let unix = [0x2F; 216];
    let noop = tlv(4, b"abc");
    let [unknown, local] = [Addresses::Unknown, Addresses::Local].map(Header::from);
    let proxied6 = proxied("[2001:db8::1]:1", "[2001:db8::2]:443");
    let rows = [
        (0x21, 0x11, INET.to_vec(), inet()),
        (0x21, 0x21, inet6.clone(), proxied6),
        (0x21, 0x12, INET.to_vec(), unknown.clone()),
        (0x21, 0x10, INET.to_vec(), unknown.clone()),
        (0x21, 0x22, inet6.clone(), unknown.clone()),
        (0x21, 0x20, inet6.clone(), unknown.clone()),
        (0x21, 0x31, unix.to_vec(), unknown.clone()),
        (0x21, 0x32, unix.to_vec(), unknown.clone()),
        (0x21, 0x30, unix.to_vec(), unknown.clone()),
        (0x21, 0x00, Vec::new(), unknown.clone()),
        (0x21, 0x01, Vec::new(), unknown.clone()),
        (0x21, 0x02, Vec::new(), unknown.clone()),
        (0x21, 0x00, noop.clone(), unknown.clone()),
        (0x21, 0x31, [&unix[..], &noop].concat(), unknown),
        (0x20, 0x00, Vec::new(), local.clone()),
        (0x20, 0x00, noop.clone(), local.clone()),
        (0x20, 0x11, INET.to_vec(), local.clone()),
        (0x20, 0x11, [&INET[..], &noop].concat(), local.clone()),
        (0x20, 0x11, Vec::new(), local.clone()),
        (0x20, 0x11, noop, local.clone()),
        (0x20, 0x21, inet6, local.clone()),
        (0x20, 0x31, unix.to_vec(), local.clone()),
        (0x20, 0x44, b"what".to_vec(), local.clone()),
        (0x20, 0xFF, vec![0; V2_LEN_MAX - 16], local),
    ];
    for (command, family, block, expected) in rows {
        check(&v2_header(command, family, &block), Ok(expected));
    }
}

#[test]
fn malformed_fixed_parts_are_named_at_once() {
    let rows: [(&[u8], MalformedHeader); 20] = [
        (&[0x11], MalformedHeader::Version),
        (&[0x31], MalformedHeader::Version),
        (&[0x01], MalformedHeader::Version),
        (&[0xF0], MalformedHeader::Version),
        (&[0x22], MalformedHeader::Command),
        (&[0x2F], MalformedHeader::Command),
        (&[0x21, 0x41], MalformedHeader::Family),
        (&[0x21, 0xF0], MalformedHeader::Family),
        (&[0x21, 0x13], MalformedHeader::Transport),
        (&[0x21, 0x0F], MalformedHeader::Transport),
        (&[0x21, 0x11, 0xFF, 0xFF], MalformedHeader::TooLong),
        (&[0x21, 0x11, 0x1F, 0xF1], MalformedHeader::TooLong),
        (&[0x20, 0x00, 0x1F, 0xF1], MalformedHeader::TooLong),
        (&[0x21, 0x11, 0, 0], MalformedHeader::TooShort),
        (&[0x21, 0x11, 0, 11], MalformedHeader::TooShort),
        (&[0x21, 0x12, 0, 11], MalformedHeader::TooShort),
        (&[0x21, 0x10, 0, 11], MalformedHeader::TooShort),
        (&[0x21, 0x21, 0, 35], MalformedHeader::TooShort),
        (&[0x21, 0x22, 0, 12], MalformedHeader::TooShort),
        (&[0x21, 0x31, 0, 215], MalformedHeader::TooShort),
    ];
    for (fixed, expected) in rows {
        let bytes = [&b"\r\n\r\n\0\r\nQUIT\n"[..], fixed].concat();
        check(&bytes, Err(expected));
        let before = &bytes[..bytes.len() - 1];
        assert_eq!(parse(before), Ok(Progress::Partial), "{fixed:x?}");
    }
}

fn check_tlvs(tlvs: &[Vec<u8>], expected: Result<Tlvs, MalformedHeader>) {
    let tlvs = tlvs.concat();
    let rows = [
        (0x21, 0x11, &INET[..], inet()),
        (0x21, 0x00, b"", Header::from(Addresses::Unknown)),
        (0x20, 0x00, b"", Header::from(Addresses::Local)),
        (0x20, 0x11, &INET, Header::from(Addresses::Local)),
    ];
    for (command, family, addresses, header) in rows {
        let bytes = v2_header(command, family, &[addresses, &tlvs].concat());
        let expected = expected.clone().map(|tlvs| Header { tlvs, ..header });
        check(&bytes, expected);
    }
}

#[test]
fn tlvs_are_kept_or_dropped() {
    let none = Tlvs::default;
    let authority = |text: &str| Tlvs {
        authority: Some(text.to_owned()),
        ..none()
    };
    let unique_id = |bytes: &[u8]| Tlvs {
        unique_id: Some(bytes.to_vec()),
        ..none()
    };
    let alpn = |bytes: &[u8]| Tlvs {
        alpn: Some(bytes.to_vec()),
        ..none()
    };
    let endpoint = Tlvs {
        aws_endpoint_id: Some("vpce-0123456789abcdef0".to_owned()),
        ..none()
    };
    let rows = [
        (vec![tlv(1, b"h2")], alpn(b"h2")),
        (vec![tlv(1, b"")], none()),
        (vec![tlv(1, b"h2"), tlv(1, b"http/1.1")], alpn(b"h2")),
        (vec![tlv(2, b"a.example")], authority("a.example")),
        (
            vec![tlv(2, "b\u{fc}cher".as_bytes())],
            authority("b\u{fc}cher"),
        ),
        (vec![tlv(2, b"a"), tlv(2, b"b")], authority("a")),
        (vec![tlv(2, b"\xFF"), tlv(2, b"b")], authority("b")),
        (vec![tlv(2, b"")], none()),
        (vec![tlv(2, b"\xFF\xFE")], none()),
        (vec![tlv(2, b"a\r\nb")], none()),
        (vec![tlv(2, b"a\0")], none()),
        (vec![tlv(4, b""), tlv(4, &[0; 36])], none()),
        (vec![tlv(5, b"id")], unique_id(b"id")),
        (vec![tlv(5, &[0xFF; 128])], unique_id(&[0xFF; 128])),
        (vec![tlv(5, b""), tlv(5, b"id")], unique_id(b"id")),
        (vec![tlv(0x30, b"netns")], none()),
        (vec![tlv(0, b""), tlv(0xE0, b"x"), tlv(0xFF, b"y")], none()),
        (
            vec![tlv(0xEA, b"\x01vpce-0123456789abcdef0")],
            endpoint.clone(),
        ),
        (
            vec![
                tlv(0xEA, b"\x02x"),
                tlv(0xEA, b"\x01vpce-0123456789abcdef0"),
            ],
            endpoint,
        ),
        (vec![tlv(0xEA, b"\x01\xFF")], none()),
        (vec![tlv(0xEA, b"\x01")], none()),
        (vec![tlv(0xEA, b"")], none()),
    ];
    for (tlvs, expected) in rows {
        check_tlvs(&tlvs, Ok(expected));
    }
}

#[test]
fn the_ssl_tlv_is_read() {
    let texts = [
        tlv(0x21, b"TLSv1.3"),
        tlv(0x22, b"client.example"),
        tlv(0x23, b"TLS_AES_128_GCM_SHA256"),
        tlv(0x24, b"RSA-SHA256"),
        tlv(0x25, b"RSA2048"),
    ];
    let full = Ssl {
        over_tls: true,
        client_verified: true,
        resumed: false,
        version: Some("TLSv1.3".to_owned()),
        common_name: Some("client.example".to_owned()),
        cipher: Some("TLS_AES_128_GCM_SHA256".to_owned()),
    };
    let flags = |over_tls, client_verified| Ssl {
        over_tls,
        client_verified,
        ..Ssl::default()
    };
    let latin1 = [tlv(0x22, b"Andr\xE9")];
    let rows = [
        (vec![ssl_tlv(0x07, 0, &texts)], full),
        (vec![ssl_tlv(0x01, 1, &[])], flags(true, false)),
        // No certificate was presented, so a verify of zero verifies nothing.
        (vec![ssl_tlv(0x01, 0, &[])], flags(true, false)),
        (vec![ssl_tlv(0x03, 0, &[])], flags(true, true)),
        (
            vec![ssl_tlv(0x05, 0, &[])],
            Ssl {
                resumed: true,
                ..flags(true, true)
            },
        ),
        // A certificate of an earlier connection that was not verified.
        (vec![ssl_tlv(0x05, 1, &[])], flags(true, false)),
        (vec![ssl_tlv(0x03, 19, &[])], flags(true, false)),
        (vec![ssl_tlv(0x00, 0, &[])], flags(false, false)),
        (vec![ssl_tlv(0xF8, 0, &[])], flags(false, false)),
        (vec![ssl_tlv(0x03, 0, &latin1)], flags(true, true)),
        (
            vec![ssl_tlv(1, 1, &[]), ssl_tlv(0, 1, &[])],
            flags(true, false),
        ),
    ];
    for (tlvs, ssl) in rows {
        let expected = Tlvs {
            ssl: Some(ssl),
            ..Tlvs::default()
        };
        check_tlvs(&tlvs, Ok(expected));
    }
}

#[test]
fn malformed_tlvs_are_named() {
    let rows = [
        (vec![vec![4]], MalformedHeader::TlvDangling),
        (vec![vec![4, 0]], MalformedHeader::TlvDangling),
        (vec![tlv(4, b"x"), vec![0]], MalformedHeader::TlvDangling),
        (vec![vec![4, 0, 1]], MalformedHeader::TlvOverrun),
        (vec![vec![4, 0xFF, 0xFF, 0]], MalformedHeader::TlvOverrun),
        (vec![vec![0xEE, 0, 2, 0]], MalformedHeader::TlvOverrun),
        (vec![tlv(5, &[0; 129])], MalformedHeader::UniqueId),
        (vec![tlv(0x20, b"")], MalformedHeader::Ssl),
        (vec![tlv(0x20, &[0; 4])], MalformedHeader::Ssl),
        (
            vec![ssl_tlv(1, 0, &[vec![0x21]])],
            MalformedHeader::TlvDangling,
        ),
        (
            vec![ssl_tlv(1, 0, &[vec![0x21, 0, 1]])],
            MalformedHeader::TlvOverrun,
        ),
        (
            vec![ssl_tlv(1, 0, &[]), ssl_tlv(1, 0, &[vec![0x21, 0, 1]])],
            MalformedHeader::TlvOverrun,
        ),
        // The inner TLV ends inside the header, but not inside the outer TLV.
        (
            vec![ssl_tlv(1, 0, &[vec![0x21, 0, 3]]), tlv(4, b"")],
            MalformedHeader::TlvOverrun,
        ),
        (vec![tlv(3, b"")], MalformedHeader::ChecksumForm),
        (vec![tlv(3, &[0; 3])], MalformedHeader::ChecksumForm),
        (vec![tlv(3, &[0; 5])], MalformedHeader::ChecksumForm),
        (vec![tlv(3, &[0; 4])], MalformedHeader::Checksum),
    ];
    for (tlvs, expected) in rows {
        check_tlvs(&tlvs, Err(expected));
    }
}

/// Headers with a checksum, the last one written by [`encode`].
fn headers_with_checksum() -> Vec<Vec<u8>> {
    let known = v2_header(0x21, 0x11, &[&INET[..], &tlv(3, &INET_CRC32C)].concat());
    let mut full = Vec::new();
    let tlvs = Tlvs {
        alpn: Some(b"h2".to_vec()),
        authority: Some("a.example".to_owned()),
        crc32c: true,
        ..Tlvs::default()
    };
    let header = Header { tlvs, ..inet() };
    encode(HeaderVersion::V2, &header, &mut full);
    let mut local = Vec::new();
    let tlvs = Tlvs {
        crc32c: true,
        ..Tlvs::default()
    };
    let addresses = Addresses::Local;
    encode(HeaderVersion::V2, &Header { addresses, tlvs }, &mut local);
    vec![known, full, local]
}

#[test]
fn a_right_checksum_is_seen_wherever_it_is() {
    for header in headers_with_checksum() {
        let Ok(Progress::Complete { value, .. }) = parse(&header) else {
            panic!("{}", header.escape_ascii());
        };
        assert!(value.tlvs.crc32c);
        check(&header, Ok(value));
    }
    // In front of another TLV, which it covers too.
    let block = [&INET[..], &tlv(3, &[0; 4]), &tlv(2, b"a")].concat();
    let mut bytes = v2_header(0x21, 0x11, &block);
    let sum = crc32c::crc32c(&bytes).to_be_bytes();
    bytes[31..35].copy_from_slice(&sum);
    let tlvs = Tlvs {
        authority: Some("a".to_owned()),
        crc32c: true,
        ..Tlvs::default()
    };
    check(&bytes, Ok(Header { tlvs, ..inet() }));
    *bytes.last_mut().unwrap() = b'b';
    check(&bytes, Err(MalformedHeader::Checksum));
}

#[test]
fn a_second_checksum_is_malformed() {
    // Each of the two is correct by itself, so there is no telling which was meant.
    let block = [tlv(3, &[0; 4]), tlv(3, &[0; 4])].concat();
    let mut bytes = v2_header(0x20, 0x00, &block);
    let sum = crc32c::crc32c(&bytes).to_be_bytes();
    bytes[19..23].copy_from_slice(&sum);
    check(&bytes, Err(MalformedHeader::ChecksumForm));
}

#[test]
fn every_one_byte_change_under_a_checksum_is_refused() {
    for header in headers_with_checksum() {
        for (at, change) in (0..header.len()).flat_map(|at| (1..=255).map(move |bits| (at, bits))) {
            let mut changed = header.clone();
            changed[at] ^= change;
            match parse(&changed) {
                // The length grew, or the signature is incomplete.
                Err(_) | Ok(Progress::Partial) => {}
                // The change hid the checksum itself: nothing else can show the error.
                Ok(Progress::Complete { value, .. }) => {
                    assert!(!value.tlvs.crc32c, "byte {at} ^ {change:#x}");
                }
            }
        }
    }
}
