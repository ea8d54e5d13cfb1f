//! Choosing a server. Pure: load and clock are passed in, an index comes out.

use std::net::IpAddr;

/// Servers in turn, by weight, interleaved smoothly: with weights 5, 1, 1 the heavy one is never
/// asked five times in a row.
///
/// The whole cycle is laid out once; a choice is then one look at a table, and threads that draw
/// their tickets from one shared counter keep the exact proportion over the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    cycle: Vec<u16>,
}

impl Rotation {
    /// Lays out one cycle for servers with these weights (0 to 256 each, at most 65,536 servers).
    #[must_use]
    pub fn new(weights: &[u16]) -> Self {
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        let shares: Vec<i64> = weights
            .iter()
            .map(|weight| i64::from(weight / divisor))
            .collect();
        let total: i64 = shares.iter().sum();
        let mut credits = vec![0; shares.len()];
        let cycle = (0..total)
            .filter_map(|_| next_turn(&shares, total, &mut credits))
            .collect();
        Self { cycle }
    }

    /// Returns the index of the server that a client at `ip` always gets while servers and weights
    /// stay the same; none when all weights are 0. IPv4 and IPv4-mapped IPv6 addresses are the same.
    #[must_use]
    pub fn of_source(&self, ip: IpAddr) -> Option<usize> {
        let mixed = match ip.to_canonical() {
            IpAddr::V4(ip) => mix(u64::from(u32::from(ip))),
            IpAddr::V6(ip) => {
                let [high, low] = [ip.to_bits() >> 64, ip.to_bits() & u128::from(u64::MAX)];
                // Both halves fit by construction.
                let [high, low] = [high, low].map(|half| u64::try_from(half).unwrap_or(0));
                mix(mix(high) ^ low)
            }
        };
        // A cycle has at most 65,536 * 256 places, so the remainder fits.
        self.at(usize::try_from(mixed % (self.cycle.len().max(1) as u64)).ok()?)
    }

    /// Returns the index of the server whose turn it is at `ticket`; none when all weights are 0.
    #[must_use]
    pub fn at(&self, ticket: usize) -> Option<usize> {
        let position = ticket.checked_rem(self.cycle.len())?;
        self.cycle.get(position).map(|index| usize::from(*index))
    }
}

/// One step of smooth weighted round robin: everybody earns their share, the richest pays a round.
fn next_turn(shares: &[i64], total: i64, credits: &mut [i64]) -> Option<u16> {
    for (credit, share) in credits.iter_mut().zip(shares) {
        *credit += share;
    }
    // The first of equals wins, so that servers come in the order of the configuration.
    let (index, credit) = credits
        .iter_mut()
        .enumerate()
        .rev()
        .max_by_key(|(_, credit)| **credit)?;
    *credit -= total;
    u16::try_from(index).ok()
}

/// Spreads the bits of neighbouring addresses: the finaliser of SplitMix64 (Steele, Lea, Flood:
/// Fast splittable pseudorandom number generators, 2014).
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_interleave_smoothly() {
        let rows: [(&[u16], &[u16]); 6] = [
            (&[1], &[0]),
            (&[1, 1], &[0, 1]),
            (&[256, 256], &[0, 1]),
            (&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]),
            (&[0, 2], &[1]),
            (&[0, 0], &[]),
        ];
        for (weights, cycle) in rows {
            assert_eq!(Rotation::new(weights).cycle, cycle, "{weights:?}");
        }
    }

    #[test]
    fn a_source_keeps_its_server_and_sources_spread_by_weight() {
        let rotation = Rotation::new(&[3, 1, 0]);
        let mut clients = [0; 3];
        for host in 0..10_000u32 {
            let ip = IpAddr::V4((0x0a00_0000 + host).into());
            let index = rotation.of_source(ip).unwrap();
            assert_eq!(rotation.of_source(ip), Some(index));
            clients[index] += 1;
        }
        // 10,000 draws at 3/4: four standard deviations are 173.
        assert!((7_327..=7_673).contains(&clients[0]), "{clients:?}");
        assert_eq!(clients[0] + clients[1], 10_000);
        let mapped = "::ffff:10.0.0.7".parse().unwrap();
        assert_eq!(
            rotation.of_source(mapped),
            rotation.of_source("10.0.0.7".parse().unwrap())
        );
        assert_eq!(Rotation::new(&[0]).of_source(mapped), None);
    }

    #[test]
    fn proportions_are_exact_over_a_cycle_from_any_ticket() {
        let weights = [7, 0, 3, 256];
        let rotation = Rotation::new(&weights);
        let mut turns = [0u16; 4];
        for ticket in 1000..1266 {
            turns[rotation.at(ticket).unwrap()] += 1;
        }
        assert_eq!(turns, weights);
    }
}
