//! `cargo xtask test`: every gate, one line each, all of them even when one fails.
//!
//! The output of a gate is kept in `target/xtask/NAME.log` and shown when it fails. The last line
//! counts gates: `N passed, N failed, N skipped`. No gate has a limit on its time: it is ended when it
//! makes no progress, so that a slow machine fails none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::parts::Inventory;
use crate::process::{self, Outcome, Watched};
use crate::setup;

/// The beginning of the line with which a test reports that an external part is missing.
const SKIPPED: &str = "skipped: ";
/// A gate that compiles or runs tests is ended when no crate was begun and no test ended for so long.
/// The slowest of either takes a minute on a machine with nothing else to do.
const STALL: Duration = Duration::from_secs(20 * 60);
/// A gate that only reads is ended when it printed nothing for so long: it prints when it is done.
const STALL_OF_READERS: Duration = Duration::from_secs(10 * 60);

/// One thing a change has to pass.
struct Gate {
    name: &'static str,
    /// Whether `--quick` runs it.
    quick: bool,
    turn: Turn,
    work: Work,
}

/// When a gate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// From the start, beside those of the next turn: guest kernels use a core each.
    Background,
    /// As soon as those before it are done: what it finds does not depend on the machine's speed.
    Beside,
    /// With nothing beside it: its tests wait for what happens by the clock.
    Alone,
}

/// The action of a gate.
enum Work {
    /// `cargo ARGS`, with these environment variables.
    Cargo(
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
    ),
    /// `cargo ARGS` that compiles nothing.
    Reader(&'static [&'static str]),
    /// `cargo test --test NAME`.
    TestTarget(&'static str),
    /// A task of this program.
    Task(&'static [&'static str]),
    /// cargo-deny with these arguments.
    Deny(&'static [&'static str]),
    /// A check with the oldest compiler that Cargo.toml promises.
    Msrv,
}

/// In the order in which they are shown, but that the background comes before what runs alone.
const GATES: &[Gate] = &[
    // What setup brought is what there is to test in.
    gate(
        "lab",
        false,
        Turn::Background,
        Work::Task(&["lab", "--offline"]),
    ),
    gate(
        "fmt",
        true,
        Turn::Beside,
        Work::Reader(&["fmt", "--all", "--check"]),
    ),
    gate("tidy", true, Turn::Beside, Work::Task(&["tidy"])),
    gate(
        "clippy",
        true,
        Turn::Beside,
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
    gate("msrv", false, Turn::Beside, Work::Msrv),
    gate(
        "rustdoc",
        true,
        Turn::Beside,
        Work::Cargo(
            &["doc", "--workspace", "--no-deps"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
    ),
    // All test programs at once, so that none compiles while another runs.
    gate(
        "build",
        false,
        Turn::Beside,
        Work::Cargo(&["test", "--workspace", "--no-run"], &[]),
    ),
    gate(
        "doc",
        false,
        Turn::Beside,
        Work::Cargo(&["test", "--workspace", "--doc"], &[]),
    ),
    gate("simulation", true, Turn::Beside, Work::TestTarget("sim")),
    gate("corpus", false, Turn::Beside, Work::TestTarget("corpus")),
    gate(
        "deny",
        false,
        Turn::Beside,
        Work::Deny(&["check", "licenses", "bans", "sources"]),
    ),
    gate(
        "advisories",
        false,
        Turn::Beside,
        Work::Deny(&["check", "advisories"]),
    ),
    gate(
        "unit",
        true,
        Turn::Alone,
        Work::Cargo(&["test", "--workspace", "--lib", "--bins"], &[]),
    ),
    gate("integration", false, Turn::Alone, Work::TestTarget("it")),
    gate("load", false, Turn::Alone, Work::TestTarget("load")),
    gate(
        "scenarios",
        false,
        Turn::Alone,
        Work::TestTarget("scenarios"),
    ),
];

const fn gate(name: &'static str, quick: bool, turn: Turn, work: Work) -> Gate {
    Gate {
        name,
        quick,
        turn,
        work,
    }
}

/// The result of a gate.
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

/// What came of a gate: none = nothing ran.
type Result = (Verdict, Option<Outcome>);

/// Runs the gates; returns whether none failed.
///
/// # Errors
/// When logs cannot be written or cargo is not there.
pub(crate) fn run(top: &Path, quick: bool, with_setup: bool) -> io::Result<bool> {
    if with_setup && !quick {
        setup::run(top, false);
    }
    let run = Run {
        top,
        inventory: Inventory::take(top),
        logs: top.join("target/xtask"),
        own: std::env::current_exe()?,
    };
    println!("parts: {}", run.inventory.present.join(" "));
    fs::create_dir_all(&run.logs)?;
    let gates = |turn| {
        let chosen = move |gate: &&Gate| gate.turn == turn && (gate.quick || !quick);
        GATES.iter().filter(chosen)
    };
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let background: Vec<_> = gates(Turn::Background)
            .map(|gate| (gate, scope.spawn(|| run.gate(gate))))
            .collect();
        for gate in gates(Turn::Beside) {
            tally.add(&run, gate, run.gate(gate)?);
        }
        for (gate, thread) in background {
            let ended = thread
                .join()
                .map_err(|_| io::Error::other("a gate panicked"))?;
            tally.add(&run, gate, ended?);
        }
        for gate in gates(Turn::Alone) {
            tally.add(&run, gate, run.gate(gate)?);
        }
        io::Result::Ok(())
    })?;
    if !quick {
        let absent = run.inventory.absent.iter();
        let absent = absent.map(|part| format!("{part}: not installed"));
        tally.skipped.extend(absent);
    }
    for part in &tally.skipped {
        println!("SKIPPED {part}");
    }
    println!("{}", summary(&tally.verdicts));
    let is_failed = |verdict: &Verdict| matches!(verdict, Verdict::Failed(_));
    Ok(!tally.verdicts.iter().any(is_failed))
}

/// The environment of gates.
struct Run<'a> {
    top: &'a Path,
    inventory: Inventory,
    logs: PathBuf,
    /// This program.
    own: PathBuf,
}

