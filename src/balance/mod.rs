//! Choosing a server. Pure: load, ticket and randomness are passed in, an index comes out.
//!
//! A [`Chooser`] is laid out once per line-up of servers and then shared by all threads; a choice
//! allocates nothing and changes nothing. Who is in the line-up is decided elsewhere ([`health`] says
//! who may be in it), and so is how often a request tries again.
//!
//! | method | a choice costs | its tables |
//! |---|---|---|
//! | `source` | one hash per server | 16 bytes per server |
//! | `round_robin` | one look at a table; more when servers are full | 2 bytes per unit of weight, common divisor taken out |
//! | `least_connections` | one look at each server's load, two when several are equal | none |
//! | `random_two` | two searches by halves | 4 bytes per server |
//! | `maglev` | one look at a table | 128 KiB |

mod hash;
pub mod health;
mod load;
mod maglev;
pub mod ramp;
mod rotation;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use hash::mix;
use std::net::IpAddr;

use load::Shares;
use maglev::Table;
use rotation::Rotation;
use source::Keys;

/// Candidates of one line-up; those beyond get nothing.
pub const CANDIDATES_MAX: usize = 1 << 16;

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

/// A line-up of servers and the way to choose one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chooser {
    weights: Vec<u16>,
    plan: Plan,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    Source(Keys),
    RoundRobin(Rotation),
    LeastConnections,
    RandomTwo(Shares),
    Maglev(Table, Keys),
}

impl Chooser {
    /// Lays out a line-up, at most [`CANDIDATES_MAX`] of it.
    #[must_use]
    pub fn new(method: Method, candidates: &[Candidate<'_>]) -> Self {
        let candidates = candidates.get(..CANDIDATES_MAX).unwrap_or(candidates);
        let weights: Vec<u16> = candidates.iter().map(|server| server.weight).collect();
        let plan = match method {
            Method::Source => Plan::Source(Keys::new(candidates)),
            Method::RoundRobin => Plan::RoundRobin(Rotation::new(&weights)),
            Method::LeastConnections => Plan::LeastConnections,
            Method::RandomTwo => Plan::RandomTwo(Shares::new(&weights)),
            Method::Maglev => {
                let keys = Keys::new(candidates);
                Plan::Maglev(Table::new(&weights, &keys), keys)
            }
        };
        Self { weights, plan }
    }

    /// Chooses a server for a request; `load` says what the candidate at a place carries.
    ///
    /// A candidate with weight 0 is never named, neither to go to nor to wait for. `source` and
    /// `maglev` wait for the client's own server; the others, and clients without an address, wait
    /// only when every server is full.
    #[must_use]
    pub fn choose(&self, asking: &Asking, load: impl Fn(usize) -> Load) -> Pick {
        let weights = &self.weights;
        let Some(client) = asking.client.map(hash::address) else {
            return self.choose_for_nobody(asking, load);
        };
        match &self.plan {
            Plan::Source(keys) => keys.own(weights, client, load),
            Plan::Maglev(table, keys) => table.choose(weights, keys, client, load),
            Plan::RoundRobin(_) | Plan::LeastConnections | Plan::RandomTwo(_) => {
                self.choose_for_nobody(asking, load)
            }
        }
    }

    /// Chooses without a client: the methods that hash its address let the ticket stand for it.
    fn choose_for_nobody(&self, asking: &Asking, load: impl Fn(usize) -> Load) -> Pick {
        let weights = &self.weights;
        match &self.plan {
            Plan::Source(keys) | Plan::Maglev(_, keys) => {
                keys.any(weights, hash::ticket(asking.ticket), load)
            }
            Plan::RoundRobin(rotation) => rotation.choose(weights, asking.ticket, load),
            Plan::LeastConnections => load::least(weights, asking.ticket, load),
            Plan::RandomTwo(shares) => shares.choose(weights, asking, load),
        }
    }
}

/// Remembers what a search has met that had no room.
#[derive(Debug, Clone, Copy, Default)]
struct Met {
    full: bool,
}

impl Met {
    /// Returns the number of connections of a server that may take one more.
    fn room(&mut self, load: Load) -> Option<u32> {
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
    fn pick(self, found: Option<usize>) -> Pick {
        match found {
            Some(index) => Pick::Server(index),
            None if self.full => Pick::Wait(None),
            None => Pick::Nobody,
        }
    }
}

/// Returns all places, beginning with the one whose turn it is at `ticket`.
fn in_turn(weights: &[u16], ticket: usize) -> impl Iterator<Item = usize> {
    let count = weights.len();
    let first = ticket.checked_rem(count).unwrap_or(0);
    let places = (first..count).chain(0..first);
    places.filter(|index| weights.get(*index).is_some_and(|weight| *weight > 0))
}
