//! Registering a descriptor with tokio's epoll.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Registers a duplicate of `fd` with the runtime of this thread.
///
/// # Errors
/// No descriptor is left for the duplicate, or epoll refuses the file.
///
/// # Panics
/// Outside of a tokio runtime that has its I/O driver.
///
/// # Source
/// epoll(7), "Will closing a file descriptor cause it to be removed from all epoll interest lists?"
pub fn register(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let duplicate = fd.try_clone_to_owned()?;
    // SAFETY: the descriptor must stay open and the same until the registration is dropped; the `OwnedFd`
    // moves into the registration, which alone can reach it, so it is closed only after that.
    let registered = unsafe { AsyncFd::register(duplicate) };
    registered.map_err(io::Error::from)
}
