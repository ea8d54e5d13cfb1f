//! Lines of HAProxy's httplog and tcplog, read by what its manual says of them and by its own reader.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use super::parts::{Part, file};

/// Reads lines by the manual: one object of fields for each; none = no Python.
pub(crate) fn fields_of(lines: &[&str]) -> Option<Vec<Value>> {
    let mut python = Part::Python.command()?;
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    fs::write(&log, lines.join("\n") + "\n").unwrap();
    python
        .arg(file("it/log/httplog.py"))
        .stdin(fs::File::open(&log).unwrap());
    let output = python.stderr(Stdio::piped()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    Some(
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

/// Takes what syslog puts in front of a line off.
pub(crate) fn without_syslog(line: &str) -> &str {
    line.split_once("]: ").map_or(line, |(_, rest)| rest)
}

/// Has halog read a log as syslog files it, and returns what it says, line by line; none = it is not
/// installed.
pub(crate) fn halog(arguments: &[&str], log: &str) -> Option<Vec<String>> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(log.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut halog = Part::Halog.command()?;
    let output = halog.args(arguments).stdin(file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().filter(|line| !line.is_empty());
    Some(lines.map(str::to_owned).collect())
}
