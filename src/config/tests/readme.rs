//! The examples of the README are what they claim to be.

use super::schema::Judge;
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

/// A part of a file cannot be read alone, but its keys and their types can be judged.
#[test]
fn parts_have_known_keys() {
    let readme = include_str!("../../../README.md");
    let judge = Judge::of_parts();
    let parts = readme.split("```toml part\n").skip(1);
    let parts = parts.map(|part| part.split("```").next().unwrap());
    let mut count = 0;
    for part in parts {
        judge
            .judge_toml(part)
            .unwrap_or_else(|wrong| panic!("{wrong}\n{part}"));
        count += 1;
    }
    assert_eq!(count, 2);
}

/// An example without a tag would be checked by no test.
#[test]
fn every_fence_says_what_it_holds() {
    let readme = include_str!("../../../README.md");
    let fences = readme
        .lines()
        .filter(|line| line.trim_start().starts_with("```"));
    let openings: Vec<&str> = fences.step_by(2).map(str::trim).collect();
    assert!(openings.len() >= 4);
    for opening in openings {
        assert_ne!(opening, "```", "an example without a tag");
    }
}
