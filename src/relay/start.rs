//! A tunnel as reception hands it over: both ends, bytes read ahead, and resources to give back.

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
    /// The TLS legs of the client and of the server; none = that end is plain.
    pub legs: [Option<Box<Leg>>; 2],
    /// Bytes received from the client and not yet sent to the server; they go first.
    pub to_server: Vec<u8>,
    /// Bytes received from the server and not yet sent to the client; they go first.
    pub to_client: Vec<u8>,
    /// Whether the client is to get a WebSocket Close frame when a drain ends the tunnel.
    pub says_goodbye: bool,
    /// Limits on silence.
    pub timeouts: Timeouts,
    /// Description of the tunnel for the log.
    pub subject: Box<Subject>,
    /// Places in limits, given back when the tunnel ends.
    pub lease: Lease,
}

/// How long a tunnel may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// While both sides are open.
    pub idle: Duration,
    /// After one side has ended.
    pub half_close: Duration,
}

/// A resource that is given back when this is dropped.
pub struct Lease(pub Box<dyn Send>);

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease")
    }
}
