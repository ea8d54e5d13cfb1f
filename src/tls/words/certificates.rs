//! Certificates and revocation lists that are refused (RFC 5280), by rustls or by webpki below it.

use std::time::Duration;

use rustls::{CertRevocationListError, CertificateError, Error, ExtendedKeyPurpose, OtherError};
use rustls_pki_types::UnixTime;
use x509_cert::der::DateTime;
use x509_cert::der::oid::ObjectIdentifier;

use super::super::der::Der;
use super::super::refused::RefusedCertificate;
use super::other_end::{OtherEnd, UNKNOWN};

/// Most names of a certificate that a line of the log shows.
const NAMES_SHOWN_MAX: usize = 5;
const OBJECT_ID: u8 = 0x06;

/// Algorithms of signatures and keys that occur in certificates (RFC 8017, RFC 5758, RFC 8410, FIPS 204).
const ALGORITHMS: [(&str, &str); 20] = [
    ("1.2.840.113549.1.1.1", "RSA"),
    ("1.2.840.113549.1.1.4", "RSA with MD5"),
    ("1.2.840.113549.1.1.5", "RSA with SHA-1"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.113549.1.1.11", "RSA with SHA-256"),
    ("1.2.840.113549.1.1.12", "RSA with SHA-384"),
    ("1.2.840.113549.1.1.13", "RSA with SHA-512"),
    ("1.2.840.113549.1.1.14", "RSA with SHA-224"),
    ("1.2.840.10045.2.1", "ECDSA"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.10045.4.3.1", "ECDSA with SHA-224"),
    ("1.2.840.10045.4.3.2", "ECDSA with SHA-256"),
    ("1.2.840.10045.4.3.3", "ECDSA with SHA-384"),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.2.840.10040.4.3", "DSA with SHA-1"),
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("2.16.840.1.101.3.4.3.2", "DSA with SHA-256"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
];

/// Names the certificate that was refused.
pub(super) fn whose(peer: OtherEnd, certificate: Option<&RefusedCertificate>) -> String {
    let mut whose = format!("{}'s certificate", peer.name());
    match certificate {
        Some(RefusedCertificate { subject, serial }) if subject.is_empty() => {
            whose.push_str(&format!(" (serial {serial})"));
        }
        Some(RefusedCertificate { subject, serial }) => {
            whose.push_str(&format!(" ({subject}, serial {serial})"));
        }
        None => {}
    }
    whose
}

/// Describes why the certificate of `peer` is refused.
pub(super) fn told(
    wrong: &CertificateError,
    peer: OtherEnd,
    certificate: Option<&RefusedCertificate>,
) -> String {
    format!("{} {}", whose(peer, certificate), reason(wrong, peer))
}

/// Describes why a certificate of `ca` or `client_ca` cannot be one of them.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only certificates are read there"
)]
pub(in super::super) fn of_anchor(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            of_webpki(other.downcast_ref(), OtherEnd::Server).to_owned()
        }
        Error::InvalidCertificate(wrong) => reason(wrong, OtherEnd::Server),
        _ => UNKNOWN.to_owned(),
    }
}

