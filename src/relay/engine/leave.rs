//! Departure: ended tunnels are noted, taken out of the poller, and then released.

use super::Engine;
use crate::journal::Cause;
use crate::relay::pump;
use crate::relay::table::{Slot, Stage};
use crate::relay::tunnel::{Close, End, Flow};

impl Engine<'_> {
    pub(super) fn end_some(&mut self, count: usize, cause: Cause) {
        let mut left = count;
        for index in self.table.all() {
            if left == 0 {
                break;
            }
            if self.table.slot(index).is_some_and(Slot::is_running) {
                self.end(index, cause);
                left -= 1;
            }
        }
    }

    pub(super) fn end(&mut self, index: u32, cause: Cause) {
        if let Some(slot) = self.table.slot_mut(index)
            && slot.is_running()
        {
            // A panic may have come between the end of the tunnel and the call of this function.
            let close = slot.tunnel.end(cause).unwrap_or(Close {
                cause,
                ..Close::BY_ERROR
            });
            self.leave(index, close);
        }
    }

    /// Ends a tunnel whose code panicked, with an orderly close unless the close itself panicked.
    pub(super) fn end_broken(&mut self, index: u32) {
        // What a splice brought may not have been noted: such a pipe must not be lent again.
        if let Some(slot) = self.table.slot_mut(index) {
            for flow in Flow::BOTH {
                pump::destroy_pipe(slot, &mut self.gear, flow);
            }
        }
        match self.table.slot(index).map(|slot| slot.stage) {
            Some(Stage::Open | Stage::HalfClosed) => self.end(index, Cause::InternalError),
            Some(Stage::Ended | Stage::Leaving) => self.bury(index),
            Some(Stage::Vacant) | None => {}
        }
    }

    /// Notes that a tunnel has ended.
    pub(super) fn leave(&mut self, index: u32, close: Close) {
        if let Some((slot, cold)) = self.table.both_mut(index) {
            slot.stage = Stage::Ended;
            cold.close = Some(close);
            self.leaving.push(index);
        }
        self.current = None;
    }

    /// Cancels the polls of tunnels that have ended, and releases tunnels that have no poll.
    pub(super) fn see_off(&mut self) {
        // Only those present now: a cancellation that fails is tried again in the next batch.
        for _ in 0..self.leaving.len() {
            let Some(index) = self.leaving.pop() else {
                return;
            };
            if self
                .table
                .slot(index)
                .is_some_and(|slot| slot.stage == Stage::Ended)
            {
                self.cancel(index, End::Client);
                self.cancel(index, End::Server);
            }
            let Some(slot) = self.table.slot_mut(index) else {
                continue;
            };
            match (slot.stage, slot.armed) {
                (Stage::Ended | Stage::Leaving, [false, false]) => self.release(index),
                (Stage::Ended, _) => slot.stage = Stage::Leaving,
                (Stage::Vacant | Stage::Open | Stage::HalfClosed | Stage::Leaving, _) => {}
            }
        }
    }

    fn cancel(&mut self, index: u32, end: End) {
        let Some(token) = self.table.token(index, end) else {
            return;
        };
        let Some(slot) = self.table.slot_mut(index) else {
            return;
        };
        let armed = slot.armed[end as usize];
        if let Some(fd) = slot.fd(end)
            && armed
        {
            // If cancelling fails, closing is the only thing left to try.
            slot.armed[end as usize] = !self.poller.cancel(fd, token.0).unwrap_or(true);
        }
    }
}
