//! A line-up laid out for one method, and the choice in it.
//!
//! Each method has a file of its own; this one knows which takes part when.

use super::hash;
use super::load::{self, Shares};
use super::maglev::Table;
use super::method::Method;
use super::rotation::Rotation;
use super::source::Keys;
use super::vocabulary::{Asking, Candidate, Load, Pick};

/// Candidates of one line-up; those beyond get nothing.
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
