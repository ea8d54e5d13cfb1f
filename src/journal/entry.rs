//! Entries: events of a connection, a request or a tunnel, and diagnostics of longsplice.
//!
//! Values only; the queue carries them, the log writes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::Level;

use super::cause::Cause;
use super::timing::Timing;
use crate::proto::addr::PeerAddr;

/// The facts about a connection; shared by all its entries.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Name of the listener.
    pub listener: Arc<str>,
    /// The address of the connection itself.
    pub peer: PeerAddr,
    /// The client's address, from a PROXY header if there is one.
    pub client: PeerAddr,
    /// Name of the backend, once chosen.
    pub backend: Option<Arc<str>>,
    /// Name of the server, once chosen.
    pub server: Option<Arc<str>>,
    /// When the connection was accepted (or the request began).
    pub started: SystemTime,
    /// Whether the client speaks TLS that ends here.
    pub over_tls: bool,
    /// What the client showed; none = it was not asked for a certificate.
    pub certificate: Option<ClientCertificate>,
    /// Whether the listener speaks HTTP; else every connection is a tunnel.
    pub is_http: bool,
    /// Duration of its stages, as far as measured.
    pub timing: Option<Box<Timing>>,
    /// The upgrade request of a tunnel, if the line of its end shows it ([`super::Wishes::stories`]).
    pub request: Option<Box<RequestFacts>>,
}

/// The certificate of a client that was asked for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It was verified, in this handshake or the one that was resumed.
    Verified,
    /// The client has shown none.
    Missing,
}

impl ClientCertificate {
    /// Returns the word of the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Missing => "none",
        }
    }
}

/// How the bytes of one direction were moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Path {
    /// Some by recv and send.
    pub copied: bool,
    /// Some by splice.
    pub spliced: bool,
    /// Some as TLS records opened or sealed by us.
    pub records: bool,
    /// From some point on as TLS records opened or sealed by the kernel.
    pub kernel: bool,
    /// Offload state of the client's records, or else of the server's; none = neither end speaks TLS.
    pub offload: Option<Offloaded>,
}

/// Offload state of one direction: whether the kernel handles the records, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloaded {
    /// The kernel handles them.
    Kernel,
    /// `offload = "never"`.
    Never,
    /// This kernel does no TLS of this version and cipher in this direction, or is slow at it.
    NotOffered,
    /// The direction was not bulky.
    NotBulky,
    /// The tunnel ended before the records came to a boundary.
    NotYet,
    /// The kernel refused the keys.
    Refused,
}

impl Offloaded {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::Kernel,
        Self::Never,
        Self::NotOffered,
        Self::NotBulky,
        Self::NotYet,
        Self::Refused,
    ];

    /// Returns the word of the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Never => "never",
            Self::NotOffered => "not-offered",
            Self::NotBulky => "not-bulky",
            Self::NotYet => "not-yet",
            Self::Refused => "refused",
        }
    }
}

impl std::fmt::Display for Path {
    /// Writes the words of the log, joined by `+`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [
            (self.records, "user-records"),
            (self.kernel, "kernel-tls"),
            (self.copied, "copy"),
            (self.spliced, "splice"),
        ];
        let mut between = "";
        for (_, word) in words.into_iter().filter(|(used, _)| *used) {
            write!(f, "{between}{word}")?;
            between = "+";
        }
        if between.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

/// The request line and its result, for access lines.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    /// Method as received.
    pub method: String,
    /// Target as received, at most the first 1024 bytes.
    pub target: String,
    /// Host as received.
    pub host: String,
    /// HTTP version, `1.0` or `1.1`.
    pub version: &'static str,
    /// Status sent to the client.
    pub status: u16,
    /// Referer, if sent.
    pub referer: Option<String>,
    /// User-Agent, if sent.
    pub user_agent: Option<String>,
    /// What was done with the request that its answer alone does not explain; may be empty.
    pub note: &'static str,
}

/// A line of diagnostics about longsplice itself.
#[derive(Debug)]
pub struct Diagnostic {
    /// Time of the message.
    pub time: SystemTime,
    /// Its severity.
    pub level: Level,
    /// Its text, without a line end.
    pub text: DiagnosticText,
}

/// The text of a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiagnosticText {
    /// Words; time and level are put in front where the target does not add them.
    Plain(String),
    /// A JSON object that holds time and level too.
    Json(String),
}

