//! TCP socket options that no crate wraps safely (tcp(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Bounds the receive window of a TCP socket to `bytes` (TCP_WINDOW_CLAMP), so that a peer whose
/// data nobody reads cannot make the kernel's autotuning hold megabytes of it.
///
/// On a listening socket the option is inherited by what it accepts.
///
/// # Errors
/// What setsockopt(2) says; EINVAL and ENOPROTOOPT for sockets that are not TCP.
///
/// # Source
/// tcp(7), TCP_WINDOW_CLAMP.
pub fn clamp_window(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX);
    let len = libc::socklen_t::try_from(size_of::<i32>()).unwrap_or(4);
    // SAFETY: the descriptor is open for the whole call because `socket` is borrowed; the value
    // points to one i32 that lives on this stack frame, and `len` is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_WINDOW_CLAMP,
            (&raw const value).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
