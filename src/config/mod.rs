//! The effective configuration: after parsing only legal values exist, so no code checks again.
//!
//! `keys` declares every key once, in the terms of `section` and `types`. `read` turns TOML into a tree with
//! positions, `parse` turns that into [`Config`] and collects all errors, `print` writes it back; `model`
//! holds the values. Names and defaults are a contract with operators.

mod address;
mod admin;
mod behind;
mod errors;
mod facility;
mod keys;
mod model;
mod one_liner;
mod page;
mod parse;
mod print;
mod read;
mod reference;
mod schema;
mod section;
mod shape;
#[cfg(test)]
mod tests;
mod types;
mod units;
mod words;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

pub use crate::balance::Method as Balance;
pub use admin::{AdminAccess, AdminToken};
pub use behind::Behind;
pub use errors::{Error, Errors, Position};
pub use model::*;
pub use one_liner::OneLiner;
pub use reference::reference;
pub use schema::schema;
pub(crate) use units::duration_text;

/// Longest configuration file, in bytes; it also bounds every list in it.
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;

/// Reads and parses a configuration file.
///
/// # Errors
/// The file cannot be read, or every error in it.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let mut config = parse(&text_of(path)?, path)?;
    config.source = std::path::absolute(path).ok();
    Ok(config)
}

/// Reads a time such as "10s" as the configuration does.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    units::duration(text, &(Duration::ZERO..=Duration::MAX))
}

/// Parses a configuration; `file` is for messages, and relative paths start at its directory.
///
/// Certificates, error pages and the token of `admin_http` are read, nothing else outside `text`.
///
/// # Errors
/// Every error, in the order of the text.
pub fn parse(text: &str, file: &Path) -> Result<Config, Errors> {
    let (mut config, warnings) = parse::config(text, file)?;
    config.warnings = warnings.iter().map(Error::to_string).collect();
    Ok(config)
}

fn text_of(path: &Path) -> Result<String, Errors> {
    let unreadable = |error: std::io::Error| {
        Errors::of_file(path, &format!("cannot be read: {error}; a file in TOML"))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let len = file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes);
    if len.map_err(unreadable)? as u64 > FILE_LEN_MAX {
        let message = format!("is too long; at most {}", units::size_text(FILE_LEN_MAX));
        return Err(Errors::of_file(path, &message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        Errors::of_encoding(path, &String::from_utf8_lossy(error.as_bytes()), valid)
    })
}
