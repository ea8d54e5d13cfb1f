//! What `longsplice ctl` and the process say to each other over the admin socket.
//!
//! A stream socket of unix(7). The client sends one [`CtlRequest`] as one line of JSON, the process answers
//! with one [`Reply`] as one line of JSON, and closes. A request has [`REQUEST_LEN_MAX`] bytes at the most.
//!
//! Whoever may connect may ask: the socket has the mode 0660, and besides that only root, the user of the
//! process and members of the socket's group are listened to (`SO_PEERCRED`). What changes something is
//! written into the log with the peer's ids.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::state::TunnelState;
use crate::proto::addr::Cidr;

pub mod socket;
pub mod text;

/// Longest request in bytes.
pub const REQUEST_LEN_MAX: usize = 64 * 1024;
/// Tunnels in one answer, unless the client wants fewer.
pub const TUNNELS_MAX: usize = 10_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CtlRequest {
    /// The process as a whole.
    Status,
    /// Everything that `longsplice top` shows but single tunnels.
    Overview,
    /// The listeners.
    Listeners,
    /// The backends and their servers.
    Backends,
    /// Open tunnels.
    Tunnels(Wanted),
    /// End a tunnel.
    Kill {
        /// As [`TunnelState::id`].
        id: String,
    },
    /// Give a server nothing new, or, without one, let the process run empty and end.
    Drain {
        /// `BACKEND/SERVER`.
        server: Option<String>,
    },
    /// Take a server back.
    Undrain {
        /// `BACKEND/SERVER`.
        server: String,
    },
    /// Read the configuration again.
    Reload,
    /// Write diagnostics from this level up.
    LogLevel {
        /// As `log.level`.
        level: String,
    },
    /// The certificates that listeners show.
    Certificates,
}

impl CtlRequest {
    /// Tells whether it changes anything.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Status
            | Self::Overview
            | Self::Listeners
            | Self::Backends
            | Self::Tunnels(_)
            | Self::Certificates => false,
            Self::Kill { .. }
            | Self::Drain { .. }
            | Self::Undrain { .. }
            | Self::Reload
            | Self::LogLevel { .. } => true,
        }
    }
}

/// Which tunnels; every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// An address or a range that the client is in.
    pub client: Option<String>,
    /// Name of the listener.
    pub listener: Option<String>,
    /// Name of the backend.
    pub backend: Option<String>,
    /// Name of the server.
    pub server: Option<String>,
    /// Least age in milliseconds.
    pub age_ms: Option<u64>,
    /// Least time in milliseconds since a byte moved.
    pub idle_ms: Option<u64>,
    /// Least number of bytes, both ways together.
    pub bytes: Option<u64>,
    /// How many at the most.
    pub limit: Option<usize>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// What was asked for, or what was done.
    Done(Value),
    /// Why not: one or more lines.
    Failed(String),
}

/// Tunnels, and whether there are more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tunnels {
    /// Those that were wanted.
    pub tunnels: Vec<TunnelState>,
    /// Whether the limit kept others away.
    pub more: bool,
}

/// A certificate that a listener shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateState {
    /// Name of the listener.
    pub listener: String,
    /// Its file.
    pub file: String,
    /// DNS names it is good for.
    pub names: Vec<String>,
    /// Who signed it (RFC 4514).
    pub issuer: String,
    /// Until when, RFC 3339; empty = that cannot be read.
    pub not_after: String,
    /// Whole days until then; negative = over.
    pub days_left: i64,
}

/// What only main can do: it gets these over a channel.
#[derive(Debug)]
pub enum Errand {
    /// Read the configuration again; the lines say what was done, or every mistake.
    Reload(oneshot::Sender<Result<Vec<String>, Vec<String>>>),
    /// Let the process run empty and end; the words say what it does.
    Drain(oneshot::Sender<&'static str>),
}

/// A [`Wanted`] that was understood.
pub(super) struct Filter {
    wanted: Wanted,
    client: Option<Cidr>,
}

impl Filter {
    /// Understands `wanted`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(wanted: Wanted) -> Result<Self, String> {
        let client = match &wanted.client {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|wrong| format!("{text:?} is no address or range: {wrong}"))?,
            ),
        };
        Ok(Self { wanted, client })
    }

    /// Tells how many tunnels are wanted at the most.
    pub(super) fn limit(&self) -> usize {
        self.wanted.limit.unwrap_or(TUNNELS_MAX).min(TUNNELS_MAX)
    }

    /// Tells whether a tunnel is wanted.
    pub(super) fn takes(&self, glance: &crate::relay::inspect::Glance) -> bool {
        let wanted = &self.wanted;
        let named = |wanted: &Option<String>, name: Option<&str>| {
            wanted.as_deref().is_none_or(|it| name == Some(it))
        };
        let least =
            |wanted: Option<u64>, value: u128| wanted.is_none_or(|it| value >= u128::from(it));
        let in_range = |range: &Cidr| glance.client.ip().is_some_and(|ip| range.contains(ip));
        let age = glance.started.elapsed().unwrap_or_default();
        let bytes = u128::from(glance.bytes_in) + u128::from(glance.bytes_out);
        self.client.as_ref().is_none_or(in_range)
            && named(&wanted.listener, Some(&*glance.listener))
            && named(&wanted.backend, glance.backend.as_deref())
            && named(&wanted.server, glance.server.as_deref())
            && least(wanted.age_ms, age.as_millis())
            && least(wanted.idle_ms, glance.idle.as_millis())
            && least(wanted.bytes, bytes)
    }
}
