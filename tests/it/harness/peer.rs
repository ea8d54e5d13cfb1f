//! One end of a connection under byte-exact control, client or server alike.
//!
//! Every method panics when the connection does not do what the test demands of it, and none waits
//! longer than `PATIENCE`.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{PATIENCE, eventually, settled};

/// Longest head or line that [`Peer::read_until`] takes in.
const UNTIL_LEN_MAX: usize = 256 * 1024;

/// Most bytes that [`wait_stalled`] counts; more than the kernel holds for a socket (tcp_rmem, 6 MiB).
const WAITING_LEN_MAX: usize = 16 << 20;

/// See [`Peer::wait_stalled`].
pub(crate) fn wait_stalled(socket: &impl AsRawFd) {
    let mut room = vec![0; WAITING_LEN_MAX];
    // With these flags TCP counts and copies nothing (tcp(7)).
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
    let mut waiting = || recv(socket.as_raw_fd(), &mut room, flags).unwrap_or(0);
    eventually("something to receive", || waiting() > 0);
    settled("what is there to be received", waiting);
}

/// How a connection ended, seen from one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side ended in good order (FIN).
    Closed,
    /// The other side reset the connection (RST).
    Reset,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: Socket,
}

impl Peer {
    /// Wraps a connected socket; reads and writes give up after [`PATIENCE`].
    pub(crate) fn new(socket: Socket) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        // A unix socket has no such option.
        let _ = socket.set_tcp_nodelay(true);
        Self { socket }
    }

    /// Connects to `addr`.
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|error| panic!("connect to {addr}: {error}"))
    }

    /// Connects to `addr`, or says why not.
    pub(crate) fn try_connect(addr: SocketAddr) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.connect_timeout(&addr.into(), PATIENCE)?;
        Ok(Self::new(socket))
    }

    /// Connects to `addr` from the address `source`, any of 127.0.0.0/8.
    pub(crate) fn connect_from(source: &str, addr: SocketAddr) -> Self {
        let source: IpAddr = source.parse().unwrap();
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&addr.into()).unwrap();
        Self::new(socket)
    }

    /// Connects to the unix socket at `path`.
    pub(crate) fn connect_unix(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.connect(&SockAddr::unix(path).unwrap()).unwrap();
        Self::new(socket)
    }

    /// Returns the address of this end.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }

    /// Returns the address of the other end.
    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.socket.peer_addr().unwrap().as_socket().unwrap()
    }

    /// Returns a second handle to the same connection, for another thread.
    pub(crate) fn twin(&self) -> Self {
        Self {
            socket: self.socket.try_clone().unwrap(),
        }
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends all of `bytes`, or says why not.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// Sends `bytes` one at a time with `pause` between them, so that they travel alone: a slow client.
    pub(crate) fn drip(&mut self, bytes: &[u8], pause: Duration) -> std::io::Result<()> {
        for byte in bytes {
            self.try_send([*byte])?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Sends until the other side takes no more for `stall`, at most `len_max` bytes of `block`
    /// over and over, and returns how many it took.
    pub(crate) fn send_until_stalled(
        &mut self,
        block: &[u8],
        len_max: usize,
        stall: Duration,
    ) -> usize {
        self.socket.set_write_timeout(Some(stall)).unwrap();
        let mut sent = 0;
        while sent < len_max {
            let at = sent % block.len();
            let end = block.len().min(at + 65_536).min(at + len_max - sent);
            match self.socket.write(&block[at..end]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        self.socket.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Ends this side's half of the connection (FIN).
    pub(crate) fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset (RST).
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Receives what is there, at most `buffer.len()` bytes; 0 = the other side has ended.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.socket.read(buffer)
    }

    /// Tells whether a byte is there to be received, without waiting and without taking it.
    pub(crate) fn has_received(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        self.socket.set_nonblocking(true).unwrap();
        let peeked = self.socket.peek(&mut byte);
        self.socket.set_nonblocking(false).unwrap();
        peeked.is_ok_and(|count| count == 1)
    }

    /// Waits until what is there to be received grows no more although nothing is received: everything
    /// was sent, or every buffer on the way is full.
    pub(crate) fn wait_stalled(&self) {
        wait_stalled(&self.socket);
    }

    /// Receives exactly `len` bytes.
    pub(crate) fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.socket.read(&mut bytes[filled..]) {
                Ok(0) => panic!(
                    "ended after {filled} of {len} bytes: {:?}",
                    String::from_utf8_lossy(&bytes[..filled])
                ),
                Ok(count) => filled += count,
                Err(error) => panic!(
                    "{error} after {filled} of {len} bytes: {:?}",
                    String::from_utf8_lossy(&bytes[..filled])
                ),
            }
        }
        bytes
    }

    /// Receives as many bytes as `expected` has, and demands that they are the same.
    pub(crate) fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let received = self.read(expected.len());
        assert!(
            received == expected,
            "received {:?} instead of {:?}",
            String::from_utf8_lossy(&received),
            String::from_utf8_lossy(expected)
        );
    }

    /// Receives up to and including `mark`, and not a byte more.
    pub(crate) fn read_until(&mut self, mark: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(mark) {
            assert!(bytes.len() < UNTIL_LEN_MAX, "no mark in {UNTIL_LEN_MAX}");
            let mut one = [0];
            match self.socket.read(&mut one) {
                Ok(1) => bytes.push(one[0]),
                other => panic!(
                    "{other:?} before the end of {:?}",
                    String::from_utf8_lossy(&bytes)
                ),
            }
        }
        bytes
    }

    /// Receives a head: everything up to and including the first empty line, and no more.
    pub(crate) fn read_head(&mut self) -> String {
        String::from_utf8_lossy(&self.read_until(b"\r\n\r\n")).into_owned()
    }

    /// Receives everything until the other side ends, and tells how it ended.
    pub(crate) fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16_384];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return (bytes, End::Closed),
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return (bytes, End::Reset);
                }
                Err(error) => panic!(
                    "{error} instead of an end, after {:?}",
                    String::from_utf8_lossy(&bytes)
                ),
            }
        }
    }

    /// Demands that the other side ends in good order without another byte.
    pub(crate) fn expect_closed(&mut self) {
        assert_eq!(self.read_to_end(), (Vec::new(), End::Closed));
    }

    /// Demands that the other side ends without another byte, whichever way.
    pub(crate) fn expect_ended(&mut self) {
        let (bytes, _) = self.read_to_end();
        assert_eq!(String::from_utf8_lossy(&bytes), "");
    }

    /// Demands that nothing comes for `time`, not even an end.
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut buffer = [0; 1024];
        match self.socket.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(count) => panic!(
                "received {:?} instead of nothing",
                String::from_utf8_lossy(&buffer[..count])
            ),
            Err(error) => panic!("{error} instead of nothing"),
        }
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// Ends this side's half, unless the connection is gone already.
    pub(crate) fn finish_if_open(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Receives and forgets everything until the other side ends, however it does.
    pub(crate) fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while self.socket.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }

    /// Receives a head, or none if the other side ends before it is whole.
    pub(crate) fn try_read_head(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let mut one = [0];
        while !bytes.ends_with(b"\r\n\r\n") && bytes.len() < UNTIL_LEN_MAX {
            if self.socket.read(&mut one).ok()? == 0 {
                return None;
            }
            bytes.push(one[0]);
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Sends a byte every `pause`, until sending fails, as it does once the other side is gone; at most
    /// for [`PATIENCE`].
    pub(crate) fn drip_until_refused(&mut self, pause: Duration) -> Duration {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.try_send(b"x").is_err() {
                return started.elapsed();
            }
            std::thread::sleep(pause);
        }
        panic!("the other side still takes bytes after {PATIENCE:?}");
    }
}
