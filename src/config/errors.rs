//! Errors of a configuration with their positions: all that one reading finds, in the order of the file.

use std::fmt;
use std::path::{Path, PathBuf};

/// All errors of one file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Its position; none = the file as a whole, or no file at all.
    pub position: Option<Position>,
    /// Key path (`listener[0].bind[1]`), or the option of the command line.
    pub key: String,
    /// The fault, and what is allowed.
    pub message: String,
}

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl Errors {
    /// Returns the errors; none if the list is empty.
    pub(super) fn of(list: Vec<Error>) -> Option<Self> {
        (!list.is_empty()).then_some(Self(list))
    }

    /// Makes the error of a file that cannot be read.
    pub(super) fn of_file(file: &Path, message: &str) -> Self {
        Self(vec![Error {
            position: None,
            key: file.display().to_string(),
            message: message.to_owned(),
        }])
    }

    /// Makes the error of a text that is not UTF-8 from offset `at` on.
    pub(super) fn of_encoding(file: &Path, text: &str, at: usize) -> Self {
        let finding = Finding {
            at,
            key: "syntax".to_owned(),
            message: "is not UTF-8; TOML is UTF-8".to_owned(),
        };
        Self(located(vec![finding], text, file))
    }

    /// Iterates over the errors in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }

    /// Returns the errors after `rename` of each.
    pub(super) fn map(self, rename: impl Fn(Error) -> Error) -> Self {
        Self(self.0.into_iter().map(rename).collect())
    }
}

impl fmt::Display for Errors {
    /// Writes one line for each error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.0 {
            writeln!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { file, line, column }) = &self.position {
            write!(f, "{}:{line}:{column}: ", file.display())?;
        }
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// An error or a warning at an offset of the text.
#[derive(Debug)]
pub(super) struct Finding {
    /// Offset in bytes; beyond the text counts as its end.
    pub(super) at: usize,
    /// Key path.
    pub(super) key: String,
    /// The fault, and what is allowed.
    pub(super) message: String,
}

/// Turns offsets into positions and sorts by them.
pub(super) fn located(mut findings: Vec<Finding>, text: &str, file: &Path) -> Vec<Error> {
    findings.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
    let locate = |finding: Finding| Error {
        position: Some(position(text, finding.at, file)),
        key: finding.key,
        message: finding.message,
    };
    findings.into_iter().map(locate).collect()
}

fn position(text: &str, at: usize, file: &Path) -> Position {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
