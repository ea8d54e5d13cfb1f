//! `cargo xtask test`: every gate in order, one line each, all of them even when one fails.
//!
//! The output of a gate is kept in `target/xtask/NAME.log` and shown when it fails. The last line
//! counts gates: `N passed, N failed, N skipped`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::parts::Inventory;
use crate::process::{self, Outcome};
use crate::setup;

/// What a test prints, at the start of a line, when a part from outside is not there.
const SKIPPED: &str = "skipped: ";

/// One thing a change has to pass.
struct Gate {
    name: &'static str,
    /// Whether `--quick` runs it.
    quick: bool,
    /// Ended after this many minutes.
    limit_min: u64,
    work: Work,
}

/// What a gate does.
enum Work {
    /// `cargo ARGS`, with these environment variables.
    Cargo(
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
    ),
    /// `cargo test --test NAME`.
    TestTarget(&'static str),
    /// cargo-deny with these arguments.
    Deny(&'static [&'static str]),
    /// A check with the oldest compiler that Cargo.toml promises.
    Msrv,
}

const GATES: &[Gate] = &[
    gate(
        "fmt",
        true,
        5,
        Work::Cargo(&["fmt", "--all", "--check"], &[]),
    ),
    gate(
        "clippy",
        true,
        20,
        Work::Cargo(
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
            &[],
        ),
    ),
    gate("msrv", false, 20, Work::Msrv),
    gate(
        "rustdoc",
        false,
        20,
        Work::Cargo(
            &["doc", "--workspace", "--no-deps"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
    ),
    gate(
        "unit",
        true,
        20,
        Work::Cargo(&["test", "--workspace", "--lib", "--bins"], &[]),
    ),
    gate(
        "doc",
        false,
        10,
        Work::Cargo(&["test", "--workspace", "--doc"], &[]),
    ),
    gate("integration", false, 20, Work::TestTarget("it")),
    gate("load", false, 10, Work::TestTarget("load")),
    gate("simulation", true, 20, Work::TestTarget("sim")),
    gate("corpus", false, 10, Work::TestTarget("corpus")),
    gate("scenarios", false, 20, Work::TestTarget("scenarios")),
    // What setup brought is what there is to test in.
    gate(
        "lab",
        false,
        25,
        Work::Cargo(&["xtask", "lab", "--offline"], &[]),
    ),
    gate("tidy", true, 5, Work::Cargo(&["xtask", "tidy"], &[])),
    gate(
        "deny",
        false,
        5,
        Work::Deny(&["check", "licenses", "bans", "sources"]),
    ),
    gate("advisories", false, 5, Work::Deny(&["check", "advisories"])),
];

const fn gate(name: &'static str, quick: bool, limit_min: u64, work: Work) -> Gate {
    Gate {
        name,
        quick,
        limit_min,
        work,
    }
}

/// How a gate ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Ok,
    Failed(String),
    Skipped(String),
}

impl Verdict {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
        }
    }
}

/// Runs the gates; returns whether none failed.
///
/// # Errors
/// When logs cannot be written or cargo is not there.
pub(crate) fn run(top: &Path, quick: bool, with_setup: bool) -> io::Result<bool> {
    if with_setup && !quick {
        setup::run(top, false);
    }
    let inventory = Inventory::take(top);
    println!("parts: {}", inventory.present.join(" "));
    let logs = top.join("target/xtask");
    fs::create_dir_all(&logs)?;
    let mut verdicts = Vec::new();
    let mut skipped_parts: Vec<String> = Vec::new();
    for gate in GATES.iter().filter(|gate| gate.quick || !quick) {
        let log = logs.join(format!("{}.log", gate.name));
        let (verdict, outcome) = gate.run(top, &inventory, &log)?;
        let (output, took) = outcome.map_or((String::new(), Duration::ZERO), |outcome| {
            (outcome.output, outcome.took)
        });
        println!(
            "{:<12} {:<7} {:>6.1} s",
            gate.name,
            verdict.as_str(),
            took.as_secs_f64()
        );
        match &verdict {
            Verdict::Failed(why) => {
                println!("{output}{}: {why}; log: {}", gate.name, log.display());
            }
            Verdict::Skipped(why) => skipped_parts.push(format!("{}: {why}", gate.name)),
            Verdict::Ok => {}
        }
        skipped_parts.extend(skipped_in(&output).map(|why| format!("{}: {why}", gate.name)));
        verdicts.push(verdict);
    }
    skipped_parts.dedup();
    if !quick {
        let absent = inventory.absent.iter();
        skipped_parts.extend(absent.map(|part| format!("{part}: not installed")));
    }
    for part in &skipped_parts {
        println!("SKIPPED {part}");
    }
    println!("{}", summary(&verdicts));
    Ok(!verdicts
        .iter()
        .any(|verdict| matches!(verdict, Verdict::Failed(_))))
}

/// Returns what tests said they skipped, each reason once.
fn skipped_in(output: &str) -> impl Iterator<Item = String> {
    let mut reasons: Vec<String> = output
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(SKIPPED))
        .map(str::to_owned)
        .collect();
    reasons.sort();
    reasons.dedup();
    reasons.into_iter()
}

fn summary(verdicts: &[Verdict]) -> String {
    let count = |word: &str| {
        verdicts
            .iter()
            .filter(|verdict| verdict.as_str() == word)
            .count()
    };
    let (ok, failed, skipped) = (count("ok"), count("failed"), count("skipped"));
    format!("{ok} passed, {failed} failed, {skipped} skipped")
}

