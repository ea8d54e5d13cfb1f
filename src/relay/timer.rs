//! Deadlines of silent tunnels, as a hierarchical timing wheel. Pure.
//!
//! Activity does not touch the wheel. A slot is linked at the deadline it had when it was last checked; when
//! that bucket is due, the caller compares with the real deadline and links the slot again. A bucket of a
//! higher level is due at its first tick, when its entries move to lower levels. So no entry is reported
//! early, none late by more than a tick, and a wheel with far deadlines only asks for a wake-up a few times
//! per deadline.
//!
//! Ticks are counted in a `u32` that may wrap round; deadlines lie less than half its range ahead.

use super::chunks::Chunks;

/// Bits of a level's index: 64 buckets, one word of occupancy.
const LEVEL_BITS: u32 = 6;
/// Six levels cover all bits of a tick; the last has four buckets.
const LEVELS: usize = 6;
const TOP: u32 = 5;
/// End of a list.
const NONE: u32 = u32::MAX;
/// `previous` of the first entry of bucket `b` is `FIRST_OF + b`.
const FIRST_OF: u32 = u32::MAX - 1 - 64 * (TOP + 1);
/// `previous` of an entry that is not linked.
const UNLINKED: u32 = u32::MAX - 1;

#[derive(Debug, Clone, Copy)]
struct Entry {
    previous: u32,
    next: u32,
    deadline: u32,
}

const VACANT: Entry = Entry {
    previous: UNLINKED,
    next: NONE,
    deadline: 0,
};

/// Deadlines of slots, one per slot at most.
#[derive(Debug)]
pub(super) struct Wheel {
    entries: Chunks<Entry>,
    first: [u32; 64 * LEVELS],
    occupied: [u64; LEVELS],
    cursor: u32,
    /// The next tick with work for [`Wheel::advance`]; may be too early after a removal.
    due: Option<u32>,
}

impl Wheel {
    /// Makes an empty wheel that stands at `now`.
    #[must_use]
    pub(super) fn new(now: u32) -> Self {
        Self {
            entries: Chunks::new(),
            first: [NONE; 64 * LEVELS],
            occupied: [0; LEVELS],
            cursor: now,
            due: None,
        }
    }

    /// Returns how many ticks from `now` have no work; none = there is no deadline.
    #[must_use]
    pub(super) fn quiet_for(&self, now: u32) -> Option<u32> {
        let due = self.due?;
        Some(if is_past(due, now) {
            0
        } else {
            due.wrapping_sub(now)
        })
    }

    /// Sets the deadline of `slot`, whether it had one or not.
    pub(super) fn set(&mut self, slot: u32, deadline: u32) {
        self.remove(slot);
        let place = self.link(slot, deadline);
        let start = self.start_of(place);
        if self.due.is_none_or(|due| is_past(start, due)) {
            self.due = Some(start);
        }
    }

    /// Forgets the deadline of `slot`, if it has one.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(entry) = self.entries.get(slot).copied() else {
            return;
        };
        if entry.previous == UNLINKED {
            return;
        }
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = VACANT;
        }
        if let Some(next) = self.entries.get_mut(entry.next) {
            next.previous = entry.previous;
        }
        if entry.previous < FIRST_OF {
            if let Some(previous) = self.entries.get_mut(entry.previous) {
                previous.next = entry.next;
            }
        } else {
            self.set_first(entry.previous - FIRST_OF, entry.next);
        }
    }

    /// Moves to `now`, removes every deadline that has passed, and appends its slot to `reached`.
    pub(super) fn advance(&mut self, now: u32, reached: &mut Vec<u32>) {
        while let Some((place, start)) = self.next_place() {
            if !is_past(start, now) {
                break;
            }
            self.cursor = start;
            let mut slot = self.first.get(place as usize).copied().unwrap_or(NONE);
            self.set_first(place, NONE);
            while let Some(entry) = self.entries.get_mut(slot) {
                let found = std::mem::replace(entry, VACANT);
                if is_past(found.deadline, now) {
                    reached.push(slot);
                } else {
                    self.link(slot, found.deadline);
                }
                slot = found.next;
            }
        }
        if is_past(self.cursor, now) {
            self.cursor = now;
        }
        self.due = self.next_place().map(|(_, start)| start);
    }

    /// Links an unlinked slot; returns its bucket.
    fn link(&mut self, slot: u32, deadline: u32) -> u32 {
        let when = if is_past(deadline, self.cursor) {
            self.cursor.wrapping_add(1)
        } else {
            deadline
        };
        // The highest bit that differs gives the level on which they differ; it is never 0.
        let level = (self.cursor ^ when).ilog2() / LEVEL_BITS;
        let place = level * 64 + ((when >> (level * LEVEL_BITS)) & 63);
        let next = self.first.get(place as usize).copied().unwrap_or(NONE);
        self.entries.grow_to_hold(slot, || VACANT);
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = Entry {
                previous: FIRST_OF + place,
                next,
                deadline,
            };
        }
        if let Some(next) = self.entries.get_mut(next) {
            next.previous = slot;
        }
        self.set_first(place, slot);
        place
    }

    fn set_first(&mut self, place: u32, slot: u32) {
        if let Some(first) = self.first.get_mut(place as usize) {
            *first = slot;
        }
        if let Some(occupied) = self.occupied.get_mut((place / 64) as usize) {
            let bit = 1 << (place % 64);
            if slot == NONE {
                *occupied &= !bit;
            } else {
                *occupied |= bit;
            }
        }
    }

    /// Returns the bucket that is due first, and its first tick.
    fn next_place(&self) -> Option<(u32, u32)> {
        // An occupied bucket of a lower level always comes before those of higher ones.
        let (level, occupied) = (0..).zip(&self.occupied).find(|(_, bits)| **bits != 0)?;
        let here = self.cursor >> (level * LEVEL_BITS);
        // The top level's four buckets form a circle: seen sixteen times.
        let circle = if level == TOP {
            occupied * 0x1111_1111_1111_1111
        } else {
            *occupied
        };
        let ahead = circle.rotate_right(here & 63).trailing_zeros();
        let bucket = here.wrapping_add(ahead);
        let mask = if level == TOP { 3 } else { 63 };
        let start = bucket << (level * LEVEL_BITS);
        Some((level * 64 + (bucket & mask), start))
    }

    /// Returns the first tick of a bucket that is ahead of the cursor.
    fn start_of(&self, place: u32) -> u32 {
        let (shift, buckets) = (
            place / 64 * LEVEL_BITS,
            if place / 64 == TOP { 4 } else { 64 },
        );
        let here = self.cursor >> shift;
        let ahead = (place % 64).wrapping_sub(here) & (buckets - 1);
        here.wrapping_add(ahead) << shift
    }
}

