//! A tunnel as a pure state machine: no descriptor, no clock, no buffer.
//!
//! The loop reports what a poller saw ([`Tunnel::on_ready`]), begins a pump for a flow that can run
//! ([`Tunnel::begin`]), carries out each [`Action`] and reports its [`Outcome`] ([`Tunnel::on`]), until the
//! pump ends with `Wait`, `Yield` or `Close`.
//!
//! Invariants, driven by the seeded simulation in `tests/sim`:
//! - bytes of one flow leave in the order they came, each once; what is held goes out first;
//! - a source is not read while its target is blocked (back-pressure), and a pipe is filled only
//!   when it is empty;
//! - readiness is edge-triggered, so a flow stops only at "would block" or at equivalent proof;
//! - records change hands only when nothing of a flow is held, so between two records;
//! - there is exactly one close.

use crate::journal::{Cause, Path};
use crate::proto::readiness::Readiness;

mod guards;
mod outcomes;
mod vocabulary;

use guards::Guards;
pub use vocabulary::{Action, Close, End, Flow, OffloadPlan, Outcome, RecordKeeper};

/// Bytes one receive can bring; a receive that fills it all is "full".
pub const BUFFER_BYTES: u32 = 64 * 1024;
/// Reads of one pump at most, so that a busy tunnel cannot starve the others.
const READS_PER_PUMP: u8 = 16;

/// A run of one flow until it has to wait; lives on the stack.
#[derive(Debug)]
pub struct Pump {
    flow: Flow,
    doing: Action,
    reads_left: u8,
    moved: bool,
}

impl Pump {
    /// Returns the flow that this pump moves.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Returns whether any byte was moved.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.moved
    }
}

/// The source may have bytes, an end or an error.
const READABLE: u16 = 1;
/// A short receive does not prove the source empty.
const STICKY: u16 = 1 << 1;
/// The target took nothing more; bytes are held.
const BLOCKED: u16 = 1 << 2;
/// The source has ended.
const ENDED: u16 = 1 << 3;
/// The target has been sent the end.
const SHUT: u16 = 1 << 4;
/// Bytes are moved by splice(2).
const SPLICE: u16 = 1 << 5;
/// The flow cannot be spliced.
const NO_SPLICE: u16 = 1 << 6;
/// Held bytes are in the pipe.
const IN_PIPE: u16 = 1 << 7;
/// Some bytes were copied.
const COPIED: u16 = 1 << 8;
/// Some bytes were spliced.
const SPLICED: u16 = 1 << 9;
/// The source was reported broken. After an end, the kernel reports no error on receiving, so this flag is
/// then the only sign.
const BROKEN: u16 = 1 << 10;

/// Some bytes were moved as records that we opened or sealed.
const RECORDS: u16 = 1 << 11;
/// The close_notify for the target is sealed, or the target gets none.
const NOTIFIED: u16 = 1 << 12;
/// The source ended without close_notify.
const TRUNCATED: u16 = 1 << 13;

/// The frames of the flow are followed, so that its target can be sent a Close frame at a drain.
const FOLLOWED: u16 = 1 << 14;

/// The state of one flow, eight bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    held: u32,
    flags: u16,
    /// Full reads in a row; while we handle the records, the weight of bulky reads.
    full_reads: u8,
    small_splices: u8,
}

impl Lane {
    /// Returns whether any of these flags is set.
    fn has(self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    fn set(&mut self, flag: u16) {
        self.flags |= flag;
    }

    fn clear(&mut self, flag: u16) {
        self.flags &= !flag;
    }
}

/// Which ends of a tunnel are broken, in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Sound,
    ClientBroken,
    ServerBroken,
    /// Both ends, the client first.
    ThenServerBroken,
    /// Both ends, the server first.
    ThenClientBroken,
    Closed,
}

/// An established tunnel.
#[derive(Debug)]
pub struct Tunnel {
    bytes_in: u64,
    bytes_out: u64,
    lanes: [Lane; 2],
    guards: Guards,
    /// Upper bound of the records the kernel has sealed since its number was last queried, by flow.
    unseen_records: [u16; 2],
    first_ended: Option<End>,
    standing: Standing,
}

