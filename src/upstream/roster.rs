//! Everybody of one backend, and what becomes of them. No socket, no clock: what happened comes in
//! with the time, and out come who is to be checked and how everybody stands.
//!
//! Results of checks, answers to questions for names, and connections that could not be opened go
//! in; who is to be checked now and how everybody stands come out. Each change is one line in the
//! log and one in the member's [`Record`](super::Record).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::check::CheckFailure;
use super::client_tls::{ClientTls, TlsToServer};
use super::lineup::Seat;
use super::member::{Address, Member, MemberId, Wish};
use super::names::{Endpoint, NameAnswer, News, Watch};
use super::standing::MemberStanding;
use crate::balance::health::{self, Change, Checks, Event, Next, SIGNS};
use crate::balance::ramp::{self, Entrant};
use crate::config::{Backend, BackendServer, ServerAddress};

/// How often a suspect is looked at: whether connections to it work again.
const SUSPECT_LOOK: Duration = Duration::from_millis(250);

/// Everybody of one backend.
#[derive(Debug)]
pub(super) struct Roster {
    backend: Arc<Backend>,
    checks: Option<Checks>,
    posts: Vec<Post>,
    /// Whether the seats that were read last are out of date.
    changed: bool,
    /// When seats change by themselves, because somebody starts slowly.
    ramp_due: Option<Duration>,
    /// What is to be said once others act on it.
    unsaid: Vec<Said>,
    /// Whether it was said that this machine cannot check.
    said_ours: bool,
}

/// One `[[backend.server]]` and its members.
#[derive(Debug)]
struct Post {
    server: BackendServer,
    /// How it is spoken to over TLS; none = in the clear.
    tls: Option<Arc<TlsToServer>>,
    /// Whether its name was asked for, answered or not.
    asked: bool,
    /// What is known of its name, if it is one.
    watch: Watch,
    watched: BTreeMap<Spot, Watched>,
    /// Members whose address has gone, for as long as they have tunnels.
    departed: Vec<Weak<Member>>,
}

/// What tells the members of a post apart: which of its endpoints they are.
type Spot = Option<std::net::SocketAddr>;

/// A member and what is thought of it.
#[derive(Debug)]
struct Watched {
    member: Arc<Member>,
    weight: u16,
    health: health::Health,
    next: Option<Due>,
    checking: bool,
    /// Connections that could not be opened, as far as they were taken into account.
    refused: u64,
    /// Whether its name points elsewhere now, and it only stands in until somebody there may serve.
    leaving: bool,
    /// Whether an operator lets it run empty, as far as that was taken into account.
    drained: bool,
}

/// A change of a member, for the log.
#[derive(Debug)]
struct Said {
    server: Arc<str>,
    change: Change,
    why: String,
}

/// What is to be done when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Check(Duration),
    Forgive(Duration),
}

/// Somebody who is to be checked now.
#[derive(Debug)]
pub(super) struct Job {
    /// Who.
    pub(super) member: Arc<Member>,
}

impl Roster {
    /// Begins with the servers whose addresses need no questions.
    pub(super) fn new(
        backend: Arc<Backend>,
        tls: Option<&ClientTls>,
        now: Duration,
        random: impl FnMut() -> u64,
    ) -> Self {
        let mut roster = Self {
            posts: Vec::new(),
            checks: checks_of(&backend),
            backend: Arc::clone(&backend),
            changed: true,
            ramp_due: None,
            unsaid: Vec::new(),
            said_ours: false,
        };
        roster.reconfigure(backend, tls, now, random);
        roster
    }

    /// Goes on under another configuration: whoever is at an address that stays keeps what is known of
    /// it and what it is doing.
    pub(super) fn reconfigure(
        &mut self,
        backend: Arc<Backend>,
        tls: Option<&ClientTls>,
        now: Duration,
        mut random: impl FnMut() -> u64,
    ) {
        let checks = checks_of(&backend);
        let mut before = std::mem::take(&mut self.posts);
        for server in &backend.servers {
            let tls = ClientTls::of_server(tls, server);
            let same = |post: &Post| post.server.address == server.address;
            let post = match before.iter().position(same) {
                Some(known) => {
                    let mut post = before.swap_remove(known);
                    let said = post.reconfigure(server, tls, checks, now, &mut random);
                    self.unsaid.extend(said);
                    if post.is_name() {
                        post.adopt(&backend.name, checks, now, &mut random);
                    }
                    post
                }
                None => Post::new(server, tls, checks, now, random()),
            };
            self.posts.push(post);
        }
        self.checks = checks;
        self.backend = backend;
        self.changed = true;
    }

