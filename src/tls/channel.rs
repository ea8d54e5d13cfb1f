//! A session with its buffers, for a user that holds data in memory: records in, data out, and back.
//!
//! It moves no bytes: records are put into [`Channel::received`], and what is to be sent is sealed onto
//! the caller's buffer. Relay opens records where they were received instead, in `relay::leg`.

use super::control::{Content, Session, sealed_len_max};
use super::fault::{Alert, Fault};
use super::record::whole_record;

/// An open connection over TLS.
#[derive(Debug)]
pub struct Channel {
    session: Session,
    /// Records, the last one perhaps in part.
    received: Vec<u8>,
    ended: bool,
}

impl Channel {
    /// Begins with a session and what came behind its handshake.
    #[must_use]
    pub fn new(session: Session, received: Vec<u8>) -> Self {
        Self {
            session,
            received,
            ended: false,
        }
    }

    /// Returns where received bytes go, at the end.
    pub fn received(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Tells whether nothing more comes: the peer sent close_notify, or a record that is wrong.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Tells whether part of a record has come.
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
        // A whole record is there.
        let record = &mut self.received[..len];
        match self.session.open(record)? {
            // The session found the data in the record.
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
    /// As [`Session::seal`]; `out` is as it was.
    pub fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let from = out.len();
        out.resize(from + sealed_len_max(data.len()), 0);
        let sealed = self.session.seal(data, &mut out[from..]);
        out.truncate(from + sealed.unwrap_or(0));
        sealed.map(drop)
    }

    /// Seals an alert onto the end of `out`; none when there are no keys to seal it with.
    pub fn seal_alert(&mut self, alert: Alert, out: &mut Vec<u8>) {
        let from = out.len();
        let payload_len = alert.payload().len();
        out.resize(from + sealed_len_max(payload_len), 0);
        let sealed = self.session.seal_alert(alert, &mut out[from..]);
        out.truncate(from + sealed.unwrap_or(0));
    }

    /// Drops what can be made again while nothing comes.
    pub fn rest(&mut self) {
        self.session.rest();
        self.received.shrink_to_fit();
    }

    /// Takes it apart: the session, what was received and not opened, and whether nothing more comes.
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
