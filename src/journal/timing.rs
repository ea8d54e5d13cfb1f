//! How long the parts of a request or of the opening of a tunnel took, and what it met on its way:
//! filled in by reception as far as it got, told by access lines.

use std::time::Duration;

/// Times and counts of one request; what was not reached or is not known is none or zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the first byte of the request to the end of its head.
    pub head: Option<Duration>,
    /// In queues for a place at a server.
    pub queue: Option<Duration>,
    /// Until the connection to the server stood, further tries included; zero for a kept one.
    pub connect: Option<Duration>,
    /// From the request's being sent to the end of the answer's head.
    pub response: Option<Duration>,
    /// Connections to servers that were tried beside the first.
    pub retries: u16,
    /// Whether a further try went to another server.
    pub redispatched: bool,
    /// Its place in the line for its server when it began to wait, from one; zero = it did not.
    pub server_queue: u32,
    /// Its place in the line for any server of its backend when it began to wait, from one.
    pub backend_queue: u32,
    /// Connections, its own among them: of clients at its end, to servers when its own stood.
    pub connections: Connections,
}

/// Connections at one time.
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
