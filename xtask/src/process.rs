//! Runs programs: whether one is there, what it prints, and never for longer than it may.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::process::family;

/// How often a running program is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// What came of a program.
pub(crate) struct Outcome {
    /// Whether it exited with 0.
    pub(crate) ok: bool,
    /// Whether it was ended because its time was over.
    pub(crate) timed_out: bool,
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

/// Runs `program` in `folder` for at most `limit`, its output kept in the file `log`. When the time
/// is over, everything it started is killed with it.
///
/// # Errors
/// When the log cannot be written or the program cannot be started.
pub(crate) fn run_logged(
    folder: &Path,
    program: &str,
    args: &[&str],
    envs: &[(String, String)],
    limit: Duration,
    log: &Path,
) -> io::Result<Outcome> {
    let file = File::create(log)?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .envs(envs.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let mut timed_out = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > limit {
            timed_out = true;
            kill_family(child.id());
            break child.wait()?;
        }
        thread::sleep(PAUSE);
    };
    let output = fs::read(log)?;
    Ok(Outcome {
        ok: status.success() && !timed_out,
        timed_out,
        output: String::from_utf8_lossy(&output).into_owned(),
        took: began.elapsed(),
    })
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

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let log = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        let limit = Duration::from_secs(1);
        let outcome = run_logged(
            Path::new("/"),
            "sh",
            &["-c", "echo out; echo err >&2; sleep 60 & echo $!; wait"],
            &[],
            limit,
            &log,
        );
        let outcome = outcome.unwrap();
        fs::remove_file(&log).unwrap();
        assert!(outcome.timed_out && !outcome.ok);
        let descendant = outcome.output.strip_prefix("out\nerr\n").unwrap().trim();
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
