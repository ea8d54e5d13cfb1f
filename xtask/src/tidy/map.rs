//! The map of the code in the README: what it names has to exist.
//!
//! Every path such as `` `route::choose` `` in the section Architecture must end in something that
//! `src/` declares, and the modules of the crate's root must all be in its table.

use std::collections::BTreeSet;

use super::scan::{code_of, is_word, line_of, words};
use super::{Finding, Source};

/// Words that declare the name after them.
const DECLARATIONS: &[&str] = &["fn", "struct", "enum", "mod", "trait", "type", "const"];

/// Checks the README against the sources.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let find = |path: &str| sources.iter().find(|source| source.path == path);
    let (Some(readme), Some(root)) = (find("README.md"), find("src/lib.rs")) else {
        return Vec::new();
    };
    let Some(start) = readme.text.find("\n## Architecture\n") else {
        return vec![finding(1, "no section Architecture")];
    };
    let section = &readme.text[start + 1..];
    let section = section.find("\n## ").map_or(section, |end| &section[..end]);
    let first_line = line_of(&readme.text, start + 1);
    let files: Vec<Declared> = sources.iter().filter_map(Declared::of).collect();
    let mut findings = Vec::new();
    for (line, path) in paths(section) {
        if !files.iter().any(|file| file.has(path)) {
            let text = format!("`{path}` does not exist");
            findings.push(finding(first_line + line - 1, &text));
        }
    }
    for module in names_after("mod", &code_of(&root.text)) {
        if !section.contains(&format!("| `{module}` |")) {
            findings.push(finding(
                first_line,
                &format!("module `{module}` is missing"),
            ));
        }
    }
    findings
}

fn finding(line: usize, text: &str) -> Finding {
    Finding {
        path: "README.md".to_owned(),
        line,
        text: text.to_owned(),
        fatal: true,
    }
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
    use super::*;

    fn check_readme(readme: &str, expected: &[&str]) {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let sources = [
            source("README.md", readme),
            source("src/lib.rs", "pub mod relay;\n"),
            source(
                "src/relay/mod.rs",
                "// fn gone()\nstruct Handle; impl Handle { fn adopt(&self) {} }",
            ),
            source("src/cli.rs", "fn elsewhere() {}"),
        ];
        let found: Vec<String> = check(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{readme}");
    }

    #[test]
    fn names_and_modules_must_exist() {
        let table = "# x\n\n## Architecture\n| `relay` | job |\n";
        check_readme(table, &[]);
        check_readme(&format!("{table}-> `Handle::adopt`\n## Next\n`a::b`"), &[]);
        check_readme(
            &format!("{table}`relay::adopt`, `crate::relay::Handle`\n"),
            &[],
        );
        check_readme(
            &format!("{table}`relay::elsewhere`\n"),
            &["README.md:5: `relay::elsewhere` does not exist"],
        );
        check_readme(
            &format!("{table}-> `Handle::gone`\n"),
            &["README.md:5: `Handle::gone` does not exist"],
        );
        check_readme(
            "\n## Architecture\n`relay`\n",
            &["README.md:2: module `relay` is missing"],
        );
        check_readme("# x\n", &["README.md:1: no section Architecture"]);
    }
}
