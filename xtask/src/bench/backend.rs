//! The server behind the proxies: echo, WebSocket echo, HTTP answers, or a sink, on the generator's
//! own thread.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{Backlog, MsgFlags, listen, recv};

use super::reactor::{Reactor, Token, unless_blocked};

/// Bytes read at a time by the echo.
const ECHO_READ_BYTES: usize = 64 * 1024;

/// Bytes discarded at a time by the sink.
const SINK_READ_BYTES: usize = 1024 * 1024;

/// Bytes offered to the kernel per write of the source.
const SOURCE_WRITE_BYTES: usize = 64 * 1024;

/// Longest request head that is taken.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The answer to every upgrade; the accept value belongs to the key that all clients send.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What the backend does with what it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Sends it back.
    Echo,
    /// Answers one upgrade request with 101, then sends back what follows.
    UpgradeThenEcho,
    /// Answers every HTTP request with a body of this many bytes.
    Serve {
        /// Bytes of each body.
        body_bytes: usize,
    },
    /// Discards it without copying it (`MSG_TRUNC`).
    Sink,
    /// Sends as much as [`Backend::offer`] is told, over all connections, and reads nothing.
    Source,
    /// Discards this many bytes per connection, then reads no more.
    Stall {
        /// Bytes taken from each connection before it stalls.
        after_bytes: usize,
    },
}

/// The backend: a listening socket and its connections.
#[derive(Debug)]
pub(super) struct Backend {
    listener: TcpListener,
    behaviour: Behaviour,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    received_bytes: usize,
    /// What the source has still to send.
    unsent_bytes: usize,
    buffer: Vec<u8>,
    /// What every HTTP request is answered with.
    served: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Bytes of the answer under way that are sent.
    sent_bytes: Option<usize>,
    /// The request head so far; `None` once it has been answered or when none is expected.
    head: Option<Vec<u8>>,
    received_bytes: usize,
    /// Whether the source is watched for room.
    is_sending: bool,
}

impl Backend {
    /// Listens on a free port of 127.0.0.1 with the longest queue the kernel allows.
    pub(super) fn start(reactor: &Reactor, behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("bind the backend")?;
        listener
            .set_nonblocking(true)
            .context("non-blocking backend")?;
        listen(&listener, Backlog::MAXALLOWABLE).context("listen")?;
        reactor.watch(&listener, Token::Listener, EpollFlags::EPOLLIN)?;
        Ok(Self {
            listener,
            behaviour,
            connections: Vec::new(),
            free: Vec::new(),
            received_bytes: 0,
            unsent_bytes: 0,
            buffer: vec![0; SINK_READ_BYTES],
            served: match behaviour {
                Behaviour::Serve { body_bytes } => answer_with(body_bytes),
                Behaviour::Echo
                | Behaviour::UpgradeThenEcho
                | Behaviour::Sink
                | Behaviour::Source
                | Behaviour::Stall { .. } => Vec::new(),
            },
        })
    }

    /// Where the proxies connect to.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().context("backend address")
    }

    /// Connections open now.
    pub(super) fn open(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    /// Bytes received on all connections, echo and sink alike.
    pub(super) fn received_bytes(&self) -> usize {
        self.received_bytes
    }

    /// Sends `bytes` to the clients, over all connections that are open now.
    pub(super) fn offer(&mut self, reactor: &Reactor, bytes: usize) -> Result<()> {
        self.unsent_bytes = bytes;
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = connection
                && !connection.is_sending
            {
                let token = Token::Backend(index);
                reactor.watch(&connection.stream, token, EpollFlags::EPOLLOUT)?;
                connection.is_sending = true;
            }
        }
        Ok(())
    }

    /// Accepts all that wait.
    pub(super) fn accept(&mut self, reactor: &Reactor) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accept"),
            };
            stream
                .set_nonblocking(true)
                .context("non-blocking connection")?;
            let interest = match self.behaviour {
                Behaviour::Echo | Behaviour::UpgradeThenEcho => {
                    stream.set_nodelay(true).context("TCP_NODELAY")?;
                    Some(EpollFlags::EPOLLIN | EpollFlags::EPOLLET)
                }
                Behaviour::Serve { .. } => {
                    stream.set_nodelay(true).context("TCP_NODELAY")?;
                    Some(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET)
                }
                Behaviour::Sink | Behaviour::Stall { .. } => Some(EpollFlags::EPOLLIN),
                Behaviour::Source => None,
            };
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            if let Some(interest) = interest {
                reactor.watch(&stream, Token::Backend(index), interest)?;
            }
            let reads_heads = matches!(
                self.behaviour,
                Behaviour::UpgradeThenEcho | Behaviour::Serve { .. }
            );
            let head = reads_heads.then(Vec::new);
            self.connections[index] = Some(Connection {
                stream,
                sent_bytes: None,
                head,
                received_bytes: 0,
                is_sending: false,
            });
        }
    }

    /// Takes one readiness event of connection `index`; an event of a connection that ended
    /// earlier in the same batch is ignored.
    pub(super) fn on_ready(&mut self, reactor: &Reactor, index: usize) -> Result<()> {
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        let received = match self.behaviour {
            Behaviour::Echo | Behaviour::UpgradeThenEcho => connection.echo(&mut self.buffer)?,
            Behaviour::Serve { .. } => connection.serve(&mut self.buffer, &self.served)?,
            Behaviour::Sink => connection.discard(&mut self.buffer)?,
            Behaviour::Source => {
                connection.pour(reactor, &mut self.unsent_bytes, &self.buffer)?;
                Received::Bytes(0)
            }
            Behaviour::Stall { after_bytes } => {
                let received = connection.discard(&mut self.buffer)?;
                if connection.received_bytes >= after_bytes {
                    reactor.forget(&connection.stream)?;
                }
                received
            }
        };
        match received {
            Received::Bytes(count) => self.received_bytes += count,
            Received::End => {
                self.connections[index] = None;
                self.free.push(index);
            }
        }
        Ok(())
    }
}

