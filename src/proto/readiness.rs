//! What pollers report, the same for io_uring and epoll: edges of readiness, see epoll(7). Values only;
//! `sys::poll` translates the bits of poll(2) into them.

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
