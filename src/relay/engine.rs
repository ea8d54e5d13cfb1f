//! The loop of a relay thread: wait for a batch of notices, serve every tunnel it names, then those
//! that had to yield, then time, then the ends; one system call per batch beside those that move
//! bytes.
//!
//! A panic while one tunnel is served ends that tunnel only. Everything a batch has to do is taken
//! from a queue before it is begun, so that the batch goes on where it was.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::followed::Followed;
use super::inbox::{Shared, end_unseen};
use super::partings::Partings;
use super::pipes::Pipes;
use super::poller::{Poller, PollerChoice, PollerInUse};
use super::progress::Rounds;
use super::pump::{self, Gear, Stop};
use super::start::Start;
use super::stats::Means;
use super::table::{Admission, Slot, Stage, Table, Token};
use super::timer::{Wheel, is_past};
use super::tunnel::{BUFFER_BYTES, Close, End, Flow, Tunnel};
use super::warm::Warm;
use crate::journal::{Cause, Entry};
use crate::proto::readiness::{Notice, Readiness};
use crate::proto::websocket::frames::Frames;
use crate::sys::{clock, ktls, thread};

mod asks;
mod farewell;

/// Length of a tick of the wheel.
const TICK_MS: u64 = 16;
/// Ticks added to every deadline, because the clock is read once per batch and counts in steps:
/// silence may last a little longer than said, but never shorter.
const GRACE_TICKS: u32 = 2;
/// Longest timeout, about 200 days; a longer one is as good as none.
const TIMEOUT_TICKS_MAX: u32 = 1 << 30;
/// A tunnel that moved nothing for so long drops its ciphers: 2 seconds.
const WARM_TICKS: u32 = 125;
/// Token of the bell; no slot has this number.
const BELL: u64 = u64::MAX - 1;
/// Room for so many new tunnels is kept from batch to batch.
const STARTS_KEPT: usize = 64;

/// Runs until a stop was asked for and no tunnel is left.
pub(super) fn run(
    shared: &Shared,
    cpu: Option<usize>,
    choice: PollerChoice,
    report: &SyncSender<io::Result<PollerInUse>>,
) {
    // A thread that may not be pinned is slower, not wrong.
    let pinned = cpu.map_or(Ok(()), thread::pin_to);
    if let Err(error) = pinned {
        tracing::debug!("relay thread runs unpinned: {error}");
    }
    let door = Door(shared);
    let made = Engine::new(shared, choice);
    let (mut engine, poller) = match made {
        Ok(made) => made,
        Err(error) => {
            // The spawner waits for this; if it is gone, so is the reason to run.
            let _ = report.send(Err(error));
            return;
        }
    };
    let _ = report.send(Ok(poller));
    if let Err(error) = engine.turn_until_stopped() {
        tracing::error!("relay thread cannot wait for readiness: {error}");
    }
    engine.end_some(usize::MAX, Cause::InternalError);
    engine.release_all();
    drop(door);
}

/// Closes the inbox when the thread ends, in whatever way, so that no tunnel is lost in it.
struct Door<'a>(&'a Shared);

impl Drop for Door<'_> {
    fn drop(&mut self) {
        let mut inbox = self.0.inbox();
        inbox.closed = true;
        let starts = std::mem::take(&mut inbox.starts);
        inbox.asks.clear();
        drop(inbox);
        for start in starts {
            end_unseen(&self.0.journal, start, Cause::InternalError);
        }
        self.0.alive.store(0, Ordering::Relaxed);
    }
}

struct Engine<'a> {
    shared: &'a Shared,
    poller: Poller,
    table: Table,
    wheel: Wheel,
    warm: Warm,
    partings: Partings,
    /// Where tunnels that go on get lines.
    rounds: Option<Rounds>,
    gear: Gear,
    /// In ticks; read once per batch.
    now: u32,
    /// The batch, and the first of it that was not begun.
    notices: Vec<Notice>,
    next_notice: usize,
    rung: bool,
    /// Taken from the inbox and not yet in the table.
    starts: Vec<Start>,
    /// Slots that yielded, and how many of them belong to this batch.
    yielded: VecDeque<u32>,
    turns_left: usize,
    /// Slots whose deadline is there.
    reached: Vec<u32>,
    /// Slots whose tunnel has ended.
    leaving: Vec<u32>,
    /// The slot that is being served.
    current: Option<u32>,
    released: usize,
    stop_when_empty: bool,
}

