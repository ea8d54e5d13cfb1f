//! The world around the tunnel: peers with a plan, and connections that keep the kernel's promises
//! about edges, but not one more.

use longsplice::proto::readiness::Readiness;
use longsplice::relay::tunnel::Outcome;

/// A small reproducible generator (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).expect("smaller than the limit")
    }

    pub(crate) fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    /// Returns true in `percent` of 100.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn pick(&mut self, from: &[u32]) -> u32 {
        from[self.below(u32::try_from(from.len()).expect("short")) as usize]
    }
}

/// What kind of world it is; percentages unless said.
#[derive(Debug)]
pub(crate) struct Plan {
    pub spurious: u32,
    pub interleaved: u32,
    pub no_pipe: u32,
    pub ended_from_outside: u32,
    pub unsupported: [bool; 2],
    would_block: u32,
    partial: u32,
    pub(crate) reset: u32,
    urgent: u32,
    /// Largest piece a peer sends, in bytes.
    piece: u32,
}

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            spurious: random.pick(&[0, 5, 50]),
            interleaved: random.pick(&[0, 5, 40]),
            no_pipe: random.pick(&[0, 0, 30, 100]),
            ended_from_outside: random.pick(&[0, 0, 0, 3]),
            unsupported: [random.one_in(8), random.one_in(8)],
            would_block: random.pick(&[0, 2, 15]),
            partial: random.pick(&[0, 20, 80]),
            reset: random.pick(&[0, 0, 1, 4, 30]),
            urgent: random.pick(&[0, 0, 0, 5]),
            piece: random.pick(&[100, 20_000, 300_000, 2_000_000]),
        }
    }
}

/// One connection of the proxy, and the peer at its far end. Counts are positions in the streams.
#[derive(Debug)]
pub(crate) struct Wire {
    /// From the peer: bytes that reached us, and those the loop has received.
    pub arrived: u64,
    pub received: u64,
    /// To the peer: bytes the loop has sent.
    pub sent: u64,
    /// The peer has ended.
    pub fin: bool,
    /// We have.
    pub shut: bool,
    /// The connection is broken.
    pub reset: bool,
    /// A send found no room, so room is going to be an edge.
    pub full: bool,
    /// An edge waits for the poller to look.
    pub triggered: bool,
    heard: u64,
    left_to_say: u64,
    /// Error that the next call takes away.
    error: bool,
    /// A receive stops here.
    urgent_mark: Option<u64>,
    room_in: u32,
    room_out: u32,
}

impl Wire {
    pub(crate) fn new(random: &mut Random, plan: &Plan) -> Self {
        let most = plan
            .piece
            .saturating_mul(random.pick(&[1, 4, 30]))
            .min(20_000_000);
        Self {
            arrived: 0,
            received: 0,
            sent: 0,
            fin: false,
            shut: false,
            reset: false,
            full: false,
            // The state at arming is the first edge.
            triggered: true,
            heard: 0,
            left_to_say: u64::from(random.below(most)),
            error: false,
            urgent_mark: None,
            room_in: random.pick(&[1, 5_000, 65_536, 300_000, 4_000_000]),
            room_out: random.pick(&[1, 3_000, 65_536, 300_000, 4_000_000]),
        }
    }

    /// Tells whether the peer sends nothing behind `position`.
    pub(crate) fn has_said_all(&self, position: u64) -> bool {
        self.left_to_say == 0 && position == self.arrived
    }

