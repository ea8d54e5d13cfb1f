//! How far a running program has come, read from the lines that it prints.
//!
//! Pure: output in, values out. Lines of cargo and of libtest are known; among tests only the end of a
//! test is progress, whatever the tests print meanwhile.

use std::collections::BTreeSet;

/// The message with which libtest reports, once, that a test takes long.
const RUNNING: &str = " has been running for over ";
/// What libtest writes between the name of a test and its result. A test that runs alone has its name
/// printed when it begins.
const RESULT: &str = " ... ";

/// What a program has printed so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The beginning of a line whose end has not come.
    open: Vec<u8>,
    /// The last line that was progress.
    last: Option<String>,
    /// Tests that libtest called slow and that have not ended.
    slow: BTreeSet<String>,
    /// Whether tests run: between `running N tests` and `test result:`.
    in_tests: bool,
}

impl Progress {
    /// Takes more output, passes each whole line to `heard`, and returns whether one was progress.
    pub(crate) fn hear(&mut self, bytes: &[u8], heard: &mut dyn FnMut(&str)) -> bool {
        self.open.extend_from_slice(bytes);
        let Some(end) = self.open.iter().rposition(|&byte| byte == b'\n') else {
            return false;
        };
        let rest = self.open.split_off(end + 1);
        let whole = std::mem::replace(&mut self.open, rest);
        let mut has_moved = false;
        for line in String::from_utf8_lossy(&whole).lines() {
            let line = line.trim_end();
            heard(line);
            has_moved |= self.line(line);
        }
        has_moved
    }

    fn line(&mut self, line: &str) -> bool {
        let test = line.strip_prefix("test ");
        if let Some((name, _)) = test.and_then(|test| test.split_once(RUNNING)) {
            self.slow.insert(name.to_owned());
            return false;
        }
        if let Some((name, _)) = test.and_then(|test| test.split_once(RESULT)) {
            self.slow.remove(name);
        } else if line.starts_with("running ") && line.ends_with(['s', 't']) {
            self.in_tests = true;
            self.slow.clear();
        } else if line.starts_with("test result: ") {
            self.in_tests = false;
        } else if self.in_tests || line.is_empty() {
            return false;
        }
        self.last = Some(line.to_owned());
        true
    }

    /// Says which step was the last to end and which are known to have begun and not ended.
    pub(crate) fn position(&self) -> String {
        let last = self.last.as_ref().map_or_else(
            || "nothing was printed".to_owned(),
            |line| format!("the last progress was \"{line}\""),
        );
        let open = String::from_utf8_lossy(&self.open);
        let begun = open
            .strip_prefix("test ")
            .and_then(|test| test.split_once(RESULT));
        let begun = begun.map(|(name, _)| name.to_owned());
        let mut running: Vec<&str> = self.slow.iter().chain(&begun).map(String::as_str).collect();
        running.dedup();
        if running.is_empty() {
            last
        } else {
            format!("{last}; not ended: {}", running.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(output: &str) -> Progress {
        let mut progress = Progress::default();
        progress.hear(output.as_bytes(), &mut |_| {});
        progress
    }

    #[test]
    fn the_end_of_a_test_is_progress_and_noise_of_tests_is_not() {
        let mut progress = after("   Compiling a v1\nrunning 3 tests\n");
        let mut moves = |text: &str| progress.hear(text.as_bytes(), &mut |_| {});
        assert!(moves("test a ... ok\n"));
        assert!(!moves("a line of a program that a test runs\n\n"));
        assert!(!moves("test b has been running for over 60 seconds\n"));
        assert!(!moves("test b ... "));
        assert!(moves("FAILED\n"));
        assert!(moves("test result: FAILED. 1 passed; 1 failed\n"));
        assert!(moves("     Running tests/it/main.rs\n"));
        assert!(!moves("\n"));
    }

    #[test]
    fn lines_are_heard_whole_whatever_pieces_they_come_in() {
        let mut progress = Progress::default();
        let mut lines = Vec::new();
        for piece in ["one", " and\r\ntw", "o\n", "three"] {
            progress.hear(piece.as_bytes(), &mut |line| lines.push(line.to_owned()));
        }
        assert_eq!(lines, ["one and", "two"]);
    }

    #[test]
    fn the_position_names_the_last_step_and_what_has_not_ended() {
        let rows = [
            ("", "nothing was printed"),
            (
                "   Compiling a v1\n   Compiling b v2\n",
                "the last progress was \"   Compiling b v2\"",
            ),
            (
                "running 4 tests\ntest a has been running for over 60 seconds\n\
                 test b has been running for over 60 seconds\ntest c ... ok\ntest a ... ok\n",
                "the last progress was \"test a ... ok\"; not ended: b",
            ),
            (
                "running 1 test\ntest x ... ",
                "the last progress was \"running 1 test\"; not ended: x",
            ),
            (
                "running 1 test\ntest x has been running for over 60 seconds\ntest y ... ",
                "the last progress was \"running 1 test\"; not ended: x, y",
            ),
        ];
        for (output, expected) in rows {
            assert_eq!(after(output).position(), expected);
        }
    }
}
