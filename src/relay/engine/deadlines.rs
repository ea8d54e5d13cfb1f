//! Work that is due by time: silent tunnels, ciphers of idle tunnels, progress entries.

use super::ticks::deadline;
use super::{Engine, WARM_TICKS};
use crate::journal::Entry;
use crate::relay::table::Stage;
use crate::relay::timer::is_past;

impl Engine<'_> {
    /// Ends the tunnel if it was silent for long enough; if not, sets the next time to check.
    pub(super) fn on_deadline(&mut self, index: u32) {
        let Some((slot, cold)) = self.table.both_mut(index) else {
            return;
        };
        if !slot.is_running() {
            return;
        }
        let timeout = match slot.stage {
            Stage::HalfClosed => cold.half_close,
            Stage::Vacant | Stage::Open | Stage::Ended | Stage::Leaving => cold.idle,
        };
        let deadline = deadline(slot.last_active, timeout);
        if !is_past(deadline, self.now) {
            self.wheel.set(index, deadline);
        } else if let Some(close) = slot.tunnel.expire() {
            self.leave(index, close);
        }
    }

    /// Drops the ciphers of tunnels that moved nothing lately.
    pub(super) fn cool(&mut self) {
        for _ in 0..self.warm.len() {
            let crowded = self.warm.is_crowded();
            let Some((index, generation)) = self.warm.next(self.now) else {
                return;
            };
            let Some((slot, cold)) = self.table.both_mut(index) else {
                continue;
            };
            if slot.generation() != generation {
                continue;
            }
            let Some(leg) = cold.legs() else {
                continue;
            };
            let due = slot.last_active.wrapping_add(WARM_TICKS);
            if crowded || is_past(due, self.now) {
                leg.rest();
            } else {
                self.warm.add((index, generation), due);
            }
        }
    }

    /// Writes progress entries of open tunnels, a few at a time.
    pub(super) fn tell_progress(&mut self) {
        let (Some(rounds), Some(interval)) = (&mut self.rounds, self.shared.journal.progress())
        else {
            return;
        };
        for index in rounds.take(self.now, self.table.all().end) {
            let Some((slot, cold)) = self.table.both_mut(index) else {
                continue;
            };
            let Some(subject) = cold.subject.as_ref().filter(|_| slot.is_running()) else {
                continue;
            };
            let lasted = subject.started.elapsed().unwrap_or_default();
            if lasted < interval {
                // Short tunnels get no progress entry.
                continue;
            }
            self.shared.journal.note(Entry::Progress {
                subject: subject.clone(),
                bytes_in: slot.tunnel.bytes_in(),
                bytes_out: slot.tunnel.bytes_out(),
                lasted,
            });
        }
    }
}
