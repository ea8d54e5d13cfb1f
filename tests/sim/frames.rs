//! What a simulated server says, as frames of a WebSocket, and how far the loop has followed them.

use longsplice::journal::Cause;
use longsplice::proto::websocket::frames::Frames;
use longsplice::relay::tunnel::{Close, End, Flow, RecordKeeper};

use crate::Sim;
use crate::world::Random;

/// Less than that is not spliced where more would take a header along.
pub(crate) const UNSEEN_MIN: u64 = 16 * 1024;
/// Bytes behind which frames are long, so that a world does not take for ever.
const SHORT_FRAMES_BYTES: u64 = 50_000;

/// The frames of one server.
pub(crate) struct Speech {
    random: Random,
    /// Where each begins, and its header; the last one has no end yet.
    frames: Vec<(u64, Vec<u8>)>,
    /// Where the next one begins.
    end: u64,
    /// Where the first Close begins.
    closed_at: Option<u64>,
    /// Frames in 1000 that are one.
    closes: u32,
    pub(crate) followed: Frames,
    fed: u64,
}

impl Speech {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            random: Random::new(random.next()),
            frames: vec![],
            end: 0,
            closed_at: None,
            closes: if random.one_in(4) { 20 } else { 0 },
            followed: Frames::default(),
            fed: 0,
        }
    }

    fn add_frame(&mut self) {
        let random = &mut self.random;
        let closes = random.below(1000) < self.closes;
        let len = match random.below(6) {
            _ if closes => 2,
            0..=2 if self.end < SHORT_FRAMES_BYTES => random.below(4),
            3 | 4 if self.end < SHORT_FRAMES_BYTES => random.below(3_000),
            0..=3 => random.below(100_000),
            _ => random.below(2_000_000),
        };
        let mut header = vec![if closes { 0x88 } else { 0x82 }];
        match len {
            0..=125 => header.push(u8::try_from(len).expect("short")),
            126..=0xFFFF => {
                header.push(126);
                header.extend(u16::try_from(len).expect("short").to_be_bytes());
            }
            _ => {
                header.push(127);
                header.extend(u64::from(len).to_be_bytes());
            }
        }
        if closes {
            self.closed_at.get_or_insert(self.end);
        }
        let next = self.end + header.len() as u64 + u64::from(len);
        self.frames.push((self.end, header));
        self.end = next;
    }

    /// The loop sees the next `len` bytes.
    pub(crate) fn feed(&mut self, len: u64) {
        const PAYLOAD: [u8; 4096] = [0xA5; 4096];
        let until = self.fed + len;
        while self.fed < until {
            while self.end <= self.fed {
                self.add_frame();
            }
            let begun = self.frames.partition_point(|(start, _)| *start <= self.fed);
            let (start, header) = &self.frames[begun - 1];
            let next = self.frames.get(begun).map_or(self.end, |(start, _)| *start);
            let payload = start + header.len() as u64;
            let stop = if self.fed < payload { payload } else { next }.min(until);
            let len = usize::try_from(stop - self.fed).expect("one buffer");
            if self.fed < payload {
                let from = usize::try_from(self.fed - start).expect("in a header");
                self.followed.feed(&header[from..from + len]);
            } else {
                for part in vec![(); len].chunks(PAYLOAD.len()) {
                    self.followed.feed(&PAYLOAD[..part.len()]);
                }
            }
            self.fed = stop;
        }
    }

    /// The next `len` bytes go by unseen.
    pub(crate) fn skip(&mut self, len: u64) {
        self.followed.skip(len);
        self.fed += len;
    }

    /// Returns how many bytes are left of the payload that the loop is in; none = it is in a header, or
    /// a Close has begun.
    fn payload_left(&mut self) -> Option<u64> {
        while self.end <= self.fed {
            self.add_frame();
        }
        if self.closed_at.is_some_and(|at| at < self.fed) {
            return None;
        }
        let begun = self.frames.partition_point(|(start, _)| *start < self.fed);
        let (start, header) = self.frames.get(begun.checked_sub(1)?)?;
        let next = self.frames.get(begun).map_or(self.end, |(start, _)| *start);
        (self.fed >= start + header.len() as u64).then(|| next - self.fed)
    }

    /// Tells whether a frame of ours may come here.
    fn may_be_joined(&mut self) -> bool {
        while self.end <= self.fed {
            self.add_frame();
        }
        let is_start = self
            .frames
            .binary_search_by_key(&self.fed, |(start, _)| *start);
        is_start.is_ok() && self.closed_at.is_none_or(|at| at >= self.fed)
    }
}

impl Sim {
    /// The tunnel has ended so: is a Close frame due just where one may be?
    pub(crate) fn judge_goodbye(&mut self, close: Close) {
        let client = &self.wires[End::Client as usize];
        let tls = self.records[End::Client as usize].as_ref();
        let has_all = match tls {
            Some(records) => client.sent == records.sealed,
            None => client.sent == self.position(Flow::ToClient),
        };
        let ended = client.shut || client.reset || tls.is_some_and(|records| records.notified);
        let rekeys = self.tunnel.guard(Flow::ToClient, End::Client) == RecordKeeper::Rekeying;
        let drained = close.cause == Cause::Drained;
        let follows = self.speech.is_some();
        if close.goodbye {
            assert!(drained && follows && has_all, "a goodbye out of place");
            assert!(!client.shut && !rekeys, "a goodbye behind the end");
        } else if drained && follows && has_all {
            let server_ends = self.wires[End::Server as usize].fin;
            let excused = ended || rekeys || server_ends || client.full;
            assert!(excused, "no goodbye");
        }
        let position = self.position(Flow::ToClient);
        let Some(speech) = &mut self.speech else {
            return;
        };
        assert_eq!(speech.fed, position, "frames are followed elsewhere");
        let may = speech.may_be_joined();
        assert_eq!(speech.followed.at_boundary(), may, "lost in frames");
        if let Some(left) = speech.payload_left() {
            assert_eq!(speech.followed.unseen_max(), left, "lost in a payload");
        }
        self.says_goodbye = close.goodbye && may;
        self.keeps_quiet = close.goodbye && !may;
    }
}
