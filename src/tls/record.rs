//! Records of TLS 1.2 and 1.3 (RFC 5246 section 6.2, RFC 8446 section 5): headers, sealing, opening.
//!
//! A direction is [`Keys`], plain data; its cipher is made when the first record needs it and dropped by
//! `rest`. [`super::control`] interprets the records.
//!
//! The ciphers are aws-lc-rs's own, not rustls's `aead_alg`: rustls has no public way to make a key
//! of 16 raw bytes, and its encrypters insist on a first sequence number of 0.

pub mod kernel;

use std::ops::Range;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

/// Bytes of a record's header.
pub const HEADER_LEN: usize = 5;
/// Most bytes one record carries.
pub const PAYLOAD_LEN_MAX: usize = 1 << 14;
/// Most bytes that sealing adds: header, explicit nonce and tag (1.2), or header, type and tag (1.3).
pub const OVERHEAD_LEN_MAX: usize = HEADER_LEN + EXPLICIT_NONCE_LEN + TAG_LEN;
/// Most bytes of a record from outside, header included (RFC 5246 section 6.2.3 is the larger one).
pub const RECORD_LEN_MAX: usize = HEADER_LEN + PAYLOAD_LEN_MAX + EXPANSION_12_MAX;

const EXPANSION_12_MAX: usize = 2048;
const EXPANSION_13_MAX: usize = 256;
const TAG_LEN: usize = 16;
const NONCE_LEN: usize = 12;
const SALT_LEN: usize = 4;
const EXPLICIT_NONCE_LEN: usize = 8;
/// The version field of every record after the hellos.
const WIRE_VERSION: [u8; 2] = [3, 3];
/// Records one AES-GCM key may seal (RFC 8446 section 5.5).
const AES_GCM_RECORDS_MAX: u64 = 1 << 24;

/// The content type of a record (RFC 8446 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum ContentType {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    Data = 23,
}

impl ContentType {
    /// Returns the type with this number, if there is one.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        match byte {
            20 => Some(Self::ChangeCipherSpec),
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::Data),
            _ => None,
        }
    }
}

/// Why a record of the peer cannot be opened: always the fault of the peer or the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not a record of TLS.
    #[error("no TLS record")]
    NotTls,
    /// Longer than the version allows.
    #[error("the record is too long")]
    TooLong,
    /// Authentication failed: the record was changed on the way, or sealed with other keys.
    #[error("the record does not authenticate")]
    BadMac,
    /// A content type that is not allowed here.
    #[error("a record of a type that does not belong here")]
    UnexpectedType,
}

/// The keys have sealed as many records as they may (RFC 8446 section 5.5); neither side is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys are used up")]
pub struct KeysUsedUp;

/// Returns the length of the record at the start of `bytes`, header included; none = more is needed.
///
/// # Errors
/// [`RecordError::NotTls`], [`RecordError::UnexpectedType`], [`RecordError::TooLong`].
pub fn record_len(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let [kind, major, rest @ ..] = bytes else {
        return Ok(None);
    };
    if *major != WIRE_VERSION[0] {
        return Err(RecordError::NotTls);
    }
    if ContentType::of(*kind).is_none() {
        return Err(RecordError::UnexpectedType);
    }
    let [_, high, low, ..] = rest else {
        return Ok(None);
    };
    let len = HEADER_LEN + usize::from(u16::from_be_bytes([*high, *low]));
    if len > RECORD_LEN_MAX {
        return Err(RecordError::TooLong);
    }
    Ok(Some(len))
}

/// Returns the length of the record at the start of `bytes`, if it is whole.
///
/// # Errors
/// As [`record_len`].
pub fn whole_record(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    Ok(record_len(bytes)?.filter(|len| *len <= bytes.len()))
}

/// The protocol version, as far as it matters to records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum RecordVersion {
    Tls12,
    Tls13,
}

