//! What must hold when a tunnel closes, sleeps, or is spoken to after its end.

use longsplice::journal::Cause;
use longsplice::proto::readiness::Readiness;
use longsplice::relay::tunnel::{Close, End, Flow};

use super::records::bad_record;
use super::{ENDS, Sim};

impl Sim {
    pub(super) fn on_close(&mut self, close: Close) {
        self.log(|_| format!("  {close:?}"));
        assert_eq!(self.close, None, "closed twice");
        assert!(self.tunnel.is_closed());
        self.close = Some(close);
        self.judge_goodbye(close);
        let [client, server] = &self.wires;
        assert_eq!(
            self.tunnel.bytes_in(),
            self.position(Flow::ToServer),
            "bytes_in"
        );
        assert_eq!(self.tunnel.bytes_out(), self.counted_out, "bytes_out");
        let refused = self
            .records
            .iter()
            .flatten()
            .find_map(|records| records.refused);
        if let Some(cause) = refused {
            let source = ENDS.into_iter().find(|end| bad_record(*end) == cause);
            let reset = source.map(End::other);
            let goodbye = false;
            return assert_eq!(
                close,
                Close {
                    cause,
                    reset,
                    goodbye
                }
            );
        }
        if let Some(cause) = self.imposed {
            assert_eq!((close.cause, close.reset), (cause, None));
            return;
        }
        match close.reset {
            None => {
                assert!(client.shut && server.shut, "closed with one side open");
                let due = (self.due(Flow::ToClient), self.due(Flow::ToServer));
                assert_eq!((client.sent, server.sent), due);
                assert_eq!(self.counted_out, self.position(Flow::ToClient), "all of it");
                let first = self.first_end.unwrap_or(End::Client);
                let truncates = self
                    .records_of(first)
                    .is_some_and(|records| records.truncated);
                let cause = match (first, truncates) {
                    (End::Client, true) => Cause::ClientTruncated,
                    (End::Client, false) => Cause::ClientClosed,
                    (End::Server, true) => Cause::ServerTruncated,
                    (End::Server, false) => Cause::ServerClosed,
                };
                assert_eq!(close.cause, cause);
            }
            Some(end) => self.expect_reason_for_reset(close, end.other(), end),
        }
    }

    fn expect_reason_for_reset(&self, close: Close, broken: End, passed_to: End) {
        let cause = match broken {
            End::Client => Cause::ClientReset,
            End::Server => Cause::ServerReset,
        };
        assert_eq!(close.cause, cause);
        let (source, target) = (
            &self.wires[broken as usize],
            &self.wires[passed_to as usize],
        );
        assert!(source.reset, "reset for nothing");
        let flow = Flow::from(broken);
        let whole = self.whole(flow, source.arrived);
        let sealing = self.records_of(flow.target());
        let delivered = match sealing {
            Some(records) => self.position(flow) == whole && target.sent == records.sealed,
            None => target.sent == whole,
        };
        // A peer that takes no new keys takes nothing else either.
        let keys_wait = sealing.is_some_and(|records| records.keys_wait);
        let blocked = self.tunnel.held(flow) > 0 || keys_wait;
        assert!(
            delivered || blocked || target.reset,
            "bytes before the reset were dropped"
        );
    }

    /// With nothing left to report, whatever could have been done must have been done.
    pub(super) fn expect_no_lost_wake_up(&self) {
        if self.close.is_some() {
            return;
        }
        for flow in Flow::BOTH {
            let source = &self.wires[flow.source() as usize];
            let target = &self.wires[flow.target() as usize];
            assert!(
                !source.reset,
                "slept through a reset of {:?}",
                flow.source()
            );
            if !target.full {
                assert_eq!(target.sent, self.due(flow), "slept on bytes {flow:?}");
                assert_eq!(target.shut, source.fin, "slept on the end {flow:?}");
            }
        }
    }

    pub(super) fn expect_silence_after_the_close(&mut self) {
        for end in ENDS {
            let all = Readiness::READABLE | Readiness::WRITABLE | Readiness::BROKEN;
            assert_eq!(self.tunnel.on_ready(end, all), None);
            assert!(!self.tunnel.can_run(Flow::from(end)));
        }
        assert_eq!(
            (self.tunnel.expire(), self.tunnel.end(Cause::Drained)),
            (None, None)
        );
    }
}