const _: () = assert!(size_of::<Tunnel>() == 40, "more than half of a slot");

impl Tunnel {
    /// Opens a tunnel that holds this many bytes received early.
    #[must_use]
    pub fn open(held_to_server: u32, held_to_client: u32) -> Self {
        let lane = |held: u32| Lane {
            held,
            flags: if held > 0 { COPIED } else { 0 },
            ..Lane::default()
        };
        Self {
            bytes_in: u64::from(held_to_server),
            bytes_out: 0,
            lanes: [lane(held_to_server), lane(held_to_client)],
            guards: Guards::default(),
            unseen_records: [0; 2],
            first_ended: None,
            standing: Standing::Sound,
        }
    }

    /// Opens a tunnel with TLS at one end or both. `held` bytes are held for the server and for the client,
    /// sealed where necessary; they carry `payload` bytes. `offload` says, for each end that speaks TLS, when
    /// to hand receiving and sending to the kernel.
    #[must_use]
    pub fn open_protected(
        held: [u32; 2],
        payload: [u64; 2],
        offload: [Option<[OffloadPlan; 2]>; 2],
    ) -> Self {
        let [held_to_server, held_to_client] = held;
        let mut tunnel = Self::open(held_to_server, held_to_client);
        [tunnel.bytes_in, tunnel.bytes_out] = payload;
        for (end, plan) in [End::Client, End::Server].into_iter().zip(offload) {
            let Some(plan) = plan else { continue };
            let flows = [Flow::from(end), Flow::from(end.other())];
            for (flow, offload) in flows.into_iter().zip(plan) {
                if offload == OffloadPlan::WhenBulky {
                    tunnel.guards.let_offload(flow, end);
                }
                let guard = match offload {
                    OffloadPlan::Never | OffloadPlan::WhenBulky => RecordKeeper::Records,
                    OffloadPlan::AtOnce => RecordKeeper::Leaving,
                };
                tunnel.guards.set(flow, end, guard);
                let lane = tunnel.lane_mut(flow);
                lane.clear(COPIED);
                if lane.held > 0 {
                    lane.set(RECORDS);
                }
            }
            // Records may have come with the handshake; no edge will announce them.
            tunnel.lane_mut(Flow::from(end)).set(READABLE);
        }
        tunnel
    }

    /// Follows the frames to the client from the first one, so that [`Close::goodbye`] is possible.
    pub fn follow_frames(&mut self) {
        self.lane_mut(Flow::ToClient).set(FOLLOWED);
    }

    /// Returns whether the frames of `flow` are followed.
    #[must_use]
    pub fn follows_frames(&self, flow: Flow) -> bool {
        self.lane(flow).has(FOLLOWED)
    }

    /// Notes what a poller saw at `end`; returns a close if that ends the tunnel.
    pub fn on_ready(&mut self, end: End, ready: Readiness) -> Option<Close> {
        if self.is_closed() {
            return None;
        }
        if ready.has(Readiness::WRITABLE) {
            self.lane_mut(Flow::from(end.other())).clear(BLOCKED);
        }
        let from = self.lane_mut(Flow::from(end));
        if ready.has(Readiness::READABLE) {
            from.set(READABLE);
        }
        if ready.has(Readiness::STICKY) {
            from.set(STICKY);
        }
        if ready.has(Readiness::BROKEN) {
            from.set(BROKEN);
            // A broken source is read up to its error, unless nothing will be read from it any more.
            if from.has(ENDED) || from.has(BLOCKED) {
                self.mark_broken(end);
            }
        }
        self.close_if_over()
    }