    /// Returns the state a poller sees now.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut ready = Readiness::default();
        if self.arrived > self.received || self.fin || self.reset {
            ready = ready | Readiness::READABLE;
        }
        if self.free() > 0 || self.reset {
            ready = ready | Readiness::WRITABLE;
        }
        if self.fin || self.reset || self.urgent_mark.is_some_and(|mark| mark >= self.received) {
            ready = ready | Readiness::STICKY;
        }
        if self.error {
            ready = ready | Readiness::BROKEN;
        }
        ready
    }

    /// The peer does something; returns what, for the trace.
    pub(crate) fn step(&mut self, random: &mut Random, plan: &Plan) -> String {
        if self.reset {
            return "is gone".into();
        }
        match random.below(6) {
            0..=2 => self.say(random, plan),
            3 if random.chance(plan.reset) => self.break_off(random),
            3 => "idles".into(),
            _ => {
                let waiting = u32::try_from(self.sent - self.heard).expect("bounded by room_out");
                let len = random.below(waiting + 1);
                self.hear(len);
                format!("reads {len} of {waiting}")
            }
        }
    }

    /// The peer resets, perhaps after a last piece.
    pub(crate) fn break_off(&mut self, random: &mut Random) -> String {
        if !self.fin && random.one_in(2) {
            let len = u64::from(random.below(200_000)).min(self.room_for_more());
            self.arrived += len;
        }
        // A peer that closes with bytes unread ends and resets at once.
        self.fin |= random.one_in(3);
        self.reset = true;
        self.error = true;
        self.triggered = true;
        "resets".into()
    }

    fn say(&mut self, random: &mut Random, plan: &Plan) -> String {
        if self.left_to_say == 0 {
            return self.end(random.one_in(5));
        }
        let len = random.below(plan.piece) + 1;
        let len = u64::from(len)
            .min(self.left_to_say)
            .min(self.room_for_more());
        if len == 0 {
            return "cannot send".into();
        }
        if random.chance(plan.urgent) {
            self.urgent_mark = Some(self.arrived + len / 2);
        }
        self.arrived += len;
        self.left_to_say -= len;
        self.triggered = true;
        // Sometimes the end comes in the same segment.
        let end = self.left_to_say == 0 && random.one_in(2);
        format!("sends {len}, {}", self.end(end))
    }

    fn end(&mut self, end: bool) -> String {
        if end && !self.fin {
            self.fin = true;
            self.triggered = true;
            return "ends".into();
        }
        "goes on".into()
    }

    fn hear(&mut self, len: u32) {
        self.heard += u64::from(len);
        // The kernel wakes a writer that found no room when a third is free again.
        if self.full && self.free() * 3 >= self.room_out {
            self.full = false;
            self.triggered = true;
        }
    }

    /// Sends as much as fits, and the end after the last byte.
    pub(crate) fn finish_sending(&mut self, random: &mut Random) {
        if self.reset {
            return;
        }
        let len = self.left_to_say.min(self.room_for_more());
        if len > 0 {
            self.arrived += len;
            self.left_to_say -= len;
            self.triggered = true;
        }
        if self.left_to_say == 0 && random.one_in(2) {
            self.end(true);
        }
        // Connections with little room would take for ever.
        self.room_in = self.room_in.max(100_000);
    }

    /// Reads whatever was sent.
    pub(crate) fn finish_reading(&mut self) {
        if !self.reset {
            self.hear(u32::try_from(self.sent - self.heard).expect("bounded by room_out"));
            self.room_out = self.room_out.max(100_000);
        }
    }

    /// recv(2) or splice(2); only of the first a short result says that nothing is left.
    pub(crate) fn receive(
        &mut self,
        random: &mut Random,
        plan: &Plan,
        room: u32,
        short_is_empty: bool,
    ) -> Outcome {
        let there = self.arrived - self.received;
        if there > 0 {
            // A broken connection never asks for patience.
            if !self.reset && random.chance(plan.would_block) {
                self.triggered = true;
                return Outcome::WouldBlock;
            }
            let to_mark = match self.urgent_mark {
                Some(mark) if mark > self.received => mark - self.received,
                Some(_) | None => u64::MAX,
            };
            let most = there.min(u64::from(room)).min(to_mark);
            let mut len = u32::try_from(most).expect("bounded by room");
            if !short_is_empty && random.chance(plan.partial) {
                len = random.below(len) + 1;
            }
            self.received += u64::from(len);
            return Outcome::Moved(len);
        }
        self.nothing_there()
    }

    fn nothing_there(&mut self) -> Outcome {
        if self.fin {
            return Outcome::Ended;
        }
        if std::mem::take(&mut self.error) {
            return Outcome::Failed;
        }
        if self.reset {
            return Outcome::Ended;
        }
        Outcome::WouldBlock
    }

    /// A receive from a kernel that has `most` bytes to give, which is less than has arrived where a
    /// record is not whole.
    pub(crate) fn receive_most(&mut self, random: &mut Random, plan: &Plan, most: u32) -> Outcome {
        if most > 0 {
            if !self.reset && random.chance(plan.would_block) {
                self.triggered = true;
                return Outcome::WouldBlock;
            }
            self.received += u64::from(most);
            return Outcome::Moved(most);
        }
        self.nothing_there()
    }

    /// send(2) or splice(2).
    pub(crate) fn send(&mut self, random: &mut Random, plan: &Plan, len: u32) -> Outcome {
        if self.reset {
            self.error = false;
            return Outcome::Failed;
        }
        let refused = random.chance(plan.would_block);
        if refused || self.has_no_room() {
            self.ask_for_room();
            return Outcome::WouldBlock;
        }
        let mut taken = len.min(self.free());
        if random.chance(plan.partial) {
            taken = random.below(taken) + 1;
        }
        self.sent += u64::from(taken);
        Outcome::Moved(taken)
    }

    pub(crate) fn has_no_room(&self) -> bool {
        self.free() == 0
    }

    /// A call was told to wait for room: that is going to be an edge.
    pub(crate) fn ask_for_room(&mut self) {
        self.full = true;
        // Room that is there although the call said no is announced, like any other.
        if self.free() * 3 >= self.room_out {
            self.full = false;
            self.triggered = true;
        }
    }

    fn free(&self) -> u32 {
        let waiting = u32::try_from(self.sent - self.heard).unwrap_or(u32::MAX);
        self.room_out.saturating_sub(waiting)
    }

    fn room_for_more(&self) -> u64 {
        u64::from(self.room_in).saturating_sub(self.arrived - self.received)
    }
}
