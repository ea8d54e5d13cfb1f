//! What is wrong with a PEM file, in words, with the line and a remedy.

use super::foreign::ForeignForm;

/// What is wrong with a PEM file, and a remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPem {
    /// The file is of another form.
    #[error("{0}")]
    Foreign(ForeignForm),
    /// There is no certificate in it.
    #[error("holds no certificate (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// There is no revocation list in it.
    #[error("holds no revocation list (BEGIN X509 CRL)")]
    NoCrl,
    /// A `BEGIN` or `END` line is damaged.
    #[error(
        "line {line}: a BEGIN or END line is damaged; it has five dashes at either end, as in -----BEGIN CERTIFICATE-----"
    )]
    Mark {
        /// Its line.
        line: usize,
    },
    /// Blanks stand before `BEGIN`.
    #[error(
        "line {line}: blanks stand before BEGIN; remove the indentation of the block (sed 's/^[ \\t]*//' FILE > NEW)"
    )]
    Indented {
        /// Its line.
        line: usize,
    },
    /// Text stands before `BEGIN`.
    #[error("line {line}: text stands before BEGIN; begin a new line before the dashes")]
    TextBefore {
        /// Its line.
        line: usize,
    },
    /// An `END` line stands alone.
    #[error(
        "line {line}: END without a BEGIN before it; the beginning of the block is missing, copy the file anew"
    )]
    EndAlone {
        /// Its line.
        line: usize,
    },
    /// The text ends, or another block begins, inside a block.
    #[error(
        "line {line}: BEGIN {label} without its END; the file is truncated there, copy it anew"
    )]
    NoEnd {
        /// The line of `BEGIN`.
        line: usize,
        /// Its label.
        label: String,
    },
    /// `END` has another label than `BEGIN`.
    #[error(
        "line {line}: BEGIN {label} is followed by END {other} in line {end_line}; a part between them is missing, copy the file anew"
    )]
    OtherEnd {
        /// The line of `BEGIN`.
        line: usize,
        /// Its label.
        label: String,
        /// The line of `END`.
        end_line: usize,
        /// Its label.
        other: String,
    },
    /// Line ends are written as a backslash and a letter.
    #[error(
        "line {line}: line ends are written out as \\n; turn them into real ones (printf '%b' \"$(cat FILE)\" > NEW)"
    )]
    WrittenOut {
        /// The line of the first of them.
        line: usize,
    },
    /// A block holds something other than base64.
    #[error("line {line}: is not base64, in BEGIN {label}; copy the file anew")]
    NotBase64 {
        /// The line at fault.
        line: usize,
        /// The label of the block.
        label: String,
    },
    /// The bytes of a block are not what its label says.
    #[error(
        "line {line}: BEGIN {label} is damaged: its bytes are no whole {noun} in DER; copy the file anew"
    )]
    Damaged {
        /// The line of `BEGIN`.
        line: usize,
        /// The label of the block.
        label: String,
        /// The noun for what was expected.
        noun: &'static str,
    },
    /// A private key needs a passphrase.
    #[error(
        "the private key is encrypted (line {line}); openssl pkey -in KEY -out NEW takes the passphrase off"
    )]
    Encrypted {
        /// The line of `BEGIN`.
        line: usize,
    },
    /// A block cannot be used at all.
    #[error("line {line}: BEGIN {label}: {why}")]
    Unusable {
        /// The line of `BEGIN`.
        line: usize,
        /// The label of the block.
        label: String,
        /// A description and a remedy.
        why: String,
    },
    /// A block is of a kind that does not belong into this file.
    #[error("line {line}: BEGIN {label} does not belong here; {remedy}")]
    Misplaced {
        /// The line of `BEGIN`.
        line: usize,
        /// The label of the block.
        label: String,
        /// A remedy.
        remedy: &'static str,
    },
}
