//! One judged capability: how it stands, what was found, and what to do.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// How a capability stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Fine.
    Ok,
    /// Missing; longsplice works without it.
    Missing,
    /// There, but with a limitation that an operator should know.
    Note,
}

impl Standing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Note => "note",
        }
    }
}

/// One judged capability.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: &'static str,
    pub(super) standing: Standing,
    /// What was found, in words.
    pub(super) found: String,
    /// What to do; empty when nothing is to be done.
    pub(super) advice: String,
    /// Figures for JSON.
    pub(super) figures: Map<String, Value>,
}

impl Item {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            standing: Standing::Ok,
            found: found.into(),
            advice: String::new(),
            figures: Map::new(),
        }
    }

    pub(super) fn noted(self, advice: impl Into<String>) -> Self {
        Self {
            standing: Standing::Note,
            advice: advice.into(),
            ..self
        }
    }

    pub(super) fn missing(self, advice: impl Into<String>) -> Self {
        Self {
            standing: Standing::Missing,
            advice: advice.into(),
            ..self
        }
    }

    pub(super) fn figure(mut self, key: &str, value: impl Serialize) -> Self {
        self.figures.insert(key.to_owned(), json!(value));
        self
    }

    /// `ok`, `why` (empty when ok), then the figures.
    pub(super) fn to_json(&self) -> Value {
        let ok = self.standing == Standing::Ok;
        let why = if ok { "" } else { &self.found };
        let mut object = Map::new();
        object.insert("ok".to_owned(), json!(ok));
        object.insert("why".to_owned(), json!(why));
        object.extend(self.figures.clone());
        Value::Object(object)
    }
}
