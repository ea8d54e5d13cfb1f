//! `server.pid_file`: the process id in a file, for as long as the process runs.
//!
//! The file is locked (flock(2)) while its process lives, which distinguishes it from a file that a killed
//! process left, even if the process id was reused. A file written without a lock is left alone if its
//! process lives and is older than the file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{SysconfVar, getpid, sysconf};

/// Number of attempts if the file is removed meanwhile.
const ATTEMPTS: usize = 16;
/// More than the length of a number and a line end.
const PID_LEN_MAX: usize = 32;
/// Tolerated difference between the times of a process and of a file.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// Reason why the file cannot be claimed.
#[derive(Debug, thiserror::Error)]
#[error("server.pid_file: {}: {why}", path.display())]
pub(super) struct PidFileError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("the process {0} has it, and runs")]
    Taken(u32),
    #[error("another process has it")]
    Locked,
    #[error("is no regular file")]
    NoFile,
    #[error(
        "has other names as well (hard links), so it may belong to another program; it is left alone"
    )]
    Linked,
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The file; removed when this is dropped.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

impl PidFile {
    /// Writes the id of this process into the file at `path`.
    ///
    /// # Errors
    /// Another process has the file, or it cannot be written.
    pub(super) fn claim(path: &Path) -> Result<Self, PidFileError> {
        let wrong = |why| PidFileError {
            path: path.to_owned(),
            why,
        };
        for _ in 0..ATTEMPTS {
            let file = open_and_lock(path).map_err(wrong)?;
            if !stands_at(path, &file) {
                continue;
            }
            if let Some(pid) = owner(&file) {
                return Err(wrong(Why::Taken(pid)));
            }
            let claimed = Self {
                path: path.to_owned(),
                file,
            };
            claimed.write().map_err(|error| wrong(error.into()))?;
            return Ok(claimed);
        }
        Err(wrong(Why::Locked))
    }

    /// Overwrites the old text and then cuts off the rest, so that a reader of the first line at any moment
    /// reads one number or the other.
    fn write(&self) -> io::Result<()> {
        let line = format!("{}\n", getpid());
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.file.set_len(line.len() as u64)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if !stands_at(&self.path, &self.file) {
            return;
        }
        // The present user may not be able to remove it; an empty file names no process, either.
        if fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

fn open_and_lock(path: &Path) -> Result<Flock<File>, Why> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        // A link would let a user with write access to that directory choose the file; a FIFO would block.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Why::NoFile);
    }
    if found.nlink() > 1 {
        return Err(Why::Linked);
    }
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, errno)| {
        if errno == Errno::EWOULDBLOCK {
            number(&file).map_or(Why::Locked, Why::Taken)
        } else {
            Why::System(errno.into())
        }
    })
}

fn stands_at(path: &Path, file: &File) -> bool {
    let (Ok(there), Ok(here)) = (fs::symlink_metadata(path), file.metadata()) else {
        return false;
    };
    (there.dev(), there.ino()) == (here.dev(), here.ino())
}

fn number(file: &File) -> Option<u32> {
    let mut start = [0; PID_LEN_MAX];
    let len = file.read_at(&mut start, 0).ok()?;
    let text = std::str::from_utf8(start.get(..len)?).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Returns the living process that wrote the file without a lock, if there is one.
fn owner(file: &File) -> Option<u32> {
    let pid = number(file).filter(|pid| *pid != std::process::id())?;
    let written = file.metadata().and_then(|found| found.modified()).ok()?;
    // A process that began later got the number of a dead one.
    (started(pid)? <= written + CLOCK_SLACK).then_some(pid)
}

/// Returns when a process began (proc_pid_stat(5)).
fn started(pid: u32) -> Option<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything, parentheses too. Field 22, counted from the one after the name.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let ticks_per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let since_boot = Duration::from_millis(ticks.checked_mul(1000)?.checked_div(ticks_per_second)?);
    Some(booted()? + since_boot)
}

fn booted() -> Option<SystemTime> {
    let mut text = String::new();
    File::open("/proc/stat")
        .ok()?
        .read_to_string(&mut text)
        .ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(UNIX_EPOCH + Duration::from_secs(line.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: Option<&str>, claimed: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let result = PidFile::claim(&path);
        assert_eq!(result.is_ok(), claimed, "{content:?}: {result:?}");
        if claimed {
            let own = format!("{}\n", std::process::id());
            assert_eq!(fs::read_to_string(&path).unwrap(), own);
            drop(result);
            assert!(!path.exists());
        } else {
            drop(result);
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), content);
        }
    }

    #[test]
    fn a_file_of_a_living_process_is_left_alone() {
        // The parent of this process is older than the file.
        let parent = std::os::unix::process::parent_id();
        check(None, true);
        check(Some(""), true);
        check(Some("4194305 of a dead process, longer than ours\n"), true);
        check(Some("4194305\n"), true);
        check(Some(&format!("{}\n", std::process::id())), true);
        check(Some(&format!("{parent}\n")), false);
        check(Some(&format!("{parent}")), false);
    }

    #[test]
    fn a_number_that_was_given_again_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let parent = std::os::unix::process::parent_id();
        fs::write(&path, format!("{parent}\n")).unwrap();
        let long_ago = UNIX_EPOCH + Duration::from_secs(1);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        PidFile::claim(&path).unwrap();
    }

    #[test]
    fn a_locked_file_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let first = PidFile::claim(&path).unwrap();
        let said = PidFile::claim(&path).unwrap_err().to_string();
        let own = std::process::id();
        assert!(
            said.ends_with(&format!("the process {own} has it, and runs")),
            "{said}"
        );
        drop(first);
        drop(PidFile::claim(&path).unwrap());
    }

    #[test]
    fn what_somebody_else_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let first = PidFile::claim(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("pid"), folder.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        PidFile::claim(&path).unwrap_err();
        PidFile::claim(folder.path()).unwrap_err();
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        PidFile::claim(&path).unwrap_err();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
