//! What the records of an open connection mean, in one place whoever protects them: data, alerts,
//! close_notify, KeyUpdate in both directions, and the limits on all of it.
//!
//! A [`Session`] is what is left of a handshake. It moves no bytes: it opens records where they lie
//! and seals into buffers it is given. For an idle connection `rest` leaves raw keys and numbers.

use std::ops::Range;

use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;

use super::record::{
    ContentType, Keys, OVERHEAD_LEN_MAX, Opener, PAYLOAD_LEN_MAX, RecordError, Sealer, Version,
};

/// Records without data in a row that a peer may send; each costs it more than it costs us, but not
/// for ever.
pub const EMPTY_RECORDS_MAX: u8 = 64;
/// KeyUpdates and warnings in a row, without data between them, that a peer may send.
pub const CONTROL_RECORDS_MAX: u8 = 32;
/// Records left on a key when we change it ourselves.
const RECORDS_LEFT_TO_UPDATE: u64 = 1 << 16;
/// A KeyUpdate as a handshake message (RFC 8446 section 4.6.3): its last byte asks for one back.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// What we tell a peer at the end (RFC 8446 section 6), as numbered there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    DecodeError = 50,
    InternalError = 80,
    UserCanceled = 90,
    NoRenegotiation = 100,
}

impl Alert {
    /// Returns the two bytes of its record.
    #[must_use]
    pub fn payload(self) -> [u8; 2] {
        let level = match self {
            Self::CloseNotify | Self::UserCanceled => WARNING,
            Self::UnexpectedMessage
            | Self::BadRecordMac
            | Self::RecordOverflow
            | Self::DecodeError
            | Self::InternalError
            | Self::NoRenegotiation => FATAL,
        };
        [level, self as u8]
    }
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A record is wrong.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A message in a record is wrong.
    #[error("{0}")]
    Message(&'static str),
    /// The peer wants another handshake, which TLS 1.2 calls renegotiation.
    #[error("the peer wants to renegotiate")]
    Renegotiation,
    /// Too many records that carry nothing.
    #[error("too many records without data")]
    Flood,
    /// The peer ended with a fatal alert of this number.
    #[error("the peer sent alert {0}")]
    PeerAlert(u8),
    /// Our own keys can be used no more, and cannot be changed.
    #[error("the keys are used up")]
    KeysUsedUp,
}

impl Fault {
    /// Returns what the peer is told; none when it has told us.
    #[must_use]
    pub fn alert(self) -> Option<Alert> {
        match self {
            Self::Record(RecordError::BadMac) => Some(Alert::BadRecordMac),
            Self::Record(RecordError::TooLong) => Some(Alert::RecordOverflow),
            Self::Record(RecordError::NotTls) | Self::Message(_) => Some(Alert::DecodeError),
            Self::Record(RecordError::UnexpectedType) | Self::Flood => {
                Some(Alert::UnexpectedMessage)
            }
            Self::Record(RecordError::UsedUp) | Self::KeysUsedUp => Some(Alert::InternalError),
            Self::Renegotiation => Some(Alert::NoRenegotiation),
            Self::PeerAlert(_) => None,
        }
    }
}

/// What a record brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Data, here in the record.
    Data(Range<usize>),
    /// Nothing for the application.
    Nothing,
    /// The peer sends no more.
    CloseNotify,
}

/// An open connection.
pub struct Session {
    opener: Opener,
    sealer: Sealer,
    /// Only TLS 1.3 knows KeyUpdate, so only there it is kept.
    kernel: Option<Box<KernelConnection<ServerConnectionData>>>,
    empty_records: u8,
    control_records: u8,
    /// The peer asked for a KeyUpdate and has not got it.
    owes_key_update: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("opener", &self.opener)
            .field("sealer", &self.sealer)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Makes a session of the keys in both directions; `kernel` is dropped unless TLS 1.3 needs it.
    #[must_use]
    pub fn new(
        version: Version,
        receive: Keys,
        send: Keys,
        kernel: KernelConnection<ServerConnectionData>,
    ) -> Self {
        Self {
            opener: Opener::new(receive),
            sealer: Sealer::new(send),
            kernel: (version == Version::Tls13).then(|| Box::new(kernel)),
            empty_records: 0,
            control_records: 0,
            owes_key_update: false,
        }
    }

    /// Drops whatever can be made again: an idle session is keys and numbers.
    pub fn rest(&mut self) {
        self.opener.rest();
        self.sealer.rest();
    }

    /// Opens one whole record in place.
    ///
    /// # Errors
    /// A [`Fault`]; the connection is over then.
    pub fn open(&mut self, record: &mut [u8]) -> Result<Content, Fault> {
        let (kind, place) = self.opener.open(record)?;
        let payload = record.get(place.clone()).unwrap_or_default();
        match kind {
            ContentType::Data if payload.is_empty() => {
                self.empty_records = counted(self.empty_records, EMPTY_RECORDS_MAX)?;
                Ok(Content::Nothing)
            }
            ContentType::Data => {
                self.empty_records = 0;
                self.control_records = 0;
                Ok(Content::Data(place))
            }
            ContentType::Alert => self.on_alert(payload),
            ContentType::Handshake => self.on_handshake(payload),
            ContentType::ChangeCipherSpec => Err(RecordError::UnexpectedType.into()),
        }
    }