#[expect(deprecated, reason = "rustls may still give the older variants")]
fn reason(wrong: &CertificateError, peer: OtherEnd) -> String {
    let (name, trust) = (peer.name(), peer.trust());
    match wrong {
        CertificateError::BadEncoding => {
            "is no valid X.509 (DER); it has to be issued anew".to_owned()
        }
        CertificateError::Expired => {
            "has expired or has an impossible validity; renew it".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!(
                "has expired: it was valid until {}; renew it",
                date(*not_after)
            )
        }
        CertificateError::NotValidYet => not_valid_yet(None),
        CertificateError::NotValidYetContext { not_before, .. } => not_valid_yet(Some(*not_before)),
        CertificateError::Revoked => "is revoked by a list in crl".to_owned(),
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that longsplice does not know; issue it without".to_owned()
        }
        CertificateError::UnknownIssuer => format!(
            "comes from no issuer in {trust}; add the issuer's certificate there, or have {name} send \
             the intermediate certificates as well"
        ),
        CertificateError::UnknownRevocationStatus => {
            "has an issuer of which crl holds no list; add the list of every CA in its chain"
                .to_owned()
        }
        CertificateError::ExpiredRevocationList => list_ended(None),
        CertificateError::ExpiredRevocationListContext { next_update, .. } => {
            list_ended(Some(*next_update))
        }
        CertificateError::BadSignature => format!(
            "has the name of an issuer in {trust}, but not its signature; {trust} may hold an older \
             certificate of the same name"
        ),
        CertificateError::UnsupportedSignatureAlgorithm => {
            "is signed with an algorithm that is not accepted; issue it with SHA-256".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        } => format!(
            "or its chain is signed with an algorithm that is not accepted ({}); issue it with \
             SHA-256 or better",
            algorithm(signature_algorithm_id)
        ),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => format!(
            "or its chain has a signature ({}) that its issuer's key cannot make, or a key that is \
             not accepted ({}); use RSA of 2048 bits or more, ECDSA P-256, P-384 or P-521, or Ed25519",
            algorithm(signature_algorithm_id),
            algorithm(public_key_algorithm_id)
        ),
        CertificateError::NotValidForName => {
            "is for another name; server_name in [backend.tls] says which one to expect".to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "is not for {}, but for {}; server_name in [backend.tls] says which name to expect",
            expected.to_str(),
            listed(presented)
        ),
        CertificateError::InvalidPurpose => not_for(peer, &[]),
        CertificateError::InvalidPurposeContext { presented, .. } => not_for(peer, presented),
        CertificateError::InvalidOcspResponse => "comes with an invalid OCSP answer".to_owned(),
        CertificateError::ApplicationVerificationFailure => "is refused".to_owned(),
        CertificateError::Other(OtherError(other)) => {
            of_webpki(other.downcast_ref(), peer).to_owned()
        }
        _ => UNKNOWN.to_owned(),
    }
}

fn not_valid_yet(since: Option<UnixTime>) -> String {
    let since = since.map_or_else(String::new, |since| format!(": it begins {}", date(since)));
    format!("is not valid yet{since}; a clock may be wrong, here or where it was issued")
}

fn list_ended(when: Option<UnixTime>) -> String {
    let when = when.map_or_else(String::new, |when| format!(" {}", date(when)));
    format!("cannot be checked: the list of its issuer in crl ended{when}; put the next one there")
}

/// Says that an extended key usage is missing (RFC 5280 section 4.2.1.12).
fn not_for(peer: OtherEnd, presented: &[ExtendedKeyPurpose]) -> String {
    let needed = match peer {
        OtherEnd::Client => "clientAuth",
        OtherEnd::Server => "serverAuth",
    };
    let name = |purpose: &ExtendedKeyPurpose| match purpose {
        ExtendedKeyPurpose::ClientAuth => "clientAuth".to_owned(),
        ExtendedKeyPurpose::ServerAuth => "serverAuth".to_owned(),
        ExtendedKeyPurpose::Other(arcs) => {
            let arcs: Vec<String> = arcs.iter().map(ToString::to_string).collect();
            arcs.join(".")
        }
    };
    let presented: Vec<String> = presented.iter().take(NAMES_SHOWN_MAX).map(name).collect();
    let for_what = if presented.is_empty() {
        String::new()
    } else {
        format!(" ({})", presented.join(", "))
    };
    format!(
        "is for another use: its extended key usage{for_what} lacks {needed}; issue it with {needed}"
    )
}

