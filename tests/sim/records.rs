//! The TLS of an end in the simulated world: records opened and sealed by us, or by a kernel that keeps
//! the promises of kernel TLS and not one more.
//!
//! Such a kernel shows whole records only. A receive may stop in front of a record that is no data
//! although there is more behind it, and that record comes without an edge of its own; a splice gives one
//! record at the most; the end is a record too.

use longsplice::journal::Cause;
use longsplice::relay::tunnel::{BUFFER_BYTES, End, Flow, OffloadPlan, Outcome};

use crate::Sim;
use crate::actions::moved;
use crate::world::{Random, Wire};

/// Bytes that sealing adds, once for each receive.
pub(crate) const OVERHEAD: u32 = 22;

/// The TLS of one end.
#[derive(Debug)]
pub(crate) struct Records {
    /// When what comes from the peer and what goes to it is to be left to the kernel.
    pub(crate) offload: [OffloadPlan; 2],
    /// Length of the peer's records, and where the first one begins.
    len: u32,
    first: u64,
    /// The peer ends without close_notify.
    pub(crate) truncates: bool,
    /// It was found to have done so, or to have been broken off.
    pub(crate) truncated: bool,
    /// Receives in 1000 that bring a bad record.
    bad: u32,
    /// A record that is no data lies in front of each nth one; 0 = nowhere.
    control_every: u64,
    /// Offers in 100 that the kernel refuses.
    refuses: u32,
    /// KeyUpdates in 100 that the kernel cannot make.
    cannot_rekey: u32,
    /// Position up to which the peer's records were opened.
    pub(crate) opened: u64,
    /// Bytes that were sealed for the peer.
    pub(crate) sealed: u64,
    pub(crate) notified: bool,
    pub(crate) refused: Option<Cause>,
    /// The peer waits for new keys.
    pub(crate) owes_keys: bool,
    /// They found no room.
    pub(crate) keys_wait: bool,
    opened_in_kernel: bool,
    sealed_in_kernel: bool,
    leaving: bool,
    /// Position of the last record that is no data and was taken.
    taken_at: Option<u64>,
    /// For the count of what happened.
    pub(crate) opened_by_kernel: u64,
    pub(crate) sealed_by_kernel: u64,
    pub(crate) aligned: bool,
    pub(crate) control_taken: bool,
    pub(crate) rekeyed: bool,
}

impl Records {
    pub(crate) fn new(random: &mut Random, first: u64, sealed: u64) -> Self {
        let len = [1, 900, 5_000, 16_384][random.below(4) as usize];
        // With one at every byte a world would take for ever.
        let control_every = match [0, 1, 3, 50][random.below(4) as usize] {
            0 => 0,
            every => (every * 4096_u64).div_ceil(u64::from(len)),
        };
        let plans = [
            OffloadPlan::Never,
            OffloadPlan::WhenBulky,
            OffloadPlan::WhenBulky,
            OffloadPlan::AtOnce,
        ];
        let mut offload = [0, 1].map(|_| plans[random.below(4) as usize]);
        if len == 1 {
            // A splice for each byte would take for ever.
            offload[0] = OffloadPlan::Never;
        }
        Self {
            offload,
            len,
            first,
            truncates: random.one_in(3),
            truncated: false,
            bad: if random.one_in(4) { 20 } else { 0 },
            control_every,
            refuses: [0, 0, 100][random.below(3) as usize],
            cannot_rekey: [0, 0, 30][random.below(3) as usize],
            opened: first,
            sealed,
            notified: false,
            refused: None,
            owes_keys: false,
            keys_wait: false,
            opened_in_kernel: false,
            sealed_in_kernel: false,
            leaving: false,
            taken_at: None,
            opened_by_kernel: 0,
            sealed_by_kernel: 0,
            aligned: false,
            control_taken: false,
            rekeyed: false,
        }
    }

    /// Tells whether data for the peer has to wait for new keys.
    pub(crate) fn keeps_back(&self) -> bool {
        self.sealed_in_kernel && self.owes_keys
    }

