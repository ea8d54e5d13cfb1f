//! The load generator's event loop: one thread, one epoll, clients and backend together.
//!
//! It must cost less per message than the proxy it measures, so events are edge-triggered where a
//! short read proves the socket empty, and nothing is allocated while the load runs. It never
//! sleeps: waking it would be an interrupt to another core, paid by the proxy, which no proxy pays
//! for a peer at the other end of a network.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::backend::Backend;

/// Events taken from the kernel at a time.
const EVENTS_PER_WAIT: usize = 512;

/// Time without an event after which a measurement is given up: a message was lost on the way.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The owner of an event's descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The backend's listening socket.
    Listener,
    /// A client connection, by index.
    Client(usize),
    /// A backend connection, by index.
    Backend(usize),
}

const LISTENER_TAG: u64 = 0;
const CLIENT_TAG: u64 = 1;
const BACKEND_TAG: u64 = 2;
const TAG_SHIFT: u32 = 32;
const INDEX_MASK: u64 = (1 << TAG_SHIFT) - 1;

impl Token {
    fn encode(self) -> u64 {
        match self {
            Self::Listener => LISTENER_TAG << TAG_SHIFT,
            Self::Client(index) => CLIENT_TAG << TAG_SHIFT | index as u64,
            Self::Backend(index) => BACKEND_TAG << TAG_SHIFT | index as u64,
        }
    }

    fn decode(data: u64) -> Self {
        let index = usize::try_from(data & INDEX_MASK).expect("32 bits fit a usize");
        match data >> TAG_SHIFT {
            CLIENT_TAG => Self::Client(index),
            BACKEND_TAG => Self::Backend(index),
            _ => Self::Listener,
        }
    }
}

/// The epoll instance.
#[derive(Debug)]
pub(super) struct Reactor {
    epoll: Epoll,
}

impl Reactor {
    /// Creates an epoll instance that watches nothing.
    pub(super) fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create1")?;
        Ok(Self { epoll })
    }

    /// Watches `socket` for `interest` until it is closed.
    pub(super) fn watch(
        &self,
        socket: impl AsFd,
        token: Token,
        interest: EpollFlags,
    ) -> Result<()> {
        self.epoll
            .add(socket, EpollEvent::new(interest, token.encode()))
            .context("epoll_ctl add")
    }

    /// Stops watching `socket`.
    pub(super) fn forget(&self, socket: impl AsFd) -> Result<()> {
        self.epoll.delete(socket).context("epoll_ctl delete")
    }
}

/// The client side of a measurement.
pub(super) trait Clients {
    /// Handles one readiness event of client `index`.
    fn on_ready(&mut self, reactor: &Reactor, index: usize) -> Result<()>;

    /// Does the work that is due by the clock.
    fn on_turn(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether an event of client `index` may wait until all others have been served.
    fn may_wait(&self, _index: usize) -> bool {
        false
    }

    /// Returns whether the measurement is over.
    fn is_finished(&self, backend: &Backend) -> bool;
}

/// Runs clients and backend until the clients say that they are finished.
///
/// # Errors
/// What a client or the backend reports, or silence for [`SILENCE_MAX`].
pub(super) fn drive(
    reactor: &Reactor,
    backend: &mut Backend,
    clients: &mut impl Clients,
) -> Result<()> {
    let mut events = [EpollEvent::empty(); EVENTS_PER_WAIT];
    let mut deferred = VecDeque::new();
    let mut last_event = Instant::now();
    while !clients.is_finished(backend) {
        clients.on_turn()?;
        let count = match reactor.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => bail!("epoll_wait: {errno}"),
        };
        if count == 0 && deferred.is_empty() {
            if last_event.elapsed() > SILENCE_MAX {
                bail!("no event for {SILENCE_MAX:?}: the proxy lost bytes or a connection");
            }
            continue;
        }
        for event in &events[..count] {
            match Token::decode(event.data()) {
                Token::Listener => backend.accept(reactor)?,
                Token::Backend(index) => backend.on_ready(reactor, index)?,
                Token::Client(index) if clients.may_wait(index) => deferred.push_back(index),
                Token::Client(index) => clients.on_ready(reactor, index)?,
            }
        }
        // One at a time, so that an urgent event waits for one of the others at most.
        if let Some(index) = deferred.pop_front() {
            clients.on_ready(reactor, index)?;
        }
        // The clock is read once per batch; the precision needed here is seconds.
        last_event = Instant::now();
    }
    Ok(())
}

/// Turns "would block" into `None`.
pub(super) fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Listener,
            Token::Client(0),
            Token::Client(4000),
            Token::Backend(7),
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