    /// Writes the changes of members into the log: after the line-up that has them is published, so
    /// that whoever reads of a change can rely on it.
    pub(super) fn say(&mut self) {
        let backend = &self.backend.name;
        for Said {
            server,
            change,
            why,
        } in self.unsaid.drain(..)
        {
            match change {
                Change::Up => tracing::info!(%backend, %server, state = "up", why, "server is up"),
                Change::Cleared => {
                    tracing::info!(%backend, %server, state = "up", why, "server is no longer suspect");
                }
                Change::Down => {
                    tracing::warn!(%backend, %server, state = "down", why, "server is down");
                }
                Change::Suspected => {
                    tracing::warn!(%backend, %server, state = "suspect", why, "server is suspect");
                }
            }
        }
    }

    /// Tells whether the seats have changed since they were read last, or do so now.
    pub(super) fn is_changed(&self, now: Duration) -> bool {
        self.changed || !self.unsaid.is_empty() || self.ramp_due.is_some_and(|due| due <= now)
    }

    /// Returns how everybody stands now.
    pub(super) fn seats(&mut self, now: Duration) -> Vec<Seat> {
        let all: Vec<&Watched> = self.everybody().collect();
        let entrant = |watched: &&Watched| Entrant {
            weight: watched.weight,
            since: (watched.health.came_back_at()).map(|at| now.saturating_sub(at)),
        };
        let entrants: Vec<Entrant> = all.iter().map(entrant).collect();
        let ramped = ramp::weights(&entrants, self.backend.slow_start);
        let seats = all
            .iter()
            .zip(&ramped.weights)
            .map(|(watched, weight)| Seat {
                member: Arc::clone(&watched.member),
                standing: watched.standing(),
                weight: *weight,
            });
        let seats = seats.collect();
        self.ramp_due = ramped.change_in.map(|pause| now + pause);
        self.changed = false;
        seats
    }

    /// Returns those whose check is due, at most `room` of them, and counts them as being checked.
    pub(super) fn due_checks(&mut self, now: Duration, room: usize) -> Vec<Job> {
        let mut due: Vec<(Duration, &mut Watched)> = (self.posts.iter_mut())
            .flat_map(|post| post.watched.values_mut())
            .filter_map(|watched| match watched.next {
                Some(Due::Check(at)) if at <= now && !watched.checking => Some((at, watched)),
                Some(Due::Check(_) | Due::Forgive(_)) | None => None,
            })
            .collect();
        // Who has waited longest comes first.
        due.sort_by_key(|(at, _)| *at);
        let job = |(_, watched): (Duration, &mut Watched)| {
            watched.checking = true;
            Job {
                member: Arc::clone(&watched.member),
            }
        };
        due.into_iter().take(room).map(job).collect()
    }

    /// Returns when something is due that nobody announces; a check counts only while there is
    /// `room` for one.
    pub(super) fn next_due(&self, now: Duration, room: bool) -> Option<Duration> {
        let due = self
            .everybody()
            .filter_map(|watched| watched.due(now, room));
        due.chain(self.ramp_due).min()
    }

    /// Takes in what a check found out.
    pub(super) fn checked(
        &mut self,
        id: MemberId,
        result: Result<(), CheckFailure>,
        now: Duration,
        random: u64,
    ) {
        let backend = Arc::clone(&self.backend);
        let found = (self.posts.iter_mut())
            .flat_map(|post| post.watched.values_mut())
            .find(|watched| watched.member.id() == id);
        // Its address may have gone meanwhile.
        let Some(watched) = found else {
            return;
        };
        watched.checking = false;
        let verdict = match &result {
            Ok(()) => Some(Event::CheckPassed),
            Err(failure) => failure.reason().map(Event::CheckFailed),
        };
        let why = result.map_or_else(
            |failure| failure.to_string(),
            |()| "its checks pass".to_owned(),
        );
        let Some(event) = verdict else {
            let pause = self.checks.map_or(Duration::MAX, |checks| checks.interval);
            watched.next = Some(Due::Check(now.saturating_add(pause)));
            if !std::mem::replace(&mut self.said_ours, true) {
                tracing::error!(backend = %backend.name, why, "servers cannot be checked");
            }
            return;
        };
        self.said_ours = false;
        watched
            .member
            .record
            .note_check(event == Event::CheckPassed);
        if event != Event::CheckPassed {
            tracing::debug!(backend = %backend.name, server = %watched.member.name, why, "check failed");
        }
        self.unsaid.extend(watched.on(event, &why, now, random));
        for post in &mut self.posts {
            self.changed |= post.let_go(&backend.name);
        }
    }

