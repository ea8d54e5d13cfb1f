//! Whose certificates are accepted. Servers: `TrustedServers`, or [`AnyCertificate`] for `verify = false` and
//! for tests. Clients: `TrustedClients`.
//!
//! Chains are webpki's matter. A self-signed certificate that is one of the [`Anchors`] has no chain; its validity,
//! its use and a server's name are checked here. In every case the peer must prove by a signature that it
//! holds the certificate's key.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ExtendedKeyPurpose,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::anchors::{Anchors, is_self_issued};
use super::der::Der;
use super::refused;
use super::revocation::Revocations;
use super::wrong::{Wrong, wrong};
use super::{words, x509};

const SEQUENCE: u8 = 0x30;
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// The use of a certificate that an extended key usage has to allow (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy)]
enum Use {
    Server,
    Client,
}

impl Use {
    fn id(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::Server => "1.3.6.1.5.5.7.3.1",
            Self::Client => "1.3.6.1.5.5.7.3.2",
        })
    }

    fn required(self) -> ExtendedKeyPurpose {
        match self {
            Self::Server => ExtendedKeyPurpose::ServerAuth,
            Self::Client => ExtendedKeyPurpose::ClientAuth,
        }
    }
}

/// Checks a certificate that is itself an anchor, as far as no chain is needed for it.
fn check_anchor(
    certificate: &CertificateDer<'_>,
    now: UnixTime,
    wanted: Use,
) -> Result<(), CertificateError> {
    let read = CertificateInner::<Raw>::from_der(certificate);
    let read = read.map_err(|_| CertificateError::BadEncoding)?;
    let body = read.tbs_certificate();
    let (begin, end) = (body.validity().not_before, body.validity().not_after);
    let not_before = UnixTime::since_unix_epoch(begin.to_unix_duration());
    let not_after = UnixTime::since_unix_epoch(end.to_unix_duration());
    if now < not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        });
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after,
        });
    }
    let usage = body
        .extensions()
        .and_then(|all| all.iter().find(|it| it.extn_id == EXTENDED_KEY_USAGE));
    let Some(usage) = usage else {
        return Ok(());
    };
    let uses = ExtendedKeyUsage::from_der(usage.extn_value.as_bytes());
    let ExtendedKeyUsage(uses) = uses.map_err(|_| CertificateError::BadEncoding)?;
    if uses.contains(&wanted.id()) {
        return Ok(());
    }
    Err(CertificateError::InvalidPurposeContext {
        required: wanted.required(),
        presented: uses.iter().map(purpose_of).collect(),
    })
}

fn purpose_of(id: &ObjectIdentifier) -> ExtendedKeyPurpose {
    for known in [Use::Server, Use::Client] {
        if known.id() == *id {
            return known.required();
        }
    }
    let arcs = id.arcs().filter_map(|arc| usize::try_from(arc).ok());
    ExtendedKeyPurpose::Other(arcs.collect())
}

/// Accepts servers whose chain ends at an anchor, or whose certificate is one.
#[derive(Debug)]
pub(super) struct TrustedServers {
    anchors: Anchors,
    /// None = no anchor is a CA's.
    chains: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl TrustedServers {
    /// Makes a verifier.
    ///
    /// # Errors
    /// rustls refuses the anchors.
    pub(super) fn new(anchors: Anchors, provider: Arc<CryptoProvider>) -> Result<Self, Wrong> {
        let algorithms = provider.signature_verification_algorithms;
        let roots = anchors.chains();
        let chains = if roots.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(roots, provider);
            Some(builder.build().map_err(|error| of_builder(&error))?)
        };
        Ok(Self {
            anchors,
            chains,
            algorithms,
        })
    }
}

