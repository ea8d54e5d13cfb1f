//! The tasks of the project, run as `cargo xtask TASK`.
//!
//! `test` is what a change has to pass, `setup` fetches what the gates need, `tidy` checks the house
//! rules alone, `lab` runs tests in guest kernels and `cost` counts instructions there, `fuzz` runs
//! the fuzz targets, `bench` measures beside the peers.

mod bench;
mod fuzz;
mod lab;
mod parts;
mod process;
mod progress;
mod services;
mod setup;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tasks of the project")]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what the gates need (Debian packages as root, the rest into a cache of its own)
    Setup,
    /// Run every gate; exit 1 if one fails
    Test {
        /// Only the quick gates
        #[arg(long)]
        quick: bool,
        /// Install nothing before; what is missing is skipped by name
        #[arg(long)]
        no_setup: bool,
    },
    /// Check the house rules alone
    Tidy,
    /// Run tests in guest kernels, for what this machine's own kernel may not have
    Lab(lab::Options),
    /// Count the instructions of TLS work in a guest kernel, for each value of `tls.offload`
    Cost(lab::cost::Options),
    /// Run fuzz targets (all, one after the other, unless one is named)
    Fuzz {
        /// Name of a target in tests/fuzz
        target: Option<String>,
        /// How long each runs
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Measure longsplice beside HAProxy, nginx and a bare splice loop
    Bench(Box<bench::Options>),
}

fn main() -> ExitCode {
    let top = top();
    let done = match Command::parse().task {
        Task::Setup => Ok(setup::run(&top, true)),
        Task::Test { quick, no_setup } => test::run(&top, quick, !no_setup),
        Task::Tidy => tidy::run(&top),
        Task::Lab(options) => lab::run(&top, &options),
        Task::Cost(options) => lab::cost::run(&top, &options),
        Task::Fuzz { target, seconds } => fuzz::run(&top, target.as_deref(), seconds),
        Task::Bench(options) => bench::run(&top, &options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's top: the folder above this package.
fn top() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map_or(own.clone(), PathBuf::from)
}