    /// Takes into account which connections could be opened lately, and which suspicions are over.
    pub(super) fn look_around(&mut self, now: Duration, mut random: impl FnMut() -> u64) {
        let backend = Arc::clone(&self.backend);
        for watched in self
            .posts
            .iter_mut()
            .flat_map(|post| post.watched.values_mut())
        {
            if let Some(Due::Forgive(at)) = watched.next
                && at <= now
            {
                watched.next = None;
                let why = "it gets another chance";
                self.unsaid
                    .extend(watched.on(Event::SuspicionOver, why, now, random()));
            }
            self.changed |= watched.obey(&backend);
            let traffic = &watched.member.traffic;
            let (refused, in_a_row) = (traffic.refused(), traffic.refused_in_a_row());
            let news = refused.saturating_sub(watched.refused);
            watched.refused = refused;
            // Fewer in a row than there were: one worked in between.
            let known = news.saturating_add(watched.health.signs().into());
            if in_a_row == 0 || u64::from(in_a_row) < known {
                let why = "a connection to it was opened";
                self.unsaid
                    .extend(watched.on(Event::ConnectWorked, why, now, random()));
            }
            let signs = news.min(u64::from(in_a_row)).min(u64::from(SIGNS));
            for _ in 0..signs {
                let why = "connections to it could not be opened";
                self.unsaid
                    .extend(watched.on(Event::ConnectFailed, why, now, random()));
            }
        }
    }

    /// Takes in the answer to a question for the name of a server; returns when to ask again.
    pub(super) fn resolved(
        &mut self,
        index: usize,
        result: Result<NameAnswer, String>,
        now: Duration,
        random: impl FnMut() -> u64,
    ) -> Duration {
        let (backend, checks) = (&self.backend.name, self.checks);
        let Some(post) = self.posts.get_mut(index) else {
            return Duration::MAX;
        };
        post.asked = true;
        let (news, pause) = post.watch.learn(result);
        let server = &post.server.name;
        match news {
            News::Nothing => {}
            News::Again => tracing::info!(%backend, %server, "the name is answered again"),
            News::Unanswered(why) if post.watched.is_empty() => {
                tracing::warn!(%backend, %server, why, "the name has no address yet");
            }
            News::Unanswered(why) => {
                tracing::warn!(%backend, %server, why, "the last addresses of the name stand");
            }
            News::Changed => {
                post.adopt(backend, checks, now, random);
                self.changed = true;
            }
        }
        pause
    }

    /// Tells whether somebody may get connections, or everybody has been looked at.
    pub(super) fn is_settled(&self) -> bool {
        let mut posts = self.posts.iter();
        let unanswered = posts.any(|post| post.is_name() && !post.asked);
        let unknown = |watched: &Watched| watched.health.standing() == health::Standing::Unknown;
        let up = |watched: &Watched| watched.health.standing() == health::Standing::Up;
        self.everybody().any(up) || !(unanswered || self.everybody().any(unknown))
    }

    fn everybody(&self) -> impl Iterator<Item = &Watched> {
        self.posts.iter().flat_map(|post| post.watched.values())
    }
}

fn checks_of(backend: &Backend) -> Option<Checks> {
    backend.health.as_ref().map(|health| Checks {
        interval: health.interval,
        fast_interval: health.fast_interval,
        timeout: health.timeout,
        rise: health.rise,
        fall: health.fall,
    })
}

impl Post {
    /// Begins with a server; one that has a name has no members until it is answered.
    fn new(
        server: &BackendServer,
        tls: Option<Arc<TlsToServer>>,
        checks: Option<Checks>,
        now: Duration,
        random: u64,
    ) -> Self {
        let mut post = Self {
            server: server.clone(),
            tls,
            asked: false,
            watch: Watch::default(),
            watched: BTreeMap::new(),
            departed: Vec::new(),
        };
        let address = match &server.address {
            ServerAddress::Inet(ip, port) => Address::Inet((*ip, *port).into()),
            ServerAddress::Unix(path) => Address::Unix(path.clone()),
            ServerAddress::Name(..) | ServerAddress::Srv(_) => return post,
        };
        let member = Member::new(
            Arc::clone(&server.name),
            server.clone(),
            post.tls.clone(),
            address,
        );
        let watched = Watched::new(Arc::new(member), server.weight, checks, now, random);
        post.watched.insert(None, watched);
        post
    }

