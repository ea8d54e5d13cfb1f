//! Idle connections to servers, kept for the next request of the same client connection; they are
//! never lent to another one, so no client can meet what a server says to somebody else.
//!
//! The balancing decides anew for every request, and a kept connection is used when it leads to the
//! server whose turn it is. With `source` that is always the same one; with `round_robin` a client
//! connection comes to keep one connection for each server, up to the limit here.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use super::super::socket::Socket;
use super::super::socket::driver::Interest;
use crate::config::BackendId;
use crate::proto::addr::PeerAddr;
use crate::upstream::MemberId;

/// Connections kept at most; beyond, the one that was used longest ago is closed.
const KEPT_MAX: usize = 4;

/// Which server a connection leads to, and what it was told when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Destination {
    /// The backend.
    pub(super) backend: BackendId,
    /// The server.
    pub(super) member: MemberId,
    /// Whom the PROXY header named, if one was sent; another client needs another connection.
    pub(super) introduced: Option<PeerAddr>,
}

/// The idle server connections of one client connection, the latest last.
#[derive(Default)]
pub(super) struct Kept {
    idle: Vec<(Destination, Socket)>,
}

impl Kept {
    /// Takes out the connection to `destination`, if there is one that nothing has come on.
    ///
    /// What a server says unasked, its end included, makes a connection useless: nobody could tell
    /// those bytes from the next answer.
    pub(super) fn take(&mut self, destination: Destination) -> Option<Socket> {
        let at = self
            .idle
            .iter()
            .position(|(kept, _)| *kept == destination)?;
        let (_, socket) = self.idle.remove(at);
        socket.is_quiet().then_some(socket)
    }

    /// Keeps a connection whose last answer is complete.
    pub(super) fn keep(&mut self, destination: Destination, socket: Socket) {
        if self.idle.len() >= KEPT_MAX {
            let (_, oldest) = self.idle.remove(0);
            oldest.notify();
        }
        self.idle.push((destination, socket));
    }

    /// Closes all of them.
    pub(super) fn clear(&mut self) {
        self.idle.clear();
    }

    /// Closes connections when something comes on them, for as long as it is polled; never ends.
    pub(super) async fn watch(&mut self) {
        poll_fn(|cx| {
            self.idle.retain(|(_, socket)| stays_quiet(socket, cx));
            Poll::<()>::Pending
        })
        .await;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (_, socket) in &self.idle {
            socket.notify();
        }
    }
}

/// Looks whether something has come, and has `cx` woken when something comes.
fn stays_quiet(socket: &Socket, cx: &mut Context<'_>) -> bool {
    loop {
        // A wait that is dropped stays in flight in the socket and is taken up by the next one.
        match pin!(socket.wait(Interest::Readable)).poll(cx) {
            Poll::Pending => return true,
            Poll::Ready(Ok(())) if socket.is_quiet() => {}
            Poll::Ready(_) => return false,
        }
    }
}
