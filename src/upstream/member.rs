//! A server as requests meet it: where it is, how it is spoken to, and what it is doing now.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::client_tls::TlsToServer;
use super::record::Record;
use crate::balance::Load;
use crate::config::BackendServer;

/// Consecutive connections that could not be opened until a server is suspect.
pub const SUSPECT_FAILURES: u32 = 3;

/// Where a member is, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Tells members apart for as long as the process lives, whatever becomes of their configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(u64);

/// One address of one server of a backend.
///
/// Nothing in it changes but what [`Traffic`] counts: a change of configuration makes a new member
/// with the same traffic.
#[derive(Debug)]
pub struct Member {
    /// Name in logs and metrics: the address as configured, and which of its addresses when a name
    /// has several.
    pub name: Arc<str>,
    /// What the configuration says of it.
    pub server: BackendServer,
    /// How it is spoken to over TLS; none = in the clear.
    pub tls: Option<Arc<TlsToServer>>,
    /// Where it is.
    pub address: Address,
    /// What it is doing.
    pub traffic: Arc<Traffic>,
    /// What checks have found out about it.
    pub record: Arc<Record>,
}

impl Member {
    /// Makes a member that nothing has happened to yet.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        server: BackendServer,
        tls: Option<Arc<TlsToServer>>,
        address: Address,
    ) -> Self {
        Self {
            name,
            server,
            tls,
            address,
            traffic: Arc::new(Traffic::new()),
            record: Arc::default(),
        }
    }

    /// Returns the same member under another configuration of its server.
    #[must_use]
    pub(super) fn under(&self, server: &BackendServer, tls: Option<Arc<TlsToServer>>) -> Self {
        Self {
            name: Arc::clone(&self.name),
            server: server.clone(),
            tls,
            address: self.address.clone(),
            traffic: Arc::clone(&self.traffic),
            record: Arc::clone(&self.record),
        }
    }

    /// Returns what tells it apart from every other member.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.traffic.id
    }

    /// Returns what a choice depends on.
    #[must_use]
    pub(super) fn load(&self, tried: &[MemberId]) -> Load {
        if tried.contains(&self.id()) {
            return Load::Tried;
        }
        let active = self.traffic.active();
        if active < self.places() {
            Load::Active(active)
        } else {
            Load::Full(active)
        }
    }

    fn places(&self) -> u32 {
        let limit = self.server.max_connections;
        limit.map_or(u32::MAX, |limit| {
            u32::try_from(limit.get()).unwrap_or(u32::MAX)
        })
    }

    /// Takes a place, if one is left; two threads never take the same one.
    fn take_place(&self) -> bool {
        let places = self.places();
        let more = |active: u32| (active < places).then(|| active.saturating_add(1));
        self.traffic
            .active
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
    }
}

/// A place at a member that is taken, given back by being dropped. It knows of no queue.
#[derive(Debug)]
pub(super) struct Place {
    member: Arc<Member>,
    edition: u32,
}

impl Place {
    /// Takes a place at `member`, as a line-up of this `edition` had it; none when it is full.
    pub(super) fn take(member: &Arc<Member>, edition: u32) -> Option<Self> {
        member.take_place().then(|| Self {
            member: Arc::clone(member),
            edition,
        })
    }

    /// Returns whose it is.
    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Returns which configuration of the backend it was given by.
    pub(super) fn edition(&self) -> u32 {
        self.edition
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.member.traffic.active.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What an operator wants of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It serves.
    Serves,
    /// It runs empty, and no other address of its server.
    Drained,
    /// Its server runs empty, wherever its name points to.
    ServerDrained,
}

/// What a member is doing, counted by all threads.
#[derive(Debug)]
pub struct Traffic {
    id: MemberId,
    active: AtomicU32,
    connected: AtomicU64,
    refused: AtomicU64,
    refused_in_a_row: AtomicU32,
    /// As [`Wish`].
    wish: AtomicU8,
    /// Whose turn it is among the addresses of ours.
    source_turn: AtomicUsize,
}

impl Traffic {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: MemberId(NEXT.fetch_add(1, Ordering::Relaxed)),
            active: AtomicU32::new(0),
            connected: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            refused_in_a_row: AtomicU32::new(0),
            wish: AtomicU8::new(Wish::Serves as u8),
            source_turn: AtomicUsize::new(0),
        }
    }

    /// Returns how many requests and tunnels it has now; idle connections that are kept for the next
    /// request do not count.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::SeqCst)
    }

    /// Returns how many connections to it were opened.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Returns how many connections to it could not be opened.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    /// Returns how many of those came one after the other, up to now.
    #[must_use]
    pub fn refused_in_a_row(&self) -> u32 {
        self.refused_in_a_row.load(Ordering::Relaxed)
    }

    /// Returns whether an operator wants it to run empty.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.wish() != Wish::Serves
    }

    /// Returns what an operator wants of it.
    #[must_use]
    pub fn wish(&self) -> Wish {
        let wish = self.wish.load(Ordering::Relaxed);
        let all = [Wish::Serves, Wish::Drained, Wish::ServerDrained];
        let found = all.into_iter().find(|it| *it as u8 == wish);
        found.unwrap_or(Wish::Serves)
    }

    /// Has an operator's wish obeyed from the next line-up on.
    pub fn set_wish(&self, wish: Wish) {
        self.wish.store(wish as u8, Ordering::Relaxed);
    }

    /// Draws whose turn it is among the addresses of ours that connections to it come from.
    #[must_use]
    pub fn next_source(&self) -> usize {
        self.source_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes note of a connection that was opened.
    pub fn note_connected(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
        // The line stays shared between threads while all is well.
        if self.refused_in_a_row() > 0 {
            self.refused_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of a connection that could not be opened; true = it may be suspect.
    #[must_use]
    pub fn note_refused(&self) -> bool {
        // In this order, so that whoever has read how many there are finds them in a row as well.
        let before = self.refused_in_a_row.fetch_add(1, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Release);
        before + 1 >= SUSPECT_FAILURES
    }
}
