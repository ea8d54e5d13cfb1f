//! Accepted heads, refused heads with their reasons, and the conservation of bytes.

use proptest::prelude::*;

use super::*;
use crate::proto::http::refusal::{PathError, RefusalKind};

mod upgrades;

const LIMITS: HeadLimits = HeadLimits {
    request_line: 8192,
    head: 32768,
    headers: 100,
};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Parses a head that must be complete, and returns the result as one line.
fn summary(head: &[u8]) -> Result<String, HttpRefusal> {
    match parse_request(head, &LIMITS)? {
        Progress::Partial => panic!("partial: {:?}", String::from_utf8_lossy(head)),
        Progress::Complete { value, used } => {
            assert_eq!(used, head.len());
            Ok(format!(
                "{} [{}] {} {:?}{}{}{}",
                value.method,
                value.host,
                value.path,
                value.framing,
                if value.websocket_key.is_some() {
                    " websocket"
                } else {
                    ""
                },
                if value.keep_alive { " keep-alive" } else { "" },
                if value.expects_continue {
                    " continue"
                } else {
                    ""
                },
            ))
        }
    }
}

/// Checks one row: a head with `
/// ` for CRLF, without the empty line, and the expected result.
fn check_request(head: &str, expected: Result<&str, HttpRefusal>) {
    let head = format!("{head}\n\n").replace('\n', "\r\n");
    assert_eq!(
        summary(head.as_bytes()),
        expected.map(str::to_owned),
        "{head}"
    );
}

#[test]
fn requests_are_understood() {
    let rows = [
        ("GET / HTTP/1.1\nHost: a", "GET [a] / None keep-alive"),
        ("\nGET / HTTP/1.1\nHost: a", "GET [a] / None keep-alive"),
        ("\n\n\nGET / HTTP/1.1\nHost: a", "GET [a] / None keep-alive"),
        (
            "CONNECTED / HTTP/1.1\nHost: a",
            "CONNECTED [a] / None keep-alive",
        ),
        ("GET / HTTP/1.0", "GET [] / None"),
        (
            "GET / HTTP/1.0\nConnection: Keep-Alive",
            "GET [] / None keep-alive",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nConnection: foo, CLOSE",
            "GET [a] / None",
        ),
        (
            "GET / HTTP/1.0\nConnection: keep-alive, close",
            "GET [] / None",
        ),
        (
            "GET /a/../%7eb?c=/../.. HTTP/1.1\nHost: a",
            "GET [a] /~b None keep-alive",
        ),
        (
            "M-SEARCH /%41?x HTTP/1.1\nhost:WWW.Example.COM.:80",
            "M-SEARCH [www.example.com] /A None keep-alive",
        ),
        (
            "GET / HTTP/1.1\nHost: [2001:DB8::1]:8080",
            "GET [[2001:db8::1]] / None keep-alive",
        ),
        ("GET / HTTP/1.1\nHost: a:", "GET [a] / None keep-alive"),
        (
            "GET http://A:80/x?y HTTP/1.1\nHost: a",
            "GET [a] /x None keep-alive",
        ),
        (
            "GET HTTPS://a?y HTTP/1.1\nHost: a:443",
            "GET [a] / None keep-alive",
        ),
        ("GET http://a HTTP/1.0", "GET [a] / None"),
        (
            "OPTIONS * HTTP/1.1\nHost: a",
            "OPTIONS [a] * None keep-alive",
        ),
        (
            "OPTIONS http://a HTTP/1.1\nHost: a",
            "OPTIONS [a] * None keep-alive",
        ),
        (
            "OPTIONS http://a/ HTTP/1.1\nHost: a",
            "OPTIONS [a] / None keep-alive",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 007",
            "POST [a] / Length(7) keep-alive",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked",
            "POST [a] / Chunked keep-alive",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: ,\t chunked ,",
            "POST [a] / Chunked keep-alive",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nExpect: 100-Continue",
            "POST [a] / None keep-alive continue",
        ),
        (
            "POST / HTTP/1.0\nHost: a\nExpect: 100-continue",
            "POST [a] / None",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nX:\nY: \t z \t",
            "GET [a] / None keep-alive",
        ),
        // Upgrades that do not count: the request is served without.
        (
            "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: h2c",
            "GET [a] / None keep-alive",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nUpgrade: websocket",
            "GET [a] / None keep-alive",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nConnection: Upgrade",
            "GET [a] / None keep-alive",
        ),
    ];
    for (head, expected) in rows {
        check_request(head, Ok(expected));
    }
    let upgrade = summary(UPGRADE.as_bytes());
    assert_eq!(upgrade.unwrap(), "GET [a] /chat None websocket keep-alive");
}

