//! How commands end: exit codes, and the last words on standard error.
//!
//! Exit codes: 0 success, 1 could not run or died, 2 wrong usage or a wrong configuration.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config;
use crate::log::diagnostics::say;

/// Wrong usage, or a wrong configuration.
pub(super) const EXIT_USAGE: u8 = 2;

/// Prints a text on standard output. A reader that is gone has read enough.
pub(super) fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error.to_string()),
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Says why a command did not do what it should.
pub(super) fn fail(why: &str) -> ExitCode {
    say(&format!("longsplice: {why}\n"));
    ExitCode::FAILURE
}

/// Says what is wrong with the words of the command line.
pub(super) fn misused(why: &str) -> ExitCode {
    say(&format!("longsplice: {why}\n"));
    ExitCode::from(EXIT_USAGE)
}

/// Prints every error of a configuration.
pub(super) fn misconfigured(errors: &config::Errors) -> ExitCode {
    say(&errors.to_string());
    ExitCode::from(EXIT_USAGE)
}
