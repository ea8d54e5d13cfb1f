//! What the loop does as the machine says: one system call at a time, on the simulated connections.

use longsplice::relay::tunnel::{Action, BUFFER_BYTES, Flow, Outcome};

use super::frames::{Speech, UNSEEN_MIN};
use super::records::Records;
use super::{Sim, Span};

/// Reads after which a pump must have let others have their turn.
const READS_MAX: u32 = 16;

impl Sim {
    pub(super) fn pump(&mut self, flow: Flow) {
        let (mut pump, mut action) = self.tunnel.begin(flow);
        let mut reads = 0;
        loop {
            self.log(|_| format!("  {flow:?} {action:?}"));
            match action {
                Action::Wait => {
                    let hands = &mut self.hands[flow as usize];
                    if self.tunnel.held(flow) == 0 {
                        hands.has_pipe = false;
                    }
                    return;
                }
                Action::Yield => {
                    assert_eq!(reads, READS_MAX, "yields too early");
                    self.yields = true;
                    self.hands[flow as usize].yielded = true;
                    return;
                }
                Action::Close(close) => return self.on_close(close),
                Action::Receive | Action::SpliceIn => reads += 1,
                Action::Send { .. }
                | Action::Hold { .. }
                | Action::SendHeld { .. }
                | Action::SpliceOut { .. }
                | Action::TakeControl
                | Action::Offload(_)
                | Action::Rekey
                | Action::Notify
                | Action::ShutdownWrite => {}
            }
            assert!(reads <= READS_MAX, "too many reads in one pump");
            let outcome = self.perform(flow, action);
            self.log(|_| format!("    {outcome:?}"));
            let sends = !matches!(
                action,
                Action::Receive | Action::SpliceIn | Action::TakeControl | Action::Offload(_)
            );
            action = self.tunnel.on(&mut pump, outcome);
            assert!(
                !sends
                    || outcome != Outcome::WouldBlock
                    || matches!(
                        action,
                        Action::Wait | Action::Hold { .. } | Action::Close(_)
                    ),
                "does not wait for room"
            );
            if self.random.chance(self.plan.interleaved) {
                self.world_step();
                self.fetch();
            }
        }
    }

    fn perform(&mut self, flow: Flow, action: Action) -> Outcome {
        let (held, before) = (self.tunnel.held(flow), self.position(flow));
        let hands = &mut self.hands[flow as usize];
        match action {
            Action::Receive => {
                assert_eq!(
                    (held, hands.kept.len, hands.pipe.len),
                    (0, 0, 0),
                    "reads while it holds"
                );
                let outcome = if self.makes_records(flow) {
                    self.receive_records(flow)
                } else {
                    let outcome = self.receive_through(flow, BUFFER_BYTES, true);
                    self.hands[flow as usize].fresh = self.span_of(flow, moved(outcome));
                    outcome
                };
                let len = self.position(flow) - before;
                if let Some(speech) = self.speech_of(flow) {
                    speech.feed(len);
                }
                outcome
            }
            Action::SpliceIn => {
                assert_eq!(
                    (held, hands.kept.len, hands.pipe.len),
                    (0, 0, 0),
                    "fills a used pipe"
                );
                let speech = self.speech.as_ref().filter(|_| flow == Flow::ToClient);
                let unseen_max = speech.map_or(u64::MAX, |speech| speech.followed.unseen_max());
                if unseen_max < UNSEEN_MIN {
                    return Outcome::NoPipe;
                }
                if !hands.has_pipe && self.random.chance(self.plan.no_pipe) {
                    return Outcome::NoPipe;
                }
                hands.has_pipe = true;
                assert!(
                    !self.makes_records(flow),
                    "splices what has to be opened or sealed"
                );
                if self.plan.unsupported[flow as usize] {
                    return Outcome::Unsupported;
                }
                let room = u32::try_from(unseen_max.min(256 * 1024)).expect("bounded");
                let outcome = self.receive_through(flow, room, false);
                self.hands[flow as usize].pipe = self.span_of(flow, moved(outcome));
                if let Some(speech) = self.speech_of(flow) {
                    speech.skip(u64::from(moved(outcome)));
                }
                outcome
            }
            Action::Send { from, len } => {
                let fresh = hands.fresh;
                assert_eq!(from + len, fresh.len, "not the rest of what was received");
                let span = Span {
                    from: fresh.from + u64::from(from),
                    len,
                };
                self.send(flow, span)
            }
            Action::Hold { from, len } => {
                let fresh = hands.fresh;
                assert_eq!(from + len, fresh.len, "holds another rest");
                hands.kept = Span {
                    from: fresh.from + u64::from(from),
                    len,
                };
                Outcome::Done
            }
            Action::SendHeld { len } => {
                let kept = hands.kept;
                assert_eq!((len, held), (kept.len, kept.len));
                let outcome = self.send(flow, kept);
                advance(&mut self.hands[flow as usize].kept, outcome);
                outcome
            }
            Action::SpliceOut { len } => {
                let pipe = hands.pipe;
                assert_eq!((len, held), (pipe.len, pipe.len));
                let outcome = self.send(flow, pipe);
                advance(&mut self.hands[flow as usize].pipe, outcome);
                outcome
            }
            Action::TakeControl => self.take_control(flow),
            Action::Offload(end) => self.offload(flow, end),
            Action::Rekey => self.rekey(flow),
            Action::Notify => self.notify(flow),
            Action::ShutdownWrite => self.shut_down(flow),
            Action::Wait | Action::Yield | Action::Close(_) => unreachable!("no system call"),
        }
    }

