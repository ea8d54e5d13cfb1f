//! The vocabulary of a choice: candidates, their loads, the request, and the answer.

use std::net::IpAddr;

/// A server of the line-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name on every node, such as "10.0.0.1:80". Clients stick to it, not to the position in the
    /// line-up.
    pub key: &'a str,
    /// Its weight for new connections, 0 to 256 (more while a ramp scales all of them); 0 = none.
    pub weight: u16,
}

/// The load of a server at the time of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// This many connections, with room for one more.
    Active(u32),
    /// This many connections, with no room left.
    Full(u32),
    /// This request has failed there already.
    Tried,
}

/// The request that needs a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// The client's address; none for a unix socket.
    pub client: Option<IpAddr>,
    /// Number from a counter that all threads share, drawn once per request and kept for retries.
    pub ticket: usize,
    /// Random number, uniform over all values.
    pub random: u64,
}

/// Result of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The candidate at this index.
    Server(usize),
    /// There is no room: wait for the candidate at this index, or for any.
    Wait(Option<usize>),
    /// There is no server left to wait for.
    Nobody,
}

/// Collects the full servers that a search has met.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Met {
    full: bool,
}

impl Met {
    /// Returns the number of connections of a server that may take one more.
    pub(super) fn room(&mut self, load: Load) -> Option<u32> {
        match load {
            Load::Active(count) => Some(count),
            Load::Full(_) => {
                self.full = true;
                None
            }
            Load::Tried => None,
        }
    }

    /// Returns the result of a search that found `found`.
    pub(super) fn pick(self, found: Option<usize>) -> Pick {
        match found {
            Some(index) => Pick::Server(index),
            None if self.full => Pick::Wait(None),
            None => Pick::Nobody,
        }
    }
}

/// Returns all indices, beginning with the one whose turn it is at `ticket`.
pub(super) fn in_turn(weights: &[u16], ticket: usize) -> impl Iterator<Item = usize> {
    let count = weights.len();
    let first = ticket.checked_rem(count).unwrap_or(0);
    let places = (first..count).chain(0..first);
    places.filter(|index| weights.get(*index).is_some_and(|weight| *weight > 0))
}
