//! Round trips on established tunnels: a fixed number of them, one outstanding per tunnel.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::epoll::EpollFlags;

use super::backend::Backend;
use super::exchanges::Exchanges;
use super::link::{Dial, Link};
use super::reactor::{Clients, Reactor, Token, drive};

/// Tunnels opened at the same time.
const OPENING_AT_ONCE: usize = 32;

/// Client connections, each of which sends a message, waits for its echo, and sends the next.
#[derive(Debug)]
pub(super) struct Pings {
    tunnels: Vec<Tunnel>,
    message: Vec<u8>,
    buffer: Vec<u8>,
    not_started: usize,
    outstanding: usize,
    latencies_ns: Vec<u64>,
}

#[derive(Debug)]
struct Tunnel {
    link: Link,
    sent_at: Instant,
    missing_bytes: usize,
}

impl Pings {
    /// Opens `count` tunnels; each has carried one message there and back.
    pub(super) fn open(
        reactor: &Reactor,
        backend: &mut Backend,
        dial: &Dial,
        count: usize,
        message_bytes: usize,
    ) -> Result<Self> {
        let mut pings = Self {
            tunnels: Vec::with_capacity(count),
            message: vec![b'm'; message_bytes],
            buffer: vec![0; message_bytes + 1],
            not_started: 0,
            outstanding: 0,
            latencies_ns: Vec::new(),
        };
        while pings.tunnels.len() < count {
            let start = pings.tunnels.len();
            let end = count.min(start + OPENING_AT_ONCE);
            for index in start..end {
                let link = dial.connect()?;
                link.tcp().set_nodelay(true).context("TCP_NODELAY")?;
                let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
                reactor.watch(&link, Token::Client(index), interest)?;
                pings.tunnels.push(Tunnel {
                    link,
                    sent_at: Instant::now(),
                    missing_bytes: 0,
                });
            }
            pings.run_on(reactor, backend, start..end, end - start)?;
        }
        ensure!(
            backend.open() >= count,
            "fewer connections at the backend than tunnels"
        );
        Ok(pings)
    }

    /// Makes `trips` round trips over all tunnels and returns their latencies, sorted.
    pub(super) fn run(
        &mut self,
        reactor: &Reactor,
        backend: &mut Backend,
        trips: usize,
    ) -> Result<Vec<u64>> {
        self.latencies_ns = Vec::with_capacity(trips);
        self.run_on(reactor, backend, 0..self.tunnels.len(), trips)?;
        let mut latencies_ns = std::mem::take(&mut self.latencies_ns);
        latencies_ns.sort_unstable();
        Ok(latencies_ns)
    }

    /// Makes one round trip at each of `trips` moments, `pace` apart, on the tunnels in turn, beside
    /// a flood of short connections or in quiet; returns their latencies, sorted.
    ///
    /// A tunnel whose last trip is not over when its turn comes is skipped, and the trip is made up
    /// for later.
    pub(super) fn run_paced(
        &mut self,
        reactor: &Reactor,
        backend: &mut Backend,
        trips: usize,
        pace: Duration,
        flood: Option<Exchanges>,
    ) -> Result<Vec<u64>> {
        self.latencies_ns = Vec::with_capacity(trips);
        self.not_started = 0;
        let mut flood = flood.map(|flood| flood.above(self.tunnels.len()));
        if let Some(flood) = &mut flood {
            flood.begin_endless(reactor)?;
        }
        let due_at = Instant::now();
        let mut paced = Paced {
            pings: self,
            flood,
            trips,
            pace,
            due_at,
            turn: 0,
        };
        drive(reactor, backend, &mut paced)?;
        let mut latencies_ns = std::mem::take(&mut self.latencies_ns);
        latencies_ns.sort_unstable();
        Ok(latencies_ns)
    }

    fn run_on(
        &mut self,
        reactor: &Reactor,
        backend: &mut Backend,
        tunnels: Range<usize>,
        trips: usize,
    ) -> Result<()> {
        self.not_started = trips;
        for index in tunnels.take(trips) {
            self.start_trip(index)?;
        }
        drive(reactor, backend, self)
    }

    fn start_trip(&mut self, index: usize) -> Result<()> {
        let tunnel = &mut self.tunnels[index];
        tunnel.sent_at = Instant::now();
        let sent = tunnel.link.write(&self.message).context("client write")?;
        ensure!(
            sent == Some(self.message.len()) && tunnel.link.flush()?,
            "a ping did not fit the send buffer"
        );
        tunnel.missing_bytes = self.message.len();
        self.not_started = self.not_started.saturating_sub(1);
        self.outstanding += 1;
        Ok(())
    }
}

/// Round trips at a pace, beside a flood or not.
struct Paced<'a> {
    pings: &'a mut Pings,
    flood: Option<Exchanges>,
    trips: usize,
    pace: Duration,
    due_at: Instant,
    turn: usize,
}

impl Clients for Paced<'_> {
    fn on_ready(&mut self, reactor: &Reactor, index: usize) -> Result<()> {
        match &mut self.flood {
            Some(flood) if index >= self.pings.tunnels.len() => flood.on_ready(reactor, index),
            _ => self.pings.on_ready(reactor, index),
        }
    }

    fn may_wait(&self, index: usize) -> bool {
        index >= self.pings.tunnels.len()
    }

    fn on_turn(&mut self) -> Result<()> {
        let now = Instant::now();
        while self.due_at <= now && self.trips > 0 {
            self.due_at += self.pace;
            self.turn = (self.turn + 1) % self.pings.tunnels.len();
            if self.pings.tunnels[self.turn].missing_bytes == 0 {
                self.trips -= 1;
                self.pings.start_trip(self.turn)?;
            }
        }
        Ok(())
    }

    fn is_finished(&self, _: &Backend) -> bool {
        self.trips == 0 && self.pings.outstanding == 0
    }
}

impl Clients for Pings {
    fn on_ready(&mut self, _: &Reactor, index: usize) -> Result<()> {
        loop {
            let tunnel = &mut self.tunnels[index];
            let read = tunnel.link.read(&mut self.buffer).context("client read")?;
            let Some(count) = read else { return Ok(()) };
            ensure!(count > 0, "the proxy closed a tunnel");
            ensure!(
                count <= tunnel.missing_bytes,
                "more bytes came back than were sent"
            );
            tunnel.missing_bytes -= count;
            let reads_on = tunnel.link.reads_on();
            if tunnel.missing_bytes == 0 {
                let elapsed_ns = u64::try_from(tunnel.sent_at.elapsed().as_nanos())?;
                self.latencies_ns.push(elapsed_ns);
                self.outstanding -= 1;
                if self.not_started > 0 {
                    self.start_trip(index)?;
                }
            }
            if !reads_on {
                return Ok(());
            }
        }
    }

    fn is_finished(&self, _: &Backend) -> bool {
        self.outstanding == 0
    }
}
