//! How the relay waits for readiness: the ring, or epoll where the kernel refuses io_uring.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::proto::readiness::Notice;
use crate::sys::epoll::Epoll;
use crate::sys::ring::Ring;

/// The poller that the configuration asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PollerChoice {
    /// The ring, or epoll where the kernel refuses io_uring.
    #[default]
    Auto,
    /// The ring; without it the process does not start.
    IoUring,
    /// Epoll.
    Epoll,
}

/// The poller that a thread uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollerKind {
    /// Multishot polls on an io_uring.
    IoUring,
    /// Edge-triggered epoll.
    Epoll,
}

impl PollerKind {
    /// Returns the word used in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// The result of a [`PollerChoice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollerInUse {
    /// The poller in use.
    pub kind: PollerKind,
    /// Why io_uring is not in use although the configuration asks for it, in words.
    pub refused: Option<String>,
}

/// One of two pollers with the same semantics: edges under a token, until cancelled.
#[derive(Debug)]
pub(super) enum Poller {
    IoUring(Box<Ring>),
    Epoll(Epoll),
}

impl Poller {
    /// Makes the poller of this thread.
    pub(super) fn new(choice: PollerChoice) -> io::Result<(Self, PollerInUse)> {
        let ring = match choice {
            PollerChoice::Auto | PollerChoice::IoUring => Some(Ring::new().map(Box::new)),
            PollerChoice::Epoll => None,
        };
        let refused = match ring {
            Some(Ok(ring)) => {
                let kind = PollerKind::IoUring;
                let refused = None;
                return Ok((Self::IoUring(ring), PollerInUse { kind, refused }));
            }
            Some(Err(error)) if choice == PollerChoice::IoUring => return Err(error),
            Some(Err(error)) => Some(error.to_string()),
            None => None,
        };
        let kind = PollerKind::Epoll;
        Ok((Self::Epoll(Epoll::new()?), PollerInUse { kind, refused }))
    }

    /// Arms a descriptor; the first notice reports its present state.
    pub(super) fn arm(&mut self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        match self {
            Self::IoUring(ring) => ring.arm(fd, token),
            Self::Epoll(epoll) => epoll.arm(fd, token),
        }
    }

    /// Cancels a poll; true = the descriptor may be closed at once, false = a last notice comes first.
    pub(super) fn cancel(&mut self, fd: BorrowedFd<'_>, token: u64) -> io::Result<bool> {
        match self {
            Self::IoUring(ring) => ring.cancel(token).map(|()| false),
            Self::Epoll(epoll) => epoll.cancel(fd).map(|()| true),
        }
    }

    /// Returns how often notices had to wait in the kernel because the ring was full.
    pub(super) fn overflows(&self) -> u64 {
        match self {
            Self::IoUring(ring) => ring.overflows(),
            Self::Epoll(_) => 0,
        }
    }

    /// Waits for notices, no longer than `timeout` (none = forever).
    pub(super) fn wait(
        &mut self,
        notices: &mut Vec<Notice>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        match self {
            Self::IoUring(ring) => ring.wait(notices, timeout),
            Self::Epoll(epoll) => epoll.wait(notices, timeout),
        }
    }
}
