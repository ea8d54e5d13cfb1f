//! `longsplice check`: every mistake of a file, or `FILE: ok`, or the effective configuration.

use std::io::Write;
use std::process::ExitCode;

use super::args::CheckOptions;
use super::exit::misconfigured;
use crate::config::{self, Config};
use crate::log::diagnostics::say;

/// Checks a file.
pub(super) fn check(options: &CheckOptions) -> ExitCode {
    let config = match config::load(&options.config) {
        Ok(config) => config,
        Err(errors) => return misconfigured(&errors),
    };
    remark(&config);
    let answer = if options.print {
        config.to_string()
    } else {
        format!("{}: ok\n", options.config.display())
    };
    print(&answer)
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // The pipe is closed, so the reader lacks a part: no reason to panic, and no success.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Says on standard error what is legal but deserves a word.
fn remark(config: &Config) {
    for warning in &config.warnings {
        say(&format!("warning: {warning}\n"));
    }
}

/// Prints the JSON Schema of configuration files.
pub(super) fn schema() -> ExitCode {
    print(&format!("{:#}\n", config::schema()))
}
