//! Which file of `src/` imports which: every path in the code, followed to the file that declares what
//! it names.
//!
//! Re-exports are followed, so that an import through a module's face leads to the file behind it. A
//! face is a module file that declares modules and re-exports and holds nothing else; no edge begins
//! or ends there. Tests have no edges.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use super::scan::{code_of, is_word, line_of, without_tests, words};

/// Re-exports followed for one path at most.
const REEXPORTS_MAX: usize = 8;
/// Words that declare something of a file's own.
const DECLARATIONS: &[&str] = &[
    "fn",
    "struct",
    "enum",
    "trait",
    "impl",
    "const",
    "static",
    "type",
    "macro_rules",
];

/// One import: from a file, in a line, to another file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) line: usize,
    pub(super) to: String,
}

/// The module files of `src/`.
pub(super) struct Graph {
    files: Vec<File>,
    by_module: BTreeMap<Vec<String>, usize>,
}

struct File {
    path: String,
    module: Vec<String>,
    /// Without comments, strings and tests.
    code: String,
    is_face: bool,
    /// Names that others reach through this module, and where they lead; `*` = all of a module.
    reexports: Vec<(String, Vec<String>)>,
}

/// A path in the code, its segments from the crate's root.
struct Named {
    line: usize,
    segments: Vec<String>,
}

impl Graph {
    /// Reads the module files among `sources`.
    pub(super) fn of(sources: &[Source]) -> Self {
        let mut graph = Self {
            files: Vec::new(),
            by_module: BTreeMap::new(),
        };
        for source in sources {
            if let Some(module) = module_of(&source.path) {
                graph.by_module.insert(module.clone(), graph.files.len());
                let code = without_tests(&code_of(&source.text));
                graph.files.push(File {
                    path: source.path.clone(),
                    module,
                    is_face: !DECLARATIONS
                        .iter()
                        .any(|word| words(&code, word).next().is_some()),
                    code,
                    reexports: Vec::new(),
                });
            }
        }
        for at in 0..graph.files.len() {
            graph.files[at].reexports = graph.reexports_of(at);
        }
        graph
    }

    /// Returns every import of a file by another one, each pair once.
    pub(super) fn edges(&self) -> Vec<Edge> {
        let mut seen = BTreeSet::new();
        let mut edges = Vec::new();
        for (at, file) in self.files.iter().enumerate() {
            if file.is_face {
                continue;
            }
            for named in self.paths_of(at) {
                let Some(to) = self.resolve(&named.segments, REEXPORTS_MAX) else {
                    continue;
                };
                if to != at && !self.files[to].is_face && seen.insert((at, to)) {
                    edges.push(Edge {
                        from: file.path.clone(),
                        line: named.line,
                        to: self.files[to].path.clone(),
                    });
                }
            }
        }
        edges
    }