impl RecordVersion {
    /// Returns the version rustls names; none = we do not support it.
    #[must_use]
    pub fn of(version: ProtocolVersion) -> Option<Self> {
        if version == ProtocolVersion::TLSv1_3 {
            Some(Self::Tls13)
        } else if version == ProtocolVersion::TLSv1_2 {
            Some(Self::Tls12)
        } else {
            None
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

impl Cipher {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::Aes256Gcm => &AES_256_GCM,
            Self::Chacha20Poly1305 => &CHACHA20_POLY1305,
        }
    }

    fn records_max(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => AES_GCM_RECORDS_MAX,
            Self::Chacha20Poly1305 => u64::MAX,
        }
    }
}

/// The keys of one direction: the only state of an idle direction.
pub struct Keys {
    sequence: u64,
    key: [u8; 32],
    iv: [u8; NONCE_LEN],
    cipher: Cipher,
    version: RecordVersion,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Keys({:?}, {:?}, {})",
            self.version, self.cipher, self.sequence
        )
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.key.fill(0);
        // Keeps the compiler from removing the line above.
        std::hint::black_box(&mut self.key);
    }
}

impl Keys {
    /// Copies the keys out of rustls's secrets; none if they are of a kind we do not support.
    #[must_use]
    pub fn new(
        version: RecordVersion,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Option<Self> {
        let (cipher, bytes, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (Cipher::Chacha20Poly1305, key, iv)
            }
            _ => return None,
        };
        let mut key = [0; 32];
        key.get_mut(..cipher.algorithm().key_len())?
            .copy_from_slice(bytes.as_ref());
        Some(Self {
            sequence,
            key,
            iv: iv.as_ref().try_into().ok()?,
            cipher,
            version,
        })
    }

    /// Returns the number of the next record.
    #[must_use]
    pub fn next_record(&self) -> u64 {
        self.sequence
    }

    /// Returns how many records the keys may seal in total.
    #[must_use]
    pub fn records_max(&self) -> u64 {
        self.cipher.records_max()
    }

    /// Returns how many more records the keys may protect.
    #[must_use]
    pub fn records_left(&self) -> u64 {
        self.records_max().saturating_sub(self.sequence)
    }

    /// Checks the parts of a record that are readable without opening it; returns its outer type.
    fn check_outside(&self, header: &[u8; HEADER_LEN], body_len: usize) -> Result<u8, RecordError> {
        let outer = header[0];
        let expansion_max = match self.version {
            RecordVersion::Tls12 => EXPANSION_12_MAX,
            RecordVersion::Tls13 => EXPANSION_13_MAX,
        };
        if body_len > PAYLOAD_LEN_MAX + expansion_max {
            return Err(RecordError::TooLong);
        }
        if self.version == RecordVersion::Tls13 && outer != ContentType::Data as u8 {
            return Err(RecordError::UnexpectedType);
        }
        if header[1..3] != WIRE_VERSION {
            return Err(RecordError::NotTls);
        }
        Ok(outer)
    }

    /// Returns the number of bytes between the header and the encrypted part.
    fn explicit_nonce_len(&self) -> usize {
        match (self.version, self.cipher) {
            (RecordVersion::Tls12, Cipher::Aes128Gcm | Cipher::Aes256Gcm) => EXPLICIT_NONCE_LEN,
            (RecordVersion::Tls12, Cipher::Chacha20Poly1305) | (RecordVersion::Tls13, _) => 0,
        }
    }

    /// Returns the nonce of the present record: the IV with the sequence number XORed over its end.
    ///
    /// For TLS 1.2 with AES-GCM this continues the numbering rustls used during the handshake, so that the
    /// explicit part never repeats; [`Keys::for_sending`] keeps the kernel from repeating it.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let tail = nonce.iter_mut().skip(SALT_LEN);
        for (byte, number) in tail.zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// Returns the additional data to authenticate; `len` is the length of the payload for TLS 1.2, of the
    /// whole encrypted part for TLS 1.3.
    fn additional_data(&self, kind: u8, len: u16) -> AdditionalData {
        let [high, low] = len.to_be_bytes();
        let [major, minor] = WIRE_VERSION;
        let header = [kind, major, minor, high, low];
        let mut bytes = [0; 8 + HEADER_LEN];
        let (sequence, tail) = bytes.split_at_mut(8);
        tail.copy_from_slice(&header);
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        AdditionalData {
            bytes,
            skipped: match self.version {
                RecordVersion::Tls12 => 0,
                RecordVersion::Tls13 => 8,
            },
        }
    }

