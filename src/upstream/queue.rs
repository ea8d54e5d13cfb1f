//! The queue of requests that wait for a place at a server: first come, first served, bounded.
//!
//! A request that finds room never comes here: the lock is taken only by requests that wait, and when a place
//! is given back while a request waits.

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

/// The place a request waits for: at this member, or at any.
type Want = Option<MemberId>;

/// The requests that wait for one backend.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Number of waiting requests; each is counted before its last search for room.
    waiting: AtomicUsize,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    /// Waiting requests in the order of arrival; no line is empty.
    by_want: HashMap<Want, VecDeque<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    asking: Asking,
    tried: Vec<MemberId>,
    /// The only member that may serve it.
    only: Option<MemberId>,
    reply: oneshot::Sender<Place>,
}

impl Waiter {
    fn choose<'l>(&self, lineup: &'l Lineup) -> Choice<'l> {
        match self.only {
            Some(only) => lineup.choose_only(only),
            None => lineup.choose(&self.asking, &self.tried),
        }
    }
}

/// Result of a request for a place.
enum Settled {
    /// The request has a place.
    Seated,
    /// The request waits for this.
    Waits(Want, Waiter),
    /// There is no member to wait for.
    Hopeless(Waiter),
}

/// A position in the queue, given up when dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    lineup: &'a ArcSwap<Lineup>,
    number: u64,
    /// Where the request began to wait.
    pub(super) line: InLine,
    reply: oneshot::Receiver<Place>,
}

/// Position of a request when it begins to wait, counted from one; zero = it waits in another line, or in
/// none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InLine {
    /// Among requests that wait for the same server.
    pub for_server: u32,
    /// Among requests that wait for any server of the backend.
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
    /// Waits for a place; none = there is no member to wait for any more.
    pub(super) async fn turn(&mut self) -> Option<Place> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.queue.remove(self.number);
        // Out of the queue, the request gets no further place; a place granted meanwhile goes to the next
        // request.
        if let Ok(place) = self.reply.try_recv() {
            let freed = place.member().id();
            drop(place);
            self.queue.move_up(freed, self.lineup);
        }
    }
}

impl Queue {
    /// Returns how many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // The lines are valid at any time; no code under the lock panics.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the queue, unless `len_max` requests wait already; a request that finds a place at once takes
    /// it. No request is passed over. `only` is the only member that may serve it, if there is one.
    ///
    /// # Errors
    /// The reason why the request cannot wait.
    pub(super) fn join<'a>(
        &'a self,
        shared: &'a ArcSwap<Lineup>,
        asking: Asking,
        tried: &[MemberId],
        only: Option<MemberId>,
    ) -> Result<Ticket<'a>, Denied> {
        let (reply, receiver) = oneshot::channel();
        let mut lines = self.lines();
        // A place that is freed from now on is offered to the queue; one that was freed before is found by
        // the search below.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let lineup = shared.load_full();
        let waiter = Waiter {
            number: lines.next,
            asking,
            tried: tried.to_vec(),
            only,
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
        while let Choice::Member(member) = waiter.choose(&lineup) {
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
            // Counted after requests that have just moved up.
            Settled::Waits(_, _) if self.len() > lineup.backend.max_queue => Denied::QueueFull,
            Settled::Waits(want, waiter) => {
                ticket.line = InLine::behind(lines.by_want.get(&want), want);
                lines.put_back(want, waiter);
                return Ok(ticket);
            }
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        // Dropping the waiter locks the lines again.
        drop(lines);
        Err(denied)
    }

    /// Gives `waiter` a place if there is one for it. Called under the lock.
    fn settle(&self, mut waiter: Waiter, lineup: &Lineup) -> Settled {
        loop {
            let member = match waiter.choose(lineup) {
                Choice::Member(member) => member,
                Choice::Wait(want) => return Settled::Waits(want, waiter),
                Choice::Nobody => {
                    let waits = lineup.backend.when_down == WhenDown::Queue;
                    if !waits || lineup.has_candidates() || waiter.only.is_some() {
                        return Settled::Hopeless(waiter);
                    }
                    // A server that comes back deserves another try.
                    waiter.tried.clear();
                    return Settled::Waits(None, waiter);
                }
            };
            // If another request was faster the member is full, and the next choice sees that.
            if let Some(place) = Place::take(member, lineup.edition) {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                // If the request gave up meanwhile, the place is given back and the queue moves up.
                drop(waiter.reply.send(place));
                return Settled::Seated;
            }
        }
    }

    /// Settles a waiting request, and puts it back if it must go on waiting; true = it has left the queue.
    fn seat(&self, waiter: Waiter, lines: &mut Lines, lineup: &Lineup) -> bool {
        match self.settle(waiter, lineup) {
            Settled::Seated => true,
            Settled::Waits(want, waiter) => {
                lines.put_back(want, waiter);
                false
            }
            Settled::Hopeless(waiter) => {
                // The request sees that its sender is gone.
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                drop(waiter);
                true
            }
        }
    }

    /// Moves up requests that wait for `freed`; called after a place there was given back.
    pub(super) fn move_up(&self, freed: MemberId, shared: &ArcSwap<Lineup>) {
        if self.len() == 0 {
            return;
        }
        let mut lines = self.lines();
        // Loaded under the lock: an older line-up would undo decisions of a newer one.
        let lineup = shared.load_full();
        while let Some(waiter) = lines.first_for(freed) {
            if !self.seat(waiter, &mut lines, &lineup) {
                return;
            }
        }
    }

    /// Reconsiders all waiting requests in the order of arrival, after a change of the line-up.
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
    /// Takes out the request that has waited longest of those that would take a place at `member`.
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

    /// Puts a request back where it was.
    fn put_back(&mut self, want: Want, waiter: Waiter) {
        let line = self.by_want.entry(want).or_default();
        let at = line.partition_point(|other| other.number < waiter.number);
        line.insert(at, waiter);
    }
}
