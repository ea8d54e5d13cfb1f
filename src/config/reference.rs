//! The reference of the configuration as a page of the manual, in Markdown.

use std::fmt::Write;

use super::keys;
use super::shape::{Fallback, KeyDoc, SectionDoc, Shape};
use super::units::{duration_text, size_text};

const HEAD: &str = "\
# Configuration

The file is TOML. `longsplice check -c FILE` reads it and reports everything that is wrong at once, each \
error with line and column; `longsplice check -c FILE --print` prints the configuration with all defaults.

- A **time** is a whole number and a unit: `300ms`, `10s`, `5m`, `24h`.
- A **size** is a whole number and a unit, `512B`, `16KiB`, `1MiB`, or a bare number of bytes.
- A relative **path** starts at the directory of the file.
- Where a **list** is allowed, a single value may stand in its place.

`longsplice schema` prints the same as a JSON Schema. This page is made from the same table of keys that \
the program reads.
";

/// Returns the page `reference/configuration.md` of the manual.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for key in &keys::describe().keys {
        inner(&mut page, key);
    }
    page
}

/// Writes the section of a key, if it is a table.
fn inner(page: &mut String, key: &KeyDoc) {
    match &key.shape {
        Shape::Table(doc) => section(page, doc, &format!("[{}]", doc.path)),
        Shape::Tables(doc) => section(page, doc, &format!("[[{}]]", doc.path)),
        Shape::Map { path, names, of } => {
            let _ = write!(
                page,
                "\n## `[{path}]`\n\n{}",
                paragraphs(key.short, key.long)
            );
            let _ = write!(
                page,
                "\n- Keys: {}\n",
                listed(names.iter().map(String::as_str))
            );
            let _ = writeln!(page, "- Type of each: {}", type_text(of));
            example(page, key.example_line().as_str());
        }
        Shape::Bool
        | Shape::Whole(_)
        | Shape::Numbers(_)
        | Shape::Duration(_)
        | Shape::Size(_)
        | Shape::Text { .. }
        | Shape::Choice(_)
        | Shape::Either(_)
        | Shape::List { .. }
        | Shape::Inline(_)
        | Shape::Named { .. } => {}
    }
}

fn section(page: &mut String, doc: &SectionDoc, header: &str) {
    let text = paragraphs(doc.short, doc.long);
    // Here and below: writing to a `String` is infallible.
    let _ = write!(page, "\n## `{header}`\n\n{text}");
    for key in doc.keys.iter().filter(|key| !is_section(&key.shape)) {
        entry(page, key);
    }
    for key in &doc.keys {
        inner(page, key);
    }
}

fn is_section(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Table(_) | Shape::Tables(_) | Shape::Map { .. }
    )
}

fn entry(page: &mut String, key: &KeyDoc) {
    let text = paragraphs(key.short, key.long);
    let _ = write!(page, "\n### `{}`\n\n{text}", key.name);
    let _ = write!(page, "\n- Type: {}\n", type_text(&key.shape));
    words_of(page, &key.shape);
    tables_of(page, &key.shape);
    let _ = match key.default {
        Fallback::Is(value) => writeln!(page, "- Default: `{value}`"),
        Fallback::Words(words) => writeln!(page, "- Default: {words}"),
        Fallback::Required => writeln!(page, "- Required"),
    };
    let _ = writeln!(page, "- Since: {}", key.since);
    example(page, &key.example_line());
}

fn example(page: &mut String, line: &str) {
    let _ = write!(page, "\n```toml part\n{line}\n```\n");
}

impl KeyDoc {
    fn example_line(&self) -> String {
        format!("{} = {}", self.name, self.example)
    }
}

fn paragraphs(short: &str, long: &str) -> String {
    match long {
        "" => format!("{short}\n"),
        long => format!("{short}\n\n{long}\n"),
    }
}

