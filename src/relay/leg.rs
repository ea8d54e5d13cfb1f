//! A TLS leg of a tunnel, the client's or the server's: opens the peer's records into the shared buffer,
//! seals bytes for the peer into it, or leaves one or both directions to the kernel. An idle leg holds raw
//! keys, numbers, and the part of a record that has been received so far.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::offload::{KernelTls, name_of};
use super::tunnel::{BUFFER_BYTES, End, Flow, OffloadPlan, Outcome, RecordKeeper, Tunnel};
use crate::journal::{Cause, Offloaded};
use crate::sys::ktls::{self, Direction};
use crate::sys::stream;
use crate::tls::control::{
    Alert, Content, Control, Fault, OUR_KEY_UPDATE, Session, sealed_len_max,
};
use crate::tls::offload::Offload;
use crate::tls::record::{ContentType, HEADER_LEN, PAYLOAD_LEN_MAX, RecordError, record_len};
use crate::tls::servers::told_of_fault;

/// Bytes sealed at once, so that their records fit into the shared buffer.
pub(super) const PLAIN_BYTES: usize = BUFFER_BYTES as usize - 512;

// Memory of an idle TLS tunnel; the allocator turns eight bytes more into sixteen.
const _: () = assert!(size_of::<Leg>() <= 216, "a leg grows");

const _: () = assert!(
    PLAIN_BYTES.div_ceil(1 << 14) * 29 + 34 <= 512,
    "records fit"
);

/// Most bytes of a sealed alert.
const ALERT_LEN_MAX: usize = sealed_len_max(2);
/// Number of attempts to send our last record.
const FAREWELL_TRIES: usize = 3;

/// How the peer's stream of records ended.
#[derive(Debug, Clone, Copy)]
enum Over {
    Closed,
    Wrong(Fault),
}

/// A TLS session in an established tunnel.
#[derive(Debug)]
pub struct Leg {
    session: Session,
    /// Bytes received and not opened: part of a record, or bytes that reception did not need to open.
    received: Box<[u8]>,
    over: Option<Over>,
    wish: Offload,
    /// When each direction goes to the kernel: from the peer, to the peer.
    plan: [OffloadPlan; 2],
    /// Whether the kernel can change keys.
    rekeys: bool,
    /// Whether ciphers may exist.
    warm: bool,
    /// Bytes the tunnel had received when the kernel last met a record that is not data.
    bytes_seen: u64,
    /// Number of the record that the kernel opens next, as of the last query.
    next_to_open: u64,
    /// The peer waits for keys that the kernel did not accept: nothing can be sealed any more.
    mute: bool,
    /// The end of the tunnel that this leg belongs to.
    end: End,
    /// The leg of the other end if both ends speak TLS; kept here so that a tunnel with one leg pays nothing
    /// for a second.
    beside: Option<Box<Self>>,
}

impl Leg {
    /// Takes the session of `end` over, with the records received already; `ended` = close_notify was among
    /// the records opened.
    #[must_use]
    pub fn new(end: End, session: Session, received: Vec<u8>, ended: bool, wish: Offload) -> Self {
        Self {
            session,
            received: received.into_boxed_slice(),
            over: ended.then_some(Over::Closed),
            wish,
            plan: [OffloadPlan::Never; 2],
            rekeys: false,
            warm: false,
            bytes_seen: 0,
            next_to_open: 0,
            mute: false,
            end,
            beside: None,
        }
    }

    /// Puts the leg of the other end beside this one.
    pub(super) fn join(&mut self, other: Box<Self>) {
        self.beside = Some(other);
    }

    /// Returns the leg of `end`: this one, or the one beside it.
    pub(super) fn of(&mut self, end: End) -> Option<&mut Self> {
        if self.end == end {
            Some(self)
        } else {
            self.beside.as_deref_mut()
        }
    }

    /// Returns when each direction goes to the kernel: from the peer, to the peer.
    pub(super) fn plan(&mut self, kernel: &KernelTls) -> [OffloadPlan; 2] {
        self.rekeys = kernel.rekeys;
        let suite = self.session.suite_code();
        self.plan = [Direction::Rx, Direction::Tx]
            .map(|direction| kernel.plan(self.wish, suite, direction));
        self.plan
    }

