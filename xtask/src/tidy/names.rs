//! Names of public types are unique, because one word for five things explains none of them.

use std::collections::BTreeMap;

use super::scan::{code_of, is_word, line_of, without_tests, words};
use super::{Finding, Source};

/// Words in front of the name of a type.
const TYPES: &[&str] = &["struct", "enum", "union", "trait", "type"];
/// How visible a type is that the rule holds for.
const PUBLIC: &[&str] = &["pub", "pub(crate)"];

/// Returns each public type of `src/` whose name another one has.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut findings = Vec::new();
    let ours = sources.iter().filter(|source| is_library(&source.path));
    for source in ours {
        let code = without_tests(&code_of(&source.text));
        for (at, name) in public_types(&code) {
            let line = line_of(&code, at);
            let place = format!("{}:{line}", source.path);
            if let Some(other) = seen.insert(name.clone(), place) {
                let text = format!("the public type `{name}` has a namesake at {other}");
                findings.push(Finding::fatal(&source.path, line, text));
            }
        }
    }
    findings
}

fn is_library(path: &str) -> bool {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    path.starts_with("src/") && path.ends_with(".rs") && !is_test
}

/// Returns the name of each public type outside functions and implementations, and where it stands.
fn public_types(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for word in TYPES {
        for at in words(code, word) {
            let before = code[..at].trim_end();
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            // An associated type is indented.
            if PUBLIC.contains(&&before[line_start..]) {
                let rest = code[at + word.len()..].trim_start();
                found.push((at, rest.chars().take_while(|c| is_word(*c)).collect()));
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_name_stands_once() {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let sources = [
            source(
                "src/a.rs",
                "pub struct State;\nstruct Private;\npub(super) enum Near {}\n",
            ),
            source(
                "src/b.rs",
                "\npub(crate) enum State {}\nstruct Private;\npub enum Near {}\n",
            ),
            source("src/b/tests.rs", "pub struct State;\n"),
            source("src/c.rs", "#[cfg(test)]\nmod t {\npub struct State;\n}\n"),
            source("tests/it/a.rs", "pub struct State;\n"),
        ];
        let found: Vec<String> = check(&sources).iter().map(ToString::to_string).collect();
        let expected = "src/b.rs:2: the public type `State` has a namesake at src/a.rs:1";
        assert_eq!(found, [expected]);
    }
}
