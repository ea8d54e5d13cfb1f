//! The line of those who wait for a place at a server: first come, first served, bounded.
//!
//! A request that finds room never comes here: the lock is taken only by those who wait, and by
//! those who leave a place while somebody does.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::denied::Denied;
use super::lineup::{Choice, Lineup};
use super::member::{MemberId, Place};
use crate::balance::Asking;
use crate::config::WhenDown;

/// What those who wait wait for: this member, or any.
type Want = Option<MemberId>;

/// Those who wait for one backend.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many, counted before they look for room the last time.
    waiting: AtomicUsize,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    /// Each in the order of arrival; no line is empty.
    by_want: HashMap<Want, VecDeque<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    asking: Asking,
    tried: Vec<MemberId>,
    reply: oneshot::Sender<Place>,
}

/// What became of somebody who asked for a place.
enum Settled {
    /// They have one.
    Seated,
    /// They wait for this.
    Waits(Want, Waiter),
    /// There is nobody to wait for.
    Hopeless(Waiter),
}

/// A place in the line, given back by being dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    lineup: &'a ArcSwap<Lineup>,
    number: u64,
    /// Where it began to wait.
    pub(super) line: InLine,
    reply: oneshot::Receiver<Place>,
}

/// Where a request stands when it begins to wait, counted from one; zero = in another line, or in
/// none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InLine {
    /// Among those who wait for the same server.
    pub for_server: u32,
    /// Among those who wait for any server of the backend.
    pub for_backend: u32,
}

impl InLine {
    fn behind(line: Option<&VecDeque<Waiter>>, want: Want) -> Self {
        let place = line.map_or(1, |line| {
            u32::try_from(line.len()).map_or(u32::MAX, |in_front| in_front.saturating_add(1))
        });
        match want {
            Some(_) => Self {
                for_server: place,
                for_backend: 0,
            },
            None => Self {
                for_server: 0,
                for_backend: place,
            },
        }
    }
}

impl Ticket<'_> {
    /// Waits for its turn; none = there is nobody to wait for any more.
    pub(super) async fn turn(&mut self) -> Option<Place> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.queue.remove(self.number);
        // No longer in line, it gets no place any more; one that came too late goes to the next.
        if let Ok(place) = self.reply.try_recv() {
            let freed = place.member().id();
            drop(place);
            self.queue.move_up(freed, self.lineup);
        }
    }
}

