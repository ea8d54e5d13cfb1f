//! Who may import whom: the layers of `src/lib.rs`, read off the paths in the code.
//!
//! `use crate::x`, `crate::x::y` in expressions, groups (`use crate::{x, y::z}`) and `super::x` from
//! a module's own file are all seen.

use super::scan::{is_word, line_of, words};

/// A module of `src/` and the modules it may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("sys", &["proto"]),
    ("balance", &["proto"]),
    ("journal", &["proto"]),
    ("tls", &["proto"]),
    ("config", &["balance", "proto", "tls"]),
    ("relay", &["journal", "proto", "sys", "tls"]),
    ("upstream", &["balance", "config", "proto", "tls"]),
    ("log", &["config", "journal", "proto"]),
    (
        "admin",
        &[
            "balance", "config", "journal", "log", "proto", "relay", "sys", "tls", "upstream",
        ],
    ),
    (
        "reception",
        &[
            "config", "journal", "proto", "relay", "sys", "tls", "upstream",
        ],
    ),
    (
        "process",
        &[
            "admin",
            "balance",
            "config",
            "journal",
            "log",
            "proto",
            "reception",
            "relay",
            "sys",
            "tls",
            "upstream",
        ],
    ),
    (
        "cli",
        &[
            "admin",
            "balance",
            "config",
            "journal",
            "log",
            "process",
            "proto",
            "reception",
            "relay",
            "sys",
            "tls",
            "upstream",
        ],
    ),
    ("lib", &[]),
    ("main", &["cli"]),
];

/// Returns what is wrong with the imports of the file `path` (from the repository's top), as line
/// and text.
pub(crate) fn check(path: &str, code: &str) -> Vec<(usize, String)> {
    let Some(own) = module_of(path) else {
        return Vec::new();
    };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == own) else {
        return vec![(
            1,
            format!(
                "module `{own}` has no place among the layers: add it to the map in src/lib.rs and to xtask's"
            ),
        )];
    };
    imported(path, code)
        .into_iter()
        .filter(|(_, module)| module != own && is_layer(module))
        .filter(|(_, module)| !allowed.contains(&module.as_str()))
        .map(|(line, module)| (line, format!("`{own}` may not import `{module}`")))
        .collect()
}

fn is_layer(module: &str) -> bool {
    LAYERS.iter().any(|(name, _)| *name == module)
}

/// Returns the module of `src/` that the file belongs to; none = it is not of `src/`.
fn module_of(path: &str) -> Option<&str> {
    let path = path.strip_prefix("src/")?;
    let first = path.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// Returns line and first segment of every path that begins at the crate's root.
fn imported(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in roots(path) {
        for at in words(code, &root) {
            let rest = &code[at + root.len()..];
            let Some(rest) = rest.trim_start().strip_prefix("::") else {
                continue;
            };
            let line = line_of(code, at);
            found.extend(
                first_segments(rest)
                    .into_iter()
                    .map(|module| (line, module)),
            );
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Words that mean the crate's root in this file.
fn roots(path: &str) -> Vec<String> {
    let mut roots = vec!["crate".to_owned(), "longsplice".to_owned()];
    let depth = path.matches('/').count();
    let levels = if path.ends_with("/mod.rs") {
        depth - 1
    } else {
        depth
    };
    if levels > 0 && path.starts_with("src/") {
        roots.push(vec!["super"; levels].join("::"));
    }
    roots
}

/// Returns the first segment of a path, or of each member of a group.
fn first_segments(rest: &str) -> Vec<String> {
    let rest = rest.trim_start();
    let segment = |text: &str| -> String {
        let text = text.trim_start();
        text.chars().take_while(|c| is_word(*c)).collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![segment(rest)];
    };
    let mut members = Vec::new();
    let mut depth = 0_usize;
    let mut from = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(segment(&group[from..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(segment(&group[from..at]));
                from = at + 1;
            }
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_hold() {
        #[rustfmt::skip]
        let rows: &[(&str, &str, &[&str])] = &[
            ("src/proto/addr.rs", "use crate::sys::probe;", &["sys"]),
            ("src/proto/addr.rs", "use crate::proto::http;", &[]),
            ("src/proto/mod.rs", "use super::config::Config;", &["config"]),
            ("src/proto/http/head.rs", "use super::framing::Framing;", &[]),
            ("src/proto/http/head.rs", "use super::super::super::relay::Start;", &["relay"]),
            ("src/sys/ring.rs", "fn f(x: crate::journal::Cause) {}", &["journal"]),
            ("src/balance/mod.rs", "use crate::{proto::addr, config};", &["config"]),
            ("src/balance/mod.rs", "use crate::{\n  proto::{addr, http},\n  sys,\n};", &["sys"]),
            ("src/journal.rs", "use crate::proto::addr;", &[]),
            ("src/journal.rs", "use crate::config::Log;", &["config"]),
            ("src/config/parse.rs", "use crate::relay::Start;", &["relay"]),
            ("src/relay/engine.rs", "use crate::{journal, proto, sys, tls};", &[]),
            ("src/relay/engine.rs", "use crate::config::Config;", &["config"]),
            ("src/admin/state.rs", "use crate::sys::probe;", &[]),
            ("src/admin/state.rs", "use crate::reception;", &["reception"]),
            ("src/reception/mod.rs", "use crate::process::run;", &["process"]),
            ("src/process.rs", "use crate::cli;", &["cli"]),
            ("src/cli.rs", "use crate::process;", &[]),
            ("src/main.rs", "longsplice::cli::main()", &[]),
            ("src/main.rs", "longsplice::process::run()", &["process"]),
            ("tests/it/main.rs", "use longsplice::process;", &[]),
        ];
        for (path, code, refused) in rows {
            let found: Vec<String> = check(path, code)
                .into_iter()
                .map(|(_, text)| text)
                .collect();
            let expected: Vec<String> = refused
                .iter()
                .map(|module| {
                    let own = module_of(path).unwrap();
                    format!("`{own}` may not import `{module}`")
                })
                .collect();
            assert_eq!(found, expected, "{path}: {code}");
        }
    }

    #[test]
    fn a_new_module_must_take_its_place() {
        let found = check("src/misc.rs", "");
        assert_eq!(found.len(), 1);
        assert!(found[0].1.contains("no place"));
    }
}
