//! Every key, one after the other: it has its texts, its example is legal and survives printing, its wrong
//! example is refused at its place, and its default applies without it.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::config::keys::describe;
use crate::config::shape::{Fallback, KeyDoc, SectionDoc, Shape};
use crate::config::{Config, Errors, parse};

/// Tables that are written as a list.
const LISTS: [&str; 5] = [
    "listener",
    "listener.route",
    "listener.tls.certificates",
    "backend",
    "backend.server",
];

/// A file with everything a key may need.
const BASE: &str = r#"
listener = [{ bind = "127.0.0.1:80", route = [{ backend = "app" }] }]
backend = [{ name = "app", server = [{ address = "127.0.0.1:3000" }] }]
"#;

/// Lines that a key needs next to it: key path, table, lines.
const BESIDE: [(&str, &str, &str); 20] = [
    (
        "listener.tls.certificates.cert",
        "listener.tls.certificates",
        "key = \"b.key\"",
    ),
    ("server.drain_rate", "server", "drain_window = \"1m\""),
    (
        "server.admin_http_write",
        "server",
        "admin_http_token = \"token\"",
    ),
    (
        "listener.behind",
        "listener",
        "trusted_proxies = \"10.0.0.0/8\"",
    ),
    (
        "listener.proxy_protocol",
        "listener",
        "trusted_proxies = \"10.0.0.0/8\"",
    ),
    (
        "listener.tls.client_auth",
        "listener.tls",
        "client_ca = \"ca.pem\"",
    ),
    ("listener.tls.crl", "listener.tls", "client_ca = \"ca.pem\""),
    (
        "listener.tls.client_subject",
        "listener.tls",
        "client_ca = \"ca.pem\"",
    ),
    ("listener.route.server_name", "listener", "mode = \"sni\""),
    (
        "listener.route.redirect.status",
        "listener.route.redirect",
        "scheme = \"https\"",
    ),
    ("backend.health.method", "backend.health", "kind = \"http\""),
    ("backend.health.path", "backend.health", "kind = \"http\""),
    ("backend.health.host", "backend.health", "kind = \"http\""),
    ("backend.health.expect", "backend.health", "kind = \"http\""),
    ("backend.health.tls", "backend", "tls = { verify = false }"),
    ("backend.tls.server_name", "backend.tls", "verify = false"),
    ("backend.tls.min_version", "backend.tls", "verify = false"),
    ("backend.tls.cert", "backend.tls", "verify = false"),
    (
        "backend.tls.key",
        "backend.tls",
        "verify = false\ncert = \"site.pem\"",
    ),
    ("backend.tls.offload", "backend.tls", "verify = false"),
];

/// Calls `look` with each section, inline tables among them.
fn sections(section: &SectionDoc, look: &mut impl FnMut(&SectionDoc)) {
    look(section);
    for key in &section.keys {
        shapes(&key.shape, look);
    }
}

fn shapes(shape: &Shape, look: &mut impl FnMut(&SectionDoc)) {
    match shape {
        Shape::Table(section) | Shape::Inline(section) | Shape::Tables(section) => {
            sections(section, look);
        }
        // A list of the preceding alternative has the same tables.
        Shape::Either(all) => {
            let once = all.iter().filter(|it| !matches!(it, Shape::List { .. }));
            once.for_each(|shape| shapes(shape, look));
        }
        Shape::List { of, .. } => shapes(of, look),
        Shape::Bool
        | Shape::Whole(_)
        | Shape::Numbers(_)
        | Shape::Duration(_)
        | Shape::Size(_)
        | Shape::Text { .. }
        | Shape::Choice(_)
        | Shape::Map { .. }
        | Shape::Named { .. } => {}
    }
}

fn toml_of(text: &str) -> Table {
    text.parse()
        .unwrap_or_else(|wrong| panic!("{wrong}: {text}"))
}

fn value_of(text: &str) -> Value {
    toml_of(&format!("value = {text}"))
        .remove("value")
        .expect("a value")
}

/// Returns the table at `path`, created if it does not exist.
fn table_at<'t>(root: &'t mut Table, path: &str) -> &'t mut Table {
    let mut table = root;
    let mut so_far = String::new();
    for name in path.split('.').filter(|name| !name.is_empty()) {
        if !so_far.is_empty() {
            so_far.push('.');
        }
        so_far += name;
        let is_list = LISTS.contains(&so_far.as_str());
        let entry = table.entry(name).or_insert_with(|| {
            let empty = Value::Table(Table::new());
            if is_list {
                Value::Array(vec![empty])
            } else {
                empty
            }
        });
        table = match entry {
            Value::Array(rows) => rows[0].as_table_mut().expect("tables"),
            Value::Table(table) => table,
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_) => panic!("a table"),
        };
    }
    table
}

/// Returns a file with `key = value` in the section, and the lines it needs next to it.
fn file_with(section: &SectionDoc, key: &KeyDoc, value: Option<&str>) -> String {
    let mut root = toml_of(BASE);
    let full = full_path(section, key);
    let acts = |path: &str| ["redirect", "respond"].iter().any(|act| path.contains(act));
    if acts(&full) {
        table_at(&mut root, "listener.route").remove("backend");
    }
    if section.path.starts_with("listener.tls") {
        let tls = table_at(&mut root, "listener.tls");
        tls.insert("certificates".to_owned(), value_of("\"site.pem\""));
    }
    if section.path == "listener.tls.certificates" {
        table_at(&mut root, "listener.tls").remove("certificates");
    }
    let table = table_at(&mut root, section.path);
    for other in &section.keys {
        if other.default == Fallback::Required && !table.contains_key(other.name) {
            table.insert(other.name.to_owned(), value_of(other.example));
        }
    }
    for (_, at, lines) in BESIDE.iter().filter(|(path, _, _)| *path == full) {
        table_at(&mut root, at).extend(toml_of(lines));
    }
    if let Some(value) = value {
        table_at(&mut root, section.path).insert(key.name.to_owned(), value_of(value));
    }
    root.to_string()
}

