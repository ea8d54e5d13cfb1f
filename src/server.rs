//! The process: start, signals, drain.

use std::process::ExitCode;

use crate::config::Config;

/// Runs until told to stop.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    drop(config);
    eprintln!("this build has no server yet");
    ExitCode::FAILURE
}
