//! TOML as a tree with positions, and typed values taken out of it.
//!
//! A [`Table`] gives each key away once. A wrong value is reported to the [`Reading`] with its position and
//! key path, and a default takes its place, so that one reading finds every error. Keys that were not taken
//! are unknown: a table reports them when it is dropped.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::errors::{Error, Errors, Finding, located};
use super::words::{alternatives, shown, unknown_key};

/// One reading of one text, with its findings.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    text: &'a str,
    file: &'a Path,
    base: PathBuf,
    errors: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<Finding>>,
    /// The values taken, by key path.
    taken: RefCell<HashMap<String, Taken>>,
    /// Values that must be unique, with the key path of the first.
    claims: RefCell<HashMap<Claim, String>>,
    /// The names of all backends, known before the first route refers to one.
    backends: BTreeSet<String>,
}

/// A value that was taken.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// Offset of the key.
    key_at: usize,
    /// Offset of the value.
    at: usize,
    /// Whether it is an empty list.
    is_empty: bool,
}

/// A value that must be unique.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Claim {
    among: Among,
    /// Key path of the list in which it must be unique; empty = in the file.
    list: String,
    spelling: String,
}

/// The scope in which a value must be unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Among {
    /// Addresses that this process listens on.
    Binds,
    /// Names of listeners.
    ListenerNames,
    /// Names of backends.
    BackendNames,
    /// The tables of one list.
    Rows,
}

/// Names of backends listed in the message about an unknown one.
const NAMES_LISTED_MAX: usize = 10;

impl<'a> Reading<'a> {
    /// Begins to read `text`; relative paths in it start at the directory of `file`.
    pub(super) fn new(text: &'a str, file: &'a Path) -> Self {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let base = absolute.parent().unwrap_or(Path::new("")).to_owned();
        Self {
            text,
            file,
            base,
            errors: RefCell::default(),
            warnings: RefCell::default(),
            taken: RefCell::default(),
            claims: RefCell::default(),
            backends: BTreeSet::new(),
        }
    }

    /// Looks up the names of the backends; one that `is_legal` refuses names no backend.
    pub(super) fn know_backends(
        &mut self,
        tree: &Spanned<DeTable<'_>>,
        is_legal: impl Fn(&str) -> bool,
    ) {
        let backends = tree.get_ref().get("backend").map(Spanned::get_ref);
        let backends = backends.and_then(DeValue::as_array).into_iter().flatten();
        let names =
            backends.filter_map(|it| it.get_ref().as_table()?.get("name")?.get_ref().as_str());
        let names = names.filter(|name| is_legal(name));
        self.backends = names.map(str::to_owned).collect();
    }

    /// Parses the text; returns the syntax error if it is not TOML.
    pub(super) fn tree(&self) -> Result<Spanned<DeTable<'a>>, Errors> {
        let (tree, syntax) = DeTable::parse_recoverable(self.text);
        for error in syntax {
            let span = error.span().unwrap_or(self.text.len()..self.text.len());
            self.errors.borrow_mut().push(Finding {
                at: span.start,
                key: "syntax".to_owned(),
                message: syntax_message(&error, self.text.get(span).unwrap_or("")),
            });
        }
        self.verdict().map(|()| tree)
    }

    /// Returns the errors found so far, if there are any.
    pub(super) fn verdict(&self) -> Result<(), Errors> {
        let errors = located(self.errors.take(), self.text, self.file);
        Errors::of(errors).map_or(Ok(()), Err)
    }

    /// Returns the warnings in the order of the file.
    pub(super) fn warnings(&self) -> Vec<Error> {
        located(self.warnings.take(), self.text, self.file)
    }
}

/// Rewords the parser's error like our own, with the text it is about.
fn syntax_message(error: &toml::de::Error, text: &str) -> String {
    let (wrong, allowed) = match error.message().split_once(", expected ") {
        Some((wrong, expected)) => (wrong, format!("expected {expected}")),
        None if error.message() == "duplicate key" => {
            (error.message(), "each key stands once".to_owned())
        }
        None => (error.message(), "TOML as of https://toml.io".to_owned()),
    };
    if text.is_empty() {
        format!("{wrong}; {allowed}")
    } else {
        format!("{wrong}: {}; {allowed}", shown(text))
    }
}

