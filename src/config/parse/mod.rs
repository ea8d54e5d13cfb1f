//! From the tree to [`Config`]: every rule of the contract, every error of the text at once.
//!
//! A value that is wrong is noted and replaced by its default, so that the rest is read all the
//! same; what comes out is a [`Config`] only when nothing was noted.

mod admin;
mod backend;
mod behind;
mod listener;
mod pages;
mod process;
mod route;
mod server_tls;

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::errors::{Error, Errors};
use super::read::{Place, Reading, Table, Value};
use super::{Bind, Config};

/// Parses a configuration; the warnings still know their places and are not in the [`Config`] yet.
///
/// # Errors
/// Everything that is wrong with `text`, with positions in `file`.
pub(super) fn config(text: &str, file: &Path) -> Result<(Config, Vec<Error>), Errors> {
    let reading = Reading::new(text, file);
    let tree = reading.tree()?;
    let mut root = Table::root(&reading, tree);
    let mut taken = Unique::default();
    let process = process::process(root.table_or_empty("server"), &mut taken);
    let log = process::log(root.table_or_empty("log"));
    let (backends, names) = backend::backends(&mut root);
    let mut listeners = listener::listeners(&mut root, &names, &mut taken);
    let tells_subject =
        |listener: &super::Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_subject);
    let guarded = listeners.iter().any(tells_subject);
    for listener in &mut listeners {
        listener.guards_client_subject = guarded;
    }
    names.report_unused();
    names.report_misplaced(&listeners);
    drop(root);
    let warnings = reading.warnings();
    reading.verdict()?;
    let config = Config {
        source: None,
        process,
        log,
        listeners,
        backends,
        warnings: Vec::new(),
    };
    Ok((config, warnings))
}

/// Longest duration of any key: a year. It keeps sums of times far from overflow.
const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

/// Durations that may not be zero.
const POSITIVE: RangeInclusive<Duration> = Duration::from_millis(1)..=DURATION_MAX;
/// Durations that may be zero.
const OR_ZERO: RangeInclusive<Duration> = Duration::ZERO..=DURATION_MAX;

/// Highest number of connections a key may name, far above what one machine holds.
const CONNECTIONS_MAX: u64 = 16_777_216;

/// Longest name of a listener or backend, in bytes.
const NAME_LEN_MAX: usize = 128;

/// What was used up already, by this and by other parts of the text (addresses, names).
#[derive(Debug)]
struct Unique<K> {
    taken: HashMap<K, String>,
}

impl<K> Default for Unique<K> {
    fn default() -> Self {
        Self {
            taken: HashMap::new(),
        }
    }
}

impl<K: Hash + Eq> Unique<K> {
    /// Remembers `key` as set at `place`; returns the key path that had it before, if any.
    fn claim(&mut self, key: K, place: &Place<'_, '_>) -> Option<String> {
        self.taken.insert(key, place.key.clone())
    }
}

/// Addresses somebody listens on.
type Binds = Unique<Bind>;

/// Checks the name of a listener or backend.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > NAME_LEN_MAX {
        return Err(format!("is longer than {NAME_LEN_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// Turns a number that [`Value::number`] checked into a count.
fn count(number: u64) -> Option<NonZeroUsize> {
    NonZeroUsize::new(usize::try_from(number).ok()?)
}

/// Takes the elements of a list, or of a single string in its place.
fn elements<'r, 'a>(
    table: &mut Table<'r, 'a>,
    key: &'static str,
    wanted: &str,
) -> Vec<Value<'r, 'a>> {
    table
        .take(key)
        .map_or_else(Vec::new, |value| value.one_or_more(wanted))
}
