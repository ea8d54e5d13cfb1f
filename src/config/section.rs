//! One table of the configuration, declared once: its keys with their types, defaults and texts, and rules
//! about several keys together.
//!
//! Everything else follows from the declaration: reading with positions, printing, the reference, the JSON
//! Schema. The keys are declared in `keys`, the types in `types`.
//!
//! To add an ordinary key: a field in the model, and a [`Key`] in its section.

use std::fmt::Debug;
use std::path::Path;
use std::sync::OnceLock;

use super::page::Page;
use super::read::{self, Scope, Table, Value};
use super::shape::{Fallback, KeyDoc, SectionDoc, Shape};

/// One key of a section whose values go into an `M`.
pub(super) struct Key<M: 'static> {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// The version that introduced it.
    pub(super) since: &'static str,
    /// Its default.
    pub(super) default: Fallback,
    /// Its effect, in one sentence.
    pub(super) short: &'static str,
    /// The rest of its entry in the manual, in Markdown; empty if `short` says all.
    pub(super) long: &'static str,
    /// A legal value other than the default, as TOML.
    pub(super) example: &'static str,
    /// A refused value, as TOML.
    pub(super) wrong: &'static str,
    /// Its type, and where its value goes.
    pub(super) kind: &'static dyn Kind<M>,
}

/// A type together with the place in `M` for its value.
pub(super) trait Kind<M>: Sync {
    /// Reads a value into the model; an error is reported and changes nothing.
    fn read(&self, value: Value<'_, '_>, model: &mut M);
    /// Writes the line or the tables of the key, if the model holds a value for it.
    fn print(&self, name: &str, model: &mut M, page: &mut Page);
    /// Writes the value as TOML on one line, if the model holds one.
    fn show(&self, model: &mut M) -> Option<String>;
    /// Returns what is allowed, in words that follow a semicolon.
    fn wanted(&self) -> String;
    /// Returns whether an empty list counts as absent.
    fn is_tables(&self) -> bool;
    /// Describes the type.
    fn shape(&self) -> Shape;
}

/// The type of a key's value.
pub(super) trait Type: Sync {
    /// The value in the model.
    type Value;
    /// Reads a value; errors are reported at its place.
    fn read(&self, value: Value<'_, '_>) -> Option<Self::Value>;
    /// Returns a value as TOML on one line; none = there is nothing to write.
    ///
    /// Nested values are reached by the accessor that reading uses, hence `&mut`.
    fn show(&self, value: &mut Self::Value) -> Option<String>;
    /// Returns what is allowed, in words that follow a semicolon.
    fn wanted(&self) -> String;
    /// Describes the type.
    fn shape(&self) -> Shape;
    /// Writes the line of a key, or its tables.
    fn print(&self, name: &str, value: &mut Self::Value, page: &mut Page) {
        if let Some(text) = self.show(value) {
            page.line(name, &text);
        }
    }
    /// Returns whether this is a list of tables that must not be empty where it is required.
    fn is_tables(&self) -> bool {
        false
    }
    /// Reads a text, for types that are written as one.
    fn parse(&self, _base: &Path, _text: &str) -> Option<Result<Self::Value, String>> {
        None
    }
}

/// The usual [`Kind`]: a type, and the field that holds its value.
pub(super) struct At<M: 'static, T: Type + 'static> {
    /// The type.
    pub(super) of: T,
    /// Returns the field.
    pub(super) at: fn(&mut M) -> &mut T::Value,
}

impl<M, T: Type> Kind<M> for At<M, T> {
    fn read(&self, value: Value<'_, '_>, model: &mut M) {
        if let Some(value) = self.of.read(value) {
            *(self.at)(model) = value;
        }
    }

    fn print(&self, name: &str, model: &mut M, page: &mut Page) {
        self.of.print(name, (self.at)(model), page);
    }

    fn show(&self, model: &mut M) -> Option<String> {
        self.of.show((self.at)(model))
    }

    fn wanted(&self) -> String {
        self.of.wanted()
    }

    fn is_tables(&self) -> bool {
        self.of.is_tables()
    }

    fn shape(&self) -> Shape {
        self.of.shape()
    }
}

/// A rule about several keys of a section, or about the section as a whole.
pub(super) type Rule<M> = fn(&mut M, &Scope<'_, '_>);

/// A table of the configuration.
pub(super) struct Section<M: 'static> {
    /// Its key path without indexes: `listener.tls`; empty for the whole file.
    pub(super) path: &'static str,
    /// Its subject, in one sentence.
    pub(super) short: &'static str,
    /// The rest of its introduction in the manual, in Markdown.
    pub(super) long: &'static str,
    /// Its keys in the order in which they are printed: tables last.
    pub(super) keys: &'static [Key<M>],
    /// Rules that are applied once all keys are read, in this order.
    pub(super) rules: &'static [Rule<M>],
    /// Makes an empty model; the defaults of the keys are then set in it.
    pub(super) blank: fn() -> M,
    /// The model of a table without keys.
    pub(super) defaults: OnceLock<M>,
}

