//! Balancing methods, with their words in the configuration.

/// A balancing method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Hash of the client's address.
    Source,
    /// The servers in turn, by weight.
    RoundRobin,
    /// The server with the fewest connections, by weight.
    LeastConnections,
    /// The less loaded of two random servers.
    RandomTwo,
    /// Maglev hash of the client's address: the same mapping on every node.
    Maglev,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 5] = [
        Self::Source,
        Self::RoundRobin,
        Self::LeastConnections,
        Self::RandomTwo,
        Self::Maglev,
    ];

    /// Returns the word used in the configuration.
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