    fn cipher(&self) -> Box<LessSafeKey> {
        let algorithm = self.cipher.algorithm();
        // No algorithm here has a key of more than 32 bytes.
        let key = &self.key[..algorithm.key_len()];
        let key = UnboundKey::new(algorithm, key).expect("the length is that of the algorithm");
        Box::new(LessSafeKey::new(key))
    }
}

struct AdditionalData {
    bytes: [u8; 8 + HEADER_LEN],
    skipped: usize,
}

impl AsRef<[u8]> for AdditionalData {
    fn as_ref(&self) -> &[u8] {
        // `skipped` is 0 or 8, of 13 bytes.
        &self.bytes[self.skipped..]
    }
}

/// Keys, with their cipher while it is in use.
#[derive(Debug)]
struct Half {
    keys: Keys,
    cipher: Option<Box<LessSafeKey>>,
}

impl Half {
    /// Returns the keys and their cipher, made if there is none.
    fn in_use(&mut self) -> (&mut Keys, &LessSafeKey) {
        let Self { keys, cipher } = self;
        let cipher = cipher.get_or_insert_with(|| keys.cipher());
        (keys, cipher)
    }
}

/// Seals records to send.
#[derive(Debug)]
pub struct Sealer(Half);

/// Opens received records.
#[derive(Debug)]
pub struct Opener(Half);

impl Sealer {
    /// Continues from the sequence number of `keys`.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self(Half { keys, cipher: None })
    }

    /// Returns the keys, with the number of the next record.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Returns whether the cipher exists.
    #[must_use]
    pub fn has_cipher(&self) -> bool {
        self.0.cipher.is_some()
    }

    /// Drops the cipher, until the next record.
    pub fn rest(&mut self) {
        self.0.cipher = None;
    }

    /// Returns how many more records the keys may seal.
    #[must_use]
    pub fn records_left(&self) -> u64 {
        self.0.keys.records_left()
    }

    /// Skips records until this many are left on the keys.
    #[cfg(test)]
    pub(super) fn skip_to_last(&mut self, records: u64) {
        self.0.keys.sequence = self.0.keys.cipher.records_max() - records;
    }

    /// Seals `payload` as one record at the beginning of `out`; returns its length.
    ///
    /// # Errors
    /// [`KeysUsedUp`].
    ///
    /// # Panics
    /// When `payload` is longer than [`PAYLOAD_LEN_MAX`], or `out` has no room for
    /// [`OVERHEAD_LEN_MAX`] bytes more.
    pub fn seal(
        &mut self,
        kind: ContentType,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, KeysUsedUp> {
        if self.0.keys.records_left() == 0 {
            return Err(KeysUsedUp);
        }
        assert!(payload.len() <= PAYLOAD_LEN_MAX, "too much for one record");
        let (keys, cipher) = self.0.in_use();
        let explicit_len = keys.explicit_nonce_len();
        let (outer, inner): (u8, &[u8]) = match keys.version {
            RecordVersion::Tls12 => (kind as u8, &[]),
            RecordVersion::Tls13 => (ContentType::Data as u8, &[kind as u8]),
        };
        let encrypted_len = payload.len() + inner.len() + TAG_LEN;
        let len = explicit_len + encrypted_len;
        // At most PAYLOAD_LEN_MAX and OVERHEAD_LEN_MAX, which are far below 2^16.
        let as_u16 = |len: usize| u16::try_from(len).expect("a record is shorter than 64 KiB");
        let body_len = as_u16(len);
        let authenticated_len = match keys.version {
            RecordVersion::Tls12 => as_u16(payload.len()),
            RecordVersion::Tls13 => body_len,
        };
        // The caller provides the room.
        let (header, body) = out[..HEADER_LEN + len].split_at_mut(HEADER_LEN);
        let [major, minor] = WIRE_VERSION;
        let [high, low] = body_len.to_be_bytes();
        header.copy_from_slice(&[outer, major, minor, high, low]);
        let nonce = keys.nonce();
        let (explicit, encrypted) = body.split_at_mut(explicit_len);
        if explicit_len > 0 {
            explicit.copy_from_slice(&nonce[SALT_LEN..]);
        }
        let (text, tail) = encrypted.split_at_mut(payload.len());
        let data = keys.additional_data(outer, authenticated_len);
        cipher
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(data),
                payload,
                text,
                inner,
                tail,
            )
            .expect("the parts have the lengths that the cipher wants");
        keys.sequence += 1;
        Ok(HEADER_LEN + len)
    }
}

