//! TOML as a tree that knows positions, and typed values taken out of it.
//!
//! A [`Table`] gives each key away once. Whatever is wrong with a value is noted in the [`Reading`]
//! with its position and key path, and a stand-in goes on, so that one reading finds every error.
//! Keys that nobody took are unknown: a table reports them when it is dropped.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::errors::{Error, Errors, Finding, located};
use super::units;

/// One reading of one text, and what was found in it.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    text: &'a str,
    file: &'a Path,
    base: PathBuf,
    errors: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<Finding>>,
}

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
        }
    }

    /// Takes the text apart, or tells what is no TOML.
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

    /// Tells whether anything was wrong so far.
    pub(super) fn verdict(&self) -> Result<(), Errors> {
        let errors = located(self.errors.take(), self.text, self.file);
        Errors::of(errors).map_or(Ok(()), Err)
    }

    /// Returns the warnings in the order of the file.
    pub(super) fn warnings(&self) -> Vec<Error> {
        located(self.warnings.take(), self.text, self.file)
    }
}

/// Words the parser's error as ours are, with the text it is about.
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

/// Where a key or a value stands, and where findings about it go.
#[derive(Debug, Clone)]
pub(super) struct Place<'r, 'a> {
    reading: &'r Reading<'a>,
    /// Offset in bytes.
    at: usize,
    /// Key path; empty for the whole text.
    pub(super) key: String,
}

impl<'r, 'a> Place<'r, 'a> {
    /// Notes an error.
    pub(super) fn reject(&self, message: impl Into<String>) {
        self.reading.errors.borrow_mut().push(self.finding(message));
    }

    /// Notes something that is legal but deserves a word.
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

    /// Returns the directory where relative paths start.
    pub(super) fn base(&self) -> &'r Path {
        &self.reading.base
    }

    /// Returns the place of a key of this table, as long as no value with its own place is known.
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

/// A table whose keys are taken out one after the other.
#[derive(Debug)]
pub(super) struct Table<'r, 'a> {
    /// Where the table stands.
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

    /// Tells whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Returns where the value of a key stands, or its table when it is absent.
    pub(super) fn place_of(&self, key: &str) -> Place<'r, 'a> {
        let place = self.place.child(key);
        match self.entries.get(key) {
            Some(value) => place.moved(value.span().start),
            None => place,
        }
    }

    /// Tells whether the key is there with anything but an empty list.
    pub(super) fn names_any(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| {
            let list = value.get_ref().as_array();
            list.is_none_or(|items| !items.is_empty())
        })
    }

    /// Notes those of the keys that are there as out of place.
    pub(super) fn refuse(&self, keys: &[&str], message: &str) {
        for key in keys {
            if let Some((name, _)) = self.entries.get_key_value(*key) {
                let place = self.place.child(key).moved(name.span().start);
                place.reject(format!("does not belong here: {message}"));
            }
        }
    }

    /// Takes the value of a key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'r, 'a>> {
        self.asked.push(key);
        let value = self.entries.remove(key)?;
        Some(Value::new(self.place.child(key), value))
    }

    /// Takes every key that is left, with its name; each value stands where its key does.
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

    /// Takes the value of a key that must be there.
    pub(super) fn require(&mut self, key: &'static str, wanted: &str) -> Option<Value<'r, 'a>> {
        let value = self.take(key);
        if value.is_none() {
            self.missing(key, wanted);
        }
        value
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, wanted: &str) {
        self.place.child(key).reject(format!("missing; {wanted}"));
    }

    /// Takes a table.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        self.take(key)?.table()
    }

    /// Takes a table, or one without keys when it is absent.
    pub(super) fn table_or_empty(&mut self, key: &'static str) -> Self {
        match self.table(key) {
            Some(table) => table,
            None => Self::new(self.place.child(key), DeTable::new()),
        }
    }

    /// Takes the tables written `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        if value.is_table() {
            let header = without_indexes(&value.place.key);
            value.place.reject(format!(
                "is one table; a list of tables, each written [[{header}]]"
            ));
            return Vec::new();
        }
        let items = value.list("a list of tables");
        items.into_iter().filter_map(Value::table).collect()
    }

    /// Takes the tables written `[[key]]`, of which there must be one.
    pub(super) fn tables_required(&mut self, key: &'static str, header: &str) -> Vec<Self> {
        if !self.names_any(key) {
            self.missing(key, &format!("at least one {header}"));
        }
        self.tables(key)
    }

    /// Takes a boolean.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.take(key)?.boolean()
    }

    /// Takes a whole number in a range.
    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.take(key)?.number(range)
    }

    /// Takes a duration in a range.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let wanted = "a whole number and a unit such as \"300ms\", \"10s\", \"5m\" or \"24h\"";
        self.take(key)?
            .parse(wanted, |text| units::duration(text, &range))
    }

    /// Takes one of the words that are allowed.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        self.take(key)?.choice(choices)
    }

    /// Takes a path of a file; a relative one starts at the directory of the configuration.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.take(key)?.path()
    }
}

