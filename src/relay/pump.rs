//! Carries out the actions of the state machine: each [`Action`] is one system call. The hot path: no lock,
//! no log line, and no allocation except for bytes that a blocked target did not take.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::errno::Errno;

use super::followed::Followed;
use super::leg::PLAIN_BYTES;
use super::pipes::Pipes;
use super::stats::Stats;
use super::table::{Cold, Slot};
use super::tunnel::{Action, Close, End, Flow, Outcome};
use crate::proto::websocket::frames::Frames;
use crate::sys::stream;

/// How a pump ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Waits,
    Yields,
    Closes(Close),
}

/// State shared by all tunnels of a thread.
#[derive(Debug)]
pub(super) struct Gear {
    pub(super) buffer: Box<[u8]>,
    /// Bytes to be sealed; made when first needed.
    pub(super) plain: Vec<u8>,
    pub(super) pipes: Pipes,
    pub(super) followed: Followed,
    pub(super) stats: Arc<Stats>,
}

/// A splice that may carry fewer bytes than this without reaching a frame's header is a copy instead: the
/// longest record, so that kernel TLS never has to split one.
const UNSEEN_MIN: u64 = 16 * 1024;

/// Moves bytes of one flow until it has to stop; notes activity at `now`.
pub(super) fn run(slot: &mut Slot, cold: &mut Cold, gear: &mut Gear, flow: Flow, now: u32) -> Stop {
    let (mut pump, mut action) = slot.tunnel.begin(flow);
    let stop = loop {
        match action {
            Action::Wait => break Stop::Waits,
            Action::Yield => break Stop::Yields,
            Action::Close(close) => break Stop::Closes(close),
            Action::Receive
            | Action::Send { .. }
            | Action::Hold { .. }
            | Action::SendHeld { .. }
            | Action::SpliceIn
            | Action::SpliceOut { .. }
            | Action::TakeControl
            | Action::Offload(_)
            | Action::Rekey
            | Action::Notify
            | Action::ShutdownWrite => {
                let outcome = perform(action, slot, cold, gear, flow);
                gear.stats.note_outcome(&slot.tunnel, flow, action, outcome);
                action = slot.tunnel.on(&mut pump, outcome);
            }
        }
    };
    if pump.moved() {
        slot.last_active = now;
    }
    if stop == Stop::Waits && slot.tunnel.held(flow) == 0 {
        return_pipe(slot, gear, flow);
    }
    stop
}

/// Gives the pipe of a flow back, if it has one.
pub(super) fn return_pipe(slot: &mut Slot, gear: &mut Gear, flow: Flow) {
    let left_bytes = slot.tunnel.held(flow);
    if let Some(id) = pipe_of(slot, flow).take() {
        gear.pipes.take_back(id, left_bytes);
    }
}

/// Destroys the pipe of a flow, if it has one: what is in it may not have been noted.
pub(super) fn destroy_pipe(slot: &mut Slot, gear: &mut Gear, flow: Flow) {
    if let Some(id) = pipe_of(slot, flow).take() {
        gear.pipes.destroy(id);
    }
}

fn pipe_of(slot: &mut Slot, flow: Flow) -> &mut Option<super::pipes::PipeId> {
    let [to_server, to_client] = &mut slot.pipes;
    match flow {
        Flow::ToServer => to_server,
        Flow::ToClient => to_client,
    }
}

fn perform(
    action: Action,
    slot: &mut Slot,
    cold: &mut Cold,
    gear: &mut Gear,
    flow: Flow,
) -> Outcome {
    let pipe = pipe_of(slot, flow).and_then(|id| gear.pipes.pipe(id));
    let Some(target) = slot.fd(flow.target()) else {
        return Outcome::Failed;
    };
    #[cfg(test)]
    super::tests::panic_if_asked(cold);
    match action {
        Action::Receive => receive(slot, cold, gear, flow),
        Action::TakeControl => take_control(slot, cold, gear, flow),
        Action::Offload(end) => match (slot.fd(end), cold.leg(end)) {
            (Some(fd), Some(leg)) => leg.offload(flow, fd),
            (_, _) => Outcome::Failed,
        },
        Action::Rekey => cold
            .leg(flow.target())
            .map_or(Outcome::Failed, |leg| leg.rekey(target)),
        Action::Notify => cold
            .leg(flow.target())
            .map_or(Outcome::Failed, |leg| leg.notify(target, &mut gear.buffer)),
        Action::Send { from, len } => send(target, part(&gear.buffer, from, len)),
        Action::Hold { from, len } => {
            cold.keep(flow, part(&gear.buffer, from, len).into());
            Outcome::Done
        }
        Action::SendHeld { len } => {
            let outcome = send(target, cold.kept(flow, len));
            if outcome == Outcome::Moved(len) {
                cold.forget(flow);
                refuse_handshake(slot, cold, flow.target());
            }
            outcome
        }
        Action::SpliceIn => splice_in(slot, cold, gear, flow),
        Action::SpliceOut { len } => match pipe {
            Some(pipe) => to_target(pipe.drain_to(target, len as usize)),
            None => Outcome::Failed,
        },
        Action::ShutdownWrite => match stream::shut_down_write(target) {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Failed,
        },
        Action::Wait | Action::Yield | Action::Close(_) => Outcome::Done,
    }
}

