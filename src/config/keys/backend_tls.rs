//! `[backend.tls]`: TLS to servers.

use std::sync::OnceLock;

use super::drafts::{BackendDraft, BackendTlsDraft};
use super::listener_tls::{OFFLOADS, VERSIONS, warnings_of};
use crate::config::read::{Place, Scope};
use crate::config::section::{At, Key, Section};
use crate::config::shape::Fallback;
use crate::config::types::{Bool, Maybe, PEM, Text};
use crate::config::{ServerAddress, ServerTls, TlsVersion};
use crate::tls::servers::{DemandFiles, ServerName, Unusable};

/// `[backend.tls]`.
pub(super) static BACKEND_TLS: Section<BackendTlsDraft> = Section {
    path: "backend.tls",
    short: "TLS towards the servers.",
    long: "With this table every server is spoken to over TLS, unless it says `tls = false`. A server with \
           `tls = true` needs no table: the defaults hold then.",
    blank: BackendTlsDraft::blank,
    defaults: OnceLock::new(),
    rules: &[unverified_servers, certificate_is_good],
    keys: &[
        Key {
            name: "verify",
            since: "0.1",
            default: Fallback::Is("true"),
            short: "Whether the servers' certificates are verified.",
            long: "With `false`, an attacker between longsplice and a server can read and change everything.",
            example: "false",
            wrong: "\"no\"",
            kind: &At {
                of: Bool,
                at: |it: &mut BackendTlsDraft| &mut it.verify,
            },
        },
        Key {
            name: "ca",
            since: "0.1",
            default: Fallback::Words("the system's store"),
            short: "PEM file with the authorities that may have signed the servers' certificates.",
            long: "The system's store is the file that the environment variable `SSL_CERT_FILE` names, or else the \
                   bundle of the distribution: the first of `/etc/ssl/certs/ca-certificates.crt`, \
                   `/etc/pki/tls/certs/ca-bundle.crt`, `/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem`, \
                   `/etc/ssl/ca-bundle.pem`, `/etc/ssl/cert.pem`, `/etc/pki/tls/cacert.pem` and \
                   `/etc/ssl/certs/ca-bundle.crt` that is there. \
                   Watched while the process runs, as `cert` and `key` are: a changed file applies to the next \
                   handshake.",
            example: "\"ca.pem\"",
            wrong: "\"/nowhere.pem\"",
            kind: &At {
                of: Maybe(PEM),
                at: |it: &mut BackendTlsDraft| &mut it.ca,
            },
        },
        Key {
            name: "server_name",
            since: "0.1",
            default: Fallback::Words("the host of the server's address"),
            short: "The name that the servers' certificates must be for; it is also sent in the handshake.",
            long: "A server on a unix socket has no name of its own and needs this key. For `srv:` addresses \
                   the default is the domain without the labels of the service.",
            example: "\"app.internal\"",
            wrong: "\"a b\"",
            kind: &At {
                of: Maybe(Text {
                    wanted: "a host name or an IP address",
                    pattern: "^[0-9A-Za-z:._-]+$",
                    parse: |_, text| {
                        ServerName::try_from(text.to_owned()).map_err(|_| "is neither".to_owned())
                    },
                    show: |name| name.to_str().into_owned(),
                }),
                at: |it: &mut BackendTlsDraft| &mut it.server_name,
            },
        },
        Key {
            name: "min_version",
            since: "0.1",
            default: Fallback::Is("\"1.2\""),
            short: "The lowest version of TLS that is spoken with servers.",
            long: "",
            example: "\"1.3\"",
            wrong: "\"1.1\"",
            kind: &At {
                of: VERSIONS,
                at: |it: &mut BackendTlsDraft| &mut it.min_version,
            },
        },
        Key {
            name: "cert",
            since: "0.1",
            default: Fallback::Words("no certificate is shown"),
            short: "PEM file with our certificate and its chain, for servers that ask for one.",
            long: "",
            example: "\"site.pem\"",
            wrong: "\"/nowhere.pem\"",
            kind: &At {
                of: Maybe(PEM),
                at: |it: &mut BackendTlsDraft| &mut it.cert,
            },
        },
        Key {
            name: "key",
            since: "0.1",
            default: Fallback::Words("the file `cert`"),
            short: "PEM file with the private key of `cert`.",
            long: "",
            example: "\"site.pem\"",
            wrong: "\"/nowhere.pem\"",
            kind: &At {
                of: Maybe(PEM),
                at: |it: &mut BackendTlsDraft| &mut it.key,
            },
        },
        Key {
            name: "offload",
            since: "0.1",
            default: Fallback::Is("\"adaptive\""),
            short: "Who encrypts after the handshake: the process or the kernel (kTLS).",
            long: "",
            example: "\"never\"",
            wrong: "true",
            kind: &At {
                of: OFFLOADS,
                at: |it: &mut BackendTlsDraft| &mut it.offload,
            },
        },
    ],
};

