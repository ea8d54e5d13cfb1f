//! The PROXY protocol, versions 1 and 2, in both directions (proxy-protocol.txt of HAProxy).
//!
//! Parses a header and does not decide whether it is trusted: trust, the time limit and stacked headers
//! belong to the caller, which calls [`parse`] again on the bytes after `used`.
//!
//! Choices where proxy-protocol.txt leaves one:
//!
//! | sent | taken as |
//! |---|---|
//! | version 2 over UDP, UNIX or UNSPEC, with the address block of its family | [`Addresses::Unknown`] |
//! | LOCAL with any family, known or not, with or without an address block | [`Addresses::Local`] |
//! | a TLV that is there twice | the first one stands; a second checksum is malformed |
//! | a value that is empty, a text that is not UTF-8 or has control characters | as if it were not there |

use super::Progress;

mod header;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub use header::{
    Addresses, Header, HeaderVersion, MalformedHeader, Ssl, Tlvs, UNIQUE_ID_LEN_MAX, V1_LEN_MAX,
    V2_LEN_MAX,
};

/// Parses the header at the start of `buf`, of either version.
///
/// The result is [`Progress::Partial`] while `buf` may still become a header; any other result is final,
/// whatever bytes follow. The caller never waits for more than [`V2_LEN_MAX`] bytes. Addresses are returned
/// as sent: an IPv4-mapped IPv6 address stays one.
///
/// # Errors
/// [`MalformedHeader::NotProxy`] at the first byte that fits neither signature; every other variant means
/// that a signature was complete and the bytes after it break the named rule.
///
/// # Source
/// proxy-protocol.txt 2.1 and 2.2.
pub fn parse(buf: &[u8]) -> Result<Progress<Header>, MalformedHeader> {
    match (begins(buf, v1::SIGNATURE), begins(buf, v2::SIGNATURE)) {
        (Begin::Whole, _) => v1::parse(buf),
        (_, Begin::Whole) => v2::parse(buf),
        (Begin::Part, _) | (_, Begin::Part) => Ok(Progress::Partial),
        (Begin::Other, Begin::Other) => Err(MalformedHeader::NotProxy),
    }
}

/// Appends a header to `out`.
///
/// Addresses of two families are both written as IPv6, the IPv4 one mapped. Version 1 has no room
/// for TLVs and writes [`Addresses::Unknown`] and [`Addresses::Local`] as `UNKNOWN`. Version 2
/// leaves out a TLV that [`parse`] would drop or refuse, or that would make the header exceed
/// [`V2_LEN_MAX`]; a header that [`parse`] returned always fits.
///
/// # Source
/// proxy-protocol.txt 2.1 and 2.2.
pub fn encode(version: HeaderVersion, header: &Header, out: &mut Vec<u8>) {
    match version {
        HeaderVersion::V1 => v1::encode(header.addresses, out),
        HeaderVersion::V2 => v2::encode(header, out),
    }
}

/// How a buffer compares with a signature.
enum Begin {
    Whole,
    Part,
    Other,
}

fn begins(buf: &[u8], signature: &[u8]) -> Begin {
    if buf.starts_with(signature) {
        Begin::Whole
    } else if signature.starts_with(buf) {
        Begin::Part
    } else {
        Begin::Other
    }
}
