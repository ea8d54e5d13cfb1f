//! A connection in reception: direct non-blocking calls, and a wait only when such a call would block.

pub mod driver;
pub(super) mod tls;

use std::cell::{OnceCell, RefCell};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv, send};
use socket2::SockRef;
use tokio::time::{Instant, sleep, timeout_at};

use crate::proto::addr::PeerAddr;
use crate::relay::Leg;
use crate::relay::tunnel::End;
use crate::sys::stream::{HangUp, hang_up};
use crate::tls::control::Alert;
use crate::tls::handshake::Established;
use crate::tls::offload::Offload;
use crate::tls::terms::Terms;
use driver::{Driver, Interest, WatchedSocket};
use tls::{Ahead, TlsStream};

/// Limits of what a client may still send after the end of our direction: in time, in silence, in bytes.
/// Closing at once would reset the connection, and the client could lose what we sent last.
const LINGER_TIME: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(2);
const LINGER_LEN_BYTES_MAX: usize = 64 * 1024 * 1024;
const LINGER_READ_LEN_BYTES: usize = 16 * 1024;
/// How long the data before a reset may take to be sent.
const RESET_TIME: Duration = Duration::from_secs(10);
/// Pause between two checks whether a connection is broken.
const BREAKING_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of records asked for at once.
const RECORDS_LEN_BYTES: usize = 16 * 1024;
/// Bytes of data sealed at once.
const SEALED_LEN_BYTES: usize = 64 * 1024;

/// One end of a connection.
pub(super) struct Socket {
    /// The descriptor, and the waits for it.
    watched: WatchedSocket,
    /// Present after a TLS handshake.
    tls: Option<Box<Tls>>,
    /// The address of our end, after the first question.
    local: OnceCell<PeerAddr>,
}

/// What it means if a waiting client ends its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// The client has left.
    Leaves,
    /// The client has left, unless it sent something first that is to reach the server.
    LeavesIfSilent,
    /// The client still reads.
    Stays,
}

/// A TLS connection.
struct Tls {
    terms: Terms,
    /// Whether relay is to leave its records to the kernel.
    wish: Offload,
    /// Never borrowed across a wait.
    stream: RefCell<TlsStream>,
}

impl Socket {
    /// Takes a non-blocking stream socket.
    #[must_use]
    pub(super) fn new(fd: OwnedFd, driver: Driver) -> Self {
        Self {
            watched: WatchedSocket::new(driver, fd),
            tls: None,
            local: OnceCell::new(),
        }
    }

    /// Sends and receives through the session of a handshake from now on. `wish` says whether relay is to
    /// leave its records to the kernel.
    pub(super) fn protect(&mut self, established: Established, wish: Offload) {
        let stream = TlsStream::new(established.session, established.received);
        self.tls = Some(Box::new(Tls {
            terms: established.terms,
            wish,
            stream: RefCell::new(stream),
        }));
    }

    /// Returns the terms of the TLS handshake; none = no TLS.
    #[must_use]
    pub(super) fn terms(&self) -> Option<&Terms> {
        self.tls.as_ref().map(|tls| &tls.terms)
    }

    fn tls_stream(&self) -> Option<&RefCell<TlsStream>> {
        self.tls.as_ref().map(|tls| &tls.stream)
    }

    /// Receives into `buf` without waiting; none = nothing has come, 0 = the other end has ended.
    ///
    /// # Errors
    /// An error of recv(2), or a record that breaks a rule.
    fn recv_now(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(stream) = self.tls_stream() else {
            return self.recv_bytes_now(buf);
        };
        let stream = &mut *stream.borrow_mut();
        loop {
            let taken = stream.take(buf);
            if stream.refuse_handshake() || taken.is_err() {
                // Whether the alert is sent or not, the result is the same.
                let _ = self.send_outbox_now(stream);
            }
            match taken {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return taken,
            }
            let received = self.recv_records_now(stream);
            match received {
                Ok(Some(1..)) => {}
                Ok(Some(0) | None) | Err(_) => {
                    stream.rest();
                    return received;
                }
            }
        }
    }

