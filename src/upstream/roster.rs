//! All members of one backend, and their standings over time. No socket and no clock: results of checks,
//! resolved names and failed connections come in with their time; due checks and standings come out. Each
//! change is one line in the log and one entry in the member's [`Record`](super::Record).

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

/// Interval at which a suspect member is looked at: whether connections to it work again.
const SUSPECT_LOOK: Duration = Duration::from_millis(250);

/// All members of one backend.
#[derive(Debug)]
pub(super) struct Roster {
    backend: Arc<Backend>,
    checks: Option<Checks>,
    posts: Vec<Post>,
    /// Whether seats have changed since they were last read.
    changed: bool,
    /// When seats change by themselves, because of a slow start.
    ramp_due: Option<Duration>,
    /// Changes to log once the line-up that has them is published.
    unsaid: Vec<Said>,
    /// Whether it was logged that this machine cannot run checks.
    said_ours: bool,
}

/// One `[[backend.server]]` and its members.
#[derive(Debug)]
struct Post {
    server: BackendServer,
    /// TLS settings; none = plain.
    tls: Option<Arc<TlsToServer>>,
    /// Whether its name was resolved at least once, with or without an answer.
    asked: bool,
    /// The state of its name, if it has one.
    watch: Watch,
    watched: BTreeMap<Spot, Watched>,
    /// Members whose address has gone from the name, while they still have tunnels.
    departed: Vec<Weak<Member>>,
}

/// Identifies the members of one post: their endpoint.
type Spot = Option<std::net::SocketAddr>;

/// A member and its health.
#[derive(Debug)]
struct Watched {
    member: Arc<Member>,
    weight: u16,
    health: health::Health,
    next: Option<Due>,
    checking: bool,
    /// Failed connections that the health state has counted already.
    refused: u64,
    /// Whether the name no longer has this address, and the member only serves until a new one is up.
    leaving: bool,
    /// Whether the operator's drain has been applied.
    drained: bool,
}

/// A change of a member, to be logged.
#[derive(Debug)]
struct Said {
    server: Arc<str>,
    change: Change,
    why: String,
}

/// Work that is due at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Check(Duration),
    Forgive(Duration),
}

/// A check that is due now.
#[derive(Debug)]
pub(super) struct Job {
    /// The member to check.
    pub(super) member: Arc<Member>,
}

impl Roster {
    /// Makes a roster of the servers whose addresses need no resolution.
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

    /// Changes to another configuration: a member whose address stays keeps its health and its traffic.
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

    /// Logs the changes of members. To be called after the line-up that has them is published, so that the
    /// log is never ahead of it.
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

    /// Returns whether the seats have changed since they were last read, or change by `now`.
    pub(super) fn is_changed(&self, now: Duration) -> bool {
        self.changed || !self.unsaid.is_empty() || self.ramp_due.is_some_and(|due| due <= now)
    }

    /// Returns the seats of all members.
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

    /// Returns the checks that are due, at most `room`, and counts them as running.
    pub(super) fn due_checks(&mut self, now: Duration, room: usize) -> Vec<Job> {
        let mut due: Vec<(Duration, &mut Watched)> = (self.posts.iter_mut())
            .flat_map(|post| post.watched.values_mut())
            .filter_map(|watched| match watched.next {
                Some(Due::Check(at)) if at <= now && !watched.checking => Some((at, watched)),
                Some(Due::Check(_) | Due::Forgive(_)) | None => None,
            })
            .collect();
        // The check that was due first comes first.
        due.sort_by_key(|(at, _)| *at);
        let job = |(_, watched): (Duration, &mut Watched)| {
            watched.checking = true;
            Job {
                member: Arc::clone(&watched.member),
            }
        };
        due.into_iter().take(room).map(job).collect()
    }

    /// Returns the time of the next work that no event announces; a check counts only while there is `room`
    /// for one.
    pub(super) fn next_due(&self, now: Duration, room: bool) -> Option<Duration> {
        let due = self
            .everybody()
            .filter_map(|watched| watched.due(now, room));
        due.chain(self.ramp_due).min()
    }

    /// Applies the result of a check.
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
        // The member's address may have gone meanwhile.
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

    /// Applies recent failures and successes of connections, and lifts suspicions that are over.
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
            // Fewer in a row than in total: a connection succeeded in between.
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

    /// Applies the answer to a question for a server's name; returns when to ask again.
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

    /// Returns whether some member may get connections, or every member has been checked once.
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
    /// Makes the post of a server; a server with a name has no members until the name is resolved.
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

    /// Applies other settings to members at the same address.
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
            // A server whose settings stay the same keeps its TLS sessions for resumption.
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

    /// Replaces the members by those of the resolved name. A member that stays keeps its health.
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
            // It was absent when the drain of its server was lifted.
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
                // A configured weight of 0 applies whatever DNS says.
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
            // It may have been absent during a reload.
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

    /// Returns whether the operator drains the server, whatever its addresses.
    fn is_drained(&self) -> bool {
        let mut wishes = self.watched.values().map(|it| it.member.traffic.wish());
        wishes.any(|wish| wish == Wish::ServerDrained)
    }

    /// Removes members whose address has gone from the name, and returns whether there were any. They get no
    /// new connections, and their tunnels go on. While the new members wait for their first checks, removed
    /// ones that can serve stay in use.
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

/// Takes the member at `address` out of the departed ones.
fn returned(departed: &mut Vec<Weak<Member>>, address: &Address) -> Option<Arc<Member>> {
    let mut members = departed.iter().map(Weak::upgrade);
    let place = members.position(|it| it.is_some_and(|member| member.address == *address))?;
    departed.swap_remove(place).upgrade()
}

/// Returns the name of a member in logs and metrics: as configured, with the address if there are several.
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

    /// Applies the operator's wish; returns whether that changed anything.
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

    /// Returns the time of the next work that no event announces.
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

    /// Applies other settings of checks; returns the new standing if it changed.
    fn reconfigure(&mut self, checks: Option<Checks>, now: Duration, random: u64) -> Option<Said> {
        let step = self.health.reconfigure(checks, random);
        if checks.is_none() && matches!(self.next, Some(Due::Check(_))) {
            self.next = None;
        }
        self.plan(step.next, now);
        Some(self.noted(step.change?, "its checks are configured otherwise"))
    }

    /// Passes an event to the state machine; returns the new standing if it changed.
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