    /// Returns where the record ends that `position` is in, or begins.
    fn record_end(&self, position: u64) -> u64 {
        let behind = position - self.first;
        position + u64::from(self.len) - behind % u64::from(self.len)
    }

    /// Returns the position at or behind `position` in front of which a record lies that is no data.
    fn next_control(&self, position: u64) -> u64 {
        if self.control_every == 0 {
            return u64::MAX;
        }
        let step = self.control_every * u64::from(self.len);
        let at = self.first + (position - self.first).next_multiple_of(step);
        if self.taken_at == Some(at) {
            at + step
        } else {
            at
        }
    }
}

pub(crate) fn bad_record(end: End) -> Cause {
    match end {
        End::Client => Cause::TlsBadRecord,
        End::Server => Cause::ServerTlsBadRecord,
    }
}

impl Sim {
    pub(crate) fn records_of(&self, end: End) -> Option<&Records> {
        self.records[end as usize].as_ref()
    }

    fn records_mut(&mut self, end: End) -> &mut Records {
        self.records[end as usize]
            .as_mut()
            .expect("this end speaks TLS")
    }

    fn opens(&self, flow: Flow) -> bool {
        let records = self.records_of(flow.source());
        records.is_some_and(|records| !records.opened_in_kernel)
    }

    fn seals(&self, flow: Flow) -> bool {
        let records = self.records_of(flow.target());
        records.is_some_and(|records| !records.sealed_in_kernel)
    }

    /// Tells whether we open or seal records of `flow`.
    pub(crate) fn makes_records(&self, flow: Flow) -> bool {
        self.opens(flow) || self.seals(flow)
    }

    /// Returns how far the bytes of a flow have come, as its source counts them.
    pub(crate) fn position(&self, flow: Flow) -> u64 {
        match self.records_of(flow.source()) {
            Some(records) => records.opened,
            None => self.wires[flow.source() as usize].received,
        }
    }

    /// A receive that we open or seal, or both.
    pub(crate) fn receive_records(&mut self, flow: Flow) -> Outcome {
        let outcome = if self.opens(flow) {
            self.open_records(flow)
        } else {
            let outcome = self.receive_unopened(flow, BUFFER_BYTES, true);
            if let Outcome::Moved(len) = outcome {
                Outcome::Records {
                    payload: len,
                    len,
                    full: len == BUFFER_BYTES,
                }
            } else {
                outcome
            }
        };
        let Outcome::Records { payload, full, .. } = outcome else {
            return outcome;
        };
        if flow == Flow::ToClient {
            self.counted_out += u64::from(payload);
        }
        if !self.seals(flow) || payload == 0 {
            self.note_sealed_by_kernel(flow, payload);
            self.hands[flow as usize].fresh = self.span_of(flow, payload);
            return outcome;
        }
        let len = payload + OVERHEAD;
        self.records_mut(flow.target()).sealed += u64::from(len);
        self.hands[flow as usize].fresh = self.span_of(flow, len);
        Outcome::Records { payload, len, full }
    }

    /// A receive whose records we open.
    fn open_records(&mut self, flow: Flow) -> Outcome {
        let end = flow.source();
        let received = self.wires[end as usize].received;
        let records = self.records_mut(end);
        let unopened = received - records.opened;
        let mut room = BUFFER_BYTES - u32::try_from(unopened).expect("less than a record");
        let whole_at_once = records.leaving;
        if records.leaving {
            let missing = records.record_end(records.opened) - received;
            room = room.min(u32::try_from(missing).expect("less than a record"));
            records.aligned = true;
        }
        let outcome = self.receive(flow, room, true);
        let (received, position) = (moved(outcome), self.whole_of(flow));
        let bad = self.records_mut(end).bad;
        if received > 0 && self.random.below(1000) < bad {
            return self.refuse(end);
        }
        let records = self.records_mut(end);
        if matches!(outcome, Outcome::Moved(_)) {
            let len = u32::try_from(position - records.opened).expect("one buffer");
            records.opened = position;
            if records.sealed_in_kernel && self.random.one_in(50) {
                self.ask_for_keys(end);
            }
            return Outcome::Records {
                payload: len,
                len,
                full: received == room || whole_at_once,
            };
        }
        if outcome == Outcome::Ended && records.truncates {
            records.truncated = true;
            return Outcome::Truncated;
        }
        outcome
    }

