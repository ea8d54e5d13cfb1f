//! A member: one address of a server, with its settings and its current load.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::client_tls::TlsToServer;
use super::record::Record;
use crate::balance::Load;
use crate::config::{BackendServer, ServerAddress};

/// Consecutive failed connections after which a server is suspect.
pub const SUSPECT_FAILURES: u32 = 3;

/// The resolved address of a member.
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

/// Identifies a member for the life of the process, across changes of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(u64);

/// One address of one server of a backend.
///
/// Only the counters of [`Traffic`] change: a change of configuration makes a new member with the same
/// traffic.
#[derive(Debug)]
pub struct Member {
    /// Name in logs and metrics: the address as configured, and the member's own address if a name has
    /// several.
    pub name: Arc<str>,
    /// The configuration of the server.
    pub server: BackendServer,
    /// TLS settings; none = plain.
    pub tls: Option<Arc<TlsToServer>>,
    /// The resolved address.
    pub address: Address,
    /// Load, counters and the operator's wish.
    pub traffic: Arc<Traffic>,
    /// Results of its checks.
    pub record: Arc<Record>,
}

impl Member {
    /// Returns the host in requests that name none: the server's name with its port, its address, or
    /// `localhost` for a unix socket.
    #[must_use]
    pub fn host(&self) -> String {
        match (&self.server.address, &self.address) {
            (ServerAddress::Name(name, port), _) => format!("{name}:{port}"),
            (_, Address::Inet(addr)) => addr.to_string(),
            (_, Address::Unix(_)) => "localhost".to_owned(),
        }
    }

    /// Makes a new member without history.
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

    /// Returns the same member with another configuration of its server.
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

    /// Returns the number that identifies it.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.traffic.id
    }

    /// Returns the load on which a choice depends.
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

/// A taken place at a member, given back when dropped. It does not serve the queue.
#[derive(Debug)]
pub(super) struct Place {
    member: Arc<Member>,
    edition: u32,
}

impl Place {
    /// Takes a place at `member`, for a line-up of this `edition`; none if the member is full.
    pub(super) fn take(member: &Arc<Member>, edition: u32) -> Option<Self> {
        member.take_place().then(|| Self {
            member: Arc::clone(member),
            edition,
        })
    }

    /// Returns the member that granted the place.
    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Returns the edition of the line-up that granted the place.
    pub(super) fn edition(&self) -> u32 {
        self.edition
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.member.traffic.active.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the operator wants of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It takes new connections.
    Serves,
    /// This address is drained, other addresses of its server are not.
    Drained,
    /// Its server is drained, whatever its addresses.
    ServerDrained,
}

/// The load and counters of a member, shared by all threads.
#[derive(Debug)]
pub struct Traffic {
    id: MemberId,
    active: AtomicU32,
    connected: AtomicU64,
    refused: AtomicU64,
    refused_in_a_row: AtomicU32,
    /// A [`Wish`].
    wish: AtomicU8,
    /// Counter by which local addresses take turns.
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

    /// Returns how many requests and tunnels it has now; idle connections kept for the next
    /// request do not count.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::SeqCst)
    }

    /// Returns how many connections to the member were opened.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Returns how many connections to the member failed to open.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    /// Returns how many connections in a row failed to open, up to now.
    #[must_use]
    pub fn refused_in_a_row(&self) -> u32 {
        self.refused_in_a_row.load(Ordering::Relaxed)
    }

    /// Returns whether the operator drains it.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.wish() != Wish::Serves
    }

    /// Returns what the operator wants of it.
    #[must_use]
    pub fn wish(&self) -> Wish {
        let wish = self.wish.load(Ordering::Relaxed);
        let all = [Wish::Serves, Wish::Drained, Wish::ServerDrained];
        let found = all.into_iter().find(|it| *it as u8 == wish);
        found.unwrap_or(Wish::Serves)
    }

    /// Sets the operator's wish, which applies from the next line-up on.
    pub fn set_wish(&self, wish: Wish) {
        self.wish.store(wish as u8, Ordering::Relaxed);
    }

    /// Returns the index of the local address to use for the next connection, in turn.
    #[must_use]
    pub fn next_source(&self) -> usize {
        self.source_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts an opened connection.
    pub fn note_connected(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a connection works: the failures before it were not the beginning of a row.
    pub fn note_sound(&self) {
        // The cache line stays shared between threads while no connection fails.
        if self.refused_in_a_row() > 0 {
            self.refused_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failed connection; true = the member may be suspect.
    #[must_use]
    pub fn note_refused(&self) -> bool {
        // In this order, so that a thread that has read the total finds the row counted as well.
        let before = self.refused_in_a_row.fetch_add(1, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Release);
        before + 1 >= SUSPECT_FAILURES
    }
}