impl Run<'_> {
    fn log(&self, gate: &Gate) -> PathBuf {
        self.logs.join(format!("{}.log", gate.name))
    }

    fn gate(&self, gate: &Gate) -> io::Result<Result> {
        let call = match gate.call(self) {
            Step::Run(call) => call,
            Step::Covered => return Ok((Verdict::Ok, None)),
            Step::Skip(why) => return Ok((Verdict::Skipped(why), None)),
        };
        let mut envs = self.inventory.envs().to_vec();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        envs.extend(call.envs.iter().map(owned));
        let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
        let log = self.log(gate);
        let watched = Watched {
            folder: self.top,
            program: &call.program.to_string_lossy(),
            args: &args,
            envs: &envs,
            log: &log,
            progress: &log,
            stall: gate.stall(),
        };
        let outcome = process::run_watched(&watched, &mut |_| {})?;
        Ok((gate.judge(&outcome), Some(outcome)))
    }
}

/// What came of the gates so far.
#[derive(Default)]
struct Tally {
    verdicts: Vec<Verdict>,
    skipped: Vec<String>,
}

impl Tally {
    /// Adds a gate and prints its line.
    fn add(&mut self, run: &Run, gate: &Gate, (verdict, outcome): Result) {
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
                println!(
                    "{output}{}: {why}; log: {}",
                    gate.name,
                    run.log(gate).display()
                );
            }
            Verdict::Skipped(why) => self.skipped.push(format!("{}: {why}", gate.name)),
            Verdict::Ok => {}
        }
        let heard = skipped_in(&output).map(|why| format!("{}: {why}", gate.name));
        self.skipped.extend(heard);
        self.verdicts.push(verdict);
    }
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
    fn stall(&self) -> Duration {
        match self.work {
            Work::Reader(_) | Work::Deny(_) => STALL_OF_READERS,
            Work::Cargo(..) | Work::TestTarget(_) | Work::Task(_) | Work::Msrv => STALL,
        }
    }

    /// Returns what is to be done.
    fn call(&self, run: &Run) -> Step {
        let call = |program: &Path, args: &[&str], envs| {
            Step::Run(Call {
                program: program.to_owned(),
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                envs,
            })
        };
        let cargo = Path::new("cargo");
        match &self.work {
            Work::Cargo(args, envs) => call(cargo, args, envs),
            Work::Reader(args) => call(cargo, args, &[]),
            Work::TestTarget(target) => {
                // The packages of the gate that built it, so that it is not built again. Skips are
                // heard only when the output of passing tests is shown, which comes after all lines
                // that name a test.
                let args = [
                    "test",
                    "--workspace",
                    "--test",
                    target,
                    "--",
                    "--show-output",
                ];
                call(cargo, &args, &[])
            }
            Work::Task(args) => call(&run.own, args, &[]),
            Work::Deny(args) => match &run.inventory.cargo_deny {
                Some(program) => call(program, args, &[]),
                None => Step::Skip("cargo-deny is not installed".to_owned()),
            },
            Work::Msrv => match Oldest::of(run.top) {
                Oldest::InUse => Step::Covered,
                Oldest::Installed(toolchain) => call(
                    cargo,
                    &[&toolchain, "check", "--workspace", "--all-targets"],
                    &[],
                ),
                Oldest::Absent(why) => Step::Skip(why),
            },
        }
    }

    fn judge(&self, outcome: &Outcome) -> Verdict {
        if outcome.ok {
            return Verdict::Ok;
        }
        let has_no_database = outcome.stalled.is_some() || no_advisories_at_hand(&outcome.output);
        if self.name == "advisories" && has_no_database {
            return Verdict::Skipped("the advisory database cannot be fetched".to_owned());
        }
        let why = outcome.stalled.clone();
        Verdict::Failed(why.unwrap_or_else(|| "see above".to_owned()))
    }
}

