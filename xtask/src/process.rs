//! Runs programs: whether one is there, what it prints, and for as long as it makes progress.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::process::family;
use crate::progress::Progress;

/// How often a running program is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// The result of a program.
pub(crate) struct Outcome {
    /// Whether it exited with 0.
    pub(crate) ok: bool,
    /// Its last progress when it was ended for lack of progress.
    pub(crate) stalled: Option<String>,
    /// What it printed on both streams.
    pub(crate) output: String,
    /// How long it ran.
    pub(crate) took: Duration,
}

/// Whether `program` with `args` exits with 0, unheard.
pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Returns what `program` prints on standard output; none = it is not there or fails.
pub(crate) fn printed(program: &str, args: &[&str]) -> Option<String> {
    let bytes = printed_bytes(program, args)?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The same, untouched.
pub(crate) fn printed_bytes(program: &str, args: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// A program to run, and how its progress is watched.
pub(crate) struct Watched<'a> {
    /// Where it runs.
    pub(crate) folder: &'a Path,
    pub(crate) program: &'a str,
    pub(crate) args: &'a [&'a str],
    /// Variables beside those of this process.
    pub(crate) envs: &'a [(String, String)],
    /// Where both its streams go.
    pub(crate) log: &'a Path,
    /// The file whose lines are its progress: `log`, or another that it appends to.
    pub(crate) progress: &'a Path,
    /// It is ended when nothing moved for so long. There is no limit on the whole.
    pub(crate) stall: Duration,
}

/// Runs a program until it ends or stalls; then everything it started is killed with it. Each line of
/// progress is passed to `heard`.
///
/// # Errors
/// When the log cannot be written or the program cannot be started.
pub(crate) fn run_watched(run: &Watched, heard: &mut dyn FnMut(&str)) -> io::Result<Outcome> {
    let file = File::create(run.log)?;
    let mut output = File::open(run.progress)?;
    let began = Instant::now();
    let mut child = Command::new(run.program)
        .args(run.args)
        .current_dir(run.folder)
        .envs(run.envs.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let (mut progress, mut moved) = (Progress::default(), Instant::now());
    let mut bytes = Vec::new();
    let (status, stalled) = loop {
        // Asked before the output is read: what a program printed last is heard too.
        let ended = child.try_wait()?;
        output.read_to_end(&mut bytes)?;
        if progress.hear(&bytes, heard) {
            moved = Instant::now();
        }
        bytes.clear();
        if let Some(status) = ended {
            break (status, None);
        }
        if moved.elapsed() > run.stall {
            kill_family(child.id());
            let why = format!(
                "no progress for {}: {}",
                in_words(run.stall),
                progress.position()
            );
            break (child.wait()?, Some(why));
        }
        thread::sleep(PAUSE);
    };
    let output = fs::read(run.log)?;
    Ok(Outcome {
        ok: status.success() && stalled.is_none(),
        stalled,
        output: String::from_utf8_lossy(&output).into_owned(),
        took: began.elapsed(),
    })
}

fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// Kills a child of ours and its descendants. They are no process group of their own, so that
/// Ctrl-C at a terminal reaches them as well.
fn kill_family(pid: u32) {
    let members = family(pid).unwrap_or_else(|_| vec![pid]);
    for member in members {
        if let Ok(pid) = i32::try_from(member) {
            // Gone already is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script that may make no progress for so many seconds: enough on a busy machine too.
    fn run(name: &str, stall_s: u64, script: &str) -> (Outcome, Vec<String>) {
        let log = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        let mut heard = Vec::new();
        let run = Watched {
            folder: Path::new("/"),
            program: "sh",
            args: &["-c", script],
            envs: &[],
            log: &log,
            progress: &log,
            stall: Duration::from_secs(stall_s),
        };
        File::create(&log).unwrap();
        let outcome = run_watched(&run, &mut |line| heard.push(line.to_owned())).unwrap();
        fs::remove_file(&log).unwrap();
        (outcome, heard)
    }

    #[test]
    fn a_program_that_prints_slowly_for_longer_than_the_limit_is_not_ended() {
        let script = "for n in 1 2 3 4 5 6 7 8; do echo $n; sleep 0.6; done; printf last";
        let (outcome, heard) = run("slow", 4, script);
        assert!(outcome.ok && outcome.stalled.is_none());
        assert!(outcome.took > Duration::from_secs(4));
        assert_eq!(heard, ["1", "2", "3", "4", "5", "6", "7", "8"]);
        assert!(outcome.output.ends_with("8\nlast"));
    }

    #[test]
    fn tests_that_make_noise_and_do_not_end_are_ended_and_named() {
        let script = "echo running 2 tests; echo test a ... ok; \
            echo test b has been running for over 60 seconds; \
            while :; do echo noise; sleep 0.1; done";
        let (outcome, _) = run("noise", 2, script);
        assert!(!outcome.ok);
        assert_eq!(
            outcome.stalled.as_deref(),
            Some("no progress for 2 s: the last progress was \"test a ... ok\"; not ended: b")
        );
    }

    #[test]
    fn a_program_that_stalls_is_ended_with_all_that_it_started() {
        let script = "echo out; echo err >&2; sleep 60 & echo $!; wait";
        let (outcome, heard) = run("stall", 2, script);
        assert!(!outcome.ok);
        let descendant = outcome.output.strip_prefix("out\nerr\n").unwrap().trim();
        assert_eq!(heard, ["out", "err", descendant]);
        let stalled = outcome.stalled.unwrap();
        assert!(
            stalled.ends_with(&format!("was \"{descendant}\"")),
            "{stalled}"
        );
        // It may take a moment to die, and init may be slow to bury it.
        let is_alive = || {
            let stat = fs::read_to_string(format!("/proc/{descendant}/stat"));
            stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
        };
        let asked = Instant::now();
        while is_alive() && asked.elapsed() < Duration::from_secs(5) {
            thread::sleep(PAUSE);
        }
        assert!(!is_alive());
        assert!(outcome.took < Duration::from_secs(30));
    }

    #[test]
    fn absent_programs_do_not_succeed() {
        assert!(succeeds("true", &[]));
        assert!(!succeeds("false", &[]));
        assert!(!succeeds("no-such-program-here", &[]));
        assert_eq!(printed("echo", &["x"]).as_deref(), Some("x"));
    }
}
