//! A tunnel as reception hands it over: both ends, what was read ahead, and what it gives back.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::leg::Leg;
use crate::journal::Subject;

/// A tunnel as reception hands it over: both ends connected, non-blocking, every option set.
#[derive(Debug)]
pub struct Start {
    /// The client's connection.
    pub client: OwnedFd,
    /// The server's connection.
    pub server: OwnedFd,
    /// Present = the client, or the server, speaks TLS, and this is its session.
    pub legs: [Option<Box<Leg>>; 2],
    /// Bytes already received from the client that the server has not got; they go first.
    pub to_server: Vec<u8>,
    /// Bytes already received from the server that the client has not got; they go first.
    pub to_client: Vec<u8>,
    /// Whether a WebSocket runs in it whose client is to get a Close frame when a drain ends it.
    pub says_goodbye: bool,
    /// When silence ends the tunnel.
    pub timeouts: Timeouts,
    /// For the log.
    pub subject: Box<Subject>,
    /// What is given back when the tunnel ends (places in limits).
    pub lease: Lease,
}

/// When silence ends a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// While both sides are open.
    pub idle: Duration,
    /// After one side has ended.
    pub half_close: Duration,
}

/// Something that is given back by being dropped.
pub struct Lease(pub Box<dyn Send>);

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease")
    }
}
