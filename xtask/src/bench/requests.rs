//! HTTP requests on kept connections: a fixed number of them, one outstanding per connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::epoll::EpollFlags;

use super::backend::Backend;
use super::reactor::{Clients, Reactor, Token, drive, unless_blocked};

/// Bytes taken from a connection at a time.
const READ_BYTES: usize = 64 * 1024;

/// Longest head of an answer that is taken.
const HEAD_BYTES_MAX: usize = 4096;

/// What a browser sends for a part of a page.
const REQUEST: &[u8] = b"GET /assets/tile.png?x=12&y=34 HTTP/1.1\r\n\
    Host: maps.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Referer: https://maps.example.com/\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\r\n";

/// Client connections, each of which asks, reads the answer, and asks again.
#[derive(Debug)]
pub(super) struct Requests {
    connections: Vec<Connection>,
    body_bytes: usize,
    buffer: Vec<u8>,
    not_started: usize,
    outstanding: usize,
    latencies_ns: Vec<u64>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    asked_at: Instant,
    head: Vec<u8>,
    /// Bytes of the body that are missing; none before the head is complete.
    missing_bytes: Option<usize>,
}

impl Requests {
    /// Opens `count` connections to `proxy`, whose server answers with bodies of `body_bytes`.
    pub(super) fn open(
        reactor: &Reactor,
        proxy: SocketAddr,
        count: usize,
        body_bytes: usize,
    ) -> Result<Self> {
        let open = |index| {
            let stream = TcpStream::connect(proxy).context("connect to the proxy")?;
            stream
                .set_nonblocking(true)
                .context("non-blocking client")?;
            stream.set_nodelay(true).context("TCP_NODELAY")?;
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            reactor.watch(&stream, Token::Client(index), interest)?;
            Ok(Connection {
                stream,
                asked_at: Instant::now(),
                head: Vec::with_capacity(HEAD_BYTES_MAX),
                missing_bytes: None,
            })
        };
        Ok(Self {
            connections: (0..count).map(open).collect::<Result<_>>()?,
            body_bytes,
            buffer: vec![0; READ_BYTES],
            not_started: 0,
            outstanding: 0,
            latencies_ns: Vec::new(),
        })
    }

    /// Makes `total` requests over all connections and returns their latencies, sorted.
    pub(super) fn run(
        &mut self,
        reactor: &Reactor,
        backend: &mut Backend,
        total: usize,
    ) -> Result<Vec<u64>> {
        self.latencies_ns = Vec::with_capacity(total);
        self.not_started = total;
        for index in 0..self.connections.len().min(total) {
            self.ask(index)?;
        }
        drive(reactor, backend, self)?;
        let mut latencies_ns = std::mem::take(&mut self.latencies_ns);
        latencies_ns.sort_unstable();
        Ok(latencies_ns)
    }

    fn ask(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        connection.asked_at = Instant::now();
        connection.head.clear();
        connection.missing_bytes = None;
        let sent = connection.stream.write(REQUEST).context("client write")?;
        ensure!(
            sent == REQUEST.len(),
            "a request did not fit the send buffer"
        );
        self.not_started -= 1;
        self.outstanding += 1;
        Ok(())
    }
}

impl Clients for Requests {
    fn on_ready(&mut self, _: &Reactor, index: usize) -> Result<()> {
        loop {
            let connection = &mut self.connections[index];
            let read = connection.stream.read(&mut self.buffer);
            let Some(count) = unless_blocked(read).context("client read")? else {
                return Ok(());
            };
            ensure!(count > 0, "the proxy closed a connection");
            if connection.take(&self.buffer[..count], self.body_bytes)? {
                let elapsed_ns = u64::try_from(connection.asked_at.elapsed().as_nanos())?;
                self.latencies_ns.push(elapsed_ns);
                self.outstanding -= 1;
                if self.not_started > 0 {
                    self.ask(index)?;
                }
                return Ok(());
            }
        }
    }

    fn is_finished(&self, _: &Backend) -> bool {
        self.outstanding == 0
    }
}

impl Connection {
    /// Takes bytes from the proxy; true when the answer is complete.
    fn take(&mut self, bytes: &[u8], body_bytes: usize) -> Result<bool> {
        let missing = match self.missing_bytes {
            Some(missing) => missing.checked_sub(bytes.len()),
            None => {
                self.head.extend_from_slice(bytes);
                let end = self.head.windows(4).position(|end| end == b"\r\n\r\n");
                let Some(end) = end else {
                    ensure!(
                        self.head.len() < HEAD_BYTES_MAX,
                        "an answer's head without an end"
                    );
                    return Ok(false);
                };
                ensure!(
                    self.head.starts_with(b"HTTP/1.1 200 "),
                    "not served: {}",
                    String::from_utf8_lossy(&self.head)
                );
                body_bytes.checked_sub(self.head.len() - end - 4)
            }
        };
        ensure!(missing.is_some(), "more bytes came than the answer has");
        self.missing_bytes = missing;
        Ok(missing == Some(0))
    }
}
