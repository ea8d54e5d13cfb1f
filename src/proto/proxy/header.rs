//! The contents of a header of either version, and the rules for it.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::proto::addr::PeerAddr;

/// Longest version 1 line, CRLF included (proxy-protocol.txt 2.1).
pub const V1_LEN_MAX: usize = 107;
/// Longest version 2 header accepted, in bytes, including its 16 fixed ones.
pub const V2_LEN_MAX: usize = 8 * 1024;
/// Longest PP2_TYPE_UNIQUE_ID, in bytes (proxy-protocol.txt 2.2.5).
pub const UNIQUE_ID_LEN_MAX: usize = 128;

/// A complete header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The addresses of the client.
    pub addresses: Addresses,
    /// The TLVs of version 2; empty for version 1.
    pub tlvs: Tlvs,
}

impl From<Addresses> for Header {
    /// Makes a header without TLVs.
    fn from(addresses: Addresses) -> Self {
        Self {
            addresses,
            tlvs: Tlvs::default(),
        }
    }
}

/// The client for which a header is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// A client: it replaces the address of the connection.
    Proxied {
        /// The client's address.
        source: SocketAddr,
        /// The address to which the client connected.
        destination: SocketAddr,
    },
    /// A client without a known address (UNKNOWN, UNSPEC, UNIX): the connection's own addresses apply.
    Unknown,
    /// The sender itself, a health check (LOCAL): the connection's own addresses apply.
    Local,
}

impl Addresses {
    /// Returns the addresses to send for a client at `source` that connected to `destination`: LOCAL if
    /// either is a unix socket, because receivers must accept LOCAL and may refuse UNSPEC.
    #[must_use]
    pub fn between(source: PeerAddr, destination: PeerAddr) -> Self {
        match (source, destination) {
            (PeerAddr::Inet(source), PeerAddr::Inet(destination)) => Self::Proxied {
                source,
                destination,
            },
            (PeerAddr::Unix, _) | (_, PeerAddr::Unix) => Self::Local,
        }
    }
}

/// The TLVs that are used; the form of others is checked, and they are dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tlvs {
    /// PP2_TYPE_ALPN; like all values here, not empty.
    pub alpn: Option<Vec<u8>>,
    /// PP2_TYPE_AUTHORITY: the server name of the client's TLS.
    pub authority: Option<String>,
    /// PP2_TYPE_UNIQUE_ID, at most [`UNIQUE_ID_LEN_MAX`] bytes.
    pub unique_id: Option<Vec<u8>>,
    /// PP2_TYPE_SSL.
    pub ssl: Option<Ssl>,
    /// AWS's PP2_TYPE_AWS (0xEA) subtype 1: the id of the VPC endpoint.
    pub aws_endpoint_id: Option<String>,
    /// PP2_TYPE_CRC32C: whether a correct checksum was there; when encoding, whether to write one.
    pub crc32c: bool,
}

/// PP2_TYPE_SSL: the client's TLS to the sender (proxy-protocol.txt 2.2.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ssl {
    /// PP2_CLIENT_SSL: the client connected over TLS.
    pub over_tls: bool,
    /// `verify` is zero and the client presented a certificate.
    pub client_verified: bool,
    /// Whether that certificate was presented on an earlier connection, which this one resumes
    /// (PP2_CLIENT_CERT_SESS without PP2_CLIENT_CERT_CONN).
    pub resumed: bool,
    /// PP2_SUBTYPE_SSL_VERSION.
    pub version: Option<String>,
    /// PP2_SUBTYPE_SSL_CN.
    pub common_name: Option<String>,
    /// PP2_SUBTYPE_SSL_CIPHER.
    pub cipher: Option<String>,
}

/// The version of the header to send to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderVersion {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
}

/// The rule that the bytes break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedHeader {
    /// The bytes cannot be the beginning of any PROXY header: with `optional`, they are payload.
    #[error("not a PROXY header")]
    NotProxy,
    /// Version 1: no CRLF within [`V1_LEN_MAX`] bytes.
    #[error("no CRLF within the 107 bytes of a version 1 line")]
    LineTooLong,
    /// Version 1: a CR without LF or a LF without CR.
    #[error("CR without LF or LF without CR in a version 1 line")]
    LineEnding,
    /// Version 1: the word after `PROXY`.
    #[error("the protocol of a version 1 line is not TCP4, TCP6 or UNKNOWN")]
    LineProtocol,
    /// Version 1: more or fewer than two addresses and two ports with one space before each.
    #[error("a version 1 line has not two addresses and two ports with one space before each")]
    LineFields,
    /// Version 1: an invalid address, or one of the other family.
    #[error("an address of a version 1 line is not one of its family")]
    LineAddress,
    /// Version 1: a port that is not a number, too large, signed or with leading zeroes.
    #[error("a port of a version 1 line is not a plain number from 0 to 65535")]
    LinePort,
    /// Version 2: the signature is followed by another version.
    #[error("the version after the version 2 signature is not 2")]
    Version,
    /// Version 2: the command.
    #[error("the version 2 command is not LOCAL or PROXY")]
    Command,
    /// Version 2: the address family.
    #[error("the version 2 address family is not UNSPEC, INET, INET6 or UNIX")]
    Family,
    /// Version 2: the transport protocol.
    #[error("the version 2 transport protocol is not UNSPEC, STREAM or DGRAM")]
    Transport,
    /// Version 2: longer than [`V2_LEN_MAX`].
    #[error("a version 2 header is longer than 8 KiB")]
    TooLong,
    /// Version 2: the length leaves no room for the addresses of the family.
    #[error("a version 2 header is too short for the addresses of its family")]
    TooShort,
    /// Version 2: a TLV, or one inside PP2_TYPE_SSL, is longer than the bytes around it.
    #[error("a TLV reaches beyond its end of the version 2 header")]
    TlvOverrun,
    /// Version 2: one or two bytes are left where a TLV would need three.
    #[error("bytes that are no TLV at the end of the version 2 header")]
    TlvDangling,
    /// Version 2: PP2_TYPE_CRC32C has not four bytes, or is there twice.
    #[error("the checksum of a version 2 header has not four bytes or is there twice")]
    ChecksumForm,
    /// Version 2: PP2_TYPE_CRC32C is not the checksum of the header.
    #[error("the checksum of a version 2 header is wrong")]
    Checksum,
    /// Version 2: PP2_TYPE_UNIQUE_ID is longer than [`UNIQUE_ID_LEN_MAX`].
    #[error("the unique id of a version 2 header is longer than 128 bytes")]
    UniqueId,
    /// Version 2: PP2_TYPE_SSL is shorter than its fixed part.
    #[error("the SSL TLV of a version 2 header is shorter than 5 bytes")]
    Ssl,
}

/// Two addresses of one family, as headers carry them.
pub(super) enum Pair {
    V4(SocketAddrV4, SocketAddrV4),
    V6(SocketAddrV6, SocketAddrV6),
}

impl Pair {
    pub(super) fn of(source: SocketAddr, destination: SocketAddr) -> Self {
        match (source, destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => Self::V4(source, destination),
            (SocketAddr::V6(source), SocketAddr::V6(destination)) => Self::V6(source, destination),
            (SocketAddr::V4(source), SocketAddr::V6(destination)) => {
                Self::V6(mapped(source), destination)
            }
            (SocketAddr::V6(source), SocketAddr::V4(destination)) => {
                Self::V6(source, mapped(destination))
            }
        }
    }
}

fn mapped(addr: SocketAddrV4) -> SocketAddrV6 {
    SocketAddrV6::new(addr.ip().to_ipv6_mapped(), addr.port(), 0, 0)
}
