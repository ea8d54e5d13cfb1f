//! HTTP/1.1 heads (RFC 9110, RFC 9112), read strictly and forwarded byte for byte.
//!
//! Nothing here repairs a message: ambiguous requests and responses are refused.

pub mod answer;
mod challenge;
pub mod condition;
mod extension;
mod fields;
pub mod forwarding;
pub mod framing;
pub mod head;
mod line;
mod names;
pub mod pattern;
pub mod refusal;
mod scheme;
mod target;

pub use scheme::Scheme;
