//! The TLS leg of a tunnel: records of the client opened into the shared buffer, the server's bytes
//! sealed into it. Idle, it is raw keys, numbers, and the part of a record that has come so far.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::tunnel::{BUFFER_BYTES, Outcome};
use crate::journal::Cause;
use crate::sys::stream;
use crate::tls::control::{Alert, Content, Fault, Session, sealed_len_max};
use crate::tls::record::whole_record;

/// Bytes of a server that are sealed at once, so that their records fit into the shared buffer.
const PLAIN_BYTES: usize = BUFFER_BYTES as usize - 512;

const _: () = assert!(
    PLAIN_BYTES.div_ceil(1 << 14) * 29 + 34 <= 512,
    "records fit"
);

/// How the client's records came to their end.
#[derive(Debug, Clone, Copy)]
enum Over {
    Closed,
    Wrong(Fault),
}

/// A session on its way through a tunnel.
#[derive(Debug)]
pub struct Protection {
    session: Session,
    /// Received and not opened: part of a record, or what reception had no need to open.
    received: Box<[u8]>,
    over: Option<Over>,
}

impl Protection {
    /// Takes a session over with the records that were received already; `ended` = close_notify was
    /// among those that were opened.
    #[must_use]
    pub fn new(session: Session, received: Vec<u8>, ended: bool) -> Self {
        Self {
            session,
            received: received.into_boxed_slice(),
            over: ended.then_some(Over::Closed),
        }
    }

    /// Drops whatever can be made again.
    pub(super) fn rest(&mut self) {
        self.session.rest();
    }

    /// Receives records from the client and opens the whole ones into the front of `buffer`.
    pub(super) fn receive(&mut self, client: BorrowedFd<'_>, buffer: &mut [u8]) -> Outcome {
        if let Some(over) = self.over {
            return outcome_of(over);
        }
        let before = self.received.len();
        let Some((old, room)) = buffer.split_at_mut_checked(before) else {
            return Outcome::Failed;
        };
        old.copy_from_slice(&self.received);
        let is_whole = !matches!(whole_record(old), Ok(None));
        let (more, full) = match stream::receive(client, room) {
            Ok(0) if !is_whole => return Outcome::Truncated,
            // The end is found again once what came before it has gone.
            Ok(0) => (0, true),
            Ok(more) => (more, more == room.len()),
            Err(Errno::EAGAIN) if is_whole => (0, false),
            Err(Errno::EAGAIN) => return Outcome::WouldBlock,
            Err(_) => return Outcome::Failed,
        };
        let bytes = buffer.get_mut(..before + more).unwrap_or_default();
        let (opened, used) = self.open(bytes);
        let rest = bytes.get(used..).unwrap_or_default();
        self.received = rest.into();
        match (u32::try_from(opened), self.over) {
            (Ok(0), Some(over)) => outcome_of(over),
            (Ok(len), over) => Outcome::Records {
                payload: len,
                len,
                full: full || over.is_some(),
            },
            (Err(_), _) => Outcome::Failed,
        }
    }

    /// Opens whole records and moves their data to the front; returns its length and how many bytes
    /// were used.
    fn open(&mut self, bytes: &mut [u8]) -> (usize, usize) {
        let (mut opened, mut used) = (0, 0);
        while self.over.is_none() {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let len = match whole_record(rest) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) => {
                    self.over = Some(Over::Wrong(error.into()));
                    break;
                }
            };
            match self.session.open(rest.get_mut(..len).unwrap_or_default()) {
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

    /// Receives from the server into `plain` and seals that into the front of `buffer`.
    pub(super) fn receive_to_seal(
        &mut self,
        server: BorrowedFd<'_>,
        plain: &mut Vec<u8>,
        buffer: &mut [u8],
    ) -> Outcome {
        plain.resize(PLAIN_BYTES, 0);
        let len = match stream::receive(server, plain) {
            Ok(0) => return Outcome::Ended,
            Ok(len) => len,
            Err(Errno::EAGAIN) => return Outcome::WouldBlock,
            Err(_) => return Outcome::Failed,
        };
        let data = plain.get(..len).unwrap_or_default();
        match self.session.seal(data, buffer) {
            Ok(sealed) => match (u32::try_from(len), u32::try_from(sealed)) {
                (Ok(payload), Ok(sealed)) => Outcome::Records {
                    payload,
                    len: sealed,
                    full: len == PLAIN_BYTES,
                },
                _ => Outcome::Failed,
            },
            Err(fault) => {
                self.over = Some(Over::Wrong(fault));
                outcome_of(Over::Wrong(fault))
            }
        }
    }

    /// Seals what came before the tunnel opened.
    pub(super) fn seal_early(&mut self, data: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut sealed = vec![0; sealed_len_max(data.len())];
        let len = self.session.seal(data, &mut sealed)?;
        sealed.truncate(len);
        Ok(sealed)
    }

    /// Seals close_notify into the front of `buffer`.
    pub(super) fn notify(&mut self, buffer: &mut [u8]) -> Outcome {
        self.seal_alert(Alert::CloseNotify, buffer)
    }

    /// Seals our last word into the front of `buffer`: what was wrong, or that we close; returns its
    /// length, 0 when there is nothing to say.
    pub(super) fn seal_farewell(&mut self, we_close: bool, buffer: &mut [u8]) -> usize {
        let alert = match self.over {
            Some(Over::Wrong(fault)) => fault.alert(),
            Some(Over::Closed) | None => we_close.then_some(Alert::CloseNotify),
        };
        let sealed = alert.map(|alert| self.session.seal_alert(alert, buffer));
        sealed.and_then(Result::ok).unwrap_or(0)
    }

    fn seal_alert(&mut self, alert: Alert, buffer: &mut [u8]) -> Outcome {
        let sealed = self.session.seal_alert(alert, buffer);
        let len = sealed.ok().and_then(|len| u32::try_from(len).ok());
        len.map_or(Outcome::Failed, Outcome::Moved)
    }
}

fn outcome_of(over: Over) -> Outcome {
    match over {
        Over::Closed => Outcome::Ended,
        // The client has given up on the connection, which is what a reset says.
        Over::Wrong(Fault::PeerAlert(_)) => Outcome::Failed,
        Over::Wrong(Fault::KeysUsedUp) => Outcome::Refused(Cause::TlsRecordLimit),
        Over::Wrong(Fault::Record(_) | Fault::Message(_) | Fault::Renegotiation | Fault::Flood) => {
            Outcome::Refused(Cause::TlsBadRecord)
        }
    }
}
