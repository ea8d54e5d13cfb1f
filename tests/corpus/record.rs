//! What holds for `tls::record` and `tls::control` whatever a client sends: shared by the corpus test
//! and the fuzz target.
//!
//! Nobody guesses records that authenticate, so an input is a program for a client that has the keys
//! of a handshake ([`Peer`]): the suite, and then steps.
//!
//! | step | what follows it | what the client does |
//! |---|---|---|
//! | 0 | length (2 bytes), a byte | seals that byte so many times, as data |
//! | 1 | type, padding, length, bytes | seals a record of that type, with padding in TLS 1.3 |
//! | 2 | length, bytes | sends these bytes as they are |
//! | 3 | place (2 bytes), a byte | changes the next record there |
//! | 4 | length (2 bytes) | receives so much data from the server |
//! | 5 | | lets the server's end rest |
//! | 6 | length beyond the longest, a byte | seals that byte more often than a record carries |

use longsplice::tls::control::{
    Alert, CONTROL_RECORDS_MAX, Content, EMPTY_RECORDS_MAX, Fault, Session, sealed_len_max,
};
use longsplice::tls::record::{
    HEADER_LEN, PAYLOAD_LEN_MAX, RECORD_LEN_MAX, RecordError, record_len, whole_record,
};

#[path = "record_peer.rs"]
mod peer;

use peer::{Peer, SUITES};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// Panics if a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    check_lengths(bytes);
    let Some((suite, steps)) = bytes.split_first() else {
        return;
    };
    let (peer, session) = Peer::open(suite % SUITES);
    let mut exchange = Exchange {
        peer,
        session,
        wire: Vec::new(),
        change: None,
        foreign: false,
        empty: 0,
        control: 0,
        hello_rest: 0,
        hello_open: false,
    };
    let mut steps = Steps(steps);
    // None = the program or the connection is over.
    while exchange.step(&mut steps).is_some() {}
}

/// Reads `bytes` as the beginning of a stream of records.
fn check_lengths(bytes: &[u8]) {
    let mut settled = None;
    for len in 0..=bytes.len().min(HEADER_LEN + 300) {
        let (prefix, found) = (&bytes[..len], record_len(&bytes[..len]));
        match settled {
            Some(before) => assert_eq!(found, before, "changes after {len} bytes"),
            None if found != Ok(None) => settled = Some(found),
            None => assert!(len < HEADER_LEN, "waits for more than a header"),
        }
        if let Ok(Some(whole)) = found {
            assert!((HEADER_LEN..=RECORD_LEN_MAX).contains(&whole));
        }
        let is_there = |whole: &usize| *whole <= len;
        assert_eq!(
            whole_record(prefix),
            found.map(|whole| whole.filter(is_there))
        );
    }
}

struct Steps<'a>(&'a [u8]);

impl<'a> Steps<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes([
            self.byte()?,
            self.byte()?,
        ])))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?);
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// What a record that authenticates carries, as RFC 8446 section 5.2 and RFC 5246 section 6.2 say.
struct Carried {
    kind: u8,
    payload: Vec<u8>,
}

/// Both ends of a connection.
struct Exchange {
    peer: Peer,
    session: Session,
    /// Sent by the client and not yet opened.
    wire: Vec<u8>,
    change: Option<(usize, u8)>,
    /// Bytes that no key has sealed are on the wire: what holds them must not open.
    foreign: bool,
    /// Records without data in a row, and records of other types.
    empty: u8,
    control: u8,
    /// Bytes of a refused ClientHello that are still to come, and whether the client waits for the answer.
    hello_rest: usize,
    hello_open: bool,
}

