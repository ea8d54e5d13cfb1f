//! Who may get a new connection right now: made by main at every change, read by all, never changed.

use std::sync::Arc;

use super::denied::Denied;
use super::member::{Member, MemberId};
use super::standing::MemberStanding;
use crate::balance::{Asking, Candidate, Chooser, Load, Method, Pick};
use crate::config::Backend;

/// A member and how it stands.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Who.
    pub member: Arc<Member>,
    /// How it stands.
    pub standing: MemberStanding,
    /// Its share at this moment: that of the configuration, or less while it starts slowly; 0 =
    /// nothing new.
    pub weight: u16,
}

/// A backend at one moment.
#[derive(Debug)]
pub struct Lineup {
    /// What the configuration says of it.
    pub backend: Arc<Backend>,
    /// Counts its configurations, so that a route can tell whether this is the one it meant.
    pub edition: u32,
    /// Everybody, in the order of the configuration.
    pub seats: Vec<Seat>,
    up: Circle,
    /// Those who are suspect: asked when nobody of the others is left.
    suspect: Circle,
}

impl Lineup {
    /// Draws the conclusions from how everybody stands.
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

    /// Says which configuration of the backend it is.
    #[must_use]
    pub(super) fn of_edition(mut self, edition: u32) -> Self {
        self.edition = edition;
        self
    }

    /// Chooses a member for `asking`, which has failed at those it has `tried`.
    #[must_use]
    pub(super) fn choose(&self, asking: &Asking, tried: &[MemberId]) -> Choice<'_> {
        match self.up.choose(asking, tried) {
            // A guess is better than nothing.
            Choice::Nobody => self.suspect.choose(asking, tried),
            choice @ (Choice::Member(_) | Choice::Wait(_)) => choice,
        }
    }

    /// Tells whether anybody may get a new connection, or could if it had room.
    #[must_use]
    pub fn has_candidates(&self) -> bool {
        !self.up.members.is_empty() || !self.suspect.members.is_empty()
    }

    /// Says why a request got no place that was not to be had by waiting either.
    pub(super) fn denial(&self) -> Denied {
        if self.has_candidates() {
            Denied::AllTried
        } else {
            Denied::Nobody(self.why_nobody())
        }
    }

    /// Says in words why nobody may get a new connection.
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

/// Those who stand alike, and the choice among them.
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

/// What came of a choice.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    /// This one has room.
    Member(&'a Arc<Member>),
    /// Everybody who may get it is full: it waits for this one, or for any.
    Wait(Option<MemberId>),
    /// There is nobody (else).
    Nobody,
}
