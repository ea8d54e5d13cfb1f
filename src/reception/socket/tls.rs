//! A TLS session in front of a socket of reception: opens received records, seals data to be sent. It does no
//! input or output.

use std::io;

use crate::journal::Cause;
use crate::relay::tunnel::End;
use crate::relay::{self, Leg};
use crate::tls::control::{Alert, Content, Fault, Session, sealed_len_max};
use crate::tls::offload::Offload;
use crate::tls::record::whole_record;
use crate::tls::servers::told_of_fault;

/// Returns the fault that an error of a socket stands for; none = its connection broke.
pub(in crate::reception) fn fault_of(error: &io::Error) -> Option<Fault> {
    let fault: Option<&Fault> = error.get_ref().and_then(|inner| inner.downcast_ref());
    fault.copied()
}

/// Returns what the log says of an error of the socket at `end`.
pub(in crate::reception) fn detail_of(error: &io::Error, end: End) -> String {
    match (fault_of(error), end) {
        (Some(fault), End::Server) => told_of_fault(fault),
        (Some(_), End::Client) | (None, _) => error.to_string(),
    }
}

/// Returns the cause for an error of the socket at `end`.
pub(in crate::reception) fn cause_of(error: &io::Error, end: End) -> Cause {
    match (fault_of(error), end) {
        (Some(fault), _) => relay::cause_of(fault, end),
        (None, End::Client) => Cause::ClientReset,
        (None, End::Server) => Cause::ServerReset,
    }
}

/// What stands in the records that were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reception) enum Ahead {
    /// Nothing that concerns the application; more must be received first.
    Nothing,
    /// Data that no caller took.
    Data,
    /// The peer sends no more.
    End,
}

/// The TLS state of a socket.
pub(in crate::reception) struct TlsStream {
    session: Session,
    /// Received records; the last one may be incomplete.
    received: Vec<u8>,
    /// Opened data that no caller took.
    opened: Vec<u8>,
    /// Sealed records to be sent.
    pub(in crate::reception) outbox: Vec<u8>,
    ended: bool,
}

impl TlsStream {
    /// Begins with a session and the bytes that came behind its handshake.
    pub(in crate::reception) fn new(session: Session, received: Vec<u8>) -> Self {
        Self {
            session,
            received,
            opened: Vec::new(),
            outbox: Vec::new(),
            ended: false,
        }
    }

    /// Returns the buffer whose end takes received bytes.
    pub(in crate::reception) fn received(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Moves opened data into `buf`; none = more must be received first, 0 = the peer has ended.
    ///
    /// # Errors
    /// A record breaks a rule; the alert is in the outbox.
    pub(in crate::reception) fn take(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        if self.look_ahead()? == Ahead::Nothing {
            return Ok(None);
        }
        let len = self.opened.len().min(buf.len());
        let (to, from) = (buf.get_mut(..len), self.opened.get(..len));
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
        }
        self.opened.drain(..len);
        Ok(Some(len))
    }

    /// Opens complete records up to the first that holds data or the end, and takes no data.
    ///
    /// # Errors
    /// A record breaks a rule; the alert is in the outbox.
    pub(in crate::reception) fn look_ahead(&mut self) -> io::Result<Ahead> {
        while self.opened.is_empty() && !self.ended {
            match self.open_one() {
                Ok(true) => {}
                Ok(false) => return Ok(Ahead::Nothing),
                Err(fault) => {
                    self.ended = true;
                    if let Some(alert) = fault.alert() {
                        self.seal_alert(alert);
                    }
                    return Err(io::Error::other(fault));
                }
            }
        }
        let is_end = self.opened.is_empty();
        Ok(if is_end { Ahead::End } else { Ahead::Data })
    }

    /// Opens complete records; tells whether they held neither data nor an end and broke no rule. If one
    /// broke a rule, the alert is in the outbox.
    pub(in crate::reception) fn is_quiet(&mut self) -> bool {
        while self.opened.is_empty() && !self.ended {
            match self.open_one() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(fault) => {
                    self.ended = true;
                    if let Some(alert) = fault.alert() {
                        self.seal_alert(alert);
                    }
                }
            }
        }
        false
    }

    /// Puts the refusal of another handshake into the outbox, if the peer waits for one; tells whether it
    /// did.
    pub(in crate::reception) fn refuse_handshake(&mut self) -> bool {
        let owes = self.session.owes_refusal();
        if owes {
            self.seal_with(Session::seal_refusal);
        }
        owes
    }

    /// Tells whether part of a record was received.
    pub(in crate::reception) fn holds_part(&self) -> bool {
        !self.received.is_empty()
    }

    /// Tells whether the peer sent close_notify.
    pub(in crate::reception) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Opens the next record; false = it is incomplete.
    fn open_one(&mut self) -> Result<bool, Fault> {
        let Some(len) = whole_record(&self.received)? else {
            return Ok(false);
        };
        let record = self.received.get_mut(..len).unwrap_or_default();
        match self.session.open(record)? {
            Content::Data(place) => {
                let data = record.get(place).unwrap_or_default();
                self.opened.extend_from_slice(data);
            }
            Content::Nothing => {}
            Content::CloseNotify => self.ended = true,
        }
        self.received.drain(..len);
        Ok(true)
    }

    /// Seals `data` into the outbox.
    ///
    /// # Errors
    /// The session seals no more records.
    pub(in crate::reception) fn seal(&mut self, data: &[u8]) -> io::Result<()> {
        let from = self.outbox.len();
        self.outbox.resize(from + sealed_len_max(data.len()), 0);
        let room = self.outbox.get_mut(from..).unwrap_or_default();
        let sealed = self.session.seal(data, room);
        self.outbox.truncate(from + sealed.unwrap_or(0));
        sealed.map(drop).map_err(io::Error::other)
    }

    /// Puts an alert into the outbox; nothing behind a fatal one.
    pub(in crate::reception) fn seal_alert(&mut self, alert: Alert) {
        self.seal_with(|session, room| session.seal_alert(alert, room));
    }

    /// Puts an alert that `seal` makes into the outbox.
    fn seal_with(&mut self, seal: impl FnOnce(&mut Session, &mut [u8]) -> Result<usize, Fault>) {
        let from = self.outbox.len();
        self.outbox.resize(from + sealed_len_max(2), 0);
        let room = self.outbox.get_mut(from..).unwrap_or_default();
        // If the session seals no more, no alert is sent.
        let sealed = seal(&mut self.session, room).unwrap_or(0);
        self.outbox.truncate(from + sealed);
    }

    /// Frees memory that can be allocated again, for the time until more is received.
    pub(in crate::reception) fn rest(&mut self) {
        self.session.rest();
        self.received.shrink_to_fit();
        self.opened.shrink_to_fit();
        self.outbox.shrink_to_fit();
    }

    /// Takes it apart for relay: the session, and opened data that no caller took.
    pub(in crate::reception) fn into_parts(mut self, end: End, wish: Offload) -> (Leg, Vec<u8>) {
        self.session.rest();
        let leg = Leg::new(end, self.session, self.received, self.ended, wish);
        (leg, self.opened)
    }
}
