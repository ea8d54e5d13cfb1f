//! State changes after each action of a tunnel: a receive, a send, a hand-over of records.

use super::{
    Action, BROKEN, BUFFER_BYTES, COPIED, ENDED, End, Flow, IN_PIPE, NO_SPLICE, NOTIFIED, Outcome,
    Pump, READABLE, RECORDS, RecordKeeper, SPLICE, SPLICED, STICKY, TRUNCATED, Tunnel,
};
use crate::journal::Side;

/// Full receives in a row that turn a flow to splice(2).
const FULL_READS_TO_SPLICE: u8 = 3;
/// A receive of at least this many bytes is cheaper in the kernel: one of 16 KiB costs a fifth less than in
/// user space, one that fills the buffer a third less, one of 1 KiB a tenth more (`cargo xtask cost`).
const BULKY_BYTES: u32 = 12 * 1024;
/// Weight of a bulky receive against one that is not: it saves this many times more than the other costs.
const BULKY_WEIGHT: u8 = 4;
/// Weight at which a flow is handed to the kernel, for good.
const BULKY_TO_OFFLOAD: u8 = 16 * BULKY_WEIGHT;
/// A splice that moves less counts as small.
const SMALL_SPLICE_BYTES: u32 = 16 * 1024;
/// Small splices in a row that turn a flow back to copying.
const SMALL_SPLICES_TO_COPY: u8 = 4;
/// Bytes of one record at most.
const RECORD_BYTES: u32 = 16 * 1024;
/// Additional short records that one send may become when its bytes lie scattered in a pipe.
const SCATTERED_RECORDS: u32 = 8;
/// Records the kernel may seal between two queries of its number: `tls::control` leaves room for more.
const UNSEEN_RECORDS_MAX: u16 = 1 << 15;

impl Tunnel {
    pub(super) fn on_receive(&mut self, pump: &mut Pump, outcome: Outcome) -> Action {
        if let Outcome::Records { payload, len, full } = outcome {
            return self.on_records(pump, payload, len, full);
        }
        let Outcome::Moved(len) = outcome else {
            return self.on_no_bytes(pump, outcome);
        };
        self.count_received(pump, len);
        let by_kernel = self.is_opened_by_kernel(pump.flow);
        let lane = self.lane_mut(pump.flow);
        lane.set(COPIED);
        if by_kernel {
            // There was no pipe; the next time there may be one.
            lane.set(SPLICE);
        } else if len >= BUFFER_BYTES {
            lane.full_reads += 1;
            if lane.full_reads >= FULL_READS_TO_SPLICE {
                lane.full_reads = 0;
                if !lane.has(NO_SPLICE) {
                    lane.set(SPLICE);
                    lane.small_splices = 0;
                }
            }
        } else {
            lane.full_reads = 0;
            if !lane.has(STICKY) {
                lane.clear(READABLE);
            }
        }
        pump.doing = Action::Send { from: 0, len };
        pump.doing
    }

    pub(super) fn on_records(
        &mut self,
        pump: &mut Pump,
        payload: u32,
        len: u32,
        full: bool,
    ) -> Action {
        pump.moved |= payload > 0;
        match pump.flow {
            Flow::ToServer => self.bytes_in += u64::from(payload),
            Flow::ToClient => self.bytes_out += u64::from(payload),
        }
        let lane = self.lane_mut(pump.flow);
        if !full && !lane.has(STICKY) {
            lane.clear(READABLE);
        }
        if payload >= BULKY_BYTES {
            lane.full_reads = lane.full_reads.saturating_add(BULKY_WEIGHT);
        } else if payload > 0 {
            lane.full_reads = lane.full_reads.saturating_sub(1);
        }
        if lane.full_reads >= BULKY_TO_OFFLOAD {
            self.guards.leave(pump.flow);
        }
        if len == 0 {
            return self.proceed(pump);
        }
        self.lane_mut(pump.flow).set(RECORDS);
        pump.doing = Action::Send { from: 0, len };
        pump.doing
    }