impl<'a> Engine<'a> {
    fn new(shared: &'a Shared, choice: PollerChoice) -> io::Result<(Self, PollerInUse)> {
        let (mut poller, in_use) = Poller::new(choice)?;
        poller.arm(shared.bell.as_fd(), BELL)?;
        let now = ticks_now();
        let engine = Self {
            shared,
            poller,
            table: Table::new(),
            wheel: Wheel::new(now),
            warm: Warm::default(),
            partings: Partings::default(),
            rounds: (shared.journal.progress())
                .map(|interval| Rounds::new(ticks_of(interval).max(1), now)),
            gear: Gear {
                buffer: vec![0; BUFFER_BYTES as usize].into_boxed_slice(),
                plain: Vec::new(),
                pipes: Pipes::default(),
                followed: Followed::new(),
                stats: Arc::clone(&shared.stats),
            },
            now,
            notices: Vec::with_capacity(4096),
            next_notice: 0,
            rung: false,
            starts: Vec::new(),
            yielded: VecDeque::new(),
            turns_left: 0,
            reached: Vec::new(),
            leaving: Vec::new(),
            current: None,
            released: 0,
            stop_when_empty: false,
        };
        Ok((engine, in_use))
    }

    fn turn_until_stopped(&mut self) -> io::Result<()> {
        loop {
            let timeout = self.patience();
            self.notices.clear();
            self.next_notice = 0;
            self.poller.wait(&mut self.notices, timeout)?;
            self.now = ticks_now();
            self.turns_left = self.yielded.len();
            while let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve_batch())) {
                // The hook has printed it; the tunnel it happened in ends.
                drop(panic);
                if let Some(index) = self.current.take() {
                    self.end(index, Cause::InternalError);
                }
            }
            if self.released > 0 {
                let alive = &self.shared.alive;
                alive.fetch_sub(std::mem::take(&mut self.released), Ordering::Relaxed);
            }
            let empty = self.table.len() == 0 && self.partings.is_empty();
            if self.stop_when_empty && empty && self.close_door() {
                return Ok(());
            }
        }
    }

    /// Returns how long the next wait may take.
    fn patience(&self) -> Option<Duration> {
        if !self.yielded.is_empty() || !self.leaving.is_empty() {
            return Some(Duration::ZERO);
        }
        let rounds = self.rounds.as_ref().filter(|_| self.table.len() > 0);
        let quiet = [
            self.wheel.quiet_for(self.now),
            self.warm.quiet_for(self.now),
            self.partings.quiet_for(self.now),
            rounds.map(|rounds| rounds.quiet_for(self.now)),
        ];
        let quiet = quiet.into_iter().flatten().min()?;
        Some(Duration::from_millis(u64::from(quiet) * TICK_MS))
    }

    /// Closes the inbox if it is empty.
    fn close_door(&self) -> bool {
        let mut inbox = self.shared.inbox();
        inbox.closed = inbox.starts.is_empty();
        inbox.closed
    }

    fn serve_batch(&mut self) {
        while let Some(notice) = self.notices.get(self.next_notice).copied() {
            self.next_notice += 1;
            self.on_notice(notice);
        }
        if std::mem::take(&mut self.rung) {
            self.empty_inbox();
        }
        while let Some(start) = self.starts.pop() {
            self.adopt(start);
        }
        if self.starts.capacity() > STARTS_KEPT {
            self.starts = Vec::new();
        }
        while self.turns_left > 0 {
            self.turns_left -= 1;
            if let Some(index) = self.yielded.pop_front() {
                self.take_turn(index);
            }
        }
        if self.wheel.quiet_for(self.now) == Some(0) {
            self.wheel.advance(self.now, &mut self.reached);
        }
        while let Some(index) = self.reached.pop() {
            self.on_deadline(index);
        }
        self.cool();
        self.tell_progress();
        self.partings.look(self.now, &mut self.gear.buffer);
        self.see_off();
    }

    fn on_notice(&mut self, notice: Notice) {
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
        let ready = self.reconsider(index, token.end(), notice.ready);
        let Some(slot) = self.table.slot_mut(index) else {
            return;
        };
        match slot.tunnel.on_ready(token.end(), ready) {
            Some(close) => self.leave(index, close),
            None => self.serve(index),
        }
    }

    /// An end whose records the kernel opens is not broken because one of them is: that shows when what
    /// came before it has been read.
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
        // Without the bell nothing could be adopted any more: trying again is all there is.
        if self.poller.arm(self.shared.bell.as_fd(), BELL).is_err() {
            self.rung = true;
        }
    }

    /// Pumps every flow that can run, each once.
    fn serve(&mut self, index: u32) {
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

    fn take_turn(&mut self, index: u32) {
        let Some(slot) = self.table.slot_mut(index) else {
            return;
        };
        // It may have ended, and the slot even have another tunnel, which does no harm.
        if std::mem::take(&mut slot.queued) && slot.is_running() {
            self.serve(index);
        }
    }

    fn empty_inbox(&mut self) {
        let mut inbox = self.shared.inbox();
        if self.starts.is_empty() {
            // The room of a rush goes with it instead of staying in the inbox.
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

    fn adopt(&mut self, mut start: Start) {
        let payload = [start.to_server.len() as u64, start.to_client.len() as u64];
        let mut frames = Frames::default();
        frames.feed(&start.to_client);
        let [of_client, of_server] = &mut start.legs;
        let sealed = [
            (of_server, &mut start.to_server),
            (of_client, &mut start.to_client),
        ];
        for (leg, early) in sealed {
            if let Some(leg) = leg
                && !early.is_empty()
            {
                // A seal that fails leaves nothing to send; the next one fails too and ends the tunnel.
                *early = leg.seal_early(early).unwrap_or_default();
            }
        }
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
        let means = if protected {
            Means::UserRecords
        } else {
            Means::Copy
        };
        let stats = &self.gear.stats;
        for (flow, bytes) in Flow::BOTH.into_iter().zip(payload) {
            stats.note(flow, means, bytes);
        }
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
        self.arm(index, End::Client);
        self.arm(index, End::Server);
        if held_to_server > 0 || held_to_client > 0 || protected {
            self.serve(index);
        }
        self.current = None;
    }

    /// Follows the frames to the client from where those that came early end.
    fn follow_frames(&mut self, index: u32, frames: Frames) {
        if let Some((slot, cold)) = self.table.both_mut(index) {
            cold.frames = self.gear.followed.begin(frames);
            if cold.frames.is_some() {
                slot.tunnel.follow_frames();
            }
        }
    }

    fn arm(&mut self, index: u32, end: End) {
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

    /// Looks whether the silence was long enough; if not, looks again when it may be.
    fn on_deadline(&mut self, index: u32) {
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

    /// Lets tunnels that moved nothing lately drop their ciphers.
    fn cool(&mut self) {
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

    /// Writes entries of tunnels that go on, of some of them at a time.
    fn tell_progress(&mut self) {
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
                // Short ones leave no such line.
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

    fn end_some(&mut self, count: usize, cause: Cause) {
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

    fn end(&mut self, index: u32, cause: Cause) {
        if let Some(slot) = self.table.slot_mut(index)
            && slot.is_running()
        {
            // A panic may have come between the tunnel's own end and its being noted here.
            let close = slot.tunnel.end(cause).unwrap_or(Close {
                cause,
                ..Close::BY_ERROR
            });
            self.leave(index, close);
        }
    }

    /// Notes that a tunnel has ended.
    fn leave(&mut self, index: u32, close: Close) {
        if let Some((slot, cold)) = self.table.both_mut(index) {
            slot.stage = Stage::Ended;
            cold.close = Some(close);
            self.leaving.push(index);
        }
        self.current = None;
    }

    /// Cancels the polls of tunnels that have ended, and releases those that have none.
    fn see_off(&mut self) {
        // Only those of now: a cancelling that fails is tried again in the next batch.
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
            // Where cancelling fails the close is all that is left to try.
            slot.armed[end as usize] = !self.poller.cancel(fd, token.0).unwrap_or(true);
        }
    }
}

fn deadline(since: u32, timeout: u32) -> u32 {
    since.wrapping_add(timeout).wrapping_add(GRACE_TICKS)
}

/// Rounds up, so that no timeout is shorter than asked for.
fn ticks_of(timeout: Duration) -> u32 {
    let ticks = timeout.as_millis().div_ceil(u128::from(TICK_MS));
    u32::try_from(ticks).map_or(TIMEOUT_TICKS_MAX, |ticks| ticks.min(TIMEOUT_TICKS_MAX))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "ticks wrap, and the wheel knows"
)]
fn ticks_now() -> u32 {
    (clock::coarse().as_millis() / u128::from(TICK_MS)) as u32
}
