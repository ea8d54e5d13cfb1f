//! The ordinary types of keys: numbers, times, sizes, words, texts, lists, and combinations of them.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::page::{Page, quoted, quoted_path};
use super::read::{Among, Value, resolved};
use super::section::Type;
use super::shape::Shape;
use super::units;
use super::words::{alternatives, wrong_word};

/// Longest duration of any key: a year. It keeps sums of times far from overflow.
pub(super) const DURATION_MAX: Duration = Duration::from_hours(365 * 24);
/// Durations that may not be zero.
pub(super) const POSITIVE: RangeInclusive<Duration> = Duration::from_millis(1)..=DURATION_MAX;
/// Durations that may be zero.
pub(super) const OR_ZERO: RangeInclusive<Duration> = Duration::ZERO..=DURATION_MAX;
/// Highest number of connections a key may name, far above what one machine holds.
pub(super) const CONNECTIONS_MAX: u64 = 16_777_216;

/// `true` or `false`.
pub(super) struct Bool;

impl Type for Bool {
    type Value = bool;

    fn read(&self, value: Value<'_, '_>) -> Option<bool> {
        value.boolean()
    }

    fn show(&self, value: &mut bool) -> Option<String> {
        Some(value.to_string())
    }

    fn wanted(&self) -> String {
        "true or false".to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Bool
    }
}

/// A number in a model.
pub(super) trait Number: Copy + Sync {
    /// Returns the number, if it fits the type; the range of the key ensures that.
    fn from_u64(number: u64) -> Option<Self>;
    /// Returns the number.
    fn as_u64(self) -> u64;
}

macro_rules! number {
    ($($of:ty),*) => {$(
        impl Number for $of {
            fn from_u64(number: u64) -> Option<Self> {
                Self::try_from(number).ok()
            }

            fn as_u64(self) -> u64 {
                u64::try_from(self).unwrap_or(u64::MAX)
            }
        }
    )*};
}
number!(u16, u32, u64, usize);

impl Number for NonZeroUsize {
    fn from_u64(number: u64) -> Option<Self> {
        Self::new(usize::try_from(number).ok()?)
    }

    fn as_u64(self) -> u64 {
        self.get().as_u64()
    }
}

/// A whole number in a range.
pub(super) struct Whole<N> {
    range: RangeInclusive<u64>,
    from: fn(u64) -> Option<N>,
}

impl<N: Number> Whole<N> {
    /// Makes the type of the numbers of a range.
    pub(super) const fn within(range: RangeInclusive<u64>) -> Self {
        let from = N::from_u64;
        Self { range, from }
    }
}

impl<N: Number> Type for Whole<N> {
    type Value = N;

    fn read(&self, value: Value<'_, '_>) -> Option<N> {
        value.number(self.range.clone()).and_then(self.from)
    }

    fn show(&self, value: &mut N) -> Option<String> {
        Some(value.as_u64().to_string())
    }

    fn wanted(&self) -> String {
        whole_wanted(&self.range)
    }

    fn shape(&self) -> Shape {
        Shape::Whole(self.range.clone())
    }
}

