//! Short connections: connect, one exchange (or an upgrade and one exchange), close.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::EpollFlags;

use super::backend::Backend;
use super::link::{Dial, Link};
use super::reactor::{Clients, Reactor, Token, drive};

/// Connections under way at the same time.
const IN_FLIGHT: usize = 32;

/// Longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 4096;

/// Bytes of the message that is echoed.
const MESSAGE_BYTES: usize = 64;

/// What a browser sends to open a WebSocket.
const UPGRADE: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n\
    Host: maps.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Upgrade: websocket\r\n\
    Origin: https://maps.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    SwitchingProtocols,
    Echo,
}

/// A fixed number of short connections, [`IN_FLIGHT`] of them at a time.
#[derive(Debug)]
pub(super) struct Exchanges {
    dial: Dial,
    /// Index of the first slot among the clients of the reactor.
    first_index: usize,
    first: Awaited,
    slots: Vec<Option<Exchange>>,
    buffer: Vec<u8>,
    not_started: usize,
    not_finished: usize,
    latencies_ns: Vec<u64>,
    resumed: usize,
}

#[derive(Debug)]
struct Exchange {
    link: Link,
    started_at: Instant,
    awaited: Awaited,
    answer: Vec<u8>,
    echoed_bytes: usize,
}

impl Exchanges {
    /// Prepares bare TCP exchanges (`upgrade` false) or WebSocket upgrades with one message.
    pub(super) fn new(dial: Dial, upgrade: bool) -> Self {
        let first = if upgrade {
            Awaited::SwitchingProtocols
        } else {
            Awaited::Echo
        };
        Self {
            dial,
            first_index: 0,
            first,
            slots: (0..IN_FLIGHT).map(|_| None).collect(),
            buffer: vec![0; ANSWER_BYTES_MAX],
            not_started: 0,
            not_finished: 0,
            latencies_ns: Vec::new(),
            resumed: 0,
        }
    }

    /// Leaves the indices below `first_index` to other clients of the same reactor.
    pub(super) fn above(mut self, first_index: usize) -> Self {
        self.first_index = first_index;
        self
    }

    /// Begins connections that follow each other without end.
    pub(super) fn begin_endless(&mut self, reactor: &Reactor) -> Result<()> {
        self.not_started = usize::MAX;
        self.not_finished = usize::MAX;
        (0..IN_FLIGHT).try_for_each(|index| self.start(reactor, index))
    }

    /// Makes `total` connections; returns the time of each from connect to close, sorted, once
    /// the backend has seen the last one end.
    pub(super) fn run(
        &mut self,
        reactor: &Reactor,
        backend: &mut Backend,
        total: usize,
    ) -> Result<Vec<u64>> {
        self.not_started = total;
        self.not_finished = total;
        self.latencies_ns = Vec::with_capacity(total);
        self.resumed = 0;
        for index in 0..IN_FLIGHT.min(total) {
            self.start(reactor, index)?;
        }
        drive(reactor, backend, self)?;
        let mut latencies_ns = std::mem::take(&mut self.latencies_ns);
        latencies_ns.sort_unstable();
        Ok(latencies_ns)
    }

    /// How many of the last run were resumed TLS sessions.
    pub(super) const fn resumed(&self) -> usize {
        self.resumed
    }

    fn start(&mut self, reactor: &Reactor, index: usize) -> Result<()> {
        let started_at = Instant::now();
        let mut link = self.dial.begin(index)?;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        let token = Token::Client(self.first_index + index);
        reactor.watch(&link, token, interest)?;
        let request = if self.first == Awaited::Echo {
            &frame()[..]
        } else {
            UPGRADE
        };
        // With TLS it waits for the end of the handshake.
        let sent = link.write(request).context("client write")?;
        ensure!(
            sent == Some(request.len()) && link.flush()?,
            "a request did not fit the send buffer"
        );
        self.slots[index] = Some(Exchange {
            link,
            started_at,
            awaited: self.first,
            answer: Vec::new(),
            echoed_bytes: 0,
        });
        self.not_started -= 1;
        Ok(())
    }
}

/// A masked binary frame of [`MESSAGE_BYTES`] bytes in all.
const fn frame() -> [u8; MESSAGE_BYTES] {
    let mut frame = [0x55; MESSAGE_BYTES];
    frame[0] = 0x82;
    frame[1] = 0x80 | 58;
    frame
}

impl Clients for Exchanges {
    fn on_ready(&mut self, reactor: &Reactor, index: usize) -> Result<()> {
        let index = index - self.first_index;
        loop {
            let Some(exchange) = &mut self.slots[index] else {
                return Ok(());
            };
            let read = exchange
                .link
                .read(&mut self.buffer)
                .context("client read")?;
            let Some(count) = read else { return Ok(()) };
            ensure!(count > 0, "the proxy closed a connection early");
            if exchange.take(&self.buffer[..count])? {
                break;
            }
            if !exchange.link.reads_on() {
                return Ok(());
            }
        }
        if let Some(mut exchange) = self.slots[index].take() {
            self.latencies_ns
                .push(u64::try_from(exchange.started_at.elapsed().as_nanos())?);
            self.resumed += usize::from(exchange.link.is_resumed());
            exchange.link.end();
        }
        self.not_finished -= 1;
        if self.not_started > 0 {
            self.start(reactor, index)?;
        }
        Ok(())
    }

    fn is_finished(&self, backend: &Backend) -> bool {
        self.not_finished == 0 && backend.open() == 0
    }
}

impl Exchange {
    /// Takes bytes from the proxy; true when the exchange is complete.
    fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        match self.awaited {
            Awaited::Echo => self.echoed_bytes += bytes.len(),
            Awaited::SwitchingProtocols => {
                self.answer.extend_from_slice(bytes);
                if !self.answer.ends_with(b"\r\n\r\n") {
                    ensure!(
                        self.answer.len() < ANSWER_BYTES_MAX,
                        "an answer without an end"
                    );
                    return Ok(false);
                }
                if !self.answer.starts_with(b"HTTP/1.1 101 ") {
                    bail!("not upgraded: {}", String::from_utf8_lossy(&self.answer));
                }
                self.awaited = Awaited::Echo;
                let sent = self.link.write(&frame()).context("client write")?;
                ensure!(sent == Some(MESSAGE_BYTES), "no room for a message");
            }
        }
        ensure!(
            self.echoed_bytes <= MESSAGE_BYTES,
            "more bytes came back than were sent"
        );
        Ok(self.echoed_bytes == MESSAGE_BYTES)
    }
}
