//! Idle connections to servers, kept for the next request of the same client connection. No other client
//! connection uses them, so no client can receive what a server sends to another.
//!
//! Every request is balanced on its own. A kept connection is used if it leads to the chosen server. With
//! `source` that is always the same one; with `round_robin` a client connection keeps up to one connection
//! per server, up to the limit here.
//!
//! A connection that the server authenticates (NTLM, Negotiate) is bound instead: the requests of its client
//! to this backend stay on it, whatever `balance` says, and no other client's request gets it, even if a
//! trusted proxy sends both on one connection. It and the client's connection end together, as if the client
//! spoke to the server directly: the client then authenticates anew, on a new connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::super::snapshot::Snapshot;
use super::super::socket::Socket;
use super::super::socket::driver::Interest;
use crate::config::BackendId;
use crate::proto::addr::PeerAddr;
use crate::upstream::client_tls::TlsEdition;
use crate::upstream::{Member, MemberId, Upstream};

/// Maximum number of kept connections, and of bound ones. Beyond it, the one unused for the longest time is
/// closed.
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
    /// With which files of `[backend.tls]` it was made; none = plain. Others need another connection.
    pub(super) tls: Option<TlsEdition>,
}

impl Destination {
    /// Tells whether `self` was made with files that `wanted` has replaced.
    fn is_outdated_by(&self, wanted: &Self) -> bool {
        (self.backend, self.member) == (wanted.backend, wanted.member) && self.tls != wanted.tls
    }
}

/// The idle server connections of one client connection, the last used one last.
#[derive(Default)]
pub(super) struct Kept {
    idle: Vec<(Destination, Socket)>,
    bound: Vec<Bound>,
}

/// An idle connection that its server authenticates.
pub(super) struct Bound {
    /// The backend. A reload may change its configuration meanwhile.
    pub(super) upstream: Arc<Upstream>,
    /// The server.
    pub(super) member: Arc<Member>,
    /// The client whose requests stay on it.
    pub(super) client: PeerAddr,
    /// The connection.
    pub(super) socket: Socket,
}

impl Kept {
    /// Takes out the connection to `destination`, if there is one on which nothing was received.
    ///
    /// What a server sends without a request, its end included, makes a connection unusable: the bytes
    /// could be taken for the next answer.
    pub(super) fn take(&mut self, destination: Destination) -> Option<Socket> {
        self.idle.retain(|(kept, socket)| {
            let outdated = kept.is_outdated_by(&destination);
            if outdated {
                socket.notify();
            }
            !outdated
        });
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

    /// Returns the server that has to get the requests of `client` to a backend, if one has.
    pub(super) fn bound_to(
        &self,
        upstream: &Arc<Upstream>,
        client: PeerAddr,
    ) -> Option<Arc<Member>> {
        let at = self.position(upstream, client)?;
        Some(Arc::clone(&self.bound.get(at)?.member))
    }

    /// Takes out the connection to that server; none = something was received on it without a request.
    pub(super) fn take_bound(
        &mut self,
        upstream: &Arc<Upstream>,
        client: PeerAddr,
    ) -> Option<Socket> {
        let at = self.position(upstream, client)?;
        let Bound { socket, .. } = self.bound.remove(at);
        socket.is_quiet().then_some(socket)
    }

    fn position(&self, upstream: &Arc<Upstream>, client: PeerAddr) -> Option<usize> {
        let is_it = |it: &Bound| Arc::ptr_eq(&it.upstream, upstream) && it.client == client;
        self.bound.iter().position(is_it)
    }

    /// Keeps a connection that its server authenticates.
    pub(super) fn bind(&mut self, bound: Bound) {
        if self.bound.len() >= KEPT_MAX {
            let oldest = self.bound.remove(0);
            oldest.socket.notify();
        }
        self.bound.push(bound);
    }

    /// Closes those that were made for the routes of another configuration than `snapshot`. Bound ones stay as
    /// long as their backend, like tunnels.
    pub(super) fn renew(&mut self, snapshot: &Snapshot) {
        self.idle.clear();
        let upstreams = &snapshot.upstreams;
        let stays = |it: &Bound| upstreams.iter().any(|one| Arc::ptr_eq(one, &it.upstream));
        self.bound.retain(stays);
    }

    /// Closes each connection on which something is received, as long as it is polled. Ends with the first
    /// bound one: its client's connection is to end as well.
    pub(super) async fn watch(&mut self) {
        poll_fn(|cx| {
            self.idle.retain(|(_, socket)| stays_quiet(socket, cx));
            match self.bound.iter().all(|it| stays_quiet(&it.socket, cx)) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let bound = self.bound.iter().map(|it| &it.socket);
        for socket in self.idle.iter().map(|(_, socket)| socket).chain(bound) {
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
