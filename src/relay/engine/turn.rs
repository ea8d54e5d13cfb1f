//! One turn of a tunnel: started by a notice of the poller, or by an earlier turn that yielded.

use std::os::fd::AsFd;

use super::ticks::deadline;
use super::{BELL, Engine, WARM_TICKS};
use crate::journal::Cause;
use crate::proto::readiness::{Notice, Readiness};
use crate::relay::pump::{self, Stop};
use crate::relay::table::{Stage, Token};
use crate::relay::tunnel::{End, Flow};
use crate::sys::ktls;

impl Engine<'_> {
    pub(super) fn on_notice(&mut self, notice: Notice) {
        if notice.token == BELL {
            self.rung = true;
            if !notice.armed {
                self.arm_bell();
            }
            return;
        }
        let token = Token(notice.token);
        let index = token.slot();
        let Some(slot) = self.table.find(token) else {
            return;
        };
        if !notice.armed {
            let [client, server] = &mut slot.armed;
            match token.end() {
                End::Client => *client = false,
                End::Server => *server = false,
            }
            if slot.stage == Stage::Leaving {
                self.leaving.push(index);
                return;
            }
            if notice.failed {
                return self.end(index, Cause::OutOfResources);
            }
            self.arm(index, token.end());
        }
        let Some(slot) = self.table.slot_mut(index) else {
            return;
        };
        if !slot.is_running() {
            return;
        }
        self.current = Some(index);
        let ready = self.reconsider(index, token.end(), notice.ready);
        let Some(slot) = self.table.slot_mut(index) else {
            return;
        };
        match slot.tunnel.on_ready(token.end(), ready) {
            Some(close) => self.leave(index, close),
            None => self.serve(index),
        }
    }

    /// If the kernel opens the records of an end, one broken record does not break the end yet: the error
    /// shows when the data before it has been read.
    fn reconsider(&mut self, index: u32, end: End, ready: Readiness) -> Readiness {
        if !ready.has(Readiness::BROKEN) {
            return ready;
        }
        let Some((slot, cold)) = self.table.both_mut(index) else {
            return ready;
        };
        if !slot.tunnel.is_opened_by_kernel(Flow::from(end)) {
            return ready;
        }
        let (Some(peer), Some(leg)) = (slot.fd(end), cold.leg(end)) else {
            return ready;
        };
        if leg.note_error(ktls::take_error(peer)) {
            Readiness::READABLE | Readiness::STICKY | Readiness::WRITABLE
        } else {
            ready
        }
    }

    fn arm_bell(&mut self) {
        // Without the bell no tunnel could be adopted any more, so keep trying.
        if self.poller.arm(self.shared.bell.as_fd(), BELL).is_err() {
            self.rung = true;
        }
    }

    /// Pumps every flow that can run, each once.
    pub(super) fn serve(&mut self, index: u32) {
        self.current = Some(index);
        let Some((slot, cold)) = self.table.both_mut(index) else {
            return;
        };
        let mut yielded = [false; 2];
        loop {
            let runs = |flow: &Flow| !yielded[*flow as usize] && slot.tunnel.can_run(*flow);
            let Some(flow) = Flow::BOTH.into_iter().find(runs) else {
                break;
            };
            match pump::run(slot, cold, &mut self.gear, flow, self.now) {
                Stop::Waits => {}
                Stop::Yields => yielded[flow as usize] = true,
                Stop::Closes(close) => return self.leave(index, close),
            }
        }
        if yielded.contains(&true) && !slot.queued {
            slot.queued = true;
            self.yielded.push_back(index);
        }
        if Flow::BOTH
            .into_iter()
            .any(|flow| slot.tunnel.makes_records(flow))
            && let Some(leg) = cold.legs()
            && leg.becomes_warm()
        {
            let due = self.now.wrapping_add(WARM_TICKS);
            self.warm.add((index, slot.generation()), due);
        }
        if slot.stage == Stage::Open && slot.tunnel.is_half_closed() {
            slot.stage = Stage::HalfClosed;
            slot.last_active = self.now;
            let deadline = deadline(self.now, cold.half_close);
            self.wheel.set(index, deadline);
        }
        self.current = None;
    }

    pub(super) fn take_turn(&mut self, index: u32) {
        let Some(slot) = self.table.slot_mut(index) else {
            return;
        };
        // The tunnel may have ended and its slot been reused; a turn for the new tunnel does no harm.
        if std::mem::take(&mut slot.queued) && slot.is_running() {
            self.serve(index);
        }
    }
}
