//! A connection in reception: direct non-blocking calls, waiting only when they say "not now".

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
use crate::sys::stream::{self, HangUp};
use crate::tls::control::Alert;
use crate::tls::handshake::Established;
use crate::tls::offload::Offload;
use crate::tls::terms::Terms;
use driver::{Driver, Interest, WatchedSocket};
use tls::TlsStream;

/// How long a client may go on sending after our last word, in all and between two bytes, and how
/// much: closing earlier would reset the connection and could take that word away from it.
const LINGER_TIME: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(2);
const LINGER_LEN_BYTES_MAX: usize = 64 * 1024 * 1024;
const LINGER_READ_LEN_BYTES: usize = 16 * 1024;
/// How long what was said before a reset may take to be sent.
const RESET_TIME: Duration = Duration::from_secs(10);
/// How often it is looked whether a client has left that has sent something ahead.
const LEAVING_PAUSE: Duration = Duration::from_millis(250);
/// Bytes of records asked for at once.
const RECORDS_LEN_BYTES: usize = 16 * 1024;
/// Bytes of data sealed at once.
const SEALED_LEN_BYTES: usize = 64 * 1024;

/// One end of a connection.
pub(super) struct Socket {
    /// The descriptor, and waiting for it.
    readiness: WatchedSocket,
    /// Present after a TLS handshake.
    tls: Option<Box<Tls>>,
    /// The address of our end, once somebody asked.
    local: OnceCell<PeerAddr>,
}

/// What it means that a client which waits has ended its own direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// It has left: what it asked is of no use to anybody else.
    Leaves,
    /// It has left, unless it said something first that is still to reach the server.
    LeavesIfSilent,
    /// It still reads.
    Stays,
}

/// A TLS connection.
struct Tls {
    terms: Terms,
    /// What relay is to do with its records.
    wish: Offload,
    /// Never borrowed across a wait.
    guard: RefCell<TlsStream>,
}

impl Socket {
    /// Takes a non-blocking stream socket.
    #[must_use]
    pub(super) fn new(fd: OwnedFd, driver: Driver) -> Self {
        Self {
            readiness: WatchedSocket::new(driver, fd),
            tls: None,
            local: OnceCell::new(),
        }
    }

    /// From now on everything goes through the session of a handshake; `wish` is what relay is to do
    /// with its records.
    pub(super) fn protect(&mut self, established: Established, wish: Offload) {
        let guard = TlsStream::new(established.session, established.received);
        self.tls = Some(Box::new(Tls {
            terms: established.terms,
            wish,
            guard: RefCell::new(guard),
        }));
    }

    /// Returns what the TLS handshake settled; none = plain bytes.
    #[must_use]
    pub(super) fn terms(&self) -> Option<&Terms> {
        self.tls.as_ref().map(|tls| &tls.terms)
    }

    fn guard(&self) -> Option<&RefCell<TlsStream>> {
        self.tls.as_ref().map(|tls| &tls.guard)
    }

    /// Receives into `buf` what is there; none = nothing yet, 0 = the other end has ended.
    ///
    /// # Errors
    /// What recv(2) says, or what is wrong with a record.
    fn recv_now(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(guard) = self.guard() else {
            return self.recv_bytes_now(buf);
        };
        let guard = &mut *guard.borrow_mut();
        loop {
            match guard.take(buf) {
                Ok(None) => {}
                Ok(taken) => return Ok(taken),
                Err(error) => {
                    // The alert is a courtesy; what matters is the error.
                    let _ = self.send_outbox_now(guard);
                    return Err(error);
                }
            }
            let received = self.recv_records_now(guard);
            match received {
                Ok(Some(1..)) => {}
                Ok(Some(0) | None) | Err(_) => {
                    guard.rest();
                    return received;
                }
            }
        }
    }

