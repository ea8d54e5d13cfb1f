//! What the loop of `longsplice top` hears of, and what it sends the thread that asks.

use crossterm::event;

use crate::admin::ctl::{CtlRequest, Tunnels};
use crate::admin::overview::Overview;

/// Something happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A key, or another size.
    Terminal(event::Event),
    /// The terminal is gone.
    Gone,
    /// The process answered, or did not.
    Answer(Answer),
    /// We shall end.
    Stop,
}

/// What is wanted of the thread.
#[derive(Debug)]
pub(super) enum Errand {
    /// An overview, and the tunnels as well?
    Look {
        /// They are shown.
        tunnels: bool,
    },
    /// To tell the process something.
    Tell(CtlRequest),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// What the process says of itself.
    Seen(Result<Box<Overview>, String>, Option<Tunnels>),
    /// What it did.
    Told(Result<String, String>),
}