/// Returns whether `tick` is reached at `now`, across the wrap.
pub(super) fn is_past(tick: u32, now: u32) -> bool {
    now.wrapping_sub(tick).cast_signed() >= 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Advances the wheel whenever it asks for it, and returns (slot, tick) in order of report.
    fn run(start: u32, deadlines: &[u32], until: u32) -> (Vec<(u32, u32)>, u32) {
        let mut wheel = Wheel::new(start);
        for (slot, ahead) in (0..).zip(deadlines) {
            wheel.set(slot, start.wrapping_add(*ahead));
        }
        let (mut seen, mut reached, mut ahead, mut wakes) = (vec![], vec![], 0, 0);
        while let Some(quiet) = wheel.quiet_for(start.wrapping_add(ahead)) {
            ahead += quiet;
            if ahead > until {
                break;
            }
            wakes += 1;
            wheel.advance(start.wrapping_add(ahead), &mut reached);
            seen.extend(reached.drain(..).map(|slot| (slot, ahead)));
        }
        (seen, wakes)
    }

    #[test]
    fn deadlines_are_met_to_the_tick_on_every_level_and_across_the_wrap() {
        let deadlines = [1, 2, 63, 64, 65, 4095, 4096, 262_144, 5_400_000, 1 << 30];
        for start in [0, 1, 63, 4_000, u32::MAX - 5, u32::MAX - 100_000, 1 << 30] {
            let (seen, wakes) = run(start, &deadlines, u32::MAX / 2);
            let expected: Vec<_> = (0..).zip(deadlines).collect();
            assert_eq!(seen, expected, "start {start}");
            assert!(wakes <= 6 * 10, "{wakes} wake-ups from {start}");
        }
    }

    #[test]
    fn a_far_deadline_wakes_rarely() {
        let day = 24 * 3600 * 1000 / 16;
        let (seen, wakes) = run(12_345, &[day], day);
        assert_eq!(seen, [(0, day)]);
        assert!(wakes <= 6, "{wakes}");
    }

    #[test]
    fn what_was_removed_or_set_anew_is_not_reported() {
        let mut wheel = Wheel::new(7);
        for slot in 0..3 {
            wheel.set(slot, 20);
        }
        wheel.remove(1);
        wheel.remove(1);
        wheel.remove(9);
        wheel.set(2, 3000);
        let mut reached = vec![];
        wheel.advance(19, &mut reached);
        assert_eq!(reached, [0; 0]);
        wheel.advance(2999, &mut reached);
        assert_eq!(reached, [0]);
        wheel.advance(3000, &mut reached);
        assert_eq!(reached, [0, 2]);
        assert_eq!(wheel.quiet_for(3000), None);
    }

    proptest! {
        #[test]
        fn equals_a_sorted_map(
            start in any::<u32>(),
            steps in proptest::collection::vec((0..40u32, 0..3u8, 0..300_000u32), 1..200),
        ) {
            let (mut wheel, mut model) = (Wheel::new(start), BTreeMap::new());
            let (mut now, mut reached) = (0u32, vec![]);
            for (slot, kind, ahead) in steps {
                match kind {
                    0 => { wheel.set(slot, start.wrapping_add(now + ahead)); model.insert(slot, now + ahead); }
                    1 => { wheel.remove(slot); model.remove(&slot); }
                    _ => {
                        now += ahead / 50;
                        wheel.advance(start.wrapping_add(now), &mut reached);
                        reached.sort_unstable();
                        let due: Vec<_> = model.iter().filter(|(_, at)| **at <= now).map(|(slot, _)| *slot).collect();
                        // A deadline that was past when it was set is reported at the next tick.
                        for slot in &reached { prop_assert!(due.contains(slot), "early {slot}"); }
                        for slot in due {
                            let past_when_set = model[&slot] == now && !reached.contains(&slot);
                            if !past_when_set { prop_assert!(reached.contains(&slot), "late {slot}"); model.remove(&slot); }
                        }
                        reached.clear();
                    }
                }
                if let Some(next) = model.values().min() {
                    let quiet = wheel.quiet_for(start.wrapping_add(now));
                    prop_assert!(quiet.is_some_and(|q| now + q <= (*next).max(now + 1)), "sleeps too long");
                }
            }
        }
    }
}