    /// Returns whether a pump of `flow` would do anything.
    #[must_use]
    pub fn can_run(&self, flow: Flow) -> bool {
        let lane = self.lane(flow);
        if self.is_closed() || self.is_broken(flow.target()) {
            return false;
        }
        if lane.held > 0 {
            return !lane.has(BLOCKED);
        }
        if lane.has(ENDED) {
            return !lane.has(SHUT | BLOCKED) && !self.is_broken(flow.source());
        }
        if self.guard(flow, flow.target()) == RecordKeeper::Rekeying {
            return !lane.has(BLOCKED);
        }
        lane.has(READABLE)
    }

    /// Begins a pump of `flow`.
    pub fn begin(&mut self, flow: Flow) -> (Pump, Action) {
        let mut pump = Pump {
            flow,
            doing: Action::Wait,
            reads_left: READS_PER_PUMP,
            moved: false,
        };
        let action = self.proceed(&mut pump);
        (pump, action)
    }

    /// Continues a pump whose last action had the outcome `outcome`.
    ///
    /// An outcome that does not belong to the action counts as [`Outcome::Failed`].
    pub fn on(&mut self, pump: &mut Pump, outcome: Outcome) -> Action {
        match pump.doing {
            Action::Receive => self.on_receive(pump, outcome),
            Action::SpliceIn => self.on_splice_in(pump, outcome),
            Action::Send { from, len } => self.on_send(pump, outcome, from, len),
            Action::Hold { len, .. } => {
                let lane = self.lane_mut(pump.flow);
                lane.held = len;
                lane.clear(IN_PIPE);
                self.proceed(pump)
            }
            Action::SendHeld { len } | Action::SpliceOut { len } => {
                self.on_drain(pump, outcome, len)
            }
            Action::TakeControl => self.on_control(pump, outcome),
            Action::Offload(end) => self.on_offload(pump, outcome, end),
            Action::Rekey => self.on_rekey(pump, outcome),
            Action::Notify => self.on_notify(pump, outcome),
            Action::ShutdownWrite => {
                match outcome {
                    Outcome::Done => self.lane_mut(pump.flow).set(SHUT),
                    Outcome::Moved(_)
                    | Outcome::Records { .. }
                    | Outcome::Control
                    | Outcome::Empty
                    | Outcome::Ended
                    | Outcome::Truncated
                    | Outcome::Refused(_)
                    | Outcome::WouldBlock
                    | Outcome::NoPipe
                    | Outcome::Unsupported
                    | Outcome::Failed => self.mark_broken(pump.flow.target()),
                }
                self.proceed(pump)
            }
            Action::Wait | Action::Yield | Action::Close(_) => self.finish(),
        }
    }

    /// Ends the tunnel from outside; returns none if it has ended already.
    pub fn end(&mut self, cause: Cause) -> Option<Close> {
        self.close(cause, None)
    }

    /// Ends the tunnel because it was silent for too long (which timeout applies:
    /// [`Tunnel::is_half_closed`]); returns none if it has ended already.
    pub fn expire(&mut self) -> Option<Close> {
        let cause = if self.is_half_closed() {
            Cause::HalfCloseIdle
        } else {
            Cause::TunnelIdle
        };
        self.end(cause)
    }

    /// Returns whether one side has ended.
    #[must_use]
    pub fn is_half_closed(&self) -> bool {
        self.lanes.iter().any(|lane| lane.has(ENDED))
    }

