//! Faults that end a TLS connection, and the alerts they send to the peer (RFC 8446 section 6).

use super::record::{KeysUsedUp, RecordError};

/// The level of an alert after which the connection goes on, or ends in good order.
pub(super) const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// The alerts we send, with their numbers (RFC 8446 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    CertificateExpired = 45,
    IllegalParameter = 47,
    DecodeError = 50,
    ProtocolVersion = 70,
    InternalError = 80,
    UserCanceled = 90,
    NoRenegotiation = 100,
}

impl Alert {
    /// Returns the two bytes of its record.
    #[must_use]
    pub fn payload(self) -> [u8; 2] {
        let level = if self.is_fatal() { FATAL } else { WARNING };
        [level, self as u8]
    }

    /// Returns whether it ends the connection, so that no record follows it.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        match self {
            Self::CloseNotify | Self::UserCanceled | Self::NoRenegotiation => false,
            Self::UnexpectedMessage
            | Self::BadRecordMac
            | Self::RecordOverflow
            | Self::CertificateExpired
            | Self::IllegalParameter
            | Self::DecodeError
            | Self::ProtocolVersion
            | Self::InternalError => true,
        }
    }
}

/// Why a connection cannot go on: the peer is at fault, our keys are used up, or we are at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A record of the peer is wrong.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A message in a record of the peer is wrong.
    #[error("{0}")]
    Message(&'static str),
    /// A message in a record of the peer has a value that is not allowed.
    #[error("{0}")]
    Value(&'static str),
    /// The peer sent too many records without data.
    #[error("too many records without data")]
    Flood,
    /// The peer ended with a fatal alert of this number.
    #[error("the peer sent the alert {}", alert_name(*.0))]
    PeerAlert(u8),
    /// The server ended with a fatal alert of this number before its first byte of data.
    #[error("the server refused with the alert {}", alert_name(*.0))]
    ServerRefused(u8),
    /// A fatal alert was sent or received before, and nothing may follow it.
    #[error("the connection ended with an alert")]
    Ended,
    /// Our own keys are used up and cannot be changed.
    #[error("the keys are used up")]
    KeysUsedUp,
    /// The peer changes keys, or asks us to, and the kernel that has ours does not change them.
    #[error("the kernel cannot change keys")]
    NoKeyUpdate,
    /// A defect of this program, or of the kernel's TLS: the peer is not at fault.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl From<KeysUsedUp> for Fault {
    fn from(KeysUsedUp: KeysUsedUp) -> Self {
        Self::KeysUsedUp
    }
}

impl Fault {
    /// Returns the alert to send to the peer; none if one was sent or received before.
    #[must_use]
    pub fn alert(self) -> Option<Alert> {
        match self {
            Self::Record(RecordError::BadMac) => Some(Alert::BadRecordMac),
            Self::Record(RecordError::TooLong) => Some(Alert::RecordOverflow),
            Self::Record(RecordError::NotTls) | Self::Message(_) => Some(Alert::DecodeError),
            Self::Value(_) => Some(Alert::IllegalParameter),
            Self::Record(RecordError::UnexpectedType) | Self::Flood => {
                Some(Alert::UnexpectedMessage)
            }
            Self::KeysUsedUp | Self::NoKeyUpdate | Self::Internal(_) => Some(Alert::InternalError),
            Self::PeerAlert(_) | Self::ServerRefused(_) | Self::Ended => None,
        }
    }
}

/// Returns the RFC's name of an alert, such as `certificate_expired`, or its number.
fn alert_name(number: u8) -> String {
    super::words::alert_name(number).map_or_else(|| number.to_string(), str::to_owned)
}
