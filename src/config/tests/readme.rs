//! The examples of the README are what they claim to be.

use super::*;

/// Returns the TOML examples in the order of the README.
fn examples() -> Vec<&'static str> {
    let readme = include_str!("../../../README.md");
    let blocks = readme.split("```toml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

#[test]
fn examples_are_legal_and_every_key_of_them_has_effect() {
    let examples = examples();
    assert_eq!(examples.len(), 4);
    for example in examples {
        // A table that is explained alone needs a listener beside it.
        let is_whole = example.contains("[[listener]]");
        let rest = if is_whole { "" } else { SMALL };
        let config = read(&format!("{example}\n{rest}")).unwrap();
        assert_eq!(config.warnings, Vec::<String>::new());
    }
}

#[test]
fn first_example_has_the_ten_lines_that_are_promised() {
    assert_eq!(examples()[0].lines().count(), 10);
}