impl Exchange {
    fn step(&mut self, steps: &mut Steps<'_>) -> Option<()> {
        match steps.byte()? % 7 {
            0 => {
                let len = steps.number()? % (PAYLOAD_LEN_MAX + 1);
                let data = vec![steps.byte()?; len];
                self.send(DATA, &data, 0)
            }
            1 => {
                let (kind, padding) = (steps.byte()?, steps.byte()?);
                let payload = steps.bytes()?;
                self.send(kind, payload, usize::from(padding))
            }
            2 => {
                let bytes = steps.bytes()?;
                self.foreign |= !bytes.is_empty();
                self.wire.extend_from_slice(bytes);
                self.deliver(None)
            }
            3 => {
                let (at, change) = (steps.number()?, steps.byte()?);
                self.change = Some((at, change.max(1)));
                Some(())
            }
            4 => {
                let len = steps.number()?;
                self.receive(len)
            }
            5 => {
                self.session.rest();
                Some(())
            }
            _ => {
                let len = PAYLOAD_LEN_MAX + 1 + usize::from(steps.byte()?);
                let data = vec![steps.byte()?; len];
                self.send(DATA, &data, 0)
            }
        }
    }

    /// Seals a record, sends it and has it opened.
    fn send(&mut self, kind: u8, payload: &[u8], padding: usize) -> Option<()> {
        let mut text = payload.to_vec();
        if self.peer.tls13 {
            text.push(kind);
            text.resize(text.len() + padding, 0);
        }
        let mut record = self.peer.sends.seal(kind, &text);
        if let Some((at, change)) = self.change.take() {
            let at = at % record.len();
            record[at] ^= change;
            self.foreign = true;
        }
        self.wire.extend_from_slice(&record);
        self.deliver(Some(carried(self.peer.tls13, kind, text)))
    }

    /// Opens what is whole on the wire; `sent` is the record behind the foreign bytes, if any.
    fn deliver(&mut self, mut sent: Option<Carried>) -> Option<()> {
        loop {
            let before_len = self.wire.len();
            let len = match whole_record(&self.wire) {
                Ok(Some(len)) => len,
                Ok(None) => return Some(()),
                Err(error) => {
                    assert_ne!(error, RecordError::BadMac);
                    return None;
                }
            };
            let mut record: Vec<u8> = self.wire.drain(..len).collect();
            assert_eq!(record.len() + self.wire.len(), before_len);
            let opened = self.session.open(&mut record);
            let Some(carried) = sent.take().filter(|_| !self.foreign) else {
                let why = opened.expect_err("opened what no key has sealed");
                return self.complain(why);
            };
            self.judge(&carried, opened, &record)?;
        }
    }

    /// Compares what was opened with what was sealed.
    fn judge(
        &mut self,
        carried: &Carried,
        opened: Result<Content, Fault>,
        record: &[u8],
    ) -> Option<()> {
        let payload = &carried.payload[..];
        let fits = payload.len() <= PAYLOAD_LEN_MAX;
        let is_update = matches!(payload, [24, 0, 0, 1, 0 | 1]) && self.peer.tls13;
        let expected = match carried.kind {
            DATA if fits && payload.is_empty() => self.counted(true),
            DATA if fits => {
                (self.empty, self.control) = (0, 0);
                let Ok(Content::Data(place)) = opened else {
                    panic!("{opened:?} instead of data");
                };
                assert_eq!(&record[place], payload);
                return Some(());
            }
            HANDSHAKE if is_update => {
                let expected = self.counted(false);
                if expected {
                    self.peer.update_sends();
                    let asks = payload.ends_with(&[1]);
                    assert!(self.session.owes_key_update() || !asks);
                }
                expected
            }
            HANDSHAKE if !self.peer.tls13 => self.refused(payload),
            ALERT if matches!(payload, [_, 0]) => {
                assert_eq!(opened, Ok(Content::CloseNotify));
                return None;
            }
            ALERT if matches!(payload, [_, 90]) => self.counted(false),
            ALERT if matches!(payload, [1, _]) && !self.peer.tls13 => self.counted(false),
            _ => false,
        };
        match opened {
            Ok(Content::Nothing) if expected => Some(()),
            Err(why) if !expected => self.complain(why),
            Ok(_) | Err(_) => panic!("{opened:?} for type {} {payload:?}", carried.kind),
        }
    }

