//! Why a check was not passed, in words and for the state machine.

use crate::balance::health::Reason;
use crate::proto::http::refusal::BadResponse;

/// Why a check was not passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckFailure {
    /// Nobody listens, or a firewall says so.
    #[error("refused the connection")]
    Refused,
    /// The system cannot reach it.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No connection in time.
    #[error("no connection within {0}")]
    ConnectTimeout(String),
    /// A connection, but no TLS in time.
    #[error("no TLS handshake within {0}")]
    HandshakeTimeout(String),
    /// No TLS, or none that can be believed.
    #[error("{0}")]
    Tls(String),
    /// A connection, but no answer in time.
    #[error("no answer within {0}")]
    AnswerTimeout(String),
    /// The end before the answer.
    #[error("closed without an answer")]
    Closed,
    /// The end in the middle of the answer.
    #[error("closed within its answer")]
    ClosedWithin,
    /// A reset before the answer was whole.
    #[error("reset the connection")]
    Reset,
    /// A status that is not expected.
    #[error("answered {0}")]
    Status(u16),
    /// The upgrade was refused.
    #[error("answered {0} to the upgrade, not 101")]
    NoUpgrade(u16),
    /// A 101 that is not the answer to this upgrade.
    #[error("answered 101 without a right Upgrade, Connection and Sec-WebSocket-Accept")]
    WrongUpgrade,
    /// No HTTP.
    #[error("answered something malformed: {0}")]
    Malformed(#[from] BadResponse),
    /// This machine has not what a check takes: the server is not to blame, and nothing is known.
    #[error("not checked: {0}")]
    Ours(String),
}

impl CheckFailure {
    /// Returns what kind of failure it is; none when it says nothing about the server.
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
