//! What a loaded certificate says of itself (RFC 5280 section 4.1): names, validity, kind of key. The
//! crate `x509-cert` reads it. Nothing is verified here: clients do that. What a connection needs of its
//! client's certificate is read by `shown`.

use rustls_pki_types::DnsName;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode, Tag, TagNumber, Tagged};
use x509_cert::ext::Extension;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;

use super::name;

/// The fields of a certificate that could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// DNS names it is valid for, in lower case; the common name if it has no other and that may be a DNS name.
    pub names: Vec<String>,
    /// Begin of its validity, in seconds since 1970.
    pub not_before: Option<i64>,
    /// End of its validity, in seconds since 1970.
    pub not_after: Option<i64>,
    /// Length of an RSA key in bits; none for other keys.
    pub rsa_bits: Option<usize>,
    /// The distinguished name of the issuer, in DER.
    pub issuer: Vec<u8>,
    /// The distinguished name of the subject, in DER.
    pub subject: Vec<u8>,
    /// The public key with its algorithm, in DER.
    pub public_key: Vec<u8>,
}

impl Facts {
    /// Returns whether it names itself as its issuer, as roots do.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Returns the subject as RFC 4514 writes it; empty when it cannot be read.
    #[must_use]
    pub fn subject_text(&self) -> String {
        name::text(&self.subject).unwrap_or_default()
    }

    /// Returns the issuer as RFC 4514 writes it; empty when it cannot be read.
    #[must_use]
    pub fn issuer_text(&self) -> String {
        name::text(&self.issuer).unwrap_or_default()
    }
}

/// Shortest RSA key without a warning, in bits (NIST SP 800-131A).
pub(super) const RSA_BITS_MIN: usize = 2048;
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// The tag of a DNS name among alternative names (RFC 5280 section 4.2.1.6).
const DNS_NAME: Tag = Tag::ContextSpecific {
    constructed: false,
    number: TagNumber(2),
};

/// Reads a certificate in DER; none when it is not one. Bytes after it are passed over.
#[must_use]
pub fn read(der: &[u8]) -> Option<Facts> {
    // Any serial number is taken, though RFC 5280 section 4.1.2.2 allows positive ones of 20 bytes at most.
    let (certificate, _) = CertificateInner::<Raw>::from_der_partial(der).ok()?;
    let body = certificate.tbs_certificate();
    let subject = body.subject().to_der().ok()?;
    let mut names = body
        .extensions()
        .map_or_else(Vec::new, |all| alternative_names(all));
    if names.is_empty() {
        let common = name::common_name(&subject).map(|name| name.to_lowercase());
        names.extend(common.filter(|name| is_host_name(name)));
    }
    let validity = body.validity();
    let seconds = |time: &Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
    let public_key = body.subject_public_key_info();
    Some(Facts {
        names,
        not_before: seconds(&validity.not_before),
        not_after: seconds(&validity.not_after),
        rsa_bits: rsa_bits(public_key),
        issuer: body.issuer().to_der().ok()?,
        subject,
        public_key: public_key.to_der().ok()?,
    })
}

/// Returns whether a client may ask for this name by SNI, or for names below it. An address and a title ("My
/// Gateway") are common names, too.
fn is_host_name(name: &str) -> bool {
    DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok()
}

fn alternative_names(extensions: &[Extension]) -> Vec<String> {
    let mut found = Vec::new();
    let list = extensions.iter().find(|it| it.extn_id == SUBJECT_ALT_NAME);
    let list = list.and_then(|it| AnyRef::from_der(it.extn_value.as_bytes()).ok());
    // Names of other kinds are passed over unread.
    let mut rest = list.map_or(&[][..], |list| list.value());
    while let Ok((name, after)) = AnyRef::from_der_partial(rest) {
        if name.tag() == DNS_NAME {
            found.push(String::from_utf8_lossy(name.value()).to_ascii_lowercase());
        }
        rest = after;
    }
    found
}

fn rsa_bits(public_key: &SubjectPublicKeyInfoOwned) -> Option<usize> {
    if public_key.algorithm.oid != RSA_ENCRYPTION {
        return None;
    }
    let key = AnyRef::from_der(public_key.subject_public_key.raw_bytes()).ok()?;
    let (modulus, _) = AnyRef::from_der_partial(key.value()).ok()?;
    let modulus = modulus.value();
    let start = modulus.iter().position(|byte| *byte != 0)?;
    let top = modulus.get(start)?;
    let bits = (modulus.len() - start) * 8;
    Some(bits - usize::try_from(top.leading_zeros()).ok()?)
}

#[cfg(test)]
mod tests;
