//! Inspection of open tunnels by other threads, and the end of a single tunnel on request.
//!
//! A question goes through the inbox of the thread and is answered over a channel. The thread answers one
//! question a turn and looks at no more than `SLICE_LEN` slots for it. A caller that inspects a hundred
//! thousand tunnels asks many times, and no frame waits for an answer.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use crate::journal::{Cause, Offloaded, Path};
use crate::proto::addr::PeerAddr;

/// Slots covered by one question: some tens of microseconds.
pub(super) const SLICE_LEN: u32 = 256;
/// Tunnels of a slice that are reported as the busiest.
pub(super) const BUSIEST_LEN: usize = 10;

const THREAD_BITS: u32 = 10;
const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 64 - THREAD_BITS - SLOT_BITS;

/// Identifies one tunnel of the process: its thread, its slot there, and the slot's generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TunnelId(u64);

impl TunnelId {
    pub(super) fn new(thread: usize, slot: u32, generation: u32) -> Self {
        let generation = u64::from(generation) & ((1 << GENERATION_BITS) - 1);
        let thread = thread as u64 & ((1 << THREAD_BITS) - 1);
        let slot = u64::from(slot) & ((1 << SLOT_BITS) - 1);
        Self(generation << (THREAD_BITS + SLOT_BITS) | slot << THREAD_BITS | thread)
    }

    /// Returns the number of the relay thread that runs the tunnel.
    #[must_use]
    pub fn thread(self) -> usize {
        // Ten bits fit into any `usize`.
        usize::try_from(self.0 & ((1 << THREAD_BITS) - 1)).unwrap_or(usize::MAX)
    }

    pub(super) fn slot(self) -> u32 {
        let slot = self.0 >> THREAD_BITS & ((1 << SLOT_BITS) - 1);
        u32::try_from(slot).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for TunnelId {
    /// Writes the identifier in hexadecimal: not every JSON reader keeps a number of 64 bits exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for TunnelId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// One open tunnel at one moment.
#[derive(Debug, Clone)]
pub struct Glance {
    /// Identifier of the tunnel.
    pub id: TunnelId,
    /// Name of its listener.
    pub listener: Arc<str>,
    /// The address of the connection itself.
    pub peer: PeerAddr,
    /// The client's address, from a PROXY header if there is one.
    pub client: PeerAddr,
    /// Name of its backend.
    pub backend: Option<Arc<str>>,
    /// Name of its server.
    pub server: Option<Arc<str>>,
    /// When its connection was accepted, or its request began.
    pub started: SystemTime,
    /// Time since a byte last moved, in either direction.
    pub idle: Duration,
    /// Whether one side has ended.
    pub half_closed: bool,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes sent to the client.
    pub bytes_out: u64,
    /// How bytes from the client are moved.
    pub path_in: Path,
    /// How bytes to the client are moved.
    pub path_out: Path,
    /// TLS version and cipher of the client, such as `tls13-aes128gcm`; none = no TLS ends here.
    pub tls: Option<&'static str>,
}

/// A slice of a thread's slots, described.
#[derive(Debug, Default)]
pub struct Page {
    /// The open tunnels.
    pub tunnels: Vec<Glance>,
    /// Slot at which the next question begins; none = this was the last slice.
    pub next: Option<u32>,
}

/// Result of adding one slice of a thread's slots to the named counters.
#[derive(Debug, Default)]
pub struct Settled {
    /// Slot at which the next question begins; none = this was the last slice.
    pub next: Option<u32>,
    /// The tunnels that moved most since the last count, with the number of bytes.
    pub busiest: Vec<(u64, Glance)>,
    /// Number of open tunnels by offload state, in and out, in the order of [`Offloaded::ALL`]; tunnels
    /// without TLS are not counted.
    pub offload: [[usize; Offloaded::ALL.len()]; 2],
    /// Pipes of the thread, and how many of them hold bytes.
    pub pipes: (usize, usize),
    /// Waits that found the ring's completion queue overflowed.
    pub overflows: u64,
}

/// A question to the thread.
#[derive(Debug)]
pub(super) enum Ask {
    /// Describe open tunnels from this slot on.
    Inspect(u32, oneshot::Sender<Page>),
    /// Add to the named counters what open tunnels moved, from this slot on.
    Settle(u32, oneshot::Sender<Settled>),
    /// End this tunnel; answer whether it was open.
    End(TunnelId, Cause, oneshot::Sender<bool>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = TunnelId::new(1023, (1 << 24) - 1, 77);
        assert_eq!((id.thread(), id.slot()), (1023, (1 << 24) - 1));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(TunnelId::new(0, 3, 0).to_string(), "c00");
        assert!("zz".parse::<TunnelId>().is_err());
        assert_ne!(id, TunnelId::new(1023, (1 << 24) - 1, 78));
    }
}
