//! HTTP/1.1 heads (RFC 9110, RFC 9112), read strictly and forwarded byte for byte.
//!
//! Nothing here repairs a message: what is ambiguous is refused, requests and responses alike.

pub mod answer;
mod fields;
pub mod forwarding;
pub mod framing;
pub mod head;
pub mod pattern;
pub mod refusal;
mod target;

/// How the client's first hop was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// Returns the scheme as URLs and X-Forwarded-Proto write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the port that goes without saying.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}
