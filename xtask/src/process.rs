//! Runs programs: whether one is there, what it prints, and never for longer than it may.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Exit status of timeout(1) when the time was over.
const TIMED_OUT: i32 = 124;

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
    let output = Command::new(program).args(args).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `program` in `folder` for at most `limit`, its output kept in the file `log`. timeout(1)
/// makes sure that nothing it started outlives it.
///
/// # Errors
/// When the log cannot be written or timeout(1) is not there.
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
    let status = Command::new("timeout")
        .arg("--kill-after=10")
        .arg(limit.as_secs().to_string())
        .arg(program)
        .args(args)
        .current_dir(folder)
        .envs(envs.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;
    let output = fs::read(log)?;
    Ok(Outcome {
        ok: status.success(),
        timed_out: status.code() == Some(TIMED_OUT),
        output: String::from_utf8_lossy(&output).into_owned(),
        took: began.elapsed(),
    })
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
            &["-c", "echo out; echo err >&2; sleep 60"],
            &[],
            limit,
            &log,
        );
        let outcome = outcome.unwrap();
        fs::remove_file(&log).unwrap();
        assert!(outcome.timed_out && !outcome.ok);
        assert_eq!(outcome.output, "out\nerr\n");
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
