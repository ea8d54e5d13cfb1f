//! `least_connections` and `random_two`: the server with the least load, by weight.
//!
//! The load is (connections + 1) / weight, as if the new connection were there, so that of idle servers the
//! heavier comes first. Loads are compared exactly, by products of integers.
//!
//! Threads that choose at the same moment see the same loads. `least_connections` then sends them all
//! to one server; two at random spread them, which is why that method exists.
//!
//! # Source
//! Mitzenmacher: The power of two choices in randomized load balancing, 2001.

use std::cmp::Ordering;

use super::hash;
use super::vocabulary::{Asking, Load, Met, Pick, in_turn};

/// (connections + 1) / weight.
#[derive(Debug, Clone, Copy)]
struct Burden {
    connections: u64,
    weight: u64,
}

impl Burden {
    fn new(connections: u32, weight: u16) -> Self {
        Self {
            connections: u64::from(connections) + 1,
            weight: u64::from(weight),
        }
    }

    /// Connections have 33 bits and weights 16, so the products fit.
    fn cmp(self, other: Self) -> Ordering {
        (self.connections * other.weight).cmp(&(other.connections * self.weight))
    }
}

/// Chooses the server with the least load; of equal ones, the one whose turn it is among them.
pub(super) fn least(weights: &[u16], ticket: usize, load: impl Fn(usize) -> Load) -> Pick {
    let mut met = Met::default();
    let mut burden = |index: usize| {
        let weight = weights.get(index).copied()?;
        let connections = met.room(load(index))?;
        Some((index, Burden::new(connections, weight)))
    };
    let mut best: Option<(usize, Burden)> = None;
    let mut equals = 0;
    for (index, own) in in_turn(weights, 0).filter_map(&mut burden) {
        match best.map_or(Ordering::Less, |(_, best)| own.cmp(best)) {
            Ordering::Less => (best, equals) = (Some((index, own)), 1),
            Ordering::Equal => equals += 1,
            Ordering::Greater => {}
        }
    }
    let found = best.and_then(|(first, least)| {
        let turn = ticket.checked_rem(equals).filter(|turn| *turn > 0);
        let Some(turn) = turn else {
            return Some(first);
        };
        let alike = in_turn(weights, 0)
            .filter_map(&mut burden)
            .filter(|(_, own)| own.cmp(least) == Ordering::Equal)
            .map(|(index, _)| index);
        // Loads may have changed since the first pass, and fewer servers may be equal now.
        alike.take(turn + 1).last().or(Some(first))
    });
    met.pick(found)
}

/// The cumulated weights of the servers, for two random draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shares {
    ends: Vec<u32>,
}

impl Shares {
    /// Cumulates the weights.
    pub(super) fn new(weights: &[u16]) -> Self {
        let ends = weights.iter().scan(0u32, |end, weight| {
            // 65,536 weights of 16 bits fit.
            *end += u32::from(*weight);
            Some(*end)
        });
        Self {
            ends: ends.collect(),
        }
    }

    /// Chooses the less loaded of two different servers, drawn by weight; the other if one has no room; the
    /// least loaded of all if both have none.
    pub(super) fn choose(
        &self,
        weights: &[u16],
        asking: &Asking,
        load: impl Fn(usize) -> Load,
    ) -> Pick {
        let [first, second] = self.draw(asking.random);
        let burden = |index: usize| match load(index) {
            Load::Active(connections) => {
                let weight = weights.get(index).copied()?;
                Some((index, Burden::new(connections, weight)))
            }
            Load::Full(_) | Load::Tried => None,
        };
        match (first.and_then(burden), second.and_then(burden)) {
            (Some((_, one)), Some((index, two))) if two.cmp(one) == Ordering::Less => {
                Pick::Server(index)
            }
            (Some((index, _)), _) | (None, Some((index, _))) => Pick::Server(index),
            (None, None) => least(weights, asking.ticket, load),
        }
    }

    /// Draws two different servers, the second by weight among the rest.
    pub(super) fn draw(&self, random: u64) -> [Option<usize>; 2] {
        let total = self.ends.last().copied().unwrap_or(0);
        let Some(first) = self.at(below(random, total)) else {
            return [None, None];
        };
        // The second is drawn from the line without the share of the first.
        let start = first
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let start = start.copied().unwrap_or(0);
        let share = self.ends.get(first).map_or(0, |end| end - start);
        let place = below(hash::mix(random), total - share);
        let place = if place < start { place } else { place + share };
        [Some(first), self.at(place)]
    }

    /// Returns the server whose share holds a place.
    fn at(&self, place: u32) -> Option<usize> {
        let index = self.ends.partition_point(|end| *end <= place);
        (index < self.ends.len()).then_some(index)
    }
}

/// Scales a number that is uniform over all values to a number below `limit`; 0 for limit 0.
fn below(random: u64, limit: u32) -> u32 {
    let place = (u128::from(random) * u128::from(limit)) >> u64::BITS;
    // The result is below the limit, which fits.
    u32::try_from(place).unwrap_or(0)
}