    /// Follows a path to the file that declares its end.
    fn resolve(&self, segments: &[String], reexports_left: usize) -> Option<usize> {
        let mut module: Vec<String> = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            let mut child = module.clone();
            child.push(segment.clone());
            if self.by_module.contains_key(&child) {
                module = child;
                continue;
            }
            let here = *self.by_module.get(&module)?;
            let leads = self.files[here].reexports.iter();
            let leads = leads.filter(|(name, _)| name == segment || name == "*");
            for (name, path) in leads {
                let mut path = path.clone();
                if name == "*" {
                    path.push(segment.clone());
                }
                path.extend_from_slice(&segments[at + 1..]);
                if reexports_left > 0
                    && path != segments
                    && let Some(found) = self.resolve(&path, reexports_left - 1)
                    && (name != "*" || self.declares(found, segment))
                {
                    return Some(found);
                }
            }
            return Some(here);
        }
        self.by_module.get(&module).copied()
    }

    fn declares(&self, file: usize, name: &str) -> bool {
        let code = &self.files[file].code;
        words(code, name).any(|at| {
            let before = code[..at].trim_end();
            DECLARATIONS.iter().any(|word| before.ends_with(word))
        })
    }

    /// Returns what a file re-exports, by the name that it gives it.
    fn reexports_of(&self, at: usize) -> Vec<(String, Vec<String>)> {
        let file = &self.files[at];
        let mut found = Vec::new();
        for (use_at, statement) in use_statements(&file.code) {
            if !is_public(&file.code, use_at) {
                continue;
            }
            for (path, alias) in flatten(statement) {
                if let (Some(mut segments), Some(name)) = (self.absolute(at, &path), path.last()) {
                    if name == "*" {
                        segments.pop();
                    }
                    found.push((alias.unwrap_or_else(|| name.clone()), segments));
                }
            }
        }
        found
    }

    /// Returns every path in a file that begins at the crate's root, at a parent or at a child.
    fn paths_of(&self, at: usize) -> Vec<Named> {
        let code = &self.files[at].code;
        let mut found = Vec::new();
        for (use_at, statement) in use_statements(code) {
            let line = line_of(code, use_at);
            for (path, _) in flatten(statement) {
                let segments = self.absolute(at, &path);
                found.extend(segments.map(|segments| Named { line, segments }));
            }
        }
        for (path_at, path) in inline_paths(code) {
            let line = line_of(code, path_at);
            let segments = self.absolute(at, &path);
            found.extend(segments.map(|segments| Named { line, segments }));
        }
        found
    }

    /// Returns the segments of a path from the crate's root; none = it leads out of the crate, or is
    /// relative to something else than a module.
    fn absolute(&self, at: usize, path: &[String]) -> Option<Vec<String>> {
        let own = &self.files[at].module;
        let first = path.first()?.as_str();
        if first == "crate" || (own.is_empty() && first == "longsplice") {
            return Some(path[1..].to_vec());
        }
        let supers = path
            .iter()
            .take_while(|segment| *segment == "super")
            .count();
        let mut base = own.clone();
        if supers > 0 {
            base.truncate(own.len().checked_sub(supers)?);
            base.extend_from_slice(&path[supers..]);
            return Some(base);
        }
        if first == "self" {
            base.extend_from_slice(&path[1..]);
            return Some(base);
        }
        base.push(first.to_owned());
        let is_child = self.by_module.contains_key(&base);
        base.extend_from_slice(&path[1..]);
        is_child.then_some(base)
    }
}

/// Returns the module path of a file of the library; none = it is none, or a test.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if module.iter().any(|segment| segment == "tests") || inside == "main" {
        return None;
    }
    if module
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        module.pop();
    }
    Some(module)
}

/// Returns each `use` statement without the word and the semicolon, and where it stands.
fn use_statements(code: &str) -> impl Iterator<Item = (usize, &str)> {
    words(code, "use").filter_map(|at| {
        let rest = &code[at + "use".len()..];
        let before = code[..at].trim_end();
        let begins = before.is_empty() || before.ends_with([';', '}', '{', ']', ')']);
        let begins = begins || before.ends_with("pub");
        begins.then(|| rest.split(';').next().map(|statement| (at, statement)))?
    })
}

fn is_public(code: &str, use_at: usize) -> bool {
    let before = code[..use_at].trim_end();
    let statement = before.rfind([';', '}', ']']).map_or(0, |at| at + 1);
    before[statement..].trim_start().starts_with("pub")
}

/// Takes a tree of imports apart: each path, and the name it is given by `as`.
fn flatten(tree: &str) -> Vec<(Vec<String>, Option<String>)> {
    let mut found = Vec::new();
    flatten_below(&[], tree, &mut found);
    found
}

fn flatten_below(prefix: &[String], tree: &str, found: &mut Vec<(Vec<String>, Option<String>)>) {
    let tree = tree.trim();
    let (path, group) = match tree.find('{') {
        Some(at) => (&tree[..at], tree[at + 1..].strip_suffix('}')),
        None => (tree, None),
    };
    let (path, alias) = match path.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias.trim().to_owned())),
        None => (path, None),
    };
    let mut segments = prefix.to_vec();
    let named = path.split("::").map(str::trim).filter(|it| !it.is_empty());
    segments.extend(named.map(str::to_owned));
    let Some(group) = group else {
        if segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        found.push((segments, alias));
        return;
    };
    let mut depth = 0_usize;
    let mut from = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                flatten_member(&segments, &group[from..at], found);
                from = at + 1;
            }
            _ => {}
        }
    }
    flatten_member(&segments, &group[from..], found);
}

