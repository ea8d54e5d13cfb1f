//! HTTP connections of clients: one request after another, each sent to a server and answered, until one
//! becomes a tunnel or the connection ends. From the outside in: `connection` (one client connection),
//! `exchange` (one request), `transfer` and `upload` (heads and bodies), `kept` (idle server connections).

pub(super) mod connection;
mod exchange;
mod kept;
mod transfer;
mod upload;
