//! The end of a body (RFC 9112 sections 6 and 7): counted, chunked, or at the end of the connection.
//!
//! This file decides how many bytes belong to a body, whether its framing is ambiguous, and which of its bytes
//! are passed on: all but chunk extensions and blanks behind a chunk size, or the content alone for readers
//! that know no chunks. It does not change the content.

use thiserror::Error;

use super::extension::{Extension, is_token_byte};
use super::line::HeadLimits;

/// How a message's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk and the trailers.
    Chunked,
    /// At the end of the connection (responses only).
    UntilClose,
}

/// The form in which a chunked body is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As chunks, with the trailers.
    Chunks,
    /// As content alone, whose end is the end of the connection: for HTTP/1.0. Trailers are dropped (RFC 9110
    /// section 6.5.1).
    Content,
}

/// Hexadecimal digits of a chunk size: what 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;
/// Longest extension of one chunk, in bytes, with the blanks before it; signatures of uploads need about 100.
const EXTENSION_LEN_MAX: u16 = 1024;
/// Bytes of a trailer's name that are kept for comparison: the length of the longest refused name, and one
/// more, so that longer names differ.
const NAME_KEPT_MAX: usize = 18;

/// Trailers that frame or route a message, or describe the client; all of `x-forwarded-` too.
const REFUSED_TRAILERS: [&str; 11] = [
    "connection",
    "content-length",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-client-subject",
    "x-real-ip",
];
const REFUSED_TRAILER_PREFIX: &[u8] = b"x-forwarded-";

/// Why a body cannot be forwarded: a 400 for a request that is not answered yet, a 502 for a
/// response; in any case the connection is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FramingError {
    /// RFC 9112 7.1: not one to 16 hexadecimal digits below 2^63, directly followed by `;` or CRLF.
    #[error("a chunk size is not one to 16 hexadecimal digits")]
    ChunkSize,
    /// RFC 9112 7.1.1: not of the form `;name` or `;name=value`, or too long.
    #[error("a chunk extension is not ';name' or ';name=value', or is longer than 1024 bytes")]
    ChunkExtension,
    /// RFC 9112 7.1: no CRLF after the data of a chunk, or a bare CR or LF.
    #[error("a chunk or a trailer does not end with CRLF")]
    LineEnd,
    /// RFC 9112 7.1.2: a trailer that is not a header line.
    #[error("a trailer is malformed")]
    Trailer,
    /// RFC 9110 6.5.1: a trailer that frames or routes a message.
    #[error("a trailer frames or routes the message")]
    TrailerRefused,
    /// Longer trailers than the limit of a head, which stands in this table.
    #[error("the trailers are longer than {max} bytes, the limit `head` in [{table}]")]
    TrailersTooLong {
        /// The limit.
        max: usize,
        /// The table of its key.
        table: &'static str,
    },
    /// More trailers than the limit of header lines, which stands in this table.
    #[error("there are more than {max} trailers, the limit `headers` in [{table}]")]
    TooManyTrailers {
        /// The limit.
        max: usize,
        /// The table of its key.
        table: &'static str,
    },
}

/// The result of one call of [`Body::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Bytes of the input that belong to the body. Fewer than the input only if the body is done.
    pub used: usize,
    /// Bytes to be passed on: those at the start of the input, where [`Body::advance`] has moved them. What
    /// stands between them and `used` has no meaning any more.
    pub passed: usize,
    /// Bytes of content among them, without chunk sizes and trailers: counted by `max_body`.
    pub content: u64,
    /// Whether the body is complete.
    pub done: bool,
}

/// The progress of a body: a few words of state, no buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    state: State,
    form: Form,
    sender: Sender,
    trailers: Trailers,
}

/// The side that a body comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Client,
    /// Some old servers write a chunk size of fixed width, with blanks behind it.
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Counted {
        left: u64,
    },
    UntilClose,
    Size {
        digits: u8,
        size: u64,
    },
    /// Blanks behind a chunk size.
    Blanks {
        size: u64,
        len: u16,
    },
    Extension {
        size: u64,
        len: u16,
        read: Extension,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    LineStart,
    TrailerName {
        len: usize,
        kept: [u8; NAME_KEPT_MAX],
    },
    TrailerValue,
    TrailerLf,
    EndLf,
    Broken(FramingError),
}

/// The trailers so far, and their limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trailers {
    bytes: usize,
    bytes_max: usize,
    lines: usize,
    lines_max: usize,
}

impl Body {
    /// Starts the body of a request; trailers may be as long and as many as header lines.
    #[must_use]
    pub fn of_request(framing: Framing, limits: &HeadLimits) -> Self {
        Self::new(framing, Form::Chunks, Sender::Client, limits)
    }

