//! Where a body ends (RFC 9112 section 6): counted, chunked, or with the connection.

/// How a message's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After that many bytes.
    Length(u64),
    /// With the last chunk and the trailers.
    Chunked,
    /// With the connection (responses only).
    UntilClose,
}