    fn on_alert(&mut self, payload: &[u8]) -> Result<Content, Fault> {
        let [level, alert] = payload else {
            return Err(Fault::Message("an alert of a wrong length"));
        };
        if *alert == Alert::CloseNotify as u8 {
            return Ok(Content::CloseNotify);
        }
        // TLS 1.3 has no warnings beside these two, whatever the level says.
        let warns =
            *alert == Alert::UserCanceled as u8 || (*level == WARNING && self.kernel.is_none());
        if !warns {
            return Err(Fault::PeerAlert(*alert));
        }
        self.control_records = counted(self.control_records, CONTROL_RECORDS_MAX)?;
        Ok(Content::Nothing)
    }

    fn on_handshake(&mut self, payload: &[u8]) -> Result<Content, Fault> {
        let Some(kernel) = &mut self.kernel else {
            return Err(Fault::Renegotiation);
        };
        let asks = payload.strip_prefix(&KEY_UPDATE);
        self.owes_key_update |= match asks {
            Some([0]) => false,
            Some([1]) => true,
            None => return Err(RecordError::UnexpectedType.into()),
            Some(_) => {
                return Err(Fault::Message(
                    "a KeyUpdate that asks for something unknown",
                ));
            }
        };
        self.control_records = counted(self.control_records, CONTROL_RECORDS_MAX)?;
        let (sequence, secrets) = kernel.update_rx_secret().map_err(|_| Fault::KeysUsedUp)?;
        let keys = Keys::new(Version::Tls13, sequence, &secrets).ok_or(Fault::KeysUsedUp)?;
        self.opener = Opener::new(keys);
        Ok(Content::Nothing)
    }

    /// Tells whether the peer waits for a KeyUpdate; [`Session::seal_key_update`] sends it.
    #[must_use]
    pub fn owes_key_update(&self) -> bool {
        self.owes_key_update
    }

    /// Seals `data` into as many records as it takes, and a KeyUpdate before them when the keys are
    /// nearly used up; returns how many bytes of `out` they are.
    ///
    /// `out` has room for [`sealed_len_max`] of the data's length.
    ///
    /// # Errors
    /// [`Fault::KeysUsedUp`], for TLS 1.2, whose keys cannot be changed.
    pub fn seal(&mut self, data: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let mut len = 0;
        if self.owes_key_update || self.should_update() {
            len += self.seal_key_update(out)?;
        }
        for payload in data.chunks(PAYLOAD_LEN_MAX) {
            len += self.seal_one(ContentType::Data, payload, rest_of(out, len))?;
        }
        Ok(len)
    }

    fn should_update(&self) -> bool {
        self.kernel.is_some() && self.sealer.records_left() <= RECORDS_LEFT_TO_UPDATE
    }

    /// Seals a KeyUpdate under the old keys and takes the new ones; for TLS 1.3 only.
    ///
    /// # Errors
    /// [`Fault::KeysUsedUp`] when there are no new ones.
    pub fn seal_key_update(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let [kind, high, middle, low] = KEY_UPDATE;
        let message = [kind, high, middle, low, 0];
        let len = self.seal_one(ContentType::Handshake, &message, out)?;
        let kernel = self.kernel.as_mut().ok_or(Fault::KeysUsedUp)?;
        let (sequence, secrets) = kernel.update_tx_secret().map_err(|_| Fault::KeysUsedUp)?;
        let keys = Keys::new(Version::Tls13, sequence, &secrets).ok_or(Fault::KeysUsedUp)?;
        self.sealer = Sealer::new(keys);
        self.owes_key_update = false;
        Ok(len)
    }

    /// Seals an alert; returns how many bytes of `out` it is.
    ///
    /// # Errors
    /// [`Fault::KeysUsedUp`].
    pub fn seal_alert(&mut self, alert: Alert, out: &mut [u8]) -> Result<usize, Fault> {
        self.seal_one(ContentType::Alert, &alert.payload(), out)
    }

    fn seal_one(
        &mut self,
        kind: ContentType,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        self.sealer
            .seal(kind, payload, out)
            .map_err(|error| match error {
                RecordError::UsedUp => Fault::KeysUsedUp,
                RecordError::NotTls
                | RecordError::TooLong
                | RecordError::BadMac
                | RecordError::UnexpectedType => Fault::Record(error),
            })
    }
}

/// Returns how long `len` bytes of data can become by [`Session::seal`].
#[must_use]
pub fn sealed_len_max(len: usize) -> usize {
    let key_update = KEY_UPDATE.len() + 1 + OVERHEAD_LEN_MAX;
    len + len.div_ceil(PAYLOAD_LEN_MAX) * OVERHEAD_LEN_MAX + key_update
}

fn counted(count: u8, max: u8) -> Result<u8, Fault> {
    if count < max {
        Ok(count + 1)
    } else {
        Err(Fault::Flood)
    }
}

fn rest_of(out: &mut [u8], from: usize) -> &mut [u8] {
    out.get_mut(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