    /// Starts the body of a response, to be passed on in `form` if it is chunked.
    #[must_use]
    pub fn of_response(framing: Framing, form: Form, limits: &HeadLimits) -> Self {
        Self::new(framing, form, Sender::Server, limits)
    }

    fn new(framing: Framing, form: Form, sender: Sender, limits: &HeadLimits) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Counted { left },
            Framing::Chunked => State::Size { digits: 0, size: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        let trailers = Trailers {
            bytes: 0,
            bytes_max: limits.head,
            lines: 0,
            lines_max: limits.headers,
        };
        Self {
            state,
            form,
            sender,
            trailers,
        }
    }

    /// Returns whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Returns how many bytes of the body are missing, if that is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Counted { left } => Some(left),
            State::UntilClose
            | State::Size { .. }
            | State::Blanks { .. }
            | State::Extension { .. }
            | State::SizeLf { .. }
            | State::Data { .. }
            | State::DataCr
            | State::DataLf
            | State::LineStart
            | State::TrailerName { .. }
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf
            | State::Broken(_) => None,
        }
    }

    /// Returns whether the connection may end here without truncating the body.
    #[must_use]
    pub fn may_end(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// Parses more input, and moves the bytes of it that are to be passed on to its start, in order. Any split
    /// of a body into inputs gives the same sums, the same bytes and the same end. Bytes behind the end of the
    /// body stay where they are.
    ///
    /// # Errors
    /// A [`FramingError`], for this and every later call; nothing of this input is to be passed on.
    ///
    /// # Source
    /// RFC 9112 sections 6.3 and 7.1.
    pub fn advance(&mut self, input: &mut [u8]) -> Result<Advance, FramingError> {
        let (mut used, mut passed, mut content) = (0, 0, 0);
        while let Some(rest @ [_, ..]) = input.get(used..) {
            if self.is_done() {
                break;
            }
            let (state, step) = self.step(rest);
            self.state = state;
            if let State::Broken(error) = state {
                return Err(error);
            }
            content += step.content;
            if self.passes(step) {
                if passed < used {
                    // Only ranges within `input`: `step.used` is at most the length of `rest`.
                    input.copy_within(used..used + step.used, passed);
                }
                passed += step.used;
            }
            used += step.used;
        }
        Ok(Advance {
            used,
            passed,
            content,
            done: self.is_done(),
        })
    }

    /// Tells whether the bytes of a step that led to the present state are passed on.
    fn passes(&self, step: Step) -> bool {
        match (self.state, self.form) {
            (State::Blanks { .. } | State::Extension { .. }, _) => false,
            (_, Form::Chunks) => true,
            (_, Form::Content) => step.content > 0,
        }
    }

    /// Takes one byte, or a run of opaque ones; `input` is not empty.
    fn step(&mut self, input: &[u8]) -> (State, Step) {
        match self.state {
            State::Done | State::Broken(_) => (self.state, Step::of(0)),
            State::UntilClose => (State::UntilClose, Step::content(input.len())),
            State::Counted { left } => {
                let (left, step) = opaque(left, input);
                match left {
                    0 => (State::Done, step),
                    left => (State::Counted { left }, step),
                }
            }
            State::Data { left } => {
                let (left, step) = opaque(left, input);
                match left {
                    0 => (State::DataCr, step),
                    left => (State::Data { left }, step),
                }
            }
            State::Size { .. }
            | State::Blanks { .. }
            | State::Extension { .. }
            | State::SizeLf { .. }
            | State::DataCr
            | State::DataLf => {
                let byte = input.first().copied().unwrap_or_default();
                (chunk_byte(self.state, byte, self.sender), Step::of(1))
            }
            State::LineStart
            | State::TrailerName { .. }
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => {
                let byte = input.first().copied().unwrap_or_default();
                (self.trailer_byte(byte), Step::of(1))
            }
        }
    }

    /// Takes one byte of the trailers, counting it against the limits.
    fn trailer_byte(&mut self, byte: u8) -> State {
        let table = match self.sender {
            Sender::Client => "listener.limits",
            Sender::Server => "backend.limits",
        };
        let trailers = &mut self.trailers;
        if trailers.bytes >= trailers.bytes_max {
            let max = trailers.bytes_max;
            return State::Broken(FramingError::TrailersTooLong { max, table });
        }
        trailers.bytes += 1;
        match (self.state, byte) {
            (State::LineStart, b'\r') => State::EndLf,
            (State::LineStart, _) if trailers.lines >= trailers.lines_max => {
                let max = trailers.lines_max;
                State::Broken(FramingError::TooManyTrailers { max, table })
            }
            (State::LineStart, _) => {
                trailers.lines += 1;
                name_byte(0, [0; NAME_KEPT_MAX], byte)
            }
            (State::TrailerName { len, kept }, _) => name_byte(len, kept, byte),
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => State::TrailerValue,
            (State::TrailerValue, b'\n') => State::Broken(FramingError::LineEnd),
            (State::TrailerLf, b'\n') => State::LineStart,
            (State::EndLf, b'\n') => State::Done,
            (State::TrailerLf | State::EndLf, _) => State::Broken(FramingError::LineEnd),
            (_, _) => State::Broken(FramingError::Trailer),
        }
    }
}

