//! The elements of heads: header lines, the version of a message, and limits.

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
pub enum HttpVersion {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl HttpVersion {
    /// Returns the number, `1.0` or `1.1`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }

    pub(super) fn of_minor(minor: Option<u8>) -> Self {
        match minor {
            Some(1) => Self::Http11,
            Some(_) | None => Self::Http10,
        }
    }
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

impl Line<'_> {
    /// Returns whether the line has that name, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}
