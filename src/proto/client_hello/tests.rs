//! Tests of reading a ClientHello: every prefix, every changed byte, every way to cut, each rule.

use super::*;

fn prefixed(len_of_len: usize, data: &[u8]) -> Vec<u8> {
    let len = data.len().to_be_bytes();
    [&len[len.len() - len_of_len..], data].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed(2, data)].concat()
}

fn name(host: &[u8]) -> Vec<u8> {
    let entry = [&[0][..], &prefixed(2, host)].concat();
    extension(0, &prefixed(2, &entry))
}

fn message_with(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(prefixed(1, &[9; 32]));
    body.extend(prefixed(2, &[0x13, 1, 0x13, 2]));
    body.extend(prefixed(1, &[0]));
    body.extend(prefixed(2, extensions));
    [&[1][..], &prefixed(3, &body)].concat()
}

fn records(message: &[u8], len: usize) -> Vec<u8> {
    let record = |part| [&[22, 3, 1][..], &prefixed(2, part)].concat();
    message.chunks(len).flat_map(record).collect()
}

fn usual() -> Vec<u8> {
    let protocols = [prefixed(1, b"h2"), prefixed(1, b"http/1.1")].concat();
    let extensions = [
        extension(0x0a0a, b""),
        name(b"WWW.Example.com"),
        extension(16, &prefixed(2, &protocols)),
        extension(43, b"\x06\x7a\x7a\x03\x04\x03\x03"),
        extension(0xfe0d, b"encrypted"),
    ];
    message_with(&extensions.concat())
}

fn usual_value() -> ClientHello {
    ClientHello {
        server_name: Some("www.example.com".to_owned()),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        version: 0x0304,
    }
}

#[track_caller]
fn check(extensions: &[u8], expected: Result<Option<&str>, MalformedHello>) {
    let wire = records(&message_with(extensions), 16_384);
    let name = parse(&wire).map(|progress| match progress {
        Progress::Complete { value, used } => {
            assert_eq!(used, wire.len());
            value.server_name
        }
        Progress::Partial => panic!("partial"),
    });
    assert_eq!(name, expected.map(|name| name.map(str::to_owned)));
}

#[test]
fn any_fragmentation_and_any_prefix_give_one_answer() {
    let message = usual();
    for len in 1..=message.len() {
        let mut wire = records(&message, len);
        for end in 0..wire.len() {
            assert_eq!(parse(&wire[..end]), Ok(Progress::Partial), "{len} {end}");
        }
        let used = wire.len();
        wire.extend(b"what follows");
        let value = usual_value();
        assert_eq!(
            parse(&wire),
            Ok(Progress::Complete { value, used }),
            "{len}"
        );
    }
}

#[test]
fn no_changed_byte_panics_or_takes_more_than_there_is() {
    let wire = records(&usual(), 50);
    for at in 0..wire.len() {
        for byte in 0..=u8::MAX {
            let mut changed = wire.clone();
            changed[at] = byte;
            if let Ok(Progress::Complete { used, .. }) = parse(&changed) {
                assert!(used <= changed.len());
            }
        }
    }
}

#[test]
fn names_are_dns_names() {
    let long_label = [b'a'; 64];
    let long_name = [b"a.".repeat(126), b"ab".to_vec()].concat();
    let longest = [b"a.".repeat(126), b"a".to_vec()].concat();
    check(&[], Ok(None));
    check(&name(b"a"), Ok(Some("a")));
    check(&name(b"_x-1.Example"), Ok(Some("_x-1.example")));
    check(&name(&longest), Ok(std::str::from_utf8(&longest).ok()));
    // A dot at the end does not make it another name, nor too long a one.
    check(&name(b"a."), Ok(Some("a")));
    check(&name(b"www.Example."), Ok(Some("www.example")));
    let with_dot = [&longest[..], b"."].concat();
    check(&name(&with_dot), Ok(std::str::from_utf8(&longest).ok()));
    check(&name(b"192.0.2.1."), Ok(None));
    check(&name(b"192.0.2.1"), Ok(None));
    check(&name(b"2001:db8::1"), Ok(None));
    for bad in [
        &b""[..],
        b".",
        b"a..",
        b".a",
        b"a..b",
        b"a b",
        b"a\0b",
        b"*.a",
        b"\xc3\xa4.de",
        b"\xff",
        &long_label,
        &long_name,
    ] {
        check(&name(bad), Err(MalformedHello::BadServerName));
    }
}

