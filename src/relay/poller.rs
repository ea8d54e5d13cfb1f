//! How the relay waits for readiness: the ring, or epoll where the kernel refuses io_uring.

/// Which poller is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PollerChoice {
    /// The ring, or epoll where the kernel refuses io_uring.
    #[default]
    Auto,
    /// The ring, else no start.
    IoUring,
    /// Epoll.
    Epoll,
}

/// Which poller a thread has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollerKind {
    /// Multishot polls on an io_uring.
    IoUring,
    /// Edge-triggered epoll.
    Epoll,
}

impl PollerKind {
    /// Returns the word of the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// What came of a [`PollerChoice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollerInUse {
    /// The poller in use.
    pub kind: PollerKind,
    /// Why io_uring is not in use although it was wanted, in words.
    pub refused: Option<String>,
}
