//! Recognises what a connection begins with, where it is not what its listener expects.
//!
//! The first bytes only tell which protocol the other end speaks, for words that help; nothing is accepted
//! or routed by them. Protocols that are not listed here, and everything that comes too late, are not
//! recognised. Signatures: proxy-protocol.txt 2.1 and 2.2, RFC 8446 section 5.1, RFC 9113 section 3.4, RFC
//! 9112 section 3.

/// A protocol with an unmistakable beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A PROXY header of version 1: `PROXY ` and a protocol. A request whose method is PROXY is none.
    ProxyV1,
    /// A PROXY header of version 2: its signature of twelve bytes.
    ProxyV2,
    /// A TLS handshake: a ClientHello in a record of version 3.x.
    ClientHello,
    /// The preface of HTTP/2: `PRI * HTTP/2.0`.
    Http2Preface,
    /// A request of HTTP/1.x: a method in upper case, and the beginning of a target.
    Http1,
}

impl Opening {
    /// Returns what the other end has sent, with its article.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProxyV1 => "a PROXY header of version 1",
            Self::ProxyV2 => "a PROXY header of version 2",
            Self::ClientHello => "a TLS ClientHello",
            Self::Http2Preface => "the preface of HTTP/2",
            Self::Http1 => "an HTTP request",
        }
    }
}

/// What the bytes received so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// This, whatever follows.
    Known(Opening),
    /// They may still become one of several.
    Maybe,
    /// None of them, whatever follows.
    Other,
}

const PROXY_V1: [&[u8]; 2] = [b"PROXY TCP", b"PROXY UNKNOWN"];
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// Longest method that is recognised; the registered ones have at most 17 letters.
const METHOD_LEN_MAX: usize = 20;
/// Handshake record, version 3.x, length, ClientHello.
const CLIENT_HELLO_LEN: usize = 6;

/// The most bytes that [`guess`] looks at.
pub const LOOKED_AT_LEN_MAX: usize = 24;

/// Guesses what `bytes`, the first of a connection, begin.
#[must_use]
pub fn guess(bytes: &[u8]) -> Guess {
    let [tcp, unknown] = PROXY_V1;
    let guesses = [
        signature(bytes, tcp, Opening::ProxyV1),
        signature(bytes, unknown, Opening::ProxyV1),
        signature(bytes, PROXY_V2, Opening::ProxyV2),
        signature(bytes, HTTP2_PREFACE, Opening::Http2Preface),
        client_hello(bytes),
        http1(bytes),
    ];
    let is_known = |guess: &&Guess| matches!(guess, Guess::Known(_));
    let maybe = guesses.iter().find(|guess| **guess == Guess::Maybe);
    // Every request of HTTP/1 that may still be another's signature waits for it.
    let first = guesses.iter().find(is_known).or(maybe);
    first.copied().unwrap_or(Guess::Other)
}

fn signature(bytes: &[u8], signature: &[u8], opening: Opening) -> Guess {
    if bytes.starts_with(signature) {
        Guess::Known(opening)
    } else if signature.starts_with(bytes) {
        Guess::Maybe
    } else {
        Guess::Other
    }
}

fn client_hello(bytes: &[u8]) -> Guess {
    let fits = |(at, byte): (usize, &u8)| match at {
        0 => *byte == 22,
        1 => *byte == 3,
        2 => *byte <= 4,
        5 => *byte == 1,
        _ => true,
    };
    match bytes.iter().take(CLIENT_HELLO_LEN).enumerate().all(fits) {
        false => Guess::Other,
        true if bytes.len() < CLIENT_HELLO_LEN => Guess::Maybe,
        true => Guess::Known(Opening::ClientHello),
    }
}

