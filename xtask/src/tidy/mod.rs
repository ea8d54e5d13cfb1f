//! House rules that no compiler checks: layout, headers, layers, purity, sizes, left-overs.
//!
//! Every rule is a function from a file to findings and has a test that shows it fail. The rules
//! run on the files on disk, so they work in a tree without git as well.

mod circles;
mod graph;
mod imports;
mod map;
mod names;
mod rules;
mod scan;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use graph::Graph;

/// Directories that hold nothing of the project's own.
const FOREIGN: &[&str] = &[".git", "target", "node_modules", "__pycache__", "artifacts"];
/// Endings of files that hold text.
const TEXT: &[&str] = &[
    "rs", "toml", "md", "js", "json", "py", "sh", "txt", "yml", "cfg", "conf", "html", "css",
];

/// A rule that is broken, or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    text: String,
    /// Whether it fails the gate.
    fatal: bool,
}

impl Finding {
    /// Makes a finding that fails the gate.
    fn fatal(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
            fatal: true,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.fatal { "" } else { "note: " };
        write!(f, "{}:{}: {mark}{}", self.path, self.line, self.text)
    }
}

/// A file of the tree, its path from the repository's top.
pub(crate) struct Source {
    path: String,
    text: String,
}

/// Checks every rule in the tree at `top`; prints findings and returns whether it is tidy.
///
/// # Errors
/// When the tree cannot be read.
pub(crate) fn run(top: &Path) -> io::Result<bool> {
    let findings = check_tree(top)?;
    for finding in &findings {
        println!("{finding}");
    }
    Ok(!findings.iter().any(|finding| finding.fatal))
}

fn check_tree(top: &Path) -> io::Result<Vec<Finding>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(top)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut findings = rules::layout(&names);
    let mut sources = Vec::new();
    read_below(top, "", &mut sources)?;
    for source in &sources {
        findings.extend(rules::check(source));
    }
    let layers = imports::layers(&sources);
    findings.extend(imports::check(&sources, &layers));
    findings.extend(map::check(&sources, &layers));
    findings.extend(names::check(&sources));
    let edges = Graph::of(&sources).edges();
    findings.extend(circles::check(&edges));
    Ok(findings)
}

fn read_below(top: &Path, folder: &str, sources: &mut Vec<Source>) -> io::Result<()> {
    let mut entries = fs::read_dir(top.join(folder))?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        let kind = entry.file_type()?;
        if kind.is_dir() && !FOREIGN.contains(&name.as_str()) {
            read_below(top, &path, sources)?;
        } else if kind.is_file() && is_ours(&path) {
            let text = fs::read_to_string(entry.path())?;
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

/// Returns whether the file is text written for this project; a corpus is input of tests.
fn is_ours(path: &str) -> bool {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    TEXT.contains(&ending) && (ending == "rs" || !path.contains("/corpus/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let findings = check_tree(&top).unwrap();
        let fatal: Vec<String> = findings
            .iter()
            .filter(|finding| finding.fatal)
            .map(ToString::to_string)
            .collect();
        assert_eq!(fatal, Vec::<String>::new());
    }
}
