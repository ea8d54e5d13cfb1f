//! The client's TLS in the simulated world: records opened and sealed by us, or by a kernel that keeps
//! the promises of kernel TLS and not one more.
//!
//! Such a kernel shows whole records only. A receive may stop in front of a record that is no data
//! although there is more behind it, and that record comes without an edge of its own; a splice gives one
//! record at the most; the end is a record too.

use longsplice::journal::Cause;
use longsplice::relay::tunnel::{BUFFER_BYTES, End, Flow, Offload, Outcome};

use crate::world::{Random, Wire};
use crate::{Sim, Span, moved};

/// Bytes that sealing adds, once for each receive.
pub(crate) const OVERHEAD: u32 = 22;

/// The TLS of the client's end.
#[derive(Debug)]
pub(crate) struct Records {
    /// When either flow is to be left to the kernel.
    pub(crate) offload: [Offload; 2],
    /// Length of the client's records, and where the first one begins.
    len: u32,
    first: u64,
    /// The client ends without close_notify.
    pub(crate) truncates: bool,
    /// Receives in 1000 that bring a bad record.
    bad: u32,
    /// A record that is no data lies in front of each nth one; 0 = nowhere.
    control_every: u64,
    /// Offers in 100 that the kernel refuses.
    refuses: u32,
    /// KeyUpdates in 100 that the kernel cannot make.
    cannot_rekey: u32,
    /// Position up to which the client's records were opened.
    pub(crate) opened: u64,
    /// Bytes that were sealed for the client.
    pub(crate) sealed: u64,
    pub(crate) notified: bool,
    pub(crate) refused: Option<Cause>,
    /// The client waits for new keys.
    pub(crate) owes_keys: bool,
    /// They found no room.
    pub(crate) keys_wait: bool,
    in_kernel: [bool; 2],
    leaving: bool,
    /// Position of the last record that is no data and was taken.
    taken_at: Option<u64>,
    /// Bytes received from the server, and sealed, when sealing was left to the kernel.
    at_switch: (u64, u64),
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
            Offload::Never,
            Offload::WhenBulky,
            Offload::WhenBulky,
            Offload::AtOnce,
        ];
        let mut offload = [0, 1].map(|_| plans[random.below(4) as usize]);
        if len == 1 {
            // A splice for each byte would take for ever.
            offload[Flow::ToServer as usize] = Offload::Never;
        }
        Self {
            offload,
            len,
            first,
            truncates: random.one_in(3),
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
            in_kernel: [false; 2],
            leaving: false,
            taken_at: None,
            at_switch: (0, 0),
            opened_by_kernel: 0,
            sealed_by_kernel: 0,
            aligned: false,
            control_taken: false,
            rekeyed: false,
        }
    }

    pub(crate) fn is_in_kernel(&self, flow: Flow) -> bool {
        self.in_kernel[flow as usize]
    }

    /// Returns what the tunnel must have counted as sent to the client.
    pub(crate) fn bytes_out(&self, received: u64, sent: u64) -> u64 {
        if !self.is_in_kernel(Flow::ToClient) {
            return received;
        }
        let (payload, sealed) = self.at_switch;
        payload + (sent - sealed)
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

impl Sim {
    /// A receive that we open or seal.
    pub(crate) fn receive_records(&mut self, flow: Flow) -> Outcome {
        let client = &self.wires[End::Client as usize];
        let Some(records) = &mut self.records else {
            unreachable!("asked for")
        };
        let mut room = BUFFER_BYTES;
        let mut whole_at_once = false;
        if flow == Flow::ToServer {
            let unopened = client.received - records.opened;
            room -= u32::try_from(unopened).expect("less than a record");
            if records.leaving {
                let end = records.record_end(records.opened);
                let missing = u32::try_from(end - client.received).expect("less than a record");
                room = room.min(missing);
                records.aligned = true;
                whole_at_once = true;
            }
        }
        let outcome = self.receive(flow, room, true);
        let (received, position) = (moved(outcome), self.whole_of(flow));
        let Some(records) = &mut self.records else {
            unreachable!("asked for")
        };
        let hands = &mut self.hands[flow as usize];
        if flow == Flow::ToServer && received > 0 && self.random.below(1000) < records.bad {
            records.refused = Some(Cause::TlsBadRecord);
            return Outcome::Refused(Cause::TlsBadRecord);
        }
        match (flow, outcome) {
            (Flow::ToServer, Outcome::Moved(_)) => {
                let len = u32::try_from(position - records.opened).expect("one buffer");
                hands.fresh = Span {
                    from: records.opened,
                    len,
                };
                records.opened = position;
                if records.is_in_kernel(Flow::ToClient) && self.random.one_in(50) {
                    records.owes_keys = true;
                    self.tunnel.ask_for_new_keys();
                }
                Outcome::Records {
                    payload: len,
                    len,
                    full: received == room || whole_at_once,
                }
            }
            (Flow::ToClient, Outcome::Moved(payload)) => {
                let len = payload + OVERHEAD;
                hands.fresh = Span {
                    from: records.sealed,
                    len,
                };
                records.sealed += u64::from(len);
                Outcome::Records {
                    payload,
                    len,
                    full: received == room,
                }
            }
            (Flow::ToServer, Outcome::Ended) if records.truncates => Outcome::Truncated,
            (Flow::ToServer | Flow::ToClient, outcome) => outcome,
        }
    }

    /// A receive or a splice of a flow that was left to the kernel.
    pub(crate) fn receive_through_kernel(
        &mut self,
        flow: Flow,
        room: u32,
        copies: bool,
    ) -> Outcome {
        match flow {
            Flow::ToServer => self.receive_from_kernel(room, copies),
            Flow::ToClient => {
                let outcome = self.receive(flow, room, copies);
                let records = self.records.as_mut().expect("the client speaks TLS");
                records.sealed += u64::from(moved(outcome));
                records.sealed_by_kernel += u64::from(moved(outcome));
                outcome
            }
        }
    }

    fn receive_from_kernel(&mut self, room: u32, copies: bool) -> Outcome {
        let arrived = self.wires[End::Client as usize].arrived;
        let whole = self.whole(Flow::ToServer, arrived);
        let Some(records) = &mut self.records else {
            unreachable!("asked for")
        };
        let wire = &mut self.wires[End::Client as usize];
        let position = wire.received;
        if self.random.below(1000) < records.bad {
            records.refused = Some(Cause::TlsBadRecord);
            return Outcome::Refused(Cause::TlsBadRecord);
        }
        let control = records.next_control(position);
        // It comes in the same segment as the record behind it.
        if control == position && whole > position {
            if self.random.one_in(10) {
                records.taken_at = Some(position);
                return Outcome::Empty;
            }
            return Outcome::Control;
        }
        let record_end = records.record_end(position);
        let end = whole.min(control);
        let end = if copies { end } else { end.min(record_end) };
        let most = u32::try_from((end - position).min(u64::from(room))).expect("bounded");
        let ended = wire.fin && most == 0;
        if ended && !records.truncates && wire.has_said_all(position) {
            return Outcome::Control;
        }
        let outcome = wire.receive_most(&mut self.random, &self.plan, most);
        records.opened = wire.received;
        records.opened_by_kernel += u64::from(moved(outcome));
        if outcome == Outcome::Ended {
            if !wire.reset {
                self.first_end.get_or_insert(End::Client);
            }
            return Outcome::Truncated;
        }
        outcome
    }

    pub(crate) fn take_control(&mut self, flow: Flow) -> Outcome {
        assert_eq!(flow, Flow::ToServer);
        let wire = &self.wires[End::Client as usize];
        let records = self.records.as_mut().expect("the client speaks TLS");
        assert!(records.is_in_kernel(flow), "takes what the kernel has not");
        records.control_taken = true;
        let position = wire.received;
        if wire.fin && wire.has_said_all(position) {
            if !wire.reset {
                self.first_end.get_or_insert(End::Client);
            }
            return Outcome::Ended;
        }
        records.taken_at = Some(position);
        if records.is_in_kernel(Flow::ToClient) && self.random.one_in(2) {
            records.owes_keys = true;
            self.tunnel.ask_for_new_keys();
        }
        Outcome::Done
    }

    pub(crate) fn offload(&mut self, flow: Flow) -> Outcome {
        let (client, server) = (&self.wires[0], &self.wires[1]);
        assert_eq!(self.tunnel.held(flow), 0, "leaves a record half sent");
        let records = self.records.as_mut().expect("the client speaks TLS");
        assert!(!records.is_in_kernel(flow), "left to the kernel twice");
        if self.random.chance(records.refuses) || client.fin || client.shut {
            return Outcome::Unsupported;
        }
        match flow {
            Flow::ToServer => {
                records.leaving = client.received != records.opened;
                if records.leaving {
                    return Outcome::WouldBlock;
                }
            }
            Flow::ToClient => {
                assert_eq!(client.sent, records.sealed, "records on their way");
                if self.random.one_in(5) {
                    return Outcome::WouldBlock;
                }
                records.at_switch = (server.received, records.sealed);
            }
        }
        records.in_kernel[flow as usize] = true;
        Outcome::Done
    }

    pub(crate) fn rekey(&mut self, flow: Flow) -> Outcome {
        assert_eq!(flow, Flow::ToClient);
        let records = self.records.as_mut().expect("the client speaks TLS");
        assert!(records.is_in_kernel(flow), "no keys of the kernel's");
        if records.owes_keys && self.random.chance(records.cannot_rekey) {
            let cause = Cause::TlsKeyUpdateUnsupported;
            records.refused = Some(cause);
            return Outcome::Refused(cause);
        }
        let hindered = hindered(&mut self.random, &mut self.wires[End::Client as usize]);
        records.keys_wait = hindered == Some(Outcome::WouldBlock);
        if let Some(outcome) = hindered {
            return outcome;
        }
        records.owes_keys = false;
        records.rekeyed = true;
        Outcome::Done
    }

    pub(crate) fn notify(&mut self, flow: Flow) -> Outcome {
        assert_eq!(flow, Flow::ToClient);
        assert!(self.wires[End::Server as usize].fin, "an end nobody sent");
        let records = self.records.as_mut().expect("the client speaks TLS");
        assert!(!records.notified, "notified twice");
        if records.is_in_kernel(flow) {
            let client = &mut self.wires[End::Client as usize];
            assert_eq!(client.sent, records.sealed, "an end before the last byte");
            if let Some(outcome) = hindered(&mut self.random, client) {
                // A broken connection has nobody to be told.
                records.notified = outcome == Outcome::Failed;
                return outcome;
            }
            records.notified = true;
            return Outcome::Done;
        }
        records.notified = true;
        self.hands[flow as usize].fresh = Span {
            from: records.sealed,
            len: OVERHEAD + 2,
        };
        records.sealed += u64::from(OVERHEAD + 2);
        Outcome::Moved(OVERHEAD + 2)
    }

    /// Returns up to where what was received of a flow can be passed on.
    fn whole_of(&self, flow: Flow) -> u64 {
        let wire = &self.wires[flow.source() as usize];
        self.whole(flow, wire.received)
    }

    pub(crate) fn whole(&self, flow: Flow, position: u64) -> u64 {
        let wire = &self.wires[flow.source() as usize];
        match &self.records {
            Some(records) if flow == Flow::ToServer && !wire.has_said_all(position) => {
                let behind = position - records.first;
                position - behind % u64::from(records.len)
            }
            Some(_) | None => position,
        }
    }

    /// Returns how many bytes the target of a flow gets when everything that arrived is passed on.
    pub(crate) fn due(&self, flow: Flow) -> u64 {
        let source = &self.wires[flow.source() as usize];
        match &self.records {
            Some(records) if flow == Flow::ToClient => {
                assert_eq!(
                    source.received, source.arrived,
                    "slept on bytes to be sealed"
                );
                records.sealed
            }
            Some(_) | None => self.whole(flow, source.arrived),
        }
    }
}

/// A record of the kernel's own that does not get out: the connection is broken, or full.
fn hindered(random: &mut Random, client: &mut Wire) -> Option<Outcome> {
    if client.reset {
        return Some(Outcome::Failed);
    }
    if client.has_no_room() || random.one_in(5) {
        client.ask_for_room();
        return Some(Outcome::WouldBlock);
    }
    None
}
