//! The rules themselves, each from a file to findings.

use super::scan::{code_of, functions, line_of, without_tests, words};
use super::{Finding, Source};

/// What may stand at the top beside dotfiles: the project's owner fixed it.
const TOP: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "src",
    "target",
    "tests",
    "xtask",
];
/// Limit on the lines of a file.
const FILE_LINES_MAX: usize = 900;
/// Lines of a function that give a warning.
const FUNCTION_LINES_NOTED: usize = 70;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 100;
/// Folders and files that take bytes and clock values and return values.
const PURE: &[&str] = &["src/proto/", "src/balance/", "src/relay/tunnel"];
/// What a pure file may not name, and why.
const IMPURE: &[(&str, &str)] = &[
    ("std::io", "input and output"),
    ("std::fs", "files"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("std::env", "the environment"),
    ("TcpStream", "sockets"),
    ("TcpListener", "sockets"),
    ("UdpSocket", "sockets"),
    ("UnixStream", "sockets"),
    ("UnixListener", "sockets"),
    ("UnixDatagram", "sockets"),
    ("Instant::now", "the clock"),
    ("SystemTime::now", "the clock"),
    ("Timestamp::now", "the clock"),
    ("tokio", "the executor"),
    ("tokio_uring", "the executor"),
    ("libc", "the system"),
    ("nix", "the system"),
    ("socket2", "sockets"),
    ("io_uring", "the ring"),
];
/// Words in comments that stand for work that was not done.
const UNDONE_WORDS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];
/// Code that stands for work that was not done, or for a test that does not run.
const UNDONE_CODE: &[&str] = &["todo!", "unimplemented!", "#[ignore", "#[should_panic"];

/// Checks the names at the top.
pub(super) fn layout(names: &[String]) -> Vec<Finding> {
    names
        .iter()
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .map(|name| Finding::fatal(name, 1, "does not belong at the top of the tree"))
        .collect()
}

/// Checks one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = white_space(source);
    findings.extend(undone_words(source));
    if source.path.ends_with(".rs") {
        let code = code_of(&source.text);
        findings.extend(header(source));
        findings.extend(size(source, &code));
        findings.extend(undone_code(source, &code));
        findings.extend(unsafe_place(source, &code));
        findings.extend(purity(source, &code));
    }
    findings
}

fn header(source: &Source) -> Option<Finding> {
    let has_header = source.text.starts_with("//! ");
    let text = "does not begin with a `//!` header that says its job";
    (!has_header).then(|| Finding::fatal(&source.path, 1, text))
}

fn white_space(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        if line.ends_with([' ', '\t']) {
            findings.push(Finding::fatal(
                &source.path,
                at + 1,
                "white space at the end of the line",
            ));
        }
        if source.path.ends_with(".rs") && line.contains('\t') {
            findings.push(Finding::fatal(&source.path, at + 1, "tab"));
        }
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        let last = source.text.lines().count();
        findings.push(Finding::fatal(
            &source.path,
            last,
            "no line end at the end of the file",
        ));
    }
    findings
}

fn undone_words(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in UNDONE_WORDS {
        for at in words(&source.text, word) {
            let line = line_of(&source.text, at);
            findings.push(Finding::fatal(
                &source.path,
                line,
                format!("`{word}`: do it or drop it"),
            ));
        }
    }
    findings
}

fn undone_code(source: &Source, code: &str) -> Vec<Finding> {
    let find = |mark: &&str| {
        let mark = *mark;
        let found = code.match_indices(mark);
        found
            .map(move |(at, _)| {
                Finding::fatal(&source.path, line_of(code, at), format!("`{mark}`"))
            })
            .collect::<Vec<_>>()
    };
    UNDONE_CODE.iter().flat_map(find).collect()
}

fn size(source: &Source, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let text = format!("{lines} lines, at most {FILE_LINES_MAX}: one job per file");
        findings.push(Finding::fatal(&source.path, 1, text));
    }
    if is_test(&source.path) {
        return findings;
    }
    // Tests are rows of data; only what runs in production is bounded.
    for function in functions(&without_tests(code)) {
        if function.lines > FUNCTION_LINES_NOTED {
            let text = format!("`{}` has {} lines", function.name, function.lines);
            let mut finding = Finding::fatal(&source.path, function.line, text);
            finding.fatal = function.lines > FUNCTION_LINES_MAX;
            findings.push(finding);
        }
    }
    findings
}

/// Whether the whole file is test code.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn unsafe_place(source: &Source, code: &str) -> Vec<Finding> {
    if source.path.starts_with("src/sys/") {
        return Vec::new();
    }
    words(code, "unsafe")
        .map(|at| {
            Finding::fatal(
                &source.path,
                line_of(code, at),
                "`unsafe` outside of src/sys",
            )
        })
        .collect()
}

