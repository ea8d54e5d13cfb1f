//! A backend in a simulated world: servers that crash, hang, come back, are drained and fill up, and
//! clients that come and stay long. Checks run by what `balance::health` orders, weights come from
//! `balance::ramp`, and every choice is held against a plain reading of the rules.
//!
//! A failing seed is printed; `LONGSPLICE_SIM_SEED=n cargo test --test sim churn` replays it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use longsplice::balance::health::{
    Change, Checks, Event, Health, Next, Reason, SUSPICION, SUSPICION_PAUSE, Standing, Step,
};
use longsplice::balance::ramp::{Entrant, weights};
use longsplice::balance::{Asking, Candidate, Chooser, Load, Method, Pick};

use super::NameOnPanic;
use super::world::Random;

/// Seeds of one test run; a few seconds unoptimised.
const SEEDS: u64 = 1_000;
/// Things that happen in one world.
const STEPS: u32 = 400;
/// Times a request may fail.
const TRIES_MAX: usize = 3;
/// Clients whose servers are compared from line-up to line-up.
const PROBES: u32 = 40;

#[test]
fn every_seed_keeps_choices_and_health_honest() {
    let replay = std::env::var("LONGSPLICE_SIM_SEED").ok();
    if let Some(seed) = replay {
        let seed = seed.parse().expect("LONGSPLICE_SIM_SEED is a number");
        println!("{:?}", Backend::new(seed).run());
        return;
    }
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let named = NameOnPanic(seed);
        Backend::new(seed).run().add_to(&mut seen);
        drop(named);
    }
    println!("{seen:?}");
    let Seen {
        served,
        waited,
        refused,
        tried_again,
        went_down,
        came_back,
        suspected,
        last_resort,
        ramped,
        drained,
    } = seen;
    for count in [
        served,
        waited,
        refused,
        tried_again,
        went_down,
        came_back,
        suspected,
        last_resort,
        ramped,
        drained,
    ] {
        // A world in which something never happens would prove nothing about it.
        assert!(count > SEEDS / 10, "{seen:?}");
    }
}

/// How often the interesting things happened.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    served: u64,
    waited: u64,
    refused: u64,
    tried_again: u64,
    went_down: u64,
    came_back: u64,
    suspected: u64,
    last_resort: u64,
    ramped: u64,
    drained: u64,
}

impl Seen {
    fn add_to(self, sum: &mut Self) {
        sum.served += self.served;
        sum.waited += self.waited;
        sum.refused += self.refused;
        sum.tried_again += self.tried_again;
        sum.went_down += self.went_down;
        sum.came_back += self.came_back;
        sum.suspected += self.suspected;
        sum.last_resort += self.last_resort;
        sum.ramped += self.ramped;
        sum.drained += self.drained;
    }
}

/// What a server really is, as opposed to what is thought of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Alive,
    Refusing,
    Hanging,
}

#[derive(Debug)]
struct Server {
    key: String,
    weight: u16,
    drained: bool,
    connections_max: u32,
    connections: u32,
    truth: Truth,
    /// Since when it is alive, or since when it is not.
    since: Duration,
    health: Health,
    order: Option<(Duration, Next)>,
    /// A check under way: when its result is there, and what it will be.
    check: Option<(Duration, Event)>,
}

impl Server {
    /// Returns when something is due that concerns its health.
    fn due(&self) -> Option<Duration> {
        let order = self.order.map(|(at, _)| at);
        let check = self.check.map(|(at, _)| at);
        order.into_iter().chain(check).min()
    }

    fn load(&self) -> Load {
        if self.connections < self.connections_max {
            Load::Active(self.connections)
        } else {
            Load::Full(self.connections)
        }
    }

    fn take(&mut self, step: Step, now: Duration) {
        if let Some(next) = step.next {
            let (Next::Check(delay) | Next::Forgive(delay)) = next;
            self.order = Some((now + delay, next));
        }
    }
}

/// The line-up of a moment: places of servers, their weights, and the chooser.
#[derive(Debug)]
struct LineUp {
    places: Vec<usize>,
    weights: Vec<u16>,
    change_at: Option<Duration>,
    chooser: Chooser,
}

struct Backend {
    random: Random,
    method: Method,
    checks: Option<Checks>,
    slow_start: Duration,
    servers: Vec<Server>,
    line_up: LineUp,
    now: Duration,
    ticket: usize,
    seen: Seen,
}

