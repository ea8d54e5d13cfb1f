//! Conditions of a route on the method, header fields and the query of a request.

use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;

use crate::config::page::quoted;
use crate::config::read::Value;
use crate::config::section::Type;
use crate::config::shape::Shape;
use crate::config::types::{Many, Text};
use crate::config::words::shown;
use crate::proto::http::condition::{
    Condition, FieldName, MethodName, ParameterName, ValuePattern,
};

/// Most methods of a route.
const METHODS_MAX: usize = 64;
/// Most headers, and most parameters, of a route. Each is looked for in every request that gets so far.
const CONDITIONS_MAX: usize = 16;
/// Most patterns of one header or parameter.
const PATTERNS_MAX: usize = 64;

pub(super) const METHOD: Many<Text<MethodName>> = Many {
    of: Text {
        wanted: "a method such as \"GET\"",
        pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$",
        parse: |_, text| text.parse().map_err(|wrong| format!("{wrong}")),
        show: ToString::to_string,
    },
    wanted: "",
    len: 1..=METHODS_MAX,
    plural: "methods",
    shows_empty: false,
};

pub(super) const HEADER: Conditions<FieldName> = Conditions {
    names: "the name of a header",
    pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
    wanted: "a table such as { X-Api-Version = \"2*\" }",
    name: PhantomData,
};

pub(super) const QUERY: Conditions<ParameterName> = Conditions {
    names: "the name of a parameter",
    pattern: "^[\\s\\S]{1,128}$",
    wanted: "a table such as { version = \"2*\" }",
    name: PhantomData,
};

const PATTERNS: Many<Text<ValuePattern>> = Many {
    of: Text {
        wanted: "a value, with * for any number of characters",
        pattern: "^[^\\u0000-\\u001f\\u007f]{0,256}$",
        parse: |_, text| text.parse().map_err(|wrong| format!("{wrong}")),
        show: ToString::to_string,
    },
    wanted: "",
    len: 1..=PATTERNS_MAX,
    plural: "patterns",
    shows_empty: false,
};

/// The type of `header` and `query`: a table of patterns, or of lists of them, by name.
pub(super) struct Conditions<N> {
    /// What a name is, in words.
    names: &'static str,
    /// The same as a regular expression.
    pattern: &'static str,
    /// What is allowed, in words.
    wanted: &'static str,
    name: PhantomData<fn() -> N>,
}

impl<N> Type for Conditions<N>
where
    N: FromStr<Err: Display> + Display + PartialEq,
{
    type Value = Vec<Condition<N>>;

    fn read(&self, value: Value<'_, '_>) -> Option<Self::Value> {
        if !value.is_table() {
            value.wrong_type(self.wanted);
            return None;
        }
        let place = value.place.clone();
        let rows = value.table()?.take_all();
        if rows.is_empty() {
            place.reject(format!("is empty; {}", self.wanted));
        }
        if rows.len() > CONDITIONS_MAX {
            let len = rows.len();
            place.reject(format!("has {len} keys; at most {CONDITIONS_MAX}"));
        }
        let mut conditions: Vec<Condition<N>> = Vec::new();
        for (key, value) in rows {
            let place = value.place.clone();
            let values = PATTERNS.read(value);
            let name = match key.parse::<N>() {
                Ok(name) => name,
                Err(wrong) => {
                    let (key, names) = (shown(&key), self.names);
                    place.reject(format!("{key} {wrong}; {names}"));
                    continue;
                }
            };
            if conditions.iter().any(|before| before.name == name) {
                place.reject(format!(
                    "{name} stands here twice; a list has several patterns"
                ));
            }
            let values = values.unwrap_or_default();
            conditions.push(Condition { name, values });
        }
        Some(conditions)
    }

    fn show(&self, conditions: &mut Self::Value) -> Option<String> {
        if conditions.is_empty() {
            return None;
        }
        let shown = conditions.iter_mut().filter_map(|condition| {
            let values = PATTERNS.show(&mut condition.values)?;
            Some(format!("{} = {values}", toml_key(&condition.name)))
        });
        Some(format!("{{ {} }}", shown.collect::<Vec<_>>().join(", ")))
    }

    fn wanted(&self) -> String {
        self.wanted.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Named {
            names: self.names,
            pattern: self.pattern,
            len_max: CONDITIONS_MAX,
            of: Box::new(PATTERNS.shape()),
        }
    }
}

/// Writes a key of TOML, bare if it may be.
fn toml_key(name: &impl Display) -> String {
    let name = name.to_string();
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !name.is_empty() && name.bytes().all(bare) {
        true => name,
        false => quoted(&name),
    }
}
