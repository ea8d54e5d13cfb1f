//! A session with its buffers, for connections whose data is held in memory: opens and seals records.
//!
//! It does no input or output: the caller puts records into [`Channel::received`] and sends what was sealed
//! onto its own buffer. The relay opens records where they were received instead, in `relay::leg`.

use super::control::{Content, Session, sealed_len_max};
use super::fault::{Alert, Fault};
use super::record::whole_record;

/// An open TLS connection.
#[derive(Debug)]
pub struct Channel {
    session: Session,
    /// Received records; the last one may be incomplete.
    received: Vec<u8>,
    ended: bool,
}

impl Channel {
    /// Makes a channel from a session and the bytes received after its handshake.
    #[must_use]
    pub fn new(session: Session, received: Vec<u8>) -> Self {
        Self {
            session,
            received,
            ended: false,
        }
    }

    /// Returns the buffer to which received bytes are appended.
    pub fn received(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Returns whether nothing more comes: the peer sent close_notify, or an invalid record.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns whether the connection speaks TLS 1.3.
    #[must_use]
    pub fn is_tls13(&self) -> bool {
        self.session.knows_key_update()
    }

    /// Returns whether part of a record has been received.
    #[must_use]
    pub fn holds_part(&self) -> bool {
        !self.received.is_empty()
    }

    /// Opens the next record onto the end of `data`; false = more must be received first, or nothing
    /// more comes.
    ///
    /// # Errors
    /// A [`Fault`]; nothing more comes then.
    pub fn open_one(&mut self, data: &mut Vec<u8>) -> Result<bool, Fault> {
        if self.ended {
            return Ok(false);
        }
        let opened = self.open_next(data);
        self.ended |= opened.is_err();
        opened
    }

    fn open_next(&mut self, data: &mut Vec<u8>) -> Result<bool, Fault> {
        let Some(len) = whole_record(&self.received)? else {
            return Ok(false);
        };
        // `record_len` found that the whole record is there.
        let record = &mut self.received[..len];
        match self.session.open(record)? {
            // The session found the data inside the record.
            Content::Data(place) => data.extend_from_slice(&record[place]),
            Content::Nothing => {}
            Content::CloseNotify => self.ended = true,
        }
        self.received.drain(..len);
        Ok(true)
    }

    /// Seals `data` onto the end of `out`.
    ///
    /// # Errors
    /// As [`Session::seal`]; `out` is then unchanged.
    pub fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let from = out.len();
        out.resize(from + sealed_len_max(data.len()), 0);
        let sealed = self.session.seal(data, &mut out[from..]);
        out.truncate(from + sealed.unwrap_or(0));
        sealed.map(drop)
    }

    /// Seals an alert onto the end of `out`; nothing behind a fatal one, or without keys to seal it with.
    pub fn seal_alert(&mut self, alert: Alert, out: &mut Vec<u8>) {
        let from = out.len();
        let payload_len = alert.payload().len();
        out.resize(from + sealed_len_max(payload_len), 0);
        let sealed = self.session.seal_alert(alert, &mut out[from..]);
        out.truncate(from + sealed.unwrap_or(0));
    }

    /// Seals onto the end of `out` what the peer waits for after [`Channel::open_one`]: the refusal of another
    /// handshake.
    pub fn seal_owed(&mut self, out: &mut Vec<u8>) {
        if self.session.owes_refusal() {
            let from = out.len();
            out.resize(from + sealed_len_max(0), 0);
            let sealed = self.session.seal_refusal(&mut out[from..]);
            out.truncate(from + sealed.unwrap_or(0));
        }
    }

    /// Drops everything that can be made again, while the connection is idle.
    pub fn rest(&mut self) {
        self.session.rest();
        self.received.shrink_to_fit();
    }

    /// Returns the parts: the session, bytes received and not opened, and whether nothing more comes.
    #[must_use]
    pub fn into_parts(self) -> (Session, Vec<u8>, bool) {
        (self.session, self.received, self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Peer, offer, server};
    use rustls::SupportedProtocolVersion;
    use rustls::version::{TLS12, TLS13};

    fn opened(version: &'static SupportedProtocolVersion) -> (Peer, Channel) {
        let mut peer = Peer::new(version, "localhost");
        let established = peer.open(&server(offer()));
        (
            peer,
            Channel::new(established.session, established.received),
        )
    }

    #[test]
    fn data_goes_both_ways_in_any_pieces() {
        for version in [&TLS12, &TLS13] {
            let (mut peer, mut channel) = opened(version);
            peer.say(b"asked");
            let mut data = Vec::new();
            for byte in peer.take_bytes() {
                channel.received().push(byte);
                while channel.open_one(&mut data).unwrap() {}
            }
            assert_eq!((&*data, channel.holds_part()), (&b"asked"[..], false));
            let mut out = b"before".to_vec();
            channel.seal(b"answered", &mut out).unwrap();
            channel.rest();
            channel.seal_alert(Alert::CloseNotify, &mut out);
            assert_eq!(out[..6], *b"before");
            peer.give_bytes(&out[6..]);
            assert_eq!(peer.hear(), b"answered");
            peer.connection.send_close_notify();
            channel.received().extend(peer.take_bytes());
            assert!(channel.open_one(&mut data).unwrap());
            assert!(channel.has_ended());
            assert!(!channel.open_one(&mut data).unwrap());
        }
    }

    #[test]
    fn nothing_comes_behind_a_wrong_record() {
        let (mut peer, mut channel) = opened(&TLS13);
        peer.say(b"x");
        let mut record = peer.take_bytes();
        peer.say(b"y");
        record[7] ^= 1;
        channel.received().extend(record);
        channel.received().extend(peer.take_bytes());
        let mut data = Vec::new();
        let fault = channel.open_one(&mut data).unwrap_err();
        assert_eq!(fault.alert(), Some(Alert::BadRecordMac));
        assert!(channel.has_ended());
        assert!(!channel.open_one(&mut data).unwrap());
        assert_eq!(data, b"");
    }
}
