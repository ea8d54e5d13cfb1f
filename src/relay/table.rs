//! Storage of tunnels: one cache line each for the state that every batch touches, and a colder record.
//!
//! Both grow in chunks that never move, so growth copies nothing. The table owns the descriptors; a slot is
//! vacated only when no poll refers to them any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::chunks::Chunks;
use super::followed::FramesId;
use super::leg::Leg;
use super::pipes::PipeId;
use super::start::{Lease, Timeouts};
use super::tunnel::{Close, End, Flow, Tunnel};
use crate::journal::Subject;
use crate::journal::counts::{Count, Tally, Way};

/// The part of a tunnel that every batch touches: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) tunnel: Tunnel,
    /// Tick of the last activity.
    pub(super) last_active: u32,
    /// Distinguishes notices of an earlier tunnel in this slot from those of the present one.
    generation: u32,
    client: Option<OwnedFd>,
    server: Option<OwnedFd>,
    pub(super) pipes: [Option<PipeId>; 2],
    /// Which polls are armed: client, server.
    pub(super) armed: [bool; 2],
    pub(super) stage: Stage,
    /// Whether the tunnel has yielded and waits for another turn.
    pub(super) queued: bool,
}

const _: () = assert!(size_of::<Slot>() == 64, "a slot is one cache line");

/// Stage in the life of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Vacant,
    Open,
    /// One side has ended, and the timer has been set for it.
    HalfClosed,
    /// The tunnel has ended; its polls have to be cancelled.
    Ended,
    /// The polls have been cancelled; their last notices are awaited.
    Leaving,
}

/// The part of a tunnel that is touched less often.
#[derive(Debug, Default)]
pub(super) struct Cold {
    pub(super) subject: Option<Box<Subject>>,
    pub(super) lease: Option<Lease>,
    /// State that few tunnels have at one time; made when first needed.
    rare: Option<Box<Rare>>,
    /// Idle timeout, in ticks.
    pub(super) idle: u32,
    /// Half-close timeout, in ticks.
    pub(super) half_close: u32,
    pub(super) close: Option<Close>,
    /// Index of the followed frames to the client, if they are followed.
    pub(super) frames: Option<FramesId>,
    /// Bytes from the client and to it that the named counters already include.
    counted: [u64; 2],
}

const _: () = assert!(size_of::<Cold>() == 64, "an idle tunnel grows");

#[derive(Debug, Default)]
struct Rare {
    /// Bytes that a target did not take: to the server, to the client.
    kept: [Option<Box<[u8]>>; 2],
    /// The leg of a TLS tunnel: the client's, with the server's beside it, or that of the one TLS end.
    leg: Option<Box<Leg>>,
}

impl Cold {
    /// Adds to the named counters the bytes `tunnel` has moved since the last call; returns their number.
    pub(super) fn count(&mut self, tunnel: &Tunnel, tally: &Tally) -> u64 {
        let moved = [tunnel.bytes_in(), tunnel.bytes_out()];
        let counted = std::mem::replace(&mut self.counted, moved);
        let [more_in, more_out] = [0, 1].map(|way| moved[way] - counted[way]);
        if let Some(subject) = &self.subject
            && more_in + more_out > 0
        {
            tally.of(subject, |row| {
                row.add(Count::TunnelBytes(Way::In), more_in);
                row.add(Count::TunnelBytes(Way::Out), more_out);
            });
        }
        more_in + more_out
    }

    /// Keeps bytes that could not be sent.
    pub(super) fn keep(&mut self, flow: Flow, bytes: Box<[u8]>) {
        let [to_server, to_client] = &mut self.rare.get_or_insert_default().kept;
        match flow {
            Flow::ToServer => *to_server = Some(bytes),
            Flow::ToClient => *to_client = Some(bytes),
        }
    }

    /// Returns the last `len` bytes kept for `flow`.
    ///
    /// # Panics
    /// When there are fewer.
    pub(super) fn kept(&self, flow: Flow, len: u32) -> &[u8] {
        let kept = self.rare.as_ref().and_then(|rare| {
            let [to_server, to_client] = &rare.kept;
            match flow {
                Flow::ToServer => to_server.as_deref(),
                Flow::ToClient => to_client.as_deref(),
            }
        });
        let kept = kept.unwrap_or_default();
        // The state machine never holds more than was kept for it.
        &kept[kept.len() - len as usize..]
    }