    /// Receives records, or parts of them, into `stream`; as [`Socket::recv_bytes_now`].
    fn recv_records_now(&self, stream: &mut TlsStream) -> io::Result<Option<usize>> {
        let records = stream.received();
        let from = records.len();
        records.resize(from + RECORDS_LEN_BYTES, 0);
        let received = self.recv_bytes_now(records.get_mut(from..).unwrap_or_default());
        let len = *received.as_ref().unwrap_or(&None);
        records.truncate(from + len.unwrap_or(0));
        received
    }

    fn recv_bytes_now(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match recv(
                self.watched.as_fd().as_raw_fd(),
                buf,
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(received) => return Ok(Some(received)),
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives once more at the end of `buf`, at most `more` bytes; 0 = the other end has ended.
    ///
    /// If the caller drops the future, `buf` is unchanged: it grows after each wait only and shrinks before
    /// the next. An empty `buf` holds no memory during a wait.
    ///
    /// # Errors
    /// An error of recv(2), or a record that breaks a rule.
    pub(super) async fn recv_onto(&self, buf: &mut Vec<u8>, more: usize) -> io::Result<usize> {
        let len = buf.len();
        loop {
            buf.resize(len + more, 0);
            let received = self.recv_now(buf.get_mut(len..).unwrap_or_default());
            buf.truncate(len + received.as_ref().map_or(0, |len| len.unwrap_or(0)));
            if let Some(received) = received? {
                return Ok(received);
            }
            if buf.is_empty() {
                *buf = Vec::new();
            }
            self.wait(Interest::Readable).await?;
        }
    }

    /// Waits until something may have come, if that costs less than a call that would find nothing. For
    /// callers that expect that nothing has come yet.
    ///
    /// # Errors
    /// See [`WatchedSocket::wait`].
    pub(super) async fn await_bytes(&self) -> io::Result<()> {
        // Data that a TLS session holds does not make the socket readable.
        if self.tls.is_none() && self.watched.sees_the_past() {
            self.wait(Interest::Readable).await?;
        }
        Ok(())
    }

    /// Receives at most `len` bytes to the front of `buf`, replacing what it held, and returns how many; 0 =
    /// the other end has ended. `buf` holds no memory during a wait.
    ///
    /// # Errors
    /// An error of recv(2), or a record that breaks a rule.
    pub(super) async fn recv_over(&self, buf: &mut Vec<u8>, len: usize) -> io::Result<usize> {
        loop {
            // Only fresh memory is filled with zeroes, not the buffer before each receive.
            if buf.len() != len {
                *buf = vec![0; len];
            }
            if let Some(received) = self.recv_now(buf)? {
                return Ok(received);
            }
            *buf = Vec::new();
            self.wait(Interest::Readable).await?;
        }
    }

    /// Tells whether nothing waits to be received, no end either. Over TLS, records without data (tickets,
    /// new keys) do not count; part of a record does.
    #[must_use]
    pub(super) fn is_quiet(&self) -> bool {
        if let Some(stream) = self.tls_stream() {
            let stream = &mut *stream.borrow_mut();
            while self.finds_quiet(stream) {
                match self.recv_records_now(stream) {
                    Ok(Some(1..)) => {}
                    Ok(None) => {
                        stream.rest();
                        return !stream.holds_part();
                    }
                    Ok(Some(0)) | Err(_) => return false,
                }
            }
            return false;
        }
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        recv(self.watched.as_fd().as_raw_fd(), &mut [0], flags) == Err(nix::Error::EAGAIN)
    }

    /// Opens the records that were received; tells whether they held neither data nor an end and broke no
    /// rule. Sends the alert that follows from them.
    fn finds_quiet(&self, stream: &mut TlsStream) -> bool {
        let quiet = stream.is_quiet();
        if stream.refuse_handshake() || !quiet {
            // Whether the alert is sent or not, the result is the same.
            let _ = self.send_outbox_now(stream);
        }
        quiet
    }

    /// Tells whether a connection whose end was received speaks TLS and ended without close_notify. The data
    /// may be incomplete then.
    #[must_use]
    pub(super) fn is_truncated(&self) -> bool {
        self.tls_stream()
            .is_some_and(|stream| !stream.borrow().has_ended())
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// An error of send(2); EPIPE or ECONNRESET if the other end is gone.
    pub(super) async fn send_all(&self, data: &[u8]) -> io::Result<()> {
        let Some(stream) = self.tls_stream() else {
            return self.send_bytes(data).await;
        };
        for piece in data.chunks(SEALED_LEN_BYTES) {
            stream.borrow_mut().seal(piece)?;
            while !self.send_outbox_now(&mut stream.borrow_mut())? {
                self.wait(Interest::Writable).await?;
            }
        }
        Ok(())
    }

    /// Sends sealed records without waiting; true = all of them.
    fn send_outbox_now(&self, stream: &mut TlsStream) -> io::Result<bool> {
        let outbox = &mut stream.outbox;
        while !outbox.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.watched.as_fd().as_raw_fd(), outbox, flags) {
                Ok(sent) => drop(outbox.drain(..sent)),
                Err(nix::Error::EAGAIN) => return Ok(false),
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }

    async fn send_bytes(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.watched.as_fd().as_raw_fd(), data, flags) {
                Ok(sent) => data = data.get(sent..).unwrap_or_default(),
                Err(nix::Error::EAGAIN) => self.wait(Interest::Writable).await?,
                Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Waits until the socket is (perhaps) ready.
    ///
    /// # Errors
    /// See [`WatchedSocket::wait`].
    pub(super) async fn wait(&self, interest: Interest) -> io::Result<()> {
        self.watched.wait(interest).await
    }

    /// Waits until the other end has left, without taking data: what follows a request may be the next one.
    ///
    /// # Errors
    /// It has left with an error: a reset, or a record that breaks a rule.
    pub(super) async fn leaving(&self, half: Half) -> io::Result<()> {
        // This wait is the one for the next request, begun early. An end is readable too.
        let mut interest = Interest::Readable;
        loop {
            self.wait(interest).await?;
            let hung_up = hang_up(self.watched.as_fd());
            if hung_up == HangUp::Broken {
                return self.take_error();
            }
            let ahead = self.look_ahead(half)?;
            interest = match (hung_up, ahead) {
                (HangUp::None, Ahead::Nothing) => Interest::Readable,
                // The socket stays readable.
                (HangUp::None, Ahead::Data) => Interest::Ended,
                (HangUp::None | HangUp::Broken, _) => return Ok(()),
                (HangUp::Ended, _) => match half {
                    Half::Leaves => return Ok(()),
                    Half::LeavesIfSilent if ahead != Ahead::Data => return Ok(()),
                    Half::LeavesIfSilent | Half::Stays => return self.breaking().await,
                },
            };
        }
    }

    /// Waits until the connection is broken. The state is checked at intervals, because neither a ring nor epoll
    /// waits for an error alone once the other end has ended its direction.
    ///
    /// # Errors
    /// The error that broke it.
    pub(super) async fn breaking(&self) -> io::Result<()> {
        while hang_up(self.watched.as_fd()) != HangUp::Broken {
            sleep(BREAKING_PAUSE).await;
        }
        self.take_error()
    }

    /// Tells what has come; takes records that hold nothing for the application.
    fn look_ahead(&self, half: Half) -> io::Result<Ahead> {
        let stream = match half {
            Half::Leaves | Half::LeavesIfSilent => self.tls_stream(),
            // The end of its session makes no difference.
            Half::Stays => None,
        };
        let Some(stream) = stream else {
            let has_bytes = self.has_bytes();
            return Ok(if has_bytes {
                Ahead::Data
            } else {
                Ahead::Nothing
            });
        };
        let stream = &mut *stream.borrow_mut();
        let ahead = loop {
            let ahead = stream.look_ahead();
            if stream.refuse_handshake() {
                // If the alert cannot be sent now, it goes out with what follows.
                let _ = self.send_outbox_now(stream);
            }
            match ahead {
                Ok(Ahead::Nothing) => {}
                Ok(ahead @ (Ahead::Data | Ahead::End)) => break ahead,
                Err(error) => {
                    // Whether the alert is sent or not, the error is the same.
                    let _ = self.send_outbox_now(stream);
                    return Err(error);
                }
            }
            if !matches!(self.recv_records_now(stream)?, Some(1..)) {
                break Ahead::Nothing;
            }
        };
        stream.rest();
        Ok(ahead)
    }

    /// Tells whether bytes wait to be received.
    fn has_bytes(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        recv(self.watched.as_fd().as_raw_fd(), &mut [0], flags) == Ok(1)
    }

    /// Returns the address of our end.
    #[must_use]
    pub(super) fn local(&self) -> PeerAddr {
        *self.local.get_or_init(|| {
            let local = SockRef::from(&self.watched).local_addr().ok();
            local
                .and_then(|addr| addr.as_socket())
                .map_or(PeerAddr::Unix, PeerAddr::from)
        })
    }

    /// Returns the error the kernel holds for the socket, and clears it.
    ///
    /// # Errors
    /// That error.
    pub(super) fn take_error(&self) -> io::Result<()> {
        SockRef::from(&self.watched)
            .take_error()?
            .map_or(Ok(()), Err)
    }

    /// Ends our direction, lets the other end read everything, and closes. Limited in time and bytes.
    pub(super) async fn close_gently(self) {
        self.notify();
        if SockRef::from(&self.watched)
            .shutdown(Shutdown::Write)
            .is_err()
        {
            return;
        }
        let deadline = Instant::now() + LINGER_TIME;
        let mut scratch = vec![0; LINGER_READ_LEN_BYTES];
        let mut drained = 0;
        while drained < LINGER_LEN_BYTES_MAX {
            let deadline = deadline.min(Instant::now() + LINGER_SILENCE);
            match timeout_at(deadline, self.recv_raw(&mut scratch)).await {
                Ok(Ok(received)) if received > 0 => drained += received,
                Ok(_) | Err(_) => break,
            }
        }
    }

    /// Sends close_notify, if the connection speaks TLS.
    pub(super) fn notify(&self) {
        if let Some(stream) = self.tls_stream() {
            let stream = &mut *stream.borrow_mut();
            stream.seal_alert(Alert::CloseNotify);
            // If it cannot be sent now, the peer sees an end without close_notify.
            let _ = self.send_outbox_now(stream);
        }
    }

    /// Closes with a reset like [`Socket::reset`], after everything before it was sent; limited in time. A
    /// reset alone discards unsent data, complete answers included.
    pub(super) async fn reset_behind(self) {
        // With this minimum, "writable" means that nothing is left unsent.
        if SockRef::from(&self.watched)
            .set_tcp_notsent_lowat(1)
            .is_ok()
        {
            let sent = async {
                if self.watched.sees_the_past() {
                    // A wait in flight may have begun before that.
                    self.wait(Interest::Writable).await?;
                }
                self.watched.forget();
                self.wait(Interest::Writable).await
            };
            let deadline = Instant::now() + RESET_TIME;
            // After a time-out or an error the connection is reset as well.
            let _ = timeout_at(deadline, sent).await;
        }
        self.reset().await;
    }

    /// Closes with a reset, so that the other end cannot take what it got for complete.
    pub(super) async fn reset(self) {
        // If the option cannot be set, the close is an orderly one.
        let _ = SockRef::from(&self.watched).set_linger(Some(Duration::ZERO));
        // Dropping it with a wait in flight would shut it down first, which sends an orderly end.
        drop(self.watched.release().await);
    }

    /// Receives bytes to be discarded.
    async fn recv_raw(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.recv_bytes_now(buf)? {
                Some(received) => return Ok(received),
                None => self.wait(Interest::Readable).await?,
            }
        }
    }

    /// Returns the descriptor, without waits in flight.
    pub(super) async fn into_fd(self) -> OwnedFd {
        self.watched.release().await
    }

    /// Takes the connection apart for relay, as the `end` of a tunnel.
    pub(super) async fn detach(mut self, end: End) -> Detached {
        let (leg, unread) = match self.tls.take() {
            None => (None, Vec::new()),
            Some(tls) => {
                let (leg, opened) = tls.stream.into_inner().into_parts(end, tls.wish);
                (Some(Box::new(leg)), opened)
            }
        };
        let fd = self.into_fd().await;
        Detached { fd, leg, unread }
    }
}

/// A connection that left reception.
pub(super) struct Detached {
    /// Its descriptor, without waits in flight.
    pub(super) fd: OwnedFd,
    /// Its TLS session, if it speaks TLS.
    pub(super) leg: Option<Box<Leg>>,
    /// Data that was received and that no caller took.
    pub(super) unread: Vec<u8>,
}
