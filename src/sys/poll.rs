//! What pollers report, the same for io_uring and epoll: edges of readiness, see epoll(7).

use std::os::fd::BorrowedFd;

use nix::poll::{PollFd, PollFlags, PollTimeout};

/// What the relay wants to hear about every descriptor, as poll(2) bits.
pub(super) const INTEREST: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
        .unsigned_abs();

/// What a descriptor was seen to be ready for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness(u8);

impl Readiness {
    /// A receive gives bytes, the end or an error.
    pub const READABLE: Self = Self(1);
    /// A send takes bytes or gives an error.
    pub const WRITABLE: Self = Self(2);
    /// From now on a short receive does not prove that nothing is left: the end, an error or urgent
    /// data is queued behind the bytes and gives no further edge.
    pub const STICKY: Self = Self(4);
    /// The connection is broken.
    pub const BROKEN: Self = Self(8);

    /// Translates the bits of poll(2).
    #[must_use]
    pub fn from_poll_bits(bits: u32) -> Self {
        const fn bit(flag: libc::c_int) -> u32 {
            flag.unsigned_abs()
        }
        let mut ready = Self::default();
        if bits & bit(libc::EPOLLIN) != 0 {
            ready = ready | Self::READABLE;
        }
        if bits & bit(libc::EPOLLOUT) != 0 {
            ready = ready | Self::WRITABLE;
        }
        if bits & bit(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLPRI) != 0 {
            ready = ready | Self::READABLE | Self::STICKY;
        }
        if bits & bit(libc::EPOLLERR) != 0 {
            ready = ready | Self::READABLE | Self::STICKY | Self::WRITABLE | Self::BROKEN;
        }
        ready
    }

    /// Tells whether all of `other` is in it.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Readiness {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Looks once, without waiting; nothing when even that cannot be done. A descriptor that is not writable
/// gives an edge when it is again.
#[must_use]
pub fn now(fd: BorrowedFd<'_>) -> Readiness {
    let mut polled = [PollFd::new(fd, PollFlags::POLLIN | PollFlags::POLLOUT)];
    let [asked] = &mut polled;
    if nix::poll::poll(std::slice::from_mut(asked), PollTimeout::ZERO).is_err() {
        return Readiness::default();
    }
    let bits = asked.revents().unwrap_or(PollFlags::empty()).bits();
    Readiness::from_poll_bits(u32::from(bits.unsigned_abs()))
}

/// One report of a poller about the descriptor that was armed with `token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Whose.
    pub token: u64,
    /// What it is ready for; nothing when the notice only says that the poll has ended.
    pub ready: Readiness,
    /// Whether this poll goes on; if not, the descriptor has to be armed again or may be closed.
    pub armed: bool,
    /// Whether the poll ended because it could not be kept up.
    pub failed: bool,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

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
        // Not sticky, else every receive would be followed by one in vain.
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
