//! Protocols as pure functions: bytes in, values out. No sockets, no clock, no import from a sibling.

pub mod addr;
pub mod client_hello;
pub mod first_bytes;
pub mod http;
mod progress;
pub mod proxy;
pub mod readiness;
pub mod websocket;

pub use progress::Progress;