/// Describes what only webpki tells apart, behind `whose` certificate.
#[expect(deprecated, reason = "webpki may still give the older variants")]
fn of_webpki(error: Option<&webpki::Error>, peer: OtherEnd) -> &'static str {
    use webpki::Error as E;
    let Some(error) = error else {
        return "is refused by the TLS library for a reason that longsplice does not know";
    };
    match error {
        E::CaUsedAsEndEntity => match peer {
            OtherEnd::Client => {
                "is a CA certificate (CA:TRUE), which is none for a client; issue one with CA:FALSE, \
                 or put this very certificate into client_ca"
            }
            OtherEnd::Server => {
                "is a CA certificate (CA:TRUE), which is none for a server; issue one with CA:FALSE, \
                 or put this very certificate into ca"
            }
        },
        E::EndEntityUsedAsCa => "is signed by a certificate that is no CA (CA:FALSE)",
        E::CertDistrusted => "has a key that is known to be abused",
        E::EmptyEkuExtension => "has an extended key usage without a use; issue it anew",
        E::PathLenConstraintViolated => {
            "stands below more CAs than one of them allows (path length); issue it by a CA further up"
        }
        E::NameConstraintViolation => {
            "has a name that a CA of its chain may not sign (name constraints)"
        }
        E::MalformedNameConstraint | E::InvalidNetworkMaskConstraint => {
            "has a CA above it with malformed name constraints"
        }
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => {
            "comes with so many certificates that searching its chain was given up; send only those \
             of the chain"
        }
        E::ExtensionValueInvalid | E::MalformedExtensions => {
            "has a malformed extension; it has to be issued anew"
        }
        E::MalformedDnsIdentifier => "has a malformed name; it has to be issued anew",
        E::InvalidSerialNumber => "has an invalid serial number; it has to be issued anew",
        E::SignatureAlgorithmMismatch => {
            "names two algorithms for its one signature; it has to be issued anew"
        }
        E::UnsupportedCertVersion => {
            "is not of version 3 (openssl x509 -req makes version 1 without -extfile); issue it with \
             extensions, such as a subject alternative name"
        }
        E::UnsupportedCriticalExtension => {
            "has a critical extension that longsplice does not know; issue it without"
        }
        E::UnsupportedNameType => "is to have a name of an unknown kind",
        E::BadDer | E::BadDerTime | E::TrailingData(_) => {
            "is no valid X.509 (DER); it has to be issued anew"
        }
        E::InvalidCertValidity => "has an impossible validity; it has to be issued anew",
        E::InvalidCrlNumber
        | E::IssuerNotCrlSigner
        | E::UnsupportedCrlIssuingDistributionPoint
        | E::UnsupportedCrlVersion
        | E::UnsupportedDeltaCrl
        | E::UnsupportedIndirectCrl
        | E::UnsupportedRevocationReason
        | E::UnsupportedRevocationReasonsPartitioning => {
            "cannot be checked by the list of its issuer in crl, which is of a kind that longsplice \
             does not know"
        }
        // rustls has variants of its own for these.
        E::CertExpired { .. }
        | E::CertNotValidForName(_)
        | E::CertNotValidYet { .. }
        | E::CertRevoked
        | E::CrlExpired { .. }
        | E::InvalidCrlSignatureForPublicKey
        | E::InvalidSignatureForPublicKey
        | E::RequiredEkuNotFound
        | E::RequiredEkuNotFoundContext(_)
        | E::UnknownIssuer
        | E::UnknownRevocationStatus
        | E::UnsupportedCrlSignatureAlgorithm
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithm
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKey
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKey
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => "does not verify",
        _ => UNKNOWN,
    }
}

