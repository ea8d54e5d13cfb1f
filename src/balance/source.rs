//! `source`: every client has its own order of servers, and uses the first of it.
//!
//! Weighted rendezvous hashing. Client and server together give a number u in (0, 1]; the client uses the
//! server with the least -log(u) / weight. That is a race of exponential clocks, which a server wins in
//! proportion to its weight. A server's number does not depend on the others, so a server that leaves moves
//! only its own clients, and one whose weight grows takes only what it gains.
//!
//! All arithmetic is in integers, so that every node and every processor computes the same order.
//!
//! # Source
//! Thaler, Ravishankar: Using name-based mappings to increase hit rates, 1998; the logarithm for
//! weights is from Schindelhauer, Schomaker: Weighted distributed hash tables, 2005 (their
//! "logarithmic method").

use super::hash;
use super::vocabulary::{Candidate, Load, Met, Pick};

/// Binary places of a logarithm.
const PLACES: u32 = 40;

/// The servers' keys as numbers, by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys(Vec<u64>);

impl Keys {
    /// Hashes the keys. Servers with the same key are distinguished by their order.
    pub(super) fn new(candidates: &[Candidate<'_>]) -> Self {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by_key(|index| candidates.get(*index).map(|server| server.key));
        let mut keys = vec![0; candidates.len()];
        let mut before = None;
        let mut copy = 0;
        for index in order {
            let key = candidates.get(index).map_or("", |server| server.key);
            copy = if before == Some(key) { copy + 1 } else { 0 };
            before = Some(key);
            if let Some(slot) = keys.get_mut(index) {
                *slot = hash::key(key, copy);
            }
        }
        Self(keys)
    }

    /// Returns indices and keys, by index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().copied().enumerate()
    }

    /// Chooses the first server of the client's order that it has not tried, and waits for it if it is full.
    pub(super) fn own(&self, weights: &[u16], client: u64, load: impl Fn(usize) -> Load) -> Pick {
        let first = self.first(weights, client, |index| load(index) != Load::Tried);
        match first.map(|index| (index, load(index))) {
            Some((index, Load::Full(_))) => Pick::Wait(Some(index)),
            // Loads may change in the meantime: a server that was untried a moment ago still is.
            Some((index, Load::Active(_) | Load::Tried)) => Pick::Server(index),
            None => Pick::Nobody,
        }
    }

    /// Chooses the first server of an order that has room.
    pub(super) fn any(&self, weights: &[u16], client: u64, load: impl Fn(usize) -> Load) -> Pick {
        let mut met = Met::default();
        let first = self.first(weights, client, |index| met.room(load(index)).is_some());
        met.pick(first)
    }

    /// Returns the first server of an order that is `eligible`.
    fn first(
        &self,
        weights: &[u16],
        client: u64,
        mut eligible: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let mut best: Option<Entry> = None;
        for ((index, key), weight) in self.iter().zip(weights) {
            let draw = hash::mix(client ^ key);
            let least = Entry {
                index,
                key,
                weight: u64::from(*weight),
                cost: least_cost(draw),
            };
            // The logarithm is computed only for the few servers that can still win.
            if *weight == 0 || best.is_some_and(|best| !least.may_precede(&best)) {
                continue;
            }
            let entry = Entry {
                cost: cost(draw),
                ..least
            };
            if best.is_none_or(|best| entry.may_precede(&best)) && eligible(index) {
                best = Some(entry);
            }
        }
        best.map(|best| best.index)
    }
}

/// A server in the race.
#[derive(Debug, Clone, Copy)]
struct Entry {
    index: usize,
    key: u64,
    weight: u64,
    cost: u64,
}

impl Entry {
    /// Compares cost / weight without dividing; the key breaks ties. Costs have 47 bits and weights 16, so
    /// the products fit.
    fn may_precede(&self, other: &Self) -> bool {
        let [own, others] = [self.cost * other.weight, other.cost * self.weight];
        (own, self.key) < (others, other.key)
    }
}

/// Returns -log2(u) in units of 2^-[`PLACES`], where u = 1 - draw / 2^64.
fn cost(draw: u64) -> u64 {
    let numerator = draw.wrapping_neg();
    if numerator == 0 {
        return 0;
    }
    let whole = numerator.leading_zeros();
    let mut mantissa = numerator << whole;
    let mut fraction = 0;
    for _ in 0..PLACES {
        // Squaring a number in [1, 2) doubles its logarithm; a carry is the next binary place.
        let square = u128::from(mantissa) * u128::from(mantissa);
        let carry = u64::from(square >> 127 != 0);
        fraction = (fraction << 1) | carry;
        // The rest is below 2^64 by the choice of the shift.
        mantissa = u64::try_from(square >> (63 + carry)).unwrap_or(u64::MAX);
    }
    ((u64::from(whole + 1) << PLACES) - fraction).max(least_cost(draw))
}

/// Returns a lower bound of `cost`: -log(u) >= 1 - u.
fn least_cost(draw: u64) -> u64 {
    draw >> (u64::BITS - PLACES)
}
