//! The opening of connections, one runtime per thread: accept, PROXY header, TLS, request head, route,
//! connection to a server, answer, handover to relay. Requests that are not upgrades stay here; the bytes
//! of an open tunnel do not pass through here.
//!
//! The path of a connection: `accept` -> `opening::serve` -> `proxy_header::read` -> `handshake::run`
//! (listeners with TLS) -> `connection::serve` and `exchange::serve` (`http` mode) or `tunnel_only::serve`
//! (`tcp` and `sni` mode) -> `route::choose` -> `connect::Search` -> `handover::hand_over`. Refusals go
//! through `report`.

pub mod accept;
mod arrival;
mod bound_address;
mod client_hello;
pub mod client_place;
mod connect;
pub mod context;
mod dial;
mod first_bytes;
mod handover;
mod handshake;
mod head_reader;
mod http;
mod introduction;
pub mod listen;
mod opening;
mod proxy_header;
mod refusal;
mod report;
mod route;
pub mod snapshot;
pub mod socket;
pub mod thread;
mod tunnel_only;
