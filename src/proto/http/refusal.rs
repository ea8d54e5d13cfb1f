//! Reasons to refuse a head: one name and one sentence per rule, and the status of the answer.
//!
//! Rules that requests and responses share are in [`Malformed`]. If the client broke one, it gets a 400; if
//! the server did, the client gets a 502.

use thiserror::Error;

use super::line::HeadLimits;

/// A rule of RFC 9110 and RFC 9112 that holds for requests and responses alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// RFC 9112 2.2: a bare CR or LF, or another line end than CRLF.
    #[error("a line does not end with CRLF, or holds a bare CR or LF")]
    LineEnd,
    /// RFC 9112 5.1 and 5.2: white space in or after the name, a folded line, an empty name.
    #[error(
        "a header name is empty, is followed by white space, starts with white space (folded line) \
         or holds a byte that no token has"
    )]
    FieldName,
    /// RFC 9110 5.5: NUL or another control character.
    #[error("a header value holds a control character")]
    FieldValue,
    /// RFC 9112 6.3: more than one Content-Length.
    #[error("Content-Length is given more than once")]
    ContentLengthRepeated,
    /// RFC 9110 8.6: not a plain decimal number below 2^63.
    #[error("Content-Length is not one plain decimal number")]
    ContentLengthValue,
    /// RFC 9112 6.1: both framings at once.
    #[error("both Content-Length and Transfer-Encoding are given")]
    LengthAndEncoding,
    /// RFC 9112 6.1: `chunked` twice or malformed, or nothing.
    #[error("Transfer-Encoding is not 'chunked' alone")]
    TransferCoding,
    /// RFC 9112 6.1: a coding that we do not understand, alone or beside others.
    #[error(
        "Transfer-Encoding names a coding other than 'chunked', the only one that longsplice knows"
    )]
    UnknownCoding,
    /// RFC 9112 6.1: Transfer-Encoding in HTTP/1.0.
    #[error("HTTP/1.0 knows no Transfer-Encoding")]
    EncodingInHttp10,
    /// A Connection line with more elements than any legitimate message needs.
    #[error("Connection lists too many options")]
    ConnectionOptions,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HttpRefusal {
    /// A rule that responses share.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// RFC 9112 2.2: more empty lines than are ignored, or a bare CR or LF, before the request line.
    #[error("there are more than four empty lines, or a bare CR or LF, before the request line")]
    LeadingEmptyLines,
    /// RFC 9112 3: not `METHOD SP TARGET SP VERSION CRLF`.
    #[error("the request line is not 'METHOD TARGET HTTP/1.x'")]
    RequestLine,
    /// A version other than 1.0 and 1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// RFC 9110 9.3.6: CONNECT is not supported.
    #[error("CONNECT is not served")]
    Connect,
    /// RFC 9112 3.2: a fragment, bytes outside ASCII, or none of the forms.
    #[error("the request target has a fragment, raw non-ASCII bytes or no known form")]
    Target,
    /// RFC 9110 4.2.4: `user@host`.
    #[error("the request target holds user information")]
    UserInfo,
    /// RFC 3986 5.2.4: a `..` without a segment that it certainly removes.
    #[error("{0}")]
    Path(#[from] PathError),
    /// RFC 9112 3.2: HTTP/1.1 without Host.
    #[error("HTTP/1.1 needs a Host header")]
    HostMissing,
    /// RFC 9112 3.2: more than one Host.
    #[error("Host is given more than once")]
    HostRepeated,
    /// RFC 9110 7.2: not `name`, `address` or `[address]` with an optional port.
    #[error("Host is not a name or an address with an optional port")]
    HostValue,
    /// RFC 9112 3.2.2: Host and the authority of the target name different places.
    #[error("Host and the request target name different hosts")]
    HostDisagrees,
    /// RFC 9112 3.2.2: the target names another scheme than the client's connection has.
    #[error("the scheme of the request target is not that of the connection")]
    SchemeDisagrees,
    /// RFC 6455 4.1: no key.
    #[error(
        "a WebSocket upgrade needs one Sec-WebSocket-Key and has none; \
         does a proxy in front remove it, or speak HTTP/1.0?"
    )]
    UpgradeKeyMissing,
    /// RFC 6455 4.1: two keys, or not 16 bytes in base64.
    #[error("a WebSocket upgrade needs one Sec-WebSocket-Key of 16 bytes in base64")]
    UpgradeKey,
    /// RFC 6455 4.1: no Sec-WebSocket-Version.
    #[error(
        "a WebSocket upgrade needs one Sec-WebSocket-Version and has none; \
         does a proxy in front remove it, or speak HTTP/1.0?"
    )]
    UpgradeVersionMissing,
    /// RFC 6455 4.1: more than one Sec-WebSocket-Version.
    #[error("a WebSocket upgrade needs one Sec-WebSocket-Version and has more")]
    UpgradeVersionRepeated,
    /// RFC 6455 4.4: a version other than 13.
    #[error("the version of the WebSocket protocol is not 13")]
    WebsocketVersion,
    /// The request line is longer than the limit.
    #[error("the request line is longer than the limit")]
    RequestLineTooLong,
    /// The head is longer than the limit.
    #[error("the head is longer than the limit")]
    HeadTooLong,
    /// There are more header lines than the limit.
    #[error("there are more header lines than the limit")]
    TooManyLines,
}

/// The kinds of refusals that logs and metrics distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Malformed or ambiguous.
    BadRequest,
    /// A WebSocket upgrade that breaks RFC 6455.
    BadUpgrade,
    /// A version of the WebSocket protocol other than 13.
    WebsocketVersion,
    /// A transfer coding that we do not understand.
    UnknownCoding,
    /// The request line is longer than the limit.
    RequestLineTooLong,
    /// The head is longer, or has more lines, than the limit.
    RequestHeadTooLarge,
}

