//! Established tunnels: two descriptors and a hundred-odd bytes of state each, moved by one thread
//! per core until they end.
//!
//! [`spawn`] starts a thread, [`Handle`] gives it tunnels. Behind them:
//!
//! | file | its job |
//! |---|---|
//! | [`tunnel`] | the pure state machine of one tunnel |
//! | `pump` | does what the state machine says, one system call for each action |
//! | `leg` | opens and seals TLS records, or leaves them to the kernel |
//! | [`offload`] | what the kernel's TLS can do here |
//! | `engine` | the loop of a thread |
//! | [`inspect`] | what others ask a thread about its tunnels |
//! | `table` | holds the tunnels |
//! | `timer` | knows when silence ends them |
//! | `warm` | knows which of them keep their ciphers |
//! | `progress` | knows when to log those that go on |
//! | `pipes` | lends the pipes of splice(2) |
//! | `followed` | knows where WebSocket frames begin, for tunnels whose clients are told of a drain |
//! | `partings` | waits for clients that were told |
//! | [`poller`] | waits for readiness |
//!
//! A tunnel that was adopted always ends with one [`Entry::Close`](crate::journal::Entry::Close), also
//! when the thread has already stopped.

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