/// The place of a key or a value, to which findings are attached.
#[derive(Debug, Clone)]
pub(super) struct Place<'r, 'a> {
    reading: &'r Reading<'a>,
    /// Offset in bytes.
    at: usize,
    /// Key path; empty for the whole text.
    pub(super) key: String,
}

impl<'r, 'a> Place<'r, 'a> {
    /// Reports an error.
    pub(super) fn reject(&self, message: impl Into<String>) {
        self.reading.errors.borrow_mut().push(self.finding(message));
    }

    /// Reports a warning about a legal value.
    pub(super) fn warn(&self, message: impl Into<String>) {
        let finding = self.finding(message);
        self.reading.warnings.borrow_mut().push(finding);
    }

    fn finding(&self, message: impl Into<String>) -> Finding {
        Finding {
            at: self.at,
            key: self.key.clone(),
            message: message.into(),
        }
    }

    /// Returns the directory at which relative paths start.
    pub(super) fn base(&self) -> &'r Path {
        &self.reading.base
    }

    /// Returns the place of a key of this table, for use until its value's own place is known.
    fn child(&self, key: &str) -> Self {
        Self {
            reading: self.reading,
            at: self.at,
            key: child_path(&self.key, key),
        }
    }

    fn moved(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// Claims a unique value for this place; returns the key path that has claimed it already, if any.
    pub(super) fn claim(&self, among: Among, spelling: String) -> Option<String> {
        let list = match among {
            Among::Binds | Among::ListenerNames | Among::BackendNames => "",
            Among::Rows => self.key.rsplit_once('[').map_or("", |(list, _)| list),
        };
        let claim = Claim {
            among,
            list: list.to_owned(),
            spelling,
        };
        let mut claims = self.reading.claims.borrow_mut();
        claims.insert(claim, self.key.clone())
    }

    /// Returns whether a backend has this name.
    pub(super) fn is_backend(&self, name: &str) -> bool {
        self.reading.backends.contains(name)
    }

    /// Lists the names of backends for a message.
    pub(super) fn backends_listed(&self) -> String {
        let names = &self.reading.backends;
        if names.is_empty() {
            return "the name of a [[backend]], of which there is none".to_owned();
        }
        let mut words: Vec<&str> = names
            .iter()
            .take(NAMES_LISTED_MAX)
            .map(String::as_str)
            .collect();
        if names.len() > words.len() {
            words.push("another");
        }
        format!("the name of a backend: {}", alternatives(&words))
    }
}

/// A table that has been read, for rules about which keys were written. Keys are key paths within it.
#[derive(Debug, Clone)]
pub(super) struct Scope<'r, 'a> {
    /// The place of the table.
    pub(super) place: Place<'r, 'a>,
}

impl<'r, 'a> Scope<'r, 'a> {
    fn taken(&self, key: &str) -> Option<Taken> {
        let path = child_path_of(&self.place.key, key);
        self.place.reading.taken.borrow().get(&path).copied()
    }

    /// Returns whether a key is written, legal or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.taken(key).is_some()
    }

    /// Returns whether a key is written with anything but an empty list.
    pub(super) fn names_any(&self, key: &str) -> bool {
        self.taken(key).is_some_and(|taken| !taken.is_empty)
    }

    /// Returns the place of a key's value, or of this table if the key is absent.
    pub(super) fn place_of(&self, key: &str) -> Place<'r, 'a> {
        let at = self.taken(key).map_or(self.place.at, |taken| taken.at);
        Place {
            reading: self.place.reading,
            at,
            key: child_path_of(&self.place.key, key),
        }
    }

    /// Returns the table that was read at a key path of the whole file.
    pub(super) fn row(&self, path: &str) -> Self {
        let taken = self.place.reading.taken.borrow().get(path).copied();
        Self {
            place: Place {
                reading: self.place.reading,
                at: taken.map_or(self.place.at, |taken| taken.at),
                key: path.to_owned(),
            },
        }
    }

    /// Reports those of the keys that are written as not allowed here.
    pub(super) fn refuse(&self, keys: &[&str], message: &str) {
        for key in keys {
            if let Some(taken) = self.taken(key) {
                let place = self.place_of(key).moved(taken.key_at);
                place.reject(format!("does not belong here: {message}"));
            }
        }
    }

    /// Returns whether the value of a key had an error.
    pub(super) fn is_wrong(&self, key: &str) -> bool {
        let path = child_path_of(&self.place.key, key);
        let errors = self.place.reading.errors.borrow();
        errors.iter().any(|error| is_within(&error.key, &path))
    }

    /// Reports that a key is not allowed here, instead of errors in its value.
    pub(super) fn refuse_whole(&self, key: &str, message: &str) {
        let place = self.place_of(key);
        let mut errors = self.place.reading.errors.borrow_mut();
        errors.retain(|error| !is_within(&error.key, &place.key));
        drop(errors);
        place.reject(format!("does not belong here: {message}"));
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, wanted: &str) {
        self.place_of(key).reject(format!("missing; {wanted}"));
    }
}

