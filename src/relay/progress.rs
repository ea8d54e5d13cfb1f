//! Decides when open tunnels get progress entries: the table is walked slice by slice, so that each tunnel
//! comes up about once per interval and no slice takes long. Pure.

use std::ops::Range;

use super::timer::is_past;

/// Slots of a slice, unless the table is so large that slices have to be longer.
const SLICE_LEN: u32 = 64;

/// A walk round the table that never ends.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Length of one round, in ticks.
    interval: u32,
    /// The slot that comes next.
    next: u32,
    /// When the next slice is due, in ticks.
    due: u32,
}

impl Rounds {
    /// Begins to walk at tick `now`; `interval` is in ticks and not zero.
    pub(super) fn new(interval: u32, now: u32) -> Self {
        Self {
            interval,
            next: 0,
            due: now,
        }
    }

    /// Takes the slice that is due, of a table of `slots`; empty = none is due.
    pub(super) fn take(&mut self, now: u32, slots: u32) -> Range<u32> {
        if slots == 0 || !is_past(self.due, now) {
            return 0..0;
        }
        let len = slots.div_ceil(self.interval).max(SLICE_LEN);
        let slices = slots.div_ceil(len);
        self.due = now.wrapping_add((self.interval / slices).max(1));
        let start = if self.next < slots { self.next } else { 0 };
        let end = slots.min(start.saturating_add(len));
        self.next = end;
        start..end
    }

    /// Returns how many ticks may pass before the next slice.
    pub(super) fn quiet_for(&self, now: u32) -> u32 {
        if is_past(self.due, now) {
            0
        } else {
            self.due.wrapping_sub(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks for `ticks`; returns how often each slot came up, and the longest slice.
    fn walk(interval: u32, slots: u32, ticks: u32) -> (Vec<u32>, u32) {
        let start = u32::MAX - 100;
        let mut rounds = Rounds::new(interval, start);
        let mut seen = vec![0; slots as usize];
        let mut longest = 0;
        for tick in 0..ticks {
            let now = start.wrapping_add(tick);
            let slice = rounds.take(now, slots);
            longest = longest.max(slice.end - slice.start);
            slice.for_each(|slot| seen[slot as usize] += 1);
            assert!(rounds.quiet_for(now) > 0 || slots == 0);
        }
        (seen, longest)
    }

    #[test]
    fn every_slot_comes_up_once_per_round_in_short_slices() {
        for slots in [0, 1, 63, 64, 65, 1000, 65_536] {
            for interval in [63, 18_750] {
                let (seen, longest) = walk(interval, slots, 4 * interval);
                let len_max = SLICE_LEN.max(slots.div_ceil(interval));
                assert!(longest <= len_max, "{slots} {interval}: {longest}");
                // A round may be a little shorter than the interval, as slices are whole.
                let fits = |times: &u32| (4..=6).contains(times);
                assert!(seen.iter().all(fits), "{slots} {interval}: {seen:?}");
            }
        }
    }

    #[test]
    fn a_table_that_shrank_is_begun_anew() {
        let mut rounds = Rounds::new(100, 0);
        assert_eq!(rounds.take(0, 128), 0..64);
        assert_eq!(rounds.take(10, 128), 0..0);
        assert_eq!(rounds.take(50, 10), 0..10);
    }
}
