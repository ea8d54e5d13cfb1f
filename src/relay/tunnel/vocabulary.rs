//! The vocabulary of a tunnel: ends, flows, actions and outcomes.

use crate::journal::Cause;

/// One end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client's connection.
    Client = 0,
    /// The server's connection.
    Server = 1,
}

impl End {
    /// Returns the end at the other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One direction of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// From the client to the server.
    ToServer = 0,
    /// From the server to the client.
    ToClient = 1,
}

impl Flow {
    /// Both flows.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    /// Returns the flow whose bytes come from `end`.
    #[must_use]
    pub fn from(end: End) -> Self {
        match end {
            End::Client => Self::ToServer,
            End::Server => Self::ToClient,
        }
    }

    /// Returns the end from which the bytes come.
    #[must_use]
    pub fn source(self) -> End {
        match self {
            Self::ToServer => End::Client,
            Self::ToClient => End::Server,
        }
    }

    /// Returns the end to which the bytes go.
    #[must_use]
    pub fn target(self) -> End {
        self.source().other()
    }
}

/// The next step of the loop for the flow of a pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Receive from the source into the shared buffer, [`BUFFER_BYTES`](super::BUFFER_BYTES) at most.
    Receive,
    /// Send `len` bytes of the shared buffer, starting at `from`.
    Send {
        /// Index of the first byte.
        from: u32,
        /// Number of bytes.
        len: u32,
    },
    /// Keep `len` bytes of the shared buffer, starting at `from`, for later.
    Hold {
        /// Index of the first byte.
        from: u32,
        /// Number of bytes.
        len: u32,
    },
    /// Send the last `len` of the kept bytes; the ones before have been sent.
    SendHeld {
        /// Number of bytes.
        len: u32,
    },
    /// Splice from the source into an empty pipe.
    SpliceIn,
    /// Splice the `len` bytes that are in the pipe to the target.
    SpliceOut {
        /// Number of bytes.
        len: u32,
    },
    /// Read the record that is not data from a source whose records the kernel opens.
    TakeControl,
    /// Leave the records of this flow at this end to the kernel.
    Offload(End),
    /// Change the kernel's sealing keys, if it is time.
    Rekey,
    /// Seal close_notify for the target into the shared buffer, or let the kernel send it.
    Notify,
    /// Shut down writing to the target.
    ShutdownWrite,
    /// Wait for the next readiness; an empty pipe is given back.
    Wait,
    /// Give other tunnels their turn; this flow has more to do.
    Yield,
    /// The tunnel has ended.
    Close(Close),
}

/// The end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// Cause of the end.
    pub cause: Cause,
    /// The end whose connection is reset instead of closed in good order.
    pub reset: Option<End>,
    /// Whether the client may get a Close frame from us first, provided that the bytes sent to it end at the
    /// end of a frame.
    pub goodbye: bool,
}

impl Close {
    /// The close of a tunnel whose state machine failed.
    pub const BY_ERROR: Self = Self {
        cause: Cause::InternalError,
        reset: None,
        goodbye: false,
    };
}

/// The result of an [`Action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This many bytes were moved, at least one.
    Moved(u32),
    /// A receive for an end that speaks TLS: `payload` bytes of the tunnel became `len` bytes to send in the
    /// shared buffer; either may be zero.
    Records {
        /// Bytes as the tunnel's counters count them.
        payload: u32,
        /// Bytes to send.
        len: u32,
        /// Whether the source may have more.
        full: bool,
    },
    /// The kernel met a record that is not data; [`Action::TakeControl`] reads it.
    Control,
    /// The kernel met a record without data; there may be more behind it.
    Empty,
    /// The source has ended: a receive or splice gave zero, or close_notify came.
    Ended,
    /// The source has ended without close_notify.
    Truncated,
    /// The tunnel cannot go on, for this cause.
    Refused(Cause),
    /// The call gave EAGAIN.
    WouldBlock,
    /// No pipe is available, or too little may be spliced.
    NoPipe,
    /// EINVAL: these two descriptors cannot be spliced. Of [`Action::Offload`]: the kernel refuses the keys.
    Unsupported,
    /// Any other error: the connection on which it happened is broken.
    Failed,
    /// The action succeeded; for actions that move no bytes.
    Done,
}

/// Where the records of a flow are handled at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKeeper {
    /// The bytes are plain: there are no records.
    Nobody,
    /// In user space.
    Records,
    /// In user space, until the keys are at the boundary of a record and the kernel has them.
    Leaving,
    /// In the kernel.
    Kernel,
    /// In the kernel, whose sealing keys have to be checked before it gets more.
    Rekeying,
}

/// When the records of a flow at an end are left to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffloadPlan {
    /// Never: not configured, or not supported by this kernel.
    Never,
    /// When the flow turns bulky.
    WhenBulky,
    /// At once.
    AtOnce,
}
