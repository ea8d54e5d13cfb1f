//! Direct, non-blocking system calls on connected stream sockets: recv(2), send(2), shutdown(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};

/// Receives into `buffer`; 0 = the peer has ended.
///
/// # Errors
///
/// The error of recv(2); EAGAIN when nothing is there.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Sends as many of `bytes` as fit.
///
/// # Errors
///
/// The error of send(2); EAGAIN when nothing fits.
pub fn transmit(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match send(fd.as_raw_fd(), bytes, flags) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// How far a connection has ended, whatever is still to be received before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// Both sides are open.
    None,
    /// The peer has ended its direction.
    Ended,
    /// The connection is gone.
    Broken,
}

/// Checks whether the peer has ended its direction, or the connection is broken.
///
/// # Source
///
/// poll(2), `POLLRDHUP`
#[must_use]
pub fn hang_up(fd: BorrowedFd<'_>) -> HangUp {
    let mut asked = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: poll(2) needs as many live, writable `pollfd` as the count says: `asked` is one, on this stack.
    // The descriptor stays open as long as the `BorrowedFd`.
    let found = unsafe { libc::poll(&raw mut asked, 1, 0) };
    let seen = |events| found > 0 && asked.revents & events != 0;
    if seen(libc::POLLHUP | libc::POLLERR) {
        HangUp::Broken
    } else if seen(libc::POLLRDHUP) {
        HangUp::Ended
    } else {
        HangUp::None
    }
}

/// Ends the sending direction in good order.
///
/// # Errors
///
/// ENOTCONN when the connection is gone.
pub fn shut_down_write(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    shutdown(fd.as_raw_fd(), Shutdown::Write)
}

/// Makes the close of `fd` a reset (`SO_LINGER` with time 0, socket(7)).
///
/// # Errors
///
/// The error of setsockopt(2); on a stream socket there is no reason for one.
pub fn reset_on_close(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&fd, sockopt::Linger, &linger)
}
