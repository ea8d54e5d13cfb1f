//! Finds the blocks of a PEM text and decodes their base64. A block begins at the start of a line or straight
//! behind the end of another; white space inside it has no meaning. What a block is for is not known here.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::bad::BadPem;

/// Five dashes, with which `BEGIN` and `END` lines start and end.
const DASHES: &[u8] = b"-----";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// UTF-8's byte order mark, which editors of Windows write, and which joining files leaves in the middle.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Longest label, in bytes; the longest in use has 29.
const LABEL_LEN_MAX: usize = 64;

/// As lenient as OpenSSL about bits and signs of equality at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A block whose meaning is not known yet.
#[derive(Debug)]
pub(super) struct Raw<'a> {
    /// The line of its `BEGIN`, counted from one.
    pub(super) line: usize,
    pub(super) label: &'a str,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Bytes(Vec<u8>),
    /// The bytes are encrypted, as the header says (RFC 1421 section 4.6.1.1).
    Encrypted,
}

/// Finds all blocks.
///
/// # Errors
/// A `BEGIN` or `END` that belongs to no block, or a block that is no base64.
pub(super) fn scan(text: &[u8]) -> Result<Vec<Raw<'_>>, BadPem> {
    let mut cursor = Cursor {
        text,
        at: 0,
        line: 1,
    };
    let mut found = Vec::new();
    let mut behind_block = false;
    while cursor.at < text.len() {
        behind_block = match cursor.label(behind_block)? {
            Some(label) => {
                found.push(cursor.block(label)?);
                true
            }
            None => false,
        };
    }
    Ok(found)
}

/// A place in a text.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// The line of the place, counted from one.
    line: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes forward by `len` bytes.
    fn pass(&mut self, len: usize) {
        let passed = self.rest().get(..len).unwrap_or(self.rest());
        let mut before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        for byte in passed {
            // CRLF ends one line, CR alone another.
            let ends = *byte == b'\n' && before != Some(&b'\r') || *byte == b'\r';
            self.line += usize::from(ends);
            before = Some(byte);
        }
        self.at += passed.len();
    }

    /// Passes over the rest of a line, or up to the end of a `BEGIN`, whose label it returns.
    fn label(&mut self, behind_block: bool) -> Result<Option<&'a str>, BadPem> {
        let line = line_of(self.rest());
        let bare = if behind_block {
            line.trim_ascii_start()
        } else {
            line
        };
        let bare = bare.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bare);
        if !behind_block && bare.trim_ascii_start().starts_with(b"#") {
            self.pass(line.len() + 1);
            return Ok(None);
        }
        if let Some(rest) = bare.strip_prefix(BEGIN) {
            let label = label_of(rest).ok_or(BadPem::Mark { line: self.line })?;
            self.pass(line.len() - rest.len() + label.len() + DASHES.len());
            return Ok(Some(label));
        }
        match fault_of(line, self.rest().len() == line.len()) {
            Some(fault) => Err(fault(self.line)),
            None => {
                self.pass(line.len() + 1);
                Ok(None)
            }
        }
    }

    /// Reads a block from behind its `BEGIN`, and passes over its `END`.
    fn block(&mut self, label: &'a str) -> Result<Raw<'a>, BadPem> {
        let line = self.line;
        let no_end = || BadPem::NoEnd {
            line,
            label: label.to_owned(),
        };
        let start = *self;
        let len = find(self.rest(), DASHES).ok_or_else(no_end)?;
        let body = self.rest().get(..len).unwrap_or_default();
        self.pass(len);
        let rest = self.rest();
        if rest.starts_with(BEGIN) {
            return Err(no_end());
        }
        let other = rest.strip_prefix(END).map(|rest| label_of(line_of(rest)));
        let Some(Some(other)) = other else {
            // A text that ends inside of an END line is as truncated as one that ends before it.
            let whole_len = END.len() + label.len() + DASHES.len();
            let is_cut = line_of(rest).len() == rest.len() && rest.len() < whole_len;
            return Err(if is_cut {
                no_end()
            } else {
                BadPem::Mark { line: self.line }
            });
        };
        if other != label {
            return Err(BadPem::OtherEnd {
                line,
                label: label.to_owned(),
                end_line: self.line,
                other: other.to_owned(),
            });
        }
        let body = start.decode(body, label)?;
        self.pass(END.len() + label.len() + DASHES.len());
        Ok(Raw { line, label, body })
    }

    /// Decodes the body of a block that begins here.
    fn decode(mut self, body: &[u8], label: &str) -> Result<Body, BadPem> {
        let written_out = body.iter().position(|byte| *byte == b'\\');
        if let Some(at) = written_out {
            self.pass(at);
            return Err(BadPem::WrittenOut { line: self.line });
        }
        if body.trim_ascii_start().starts_with(b"Proc-Type:") && find(body, b"ENCRYPTED").is_some()
        {
            return Ok(Body::Encrypted);
        }
        let is_legal = |byte: &u8| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'+' | b'/' | b'=')
                || byte.is_ascii_whitespace()
        };
        let not_base64 = |line| BadPem::NotBase64 {
            line,
            label: label.to_owned(),
        };
        if let Some(at) = body.iter().position(|byte| !is_legal(byte)) {
            self.pass(at);
            return Err(not_base64(self.line));
        }
        let signs = body.iter().filter(|byte| !byte.is_ascii_whitespace());
        let signs: Vec<u8> = signs.copied().collect();
        let bytes = BASE64.decode(signs).map_err(|_| not_base64(self.line))?;
        Ok(Body::Bytes(bytes))
    }
}

/// Returns the label at the start of `rest`, which ends with five dashes in the same line.
fn label_of(rest: &[u8]) -> Option<&str> {
    let label = rest.get(..find(rest, DASHES)?)?;
    let is_legal = |byte: &u8| {
        byte.is_ascii_uppercase()
            || byte.is_ascii_digit()
            || matches!(byte, b' ' | b'.' | b'#' | b'-' | b'_' | b'/')
    };
    let is_label = (1..=LABEL_LEN_MAX).contains(&label.len()) && label.iter().all(is_legal);
    is_label.then(|| str::from_utf8(label).ok()).flatten()
}

/// Returns what is wrong with a line outside of a block; `is_last` = no line end follows it.
fn fault_of(line: &[u8], is_last: bool) -> Option<fn(usize) -> BadPem> {
    let text = line.trim_ascii();
    if let Some(at) = find(line, BEGIN) {
        let before = line.get(..at).unwrap_or_default();
        return Some(if before.trim_ascii().is_empty() {
            |line| BadPem::Indented { line }
        } else {
            |line| BadPem::TextBefore { line }
        });
    }
    if find(line, END).is_some() {
        return Some(|line| BadPem::EndAlone { line });
    }
    // U+2010 to U+2015: dashes that a word processor has put in.
    let has_dashes = matches!(
        text,
        [b'-', ..] | [.., b'-'] | [0xe2, 0x80, 0x90..=0x95, ..]
    );
    let has_word = find(text, b"BEGIN ").is_some() || find(text, b"END ").is_some();
    let is_cut = is_last && text.len() > DASHES.len() && BEGIN.starts_with(text);
    (has_dashes && has_word || is_cut).then_some(|line| BadPem::Mark { line })
}

/// Returns `text` up to its first line end.
fn line_of(text: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let len = text.iter().position(is_end).unwrap_or(text.len());
    text.get(..len).unwrap_or(text)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}
