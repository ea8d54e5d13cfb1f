//! The command line: starts what was typed.

mod args;
mod ask;
mod check;
mod ctl;
mod demo;
pub mod doctor;
mod exit;
mod run;
#[cfg(test)]
mod tests;
mod top;

use std::process::ExitCode;

use clap::Parser;

use crate::process;
use args::{Command, CommandLine};

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Run(options) => run::run(options),
        Command::Check(options) => check::check(&options),
        Command::Doctor { sandbox: true, .. } => process::sandbox::trial(),
        Command::Doctor { json, .. } => doctor::run(json),
        Command::Demo { listen } => demo::demo(listen),
        Command::Ctl(options) => ctl::ctl(&options),
        Command::Top(options) => top::top(&options),
        Command::Schema => check::schema(),
    }
}