    /// Takes in a handshake message of TLS 1.2; false = it is not a part of a ClientHello, or one too many.
    fn refused(&mut self, payload: &[u8]) -> bool {
        let (len, here, counted) = match payload {
            [] => return false,
            [..] if self.hello_rest > 0 => (self.hello_rest, payload.len(), self.counted(true)),
            [1, a, b, c, body @ ..] => {
                self.hello_open = true;
                let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                (len, body.len(), self.counted(false))
            }
            [..] => return false,
        };
        let rest = len.checked_sub(here).filter(|rest| *rest < 1 << 16);
        self.hello_rest = rest.unwrap_or(0);
        counted && rest.is_some()
    }

    /// Counts a record that carries nothing; false = one too many.
    fn counted(&mut self, of_data: bool) -> bool {
        let (count, max) = if of_data {
            (&mut self.empty, EMPTY_RECORDS_MAX)
        } else {
            (&mut self.control, CONTROL_RECORDS_MAX)
        };
        *count += 1;
        *count <= max
    }

    /// The connection ends with the alert that belongs to `why`.
    fn complain(&mut self, why: Fault) -> Option<()> {
        let alert = why.alert()?;
        let mut out = vec![0; sealed_len_max(2)];
        let len = self.session.seal_alert(alert, &mut out).expect("keys");
        let opened = self.peer.receives.open(&out[..len]);
        assert_eq!(opened, (ALERT, alert.payload().to_vec()));
        for behind in [Alert::CloseNotify, Alert::InternalError] {
            let sealed = self.session.seal_alert(behind, &mut out);
            assert_eq!(sealed, Err(Fault::Ended), "behind a fatal alert");
        }
        None
    }

    /// Has the server seal `len` bytes, and opens them.
    fn receive(&mut self, len: usize) -> Option<()> {
        let data: Vec<u8> = (0_u8..251).cycle().take(len).collect();
        let mut out = vec![0; sealed_len_max(len)];
        let updates = self.session.owes_key_update();
        let mut refusals = usize::from(std::mem::take(&mut self.hello_open));
        let sealed_len = self.session.seal(&data, &mut out).expect("keys");
        assert!(!self.session.owes_key_update());
        let mut rest = &out[..sealed_len];
        let mut received = Vec::new();
        let mut updated = false;
        while let Some(len) = whole_record(rest).expect("records") {
            let (record, behind) = rest.split_at(len);
            rest = behind;
            match self.peer.receives.open(record) {
                (DATA, payload) => received.extend(payload),
                (HANDSHAKE, payload) => {
                    assert_eq!(payload, [24, 0, 0, 1, 0]);
                    assert!(updates && !updated && received.is_empty());
                    self.peer.update_receives();
                    updated = true;
                }
                (ALERT, payload) => {
                    assert_eq!(payload, [1, 100]);
                    assert!(received.is_empty());
                    refusals -= 1;
                }
                (kind, payload) => panic!("type {kind}: {payload:?}"),
            }
        }
        assert_eq!(refusals, 0, "no answer to a ClientHello");
        assert!(rest.is_empty() && updated == updates);
        assert!(received == data, "other bytes came out");
        Some(())
    }
}

/// Finds out what a record with this text carries; type 0 = its form is wrong.
fn carried(tls13: bool, mut kind: u8, mut text: Vec<u8>) -> Carried {
    if tls13 {
        let too_long = text.len() > PAYLOAD_LEN_MAX + 1;
        while text.last() == Some(&0) {
            text.pop();
        }
        kind = text.pop().filter(|_| !too_long).unwrap_or(0);
    }
    Carried {
        kind,
        payload: text,
    }
}
