//! How a member stands: whether it is used, and why not.

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberStanding {
    /// It gets new connections.
    Up,
    /// Connections to it failed lately: it gets new ones only when nobody else may.
    Suspect,
    /// Its checks fail, or none has been made yet.
    Down,
    /// An operator lets it run empty.
    Drained,
}

impl MemberStanding {
    /// Returns the word of the log and of whoever shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Drained => "drained",
        }
    }
}