/// Returns which numbers are allowed.
pub(super) fn whole_wanted(range: &RangeInclusive<u64>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

/// A time in a range.
pub(super) struct Time(pub(super) RangeInclusive<Duration>);

impl Type for Time {
    type Value = Duration;

    fn read(&self, value: Value<'_, '_>) -> Option<Duration> {
        value.parse(&self.wanted(), |text| units::duration(text, &self.0))
    }

    fn show(&self, value: &mut Duration) -> Option<String> {
        Some(quoted(&units::duration_text(*value)))
    }

    fn wanted(&self) -> String {
        units::DURATION.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Duration(self.0.clone())
    }

    fn parse(&self, _: &Path, text: &str) -> Option<Result<Duration, String>> {
        Some(units::duration(text, &self.0))
    }
}

/// A time of whole seconds in a range.
pub(super) struct Seconds {
    /// The range.
    pub(super) range: RangeInclusive<Duration>,
    /// What is allowed, in words.
    pub(super) wanted: &'static str,
}

impl Seconds {
    fn of(&self, text: &str) -> Result<Duration, String> {
        let time = units::duration(text, &self.range)?;
        if time.subsec_nanos() != 0 {
            return Err("is no whole number of seconds".to_owned());
        }
        Ok(time)
    }
}

impl Type for Seconds {
    type Value = Duration;

    fn read(&self, value: Value<'_, '_>) -> Option<Duration> {
        value.parse(self.wanted, |text| self.of(text))
    }

    fn show(&self, value: &mut Duration) -> Option<String> {
        Some(quoted(&units::duration_text(*value)))
    }

    fn wanted(&self) -> String {
        self.wanted.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Duration(self.range.clone())
    }

    fn parse(&self, _: &Path, text: &str) -> Option<Result<Duration, String>> {
        Some(self.of(text))
    }
}

/// A size in bytes in a range.
pub(super) struct Size<N> {
    range: RangeInclusive<u64>,
    from: fn(u64) -> Option<N>,
}

impl<N: Number> Size<N> {
    /// Makes the type of the sizes of a range.
    pub(super) const fn within(range: RangeInclusive<u64>) -> Self {
        let from = N::from_u64;
        Self { range, from }
    }

    fn sized(&self, text: &str) -> Result<N, String> {
        let bytes = units::size(text, &self.range)?;
        (self.from)(bytes).ok_or_else(|| "is too large for this machine".to_owned())
    }
}

impl<N: Number> Type for Size<N> {
    type Value = N;

    fn read(&self, value: Value<'_, '_>) -> Option<N> {
        if value.is_integer() {
            return value.number(self.range.clone()).and_then(self.from);
        }
        value.parse(&self.wanted(), |text| self.sized(text))
    }

    fn show(&self, value: &mut N) -> Option<String> {
        Some(quoted(&units::size_text(value.as_u64())))
    }

    fn wanted(&self) -> String {
        units::SIZE.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Size(self.range.clone())
    }

    fn parse(&self, _: &Path, text: &str) -> Option<Result<N, String>> {
        Some(self.sized(text))
    }
}

/// A word of a choice: its spelling, its value, its meaning.
pub(super) type Word<T> = (&'static str, T, &'static str);

/// One of some words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [Word<T>]);

impl<T: Copy + PartialEq + Sync> Choice<T> {
    fn spellings(&self) -> Vec<&'static str> {
        self.0.iter().map(|(word, _, _)| *word).collect()
    }

    /// Returns the spelling of a value.
    fn spelling(&self, value: T) -> Option<&'static str> {
        let found = self.0.iter().find(|(_, meant, _)| *meant == value);
        found.map(|(word, _, _)| *word)
    }

    fn meant(&self, text: &str) -> Option<T> {
        let found = self.0.iter().find(|(word, _, _)| *word == text);
        found.map(|(_, value, _)| *value)
    }

    fn described(&self) -> Vec<(&'static str, &'static str)> {
        let all = self.0.iter();
        all.map(|(word, _, meaning)| (*word, *meaning)).collect()
    }
}

impl<T: Copy + PartialEq + Sync> Type for Choice<T> {
    type Value = T;

    fn read(&self, value: Value<'_, '_>) -> Option<T> {
        let wanted = self.wanted();
        let place = value.place.clone();
        let text = value.text(&wanted)?;
        let meant = self.meant(&text);
        if meant.is_none() {
            place.reject(wrong_word(&text, &self.spellings(), &wanted));
        }
        meant
    }

    fn show(&self, value: &mut T) -> Option<String> {
        self.spelling(*value).map(quoted)
    }

    fn wanted(&self) -> String {
        alternatives(&self.spellings())
    }

    fn shape(&self) -> Shape {
        Shape::Choice(self.described())
    }
}

/// Some words, or a value of another type: `"auto"` or a number.
pub(super) struct WordOr<V: 'static, T: Type> {
    /// The words.
    pub(super) words: Choice<V>,
    /// The other type.
    pub(super) or: T,
    /// Converts a value of the other type into one of the model.
    pub(super) wrap: fn(T::Value) -> V,
    /// Returns the value of the other type, if it is one.
    pub(super) unwrap: fn(&V) -> Option<T::Value>,
}

