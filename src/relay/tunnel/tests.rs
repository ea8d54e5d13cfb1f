//! The state machine step by step: each row is an expected action and its outcome.

use super::*;
use Action::{Hold, Receive, Send, SendHeld, ShutdownWrite, SpliceIn, SpliceOut, Wait, Yield};
use Outcome::{Done, Ended, Failed, Moved, NoPipe, Unsupported, WouldBlock};

const FULL: u32 = BUFFER_BYTES;
const FULL_READ: [(Action, Outcome); 2] = [(Receive, Moved(FULL)), (SEND_FULL, Moved(FULL))];
const SEND_FULL: Action = Send { from: 0, len: FULL };

fn readable() -> Tunnel {
    let mut tunnel = Tunnel::open(0, 0);
    tunnel.on_ready(End::Client, Readiness::READABLE);
    tunnel
}

/// Runs a pump to the server: each row is an expected action and its outcome; the last action ends the pump.
fn check(tunnel: &mut Tunnel, rows: &[(Action, Outcome)], last: Action) {
    let (mut pump, mut action) = tunnel.begin(Flow::ToServer);
    for (nth, (expected, outcome)) in rows.iter().enumerate() {
        assert_eq!(action, *expected, "action {nth}");
        action = tunnel.on(&mut pump, *outcome);
    }
    assert_eq!(action, last, "last action");
}

#[test]
fn a_short_read_is_not_followed_by_another() {
    let send = Send { from: 0, len: 9 };
    let rows = [(Receive, Moved(9)), (send, Moved(9))];
    check(&mut readable(), &rows, Wait);
}

#[test]
fn after_a_sticky_edge_it_is() {
    let mut tunnel = readable();
    tunnel.on_ready(End::Client, Readiness::STICKY);
    let send = Send { from: 0, len: 9 };
    let rows = [
        (Receive, Moved(9)),
        (send, Moved(9)),
        (Receive, Ended),
        (ShutdownWrite, Done),
    ];
    check(&mut tunnel, &rows, Wait);
    assert!(tunnel.is_half_closed());
}

#[test]
fn a_short_send_is_tried_until_it_would_block_and_the_rest_is_held() {
    let mut tunnel = readable();
    let (first, rest) = (Send { from: 0, len: 9 }, Send { from: 4, len: 5 });
    let hold = Hold { from: 4, len: 5 };
    let rows = [
        (Receive, Moved(9)),
        (first, Moved(4)),
        (rest, WouldBlock),
        (hold, Done),
    ];
    check(&mut tunnel, &rows, Wait);
    tunnel.on_ready(End::Client, Readiness::READABLE);
    assert!(!tunnel.can_run(Flow::ToServer), "reads under back-pressure");
    tunnel.on_ready(End::Server, Readiness::WRITABLE);
    let held = [
        (SendHeld { len: 5 }, Moved(2)),
        (SendHeld { len: 3 }, Moved(3)),
    ];
    check(
        &mut tunnel,
        &[&held[..], &[(Receive, WouldBlock)]].concat(),
        Wait,
    );
    assert_eq!(tunnel.bytes_in(), 9);
}

#[test]
fn three_full_reads_turn_to_splice_and_four_small_splices_back() {
    let mut tunnel = readable();
    let mut rows = [FULL_READ; 3].concat();
    for _ in 0..4 {
        rows.extend([(SpliceIn, Moved(10)), (SpliceOut { len: 10 }, Moved(10))]);
    }
    rows.push((Receive, WouldBlock));
    check(&mut tunnel, &rows, Wait);
    let path = tunnel.path(Flow::ToServer);
    assert!(path.copied && path.spliced);
}

#[test]
fn without_a_pipe_it_is_tried_again_later_and_without_support_never() {
    let full = [FULL_READ; 3].concat();
    let rows = [
        &full[..],
        &[(SpliceIn, NoPipe)],
        &full,
        &[(SpliceIn, Unsupported)],
        &full,
    ];
    let rows = [&rows.concat()[..], &[(Receive, WouldBlock)]].concat();
    check(&mut readable(), &rows, Wait);
}

#[test]
fn a_busy_flow_yields_after_sixteen_reads() {
    let mut rows = [FULL_READ; 3].concat();
    for _ in 0..13 {
        rows.extend([
            (SpliceIn, Moved(FULL)),
            (SpliceOut { len: FULL }, Moved(FULL)),
        ]);
    }
    check(&mut readable(), &rows, Yield);
}

