//! Reasons why a request gets no place at a server.

/// Reason why a request gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// No server takes new connections, for this reason.
    Nobody(&'static str),
    /// Every usable server has been tried.
    AllTried,
    /// `max_queue` requests are waiting already.
    QueueFull,
    /// The request has waited for `timeouts.queue`.
    QueueTimeout,
}
