//! `longsplice doctor`: reports what this machine supports and how to fix what is missing.
//!
//! Three steps: `findings` asks `sys::probe`, `judge` decides what the answers mean without touching the
//! machine, and `report` is written for people or as JSON. Nothing is changed, and the exit code is 0
//! whatever is missing, because longsplice works without all of it.

mod findings;
mod item;
mod judge;
mod report;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::process::ExitCode;

use findings::examine;

/// Prints the findings on standard output, for people or as one JSON object.
#[must_use]
pub fn run(json: bool) -> ExitCode {
    let report = examine().report();
    let text = if json {
        format!("{}\n", report.to_json())
    } else {
        report.to_text()
    };
    // A reader that has gone away wants no more; that is no failure of the machine.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
