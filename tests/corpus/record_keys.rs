//! Records sealed and opened by hand, at either end of a TLS connection. It shares no code with
//! `tls::record`.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::ConnectionTrafficSecrets;
use rustls::unbuffered::{ConnectionState, EncodeError};

/// Does what rustls wants next in a handshake, for the keys, and puts what it says behind `said`;
/// false = nothing without more from the other end.
pub(crate) fn say<Data>(state: ConnectionState<'_, '_, Data>, said: &mut Vec<u8>) -> bool {
    match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let len = match data.encode(&mut []) {
                Err(EncodeError::InsufficientSize(size)) => size.required_size,
                Ok(_) | Err(_) => 0,
            };
            let from = said.len();
            said.resize(from + len, 0);
            data.encode(&mut said[from..]).expect("room");
            true
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            true
        }
        ConnectionState::BlockedHandshake
        | ConnectionState::WriteTraffic(_)
        | ConnectionState::ReadTraffic(_)
        | _ => false,
    }
}

/// Records are sealed and opened with this.
pub(crate) struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    tls13: bool,
    /// TLS 1.2 with AES-GCM: half of the nonce stands in the record.
    explicit: bool,
}

impl Keys {
    pub(crate) fn new(tls13: bool, (sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => panic!("keys of an unknown kind"),
        };
        let unbound = UnboundKey::new(algorithm, key.as_ref()).expect("a key");
        Self {
            key: LessSafeKey::new(unbound),
            iv: iv.as_ref().try_into().expect("12 bytes"),
            sequence,
            tls13,
            explicit: !tls13 && algorithm != &CHACHA20_POLY1305,
        }
    }

    /// The nonce, with the explicit part of a record that has one.
    fn nonce(&self, explicit: &[u8]) -> Nonce {
        let mut nonce = self.iv;
        if self.explicit {
            nonce[4..].copy_from_slice(explicit);
        } else {
            let sequence = self.sequence.to_be_bytes();
            nonce[4..]
                .iter_mut()
                .zip(sequence)
                .for_each(|(byte, number)| *byte ^= number);
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn aad(&self, kind: u8, text_len: usize) -> Vec<u8> {
        if self.tls13 {
            let len = u16::try_from(text_len + 16).expect("a record");
            [&[23, 3, 3], &len.to_be_bytes()[..]].concat()
        } else {
            let len = u16::try_from(text_len).expect("a record");
            let header = [&[kind, 3, 3], &len.to_be_bytes()[..]].concat();
            [&self.sequence.to_be_bytes()[..], &header].concat()
        }
    }

    /// Seals `text` into a record whose outer type is `kind`; TLS 1.3 has its true one in the text.
    pub(crate) fn seal(&mut self, kind: u8, text: &[u8]) -> Vec<u8> {
        // Any explicit part is legal that was not there before.
        let explicit = (self.sequence ^ (1 << 40)).to_be_bytes();
        let explicit: &[u8] = if self.explicit { &explicit } else { &[] };
        let mut sealed = text.to_vec();
        let (nonce, aad) = (self.nonce(explicit), self.aad(kind, text.len()));
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed)
            .expect("sealed");
        self.sequence += 1;
        let kind = if self.tls13 { 23 } else { kind };
        let len = u16::try_from(explicit.len() + sealed.len()).expect("a record");
        [&[kind, 3, 3], &len.to_be_bytes()[..], explicit, &sealed].concat()
    }

    /// Opens a whole record of the other end: its type and its payload.
    pub(crate) fn open(&mut self, record: &[u8]) -> (u8, Vec<u8>) {
        let (header, body) = record.split_at(5);
        let (explicit, sealed) = body.split_at(if self.explicit { 8 } else { 0 });
        let mut text = sealed.to_vec();
        let aad = self.aad(header[0], sealed.len() - 16);
        let nonce = self.nonce(explicit);
        let opened = self.key.open_in_place(nonce, Aad::from(aad), &mut text);
        let len = opened.expect("the record authenticates").len();
        text.truncate(len);
        self.sequence += 1;
        if !self.tls13 {
            return (header[0], text);
        }
        // We write no padding.
        let kind = text.pop().expect("a type");
        (kind, text)
    }
}
