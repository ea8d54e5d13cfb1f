//! A backend as all threads share it, and places at its members.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::denied::Denied;
use super::lineup::{Choice, Lineup, Seat};
use super::member::{Member, MemberId, Place};
use super::queue::{InLine, Queue};
use super::random::random;
use crate::balance::Asking;
use crate::config::Backend;

/// A backend as all threads share it.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    lineup: ArcSwap<Lineup>,
    tickets: AtomicUsize,
    queue: Queue,
    /// Notified when a member may have become suspect, so that the supervisor checks it early.
    pub alarm: Notify,
}

impl Upstream {
    /// Makes a backend whose members have the standings of `seats`.
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

    /// Returns the present line-up.
    #[must_use]
    pub fn lineup(&self) -> Arc<Lineup> {
        self.lineup.load_full()
    }

    /// Returns how many requests wait for a place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Replaces the line-up and reconsiders waiting requests. Only the control thread may call this.
    pub fn publish(self: &Arc<Self>, lineup: Lineup) {
        let lineup = Arc::new(lineup);
        self.lineup.store(Arc::clone(&lineup));
        self.queue.reconsider(&lineup);
    }

    /// Gets a place at a member for a request of `client` that has already failed at the members `tried`. If
    /// every member is full it waits, at most `timeouts.queue`, in the order of arrival; dropping the future
    /// leaves the queue.
    ///
    /// # Errors
    /// The reason why there is no place.
    pub async fn place(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        tried: &[MemberId],
    ) -> Result<Reservation, Denied> {
        self.place_telling(client, tried, None, |_| {}).await
    }

    /// Like [`Upstream::place`]; a request that has to wait is first told its position in the queue. `only` is
    /// the only member that may serve it, if there is one.
    ///
    /// # Errors
    /// The reason why there is no place.
    pub async fn place_telling(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        tried: &[MemberId],
        only: Option<MemberId>,
        tell: impl FnOnce(InLine),
    ) -> Result<Reservation, Denied> {
        let asking = self.asking(client);
        let lineup = self.lineup();
        if let Some(place) = self.try_place(&lineup, &asking, tried, only) {
            return Ok(place);
        }
        let deadline = Instant::now() + lineup.backend.timeouts.queue;
        drop(lineup);
        let mut ticket = self.queue.join(&self.lineup, asking, tried, only)?;
        tell(ticket.line);
        match timeout_at(deadline, ticket.turn()).await {
            Ok(Some(place)) => Ok(self.reservation(place)),
            Ok(None) => Err(self.lineup().denial()),
            Err(_) => Err(Denied::QueueTimeout),
        }
    }

    pub(super) fn asking(&self, client: Option<IpAddr>) -> Asking {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        Asking {
            client,
            ticket,
            random: random(),
        }
    }

    /// Takes a place without waiting; none while any request waits, so that no request overtakes another.
    fn try_place(
        self: &Arc<Self>,
        lineup: &Lineup,
        asking: &Asking,
        tried: &[MemberId],
        only: Option<MemberId>,
    ) -> Option<Reservation> {
        let choose = || match only {
            Some(only) => lineup.choose_only(only),
            None => lineup.choose(asking, tried),
        };
        while let Choice::Member(member) = choose() {
            if self.queue.len() > 0 {
                return None;
            }
            // If another request was faster the member is full, and the next choice sees that.
            if let Some(place) = Place::take(member, lineup.edition) {
                return Some(self.reservation(place));
            }
        }
        None
    }

    fn reservation(self: &Arc<Self>, place: Place) -> Reservation {
        let freed = place.member().id();
        Reservation {
            place,
            succession: Succession {
                upstream: Arc::clone(self),
                freed,
            },
        }
    }
}

/// A held place at a member: counted from now on, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    // Fields are dropped in this order: the place is given back before the queue moves up.
    place: Place,
    succession: Succession,
}

impl Reservation {
    /// Returns the member that granted the place.
    #[must_use]
    pub fn member(&self) -> &Arc<Member> {
        self.place.member()
    }

    /// Returns the configuration of the backend that granted the place, as in [`Lineup::edition`].
    #[must_use]
    pub fn edition(&self) -> u32 {
        self.place.edition()
    }

    /// Counts a connection to the member that failed to open.
    pub fn note_refused(&self) {
        if self.member().traffic.note_refused() {
            self.succession.upstream.alarm.notify_one();
        }
    }
}

/// Offers a place that was given back to the request that has waited longest.
#[derive(Debug)]
struct Succession {
    upstream: Arc<Upstream>,
    freed: MemberId,
}

impl Drop for Succession {
    fn drop(&mut self) {
        let upstream = &self.upstream;
        upstream.queue.move_up(self.freed, &upstream.lineup);
    }
}
