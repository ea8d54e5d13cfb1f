//! The process as a whole: its start, its stop, and what it does when something runs out.

// Start: command line, configuration, addresses that are taken or shared.
mod start;
// Stop: signals, the drain and its end.
mod stop;
// Limits: connections, descriptors, a log without a reader, time.
pub(crate) mod limits;