impl<M: Clone + Debug> Section<M> {
    /// Reads a table.
    pub(super) fn read(&self, mut table: Table<'_, '_>) -> M {
        let mut model = self.defaults().clone();
        for key in self.keys {
            let is_there = if key.kind.is_tables() {
                table.names_any(key.name)
            } else {
                table.has(key.name)
            };
            if !is_there && key.default == Fallback::Required {
                table.missing(key.name, &key.kind.wanted());
            }
            if let Some(value) = table.take(key.name) {
                key.kind.read(value, &mut model);
            }
        }
        let scope = table.scope();
        // Dropping it reports the keys that are left.
        drop(table);
        for rule in self.rules {
            rule(&mut model, &scope);
        }
        model
    }

    /// Returns the model of a table without keys.
    pub(super) fn defaults(&self) -> &M {
        self.defaults.get_or_init(|| {
            let mut model = (self.blank)();
            for key in self.keys {
                if let Fallback::Is(text) = key.default {
                    // A test checks that no default has an error.
                    let _ = read::alone(text, |value| key.kind.read(value, &mut model));
                }
            }
            model
        })
    }

    /// Writes the lines of the keys, and the tables in it.
    pub(super) fn print(&self, model: &mut M, page: &mut Page) {
        for key in self.keys {
            key.kind.print(key.name, model, page);
        }
    }

    /// Writes it as an inline table.
    pub(super) fn show(&self, model: &mut M) -> String {
        let show = |key: &Key<M>| {
            let value = key.kind.show(model)?;
            Some(format!("{} = {value}", key.name))
        };
        let parts: Vec<String> = self.keys.iter().filter_map(show).collect();
        format!("{{ {} }}", parts.join(", "))
    }

    /// Describes it.
    pub(super) fn describe(&self) -> SectionDoc {
        let describe = |key: &Key<M>| KeyDoc {
            name: key.name,
            since: key.since,
            default: key.default,
            short: key.short,
            long: key.long,
            example: key.example,
            wrong: key.wrong,
            shape: key.kind.shape(),
        };
        SectionDoc {
            path: self.path,
            short: self.short,
            long: self.long,
            keys: self.keys.iter().map(describe).collect(),
        }
    }
}

/// A `[table]`.
pub(super) struct Sub<M: 'static>(pub(super) &'static Section<M>);

impl<M: Clone + Debug + Send + Sync> Type for Sub<M> {
    type Value = M;

    fn read(&self, value: Value<'_, '_>) -> Option<M> {
        value.table().map(|table| self.0.read(table))
    }

    fn show(&self, value: &mut M) -> Option<String> {
        Some(self.0.show(value))
    }

    fn print(&self, _: &str, value: &mut M, page: &mut Page) {
        page.header(&format!("[{}]", self.0.path));
        self.0.print(value, page);
    }

    fn wanted(&self) -> String {
        "a table".to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Table(self.0.describe())
    }
}

/// A table that is written on one line: `{ key = value, ... }`.
pub(super) struct Inline<M: 'static>(pub(super) &'static Section<M>);

impl<M: Clone + Debug + Send + Sync> Type for Inline<M> {
    type Value = M;

    fn read(&self, value: Value<'_, '_>) -> Option<M> {
        value.table().map(|table| self.0.read(table))
    }

    fn show(&self, value: &mut M) -> Option<String> {
        Some(self.0.show(value))
    }

    fn wanted(&self) -> String {
        "a table".to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Inline(self.0.describe())
    }
}

/// One of several tables, and its key path.
#[derive(Debug, Clone, Default)]
pub(super) struct Row<M> {
    /// Its key path, such as `listener[0]`; empty if it was not read.
    pub(super) key: String,
    /// The contents.
    pub(super) value: M,
}

impl<M> From<M> for Row<M> {
    fn from(value: M) -> Self {
        let key = String::new();
        Self { key, value }
    }
}

/// Tables that are written `[[table]]`, one after the other.
pub(super) struct Tables<M: 'static>(pub(super) &'static Section<M>);

impl<M: Clone + Debug + Send + Sync> Type for Tables<M> {
    type Value = Vec<Row<M>>;

    fn read(&self, value: Value<'_, '_>) -> Option<Vec<Row<M>>> {
        let rows = value.tables().into_iter().map(|table| Row {
            key: table.place.key.clone(),
            value: self.0.read(table),
        });
        Some(rows.collect())
    }

    fn show(&self, rows: &mut Vec<Row<M>>) -> Option<String> {
        let shown = rows.iter_mut().map(|row| self.0.show(&mut row.value));
        Some(format!("[{}]", shown.collect::<Vec<_>>().join(", ")))
    }

    fn print(&self, _: &str, rows: &mut Vec<Row<M>>, page: &mut Page) {
        for row in rows {
            page.header(&format!("[[{}]]", self.0.path));
            self.0.print(&mut row.value, page);
        }
    }

    fn wanted(&self) -> String {
        format!("at least one [[{}]]", self.0.path)
    }

    fn is_tables(&self) -> bool {
        true
    }

    fn shape(&self) -> Shape {
        Shape::Tables(self.0.describe())
    }
}