/// Writes an answer as an application would give it.
fn answer_with(body_bytes: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {body_bytes}\r\n\
         Cache-Control: public, max-age=3600\r\nETag: \"0123456789abcdef\"\r\n\
         Date: Fri, 20 Nov 2026 12:00:00 GMT\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + body_bytes, b'b');
    bytes
}

/// What one readiness event brought.
enum Received {
    Bytes(usize),
    End,
}

impl Connection {
    fn echo(&mut self, buffer: &mut [u8]) -> Result<Received> {
        let count = match unless_blocked(self.stream.read(&mut buffer[..ECHO_READ_BYTES])) {
            Ok(None) => return Ok(Received::Bytes(0)),
            Ok(Some(0)) => return Ok(Received::End),
            Ok(Some(count)) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return Ok(Received::End);
            }
            Err(error) => return Err(error).context("backend read"),
        };
        let bytes = &buffer[..count];
        match self.head.take() {
            None => self.answer(bytes)?,
            Some(head) => self.upgrade(head, bytes)?,
        }
        Ok(Received::Bytes(count))
    }

    fn upgrade(&mut self, mut head: Vec<u8>, bytes: &[u8]) -> Result<()> {
        head.extend_from_slice(bytes);
        if !head.ends_with(b"\r\n\r\n") {
            ensure!(head.len() < HEAD_BYTES_MAX, "a request head without an end");
            self.head = Some(head);
            return Ok(());
        }
        let lower = head.to_ascii_lowercase();
        for name in [
            "\r\nx-forwarded-for: 127.0.0.1\r\n",
            "\r\nsec-websocket-key: ",
        ] {
            let found = lower
                .windows(name.len())
                .any(|window| window == name.as_bytes());
            ensure!(found, "the proxy did not forward {name:?}");
        }
        self.answer(SWITCHING)
    }

    /// Takes requests, one at a time, and answers each with `served`, as far as there is room.
    fn serve(&mut self, buffer: &mut [u8], served: &[u8]) -> Result<Received> {
        let mut received = 0;
        loop {
            if let Some(sent) = self.sent_bytes {
                let Some(count) =
                    unless_blocked(self.stream.write(&served[sent..])).context("backend write")?
                else {
                    return Ok(Received::Bytes(received));
                };
                self.sent_bytes = Some(sent + count).filter(|sent| *sent < served.len());
                continue;
            }
            let count = match unless_blocked(self.stream.read(&mut buffer[..HEAD_BYTES_MAX])) {
                Ok(None) => return Ok(Received::Bytes(received)),
                Ok(Some(0)) => return Ok(Received::End),
                Ok(Some(count)) => count,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(Received::End);
                }
                Err(error) => return Err(error).context("backend read"),
            };
            received += count;
            let head = self.head.get_or_insert_default();
            head.extend_from_slice(&buffer[..count]);
            if head.ends_with(b"\r\n\r\n") {
                let lower = head.to_ascii_lowercase();
                let told = b"\r\nx-forwarded-for: 127.0.0.1\r\n";
                let is_told = lower.windows(told.len()).any(|window| window == told);
                ensure!(is_told, "the proxy did not say who asks");
                head.clear();
                self.sent_bytes = Some(0);
            }
            ensure!(head.len() < HEAD_BYTES_MAX, "a request head without an end");
        }
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<()> {
        // Answers are at most a few KiB and one at a time, so the send buffer always has room.
        match self.stream.write(bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => bail!("the backend's send buffer is full"),
            Err(error) => Err(error).context("backend write"),
        }
    }

    fn pour(&mut self, reactor: &Reactor, unsent: &mut usize, block: &[u8]) -> Result<()> {
        let size = SOURCE_WRITE_BYTES.min(*unsent);
        if size > 0 {
            let written = unless_blocked(self.stream.write(&block[..size]));
            *unsent -= written.context("backend write")?.unwrap_or_default();
        } else if std::mem::take(&mut self.is_sending) {
            reactor.forget(&self.stream)?;
        }
        Ok(())
    }

    fn discard(&mut self, buffer: &mut [u8]) -> Result<Received> {
        match recv(self.stream.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Ok(0) | Err(Errno::ECONNRESET) => Ok(Received::End),
            Ok(count) => {
                self.received_bytes += count;
                Ok(Received::Bytes(count))
            }
            Err(Errno::EAGAIN) => Ok(Received::Bytes(0)),
            Err(errno) => bail!("backend recv: {errno}"),
        }
    }
}