    /// Returns, for the log, whether the kernel handles the records of a flow, or why it does not.
    pub(super) fn offloaded(&self, tunnel: &Tunnel, flow: Flow) -> Offloaded {
        let [receiving, sending] = self.plan;
        let plan = if flow.source() == self.end {
            receiving
        } else {
            sending
        };
        match (tunnel.guard(flow, self.end), plan) {
            (RecordKeeper::Kernel | RecordKeeper::Rekeying, _) => Offloaded::Kernel,
            (RecordKeeper::Leaving, _) => Offloaded::NotYet,
            (RecordKeeper::Nobody | RecordKeeper::Records, OffloadPlan::Never) => match self.wish {
                Offload::Never => Offloaded::Never,
                Offload::Adaptive | Offload::Always => Offloaded::NotOffered,
            },
            (RecordKeeper::Nobody | RecordKeeper::Records, OffloadPlan::WhenBulky)
                if tunnel.may_offload(flow, self.end) =>
            {
                Offloaded::NotBulky
            }
            (
                RecordKeeper::Nobody | RecordKeeper::Records,
                OffloadPlan::WhenBulky | OffloadPlan::AtOnce,
            ) => Offloaded::Refused,
        }
    }

    /// Returns the name of version and cipher, such as `tls13-aes128gcm`.
    pub(super) fn suite_name(&self) -> &'static str {
        name_of(self.session.suite_code())
    }

    /// Drops everything that can be made again, at both ends.
    pub(super) fn rest(&mut self) {
        self.warm = false;
        self.session.rest();
        if let Some(beside) = &mut self.beside {
            beside.rest();
        }
    }

    /// Notes that this leg, or the one beside it, holds state that can be made again; true = neither did
    /// before.
    pub(super) fn becomes_warm(&mut self) -> bool {
        !self.warm && {
            let beside = self.beside.as_ref();
            self.warm = self.session.has_ciphers()
                || beside.is_some_and(|beside| beside.session.has_ciphers());
            self.warm
        }
    }

    /// Returns whether the peer waits for a KeyUpdate that only the kernel can seal.
    pub(super) fn owes_kernel_update(&self) -> bool {
        self.session.owes_key_update() && self.session.sending_keys().is_none()
    }

    /// Returns whether the peer waits for the answer that there is no other handshake.
    pub(super) fn owes_refusal(&self) -> bool {
        self.session.owes_refusal() && self.over.is_none()
    }

    /// Sends the peer the answer that there is no other handshake, if there is room for it; otherwise it comes
    /// before the next bytes that we seal. Must not be called while part of a record is still to be sent.
    pub(super) fn refuse_handshake(&mut self, peer: BorrowedFd<'_>) {
        if !ktls::has_room(peer) {
            return;
        }
        if self.session.sending_keys().is_none() {
            if send_alert(peer, Alert::NoRenegotiation).is_ok() {
                self.session.note_refusal();
            }
            return;
        }
        let mut alert = [0; ALERT_LEN_MAX];
        let sealed = self.session.seal_refusal(&mut alert).unwrap_or(0);
        // The session writes no more than `alert` has.
        let alert = &alert[..sealed];
        if stream::transmit(peer, alert) != Ok(sealed) {
            // The next record would be invalid: the peer lacks this one.
            self.mute = true;
            self.over = Some(Over::Wrong(Fault::Internal("half an alert was sent")));
        }
    }

    /// Returns what the log says of the end of the peer's records, at both ends; nothing if they broke no
    /// rule.
    pub(super) fn told(&self) -> String {
        let beside = self.beside.iter().map(|beside| beside.told());
        let own = match self.over {
            Some(Over::Wrong(fault)) => match self.end {
                End::Client => fault.to_string(),
                End::Server => told_of_fault(fault),
            },
            Some(Over::Closed) | None => String::new(),
        };
        let mut told = [own].into_iter().chain(beside);
        told.find(|told| !told.is_empty()).unwrap_or_default()
    }

    /// Receives records from the peer and opens whole ones into the front of `buffer`. A flow that is leaving
    /// for the kernel ([`RecordKeeper::Leaving`]) leaves at the end of a record: nothing beyond the record
    /// that has begun is received.
    pub(super) fn receive(
        &mut self,
        peer: BorrowedFd<'_>,
        keeper: RecordKeeper,
        buffer: &mut [u8],
    ) -> Outcome {
        if let Some(over) = self.over {
            return self.outcome_of(over);
        }
        let before = self.received.len();
        let Some((old, room)) = buffer.split_at_mut_checked(before) else {
            return Outcome::Failed;
        };
        old.copy_from_slice(&self.received);
        let missing = missing_of(old);
        let leaving = keeper == RecordKeeper::Leaving;
        let room_len = if leaving {
            missing.min(room.len())
        } else {
            room.len()
        };
        // `room_len` is no more than `room` has: the line above.
        let room = &mut room[..room_len];
        let (more, full) = match receive_into(peer, room) {
            Ok(0) if missing > 0 && room_len > 0 => return Outcome::Truncated,
            // The end is seen again once the data before it has been read.
            Ok(0) => (0, true),
            Ok(more) => (more, more == room_len || leaving),
            Err(Errno::EAGAIN) if missing == 0 => (0, false),
            Err(Errno::EAGAIN) => return Outcome::WouldBlock,
            Err(_) => return Outcome::Failed,
        };
        // The new bytes lie behind the `before` bytes that were there already.
        let bytes = &mut buffer[..before + more];
        let (opened, used) = self.open(bytes);
        // Whole records were used, and all of them lie within `bytes`.
        self.received = bytes[used..].into();
        match (u32::try_from(opened), self.over) {
            (Ok(0), Some(over)) => self.outcome_of(over),
            (Ok(len), over) => Outcome::Records {
                payload: len,
                len,
                full: full || over.is_some(),
            },
            (Err(_), _) => Outcome::Failed,
        }
    }

    /// Opens whole records and moves their data to the front; returns the length of the data and the number
    /// of bytes used.
    fn open(&mut self, bytes: &mut [u8]) -> (usize, usize) {
        let (mut opened, mut used) = (0, 0);
        while self.over.is_none() {
            // Only whole records were used so far.
            let rest = &mut bytes[used..];
            let len = match record_len(rest) {
                Ok(Some(len)) if len <= rest.len() => len,
                Ok(_) => break,
                Err(error) => {
                    self.over = Some(Over::Wrong(error.into()));
                    break;
                }
            };
            match self.session.open(&mut rest[..len]) {
                Ok(Content::Data(place)) => {
                    let len = place.len();
                    bytes.copy_within(used + place.start..used + place.end, opened);
                    opened += len;
                }
                Ok(Content::Nothing) => {}
                Ok(Content::CloseNotify) => self.over = Some(Over::Closed),
                Err(fault) => self.over = Some(Over::Wrong(fault)),
            }
            used += len;
        }
        (opened, used)
    }

    /// Seals `data` into the front of `buffer`; `full` = the source may have more.
    pub(super) fn seal(&mut self, data: &[u8], full: bool, buffer: &mut [u8]) -> Outcome {
        match self.session.seal(data, buffer) {
            Ok(sealed) => match (u32::try_from(data.len()), u32::try_from(sealed)) {
                (Ok(payload), Ok(len)) => Outcome::Records { payload, len, full },
                _ => Outcome::Failed,
            },
            Err(fault) => self.fail(fault),
        }
    }

    /// Leaves a flow to the kernel; [`Outcome::WouldBlock`] = not yet, [`Outcome::Unsupported`] = the flow
    /// stays in user space.
    pub(super) fn offload(&mut self, flow: Flow, peer: BorrowedFd<'_>) -> Outcome {
        let given = if flow.source() == self.end {
            self.give_receiving(peer)
        } else {
            self.give_sending(peer)
        };
        given.unwrap_or(Outcome::Unsupported)
    }

    fn give_receiving(&mut self, peer: BorrowedFd<'_>) -> Result<Outcome, Errno> {
        if self.over.is_some() {
            return Ok(Outcome::Unsupported);
        }
        // The kernel has to start at the beginning of a record.
        if !self.received.is_empty() {
            return Ok(Outcome::WouldBlock);
        }
        let keys = self.session.receiving_keys().ok_or(Errno::EALREADY)?;
        self.next_to_open = keys.next_record();
        // If one side has ended, this gives ENOTCONN and the flow stays in user space.
        ktls::attach(peer)?;
        ktls::set_keys(peer, Direction::Rx, keys.for_receiving().as_ref())?;
        self.session.leave_receiving();
        Ok(Outcome::Done)
    }

    fn give_sending(&mut self, peer: BorrowedFd<'_>) -> Result<Outcome, Errno> {
        if self.session.owes_key_update() {
            return Ok(Outcome::WouldBlock);
        }
        let keys = self.session.sending_keys().ok_or(Errno::EALREADY)?;
        if self.session.are_nearly_used_up(keys.next_record()) {
            return Ok(Outcome::Unsupported);
        }
        ktls::attach(peer)?;
        ktls::set_keys(peer, Direction::Tx, keys.for_sending().as_ref())?;
        self.session.leave_sending();
        Ok(Outcome::Done)
    }

    /// Classifies the result of a receive or a splice through the kernel's TLS: data, an end, a record that
    /// is not data, or an error. `bytes_received` is what the tunnel has received so far.
    pub(super) fn judge(
        &mut self,
        peer: BorrowedFd<'_>,
        received: Result<usize, Errno>,
        bytes_received: u64,
    ) -> Outcome {
        if let Some(over) = self.over {
            return self.outcome_of(over);
        }
        match received {
            Ok(0) => self.on_zero(peer, bytes_received),
            Ok(len) => u32::try_from(len).map_or(Outcome::Failed, Outcome::Moved),
            Err(Errno::EAGAIN) => Outcome::WouldBlock,
            Err(Errno::EIO | Errno::EINVAL) => Outcome::Control,
            Err(errno) => self.fail_by(errno),
        }
    }

    /// Zero means the end, or records without data; the kernel's record number tells them apart. (A look with
    /// MSG_PEEK would make the kernel open all waiting records and keep them.)
    fn on_zero(&mut self, peer: BorrowedFd<'_>, bytes_received: u64) -> Outcome {
        let Ok(next) = ktls::next_record(peer, Direction::Rx) else {
            return Outcome::Failed;
        };
        let data_came = self.note_data_until(bytes_received);
        let opened = next.wrapping_sub(self.next_to_open);
        self.next_to_open = next;
        if opened == 0 {
            return Outcome::Truncated;
        }
        // If data came, the number of empty records is unknown: count this one.
        let empty = if data_came { 1 } else { opened };
        match self.session.note_empty(empty) {
            Ok(()) => Outcome::Empty,
            Err(fault) => self.fail(fault),
        }
    }

    /// Notes an error that the kernel met while receiving, before the data was read; true = the error
    /// concerns records and is handled once the data before it has been read.
    pub(super) fn note_error(&mut self, error: Option<Errno>) -> bool {
        let fault = match error {
            Some(Errno::EBADMSG) => RecordError::BadMac,
            Some(Errno::EMSGSIZE) => RecordError::TooLong,
            Some(Errno::EINVAL) => RecordError::NotTls,
            Some(_) | None => return false,
        };
        self.over.get_or_insert(Over::Wrong(fault.into()));
        true
    }

    /// Reads the record that is not data; `bytes_received` as for [`Leg::judge`].
    pub(super) fn take_control(
        &mut self,
        peer: BorrowedFd<'_>,
        buffer: &mut [u8],
        bytes_received: u64,
    ) -> Outcome {
        let record = match ktls::receive_control(peer, buffer) {
            Ok(record) => record,
            // The kernel stopped at a record, and now there is none: it was not a record.
            Err(Errno::EAGAIN | Errno::EINVAL) => {
                return self.fail(RecordError::NotTls.into());
            }
            Err(errno) => return self.fail_by(errno),
        };
        self.note_data_until(bytes_received);
        // The kernel writes no more than `buffer` has room for.
        let payload = &buffer[..record.len];
        match self.session.take_in(record.kind, payload) {
            Ok(Control::Nothing) => {
                // All records opened up to here have been counted.
                if let Ok(next) = ktls::next_record(peer, Direction::Rx) {
                    self.next_to_open = next;
                }
                Outcome::Done
            }
            Ok(Control::CloseNotify) => {
                self.over = Some(Over::Closed);
                Outcome::Ended
            }
            Ok(Control::KeyUpdate(keys)) => {
                let keys = keys.for_receiving();
                match ktls::set_keys(peer, Direction::Rx, keys.as_ref()) {
                    Ok(()) => {
                        self.next_to_open = 0;
                        Outcome::Done
                    }
                    Err(_) => self.fail(Fault::NoKeyUpdate),
                }
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// Notes the data that came since the last call; returns whether there was any.
    fn note_data_until(&mut self, bytes_received: u64) -> bool {
        let since = bytes_received.saturating_sub(self.bytes_seen);
        self.bytes_seen = bytes_received;
        if since > 0 {
            let record = u64::try_from(PAYLOAD_LEN_MAX).unwrap_or(u64::MAX);
            self.session.note_data(since.div_ceil(record));
        }
        since > 0
    }

    /// Changes the keys with which the kernel seals, if the peer asked for it or they are nearly used up.
    pub(super) fn rekey(&mut self, peer: BorrowedFd<'_>) -> Outcome {
        let asked = self.session.owes_key_update();
        if !asked {
            match ktls::next_record(peer, Direction::Tx) {
                Ok(next) if !self.session.are_nearly_used_up(next) => return Outcome::Done,
                Ok(_) => {}
                Err(_) => return self.fail(Fault::Internal("the kernel counts no records")),
            }
        }
        if !self.rekeys || !self.session.knows_key_update() {
            let fault = if asked {
                Fault::NoKeyUpdate
            } else {
                Fault::KeysUsedUp
            };
            return self.fail(fault);
        }
        match ktls::send_control(peer, ContentType::Handshake as u8, &OUR_KEY_UPDATE) {
            Ok(()) => {}
            Err(Errno::EAGAIN) => return Outcome::WouldBlock,
            Err(_) => return Outcome::Failed,
        }
        let keys = match self.session.next_sending_keys() {
            Ok(keys) => keys.for_sending(),
            Err(fault) => return self.fail(fault),
        };
        match ktls::set_keys(peer, Direction::Tx, keys.as_ref()) {
            Ok(()) => Outcome::Done,
            Err(_) => {
                self.mute = true;
                self.fail(Fault::NoKeyUpdate)
            }
        }
    }

    fn fail_by(&mut self, errno: Errno) -> Outcome {
        let error = if errno == Errno::EBADMSG {
            RecordError::BadMac
        } else if errno == Errno::EMSGSIZE {
            RecordError::TooLong
        } else if errno == Errno::EPROTO {
            RecordError::UnexpectedType
        } else {
            return Outcome::Failed;
        };
        self.fail(error.into())
    }

    fn fail(&mut self, fault: Fault) -> Outcome {
        let over = Over::Wrong(fault);
        self.over = Some(over);
        self.outcome_of(over)
    }

    fn outcome_of(&self, over: Over) -> Outcome {
        match over {
            Over::Closed => Outcome::Ended,
            Over::Wrong(Fault::PeerAlert(_) | Fault::Ended) => Outcome::Failed,
            Over::Wrong(fault) => Outcome::Refused(cause_of(fault, self.end)),
        }
    }

    /// Seals what came before the tunnel opened; where that fails, returns the cause that ends the
    /// tunnel.
    pub(super) fn seal_early(&mut self, data: &[u8]) -> Result<Vec<u8>, Cause> {
        let mut sealed = vec![0; sealed_len_max(data.len())];
        match self.session.seal(data, &mut sealed) {
            Ok(len) => {
                sealed.truncate(len);
                Ok(sealed)
            }
            Err(fault) => {
                self.over = Some(Over::Wrong(fault));
                Err(cause_of(fault, self.end))
            }
        }
    }

    /// Seals close_notify into the front of `buffer`, or has the kernel send it.
    pub(super) fn notify(&mut self, peer: BorrowedFd<'_>, buffer: &mut [u8]) -> Outcome {
        if let Some(Over::Wrong(_)) = self.over {
            return Outcome::Failed;
        }
        if self.session.sending_keys().is_some() {
            let sealed = self.session.seal_alert(Alert::CloseNotify, buffer);
            let len = sealed.ok().and_then(|len| u32::try_from(len).ok());
            return len.map_or(Outcome::Failed, Outcome::Moved);
        }
        // Bytes that the kernel has sealed and could not queue would be lost behind the FIN that comes next.
        // With room for a whole record and more, none are left once the alert has gone.
        if !ktls::has_room(peer) {
            return Outcome::WouldBlock;
        }
        match send_alert(peer, Alert::CloseNotify) {
            Ok(()) => Outcome::Done,
            Err(Errno::EAGAIN) => Outcome::WouldBlock,
            Err(_) => Outcome::Failed,
        }
    }

    /// Sends our last records: `data` if it fits, then an alert or close_notify; true = they are on their
    /// way. `cut` = part of an earlier record is still to be sent, so that no other may follow.
    pub(super) fn say_farewell(
        &mut self,
        peer: BorrowedFd<'_>,
        we_close: bool,
        cut: bool,
        data: &[u8],
        buffer: &mut [u8],
    ) -> bool {
        let alert = match self.over {
            Some(Over::Wrong(fault)) => fault.alert(),
            Some(Over::Closed) | None => we_close.then_some(Alert::CloseNotify),
        };
        let Some(alert) = alert.filter(|_| !self.mute) else {
            return false;
        };
        let data = if alert == Alert::CloseNotify {
            data
        } else {
            b""
        };
        if self.session.sending_keys().is_none() {
            // Without room, data that the kernel accepts would be lost behind the FIN.
            if !data.is_empty() && ktls::has_room(peer) {
                self.send_past_errors(peer, || stream::transmit(peer, data).map(drop));
            }
            return self.send_past_errors(peer, || send_alert(peer, alert));
        }
        // All in one send, because after a record that was not sent the next one is invalid.
        let mut sealed = 0;
        if !data.is_empty() {
            sealed = self.session.seal(data, buffer).unwrap_or(0);
        }
        // The session writes no more than `room` has.
        sealed += (self.session)
            .seal_alert(alert, &mut buffer[sealed..])
            .unwrap_or(0);
        let farewell = &buffer[..sealed];
        !cut && sealed > 0
            && self.send_past_errors(peer, || stream::transmit(peer, farewell).map(drop))
    }

    /// Sends despite a pending receive error: the kernel reports it to the next caller, and meets it again
    /// when more data comes.
    fn send_past_errors(&self, peer: BorrowedFd<'_>, send: impl Fn() -> Result<(), Errno>) -> bool {
        let opened_by_kernel = self.session.receiving_keys().is_none();
        (0..FAREWELL_TRIES).any(|_| {
            if opened_by_kernel {
                ktls::take_error(peer);
            }
            send().is_ok()
        })
    }
}

fn send_alert(peer: BorrowedFd<'_>, alert: Alert) -> Result<(), Errno> {
    ktls::send_control(peer, ContentType::Alert as u8, &alert.payload())
}

/// Receives unless `room` is empty, which would look like an end.
fn receive_into(peer: BorrowedFd<'_>, room: &mut [u8]) -> Result<usize, Errno> {
    if room.is_empty() {
        return Ok(0);
    }
    stream::receive(peer, room)
}

/// Returns how many bytes are missing from the record at the start of `bytes`, or from its header; zero if
/// the record is whole, or is not a record.
fn missing_of(bytes: &[u8]) -> usize {
    match record_len(bytes) {
        Ok(Some(len)) => len.saturating_sub(bytes.len()),
        Ok(None) => HEADER_LEN.saturating_sub(bytes.len()),
        Err(_) => 0,
    }
}

/// Returns the cause of close for a TLS fault at `end`.
#[must_use]
pub fn cause_of(fault: Fault, end: End) -> Cause {
    match (fault, end) {
        // The peer has given up on the connection, as with a reset.
        (Fault::PeerAlert(_) | Fault::Ended, End::Client) => Cause::ClientReset,
        (Fault::PeerAlert(_) | Fault::Ended, End::Server) => Cause::ServerReset,
        (Fault::ServerRefused(_), _) => Cause::ServerTlsFailed,
        (Fault::KeysUsedUp, _) => Cause::TlsRecordLimit,
        (Fault::NoKeyUpdate, _) => Cause::TlsKeyUpdateUnsupported,
        (Fault::Internal(_), _) => Cause::InternalError,
        (Fault::Record(_) | Fault::Message(_) | Fault::Value(_) | Fault::Flood, End::Client) => {
            Cause::TlsBadRecord
        }
        (Fault::Record(_) | Fault::Message(_) | Fault::Value(_) | Fault::Flood, End::Server) => {
            Cause::ServerTlsBadRecord
        }
    }
}
