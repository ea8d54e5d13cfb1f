//! The map of the code in the manual, and the pages for contributors: the names in them must exist.
//!
//! Every path in backticks such as `` `route::choose` `` in these pages must end in something that
//! `src/` declares. The table of modules in the map must be that of `src/lib.rs`, word for word.

use std::collections::BTreeSet;

use super::imports::Layer;
use super::scan::{code_of, is_word, words};
use super::{Finding, Source};

/// Words that declare the name after them.
const DECLARATIONS: &[&str] = &["fn", "struct", "enum", "mod", "trait", "type", "const"];

/// The page with the table of modules.
const MAP: &str = "src/manual/internals/map.md";
/// Pages that name parts of the code.
const PAGES: &[&str] = &["src/manual/internals/", ".github/CONTRIBUTING.md"];

/// Checks the pages against the sources, and the map against the table in `src/lib.rs`.
pub(super) fn check(sources: &[Source], layers: &[Layer]) -> Vec<Finding> {
    let files: Vec<Declared> = sources.iter().filter_map(Declared::of).collect();
    let is_page = |source: &&Source| PAGES.iter().any(|page| source.path.starts_with(page));
    let mut findings = Vec::new();
    for page in sources.iter().filter(is_page) {
        for (line, path) in paths(&page.text) {
            if !files.iter().any(|file| file.has(path)) {
                findings.push(Finding::fatal(
                    &page.path,
                    line,
                    format!("`{path}` does not exist"),
                ));
            }
        }
    }
    findings.extend(table(sources, layers));
    findings
}

/// Compares the rows of the map with the layers, in their order.
fn table(sources: &[Source], layers: &[Layer]) -> Option<Finding> {
    let map = sources.iter().find(|source| source.path == MAP)?;
    let is_row = |line: &&str| line.starts_with("| `");
    let rows: Vec<&str> = map.text.lines().filter(is_row).collect();
    let row = |layer: &Layer| format!("| `{}` | {} |", layer.name, layer.job);
    let expected: Vec<String> = layers.iter().map(row).collect();
    let differs = expected
        .iter()
        .zip(&rows)
        .position(|(ours, row)| ours != row);
    let shorter = rows.len().min(expected.len());
    let at = differs.or((rows.len() != expected.len()).then_some(shorter))?;
    let wanted = expected.get(at).map_or("no further row", String::as_str);
    let text = format!(
        "row {} of the table differs from src/lib.rs: {wanted}",
        at + 1
    );
    Some(Finding::fatal(MAP, 1, text))
}

/// What a file of `src/` declares.
struct Declared<'a> {
    module: &'a str,
    names: BTreeSet<String>,
}

impl<'a> Declared<'a> {
    fn of(source: &'a Source) -> Option<Self> {
        let path = source.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let path = path.strip_suffix("/mod").unwrap_or(path);
        let code = code_of(&source.text);
        let names = |word: &&str| names_after(word, &code);
        Some(Self {
            module: path.rsplit('/').next().unwrap_or(path),
            names: DECLARATIONS.iter().flat_map(names).collect(),
        })
    }

    /// Whether the last name of `path` is declared here, in the module or beside the type that
    /// stands before it.
    fn has(&self, path: &str) -> bool {
        let mut segments = path.rsplit("::");
        let (last, before) = (segments.next(), segments.next());
        let declares = |name: &str| self.names.contains(name);
        last.is_some_and(declares)
            && before.is_some_and(|before| self.module == before || declares(before))
    }
}

fn names_after(word: &str, code: &str) -> Vec<String> {
    words(code, word)
        .map(|at| {
            let rest = code[at + word.len()..].trim_start();
            rest.chars().take_while(|c| is_word(*c)).collect()
        })
        .collect()
}

/// Returns what stands in backticks and looks like a path, with its line.
fn paths(section: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, line) in section.lines().enumerate() {
        let quoted = line.split('`').skip(1).step_by(2);
        found.extend(
            quoted
                .filter(|text| text.contains("::"))
                .map(|text| (at + 1, text)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::imports::layers;
    use super::*;

    fn check_map(map: &str, expected: &[&str]) {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let sources = [
            source(MAP, map),
            source("src/lib.rs", "//! | [`relay`] | moves bytes | |\n"),
            source(
                "src/relay/mod.rs",
                "// fn gone()\nstruct Handle; impl Handle { fn adopt(&self) {} }",
            ),
            source("src/cli.rs", "fn elsewhere() {}"),
        ];
        let found = check(&sources, &layers(&sources));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{map}");
    }

    #[test]
    fn what_a_page_names_must_exist() {
        let table = "# Map\n| `relay` | moves bytes |\n";
        check_map(table, &[]);
        let named = "`relay::adopt`, `Handle::adopt`, `crate::relay::Handle`";
        check_map(&format!("{table}{named}\n"), &[]);
        for gone in ["relay::elsewhere", "Handle::gone"] {
            let expected = format!("{MAP}:3: `{gone}` does not exist");
            check_map(&format!("{table}-> `{gone}`\n"), &[&expected]);
        }
    }

    #[test]
    fn the_table_is_that_of_the_library() {
        let expected = format!(
            "{MAP}:1: row 1 of the table differs from src/lib.rs: | `relay` | moves bytes |"
        );
        check_map("| `relay` | moves |\n", &[&expected]);
        check_map("# Map\n", &[&expected]);
        let more = "| `relay` | moves bytes |\n| `more` | x |\n";
        let expected =
            format!("{MAP}:1: row 2 of the table differs from src/lib.rs: no further row");
        check_map(more, &[&expected]);
    }
}
