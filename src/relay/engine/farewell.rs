//! The end of a tunnel, once no poll refers to it: last bytes to both peers, close, log entry.

use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;

use super::Engine;
use crate::journal::{Entry, Path, Side};
use crate::proto::websocket::frames::GOING_AWAY;
use crate::relay::pump;
use crate::relay::table::{Cold, Slot};
use crate::relay::tunnel::{Close, End, Flow};
use crate::sys::{ktls, stream};

/// Receives that empty a connection before it is closed, so that the close does not become a reset.
const FAREWELL_READS: usize = 4;

/// Records without data that are taken meanwhile where the kernel opens them; each needs a receive of its own.
const FAREWELL_RECORDS: usize = 64;

impl Engine<'_> {
    /// Sends the last bytes to both ends, returns every resource, closes both ends and writes the entry.
    pub(super) fn release(&mut self, index: u32) {
        self.current = Some(index);
        self.wheel.remove(index);
        let Some((slot, cold)) = self.table.both_mut(index) else {
            return;
        };
        for flow in Flow::BOTH {
            pump::return_pipe(slot, &mut self.gear, flow);
        }
        let close = cold.close.unwrap_or(Close::BY_ERROR);
        #[cfg(test)]
        crate::relay::tests::panic_at_the_end_if_asked(cold);
        let frames = cold.frames.take().map(|id| self.gear.followed.end(id));
        let says_goodbye = close.goodbye && frames.is_some_and(|frames| frames.at_boundary());
        let goodbye: &[u8] = if says_goodbye { &GOING_AWAY } else { b"" };
        part_from_peers(slot, cold, close, goodbye, &mut self.gear.buffer);
        if says_goodbye && let Some(client) = slot.take_client() {
            self.partings.add(client, self.now);
        }
        self.bury(index);
    }

    /// Takes a tunnel out of the table, which closes both ends, and writes the entry.
    pub(super) fn bury(&mut self, index: u32) {
        self.current = None;
        let Some((tunnel, mut cold)) = self.table.remove(index) else {
            return;
        };
        cold.count(&tunnel, self.shared.journal.tally());
        if let Some(id) = cold.frames.take() {
            self.gear.followed.end(id);
        }
        let close = cold.close.unwrap_or(Close::BY_ERROR);
        self.released += 1;
        if self.table.len() == 0 {
            self.gear.pipes.close_all();
        }
        let [path_in, path_out] = Flow::BOTH.map(|flow| Path {
            offload: cold.legs().map(|it| it.offloaded(&tunnel, flow)),
            ..tunnel.path(flow)
        });
        let detail = cold.legs().map_or_else(String::new, |leg| leg.told());
        if let Some(subject) = cold.subject {
            let lasted = subject.started.elapsed().unwrap_or_default();
            self.shared.journal.note(Entry::Close {
                subject,
                cause: close.cause,
                detail,
                bytes_in: tunnel.bytes_in(),
                bytes_out: tunnel.bytes_out(),
                path_in,
                path_out,
                lasted,
            });
        }
        drop(cold.lease);
    }

    /// Releases every tunnel, armed or not, because the poller goes away as well.
    pub(super) fn release_all(&mut self) {
        for index in self.table.all() {
            if catch_unwind(AssertUnwindSafe(|| self.release(index))).is_err() {
                self.bury(index);
            }
        }
    }
}

/// Sends the last bytes to both ends; the client gets `goodbye` first.
fn part_from_peers(slot: &Slot, cold: &mut Cold, close: Close, goodbye: &[u8], buffer: &mut [u8]) {
    let we_close = close.cause.side() == Side::Proxy;
    for flow in Flow::BOTH {
        let (end, cut) = (flow.target(), slot.tunnel.held(flow) > 0);
        let data = match end {
            End::Client => goodbye,
            End::Server => b"",
        };
        let Some(fd) = slot.fd(end).filter(|_| close.reset != Some(end)) else {
            continue;
        };
        match cold.leg(end) {
            Some(leg) => {
                let said = leg.say_farewell(fd, we_close, cut, data, buffer);
                if said {
                    say_farewell(fd, buffer);
                }
            }
            // Four bytes are sent whole or, where there is no room, not at all.
            None if !data.is_empty() => drop(stream::transmit(fd, data)),
            None => {}
        }
    }
    if let Some(fd) = close.reset.and_then(|end| slot.fd(end)) {
        let _ = stream::reset_on_close(fd);
    } else if we_close {
        for fd in [slot.fd(End::Client), slot.fd(End::Server)]
            .into_iter()
            .flatten()
        {
            say_farewell(fd, buffer);
        }
    }
}

/// Shuts a connection down and reads what is left: unread bytes would turn the close into a reset, which
/// could overtake the bytes we sent.
fn say_farewell(fd: BorrowedFd<'_>, buffer: &mut [u8]) {
    // It fails if the peer is gone; then nothing is left to do.
    if stream::shut_down_write(fd).is_err() {
        return;
    }
    let (mut reads, mut records) = (0, 0);
    while reads < FAREWELL_READS && records < FAREWELL_RECORDS {
        match stream::receive(fd, buffer) {
            Ok(0) => return,
            Ok(_) => reads += 1,
            // The kernel opens the records, and the next one is not data.
            Err(Errno::EIO) if ktls::receive_control(fd, buffer).is_ok() => records += 1,
            Err(_) => return,
        }
    }
}
