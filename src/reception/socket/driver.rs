//! The executor of a reception thread, and how its tasks wait for a descriptor. This is the only module
//! that uses tokio-uring.
//!
//! The ring carries one-shot polls only. System calls move the data; a poll is made when such a call would
//! block. tokio-uring is no longer maintained, so no other file depends on it. If the kernel refuses
//! io_uring, tokio's own epoll replaces it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use io_uring::{cqueue, opcode, squeue, types};
use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::error::Elapsed;
use tokio::time::sleep;
use tokio::time::{Instant, timeout_at};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use crate::sys::async_fd;

/// Entries of a ring: one per waiting connection. A full ring is submitted early.
const RING_ENTRIES: u32 = 1024;

/// Pause before the next call on a socket that cannot be watched because no descriptor is left.
const UNWATCHED_PAUSE: Duration = Duration::from_millis(20);

/// How a reception thread waits for descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    Ring,
    /// epoll, if the kernel refuses io_uring.
    Epoll,
}

impl Driver {
    /// Runs `future` and everything it spawns on this thread until `future` is done.
    ///
    /// # Errors
    /// The runtime, or its ring, cannot be made.
    pub fn block_on<F: Future>(self, future: F) -> io::Result<F::Output> {
        match self {
            Self::Ring => {
                let mut ring = tokio_uring::uring_builder();
                ring.setup_coop_taskrun().setup_single_issuer();
                let mut builder = tokio_uring::builder();
                builder.entries(RING_ENTRIES).uring_builder(&ring);
                Ok(tokio_uring::Runtime::new(&builder)?.block_on(future))
            }
            Self::Epoll => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(LocalSet::new().block_on(&runtime, future))
            }
        }
    }
}

/// Turns of the executor after which it has seen everything that the kernel had reported by a deadline: one
/// to read the ring or epoll, one for the tasks that were woken, one to spare.
const LAST_TURNS: usize = 3;

/// Waits for `future` until `deadline`. What the kernel had by then counts, even if this thread runs late
/// (a busy machine, a stopped process).
///
/// # Errors
/// The deadline has passed and `future` is not ready.
pub(in crate::reception) async fn until<F: Future>(
    deadline: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let elapsed = match timeout_at(deadline, &mut future).await {
        Ok(output) => return Ok(output),
        Err(elapsed) => elapsed,
    };
    for _ in 0..LAST_TURNS {
        yield_now().await;
        let last_look = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = last_look {
            return Ok(output);
        }
    }
    Err(elapsed)
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Data, the end, or an error.
    Readable,
    /// Room, an open connection, or an error.
    Writable,
    /// The end of the other end's direction, or an error; data that was not received is none.
    Ended,
}

/// The completion of a poll. Its result is ignored, because the caller repeats its system call.
struct Woken;

impl OneshotOutputTransform for Woken {
    type Output = ();
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), _entry: cqueue::Entry) {}
}

type PollInFlight = InFlightOneshot<(), Woken>;

fn poll_add(fd: RawFd, interest: Interest) -> squeue::Entry {
    let events = match interest {
        Interest::Readable => libc::POLLIN | libc::POLLRDHUP,
        Interest::Writable => libc::POLLOUT,
        Interest::Ended => libc::POLLRDHUP,
    };
    opcode::PollAdd::new(types::Fd(fd), u32::from(events.unsigned_abs())).build()
}

/// A socket that tasks wait for: at most one reader, which waits for data or an end, and one writer at a
/// time.
///
/// A dropped wait stays in flight, because dropping an operation does not cancel it, and the next wait takes
/// it over. An operation in flight also keeps the file open. So if this value is dropped with one, it shuts
/// the socket down, which completes the operation. And an operation may not have reached the kernel yet,
/// which finds the file by the number of the descriptor. So the descriptor stays open until the operation
/// is complete. Otherwise the next socket could get the same number, and the wait of another socket would
/// keep it open.
pub struct WatchedSocket {
    fd: Rc<OwnedFd>,
    kind: Kind,
}

enum Kind {
    Ring {
        reading: RefCell<Option<PollInFlight>>,
        writing: RefCell<Option<PollInFlight>>,
        /// For the end alone. In a box, because few sockets have one.
        ending: RefCell<Option<Box<PollInFlight>>>,
    },
    Epoll {
        registered: RefCell<Option<AsyncFd<OwnedFd>>>,
    },
}

impl WatchedSocket {
    /// Prepares waiting for `fd`; nothing is registered before the first wait.
    #[must_use]
    pub fn new(driver: Driver, fd: OwnedFd) -> Self {
        let kind = match driver {
            Driver::Ring => Kind::Ring {
                reading: RefCell::new(None),
                writing: RefCell::new(None),
                ending: RefCell::new(None),
            },
            Driver::Epoll => Kind::Epoll {
                registered: RefCell::new(None),
            },
        };
        Self {
            fd: Rc::new(fd),
            kind,
        }
    }

