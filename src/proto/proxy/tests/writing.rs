//! Written headers, and that they are the same when read.

use proptest::prelude::*;

use super::*;
use crate::proto::proxy::header::Pair;

#[test]
fn headers_are_written_as_the_document_has_them() {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let rows = [
        (
            "192.0.2.1:56324",
            "198.51.100.2:443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
        ),
        (
            "[2001:db8::1]:1",
            "[::1]:0",
            "PROXY TCP6 2001:db8::1 ::1 1 0\r\n",
        ),
        (
            "192.0.2.1:5",
            "[2001:db8::2]:443",
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 5 443\r\n",
        ),
        (
            "[2001:db8::1]:5",
            "198.51.100.2:443",
            "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 5 443\r\n",
        ),
    ];
    for (source, destination, line) in rows {
        let (source, destination) = (at(source), at(destination));
        let header = Header::from(Addresses::between(
            PeerAddr::Inet(source),
            PeerAddr::Inet(destination),
        ));
        let mut out = b"before".to_vec();
        encode(HeaderVersion::V1, &header, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("before{line}"));

        let mut out = Vec::new();
        encode(HeaderVersion::V2, &header, &mut out);
        let (of_line, of_block) = (parse(line.as_bytes()), parse(&out));
        let addresses = |answer| match answer {
            Ok(Progress::Complete {
                value: Header { addresses, .. },
                ..
            }) => addresses,
            other => panic!("{other:?}"),
        };
        assert_eq!(addresses(of_block), addresses(of_line));
    }
    let inet_bytes = v2_header(0x21, 0x11, &INET);
    let mut out = Vec::new();
    encode(HeaderVersion::V2, &inet(), &mut out);
    assert_eq!(out, inet_bytes);
}

#[test]
fn tlvs_are_written_as_the_document_has_them() {
    let ssl = |client_verified, resumed| Ssl {
        over_tls: true,
        client_verified,
        resumed,
        version: Some("TLSv1.3".to_owned()),
        common_name: Some("cn".to_owned()),
        cipher: Some("c".to_owned()),
    };
    let inner = [tlv(0x21, b"TLSv1.3"), tlv(0x22, b"cn"), tlv(0x23, b"c")];
    for (client_verified, resumed, client, verify) in [
        (true, false, 0x07, 0),
        (true, true, 0x05, 0),
        (false, false, 0x01, 1),
        (false, true, 0x01, 1),
    ] {
        let tlvs = Tlvs {
            alpn: Some(b"h2".to_vec()),
            authority: Some("a.example".to_owned()),
            unique_id: Some(b"id".to_vec()),
            ssl: Some(ssl(client_verified, resumed)),
            aws_endpoint_id: Some("vpce-1".to_owned()),
            crc32c: false,
        };
        let block = [
            INET.to_vec(),
            tlv(1, b"h2"),
            tlv(2, b"a.example"),
            tlv(5, b"id"),
            ssl_tlv(client, verify, &inner),
            tlv(0xEA, b"\x01vpce-1"),
        ];
        let mut out = Vec::new();
        encode(HeaderVersion::V2, &Header { tlvs, ..inet() }, &mut out);
        assert_eq!(out, v2_header(0x21, 0x11, &block.concat()));
    }
    let tlvs = Tlvs {
        crc32c: true,
        ..Tlvs::default()
    };
    let mut out = Vec::new();
    encode(HeaderVersion::V2, &Header { tlvs, ..inet() }, &mut out);
    let block = [&INET[..], &tlv(3, &INET_CRC32C)].concat();
    assert_eq!(out, v2_header(0x21, 0x11, &block));
}

#[test]
fn health_checks_and_unix_peers_are_announced_without_addresses() {
    let inet = PeerAddr::from("192.0.2.1:1".parse::<SocketAddr>().unwrap());
    let local = v2_header(0x20, 0, b"");
    let unspec = v2_header(0x21, 0, b"");
    let rows = [
        (Addresses::Local, &local),
        (Addresses::between(PeerAddr::Unix, inet), &local),
        (Addresses::between(inet, PeerAddr::Unix), &local),
        (Addresses::Unknown, &unspec),
    ];
    for (addresses, expected) in rows {
        let mut out = Vec::new();
        encode(HeaderVersion::V2, &Header::from(addresses), &mut out);
        assert_eq!(out, *expected);
        out.clear();
        encode(HeaderVersion::V1, &Header::from(addresses), &mut out);
        assert_eq!(out, b"PROXY UNKNOWN\r\n");
    }
}

#[test]
fn what_does_not_fit_is_left_out() {
    let room = V2_LEN_MAX - 16 - 12 - 7 - 3;
    let tlvs = |authority_len, crc32c| Tlvs {
        authority: Some("a".repeat(authority_len)),
        crc32c,
        ..Tlvs::default()
    };
    let kept = [(room, true), (room + 7, false)];
    let dropped = [(room + 1, true), (room + 8, false), (1 << 20, true)];
    let rows = kept.map(|row| (row, true)).into_iter();
    for ((len, crc32c), is_kept) in rows.chain(dropped.map(|row| (row, false))) {
        let mut out = Vec::new();
        let tlvs = tlvs(len, crc32c);
        encode(
            HeaderVersion::V2,
            &Header {
                tlvs: tlvs.clone(),
                ..inet()
            },
            &mut out,
        );
        let authority = tlvs.authority.filter(|_| is_kept);
        let tlvs = Tlvs { authority, ..tlvs };
        check_complete(&out, &Header { tlvs, ..inet() });
        assert_eq!(out.len() == V2_LEN_MAX, is_kept, "{len} {crc32c}");
    }
    let mut out = Vec::new();
    let tlvs = Tlvs {
        alpn: Some(Vec::new()),
        unique_id: Some(vec![0; UNIQUE_ID_LEN_MAX + 1]),
        authority: Some("a\nb".to_owned()),
        aws_endpoint_id: Some(String::new()),
        ..Tlvs::default()
    };
    encode(HeaderVersion::V2, &Header { tlvs, ..inet() }, &mut out);
    check_complete(&out, &inet());
}

