//! Adoption: moves new tunnels from the inbox into the table and arms both ends with the poller.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Engine;
use super::ticks::{deadline, ticks_of};
use crate::journal::Cause;
use crate::proto::websocket::frames::Frames;
use crate::relay::inbox::end_unseen;
use crate::relay::start::Start;
use crate::relay::stats::Means;
use crate::relay::table::Admission;
use crate::relay::tunnel::{End, Flow, Tunnel};

impl Engine<'_> {
    pub(super) fn empty_inbox(&mut self) {
        let mut inbox = self.shared.inbox();
        if self.starts.is_empty() {
            // A burst's capacity is handed over with it instead of staying in the inbox.
            self.starts = std::mem::take(&mut inbox.starts);
        } else {
            self.starts.append(&mut inbox.starts);
        }
        let end = inbox.end.take();
        self.stop_when_empty = inbox.stop_when_empty;
        let (ask, more) = inbox.take_ask();
        drop(inbox);
        if more {
            self.shared.bell.ring();
        }
        if let Some((count, cause)) = end {
            while let Some(start) = self.starts.pop() {
                self.adopt(start);
            }
            self.end_some(count, cause);
        }
        if let Some(ask) = ask {
            self.answer(ask);
        }
    }

    /// Takes a tunnel into the table. One whose early bytes cannot be sealed ends at once.
    pub(super) fn adopt(&mut self, mut start: Start) {
        let prepared = catch_unwind(AssertUnwindSafe(|| prepare(&mut start)));
        let Ok(Prepared {
            payload,
            frames,
            refused,
        }) = prepared
        else {
            self.released += 1;
            return end_unseen(&self.shared.journal, start, Cause::InternalError);
        };
        let (Ok(held_to_server), Ok(held_to_client)) = (
            u32::try_from(start.to_server.len()),
            u32::try_from(start.to_client.len()),
        ) else {
            self.released += 1;
            return end_unseen(&self.shared.journal, start, Cause::InternalError);
        };
        let kernel = &self.shared.kernel_tls;
        let plans = start
            .legs
            .each_mut()
            .map(|leg| Some(leg.as_mut()?.plan(kernel)));
        let protected = plans.iter().any(Option::is_some);
        let tunnel = if protected {
            Tunnel::open_protected([held_to_server, held_to_client], payload, plans)
        } else {
            Tunnel::open(held_to_server, held_to_client)
        };
        self.note_early_bytes(payload, protected);
        let admission = Admission {
            client: start.client,
            server: start.server,
            tunnel,
            timeouts: start.timeouts,
            subject: start.subject,
            lease: start.lease,
            now: self.now,
        };
        let index = self.table.insert(admission, ticks_of);
        self.current = Some(index);
        if start.says_goodbye {
            self.follow_frames(index, frames);
        }
        if let Some((_, cold)) = self.table.both_mut(index) {
            if held_to_server > 0 {
                cold.keep(Flow::ToServer, start.to_server.into_boxed_slice());
            }
            if held_to_client > 0 {
                cold.keep(Flow::ToClient, start.to_client.into_boxed_slice());
            }
            cold.set_legs(start.legs);
            let deadline = deadline(self.now, cold.idle);
            self.wheel.set(index, deadline);
        }
        if let Some(cause) = refused {
            return self.end(index, cause);
        }
        self.arm(index, End::Client);
        self.arm(index, End::Server);
        if held_to_server > 0 || held_to_client > 0 || protected {
            self.serve(index);
        }
        self.current = None;
    }

    fn note_early_bytes(&self, payload: [u64; 2], protected: bool) {
        let means = if protected {
            Means::UserRecords
        } else {
            Means::Copy
        };
        for (flow, bytes) in Flow::BOTH.into_iter().zip(payload) {
            self.gear.stats.note(flow, means, bytes);
        }
    }

    /// Follows the frames to the client, starting where the early ones end.
    fn follow_frames(&mut self, index: u32, frames: Frames) {
        if let Some((slot, cold)) = self.table.both_mut(index) {
            cold.frames = self.gear.followed.begin(frames);
            if cold.frames.is_some() {
                slot.tunnel.follow_frames();
            }
        }
    }

    pub(super) fn arm(&mut self, index: u32, end: End) {
        let Some(token) = self.table.token(index, end) else {
            return;
        };
        let Some(slot) = self.table.slot_mut(index) else {
            return;
        };
        let Some(fd) = slot.fd(end) else { return };
        match self.poller.arm(fd, token.0) {
            Ok(()) => slot.armed[end as usize] = true,
            Err(_) => self.end(index, Cause::OutOfResources),
        }
    }
}

/// What is known of a tunnel before it is in the table.
struct Prepared {
    /// Early bytes for the server and for the client, as they were before they were sealed.
    payload: [u64; 2],
    /// How far the frames to the client have come.
    frames: Frames,
    /// Why the tunnel has to end at once, if it has.
    refused: Option<Cause>,
}

/// Seals the early bytes of `start` where their end speaks TLS. Bytes that cannot be sealed, and those
/// that come behind them, are dropped and not counted.
fn prepare(start: &mut Start) -> Prepared {
    #[cfg(test)]
    crate::relay::tests::panic_at_the_start_if_asked(&start.subject);
    let mut payload = [start.to_server.len() as u64, start.to_client.len() as u64];
    let mut frames = Frames::default();
    frames.feed(&start.to_client);
    let [of_client, of_server] = &mut start.legs;
    let [to_server, to_client] = &mut payload;
    let sealed = [
        (of_server, &mut start.to_server, to_server),
        (of_client, &mut start.to_client, to_client),
    ];
    let mut refused = None;
    for (leg, early, payload) in sealed {
        if refused.is_some() {
            early.clear();
        } else if let Some(leg) = leg
            && !early.is_empty()
        {
            match leg.seal_early(early) {
                Ok(records) => *early = records,
                Err(cause) => {
                    early.clear();
                    refused = Some(cause);
                }
            }
        }
        if refused.is_some() {
            *payload = 0;
        }
    }
    Prepared {
        payload,
        frames,
        refused,
    }
}
