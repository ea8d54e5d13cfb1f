//! The PROXY protocol, versions 1 and 2, in both directions (proxy-protocol.txt of HAProxy).

use std::net::SocketAddr;

use super::Progress;

/// Longest version 1 line, CRLF included (proxy-protocol.txt 2.1).
pub const V1_LEN_MAX: usize = 107;
/// Longest version 2 header accepted, in bytes, its 16 fixed ones included.
pub const V2_LEN_MAX: usize = 8 * 1024;

/// A complete header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whom the sender speaks for.
    pub addresses: Addresses,
    /// What version 2 says besides; empty for version 1.
    pub tlvs: Tlvs,
}

/// Whom the sender of a header speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// A client: it replaces the address of the connection.
    Proxied {
        /// Where the client's connection comes from.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
    /// Nobody an address is known of (UNKNOWN, UNSPEC, UNIX): the connection's own addresses stand.
    Unknown,
    /// The sender itself, a health check (LOCAL): the connection's own addresses stand.
    Local,
}

/// The TLVs that somebody reads here; others are checked for their form and dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tlvs {
    /// PP2_TYPE_ALPN.
    pub alpn: Option<Vec<u8>>,
    /// PP2_TYPE_AUTHORITY: the server name of the client's TLS.
    pub authority: Option<String>,
    /// PP2_TYPE_UNIQUE_ID, at most 128 bytes.
    pub unique_id: Option<Vec<u8>>,
    /// PP2_TYPE_SSL.
    pub ssl: Option<Ssl>,
    /// AWS's PP2_TYPE_AWS (0xEA) subtype 1: the id of the VPC endpoint.
    pub aws_endpoint_id: Option<String>,
}

/// PP2_TYPE_SSL: how the client came to the sender (proxy-protocol.txt 2.2.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ssl {
    /// PP2_CLIENT_SSL: the client connected over TLS.
    pub over_tls: bool,
    /// `verify` is zero and the client presented a certificate.
    pub client_verified: bool,
    /// PP2_SUBTYPE_SSL_VERSION.
    pub version: Option<String>,
    /// PP2_SUBTYPE_SSL_CN.
    pub common_name: Option<String>,
    /// PP2_SUBTYPE_SSL_CIPHER.
    pub cipher: Option<String>,
}

/// Which header a server wants to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
}
