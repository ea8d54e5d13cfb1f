//! HTTP connections of clients: requests one after the other, each sent to a server and answered, until
//! one of them becomes a tunnel or the connection ends.

pub(super) mod connection;
mod exchange;
mod kept;
mod transfer;
mod upload;