#[test]
fn lists_and_extensions_keep_their_lengths() {
    let host = [&[0][..], &prefixed(2, b"a")].concat();
    let other = [&[1][..], &prefixed(2, b"\xff")].concat();
    let names = |entries: &[&[u8]]| extension(0, &prefixed(2, &entries.concat()));
    check(&names(&[&other, &host]), Ok(Some("a")));
    check(&names(&[&other]), Ok(None));
    check(&names(&[&host, &host]), Err(MalformedHello::BadServerName));
    check(&names(&[]), Err(MalformedHello::BadLength));
    check(&extension(0, b""), Err(MalformedHello::BadLength));
    check(
        &extension(16, &prefixed(2, b"")),
        Err(MalformedHello::BadLength),
    );
    check(
        &extension(16, &prefixed(2, b"\0")),
        Err(MalformedHello::BadLength),
    );
    check(
        &extension(16, b"\0\x02\x01hx"),
        Err(MalformedHello::BadLength),
    );
    check(&[0, 5, 0], Err(MalformedHello::BadLength));
    let twice = [name(b"a"), extension(5, b""), extension(5, b"x")].concat();
    check(&twice, Err(MalformedHello::RepeatedExtension));
}

#[test]
fn the_highest_version_is_the_one_that_counts() {
    let rows: [(&[u8], u16); 9] = [
        (b"", 0x0303),
        (&extension(43, b"\x02\x03\x04"), 0x0304),
        (&extension(43, b"\x04\x03\x03\x03\x04"), 0x0304),
        (&extension(43, b"\x04\x03\x01\x03\x02"), 0x0302),
        (&extension(43, b"\x04\xfa\xfa\x03\x02"), 0x0302),
        (&extension(43, b"\x02\x7f\x1c"), 0),
        // Malformed: what the field of old says.
        (&extension(43, b""), 0x0303),
        (&extension(43, b"\x03\x03\x04\x03"), 0x0303),
        (&extension(43, b"\x02\x03\x04\x03"), 0x0303),
    ];
    for (extensions, expected) in rows {
        let wire = records(&message_with(extensions), 16_384);
        let Ok(Progress::Complete { value, .. }) = parse(&wire) else {
            panic!("{extensions:?}");
        };
        assert_eq!(value.version, expected, "{extensions:?}");
    }
    let mut old = message_with(b"");
    // The last byte of the version, and no extensions.
    old[5] = 1;
    old.truncate(old.len() - 2);
    old[3] -= 2;
    let Ok(Progress::Complete { value, .. }) = parse(&records(&old, 100)) else {
        panic!("{old:?}");
    };
    assert_eq!(value.version, 0x0301);
}

#[test]
fn garbage_is_refused_at_its_first_byte() {
    for (bytes, expected) in [
        (&b"G"[..], MalformedHello::NotTls),
        (b"\x80", MalformedHello::NotTls), // how SSLv2 began
        (b"\x17", MalformedHello::NotTls),
        (b"\x16\x02", MalformedHello::NotTls),
        (b"\x16\x03\x01\0\0", MalformedHello::EmptyRecord),
        (b"\x16\x03\x01\x40\x01", MalformedHello::RecordTooLong),
        (b"\x16\x03\x01\0\x01\x02", MalformedHello::NotClientHello),
        (b"\x16\x03\x01\0\x01\x01G", MalformedHello::NotTls),
        (
            b"\x16\x03\x01\x01\0\x01\x00\xff\xfd",
            MalformedHello::TooLong,
        ),
    ] {
        assert_eq!(parse(bytes), Err(expected), "{bytes:?}");
        let before = &bytes[..bytes.len() - 1];
        assert_eq!(parse(before), Ok(Progress::Partial), "{bytes:?}");
    }
}

#[test]
fn floods_of_records_and_bytes_end() {
    let padding = extension(21, &[0; 4000]);
    let wire = records(&message_with(&padding), 1);
    assert_eq!(parse(&wire), Err(MalformedHello::TooManyRecords));
    let long = message_with(&extension(21, &[0; 65_000]));
    assert!(matches!(
        parse(&records(&long, 16_384)),
        Ok(Progress::Complete { .. })
    ));
    assert_eq!(parse(&records(&long, 64)), Err(MalformedHello::TooLong));
}