/// Splices from the source into a pipe, lending one if the flow has none. Of frames that are followed, only
/// payload of known length is spliced.
fn splice_in(slot: &mut Slot, cold: &mut Cold, gear: &mut Gear, flow: Flow) -> Outcome {
    let frames = frames_of(slot, cold, &mut gear.followed, flow);
    let unseen_max = (frames.as_ref()).map_or(u64::MAX, |frames| frames.unseen_max());
    if unseen_max < UNSEEN_MIN {
        return Outcome::NoPipe;
    }
    if pipe_of(slot, flow).is_none() {
        *pipe_of(slot, flow) = gear.pipes.lend();
        if pipe_of(slot, flow).is_none() {
            gear.stats.note_no_pipe();
        }
    }
    let pipe = pipe_of(slot, flow).and_then(|id| gear.pipes.pipe(id));
    let Some(source) = slot.fd(flow.source()) else {
        return Outcome::Failed;
    };
    let Some(pipe) = pipe else {
        return Outcome::NoPipe;
    };
    let filled = pipe.fill_from(source, usize::try_from(unseen_max).unwrap_or(usize::MAX));
    #[cfg(test)]
    if filled.is_ok() {
        super::tests::panic_with_a_full_pipe_if_asked(cold);
    }
    let outcome = if slot.tunnel.is_opened_by_kernel(flow) {
        judge(slot, cold, flow, filled)
    } else {
        from_source(filled)
    };
    if let (Some(frames), Outcome::Moved(len)) = (frames, outcome) {
        frames.skip(u64::from(len));
    }
    outcome
}

/// Returns the position in the frames of a flow, if they are followed.
fn frames_of<'f>(
    slot: &Slot,
    cold: &Cold,
    followed: &'f mut Followed,
    flow: Flow,
) -> Option<&'f mut Frames> {
    // Checked first, because the flag is in the slot.
    if slot.tunnel.follows_frames(flow) {
        followed.frames(cold.frames?)
    } else {
        None
    }
}

/// Receives into the buffer the bytes to send, opened or sealed where we handle the records.
fn receive(slot: &mut Slot, cold: &mut Cold, gear: &mut Gear, flow: Flow) -> Outcome {
    if slot.tunnel.seals_records(flow) {
        return receive_to_seal(slot, cold, gear, flow);
    }
    let outcome = if slot.tunnel.makes_records(flow) {
        open(slot, cold, &mut gear.buffer, flow)
    } else {
        receive_plain(slot, cold, &mut gear.buffer, flow)
    };
    if let Some(frames) = frames_of(slot, cold, &mut gear.followed, flow)
        && let Outcome::Moved(len) | Outcome::Records { len, .. } = outcome
    {
        frames.feed(part(&gear.buffer, 0, len));
    }
    outcome
}

/// Receives bytes that are then sealed for the target.
fn receive_to_seal(slot: &mut Slot, cold: &mut Cold, gear: &mut Gear, flow: Flow) -> Outcome {
    gear.plain.resize(PLAIN_BYTES, 0);
    let outcome = if slot.tunnel.opens_records(flow) {
        open(slot, cold, &mut gear.plain, flow)
    } else {
        receive_plain(slot, cold, &mut gear.plain, flow)
    };
    let (len, full) = match outcome {
        Outcome::Moved(len) => (len, len as usize == PLAIN_BYTES),
        Outcome::Records {
            len: len @ 1..,
            full,
            ..
        } => (len, full),
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
        | Outcome::Done => return outcome,
    };
    let data = part(&gear.plain, 0, len);
    if let Some(frames) = frames_of(slot, cold, &mut gear.followed, flow) {
        frames.feed(data);
    }
    match cold.leg(flow.target()) {
        Some(leg) => leg.seal(data, full, &mut gear.buffer),
        // Never send plain bytes where records are due.
        None => Outcome::Failed,
    }
}