fn purity(source: &Source, code: &str) -> Vec<Finding> {
    if !PURE.iter().any(|pure| source.path.starts_with(pure)) {
        return Vec::new();
    }
    let code = &without_tests(code);
    let mut findings = Vec::new();
    for (path, reason) in IMPURE {
        for at in words(code, path) {
            let text = format!("`{path}` ({reason}) in a file that is pure");
            findings.push(Finding::fatal(&source.path, line_of(code, at), text));
        }
    }
    for at in words(code, "crate::sys") {
        let text = "`sys` in a file that is pure".to_owned();
        findings.push(Finding::fatal(&source.path, line_of(code, at), text));
    }
    for at in words(code, "use") {
        let end = code[at..].find(';').map_or(code.len(), |len| at + len);
        let import = &code[at..end];
        let grouped = ["io", "fs", "process", "thread", "env"]
            .iter()
            .any(|module| words(import, module).next().is_some());
        if import.starts_with("use std::{") && grouped {
            let text = "grouped import of std with input or output in a file that is pure";
            findings.push(Finding::fatal(&source.path, line_of(code, at), text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a file that begins with a header; expects the texts of its findings in order.
    fn check_file(path: &str, body: &str, expected: &[&str]) {
        let text = format!("//! Header.\n{body}\n");
        check_text(path, &text, expected);
    }

    fn check_text(path: &str, text: &str, expected: &[&str]) {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let found: Vec<String> = check(&source)
            .iter()
            .map(|finding| finding.to_string().replacen(&format!("{path}:"), "", 1))
            .collect();
        assert_eq!(found, expected, "{path}\n{text}");
    }

    #[test]
    fn top_level_is_closed() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(layout(&names(&["src", "README.md", "LICENSE", ".ci"])), []);
        assert_eq!(layout(&names(&["docs", "src", "notes.txt"])).len(), 2);
    }

    #[test]
    fn headers_are_demanded() {
        let text = "1: does not begin with a `//!` header that says its job";
        check_text("src/cli.rs", "//! Job.\n", &[]);
        check_text("src/cli.rs", "// Job.\n", &[text]);
        check_text("tests/it/main.rs", "use x;\n", &[text]);
        check_text("README.md", "Text\n", &[]);
    }

    #[test]
    fn white_space_is_seen() {
        check_file(
            "src/cli.rs",
            "let x; ",
            &["2: white space at the end of the line"],
        );
        check_file("src/cli.rs", "\tlet x;", &["2: tab"]);
        check_text("a.toml", "\tx", &["1: no line end at the end of the file"]);
    }

    #[test]
    fn undone_work_is_seen() {
        for word in UNDONE_WORDS {
            let expected = format!("2: `{word}`: do it or drop it");
            check_file("src/cli.rs", &format!("// {word}: later"), &[&expected]);
            check_text("a.md", &format!("\n{word}\n"), &[&expected]);
        }
        for mark in UNDONE_CODE {
            check_file("src/cli.rs", mark, &[&format!("2: `{mark}`")]);
            check_file("src/cli.rs", &format!("\"{mark}\""), &[]);
        }
    }

    #[test]
    fn long_files_and_functions_are_seen() {
        let file = "\n".repeat(900);
        check_file(
            "src/cli.rs",
            &file,
            &["1: 902 lines, at most 900: one job per file"],
        );
        let function = |lines: usize| format!("fn f() {{{}}}", "\n".repeat(lines - 1));
        check_file("src/cli.rs", &function(70), &[]);
        check_file("src/cli.rs", &function(71), &["2: note: `f` has 71 lines"]);
        check_file("src/cli.rs", &function(101), &["2: `f` has 101 lines"]);
        let test = format!("#[cfg(test)]\nmod tests {{ {} }}", function(101));
        check_file("src/cli.rs", &test, &[]);
        check_file("src/proto/proxy/tests/lines.rs", &function(101), &[]);
    }

    #[test]
    fn unsafe_has_one_place() {
        check_file(
            "src/cli.rs",
            "unsafe {}",
            &["2: `unsafe` outside of src/sys"],
        );
        check_file(
            "tests/it/main.rs",
            "unsafe {}",
            &["2: `unsafe` outside of src/sys"],
        );
        check_file("src/sys/ring.rs", "unsafe {}", &[]);
        check_file("src/cli.rs", "// unsafe\n#![deny(unsafe_code)]", &[]);
    }

    #[test]
    fn pure_files_name_nothing_of_the_outside() {
        for (path, reason) in IMPURE {
            let expected = format!("2: `{path}` ({reason}) in a file that is pure");
            check_file("src/balance/mod.rs", &format!("use {path};"), &[&expected]);
            check_file("src/relay/tunnel.rs", &format!("{path}()"), &[&expected]);
            check_file("src/relay/engine.rs", &format!("{path}()"), &[]);
        }
        check_file(
            "src/proto/addr.rs",
            "use std::net::{IpAddr, SocketAddr};",
            &[],
        );
        check_file("src/proto/addr.rs", "use std::time::Duration;", &[]);
        let test = "#[cfg(test)]\nmod tests { use std::fs; }";
        check_file("src/proto/addr.rs", test, &[]);
        check_file(
            "src/relay/tunnel.rs",
            "use crate::proto::readiness::Readiness;",
            &[],
        );
        check_file(
            "src/relay/tunnel.rs",
            "use crate::sys::stream;",
            &["2: `sys` in a file that is pure"],
        );
        let grouped = "2: grouped import of std with input or output in a file that is pure";
        check_file("src/proto/addr.rs", "use std::{fmt, io};", &[grouped]);
        check_file("src/proto/addr.rs", "use std::{fmt, str};", &[]);
    }
}
