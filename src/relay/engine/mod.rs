//! The loop of a relay thread: waits for a batch of notices, serves every tunnel named there, then tunnels
//! that had yielded, then deadlines, then ended tunnels. Apart from calls that move bytes, a batch costs one
//! system call.
//!
//! A panic while one tunnel is served ends that tunnel only. Each item of a batch leaves its queue before it
//! is worked on, so that the batch continues after a panic.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use self::ticks::{TICK_MS, ticks_now, ticks_of};
use super::followed::Followed;
use super::inbox::{Shared, end_unseen};
use super::partings::Partings;
use super::pipes::Pipes;
use super::poller::{Poller, PollerChoice, PollerInUse};
use super::progress::Rounds;
use super::pump::Gear;
use super::start::Start;
use super::table::Table;
use super::timer::Wheel;
use super::tunnel::BUFFER_BYTES;
use super::warm::Warm;
use crate::journal::Cause;
use crate::proto::readiness::Notice;
use crate::sys::thread;

mod adopt;
mod asks;
mod deadlines;
mod farewell;
mod leave;
mod ticks;
mod turn;

/// A tunnel that moved nothing for this long drops its ciphers: 2 seconds.
const WARM_TICKS: u32 = 125;
/// Token of the bell; no slot has this number.
const BELL: u64 = u64::MAX - 1;
/// Capacity for this many new tunnels is kept from batch to batch.
const STARTS_KEPT: usize = 64;

/// Runs until a stop is requested and no tunnel is left.
pub(super) fn run(
    shared: &Shared,
    cpu: Option<usize>,
    choice: PollerChoice,
    report: &SyncSender<io::Result<PollerInUse>>,
) {
    // A thread that cannot be pinned is slower, not wrong.
    let pinned = cpu.map_or(Ok(()), thread::pin_to);
    if let Err(error) = pinned {
        tracing::debug!("relay thread runs unpinned: {error}");
    }
    let door = Door(shared);
    let made = Engine::new(shared, choice);
    let (mut engine, poller) = match made {
        Ok(made) => made,
        Err(error) => {
            // The spawning thread waits for this; if it is gone, there is no reason to run.
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

/// Closes the inbox however the thread ends, so that no tunnel is lost in it.
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
    /// Schedules progress entries of open tunnels.
    rounds: Option<Rounds>,
    gear: Gear,
    /// Current time in ticks; read once per batch.
    now: u32,
    /// The batch, and the index of the first notice not yet handled.
    notices: Vec<Notice>,
    next_notice: usize,
    rung: bool,
    /// New tunnels taken from the inbox and not yet in the table.
    starts: Vec<Start>,
    /// Slots that yielded, and how many of them belong to this batch.
    yielded: VecDeque<u32>,
    turns_left: usize,
    /// Slots whose deadline has passed.
    reached: Vec<u32>,
    /// Slots whose tunnel has ended.
    leaving: Vec<u32>,
    /// The tunnel being served: if its code panics, this tunnel is ended.
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
                // The hook has printed it.
                drop(panic);
                if let Some(index) = self.current.take() {
                    self.end_broken(index);
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

    /// Returns the longest time the next wait may take.
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
            self.current = Some(index);
            self.on_deadline(index);
            self.current = None;
        }
        self.cool();
        self.tell_progress();
        self.partings.look(self.now, &mut self.gear.buffer);
        self.see_off();
    }
}
