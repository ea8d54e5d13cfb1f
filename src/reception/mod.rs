//! Opening of connections, one runtime per thread: accept, PROXY header, request head, route,
//! connect, answer, hand over to relay. Plain sequential code; nothing here moves the bytes of an
//! established tunnel.
//!
//! The path of one connection: `thread::accept_all` -> `arrival::serve` -> `proxy_header::read` ->
//! `handshake::run` (listeners with TLS) -> `connection::serve` and `exchange::serve` (`http` mode) or `tunnel_only::serve` (`tcp` mode) -> `route::choose` ->
//! `connect::Search` -> `thread::Local::hand_over`.

pub mod accept;
mod arrival;
mod bound_address;
mod client_hello;
pub mod client_place;
mod connect;
pub mod context;
mod handover;
mod handshake;
mod head_reader;
mod http;
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
