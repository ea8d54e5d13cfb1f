//! The bits of poll(2) and their meaning, the same for io_uring and epoll.

use std::os::fd::BorrowedFd;

use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::proto::readiness::Readiness;

/// The poll(2) bits that the relay asks for on every descriptor.
pub(super) const INTEREST: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
        .unsigned_abs();

/// Translates the bits of poll(2).
#[must_use]
pub(super) fn readiness_of(bits: u32) -> Readiness {
    const fn bit(flag: libc::c_int) -> u32 {
        flag.unsigned_abs()
    }
    let mut ready = Readiness::default();
    if bits & bit(libc::EPOLLIN) != 0 {
        ready = ready | Readiness::READABLE;
    }
    if bits & bit(libc::EPOLLOUT) != 0 {
        ready = ready | Readiness::WRITABLE;
    }
    if bits & bit(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLPRI) != 0 {
        ready = ready | Readiness::READABLE | Readiness::STICKY;
    }
    if bits & bit(libc::EPOLLERR) != 0 {
        ready = ready
            | Readiness::READABLE
            | Readiness::STICKY
            | Readiness::WRITABLE
            | Readiness::BROKEN;
    }
    ready
}

/// Polls once, without waiting; returns nothing if that fails. A descriptor that is not writable gives an
/// edge when it becomes writable.
#[must_use]
pub fn now(fd: BorrowedFd<'_>) -> Readiness {
    let mut polled = [PollFd::new(fd, PollFlags::POLLIN | PollFlags::POLLOUT)];
    let [asked] = &mut polled;
    if nix::poll::poll(std::slice::from_mut(asked), PollTimeout::ZERO).is_err() {
        return Readiness::default();
    }
    let bits = asked.revents().unwrap_or(PollFlags::empty()).bits();
    readiness_of(u32::from(bits.unsigned_abs()))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use crate::proto::readiness::{Notice, Readiness};

    /// Makes one end see bytes, the end and a reset; `wait` arms what it is given, and waits.
    pub(in crate::sys) fn expect_edges(mut wait: impl FnMut(Option<&TcpStream>, &mut Vec<Notice>)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        let mut seen = |fd: Option<&TcpStream>| {
            let mut notices = vec![];
            wait(fd, &mut notices);
            assert!(
                notices
                    .iter()
                    .all(|notice| notice.token == 9 && notice.armed)
            );
            let all = notices.iter().map(|notice| notice.ready);
            all.fold(Readiness::default(), std::ops::BitOr::bitor)
        };
        assert_eq!(seen(Some(&socket)), Readiness::WRITABLE);
        assert_eq!(seen(None), Readiness::default());
        peer.write_all(b"x").unwrap();
        let bytes = seen(None);
        // Not sticky, else every receive would be followed by a useless one.
        assert!(
            bytes.has(Readiness::READABLE) && !bytes.has(Readiness::STICKY),
            "{bytes:?}"
        );
        socket.read_exact(&mut [0]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let end = seen(None);
        assert!(end.has(Readiness::READABLE | Readiness::STICKY), "{end:?}");
        assert!(!end.has(Readiness::BROKEN));
        crate::sys::stream::reset_on_close(std::os::fd::AsFd::as_fd(&peer)).unwrap();
        drop(peer);
        let broken = seen(None);
        assert!(
            broken.has(Readiness::BROKEN | Readiness::STICKY),
            "{broken:?}"
        );
    }
}
