//! Clients whose tunnel has ended with a Close frame of ours. Their connections are kept for a moment and
//! what they still send is discarded: closing while they send causes a reset, which can take the frame from a
//! client that has not read it yet (RFC 6455 section 7.1.1).

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use super::timer::is_past;
use crate::sys::stream;

/// Time a client has to send its own Close and its end: about a second.
const PATIENCE_TICKS: u32 = 62;
/// Time between two checks: about 50 ms.
const PAUSE_TICKS: u32 = 3;
/// Limit on waiting clients; each check of one is a system call.
const WAITING_MAX: usize = 4096;
/// Receives from one client per check.
const READS: usize = 4;

/// Waiting clients, oldest in front.
#[derive(Debug, Default)]
pub(super) struct Partings {
    waiting: VecDeque<(OwnedFd, u32)>,
    /// When they are checked next.
    due: u32,
}

impl Partings {
    /// Waits for a client to which everything has been sent, including the end.
    pub(super) fn add(&mut self, client: OwnedFd, now: u32) {
        if self.waiting.len() >= WAITING_MAX {
            return;
        }
        if self.waiting.is_empty() {
            self.due = now.wrapping_add(PAUSE_TICKS);
        }
        self.waiting
            .push_back((client, now.wrapping_add(PATIENCE_TICKS)));
    }

    /// Closes clients that have ended, and clients that took too long.
    pub(super) fn look(&mut self, now: u32, buffer: &mut [u8]) {
        if self.quiet_for(now) != Some(0) {
            return;
        }
        self.due = now.wrapping_add(PAUSE_TICKS);
        self.waiting
            .retain(|(client, until)| goes_on(client, buffer) && !is_past(*until, now));
        if self.waiting.is_empty() {
            // Capacity from a burst is freed.
            self.waiting = VecDeque::new();
        }
    }

    /// Returns how many ticks may pass before the next check; none = no client waits.
    pub(super) fn quiet_for(&self, now: u32) -> Option<u32> {
        if self.waiting.is_empty() {
            return None;
        }
        Some(if is_past(self.due, now) {
            0
        } else {
            self.due.wrapping_sub(now)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Discards what a client has sent; returns whether it may send more.
fn goes_on(client: &OwnedFd, buffer: &mut [u8]) -> bool {
    for _ in 0..READS {
        match stream::receive(client.as_fd(), buffer) {
            Ok(1..) => {}
            Ok(0) => return false,
            Err(errno) => return errno == nix::errno::Errno::EAGAIN,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, OwnedFd) {
        let (outer, inner) = UnixStream::pair().unwrap();
        (outer, inner.into())
    }

    #[test]
    fn a_client_is_waited_for_until_it_ends_or_takes_too_long() {
        let (mut partings, mut buffer) = (Partings::default(), [0; 64]);
        assert_eq!(partings.quiet_for(7), None);
        let start = u32::MAX - 20;
        let ((mut talks, one), (ends, other)) = (pair(), pair());
        partings.add(one, start);
        partings.add(other, start.wrapping_add(1));
        assert_eq!(partings.quiet_for(start), Some(PAUSE_TICKS));
        drop(ends);
        partings.look(start.wrapping_add(1), &mut buffer);
        assert_eq!(partings.waiting.len(), 2, "looked too early");
        talks.write_all(&[7; 1000]).unwrap();
        partings.look(start.wrapping_add(PAUSE_TICKS), &mut buffer);
        assert_eq!(partings.waiting.len(), 1, "waits for one that has ended");
        for tick in 0..PATIENCE_TICKS {
            partings.look(start.wrapping_add(tick), &mut buffer);
            assert!(!partings.is_empty(), "{tick}");
        }
        partings.look(
            start.wrapping_add(PATIENCE_TICKS + PAUSE_TICKS),
            &mut buffer,
        );
        assert!(partings.is_empty());
        assert!(talks.write_all(b"x").is_err(), "is open still");
    }

    #[test]
    fn not_all_are_waited_for() {
        let mut partings = Partings::default();
        let (_outer, inner) = pair();
        for _ in 0..=WAITING_MAX {
            partings.add(inner.try_clone().unwrap(), 0);
        }
        assert_eq!(partings.waiting.len(), WAITING_MAX);
    }
}