impl Backend {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // The table of maglev takes most of the time, so it stands last and comes less often.
        let mut methods = Method::ALL.to_vec();
        methods.sort_by_key(|method| *method == Method::Maglev);
        let rare = usize::from(!random.one_in(12));
        let count = u32::try_from(methods.len() - rare).expect("a few");
        let method = methods[random.below(count) as usize];
        let interval = Duration::from_millis(u64::from(500 + random.below(9_500)));
        let checks = Checks {
            interval,
            fast_interval: Checks::fast(interval),
            timeout: Duration::from_millis(u64::from(100 + random.below(2_000))),
            rise: 1 + random.below(3),
            fall: 1 + random.below(3),
        };
        let checks = random.chance(70).then_some(checks);
        let slow_start = Duration::from_secs(u64::from(random.below(2) * 20));
        let count = 1 + random.below(6);
        let now = Duration::from_secs(5);
        let server = |place| server(place, checks, now, &mut random);
        let servers: Vec<Server> = (0..count).map(server).collect();
        let line_up = line_up(method, &servers, now, slow_start);
        Self {
            random,
            method,
            checks,
            slow_start,
            servers,
            line_up,
            now,
            ticket: 0,
            seen: Seen::default(),
        }
    }

    fn run(mut self) -> Seen {
        for _ in 0..STEPS {
            let pause = if self.random.one_in(4) { 3_000 } else { 100 };
            let pause = u64::from(self.random.below(pause));
            self.pass(Duration::from_millis(pause));
            let place = self
                .random
                .below(u32::try_from(self.servers.len()).expect("few"));
            let place = place as usize;
            match self.random.below(100) {
                0..60 => self.request(),
                60..75 => self.end_tunnel(place),
                75..82 => self.turn(place, Truth::Refusing),
                82..84 => self.turn(place, Truth::Hanging),
                84..94 => self.turn(place, Truth::Alive),
                94..96 => self.drain(place, true),
                _ => self.drain(place, false),
            }
        }
        self.settle();
        self.seen
    }

    /// Lets time pass, and at its moments what is due happen.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.servers.iter().filter_map(Server::due);
            let due = due.chain(self.line_up.change_at).min();
            self.now = match due {
                Some(due) if due <= end => due.max(self.now),
                _ => break,
            };
            for place in 0..self.servers.len() {
                self.look_after(place);
            }
            if self.line_up.change_at.is_some_and(|at| at <= self.now) {
                self.seen.ramped += 1;
                self.line_up_again();
            }
        }
        self.now = end;
        self.assert_health();
    }

    fn look_after(&mut self, place: usize) {
        let now = self.now;
        let server = &mut self.servers[place];
        if let Some((_, event)) = server.check.take_if(|(at, _)| *at <= now) {
            self.tell(place, event);
        }
        let server = &mut self.servers[place];
        match server.order.take_if(|(at, _)| *at <= now) {
            // A result is on its way and will order the next one.
            Some((_, Next::Check(_))) if server.check.is_some() => {}
            Some((_, Next::Check(_))) => {
                let timeout = self.checks.expect("checks were ordered").timeout;
                server.check = Some(match server.truth {
                    Truth::Alive => (now, Event::CheckPassed),
                    Truth::Refusing => (now, Event::CheckFailed(Reason::Refused)),
                    Truth::Hanging => (now + timeout, Event::CheckFailed(Reason::TimedOut)),
                });
            }
            Some((_, Next::Forgive(_))) => self.tell(place, Event::SuspicionOver),
            None => {}
        }
    }

    fn tell(&mut self, place: usize, event: Event) {
        let random = self.random.next();
        let server = &mut self.servers[place];
        let before = server.health.standing();
        let step = server.health.on(event, self.now, random);
        server.take(step, self.now);
        match step.change {
            Some(Change::Down) => self.seen.went_down += 1,
            Some(Change::Up) if before == Standing::Down => self.seen.came_back += 1,
            Some(Change::Suspected) => self.seen.suspected += 1,
            Some(Change::Up | Change::Cleared) | None => {}
        }
        if step.change.is_some() {
            assert_ne!(before, server.health.standing());
            self.line_up_again();
        } else {
            assert_eq!(before, server.health.standing());
        }
    }

    /// What is thought of a server becomes true in time.
    fn assert_health(&self) {
        for server in &self.servers {
            let standing = server.health.standing();
            let time = self.now - server.since;
            let Some(checks) = self.checks else {
                assert!(matches!(standing, Standing::Up | Standing::Suspect));
                let forgiven = time > SUSPICION + SUSPICION_PAUSE;
                assert!(server.truth != Truth::Alive || !forgiven || standing == Standing::Up);
                continue;
            };
            let late = |delay: Duration| delay + delay / 10;
            // One check may have begun just before the change.
            let first = checks.timeout + late(checks.interval) + checks.timeout;
            let bound =
                |times: u32| first + (late(checks.fast_interval) + checks.timeout) * (times - 1);
            if server.truth == Truth::Alive && time > bound(checks.rise) {
                assert_eq!(standing, Standing::Up, "alive for {time:?}");
            }
            if server.truth != Truth::Alive && time > bound(checks.fall) {
                assert_eq!(standing, Standing::Down, "dead for {time:?}");
            }
        }
    }

    fn turn(&mut self, place: usize, truth: Truth) {
        let server = &mut self.servers[place];
        if (server.truth == Truth::Alive) != (truth == Truth::Alive) {
            server.since = self.now;
        }
        server.truth = truth;
        if truth == Truth::Refusing {
            // Its process is gone, and all connections with it.
            server.connections = 0;
        }
    }

    fn end_tunnel(&mut self, place: usize) {
        let server = &mut self.servers[place];
        server.connections = server.connections.saturating_sub(1);
    }

    fn drain(&mut self, place: usize, drained: bool) {
        self.seen.drained += u64::from(drained);
        self.servers[place].drained = drained;
        self.line_up_again();
    }

    /// Makes a new line-up, and checks that no client moved without need.
    fn line_up_again(&mut self) {
        let after = line_up(self.method, &self.servers, self.now, self.slow_start);
        let before = std::mem::replace(&mut self.line_up, after);
        let after = &self.line_up;
        let same_weights = before
            .places
            .iter()
            .zip(&before.weights)
            .all(|(place, weight)| {
                let now = after.places.iter().position(|other| other == place);
                now.is_none_or(|now| after.weights[now] == *weight)
            });
        if self.method != Method::Source || !same_weights {
            return;
        }
        for number in 0..PROBES {
            let home = |line_up: &LineUp| {
                let asking = asking(number, 0, 0);
                match line_up.chooser.choose(&asking, |_| Load::Active(0)) {
                    Pick::Server(index) => Some(line_up.places[index]),
                    Pick::Wait(_) => panic!("idle servers have room"),
                    Pick::Nobody => None,
                }
            };
            let (Some(old), Some(new)) = (home(&before), home(after)) else {
                continue;
            };
            let left = !after.places.contains(&old);
            let came = !before.places.contains(&new);
            assert!(
                old == new || left || came,
                "client {number}: {old} to {new}"
            );
        }
    }

    fn request(&mut self) {
        let client = self.random.below(1 << 20);
        self.ticket += 1;
        let asking = asking(client, self.ticket, self.random.next());
        let mut tried = Vec::new();
        while tried.len() < TRIES_MAX {
            let pick = self.choose(&asking, &tried);
            let Pick::Server(place) = pick else {
                match pick {
                    Pick::Wait(_) => self.seen.waited += 1,
                    Pick::Nobody | Pick::Server(_) => self.seen.refused += 1,
                }
                return;
            };
            if self.servers[place].truth == Truth::Alive {
                self.servers[place].connections += 1;
                self.seen.served += 1;
                self.tell(place, Event::ConnectWorked);
                return;
            }
            self.seen.tried_again += 1;
            tried.push(place);
            self.tell(place, Event::ConnectFailed);
        }
    }

    /// Chooses, holds the choice against the rules, and returns the place among all servers.
    fn choose(&mut self, asking: &Asking, tried: &[usize]) -> Pick {
        let LineUp {
            places,
            weights,
            chooser,
            ..
        } = &self.line_up;
        let load = |index: usize| match places[index] {
            place if tried.contains(&place) => Load::Tried,
            place => self.servers[place].load(),
        };
        let pick = chooser.choose(asking, load);
        let loads: Vec<Load> = (0..places.len()).map(load).collect();
        let sticky = matches!(self.method, Method::Source | Method::Maglev);
        let any = |wanted: fn(&Load) -> bool| {
            let mut weighted = loads.iter().zip(weights).filter(|(_, weight)| **weight > 0);
            weighted.any(|(load, _)| wanted(load))
        };
        let room = any(|load| matches!(load, Load::Active(_)));
        let full = any(|load| matches!(load, Load::Full(_)));
        match pick {
            Pick::Server(index) => {
                let server = &self.servers[places[index]];
                assert!(matches!(loads[index], Load::Active(_)));
                assert!(!server.drained && weights[index] > 0);
                match server.health.standing() {
                    Standing::Up => {}
                    Standing::Suspect => self.seen.last_resort += 1,
                    Standing::Unknown | Standing::Down => panic!("{:?}", server.health),
                }
                if self.method == Method::LeastConnections {
                    assert_least(index, &loads, weights);
                }
            }
            Pick::Wait(Some(index)) => assert!(sticky && matches!(loads[index], Load::Full(_))),
            Pick::Wait(None) => assert!(!sticky && full && !room),
            Pick::Nobody => assert!(!full && !room),
        }
        let usable = |server: &Server| {
            let standing = server.health.standing();
            !server.drained && matches!(standing, Standing::Up | Standing::Suspect)
        };
        if tried.is_empty() && self.servers.iter().any(usable) {
            assert_ne!(pick, Pick::Nobody, "a suspicion turned a request away");
        }
        match pick {
            Pick::Server(index) => Pick::Server(places[index]),
            Pick::Wait(_) | Pick::Nobody => pick,
        }
    }

    /// Peace returns: every server is alive and trusted in time, and with `least_connections` the
    /// imbalance that is left is gone once as many clients have come as it takes.
    fn settle(&mut self) {
        for place in 0..self.servers.len() {
            self.turn(place, Truth::Alive);
            self.drain(place, false);
            self.servers[place].connections_max = u32::MAX;
        }
        self.pass(Duration::from_secs(60));
        let up = |server: &Server| server.health.standing() == Standing::Up;
        assert!(self.servers.iter().all(up));
        assert_eq!(self.line_up.places.len(), self.servers.len());
        assert_eq!(self.line_up.change_at, None);
        if self.method != Method::LeastConnections {
            return;
        }
        let most = |server: &Server| u64::from(server.connections) / u64::from(server.weight) + 1;
        let level = self.servers.iter().map(most).max().expect("one at least");
        let weights = self.servers.iter().map(|server| u64::from(server.weight));
        for _ in 0..weights.map(|weight| weight * level).sum() {
            self.request();
        }
        for one in &self.servers {
            for other in &self.servers {
                let own = u64::from(one.connections) * u64::from(other.weight);
                let others = u64::from(other.connections + 1) * u64::from(one.weight);
                assert!(own <= others, "{one:?} {other:?}");
            }
        }
    }
}