#[test]
fn ambiguous_requests_are_refused() {
    use HttpRefusal as R;
    use Malformed as M;
    let rows = [
        // RFC 9112 section 3: the request line.
        ("\n\n\n\n\nGET / HTTP/1.1\nHost: a", R::LeadingEmptyLines),
        ("GET  / HTTP/1.1\nHost: a", R::RequestLine),
        ("GET /  HTTP/1.1\nHost: a", R::Version),
        (" GET / HTTP/1.1\nHost: a", R::RequestLine),
        ("GET\t/ HTTP/1.1\nHost: a", R::RequestLine),
        ("GET /\tHTTP/1.1\nHost: a", R::RequestLine),
        ("GET / HTTP/1.1 \nHost: a", R::Malformed(M::LineEnd)),
        ("GET /a b HTTP/1.1\nHost: a", R::Version),
        ("G(T / HTTP/1.1\nHost: a", R::RequestLine),
        ("GET /", R::RequestLine),
        ("GET / HTTP/0.9\nHost: a", R::Version),
        ("GET / HTTP/1.2\nHost: a", R::Version),
        ("GET / HTTP/2.0\nHost: a", R::Version),
        ("GET / http/1.1\nHost: a", R::Version),
        ("GET / HTTP/1.10\nHost: a", R::Malformed(M::LineEnd)),
        ("CONNECT a:443 HTTP/1.1\nHost: a:443", R::Connect),
        ("connect a:443 HTTP/1.1\nHost: a:443", R::Connect),
        ("Connect / HTTP/1.1\nHost: a", R::Connect),
        ("cONNECT http://a/ HTTP/1.1\nHost: a", R::Connect),
        ("GET * HTTP/1.1\nHost: a", R::Target),
        ("GET a HTTP/1.1\nHost: a", R::Target),
        ("GET a:80 HTTP/1.1\nHost: a", R::Target),
        ("GET ftp://a/ HTTP/1.1\nHost: a", R::Target),
        ("GET /#x HTTP/1.1\nHost: a", R::Target),
        ("GET /ä HTTP/1.1\nHost: a", R::Target),
        ("GET http://u:p@a/ HTTP/1.1\nHost: a", R::UserInfo),
        ("GET http:///x HTTP/1.1\nHost: a", R::HostValue),
        (
            "GET /../x HTTP/1.1\nHost: a",
            R::Path(PathError::ClimbsAboveRoot),
        ),
        (
            "GET /a/%2e%2E/.%2e HTTP/1.1\nHost: a",
            R::Path(PathError::ClimbsAboveRoot),
        ),
        (
            "GET /a//../x HTTP/1.1\nHost: a",
            R::Path(PathError::RemovesEmpty),
        ),
        (
            "GET http://a/.. HTTP/1.1\nHost: a",
            R::Path(PathError::ClimbsAboveRoot),
        ),
        // RFC 9112 section 3.2: Host.
        ("GET / HTTP/1.1", R::HostMissing),
        ("GET http://a/ HTTP/1.1", R::HostMissing),
        ("GET / HTTP/1.1\nHost: a\nhost: a", R::HostRepeated),
        ("GET / HTTP/1.0\nHost: a\nhost: a", R::HostRepeated),
        ("GET / HTTP/1.1\nHost:", R::HostValue),
        ("GET / HTTP/1.1\nHost: a, b", R::HostValue),
        ("GET / HTTP/1.1\nHost: a b", R::HostValue),
        ("GET / HTTP/1.1\nHost: u@a", R::HostValue),
        ("GET / HTTP/1.1\nHost: a/b", R::HostValue),
        ("GET / HTTP/1.1\nHost: http://a", R::HostValue),
        ("GET / HTTP/1.1\nHost: a..b", R::HostValue),
        ("GET / HTTP/1.1\nHost: ä", R::HostValue),
        ("GET / HTTP/1.1\nHost: a:b", R::HostValue),
        ("GET / HTTP/1.1\nHost: a:+80", R::HostValue),
        ("GET / HTTP/1.1\nHost: a:65536", R::HostValue),
        ("GET / HTTP/1.1\nHost: a:1:2", R::HostValue),
        ("GET / HTTP/1.1\nHost: ::1", R::HostValue),
        ("GET / HTTP/1.1\nHost: [::1", R::HostValue),
        ("GET / HTTP/1.1\nHost: [a]", R::HostValue),
        ("GET / HTTP/1.1\nHost: [::1]x", R::HostValue),
        ("GET http://b/ HTTP/1.1\nHost: a", R::HostDisagrees),
        ("GET http://a:81/ HTTP/1.1\nHost: a", R::HostDisagrees),
        ("GET https://a/ HTTP/1.1\nHost: a:80", R::HostDisagrees),
        // RFC 9112 section 5: header lines.
        ("GET / HTTP/1.1\nHost: a\nX : y", R::Malformed(M::FieldName)),
        (
            "GET / HTTP/1.1\nHost: a\nX\t: y",
            R::Malformed(M::FieldName),
        ),
        (
            "GET / HTTP/1.1\nHost: a\nX y: z",
            R::Malformed(M::FieldName),
        ),
        ("GET / HTTP/1.1\nHost: a\n: y", R::Malformed(M::FieldName)),
        ("GET / HTTP/1.1\nHost: a\nX", R::Malformed(M::FieldName)),
        (
            "GET / HTTP/1.1\nHost: a\nX: y\n z",
            R::Malformed(M::FieldName),
        ),
        (
            "GET / HTTP/1.1\nHost: a\nX:\n\tz",
            R::Malformed(M::FieldName),
        ),
        ("GET / HTTP/1.1\n Host: a", R::Malformed(M::FieldName)),
        (
            "GET / HTTP/1.1\nHost: a\nX: a\0b",
            R::Malformed(M::FieldValue),
        ),
        (
            "GET / HTTP/1.1\nHost: a\nX: a\x0Bb",
            R::Malformed(M::FieldValue),
        ),
        (
            "GET / HTTP/1.1\nHost: a\nX: a\rb",
            R::Malformed(M::FieldValue),
        ),
        // RFC 9112 section 6: the body.
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nTransfer-Encoding: chunked",
            R::Malformed(M::LengthAndEncoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 5",
            R::Malformed(M::ContentLengthRepeated),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 5, 5",
            R::Malformed(M::ContentLengthValue),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: +5",
            R::Malformed(M::ContentLengthValue),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: -5",
            R::Malformed(M::ContentLengthValue),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 0x5",
            R::Malformed(M::ContentLengthValue),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 5 5",
            R::Malformed(M::ContentLengthValue),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length:",
            R::Malformed(M::ContentLengthValue),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 9223372036854775808",
            R::Malformed(M::ContentLengthValue),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip",
            R::Malformed(M::UnknownCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, gzip",
            R::Malformed(M::UnknownCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked",
            R::Malformed(M::UnknownCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: identity",
            R::Malformed(M::UnknownCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: br;q=1 , chunked",
            R::Malformed(M::UnknownCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked;q=1, x",
            R::Malformed(M::UnknownCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, chunked",
            R::Malformed(M::TransferCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gz ip",
            R::Malformed(M::TransferCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip\nContent-Length: 1",
            R::Malformed(M::LengthAndEncoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked;q=1",
            R::Malformed(M::TransferCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: \"chunked\"",
            R::Malformed(M::TransferCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding:",
            R::Malformed(M::TransferCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked",
            R::Malformed(M::TransferCoding),
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding:\nTransfer-Encoding: chunked",
            R::Malformed(M::TransferCoding),
        ),
        (
            "POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked",
            R::Malformed(M::EncodingInHttp10),
        ),
    ];
    for (head, refusal) in rows {
        check_request(head, Err(refusal));
        let answer = if refusal == R::Malformed(M::UnknownCoding) {
            (501, RefusalKind::UnknownCoding)
        } else {
            (400, RefusalKind::BadRequest)
        };
        assert_eq!((refusal.status(), refusal.kind()), answer, "{refusal}");
    }
    let options = "x,".repeat(65);
    let head = format!("GET / HTTP/1.1\nHost: a\nConnection: {options}");
    check_request(&head, Err(Malformed::ConnectionOptions.into()));
}

#[test]
fn a_few_empty_lines_are_no_beginning() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for count in 0..=EMPTY_LINES_MAX {
        let bytes = "\r\n".repeat(count) + request;
        let Ok(Progress::Complete { used, .. }) = parse_request(bytes.as_bytes(), &LIMITS) else {
            panic!("{count}");
        };
        assert_eq!(used, bytes.len());
        for len in 0..bytes.len() {
            let prefix = &bytes.as_bytes()[..len];
            assert_eq!(parse_request(prefix, &LIMITS), Ok(Progress::Partial));
            assert_eq!(is_begun(prefix), len > 2 * count, "{count} {len}");
        }
    }
    let many = "\r\n".repeat(EMPTY_LINES_MAX + 1);
    for len in 0..=many.len() {
        let prefix = &many.as_bytes()[..len];
        let is_too_long = len > 2 * EMPTY_LINES_MAX;
        assert_eq!(is_begun(prefix), is_too_long, "{len}");
        let refusal = parse_request(prefix, &LIMITS).err();
        let expected = is_too_long.then_some(HttpRefusal::LeadingEmptyLines);
        assert_eq!(refusal, expected, "{len}");
    }
    for begun in ["\n", "\rX", "\r\r", "\r\n\n", "\r\nG", " "] {
        assert!(is_begun(begun.as_bytes()), "{begun:?}");
    }
}

#[test]
fn only_crlf_ends_a_line() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for (at, _) in head.match_indices("\r\n") {
        for end in ["\n", "\r", "\r\r\n"] {
            let mut broken = head.to_owned();
            broken.replace_range(at..at + 2, end);
            let result = parse_request(broken.as_bytes(), &LIMITS);
            assert!(
                matches!(result, Err(_) | Ok(Progress::Partial)),
                "{broken:?}"
            );
            if !broken.ends_with('\r') {
                let refusal = result.unwrap_err();
                assert_eq!(refusal.status(), 400, "{broken:?} {refusal}");
            }
            // The same without any byte after it, as received so far.
            let cut = &broken[..at + end.len()];
            if end == "\n" {
                assert!(parse_request(cut.as_bytes(), &LIMITS).is_err(), "{cut:?}");
            }
        }
    }
    let head = b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(
        parse_request(head, &LIMITS),
        Err(HttpRefusal::LeadingEmptyLines)
    );
    let body_is_no_line = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\n\r";
    assert!(parse_request(body_is_no_line, &LIMITS).is_ok());
}

/// httparse handles up to 32 bytes at once, so each byte is tried at many places.
#[test]
fn every_byte_stands_only_where_it_may() {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let in_value = |byte: u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let in_target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    for byte in 0..=u8::MAX {
        for before in 0..40 {
            let pad = "a".repeat(before);
            let accepts = |head: [&[u8]; 3]| parse_request(&head.concat(), &LIMITS).is_ok();
            let name = format!("GET / HTTP/1.1\r\nHost: a\r\n{pad}");
            let named = accepts([name.as_bytes(), &[byte], b"b: c\r\n\r\n"]);
            // A colon ends the name; a space after `b` makes a name with a space.
            let expected = token(byte) || (byte == b':' && before > 0);
            assert_eq!(named, expected, "name {byte:#x} at {before}");
            let value = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {pad}");
            let valued = accepts([value.as_bytes(), &[byte], b"b\r\n\r\n"]);
            assert_eq!(valued, in_value(byte), "value {byte:#x} at {before}");
            let target = format!("GET /{pad}");
            let targeted = accepts([target.as_bytes(), &[byte], b"b HTTP/1.1\r\nHost: a\r\n\r\n"]);
            assert_eq!(targeted, in_target(byte), "target {byte:#x} at {before}");
            let method = accepts([pad.as_bytes(), &[byte], b"b / "]);
            assert_eq!(method, token(byte), "method {byte:#x} at {before}");
        }
    }
}

#[test]
fn limits_hold_while_the_head_comes_in() {
    let limits = HeadLimits {
        request_line: 20,
        head: 60,
        headers: 2,
    };
    let rows: [(&str, Result<bool, HttpRefusal>); 13] = [
        ("GET /aaaaaa HTTP/1.1\r\nHost: a\r\n\r\n", Ok(true)),
        ("GET /aaaaaa HTTP/1.1\r", Ok(false)),
        ("GET /aaaaaa HTTP/1.1", Ok(false)),
        (
            "GET /aaaaaaa HTTP/1.1\r\nHost: a\r\n\r\n",
            Err(HttpRefusal::RequestLineTooLong),
        ),
        (
            "GET /aaaaaaa HTTP/1.1",
            Err(HttpRefusal::RequestLineTooLong),
        ),
        (
            "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            Err(HttpRefusal::RequestLineTooLong),
        ),
        ("\r\nGET /aaaaaa HTTP/1.1\r\nHost: a\r\n\r\n", Ok(true)),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
            Ok(true),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
            Err(HttpRefusal::HeadTooLong),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r",
            Ok(false),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            Err(HttpRefusal::HeadTooLong),
        ),
        (
            "GET / HTTP/1.1\r\nA:b\r\nC:d\r\nHost: a\r\n",
            Err(HttpRefusal::TooManyLines),
        ),
        ("GET / HTTP/1.1\r\nA:b\r\nHost: a\r\n\r\n", Ok(true)),
    ];
    for (head, expected) in rows {
        let complete = parse_request(head.as_bytes(), &limits)
            .map(|progress| matches!(progress, Progress::Complete { .. }));
        assert_eq!(complete, expected, "{head:?} {}", head.len());
    }
    assert_eq!(HttpRefusal::RequestLineTooLong.status(), 414);
    assert_eq!(HttpRefusal::HeadTooLong.status(), 431);
    assert_eq!(HttpRefusal::TooManyLines.status(), 431);
    let many = HeadLimits {
        headers: 300,
        ..LIMITS
    };
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A:b\r\n".repeat(299));
    assert!(parse_request(head.as_bytes(), &many).is_ok());
    assert_eq!(
        parse_request(head.as_bytes(), &LIMITS),
        Err(HttpRefusal::TooManyLines)
    );
}

#[test]
fn garbage_is_refused_at_once() {
    let rows: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0",
        b"\x80\x2e\x01",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"{\"id\":",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PRI * HTTP/2.0\r\n",
    ];
    for garbage in rows {
        let refusal = parse_request(garbage, &LIMITS).unwrap_err();
        assert_eq!(refusal.status(), 400, "{garbage:?}");
    }
}

/// Returns whether the parts of a request are all of its bytes, in order.
fn conserves(buf: &[u8], request: &Request<'_>, used: usize) -> bool {
    let mut joined = buf[..empty_lines_len(buf)].to_vec();
    for line in [request.request_line]
        .into_iter()
        .chain(request.lines.iter().map(|l| l.raw))
    {
        joined.extend_from_slice(line);
        joined.extend_from_slice(b"\r\n");
    }
    joined.extend_from_slice(b"\r\n");
    used == joined.len() && buf.get(..used) == Some(&joined[..])
}

#[test]
fn every_prefix_is_partial_and_every_change_is_survived() {
    let heads = [
        UPGRADE,
        "\r\nPOST http://a:80/x?y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "PUT /a/./b HTTP/1.0\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n",
    ];
    for head in heads {
        let head = head.as_bytes();
        for len in 0..head.len() {
            assert_eq!(parse_request(&head[..len], &LIMITS), Ok(Progress::Partial));
        }
        for at in 0..head.len() {
            for byte in 0..=u8::MAX {
                let mut changed = head.to_vec();
                changed[at] = byte;
                if let Ok(Progress::Complete { value, used }) = parse_request(&changed, &LIMITS) {
                    assert!(conserves(&changed, &value, used), "{changed:?}");
                }
            }
        }
    }
}

/// Parses a response head, with `\n` for CRLF, that answers `method`.
fn check_response(head: &str, method: &str, expected: Result<(Framing, bool), BadResponse>) {
    let bytes = format!("{head}\n\n").replace('\n', "\r\n");
    let found = parse_response(bytes.as_bytes(), method, &LIMITS).map(|progress| match progress {
        Progress::Partial => panic!("partial: {head}"),
        Progress::Complete { value, used } => {
            assert_eq!(used, bytes.len());
            for len in 0..used {
                let prefix = parse_response(&bytes.as_bytes()[..len], method, &LIMITS);
                assert_eq!(prefix, Ok(Progress::Partial));
            }
            (value.framing, value.keep_alive)
        }
    });
    assert_eq!(found, expected, "{head}");
}

#[test]
fn responses_end_where_they_say() {
    use BadResponse as B;
    use Malformed as M;
    let rows = [
        (
            "HTTP/1.1 200 OK\nContent-Length: 5",
            "GET",
            Ok((Framing::Length(5), true)),
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 5",
            "HEAD",
            Ok((Framing::None, true)),
        ),
        (
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
            "GET",
            Ok((Framing::Chunked, true)),
        ),
        ("HTTP/1.1 200 OK", "GET", Ok((Framing::UntilClose, false))),
        ("HTTP/1.1 200 OK", "HEAD", Ok((Framing::None, true))),
        ("HTTP/1.1 200", "HEAD", Ok((Framing::None, true))),
        ("HTTP/1.1 200 ", "HEAD", Ok((Framing::None, true))),
        ("HTTP/1.1 999 \u{e4}", "HEAD", Ok((Framing::None, true))),
        (
            "HTTP/1.0 200 OK\nContent-Length: 5",
            "GET",
            Ok((Framing::Length(5), false)),
        ),
        (
            "HTTP/1.0 200 OK\nContent-Length: 5\nConnection: keep-alive",
            "GET",
            Ok((Framing::Length(5), true)),
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close",
            "GET",
            Ok((Framing::Length(5), false)),
        ),
        ("HTTP/1.1 204 No Content", "GET", Ok((Framing::None, true))),
        (
            "HTTP/1.1 204 No Content\nContent-Length: 0",
            "GET",
            Ok((Framing::None, true)),
        ),
        (
            "HTTP/1.1 304 Not Modified\nContent-Length: 500",
            "GET",
            Ok((Framing::None, true)),
        ),
        (
            "HTTP/1.1 304 Not Modified\nTransfer-Encoding: chunked",
            "GET",
            Ok((Framing::None, true)),
        ),
        ("HTTP/1.1 100 Continue", "POST", Ok((Framing::None, true))),
        (
            "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade",
            "GET",
            Ok((Framing::None, true)),
        ),
        ("\nHTTP/1.1 200 OK", "GET", Err(B::StatusLine)),
        ("HTTP/1.1 20 OK", "GET", Err(B::StatusLine)),
        ("HTTP/1.1 2000 OK", "GET", Err(B::StatusLine)),
        ("HTTP/1.1 +20 OK", "GET", Err(B::StatusLine)),
        ("HTTP/1.1 099 Low", "GET", Err(B::StatusCode)),
        ("HTTP/1.1 200 a\x01", "GET", Err(B::StatusLine)),
        ("HTTP/1.1  200 OK", "GET", Err(B::StatusLine)),
        ("HTTP/2 200 OK", "GET", Err(B::Version)),
        ("ICY 200 OK", "GET", Err(B::Version)),
        (
            "HTTP/1.1 200 OK\nX : y",
            "GET",
            Err(B::Malformed(M::FieldName)),
        ),
        (
            "HTTP/1.1 200 OK\nX: y\n z",
            "GET",
            Err(B::Malformed(M::FieldName)),
        ),
        (
            "HTTP/1.1 200 OK\nX: \0",
            "GET",
            Err(B::Malformed(M::FieldValue)),
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5",
            "GET",
            Err(B::Malformed(M::ContentLengthRepeated)),
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 5,5",
            "GET",
            Err(B::Malformed(M::ContentLengthValue)),
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked",
            "GET",
            Err(B::Malformed(M::LengthAndEncoding)),
        ),
        (
            "HTTP/1.1 200 OK\nTransfer-Encoding: gzip",
            "GET",
            Err(B::Malformed(M::UnknownCoding)),
        ),
        (
            "HTTP/1.0 200 OK\nTransfer-Encoding: chunked",
            "GET",
            Err(B::Malformed(M::EncodingInHttp10)),
        ),
    ];
    for (head, method, expected) in rows {
        check_response(head, method, expected);
    }
    let bare = parse_response(b"HTTP/1.1 200 OK\nX: y\r\n", "GET", &LIMITS);
    assert_eq!(bare, Err(Malformed::LineEnd.into()));
    let short = HeadLimits { head: 30, ..LIMITS };
    let long = parse_response(b"HTTP/1.1 200 OK\r\nX: aaaaaaaaaa", "GET", &short);
    assert_eq!(long, Err(BadResponse::HeadTooLong(30)));
    assert_eq!(
        BadResponse::HeadTooLong(30).to_string(),
        "the head is longer than 30 bytes, the limit `head` in [backend.limits]"
    );
    let few = HeadLimits {
        headers: 1,
        ..LIMITS
    };
    let many = parse_response(b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n", "GET", &few);
    assert_eq!(many, Err(BadResponse::TooManyLines(1)));
    assert_eq!(
        BadResponse::TooManyLines(1).to_string(),
        "there are more than 1 header lines, the limit `headers` in [backend.limits]"
    );
    // On the stack up to 256, on the heap beyond.
    for headers in [100, 255, 256, 257, 1024] {
        let limits = HeadLimits { headers, ..LIMITS };
        let head = |count| {
            format!(
                "HTTP/1.1 200 OK\r\n{}\r\n",
                "Set-Cookie: a\r\n".repeat(count)
            )
        };
        let (just, over) = (head(headers), head(headers + 1));
        let parsed = parse_response(just.as_bytes(), "GET", &limits);
        assert!(
            matches!(parsed, Ok(Progress::Complete { value, .. }) if value.lines.len() == headers)
        );
        let more = parse_response(over.as_bytes(), "GET", &limits);
        assert_eq!(more, Err(BadResponse::TooManyLines(headers)));
    }
}

proptest! {
    /// Random combinations of significant pieces never panic, and accepted heads are all of their bytes.
    #[test]
    fn accepted_heads_are_conserved(pieces in prop::collection::vec(prop::sample::select(vec![
        "GET ", "POST ", "/", "*", "http://a", " HTTP/1.1", " HTTP/1.0", "\r\n", "\n", "\r", ":", " ", "\t", ",",
        "Host", "a", "Content-Length", "5", "Transfer-Encoding", "chunked", "Connection", "Upgrade", "websocket",
        "GET / HTTP/1.1\r\nHost: a\r\n", "\u{fc}", "\0", "%2e", "..", "?", "\r\n\r\n",
    ]), 0..24)) {
        let head = pieces.concat();
        if let Ok(Progress::Complete { value, used }) = parse_request(head.as_bytes(), &LIMITS) {
            prop_assert!(conserves(head.as_bytes(), &value, used));
            let again = parse_request(&head.as_bytes()[..used], &LIMITS);
            prop_assert_eq!(again, Ok(Progress::Complete { value, used }));
        }
    }
}

/// Answers that end at their empty line, whatever their fields say; these are passed on only where they tell
/// something.
#[test]
fn answers_without_a_body_end_at_their_empty_line() {
    use Announced::{Chunked, Length, Nothing};
    // The status, the request's method, what may be passed on of the fields in each row of `fields`.
    let framing = [
        "Content-Length: 0",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Content-Length: 5\nTransfer-Encoding: chunked",
        "Content-Length: 5\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: -1",
        "Content-Length:",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip",
    ];
    let never = [Nothing; 10];
    let mut elsewhere = [Nothing; 10];
    elsewhere[..3].copy_from_slice(&[Length(0), Length(5), Chunked]);
    let rows = [
        (100, "POST", never),
        (101, "GET", never),
        (102, "GET", never),
        (103, "HEAD", never),
        (199, "GET", never),
        (204, "GET", never),
        (204, "HEAD", never),
        (304, "GET", elsewhere),
        (304, "HEAD", elsewhere),
        (200, "HEAD", elsewhere),
        (404, "HEAD", elsewhere),
    ];
    for (status, method, announced) in rows {
        for (at, lines) in framing.iter().enumerate() {
            let head =
                format!("HTTP/1.1 {status} x\nA: b\n{lines}\nC: d\n\n").replace('\n', "\r\n");
            // What stands behind is of no concern here.
            let bytes = format!("{head}5\r\nhello\r\n0\r\n\r\n");
            let Ok(Progress::Complete { value, used }) =
                parse_response(bytes.as_bytes(), method, &LIMITS)
            else {
                panic!("{method}: {head}");
            };
            assert_eq!(used, head.len(), "{method}: {head}");
            assert_eq!(value.framing, Framing::None, "{method}: {head}");
            assert_eq!(value.announced, announced[at], "{method}: {head}");
            // The server may send the body that it announced against the rules.
            let true_enough = at == 0 || announced[at] != Nothing;
            assert_eq!(value.keep_alive, true_enough, "{method}: {head}");
        }
    }
}
