//! io_uring(7) as a poller: multishot polls, edge-triggered, reaped in batches.
//!
//! A notice may report only the event of its edge: the kernel passes on the events of the wake-up, and polls
//! the descriptor itself only if several came together. Events of arriving bytes always name urgent data too,
//! so urgent data is not requested; a receive that stopped short at the urgent mark continues with the next
//! edge.
//!
//! No byte moves through the ring, so the kernel never holds memory of ours. It holds a reference to each
//! armed file, which is why a poll is cancelled before its descriptor is closed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use super::poll::{INTEREST, readiness_of};
use crate::proto::readiness::{Notice, Readiness};

/// Submissions that fit between two system calls; when they are full, they are submitted in between.
const SUBMISSIONS: u32 = 512;
/// Completions that fit; more wait in the kernel, and a poll that meets a full queue ends and is armed again.
const COMPLETIONS: u32 = 4096;
/// Token of completions that are ignored; no caller may use it.
const NOBODY: u64 = u64::MAX;
/// `IORING_ENTER_GETEVENTS` of io_uring_enter(2), which the crate does not export.
const ENTER_GETEVENTS: u32 = 1;

/// A ring that belongs to the thread that made it.
pub struct Ring {
    ring: IoUring,
    overflows: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

/// Checks whether a ring can be set up.
///
/// # Errors
///
/// The error of io_uring_setup(2): EPERM where seccomp or `kernel.io_uring_disabled` forbids it.
pub fn probe() -> io::Result<()> {
    Ring::with_size(2, 4).map(drop)
}

impl Ring {
    /// Makes a ring for this thread.
    ///
    /// # Errors
    ///
    /// As of [`probe`].
    pub fn new() -> io::Result<Self> {
        Self::with_size(SUBMISSIONS, COMPLETIONS)
    }

    fn with_size(submissions: u32, completions: u32) -> io::Result<Self> {
        let ring = IoUring::<Entry>::builder()
            .setup_cqsize(completions)
            .setup_coop_taskrun()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(submissions)?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        Ok(Self { ring, overflows: 0 })
    }

    /// Arms a poll of `fd` that reports every edge under `token` until it is cancelled.
    ///
    /// # Errors
    ///
    /// When the queue is full and cannot be submitted.
    pub fn arm(&mut self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let poll = opcode::PollAdd::new(Fd(fd.as_raw_fd()), INTEREST)
            .multi(true)
            .build()
            .user_data(token);
        self.push(&poll)
    }

    /// Cancels the poll of `token`; its last notice, with `armed` false, comes with the next wait.
    ///
    /// # Errors
    ///
    /// When the queue is full and cannot be submitted.
    pub fn cancel(&mut self, token: u64) -> io::Result<()> {
        // Not POLL_REMOVE: it fails for a poll whose edge is being reported.
        let cancel = opcode::AsyncCancel::new(token)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(NOBODY);
        self.push(&cancel)
    }

    /// Submits, waits for at least one notice but no longer than `timeout` (none = forever), and
    /// appends what there is to `notices`.
    ///
    /// # Errors
    ///
    /// The error of io_uring_enter(2), except that the time is over, a signal came or memory is short
    /// for the moment.
    pub fn wait(&mut self, notices: &mut Vec<Notice>, timeout: Option<Duration>) -> io::Result<()> {
        if self.ring.submission().cq_overflow() {
            self.overflows += 1;
        }
        let entered = match timeout {
            None => self.ring.submit_and_wait(1),
            Some(Duration::ZERO) => self.enter_without_wait(),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(1, &args)
            }
        };
        if !passes(entered)? && self.ring.completion().is_empty() {
            // A wait that gave up did not check last for events that came meanwhile: a thread that was
            // delayed would mistake a timer for silence.
            passes(self.enter_without_wait())?;
        }
        let completions = self.ring.completion();
        notices.extend(completions.filter_map(|done| notice(&done)));
        Ok(())
    }

