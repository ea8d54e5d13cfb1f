//! Session tickets under keys from files (`ticket_keys`): the processes of a fleet that have the same files
//! resume each other's sessions. Without files, rustls makes its own keys ([`super::identity::tickets`]). Files
//! are read elsewhere.
//!
//! A file is 80 bytes: those of nginx's `ssl_session_ticket_key`, and of HAProxy's `tls-ticket-keys` before
//! base64. The bytes are used as they are; nothing is derived from them.
//!
//! ```text
//! file    name 16 | HMAC-SHA-256 key 32 | AES-256 key 32
//! ticket  name 16 | IV 16 | AES-256-CBC(seconds since 1970 8 | session) | HMAC-SHA-256 32
//! ```
//!
//! This is the construction of RFC 5077 section 4, with two additions. The HMAC begins with the scope of the
//! ticket, so that a ticket of a listener that trusts other clients is none here. And the ticket holds its time,
//! so that it ends even if the operator forgets to replace the keys; replacing and removing them is what keeps
//! recorded traffic secret.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::server::ProducesTickets;

use super::identity::Tickets;
use super::wrong::{Wrong, wrong};

/// Length of a file, in bytes.
pub const FILE_LEN: usize = 80;
/// How long a ticket can be used, in seconds; that of rustls's own tickets.
pub const LIFETIME_S: u32 = 12 * 60 * 60;

const NAME_LEN: usize = 16;
const HMAC_KEY_LEN: usize = 32;
const IV_LEN: usize = 16;
const TAG_LEN: usize = 32;
const TIME_LEN: usize = 8;

/// The listener's requirements on clients, as a digest. Tickets of another scope are not accepted.
pub type Scope = [u8; 32];

/// The keys of a listener, at least one; the first seals, and all open.
#[derive(Debug)]
pub struct TicketKeys(Vec<Key>);

struct Key {
    name: [u8; NAME_LEN],
    hmac: hmac::Key,
    seal: PaddedBlockEncryptingKey,
    open: PaddedBlockDecryptingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name is in every ticket, and no secret.
        f.debug_struct("Key")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Checks the contents of one file.
///
/// # Errors
/// A description of the fault and its remedy.
pub fn check(file: &[u8]) -> Result<(), Wrong> {
    Key::read(file).map(drop)
}

/// Reads the contents of the files, in their order.
///
/// # Errors
/// A description of the fault, with the place of the file in the list, counted from one.
pub fn read(files: &[Vec<u8>]) -> Result<Arc<TicketKeys>, Wrong> {
    let read = |(index, file): (usize, &Vec<u8>)| {
        Key::read(file).map_err(|why| wrong(format!("file {} {why}", index + 1)))
    };
    let keys = files.iter().enumerate().map(read);
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        return Err(wrong("ticket_keys names no file"));
    }
    Ok(Arc::new(TicketKeys(keys)))
}

/// Makes tickets of a scope.
#[must_use]
pub fn tickets(keys: Arc<TicketKeys>, scope: Scope) -> Tickets {
    Arc::new(Sealed { keys, scope })
}

impl Key {
    fn read(file: &[u8]) -> Result<Self, Wrong> {
        let remedy = "openssl rand -out FILE 80 makes one";
        let is_text = !file.is_empty() && file.is_ascii() && !file.contains(&0);
        let decoded = BASE64_STANDARD.decode(file.trim_ascii());
        if decoded.is_ok_and(|bytes| bytes.len() == FILE_LEN) {
            return Err(wrong(
                "is text in base64, as HAProxy's tickets keys are; base64 -d FILE > NEW decodes it",
            ));
        }
        if is_text {
            return Err(wrong(format!(
                "is text; a ticket key is {FILE_LEN} random bytes, {remedy}"
            )));
        }
        let Ok(bytes) = <&[u8; FILE_LEN]>::try_from(file) else {
            let len = file.len();
            return Err(wrong(format!(
                "has {len} bytes; a ticket key is {FILE_LEN} random bytes, {remedy}"
            )));
        };
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(wrong(format!("holds no random bytes; {remedy}")));
        }
        let (name, rest) = bytes.split_at(NAME_LEN);
        let (hmac, aes) = rest.split_at(HMAC_KEY_LEN);
        let unusable = |_| wrong("cannot be used as a key");
        let aes = || UnboundCipherKey::new(&AES_256, aes).map_err(unusable);
        let mut key_name = [0; NAME_LEN];
        key_name.copy_from_slice(name);
        Ok(Self {
            name: key_name,
            hmac: hmac::Key::new(hmac::HMAC_SHA256, hmac),
            seal: PaddedBlockEncryptingKey::cbc_pkcs7(aes()?).map_err(unusable)?,
            open: PaddedBlockDecryptingKey::cbc_pkcs7(aes()?).map_err(unusable)?,
        })
    }

    fn seal(&self, scope: &Scope, now_s: u64, session: &[u8]) -> Option<Vec<u8>> {
        let mut state = now_s.to_be_bytes().to_vec();
        state.extend(session);
        let context = self.seal.encrypt(&mut state).ok()?;
        let iv: &[u8] = (&context).try_into().ok()?;
        let mut ticket = [&self.name, iv, &state].concat();
        let mut tag = hmac::Context::with_key(&self.hmac);
        tag.update(scope);
        tag.update(&ticket);
        ticket.extend(tag.sign().as_ref());
        Some(ticket)
    }

    /// Opens a ticket under this key; `body` = the ticket without its HMAC.
    fn open(&self, scope: &Scope, now_s: u64, body: &[u8], tag: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = body.split_at_checked(NAME_LEN)?;
        if name != self.name {
            return None;
        }
        hmac::verify(&self.hmac, &[scope, body].concat(), tag).ok()?;
        let (iv, state) = rest.split_at_checked(IV_LEN)?;
        let iv = DecryptionContext::Iv128(FixedLength::from(<&[u8; IV_LEN]>::try_from(iv).ok()?));
        let mut state = state.to_vec();
        let state = self.open.decrypt(&mut state, iv).ok()?;
        let (time, session) = state.split_at_checked(TIME_LEN)?;
        let made_s = u64::from_be_bytes(time.try_into().ok()?);
        // Clocks of a fleet differ a little: a ticket from the future is young.
        let age_s = now_s.saturating_sub(made_s);
        (age_s <= u64::from(LIFETIME_S)).then(|| session.to_vec())
    }
}

struct Sealed {
    keys: Arc<TicketKeys>,
    scope: Scope,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.fmt(f)
    }
}

impl ProducesTickets for Sealed {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.0.first()?.seal(&self.scope, now_s(), plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (body, tag) = ticket.split_last_chunk::<TAG_LEN>()?;
        let open = |key: &Key| key.open(&self.scope, now_s(), body, tag);
        self.keys.0.iter().find_map(open)
    }
}

fn now_s() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests;
