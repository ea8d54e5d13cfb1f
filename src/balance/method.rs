//! The balancing methods, each declared once: variant, word in the configuration, line of the manual.

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident, $word:literal, $text:literal;)*) => {
        /// A balancing method.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method { $($(#[$doc])* $variant,)* }

        impl Method {
            /// All methods.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word of each method, and what the manual says of it.
            pub const WORDS: &[(&str, Self, &str)] = &[$(($word, Self::$variant, $text),)*];

            /// Returns the word used in the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

methods! {
    /// Hash of the client's address.
    Source, "source",
        "By the client's address: a client stays at its server, by rendezvous hashing.";
    /// The servers in turn, by weight.
    RoundRobin, "round_robin", "In turn, as often as the weights say.";
    /// The server with the fewest connections, by weight.
    LeastConnections, "least_connections", "The server with the fewest connections for its weight.";
    /// The less loaded of two random servers.
    RandomTwo, "random_two",
        "Two at random, and of them the one with fewer connections for its weight.";
    /// Maglev hash of the client's address: the same mapping on every node.
    Maglev, "maglev",
        "By the client's address, with Maglev's table: lookups cost the same for any number of servers.";
}