#[test]
fn early_bytes_go_before_anything_is_read() {
    let mut tunnel = Tunnel::open(7, 0);
    tunnel.on_ready(End::Client, Readiness::READABLE);
    check(
        &mut tunnel,
        &[(SendHeld { len: 7 }, Moved(7)), (Receive, WouldBlock)],
        Wait,
    );
    assert_eq!(tunnel.bytes_in(), 7);
}

#[test]
fn a_failed_receive_resets_the_other_side() {
    let close = Close {
        cause: Cause::ClientReset,
        reset: Some(End::Server),
        goodbye: false,
    };
    let mut tunnel = readable();
    check(&mut tunnel, &[(Receive, Failed)], Action::Close(close));
    assert_eq!(tunnel.end(Cause::Drained), None, "closed twice");
}

#[test]
fn a_failed_send_names_the_target_after_its_own_bytes_were_read() {
    let mut tunnel = readable();
    let rows = [(Receive, Moved(9)), (Send { from: 0, len: 9 }, Failed)];
    check(&mut tunnel, &rows, Wait);
    assert!(tunnel.can_run(Flow::ToClient) && !tunnel.can_run(Flow::ToServer));
    let (mut pump, action) = tunnel.begin(Flow::ToClient);
    assert_eq!(action, Receive);
    let close = Close {
        cause: Cause::ServerReset,
        reset: Some(End::Client),
        goodbye: false,
    };
    assert_eq!(tunnel.on(&mut pump, Ended), Action::Close(close));
}

const BULKY_LEN: u32 = 40_000;
const BULKY: Outcome = Outcome::Records {
    payload: BULKY_LEN,
    len: BULKY_LEN,
    full: true,
};
const SMALL: Outcome = Outcome::Records {
    payload: 100,
    len: 100,
    full: false,
};

fn protected(offload: OffloadPlan) -> Tunnel {
    Tunnel::open_protected([0; 2], [0; 2], [Some([offload; 2]), None])
}

fn moving(outcome: Outcome, len: u32) -> [(Action, Outcome); 2] {
    [(Receive, outcome), (Send { from: 0, len }, Moved(len))]
}

#[test]
fn sixteen_bulky_receives_leave_a_flow_to_the_kernel() {
    let mut tunnel = protected(OffloadPlan::WhenBulky);
    let mut rows = [moving(BULKY, BULKY_LEN); 16].concat();
    check(&mut tunnel, &rows, Yield);
    rows = vec![(Action::Offload(End::Client), WouldBlock)];
    rows.extend(moving(BULKY, BULKY_LEN));
    rows.push((Action::Offload(End::Client), Done));
    rows.push((SpliceIn, WouldBlock));
    check(&mut tunnel, &rows, Wait);
    assert_eq!(
        tunnel.guard(Flow::ToServer, End::Client),
        RecordKeeper::Kernel
    );
    assert_eq!(
        tunnel.guard(Flow::ToClient, End::Client),
        RecordKeeper::Records
    );
    let path = tunnel.path(Flow::ToServer);
    assert!(path.records && path.kernel);
}

#[test]
fn small_messages_stay_with_us() {
    let mut tunnel = protected(OffloadPlan::WhenBulky);
    for _ in 0..100 {
        // One bulky receive among four small ones is not worth it.
        for outcome in [BULKY, SMALL, SMALL, SMALL, SMALL] {
            tunnel.on_ready(End::Client, Readiness::READABLE);
            let len = if outcome == BULKY { BULKY_LEN } else { 100 };
            let mut rows = moving(outcome, len).to_vec();
            if outcome == BULKY {
                rows.push((Receive, WouldBlock));
            }
            check(&mut tunnel, &rows, Wait);
        }
    }
    assert_eq!(
        tunnel.guard(Flow::ToServer, End::Client),
        RecordKeeper::Records
    );
}

