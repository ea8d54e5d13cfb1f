//! TLS towards the servers of a backend, ready for use: rustls configurations, made from the contents of the
//! files of `[backend.tls]`, and replaced when these change.
//!
//! This file does not read the files, and does not compare configurations of a server: the plain values of
//! [`config::ServerTls`] carry a fingerprint of the files, and compare like every other value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::ClientConfig;

use crate::config::{self, BackendServer, Offload};
use crate::tls::servers::{Demand, ServerName, client_config, fingerprint};
use crate::tls::wrong::Wrong;

/// The TLS settings that all servers of a backend share. Clones share the present configurations.
///
/// A reload makes a successor, which takes over the place where servers find them. From then on its predecessor
/// replaces nothing, though its files may still be watched for a while.
#[derive(Debug, Clone)]
pub struct ClientTls {
    now: Arc<ArcSwap<Configs>>,
    term: Term,
}

/// Identifies settings among those that follow one another at one place.
type Term = u64;

/// The configurations that a demand gives, with their caches of sessions to resume.
#[derive(Debug, Clone)]
struct Configs {
    /// For requests: ALPN offers HTTP/1.1.
    http: Arc<ClientConfig>,
    /// For TCP routes: no ALPN.
    tcp: Arc<ClientConfig>,
    fingerprint: [u8; 32],
    edition: TlsEdition,
    /// The settings that may replace these configurations.
    term: Term,
}

/// Identifies configurations for the life of the process. Connections of different editions were made with
/// different trust, or showed another certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsEdition(u64);

/// The TLS settings of one server.
#[derive(Debug)]
pub struct TlsToServer {
    /// The name that the server's certificate must have.
    pub name: ServerName<'static>,
    /// When the kernel takes over the records.
    pub offload: Offload,
    shared: ClientTls,
}

impl Configs {
    fn of(demand: &Demand, term: Term) -> Result<Self, Wrong> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let make = |http| {
            client_config(&Demand {
                http,
                ..demand.clone()
            })
        };
        Ok(Self {
            http: make(true)?,
            tcp: make(false)?,
            fingerprint: fingerprint(demand),
            edition: TlsEdition(NEXT.fetch_add(1, Ordering::Relaxed)),
            term,
        })
    }
}

impl ClientTls {
    /// Makes the configurations of a demand.
    ///
    /// # Errors
    /// rustls refuses the demand.
    pub fn of(demand: &Demand) -> Result<Self, Wrong> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let term = NEXT.fetch_add(1, Ordering::Relaxed);
        let now = Arc::new(ArcSwap::from_pointee(Configs::of(demand, term)?));
        Ok(Self { now, term })
    }

    /// Replaces the configurations for every handshake from now on, at all servers of the backend; those of a
    /// successor are left as they are.
    ///
    /// # Errors
    /// rustls refuses the demand; the present configurations stay.
    pub fn replace(&self, demand: &Demand) -> Result<(), Wrong> {
        let new = Arc::new(Configs::of(demand, self.term)?);
        self.now.rcu(|now| {
            let is_ours = now.term == self.term;
            Arc::clone(if is_ours { &new } else { now })
        });
        Ok(())
    }

    /// Continues the settings `before`, which the servers of the same backend use already: they get these
    /// configurations, unless the present ones are equal and keep their sessions.
    pub fn succeed(&mut self, before: &Self) {
        let new = self.now.load_full();
        before.now.rcu(|now| {
            if now.fingerprint == new.fingerprint {
                Arc::new(Configs {
                    term: self.term,
                    ..Configs::clone(now)
                })
            } else {
                Arc::clone(&new)
            }
        });
        self.now = Arc::clone(&before.now);
    }

    /// Returns the TLS settings of a server of the backend; none = plain.
    pub(super) fn of_server(
        this: Option<&Self>,
        server: &BackendServer,
    ) -> Option<Arc<TlsToServer>> {
        let (
            this,
            config::ServerTls {
                name,
                offload,
                fingerprint: _,
            },
        ) = this.zip(server.tls.as_ref())?;
        Some(Arc::new(TlsToServer {
            name: name.clone(),
            offload: *offload,
            shared: this.clone(),
        }))
    }
}

impl TlsToServer {
    /// Returns the configuration for a handshake now; `http` = ALPN offers HTTP/1.1.
    #[must_use]
    pub fn config(&self, http: bool) -> Arc<ClientConfig> {
        let now = self.shared.now.load();
        Arc::clone(if http { &now.http } else { &now.tcp })
    }

    /// Returns which configurations are in use now.
    #[must_use]
    pub fn edition(&self) -> TlsEdition {
        self.shared.now.load().edition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(only_tls13: bool) -> Demand {
        Demand {
            roots: None,
            identity: None,
            only_tls13,
            http: false,
        }
    }

    fn server(tls: &ClientTls) -> TlsToServer {
        TlsToServer {
            name: ServerName::try_from("localhost").unwrap(),
            offload: Offload::Never,
            shared: tls.clone(),
        }
    }

    #[test]
    fn servers_use_what_replaced_the_configurations() {
        let tls = ClientTls::of(&demand(false)).unwrap();
        let server = server(&tls);
        let (edition, config) = (server.edition(), server.config(true));
        assert!(Arc::ptr_eq(&config, &server.config(true)));
        tls.replace(&demand(true)).unwrap();
        assert_ne!(server.edition(), edition);
        assert!(!Arc::ptr_eq(&config, &server.config(true)));
        assert_eq!(server.config(true).alpn_protocols, [b"http/1.1"]);
        assert_eq!(server.config(false).alpn_protocols.len(), 0);
    }

    #[test]
    fn settings_with_a_successor_replace_nothing() {
        for only_tls13 in [false, true] {
            let before = ClientTls::of(&demand(false)).unwrap();
            let server = server(&before);
            let mut after = ClientTls::of(&demand(only_tls13)).unwrap();
            after.succeed(&before);
            // What watched the files before the reload sees a change late.
            let edition = server.edition();
            before.replace(&demand(false)).unwrap();
            assert_eq!(server.edition(), edition);
            after.replace(&demand(true)).unwrap();
            assert_ne!(server.edition(), edition);
            // Only the last of several may.
            let mut last = ClientTls::of(&demand(false)).unwrap();
            last.succeed(&after);
            let edition = server.edition();
            after.replace(&demand(true)).unwrap();
            before.replace(&demand(true)).unwrap();
            assert_eq!(server.edition(), edition);
        }
    }

    #[test]
    fn a_successor_replaces_what_differs_and_keeps_the_sessions_of_what_does_not() {
        let before = ClientTls::of(&demand(false)).unwrap();
        let server = server(&before);
        let edition = server.edition();
        let mut same = ClientTls::of(&demand(false)).unwrap();
        same.succeed(&before);
        assert_eq!(server.edition(), edition);
        let mut other = ClientTls::of(&demand(true)).unwrap();
        other.succeed(&before);
        assert_ne!(server.edition(), edition);
        // What watches the files of the successor reaches the servers.
        let edition = server.edition();
        other.replace(&demand(false)).unwrap();
        assert_ne!(server.edition(), edition);
    }
}