/// Returns whether a key path is `path`, or leads into it.
fn is_within(key: &str, path: &str) -> bool {
    let rest = key.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Joins key paths that are made of bare keys.
fn child_path_of(table: &str, key: &str) -> String {
    match table {
        "" => key.to_owned(),
        table => format!("{table}.{key}"),
    }
}

/// Joins a key to the path of its table, quoted unless it is a bare key.
pub(super) fn child_path(table: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let key = if bare {
        key.to_owned()
    } else {
        format!("{key:?}")
    };
    if table.is_empty() {
        key
    } else {
        format!("{table}.{key}")
    }
}

/// A table whose keys are taken one by one.
#[derive(Debug)]
pub(super) struct Table<'r, 'a> {
    /// The place of the table.
    pub(super) place: Place<'r, 'a>,
    entries: DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'r, 'a> Table<'r, 'a> {
    /// Makes the table of the whole text.
    pub(super) fn root(reading: &'r Reading<'a>, tree: Spanned<DeTable<'a>>) -> Self {
        let place = Place {
            reading,
            at: 0,
            key: String::new(),
        };
        Self::new(place, tree.into_inner())
    }

    fn new(place: Place<'r, 'a>, entries: DeTable<'a>) -> Self {
        Self {
            place,
            entries,
            asked: Vec::new(),
        }
    }

    /// Returns whether the key is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Returns whether the key is written with anything but an empty list.
    pub(super) fn names_any(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| {
            let list = value.get_ref().as_array();
            list.is_none_or(|items| !items.is_empty())
        })
    }

    /// Takes the value of a key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'r, 'a>> {
        self.asked.push(key);
        let (name, value) = self.entries.remove_entry(key)?;
        Some(Value::new(self.place.child(key), name.span().start, value))
    }

    /// Takes every remaining key, with its name; each value has the place of its key.
    pub(super) fn take_all(&mut self) -> Vec<(String, Value<'r, 'a>)> {
        let entries = std::mem::take(&mut self.entries);
        let taken = entries.into_iter().map(|(key, value)| {
            let place = self.place.child(key.get_ref()).moved(key.span().start);
            let value = Value {
                place,
                value: value.into_inner(),
            };
            (key.into_inner().into_owned(), value)
        });
        taken.collect()
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, wanted: &str) {
        self.place.child(key).reject(format!("missing; {wanted}"));
    }

    /// Returns the scope for rules about this table.
    pub(super) fn scope(&self) -> Scope<'r, 'a> {
        let place = self.place.clone();
        Scope { place }
    }
}

impl Drop for Table<'_, '_> {
    fn drop(&mut self) {
        for (key, _) in &self.entries {
            let name = key.get_ref();
            let place = self.place.child(name).moved(key.span().start);
            place.reject(unknown_key(name, &self.asked));
        }
    }
}

/// A value, taken out of its table or list.
#[derive(Debug)]
pub(super) struct Value<'r, 'a> {
    /// The place of the value.
    pub(super) place: Place<'r, 'a>,
    value: DeValue<'a>,
}

impl<'r, 'a> Value<'r, 'a> {
    fn new(place: Place<'r, 'a>, key_at: usize, value: Spanned<DeValue<'a>>) -> Self {
        let at = value.span().start;
        let taken = Taken {
            key_at,
            at,
            is_empty: value.get_ref().as_array().is_some_and(|it| it.is_empty()),
        };
        let mut all = place.reading.taken.borrow_mut();
        all.insert(place.key.clone(), taken);
        drop(all);
        Self {
            place: place.moved(at),
            value: value.into_inner(),
        }
    }

    /// Returns whether this is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Returns whether this is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// Returns whether this is a string.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// Returns whether this is a whole number.
    pub(super) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// Returns whether this is the string `text`.
    pub(super) fn is(&self, text: &str) -> bool {
        self.value.as_str() == Some(text)
    }