#[test]
fn a_kernel_that_refuses_is_not_asked_again() {
    let mut tunnel = protected(OffloadPlan::AtOnce);
    let rows = [
        (Action::Offload(End::Client), Unsupported),
        (Receive, WouldBlock),
    ];
    check(&mut tunnel, &rows, Wait);
    tunnel.on_ready(End::Client, Readiness::READABLE);
    check(&mut tunnel, &[moving(SMALL, 100)].concat(), Wait);
    assert_eq!(
        tunnel.guard(Flow::ToServer, End::Client),
        RecordKeeper::Records
    );
}

#[test]
fn the_kernel_is_read_until_it_has_nothing() {
    let mut tunnel = protected(OffloadPlan::AtOnce);
    let rows = [
        (Action::Offload(End::Client), Done),
        (SpliceIn, Moved(9)),
        (SpliceOut { len: 9 }, Moved(9)),
        (SpliceIn, Outcome::Control),
        (Action::TakeControl, Done),
        (SpliceIn, Outcome::Empty),
        // Without a pipe the bytes are received, this once.
        (SpliceIn, NoPipe),
        (Receive, Moved(5)),
        (Send { from: 0, len: 5 }, Moved(5)),
        (SpliceIn, Outcome::Control),
        (Action::TakeControl, Ended),
        (ShutdownWrite, Done),
    ];
    check(&mut tunnel, &rows, Wait);
    assert_eq!(tunnel.bytes_in(), 14);
}

#[test]
fn new_keys_go_out_before_more_data() {
    let mut tunnel = protected(OffloadPlan::AtOnce);
    tunnel.on_ready(End::Server, Readiness::READABLE);
    let (mut pump, action) = tunnel.begin(Flow::ToClient);
    assert_eq!(action, Action::Offload(End::Client));
    assert_eq!(tunnel.on(&mut pump, Done), Receive);
    assert_eq!(tunnel.on(&mut pump, Moved(9)), Send { from: 0, len: 9 });
    assert_eq!(tunnel.on(&mut pump, WouldBlock), Hold { from: 0, len: 9 });
    assert_eq!(tunnel.on(&mut pump, Done), Wait);
    tunnel.ask_for_new_keys(End::Client);
    tunnel.on_ready(End::Client, Readiness::WRITABLE);
    let (mut pump, action) = tunnel.begin(Flow::ToClient);
    assert_eq!(action, Action::Rekey);
    assert_eq!(tunnel.on(&mut pump, WouldBlock), Wait);
    tunnel.on_ready(End::Client, Readiness::WRITABLE);
    let (mut pump, action) = tunnel.begin(Flow::ToClient);
    assert_eq!(action, Action::Rekey);
    assert_eq!(tunnel.on(&mut pump, Done), SendHeld { len: 9 });
    let cause = Cause::TlsKeyUpdateUnsupported;
    tunnel.ask_for_new_keys(End::Client);
    let (mut pump, action) = tunnel.begin(Flow::ToClient);
    assert_eq!(action, Action::Rekey);
    let close = Close {
        cause,
        ..Close::BY_ERROR
    };
    assert_eq!(
        tunnel.on(&mut pump, Outcome::Refused(cause)),
        Action::Close(close)
    );
}

#[test]
fn the_kernels_number_is_looked_at_before_its_keys_are_used_up() {
    let mut tunnel = protected(OffloadPlan::AtOnce);
    let mut looks = 0;
    for _ in 0..40_000_u32 {
        tunnel.on_ready(End::Server, Readiness::READABLE);
        let (mut pump, mut action) = tunnel.begin(Flow::ToClient);
        while action != Wait {
            looks += u32::from(action == Action::Rekey);
            let outcome = if action == Receive {
                Moved(100)
            } else if let Send { len, .. } = action {
                Moved(len)
            } else {
                Done
            };
            action = tunnel.on(&mut pump, outcome);
        }
    }
    // One small send counts as nine records, and a query is due at 32 768.
    assert_eq!(looks, 40_000 * 8 / 32_768);
}

/// A tunnel with TLS at both ends; at either end, receiving from the client is to be left to the kernel.
fn protected_twice(offload: OffloadPlan) -> Tunnel {
    let [rx, tx] = [[offload, OffloadPlan::Never], [OffloadPlan::Never, offload]];
    Tunnel::open_protected([0; 2], [0; 2], [Some(rx), Some(tx)])
}

