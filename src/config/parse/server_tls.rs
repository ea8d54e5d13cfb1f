//! `[backend.tls]` and `tls` of a server: how servers are spoken to over TLS.

use std::cell::OnceCell;
use std::time::{SystemTime, UNIX_EPOCH};

use super::listener::{offload, readable_file, tls_version};
use crate::config::read::{Place, Table};
use crate::config::{BackendTls, CertificateFiles, Offload, ServerAddress, ServerTls, TlsVersion};
use crate::tls::identity;
use crate::tls::servers::{DemandFiles, SYSTEM_CA, ServerName, Unusable};

const NAME: &str = "a host name or an IP address";
const PEM: &str = "the path of a PEM file";

/// What the servers of a backend have in common.
pub(super) struct Common {
    /// Whether a server speaks TLS that says nothing of it itself.
    by_default: bool,
    name: Option<ServerName<'static>>,
    settings: BackendTls,
    /// Whether the certificate is good, so that the files can be checked together.
    shows_certificate: bool,
    /// What the files hold, if they are good; looked at when a server first needs them.
    fingerprint: OnceCell<Option<[u8; 32]>>,
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
        let (certificate, shows_certificate) = certificate(&mut table);
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
            shows_certificate,
            fingerprint: OnceCell::new(),
        }
    }

    /// Returns the settings, if any server uses them.
    pub(super) fn into_settings(self) -> Option<BackendTls> {
        self.fingerprint.get()?;
        Some(self.settings)
    }

    /// Reads `tls` of a server that is at `address`.
    pub(super) fn of_server(
        &self,
        server: &mut Table<'_, '_>,
        address: &ServerAddress,
    ) -> Option<ServerTls> {
        let place = server.place.clone();
        if !server.boolean("tls").unwrap_or(self.by_default) {
            return None;
        }
        let name = self.name_of(address, &place)?;
        let fingerprint = self.fingerprint.get_or_init(|| self.check_files(&place));
        Some(ServerTls {
            name,
            offload: self.settings.offload,
            fingerprint: (*fingerprint)?,
        })
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

    fn check_files(&self, place: &Place<'_, '_>) -> Option<[u8; 32]> {
        let pair = self.settings.certificate.as_ref();
        let pair = pair.filter(|_| self.shows_certificate);
        let files = DemandFiles {
            ca: self.settings.verify.then_some(self.settings.ca.as_path()),
            certificate: pair.map(|it| (it.cert.as_path(), it.key.as_path())),
            only_tls13: self.settings.min_version == TlsVersion::V1_3,
        };
        let wrong = match files.check() {
            Ok(fingerprint) => return Some(fingerprint),
            Err(Unusable::Ca(wrong)) => format!("tls: {wrong}; ca in [backend.tls], {PEM}"),
            Err(Unusable::Other(wrong)) => format!("tls: {wrong}"),
        };
        place.reject(wrong);
        None
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

/// Reads what servers are shown that ask for a certificate, and whether it is good.
fn certificate(table: &mut Table<'_, '_>) -> (Option<CertificateFiles>, bool) {
    let place = table.place.clone();
    let cert = table.take("cert");
    let key = table.take("key").and_then(readable_file);
    let Some(cert) = cert else {
        if key.is_some() {
            table.missing("cert", PEM);
        }
        return (None, false);
    };
    let Some(cert) = readable_file(cert) else {
        return (None, false);
    };
    let key = key.unwrap_or_else(|| cert.clone());
    let good = match identity::read(&cert, &key) {
        Ok(identity) => {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = since_1970.map_or(0, |time| time.as_secs());
            for warning in identity.warnings(now.try_into().unwrap_or(i64::MAX)) {
                place.warn(format!("cert: {warning}"));
            }
            true
        }
        Err(wrong) => {
            place.reject(format!("cert: {wrong}"));
            false
        }
    };
    (Some(CertificateFiles { cert, key }), good)
}