    /// Goes on under other settings at the same address.
    fn reconfigure(
        &mut self,
        server: &BackendServer,
        tls: Option<Arc<TlsToServer>>,
        checks: Option<Checks>,
        now: Duration,
        mut random: impl FnMut() -> u64,
    ) -> Vec<Said> {
        let mut said = Vec::new();
        let differs = self.server != *server;
        if differs {
            self.server = server.clone();
            // A server that stays as it is keeps its sessions for resumption.
            self.tls = tls;
        }
        for watched in self.watched.values_mut() {
            if differs {
                watched.member = Arc::new(watched.member.under(server, self.tls.clone()));
                watched.weight = server.weight;
            }
            said.extend(watched.reconfigure(checks, now, random()));
        }
        said
    }

    fn is_name(&self) -> bool {
        match self.server.address {
            ServerAddress::Name(..) | ServerAddress::Srv(_) => true,
            ServerAddress::Inet(..) | ServerAddress::Unix(_) => false,
        }
    }

    /// Makes the members those that the name points to now. Who stays keeps what is known of it.
    fn adopt(
        &mut self,
        backend: &str,
        checks: Option<Checks>,
        now: Duration,
        mut random: impl FnMut() -> u64,
    ) {
        let server = &self.server.name;
        let endpoints = self.watch.endpoints().to_vec();
        let drained = self.is_drained();
        let wish_of = |member: &Member| match (drained, member.traffic.wish()) {
            (true, _) => Wish::ServerDrained,
            // It was away when its server was taken back.
            (false, Wish::ServerDrained) => Wish::Serves,
            (false, own) => own,
        };
        self.departed.retain(|member| member.strong_count() > 0);
        let stays = |spot: &Spot| endpoints.iter().any(|it| Some(it.addr) == *spot);
        for (spot, watched) in &mut self.watched {
            watched.leaving = !stays(spot);
        }
        for endpoint in endpoints {
            let weight = match (self.server.weight, endpoint.weight) {
                // An operator's 0 counts whatever DNS says.
                (0, _) => 0,
                (own, None) => own,
                (_, Some(weight)) => weight,
            };
            if let Some(watched) = self.watched.get_mut(&Some(endpoint.addr)) {
                watched.weight = weight;
                continue;
            }
            let address = Address::Inet(endpoint.addr);
            let known = returned(&mut self.departed, &address);
            // It may have been away during a reload.
            let known = known.map(|member| match member.server == self.server {
                true => member,
                false => Arc::new(member.under(&self.server, self.tls.clone())),
            });
            let member = known.unwrap_or_else(|| {
                let name = member_name(&self.server, &endpoint);
                Arc::new(Member::new(
                    name,
                    self.server.clone(),
                    self.tls.clone(),
                    address,
                ))
            });
            member.traffic.set_wish(wish_of(&member));
            tracing::info!(backend, server = %member.name, weight, name = %server,
                "the name points there");
            let watched = Watched::new(member, weight, checks, now, random());
            self.watched.insert(Some(endpoint.addr), watched);
        }
        self.let_go(backend);
    }

    /// Tells whether an operator lets the server run empty, wherever its name points to.
    fn is_drained(&self) -> bool {
        let mut wishes = self.watched.values().map(|it| it.member.traffic.wish());
        wishes.any(|wish| wish == Wish::ServerDrained)
    }

    /// Takes out those whose address has gone, and tells whether there were any: they get nothing
    /// new, and their tunnels go on. While the new ones wait for their first checks, those that can
    /// serve stand in for them.
    fn let_go(&mut self, backend: &str) -> bool {
        let staying = || self.watched.values().filter(|watched| !watched.leaving);
        let serves =
            |watched: &Watched| watched.standing() == MemberStanding::Up && watched.weight > 0;
        let unknown = |watched: &Watched| watched.health.standing() == health::Standing::Unknown;
        let replaced = staying().any(serves) || !staying().any(unknown);
        let gone = (self.watched).extract_if(.., |_, watched| {
            watched.leaving && (replaced || watched.standing() == MemberStanding::Down)
        });
        let mut changed = false;
        for (_, watched) in gone {
            changed = true;
            let tunnels = watched.member.traffic.active();
            tracing::info!(backend, server = %watched.member.name, state = "gone", tunnels,
                "the name does not point there any more");
            self.departed.push(Arc::downgrade(&watched.member));
        }
        changed
    }
}

