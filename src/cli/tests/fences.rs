//! Every example of the documents is what its fence says.
//!
//! A fence is tagged `toml` (a whole configuration), `toml part` (tables of one), `sh`, `json`, `nginx`,
//! `haproxy`, `rust` or `text`. Each but the last two is given to the program that reads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use clap::Parser as _;
use clap::error::ErrorKind;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::generated::is_installed;
use crate::cli::args::CommandLine;
use crate::config;

/// One example.
struct Fence {
    /// `FILE:LINE`.
    place: String,
    tag: String,
    text: String,
    /// The table that the section is about, if its heading is one: `[[listener]]`.
    table: Option<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Collects the Markdown files below `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "md") {
            files.push(path);
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let mut files = vec![
        root().join("README.md"),
        root().join(".github/CONTRIBUTING.md"),
    ];
    collect(&root().join("src/manual"), &mut files);
    collect(&root().join("tests/scenarios"), &mut files);
    files
}

fn fences_of(name: &str, text: &str) -> Vec<Fence> {
    let mut fences: Vec<Fence> = Vec::new();
    let mut is_open = false;
    let mut table = None;
    let mut in_heading = false;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        if let Event::Start(Tag::CodeBlock(kind)) = event {
            let line = text[..range.start].lines().count() + 1;
            let tag = match kind {
                CodeBlockKind::Fenced(tag) => tag.into_string(),
                CodeBlockKind::Indented => "indented".to_owned(),
            };
            fences.push(Fence {
                place: format!("{name}:{line}"),
                tag,
                text: String::new(),
                table: table.clone(),
            });
            is_open = true;
        } else if let Event::End(TagEnd::CodeBlock) = event {
            is_open = false;
        } else if let Event::Start(Tag::Heading { level, .. }) = event {
            in_heading = level <= HeadingLevel::H2;
            table = table.filter(|_| !in_heading);
        } else if let Event::End(TagEnd::Heading(_)) = event {
            in_heading = false;
        } else if let Event::Code(code) = &event
            && in_heading
            && code.starts_with('[')
        {
            table = Some(code.to_string());
        } else if let Event::Text(text) = event
            && is_open
        {
            fences.last_mut().unwrap().text += &text;
        }
    }
    fences
}

/// Puts files where an example names some: certificates with their keys, pages, secrets.
fn with_files(text: &str, folder: &Path) -> String {
    let is_apart = |it: char| it.is_whitespace() || "\"'[]{},;=".contains(it);
    let mut names: Vec<&str> = text
        .split(is_apart)
        .filter(|word| FileKind::of(word).is_some())
        .collect();
    names.sort_unstable();
    names.dedup();
    // A name that another one begins with is replaced after it.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let is_certificate = |name: &&&str| FileKind::of(name) == Some(FileKind::Certificate);
    let is_only = names.iter().filter(is_certificate).count() == 1;
    let hosts = hosts_of(text);
    let mut replaced = text.to_owned();
    for (index, name) in names.iter().enumerate() {
        let file = folder.join(format!("file-{index}"));
        let contents = match FileKind::of(name).unwrap() {
            FileKind::Certificate => {
                let mut hosts = hosts.clone();
                if !is_only || hosts.is_empty() {
                    hosts.push(format!("app{index}.example.com"));
                }
                certificate_for(hosts)
            }
            FileKind::Revocations => revocation_list(),
            FileKind::TicketKey => format!("\0{index:>79}"),
            FileKind::Page => "<p>Sorry</p>\n".to_owned(),
            FileKind::Secret => "0123456789abcdef".repeat(4),
        };
        fs::write(&file, contents).unwrap();
        replaced = replaced.replace(name, file.to_str().unwrap());
    }
    replaced
}

/// A file that an example may name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    /// A certificate, its key, or both.
    Certificate,
    /// A list of revoked certificates.
    Revocations,
    Page,
    TicketKey,
    Secret,
}

impl FileKind {
    fn of(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        match extension {
            "pem" | "crt" | "key" => Some(Self::Certificate),
            "crl" => Some(Self::Revocations),
            "html" => Some(Self::Page),
            "ticket" => Some(Self::TicketKey),
            _ if name.ends_with("/token") => Some(Self::Secret),
            _ => None,
        }
    }
}

/// Makes a certificate for these hosts, and its key.
fn certificate_for(hosts: Vec<String>) -> String {
    // One for all, so that each key belongs to each certificate.
    static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().unwrap());
    let params = CertificateParams::new(hosts).unwrap();
    KEY.serialize_pem() + &params.self_signed(&*KEY).unwrap().pem()
}

/// Makes a list of revoked certificates, in PEM.
fn revocation_list() -> String {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&authority).unwrap().pem().unwrap()
}

/// Returns a host for each pattern of the routes in an example.
fn hosts_of(text: &str) -> Vec<String> {
    let values = ["host = ", "server_name = "].iter().flat_map(|key| {
        let values = text.split(key).skip(1);
        // A list, or a text alone.
        values.filter_map(|rest| match rest.strip_prefix('[') {
            Some(list) => list.split(']').next(),
            None => rest.split_inclusive('"').nth(1),
        })
    });
    // What is quoted stands between every other pair of quotes, or before the only one.
    let patterns = values.flat_map(|value| {
        let skipped = usize::from(value.matches('"').count() > 1);
        value.split('"').skip(skipped).step_by(2)
    });
    let patterns = patterns.filter(|pattern| !pattern.trim().is_empty());
    let hosts = patterns.map(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => format!("{prefix}x.example"),
        None => pattern.to_owned(),
    });
    hosts.collect()
}

/// Returns what is wrong with an example; `folder` is its own.
fn wrong_with(fence: &Fence, folder: &Path) -> Option<String> {
    let text = &fence.text;
    match fence.tag.as_str() {
        "toml" => wrong_with_configuration(&with_files(text, folder), folder),
        "toml part" => {
            let part = with_files(text, folder);
            wrong_with_part(&part, fence.table.as_deref(), folder)
        }
        "sh" => wrong_with_commands(text),
        "json" => serde_json::from_str::<serde_json::Value>(text)
            .err()
            .map(|error| error.to_string()),
        "nginx" => {
            let file = folder.join("nginx.conf");
            fs::write(&file, with_files(text, folder)).unwrap();
            let own = format!("pid {0}/pid; error_log stderr;", folder.display());
            let file = file.to_str().unwrap();
            wrong_says("nginx", &["-t", "-q", "-g", &own, "-c", file])
        }
        "haproxy" => {
            let file = folder.join("haproxy.cfg");
            fs::write(&file, with_files(text, folder)).unwrap();
            wrong_says("haproxy", &["-c", "-q", "-f", file.to_str().unwrap()])
        }
        "text" | "rust" => None,
        "" => Some("a fence without a tag".to_owned()),
        tag => Some(format!("{tag:?} is not a tag that is checked")),
    }
}

fn wrong_with_configuration(text: &str, folder: &Path) -> Option<String> {
    match config::parse(text, &folder.join("longsplice.toml")) {
        Ok(config) if config.warnings.is_empty() => None,
        Ok(config) => Some(config.warnings.join("\n")),
        Err(errors) => Some(errors.to_string()),
    }
}

/// A part may lack what is required elsewhere; what it has must be right.
///
/// Keys without a table belong to the table that the section is about. They show how one key is written, so
/// they may lack the keys that it needs beside it.
fn wrong_with_part(text: &str, table: Option<&str>, folder: &Path) -> Option<String> {
    let shows_keys = !text.trim_start().starts_with('[');
    let text = match table {
        _ if !shows_keys => text.to_owned(),
        None => return Some("does not begin with a table".to_owned()),
        Some(table) => {
            let path = table.trim_matches(['[', ']']);
            // The section of a table that is written as one key: the key stands in the table above.
            let above = path
                .rsplit_once('.')
                .filter(|(_, name)| text.starts_with(&format!("{name} =")));
            match above {
                Some((above, _)) => format!("[[{above}]]\n{text}"),
                None => format!("{table}\n{text}"),
            }
        }
    };
    // A table below the first listener or backend needs it.
    let mut whole = String::new();
    for outer in ["listener", "backend"] {
        let header = format!("[[{outer}]]");
        let below = text.find(&format!("[{outer}."));
        let below = below.or_else(|| text.find(&format!("[[{outer}.")));
        if below.is_some_and(|at| !text[..at].contains(&header)) {
            whole += &format!("{header}\n");
        }
    }
    whole += &text;
    let errors = config::parse(&whole, &folder.join("longsplice.toml")).err()?;
    let wrong: Vec<String> = errors
        .iter()
        .filter(|error| match shows_keys {
            true => error.key == "syntax" || error.message.starts_with("unknown key"),
            false => !error.message.starts_with("missing"),
        })
        .map(ToString::to_string)
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

fn wrong_with_commands(text: &str) -> Option<String> {
    if let Some(wrong) = wrong_says("sh", &["-n", "-c", text]) {
        return Some(wrong);
    }
    let lines = text.replace("\\\n", " ");
    lines
        .lines()
        .flat_map(|line| line.split("&&"))
        .map(str::trim)
        .map(|line| line.strip_prefix("sudo ").unwrap_or(line))
        .filter(|line| line.starts_with("longsplice "))
        .find_map(|line| {
            let error = CommandLine::try_parse_from(words_of(line)).err()?;
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            (!asked).then(|| format!("{line}\n{error}"))
        })
}

/// Splits a line as a shell does, up to a redirection, a pipe or a comment.
fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), it) if it == open => quote = None,
            (Some(_), it) => word.get_or_insert_default().push(it),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '>' | '<' | '|' | ';' | '#') => break,
            (None, it) if it.is_whitespace() => words.extend(word.take()),
            (None, it) => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    words
}

/// Returns what a program says against an example; nothing where the program is not installed.
fn wrong_says(program: &str, arguments: &[&str]) -> Option<String> {
    if !is_installed(program) {
        return None;
    }
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

#[test]
fn every_example_is_what_its_fence_says() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in documents() {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        for fence in fences_of(&name, &fs::read_to_string(&file).unwrap()) {
            count += 1;
            let folder = TempDir::new().unwrap();
            if let Some(why) = wrong_with(&fence, folder.path()) {
                wrong.push(format!("{}: {why}", fence.place));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "{count}");
}

#[test]
fn wrong_examples_are_seen() {
    let rows = [
        ("", "x", "without a tag"),
        ("yaml", "x: y", "not a tag"),
        ("toml", "[server]\n", "missing"),
        ("toml part", "[server]\nusr = \"x\"\n", "unknown key"),
        ("toml part", "[listener.tls]\nhst = \"1h\"\n", "unknown key"),
        ("toml part", "[[backend]]\nbalance = \"best\"\n", "balance"),
        ("toml part", "name = \"x\"\n", "begin with a table"),
        ("toml part", "[server]\nuser = \n", "syntax"),
        ("json", "{", "EOF"),
        ("sh", "if true\n", "sh"),
        ("sh", "ls\nsudo longsplice chek -c f\n", "chek"),
        ("sh", "longsplice run \\\n  --listen 'a b' > f\n", "--to"),
    ];
    for (tag, text, expected) in rows {
        let document = format!("# T\n\n```{tag}\n{text}\n```\n");
        let fences = fences_of("x.md", &document);
        assert_eq!(fences.len(), 1, "{document}");
        assert_eq!(fences[0].place, "x.md:3");
        let folder = TempDir::new().unwrap();
        let why = wrong_with(&fences[0], folder.path()).unwrap_or_default();
        assert!(why.contains(expected), "{tag} {text}: {why}");
    }
    for (key, expected) in [
        ("hst = 1", "unknown key"),
        ("hsts = ", "syntax"),
        ("hsts = \"1h\"", ""),
    ] {
        let document = format!("## `[listener.tls]`\n\n### `x`\n\n```toml part\n{key}\n```\n");
        let folder = TempDir::new().unwrap();
        let why = wrong_with(&fences_of("x.md", &document)[0], folder.path());
        assert_eq!(why.is_some(), !expected.is_empty(), "{key}: {why:?}");
        assert!(why.unwrap_or_default().contains(expected), "{key}");
    }
    for (program, tag, text) in [
        ("nginx", "nginx", "evnts {}\n"),
        ("haproxy", "haproxy", "frontend x\n  bnd :80\n"),
    ] {
        let folder = TempDir::new().unwrap();
        let fences = fences_of("x.md", &format!("```{tag}\n{text}```\n"));
        let why = wrong_with(&fences[0], folder.path());
        assert_eq!(why.is_some(), is_installed(program), "{tag}");
    }
}