    fn speech_of(&mut self, flow: Flow) -> Option<&mut Speech> {
        self.speech.as_mut().filter(|_| flow == Flow::ToClient)
    }

    pub(super) fn receive(&mut self, flow: Flow, room: u32, short_is_empty: bool) -> Outcome {
        let source = flow.source();
        let wire = &mut self.wires[source as usize];
        let outcome = wire.receive(&mut self.random, &self.plan, room, short_is_empty);
        if outcome == Outcome::Ended && !wire.reset {
            self.first_end.get_or_insert(source);
        }
        outcome
    }

    /// Returns the last `len` bytes made for the target of a flow.
    pub(super) fn span_of(&self, flow: Flow, len: u32) -> Span {
        let end = match self.records_of(flow.target()) {
            Some(records) => records.sealed,
            None => self.position(flow),
        };
        let from = end - u64::from(len);
        Span { from, len }
    }

    fn send(&mut self, flow: Flow, span: Span) -> Outcome {
        let owed = self
            .records_of(flow.target())
            .is_some_and(Records::keeps_back);
        assert!(!owed, "data before the new keys");
        let wire = &mut self.wires[flow.target() as usize];
        assert_eq!(span.from, wire.sent, "bytes out of order, lost or repeated");
        assert!(span.len > 0, "sends nothing");
        assert!(!wire.shut, "sends after the end");
        let outcome = wire.send(&mut self.random, &self.plan, span.len);
        self.blocked |= outcome == Outcome::WouldBlock;
        if flow == Flow::ToClient && !self.makes_records(flow) {
            self.counted_out += u64::from(moved(outcome));
        }
        outcome
    }

    fn shut_down(&mut self, flow: Flow) -> Outcome {
        let source = &self.wires[flow.source() as usize];
        assert!(source.fin, "an end nobody sent");
        let truncated = self
            .records_of(flow.source())
            .is_some_and(|records| records.truncated);
        if let Some(records) = self.records_of(flow.target()) {
            assert_eq!(
                records.notified, !truncated,
                "the target is told something else"
            );
        }
        let all = self.due(flow);
        let target = &mut self.wires[flow.target() as usize];
        assert!(!target.shut, "ended twice");
        assert_eq!(target.sent, all, "ended before everything was delivered");
        if target.reset {
            return Outcome::Failed;
        }
        target.shut = true;
        Outcome::Done
    }
}

pub(super) fn moved(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Moved(len) => len,
        Outcome::Records { .. }
        | Outcome::Control
        | Outcome::Empty
        | Outcome::Ended
        | Outcome::Truncated
        | Outcome::Refused(_)
        | Outcome::WouldBlock
        | Outcome::NoPipe
        | Outcome::Unsupported
        | Outcome::Failed
        | Outcome::Done => 0,
    }
}

fn advance(span: &mut Span, outcome: Outcome) {
    let len = moved(outcome);
    span.from += u64::from(len);
    span.len -= len;
}
