//! The standing of a member: whether it is used, and why not.

/// The standing of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberStanding {
    /// It gets new connections.
    Up,
    /// Connections to it failed lately: it gets new ones only if no other member may.
    Suspect,
    /// Its checks fail, or none has been made yet.
    Down,
    /// The operator drains it.
    Drained,
}

impl MemberStanding {
    /// Returns the word used in the log and the admin pages.
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
