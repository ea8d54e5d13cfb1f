//! The opening handshake of a WebSocket (RFC 6455 section 4): the key, and the answer that proves it was
//! read.
//!
//! After the handshake, the bytes are opaque to longsplice, except for tunnels whose [`frames`] are followed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

pub mod frames;

/// The only version there is, as Sec-WebSocket-Version writes it (RFC 6455 section 4.1).
pub const VERSION: &str = "13";

/// The text that a server appends to the key (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Computes the Sec-WebSocket-Accept that answers `key`, the Sec-WebSocket-Key as received.
///
/// # Source
/// RFC 6455 section 4.2.2, item 5.4.
#[must_use]
pub fn accept_of(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

/// Returns whether `key` is the base64 of 16 bytes, padding included.
///
/// The four unused bits of the last digit may have any value, as in common servers (RFC 4648 section 3.5
/// leaves this open).
///
/// # Source
/// RFC 6455 section 4.2.1, item 5.
#[must_use]
pub fn is_valid_key(key: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix("==")
        .is_some_and(|digits| digits.len() == 22 && digits.bytes().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_the_rfc() {
        assert_eq!(
            accept_of("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_key_is_base64_of_16_bytes() {
        let rows = [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AAAAAAAAAAAAAAAAAAAAAA==", true),
            ("+/+/+/+/+/+/+/+/+/+/+w==", true),
            ("AAAAAAAAAAAAAAAAAAAAAB==", true),
            ("", false),
            ("==", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZQ===", false),
            ("dGhlIHNhbXBsZSBub25jZQ== ", false),
            (" dGhlIHNhbXBsZSBub25jZQ==", false),
            ("dGhlIHNhbXBsZSBub25jZ-==", false),
            ("dGhlIHNhbXBsZSBub25j=Q==", false),
            ("dGhlIHNhbXBsZSBub25j\u{e9}==", false),
            ("SGVsbG8sIHdvcmxkIQ==", false),
            ("AAAAAAAAAAAAAAAAAAAAAAA=", false),
            ("AAAAAAAAAAAAAAAAAAAAAAAA", false),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAA==", false),
        ];
        for (key, expected) in rows {
            assert_eq!(is_valid_key(key), expected, "{key}");
        }
    }
}
