//! The words of a tunnel: its ends and flows, what it is told and what it tells to do.

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
    /// Both.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    /// Returns the flow whose bytes come from `end`.
    #[must_use]
    pub fn from(end: End) -> Self {
        match end {
            End::Client => Self::ToServer,
            End::Server => Self::ToClient,
        }
    }

    /// Returns the end its bytes come from.
    #[must_use]
    pub fn source(self) -> End {
        match self {
            Self::ToServer => End::Client,
            Self::ToClient => End::Server,
        }
    }

    /// Returns the end its bytes go to.
    #[must_use]
    pub fn target(self) -> End {
        self.source().other()
    }
}

/// What the loop does next for the flow of a pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Receive from the source into the shared buffer, [`BUFFER_BYTES`](super::BUFFER_BYTES) at the most.
    Receive,
    /// Send `len` bytes of the shared buffer, starting at `from`.
    Send {
        /// First byte.
        from: u32,
        /// How many.
        len: u32,
    },
    /// Keep `len` bytes of the shared buffer, starting at `from`, for later.
    Hold {
        /// First byte.
        from: u32,
        /// How many.
        len: u32,
    },
    /// Send the last `len` of the bytes that were kept; the ones before have gone.
    SendHeld {
        /// How many.
        len: u32,
    },
    /// Splice from the source into an empty pipe.
    SpliceIn,
    /// Splice the `len` bytes that are in the pipe to the target.
    SpliceOut {
        /// How many.
        len: u32,
    },
    /// Take the record that is no data from a source whose records the kernel opens.
    TakeControl,
    /// Leave the records of this flow at this end to the kernel.
    Offload(End),
    /// Change the keys with which the kernel seals, if it is time.
    Rekey,
    /// Seal close_notify for the target into the shared buffer, or let the kernel send it.
    Notify,
    /// Tell the target that no more bytes come.
    ShutdownWrite,
    /// Nothing until the next readiness; an empty pipe goes back.
    Wait,
    /// There is more to do, but it is the others' turn.
    Yield,
    /// The tunnel has ended.
    Close(Close),
}

/// How a tunnel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// Why.
    pub cause: Cause,
    /// Whose connection is reset instead of ended in good order.
    pub reset: Option<End>,
    /// Whether the client may get a Close frame of ours first, if what it was sent ends where a frame
    /// does.
    pub goodbye: bool,
}

impl Close {
    /// How a tunnel ends that cannot say how.
    pub const BY_ERROR: Self = Self {
        cause: Cause::InternalError,
        reset: None,
        goodbye: false,
    };
}

/// What came of an [`Action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// So many bytes were moved, at least one.
    Moved(u32),
    /// A receive for an end that speaks TLS: `payload` bytes of the tunnel's became `len` bytes of
    /// the shared buffer to send, either of them perhaps none.
    Records {
        /// Bytes as the tunnel's ends count them.
        payload: u32,
        /// Bytes to send.
        len: u32,
        /// Whether the source may have more.
        full: bool,
    },
    /// The kernel met a record that is no data; [`Action::TakeControl`] takes it.
    Control,
    /// The kernel met a record without data; there may be more behind it.
    Empty,
    /// The source has ended: a receive or splice gave zero, or close_notify came.
    Ended,
    /// The source has ended without close_notify.
    Truncated,
    /// The tunnel cannot go on, and this is why.
    Refused(Cause),
    /// EAGAIN.
    WouldBlock,
    /// No pipe is to be had, or little may go through one.
    NoPipe,
    /// EINVAL: these two cannot be spliced. Of [`Action::Offload`]: the kernel will not have it.
    Unsupported,
    /// Any other error: the connection it happened on is broken.
    Failed,
    /// Done, for actions that move nothing.
    Done,
}

/// Who protects the bytes of one flow at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKeeper {
    /// Nobody: they are plain there.
    Nobody,
    /// We open or seal their records.
    Records,
    /// We do, until the keys are at a boundary of a record and the kernel has them.
    Leaving,
    /// The kernel.
    Kernel,
    /// The kernel, whose keys for sealing have to be looked at before it gets more.
    Rekeying,
}

/// When the records of a flow at an end are left to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffloadPlan {
    /// Never: it is not wanted, or this kernel cannot.
    Never,
    /// When the flow turns bulky.
    WhenBulky,
    /// At once.
    AtOnce,
}
