//! Descriptions of sections and keys: plain data without the model, from which the reference and the JSON
//! Schema are made.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A table.
#[derive(Debug, Clone)]
pub(super) struct SectionDoc {
    /// Key path without indexes.
    pub(super) path: &'static str,
    /// Its subject, in one sentence.
    pub(super) short: &'static str,
    /// The rest, in Markdown.
    pub(super) long: &'static str,
    /// Its keys in their order.
    pub(super) keys: Vec<KeyDoc>,
}

/// A key.
#[derive(Debug, Clone)]
pub(super) struct KeyDoc {
    pub(super) name: &'static str,
    pub(super) since: &'static str,
    pub(super) default: Fallback,
    pub(super) short: &'static str,
    pub(super) long: &'static str,
    pub(super) example: &'static str,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the test of every key reads it")
    )]
    pub(super) wrong: &'static str,
    pub(super) shape: Shape,
}

/// The default of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// This value, as TOML.
    Is(&'static str),
    /// Nothing is set, or a rule decides; in words.
    Words(&'static str),
    /// Its absence is an error.
    Required,
}

/// A type.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number in a range.
    Whole(RangeInclusive<u64>),
    /// One of a few whole numbers.
    Numbers(&'static [u16]),
    /// A time such as `"10s"`.
    Duration(RangeInclusive<Duration>),
    /// A size such as `"16KiB"`, or a number of bytes.
    Size(RangeInclusive<u64>),
    /// A text.
    Text {
        /// What is allowed, in words.
        what: String,
        /// The same as an ECMA 262 regular expression, as far as possible; empty = any text.
        pattern: &'static str,
    },
    /// One of some words, each with its meaning.
    Choice(Vec<(&'static str, &'static str)>),
    /// One of several types.
    Either(Vec<Self>),
    /// A list.
    List {
        /// The type of an element.
        of: Box<Self>,
        /// How many elements it has.
        len: RangeInclusive<usize>,
    },
    /// A `[table]`.
    Table(SectionDoc),
    /// A table on one line.
    Inline(SectionDoc),
    /// Tables written `[[table]]`.
    Tables(SectionDoc),
    /// A `[table]` with a fixed set of key names, all of one type.
    Map {
        /// Key path of the table.
        path: &'static str,
        /// The keys.
        names: Vec<String>,
        /// The type of their values.
        of: Box<Self>,
    },
    /// A table on one line, whose key names are those of the user.
    Named {
        /// What a name may be, in words.
        names: &'static str,
        /// The same as an ECMA 262 regular expression.
        pattern: &'static str,
        /// How many keys it may have.
        len_max: usize,
        /// The type of their values.
        of: Box<Self>,
    },
}

impl Shape {
    /// Returns a list of this type, or a single element in its place.
    pub(super) fn one_or_more(self, len: RangeInclusive<usize>) -> Self {
        let of = Box::new(self.clone());
        Self::Either(vec![self, Self::List { of, len }])
    }
}
