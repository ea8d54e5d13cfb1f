//! `[backend.tls]` and `tls` of a server: how servers are spoken to over TLS.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::listener::{offload, readable_file, tls_version};
use crate::config::raw::{Place, Table};
use crate::config::{BackendTls, CertificateFiles, Offload, ServerAddress, ServerTls, TlsVersion};
use crate::tls::identity::{self, Identity};
use crate::tls::servers::{self, Demand, SYSTEM_CA};

const NAME: &str = "a host name or an IP address";
const PEM: &str = "the path of a PEM file";

/// What the servers of a backend have in common.
pub(super) struct Common {
    /// Whether a server speaks TLS that says nothing of it itself.
    by_default: bool,
    name: Option<ServerName<'static>>,
    settings: BackendTls,
    identity: Option<Identity>,
    /// What rustls is told, with ALPN and without; made when a server first needs it.
    configs: OnceCell<Option<Configs>>,
}

/// What rustls is told.
struct Configs {
    http: Arc<ClientConfig>,
    tcp: Arc<ClientConfig>,
    /// As [`servers::fingerprint`].
    fingerprint: [u8; 32],
}

impl Common {
    /// Reads `[backend.tls]`, if it is there.
    pub(super) fn read(backend: &mut Table<'_, '_>) -> Self {
        let by_default = backend.has("tls");
        let mut table = backend.table_or_empty("tls");
        let name = table.take("server_name").and_then(|value| {
            value.parse(NAME, |text| {
                let name = ServerName::try_from(text.to_owned());
                name.map_err(|_| "is neither".to_owned())
            })
        });
        let verify = verify(&mut table);
        let ca = table.take("ca").and_then(readable_file);
        let (certificate, identity) = certificate(&mut table);
        Self {
            by_default,
            settings: BackendTls {
                ca: ca.unwrap_or_else(|| SYSTEM_CA.into()),
                server_name: name.as_ref().map(|name| name.to_str().into_owned()),
                verify,
                min_version: tls_version(&mut table).unwrap_or(TlsVersion::V1_2),
                certificate,
                offload: offload(&mut table).unwrap_or(Offload::Adaptive),
            },
            name,
            identity,
            configs: OnceCell::new(),
        }
    }

    /// Returns the settings, if any server uses them.
    pub(super) fn into_settings(self) -> Option<BackendTls> {
        self.configs.get()?;
        Some(self.settings)
    }

    /// Reads `tls` of a server that is at `address`.
    pub(super) fn of_server(
        &self,
        server: &mut Table<'_, '_>,
        address: &ServerAddress,
    ) -> Option<Arc<ServerTls>> {
        let place = server.place.clone();
        if !server.boolean("tls").unwrap_or(self.by_default) {
            return None;
        }
        let name = self.name_of(address, &place)?;
        let configs = self.configs.get_or_init(|| self.configs(&place));
        let configs = configs.as_ref()?;
        Some(Arc::new(ServerTls {
            name,
            http: Arc::clone(&configs.http),
            tcp: Arc::clone(&configs.tcp),
            fingerprint: configs.fingerprint,
            offload: self.settings.offload,
        }))
    }

    /// Returns the name that a server must prove.
    fn name_of(
        &self,
        address: &ServerAddress,
        place: &Place<'_, '_>,
    ) -> Option<ServerName<'static>> {
        if let Some(name) = &self.name {
            return Some(name.clone());
        }
        match address {
            ServerAddress::Inet(ip, _) => Some(ServerName::IpAddress((*ip).into())),
            ServerAddress::Name(name, _) | ServerAddress::Srv(name) => {
                // What stands in front of the domain of an SRV record names a service (RFC 2782).
                let name = name
                    .split_inclusive('.')
                    .skip_while(|label| label.starts_with('_'))
                    .collect::<String>();
                let found = ServerName::try_from(name.clone()).ok();
                // An address that could not be read has been spoken of already.
                if found.is_none() && !name.is_empty() {
                    place.reject(format!(
                        "{name:?} is no name that a certificate can have; server_name in [backend.tls]"
                    ));
                }
                found
            }
            ServerAddress::Unix(_) if !self.settings.verify => {
                ServerName::try_from("localhost").ok()
            }
            ServerAddress::Unix(_) => {
                place.reject(
                    "a unix socket has no name that its certificate could be for; server_name in \
                     [backend.tls]",
                );
                None
            }
        }
    }

    fn configs(&self, place: &Place<'_, '_>) -> Option<Configs> {
        let roots = if self.settings.verify {
            match servers::read_ca(&self.settings.ca) {
                Ok(roots) => Some(roots),
                Err(wrong) => {
                    place.reject(format!("tls: {wrong}; ca in [backend.tls], {PEM}"));
                    return None;
                }
            }
        } else {
            None
        };
        let demand = |http| Demand {
            roots: roots.clone(),
            identity: self.identity.clone(),
            only_tls13: self.settings.min_version == TlsVersion::V1_3,
            http,
        };
        let make = |http| {
            let config = servers::client_config(&demand(http));
            config
                .map_err(|wrong| place.reject(format!("tls: {wrong}")))
                .ok()
        };
        Some(Configs {
            http: make(true)?,
            tcp: make(false)?,
            fingerprint: servers::fingerprint(&demand(true)),
        })
    }
}

fn verify(table: &mut Table<'_, '_>) -> bool {
    let Some(value) = table.take("verify") else {
        return true;
    };
    let place = value.place.clone();
    let verify = value.boolean().unwrap_or(true);
    if !verify {
        place.warn(
            "the servers' certificates are not verified: whoever is on the way to them can read and \
             change everything",
        );
    }
    verify
}

/// Reads what servers are shown that ask for a certificate.
fn certificate(table: &mut Table<'_, '_>) -> (Option<CertificateFiles>, Option<Identity>) {
    let place = table.place.clone();
    let cert = table.take("cert");
    let key = table.take("key").and_then(readable_file);
    let Some(cert) = cert else {
        if key.is_some() {
            table.missing("cert", PEM);
        }
        return (None, None);
    };
    let Some(cert) = readable_file(cert) else {
        return (None, None);
    };
    let key = key.unwrap_or_else(|| cert.clone());
    let identity = match identity::read(&cert, &key) {
        Ok(identity) => {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = since_1970.map_or(0, |time| time.as_secs());
            for warning in identity.warnings(now.try_into().unwrap_or(i64::MAX)) {
                place.warn(format!("cert: {warning}"));
            }
            Some(identity)
        }
        Err(wrong) => {
            place.reject(format!("cert: {wrong}"));
            None
        }
    };
    (Some(CertificateFiles { cert, key }), identity)
}