    /// Returns how many waits found the completion queue overflowed; nothing is lost, because the kernel
    /// keeps completions that did not fit.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Submits and lets the kernel post pending completions, which a deferred ring does only on request.
    fn enter_without_wait(&mut self) -> io::Result<usize> {
        let queued = self.ring.submission().len();
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        let submitter = self.ring.submitter();
        // SAFETY: the count is of entries that `push` wrote, no argument is passed, and the flag
        // only asks to run pending completions.
        unsafe { submitter.enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None) }
    }

    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        // SAFETY: both kinds of entries made above carry numbers only, so no memory has to outlive
        // the submission; a descriptor that is wrong by then gives an error, not a fault.
        if unsafe { self.ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        self.ring.submit()?;
        // SAFETY: as above.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))
    }
}

/// Returns whether a wait was completed; one that was cut short by a timeout, a signal or a lack of memory
/// was not, which is not an error.
fn passes(entered: io::Result<usize>) -> io::Result<bool> {
    let passing = [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN];
    match entered {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error().is_some_and(|e| passing.contains(&e)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[expect(
    clippy::cast_sign_loss,
    reason = "negative results are taken out before"
)]
fn notice(done: &cqueue::Entry) -> Option<Notice> {
    if done.user_data() == NOBODY {
        return None;
    }
    let result = done.result();
    let ready = if result < 0 {
        Readiness::default()
    } else {
        readiness_of(result as u32)
    };
    Some(Notice {
        token: done.user_data(),
        ready,
        armed: cqueue::more(done.flags()),
        failed: result < 0 && result != -libc::ECANCELED,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::tests::expect_edges;
    use std::os::fd::AsFd;

    #[test]
    fn every_kind_of_edge_is_reported_as_it_is() {
        let mut ring = Ring::new().unwrap();
        expect_edges(|fd, notices| {
            if let Some(fd) = fd {
                ring.arm(fd.as_fd(), 9).unwrap();
            }
            ring.wait(notices, Some(Duration::from_millis(50))).unwrap();
        });
    }

    #[test]
    fn a_cancelled_poll_says_so_once() {
        let mut ring = Ring::new().unwrap();
        let (fd, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut notices = vec![];
        ring.arm(fd.as_fd(), 5).unwrap();
        ring.wait(&mut notices, None).unwrap();
        assert!(
            notices
                .iter()
                .all(|notice| notice.token == 5 && notice.armed)
        );
        notices.clear();
        ring.cancel(5).unwrap();
        ring.cancel(5).unwrap();
        ring.wait(&mut notices, Some(Duration::from_millis(50)))
            .unwrap();
        ring.wait(&mut notices, Some(Duration::ZERO)).unwrap();
        let [last] = notices[..] else {
            panic!("{notices:?}")
        };
        assert_eq!((last.token, last.armed, last.failed), (5, false, false));
        assert_eq!(last.ready, Readiness::default());
    }

    #[test]
    fn polls_that_met_a_full_queue_can_be_armed_again() {
        const COUNT: u64 = 200;
        let mut ring = Ring::with_size(4, 8).unwrap();
        let pairs: Vec<_> = (0..COUNT)
            .map(|_| std::os::unix::net::UnixStream::pair().unwrap())
            .collect();
        for (token, (fd, _)) in (0..).zip(&pairs) {
            ring.arm(fd.as_fd(), token).unwrap();
        }
        let mut reached = std::collections::BTreeSet::new();
        let mut ended = 0;
        for wanted in [Readiness::WRITABLE, Readiness::READABLE] {
            reached.clear();
            if wanted == Readiness::READABLE {
                for (_, peer) in &pairs {
                    io::Write::write_all(&mut &*peer, b"x").unwrap();
                }
            }
            while reached.len() < pairs.len() {
                let mut notices = vec![];
                ring.wait(&mut notices, Some(Duration::from_secs(5)))
                    .unwrap();
                assert!(!notices.is_empty(), "only {} of {wanted:?}", reached.len());
                for notice in notices {
                    assert!(!notice.failed);
                    if !notice.armed {
                        ended += 1;
                        let (fd, _) = &pairs[usize::try_from(notice.token).unwrap()];
                        ring.arm(fd.as_fd(), notice.token).unwrap();
                    }
                    if notice.ready.has(wanted) {
                        reached.insert(notice.token);
                    }
                }
            }
        }
        assert!(ended > 0, "no poll ever met a full queue");
        assert!(ring.overflows() > 0);
    }
}
