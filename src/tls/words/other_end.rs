//! Whom a text speaks of, and the words that depend on it. The texts themselves are elsewhere.

/// What is said of an error that rustls has learned since these texts were written.
pub(super) const UNKNOWN: &str = "an error of the TLS library for which longsplice has no words";

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherEnd {
    /// A client of a listener.
    Client,
    /// A server of a backend.
    Server,
}

impl OtherEnd {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Client => "the client",
            Self::Server => "the server",
        }
    }

    /// The key that names the certificates by which the peer is judged.
    pub(super) fn trust(self) -> &'static str {
        match self {
            Self::Client => "client_ca",
            Self::Server => "ca",
        }
    }

    /// The table with the lowest version of TLS.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Client => "[listener.tls]",
            Self::Server => "[backend.tls]",
        }
    }
}