/// Warns of servers whose identity is not verified.
fn unverified_servers(tls: &mut BackendTlsDraft, scope: &Scope<'_, '_>) {
    if !tls.verify {
        scope.place_of("verify").warn(
            "the servers' certificates are not verified: an attacker on the way to them can read and \
             change everything",
        );
    }
}

/// Reads the certificate for servers, and refuses a key without one.
fn certificate_is_good(tls: &mut BackendTlsDraft, scope: &Scope<'_, '_>) {
    let Some(cert) = &tls.cert else {
        if tls.key.is_some() && !scope.has("cert") {
            scope.missing("cert", PEM.wanted);
        }
        return;
    };
    let key = tls.key.as_ref().unwrap_or(cert);
    match warnings_of(cert, key) {
        Ok(warnings) => {
            let warn = |warning| scope.place.warn(format!("cert: {warning}"));
            warnings.into_iter().for_each(warn);
            tls.shows_certificate = true;
        }
        Err(wrong) => scope.place.reject(format!("cert: {wrong}")),
    }
}

/// Determines which servers speak TLS and the name each must prove, and checks the files they need.
pub(super) fn servers_speak_tls(draft: &mut BackendDraft, scope: &Scope<'_, '_>) {
    let by_default = scope.has("tls");
    let tls = draft.tls.clone();
    let tls = tls.unwrap_or_else(|| BACKEND_TLS.defaults().clone());
    // Fingerprint of the files, if they are valid; read when a server first needs them.
    let mut fingerprint: Option<Option<[u8; 32]>> = None;
    for row in &mut draft.servers {
        let server = &mut row.value;
        if !server.tls.unwrap_or(by_default) {
            continue;
        }
        let place = scope.row(&row.key).place;
        let Some(name) = name_of(&tls, &server.server.address, &place) else {
            continue;
        };
        let fingerprint = fingerprint.get_or_insert_with(|| check_files(&tls, &place));
        server.server.tls = fingerprint.map(|fingerprint| ServerTls {
            name,
            offload: tls.offload,
            fingerprint,
        });
    }
    draft.backend.tls = fingerprint.map(|_| tls.into_settings());
}

/// Returns the name that a server must prove.
fn name_of(
    tls: &BackendTlsDraft,
    address: &ServerAddress,
    place: &Place<'_, '_>,
) -> Option<ServerName<'static>> {
    if let Some(name) = &tls.server_name {
        return Some(name.clone());
    }
    match address {
        ServerAddress::Inet(ip, _) => Some(ServerName::IpAddress((*ip).into())),
        ServerAddress::Name(name, _) | ServerAddress::Srv(name) => {
            // The labels before the domain of an SRV record name a service (RFC 2782).
            let name = name
                .split_inclusive('.')
                .skip_while(|label| label.starts_with('_'))
                .collect::<String>();
            let found = ServerName::try_from(name.clone()).ok();
            // An address that could not be read has been reported already.
            if found.is_none() && !name.is_empty() {
                place.reject(format!(
                    "{name:?} is no name that a certificate can have; server_name in [backend.tls]"
                ));
            }
            found
        }
        ServerAddress::Unix(_) if !tls.verify => ServerName::try_from("localhost").ok(),
        ServerAddress::Unix(_) => {
            place.reject(
                "a unix socket has no name that its certificate could be for; server_name in \
                 [backend.tls]",
            );
            None
        }
    }
}

/// Reads the files; returns their fingerprint.
fn check_files(tls: &BackendTlsDraft, place: &Place<'_, '_>) -> Option<[u8; 32]> {
    let settings = tls.clone().into_settings();
    let pair = settings.certificate.as_ref();
    let pair = pair.filter(|_| tls.shows_certificate);
    let files = DemandFiles {
        ca: settings.verify.then_some(settings.ca.as_path()),
        certificate: pair.map(|it| (it.cert.as_path(), it.key.as_path())),
        only_tls13: settings.min_version == TlsVersion::V1_3,
    };
    let wrong = match files.check() {
        Ok(fingerprint) => return Some(fingerprint),
        Err(Unusable::Ca(wrong)) => {
            let origin = if tls.ca.is_some() {
                ""
            } else {
                " (the system's store: install ca-certificates, or set SSL_CERT_FILE)"
            };
            format!("tls: {wrong}{origin}; ca in [backend.tls], {}", PEM.wanted)
        }
        Err(Unusable::Other(wrong)) => format!("tls: {wrong}"),
    };
    place.reject(wrong);
    None
}