#[test]
fn a_common_name_that_does_not_fit_takes_nothing_with_it() {
    for len in (V2_LEN_MAX - 120..V2_LEN_MAX + 20).step_by(7) {
        let ssl = Ssl {
            over_tls: true,
            client_verified: true,
            resumed: false,
            version: Some("TLSv1.3".to_owned()),
            common_name: Some("n".repeat(len)),
            cipher: None,
        };
        let tlvs = Tlvs {
            authority: Some("a.example".to_owned()),
            ssl: Some(ssl),
            ..Tlvs::default()
        };
        let mut out = Vec::new();
        encode(HeaderVersion::V2, &Header { tlvs, ..inet() }, &mut out);
        let Ok(Progress::Complete { value, .. }) = parse(&out) else {
            panic!("{len}");
        };
        let ssl = value.tlvs.ssl.expect("the rest of it");
        assert!(ssl.over_tls && ssl.client_verified, "{len}");
        assert_eq!(ssl.version.as_deref(), Some("TLSv1.3"));
    }
}

fn check_complete(bytes: &[u8], header: &Header) {
    let value = header.clone();
    let used = bytes.len();
    assert_eq!(parse(bytes), Ok(Progress::Complete { value, used }));
}

fn any_addresses() -> impl Strategy<Value = Addresses> {
    let socket = || (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
    prop_oneof![
        8 => (socket(), socket()).prop_map(|(source, destination)| Addresses::Proxied {
            source,
            destination,
        }),
        1 => Just(Addresses::Unknown),
        1 => Just(Addresses::Local),
    ]
}

fn any_text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("\\PC{1,40}".prop_filter("a text", |text| {
        !text.is_empty() && !text.chars().any(char::is_control)
    }))
}

fn any_bytes(len_max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=len_max))
}

fn any_ssl() -> impl Strategy<Value = Option<Ssl>> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let ssl = (flags, any_text(), any_text(), any_text()).prop_map(
        |((over_tls, client_verified, resumed), version, common_name, cipher)| Ssl {
            over_tls,
            client_verified,
            resumed: client_verified && resumed,
            version,
            common_name,
            cipher,
        },
    );
    proptest::option::of(ssl)
}

fn any_tlvs() -> impl Strategy<Value = Tlvs> {
    let bytes = (any_bytes(300), any_bytes(UNIQUE_ID_LEN_MAX));
    (bytes, any_text(), any_ssl(), any_text(), any::<bool>()).prop_map(
        |((alpn, unique_id), authority, ssl, aws_endpoint_id, crc32c)| Tlvs {
            alpn,
            authority,
            unique_id,
            ssl,
            aws_endpoint_id,
            crc32c,
        },
    )
}

/// Returns the addresses as they come out of a header: of one family.
fn of_one_family(addresses: Addresses) -> Addresses {
    match addresses {
        Addresses::Proxied {
            source,
            destination,
        } => match Pair::of(source, destination) {
            Pair::V4(source, destination) => Addresses::Proxied {
                source: source.into(),
                destination: destination.into(),
            },
            Pair::V6(source, destination) => Addresses::Proxied {
                source: source.into(),
                destination: destination.into(),
            },
        },
        Addresses::Unknown | Addresses::Local => addresses,
    }
}

proptest! {
    #[test]
    fn version_2_comes_back_whole(
        addresses in any_addresses(),
        tlvs in any_tlvs(),
        rest in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = Vec::new();
        let header = Header { addresses, tlvs: tlvs.clone() };
        encode(HeaderVersion::V2, &header, &mut bytes);
        let expected = Header { addresses: of_one_family(addresses), tlvs };
        let used = bytes.len();
        for len in 0..used {
            prop_assert_eq!(parse(&bytes[..len]), Ok(Progress::Partial));
        }
        bytes.extend(rest);
        prop_assert_eq!(parse(&bytes), Ok(Progress::Complete { value: expected, used }));
    }

    #[test]
    fn version_1_brings_the_addresses_back(
        addresses in any_addresses(),
        rest in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = Vec::new();
        encode(HeaderVersion::V1, &Header::from(addresses), &mut bytes);
        let addresses = match of_one_family(addresses) {
            Addresses::Local => Addresses::Unknown,
            other @ (Addresses::Proxied { .. } | Addresses::Unknown) => other,
        };
        let used = bytes.len();
        prop_assert!(used <= V1_LEN_MAX);
        for len in 0..used {
            prop_assert_eq!(parse(&bytes[..len]), Ok(Progress::Partial));
        }
        bytes.extend(rest);
        let value = Header::from(addresses);
        prop_assert_eq!(parse(&bytes), Ok(Progress::Complete { value, used }));
    }
}
