//! Slow start: a server that came back begins with a tenth of its weight, which then grows in steps.
//!
//! The weight grows in nine equal steps of time from one tenth to ten, so a line-up is prepared again nine
//! times per ramp and not at every request.
//!
//! Weights are small whole numbers, and a tenth of 1 is none. So while any server ramps, all weights of the
//! line-up are multiplied by ten, which changes no proportion. Only in line-ups whose weights add up to more
//! than `TOTAL_MAX` / 10 the factor is smaller, down to 1; a server of small weight then starts with 1 and
//! has fewer steps.
//!
//! Every node has its own ramp: during one, `maglev` on two nodes may differ in the places of the server that
//! ramps.

use std::time::Duration;

/// Number of parts in a full weight.
const PARTS: u32 = 10;
/// Limit on the sum of multiplied weights of a line-up: a cycle of `round_robin` may have 2 MiB.
const TOTAL_MAX: u32 = 1 << 20;

/// A server that may be ramping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrant {
    /// Configured weight, 0 to 256.
    pub weight: u16,
    /// Time since it came back; none = it was never away.
    pub since: Option<Duration>,
}

/// The weights of a line-up at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// One weight per [`super::Candidate`], in order; at most 2,560.
    pub weights: Vec<u16>,
    /// Time until the weights change; none = they stay.
    pub change_in: Option<Duration>,
}

/// Returns the weights of a line-up whose servers take `slow_start` to come back to their full weight.
#[must_use]
pub fn weights(servers: &[Entrant], slow_start: Duration) -> Weights {
    let step = slow_start / (PARTS - 1);
    let parts = |entrant: &Entrant| match entrant.since {
        Some(since) if since < slow_start => {
            // Steps of less than a nanosecond are over.
            let steps = since.as_nanos().checked_div(step.as_nanos());
            let steps = steps.and_then(|steps| u32::try_from(steps).ok());
            steps.map_or(PARTS, |steps| (steps + 1).min(PARTS))
        }
        Some(_) | None => PARTS,
    };
    let change_in = servers
        .iter()
        .filter(|entrant| entrant.weight > 0 && parts(entrant) < PARTS)
        .map(|entrant| step * parts(entrant) - entrant.since.unwrap_or(slow_start))
        .min();
    let factor = match change_in {
        Some(_) => factor(servers),
        None => 1,
    };
    let weights = servers.iter().map(|entrant| {
        let full = u32::from(entrant.weight) * factor;
        let ramped = (full * parts(entrant) / PARTS).max(full.min(1));
        // At most 65,535 * 10 by type, and 2,560 by configuration.
        u16::try_from(ramped).unwrap_or(u16::MAX)
    });
    Weights {
        weights: weights.collect(),
        change_in,
    }
}

/// Returns the factor for all weights.
fn factor(servers: &[Entrant]) -> u32 {
    let weights = servers.iter().map(|entrant| u32::from(entrant.weight));
    let total = weights.fold(0, u32::saturating_add);
    (TOTAL_MAX / total.max(1)).clamp(1, PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW_START: Duration = Duration::from_secs(90);

    /// Weights as configured, seconds since the return, weights for now, seconds until others.
    type Row = (
        &'static [u16],
        &'static [Option<u64>],
        &'static [u16],
        Option<u64>,
    );

    fn entrants(weights: &[u16], since: &[Option<u64>]) -> Vec<Entrant> {
        let since = since.iter().map(|since| since.map(Duration::from_secs));
        let pairs = weights.iter().zip(since);
        pairs
            .map(|(weight, since)| Entrant {
                weight: *weight,
                since,
            })
            .collect()
    }

    #[test]
    fn shares_grow_from_a_tenth_to_ten() {
        let rows: [Row; 10] = [
            // No server ramps: as configured.
            (&[1, 7], &[None, None], &[1, 7], None),
            (&[1, 7], &[None, Some(90)], &[1, 7], None),
            // A weight of 1 ramps as well as one of 256.
            (&[1, 1], &[None, Some(0)], &[10, 1], Some(10)),
            (&[256, 256], &[Some(0), None], &[256, 2560], Some(10)),
            (&[1, 1], &[None, Some(9)], &[10, 1], Some(1)),
            (&[1, 1], &[None, Some(10)], &[10, 2], Some(10)),
            (&[1, 1], &[None, Some(89)], &[10, 9], Some(1)),
            // The next change is the earliest of all servers.
            (&[2, 3, 1], &[Some(5), Some(27), None], &[2, 9, 10], Some(3)),
            // A server without new connections does not ramp either.
            (&[0, 3], &[Some(5), None], &[0, 3], None),
            (&[0, 3], &[None, Some(0)], &[0, 3], Some(10)),
        ];
        for (configured, since, expected, change_in) in rows {
            let got = weights(&entrants(configured, since), SLOW_START);
            let change_in = change_in.map(Duration::from_secs);
            let weights = expected.to_vec();
            assert_eq!(
                got,
                Weights { weights, change_in },
                "{configured:?} {since:?}"
            );
        }
    }

    #[test]
    fn a_ramp_has_nine_changes_and_no_end_beyond() {
        for slow_start in [
            SLOW_START,
            Duration::from_nanos(100),
            Duration::from_millis(333),
        ] {
            let mut since = Duration::ZERO;
            let mut seen = vec![];
            loop {
                let entrant = Entrant {
                    weight: 1,
                    since: Some(since),
                };
                let now = weights(&[entrant], slow_start);
                seen.push(now.weights[0]);
                let Some(change_in) = now.change_in else {
                    break;
                };
                assert!(change_in > Duration::ZERO);
                since += change_in;
            }
            // The last step is the full weight, whatever the factor.
            assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 1], "{slow_start:?}");
            assert!(since <= slow_start);
        }
        for slow_start in [Duration::ZERO, Duration::from_nanos(8)] {
            let entrant = Entrant {
                weight: 3,
                since: Some(Duration::ZERO),
            };
            let stays = Weights {
                weights: vec![3],
                change_in: None,
            };
            assert_eq!(weights(&[entrant], slow_start), stays);
        }
    }

    #[test]
    fn a_huge_line_up_ramps_in_coarser_steps() {
        let mut servers = vec![
            Entrant {
                weight: 256,
                since: None
            };
            4096
        ];
        servers[0].since = Some(Duration::ZERO);
        let ramped = weights(&servers, SLOW_START);
        assert_eq!(ramped.weights[..2], [25, 256]);
        servers.iter_mut().for_each(|server| server.weight = 1);
        assert_eq!(weights(&servers, SLOW_START).weights[..2], [1, 10]);
    }
}