    /// Receives records, or parts of them, into `guard`; as [`Socket::recv_bytes_now`].
    fn recv_records_now(&self, guard: &mut TlsStream) -> io::Result<Option<usize>> {
        let records = guard.received();
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
                self.readiness.as_fd().as_raw_fd(),
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
    /// A caller that stops waiting finds `buf` as it was: the room for what may come is made after
    /// each wait and taken back before the next, so that an empty `buf` holds no memory meanwhile.
    ///
    /// # Errors
    /// What recv(2) says, or what is wrong with a record.
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

    /// Waits until something may have come, where that costs less than a try that finds nothing; for
    /// callers who have reason to think that nothing is there yet.
    ///
    /// # Errors
    /// See [`WatchedSocket::wait`].
    pub(super) async fn await_bytes(&self) -> io::Result<()> {
        // What a TLS session holds already makes no socket readable.
        if self.tls.is_none() && self.readiness.sees_the_past() {
            self.wait(Interest::Readable).await?;
        }
        Ok(())
    }

    /// Receives what is there into the front of `buf`, at most `len` bytes, and returns how many; 0 =
    /// the other end has ended. What `buf` held is lost. While it waits it holds no memory.
    ///
    /// # Errors
    /// What recv(2) says, or what is wrong with a record.
    pub(super) async fn recv_over(&self, buf: &mut Vec<u8>, len: usize) -> io::Result<usize> {
        loop {
            // Zeroes are written into fresh memory only, not before each receive.
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

    /// Tells whether nothing has come, not even an end, since all was received. Over TLS, records that
    /// carry no data (tickets, new keys) are nothing; part of one may be anything.
    #[must_use]
    pub(super) fn is_quiet(&self) -> bool {
        if let Some(guard) = self.guard() {
            let guard = &mut *guard.borrow_mut();
            while guard.is_quiet() {
                match self.recv_records_now(guard) {
                    Ok(Some(1..)) => {}
                    Ok(None) => {
                        guard.rest();
                        return !guard.holds_part();
                    }
                    Ok(Some(0)) | Err(_) => return false,
                }
            }
            return false;
        }
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        recv(self.readiness.as_fd().as_raw_fd(), &mut [0], flags) == Err(nix::Error::EAGAIN)
    }

    /// Tells, of a connection whose end was received, whether it came without close_notify where TLS is
    /// spoken: then nobody knows whether the other end had said all.
    #[must_use]
    pub(super) fn is_truncated(&self) -> bool {
        self.guard()
            .is_some_and(|guard| !guard.borrow().has_ended())
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// What send(2) says; EPIPE and ECONNRESET when the other end is gone.
    pub(super) async fn send_all(&self, data: &[u8]) -> io::Result<()> {
        let Some(guard) = self.guard() else {
            return self.send_bytes(data).await;
        };
        for piece in data.chunks(SEALED_LEN_BYTES) {
            guard.borrow_mut().seal(piece)?;
            while !self.send_outbox_now(&mut guard.borrow_mut())? {
                self.wait(Interest::Writable).await?;
            }
        }
        Ok(())
    }

    /// Sends what is sealed, as far as that goes without waiting; true = all of it.
    fn send_outbox_now(&self, guard: &mut TlsStream) -> io::Result<bool> {
        let outbox = &mut guard.outbox;
        while !outbox.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.readiness.as_fd().as_raw_fd(), outbox, flags) {
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
            match send(self.readiness.as_fd().as_raw_fd(), data, flags) {
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
        self.readiness.wait(interest).await
    }

    /// Waits until the other end has ended or broken, while nothing is wanted from it; never reads.
    ///
    /// What it has sent already and nobody has read yet says nothing, so then time tells.
    pub(super) async fn leaving(&self, half: Half) {
        // Readable is what an end makes it too; an error is an end.
        let waited = self.wait(Interest::Readable).await;
        while waited.is_ok() && !self.has_left(half) {
            sleep(LEAVING_PAUSE).await;
        }
    }

    fn has_left(&self, half: Half) -> bool {
        match stream::hang_up(self.readiness.as_fd()) {
            HangUp::None => false,
            HangUp::Broken => true,
            HangUp::Ended => match half {
                Half::Leaves => true,
                Half::LeavesIfSilent => !self.has_bytes(),
                Half::Stays => false,
            },
        }
    }

    /// Tells whether bytes have come that nobody has received.
    fn has_bytes(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        recv(self.readiness.as_fd().as_raw_fd(), &mut [0], flags) == Ok(1)
    }

    /// Returns the address of our end.
    #[must_use]
    pub(super) fn local(&self) -> PeerAddr {
        *self.local.get_or_init(|| {
            let local = SockRef::from(&self.readiness).local_addr().ok();
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
        SockRef::from(&self.readiness)
            .take_error()?
            .map_or(Ok(()), Err)
    }

    /// Ends our direction, lets the other end read it all, and closes; bounded in time and bytes.
    pub(super) async fn close_gently(self) {
        self.notify();
        if SockRef::from(&self.readiness)
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

    /// Says close_notify, where TLS is spoken.
    pub(super) fn notify(&self) {
        if let Some(guard) = self.guard() {
            let guard = &mut *guard.borrow_mut();
            guard.seal_alert(Alert::CloseNotify);
            // What does not fit now is lost; the peer then sees an end without close_notify.
            let _ = self.send_outbox_now(guard);
        }
    }

    /// Closes with a reset like [`Socket::reset`], after all that was said before it has been sent;
    /// bounded in time. A reset alone takes away what still waits here, whole answers among it.
    pub(super) async fn reset_behind(self) {
        // With this least, "writable" means that nothing is left unsent.
        if SockRef::from(&self.readiness)
            .set_tcp_notsent_lowat(1)
            .is_ok()
        {
            let sent = async {
                if self.readiness.sees_the_past() {
                    // One that is in flight may have begun with another meaning of the word.
                    self.wait(Interest::Writable).await?;
                }
                self.readiness.forget();
                self.wait(Interest::Writable).await
            };
            let deadline = Instant::now() + RESET_TIME;
            // Late or broken, it ends the same way.
            let _ = timeout_at(deadline, sent).await;
        }
        self.reset().await;
    }

    /// Closes with a reset, so that the other end cannot take what it got for the whole.
    pub(super) async fn reset(self) {
        // Without the option the close is an orderly one, which is all that is left then.
        let _ = SockRef::from(&self.readiness).set_linger(Some(Duration::ZERO));
        // Dropped with a wait in flight it would be shut down first, which sends an orderly end.
        drop(self.readiness.release().await);
    }

    /// Receives bytes that nobody will look at.
    async fn recv_raw(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.recv_bytes_now(buf)? {
                Some(received) => return Ok(received),
                None => self.wait(Interest::Readable).await?,
            }
        }
    }

    /// Gives the descriptor away; nothing in here refers to the file any more.
    pub(super) async fn into_fd(self) -> OwnedFd {
        self.readiness.release().await
    }

    /// Gives the descriptor of the tunnel's `end` away with its session, if it speaks TLS, and the data
    /// that was received and not taken.
    pub(super) async fn into_parts(mut self, end: End) -> (OwnedFd, Option<Box<Leg>>, Vec<u8>) {
        match self.tls.take() {
            None => (self.into_fd().await, None, Vec::new()),
            Some(tls) => {
                let (leg, opened) = tls.guard.into_inner().into_parts(end, tls.wish);
                (self.into_fd().await, Some(Box::new(leg)), opened)
            }
        }
    }
}