impl Gate {
    fn run(
        &self,
        top: &Path,
        inventory: &Inventory,
        log: &Path,
    ) -> io::Result<(Verdict, Option<Outcome>)> {
        let call = match self.call(top, inventory) {
            Ok(call) => call,
            Err(why) => return Ok((Verdict::Skipped(why), None)),
        };
        let mut envs = inventory.envs().to_vec();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        envs.extend(call.envs.iter().map(owned));
        let limit = Duration::from_secs(self.limit_min * 60);
        let program = call.program.to_string_lossy();
        let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
        let outcome = process::run_logged(top, &program, &args, &envs, limit, log)?;
        Ok((self.judge(&outcome), Some(outcome)))
    }

    /// Returns what to run, or why the gate is skipped.
    fn call(&self, top: &Path, inventory: &Inventory) -> Result<Call, String> {
        let cargo = |args: &[&str], envs| Call {
            program: PathBuf::from("cargo"),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            envs,
        };
        match &self.work {
            Work::Cargo(args, envs) => Ok(cargo(args, envs)),
            Work::TestTarget(target) => {
                // Skips are heard only when the output of passing tests is shown.
                let args = ["test", "--test", target, "--", "--show-output"];
                Ok(cargo(&args, &[]))
            }
            Work::Deny(args) => {
                let program = inventory.cargo_deny.clone();
                let program = program.ok_or("cargo-deny is not installed")?;
                Ok(Call {
                    program,
                    ..cargo(args, &[])
                })
            }
            Work::Msrv => {
                let oldest = oldest_compiler(top).ok_or("Cargo.toml names no rust-version")?;
                let toolchain = toolchain_of(&oldest)
                    .ok_or_else(|| format!("Rust {oldest} is not installed"))?;
                let args = ["check", "--workspace", "--all-targets"];
                let args: Vec<&str> = toolchain.iter().map(String::as_str).chain(args).collect();
                Ok(cargo(&args, &[]))
            }
        }
    }

    fn judge(&self, outcome: &Outcome) -> Verdict {
        if outcome.ok {
            Verdict::Ok
        } else if outcome.timed_out {
            Verdict::Failed(format!("not done after {} minutes", self.limit_min))
        } else if self.name == "advisories" && no_advisories_at_hand(&outcome.output) {
            Verdict::Skipped("the advisory database cannot be fetched".to_owned())
        } else {
            Verdict::Failed("see above".to_owned())
        }
    }
}

/// A program to run.
struct Call {
    program: PathBuf,
    args: Vec<String>,
    envs: &'static [(&'static str, &'static str)],
}

/// Returns the version that `rust-version` in Cargo.toml promises.
fn oldest_compiler(top: &Path) -> Option<String> {
    let manifest = fs::read_to_string(top.join("Cargo.toml")).ok()?;
    let line = manifest
        .lines()
        .find(|line| line.starts_with("rust-version"))?;
    Some(line.split('"').nth(1)?.to_owned())
}

/// Returns what makes cargo use that compiler: nothing when it is the one in use, `+TOOLCHAIN`
/// when rustup has it, none when it is not here.
fn toolchain_of(version: &str) -> Option<Option<String>> {
    let is_it = |name: &str| {
        name.strip_prefix(version)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    };
    let in_use = process::printed("rustc", &["--version"])?;
    if in_use.split_whitespace().nth(1).is_some_and(is_it) {
        return Some(None);
    }
    let installed = process::printed("rustup", &["toolchain", "list"])?;
    let named = installed.split_whitespace().find(|name| is_it(name))?;
    Some(Some(format!("+{named}")))
}

/// Whether cargo-deny failed because it could not get its database, which says nothing of us.
fn no_advisories_at_hand(output: &str) -> bool {
    output.contains("failed to fetch advisory database")
        || output.contains("failed to load advisory database")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_counts_gates() {
        let verdicts = [
            Verdict::Ok,
            Verdict::Ok,
            Verdict::Failed("x".to_owned()),
            Verdict::Skipped("y".to_owned()),
        ];
        assert_eq!(summary(&verdicts), "2 passed, 1 failed, 1 skipped");
        assert_eq!(summary(&[]), "0 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn skipped_parts_are_heard_once() {
        let output = "running 3 tests\nskipped: nginx is not installed\n  skipped: curl is not installed\nskipped: nginx is not installed\ntest x ... ok\n";
        let found: Vec<String> = skipped_in(output).collect();
        assert_eq!(found, ["curl is not installed", "nginx is not installed"]);
    }

    #[test]
    fn a_failed_gate_is_told_from_a_missing_database() {
        let outcome = |ok, timed_out, output: &str| Outcome {
            ok,
            timed_out,
            output: output.to_owned(),
            took: Duration::ZERO,
        };
        let fetch = "failed to fetch advisory database";
        let judge = |name: &str, outcome: &Outcome| {
            GATES
                .iter()
                .find(|gate| gate.name == name)
                .unwrap()
                .judge(outcome)
        };
        assert_eq!(judge("fmt", &outcome(true, false, "")), Verdict::Ok);
        assert!(matches!(
            judge("fmt", &outcome(false, false, fetch)),
            Verdict::Failed(_)
        ));
        assert!(matches!(
            judge("unit", &outcome(false, true, "")),
            Verdict::Failed(_)
        ));
        assert!(matches!(
            judge("advisories", &outcome(false, false, fetch)),
            Verdict::Skipped(_)
        ));
        assert!(matches!(
            judge("advisories", &outcome(false, false, "RUSTSEC")),
            Verdict::Failed(_)
        ));
    }
}
