//! Bulk the other way: clients that read what the backend sends, and look at none of it.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, recv};

use super::backend::Backend;
use super::link::{Dial, Link};
use super::reactor::{Clients, Reactor, Token, drive};

/// Bytes discarded at a time.
const READ_BYTES: usize = 1024 * 1024;

/// Client connections that read and never write.
///
/// With TLS the records are discarded unopened (`MSG_TRUNC`), and their bytes counted instead of
/// those inside: 22 more in each record of at most 16 KiB.
#[derive(Debug)]
pub(super) struct Readers {
    links: Vec<Link>,
    buffer: Vec<u8>,
    missing_bytes: usize,
}

impl Readers {
    /// Opens `count` connections and waits until the backend has them all.
    pub(super) fn open(
        reactor: &Reactor,
        backend: &mut Backend,
        dial: &Dial,
        count: usize,
    ) -> Result<Self> {
        let links: Vec<Link> = (0..count).map(|_| dial.connect()).collect::<Result<_>>()?;
        for (index, link) in links.iter().enumerate() {
            reactor.watch(link, Token::Client(index), EpollFlags::EPOLLIN)?;
        }
        let mut readers = Self {
            links,
            buffer: vec![0; READ_BYTES],
            missing_bytes: 0,
        };
        drive(reactor, backend, &mut Arriving(&mut readers))?;
        Ok(readers)
    }

    /// Lets the backend send `bytes` over all connections and waits for them.
    pub(super) fn transfer(
        &mut self,
        reactor: &Reactor,
        backend: &mut Backend,
        bytes: usize,
    ) -> Result<()> {
        self.missing_bytes = bytes;
        backend.offer(reactor, bytes)?;
        drive(reactor, backend, self)
    }
}

impl Clients for Readers {
    fn on_ready(&mut self, _: &Reactor, index: usize) -> Result<()> {
        let socket = self.links[index].tcp().as_raw_fd();
        match recv(socket, &mut self.buffer, MsgFlags::MSG_TRUNC) {
            Ok(count) => {
                ensure!(count > 0, "the proxy closed a connection");
                self.missing_bytes = self.missing_bytes.saturating_sub(count);
                Ok(())
            }
            Err(Errno::EAGAIN) => Ok(()),
            Err(errno) => bail!("client recv: {errno}"),
        }
    }

    fn is_finished(&self, _: &Backend) -> bool {
        self.missing_bytes == 0
    }
}

/// Readers whose connections have not all reached the backend.
struct Arriving<'a>(&'a mut Readers);

impl Clients for Arriving<'_> {
    fn on_ready(&mut self, reactor: &Reactor, index: usize) -> Result<()> {
        self.0.on_ready(reactor, index).context("tickets")
    }

    fn is_finished(&self, backend: &Backend) -> bool {
        backend.open() == self.0.links.len()
    }
}
