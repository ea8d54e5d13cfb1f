//! The pace at which a drain ends tunnels. Pure: time and counts in, numbers out.
//!
//! The remaining time is divided into as many parts as there are tunnels, and in each part one tunnel ends,
//! at a random moment. So clients come back as evenly as possible and yet not in step, neither with each
//! other nor with those of another node that drains at the same time. If parts are shorter than the time
//! between two calls, that time is random too. Tunnels that end by themselves leave longer parts to the
//! others.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::balance;

/// Mean time between two calls; tunnels told to end at the last one are gone by then.
const PAUSE: Duration = Duration::from_millis(50);
/// Limit on the backlog that is made up for at once; the rest is spread again.
const CATCH_UP: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// The schedule of one drain; times are since its beginning.
#[derive(Debug)]
pub(super) struct Pace {
    window: Duration,
    /// Shortest part, from `drain_rate`.
    part_min: Duration,
    /// Beginning of the present part.
    begin: Duration,
    /// Random fraction of the part, 0 to 1, after which a tunnel ends.
    moment: f64,
    random: u64,
}

impl Pace {
    /// Spreads ends over `window`, with no more than `rate` a second; `seed` is for the random numbers.
    pub(super) fn new(window: Duration, rate: Option<NonZeroUsize>, seed: u64) -> Self {
        let mut pace = Self {
            window,
            part_min: rate.map_or(Duration::ZERO, |rate| shared_by(SECOND, rate.get())),
            begin: Duration::ZERO,
            moment: 0.0,
            random: seed,
        };
        pace.moment = pace.draw();
        pace
    }

    /// Returns how many of the `left` tunnels that were not told to end must end by `now`.
    pub(super) fn due(&mut self, now: Duration, left: usize) -> usize {
        if now >= self.window && self.part_min.is_zero() {
            return left;
        }
        let first = self.part(left.max(1));
        self.begin = self.begin.max(now.saturating_sub(first.max(CATCH_UP)));
        let mut due = 0;
        while due < left {
            let part = self.part(left - due);
            if self.begin + part.mul_f64(self.moment) > now {
                break;
            }
            self.begin += part;
            self.moment = self.draw();
            due += 1;
        }
        due
    }

    /// Returns a random time to wait until the next call.
    pub(super) fn pause(&mut self) -> Duration {
        PAUSE.mul_f64(0.5 + self.draw())
    }

    /// Returns how long `left` tunnels take in total.
    pub(super) fn length(&self, left: usize) -> Duration {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        self.window.max(self.part_min.saturating_mul(left))
    }

    /// Returns the length of a part if `left` tunnels share the rest of the window.
    fn part(&self, left: usize) -> Duration {
        let rest = self.window.saturating_sub(self.begin);
        shared_by(rest, left).max(self.part_min)
    }

    /// Returns a random number from 0 to 1.
    fn draw(&mut self) -> f64 {
        // SplitMix64 (Steele, Lea, Flood 2014); a float holds 53 bits of it.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = balance::mix(self.random) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

fn shared_by(time: Duration, count: usize) -> Duration {
    time / u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}

/// Divides `due` ends among threads with `left` tunnels each: always one of those with most.
pub(super) fn divide(due: usize, left: &[usize]) -> Vec<usize> {
    if due >= left.iter().sum() {
        return left.to_vec();
    }
    let mut rest = left.to_vec();
    for _ in 0..due {
        if let Some(most) = rest.iter_mut().max() {
            *most = most.saturating_sub(1);
        }
    }
    let taken = left.iter().zip(&rest).map(|(left, rest)| left - rest);
    taken.collect()
}

#[cfg(test)]
mod tests;