/// The bytes that a step took.
#[derive(Clone, Copy)]
struct Step {
    used: usize,
    content: u64,
}

impl Step {
    fn of(used: usize) -> Self {
        Self { used, content: 0 }
    }

    fn content(used: usize) -> Self {
        Self {
            used,
            content: used as u64,
        }
    }
}

/// Takes as much of `input` as `left` allows, and returns the rest of `left`.
fn opaque(left: u64, input: &[u8]) -> (u64, Step) {
    let used = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    (left - used as u64, Step::content(used))
}

/// Takes one byte of a chunk's size line, or of the line end after its data.
fn chunk_byte(state: State, byte: u8, sender: Sender) -> State {
    match (state, byte) {
        (State::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
            let digit = char::from(byte).to_digit(16).unwrap_or_default();
            if digits >= SIZE_DIGITS_MAX {
                return State::Broken(FramingError::ChunkSize);
            }
            State::Size {
                digits: digits + 1,
                size: size << 4 | u64::from(digit),
            }
        }
        (State::Size { digits: 1.., size }, _) if i64::try_from(size).is_ok() => {
            behind_size(size, 0, byte, sender)
        }
        (State::Blanks { size, len }, _) => behind_size(size, len, byte, sender),
        (State::Extension { size, read, .. }, b'\r') if read.may_end(sender == Sender::Server) => {
            State::SizeLf { size }
        }
        (State::Extension { size, len, read }, _) if len < EXTENSION_LEN_MAX => {
            match read.next(byte) {
                Some(read) => State::Extension {
                    size,
                    len: len + 1,
                    read,
                },
                None => State::Broken(FramingError::ChunkExtension),
            }
        }
        (State::SizeLf { size: 0 }, b'\n') => State::LineStart,
        (State::SizeLf { size }, b'\n') => State::Data { left: size },
        (State::DataCr, b'\r') => State::DataLf,
        (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
        (State::Size { .. }, _) => State::Broken(FramingError::ChunkSize),
        (State::Extension { .. }, _) => State::Broken(FramingError::ChunkExtension),
        (_, _) => State::Broken(FramingError::LineEnd),
    }
}

/// Takes one byte behind a whole chunk size and `len` blanks.
fn behind_size(size: u64, len: u16, byte: u8, sender: Sender) -> State {
    match (byte, sender) {
        (b'\r', _) => State::SizeLf { size },
        (b';', _) => State::Extension {
            size,
            len,
            read: Extension::Semicolon,
        },
        (b' ' | b'\t', Sender::Server) if len < EXTENSION_LEN_MAX => {
            State::Blanks { size, len: len + 1 }
        }
        (_, _) => State::Broken(FramingError::ChunkSize),
    }
}

/// Takes one byte of a trailer's name, of which `kept` holds the start in lower case.
fn name_byte(len: usize, mut kept: [u8; NAME_KEPT_MAX], byte: u8) -> State {
    if byte == b':' && len > 0 {
        let name = kept.get(..len).unwrap_or(&kept);
        return match is_refused_trailer(name) {
            true => State::Broken(FramingError::TrailerRefused),
            false => State::TrailerValue,
        };
    }
    if !is_token_byte(byte) {
        return State::Broken(FramingError::Trailer);
    }
    if let Some(slot) = kept.get_mut(len) {
        // A character that is neither letter nor digit counts as `-`, as in the headers.
        *slot = match byte.is_ascii_alphanumeric() {
            true => byte.to_ascii_lowercase(),
            false => b'-',
        };
    }
    State::TrailerName { len: len + 1, kept }
}

fn is_refused_trailer(name: &[u8]) -> bool {
    name.starts_with(REFUSED_TRAILER_PREFIX)
        || REFUSED_TRAILERS.iter().any(|one| one.as_bytes() == name)
}

#[cfg(test)]
mod tests;
