//! Bulk one way, and senders whose reader stalls.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::epoll::EpollFlags;

use super::backend::Backend;
use super::link::{Dial, Link};
use super::reactor::{Clients, Reactor, Token, drive};

/// Bytes offered to the kernel per write.
const WRITE_BYTES: usize = 64 * 1024;

/// Senders that got no byte away for so long are taken for stalled.
const STALLED_AFTER: Duration = Duration::from_millis(500);

/// Client connections that write and never read.
#[derive(Debug)]
pub(super) struct Writers {
    links: Vec<Link>,
    /// Which of them the reactor watches.
    watched: Vec<bool>,
    block: Vec<u8>,
    goal: Goal,
}

#[derive(Debug)]
enum Goal {
    /// Send this many bytes more, over all connections; the backend's count to wait for.
    Transfer {
        unsent_bytes: usize,
        received_at_end: usize,
    },
    /// Send until nothing goes any more.
    Fill { progress_at: Instant },
}

impl Writers {
    /// Opens `count` connections.
    pub(super) fn open(dial: &Dial, count: usize) -> Result<Self> {
        Ok(Self {
            links: (0..count).map(|_| dial.connect()).collect::<Result<_>>()?,
            watched: vec![false; count],
            block: vec![b'b'; WRITE_BYTES],
            goal: Goal::Transfer {
                unsent_bytes: 0,
                received_at_end: 0,
            },
        })
    }

    /// Sends `bytes` over all connections and waits until the backend has them.
    pub(super) fn transfer(
        &mut self,
        reactor: &Reactor,
        backend: &mut Backend,
        bytes: usize,
    ) -> Result<()> {
        let received_at_end = backend.received_bytes() + bytes;
        self.goal = Goal::Transfer {
            unsent_bytes: bytes,
            received_at_end,
        };
        self.run(reactor, backend)
    }

    /// Sends until the proxy takes no more.
    pub(super) fn fill(&mut self, reactor: &Reactor, backend: &mut Backend) -> Result<()> {
        self.goal = Goal::Fill {
            progress_at: Instant::now(),
        };
        self.run(reactor, backend)
    }

    fn run(&mut self, reactor: &Reactor, backend: &mut Backend) -> Result<()> {
        for (index, link) in self.links.iter().enumerate() {
            reactor.watch(link, Token::Client(index), EpollFlags::EPOLLOUT)?;
            self.watched[index] = true;
        }
        drive(reactor, backend, self)?;
        (0..self.links.len()).try_for_each(|index| self.forget(reactor, index))
    }

    fn forget(&mut self, reactor: &Reactor, index: usize) -> Result<()> {
        if std::mem::take(&mut self.watched[index]) {
            reactor.forget(&self.links[index])?;
        }
        Ok(())
    }
}

impl Clients for Writers {
    fn on_ready(&mut self, reactor: &Reactor, index: usize) -> Result<()> {
        let link = &mut self.links[index];
        if !link.flush().context("client write")? {
            return Ok(());
        }
        let size = match &self.goal {
            Goal::Transfer { unsent_bytes, .. } => WRITE_BYTES.min(*unsent_bytes),
            Goal::Fill { .. } => WRITE_BYTES,
        };
        if size == 0 {
            return self.forget(reactor, index);
        }
        let written = link.write(&self.block[..size]).context("client write")?;
        let Some(count) = written else {
            return Ok(());
        };
        match &mut self.goal {
            Goal::Fill { progress_at } => *progress_at = Instant::now(),
            Goal::Transfer { unsent_bytes, .. } => *unsent_bytes -= count,
        }
        Ok(())
    }

    fn is_finished(&self, backend: &Backend) -> bool {
        match &self.goal {
            Goal::Transfer {
                received_at_end, ..
            } => backend.received_bytes() == *received_at_end,
            Goal::Fill { progress_at } => progress_at.elapsed() > STALLED_AFTER,
        }
    }
}
