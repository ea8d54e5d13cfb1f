//! Where the records of each flow are handled at each of its two ends, and whether the kernel may take them
//! over: four bits for each, so that a tunnel stays half a cache line.

use super::vocabulary::{End, Flow, RecordKeeper};

/// We make the records.
const BY_US: u16 = 4;
/// The kernel may take the records over when the flow turns bulky.
const MAY_OFFLOAD: u16 = 8;
const GUARD: u16 = 7;

/// The record keepers of a tunnel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guards(u16);

impl Guards {
    fn shift(flow: Flow, end: End) -> u16 {
        flow as u16 * 8 + end as u16 * 4
    }

    pub(super) fn of(self, flow: Flow, end: End) -> RecordKeeper {
        match self.0 >> Self::shift(flow, end) & GUARD {
            0 => RecordKeeper::Nobody,
            1 => RecordKeeper::Kernel,
            2 => RecordKeeper::Rekeying,
            4 => RecordKeeper::Records,
            // The only value left.
            _ => RecordKeeper::Leaving,
        }
    }

    pub(super) fn set(&mut self, flow: Flow, end: End, guard: RecordKeeper) {
        let bits: u16 = match guard {
            RecordKeeper::Nobody => 0,
            RecordKeeper::Kernel => 1,
            RecordKeeper::Rekeying => 2,
            RecordKeeper::Records => BY_US,
            RecordKeeper::Leaving => BY_US | 1,
        };
        let shift = Self::shift(flow, end);
        self.0 = self.0 & !(GUARD << shift) | bits << shift;
    }

    /// Returns whether we open or seal records of `flow`.
    pub(super) fn makes_records(self, flow: Flow) -> bool {
        let both = BY_US | BY_US << 4;
        self.0 & both << (flow as u16 * 8) != 0
    }

    pub(super) fn may_offload(self, flow: Flow, end: End) -> bool {
        self.0 & MAY_OFFLOAD << Self::shift(flow, end) != 0
    }

    pub(super) fn let_offload(&mut self, flow: Flow, end: End) {
        self.0 |= MAY_OFFLOAD << Self::shift(flow, end);
    }

    /// Begins to hand to the kernel everything of `flow` that may go there.
    pub(super) fn leave(&mut self, flow: Flow) {
        for end in [End::Client, End::Server] {
            if self.may_offload(flow, end) {
                self.0 &= !(MAY_OFFLOAD << Self::shift(flow, end));
                self.set(flow, end, RecordKeeper::Leaving);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_set_alone() {
        let guards = [
            RecordKeeper::Records,
            RecordKeeper::Leaving,
            RecordKeeper::Kernel,
            RecordKeeper::Rekeying,
            RecordKeeper::Nobody,
        ];
        let places = Flow::BOTH.map(|flow| [End::Client, End::Server].map(|end| (flow, end)));
        for (flow, end) in places.into_iter().flatten() {
            let mut all = Guards::default();
            all.let_offload(flow, end);
            for guard in guards {
                all.set(flow, end, guard);
                for (other_flow, other_end) in places.into_iter().flatten() {
                    let here = (flow, end) == (other_flow, other_end);
                    let expected = if here { guard } else { RecordKeeper::Nobody };
                    assert_eq!(all.of(other_flow, other_end), expected);
                    assert_eq!(all.may_offload(other_flow, other_end), here);
                }
                let by_us = matches!(guard, RecordKeeper::Records | RecordKeeper::Leaving);
                assert_eq!(all.makes_records(flow), by_us);
            }
            all.leave(flow);
            assert_eq!(all.of(flow, end), RecordKeeper::Leaving);
            assert!(!all.may_offload(flow, end));
        }
    }
}
