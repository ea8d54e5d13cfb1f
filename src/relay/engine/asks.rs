//! Answers questions about a thread's tunnels that other threads ask.

use std::time::Duration;

use super::Engine;
use super::ticks::TICK_MS;
use crate::journal::{Cause, Path};
use crate::relay::inspect::{Ask, BUSIEST_LEN, Glance, Page, SLICE_LEN, Settled, TunnelId};
use crate::relay::table::{Cold, Slot};
use crate::relay::tunnel::{End, Flow};

impl Engine<'_> {
    /// Answers one question. The asking side may be gone, which does no harm.
    pub(super) fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Inspect(from, answer) => {
                let _ = answer.send(self.inspect(from));
            }
            Ask::Settle(from, answer) => {
                let _ = answer.send(self.settle(from));
            }
            Ask::End(id, cause, answer) => {
                let _ = answer.send(self.end_one(id, cause));
            }
        }
    }

    fn inspect(&mut self, from: u32) -> Page {
        let (slice, next) = self.slice(from);
        let (thread, now) = (self.shared.index, self.now);
        let tunnels = slice.filter_map(|index| {
            let (slot, cold) = self.table.both_mut(index)?;
            glance(thread, index, slot, cold, now)
        });
        Page {
            tunnels: tunnels.collect(),
            next,
        }
    }

    fn settle(&mut self, from: u32) -> Settled {
        let (slice, next) = self.slice(from);
        let mut settled = Settled {
            next,
            pipes: self.gear.pipes.count(),
            overflows: self.poller.overflows(),
            ..Settled::default()
        };
        let tally = self.shared.journal.tally();
        let mut moved: Vec<(u64, u32)> = Vec::with_capacity(slice.len());
        for index in slice {
            let Some((slot, cold)) = self.table.both_mut(index) else {
                continue;
            };
            if !slot.is_running() {
                continue;
            }
            let more = cold.count(&slot.tunnel, tally);
            if more > 0 {
                moved.push((more, index));
            }
            for flow in Flow::BOTH {
                let state = cold.legs().map(|it| it.offloaded(&slot.tunnel, flow));
                let ways = &mut settled.offload[flow as usize];
                if let Some(count) = state.and_then(|state| ways.get_mut(state as usize)) {
                    *count += 1;
                }
            }
        }
        moved.sort_unstable_by(|one, other| other.cmp(one));
        moved.truncate(BUSIEST_LEN);
        let (thread, now) = (self.shared.index, self.now);
        let busiest = moved.into_iter().filter_map(|(more, index)| {
            let (slot, cold) = self.table.both_mut(index)?;
            Some((more, glance(thread, index, slot, cold, now)?))
        });
        settled.busiest = busiest.collect();
        settled
    }

    /// Returns the slots to look at from `from` on, and where the next look begins.
    fn slice(&self, from: u32) -> (std::ops::Range<u32>, Option<u32>) {
        let end = self.table.all().end;
        let until = from.saturating_add(SLICE_LEN).min(end);
        (from..until, (until < end).then_some(until))
    }

    fn end_one(&mut self, id: TunnelId, cause: Cause) -> bool {
        let index = id.slot();
        let is_it = |slot: &Slot| {
            slot.is_running() && TunnelId::new(self.shared.index, index, slot.generation()) == id
        };
        let found = self.table.slot(index).is_some_and(is_it);
        if found {
            self.end(index, cause);
        }
        found
    }
}

fn glance(thread: usize, index: u32, slot: &Slot, cold: &mut Cold, now: u32) -> Option<Glance> {
    if !slot.is_running() {
        return None;
    }
    let tunnel = &slot.tunnel;
    let [path_in, path_out] = Flow::BOTH.map(|flow| Path {
        offload: cold.legs().map(|it| it.offloaded(tunnel, flow)),
        ..tunnel.path(flow)
    });
    let of_client = cold.leg(End::Client);
    let tls = of_client.map(|leg| leg.suite_name());
    let subject = cold.subject.as_ref()?;
    let idle = now.wrapping_sub(slot.last_active);
    Some(Glance {
        id: TunnelId::new(thread, index, slot.generation()),
        listener: subject.listener.clone(),
        peer: subject.peer,
        client: subject.client,
        backend: subject.backend.clone(),
        server: subject.server.clone(),
        started: subject.started,
        idle: Duration::from_millis(u64::from(idle) * TICK_MS),
        half_closed: tunnel.is_half_closed(),
        bytes_in: tunnel.bytes_in(),
        bytes_out: tunnel.bytes_out(),
        path_in,
        path_out,
        tls,
    })
}
