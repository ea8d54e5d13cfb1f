//! The ClientHello of a TLS connection, read without ending TLS: server name and ALPN.
//!
//! RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 7301 section 3.1. The message may be cut into
//! records and reads in any way. Nothing is decrypted, so the names of an encrypted ClientHello are those of
//! its outer part. Extensions that do not matter to routing (GREASE too) are skipped.

use std::net::IpAddr;

use super::Progress;

/// Longest ClientHello with its record headers, in bytes; post-quantum ones have about 2000.
pub const LEN_BYTES_MAX: usize = 64 * 1024;
/// Longest plain record (RFC 8446 section 5.1).
const RECORD_LEN_BYTES_MAX: usize = 16 * 1024;
/// Most records of one ClientHello: bounds the cost of parsing a growing prefix again.
const RECORDS_MAX: usize = 2048;

const RECORD_HEADER_LEN_BYTES: usize = 5;
const MESSAGE_HEADER_LEN_BYTES: usize = 4;
const RECORD_HANDSHAKE: u8 = 22;
const VERSION_MAJOR: u8 = 3;
const MESSAGE_CLIENT_HELLO: u8 = 1;
const RANDOM_LEN_BYTES: usize = 32;
const SESSION_ID_LEN_BYTES_MAX: usize = 32;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_SUPPORTED_VERSIONS: u16 = 43;
const NAME_TYPE_HOST: u8 = 0;
const NAME_LEN_BYTES_MAX: usize = 253;
const LABEL_LEN_BYTES_MAX: usize = 63;

/// The fields of a ClientHello that routing needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Name of the server, a DNS name in lower case and without a dot at its end; none also for an IP
    /// address, which RFC 6066 does not allow there but some clients send.
    pub server_name: Option<String>,
    /// Protocols offered, in the client's order, none of them empty.
    pub alpn: Vec<Vec<u8>>,
    /// The highest version offered that is known here; [`TLS12`] is one.
    pub version: u16,
}

/// TLS 1.2 as a version field names it.
pub const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

/// Why bytes are not a ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it all")]
pub enum MalformedHello {
    #[error("these bytes are not TLS")]
    NotTls,
    #[error("the first TLS message is no ClientHello")]
    NotClientHello,
    #[error("a record of the ClientHello is empty")]
    EmptyRecord,
    #[error("a record of the ClientHello is longer than 16 KiB")]
    RecordTooLong,
    #[error("the ClientHello has too many records")]
    TooManyRecords,
    #[error("the ClientHello is longer than 64 KiB")]
    TooLong,
    #[error("a length inside the ClientHello is wrong")]
    BadLength,
    #[error("the ClientHello has an extension twice")]
    RepeatedExtension,
    #[error("the server name is no DNS name")]
    BadServerName,
}

/// Reads a ClientHello at the start of `buf`; `used` ends with its last byte.
///
/// # Errors
/// See [`MalformedHello`]; framing errors are reported at the first byte that shows them.
///
/// # Source
/// RFC 8446 sections 4.1.2 and 5.1.
pub fn parse(buf: &[u8]) -> Result<Progress<ClientHello>, MalformedHello> {
    let mut rest = buf;
    let mut head = Vec::with_capacity(MESSAGE_HEADER_LEN_BYTES);
    let mut gathered = 0;
    for _ in 0..RECORDS_MAX {
        let Some((fragment, len)) = record(rest)? else {
            return Ok(Progress::Partial);
        };
        let wanted = MESSAGE_HEADER_LEN_BYTES - head.len();
        head.extend(fragment.iter().take(wanted));
        let total = message_len(&head)?;
        let start = buf.len() - rest.len() + RECORD_HEADER_LEN_BYTES;
        if let Some(total) = total {
            // Never less than before: that was shorter, or parsing would have ended there.
            let missing = total - gathered.min(total);
            if missing <= fragment.len() {
                return Ok(Progress::Complete {
                    value: message(buf, total)?,
                    used: start + missing,
                });
            }
        }
        gathered += fragment.len();
        if start + len >= LEN_BYTES_MAX {
            return Err(MalformedHello::TooLong);
        }
        let Some(next) = rest.get(RECORD_HEADER_LEN_BYTES + len..) else {
            return Ok(Progress::Partial);
        };
        rest = next;
    }
    Err(MalformedHello::TooManyRecords)
}

/// Returns the part of the record at the start of `buf` that has been received, and its whole length; none
/// while its header is incomplete.
fn record(buf: &[u8]) -> Result<Option<(&[u8], usize)>, MalformedHello> {
    if buf.first().is_some_and(|kind| *kind != RECORD_HANDSHAKE)
        || buf.get(1).is_some_and(|major| *major != VERSION_MAJOR)
    {
        return Err(MalformedHello::NotTls);
    }
    let Some((header, rest)) = buf.split_first_chunk::<RECORD_HEADER_LEN_BYTES>() else {
        return Ok(None);
    };
    let [_, _, _, high, low] = *header;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len == 0 {
        return Err(MalformedHello::EmptyRecord);
    }
    if len > RECORD_LEN_BYTES_MAX {
        return Err(MalformedHello::RecordTooLong);
    }
    Ok(Some((rest.get(..len).unwrap_or(rest), len)))
}

/// Returns the length of the message with its header; none while the header is incomplete.
fn message_len(head: &[u8]) -> Result<Option<usize>, MalformedHello> {
    if head
        .first()
        .is_some_and(|kind| *kind != MESSAGE_CLIENT_HELLO)
    {
        return Err(MalformedHello::NotClientHello);
    }
    let Some(&[_, high, middle, low]) = head.first_chunk::<MESSAGE_HEADER_LEN_BYTES>() else {
        return Ok(None);
    };
    let body = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    let total = MESSAGE_HEADER_LEN_BYTES + body;
    if total > LEN_BYTES_MAX {
        return Err(MalformedHello::TooLong);
    }
    Ok(Some(total))
}

