//! Bulk one way, and senders whose reader stalls.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::epoll::EpollFlags;

use super::backend::Backend;
use super::reactor::{Clients, Reactor, Token, drive, unless_blocked};

/// Bytes offered to the kernel per write.
const WRITE_BYTES: usize = 64 * 1024;

/// Senders that got no byte away for so long are taken for stalled.
const STALLED_AFTER: Duration = Duration::from_millis(500);

/// Client connections that write and never read.
#[derive(Debug)]
pub(super) struct Writers {
    streams: Vec<TcpStream>,
    block: Vec<u8>,
    goal: Goal,
}

#[derive(Debug)]
enum Goal {
    /// Send so many bytes more, over all connections; the backend's count to wait for.
    Transfer {
        unsent_bytes: usize,
        received_at_end: usize,
    },
    /// Send until nothing goes any more.
    Fill { progress_at: Instant },
}

impl Writers {
    /// Opens `count` connections to `proxy`.
    pub(super) fn open(proxy: SocketAddr, count: usize) -> Result<Self> {
        let open_one = |_| {
            let stream = TcpStream::connect(proxy).context("connect to the proxy")?;
            stream
                .set_nonblocking(true)
                .context("non-blocking client")?;
            Ok(stream)
        };
        Ok(Self {
            streams: (0..count).map(open_one).collect::<Result<_>>()?,
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
        for (index, stream) in self.streams.iter().enumerate() {
            reactor.watch(stream, Token::Client(index), EpollFlags::EPOLLOUT)?;
        }
        drive(reactor, backend, self)?;
        if matches!(self.goal, Goal::Fill { .. }) {
            self.forget_all(reactor)?;
        }
        Ok(())
    }

    fn forget_all(&self, reactor: &Reactor) -> Result<()> {
        self.streams
            .iter()
            .try_for_each(|stream| reactor.forget(stream))
    }
}

impl Clients for Writers {
    fn on_ready(&mut self, reactor: &Reactor, index: usize) -> Result<()> {
        let size = match &self.goal {
            Goal::Transfer { unsent_bytes, .. } => WRITE_BYTES.min(*unsent_bytes),
            Goal::Fill { .. } => WRITE_BYTES,
        };
        if size == 0 {
            return Ok(());
        }
        let written = unless_blocked(self.streams[index].write(&self.block[..size]));
        let Some(count) = written.context("client write")? else {
            return Ok(());
        };
        match &mut self.goal {
            Goal::Fill { progress_at } => *progress_at = Instant::now(),
            Goal::Transfer { unsent_bytes, .. } => {
                *unsent_bytes -= count;
                if *unsent_bytes == 0 {
                    self.forget_all(reactor)?;
                }
            }
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