    /// Frees what was kept for `flow`.
    pub(super) fn forget(&mut self, flow: Flow) {
        if let Some(rare) = &mut self.rare {
            let [to_server, to_client] = &mut rare.kept;
            match flow {
                Flow::ToServer => *to_server = None,
                Flow::ToClient => *to_client = None,
            }
            if to_server.is_none() && to_client.is_none() && rare.leg.is_none() {
                self.rare = None;
            }
        }
    }

    /// Sets the legs of the client, of the server, or of both.
    pub(super) fn set_legs(&mut self, legs: [Option<Box<Leg>>; 2]) {
        let leg = match legs {
            [None, None] => return,
            [Some(mut client), Some(server)] => {
                client.join(server);
                client
            }
            [Some(only), None] | [None, Some(only)] => only,
        };
        self.rare.get_or_insert_default().leg = Some(leg);
    }

    /// Returns the leg of `end`, if it has one.
    pub(super) fn leg(&mut self, end: End) -> Option<&mut Leg> {
        self.legs()?.of(end)
    }

    /// Returns the first leg, which holds the one beside it.
    pub(super) fn legs(&mut self) -> Option<&mut Leg> {
        self.rare.as_mut()?.leg.as_deref_mut()
    }
}

impl Slot {
    fn vacant() -> Self {
        Self {
            tunnel: Tunnel::open(0, 0),
            last_active: 0,
            generation: 0,
            client: None,
            server: None,
            pipes: [None; 2],
            armed: [false; 2],
            stage: Stage::Vacant,
            queued: false,
        }
    }

    /// Returns the descriptor of `end`, unless the slot is vacant.
    pub(super) fn fd(&self, end: End) -> Option<BorrowedFd<'_>> {
        match end {
            End::Client => self.client.as_ref().map(AsFd::as_fd),
            End::Server => self.server.as_ref().map(AsFd::as_fd),
        }
    }

    /// Takes the client's descriptor out of a tunnel that has ended and has no poll.
    pub(super) fn take_client(&mut self) -> Option<OwnedFd> {
        self.client.take()
    }

    /// Returns the number that distinguishes successive tunnels in this slot.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::HalfClosed)
    }
}

/// All tunnels of a thread.
#[derive(Debug)]
pub(super) struct Table {
    slots: Chunks<Slot>,
    colds: Chunks<Cold>,
    /// Vacant slots, the one vacated last on top.
    vacant: Vec<u32>,
    /// Number of slots ever made.
    end: u32,
}

/// The subject of a poller's notice, in 64 bits: generation, slot, end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token(pub(super) u64);

impl Token {
    fn new(slot: u32, generation: u32, end: End) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot) << 1 | end as u64)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the upper half is cut off on purpose"
    )]
    pub(super) fn slot(self) -> u32 {
        (self.0 as u32) >> 1
    }

    fn generation(self) -> u32 {
        // The upper half of 64 bits always fits.
        (self.0 >> 32).try_into().unwrap_or(u32::MAX)
    }

    pub(super) fn end(self) -> End {
        if self.0 & 1 == 0 {
            End::Client
        } else {
            End::Server
        }
    }
}