/// Describes what is wrong with a revocation list (RFC 5280 section 5).
#[expect(deprecated, reason = "rustls may still give the older variants")]
pub(in super::super) fn of_list(wrong: &CertRevocationListError) -> String {
    use CertRevocationListError as E;
    match wrong {
        E::BadSignature => {
            "the list of its issuer in crl has not the issuer's signature; the CA may \
                            have a new key"
                .to_owned()
        }
        E::UnsupportedSignatureAlgorithm => {
            "a list in crl is signed with an algorithm that is not accepted".to_owned()
        }
        E::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            ..
        } => format!(
            "a list in crl is signed with an algorithm that is not accepted ({}); sign it with SHA-256 \
             or better",
            algorithm(signature_algorithm_id)
        ),
        E::InvalidCrlNumber => "a list in crl has an invalid number".to_owned(),
        E::InvalidRevokedCertSerialNumber => {
            "a list in crl has an invalid serial number".to_owned()
        }
        E::IssuerInvalidForCrl => {
            "the issuer may not sign lists: its key usage lacks cRLSign".to_owned()
        }
        E::ParseError => "a list in crl is malformed".to_owned(),
        E::UnsupportedCrlVersion => {
            "a list in crl is not of version 2; openssl ca writes version 2 if crlnumber is set"
                .to_owned()
        }
        E::UnsupportedCriticalExtension => {
            "a list in crl has a critical extension that longsplice does not know".to_owned()
        }
        E::UnsupportedDeltaCrl => {
            "a list in crl holds only changes (delta CRL); a whole one is needed".to_owned()
        }
        E::UnsupportedIndirectCrl => {
            "a list in crl is for several issuers (indirect CRL); one per issuer is needed"
                .to_owned()
        }
        E::UnsupportedRevocationReason => {
            "a list in crl has an unknown reason of revocation".to_owned()
        }
        E::Other(OtherError(other)) => match other.downcast_ref() {
            Some(error) => of_webpki_list(error),
            None => "a list in crl is malformed".to_owned(),
        },
        _ => UNKNOWN.to_owned(),
    }
}

/// Describes why webpki cannot read a revocation list.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other errors are of certificates, or of the encoding"
)]
pub(in super::super) fn of_webpki_list(error: &webpki::Error) -> String {
    use CertRevocationListError as E;
    match error {
        webpki::Error::UnsupportedRevocationReasonsPartitioning => {
            "a list in crl is for some reasons of revocation only; a whole one is needed".to_owned()
        }
        webpki::Error::UnsupportedCrlIssuingDistributionPoint => {
            "a list in crl has a distribution point of a kind that longsplice does not know"
                .to_owned()
        }
        webpki::Error::InvalidCrlNumber => of_list(&E::InvalidCrlNumber),
        webpki::Error::InvalidSerialNumber => of_list(&E::InvalidRevokedCertSerialNumber),
        webpki::Error::UnsupportedCriticalExtension => of_list(&E::UnsupportedCriticalExtension),
        webpki::Error::UnsupportedCrlVersion => of_list(&E::UnsupportedCrlVersion),
        webpki::Error::UnsupportedDeltaCrl => of_list(&E::UnsupportedDeltaCrl),
        webpki::Error::UnsupportedIndirectCrl => of_list(&E::UnsupportedIndirectCrl),
        webpki::Error::UnsupportedRevocationReason => of_list(&E::UnsupportedRevocationReason),
        _ => of_list(&E::ParseError),
    }
}

/// Lists the names in a certificate, as many as fit into a line of the log.
fn listed(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name at all (no subject alternative name; the common name does not count)"
            .to_owned();
    }
    // rustls writes them as `DnsName("example.com")` and the like.
    let name = |shown: &String| {
        let inner = shown
            .split_once('(')
            .map_or(shown.as_str(), |(_, inner)| inner);
        inner.trim_matches(['(', ')', '"']).to_owned()
    };
    let mut names: Vec<String> = presented.iter().take(NAMES_SHOWN_MAX).map(name).collect();
    if presented.len() > NAMES_SHOWN_MAX {
        names.push("others".to_owned());
    }
    names.join(", ")
}

/// Names the algorithm of an AlgorithmIdentifier, given its content in DER.
fn algorithm(id: &[u8]) -> String {
    let oid = Der(id).enter(OBJECT_ID);
    let Some(oid) = oid.and_then(|oid| ObjectIdentifier::from_bytes(oid).ok()) else {
        return "unknown".to_owned();
    };
    let dotted = oid.to_string();
    match ALGORITHMS.iter().find(|(number, _)| *number == dotted) {
        Some((_, name)) => (*name).to_owned(),
        None => dotted,
    }
}

fn date(time: UnixTime) -> String {
    date_of(time.as_secs())
}

/// Writes a time, in seconds since 1970, as RFC 3339 does, in UTC.
pub(in super::super) fn date_of(seconds: u64) -> String {
    let since_1970 = Duration::from_secs(seconds);
    DateTime::from_unix_duration(since_1970)
        .map_or_else(|_| "in another age".to_owned(), |date| date.to_string())
}