impl Opener {
    /// Continues from the sequence number of `keys`.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self(Half { keys, cipher: None })
    }

    /// Returns the keys, with the number of the next record.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Returns whether the cipher exists.
    #[must_use]
    pub fn has_cipher(&self) -> bool {
        self.0.cipher.is_some()
    }

    /// Drops the cipher, until the next record.
    pub fn rest(&mut self) {
        self.0.cipher = None;
    }

    /// Opens `record`, one whole record, in place; returns its type and where its payload is.
    ///
    /// # Errors
    /// A [`RecordError`]; the connection is over then.
    pub fn open(&mut self, record: &mut [u8]) -> Result<(ContentType, Range<usize>), RecordError> {
        let len = record_len(record)?;
        if len != Some(record.len()) {
            return Err(RecordError::NotTls);
        }
        let (keys, cipher) = self.0.in_use();
        let Some((header, body)) = record.split_first_chunk_mut() else {
            return Err(RecordError::NotTls);
        };
        let outer = keys.check_outside(header, body.len())?;
        let explicit_len = keys.explicit_nonce_len();
        if body.len() < explicit_len + TAG_LEN {
            return Err(RecordError::BadMac);
        }
        let body_len = u16::try_from(body.len()).map_err(|_| RecordError::TooLong)?;
        let (explicit, encrypted) = body.split_at_mut(explicit_len);
        let text_len = encrypted.len() - TAG_LEN;
        let (nonce, authenticated_len) = match keys.version {
            RecordVersion::Tls12 => {
                let mut nonce = keys.nonce();
                if explicit_len > 0 {
                    nonce[SALT_LEN..].copy_from_slice(explicit);
                }
                (
                    nonce,
                    u16::try_from(text_len).map_err(|_| RecordError::TooLong)?,
                )
            }
            RecordVersion::Tls13 => (keys.nonce(), body_len),
        };
        let data = keys.additional_data(outer, authenticated_len);
        let text = cipher
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(data),
                encrypted,
            )
            .map_err(|_| RecordError::BadMac)?;
        // A peer that sends a record each nanosecond needs 584 years for 2^64 of them.
        keys.sequence = keys.sequence.checked_add(1).expect("2^64 records");
        let (kind, payload_len) = match keys.version {
            RecordVersion::Tls12 => (outer, text.len()),
            RecordVersion::Tls13 => inner_type(text)?,
        };
        if payload_len > PAYLOAD_LEN_MAX {
            return Err(RecordError::TooLong);
        }
        let kind = ContentType::of(kind).ok_or(RecordError::UnexpectedType)?;
        let from = HEADER_LEN + explicit_len;
        Ok((kind, from..from + payload_len))
    }
}

/// Removes the padding (RFC 8446 section 5.4): the type is the last byte that is not zero.
fn inner_type(text: &[u8]) -> Result<(u8, usize), RecordError> {
    if text.len() > PAYLOAD_LEN_MAX + 1 {
        return Err(RecordError::TooLong);
    }
    let end = text.iter().rposition(|byte| *byte != 0);
    let end = end.ok_or(RecordError::UnexpectedType)?;
    Ok((text[end], end))
}

#[cfg(test)]
mod tests;