fn http1(bytes: &[u8]) -> Guess {
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
    let method_len = bytes.iter().take_while(|byte| is_method(byte)).count();
    if method_len > METHOD_LEN_MAX {
        return Guess::Other;
    }
    let (method, rest) = bytes.split_at_checked(method_len).unwrap_or_default();
    match rest {
        [] => Guess::Maybe,
        [b' '] if method_len > 0 => Guess::Maybe,
        // The method of HTTP/2's preface is no method of HTTP/1.
        [b' ', ..] if method == b"PRI" => Guess::Other,
        [b' ', b'/' | b'*' | b'h' | b'H', ..] if method_len > 0 => Guess::Known(Opening::Http1),
        [b' ', ..] if method == b"CONNECT" => Guess::Known(Opening::Http1),
        _ => Guess::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the guess for a whole beginning, and that each prefix is open until the guess is made and the
    /// same from then on.
    fn check(bytes: &[u8], expected: Guess) {
        let mut made = None;
        for len in 0..=bytes.len() {
            let found = guess(&bytes[..len]);
            match (made, found) {
                (None, Guess::Maybe) => {}
                (None, found) => made = Some(found),
                (Some(before), found) => assert_eq!(found, before, "{len} of {bytes:?}"),
            }
            assert!(len < LOOKED_AT_LEN_MAX || made.is_some(), "{len}");
        }
        assert_eq!(made.unwrap_or(Guess::Maybe), expected, "{bytes:?}");
    }

    #[test]
    fn beginnings_are_recognised() {
        use Guess::{Known, Maybe, Other};
        use Opening::{ClientHello, Http1, Http2Preface, ProxyV1, ProxyV2};
        let rows: &[(&[u8], Guess)] = &[
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n", Known(ProxyV1)),
            (b"PROXY UNKNOWN\r\n", Known(ProxyV1)),
            (b"PROXY", Maybe),
            (b"PROXY ", Maybe),
            (b"PROXY / HTTP/1.1\r\n", Known(Http1)),
            (b"PROXY http://a/ HTTP/1.1\r\n", Known(Http1)),
            (b"PROXY UDP4 1.2.3.4", Other),
            (b"PROXYX / HTTP/1.1", Known(Http1)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Known(ProxyV2)),
            (b"\r\n\r\n", Maybe),
            (b"\r\nGET / HTTP/1.1", Other),
            (
                b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
                Known(ClientHello),
            ),
            (b"\x16\x03\x03\0\x05\x01", Known(ClientHello)),
            (b"\x16\x03\x01\x02\0", Maybe),
            // A record with another message, and other versions.
            (b"\x16\x03\x01\0\x05\x02", Other),
            (b"\x16\x02\x01\0\x05\x01", Other),
            (b"\x16\x03\x05\0\x05\x01", Other),
            (b"\x15\x03\x03\0\x02\x02", Other),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Known(Http2Preface)),
            (b"PRI * HTTP/2.0", Maybe),
            (b"PRI * HTTP/1.1\r\n", Other),
            (b"PRI / HTTP/1.1\r\n", Other),
            (b"GET / HTTP/1.1\r\n", Known(Http1)),
            (b"GET ", Maybe),
            (b"OPTIONS * HTTP/1.1", Known(Http1)),
            (b"POST http://a/ HTTP/1.1", Known(Http1)),
            (b"M-SEARCH * HTTP/1.1", Known(Http1)),
            (b"VERSION-CONTROL /", Known(Http1)),
            (b"CONNECT a:443 HTTP/1.1", Known(Http1)),
            (b"GET a", Other),
            (b"get /", Other),
            (b" / HTTP/1.1", Other),
            (b"EHLO mail.example\r\n", Other),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Other),
            (b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /", Other),
            (b"\0\0\0\0", Other),
            (b"", Maybe),
        ];
        for (bytes, expected) in rows {
            check(bytes, *expected);
        }
    }

    #[test]
    fn any_first_three_bytes_are_judged_alike_with_and_without_more() {
        for first in 0..=u8::MAX {
            for second in [0, 3, 10, 13, 22, b' ', b'A', b'E', b'R', 255] {
                check(&[first, second, b' ', b'/', 0, 1, 1], {
                    guess(&[first, second, b' ', b'/', 0, 1, 1])
                });
            }
        }
    }
}
