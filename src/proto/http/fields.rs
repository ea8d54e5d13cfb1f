//! Header fields that control the message itself: lists, the connection, and the framing.

use super::extension::is_token_byte;
use super::framing::Framing;
use super::line::{HttpVersion, Line};
use super::refusal::Malformed;

/// Options of Connection that are looked up for every header line; more are refused.
const CONNECTION_OPTIONS_MAX: usize = 64;

/// Returns the elements of a list (RFC 9110 5.6.1), without surrounding white space; empty elements are
/// skipped, as the RFC demands.
pub(super) fn elements(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// Returns the elements of all lines with that name, as one list (RFC 9110 5.3).
pub(super) fn elements_of<'l, 'a>(
    lines: &'l [Line<'a>],
    name: &'l str,
) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'l, 'a> {
    named(lines, name).flat_map(|line| elements(line.value))
}

/// Returns the lines of that name, in order.
pub(super) fn named<'l, 'a>(
    lines: &'l [Line<'a>],
    name: &'l str,
) -> impl DoubleEndedIterator<Item = &'l Line<'a>> + use<'l, 'a> {
    lines.iter().filter(move |line| line.is(name))
}

/// Removes spaces and tabs at both ends.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The options of Connection that concern the connection itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl ConnectionOptions {
    /// Reads all Connection lines.
    ///
    /// # Errors
    /// [`Malformed::ConnectionOptions`] if there are more than any legitimate message needs.
    pub(super) fn read(lines: &[Line<'_>]) -> Result<Self, Malformed> {
        let mut options = Self::default();
        for (count, option) in elements_of(lines, "connection").enumerate() {
            if count >= CONNECTION_OPTIONS_MAX {
                return Err(Malformed::ConnectionOptions);
            }
            options.close |= option.eq_ignore_ascii_case(b"close");
            options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(options)
    }

    /// Returns whether the sender of a message of that version keeps the connection open (RFC 9112 9.3).
    pub(super) fn persists(self, version: HttpVersion) -> bool {
        match version {
            HttpVersion::Http11 => !self.close,
            HttpVersion::Http10 => self.keep_alive && !self.close,
        }
    }
}

/// The length of a body as the head announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// Not announced.
    Nothing,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

impl From<Framing> for Announced {
    /// Tells how a body of that framing is announced.
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::UntilClose => Self::Nothing,
            Framing::Length(len) => Self::Length(len),
            Framing::Chunked => Self::Chunked,
        }
    }
}

impl Announced {
    /// Reads Content-Length and Transfer-Encoding (RFC 9112 6), which must not be ambiguous.
    ///
    /// # Errors
    /// A [`Malformed`] for each way to be ambiguous.
    pub(super) fn read(lines: &[Line<'_>], version: HttpVersion) -> Result<Self, Malformed> {
        let mut lengths = named(lines, "content-length");
        let length = lengths.next();
        let mut encodings = named(lines, "transfer-encoding");
        let encoding = encodings.next();
        if length.is_some() && encoding.is_some() {
            return Err(Malformed::LengthAndEncoding);
        }
        if lengths.next().is_some() {
            return Err(Malformed::ContentLengthRepeated);
        }
        if let Some(line) = length {
            return content_length(line.value).map(Self::Length);
        }
        let Some(line) = encoding else {
            return Ok(Self::Nothing);
        };
        if version == HttpVersion::Http10 {
            return Err(Malformed::EncodingInHttp10);
        }
        if encodings.next().is_some() {
            return Err(Malformed::TransferCoding);
        }
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let is_unknown = |coding: &[u8]| is_coding(coding) && !is_chunked(coding);
        if elements(line.value).any(is_unknown) {
            return Err(Malformed::UnknownCoding);
        }
        let mut codings = elements(line.value);
        match (codings.next(), codings.next()) {
            (Some(coding), None) if is_chunked(coding) => Ok(Self::Chunked),
            _ => Err(Malformed::TransferCoding),
        }
    }
}

/// Returns whether an element of Transfer-Encoding has the form of a coding (RFC 9112 7): a name, and perhaps
/// parameters, which `chunked` does not have.
fn is_coding(element: &[u8]) -> bool {
    let (name, parameters) = match element.iter().position(|byte| *byte == b';') {
        Some(at) => element.split_at(at),
        None => (element, &[][..]),
    };
    let name = name.trim_ascii_end();
    let has_parameters = !parameters.is_empty();
    !name.is_empty()
        && name.iter().all(|byte| is_token_byte(*byte))
        && !(has_parameters && name.eq_ignore_ascii_case(b"chunked"))
}

/// Parses a Content-Length: digits only, and below 2^63, because many servers use signed numbers.
fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let digits_only = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits_only)
        .and_then(|text| text.parse::<i64>().ok())
        .and_then(|length| u64::try_from(length).ok())
        .ok_or(Malformed::ContentLengthValue)
}
