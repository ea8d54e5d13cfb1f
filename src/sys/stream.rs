//! Direct, non-blocking system calls on connected stream sockets: recv(2), send(2), shutdown(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};

/// Receives into `buffer`; 0 = the peer has ended.
///
/// # Errors
///
/// What recv(2) says; EAGAIN when nothing is there.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Sends from `bytes` as many as fit.
///
/// # Errors
///
/// What send(2) says; EAGAIN when nothing fits.
pub fn transmit(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match send(fd.as_raw_fd(), bytes, flags) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
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
/// What setsockopt(2) says; on a stream socket there is no reason for one.
pub fn reset_on_close(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&fd, sockopt::Linger, &linger)
}
