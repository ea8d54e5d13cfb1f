//! The JSON Schema of the configuration (draft 2020-12), for editors and for checks by other programs. It
//! applies to a file converted from TOML to JSON.
//!
//! It covers the value of each key, not combinations of keys or the contents of files: only `longsplice
//! check` checks those.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::keys;
use super::shape::{Fallback, KeyDoc, SectionDoc, Shape};
use super::units::{DURATION_PATTERN, SIZE_PATTERN, duration_text, size_text};

/// Returns the JSON Schema of the configuration.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table(&keys::describe());
    if let Value::Object(map) = &mut schema {
        map.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        map.insert("title".to_owned(), "Configuration of longsplice".into());
    }
    schema
}

fn table(section: &SectionDoc) -> Value {
    let properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required = section.keys.iter();
    let required = required.filter(|key| key.default == Fallback::Required);
    let required: Vec<&str> = required.map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": section.short,
        "properties": properties,
        "additionalProperties": false,
    });
    if let (Value::Object(map), false) = (&mut schema, required.is_empty()) {
        map.insert("required".to_owned(), required.into());
    }
    schema
}

fn property(key: &KeyDoc) -> Value {
    let mut schema = of_shape(&key.shape);
    if let Value::Object(map) = &mut schema {
        let text = [key.short, key.long].join(" ");
        map.insert("description".to_owned(), text.trim_end().into());
        if let Some(default) = default_of(key) {
            map.insert("default".to_owned(), default);
        }
        // An empty list of tables is as good as none.
        if matches!(key.shape, Shape::Tables(_)) && key.default == Fallback::Required {
            map.insert("minItems".to_owned(), 1.into());
        }
    }
    schema
}

/// Returns the default as JSON, unless it is a whole table, whose keys have their own.
fn default_of(key: &KeyDoc) -> Option<Value> {
    let Fallback::Is(text) = key.default else {
        return None;
    };
    let table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    let value = serde_json::to_value(table.get("value")?).ok()?;
    (!value.is_object()).then_some(value)
}

fn of_shape(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Whole(range) => json!({
            "type": "integer",
            "minimum": range.start(),
            "maximum": range.end(),
        }),
        Shape::Numbers(numbers) => json!({ "type": "integer", "enum": numbers }),
        Shape::Duration(range) => json!({
            "type": "string",
            "pattern": DURATION_PATTERN,
            "$comment": format!(
                "from {} to {}",
                duration_text(*range.start()),
                duration_text(*range.end())
            ),
        }),
        Shape::Size(range) => size(range),
        Shape::Text { what, pattern } => match *pattern {
            "" => json!({ "type": "string", "$comment": what }),
            pattern => json!({ "type": "string", "pattern": pattern, "$comment": what }),
        },
        Shape::Choice(words) => {
            let word =
                |(word, meaning): &(&str, &str)| json!({ "const": word, "description": meaning });
            json!({ "oneOf": words.iter().map(word).collect::<Vec<_>>() })
        }
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(of_shape).collect::<Vec<_>>() })
        }
        Shape::List { of, len } => list(of, len),
        Shape::Table(section) | Shape::Inline(section) => table(section),
        Shape::Tables(section) => json!({
            "type": "array",
            "items": table(section),
        }),
        Shape::Map { names, of, .. } => {
            let each = names.iter().map(|name| (name.clone(), of_shape(of)));
            json!({
                "type": "object",
                "properties": each.collect::<Map<_, _>>(),
                "additionalProperties": false,
            })
        }
        Shape::Named {
            names,
            pattern,
            len_max,
            of,
        } => json!({
            "type": "object",
            "propertyNames": { "pattern": pattern, "$comment": names },
            "additionalProperties": of_shape(of),
            "minProperties": 1,
            "maxProperties": len_max,
        }),
    }
}

fn size(range: &RangeInclusive<u64>) -> Value {
    json!({
        "anyOf": [
            {
                "type": "string",
                "pattern": SIZE_PATTERN,
                "$comment": format!(
                    "from {} to {}",
                    size_text(*range.start()),
                    size_text(*range.end())
                ),
            },
            {
                "type": "integer",
                "minimum": range.start(),
                "maximum": range.end(),
            },
        ],
    })
}

fn list(of: &Shape, len: &RangeInclusive<usize>) -> Value {
    let mut schema = json!({
        "type": "array",
        "items": of_shape(of),
        "minItems": len.start(),
    });
    if let (Value::Object(map), true) = (&mut schema, *len.end() < usize::MAX) {
        map.insert("maxItems".to_owned(), (*len.end()).into());
    }
    schema
}
