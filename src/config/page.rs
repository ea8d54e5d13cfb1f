//! Text in TOML, line by line.

use std::fmt::Write;
use std::path::Path;

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins a table.
    pub(super) fn header(&mut self, header: &str) {
        self.text.push('\n');
        self.text.push_str(header);
        self.text.push('\n');
    }

    /// Adds `key = value`.
    pub(super) fn line(&mut self, key: &str, value: &str) {
        self.text.push_str(key);
        self.text.push_str(" = ");
        self.text.push_str(value);
        self.text.push('\n');
    }

    /// Returns the text.
    pub(super) fn as_str(&self) -> &str {
        self.text.trim_start_matches('\n')
    }
}

/// Writes a text as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                // Writing to a `String` is infallible.
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// Writes a path as a string of TOML.
pub(super) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}
