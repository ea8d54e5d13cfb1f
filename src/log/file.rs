//! `file:PATH`: appended to, and opened again on request or when the path has become another file, as after
//! log rotation.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Pause between two checks of the path.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Not readable by all: lines show which client requests what.
const MODE: u32 = 0o640;

/// A log file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    looked: Instant,
    /// Whether it was reported that the path cannot be opened.
    complained: bool,
}

impl LogFile {
    /// Opens `path`, which is created if it does not exist.
    ///
    /// # Errors
    /// The error of open(2).
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            looked: Instant::now(),
            complained: false,
        })
    }

    /// Opens the path again; if that fails, the previous file stays in use.
    ///
    /// # Errors
    /// The error of open(2).
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.looked = Instant::now();
        self.file = open(&self.path)?;
        self.complained = false;
        Ok(())
    }

    /// Checks, at most once a second, whether the path has become another file or is gone, and opens it again
    /// in that case.
    ///
    /// # Errors
    /// The error of open(2), the first time that it occurs.
    pub(super) fn look(&mut self) -> io::Result<()> {
        if self.looked.elapsed() < LOOK_PAUSE {
            return Ok(());
        }
        self.looked = Instant::now();
        let identity = |file: Metadata| (file.dev(), file.ino());
        let ours = self.file.metadata().map(identity);
        if ours.is_ok_and(|ours| self.path.metadata().is_ok_and(|now| identity(now) == ours)) {
            return Ok(());
        }
        match self.reopen() {
            Err(error) if !std::mem::replace(&mut self.complained, true) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl AsFd for LogFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    if path.metadata().is_ok_and(|file| file.file_type().is_fifo()) {
        // Opening a FIFO without a reader would block, and writing to one whose reader is gone would fail;
        // with ourselves as a reader we fill it and wait (fifo(7)).
        options.read(true).write(true);
        options.custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
    } else {
        options.append(true).create(true).mode(MODE);
        options.custom_flags(libc::O_NOCTTY);
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_path_that_became_another_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut log = LogFile::open(&path).unwrap();
        fs::rename(&path, &old).unwrap();
        log.look().unwrap();
        log.file.write_all(b"early\n").unwrap();
        log.looked -= LOOK_PAUSE;
        log.look().unwrap();
        log.file.write_all(b"late\n").unwrap();
        let read = |path| fs::read_to_string(path).unwrap();
        assert_eq!(
            (read(&old), read(&path)),
            ("early\n".into(), "late\n".into())
        );
        assert_eq!(path.metadata().unwrap().mode() & 0o777, MODE);
    }

    #[test]
    fn a_path_that_cannot_be_opened_keeps_the_old_file_and_complains_once() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        let mut log = LogFile::open(&below.join("log")).unwrap();
        fs::rename(&below, folder.path().join("moved")).unwrap();
        log.looked -= LOOK_PAUSE;
        assert!(log.look().is_err());
        log.looked -= LOOK_PAUSE;
        log.look().unwrap();
        assert!(log.reopen().is_err());
        log.file.write_all(b"kept\n").unwrap();
        let moved = folder.path().join("moved/log");
        assert_eq!(fs::read_to_string(moved).unwrap(), "kept\n");
        fs::create_dir(&below).unwrap();
        log.looked -= LOOK_PAUSE;
        log.look().unwrap();
        assert!(below.join("log").exists() && !log.complained);
    }
}
