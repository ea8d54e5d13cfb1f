//! The meaning of an open connection's records, wherever they are opened and sealed: data, alerts,
//! close_notify, KeyUpdate in both directions, and the limits on all of them.
//!
//! A [`Session`] is what remains of a handshake. It does no input or output: it opens records in place and
//! seals into the caller's buffers. An idle connection that called `rest` holds raw keys and numbers.
//!
//! Either direction can be left to the kernel, at any record boundary. The session then drops its keys, but
//! still interprets the kernel's records ([`Session::take_in`]) and decides when the kernel's keys have to
//! change ([`Session::next_sending_keys`]).

use std::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;

use super::fault::WARNING;
use super::record::kernel::{RecordSuite, SuiteCode};
use super::record::{
    ContentType, Keys, OVERHEAD_LEN_MAX, Opener, PAYLOAD_LEN_MAX, RecordError, RecordVersion,
    Sealer,
};
use super::schedule::Schedule;

pub use super::fault::{Alert, Fault};

/// Limit on records without data in a row; each costs the peer more than it costs us, but there must be an
/// end.
pub const EMPTY_RECORDS_MAX: u8 = 64;
/// Limit on KeyUpdates and warnings. Each costs us more than a record of data, so in the long run
/// `CONTROL_COST` records of data have to come between two of them.
pub const CONTROL_RECORDS_MAX: u8 = 32;
/// Records of data that make up for one KeyUpdate or warning.
const CONTROL_COST: u8 = 4;
/// Records left on a key when we change it ourselves; more than the kernel can seal between two queries of
/// its number (`relay::tunnel` counts them).
pub const RECORDS_LEFT_TO_UPDATE: u64 = 1 << 17;
/// A KeyUpdate as a handshake message (RFC 8446 section 4.6.3); the last byte requests one back.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
/// The KeyUpdate we send: it requests none back.
pub const OUR_KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
/// The messages that begin another handshake in TLS 1.2 (RFC 5246 sections 7.4.1.1 and 7.4.1.2): from a
/// server, and from a client.
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;

/// The content of an opened record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Data, at this place in the record.
    Data(Range<usize>),
    /// Nothing for the application.
    Nothing,
    /// The peer sends no more.
    CloseNotify,
}

/// The effect of a record that is not data.
#[derive(Debug)]
pub enum Control {
    /// No effect.
    Nothing,
    /// The peer sends no more.
    CloseNotify,
    /// Records that follow are sealed with these keys.
    KeyUpdate(Keys),
}

/// An open TLS connection.
pub struct Session {
    /// None = the kernel opens what is received.
    opener: Option<Opener>,
    /// None = the kernel seals what is sent.
    sealer: Option<Sealer>,
    /// Only TLS 1.3 has KeyUpdate, so TLS 1.2 keeps no schedule.
    schedule: Option<Box<Schedule>>,
    suite: RecordSuite,
    /// Whether we are the client.
    is_client: bool,
    empty_records: u8,
    /// Counts [`CONTROL_COST`] for each control record.
    control_records: u8,
    /// [`OWES_KEY_UPDATE`] and the constants below it; in one byte, because an idle tunnel keeps them.
    flags: u8,
    /// Bytes of a refused ClientHello that later records bring.
    refused_rest: u16,
}

