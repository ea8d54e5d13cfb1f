//! The line-up: which members may get a new connection right now. The control thread publishes a new one at
//! every change; all threads read it; it is never modified.

use std::sync::Arc;

use super::denied::Denied;
use super::member::{Member, MemberId};
use super::standing::MemberStanding;
use crate::balance::{Asking, Candidate, Chooser, Load, Method, Pick};
use crate::config::Backend;

/// A member, its standing and its weight.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The member.
    pub member: Arc<Member>,
    /// Its standing.
    pub standing: MemberStanding,
    /// Its weight at this moment: as configured, or less during slow start; 0 = no new connections.
    pub weight: u16,
}

/// A backend at one moment.
#[derive(Debug)]
pub struct Lineup {
    /// The configuration of the backend.
    pub backend: Arc<Backend>,
    /// Number of the backend's configuration, by which a route can tell whether it is the one it was made
    /// for.
    pub edition: u32,
    /// All members, in the order of the configuration.
    pub seats: Vec<Seat>,
    up: Circle,
    /// Suspect members: used if no other member is left.
    suspect: Circle,
}

impl Lineup {
    /// Makes a line-up from the standing of all members.
    #[must_use]
    pub fn new(backend: Arc<Backend>, seats: Vec<Seat>) -> Self {
        let circle = |standing| Circle::new(backend.balance, &seats, standing);
        Self {
            up: circle(MemberStanding::Up),
            suspect: circle(MemberStanding::Suspect),
            backend,
            edition: 0,
            seats,
        }
    }

    /// Sets the number of the backend's configuration.
    #[must_use]
    pub(super) fn of_edition(mut self, edition: u32) -> Self {
        self.edition = edition;
        self
    }

    /// Chooses a member for `asking`, which has already failed at the members `tried`.
    #[must_use]
    pub(super) fn choose(&self, asking: &Asking, tried: &[MemberId]) -> Choice<'_> {
        match self.up.choose(asking, tried) {
            // A suspect member is better than none.
            Choice::Nobody => self.suspect.choose(asking, tried),
            choice @ (Choice::Member(_) | Choice::Wait(_)) => choice,
        }
    }

    /// Chooses this member, if it may get new connections.
    #[must_use]
    pub(super) fn choose_only(&self, id: MemberId) -> Choice<'_> {
        let mut members = self.up.members.iter().chain(&self.suspect.members);
        match members.find(|member| member.id() == id) {
            Some(member) => match member.load(&[]) {
                Load::Active(_) => Choice::Member(member),
                Load::Full(_) | Load::Tried => Choice::Wait(Some(id)),
            },
            None => Choice::Nobody,
        }
    }

    /// Returns whether any member may get a new connection, or could if it had room.
    #[must_use]
    pub fn has_candidates(&self) -> bool {
        !self.up.members.is_empty() || !self.suspect.members.is_empty()
    }

    /// Returns why a request got no place and cannot wait for one.
    pub(super) fn denial(&self) -> Denied {
        if self.has_candidates() {
            Denied::AllTried
        } else {
            Denied::Nobody(self.why_nobody())
        }
    }

    /// Returns in words why no member may get a new connection.
    #[must_use]
    pub fn why_nobody(&self) -> &'static str {
        let any = |standing| self.seats.iter().any(|seat| seat.standing == standing);
        if self.seats.is_empty() {
            "no name of a server has an address"
        } else if any(MemberStanding::Up) || any(MemberStanding::Suspect) {
            "every server that is up has weight 0"
        } else if any(MemberStanding::Down) {
            "every server is down"
        } else {
            "every server is drained"
        }
    }
}

/// Members of equal standing, and the choice among them.
#[derive(Debug)]
struct Circle {
    members: Vec<Arc<Member>>,
    chooser: Chooser,
}

impl Circle {
    fn new(method: Method, seats: &[Seat], standing: MemberStanding) -> Self {
        let fits = |seat: &&Seat| seat.standing == standing && seat.weight > 0;
        let chosen: Vec<&Seat> = seats.iter().filter(fits).collect();
        let keys: Vec<String> = chosen
            .iter()
            .map(|seat| seat.member.address.to_string())
            .collect();
        let candidates: Vec<Candidate<'_>> = keys
            .iter()
            .zip(&chosen)
            .map(|(key, seat)| Candidate {
                key,
                weight: seat.weight,
            })
            .collect();
        Self {
            chooser: Chooser::new(method, &candidates),
            members: chosen.iter().map(|seat| Arc::clone(&seat.member)).collect(),
        }
    }

    fn choose(&self, asking: &Asking, tried: &[MemberId]) -> Choice<'_> {
        let member = |index: usize| self.members.get(index);
        let load = |index| member(index).map_or(Load::Tried, |it| it.load(tried));
        match self.chooser.choose(asking, load) {
            Pick::Server(index) => member(index).map_or(Choice::Nobody, Choice::Member),
            Pick::Wait(None) => Choice::Wait(None),
            Pick::Wait(Some(index)) => match member(index) {
                Some(member) => Choice::Wait(Some(member.id())),
                None => Choice::Nobody,
            },
            Pick::Nobody => Choice::Nobody,
        }
    }
}

/// Result of a choice.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    /// This member has room.
    Member(&'a Arc<Member>),
    /// Every usable member is full: the request waits for this one, or for any.
    Wait(Option<MemberId>),
    /// There is no (further) member.
    Nobody,
}
