//! The first example of the README is as short as it claims to be.

#[test]
fn first_example_has_the_ten_lines_that_are_promised() {
    let readme = include_str!("../../../README.md");
    let (_, example) = readme.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert_eq!(example.lines().count(), 10);
}
