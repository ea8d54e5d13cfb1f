//! Text from outside never panics, and every error lies inside the text.

use proptest::prelude::*;

use super::full::{FULL, round_trip};
use super::{Errors, read};

/// Pieces that are put into the example: TOML's own marks, values of other types, odd characters.
const PIECES: &[&str] = &[
    "",
    "\"",
    "'",
    "\n",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    " ",
    "\\",
    "\\u0000",
    "\u{feff}",
    "é",
    "\0",
    "-",
    "0",
    "99999999999999999999",
    "true",
    "1979-05-27",
    "inf",
    "0x",
    "[]",
    "{}",
    "\"\"\"",
    "h",
    "KiB",
    "/",
    "*",
    ":",
    "unix:",
    "a.b.c = 1\n",
    "[server]\n",
    "[[listener]]\n",
];

/// The example without its certificates, which exist nowhere here: legal until it is mutated.
fn plain_example() -> String {
    let (before, rest) = FULL.split_once("[listener.tls]").expect("a TLS section");
    let (_, after) = rest
        .split_once("[listener.timeouts]")
        .expect("a section behind it");
    format!("{before}[listener.timeouts]{after}")
}

fn mutated(edits: &[(usize, usize, usize)]) -> String {
    let mut text: Vec<char> = plain_example().chars().collect();
    for (at, removed, piece) in edits {
        let at = at % (text.len() + 1);
        let end = (at + removed).min(text.len());
        text.splice(at..end, PIECES[piece % PIECES.len()].chars());
    }
    text.into_iter().collect()
}

fn assert_positions_inside(text: &str, errors: &Errors) {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut last = (0, 0);
    for error in errors.iter() {
        let position = error.position.as_ref().expect("a position");
        let line = lines.get(position.line - 1).expect("a line of the text");
        assert!(
            (1..=line.chars().count() + 1).contains(&position.column),
            "{error}\n{text}"
        );
        assert!(
            (position.line, position.column) >= last,
            "not in order: {error}"
        );
        last = (position.line, position.column);
        assert!(
            !error.to_string().contains('\n'),
            "more than a line: {error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_example_never_panics(
        edits in prop::collection::vec((any::<usize>(), 0..40_usize, any::<usize>()), 1..6),
    ) {
        let text = mutated(&edits);
        match read(&text) {
            Ok(config) => round_trip(&config),
            Err(errors) => assert_positions_inside(&text, &errors),
        }
    }

    #[test]
    fn any_text_never_panics(text in "\\PC*|[\\[\\]{}=\",.# \na-c0-9]*") {
        if let Err(errors) = read(&text) {
            assert_positions_inside(&text, &errors);
        }
    }
}

#[test]
fn the_plain_example_is_legal() {
    round_trip(&read(&plain_example()).expect("legal"));
}

#[test]
fn every_prefix_of_the_example_is_read() {
    for (end, _) in FULL.char_indices() {
        let text = &FULL[..end];
        if let Err(errors) = read(text) {
            assert_positions_inside(text, &errors);
        }
    }
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("x = {}1{}", open.repeat(10_000), close.repeat(10_000));
        assert_positions_inside(&text, &read(&text).expect_err("too deep"));
    }
}
