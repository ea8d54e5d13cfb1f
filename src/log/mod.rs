//! The log: access lines for events of connections, and diagnostics between them, both to the same target. A
//! thread of its own writes it; no other thread ever waits for it.
//!
//! | file | job |
//! |---|---|
//! | `diagnostics` | messages of longsplice about itself, on their way to the journal or standard error |
//! | `writer` | the thread: messages of the journal in, lines to the target out |
//! | `access` | the view of an entry that all formats use |
//! | `fields` | the table of fields of an access line |
//! | `json`, `httplog`, `combined` | the formats of access lines |
//! | `reference` | the page of the manual about fields |
//! | `line` | a line, its severity and its subject |
//! | `target` | the targets: `stream` and `file`, or `syslog` and `journald` over `datagram` |
//! | `loss` | lines that were lost, until they are reported |
//! | `time`, `words` | times, names and escapes of the formats |

mod access;
mod combined;
mod datagram;
pub mod diagnostics;
mod fields;
mod file;
mod httplog;
mod journald;
mod json;
mod line;
mod loss;
mod object;
mod reference;
mod stream;
mod syslog;
mod target;
#[cfg(test)]
mod tests;
mod time;
mod words;
mod writer;

pub use reference::reference;
pub use target::LogError;
pub use time::rfc3339 as timestamp;
pub use writer::{LogChange, Prepared, Settings, prepare};