/// The ends of a new tunnel and the contents of its two records.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) client: OwnedFd,
    pub(super) server: OwnedFd,
    pub(super) tunnel: Tunnel,
    pub(super) timeouts: Timeouts,
    pub(super) subject: Box<Subject>,
    pub(super) lease: Lease,
    pub(super) now: u32,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            slots: Chunks::new(),
            colds: Chunks::new(),
            vacant: Vec::new(),
            end: 0,
        }
    }

    /// Returns how many slots are not vacant.
    pub(super) fn len(&self) -> usize {
        self.end as usize - self.vacant.len()
    }

    /// Returns the range of slots that may be in use.
    pub(super) fn all(&self) -> std::ops::Range<u32> {
        0..self.end
    }

    /// Takes a tunnel in; returns its slot.
    pub(super) fn insert(
        &mut self,
        admission: Admission,
        ticks: impl Fn(std::time::Duration) -> u32,
    ) -> u32 {
        let index = self.vacant.pop().unwrap_or_else(|| {
            let index = self.end;
            self.slots.grow_to_hold(index, Slot::vacant);
            self.colds.grow_to_hold(index, Cold::default);
            self.end += 1;
            index
        });
        if let Some((slot, cold)) = self.both_mut(index) {
            *slot = Slot {
                tunnel: admission.tunnel,
                last_active: admission.now,
                generation: slot.generation,
                client: Some(admission.client),
                server: Some(admission.server),
                pipes: [None; 2],
                armed: [false; 2],
                stage: Stage::Open,
                queued: false,
            };
            cold.subject = Some(admission.subject);
            cold.lease = Some(admission.lease);
            cold.idle = ticks(admission.timeouts.idle);
            cold.half_close = ticks(admission.timeouts.half_close);
        }
        index
    }

    /// Vacates a slot: closes both descriptors and returns its tunnel and cold record.
    pub(super) fn remove(&mut self, index: u32) -> Option<(Tunnel, Cold)> {
        let (slot, cold) = self.both_mut(index)?;
        if slot.stage == Stage::Vacant {
            return None;
        }
        let next = Slot {
            generation: slot.generation.wrapping_add(1),
            ..Slot::vacant()
        };
        let gone = std::mem::replace(slot, next);
        let cold = std::mem::take(cold);
        self.vacant.push(index);
        Some((gone.tunnel, cold))
    }

    pub(super) fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index)
    }

    pub(super) fn slot_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    pub(super) fn both_mut(&mut self, index: u32) -> Option<(&mut Slot, &mut Cold)> {
        Some((self.slots.get_mut(index)?, self.colds.get_mut(index)?))
    }

    /// Returns the token of one end of the tunnel that is in `index` now.
    pub(super) fn token(&self, index: u32, end: End) -> Option<Token> {
        let slot = self.slots.get(index)?;
        Some(Token::new(index, slot.generation, end))
    }

    /// Returns the slot of a token, unless its tunnel is gone.
    pub(super) fn find(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token.slot())?;
        (slot.generation == token.generation() && slot.stage != Stage::Vacant).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::addr::PeerAddr;
    use crate::relay::chunks::CHUNK_LEN;
    use std::time::{Duration, SystemTime};

    fn admission() -> Admission {
        let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        Admission {
            client: client.into(),
            server: server.into(),
            tunnel: Tunnel::open(1, 2),
            timeouts: Timeouts {
                idle: Duration::from_millis(3),
                half_close: Duration::from_millis(4),
            },
            subject: Box::new(Subject {
                listener: "l".into(),
                peer: PeerAddr::Unix,
                client: PeerAddr::Unix,
                backend: None,
                server: None,
                started: SystemTime::now(),
                over_tls: false,
                certificate: None,
                is_http: false,
                timing: None,
                request: None,
            }),
            lease: Lease(Box::new(())),
            now: 5,
        }
    }

    fn insert(table: &mut Table) -> u32 {
        table.insert(admission(), |timeout| timeout.subsec_millis())
    }

    #[test]
    fn a_slot_is_used_again_but_its_old_token_is_not() {
        let mut table = Table::new();
        let (first, second) = (insert(&mut table), insert(&mut table));
        assert_eq!((table.len(), table.all()), (2, 0..2));
        let old = table.token(first, End::Server).unwrap();
        assert_eq!((old.slot(), old.end()), (first, End::Server));
        assert_eq!(table.find(old).map(|slot| slot.last_active), Some(5));
        let (tunnel, cold) = table.remove(first).unwrap();
        assert_eq!((tunnel.bytes_in(), cold.idle, cold.half_close), (1, 3, 4));
        assert!(table.remove(first).is_none(), "removed twice");
        assert!(table.find(old).is_none());
        assert_eq!((insert(&mut table), table.len()), (first, 2));
        assert!(
            table.find(old).is_none(),
            "an old notice reached a new tunnel"
        );
        let new = table.token(first, End::Client).unwrap();
        assert_ne!(table.find(new).map(|slot| slot.is_running()), None);
        assert_eq!(table.token(second, End::Client).unwrap().end(), End::Client);
    }

    #[test]
    fn growth_moves_nothing() {
        let mut table = Table::new();
        insert(&mut table);
        let before = std::ptr::from_ref(table.slot(0).unwrap());
        for _ in 0..CHUNK_LEN {
            insert(&mut table);
        }
        assert_eq!(table.len(), CHUNK_LEN as usize + 1);
        assert_eq!(std::ptr::from_ref(table.slot(0).unwrap()), before);
        assert!(table.slot(2 * CHUNK_LEN).is_none());
    }

    #[test]
    fn what_is_kept_is_given_from_its_end() {
        let mut cold = Cold::default();
        cold.keep(Flow::ToClient, (*b"abcdef").into());
        assert_eq!(cold.kept(Flow::ToClient, 6), b"abcdef");
        assert_eq!(cold.kept(Flow::ToClient, 2), b"ef");
        assert_eq!(cold.kept(Flow::ToServer, 0), b"");
        cold.forget(Flow::ToServer);
        assert_eq!(cold.kept(Flow::ToClient, 1), b"f");
        cold.forget(Flow::ToClient);
        assert!(cold.rare.is_none());
    }
}
