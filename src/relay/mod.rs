//! Established tunnels: two descriptors and a hundred-odd bytes of state each, moved by one thread per core
//! until they end.
//!
//! [`spawn`] starts a thread, [`Handle`] gives it tunnels. Behind them:
//!
//! | file | its job |
//! |---|---|
//! | [`tunnel`] | the pure state machine of one tunnel |
//! | `pump` | does the actions of the state machine, one system call each |
//! | `leg` | opens and seals TLS records, or leaves them to the kernel |
//! | [`offload`] | which TLS work the kernel can do on this machine |
//! | `engine` | the loop of a thread |
//! | [`inspect`] | questions of other threads about tunnels |
//! | `table` | holds the tunnels |
//! | `timer` | deadlines of silent tunnels |
//! | `warm` | which tunnels keep their ciphers |
//! | `progress` | when to log tunnels that stay open |
//! | `pipes` | lends the pipes of splice(2) |
//! | `followed` | WebSocket frame positions, for tunnels whose clients are told of a drain |
//! | `partings` | waits for clients that were sent a Close frame |
//! | [`poller`] | waits for readiness |
//!
//! Every adopted tunnel ends with exactly one [`Entry::Close`](crate::journal::Entry::Close), also when the
//! thread has already stopped.

mod chunks;
mod engine;
mod followed;
mod handle;
mod inbox;
pub mod inspect;
mod leg;
pub mod offload;
mod partings;
mod pipes;
pub mod poller;
mod progress;
mod pump;
mod start;
pub mod stats;
mod table;
#[cfg(test)]
mod tests;
mod timer;
pub mod tunnel;
mod warm;

pub use handle::{Handle, Relay, spawn};
pub use leg::{Leg, cause_of};
pub use poller::{PollerChoice, PollerInUse, PollerKind};
pub use start::{Lease, Start, Timeouts};
