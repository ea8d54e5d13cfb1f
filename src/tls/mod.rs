//! TLS that ends in this process: our own identities ([`identity`]) and what deserves a warning about them
//! ([`judge`]), trust in servers ([`servers`]) and in clients ([`verifier`], [`revocation`]), handshakes at
//! either end ([`handshake`]), what their failures mean ([`words`]), and the records after them ([`record`],
//! [`control`]). No sockets, and no clock except that of tickets and of rustls for
//! certificates.
//!
//! After the handshake nothing of rustls's connection is kept except what a KeyUpdate needs; the rest is
//! plain data ([`record::Keys`]), so that the records can be handed to the kernel later.

pub mod anchors;
mod chain;
pub mod channel;
mod choice;
pub mod control;
mod der;
mod fault;
pub mod file;
pub mod folder;
pub mod handshake;
pub mod identity;
pub mod judge;
pub mod name;
pub mod offload;
pub mod pem;
pub mod record;
pub mod refused;
pub mod revocation;
mod schedule;
pub mod servers;
mod shown;
pub mod system_store;
pub mod terms;
#[cfg(test)]
pub(crate) mod testing;
pub mod ticket_keys;
pub mod verifier;
pub mod words;
pub mod wrong;
pub mod x509;