impl ServerCertVerifier for TrustedServers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.anchors.speaks_for(certificate) {
            let parsed = ParsedCertificate::try_from(certificate)?;
            check_anchor(certificate, now, Use::Server)?;
            verify_server_name(&parsed, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chains {
            Some(chains) => chains.verify_server_cert(certificate, chain, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What is demanded of clients: whose certificates are accepted, and whether one may be missing.
#[derive(Debug, Clone)]
pub struct ClientDemand {
    /// The certificates that must have signed clients' certificates, or be them.
    pub anchors: Anchors,
    /// Whether a client without a certificate is refused.
    pub required: bool,
    /// The lists of certificates that are revoked; none = revocation is not checked.
    pub revocations: Option<Arc<Revocations>>,
}

/// Accepts clients whose chain ends at an anchor and is not revoked, or whose certificate is an anchor.
///
/// With revocation lists an anchor is no exception: webpki checks each certificate of the chain against the
/// list of its issuer, and none = refused, as OpenSSL does (X509_V_FLAG_CRL_CHECK_ALL).
#[derive(Debug)]
pub(super) struct TrustedClients {
    demand: ClientDemand,
    /// None = no anchor is a CA's.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    /// The names by which clients choose what to show (RFC 8446 section 4.2.4).
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl TrustedClients {
    /// Makes a verifier.
    ///
    /// # Errors
    /// rustls does not accept an anchor or a list.
    pub(super) fn new(demand: ClientDemand, provider: Arc<CryptoProvider>) -> Result<Self, Wrong> {
        let algorithms = provider.signature_verification_algorithms;
        let roots = demand.anchors.chains();
        let chains = if roots.is_empty() {
            None
        } else {
            let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if let Some(revocations) = &demand.revocations {
                let lists = revocations.in_order_of_search();
                builder = builder.with_crls(lists).enforce_revocation_expiration();
            }
            Some(builder.build().map_err(|error| of_builder(&error))?)
        };
        Ok(Self {
            hints: hints(&demand.anchors),
            demand,
            chains,
            algorithms,
        })
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let is_anchor = self.demand.anchors.speaks_for(certificate);
        if is_anchor && self.demand.revocations.is_none() {
            ParsedCertificate::try_from(certificate)?;
            check_anchor(certificate, now, Use::Client)?;
            return Ok(ClientCertVerified::assertion());
        }
        let verified = match &self.chains {
            Some(chains) => chains.verify_client_cert(certificate, chain, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match verified {
            // Known as itself, but no list tells whether it is revoked.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) if is_anchor => Err(CertificateError::UnknownRevocationStatus.into()),
            verified => verified,
        }
    }
}

/// Returns the names of CAs, and of certificates that speak for themselves.
fn hints(anchors: &Anchors) -> Vec<DistinguishedName> {
    let mut hints = anchors.chains().subjects();
    let own = anchors.certificates().iter();
    for certificate in own.filter(|it| is_self_issued(it)) {
        let Some(name) = x509::read(certificate).map(|facts| facts.subject) else {
            continue;
        };
        if let Some(content) = Der(&name).enter(SEQUENCE) {
            let hint = DistinguishedName::in_sequence(content);
            let known = hints.iter().any(|one| one.as_ref() == hint.as_ref());
            if !content.is_empty() && !known {
                hints.push(hint);
            }
        }
    }
    hints
}

impl ClientCertVerifier for TrustedClients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.demand.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verify(certificate, chain, now);
        verified.inspect_err(|_| refused::note(certificate))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn of_builder(error: &VerifierBuilderError) -> Wrong {
    match error {
        VerifierBuilderError::NoRootAnchors => wrong("holds no certificate (BEGIN CERTIFICATE)"),
        VerifierBuilderError::InvalidCrl(why) => wrong(words::of_list(why)),
        _ => wrong("internal error: the TLS library refuses to verify certificates"),
    }
}

/// Accepts every certificate; the server must still prove that it holds the certificate's key.
#[derive(Debug)]
pub struct AnyCertificate(WebPkiSupportedAlgorithms);

impl AnyCertificate {
    /// Makes a verifier that checks signatures with these algorithms.
    #[must_use]
    pub fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self(algorithms)
    }
}

impl Default for AnyCertificate {
    /// Makes a verifier that checks signatures with every supported algorithm.
    fn default() -> Self {
        Self(default_provider().signature_verification_algorithms)
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
