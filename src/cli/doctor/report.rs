//! The report, written for people or as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::item::{Item, Standing};

/// Everything judged, ready to be written.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) kernel: String,
    pub(super) io_uring: Item,
    pub(super) splice: Item,
    pub(super) ktls: Item,
    /// One line per TLS suite, for people; JSON has them in `ktls`.
    pub(super) suites: Vec<Item>,
    pub(super) limits: Vec<Item>,
}

impl Report {
    fn items(&self) -> impl Iterator<Item = &Item> {
        [&self.io_uring, &self.splice, &self.ktls]
            .into_iter()
            .chain(&self.suites)
            .chain(&self.limits)
    }

    pub(super) fn to_text(&self) -> String {
        let width = self.items().map(|item| item.name.len()).max().unwrap_or(0);
        let mut text = format!("Linux {}\n", self.kernel);
        for item in self.items() {
            let standing = item.standing.as_str();
            let _ = writeln!(text, "{standing:<8} {:<width$}  {}", item.name, item.found);
            if !item.advice.is_empty() {
                let _ = writeln!(text, "{:<8} {:<width$}  -> {}", "", "", item.advice);
            }
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let mut ktls = self.ktls.to_json();
        // Without rekeying it can still be used.
        ktls["ok"] = json!(self.ktls.standing != Standing::Missing);
        let limits: Map<String, Value> = self
            .limits
            .iter()
            .map(|item| (item.name.to_owned(), item.to_json()))
            .collect();
        let advice: Vec<String> = self
            .items()
            .filter(|item| !item.advice.is_empty())
            .map(|item| format!("{}: {}", item.name, item.advice))
            .collect();
        json!({
            "kernel": self.kernel,
            "io_uring": self.io_uring.to_json(),
            "splice": self.splice.to_json(),
            "ktls": ktls,
            "limits": limits,
            "advice": advice,
        })
    }
}