#[test]
fn both_ends_of_a_bulky_flow_are_left_to_the_kernel_one_after_the_other() {
    let mut tunnel = protected_twice(OffloadPlan::WhenBulky);
    check(&mut tunnel, &[moving(BULKY, BULKY_LEN); 16].concat(), Yield);
    let mut rows = vec![(Action::Offload(End::Client), Done)];
    rows.push((Action::Offload(End::Server), WouldBlock));
    // Opened by the kernel and sealed by us: nothing to splice.
    rows.extend(moving(SMALL, 100));
    rows.push((Action::Offload(End::Server), Done));
    rows.extend([(SpliceIn, Moved(9)), (SpliceOut { len: 9 }, Moved(9))]);
    rows.push((SpliceIn, WouldBlock));
    check(&mut tunnel, &rows, Wait);
    for end in [End::Client, End::Server] {
        assert_eq!(tunnel.guard(Flow::ToServer, end), RecordKeeper::Kernel);
        assert_eq!(tunnel.guard(Flow::ToClient, end), RecordKeeper::Records);
    }
    assert_eq!(tunnel.bytes_in(), 16 * u64::from(BULKY_LEN) + 109);
}

#[test]
fn a_kernel_that_refuses_one_end_still_gets_the_other() {
    let mut tunnel = protected_twice(OffloadPlan::AtOnce);
    let mut rows = vec![(Action::Offload(End::Client), Unsupported)];
    rows.push((Action::Offload(End::Server), Done));
    rows.extend(moving(SMALL, 100));
    check(&mut tunnel, &rows, Wait);
    assert_eq!(
        tunnel.guard(Flow::ToServer, End::Client),
        RecordKeeper::Records
    );
    assert_eq!(
        tunnel.guard(Flow::ToServer, End::Server),
        RecordKeeper::Kernel
    );
}

#[test]
fn what_a_protected_server_says_is_counted_once() {
    let protected = Some([OffloadPlan::Never; 2]);
    let mut tunnel = Tunnel::open_protected([30, 5], [8, 5], [None, protected]);
    tunnel.on_ready(End::Client, Readiness::WRITABLE);
    let (mut pump, action) = tunnel.begin(Flow::ToClient);
    assert_eq!(action, SendHeld { len: 5 });
    assert_eq!(tunnel.on(&mut pump, Moved(5)), Receive);
    assert_eq!(tunnel.on(&mut pump, SMALL), Send { from: 0, len: 100 });
    assert_eq!(tunnel.on(&mut pump, Moved(100)), Wait);
    assert_eq!((tunnel.bytes_in(), tunnel.bytes_out()), (8, 105));
    let path = tunnel.path(Flow::ToClient);
    assert!(path.records && !path.copied);
}

#[test]
fn an_end_without_close_notify_is_passed_on_without_one() {
    let protected = Some([OffloadPlan::Never; 2]);
    for (first, cause) in [
        (Outcome::Truncated, Cause::ServerTruncated),
        (Ended, Cause::ServerClosed),
    ] {
        let mut tunnel = Tunnel::open_protected([0; 2], [0; 2], [protected, protected]);
        for (flow, outcome) in [(Flow::ToClient, first), (Flow::ToServer, Ended)] {
            let (mut pump, action) = tunnel.begin(flow);
            assert_eq!(action, Receive);
            let mut action = tunnel.on(&mut pump, outcome);
            if outcome == Ended {
                assert_eq!(action, Action::Notify);
                assert_eq!(tunnel.on(&mut pump, Moved(24)), Send { from: 0, len: 24 });
                action = tunnel.on(&mut pump, Moved(24));
            }
            assert_eq!(action, ShutdownWrite);
            let last = tunnel.on(&mut pump, Done);
            if flow == Flow::ToServer {
                let close = Close {
                    cause,
                    ..Close::BY_ERROR
                };
                assert_eq!(last, Action::Close(close));
            }
        }
    }
}

