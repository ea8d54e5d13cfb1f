//! Chooses the tunnels that keep their ciphers: those that moved bytes lately. A busy tunnel then does not
//! make ciphers for each message, and an idle one holds none.

use std::collections::VecDeque;

use super::timer::is_past;

/// Limit on tunnels that keep ciphers. More would cost memory that the heap does not give back after a burst,
/// and save little: making the ciphers costs a fiftieth of handling a small message.
const KEPT_MAX: usize = 256;

/// The tunnels of a thread that keep ciphers, the one checked longest ago first.
#[derive(Debug, Default)]
pub(super) struct Warm {
    tunnels: VecDeque<(Who, u32)>,
}

/// A slot and its generation.
type Who = (u32, u32);

impl Warm {
    /// Adds a tunnel that kept no ciphers before; it is checked at tick `due`.
    pub(super) fn add(&mut self, who: Who, due: u32) {
        self.tunnels.push_back((who, due));
    }

    /// Takes the next tunnel to check: it is due, or there are too many.
    pub(super) fn next(&mut self, now: u32) -> Option<Who> {
        let (who, due) = *self.tunnels.front()?;
        if self.tunnels.len() <= KEPT_MAX && !is_past(due, now) {
            return None;
        }
        self.tunnels.pop_front();
        if self.tunnels.is_empty() {
            // Capacity from a burst is freed.
            self.tunnels = VecDeque::new();
        }
        Some(who)
    }

    /// Returns how many tunnels there are.
    pub(super) fn len(&self) -> usize {
        self.tunnels.len()
    }

    /// Returns whether more tunnels keep ciphers than may.
    pub(super) fn is_crowded(&self) -> bool {
        self.tunnels.len() >= KEPT_MAX
    }

    /// Returns how many ticks may pass before the next check; none = no tunnel keeps ciphers.
    pub(super) fn quiet_for(&self, now: u32) -> Option<u32> {
        let (_, due) = self.tunnels.front()?;
        Some(if is_past(*due, now) {
            0
        } else {
            due.wrapping_sub(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_looked_at_when_it_is_past() {
        let mut warm = Warm::default();
        assert_eq!((warm.next(5), warm.quiet_for(5)), (None, None));
        warm.add((1, 7), 10);
        warm.add((2, 8), 12);
        assert_eq!((warm.next(9), warm.quiet_for(9)), (None, Some(1)));
        assert_eq!((warm.next(10), warm.next(10)), (Some((1, 7)), None));
        assert_eq!((warm.next(12), warm.len()), (Some((2, 8)), 0));
    }

    #[test]
    fn time_wraps_and_a_crowd_thins_out_at_once() {
        let mut warm = Warm::default();
        warm.add((1, 0), 3);
        assert_eq!(warm.next(u32::MAX - 1), None);
        assert_eq!(warm.next(4), Some((1, 0)));
        for slot in 0..=256 {
            warm.add((slot, 0), 1000);
        }
        assert!(warm.is_crowded());
        assert_eq!((warm.next(0), warm.next(0)), (Some((0, 0)), None));
    }
}
