//! The files of `[backend.tls]` while the process runs: a changed `ca`, `cert` or `key` applies to the next
//! handshake with a server. It does not affect established connections.

use std::path::PathBuf;
use std::sync::Arc;

use super::certificate::Certificate;
use super::files::Files;
use crate::admin::state::{CertificateInUse, CertificateOwner};
use crate::config::{Backend, TlsVersion};
use crate::tls::anchors::Anchors;
use crate::tls::judge::{self, Asked};
use crate::tls::servers::{self, Demand, trusted_facts};
use crate::tls::system_store;
use crate::tls::wrong::Wrong;
use crate::tls::x509::Facts;
use crate::upstream::client_tls::ClientTls;

/// Most trusted certificates of a file that operators see by name; of more only their number.
const NAMED_MAX: usize = 3;

/// The files of one backend.
pub(in crate::process) struct ServersTls {
    backend: Arc<str>,
    /// None = the servers' certificates are not verified.
    ca: Option<Files<Trusted>>,
    certificate: Option<Certificate>,
    only_tls13: bool,
    /// The configurations that servers use.
    tls: ClientTls,
}

/// Trusted certificates, and what operators see of them.
struct Trusted {
    roots: Arc<Anchors>,
    names: Vec<String>,
    issuer: String,
    not_after: Option<i64>,
}

impl ServersTls {
    /// Reads the files of a backend; none if no server of it speaks TLS.
    ///
    /// # Errors
    /// A description of what is wrong with a file. The file was valid when the configuration was read, so it
    /// has changed since.
    pub(in crate::process) fn of(backend: &Backend) -> Result<Option<Self>, Wrong> {
        let Some(settings) = &backend.tls else {
            return Ok(None);
        };
        let ca = settings.verify.then(|| settings.ca.clone());
        let read = |path: PathBuf| {
            let is_store = system_store::is_at(&path);
            let meaning = if is_store { read_store } else { read_ca };
            Files::read(vec![path], meaning)
        };
        let ca = ca.map(read).transpose()?;
        let certificate = settings.certificate.as_ref();
        let certificate = certificate.map(Certificate::read).transpose()?;
        let only_tls13 = settings.min_version == TlsVersion::V1_3;
        let tls = ClientTls::of(&demand(ca.as_ref(), certificate.as_ref(), only_tls13))?;
        Ok(Some(Self {
            backend: Arc::clone(&backend.name),
            ca,
            certificate,
            only_tls13,
            tls,
        }))
    }

    /// Returns the configurations that servers are to use.
    pub(in crate::process) fn tls(&self) -> &ClientTls {
        &self.tls
    }

    /// Continues the settings that the servers of the same backend use already.
    pub(in crate::process) fn succeed(&mut self, before: &ClientTls) {
        self.tls.succeed(before);
    }

    /// Checks whether a file has changed, and replaces the configurations if the new contents are valid and not
    /// worse.
    pub(super) fn look(&mut self, now_s: i64) {
        let owner = self.owner();
        let trusts_anew = self.look_at_ca(&owner);
        let shows_anew = self.look_at_certificate(&owner, now_s);
        if !trusts_anew && !shows_anew {
            return;
        }
        let (ca, certificate) = (self.ca.as_ref(), self.certificate.as_ref());
        let replaced = self.tls.replace(&demand(ca, certificate, self.only_tls13));
        if let Err(wrong) = replaced {
            tracing::error!(backend = %self.backend, %wrong, "certificates not replaced");
        }
    }

    fn look_at_ca(&mut self, owner: &CertificateOwner) -> bool {
        let Some(ca) = &mut self.ca else {
            return false;
        };
        let changed = ca.look_and_tell(owner);
        if changed {
            let count = ca.good.roots.len();
            tracing::info!(backend = %self.backend, file = ca.name(), count, "ca replaced");
        }
        changed
    }

    /// Takes a new certificate unless servers would refuse it and take the present one. Its names do not
    /// matter.
    fn look_at_certificate(&mut self, owner: &CertificateOwner, now_s: i64) -> bool {
        let Some(certificate) = &mut self.certificate else {
            return false;
        };
        let Some(new) = certificate.candidate(owner) else {
            return false;
        };
        let (judged, old) = (
            new.identity.to_judge(""),
            certificate.files.good.to_judge(""),
        );
        // Which issuers the servers know is unknown here.
        let worse = judge::worse(&judged, &old, &[], &Asked::default(), now_s, None);
        if !worse.is_empty() {
            certificate.refuse(new, &worse, owner);
            return false;
        }
        certificate.take(new, now_s);
        let (backend, file) = (&self.backend, certificate.files.name());
        let until = certificate.until();
        tracing::info!(%backend, file, until, "certificate replaced");
        for why in certificate.files.good.to_judge("").alone(now_s) {
            tracing::warn!(%backend, file, "{why}");
        }
        true
    }

    /// Warns that our certificate expires soon, unless that was logged today.
    pub(super) fn look_at_end(&mut self, now_s: i64) {
        let backend = &self.backend;
        if let Some(certificate) = &mut self.certificate {
            for why in certificate.end_to_tell(now_s) {
                tracing::warn!(%backend, file = certificate.files.name(), "{why}");
            }
        }
    }

    /// Describes its certificates for operators.
    pub(super) fn in_use(&self) -> impl Iterator<Item = CertificateInUse> {
        let shown = self.certificate.iter();
        let shown = shown.map(|certificate| certificate.in_use(self.owner()));
        let trusted = self.ca.iter().map(|ca| CertificateInUse {
            owner: self.owner(),
            role: "ca",
            file: ca.paths.first().cloned().unwrap_or_default(),
            names: ca.good.names.clone(),
            issuer: ca.good.issuer.clone(),
            not_after: ca.good.not_after,
            refused: ca.complaint.as_ref().map(Wrong::to_string),
        });
        shown.chain(trusted)
    }

    fn owner(&self) -> CertificateOwner {
        CertificateOwner::Backend(Arc::clone(&self.backend))
    }
}

fn demand(
    ca: Option<&Files<Trusted>>,
    certificate: Option<&Certificate>,
    only_tls13: bool,
) -> Demand {
    Demand {
        roots: ca.map(|ca| Arc::clone(&ca.good.roots)),
        identity: certificate.map(|certificate| certificate.files.good.clone()),
        only_tls13,
        http: false,
    }
}

fn read_ca(texts: &[Vec<u8>]) -> Result<Trusted, Wrong> {
    let text = texts.first().map_or(&[][..], Vec::as_slice);
    Ok(trusted(text, servers::ca(text)?))
}

fn read_store(texts: &[Vec<u8>]) -> Result<Trusted, Wrong> {
    let text = texts.first().map_or(&[][..], Vec::as_slice);
    Ok(trusted(text, servers::store(text)?))
}

fn trusted(text: &[u8], roots: Arc<Anchors>) -> Trusted {
    let all = trusted_facts(text);
    let names = if all.len() > NAMED_MAX {
        vec![format!("{} certificates", all.len())]
    } else {
        all.iter().map(Facts::subject_text).collect()
    };
    let issuer = match &all[..] {
        [one] => one.issuer_text(),
        [] | [_, _, ..] => String::new(),
    };
    Trusted {
        roots,
        names,
        issuer,
        not_after: all.iter().filter_map(|one| one.not_after).min(),
    }
}
