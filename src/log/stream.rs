//! Lines on a descriptor: standard error, a file, a FIFO. Waiting lines are written together.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Lines collected into one write.
const BATCH_LEN_BYTES: usize = 64 * 1024;

/// Lines that were not written yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Whether the last write ended in the middle of a line.
    torn: bool,
}

impl Batch {
    /// Adds a line; returns whether the batch is full.
    pub(super) fn add(&mut self, preface: &str, text: &str) -> bool {
        self.bytes.extend_from_slice(preface.as_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'\n');
        self.bytes.len() >= BATCH_LEN_BYTES
    }

    /// Writes everything and waits as long as that takes.
    ///
    /// # Errors
    /// The error of write(2), with the number of lost lines.
    pub(super) fn write_to(&mut self, target: impl AsFd) -> Result<(), (io::Error, u64)> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        if self.torn {
            // So that the rest of a lost line does not make the next one unreadable.
            self.bytes.insert(0, b'\n');
        }
        let (len, result) = write_all(target, &self.bytes);
        let (written, left) = self.bytes.split_at(len);
        let lost = left.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.torn = written.last().map_or(self.torn, |byte| *byte != b'\n');
        self.bytes.clear();
        result.map_err(|error| (error, lost))
    }
}

/// Writes `bytes`; returns how many were written.
fn write_all(target: impl AsFd, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut len = 0;
    while let Some(rest) = bytes.get(len..).filter(|rest| !rest.is_empty()) {
        match nix::unistd::write(target.as_fd(), rest) {
            Ok(0) => return (len, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => len += written,
            Err(Errno::EINTR) => {}
            // The descriptor is non-blocking, by another process's choice or because it is a FIFO: wait.
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(target.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut fds, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return (len, Err(errno.into())),
                }
            }
            Err(errno) => return (len, Err(errno.into())),
        }
    }
    (len, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let mut batch = Batch::default();
        batch.add("", "one");
        batch.add("two ", "three");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (error, lost) = batch.write_to(&full).unwrap_err();
        assert_eq!((error.raw_os_error(), lost), (Some(libc::ENOSPC), 2));
        batch.write_to(&full).unwrap();
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut batch = Batch {
            bytes: Vec::new(),
            torn: true,
        };
        batch.add("", "whole");
        batch.write_to(File::create(&path).unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\nwhole\n");
        assert!(!batch.torn);
    }

    #[test]
    fn a_target_that_does_not_block_is_waited_for() {
        let (writer, mut reader) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let text = "x".repeat(4 * 1024 * 1024);
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all.len()
        });
        let mut batch = Batch::default();
        assert!(batch.add("", &text));
        batch.write_to(&writer).unwrap();
        drop(writer);
        assert_eq!(reading.join().unwrap(), text.len() + 1);
    }
}
