//! The command line: starts what was typed.

mod args;
mod ask;
mod check;
mod completions;
mod ctl;
mod demo;
pub mod doctor;
mod exit;
mod help;
mod man;
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
        Command::Doctor(options) if options.sandbox => process::sandbox::trial(),
        Command::Doctor(options) => doctor::run(options.json),
        Command::Demo(options) => demo::demo(&options),
        Command::Ctl(options) => ctl::ctl(&options),
        Command::Top(options) => top::top(&options),
        Command::Help(options) => help::help(&options),
        Command::Man(options) => man::man(&options),
        Command::Completions(options) => completions::completions(&options),
        Command::Schema => check::schema(),
    }
}