impl<V: Copy + PartialEq + Sync, T: Type> Type for WordOr<V, T> {
    type Value = V;

    fn read(&self, value: Value<'_, '_>) -> Option<V> {
        if !value.is_text() {
            let is_number = value.is_integer() && matches!(self.or.shape(), Shape::Size(_));
            if self.is_text() && !is_number {
                value.wrong_type(&self.wanted());
                return None;
            }
            return self.or.read(value).map(self.wrap);
        }
        if !self.is_text() {
            return self.words.read(value);
        }
        let place = value.place.clone();
        value.parse(&self.wanted(), |text| {
            if let Some(meant) = self.words.meant(text) {
                return Ok(meant);
            }
            let unknown = || Err("is unknown".to_owned());
            let parsed = self.or.parse(place.base(), text).unwrap_or_else(unknown);
            parsed.map(self.wrap)
        })
    }

    fn show(&self, value: &mut V) -> Option<String> {
        match (self.unwrap)(value) {
            Some(mut other) => self.or.show(&mut other),
            None => self.words.show(value),
        }
    }

    fn wanted(&self) -> String {
        format!(
            "{}, or {}",
            self.words.spellings().join(", "),
            self.or.wanted()
        )
    }

    fn shape(&self) -> Shape {
        Shape::Either(vec![self.words.shape(), self.or.shape()])
    }
}

impl<V: Copy + PartialEq + Sync, T: Type> WordOr<V, T> {
    /// Returns whether values of the other type are written as a text, like the words.
    fn is_text(&self) -> bool {
        self.or.parse(Path::new(""), "").is_some()
    }
}

/// A text with a parser.
pub(super) struct Text<T: 'static> {
    /// What is allowed, in words.
    pub(super) wanted: &'static str,
    /// The same as a regular expression, as far as possible; empty = any text.
    pub(super) pattern: &'static str,
    /// Parses it; relative paths start at the given directory. Errors are words that follow the text.
    pub(super) parse: fn(&Path, &str) -> Result<T, String>,
    /// Writes it.
    pub(super) show: fn(&T) -> String,
}

impl<T> Type for Text<T> {
    type Value = T;

    fn read(&self, value: Value<'_, '_>) -> Option<T> {
        let place = value.place.clone();
        value.parse(self.wanted, |text| (self.parse)(place.base(), text))
    }

    fn show(&self, value: &mut T) -> Option<String> {
        Some(quoted(&(self.show)(value)))
    }

    fn wanted(&self) -> String {
        self.wanted.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Text {
            what: self.wanted.to_owned(),
            pattern: self.pattern,
        }
    }

    fn parse(&self, base: &Path, text: &str) -> Option<Result<T, String>> {
        Some((self.parse)(base, text))
    }
}

/// The path of a file, which need not exist; a relative one starts at the configuration's directory.
pub(super) const PATH: Text<PathBuf> = Text {
    wanted: "the path of a file",
    pattern: "^[^\\u0000]+$",
    parse: resolved,
    show: |path| path.to_string_lossy().into_owned(),
};

/// The path of a file that can be read.
pub(super) struct Readable {
    /// What is allowed, in words.
    pub(super) wanted: &'static str,
}

/// A file of certificates or keys.
pub(super) const PEM: Readable = Readable {
    wanted: "the path of a PEM file",
};

impl Type for Readable {
    type Value = PathBuf;

    fn read(&self, value: Value<'_, '_>) -> Option<PathBuf> {
        value.file(self.wanted)
    }

    fn show(&self, value: &mut PathBuf) -> Option<String> {
        Some(quoted_path(value))
    }

    fn wanted(&self) -> String {
        self.wanted.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Text {
            what: self.wanted.to_owned(),
            pattern: PATH.pattern,
        }
    }
}

/// A value that may be absent; its absence is not printed.
pub(super) struct Maybe<T>(pub(super) T);

impl<T: Type> Type for Maybe<T> {
    type Value = Option<T::Value>;

    fn read(&self, value: Value<'_, '_>) -> Option<Self::Value> {
        self.0.read(value).map(Some)
    }

    fn show(&self, value: &mut Self::Value) -> Option<String> {
        self.0.show(value.as_mut()?)
    }

