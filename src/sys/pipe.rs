//! Pipes for splice(2): made large, checked to be large enough, filled only when empty.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};

/// Requested size; larger ones gave nothing in measurements.
const WANTED_BYTES: i32 = 256 * 1024;
/// A smaller pipe is refused: the kernel shrinks pipes of users with many pipes, and kernel TLS loses bytes
/// when splicing into one with few slots.
const USABLE_BYTES_MIN: i32 = 32 * 1024;

/// A pipe both ends of which are ours.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    capacity_bytes: usize,
}

impl Pipe {
    /// Makes an empty pipe.
    ///
    /// # Errors
    ///
    /// The error of pipe2(2), and ENOBUFS if the kernel only provides a small pipe.
    pub fn new() -> io::Result<Self> {
        let (out, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // After a refusal the default size stays, which the next call returns.
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(WANTED_BYTES));
        let capacity = fcntl(&into, FcntlArg::F_GETPIPE_SZ)?;
        if capacity < USABLE_BYTES_MIN {
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        Ok(Self {
            out,
            into,
            capacity_bytes: usize::try_from(capacity).unwrap_or(0),
        })
    }

    /// Splices at most `most` bytes from `source` into the pipe, which must be empty; 0 = `source` has ended.
    ///
    /// # Errors
    ///
    /// The error of splice(2).
    pub fn fill_from(&self, source: BorrowedFd<'_>, most: usize) -> Result<usize, Errno> {
        let len = self.capacity_bytes.min(most);
        splice_once(source, self.into.as_fd(), len)
    }

    /// Splices up to `len` bytes from the pipe to `target`.
    ///
    /// # Errors
    ///
    /// The error of splice(2).
    pub fn drain_to(&self, target: BorrowedFd<'_>, len: usize) -> Result<usize, Errno> {
        splice_once(self.out.as_fd(), target, len)
    }
}

fn splice_once(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> Result<usize, Errno> {
    // Never SPLICE_F_MORE: it leaves the last bytes waiting for more.
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    loop {
        match splice(from, None, to, None, len, flags) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
