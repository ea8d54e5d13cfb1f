//! Events for the loop of `longsplice top`, and its errands for the asking thread.

use crossterm::event;

use crate::admin::ctl::{CtlRequest, Tunnels};
use crate::admin::overview::Overview;

/// An event.
#[derive(Debug)]
pub(super) enum Event {
    /// A key, or a new size.
    Terminal(event::Event),
    /// The terminal is closed.
    Gone,
    /// The process answered, or failed to.
    Answer(Answer),
    /// A signal asks us to end.
    Stop,
}

/// An errand for the asking thread.
#[derive(Debug)]
pub(super) enum Errand {
    /// Request an overview, and perhaps the tunnels.
    Look {
        /// Whether the tunnels are shown.
        tunnels: bool,
    },
    /// Send a request that changes something.
    Tell(CtlRequest),
}

/// The result of an errand.
#[derive(Debug)]
pub(super) enum Answer {
    /// An overview of the process.
    Seen(Result<Box<Overview>, String>, Option<Tunnels>),
    /// The result of a change.
    Told(Result<String, String>),
}
