//! eventfd(2): wakes a relay thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A descriptor that becomes readable when it is rung. It is meant for an edge-triggered poller: every ring
/// is an edge, so the counter is never read.
#[derive(Debug)]
pub struct Bell(EventFd);

impl Bell {
    /// Makes a silent bell.
    ///
    /// # Errors
    ///
    /// The error of eventfd(2), as a rule that no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Rings.
    pub fn ring(&self) {
        // The only error is a counter at 2^64 - 1, which no process lives to see.
        let _ = self.0.write(1);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
