//! Keys that are legal but whose feature is not in yet: one list, from which each feature takes its
//! lines when it comes.

use toml::de::{DeTable, DeValue};

use super::raw::child_path;

/// The keys, without indexes.
const LATER: &[&str] = &["server.drain_window"];

/// Returns the paths of the keys that are set without effect, in the order of the list.
pub(super) fn keys(root: &DeTable<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for key in LATER {
        let segments: Vec<&str> = key.split('.').collect();
        walk(root, &segments, "", &mut found);
    }
    found
}

fn walk(table: &DeTable<'_>, segments: &[&str], path: &str, found: &mut Vec<String>) {
    let Some((key, rest)) = segments.split_first() else {
        return;
    };
    let Some(value) = table.get(*key) else {
        return;
    };
    let path = child_path(path, key);
    match value.get_ref() {
        _ if rest.is_empty() => found.push(path),
        DeValue::Table(table) => walk(table, rest, &path, found),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(table) = item.get_ref().as_table() {
                    walk(table, rest, &format!("{path}[{index}]"), found);
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