    /// Returns whether the tunnel has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.standing == Standing::Closed
    }

    /// Returns where the records of `flow` are handled at `end`.
    #[must_use]
    pub fn guard(&self, flow: Flow, end: End) -> RecordKeeper {
        self.guards.of(flow, end)
    }

    /// Returns whether a receive of `flow` gives bytes from records that the kernel opens.
    #[must_use]
    pub fn is_opened_by_kernel(&self, flow: Flow) -> bool {
        self.guard(flow, flow.source()) == RecordKeeper::Kernel
    }

    /// Returns whether we open records of `flow`.
    #[must_use]
    pub fn opens_records(&self, flow: Flow) -> bool {
        let guard = self.guard(flow, flow.source());
        matches!(guard, RecordKeeper::Records | RecordKeeper::Leaving)
    }

    /// Returns whether we seal records of `flow`.
    #[must_use]
    pub fn seals_records(&self, flow: Flow) -> bool {
        let guard = self.guard(flow, flow.target());
        matches!(guard, RecordKeeper::Records | RecordKeeper::Leaving)
    }

    /// Returns whether we open or seal records of `flow`.
    #[must_use]
    pub fn makes_records(&self, flow: Flow) -> bool {
        self.guards.makes_records(flow)
    }

    /// Notes that `end` waits for new keys before it gets more from the kernel; does nothing if we seal its
    /// records.
    pub fn ask_for_new_keys(&mut self, end: End) {
        let flow = Flow::from(end.other());
        if self.guard(flow, end) == RecordKeeper::Kernel {
            self.guards.set(flow, end, RecordKeeper::Rekeying);
        }
    }

    /// Returns how many bytes of `flow` are held, in the pipe or kept.
    #[must_use]
    pub fn held(&self, flow: Flow) -> u32 {
        self.lane(flow).held
    }

    /// Returns how many bytes were received from the client.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Returns how many bytes were sent to the client.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Returns how many bytes were received for `flow`, while nothing of it is held.
    #[must_use]
    pub fn received(&self, flow: Flow) -> u64 {
        match flow {
            Flow::ToServer => self.bytes_in,
            Flow::ToClient => self.bytes_out,
        }
    }

    /// Returns how the bytes of `flow` were moved.
    #[must_use]
    pub fn path(&self, flow: Flow) -> Path {
        let lane = self.lane(flow);
        Path {
            copied: lane.has(COPIED),
            spliced: lane.has(SPLICED),
            records: lane.has(RECORDS),
            kernel: [End::Client, End::Server].into_iter().any(|end| {
                matches!(
                    self.guard(flow, end),
                    RecordKeeper::Kernel | RecordKeeper::Rekeying
                )
            }),
            offload: None,
        }
    }

    /// Returns whether `flow` would be left to the kernel at `end` if it turned bulky.
    #[must_use]
    pub fn may_offload(&self, flow: Flow, end: End) -> bool {
        self.guards.may_offload(flow, end)
    }

    /// Decides the next action from the state alone.
    fn proceed(&mut self, pump: &mut Pump) -> Action {
        let lane = *self.lane(pump.flow);
        let sealing = self.guard(pump.flow, pump.flow.target());
        pump.doing = if !self.can_run(pump.flow) {
            return self.finish();
        } else if sealing == RecordKeeper::Rekeying && (lane.held > 0 || !lane.has(ENDED)) {
            // Before any more data: `end` waits for new keys.
            Action::Rekey
        } else if lane.held > 0 && lane.has(IN_PIPE) {
            Action::SpliceOut { len: lane.held }
        } else if lane.held > 0 {
            Action::SendHeld { len: lane.held }
        } else if lane.has(ENDED) && sealing != RecordKeeper::Nobody && !lane.has(NOTIFIED) {
            Action::Notify
        } else if lane.has(ENDED) {
            Action::ShutdownWrite
        } else if pump.reads_left == 0 {
            Action::Yield
        } else if let Some(end) = self.leaving(pump.flow) {
            Action::Offload(end)
        } else {
            return self.read(pump);
        };
        pump.doing
    }

    /// Returns the end at which `flow` is to be left to the kernel next.
    fn leaving(&self, flow: Flow) -> Option<End> {
        if !self.makes_records(flow) {
            return None;
        }
        let leaves = |end: &End| self.guard(flow, *end) == RecordKeeper::Leaving;
        [flow.source(), flow.target()].into_iter().find(leaves)
    }

    fn read(&mut self, pump: &mut Pump) -> Action {
        pump.reads_left = pump.reads_left.saturating_sub(1);
        pump.doing = if self.lane(pump.flow).has(SPLICE) {
            Action::SpliceIn
        } else {
            Action::Receive
        };
        pump.doing
    }

    fn finish(&mut self) -> Action {
        self.close_if_over().map_or(Action::Wait, Action::Close)
    }

    /// Notes that the target takes nothing more. A source known to be broken cannot wait for it.
    fn block(&mut self, flow: Flow) {
        let lane = self.lane_mut(flow);
        lane.set(BLOCKED);
        if lane.has(BROKEN) {
            self.mark_broken(flow.source());
        }
    }

    fn is_broken(&self, end: End) -> bool {
        match self.standing {
            Standing::Sound | Standing::Closed => false,
            Standing::ClientBroken => end == End::Client,
            Standing::ServerBroken => end == End::Server,
            Standing::ThenServerBroken | Standing::ThenClientBroken => true,
        }
    }

    /// Stops sending to `end`; what it still sends us is read and delivered.
    fn mark_broken(&mut self, end: End) {
        self.standing = match (self.standing, end) {
            (Standing::Sound, End::Client) => Standing::ClientBroken,
            (Standing::Sound, End::Server) => Standing::ServerBroken,
            (Standing::ClientBroken, End::Server) => Standing::ThenServerBroken,
            (Standing::ServerBroken, End::Client) => Standing::ThenClientBroken,
            (known, End::Client | End::Server) => known,
        };
        // Sending may have consumed the error that receiving would report, and with it the edge.
        self.lane_mut(Flow::from(end)).set(READABLE | STICKY);
    }

    /// Closes the tunnel if no further event can matter.
    fn close_if_over(&mut self) -> Option<Close> {
        if self.lanes.iter().all(|lane| lane.has(SHUT)) {
            let first = self.first_ended.unwrap_or(End::Client);
            let truncated = self.lane(Flow::from(first)).has(TRUNCATED);
            let cause = match (first, truncated) {
                (End::Client, false) => Cause::ClientClosed,
                (End::Client, true) => Cause::ClientTruncated,
                (End::Server, false) => Cause::ServerClosed,
                (End::Server, true) => Cause::ServerTruncated,
            };
            return self.close(cause, None);
        }
        let (broken, both) = match self.standing {
            Standing::Sound | Standing::Closed => return None,
            Standing::ClientBroken => (End::Client, false),
            Standing::ServerBroken => (End::Server, false),
            Standing::ThenServerBroken => (End::Client, true),
            Standing::ThenClientBroken => (End::Server, true),
        };
        let lane = self.lane(Flow::from(broken));
        let delivered = lane.held == 0 && lane.has(ENDED);
        if !delivered && !lane.has(BLOCKED) && !both {
            return None;
        }
        let cause = match broken {
            End::Client => Cause::ClientReset,
            End::Server => Cause::ServerReset,
        };
        self.close(cause, Some(broken.other()))
    }

    fn close(&mut self, cause: Cause, reset: Option<End>) -> Option<Close> {
        if self.is_closed() {
            return None;
        }
        let goodbye = cause == Cause::Drained && self.may_say_goodbye();
        self.standing = Standing::Closed;
        Some(Close {
            cause,
            reset,
            goodbye,
        })
    }

    /// Returns whether the client has got all that came from the server, and may get more.
    fn may_say_goodbye(&self) -> bool {
        let lane = self.lane(Flow::ToClient);
        lane.has(FOLLOWED)
            && lane.held == 0
            && !lane.has(ENDED | BLOCKED)
            && !self.is_broken(End::Client)
            // The client waits for new keys before it gets more.
            && self.guard(Flow::ToClient, End::Client) != RecordKeeper::Rekeying
    }

    // Both lanes are reached by match, so that no index can be out of range.
    fn lane(&self, flow: Flow) -> &Lane {
        let [to_server, to_client] = &self.lanes;
        match flow {
            Flow::ToServer => to_server,
            Flow::ToClient => to_client,
        }
    }

    fn lane_mut(&mut self, flow: Flow) -> &mut Lane {
        let [to_server, to_client] = &mut self.lanes;
        match flow {
            Flow::ToServer => to_server,
            Flow::ToClient => to_client,
        }
    }
}

#[cfg(test)]
mod tests;
