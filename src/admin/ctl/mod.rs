//! The protocol between `longsplice ctl` and the process, over the admin socket.
//!
//! A stream socket of unix(7). The client sends one [`CtlRequest`] as one line of JSON, the process answers
//! with one [`Reply`] as one line of JSON, and closes. A request has [`REQUEST_LEN_MAX`] bytes at most.
//!
//! The socket has the mode 0660, and requests are only accepted from root, the user of the process and
//! members of the socket's group (`SO_PEERCRED`). Requests that change something are logged with the peer's
//! ids.

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

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CtlRequest {
    /// The process as a whole.
    Status,
    /// Everything that `longsplice top` shows except single tunnels.
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
    /// Drain a server, or, without one, drain and stop the process.
    Drain {
        /// `BACKEND/SERVER`.
        server: Option<String>,
    },
    /// Lift the drain of a server.
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
    /// The certificates of listeners and backends.
    Certificates,
}

impl CtlRequest {
    /// Returns whether the request changes anything.
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

/// A selection of tunnels; every given condition must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// An address or a range that contains the client.
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
    /// Least number of bytes, both directions together.
    pub bytes: Option<u64>,
    /// Greatest number of tunnels to return.
    pub limit: Option<usize>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The result.
    Done(Value),
    /// The reason of the failure: one or more lines.
    Failed(String),
}

/// Tunnels, and whether there are more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tunnels {
    /// The selected tunnels.
    pub tunnels: Vec<TunnelState>,
    /// Whether the limit left others out.
    pub more: bool,
}

/// A certificate that a listener or a backend shows, or the ones that a backend trusts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateState {
    /// Name of the listener; empty = it belongs to a backend.
    pub listener: String,
    /// Name of the backend; empty = it belongs to a listener.
    #[serde(default)]
    pub backend: String,
    /// What it is for: `certificate` is shown, `ca` is trusted.
    #[serde(default)]
    pub role: String,
    /// Its file.
    pub file: String,
    /// DNS names it is valid for; of trusted certificates the subjects (RFC 4514), or their number.
    pub names: Vec<String>,
    /// The issuer (RFC 4514); empty if there are several.
    pub issuer: String,
    /// End of validity, RFC 3339, of several the first one; empty = unreadable.
    pub not_after: String,
    /// Whole days until then; negative = expired.
    pub days_left: i64,
    /// Why what stands in its file now is not used; empty = it is.
    #[serde(default)]
    pub refused: String,
}

/// A request that only the control thread can serve: it receives these over a channel.
#[derive(Debug)]
pub enum Errand {
    /// Read the configuration again; the answer lists the changes, or every mistake.
    Reload(oneshot::Sender<Result<Vec<String>, Vec<String>>>),
    /// Drain and stop the process; the answer describes what it does.
    Drain(oneshot::Sender<&'static str>),
}

/// A [`Wanted`] in parsed form.
pub(super) struct Filter {
    wanted: Wanted,
    client: Option<Cidr>,
}

impl Filter {
    /// Parses `wanted`.
    ///
    /// # Errors
    /// A description of what is wrong with it.
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

    /// Returns the greatest number of tunnels to return.
    pub(super) fn limit(&self) -> usize {
        self.wanted.limit.unwrap_or(TUNNELS_MAX).min(TUNNELS_MAX)
    }

    /// Returns whether a tunnel is selected.
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
