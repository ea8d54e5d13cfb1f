//! Reasons why a server did not pass a check, in words and for the state machine.

use crate::balance::health::Reason;
use crate::proto::http::refusal::BadResponse;

/// Reason why a server did not pass a check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckFailure {
    /// The connection was refused, by the server's machine or by a firewall.
    #[error("refused the connection")]
    Refused,
    /// The system has no route to the server.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No connection within the time limit.
    #[error("no connection within {0}")]
    ConnectTimeout(String),
    /// A connection, but no TLS within the time limit.
    #[error("no TLS handshake within {0}")]
    HandshakeTimeout(String),
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("{0}")]
    Tls(String),
    /// A connection, but no answer within the time limit.
    #[error("no answer within {0}")]
    AnswerTimeout(String),
    /// The server closed before its answer.
    #[error("closed without an answer")]
    Closed,
    /// The server closed in the middle of its answer.
    #[error("closed within its answer")]
    ClosedWithin,
    /// The server reset the connection before its answer was complete.
    #[error("reset the connection")]
    Reset,
    /// An unexpected status.
    #[error("answered {0}")]
    Status(u16),
    /// The server refused the upgrade.
    #[error("answered {0} to the upgrade, not 101")]
    NoUpgrade(u16),
    /// A 101 that does not answer this upgrade.
    #[error("answered 101 without a right Upgrade, Connection and Sec-WebSocket-Accept")]
    WrongUpgrade,
    /// The answer is not HTTP.
    #[error("answered something malformed: {0}")]
    Malformed(#[from] BadResponse),
    /// This machine lacks a resource for the check: the server is not at fault, and its state is unknown.
    #[error("not checked: {0}")]
    Ours(String),
}

impl CheckFailure {
    /// Returns the kind of failure; none if it says nothing about the server.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::Refused => Reason::Refused,
            Self::Unreachable(_) => Reason::Unreachable,
            Self::ConnectTimeout(_) | Self::HandshakeTimeout(_) | Self::AnswerTimeout(_) => {
                Reason::TimedOut
            }
            Self::Tls(_) => Reason::Tls,
            Self::Closed | Self::ClosedWithin | Self::Reset => Reason::Ended,
            Self::Status(status) | Self::NoUpgrade(status) => Reason::Status(*status),
            Self::WrongUpgrade | Self::Malformed(_) => Reason::BadAnswer,
            Self::Ours(_) => return None,
        })
    }
}