/// What a gate has to do.
enum Step {
    Run(Call),
    /// Nothing: another gate does it.
    Covered,
    /// Nothing can be done, and why.
    Skip(String),
}

/// A program to run.
struct Call {
    program: PathBuf,
    args: Vec<String>,
    envs: &'static [(&'static str, &'static str)],
}

/// The oldest compiler that Cargo.toml promises.
enum Oldest {
    /// The one that all gates use: clippy's check of every target is one with it.
    InUse,
    /// `+TOOLCHAIN`, which makes cargo use it.
    Installed(String),
    /// It is not here.
    Absent(String),
}

impl Oldest {
    fn of(top: &Path) -> Self {
        let Some(version) = oldest_version(top) else {
            return Self::Absent("Cargo.toml names no rust-version".to_owned());
        };
        let is_it = |name: &str| {
            name.strip_prefix(&version)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        };
        let in_use = process::printed("rustc", &["--version"]).unwrap_or_default();
        if in_use.split_whitespace().nth(1).is_some_and(is_it) {
            return Self::InUse;
        }
        let installed = process::printed("rustup", &["toolchain", "list"]).unwrap_or_default();
        match installed.split_whitespace().find(|name| is_it(name)) {
            Some(name) => Self::Installed(format!("+{name}")),
            None => Self::Absent(format!("Rust {version} is not installed")),
        }
    }
}

/// Returns the version that `rust-version` in Cargo.toml promises.
fn oldest_version(top: &Path) -> Option<String> {
    let manifest = fs::read_to_string(top.join("Cargo.toml")).ok()?;
    let line = manifest
        .lines()
        .find(|line| line.starts_with("rust-version"))?;
    Some(line.split('"').nth(1)?.to_owned())
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
    fn nothing_runs_beside_tests_that_wait_for_the_clock() {
        let names = |turn| -> Vec<&str> {
            let gates = GATES.iter().filter(|gate| gate.turn == turn);
            gates.map(|gate| gate.name).collect()
        };
        assert_eq!(names(Turn::Background), ["lab"]);
        let alone = ["unit", "integration", "load", "scenarios"];
        assert_eq!(names(Turn::Alone), alone);
    }

    #[test]
    fn skipped_parts_are_heard_once() {
        let output = "running 3 tests\nskipped: nginx is not installed\n  skipped: curl is not installed\nskipped: nginx is not installed\ntest x ... ok\n";
        let found: Vec<String> = skipped_in(output).collect();
        assert_eq!(found, ["curl is not installed", "nginx is not installed"]);
    }

    #[test]
    fn a_failed_gate_is_told_from_a_missing_database() {
        let outcome = |ok, stalled: bool, output: &str| Outcome {
            ok,
            stalled: stalled.then(|| "no progress for 20 minutes: x".to_owned()),
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
        assert_eq!(
            judge("unit", &outcome(false, true, "")),
            Verdict::Failed("no progress for 20 minutes: x".to_owned())
        );
        // The network has stalled.
        assert!(matches!(
            judge("advisories", &outcome(false, true, "")),
            Verdict::Skipped(_)
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
