//! A look at open tunnels from outside, and the end of a single one.
//!
//! A question goes through the inbox of the thread and is answered over a channel. The thread answers
//! one question a turn and looks at `SLICE_LEN` slots for it at the most, so that whoever looks at a
//! hundred thousand tunnels asks often, and no frame waits for the answer.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use crate::journal::{Cause, Offloaded, Path};
use crate::proto::addr::PeerAddr;

/// Slots that one question looks at: some tens of microseconds.
pub(super) const SLICE_LEN: u32 = 256;
/// Tunnels of a slice that are named for what they move.
pub(super) const BUSIEST_LEN: usize = 10;

const THREAD_BITS: u32 = 10;
const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 64 - THREAD_BITS - SLOT_BITS;

/// Names one tunnel of the process: its thread, its slot there, and which tunnel of that slot it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TunnelId(u64);

impl TunnelId {
    pub(super) fn new(thread: usize, slot: u32, generation: u32) -> Self {
        let generation = u64::from(generation) & ((1 << GENERATION_BITS) - 1);
        let thread = thread as u64 & ((1 << THREAD_BITS) - 1);
        let slot = u64::from(slot) & ((1 << SLOT_BITS) - 1);
        Self(generation << (THREAD_BITS + SLOT_BITS) | slot << THREAD_BITS | thread)
    }

    /// Returns the number of the relay thread that has it.
    #[must_use]
    pub fn thread(self) -> usize {
        // Ten bits fit anywhere.
        usize::try_from(self.0 & ((1 << THREAD_BITS) - 1)).unwrap_or(usize::MAX)
    }

    pub(super) fn slot(self) -> u32 {
        let slot = self.0 >> THREAD_BITS & ((1 << SLOT_BITS) - 1);
        u32::try_from(slot).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for TunnelId {
    /// Writes it in hexadecimal: a JSON number of 64 bits is not safe with everybody.
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
    /// Which.
    pub id: TunnelId,
    /// Name of its listener.
    pub listener: Arc<str>,
    /// The address of the connection itself.
    pub peer: PeerAddr,
    /// Who the client is.
    pub client: PeerAddr,
    /// Name of its backend.
    pub backend: Option<Arc<str>>,
    /// Name of its server.
    pub server: Option<Arc<str>>,
    /// When its connection was accepted, or its request began.
    pub started: SystemTime,
    /// Since a byte last moved, either way.
    pub idle: Duration,
    /// Whether one side has ended.
    pub half_closed: bool,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes sent to the client.
    pub bytes_out: u64,
    /// How the bytes from the client go.
    pub path_in: Path,
    /// How the bytes to the client go.
    pub path_out: Path,
    /// TLS of the client, such as `tls13-aes128gcm`; none = it speaks none that ends here.
    pub tls: Option<&'static str>,
}

/// What a thread saw in one slice of its slots.
#[derive(Debug, Default)]
pub struct Page {
    /// The open tunnels.
    pub tunnels: Vec<Glance>,
    /// Where to look next; none = that was all.
    pub next: Option<u32>,
}

/// What a thread found in one slice of its slots while it counted by name what open tunnels moved.
#[derive(Debug, Default)]
pub struct Settled {
    /// Where to go on; none = that was all.
    pub next: Option<u32>,
    /// The tunnels that moved most since the last time, and how many bytes.
    pub busiest: Vec<(u64, Glance)>,
    /// Open tunnels by whether the kernel has their records, in and out, in the order of
    /// [`Offloaded::ALL`]; those without TLS are in none.
    pub offload: [[usize; Offloaded::ALL.len()]; 2],
    /// Pipes of the thread, and how many of them hold bytes.
    pub pipes: (usize, usize),
    /// Waits that found the ring's queue of completions overflowed.
    pub overflows: u64,
}

/// A question to the thread.
#[derive(Debug)]
pub(super) enum Ask {
    /// What is open from this slot on?
    Inspect(u32, oneshot::Sender<Page>),
    /// Count what open tunnels moved, from this slot on.
    Settle(u32, oneshot::Sender<Settled>),
    /// End this one; was it there?
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
