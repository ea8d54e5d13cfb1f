//! From a text to [`Config`]: every rule of the keys, every error of the text at once.
//!
//! A value that is wrong is noted and replaced by its default, so that the rest is read all the
//! same; what comes out is a [`Config`] only when nothing was noted.

use std::path::Path;

use super::Config;
use super::errors::{Error, Errors};
use super::keys::{self, Draft};
use super::read::{Reading, Table};

/// Parses a configuration; the warnings still know their places and are not in the [`Config`] yet.
///
/// # Errors
/// Everything that is wrong with `text`, with positions in `file`.
pub(super) fn config(text: &str, file: &Path) -> Result<(Config, Vec<Error>), Errors> {
    let mut reading = Reading::new(text, file);
    let tree = reading.tree()?;
    reading.know_backends(&tree, keys::is_backend_name);
    let draft = Draft::read(Table::root(&reading, tree));
    let warnings = reading.warnings();
    reading.verdict()?;
    Ok((draft.into_config(), warnings))
}
