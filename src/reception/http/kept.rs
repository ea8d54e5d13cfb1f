//! Idle connections to servers, kept for the next request of the same client connection. No other client
//! connection uses them, so no client can receive what a server sends to another.
//!
//! Every request is balanced on its own. A kept connection is used if it leads to the chosen server. With
//! `source` that is always the same one; with `round_robin` a client connection keeps up to one connection
//! per server, up to the limit here.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use super::super::socket::Socket;
use super::super::socket::driver::Interest;
use crate::config::BackendId;
use crate::proto::addr::PeerAddr;
use crate::upstream::MemberId;

/// Maximum number of kept connections. Beyond it, the one unused for the longest time is closed.
const KEPT_MAX: usize = 4;

/// The server that a connection leads to, and the client that its PROXY header named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Destination {
    /// The backend.
    pub(super) backend: BackendId,
    /// The server.
    pub(super) member: MemberId,
    /// The client in the PROXY header, if one was sent; another client needs another connection.
    pub(super) introduced: Option<PeerAddr>,
}

/// The idle server connections of one client connection, the last used one last.
#[derive(Default)]
pub(super) struct Kept {
    idle: Vec<(Destination, Socket)>,
}

impl Kept {
    /// Takes out the connection to `destination`, if there is one on which nothing was received.
    ///
    /// What a server sends without a request, its end included, makes a connection unusable: the bytes
    /// could be taken for the next answer.
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

    /// Closes each connection on which something is received, as long as it is polled. Never ends.
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

/// Tells whether nothing was received, and has `cx` woken when something is.
fn stays_quiet(socket: &Socket, cx: &mut Context<'_>) -> bool {
    loop {
        // A dropped wait stays in flight in the socket, and the next wait takes it over.
        match pin!(socket.wait(Interest::Readable)).poll(cx) {
            Poll::Pending => return true,
            Poll::Ready(Ok(())) if socket.is_quiet() => {}
            Poll::Ready(_) => return false,
        }
    }
}
