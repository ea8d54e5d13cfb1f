//! The tunnel's state machine in a simulated world: two peers, their connections with the rules of
//! edge-triggered readiness, and a loop that does what the machine says, all driven by one seed.
//!
//! In half of the worlds the client speaks TLS (`records`), in a third of them, of either kind, the
//! server does: the bytes of such an end come in records that are opened whole, those to it are sealed
//! and become more, and its end is a close_notify or a truncation. Either direction may be left to a
//! kernel at either end on the way.
//!
//! In half of the worlds the server speaks in frames (`frames`) that the loop follows, so that a Close
//! frame can come between two of them when the tunnel is ended.
//!
//! Bytes are positions in a stream, so that order, loss and repetition show as a wrong number. A
//! failing seed is printed; `LONGSPLICE_SIM_SEED=n cargo test --test sim tunnel` replays it with a trace.
//!
//! `churn` simulates something else: the servers of a backend, and the choice among them.

mod actions;
mod churn;
mod frames;
mod records;
mod verdict;
mod world;

use longsplice::journal::Cause;
use longsplice::proto::readiness::Readiness;
use longsplice::relay::tunnel::{Close, End, Flow, Tunnel};

use frames::Speech;
use records::{OVERHEAD, Records};
use world::{Plan, Random, Wire};

/// Seeds of one test run; a few seconds unoptimised.
const SEEDS: u64 = 20_000;
/// Batches without a byte that moves after which a world that has gone quiet must have settled.
const SETTLING_MAX: u32 = 20_000;

const ENDS: [End; 2] = [End::Client, End::Server];

#[test]
fn every_seed_keeps_the_tunnel_honest() {
    let replay = std::env::var("LONGSPLICE_SIM_SEED").ok();
    if let Some(seed) = replay {
        let seed = seed.parse().expect("LONGSPLICE_SIM_SEED is a number");
        Sim::new(seed, true).run();
        return;
    }
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let named = NameOnPanic(seed);
        Sim::new(seed, false).run().note(&mut seen);
        drop(named);
    }
    // A world in which something never happens would prove nothing about it.
    println!("{seen:?}");
    for count in [
        seen.closed,
        seen.reset,
        seen.timed_out,
        seen.spliced,
        seen.blocked,
        seen.yielded,
        seen.truncated,
        seen.refused,
        seen.protected_and_closed,
        seen.truncated_by_server,
        seen.refused_by_server,
        seen.both_protected_and_closed,
        seen.both_in_kernel,
        seen.opened_by_kernel,
        seen.sealed_by_kernel,
        seen.aligned,
        seen.control_taken,
        seen.rekeyed,
        seen.said_goodbye,
        seen.kept_quiet,
    ] {
        assert!(count > SEEDS / 200, "{seen:?}");
    }
}

struct NameOnPanic(u64);

impl Drop for NameOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0} fails: LONGSPLICE_SIM_SEED={0} replays it", self.0);
        }
    }
}

/// How often the interesting things happened.
#[derive(Debug, Default)]
struct Seen {
    closed: u64,
    reset: u64,
    timed_out: u64,
    spliced: u64,
    blocked: u64,
    yielded: u64,
    truncated: u64,
    refused: u64,
    protected_and_closed: u64,
    truncated_by_server: u64,
    refused_by_server: u64,
    both_protected_and_closed: u64,
    both_in_kernel: u64,
    opened_by_kernel: u64,
    sealed_by_kernel: u64,
    aligned: u64,
    control_taken: u64,
    rekeyed: u64,
    said_goodbye: u64,
    kept_quiet: u64,
}

/// Bytes `from..from + len` of a stream, on their way through the loop.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    from: u64,
    len: u32,
}

/// What the loop keeps for one flow.
#[derive(Debug, Default)]
struct Hands {
    fresh: Span,
    kept: Span,
    pipe: Span,
    has_pipe: bool,
    yielded: bool,
}

struct Sim {
    /// What the server says in frames that are followed.
    speech: Option<Speech>,
    says_goodbye: bool,
    keeps_quiet: bool,
    /// Of the client and the server; present = that end speaks TLS.
    records: [Option<Records>; 2],
    random: Random,
    plan: Plan,
    trace: bool,
    tunnel: Tunnel,
    wires: [Wire; 2],
    hands: [Hands; 2],
    notices: Vec<(End, Readiness)>,
    close: Option<Close>,
    /// The end whose FIN the loop received first.
    first_end: Option<End>,
    imposed: Option<Cause>,
    /// What the tunnel must have counted as sent to the client.
    counted_out: u64,
    blocked: bool,
    yields: bool,
}

