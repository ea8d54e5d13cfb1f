//! Who may do what at `server.admin_http`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// `server.admin_http_hosts`, `admin_http_write` and `admin_http_token`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminAccess {
    /// Names that the dashboard is reached by, in lower case; addresses and `localhost` always are.
    pub hosts: Vec<String>,
    /// Whether servers may be drained there; there is a token then.
    pub write: bool,
    /// What whoever changes something has to know.
    pub token: Option<AdminToken>,
}

/// A token and where it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Its file.
    pub file: PathBuf,
    /// The token, without white space around it.
    pub secret: Arc<[u8]>,
}

/// Without the secret, as this may come into a log.
impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, secret: _ } = self;
        f.debug_struct("AdminToken")
            .field("file", file)
            .finish_non_exhaustive()
    }
}