#[test]
fn new_keys_for_a_server_go_out_before_more_data() {
    let protected = Some([OffloadPlan::Never, OffloadPlan::AtOnce]);
    let mut tunnel = Tunnel::open_protected([0; 2], [0; 2], [None, protected]);
    tunnel.on_ready(End::Client, Readiness::READABLE);
    let send = Send { from: 0, len: 9 };
    let rows = [
        (Action::Offload(End::Server), Done),
        (Receive, Moved(9)),
        (send, Moved(9)),
    ];
    check(&mut tunnel, &rows, Wait);
    tunnel.ask_for_new_keys(End::Client);
    assert_eq!(
        tunnel.guard(Flow::ToServer, End::Server),
        RecordKeeper::Kernel
    );
    tunnel.ask_for_new_keys(End::Server);
    tunnel.on_ready(End::Client, Readiness::READABLE);
    let rows = [(Action::Rekey, Done), (Receive, Moved(9)), (send, Moved(9))];
    check(&mut tunnel, &rows, Wait);
}

#[test]
fn a_bad_record_of_either_end_resets_the_other() {
    let protected = Some([OffloadPlan::Never; 2]);
    for (flow, cause) in [
        (Flow::ToServer, Cause::TlsBadRecord),
        (Flow::ToClient, Cause::ServerTlsBadRecord),
    ] {
        let mut tunnel = Tunnel::open_protected([0; 2], [0; 2], [protected, protected]);
        let (mut pump, action) = tunnel.begin(flow);
        assert_eq!(action, Receive);
        let reset = Some(flow.target());
        let close = Action::Close(Close {
            cause,
            reset,
            goodbye: false,
        });
        assert_eq!(tunnel.on(&mut pump, Outcome::Refused(cause)), close);
    }
}

/// Ends a tunnel; returns whether its client may get a Close frame.
fn goodbye_of(mut tunnel: Tunnel, cause: Cause) -> bool {
    tunnel.end(cause).expect("open until now").goodbye
}

fn followed(tunnel: Tunnel) -> Tunnel {
    let mut tunnel = tunnel;
    tunnel.follow_frames();
    assert!(tunnel.follows_frames(Flow::ToClient) && !tunnel.follows_frames(Flow::ToServer));
    tunnel
}

#[test]
fn a_drain_lets_a_client_that_has_got_everything_have_a_goodbye() {
    let idle = || followed(Tunnel::open(0, 0));
    assert!(goodbye_of(idle(), Cause::Drained));
    assert!(!goodbye_of(Tunnel::open(0, 0), Cause::Drained));
    assert!(!goodbye_of(idle(), Cause::Killed));
    assert!(!idle().expire().expect("open").goodbye);
    // Bytes held for the server do not matter.
    assert!(goodbye_of(followed(Tunnel::open(7, 0)), Cause::Drained));
    assert!(!goodbye_of(followed(Tunnel::open(0, 7)), Cause::Drained));

    let mut half = idle();
    half.on_ready(End::Client, Readiness::READABLE);
    check(&mut half, &[(Receive, Ended), (ShutdownWrite, Done)], Wait);
    assert!(goodbye_of(half, Cause::Drained), "the client reads on");
}

#[test]
fn behind_the_servers_end_or_a_break_there_is_none() {
    let mut ended = followed(Tunnel::open(0, 0));
    ended.on_ready(End::Server, Readiness::READABLE);
    let (mut pump, action) = ended.begin(Flow::ToClient);
    assert_eq!(action, Receive);
    assert_eq!(ended.on(&mut pump, Ended), ShutdownWrite);
    assert_eq!(ended.on(&mut pump, Done), Wait);
    assert!(!goodbye_of(ended, Cause::Drained));

    let mut broken = followed(Tunnel::open(0, 0));
    broken.on_ready(End::Server, Readiness::READABLE);
    let (mut pump, _) = broken.begin(Flow::ToClient);
    assert_eq!(broken.on(&mut pump, Moved(9)), Send { from: 0, len: 9 });
    assert_eq!(broken.on(&mut pump, Failed), Wait);
    assert!(!goodbye_of(broken, Cause::Drained));
}

#[test]
fn a_client_that_waits_for_new_keys_gets_none() {
    let mut tunnel = followed(protected(OffloadPlan::AtOnce));
    tunnel.on_ready(End::Server, Readiness::READABLE);
    let (mut pump, action) = tunnel.begin(Flow::ToClient);
    assert_eq!(action, Action::Offload(End::Client));
    assert_eq!(tunnel.on(&mut pump, Done), Receive);
    assert_eq!(tunnel.on(&mut pump, WouldBlock), Wait);
    tunnel.ask_for_new_keys(End::Client);
    assert!(!goodbye_of(tunnel, Cause::Drained));
}