    /// Handles an offer of a flow's keys to the kernel; "would block" = in the middle of a record.
    pub(super) fn on_offload(&mut self, pump: &mut Pump, outcome: Outcome, end: End) -> Action {
        match outcome {
            Outcome::Done => {
                self.guards.set(pump.flow, end, RecordKeeper::Kernel);
                let by_us = self.makes_records(pump.flow);
                let by_kernel = self.is_opened_by_kernel(pump.flow);
                let lane = self.lane_mut(pump.flow);
                // A splice takes one record; a receive passes over any number of empty ones before it
                // returns.
                if !by_us && (by_kernel || lane.full_reads >= BULKY_TO_OFFLOAD) {
                    lane.set(SPLICE);
                }
                lane.full_reads = 0;
                if end == pump.flow.source() {
                    // A record that is not data ends either early, and a partial record in the kernel gives
                    // no further edge.
                    lane.set(STICKY | READABLE);
                }
                self.proceed(pump)
            }
            Outcome::WouldBlock => self.read(pump),
            Outcome::Unsupported => {
                self.guards.set(pump.flow, end, RecordKeeper::Records);
                self.proceed(pump)
            }
            Outcome::Moved(_)
            | Outcome::Records { .. }
            | Outcome::Control
            | Outcome::Empty
            | Outcome::Ended
            | Outcome::Truncated
            | Outcome::Refused(_)
            | Outcome::NoPipe
            | Outcome::Failed => self.on_no_bytes(pump, outcome),
        }
    }

    /// Handles the reading of a record that is not data.
    pub(super) fn on_control(&mut self, pump: &mut Pump, outcome: Outcome) -> Action {
        match outcome {
            Outcome::Done => self.proceed(pump),
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
            | Outcome::Failed => self.on_no_bytes(pump, outcome),
        }
    }

    /// Handles a change of the kernel's sealing keys, or the finding that they are good for longer.
    pub(super) fn on_rekey(&mut self, pump: &mut Pump, outcome: Outcome) -> Action {
        match outcome {
            Outcome::Done => {
                let end = pump.flow.target();
                *self.unseen_records_mut(pump.flow) = 0;
                self.guards.set(pump.flow, end, RecordKeeper::Kernel);
                self.proceed(pump)
            }
            Outcome::WouldBlock => {
                self.block(pump.flow);
                self.proceed(pump)
            }
            Outcome::Refused(cause) => self.close(cause, None).map_or(Action::Wait, Action::Close),
            Outcome::Moved(_)
            | Outcome::Records { .. }
            | Outcome::Control
            | Outcome::Empty
            | Outcome::Ended
            | Outcome::Truncated
            | Outcome::NoPipe
            | Outcome::Unsupported
            | Outcome::Failed => {
                self.mark_broken(pump.flow.target());
                self.proceed(pump)
            }
        }
    }

    /// Handles a sealed close_notify, by us or by the kernel; without keys to seal it, the end is sent bare.
    pub(super) fn on_notify(&mut self, pump: &mut Pump, outcome: Outcome) -> Action {
        match outcome {
            Outcome::WouldBlock => {
                self.block(pump.flow);
                self.proceed(pump)
            }
            Outcome::Moved(len) => {
                self.lane_mut(pump.flow).set(NOTIFIED);
                pump.doing = Action::Send { from: 0, len };
                pump.doing
            }
            Outcome::Records { .. }
            | Outcome::Control
            | Outcome::Empty
            | Outcome::Ended
            | Outcome::Truncated
            | Outcome::Refused(_)
            | Outcome::NoPipe
            | Outcome::Unsupported
            | Outcome::Failed
            | Outcome::Done => {
                self.lane_mut(pump.flow).set(NOTIFIED);
                self.proceed(pump)
            }
        }
    }

    pub(super) fn on_splice_in(&mut self, pump: &mut Pump, outcome: Outcome) -> Action {
        let Outcome::Moved(len) = outcome else {
            return self.on_no_bytes(pump, outcome);
        };
        self.count_received(pump, len);
        let stays = self.is_opened_by_kernel(pump.flow);
        let lane = self.lane_mut(pump.flow);
        lane.set(SPLICED | IN_PIPE);
        lane.held = len;
        if len < SMALL_SPLICE_BYTES && !stays {
            lane.small_splices += 1;
            if lane.small_splices >= SMALL_SPLICES_TO_COPY {
                lane.clear(SPLICE);
                lane.full_reads = 0;
            }
        } else {
            lane.small_splices = 0;
        }
        self.proceed(pump)
    }

