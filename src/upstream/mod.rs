//! Backends at run time: who belongs to them, how each one stands, who gets the next connection, and
//! who waits for it.
//!
//! Main publishes an immutable [`Lineup`] at every change; reception reads it, takes a [`Reservation`] at a
//! member, and gives it back by dropping it. Loads are shared atomics. Nobody takes a lock while
//! there is room; where there is none, `queue` keeps the order.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::balance::{self, Asking};
use crate::config::Backend;

pub mod check;
pub mod client_tls;
mod lineup;
mod member;
pub mod names;
mod queue;
mod record;
mod roster;
mod supervisor;
#[cfg(test)]
mod tests;

pub use lineup::{Lineup, MemberStanding, Seat};
pub use member::{Address, Member, MemberId, SUSPECT_FAILURES, Traffic, Wish};
pub use queue::InLine;

pub use record::{Record, Turn};
pub use supervisor::{Supervisor, supervise};

use lineup::Choice;
use queue::Queue;

/// A backend as all threads share it.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    lineup: ArcSwap<Lineup>,
    tickets: AtomicUsize,
    queue: Queue,
    /// Rung when a member has become suspect, so that it is looked after early.
    pub alarm: Notify,
}

/// Why nobody gets a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Nobody may get it, for this reason.
    Nobody(&'static str),
    /// Everybody who may get it has been tried.
    AllTried,
    /// `max_queue` wait already.
    QueueFull,
    /// `timeouts.queue` is over.
    QueueTimeout,
}

impl Upstream {
    /// Makes a backend whose members stand as `seats` say.
    #[must_use]
    pub fn new(backend: Arc<Backend>, seats: Vec<Seat>) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::clone(&backend.name),
            lineup: ArcSwap::from_pointee(Lineup::new(backend, seats)),
            tickets: AtomicUsize::new(0),
            queue: Queue::default(),
            alarm: Notify::new(),
        })
    }

    /// Returns how everybody stands now.
    #[must_use]
    pub fn lineup(&self) -> Arc<Lineup> {
        self.lineup.load_full()
    }

    /// Returns how many wait for a place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Replaces the line-up; those who wait are asked again. For main only, which is one thread.
    pub fn publish(self: &Arc<Self>, lineup: Lineup) {
        let lineup = Arc::new(lineup);
        self.lineup.store(Arc::clone(&lineup));
        self.queue.reconsider(&lineup, self);
    }

    /// Gets a place at a member for a request of `client` that has failed at those it has `tried`.
    /// Waits where everybody is full, at most `timeouts.queue`, in the order of arrival; giving up
    /// the wait leaves the queue.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn place(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        tried: &[MemberId],
    ) -> Result<Reservation, Denied> {
        self.place_telling(client, tried, |_| {}).await
    }

    /// Like [`Upstream::place`]; who has to wait is told where.
    ///
    /// # Errors
    /// Why there is no place.
    pub async fn place_telling(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        tried: &[MemberId],
        tell: impl FnOnce(InLine),
    ) -> Result<Reservation, Denied> {
        let asking = self.asking(client);
        let lineup = self.lineup();
        if let Some(place) = self.try_place(&lineup, &asking, tried) {
            return Ok(place);
        }
        let deadline = Instant::now() + lineup.backend.timeouts.queue;
        drop(lineup);
        let mut ticket = Queue::join(self, asking, tried)?;
        tell(ticket.line);
        match timeout_at(deadline, ticket.turn()).await {
            Ok(Some(place)) => Ok(place),
            Ok(None) => Err(Self::denial(&self.lineup())),
            Err(_) => Err(Denied::QueueTimeout),
        }
    }

    /// Says why nobody may get a connection that could not be had.
    fn denial(lineup: &Lineup) -> Denied {
        if lineup.has_candidates() {
            Denied::AllTried
        } else {
            Denied::Nobody(lineup.why_nobody())
        }
    }

    fn asking(&self, client: Option<IpAddr>) -> Asking {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        Asking {
            client,
            ticket,
            random: random(),
        }
    }

    /// Takes a place without waiting; where anybody waits, there is none, so that nobody is passed
    /// over.
    fn try_place(
        self: &Arc<Self>,
        lineup: &Lineup,
        asking: &Asking,
        tried: &[MemberId],
    ) -> Option<Reservation> {
        while let Choice::Member(member) = lineup.choose(asking, tried) {
            if self.queue.len() > 0 {
                return None;
            }
            // Where somebody was faster it is full, and the next choice sees that.
            if member.take_place() {
                let edition = lineup.edition;
                return Some(Reservation::new(
                    Arc::clone(self),
                    Arc::clone(member),
                    edition,
                ));
            }
        }
        None
    }
}

/// A place at a member that is held: counted from here on, given back by being dropped.
#[derive(Debug)]
pub struct Reservation {
    upstream: Arc<Upstream>,
    member: Arc<Member>,
    edition: u32,
    counted: bool,
}

impl Reservation {
    /// Takes over a place that was taken at `member`, as a line-up of this `edition` had it.
    fn new(upstream: Arc<Upstream>, member: Arc<Member>, edition: u32) -> Self {
        Self {
            upstream,
            member,
            edition,
            counted: true,
        }
    }

    /// Returns whose it is.
    #[must_use]
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Returns which configuration of its backend it was given by, as [`Lineup::edition`].
    #[must_use]
    pub fn edition(&self) -> u32 {
        self.edition
    }

    /// Takes note of a connection to the member that could not be opened.
    pub fn note_refused(&self) {
        if self.member.traffic.note_refused() {
            self.upstream.alarm.notify_one();
        }
    }

    /// Gives it back without a look at the queue, for those who hold its lock.
    fn dissolve(mut self) {
        self.counted = false;
        self.member.give_back();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.counted {
            self.member.give_back();
            self.upstream
                .queue
                .move_up(self.member.id(), &self.upstream);
        }
    }
}

/// Draws a number for choices that are random; good enough for spreading load, and for nothing else.
fn random() -> u64 {
    use std::cell::Cell;
    use std::hash::{BuildHasher, RandomState};
    thread_local! {
        // The standard library seeds it from the system, differently for each thread.
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u64));
    }
    STATE.with(|state| {
        // SplitMix64 (Steele, Lea, Flood 2014), whose finaliser the hashes use too.
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        balance::mix(next)
    })
}
