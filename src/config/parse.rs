//! From a text to [`Config`]: applies every rule of the keys and collects every error.
//!
//! A wrong value is reported and replaced by its default, so that the rest is still read; a [`Config`] is
//! returned only if there was no error.

use std::path::Path;

use super::Config;
use super::errors::{Error, Errors};
use super::keys::{self, Draft};
use super::read::{Reading, Table};

/// Parses a configuration; the warnings still have their positions and are not in the [`Config`] yet.
///
/// # Errors
/// Every error of `text`, with positions in `file`.
pub(super) fn config(text: &str, file: &Path) -> Result<(Config, Vec<Error>), Errors> {
    let mut reading = Reading::new(text, file);
    let tree = reading.tree()?;
    reading.know_backends(&tree, keys::is_backend_name);
    let draft = Draft::read(Table::root(&reading, tree));
    let warnings = reading.warnings();
    reading.verdict()?;
    Ok((draft.into_config(), warnings))
}