fn full_path(section: &SectionDoc, key: &KeyDoc) -> String {
    match section.path {
        "" => key.name.to_owned(),
        path => format!("{path}.{}", key.name),
    }
}

/// Returns the key path at the start of an error about a key.
fn error_path(full: &str) -> String {
    let mut path = full.to_owned();
    // The longest first, as indexes make them longer.
    for list in LISTS.iter().rev() {
        if let Some(rest) = path.strip_prefix(&format!("{list}.")) {
            path = format!("{list}[0].{rest}");
        }
    }
    path
}

/// A directory with the files that examples name.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = super::identity();
        let files = [
            ("site.pem", format!("{key}{cert}")),
            ("b.crt", cert.clone()),
            ("b.key", key),
            ("ca.pem", cert),
            (
                "revoked.pem",
                crate::tls::testing::revocation_list("rcgen self signed cert"),
            ),
            ("busy.html", "busy".to_owned()),
            ("token", "0123456789abcdef".to_owned()),
            ("new.ticket", super::ticket_key("new")),
            ("old.ticket", super::ticket_key("old")),
        ];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("longsplice.toml")
    }

    fn read(&self, text: &str) -> Result<Config, Errors> {
        let mut config = parse(text, &self.file())?;
        // Their positions differ from text to text.
        config.warnings.clear();
        Ok(config)
    }
}

fn every_key(mut look: impl FnMut(&SectionDoc, &KeyDoc)) {
    let mut count = 0;
    sections(&describe(), &mut |section| {
        for key in &section.keys {
            look(section, key);
            count += 1;
        }
    });
    assert!(count > 90, "only {count} keys");
}

#[test]
fn every_key_and_section_has_its_texts() {
    let is_sentence = |text: &str| text.ends_with('.') && text.len() > 4;
    sections(&describe(), &mut |section| {
        assert!(is_sentence(section.short), "{}", section.path);
        assert!(
            section.long.is_empty() || is_sentence(section.long),
            "{}",
            section.path
        );
    });
    every_key(|section, key| {
        let full = full_path(section, key);
        assert!(is_sentence(key.short), "{full}");
        assert!(key.long.is_empty() || is_sentence(key.long), "{full}");
        assert!(!key.since.is_empty(), "{full}");
        assert_ne!(key.default, Fallback::Words(""), "{full}");
        words_have_meanings(&full, &key.shape);
    });
}

fn words_have_meanings(full: &str, shape: &Shape) {
    if let Shape::Choice(words) = shape {
        assert!(
            words.iter().all(|(_, meaning)| meaning.ends_with('.')),
            "{full}"
        );
    }
    if let Shape::Either(shapes) = shape {
        shapes
            .iter()
            .for_each(|shape| words_have_meanings(full, shape));
    }
}

#[test]
fn every_example_is_legal_and_survives_the_way_through_print() {
    let folder = Folder::new();
    every_key(|section, key| {
        let text = file_with(section, key, Some(key.example));
        let full = full_path(section, key);
        let config = folder
            .read(&text)
            .unwrap_or_else(|wrong| panic!("{full}: {wrong}{text}"));
        let printed = config.to_string();
        let again = folder
            .read(&printed)
            .unwrap_or_else(|wrong| panic!("{full}: {wrong}{printed}"));
        assert_eq!(again, config, "{full}");
        assert_eq!(again.to_string(), printed, "{full}");
    });
}

#[test]
fn every_wrong_example_is_refused_where_it_stands() {
    let folder = Folder::new();
    every_key(|section, key| {
        let text = file_with(section, key, Some(key.wrong));
        let full = full_path(section, key);
        let errors = folder.read(&text).expect_err(&full);
        let path = error_path(&full);
        assert!(
            errors.iter().any(|it| it.key.starts_with(&path)),
            "{full}: {errors}"
        );
    });
}

#[test]
fn every_default_is_what_holds_without_the_key() {
    let folder = Folder::new();
    every_key(|section, key| {
        let full = full_path(section, key);
        let Fallback::Is(default) = key.default else {
            return;
        };
        let without = folder.read(&file_with(section, key, None)).expect(&full);
        let with = folder.read(&file_with(section, key, Some(default)));
        assert_eq!(with.expect(&full), without, "{full}");
    });
}

/// An example that equals the default would prove nothing.
#[test]
fn examples_differ_from_defaults() {
    every_key(|section, key| {
        if let Fallback::Is(default) = key.default {
            let same = value_of(default) == value_of(key.example);
            assert!(!same, "{}", full_path(section, key));
        }
    });
}

#[test]
fn sections_are_where_their_paths_say() {
    fn look(section: &SectionDoc) {
        for key in &section.keys {
            if let Shape::Table(inner) | Shape::Tables(inner) = &key.shape {
                assert_eq!(inner.path, full_path(section, key));
                look(inner);
            }
        }
    }
    look(&describe());
}

/// Lines after the header of another table would belong to that one.
#[test]
fn tables_stand_behind_the_other_keys() {
    sections(&describe(), &mut |section| {
        let is_table = |key: &KeyDoc| {
            matches!(
                key.shape,
                Shape::Table(_) | Shape::Tables(_) | Shape::Map { .. }
            )
        };
        let order: Vec<bool> = section.keys.iter().map(is_table).collect();
        assert!(order.is_sorted(), "{}", section.path);
    });
}

#[test]
fn the_reference_of_the_manual_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual/reference/configuration.md");
    expect_test::expect_file![file].assert_eq(&crate::config::reference());
}