/// The peer asked for a KeyUpdate and has not got it.
const OWES_KEY_UPDATE: u8 = 1;
/// The peer asked for another handshake and has not got the answer that there is none.
const OWES_REFUSAL: u8 = 2;
/// The peer has sent data.
const HEARD: u8 = 4;
/// A fatal alert was sent or received. Nothing follows it (RFC 8446 section 6.2).
const ENDED: u8 = 8;

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("opener", &self.opener)
            .field("sealer", &self.sealer)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Makes a session with a client from the keys of both directions; `kernel` is dropped unless TLS 1.3
    /// needs it.
    #[must_use]
    pub fn new(
        version: RecordVersion,
        receive: Keys,
        send: Keys,
        kernel: KernelConnection<ServerConnectionData>,
    ) -> Self {
        let schedule = (version == RecordVersion::Tls13).then(|| Schedule::Server(kernel));
        Self::of(receive, send, schedule, false)
    }

    /// Makes a session in which we are the client.
    #[must_use]
    pub fn of_client(
        version: RecordVersion,
        receive: Keys,
        send: Keys,
        kernel: KernelConnection<ClientConnectionData>,
    ) -> Self {
        let schedule = (version == RecordVersion::Tls13).then(|| Schedule::of_client(kernel));
        Self::of(receive, send, schedule, true)
    }

    fn of(receive: Keys, send: Keys, schedule: Option<Schedule>, is_client: bool) -> Self {
        Self {
            suite: send.suite(),
            opener: Some(Opener::new(receive)),
            sealer: Some(Sealer::new(send)),
            schedule: schedule.map(Box::new),
            is_client,
            empty_records: 0,
            control_records: 0,
            flags: 0,
            refused_rest: 0,
        }
    }

    /// Returns version and cipher as the kernel numbers them.
    #[must_use]
    pub fn suite_code(&self) -> SuiteCode {
        self.suite.code()
    }

    /// Returns whether its keys can change: in TLS 1.3 only.
    #[must_use]
    pub fn knows_key_update(&self) -> bool {
        self.schedule.is_some()
    }

    /// Drops everything that can be made again: an idle session is keys and numbers.
    pub fn rest(&mut self) {
        if let Some(opener) = &mut self.opener {
            opener.rest();
        }
        if let Some(sealer) = &mut self.sealer {
            sealer.rest();
        }
    }

    /// Skips to where no record is left that the keys may seal.
    #[cfg(test)]
    pub(crate) fn use_up_sending_keys(&mut self) {
        if let Some(sealer) = &mut self.sealer {
            sealer.skip_to_last(0);
        }
    }

    /// Returns whether there is anything to drop.
    #[must_use]
    pub fn has_ciphers(&self) -> bool {
        self.opener.as_ref().is_some_and(Opener::has_cipher)
            || self.sealer.as_ref().is_some_and(Sealer::has_cipher)
    }

    /// Returns the keys for receiving; none if the kernel has them.
    #[must_use]
    pub fn receiving_keys(&self) -> Option<&Keys> {
        self.opener.as_ref().map(Opener::keys)
    }

    /// Returns the keys for sending; none if the kernel has them.
    #[must_use]
    pub fn sending_keys(&self) -> Option<&Keys> {
        self.sealer.as_ref().map(Sealer::keys)
    }

    /// Leaves receiving to the kernel, which has the keys.
    pub fn leave_receiving(&mut self) {
        self.opener = None;
    }

    /// Leaves sending to the kernel, which has the keys.
    pub fn leave_sending(&mut self) {
        self.sealer = None;
    }

    /// Opens one whole record in place.
    ///
    /// # Errors
    /// A [`Fault`]; the connection is over then.
    pub fn open(&mut self, record: &mut [u8]) -> Result<Content, Fault> {
        let opener = self.opener.as_mut();
        let opener = opener.ok_or(Fault::Internal("the kernel opens these records"))?;
        let (kind, place) = opener.open(record)?;
        // The opener found this place in the record.
        let payload = &record[place.clone()];
        match kind {
            ContentType::Data if payload.is_empty() => {
                self.note_empty(1)?;
                Ok(Content::Nothing)
            }
            ContentType::Data => {
                self.note_data(1);
                Ok(Content::Data(place))
            }
            ContentType::Alert | ContentType::Handshake | ContentType::ChangeCipherSpec => {
                Ok(match self.take_in(kind as u8, payload)? {
                    Control::Nothing => Content::Nothing,
                    Control::CloseNotify => Content::CloseNotify,
                    Control::KeyUpdate(keys) => {
                        self.opener = Some(Opener::new(keys));
                        Content::Nothing
                    }
                })
            }
        }
    }

    /// Counts records of data, whether we or the kernel opened them.
    pub fn note_data(&mut self, records: u64) {
        self.set(HEARD, self.has(HEARD) || records > 0);
        self.empty_records = 0;
        let records = u8::try_from(records).unwrap_or(u8::MAX);
        self.control_records = self.control_records.saturating_sub(records);
    }

    /// Counts records without data, whether we or the kernel opened them.
    ///
    /// # Errors
    /// [`Fault::Flood`].
    pub fn note_empty(&mut self, records: u64) -> Result<(), Fault> {
        let records = u8::try_from(records).unwrap_or(u8::MAX);
        self.empty_records = counted(self.empty_records, records, EMPTY_RECORDS_MAX)?;
        Ok(())
    }

    /// Handles a record that is not data; if it brings new keys, they open the next record.
    ///
    /// # Errors
    /// A [`Fault`]; the connection is over then.
    pub fn take_in(&mut self, kind: u8, payload: &[u8]) -> Result<Control, Fault> {
        match ContentType::of(kind) {
            Some(ContentType::Alert) => self.on_alert(payload),
            Some(ContentType::Handshake) => self.on_handshake(payload),
            Some(ContentType::Data | ContentType::ChangeCipherSpec) | None => {
                Err(RecordError::UnexpectedType.into())
            }
        }
    }

    fn on_alert(&mut self, payload: &[u8]) -> Result<Control, Fault> {
        let [level, alert] = payload else {
            // RFC 8446 section 5.4 gives an empty one another alert.
            return Err(match payload {
                [] => RecordError::UnexpectedType.into(),
                [..] => Fault::Message("an alert of a wrong length"),
            });
        };
        if *alert == Alert::CloseNotify as u8 {
            return Ok(Control::CloseNotify);
        }
        // TLS 1.3 has no warnings other than these two, whatever their level.
        let warns =
            *alert == Alert::UserCanceled as u8 || (*level == WARNING && self.schedule.is_none());
        if !warns {
            self.set(ENDED, true);
            // With TLS 1.3 a server verifies our certificate after our handshake is done.
            let refused = self.is_client && !self.has(HEARD);
            return Err(if refused {
                Fault::ServerRefused(*alert)
            } else {
                Fault::PeerAlert(*alert)
            });
        }
        self.note_control()?;
        Ok(Control::Nothing)
    }

    fn on_handshake(&mut self, payload: &[u8]) -> Result<Control, Fault> {
        let Some(schedule) = &mut self.schedule else {
            return self.on_renegotiation(payload);
        };
        let behind_tickets;
        let update = match &mut **schedule {
            Schedule::Server(_) => payload,
            Schedule::Client(client) => {
                behind_tickets = client.take_tickets(payload)?;
                if behind_tickets.is_empty() {
                    self.note_control()?;
                    return Ok(Control::Nothing);
                }
                &behind_tickets
            }
        };
        let owes = wants_one_back(update)?;
        let keys = schedule.next_receiving_keys()?;
        self.set(OWES_KEY_UPDATE, self.has(OWES_KEY_UPDATE) || owes);
        self.note_control()?;
        Ok(Control::KeyUpdate(keys))
    }

    /// Handles a handshake message of TLS 1.2: the wish for another handshake is refused with a warning, and
    /// the connection goes on (RFC 5246 section 7.2.2).
    fn on_renegotiation(&mut self, payload: &[u8]) -> Result<Control, Fault> {
        let wish = if self.is_client {
            HELLO_REQUEST
        } else {
            CLIENT_HELLO
        };
        let (len, here) = match payload {
            [] => return Err(RecordError::UnexpectedType.into()),
            _ if self.refused_rest > 0 => {
                // Pieces of the message are bounded like other records without data.
                self.note_empty(1)?;
                (usize::from(self.refused_rest), payload.len())
            }
            [kind, a, b, c, body @ ..] if *kind == wish => {
                self.note_control()?;
                self.set(OWES_REFUSAL, true);
                let len = u32::from_be_bytes([0, *a, *b, *c]);
                (usize::try_from(len).unwrap_or(usize::MAX), body.len())
            }
            [kind, ..] if *kind == wish => {
                return Err(Fault::Message("a message without its length"));
            }
            [..] => return Err(RecordError::UnexpectedType.into()),
        };
        let rest = (len.checked_sub(here)).ok_or(RecordError::UnexpectedType)?;
        let rest = u16::try_from(rest).map_err(|_| Fault::Message("a hello that is too long"))?;
        if self.is_client && len > 0 {
            return Err(Fault::Message("a HelloRequest that is not empty"));
        }
        self.refused_rest = rest;
        Ok(Control::Nothing)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn set(&mut self, flag: u8, on: bool) {
        self.flags = if on {
            self.flags | flag
        } else {
            self.flags & !flag
        };
    }

    fn note_control(&mut self) -> Result<(), Fault> {
        let max = CONTROL_RECORDS_MAX * CONTROL_COST;
        self.control_records = counted(self.control_records, CONTROL_COST, max)?;
        Ok(())
    }

    /// Returns whether the peer waits for the answer that there is no other handshake;
    /// [`Session::seal_refusal`] makes it.
    #[must_use]
    pub fn owes_refusal(&self) -> bool {
        self.has(OWES_REFUSAL)
    }

    /// Notes that the kernel sends [`Alert::NoRenegotiation`].
    pub fn note_refusal(&mut self) {
        self.set(OWES_REFUSAL, false);
    }

    /// Seals the answer that there is no other handshake.
    ///
    /// # Errors
    /// As [`Session::seal_alert`].
    pub fn seal_refusal(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let len = self.seal_alert(Alert::NoRenegotiation, out)?;
        self.note_refusal();
        Ok(len)
    }

    /// Returns whether the peer waits for a KeyUpdate; [`Session::seal_key_update`] sends it.
    #[must_use]
    pub fn owes_key_update(&self) -> bool {
        self.has(OWES_KEY_UPDATE)
    }

    /// Seals `data` into as many records as needed, with what the peer waits for first: a KeyUpdate, also if
    /// the keys are nearly used up, or the refusal of another handshake. Returns the length of the records
    /// in `out`.
    ///
    /// # Errors
    /// [`Fault::KeysUsedUp`] in TLS 1.2, whose keys cannot be changed; [`Fault::Ended`], [`Fault::Internal`].
    ///
    /// # Panics
    /// When `out` has no room for [`sealed_len_max`] of the data's length.
    pub fn seal(&mut self, data: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let mut len = 0;
        if self.owes_key_update() || self.should_update() {
            len += self.seal_key_update(out)?;
        } else if self.owes_refusal() {
            len += self.seal_refusal(out)?;
        }
        for payload in data.chunks(PAYLOAD_LEN_MAX) {
            len += self.seal_one(ContentType::Data, payload, &mut out[len..])?;
        }
        Ok(len)
    }

    fn should_update(&self) -> bool {
        let left = self.sealer.as_ref().map(Sealer::records_left);
        self.schedule.is_some() && left.is_some_and(|left| left <= RECORDS_LEFT_TO_UPDATE)
    }

    /// Returns whether the kernel's sealing keys have to change soon; `next_record` is the number of the next
    /// record the kernel seals.
    #[must_use]
    pub fn are_nearly_used_up(&self, next_record: u64) -> bool {
        self.suite_code().records_max().saturating_sub(next_record) <= RECORDS_LEFT_TO_UPDATE
    }

    /// Seals a KeyUpdate under the old keys and changes to the new ones; TLS 1.3 only.
    ///
    /// # Errors
    /// [`Fault::KeysUsedUp`] when the old keys cannot seal it, [`Fault::Internal`] for TLS 1.2.
    pub fn seal_key_update(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let len = self.seal_one(ContentType::Handshake, &OUR_KEY_UPDATE, out)?;
        let keys = self.next_sending_keys()?;
        self.sealer = Some(Sealer::new(keys));
        Ok(len)
    }

    /// Returns the keys for sending after [`OUR_KEY_UPDATE`], which has been sent.
    ///
    /// # Errors
    /// [`Fault::Internal`], for TLS 1.2.
    pub fn next_sending_keys(&mut self) -> Result<Keys, Fault> {
        let schedule = self.schedule.as_mut();
        let schedule = schedule.ok_or(Fault::Internal("TLS 1.2 has no other keys"))?;
        let keys = schedule.next_sending_keys()?;
        self.set(OWES_KEY_UPDATE, false);
        Ok(keys)
    }

    /// Seals an alert; returns its length in `out`. Nothing is sealed behind one that is fatal.
    ///
    /// # Errors
    /// [`Fault::Ended`], [`Fault::KeysUsedUp`], [`Fault::Internal`] where the kernel seals.
    pub fn seal_alert(&mut self, alert: Alert, out: &mut [u8]) -> Result<usize, Fault> {
        let sealed = self.seal_one(ContentType::Alert, &alert.payload(), out);
        self.set(ENDED, self.has(ENDED) || alert.is_fatal());
        sealed
    }

    fn seal_one(
        &mut self,
        kind: ContentType,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        if self.has(ENDED) {
            return Err(Fault::Ended);
        }
        let sealer = self.sealer.as_mut();
        let sealer = sealer.ok_or(Fault::Internal("the kernel seals what is sent"))?;
        Ok(sealer.seal(kind, payload, out)?)
    }
}

