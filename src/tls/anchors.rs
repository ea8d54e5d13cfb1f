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
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::der::Der;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// RFC 5280 section 4.2.1.9.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// RFC 5280 section 4.2.1.3.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];

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

/// Returns whether a certificate may sign others, as OpenSSL judges it (`X509_check_ca`): it says so and its key
/// usage allows it, or it is a root of version 1, which cannot say it. A certificate of version 1 that another one
/// signed is usually a peer's: `openssl x509 -req` makes those.
pub(super) fn is_of_ca(certificate: &[u8]) -> bool {
    let Some(claim) = Claim::of(certificate) else {
        return false;
    };
    let usage = claim.usage.map(KeyUsage::from_der);
    let may_sign = usage.map(|usage| usage.is_ok_and(|usage| usage.key_cert_sign()));
    match (claim.constraints, may_sign) {
        (_, Some(false)) => false,
        (Some(constraints), Some(true) | None) => {
            BasicConstraints::from_der(constraints).is_ok_and(|it| it.ca)
        }
        (None, Some(true)) => true,
        (None, None) => claim.is_root_v1,
    }
}

/// What a certificate says of its right to sign others. `x509-cert` does not read every name that webpki does, so
/// it cannot be asked: a certificate that it does not know must not count as a CA's.
#[derive(Default)]
struct Claim<'a> {
    /// Whether it is of version 1 and names itself as its issuer.
    is_root_v1: bool,
    constraints: Option<&'a [u8]>,
    usage: Option<&'a [u8]>,
}

impl<'a> Claim<'a> {
    /// Reads a certificate in DER (RFC 5280 section 4.1).
    fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut body = Der(Der(Der(certificate).enter(SEQUENCE)?).enter(SEQUENCE)?);
        let is_v1 = body.tag() != Some(VERSION);
        if !is_v1 {
            body.next()?;
        }
        body.enter(INTEGER)?;
        // The algorithm of the signature.
        body.enter(SEQUENCE)?;
        let issuer = body.whole()?;
        // The validity.
        body.enter(SEQUENCE)?;
        let mut claim = Self {
            is_root_v1: is_v1 && body.whole()? == issuer,
            ..Self::default()
        };
        if is_v1 {
            return Some(claim);
        }
        // The subject, the key and two identifiers of old stand before the extensions.
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                claim.take_extensions(Der(Der(content).enter(SEQUENCE)?))?;
            }
        }
        Some(claim)
    }

    fn take_extensions(&mut self, mut all: Der<'a>) -> Option<()> {
        while all.tag().is_some() {
            let mut one = Der(all.enter(SEQUENCE)?);
            let id = one.enter(OBJECT_ID)?;
            if one.tag() == Some(BOOLEAN) {
                one.next()?;
            }
            let value = one.enter(OCTET_STRING)?;
            if id == BASIC_CONSTRAINTS {
                self.constraints = Some(value);
            } else if id == KEY_USAGE {
                self.usage = Some(value);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