impl DiagnosticText {
    /// Returns the text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Json(text) => text,
        }
    }
}

/// An event of a connection, a request or a tunnel.
#[derive(Debug)]
pub enum Entry {
    /// A tunnel opened.
    Open {
        /// Facts about the connection.
        subject: Box<Subject>,
        /// The upgrade request, unless the tunnel is of `tcp` or `sni` mode.
        request: Option<Box<RequestFacts>>,
    },
    /// A tunnel is still open.
    Progress {
        /// Facts about the connection.
        subject: Box<Subject>,
        /// Bytes received from the client since the tunnel opened.
        bytes_in: u64,
        /// Bytes sent to the client since the tunnel opened.
        bytes_out: u64,
        /// Since accept.
        lasted: Duration,
    },
    /// A tunnel ended.
    Close {
        /// Facts about the connection.
        subject: Box<Subject>,
        /// Cause of the end.
        cause: Cause,
        /// The rule of TLS that was broken, or the alert that came; may be empty.
        detail: String,
        /// Bytes received from the client since the tunnel opened.
        bytes_in: u64,
        /// Bytes sent to the client since the tunnel opened.
        bytes_out: u64,
        /// How the bytes from the client were moved.
        path_in: Path,
        /// How the bytes to the client were moved.
        path_out: Path,
        /// From accept to the end.
        lasted: Duration,
    },
    /// A request that was no upgrade, or an upgrade that was refused, was answered.
    Request {
        /// Facts about the connection.
        subject: Box<Subject>,
        /// The request and its answer.
        request: Box<RequestFacts>,
        /// Cause of the end.
        cause: Cause,
        /// Bytes of body received from the client.
        bytes_in: u64,
        /// Bytes of body sent to the client.
        bytes_out: u64,
        /// From the first byte of the request (or accept) to the end.
        lasted: Duration,
    },
    /// A connection or a request was refused.
    Refused {
        /// Facts about the connection.
        subject: Box<Subject>,
        /// Cause of the refusal.
        cause: Cause,
        /// The broken rule, in words; empty if the cause says it all.
        detail: String,
        /// Status of our own answer; none = closed without one.
        status: Option<u16>,
        /// The request, if its head was readable.
        request: Option<Box<RequestFacts>>,
        /// From accept to the end.
        lasted: Duration,
    },
}

impl RequestFacts {
    fn text_bytes(&self) -> usize {
        // Names every field, so that a new text cannot be left out of the sum.
        let Self {
            method,
            target,
            host,
            version: _,
            status: _,
            referer,
            user_agent,
            note: _,
        } = self;
        let headers = [referer, user_agent].into_iter().flatten();
        let headers = headers.map(String::len).sum::<usize>();
        method.len() + target.len() + host.len() + headers
    }
}

impl Entry {
    /// Returns the bytes of text whose length an outsider controls.
    pub(super) fn text_bytes(&self) -> usize {
        let of = |request: &Option<Box<RequestFacts>>| {
            request.as_ref().map_or(0, |request| request.text_bytes())
        };
        match self {
            Self::Open { subject, request } => of(&subject.request) + of(request),
            Self::Progress { subject, .. } | Self::Close { subject, .. } => of(&subject.request),
            Self::Request { request, .. } => request.text_bytes(),
            Self::Refused {
                detail, request, ..
            } => detail.len() + of(request),
        }
    }
}

/// Shortens a text from outside to `len_bytes_max`, on a character boundary.
#[must_use]
pub fn clipped(text: &str, len_bytes_max: usize) -> String {
    text[..text.floor_char_boundary(len_bytes_max)].to_owned()
}

/// Turns an address the kernel gave into a [`PeerAddr`]; none = a unix socket.
#[must_use]
pub fn peer_of(addr: Option<SocketAddr>) -> PeerAddr {
    addr.map_or(PeerAddr::Unix, PeerAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_request_counts() {
        let of_len = |len: usize| "x".repeat(len);
        let request = RequestFacts {
            method: of_len(1),
            target: of_len(2),
            host: of_len(4),
            version: "1.1",
            status: 200,
            referer: Some(of_len(8)),
            user_agent: Some(of_len(16)),
            note: "x",
        };
        assert_eq!(request.text_bytes(), 31);
    }
}