/// Takes the member at `address` out of those who have departed.
fn returned(departed: &mut Vec<Weak<Member>>, address: &Address) -> Option<Arc<Member>> {
    let mut members = departed.iter().map(Weak::upgrade);
    let place = members.position(|it| it.is_some_and(|member| member.address == *address))?;
    departed.swap_remove(place).upgrade()
}

/// Returns what a member is called in logs and metrics: as configured, and which address of it.
fn member_name(server: &BackendServer, endpoint: &Endpoint) -> Arc<str> {
    match &server.address {
        ServerAddress::Name(..) => format!("{}@{}", server.name, endpoint.addr.ip()).into(),
        ServerAddress::Srv(_) => format!("{}@{}", server.name, endpoint.addr).into(),
        ServerAddress::Inet(..) | ServerAddress::Unix(_) => Arc::clone(&server.name),
    }
}

impl Watched {
    fn new(
        member: Arc<Member>,
        weight: u16,
        checks: Option<Checks>,
        now: Duration,
        random: u64,
    ) -> Self {
        let (health, step) = health::Health::new(checks, random);
        let mut watched = Self {
            refused: member.traffic.refused(),
            drained: member.traffic.is_drained(),
            member,
            weight,
            leaving: false,
            health,
            next: None,
            checking: false,
        };
        watched.plan(step.next, now);
        watched.member.record.begin(watched.standing());
        watched
    }

    /// Does what an operator wants of it; tells whether that changed anything.
    fn obey(&mut self, backend: &Backend) -> bool {
        let drained = self.member.traffic.is_drained();
        let changed = drained != self.drained;
        self.drained = drained;
        if changed {
            let why = "an operator wants it so";
            let standing = self.standing();
            self.member.record.note_change(standing, why);
            let state = standing.as_str();
            tracing::info!(backend = %backend.name, server = %self.member.name, state, why, "server");
        }
        changed
    }

    fn standing(&self) -> MemberStanding {
        if self.drained {
            return MemberStanding::Drained;
        }
        match self.health.standing() {
            health::Standing::Up => MemberStanding::Up,
            health::Standing::Suspect => MemberStanding::Suspect,
            health::Standing::Unknown | health::Standing::Down => MemberStanding::Down,
        }
    }

    /// Returns when something is due that nobody announces.
    fn due(&self, now: Duration, room: bool) -> Option<Duration> {
        let planned = match self.next {
            Some(Due::Check(at)) => (room && !self.checking).then_some(at),
            Some(Due::Forgive(at)) => Some(at),
            None => None,
        };
        let suspect = self.health.standing() == health::Standing::Suspect;
        let look = suspect.then(|| now + SUSPECT_LOOK);
        planned.into_iter().chain(look).min()
    }

    fn plan(&mut self, next: Option<Next>, now: Duration) {
        match next {
            Some(Next::Check(pause)) => self.next = Some(Due::Check(now + pause)),
            Some(Next::Forgive(pause)) => self.next = Some(Due::Forgive(now + pause)),
            None => {}
        }
    }

    /// Goes on under other settings of checks; returns how it stands otherwise now, if it does.
    fn reconfigure(&mut self, checks: Option<Checks>, now: Duration, random: u64) -> Option<Said> {
        let step = self.health.reconfigure(checks, random);
        if checks.is_none() && matches!(self.next, Some(Due::Check(_))) {
            self.next = None;
        }
        self.plan(step.next, now);
        Some(self.noted(step.change?, "its checks are configured otherwise"))
    }

    /// Lets the state machine know; returns how it stands otherwise now, if it does.
    fn on(&mut self, event: Event, why: &str, now: Duration, random: u64) -> Option<Said> {
        let step = self.health.on(event, now, random);
        self.plan(step.next, now);
        Some(self.noted(step.change?, why))
    }

    fn noted(&self, change: Change, why: &str) -> Said {
        self.member.record.note_change(self.standing(), why);
        Said {
            server: Arc::clone(&self.member.name),
            change,
            why: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
