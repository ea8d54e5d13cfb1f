//! Access to `server.admin_http`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// `server.admin_http_hosts`, `admin_http_write` and `admin_http_token`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminAccess {
    /// Names under which the dashboard is accepted, in lower case; addresses and `localhost` always are.
    pub hosts: Vec<String>,
    /// Whether servers may be drained there; if so, there is a token.
    pub write: bool,
    /// The token that every change needs.
    pub token: Option<AdminToken>,
}

/// A token and its file.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Its file.
    pub file: PathBuf,
    /// The token, without white space around it.
    pub secret: Arc<[u8]>,
}

/// Without the secret, because this may be logged.
impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, secret: _ } = self;
        f.debug_struct("AdminToken")
            .field("file", file)
            .finish_non_exhaustive()
    }
}
