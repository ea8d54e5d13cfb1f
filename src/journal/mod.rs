//! Events of connections, on their way to the counters and to the log.
//!
//! | file | job |
//! |---|---|
//! | `cause` | the closed list of causes of an end |
//! | `entry` | events of a connection, a request or a tunnel |
//! | `timing` | durations of their stages |
//! | `counts` | counters of each thread, by listener, backend and server |
//! | `backlog` | the fill level of the queue |
//! | `queue` | counts an entry and carries it to the writer's thread; bounded, never blocks |

mod backlog;
pub mod cause;
pub mod counts;
mod entry;
mod queue;
#[cfg(test)]
mod tests;
mod timing;

pub use cause::{Cause, Side};
pub use counts::Counts;
pub use entry::{
    ClientCertificate, Diagnostic, DiagnosticText, Entry, Offloaded, Path, RequestFacts, Subject,
    clipped, peer_of,
};
pub use queue::{Entries, Journal, Message, PresentWishes, Waited, Wishes, journal};
pub use timing::{Connections, Timing};
