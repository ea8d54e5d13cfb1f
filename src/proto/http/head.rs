//! Request and response heads: httparse splits them, the rules here refuse what is ambiguous.

use super::framing::Framing;

/// Limits of a head, in bytes and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request line, CRLF not counted.
    pub request_line: usize,
    /// Bytes of the whole head, the empty line included.
    pub head: usize,
    /// Number of header lines.
    pub headers: usize,
}

/// Version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// One header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The name as received.
    pub name: &'a str,
    /// The value without the white space around it.
    pub value: &'a [u8],
    /// The whole line as received, without CRLF.
    pub raw: &'a [u8],
}

/// A request head that broke no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method, a token.
    pub method: &'a str,
    /// The request target as received.
    pub target: &'a str,
    /// The version.
    pub version: Version,
    /// Header lines in order.
    pub lines: Vec<Line<'a>>,
    /// Host (and port) the request is for: the Host line, or the authority of an absolute target,
    /// which agree; empty for HTTP/1.0 without Host.
    pub authority: &'a str,
    /// Host alone, lower case, without port and without a dot at the end.
    pub host: String,
    /// Path for routes: unreserved escapes decoded, dot segments removed (RFC 3986 6.2.2); `*`
    /// for OPTIONS *.
    pub path: String,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the request is a valid WebSocket upgrade, and its key.
    pub websocket_key: Option<&'a str>,
    /// Whether the client means to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for 100 (Continue).
    pub expects_continue: bool,
}

/// A response head that broke no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// The version.
    pub version: Version,
    /// The status, 100 to 999.
    pub status: u16,
    /// The status line as received, without CRLF.
    pub status_line: &'a [u8],
    /// Header lines in order.
    pub lines: Vec<Line<'a>>,
    /// How the body ends, given the request's method.
    pub framing: Framing,
    /// Whether the server means to take another request on this connection.
    pub keep_alive: bool,
}
