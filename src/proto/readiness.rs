//! The reports of pollers, the same for io_uring and epoll: edges of readiness, see epoll(7). Values only;
//! `sys::poll` makes them from the bits of poll(2).

/// A set of kinds of readiness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness(u8);

impl Readiness {
    /// A receive gives bytes, the end or an error.
    pub const READABLE: Self = Self(1);
    /// A send takes bytes or gives an error.
    pub const WRITABLE: Self = Self(2);
    /// From now on a short receive does not prove that the source is empty: the end, an error or urgent data
    /// is queued after the bytes and gives no further edge.
    pub const STICKY: Self = Self(4);
    /// The connection is broken.
    pub const BROKEN: Self = Self(8);

    /// Returns whether all of `other` is in the set.
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
    /// The token of the descriptor.
    pub token: u64,
    /// Its readiness; empty if the notice only reports that the poll has ended.
    pub ready: Readiness,
    /// Whether the poll continues; if not, the descriptor may be armed again or closed.
    pub armed: bool,
    /// Whether the poll ended because of an error.
    pub failed: bool,
}