    /// Waits until the socket may be ready. The caller repeats its call, and waits again if that would block.
    ///
    /// # Errors
    /// epoll refuses the descriptor; never with a ring.
    pub async fn wait(&self, interest: Interest) -> io::Result<()> {
        match poll_fn(|cx| self.poll(interest, cx)).await {
            // epoll needs a second descriptor. If there is none, the call is repeated after a pause.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                sleep(UNWATCHED_PAUSE).await;
                Ok(())
            }
            waited => waited,
        }
    }

    /// Tells whether a wait ends at once if the socket is ready already. A ring checks when the wait begins;
    /// epoll reports changes only.
    #[must_use]
    pub fn sees_the_past(&self) -> bool {
        matches!(self.kind, Kind::Ring { .. })
    }

    /// Forgets what epoll has reported, so that the next wait sees the current state.
    pub fn forget(&self) {
        match &self.kind {
            Kind::Ring { .. } => {}
            Kind::Epoll { registered } => drop(registered.take()),
        }
    }

    /// Ends every wait and returns the socket.
    ///
    /// A wait in flight would keep the file open after its next owner has closed it.
    pub async fn release(self) -> OwnedFd {
        self.end_waits().await;
        let fd = Rc::clone(&self.fd);
        drop(self);
        // Only waits hold another handle, and there are none.
        Rc::into_inner(fd).expect("the only owner")
    }

    async fn end_waits(&self) {
        match &self.kind {
            Kind::Ring { .. } => {
                for wait in self.take_waits() {
                    // By descriptor, because tokio-uring does not tell the number of the operation.
                    let all = types::CancelBuilder::fd(types::Fd(self.fd.as_raw_fd())).all();
                    let entry = opcode::AsyncCancel2::new(all).build();
                    UnsubmittedOneshot::new((), Woken, entry).submit().await;
                    wait.await;
                }
            }
            Kind::Epoll { registered } => drop(registered.take()),
        }
    }

    /// Takes out the waits in flight of a ring.
    fn take_waits(&self) -> Vec<PollInFlight> {
        match &self.kind {
            Kind::Ring {
                reading,
                writing,
                ending,
            } => {
                let ending = ending.take().map(|wait| *wait);
                let waits = [reading.take(), writing.take(), ending];
                waits.into_iter().flatten().collect()
            }
            Kind::Epoll { .. } => Vec::new(),
        }
    }

    fn poll(&self, interest: Interest, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let begin = || {
            let poll = poll_add(self.fd.as_raw_fd(), interest);
            UnsubmittedOneshot::new((), Woken, poll).submit()
        };
        match &self.kind {
            Kind::Ring {
                reading,
                writing,
                ending,
            } => {
                let slot = match interest {
                    Interest::Readable => reading,
                    Interest::Writable => writing,
                    Interest::Ended => {
                        let mut slot = ending.borrow_mut();
                        let in_flight = slot.get_or_insert_with(|| Box::new(begin()));
                        ready!(Pin::new(&mut **in_flight).poll(cx));
                        *slot = None;
                        return Poll::Ready(Ok(()));
                    }
                };
                let mut slot = slot.borrow_mut();
                let in_flight = slot.get_or_insert_with(begin);
                ready!(Pin::new(in_flight).poll(cx));
                *slot = None;
                Poll::Ready(Ok(()))
            }
            Kind::Epoll { registered } => {
                let mut slot = registered.borrow_mut();
                let async_fd = match slot.take() {
                    Some(async_fd) => slot.insert(async_fd),
                    None => slot.insert(async_fd::register(self.fd.as_fd())?),
                };
                let mut guard = ready!(match interest {
                    Interest::Readable | Interest::Ended => async_fd.poll_read_ready(cx),
                    Interest::Writable => async_fd.poll_write_ready(cx),
                })?;
                guard.clear_ready();
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsFd for WatchedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for WatchedSocket {
    fn drop(&mut self) {
        let waits = self.take_waits();
        if waits.is_empty() {
            return;
        }
        // ENOTCONN means that the other end is gone, and the operation is complete as well.
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Both);
        let fd = Rc::clone(&self.fd);
        spawn_local(async move {
            for wait in waits {
                wait.await;
            }
            drop(fd);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (OwnedFd, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        (ours.into(), theirs)
    }

    /// Begins to wait, and gives it up before the wait can have reached the kernel.
    async fn give_up_waiting(watched: &WatchedSocket) {
        let once = poll_fn(|cx| Poll::Ready(watched.poll(Interest::Readable, cx)));
        assert!(once.await.is_pending());
    }

    #[test]
    fn a_wait_that_was_given_up_holds_no_other_socket_open() {
        let turns = async {
            // Other tests may take the number in between; they do not always.
            for _ in 0..50 {
                let (first, _theirs) = pair();
                let first = WatchedSocket::new(Driver::Ring, first);
                give_up_waiting(&first).await;
                drop(first);
                // The lowest number that is free.
                let (second, mut theirs) = pair();
                let second = WatchedSocket::new(Driver::Ring, second);
                sleep(Duration::from_millis(1)).await;
                drop(second);
                assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "it is still open");
            }
        };
        // If the kernel refuses io_uring, there is nothing to test.
        let _ = Driver::Ring.block_on(turns);
    }

    #[test]
    fn a_socket_is_given_away_without_its_waits() {
        for driver in [Driver::Ring, Driver::Epoll] {
            let turns = async {
                let (ours, mut theirs) = pair();
                let watched = WatchedSocket::new(driver, ours);
                give_up_waiting(&watched).await;
                drop(watched.release().await);
                assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "it is still open");
            };
            let _ = driver.block_on(turns);
        }
    }
}