/// Writes the meaning of each word of a choice.
fn words_of(page: &mut String, shape: &Shape) {
    match shape {
        Shape::Choice(words) => {
            for (word, meaning) in words {
                let _ = writeln!(page, "  - `\"{word}\"`: {meaning}");
            }
        }
        Shape::Either(shapes) => shapes.iter().for_each(|shape| words_of(page, shape)),
        Shape::List { of, .. } => words_of(page, of),
        Shape::Bool
        | Shape::Whole(_)
        | Shape::Numbers(_)
        | Shape::Duration(_)
        | Shape::Size(_)
        | Shape::Text { .. }
        | Shape::Table(_)
        | Shape::Inline(_)
        | Shape::Tables(_)
        | Shape::Map { .. }
        | Shape::Named { .. } => {}
    }
}

/// Writes the keys of an inline table.
fn tables_of(page: &mut String, shape: &Shape) {
    match shape {
        Shape::Inline(doc) => {
            for key in &doc.keys {
                let default = match key.default {
                    Fallback::Is(value) => format!("default `{value}`"),
                    Fallback::Words(words) => format!("default: {words}"),
                    Fallback::Required => "required".to_owned(),
                };
                let text = [key.short, key.long].join(" ");
                let kind = type_text(&key.shape);
                let (name, text) = (key.name, text.trim_end());
                let _ = writeln!(page, "  - `{name}` ({kind}; {default}): {text}");
            }
        }
        // A list of the preceding alternative is described once.
        Shape::Either(shapes) => {
            let once = shapes.iter().filter(|it| !matches!(it, Shape::List { .. }));
            once.for_each(|shape| tables_of(page, shape));
        }
        Shape::List { of, .. } => tables_of(page, of),
        Shape::Bool
        | Shape::Whole(_)
        | Shape::Numbers(_)
        | Shape::Duration(_)
        | Shape::Size(_)
        | Shape::Text { .. }
        | Shape::Choice(_)
        | Shape::Table(_)
        | Shape::Tables(_)
        | Shape::Map { .. }
        | Shape::Named { .. } => {}
    }
}

fn type_text(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Whole(range) => {
            format!("a whole number from {} to {}", range.start(), range.end())
        }
        Shape::Numbers(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
            listed(numbers.iter().map(String::as_str))
        }
        Shape::Duration(range) => {
            let (from, to) = (duration_text(*range.start()), duration_text(*range.end()));
            format!("a time from `{from}` to `{to}`")
        }
        Shape::Size(range) => {
            let (from, to) = (size_text(*range.start()), size_text(*range.end()));
            format!("a size from `{from}` to `{to}`")
        }
        Shape::Text { what, .. } => what.clone(),
        Shape::Choice(words) => {
            let words: Vec<String> = words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            listed(words.iter().map(String::as_str))
        }
        Shape::Either(shapes) => either(shapes),
        Shape::List { of, len } => match *len.end() {
            usize::MAX => format!("a list, each {}", type_text(of)),
            most => format!("a list of at most {most}, each {}", type_text(of)),
        },
        Shape::Inline(_) => "a table in one line".to_owned(),
        Shape::Table(_) => "a table".to_owned(),
        Shape::Tables(_) => "tables".to_owned(),
        Shape::Map { .. } => "a table".to_owned(),
        Shape::Named {
            names, len_max, of, ..
        } => format!(
            "a table in one line of at most {len_max} keys, each {names}; its values: {}",
            type_text(of)
        ),
    }
}

/// Names the alternatives; a list of the first one is a word, because every list names its elements.
fn either(shapes: &[Shape]) -> String {
    if let [of, Shape::List { len, .. }] = shapes {
        let of = type_text(of);
        return match *len.end() {
            usize::MAX => format!("{of}; or a list of them"),
            most => format!("{of}; or a list of them, at most {most}"),
        };
    }
    let shapes: Vec<String> = shapes.iter().map(type_text).collect();
    shapes.join(", or ")
}

fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    words.join(", ")
}
