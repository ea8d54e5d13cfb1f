//! Keys that are legal but whose feature is not in yet: one list, from which each feature takes its
//! lines when it comes.

use toml::de::{DeTable, DeValue};

use super::raw::child_path;

/// When a key that is set has no effect.
enum When {
    /// Whatever it says.
    Set,
    /// Unless the table says `kind = "off"`.
    On,
}

/// The keys, without indexes.
const LATER: &[(&str, When)] = &[
    ("server.drain_window", When::Set),
    ("server.admin_socket", When::Set),
    ("server.admin_http", When::Set),
    ("backend.health", When::On),
];

/// Returns the paths of the keys that are set without effect, in the order of the list.
pub(super) fn keys(root: &DeTable<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (key, when) in LATER {
        let segments: Vec<&str> = key.split('.').collect();
        walk(root, &segments, "", when, &mut found);
    }
    found
}

fn walk(table: &DeTable<'_>, segments: &[&str], path: &str, when: &When, found: &mut Vec<String>) {
    let Some((key, rest)) = segments.split_first() else {
        return;
    };
    let Some(value) = table.get(*key) else {
        return;
    };
    let path = child_path(path, key);
    match value.get_ref() {
        value if rest.is_empty() => {
            if applies(when, value) {
                found.push(path);
            }
        }
        DeValue::Table(table) => walk(table, rest, &path, when, found),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(table) = item.get_ref().as_table() {
                    walk(table, rest, &format!("{path}[{index}]"), when, found);
                }
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

fn applies(when: &When, value: &DeValue<'_>) -> bool {
    match when {
        When::Set => true,
        When::On => value.get("kind").and_then(|kind| kind.get_ref().as_str()) != Some("off"),
    }
}
