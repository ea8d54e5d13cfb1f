//! Durations of the stages of a request or of the opening of a tunnel, with retries and queue positions:
//! filled in by reception, written by access lines.

use std::time::Duration;

/// Durations and counts of one request; a stage that was not reached or not measured is none or zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the first byte of the request to the end of its head.
    pub head: Option<Duration>,
    /// Time in queues for a place at a server.
    pub queue: Option<Duration>,
    /// Time until a connection to the server was open, retries included; zero for a reused one.
    pub connect: Option<Duration>,
    /// From the request's being sent to the end of the answer's head.
    pub response: Option<Duration>,
    /// Connections to servers that were tried after the first.
    pub retries: u16,
    /// Whether a retry used another server.
    pub redispatched: bool,
    /// Its position in the queue for its server when it began to wait, from one; zero = it did not wait.
    pub server_queue: u32,
    /// Its position in the queue for any server of its backend when it began to wait, from one.
    pub backend_queue: u32,
    /// Open connections, its own included: of clients at its end, to servers when its own opened.
    pub connections: Connections,
}

/// Open connections at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Of clients, in the whole process.
    pub process: u32,
    /// Of clients, at the listener.
    pub listener: u32,
    /// To the backend.
    pub backend: u32,
    /// To the server.
    pub server: u32,
}
