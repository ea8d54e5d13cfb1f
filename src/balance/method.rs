//! The ways to choose a server, by the words of the configuration.

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Hash of the client's address.
    Source,
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest connections, by weight.
    LeastConnections,
    /// The less loaded of two at random.
    RandomTwo,
    /// Maglev hash of the client's address: the same mapping on every node.
    Maglev,
}

impl Method {
    /// Every one of them.
    pub const ALL: [Self; 5] = [
        Self::Source,
        Self::RoundRobin,
        Self::LeastConnections,
        Self::RandomTwo,
        Self::Maglev,
    ];

    /// Returns the word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::RandomTwo => "random_two",
            Self::Maglev => "maglev",
        }
    }
}
