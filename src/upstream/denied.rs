//! Why a request gets no place at a server.

/// Why nobody gets a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Nobody may get it, for this reason.
    Nobody(&'static str),
    /// Everybody who may get it has been tried.
    AllTried,
    /// `max_queue` wait already.
    QueueFull,
    /// `timeouts.queue` is over.
    QueueTimeout,
}
