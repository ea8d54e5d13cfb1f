//! epoll(7), edge-triggered: used if the kernel refuses io_uring.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::poll::{INTEREST, readiness_of};
use crate::proto::readiness::Notice;

/// Events of one call; more come with the next.
const EVENTS: usize = 1024;

/// An epoll instance and storage for its events.
#[derive(Debug)]
pub struct Epoll {
    epoll: nix::sys::epoll::Epoll,
    events: Box<[EpollEvent]>,
}

impl Epoll {
    /// Makes an instance.
    ///
    /// # Errors
    ///
    /// The error of epoll_create1(2), as a rule that no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: nix::sys::epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); EVENTS].into_boxed_slice(),
        })
    }

    /// Reports every edge of `fd` under `token`, the present state as the first.
    ///
    /// # Errors
    ///
    /// The error of epoll_ctl(2), as a rule that memory or watches are short.
    pub fn arm(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        // Urgent data matters because a receive stops short at its mark.
        let interest = EpollFlags::from_bits_retain(INTEREST.cast_signed())
            | EpollFlags::EPOLLPRI
            | EpollFlags::EPOLLET;
        Ok(self.epoll.add(fd, EpollEvent::new(interest, token))?)
    }

    /// Stops reports of `fd`; notices of an earlier wait may still be unhandled.
    ///
    /// # Errors
    ///
    /// ENOENT when it was not armed.
    pub fn cancel(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits for at least one notice but no longer than `timeout` (none = forever), and appends
    /// what there is to `notices`.
    ///
    /// # Errors
    ///
    /// The error of epoll_wait(2), except that a signal came.
    pub fn wait(&mut self, notices: &mut Vec<Notice>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| {
            // Rounded up, so that a wait for a deadline does not end just before it.
            let ms = timeout.as_micros().div_ceil(1000);
            EpollTimeout::try_from(ms).unwrap_or(EpollTimeout::MAX)
        });
        let waited = match self.epoll.wait(&mut self.events, timeout) {
            // An interrupted wait did not collect events that came meanwhile.
            Err(Errno::EINTR) => self.epoll.wait(&mut self.events, EpollTimeout::ZERO),
            waited => waited,
        };
        let count = match waited {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        notices.extend(self.events.iter().take(count).map(|event| Notice {
            token: event.data(),
            ready: readiness_of(event.events().bits().cast_unsigned()),
            armed: true,
            failed: false,
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::tests::expect_edges;
    use std::os::fd::AsFd;

    #[test]
    fn every_kind_of_edge_is_reported_as_it_is() {
        let mut epoll = Epoll::new().unwrap();
        expect_edges(|fd, notices| {
            if let Some(fd) = fd {
                epoll.arm(fd.as_fd(), 9).unwrap();
            }
            epoll
                .wait(notices, Some(Duration::from_millis(50)))
                .unwrap();
        });
    }
}
