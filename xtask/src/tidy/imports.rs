//! Allowed imports between modules: the layers of `src/lib.rs`, compared with the paths in the code.
//!
//! The table in the documentation of `src/lib.rs` is the one list: a module, its job, and the modules
//! that it imports. Each of these must stand above it in the table and must be in use. `use crate::x`,
//! `crate::x::y` in expressions, groups (`use crate::{x, y::z}`) and `super::x` from a module's own file
//! are all seen.

use std::collections::BTreeSet;

use super::scan::{code_of, is_word, line_of, words};
use super::{Finding, Source};

/// What stands beside the layers: the root of the library, and the binary.
const ROOTS: &[(&str, &[&str])] = &[("lib", &[]), ("main", &["cli"])];

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) job: String,
    imports: Vec<String>,
    line: usize,
}

/// Returns the rows of the table in `src/lib.rs`.
pub(super) fn layers(sources: &[Source]) -> Vec<Layer> {
    let root = sources.iter().find(|source| source.path == "src/lib.rs");
    let lines = root.map_or("", |root| &root.text).lines().enumerate();
    lines.filter_map(|(at, line)| row(at + 1, line)).collect()
}

fn row(line: usize, text: &str) -> Option<Layer> {
    let cells: Vec<&str> = text.strip_prefix("//! | [`")?.split('|').collect();
    let &[name, job, imports, _] = cells.as_slice() else {
        return None;
    };
    let imports = imports.split(',').map(|name| name.trim().trim_matches('`'));
    Some(Layer {
        name: name.trim().trim_end_matches("`]").to_owned(),
        job: job.trim().to_owned(),
        imports: imports
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        line,
    })
}

/// Returns what is wrong with the table itself, and with the imports of every file.
pub(super) fn check(sources: &[Source], layers: &[Layer]) -> Vec<Finding> {
    let mut findings = upward(layers);
    let mut used: BTreeSet<(String, String)> = BTreeSet::new();
    for source in sources {
        let Some(own) = module_of(&source.path) else {
            continue;
        };
        let Some(allowed) = allowed(own, layers) else {
            let text = format!("module `{own}` has no row in the table of src/lib.rs");
            findings.push(Finding::fatal(&source.path, 1, text));
            continue;
        };
        for (line, module) in imported(&source.path, &code_of(&source.text)) {
            if module == own || !layers.iter().any(|layer| layer.name == module) {
                continue;
            }
            if allowed.contains(&module.as_str()) {
                used.insert((own.to_owned(), module));
            } else {
                let text = format!("`{own}` may not import `{module}`");
                findings.push(Finding::fatal(&source.path, line, text));
            }
        }
    }
    for layer in layers {
        for import in &layer.imports {
            if !used.contains(&(layer.name.clone(), import.clone())) {
                let text = format!("`{}` does not import `{import}`", layer.name);
                findings.push(Finding::fatal("src/lib.rs", layer.line, text));
            }
        }
    }
    findings
}

/// Returns the imports that lead to a row further down.
fn upward(layers: &[Layer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        for import in &layer.imports {
            if !layers[..at].iter().any(|below| below.name == *import) {
                let text = format!("`{import}` does not stand above `{}`", layer.name);
                findings.push(Finding::fatal("src/lib.rs", layer.line, text));
            }
        }
    }
    findings
}

fn allowed<'a>(own: &str, layers: &'a [Layer]) -> Option<Vec<&'a str>> {
    if let Some((_, allowed)) = ROOTS.iter().find(|(name, _)| *name == own) {
        return Some(allowed.to_vec());
    }
    let layer = layers.iter().find(|layer| layer.name == own)?;
    Some(layer.imports.iter().map(String::as_str).collect())
}

/// Returns the module of `src/` that the file belongs to; none = it is not of `src/`.
fn module_of(path: &str) -> Option<&str> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    path.split('/').next()
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

    const TABLE: &str = "//! | [`proto`] | bytes | |\n\
        //! | [`sys`] | calls | `proto` |\n\
        //! | [`relay`] | moves | `proto`, `sys` |\n";

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let mut sources = vec![Source {
            path: "src/lib.rs".to_owned(),
            text: TABLE.to_owned(),
        }];
        sources.extend(files.iter().map(|(path, text)| Source {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        }));
        let layers = layers(&sources);
        let found = check(&sources, &layers).into_iter();
        found.map(|it| it.to_string()).collect()
    }

    #[test]
    fn the_table_is_read() {
        let layer = row(7, "//! | [`relay`] | moves bytes | `proto`, `sys` |").unwrap();
        assert_eq!(
            (layer.name.as_str(), layer.job.as_str()),
            ("relay", "moves bytes")
        );
        assert_eq!(layer.imports, ["proto", "sys"]);
        assert_eq!(row(1, "//! | module | job | imports |"), None);
        assert_eq!(row(1, "//! text"), None);
    }

    #[test]
    fn an_import_that_no_row_allows_is_refused() {
        #[rustfmt::skip]
        let rows: &[(&str, &str, &[&str])] = &[
            ("src/proto/addr.rs", "use crate::sys::probe;", &["sys"]),
            ("src/proto/addr.rs", "use crate::proto::http;", &[]),
            ("src/proto/mod.rs", "use super::relay::Start;", &["relay"]),
            ("src/proto/http/head.rs", "use super::framing::Framing;", &[]),
            ("src/proto/http/head.rs", "use super::super::super::relay::Start;", &["relay"]),
            ("src/sys/ring.rs", "fn f(x: crate::relay::Start) {}", &["relay"]),
            ("src/sys/mod.rs", "use crate::{proto::addr, relay};", &["relay"]),
            ("src/sys/mod.rs", "use crate::{\n  proto::{addr, http},\n  relay,\n};", &["relay"]),
            ("src/main.rs", "longsplice::cli::main()", &[]),
            ("src/main.rs", "longsplice::relay::run()", &["relay"]),
            ("tests/it/main.rs", "use longsplice::relay;", &[]),
        ];
        for (path, code, refused) in rows {
            let found = findings(&[(*path, *code)]);
            let found: Vec<&str> = found
                .iter()
                .filter_map(|text| text.split_once("may not import "))
                .map(|(_, module)| module.trim_matches('`'))
                .collect();
            assert_eq!(found, *refused, "{path}: {code}");
        }
    }

    #[test]
    fn a_row_names_what_is_in_use_and_nothing_else() {
        let used = [
            ("src/sys/a.rs", "use crate::proto::x;"),
            ("src/relay/a.rs", "use crate::{proto, sys};"),
        ];
        assert_eq!(findings(&used), Vec::<String>::new());
        let expected = ["src/lib.rs:3: `relay` does not import `sys`"];
        assert_eq!(
            findings(&[used[0], ("src/relay/a.rs", "use crate::proto;")]),
            expected
        );
    }

    #[test]
    fn a_row_stands_below_what_it_imports() {
        let layer = |name: &str, imports: &[&str]| Layer {
            name: name.to_owned(),
            job: String::new(),
            imports: imports.iter().map(|it| (*it).to_owned()).collect(),
            line: 1,
        };
        assert_eq!(upward(&[layer("a", &[]), layer("b", &["a"])]), []);
        let found = upward(&[layer("a", &["b"]), layer("b", &[])]);
        assert_eq!(found[0].text, "`b` does not stand above `a`");
    }

    #[test]
    fn a_new_module_must_take_its_place() {
        let found = findings(&[("src/misc.rs", "")]);
        assert!(
            found.iter().any(|text| text.contains("`misc` has no row")),
            "{found:?}"
        );
    }
}