impl Queue {
    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Whole at any time; what runs under the lock does not panic.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the line, unless `len_max` wait already; whoever finds a place at once has it. Nobody is
    /// passed over.
    ///
    /// # Errors
    /// Why it cannot wait.
    pub(super) fn join<'a>(
        &'a self,
        shared: &'a ArcSwap<Lineup>,
        asking: Asking,
        tried: &[MemberId],
    ) -> Result<Ticket<'a>, Denied> {
        let (reply, receiver) = oneshot::channel();
        let mut lines = self.lines();
        // A place that is freed from here on is offered to the line; one that was freed before shows
        // in the look below.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let lineup = shared.load_full();
        let waiter = Waiter {
            number: lines.next,
            asking,
            tried: tried.to_vec(),
            reply,
        };
        lines.next += 1;
        let mut ticket = Ticket {
            queue: self,
            lineup: shared,
            number: waiter.number,
            line: InLine::default(),
            reply: receiver,
        };
        while let Choice::Member(member) = lineup.choose(&waiter.asking, &waiter.tried) {
            let Some(earlier) = lines.first_for(member.id()) else {
                break;
            };
            if !self.seat(earlier, &mut lines, &lineup) {
                break;
            }
        }
        let denied = match self.settle(waiter, &lineup) {
            Settled::Seated => return Ok(ticket),
            Settled::Hopeless(_) => lineup.denial(),
            // Counted after those who have just moved up.
            Settled::Waits(_, _) if self.len() > lineup.backend.max_queue => Denied::QueueFull,
            Settled::Waits(want, waiter) => {
                ticket.line = InLine::behind(lines.by_want.get(&want), want);
                lines.put_back(want, waiter);
                return Ok(ticket);
            }
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        // Its end looks into the lines again.
        drop(lines);
        Err(denied)
    }

    /// Gives `waiter` a place if there is one for it. Called under the lock.
    fn settle(&self, mut waiter: Waiter, lineup: &Lineup) -> Settled {
        loop {
            let member = match lineup.choose(&waiter.asking, &waiter.tried) {
                Choice::Member(member) => member,
                Choice::Wait(want) => return Settled::Waits(want, waiter),
                Choice::Nobody => {
                    let waits = lineup.backend.when_down == WhenDown::Queue;
                    if !waits || lineup.has_candidates() {
                        return Settled::Hopeless(waiter);
                    }
                    // Whoever comes up deserves another try.
                    waiter.tried.clear();
                    return Settled::Waits(None, waiter);
                }
            };
            // Where somebody was faster it is full, and the next choice sees that.
            if let Some(place) = Place::take(member, lineup.edition) {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                // A request that gave up meanwhile gives the place back, and the line moves up.
                drop(waiter.reply.send(place));
                return Settled::Seated;
            }
        }
    }

    /// Settles somebody who has stood in line, and puts them back if need be; true = they have left.
    fn seat(&self, waiter: Waiter, lines: &mut Lines, lineup: &Lineup) -> bool {
        match self.settle(waiter, lineup) {
            Settled::Seated => true,
            Settled::Waits(want, waiter) => {
                lines.put_back(want, waiter);
                false
            }
            Settled::Hopeless(waiter) => {
                // The end of its sender tells it.
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                drop(waiter);
                true
            }
        }
    }

    /// Lets those who wait for `freed` move up; called by whoever left a place there.
    pub(super) fn move_up(&self, freed: MemberId, shared: &ArcSwap<Lineup>) {
        if self.len() == 0 {
            return;
        }
        let mut lines = self.lines();
        // Read under the lock: an older one would undo what a newer one has decided.
        let lineup = shared.load_full();
        while let Some(waiter) = lines.first_for(freed) {
            if !self.seat(waiter, &mut lines, &lineup) {
                return;
            }
        }
    }

    /// Asks everybody in the order of arrival again, after a change of the line-up.
    pub(super) fn reconsider(&self, lineup: &Lineup) {
        if self.len() == 0 {
            return;
        }
        let mut lines = self.lines();
        let mut all: Vec<Waiter> = lines.by_want.drain().flat_map(|(_, line)| line).collect();
        all.sort_unstable_by_key(|waiter| waiter.number);
        for waiter in all {
            self.seat(waiter, &mut lines, lineup);
        }
    }

    fn remove(&self, number: u64) {
        let mut lines = self.lines();
        let removed = lines.by_want.iter_mut().find_map(|(want, line)| {
            let at = line
                .binary_search_by_key(&number, |waiter| waiter.number)
                .ok()?;
            Some((*want, line.remove(at), line.is_empty()))
        });
        if let Some((want, waiter, is_last)) = removed {
            if is_last {
                lines.by_want.remove(&want);
            }
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            drop(lines);
            drop(waiter);
        }
    }
}

impl Lines {
    /// Takes out whoever has waited longest of those who would take a place at `member`.
    fn first_for(&mut self, member: MemberId) -> Option<Waiter> {
        let wants = [None, Some(member)];
        let (want, at, _) = wants
            .into_iter()
            .filter_map(|want| {
                let line = self.by_want.get(&want)?;
                let at = line
                    .iter()
                    .position(|waiter| !waiter.tried.contains(&member))?;
                Some((want, at, line.get(at)?.number))
            })
            .min_by_key(|(_, _, number)| *number)?;
        let line = self.by_want.get_mut(&want)?;
        let waiter = line.remove(at);
        if line.is_empty() {
            self.by_want.remove(&want);
        }
        waiter
    }

    /// Puts somebody back where they stood.
    fn put_back(&mut self, want: Want, waiter: Waiter) {
        let line = self.by_want.entry(want).or_default();
        let at = line.partition_point(|other| other.number < waiter.number);
        line.insert(at, waiter);
    }
}