    /// Handles a receive or a splice that brought nothing from the source.
    pub(super) fn on_no_bytes(&mut self, pump: &mut Pump, outcome: Outcome) -> Action {
        let source = pump.flow.source();
        let broken = self.is_broken(source);
        let lane = self.lane_mut(pump.flow);
        match outcome {
            Outcome::Ended | Outcome::Truncated => {
                let reported = lane.has(BROKEN);
                lane.set(ENDED);
                if outcome == Outcome::Truncated {
                    // The target is to learn no more than we know: it gets a bare end as well.
                    lane.set(TRUNCATED | NOTIFIED);
                }
                lane.clear(READABLE);
                if reported {
                    self.mark_broken(source);
                } else if !broken {
                    self.first_ended.get_or_insert(source);
                }
            }
            Outcome::WouldBlock => {
                lane.clear(READABLE);
                if broken {
                    lane.set(ENDED);
                }
            }
            Outcome::Control => {
                pump.doing = Action::TakeControl;
                return pump.doing;
            }
            Outcome::Empty => {}
            Outcome::NoPipe => {
                lane.clear(SPLICE);
                lane.full_reads = 0;
            }
            Outcome::Unsupported => {
                lane.clear(SPLICE);
                lane.set(NO_SPLICE);
            }
            Outcome::Refused(cause) => {
                // The target must not take the truncated data for the whole.
                let reset = (cause.side() != Side::Proxy).then_some(source.other());
                return self.close(cause, reset).map_or(Action::Wait, Action::Close);
            }
            Outcome::Failed | Outcome::Moved(_) | Outcome::Records { .. } | Outcome::Done => {
                lane.set(ENDED);
                lane.clear(READABLE);
                self.mark_broken(source);
            }
        }
        self.proceed(pump)
    }

    pub(super) fn on_send(
        &mut self,
        pump: &mut Pump,
        outcome: Outcome,
        from: u32,
        len: u32,
    ) -> Action {
        match outcome {
            Outcome::Moved(sent) => {
                let sent = sent.min(len);
                self.count_sent(pump, sent);
                if sent == len {
                    return self.proceed(pump);
                }
                // Only "would block" arms the next edge, so the remaining bytes are tried at once.
                pump.doing = Action::Send {
                    from: from + sent,
                    len: len - sent,
                };
                pump.doing
            }
            Outcome::WouldBlock => {
                self.block(pump.flow);
                pump.doing = Action::Hold { from, len };
                pump.doing
            }
            Outcome::Records { .. }
            | Outcome::Control
            | Outcome::Empty
            | Outcome::Ended
            | Outcome::Truncated
            | Outcome::Refused(_)
            | Outcome::NoPipe
            | Outcome::Unsupported
            | Outcome::Failed
            | Outcome::Done => {
                self.mark_broken(pump.flow.target());
                self.proceed(pump)
            }
        }
    }

    /// Handles the sending of held bytes, kept ones or those in the pipe.
    pub(super) fn on_drain(&mut self, pump: &mut Pump, outcome: Outcome, len: u32) -> Action {
        match outcome {
            Outcome::Moved(sent) => {
                let sent = sent.min(len);
                self.count_sent(pump, sent);
                self.lane_mut(pump.flow).held = len - sent;
            }
            Outcome::WouldBlock => self.block(pump.flow),
            Outcome::Records { .. }
            | Outcome::Control
            | Outcome::Empty
            | Outcome::Ended
            | Outcome::Truncated
            | Outcome::Refused(_)
            | Outcome::NoPipe
            | Outcome::Unsupported
            | Outcome::Failed
            | Outcome::Done => self.mark_broken(pump.flow.target()),
        }
        self.proceed(pump)
    }

    fn count_received(&mut self, pump: &mut Pump, len: u32) {
        pump.moved = true;
        if pump.flow == Flow::ToServer {
            self.bytes_in += u64::from(len);
        }
    }

    fn count_sent(&mut self, pump: &mut Pump, len: u32) {
        pump.moved = true;
        let flow = pump.flow;
        match self.guard(flow, flow.target()) {
            RecordKeeper::Nobody | RecordKeeper::Records | RecordKeeper::Leaving => {}
            RecordKeeper::Kernel | RecordKeeper::Rekeying => self.count_unseen_records(flow, len),
        }
        // Payload was counted when the records came.
        if flow == Flow::ToClient && !self.makes_records(flow) {
            self.bytes_out += u64::from(len);
        }
    }

    /// Requests a query of the kernel's number before it may have sealed too many records.
    fn count_unseen_records(&mut self, flow: Flow, len: u32) {
        let records = len / RECORD_BYTES + SCATTERED_RECORDS;
        let records = u16::try_from(records).unwrap_or(u16::MAX);
        let unseen = self.unseen_records_mut(flow);
        *unseen = unseen.saturating_add(records);
        if *unseen > UNSEEN_RECORDS_MAX {
            self.ask_for_new_keys(flow.target());
        }
    }

    fn unseen_records_mut(&mut self, flow: Flow) -> &mut u16 {
        let [to_server, to_client] = &mut self.unseen_records;
        match flow {
            Flow::ToServer => to_server,
            Flow::ToClient => to_client,
        }
    }
}