/// Receives plain bytes, or bytes that the kernel opens.
fn receive_plain(slot: &Slot, cold: &mut Cold, room: &mut [u8], flow: Flow) -> Outcome {
    let Some(source) = slot.fd(flow.source()) else {
        return Outcome::Failed;
    };
    let received = stream::receive(source, room);
    if slot.tunnel.is_opened_by_kernel(flow) {
        judge(slot, cold, flow, received)
    } else {
        from_source(received)
    }
}

/// Receives records and opens them.
fn open(slot: &mut Slot, cold: &mut Cold, room: &mut [u8], flow: Flow) -> Outcome {
    let end = flow.source();
    let keeper = slot.tunnel.guard(flow, end);
    let (Some(source), Some(leg)) = (slot.fd(end), cold.leg(end)) else {
        return Outcome::Failed;
    };
    let outcome = leg.receive(source, keeper, room);
    let owes_refusal = leg.owes_refusal();
    if leg.owes_kernel_update() {
        slot.tunnel.ask_for_new_keys(end);
    }
    if owes_refusal && slot.tunnel.held(Flow::from(end.other())) == 0 {
        refuse_handshake(slot, cold, end);
    }
    outcome
}

fn take_control(slot: &mut Slot, cold: &mut Cold, gear: &mut Gear, flow: Flow) -> Outcome {
    let end = flow.source();
    let (Some(source), Some(leg)) = (slot.fd(end), cold.leg(end)) else {
        return Outcome::Failed;
    };
    let received = slot.tunnel.received(flow);
    let outcome = leg.take_control(source, &mut gear.buffer, received);
    let owes_refusal = leg.owes_refusal();
    if leg.owes_kernel_update() {
        slot.tunnel.ask_for_new_keys(end);
    }
    if owes_refusal && slot.tunnel.held(Flow::from(end.other())) == 0 {
        refuse_handshake(slot, cold, end);
    }
    outcome
}

/// Sends `end` the answer that there is no other handshake, if it waits for one. No part of a record may be
/// held for it.
fn refuse_handshake(slot: &Slot, cold: &mut Cold, end: End) {
    if let (Some(peer), Some(leg)) = (slot.fd(end), cold.leg(end))
        && leg.owes_refusal()
    {
        leg.refuse_handshake(peer);
    }
}

/// Classifies a result of the kernel's TLS.
fn judge(slot: &Slot, cold: &mut Cold, flow: Flow, received: Result<usize, Errno>) -> Outcome {
    // Data is the usual case and needs only what is at hand.
    if let Ok(1..) = received {
        return moved(received);
    }
    let end = flow.source();
    match (slot.fd(end), cold.leg(end)) {
        (Some(source), Some(leg)) => leg.judge(source, received, slot.tunnel.received(flow)),
        (_, _) => Outcome::Failed,
    }
}

fn part(buffer: &[u8], from: u32, len: u32) -> &[u8] {
    let from = from as usize;
    // The state machine only names bytes that a receive brought into this buffer.
    &buffer[from..from + len as usize]
}

fn send(target: BorrowedFd<'_>, bytes: &[u8]) -> Outcome {
    to_target(stream::transmit(target, bytes))
}

fn from_source(result: Result<usize, Errno>) -> Outcome {
    match result {
        Ok(0) => Outcome::Ended,
        result => moved(result),
    }
}

fn to_target(result: Result<usize, Errno>) -> Outcome {
    match result {
        // Nothing was taken and there was no error: trying again would never end.
        Ok(0) => Outcome::Failed,
        result => moved(result),
    }
}

fn moved(result: Result<usize, Errno>) -> Outcome {
    match result {
        // No call moves more than a buffer or a pipe holds.
        Ok(len) => u32::try_from(len).map_or(Outcome::Failed, Outcome::Moved),
        Err(Errno::EAGAIN) => Outcome::WouldBlock,
        Err(Errno::EINVAL) => Outcome::Unsupported,
        Err(_) => Outcome::Failed,
    }
}
