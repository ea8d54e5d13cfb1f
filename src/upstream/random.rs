//! Random numbers that need not be secret.

use crate::balance;

/// Returns a random number, good enough for spreading load and for nothing else.
pub(super) fn random() -> u64 {
    use std::cell::Cell;
    use std::hash::{BuildHasher, RandomState};
    thread_local! {
        // The standard library seeds it from the system, differently for each thread.
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u64));
    }
    STATE.with(|state| {
        // SplitMix64 (Steele, Lea, Flood 2014), whose finaliser the hashes use too.
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        balance::mix(next)
    })
}