/// Assembles the message of `total` bytes, whose records are complete, and parses it.
fn message(buf: &[u8], total: usize) -> Result<ClientHello, MalformedHello> {
    let mut message = Vec::with_capacity(total);
    let mut rest = buf;
    while message.len() < total {
        let Some((fragment, len)) = record(rest)? else {
            return Err(MalformedHello::BadLength);
        };
        message.extend(fragment.iter().take(total - message.len()));
        rest = rest
            .get(RECORD_HEADER_LEN_BYTES + len..)
            .unwrap_or_default();
    }
    hello(Bytes(
        message.get(MESSAGE_HEADER_LEN_BYTES..).unwrap_or_default(),
    ))
}

fn hello(mut body: Bytes<'_>) -> Result<ClientHello, MalformedHello> {
    let version = body.number()?;
    if version.to_be_bytes().first() != Some(&VERSION_MAJOR) {
        return Err(MalformedHello::NotClientHello);
    }
    body.take(RANDOM_LEN_BYTES)?;
    let session_id = body.short_vector()?;
    let suites = body.vector()?;
    let compressions = body.short_vector()?;
    if session_id.0.len() > SESSION_ID_LEN_BYTES_MAX
        || suites.is_empty()
        || !suites.0.len().is_multiple_of(2)
        || compressions.is_empty()
    {
        return Err(MalformedHello::BadLength);
    }
    // TLS 1.2 may leave the extensions out altogether.
    if body.is_empty() {
        return Ok(ClientHello {
            version,
            ..ClientHello::default()
        });
    }
    let extensions = body.vector()?;
    if !body.is_empty() {
        return Err(MalformedHello::BadLength);
    }
    read_extensions(version, extensions)
}

fn read_extensions(version: u16, mut extensions: Bytes<'_>) -> Result<ClientHello, MalformedHello> {
    let mut hello = ClientHello {
        version,
        ..ClientHello::default()
    };
    let mut kinds = Vec::new();
    while !extensions.is_empty() {
        let kind = extensions.number()?;
        let data = extensions.vector()?;
        kinds.push(kind);
        match kind {
            EXTENSION_SERVER_NAME => hello.server_name = server_name(data)?,
            EXTENSION_ALPN => hello.alpn = alpn(data)?,
            EXTENSION_SUPPORTED_VERSIONS => {
                hello.version = highest_version(data).unwrap_or(version);
            }
            _ => {}
        }
    }
    kinds.sort_unstable();
    if kinds.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(MalformedHello::RepeatedExtension);
    }
    Ok(hello)
}

fn server_name(mut data: Bytes<'_>) -> Result<Option<String>, MalformedHello> {
    let mut list = data.vector()?;
    if list.is_empty() || !data.is_empty() {
        return Err(MalformedHello::BadLength);
    }
    let mut host = None;
    while !list.is_empty() {
        // Names of future types start with their length too (RFC 6066 section 3).
        let kind = list.take(1)?;
        let name = list.vector()?;
        if kind == [NAME_TYPE_HOST] && host.replace(name.0).is_some() {
            return Err(MalformedHello::BadServerName);
        }
    }
    host.map_or(Ok(None), host_name)
}

fn host_name(name: &[u8]) -> Result<Option<String>, MalformedHello> {
    let text = std::str::from_utf8(name).map_err(|_| MalformedHello::BadServerName)?;
    // RFC 6066 section 3 wants no dot at the end; clients of a URL with one send it all the same.
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let label_fits = |label: &str| {
        (1..=LABEL_LEN_BYTES_MAX).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if text.len() > NAME_LEN_BYTES_MAX || !text.split('.').all(label_fits) {
        return Err(MalformedHello::BadServerName);
    }
    Ok(Some(text.to_ascii_lowercase()))
}

/// Returns the highest version of a list (RFC 8446 section 4.2.1), GREASE and unknown ones left out; none if the
/// list is malformed, which is for the end of TLS to refuse.
fn highest_version(mut data: Bytes<'_>) -> Option<u16> {
    let mut list = data.short_vector().ok()?;
    let mut highest = 0;
    while !list.is_empty() {
        let version = list.number().ok()?;
        if version <= TLS13 {
            highest = highest.max(version);
        }
    }
    data.is_empty().then_some(highest)
}

fn alpn(mut data: Bytes<'_>) -> Result<Vec<Vec<u8>>, MalformedHello> {
    let mut list = data.vector()?;
    if list.is_empty() || !data.is_empty() {
        return Err(MalformedHello::BadLength);
    }
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let protocol = list.short_vector()?;
        if protocol.is_empty() {
            return Err(MalformedHello::BadLength);
        }
        protocols.push(protocol.0.to_vec());
    }
    Ok(protocols)
}

/// Bytes still to be read.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MalformedHello> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(MalformedHello::BadLength)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, MalformedHello> {
        let (number, rest) = self
            .0
            .split_first_chunk()
            .ok_or(MalformedHello::BadLength)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*number))
    }

    /// Takes a vector with a length of two bytes before it.
    fn vector(&mut self) -> Result<Self, MalformedHello> {
        let len = self.number()?;
        self.take(usize::from(len)).map(Self)
    }

    /// Takes a vector with a length of one byte before it.
    fn short_vector(&mut self) -> Result<Self, MalformedHello> {
        let len = self.take(1)?.first().copied().unwrap_or_default();
        self.take(usize::from(len)).map(Self)
    }
}

#[cfg(test)]
mod tests;
