//! A line-up prepared for one method, and the choice in it.
//!
//! Each method has a file of its own; this one calls the method that applies.

use super::hash;
use super::load::{self, Shares};
use super::maglev::Table;
use super::method::Method;
use super::rotation::Rotation;
use super::source::Keys;
use super::vocabulary::{Asking, Candidate, Load, Pick};

/// Limit on candidates of one line-up; further ones get no connections.
pub const CANDIDATES_MAX: usize = 1 << 16;

/// A line-up of servers and the way to choose one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chooser {
    pub(super) weights: Vec<u16>,
    pub(super) plan: Plan,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    Source(Keys),
    RoundRobin(Rotation),
    LeastConnections,
    RandomTwo(Shares),
    Maglev(Table, Keys),
}

impl Chooser {
    /// Prepares a line-up, at most [`CANDIDATES_MAX`] candidates.
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

    /// Chooses a server for a request; `load` returns the load of the candidate at an index.
    ///
    /// A candidate with weight 0 is never returned, neither to use nor to wait for. `source` and `maglev`
    /// wait for the client's own server; the other methods, and clients without an address, wait only when
    /// every server is full.
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

    /// Chooses for a client without an address: methods that hash the address use the ticket instead.
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
