//! `longsplice completions`: a script that completes commands and options in a shell.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::args::{CommandLine, CompletedShell, CompletionsOptions};
use super::exit::print;

/// Prints the script.
pub(super) fn completions(options: &CompletionsOptions) -> ExitCode {
    print(&script(options.shell))
}

/// Returns the script for `shell`.
pub(super) fn script(shell: CompletedShell) -> String {
    let shell = match shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(
        shell,
        &mut CommandLine::command(),
        "longsplice",
        &mut script,
    );
    String::from_utf8_lossy(&script).into_owned()
}