    /// Reports that the value has the wrong type.
    pub(super) fn wrong_type(&self, wanted: &str) {
        let article = match &self.value {
            DeValue::Integer(_) | DeValue::Array(_) => "an",
            DeValue::String(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => "a",
        };
        self.place
            .reject(format!("is {article} {}; {wanted}", self.value.type_str()));
    }

    /// Returns the value as a table.
    pub(super) fn table(self) -> Option<Table<'r, 'a>> {
        if let DeValue::Table(entries) = self.value {
            return Some(Table::new(self.place, entries));
        }
        self.wrong_type("a table");
        None
    }

    /// Returns the elements of the value as a list.
    pub(super) fn list(self, wanted: &str) -> Vec<Self> {
        let DeValue::Array(items) = self.value else {
            self.wrong_type(wanted);
            return Vec::new();
        };
        let element = |(index, item): (usize, Spanned<DeValue<'a>>)| {
            let key = format!("{}[{index}]", self.place.key);
            let place = Place {
                key,
                ..self.place.clone()
            };
            let at = item.span().start;
            Self::new(place, at, item)
        };
        items.into_iter().enumerate().map(element).collect()
    }

    /// Returns the value as tables, written `[[key]]`.
    pub(super) fn tables(self) -> Vec<Table<'r, 'a>> {
        if self.is_table() {
            let header = without_indexes(&self.place.key);
            self.place.reject(format!(
                "is one table; a list of tables, each written [[{header}]]"
            ));
            return Vec::new();
        }
        let items = self.list("a list of tables");
        items.into_iter().filter_map(Self::table).collect()
    }

    /// Returns the value as a string, quoted for a message.
    pub(super) fn shown(&self) -> String {
        shown(self.value.as_str().unwrap_or_default())
    }

    /// Returns the value as a string.
    pub(super) fn text(self, wanted: &str) -> Option<String> {
        self.parse(wanted, |text| Ok(text.to_owned()))
    }

    /// Returns the value as a boolean.
    pub(super) fn boolean(self) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong_type("true or false");
        }
        value
    }

    /// Returns the value as a whole number, if it is in range.
    pub(super) fn number(self, range: RangeInclusive<u64>) -> Option<u64> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(integer) = self.value.as_integer() else {
            self.wrong_type(&wanted);
            return None;
        };
        let number = unsigned(integer).filter(|number| range.contains(number));
        if number.is_none() {
            self.place
                .reject(format!("{integer} is out of range; {wanted}"));
        }
        number
    }

    /// Returns the result of `parse` for the value as a string; otherwise `parse` returns the error, and
    /// `wanted` says what is allowed.
    pub(super) fn parse<T>(
        self,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(text) = self.value.as_str() else {
            self.wrong_type(wanted);
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.place
                    .reject(format!("{} {wrong}; {wanted}", shown(text)));
                None
            }
        }
    }

    /// Returns the path of the readable file that the value names; a relative one starts at the directory of
    /// the configuration.
    pub(super) fn file(self, wanted: &str) -> Option<PathBuf> {
        let base = self.place.base();
        self.parse(wanted, |text| {
            let path = resolved(base, text)?;
            readable(&path)?;
            Ok(path)
        })
    }
}

/// Returns why a file cannot be read. Only regular files are opened: a FIFO would block.
pub(super) fn readable(path: &Path) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = path.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    File::open(path).map_err(unreadable)?;
    Ok(())
}

/// Returns a path as the process will use it.
pub(super) fn resolved(base: &Path, text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains('\0') {
        return Err("holds a NUL".to_owned());
    }
    Ok(base.join(text))
}

fn unsigned(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Reads a value that stands alone, such as a default; returns its errors.
///
/// # Errors
/// Every error.
pub(super) fn alone(value: &str, read: impl FnOnce(Value<'_, '_>)) -> Result<(), Errors> {
    let text = format!("value = {value}");
    let reading = Reading::new(&text, Path::new("/"));
    let tree = reading.tree()?;
    let mut table = Table::root(&reading, tree);
    if let Some(value) = table.take("value") {
        read(value);
    }
    drop(table);
    reading.verdict()
}

fn without_indexes(path: &str) -> String {
    let mut depth = 0_u32;
    let keep = |character: &char| {
        if *character == '[' {
            depth += 1;
        }
        let outside = depth == 0;
        if *character == ']' {
            depth = depth.saturating_sub(1);
        }
        outside
    };
    path.chars().filter(keep).collect()
}
