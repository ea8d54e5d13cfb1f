//! A TLS session between a socket of reception and what it carries: records in, data out, and back.

use std::io;

use crate::journal::Cause;
use crate::relay::tunnel::End;
use crate::relay::{self, Leg};
use crate::tls::control::{Alert, Content, Fault, Session, sealed_len_max};
use crate::tls::offload::Offload;
use crate::tls::record::whole_record;

/// Returns the cause that an error of the socket at `end` stands for.
pub(in crate::reception) fn cause_of(error: &io::Error, end: End) -> Cause {
    let fault: Option<&Fault> = error.get_ref().and_then(|inner| inner.downcast_ref());
    match (fault, end) {
        (Some(fault), _) => relay::cause_of(*fault, end),
        (None, End::Client) => Cause::ClientReset,
        (None, End::Server) => Cause::ServerReset,
    }
}

/// What a socket that speaks TLS holds.
pub(in crate::reception) struct TlsStream {
    session: Session,
    /// Received: records, the last one perhaps in part.
    received: Vec<u8>,
    /// Opened and not yet taken.
    opened: Vec<u8>,
    /// Sealed and not yet sent.
    pub(in crate::reception) outbox: Vec<u8>,
    ended: bool,
}

impl TlsStream {
    /// Begins with a session and what came behind its handshake.
    pub(in crate::reception) fn new(session: Session, received: Vec<u8>) -> Self {
        Self {
            session,
            received,
            opened: Vec::new(),
            outbox: Vec::new(),
            ended: false,
        }
    }

    /// Where received bytes go, at the end.
    pub(in crate::reception) fn received(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Moves data into `buf`; none = more must be received first, 0 = the peer has ended.
    ///
    /// # Errors
    /// A record is wrong; the alert is in the outbox.
    pub(in crate::reception) fn take(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        while self.opened.is_empty() && !self.ended {
            match self.open_one() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(fault) => {
                    self.ended = true;
                    if let Some(alert) = fault.alert() {
                        self.seal_alert(alert);
                    }
                    return Err(io::Error::other(fault));
                }
            }
        }
        let len = self.opened.len().min(buf.len());
        let (to, from) = (buf.get_mut(..len), self.opened.get(..len));
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
        }
        self.opened.drain(..len);
        Ok(Some(len))
    }

    /// Opens what is whole; tells whether it brought nothing: no data, no end, nothing wrong.
    pub(in crate::reception) fn is_quiet(&mut self) -> bool {
        while self.opened.is_empty() && !self.ended {
            match self.open_one() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => self.ended = true,
            }
        }
        false
    }

    /// Tells whether part of a record has come.
    pub(in crate::reception) fn holds_part(&self) -> bool {
        !self.received.is_empty()
    }

    /// Tells whether the peer said close_notify.
    pub(in crate::reception) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Opens the next record; false = it is not whole.
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
    /// The keys are used up.
    pub(in crate::reception) fn seal(&mut self, data: &[u8]) -> io::Result<()> {
        let from = self.outbox.len();
        self.outbox.resize(from + sealed_len_max(data.len()), 0);
        let room = self.outbox.get_mut(from..).unwrap_or_default();
        let sealed = self.session.seal(data, room);
        self.outbox.truncate(from + sealed.unwrap_or(0));
        sealed.map(drop).map_err(io::Error::other)
    }

    /// Puts an alert into the outbox.
    pub(in crate::reception) fn seal_alert(&mut self, alert: Alert) {
        let from = self.outbox.len();
        self.outbox.resize(from + sealed_len_max(2), 0);
        let room = self.outbox.get_mut(from..).unwrap_or_default();
        // Without keys there is nothing to say it with.
        let sealed = self.session.seal_alert(alert, room).unwrap_or(0);
        self.outbox.truncate(from + sealed);
    }

    /// Drops what can be made again while nothing comes.
    pub(in crate::reception) fn rest(&mut self) {
        self.session.rest();
        self.received.shrink_to_fit();
        self.opened.shrink_to_fit();
        self.outbox.shrink_to_fit();
    }

    /// Takes it apart for relay: the session, and data that was opened already.
    pub(in crate::reception) fn into_parts(mut self, end: End, wish: Offload) -> (Leg, Vec<u8>) {
        self.session.rest();
        let leg = Leg::new(end, self.session, self.received, self.ended, wish);
        (leg, self.opened)
    }
}