/// Reads a KeyUpdate, which is alone in its record; returns whether the peer wants one back.
///
/// # Errors
/// Another message, or one that breaks a rule (RFC 8446 sections 4.6.3 and 5.1).
fn wants_one_back(message: &[u8]) -> Result<bool, Fault> {
    match message.strip_prefix(&KEY_UPDATE) {
        Some([0]) => Ok(false),
        Some([1]) => Ok(true),
        Some([_]) => Err(Fault::Value("a KeyUpdate that asks for something unknown")),
        None if message.len() >= KEY_UPDATE.len() && message.first() == KEY_UPDATE.first() => {
            Err(Fault::Message("a KeyUpdate of a wrong length"))
        }
        // More messages would be under keys that have changed.
        Some(_) | None => Err(RecordError::UnexpectedType.into()),
    }
}

/// Returns the greatest length that [`Session::seal`] makes of `len` bytes of data.
#[must_use]
pub const fn sealed_len_max(len: usize) -> usize {
    let key_update = OUR_KEY_UPDATE.len() + OVERHEAD_LEN_MAX;
    len + len.div_ceil(PAYLOAD_LEN_MAX) * OVERHEAD_LEN_MAX + key_update
}

fn counted(count: u8, more: u8, max: u8) -> Result<u8, Fault> {
    let count = count.saturating_add(more);
    if count > max {
        return Err(Fault::Flood);
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
