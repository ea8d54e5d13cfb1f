//! `maglev`: one lookup in a table that every node with the same servers fills in the same way.
//!
//! Every server has its own order of the table's places. In turn, each takes the next free place of its
//! order, until none is free. Servers take turns in the order of their keys, not of the configuration. When a
//! server leaves, its places are dealt out again and few other places change hands.
//!
//! Turns are by weight: the heaviest server takes a place in every round, one of half the weight in every
//! other round. All take one in the first round, so that each has at least one.
//!
//! Accuracy: shares of equal weights are exact to one place; shares of other weights to two places and N /
//! 65,537 of the share, that is one percent up to 655 servers. When one of N servers leaves, its 1 / N of the
//! clients move, and less than one percent of the others.
//!
//! Cost: about 65,537 * ln(65,537) steps per line-up whatever the number of servers, measured 1 to 3 ms from
//! three servers to ten thousand.
//!
//! # Source
//! Eisenbud et al.: Maglev: a fast and reliable software network load balancer, NSDI 2016, section 3.4.

use super::hash;
use super::source::Keys;
use super::vocabulary::{Load, Pick};

/// Places of the table: a prime, so that every step size visits all of them, and the paper's size for
/// up to some hundreds of servers. Above 65,536, so that the largest line-up fits.
const PLACES: u32 = 65_537;

/// The server of each place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    servers: Vec<u16>,
}

/// A server while the table is filled.
#[derive(Debug, Clone, Copy)]
struct Taker {
    key: u64,
    server: u16,
    /// The next place of its order.
    place: u32,
    step: u32,
    weight: u32,
    credit: u32,
}

impl Taker {
    fn new(server: u16, key: u64, weight: u16, heaviest: u32) -> Self {
        let weight = u32::from(weight);
        Self {
            key,
            server,
            place: below(key, PLACES),
            step: below(hash::mix(key), PLACES - 1) + 1,
            weight,
            credit: heaviest - weight,
        }
    }

    /// Returns whether the server has a turn in this round.
    fn has_turn(&mut self, heaviest: u32) -> bool {
        self.credit += self.weight;
        let has_turn = self.credit >= heaviest;
        if has_turn {
            self.credit -= heaviest;
        }
        has_turn
    }

    /// Takes the next free place of its order; there is one.
    fn take(&mut self, servers: &mut [Option<u16>]) {
        for _ in 0..PLACES {
            let place = self.place as usize;
            self.place = (self.place + self.step) % PLACES;
            if let Some(free) = servers.get_mut(place).filter(|place| place.is_none()) {
                *free = Some(self.server);
                return;
            }
        }
    }
}

impl Table {
    /// Fills the table; it is empty when all weights are 0.
    pub(super) fn new(weights: &[u16], keys: &Keys) -> Self {
        let heaviest = u32::from(weights.iter().copied().max().unwrap_or(0));
        let mut takers: Vec<Taker> = keys
            .iter()
            .zip(weights)
            .filter(|(_, weight)| **weight > 0)
            .filter_map(|((index, key), weight)| {
                let server = u16::try_from(index).ok()?;
                Some(Taker::new(server, key, *weight, heaviest))
            })
            .collect();
        takers.sort_by_key(|taker| taker.key);
        let mut servers = vec![None; PLACES as usize];
        let mut free = PLACES;
        while free > 0 && !takers.is_empty() {
            for taker in &mut takers {
                if free > 0 && taker.has_turn(heaviest) {
                    taker.take(&mut servers);
                    free -= 1;
                }
            }
        }
        Self {
            servers: servers.into_iter().flatten().collect(),
        }
    }

    /// Returns the server of each place.
    #[cfg(test)]
    pub(super) fn servers(&self) -> &[u16] {
        &self.servers
    }

    /// Chooses the server of the client's place, and waits for it if it is full; if it was tried, chooses by
    /// the order that [`Keys`] gives the client.
    pub(super) fn choose(
        &self,
        weights: &[u16],
        keys: &Keys,
        client: u64,
        load: impl Fn(usize) -> Load,
    ) -> Pick {
        let place = below(client, PLACES) as usize;
        let Some(server) = self.servers.get(place).map(|server| usize::from(*server)) else {
            return Pick::Nobody;
        };
        match load(server) {
            Load::Active(_) => Pick::Server(server),
            Load::Full(_) => Pick::Wait(Some(server)),
            Load::Tried => keys.own(weights, client, load),
        }
    }
}

/// Returns a number below `limit` from a hash.
fn below(hash: u64, limit: u32) -> u32 {
    // A remainder of a number of 32 bits fits.
    u32::try_from(hash % u64::from(limit)).unwrap_or(0)
}
