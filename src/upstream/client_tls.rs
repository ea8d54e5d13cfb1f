//! TLS towards the servers of a backend, ready for use: rustls configurations, made from the plain
//! values and the files of the configuration at start and at each reload.
//!
//! This file does not compare configurations of a server: the plain values of [`config::ServerTls`] carry a
//! fingerprint of the files, and compare like every other value.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::config::{self, Backend, BackendServer, BackendTls, Offload, TlsVersion};
use crate::tls::identity::Wrong;
use crate::tls::servers::{DemandFiles, ServerName, client_config};

/// The TLS settings that all servers of a backend share.
#[derive(Debug, Clone)]
pub struct ClientTls {
    http: Arc<ClientConfig>,
    tcp: Arc<ClientConfig>,
}

/// The TLS settings of one server.
#[derive(Debug)]
pub struct TlsToServer {
    /// The name that the server's certificate must have.
    pub name: ServerName<'static>,
    /// The configuration for requests: ALPN offers HTTP/1.1.
    pub http: Arc<ClientConfig>,
    /// The configuration for TCP routes: no ALPN.
    pub tcp: Arc<ClientConfig>,
    /// When the kernel takes over the records.
    pub offload: Offload,
}

impl ClientTls {
    /// Reads the files of `[backend.tls]`; returns none if no server of the backend speaks TLS.
    ///
    /// # Errors
    /// A description of what is wrong with a file. The file was valid when the configuration was read, so it
    /// has changed since.
    pub fn of(backend: &Backend) -> Result<Option<Self>, Wrong> {
        let Some(tls) = &backend.tls else {
            return Ok(None);
        };
        let files = files_of(tls);
        let make = |http| client_config(&files.read(http)?);
        Ok(Some(Self {
            http: make(true)?,
            tcp: make(false)?,
        }))
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
            http: Arc::clone(&this.http),
            tcp: Arc::clone(&this.tcp),
            offload: *offload,
        }))
    }
}

fn files_of(tls: &BackendTls) -> DemandFiles<'_> {
    let pair = tls.certificate.as_ref();
    DemandFiles {
        ca: tls.verify.then_some(tls.ca.as_path()),
        certificate: pair.map(|it| (it.cert.as_path(), it.key.as_path())),
        only_tls13: tls.min_version == TlsVersion::V1_3,
    }
}
