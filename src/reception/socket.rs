//! A connection in reception: direct non-blocking calls, waiting only when they say "not now".

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv, send};
use socket2::SockRef;
use tokio::time::{Instant, timeout_at};

use super::driver::{Driver, Interest, Readiness};
use crate::proto::addr::PeerAddr;

/// How long a client may go on sending after our last word, in all and between two bytes, and how
/// much: closing earlier would reset the connection and could take that word away from it.
const LINGER_TIME: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(2);
const LINGER_LEN_BYTES_MAX: usize = 64 * 1024 * 1024;
const LINGER_READ_LEN_BYTES: usize = 16 * 1024;

/// One end of a connection.
pub(super) struct Socket {
    // Dropped in this order, see `Readiness`.
    readiness: Readiness,
    fd: OwnedFd,
}

impl Socket {
    /// Takes a non-blocking stream socket.
    #[must_use]
    pub(super) fn new(fd: OwnedFd, driver: Driver) -> Self {
        Self {
            readiness: Readiness::new(driver, fd.as_fd()),
            fd,
        }
    }

    /// Receives once into `buf`; 0 = the other end has ended.
    ///
    /// # Errors
    /// What recv(2) says.
    pub(super) async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(self.fd.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT) {
                Err(nix::Error::EAGAIN) => self.wait(Interest::Readable).await?,
                Err(nix::Error::EINTR) => {}
                other => return other.map_err(io::Error::from),
            }
        }
    }

    /// Receives once more at the end of `buf`, at most `more` bytes; 0 = the other end has ended.
    ///
    /// A caller that stops waiting finds `buf` as it was: the room for what may come is made after
    /// each wait and taken back before the next, so that an empty `buf` holds no memory meanwhile.
    ///
    /// # Errors
    /// What recv(2) says.
    pub(super) async fn recv_onto(&self, buf: &mut Vec<u8>, more: usize) -> io::Result<usize> {
        let len = buf.len();
        loop {
            buf.resize(len + more, 0);
            let room = buf.get_mut(len..).unwrap_or_default();
            let received = recv(self.fd.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT);
            buf.truncate(len + received.unwrap_or(0));
            match received {
                Err(nix::Error::EAGAIN) => {
                    if buf.is_empty() {
                        *buf = Vec::new();
                    }
                    self.wait(Interest::Readable).await?;
                }
                Err(nix::Error::EINTR) => {}
                other => return other.map_err(io::Error::from),
            }
        }
    }

    /// Tells whether nothing has come, not even an end, since all was received.
    #[must_use]
    pub(super) fn is_quiet(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        recv(self.fd.as_raw_fd(), &mut [0], flags) == Err(nix::Error::EAGAIN)
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// What send(2) says; EPIPE and ECONNRESET when the other end is gone.
    pub(super) async fn send_all(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.fd.as_raw_fd(), data, flags) {
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
    /// See [`Readiness::wait`].
    pub(super) async fn wait(&self, interest: Interest) -> io::Result<()> {
        self.readiness.wait(self.fd.as_fd(), interest).await
    }

    /// Returns the address of our end.
    #[must_use]
    pub(super) fn local(&self) -> PeerAddr {
        let local = SockRef::from(&self.fd).local_addr().ok();
        local
            .and_then(|addr| addr.as_socket())
            .map_or(PeerAddr::Unix, PeerAddr::from)
    }

    /// Returns the error the kernel holds for the socket, and clears it.
    ///
    /// # Errors
    /// That error.
    pub(super) fn take_error(&self) -> io::Result<()> {
        SockRef::from(&self.fd).take_error()?.map_or(Ok(()), Err)
    }

    /// Ends our direction, lets the other end read it all, and closes; bounded in time and bytes.
    pub(super) async fn close_gently(self) {
        if SockRef::from(&self.fd).shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + LINGER_TIME;
        let mut scratch = vec![0; LINGER_READ_LEN_BYTES];
        let mut drained = 0;
        while drained < LINGER_LEN_BYTES_MAX {
            let deadline = deadline.min(Instant::now() + LINGER_SILENCE);
            match timeout_at(deadline, self.recv(&mut scratch)).await {
                Ok(Ok(received)) if received > 0 => drained += received,
                Ok(_) | Err(_) => break,
            }
        }
    }

    /// Closes with a reset, so that the other end cannot take what it got for the whole.
    pub(super) fn reset(self) {
        // Without the option the close is an orderly one, which is all that is left then.
        let _ = SockRef::from(&self.fd).set_linger(Some(Duration::ZERO));
    }

    /// Gives the descriptor away; nothing in here refers to the file any more.
    pub(super) async fn into_fd(self) -> OwnedFd {
        self.readiness.release().await;
        self.fd
    }
}
