//! The words of a choice: the servers to choose from, who asks, what each server carries, and the answer.

use std::net::IpAddr;

/// A server of the line-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// What it is called on every node, such as "10.0.0.1:80". Clients stick to it, not to the place
    /// in the line-up.
    pub key: &'a str,
    /// Its share of what is new, 0 to 256 (more while a ramp scales all of them); 0 = nothing.
    pub weight: u16,
}

/// What a server carries when a request asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// So many connections, and it may take one more.
    Active(u32),
    /// All the connections it may have.
    Full(u32),
    /// This request has failed there already.
    Tried,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// The client's address; none when it has none (a unix socket).
    pub client: Option<IpAddr>,
    /// From a counter that all threads share, drawn once per request: the same when it tries again.
    pub ticket: usize,
    /// Any number, uniform over all of them.
    pub random: u64,
}

/// What became of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The candidate at this place.
    Server(usize),
    /// There is no room: wait for the candidate at this place, or for any.
    Wait(Option<usize>),
    /// Nobody is left to wait for.
    Nobody,
}

/// Remembers what a search has met that had no room.
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

    /// Returns the pick of a search that found `found`.
    pub(super) fn pick(self, found: Option<usize>) -> Pick {
        match found {
            Some(index) => Pick::Server(index),
            None if self.full => Pick::Wait(None),
            None => Pick::Nobody,
        }
    }
}

/// Returns all places, beginning with the one whose turn it is at `ticket`.
pub(super) fn in_turn(weights: &[u16], ticket: usize) -> impl Iterator<Item = usize> {
    let count = weights.len();
    let first = ticket.checked_rem(count).unwrap_or(0);
    let places = (first..count).chain(0..first);
    places.filter(|index| weights.get(*index).is_some_and(|weight| *weight > 0))
}
