//! Rows of rules, the full example, the round trip, and mutations of it that must not panic.
//!
//! A row is a snippet and the expected messages. Snippets are put into a legal file, so that a row has one
//! mistake and no other.

mod backend;
mod behind;
mod full;
mod keys;
mod listener;
mod mutations;
mod one_liner;
mod process;
mod readme;
mod route;
mod schema;
mod whole;
mod words;

use std::path::Path;

use super::{Config, Errors, parse};

const SMALL: &str = r#"
[[listener]]
bind = ["127.0.0.1:8080"]
[[listener.route]]
backend = "app"
[[backend]]
name = "app"
[[backend.server]]
address = "127.0.0.1:3000"
"#;

/// Makes a certificate and its key, in PEM.
fn identity() -> (String, String) {
    identity_for(&["localhost"])
}

/// Makes a certificate for these names, and its key.
fn identity_for(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("made");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Makes 80 bytes that pass for random ones.
fn ticket_key(seed: &str) -> String {
    format!("\0{seed:>79}")
}

fn read(text: &str) -> Result<Config, Errors> {
    parse(text, Path::new("/etc/longsplice.toml"))
}

/// Returns the errors of `text`, each as `LINE:COL: key: message`.
fn wrong(text: &str) -> String {
    let Err(errors) = read(text) else {
        return "nothing".to_owned();
    };
    let mut lines = Vec::new();
    for error in errors.iter() {
        let position = error.position.as_ref().expect("a position");
        let (line, column) = (position.line, position.column);
        lines.push(format!("{line}:{column}: {}: {}", error.key, error.message));
    }
    lines.join("\n")
}

/// Checks rows of (lines of a table, expected errors); `file` makes the whole text from the lines.
fn check(file: impl Fn(&str) -> String, rows: &[(&str, &str)]) {
    for (lines, expected) in rows {
        let text = file(lines);
        // Positions have rows of their own; here the key is enough.
        let without_position = |line: &str| {
            let (_, said) = line.split_once(": ").expect("a position");
            said.to_owned()
        };
        let said = match wrong(&text).as_str() {
            "nothing" => "nothing".to_owned(),
            errors => {
                let lines: Vec<String> = errors.lines().map(without_position).collect();
                lines.join("\n")
            }
        };
        assert_eq!(said, *expected, "{lines}");
    }
}

/// A file with one listener.
fn listener(lines: &str) -> String {
    format!(
        "[[listener]]\n{lines}\nroute = [{{ backend = \"app\" }}]\n[[backend]]\nname = \"app\"\n\
         server = [{{ address = \"127.0.0.1:3000\" }}]\n"
    )
}
