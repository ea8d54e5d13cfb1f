//! Version 1: valid and invalid lines.

use super::*;

const MAX_V6: &str = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";

#[test]
fn lines_are_read() {
    let worst = format!("UNKNOWN {MAX_V6} {MAX_V6} 65535 65535");
    let longest = format!("TCP6 {MAX_V6} {MAX_V6} 65535 65535");
    let unknown = Header::from(Addresses::Unknown);
    let max = format!("[{MAX_V6}]:65535");
    let rows = [
        (
            "TCP4 192.0.2.1 198.51.100.2 56324 443",
            proxied("192.0.2.1:56324", "198.51.100.2:443"),
        ),
        (
            "TCP4 255.255.255.255 255.255.255.255 65535 65535",
            proxied("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "TCP4 0.0.0.0 10.0.0.1 0 0",
            proxied("0.0.0.0:0", "10.0.0.1:0"),
        ),
        (
            "TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1 80",
            proxied("[2001:db8::1]:1", "[2001:db8::2]:80"),
        ),
        (
            "TCP6 ::ffff:192.0.2.1 :: 9 10",
            proxied("[::ffff:192.0.2.1]:9", "[::]:10"),
        ),
        (&longest, proxied(&max, &max)),
        ("UNKNOWN", unknown.clone()),
        ("UNKNOWN ", unknown.clone()),
        ("UNKNOWN 1.2.3.4 5.6.7.8 1 2", unknown.clone()),
        ("UNKNOWN \0\x01\u{e9} whatever  ", unknown.clone()),
        (&worst, unknown),
    ];
    for (words, expected) in rows {
        check(format!("PROXY {words}\r\n").as_bytes(), Ok(expected));
    }
}

#[test]
fn malformed_lines_are_named() {
    let too_long = format!("PROXY UNKNOWN {MAX_V6} {MAX_V6} 65535 65535 \r\n");
    let cr_last = format!("PROXY UNKNOWN {}\r", "x".repeat(92));
    let endless = format!("PROXY TCP4 {}", "1".repeat(96));
    let lens = [&too_long, &cr_last, &endless].map(String::len);
    assert_eq!(lens, [108, 107, 107]);
    assert_eq!(parse(&endless.as_bytes()[..106]), Ok(Progress::Partial));
    let rows = [
        ("PROXY \r\n", MalformedHeader::LineProtocol),
        (
            "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineProtocol,
        ),
        (
            "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineProtocol,
        ),
        (
            "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineProtocol,
        ),
        (
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineProtocol,
        ),
        (
            "PROXY TCP 1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineProtocol,
        ),
        ("PROXY UNKNOWNS\r\n", MalformedHeader::LineProtocol),
        ("PROXY unknown\r\n", MalformedHeader::LineProtocol),
        (
            "PROXY TCP4\t1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineProtocol,
        ),
        ("PROXY TCP4\r\n", MalformedHeader::LineFields),
        ("PROXY TCP4 \r\n", MalformedHeader::LineFields),
        ("PROXY TCP4 1.2.3.4\r\n", MalformedHeader::LineFields),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8\r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8  1 2\r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4 1.2.3.4  5.6.7.8 1\r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n",
            MalformedHeader::LineFields,
        ),
        (
            "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 1.2.3.4.5 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 0x1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 16909060 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", MalformedHeader::LineAddress),
        (
            "PROXY TCP4 1.2.3.4 ::2 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 localhost 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 1.2.3.4\0 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 \u{e9} 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP6 ::1 5.6.7.8 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP6 [::1] [::2] 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP6 1::2::3 ::2 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP6 12345::1 ::2 1 2\r\n",
            MalformedHeader::LineAddress,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 4294967297 2\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 00 2\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 -2\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 0x1 2\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\t\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 http\r\n",
            MalformedHeader::LinePort,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            MalformedHeader::LineEnding,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\r",
            MalformedHeader::LineEnding,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r ",
            MalformedHeader::LineEnding,
        ),
        (
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n",
            MalformedHeader::LineEnding,
        ),
        ("PROXY UNKNOWN\n", MalformedHeader::LineEnding),
        ("PROXY UNKNOWN a\rb\r\n", MalformedHeader::LineEnding),
        ("PROXY UNKNOWN a\nb\r\n", MalformedHeader::LineEnding),
        (&too_long, MalformedHeader::LineTooLong),
        (&cr_last, MalformedHeader::LineTooLong),
        (&endless, MalformedHeader::LineTooLong),
    ];
    for (line, expected) in rows {
        check(line.as_bytes(), Err(expected));
    }
}

#[test]
fn every_one_byte_change_of_a_line_means_what_it_says() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
    let original = parse(line);
    for (at, byte) in (0..line.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
        let mut changed = line.to_vec();
        changed[at] = byte;
        let answer = parse(&changed);
        let same = byte == line[at];
        let digit_for_digit = byte.is_ascii_digit() && line[at].is_ascii_digit();
        match &answer {
            Ok(Progress::Complete { used, .. }) => {
                assert_eq!(*used, line.len());
                assert!(
                    digit_for_digit || byte == b'.' || same,
                    "{}",
                    changed.escape_ascii()
                );
            }
            Ok(Progress::Partial) => assert_eq!(at, line.len() - 1),
            Err(_) => {}
        }
        assert_eq!(answer == original, same, "{}", changed.escape_ascii());
    }
}