impl Sim {
    fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
        let wires = ENDS.map(|_| Wire::new(&mut random, &plan));
        let early = [0, 1].map(|_| {
            if random.one_in(4) {
                random.below(70_000)
            } else {
                0
            }
        });
        let speaks_tls = [random.one_in(2), random.one_in(3)];
        let mut kept = early;
        for flow in Flow::BOTH {
            if speaks_tls[flow.target() as usize] && early[flow as usize] > 0 {
                kept[flow as usize] += OVERHEAD;
            }
        }
        let records = ENDS.map(|end| {
            let first = early[Flow::from(end) as usize];
            let sealed = kept[Flow::from(end.other()) as usize];
            speaks_tls[end as usize]
                .then(|| Records::new(&mut random, u64::from(first), u64::from(sealed)))
        });
        let plans = records
            .each_ref()
            .map(|records| Some(records.as_ref()?.offload));
        let protected = speaks_tls.contains(&true);
        let tunnel = if protected {
            Tunnel::open_protected(kept, early.map(u64::from), plans)
        } else {
            Tunnel::open(kept[0], kept[1])
        };
        let mut sim = Self {
            speech: None,
            says_goodbye: false,
            keeps_quiet: false,
            records,
            tunnel,
            random,
            plan,
            trace,
            wires,
            hands: Default::default(),
            notices: vec![],
            close: None,
            first_end: None,
            imposed: None,
            counted_out: if protected { u64::from(early[1]) } else { 0 },
            blocked: false,
            yields: false,
        };
        for flow in Flow::BOTH {
            // Early bytes are the first of the stream, received before the tunnel opened.
            let len = early[flow as usize];
            sim.hands[flow as usize].kept = Span {
                from: 0,
                len: kept[flow as usize],
            };
            let source = &mut sim.wires[flow.source() as usize];
            source.arrived = u64::from(len);
            source.received = u64::from(len);
        }
        if sim.random.one_in(2) {
            let mut speech = Speech::new(&mut sim.random);
            speech.feed(u64::from(early[1]));
            sim.speech = Some(speech);
            sim.tunnel.follow_frames();
        }
        sim.log(|sim| format!("{:?} {:?}", sim.plan, sim.records));
        sim
    }

    fn run(mut self) -> Self {
        self.serve();
        for _ in 0..self.random.below(400) {
            self.step();
            if self.close.is_some() {
                break;
            }
        }
        // Most resets above are followed by something that wakes the tunnel anyway; this one is not.
        let end = self.random.below(8) as usize;
        if self.plan.reset > 0 && end < 2 && !self.wires[end].reset {
            let what = self.wires[end].break_off(&mut self.random);
            self.log(|_| format!("  {:?} {what}", ENDS[end]));
        }
        self.settle();
        self.expect_no_lost_wake_up();
        if self.speech.is_some() && self.random.one_in(4) {
            self.drain();
        }
        // Now both peers say and hear everything there is, and end.
        for _ in 0..SETTLING_MAX {
            if self.close.is_some() {
                break;
            }
            for wire in &mut self.wires {
                wire.finish_sending(&mut self.random);
                wire.finish_reading();
            }
            self.settle();
        }
        assert!(self.close.is_some(), "never closed: {:?}", self.wires);
        self.expect_silence_after_the_close();
        self
    }

    fn note(&self, seen: &mut Seen) {
        let close = self.close.expect("checked by run");
        seen.closed += u64::from(matches!(
            close.cause,
            Cause::ClientClosed | Cause::ServerClosed
        ));
        seen.reset += u64::from(close.reset.is_some());
        seen.truncated += u64::from(close.cause == Cause::ClientTruncated);
        seen.refused += u64::from(close.cause == Cause::TlsBadRecord);
        seen.truncated_by_server += u64::from(close.cause == Cause::ServerTruncated);
        seen.refused_by_server += u64::from(close.cause == Cause::ServerTlsBadRecord);
        let well = matches!(close.cause, Cause::ServerClosed | Cause::ClientClosed);
        let protected = self.records.iter().flatten().count();
        seen.protected_and_closed += u64::from(protected == 1 && well);
        seen.both_protected_and_closed += u64::from(protected == 2 && well);
        for records in self.records.iter().flatten() {
            seen.opened_by_kernel += u64::from(records.opened_by_kernel > 0);
            seen.sealed_by_kernel += u64::from(records.sealed_by_kernel > 0);
            seen.aligned += u64::from(records.aligned);
            seen.control_taken += u64::from(records.control_taken);
            seen.rekeyed += u64::from(records.rekeyed);
        }
        seen.both_in_kernel += u64::from(Flow::BOTH.into_iter().any(|flow| {
            let of = |end: End| self.records[end as usize].as_ref();
            of(flow.source()).is_some_and(|records| records.opened_by_kernel > 0)
                && of(flow.target()).is_some_and(|records| records.sealed_by_kernel > 0)
        }));
        seen.said_goodbye += u64::from(self.says_goodbye);
        seen.kept_quiet += u64::from(self.keeps_quiet);
        seen.timed_out += u64::from(self.imposed.is_some());
        seen.spliced += u64::from(
            Flow::BOTH
                .iter()
                .any(|flow| self.tunnel.path(*flow).spliced),
        );
        seen.blocked += u64::from(self.blocked);
        seen.yielded += u64::from(self.yields);
    }

    fn log(&self, text: impl FnOnce(&Self) -> String) {
        if self.trace {
            println!("{}", text(self));
        }
    }

    /// One thing happens: in the world, in the poller, or in the loop.
    fn step(&mut self) {
        match self.random.below(10) {
            0..=4 => self.world_step(),
            5 => self.fetch(),
            6 | 7 => self.handle(),
            8 => self.take_turns(),
            _ => self.mischief(),
        }
    }

    fn world_step(&mut self) {
        let end = ENDS[self.random.below(2) as usize];
        let what = self.wires[end as usize].step(&mut self.random, &self.plan);
        self.log(|_| format!("  {end:?} {what}"));
    }

    /// The poller looks at what was triggered: present state, one notice, however many triggers.
    fn fetch(&mut self) {
        for end in ENDS {
            let wire = &mut self.wires[end as usize];
            if std::mem::take(&mut wire.triggered) {
                let ready = wire.readiness();
                if ready != Readiness::default() {
                    self.notices.push((end, ready));
                }
            }
        }
    }

    /// The loop handles one notice, not always the oldest of another descriptor.
    fn handle(&mut self) {
        if self.notices.is_empty() {
            return;
        }
        let (end, ready) = self.notices.remove(0);
        if self.random.one_in(20) {
            self.notices.push((end, ready));
        }
        self.on_ready(end, ready);
    }

    fn on_ready(&mut self, end: End, ready: Readiness) {
        self.log(|_| format!("notice {end:?} {ready:?}"));
        match self.tunnel.on_ready(end, ready) {
            Some(close) => self.on_close(close),
            None => self.serve(),
        }
    }

    /// Spurious notices, and ends from outside.
    fn mischief(&mut self) {
        let end = ENDS[self.random.below(2) as usize];
        if self.random.chance(self.plan.spurious) {
            let ready = self.wires[end as usize].readiness();
            self.on_ready(end, ready);
        }
        if self.random.chance(self.plan.ended_from_outside) {
            let timeout = self.random.one_in(2);
            let half = self.tunnel.is_half_closed();
            let cause = match (timeout, half) {
                (false, _) => return self.drain(),
                (true, true) => Cause::HalfCloseIdle,
                (true, false) => Cause::TunnelIdle,
            };
            let close = self.tunnel.expire();
            self.on_imposed(cause, close);
        }
    }

    fn drain(&mut self) {
        let close = self.tunnel.end(Cause::Drained);
        self.on_imposed(Cause::Drained, close);
    }

    fn on_imposed(&mut self, cause: Cause, close: Option<Close>) {
        if let Some(close) = close {
            self.imposed = Some(cause);
            self.on_close(close);
        }
    }

    fn take_turns(&mut self) {
        let yielded = self.hands.iter().any(|hands| hands.yielded);
        if yielded {
            self.serve();
        }
    }

    /// As the loop serves a tunnel: every flow that can run, those that yield once.
    fn serve(&mut self) {
        for hands in &mut self.hands {
            hands.yielded = false;
        }
        while self.close.is_none() {
            let runs =
                |flow: &Flow| !self.hands[*flow as usize].yielded && self.tunnel.can_run(*flow);
            let Some(flow) = Flow::BOTH.into_iter().find(runs) else {
                return;
            };
            self.pump(flow);
        }
    }

    /// Everything that was triggered is reported and handled; the peers do nothing.
    fn settle(&mut self) {
        let (mut moved, mut still) = (self.moved(), 0);
        while still < SETTLING_MAX {
            let triggered = self.wires.iter().any(|wire| wire.triggered);
            let yielded = self.hands.iter().any(|hands| hands.yielded);
            let quiet = !triggered && !yielded && self.notices.is_empty();
            if quiet || self.close.is_some() {
                return;
            }
            self.fetch();
            self.handle();
            self.take_turns();
            // However slow a world is, it has an end as long as it moves: its bytes are counted.
            still = if self.moved() == moved { still + 1 } else { 0 };
            moved = self.moved();
        }
        panic!("spins for ever");
    }

    /// Bytes that were received and sent, at both ends.
    fn moved(&self) -> u64 {
        self.wires.iter().map(|it| it.received + it.sent).sum()
    }
}
