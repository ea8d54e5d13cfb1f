//! `round_robin`: servers in turn, exactly by weight, interleaved smoothly.
//!
//! The whole cycle is computed in advance; a choice is then one table lookup, and threads that draw tickets
//! from one shared counter keep the exact proportion over the whole process.
//!
//! After any number of turns no server is a whole turn away from its share: its k-th turn lies in the
//! window from k / share to (k + 1) / share. Of the servers whose window is open, the one whose window
//! closes first is next.
//!
//! # Source
//! Tijdeman: The chairman assignment problem, 1980; the window rule is the same with earliest deadlines
//! first (Baruah, Cohen, Plaxton, Varvel: Proportionate progress, 1996).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::vocabulary::{Load, Met, Pick, in_turn};

/// Turns tried per server when the one whose turn it is has no room. After that, servers are tried one by
/// one: a light server among heavy full ones would be far away in the cycle.
const LOOKS_PER_SERVER: usize = 4;

/// One cycle of server indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotation {
    cycle: Vec<u16>,
}

impl Rotation {
    /// Computes one cycle for servers with these weights.
    pub(super) fn new(weights: &[u16]) -> Self {
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        let shares = (0..=u16::MAX)
            .zip(weights)
            .filter(|(_, weight)| **weight > 0)
            .map(|(server, weight)| (server, u64::from(weight / divisor)));
        Self {
            cycle: lay_out(&shares.collect::<Vec<_>>()),
        }
    }

    /// Chooses the server whose turn it is, or the next one with room.
    pub(super) fn choose(
        &self,
        weights: &[u16],
        ticket: usize,
        load: impl Fn(usize) -> Load,
    ) -> Pick {
        let mut met = Met::default();
        let Some(position) = ticket.checked_rem(self.cycle.len()) else {
            return Pick::Nobody;
        };
        let looks = self.cycle.len().min(weights.len() * LOOKS_PER_SERVER);
        let (before, from_here) = self.cycle.split_at(position);
        let turns = from_here.iter().chain(before).take(looks);
        for index in turns.map(|index| usize::from(*index)) {
            if met.room(load(index)).is_some() {
                return Pick::Server(index);
            }
        }
        if looks == self.cycle.len() {
            return met.pick(None);
        }
        let found = in_turn(weights, ticket).find(|index| met.room(load(*index)).is_some());
        met.pick(found)
    }
}

/// A server's next turn, by its number among the server's turns of the cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// The position at which the window opens or closes, depending on the heap.
    at: u64,
    /// Breaks ties: the order of the configuration.
    server: u16,
    number: u64,
    share: u64,
}

/// Computes one turn per unit of share.
fn lay_out(shares: &[(u16, u64)]) -> Vec<u16> {
    let total: u64 = shares.iter().map(|(_, share)| share).sum();
    let opens = |turn: Turn| Turn {
        at: turn.number * total / turn.share,
        ..turn
    };
    let closes = |turn: Turn| Turn {
        at: ((turn.number + 1) * total).div_ceil(turn.share),
        ..turn
    };
    let first = |(server, share): &(u16, u64)| Turn {
        at: 0,
        server: *server,
        number: 0,
        share: *share,
    };
    let mut later: BinaryHeap<Reverse<Turn>> = shares.iter().map(first).map(Reverse).collect();
    let mut open: BinaryHeap<Reverse<Turn>> = BinaryHeap::new();
    let mut cycle = Vec::new();
    for position in 0..total {
        while let Some(Reverse(turn)) = later.peek().copied()
            && turn.at <= position
        {
            later.pop();
            open.push(Reverse(closes(turn)));
        }
        // A window is open at every position, because the shares add up to the number of positions.
        let Some(Reverse(turn)) = open.pop() else {
            break;
        };
        cycle.push(turn.server);
        if turn.number + 1 < turn.share {
            let number = turn.number + 1;
            later.push(Reverse(opens(Turn { number, ..turn })));
        }
    }
    cycle
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_interleave_smoothly() {
        let rows: [(&[u16], &[u16]); 7] = [
            (&[1], &[0]),
            (&[1, 1], &[0, 1]),
            (&[256, 256], &[0, 1]),
            (&[5, 1, 1], &[0, 0, 0, 1, 0, 0, 2]),
            (&[3, 1, 1, 1], &[0, 1, 0, 2, 0, 3]),
            (&[0, 2], &[1]),
            (&[0, 0], &[]),
        ];
        for (weights, cycle) in rows {
            assert_eq!(Rotation::new(weights).cycle, cycle, "{weights:?}");
        }
    }

    #[test]
    fn nobody_is_ever_a_whole_turn_away_from_their_share() {
        for weights in [
            &[5u16, 1, 1][..],
            &[100, 1, 1, 1, 1, 1, 1, 1],
            &[256, 255, 3, 7, 7, 0, 1],
            &[17; 23],
        ] {
            let rotation = Rotation::new(weights);
            let total: i64 = weights.iter().copied().map(i64::from).sum();
            let mut turns = vec![0i64; weights.len()];
            for (position, server) in rotation.cycle.iter().enumerate() {
                turns[usize::from(*server)] += 1;
                for (count, weight) in turns.iter().zip(weights) {
                    let due = i64::from(*weight) * (position as i64 + 1);
                    assert!(
                        (count * total - due).abs() < total,
                        "{weights:?} {position}"
                    );
                }
            }
        }
    }

    #[test]
    fn proportions_are_exact_over_a_cycle_from_any_ticket() {
        let weights = [7, 0, 3, 256];
        let rotation = Rotation::new(&weights);
        let mut turns = [0u16; 4];
        for ticket in 1000..1266 {
            match rotation.choose(&weights, ticket, |_| Load::Active(0)) {
                Pick::Server(index) => turns[index] += 1,
                other @ (Pick::Wait(_) | Pick::Nobody) => panic!("{other:?}"),
            }
        }
        assert_eq!(turns, weights);
    }

    #[test]
    fn the_next_of_the_cycle_stands_in_however_far_it_is() {
        let weights = [1, 2, 1];
        // 1, 0, 1, 2
        let rotation = Rotation::new(&weights);
        let cycle: Vec<usize> = rotation.cycle.iter().copied().map(usize::from).collect();
        for ticket in 0..4 {
            let first = cycle[ticket];
            let next = (1..4).map(|step| cycle[(ticket + step) % 4]);
            let next = next.into_iter().find(|index| *index != first);
            let pick = rotation.choose(&weights, ticket, |index| match index {
                index if index == first => Load::Full(1),
                _ => Load::Active(1),
            });
            assert_eq!(pick, Pick::Server(next.unwrap()));
        }
        // The light server comes once in 256 turns, and the search of the cycle ends long before.
        let weights = [256, 1];
        let rotation = Rotation::new(&weights);
        let only_last = |index| match index {
            0 => Load::Full(9),
            _ => Load::Active(0),
        };
        for ticket in 0..257 {
            let pick = rotation.choose(&weights, ticket, only_last);
            assert_eq!(pick, Pick::Server(1));
        }
    }
}