impl Drop for Table<'_, '_> {
    fn drop(&mut self) {
        for (key, _) in &self.entries {
            let name = key.get_ref();
            let place = self.place.child(name).moved(key.span().start);
            let guess = match near(name, &self.asked) {
                Some(known) => format!("unknown key; did you mean {known}?"),
                None if self.asked.is_empty() => "unknown key".to_owned(),
                None => format!("unknown key; {}", self.asked.join(", ")),
            };
            place.reject(guess);
        }
    }
}

/// A value, taken out of its table or list.
#[derive(Debug)]
pub(super) struct Value<'r, 'a> {
    /// Where the value stands.
    pub(super) place: Place<'r, 'a>,
    value: DeValue<'a>,
}

impl<'r, 'a> Value<'r, 'a> {
    fn new(place: Place<'r, 'a>, value: Spanned<DeValue<'a>>) -> Self {
        let at = value.span().start;
        Self {
            place: place.moved(at),
            value: value.into_inner(),
        }
    }

    /// Tells whether this is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Tells whether this is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// Tells whether this is a string.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// Tells whether this is the string `text`.
    pub(super) fn is(&self, text: &str) -> bool {
        self.value.as_str() == Some(text)
    }

    fn wrong_type(&self, wanted: &str) {
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

    /// Returns the table it is.
    pub(super) fn table(self) -> Option<Table<'r, 'a>> {
        if let DeValue::Table(entries) = self.value {
            return Some(Table::new(self.place, entries));
        }
        self.wrong_type("a table");
        None
    }

    /// Returns the elements of the list it is.
    pub(super) fn list(self, wanted: &str) -> Vec<Self> {
        let DeValue::Array(items) = self.value else {
            self.wrong_type(wanted);
            return Vec::new();
        };
        let element = |(index, item)| {
            let key = format!("{}[{index}]", self.place.key);
            let place = Place {
                key,
                ..self.place.clone()
            };
            Self::new(place, item)
        };
        items.into_iter().enumerate().map(element).collect()
    }

    /// Returns the elements of the list it is, or itself as the only one; an empty list is an error.
    pub(super) fn one_or_more(self, wanted: &str) -> Vec<Self> {
        if !self.is_list() {
            return vec![self];
        }
        let place = self.place.clone();
        let items = self.list(wanted);
        if items.is_empty() {
            place.reject(format!("is empty; at least one: {wanted}"));
        }
        items
    }

    /// Returns the boolean it is.
    pub(super) fn boolean(self) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong_type("true or false");
        }
        value
    }

    /// Returns the whole number it is, if it is in range.
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

    /// Returns the size in bytes it is (`"16KiB"`, or a bare number of bytes), if it is in range.
    pub(super) fn size(self, range: RangeInclusive<u64>) -> Option<u64> {
        if self.value.is_integer() {
            return self.number(range);
        }
        let wanted = "a whole number and a unit such as \"512B\", \"16KiB\" or \"1MiB\"";
        self.parse(wanted, |text| units::size(text, &range))
    }

    /// Returns what `parse` makes of the string it is; `parse` returns what is wrong otherwise, and
    /// `wanted` tells what is allowed.
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

    /// Returns the meaning of the word it is.
    pub(super) fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.parse(&alternatives(&words), |text| {
            let chosen = choices.iter().find(|(word, _)| *word == text);
            chosen
                .map(|(_, value)| *value)
                .ok_or_else(|| "is unknown".to_owned())
        })
    }

    /// Returns the path it is; a relative one starts at the directory of the configuration.
    pub(super) fn path(self) -> Option<PathBuf> {
        let base = self.place.base();
        self.parse("the path of a file", |text| resolved(base, text))
    }
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

/// Longest piece of a user's text in a message, in bytes.
const SHOWN_LEN_MAX: usize = 80;

/// Quotes a text of the user, shortened, without control characters.
pub(super) fn shown(text: &str) -> String {
    let head = &text[..text.floor_char_boundary(SHOWN_LEN_MAX)];
    if head.len() == text.len() {
        format!("{head:?}")
    } else {
        format!("{head:?}...")
    }
}

/// Joins words as `a, b or c`.
pub(super) fn alternatives(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
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

/// Returns the known word that `word` was probably meant to be.
pub(super) fn near<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    /// Longer words are no typing error of ours; it bounds the work, too.
    const WORD_LEN_MAX: usize = 32;
    if word.len() > WORD_LEN_MAX {
        return None;
    }
    let written = word.to_ascii_lowercase().replace('-', "_");
    let close = |known: &&'w str| {
        let distance = edits(written.as_bytes(), known.as_bytes());
        (distance <= 2 && distance * 2 < known.len()).then_some((distance, *known))
    };
    let best = known.iter().filter_map(close).min();
    best.map(|(_, known)| known)
}

/// Counts the insertions, deletions and replacements that turn one word into the other.
fn edits(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.iter().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (b, cell) in to.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