fn flatten_member(prefix: &[String], tree: &str, found: &mut Vec<(Vec<String>, Option<String>)>) {
    if !tree.trim().is_empty() {
        flatten_below(prefix, tree, found);
    }
}

/// Returns each path of two segments or more, and where it begins; single ones of `use` are among them.
fn inline_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = code[at..].find("::") {
        let colons = at + offset;
        let begin = code[..colons]
            .rfind(|c: char| !is_word(c))
            .map_or(0, |before| before + 1);
        let mut segments = vec![code[begin..colons].to_owned()];
        let mut end = colons;
        let mut is_group = false;
        while let Some(rest) = code[end..].strip_prefix("::") {
            let segment: String = rest.chars().take_while(|c| is_word(*c)).collect();
            if segment.is_empty() {
                end += "::".len();
                is_group = rest.starts_with('{');
                break;
            }
            end += "::".len() + segment.len();
            segments.push(segment);
        }
        // `pub(in crate::x)` says who may import, and imports nothing.
        let is_visibility = code[..begin].trim_end().ends_with("(in");
        if segments.len() > 1 && !segments[0].is_empty() && !is_visibility && !is_group {
            found.push((begin, segments));
        }
        at = end.max(colons + "::".len());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges_of(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let source = |(path, text): &(&str, &str)| Source {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        let sources: Vec<Source> = files.iter().map(source).collect();
        let edges = Graph::of(&sources).edges();
        edges.into_iter().map(|edge| (edge.from, edge.to)).collect()
    }

    fn edge(from: &str, to: &str) -> (String, String) {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn imports_lead_to_the_file_that_declares() {
        let files = [
            ("src/lib.rs", "pub mod a;\npub mod b;"),
            (
                "src/a/mod.rs",
                "mod deep;\npub use deep::{Thing, other as renamed};",
            ),
            ("src/a/deep.rs", "pub struct Thing; pub fn other() {}"),
            (
                "src/b.rs",
                "use crate::a::{Thing, deep};\nfn f() { crate::a::renamed() }",
            ),
        ];
        assert_eq!(edges_of(&files), [edge("src/b.rs", "src/a/deep.rs")]);
    }

    #[test]
    fn parents_children_and_siblings_are_seen() {
        let files = [
            ("src/a.rs", "mod c;\nmod d;\nfn f() { d::g() }"),
            ("src/a/c.rs", "use super::d::g;\nfn f() {}"),
            ("src/a/d.rs", "pub fn g() { super::f() }"),
        ];
        let expected = [
            edge("src/a.rs", "src/a/d.rs"),
            edge("src/a/c.rs", "src/a/d.rs"),
            edge("src/a/d.rs", "src/a.rs"),
        ];
        assert_eq!(edges_of(&files), expected);
    }

    #[test]
    fn a_glob_leads_where_the_name_is_declared() {
        let files = [
            (
                "src/a/mod.rs",
                "mod b;\nmod c;\npub use b::*;\npub use c::*;",
            ),
            ("src/a/b.rs", "pub struct B;"),
            ("src/a/c.rs", "pub struct C;"),
            ("src/d.rs", "fn f(_: crate::a::C) {}"),
            ("src/e/mod.rs", "pub use crate::a::*;"),
            ("src/f.rs", "use crate::e::{B, C as D};\nfn f() {}"),
        ];
        let expected = [
            edge("src/d.rs", "src/a/c.rs"),
            edge("src/f.rs", "src/a/b.rs"),
            edge("src/f.rs", "src/a/c.rs"),
        ];
        assert_eq!(edges_of(&files), expected);
    }

    #[test]
    fn tests_comments_and_strings_import_nothing() {
        let files = [
            (
                "src/a.rs",
                "fn f() {} // crate::b::g\n#[cfg(test)]\nmod tests { use crate::b::g; }",
            ),
            ("src/a/tests.rs", "use crate::b::g;"),
            ("src/b.rs", "pub(in crate::a) fn g() { \"crate::a::f\"; }"),
        ];
        assert_eq!(edges_of(&files), []);
    }
}