    fn refuse(&mut self, end: End) -> Outcome {
        let cause = bad_record(end);
        self.records_mut(end).refused = Some(cause);
        Outcome::Refused(cause)
    }

    fn ask_for_keys(&mut self, end: End) {
        self.records_mut(end).owes_keys = true;
        self.tunnel.ask_for_new_keys(end);
    }

    /// A receive or a splice of a flow of which we neither open nor seal records.
    pub(crate) fn receive_through(&mut self, flow: Flow, room: u32, copies: bool) -> Outcome {
        let outcome = self.receive_unopened(flow, room, copies);
        self.note_sealed_by_kernel(flow, moved(outcome));
        outcome
    }

    fn note_sealed_by_kernel(&mut self, flow: Flow, len: u32) {
        if let Some(records) = &mut self.records[flow.target() as usize] {
            records.sealed += u64::from(len);
            records.sealed_by_kernel += u64::from(len);
        }
    }

    /// A receive or a splice of what is plain, or opened by the kernel.
    fn receive_unopened(&mut self, flow: Flow, room: u32, copies: bool) -> Outcome {
        match self.records_of(flow.source()) {
            Some(_) => self.receive_from_kernel(flow, room, copies),
            None => self.receive(flow, room, copies),
        }
    }

    fn receive_from_kernel(&mut self, flow: Flow, room: u32, copies: bool) -> Outcome {
        let end = flow.source();
        let whole = self.whole(flow, self.wires[end as usize].arrived);
        let position = self.wires[end as usize].received;
        let bad = self.records_mut(end).bad;
        if self.random.below(1000) < bad {
            return self.refuse(end);
        }
        let control = self.records_mut(end).next_control(position);
        // It comes in the same segment as the record behind it.
        if control == position && whole > position {
            if self.random.one_in(10) {
                self.records_mut(end).taken_at = Some(position);
                return Outcome::Empty;
            }
            return Outcome::Control;
        }
        let records = self.records_mut(end);
        let (record_end, truncates) = (records.record_end(position), records.truncates);
        let stop = whole.min(control);
        let stop = if copies { stop } else { stop.min(record_end) };
        let most = u32::try_from((stop - position).min(u64::from(room))).expect("bounded");
        let wire = &mut self.wires[end as usize];
        let ended = wire.fin && most == 0;
        if ended && !truncates && wire.has_said_all(position) {
            return Outcome::Control;
        }
        let outcome = wire.receive_most(&mut self.random, &self.plan, most);
        let (received, reset) = (wire.received, wire.reset);
        let records = self.records_mut(end);
        records.opened = received;
        records.opened_by_kernel += u64::from(moved(outcome));
        if outcome == Outcome::Ended {
            if !reset {
                self.first_end.get_or_insert(end);
            }
            self.records_mut(end).truncated = true;
            return Outcome::Truncated;
        }
        outcome
    }

    pub(crate) fn take_control(&mut self, flow: Flow) -> Outcome {
        let end = flow.source();
        let wire = &self.wires[end as usize];
        let (position, over, reset) = (wire.received, wire.fin, wire.reset);
        let over = over && wire.has_said_all(position);
        let records = self.records_mut(end);
        assert!(records.opened_in_kernel, "takes what the kernel has not");
        records.control_taken = true;
        if over {
            if !reset {
                self.first_end.get_or_insert(end);
            }
            return Outcome::Ended;
        }
        records.taken_at = Some(position);
        if records.sealed_in_kernel && self.random.one_in(2) {
            self.ask_for_keys(end);
        }
        Outcome::Done
    }