    fn print(&self, name: &str, value: &mut Self::Value, page: &mut Page) {
        if let Some(value) = value {
            self.0.print(name, value, page);
        }
    }

    fn wanted(&self) -> String {
        self.0.wanted()
    }

    fn is_tables(&self) -> bool {
        self.0.is_tables()
    }

    fn shape(&self) -> Shape {
        self.0.shape()
    }
}

/// A list, or one element in its place.
pub(super) struct Many<T> {
    /// The type of an element.
    pub(super) of: T,
    /// What the list may be, in words; empty = as an element.
    pub(super) wanted: &'static str,
    /// How many elements it may have.
    pub(super) len: RangeInclusive<usize>,
    /// The noun for too many elements.
    pub(super) plural: &'static str,
    /// Whether it is printed when it is empty.
    pub(super) shows_empty: bool,
}

impl<T: Type> Type for Many<T> {
    type Value = Vec<T::Value>;

    fn read(&self, value: Value<'_, '_>) -> Option<Self::Value> {
        let wanted = self.wanted();
        let place = value.place.clone();
        let values = if value.is_list() {
            value.list(&wanted)
        } else {
            vec![value]
        };
        if values.len() < *self.len.start() {
            place.reject(format!("is empty; at least one: {wanted}"));
        }
        if let Some(value) = values.get(*self.len.end()) {
            value.place.reject(format!(
                "is one too many; at most {} {}",
                self.len.end(),
                self.plural
            ));
        }
        let read = |value| self.of.read(value);
        Some(values.into_iter().filter_map(read).collect())
    }

    fn show(&self, values: &mut Self::Value) -> Option<String> {
        if values.is_empty() && !self.shows_empty {
            return None;
        }
        let shown = values.iter_mut().filter_map(|value| self.of.show(value));
        Some(format!("[{}]", shown.collect::<Vec<_>>().join(", ")))
    }

    fn wanted(&self) -> String {
        if self.wanted.is_empty() {
            self.of.wanted()
        } else {
            self.wanted.to_owned()
        }
    }

    fn shape(&self) -> Shape {
        self.of.shape().one_or_more(self.len.clone())
    }
}

/// A value that must be unique.
pub(super) struct Unique<T: Type> {
    /// The type.
    pub(super) of: T,
    /// The scope in which it must be unique.
    pub(super) among: Among,
    /// Returns a spelling that is the same for equal values.
    pub(super) spelling: fn(&T::Value) -> String,
    /// The message about a second one, before the key path of the first.
    pub(super) taken: &'static str,
}

impl<T: Type> Type for Unique<T> {
    type Value = T::Value;

    fn read(&self, value: Value<'_, '_>) -> Option<T::Value> {
        let place = value.place.clone();
        let written = value.shown();
        let read = self.of.read(value)?;
        match place.claim(self.among, (self.spelling)(&read)) {
            None => Some(read),
            Some(before) => {
                let (taken, wanted) = (self.taken, self.wanted());
                place.reject(format!("{written} {taken} {before} already; {wanted}"));
                None
            }
        }
    }

    fn show(&self, value: &mut T::Value) -> Option<String> {
        self.of.show(value)
    }

    fn wanted(&self) -> String {
        self.of.wanted()
    }

    fn shape(&self) -> Shape {
        self.of.shape()
    }
}

/// A type with its own rule about single values.
pub(super) struct Custom<T: 'static> {
    /// Reads a value.
    pub(super) read: fn(Value<'_, '_>) -> Option<T>,
    /// Writes a value as TOML.
    pub(super) show: fn(&mut T) -> Option<String>,
    /// Says what is allowed.
    pub(super) wanted: &'static str,
    /// Describes it.
    pub(super) shape: fn() -> Shape,
}

impl<T> Type for Custom<T> {
    type Value = T;

    fn read(&self, value: Value<'_, '_>) -> Option<T> {
        (self.read)(value)
    }

    fn show(&self, value: &mut T) -> Option<String> {
        (self.show)(value)
    }

    fn wanted(&self) -> String {
        self.wanted.to_owned()
    }

    fn shape(&self) -> Shape {
        (self.shape)()
    }
}
