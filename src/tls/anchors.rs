//! Trusted certificates, as `ca` and `client_ca` hold them: where the chains of peers may end, and the
//! certificates that peers may show themselves.
//!
//! A self-signed certificate that is in the file, byte for byte, needs no chain: an operator has named this
//! very certificate. That is how self-signed certificates are used; webpki alone would refuse those with CA:TRUE,
//! which is what `openssl req -x509` makes. A certificate that is no CA's speaks for itself alone: what its
//! holder signs is not accepted, which webpki would not see to (RFC 5280 section 6.1 leaves it to us).

use std::sync::Arc;

use rustls::{Error, RootCertStore};
use rustls_pki_types::CertificateDer;
use x509_cert::Version;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");

/// Trusted certificates.
#[derive(Debug, Clone)]
pub struct Anchors {
    /// Those of CAs: where chains may end.
    chains: Arc<RootCertStore>,
    /// All of them.
    certificates: Vec<CertificateDer<'static>>,
}

impl Anchors {
    /// Takes every certificate.
    ///
    /// # Errors
    /// One of them cannot be read: its index, and why.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, (usize, Error)> {
        let mut chains = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            take(certificate, &mut chains).map_err(|error| (index, error))?;
        }
        Ok(Self {
            chains: Arc::new(chains),
            certificates,
        })
    }

    /// Takes the certificates that can be read, and passes the others over.
    #[must_use]
    pub fn of_usable(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut chains = RootCertStore::empty();
        let mut usable = certificates;
        usable.retain(|certificate| take(certificate, &mut chains).is_ok());
        Self {
            chains: Arc::new(chains),
            certificates: usable,
        }
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// Returns the certificates, in DER.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Returns the certificates of CAs; empty if every one speaks for itself alone.
    pub(super) fn chains(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.chains)
    }

    /// Returns whether this very certificate is one of them, and is signed by itself. One that another
    /// certificate signed needs its issuer, as in OpenSSL (without X509_V_FLAG_PARTIAL_CHAIN).
    pub(super) fn speaks_for(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|one| one == certificate) && is_self_issued(certificate)
    }
}

/// Returns whether a certificate names itself as its issuer.
pub(super) fn is_self_issued(certificate: &[u8]) -> bool {
    let read = CertificateInner::<Raw>::from_der(certificate);
    read.is_ok_and(|it| it.tbs_certificate().issuer() == it.tbs_certificate().subject())
}

fn take(certificate: &CertificateDer<'static>, chains: &mut RootCertStore) -> Result<(), Error> {
    let mut alone = RootCertStore::empty();
    alone.add(certificate.clone())?;
    if is_of_ca(certificate) {
        chains.extend(alone.roots);
    }
    Ok(())
}

/// Returns whether a certificate may sign others, as OpenSSL judges it (`X509_check_ca`): it says so, or it is
/// of version 1, which cannot say it.
pub(super) fn is_of_ca(certificate: &[u8]) -> bool {
    let Ok(certificate) = CertificateInner::<Raw>::from_der(certificate) else {
        // webpki has read it, and has no doubt about it.
        return true;
    };
    let body = certificate.tbs_certificate();
    let value = |id| {
        let mut all = body.extensions().into_iter().flatten();
        all.find(|it| it.extn_id == id)
            .map(|it| it.extn_value.as_bytes())
    };
    if let Some(constraints) = value(BASIC_CONSTRAINTS) {
        return BasicConstraints::from_der(constraints).is_ok_and(|it| it.ca);
    }
    match value(KEY_USAGE) {
        Some(usage) => KeyUsage::from_der(usage).is_ok_and(|usage| usage.key_cert_sign()),
        None => body.version() == Version::V1,
    }
}