    pub(crate) fn offload(&mut self, flow: Flow, end: End) -> Outcome {
        assert_eq!(self.tunnel.held(flow), 0, "leaves a record half sent");
        let wire = &self.wires[end as usize];
        let (received, sent) = (wire.received, wire.sent);
        let ended = wire.fin || wire.shut;
        let refuses = self.records_mut(end).refuses;
        if self.random.chance(refuses) || ended {
            return Outcome::Unsupported;
        }
        let patience = self.random.one_in(5);
        let records = self.records_mut(end);
        if end == flow.source() {
            assert!(!records.opened_in_kernel, "left to the kernel twice");
            records.leaving = received != records.opened;
            if records.leaving {
                return Outcome::WouldBlock;
            }
            records.opened_in_kernel = true;
        } else {
            assert!(!records.sealed_in_kernel, "left to the kernel twice");
            assert_eq!(sent, records.sealed, "records on their way");
            if patience {
                return Outcome::WouldBlock;
            }
            records.sealed_in_kernel = true;
        }
        Outcome::Done
    }

    pub(crate) fn rekey(&mut self, flow: Flow) -> Outcome {
        let end = flow.target();
        let records = self.records_mut(end);
        assert!(records.sealed_in_kernel, "no keys of the kernel's");
        let (owes, cannot) = (records.owes_keys, records.cannot_rekey);
        if owes && self.random.chance(cannot) {
            let cause = Cause::TlsKeyUpdateUnsupported;
            self.records_mut(end).refused = Some(cause);
            return Outcome::Refused(cause);
        }
        let hindered = hindered(&mut self.random, &mut self.wires[end as usize]);
        let records = self.records_mut(end);
        records.keys_wait = hindered == Some(Outcome::WouldBlock);
        if let Some(outcome) = hindered {
            return outcome;
        }
        records.owes_keys = false;
        records.rekeyed = true;
        Outcome::Done
    }

    pub(crate) fn notify(&mut self, flow: Flow) -> Outcome {
        assert!(self.wires[flow.source() as usize].fin, "an end nobody sent");
        let end = flow.target();
        let sent = self.wires[end as usize].sent;
        let records = self.records_mut(end);
        assert!(!records.notified, "notified twice");
        if records.sealed_in_kernel {
            assert_eq!(sent, records.sealed, "an end before the last byte");
            let hindered = hindered(&mut self.random, &mut self.wires[end as usize]);
            // A broken connection has nobody to be told.
            self.records_mut(end).notified = hindered != Some(Outcome::WouldBlock);
            return hindered.unwrap_or(Outcome::Done);
        }
        records.notified = true;
        records.sealed += u64::from(OVERHEAD + 2);
        self.hands[flow as usize].fresh = self.span_of(flow, OVERHEAD + 2);
        Outcome::Moved(OVERHEAD + 2)
    }

    /// Returns up to where what was received of a flow can be passed on.
    fn whole_of(&self, flow: Flow) -> u64 {
        let wire = &self.wires[flow.source() as usize];
        self.whole(flow, wire.received)
    }

    pub(crate) fn whole(&self, flow: Flow, position: u64) -> u64 {
        let wire = &self.wires[flow.source() as usize];
        match self.records_of(flow.source()) {
            Some(records) if !wire.has_said_all(position) => {
                let behind = position - records.first;
                position - behind % u64::from(records.len)
            }
            Some(_) | None => position,
        }
    }

    /// Returns how many bytes the target of a flow gets when everything that arrived is passed on.
    pub(crate) fn due(&self, flow: Flow) -> u64 {
        let all = self.whole(flow, self.wires[flow.source() as usize].arrived);
        match self.records_of(flow.target()) {
            Some(records) => {
                assert_eq!(self.position(flow), all, "slept on bytes to be sealed");
                records.sealed
            }
            None => all,
        }
    }
}

/// A record of the kernel's own that does not get out: the connection is broken, or full.
fn hindered(random: &mut Random, wire: &mut Wire) -> Option<Outcome> {
    if wire.reset {
        return Some(Outcome::Failed);
    }
    if wire.has_no_room() || random.one_in(5) {
        wire.ask_for_room();
        return Some(Outcome::WouldBlock);
    }
    None
}