impl HttpRefusal {
    /// Returns the kind of the refusal, named as the cause in the log.
    #[must_use]
    pub fn kind(self) -> RefusalKind {
        match self {
            Self::Malformed(Malformed::UnknownCoding) => RefusalKind::UnknownCoding,
            Self::Malformed(_)
            | Self::LeadingEmptyLines
            | Self::RequestLine
            | Self::Version
            | Self::Connect
            | Self::Target
            | Self::UserInfo
            | Self::Path(_)
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostValue
            | Self::HostDisagrees
            | Self::SchemeDisagrees => RefusalKind::BadRequest,
            Self::UpgradeKeyMissing
            | Self::UpgradeKey
            | Self::UpgradeVersionMissing
            | Self::UpgradeVersionRepeated => RefusalKind::BadUpgrade,
            Self::WebsocketVersion => RefusalKind::WebsocketVersion,
            Self::RequestLineTooLong => RefusalKind::RequestLineTooLong,
            Self::HeadTooLong | Self::TooManyLines => RefusalKind::RequestHeadTooLarge,
        }
    }

    /// Returns what the log says of a head that is longer than one of `limits`: the limit, its value and its
    /// key.
    #[must_use]
    pub fn exceeded(self, limits: &HeadLimits) -> Option<String> {
        let (what, most, unit, key) = match self {
            Self::RequestLineTooLong => (
                "the request line",
                limits.request_line,
                "bytes",
                "request_line",
            ),
            Self::HeadTooLong => ("the request head", limits.head, "bytes", "head"),
            Self::TooManyLines => (
                "the request head",
                limits.headers,
                "header lines",
                "headers",
            ),
            Self::Malformed(_)
            | Self::LeadingEmptyLines
            | Self::RequestLine
            | Self::Version
            | Self::Connect
            | Self::Target
            | Self::UserInfo
            | Self::Path(_)
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostValue
            | Self::HostDisagrees
            | Self::SchemeDisagrees
            | Self::UpgradeKeyMissing
            | Self::UpgradeKey
            | Self::UpgradeVersionMissing
            | Self::UpgradeVersionRepeated
            | Self::WebsocketVersion => return None,
        };
        Some(format!(
            "{what} has more than {most} {unit}, the limit that {key} in [listener.limits] sets"
        ))
    }

    /// Returns the status of our answer; the connection closes after it, because the beginning of the next
    /// request is unknown.
    #[must_use]
    pub fn status(self) -> u16 {
        match self.kind() {
            RefusalKind::BadRequest | RefusalKind::BadUpgrade => 400,
            RefusalKind::WebsocketVersion => 426,
            RefusalKind::UnknownCoding => 501,
            RefusalKind::RequestLineTooLong => 414,
            RefusalKind::RequestHeadTooLarge => 431,
        }
    }

    /// Returns further header lines that the answer needs (RFC 6455 4.4, RFC 9110 15.5.22). An Upgrade among
    /// them is listed in the Connection line that every answer of ours has.
    #[must_use]
    pub fn extra_lines(self) -> &'static [(&'static str, &'static str)] {
        match self.kind() {
            RefusalKind::WebsocketVersion => {
                &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            }
            RefusalKind::BadRequest
            | RefusalKind::BadUpgrade
            | RefusalKind::UnknownCoding
            | RefusalKind::RequestLineTooLong
            | RefusalKind::RequestHeadTooLarge => &[],
        }
    }
}

/// Why a path leads nowhere certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// It has more `..` than segments before them.
    #[error("the path climbs above the root")]
    ClimbsAboveRoot,
    /// A `..` removes an empty segment: for one reader that only, for another one the segment before it.
    #[error("in the path, '..' removes an empty segment: servers read '/a//..' as '/a/' or as '/'")]
    RemovesEmpty,
}

/// Why a response is refused: the client gets a 502 and the connection is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadResponse {
    /// A rule that requests share.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// RFC 9112 4: not `HTTP/1.x CODE REASON`.
    #[error("the status line is not 'HTTP/1.x CODE REASON'")]
    StatusLine,
    /// A version other than 1.0 and 1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// RFC 9110 15: a code below 100.
    #[error("the status code is below 100")]
    StatusCode,
    /// The head is longer than this limit.
    #[error("the head is longer than {0} bytes, the limit `head` in [backend.limits]")]
    HeadTooLong(usize),
    /// There are more header lines than this limit.
    #[error("there are more than {0} header lines, the limit `headers` in [backend.limits]")]
    TooManyLines(usize),
    /// More interim answers than [`INTERIM_MAX`].
    #[error("more than {INTERIM_MAX} interim answers (1xx) came before the answer")]
    TooManyInterim,
}

/// Maximum number of interim answers (100, 103) to one request.
pub const INTERIM_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_with_its_value_and_its_key() {
        let limits = HeadLimits {
            request_line: 11,
            head: 22,
            headers: 33,
        };
        let rows = [
            (HttpRefusal::RequestLineTooLong, "11 bytes", "request_line"),
            (HttpRefusal::HeadTooLong, "22 bytes", "head"),
            (HttpRefusal::TooManyLines, "33 header lines", "headers"),
        ];
        for (rule, value, key) in rows {
            let text = rule.exceeded(&limits).unwrap_or_default();
            assert!(text.contains(&format!("more than {value}")), "{text}");
            let key = format!("that {key} in [listener.limits]");
            assert!(text.contains(&key), "{text}");
        }
        assert_eq!(HttpRefusal::Connect.exceeded(&limits), None);
    }
}
