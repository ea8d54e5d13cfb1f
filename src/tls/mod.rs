//! TLS ended here: who we are ([`identity`]), which servers we believe ([`servers`]), how a connection
//! opens at either end ([`handshake`]), and how its records are protected afterwards ([`record`],
//! [`control`]). No sockets, no clock but rustls's own for tickets and certificates.
//!
//! After the handshake nothing of rustls's connection is left but what a KeyUpdate needs; the rest is
//! plain data ([`record::Keys`]), so that who protects the records can change later.

pub mod channel;
pub mod control;
mod der;
mod fault;
pub mod handshake;
pub mod identity;
pub mod name;
pub mod offload;
pub mod record;
mod schedule;
pub mod servers;
pub mod terms;
#[cfg(test)]
pub(crate) mod testing;
pub mod verifier;
pub mod x509;