fn server(place: u32, checks: Option<Checks>, now: Duration, random: &mut Random) -> Server {
    let truth = if random.chance(80) {
        Truth::Alive
    } else {
        Truth::Refusing
    };
    let (health, step) = Health::new(checks, random.next());
    let mut server = Server {
        key: format!("10.0.0.{place}:80"),
        weight: u16::try_from(1 + random.below(4)).expect("small"),
        drained: false,
        connections_max: if random.chance(50) { 3 } else { 1000 },
        connections: 0,
        truth,
        since: now,
        health,
        order: None,
        check: None,
    };
    server.take(step, now);
    server
}

fn asking(client: u32, ticket: usize, random: u64) -> Asking {
    Asking {
        client: Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + client))),
        ticket,
        random,
    }
}

/// Those that are up, or else those that are suspect; a drained one stays with weight 0.
fn line_up(method: Method, servers: &[Server], now: Duration, slow_start: Duration) -> LineUp {
    let weight = |server: &Server| if server.drained { 0 } else { server.weight };
    let of = |standing| {
        let all = servers.iter().enumerate();
        let stand = all.filter(move |(_, server)| server.health.standing() == standing);
        stand.map(|(place, _)| place).collect::<Vec<usize>>()
    };
    let mut places = of(Standing::Up);
    if places.iter().all(|place| weight(&servers[*place]) == 0) {
        places = of(Standing::Suspect);
    }
    let entrant = |place: &usize| Entrant {
        weight: weight(&servers[*place]),
        since: servers[*place].health.came_back_at().map(|at| now - at),
    };
    let entrants: Vec<Entrant> = places.iter().map(entrant).collect();
    let ramped = weights(&entrants, slow_start);
    let candidate = |(place, weight): (&usize, &u16)| Candidate {
        key: &servers[*place].key,
        weight: *weight,
    };
    let candidates: Vec<Candidate<'_>> =
        places.iter().zip(&ramped.weights).map(candidate).collect();
    LineUp {
        chooser: Chooser::new(method, &candidates),
        places,
        weights: ramped.weights,
        change_at: ramped.change_in.map(|delay| now + delay),
    }
}

/// Nobody with room would carry less by weight.
fn assert_least(picked: usize, loads: &[Load], weights: &[u16]) {
    let burden = |index: usize| match loads[index] {
        Load::Active(count) if weights[index] > 0 => {
            Some((u64::from(count) + 1, u64::from(weights[index])))
        }
        Load::Active(_) | Load::Full(_) | Load::Tried => None,
    };
    let (own, own_weight) = burden(picked).expect("it has room");
    for (other, weight) in (0..loads.len()).filter_map(burden) {
        assert!(
            own * weight <= other * own_weight,
            "{picked}: {loads:?} {weights:?}"
        );
    }
}
