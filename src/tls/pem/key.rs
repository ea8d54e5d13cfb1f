//! Kinds of private keys: which can sign a handshake here, and what to do about the others. The keys
//! themselves are read by the TLS library.

use x509_cert::der::oid::ObjectIdentifier;

use crate::tls::der::Der;

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The parameters of an EC key (RFC 5915 section 3).
const EC_PARAMETERS: u8 = 0xa0;

pub(super) const OPENSSH: &str =
    "is in OpenSSH's own form; ssh-keygen -p -m PKCS8 -f KEY rewrites the file KEY as PKCS#8";

const EXPLICIT_CURVE: &str = "the EC key spells out the parameters of its curve; openssl ec -in KEY -param_enc \
     named_curve -out NEW names the curve instead";

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const CURVES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
    ObjectIdentifier::new_unwrap("1.3.132.0.34"),
    ObjectIdentifier::new_unwrap("1.3.132.0.35"),
];

/// Names of kinds and curves that cannot be used.
const NAMES: [(ObjectIdentifier, &str); 21] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10040.4.1"), "DSA"),
    (
        ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10"),
        "RSA-PSS",
    ),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.3.1"), "DH"),
    (ObjectIdentifier::new_unwrap("1.2.840.10046.2.1"), "DH"),
    (ObjectIdentifier::new_unwrap("1.3.101.110"), "X25519"),
    (ObjectIdentifier::new_unwrap("1.3.101.111"), "X448"),
    (ObjectIdentifier::new_unwrap("1.3.101.113"), "Ed448"),
    (ObjectIdentifier::new_unwrap("1.2.156.10197.1.301"), "SM2"),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17"),
        "ML-DSA-44",
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18"),
        "ML-DSA-65",
    ),
    (
        ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19"),
        "ML-DSA-87",
    ),
    (ObjectIdentifier::new_unwrap("1.3.132.0.10"), "secp256k1"),
    (ObjectIdentifier::new_unwrap("1.3.132.0.33"), "P-224"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.1"), "P-192"),
    (
        ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.7"),
        "brainpoolP256r1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.11"),
        "brainpoolP384r1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.13"),
        "brainpoolP512r1",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.643.2.2.19"),
        "GOST R 34.10-2001",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.643.7.1.1.1.1"),
        "GOST R 34.10-2012",
    ),
    (
        ObjectIdentifier::new_unwrap("1.2.643.7.1.1.1.2"),
        "GOST R 34.10-2012",
    ),
    (ObjectIdentifier::new_unwrap("1.3.132.0.32"), "secp224k1"),
];

/// Returns why the key in DER under `label` cannot be used, with a remedy; none if it can, or if it cannot be
/// read this far: then the library tells.
pub(super) fn unusable(label: &str, der: &[u8]) -> Option<String> {
    match label {
        "PRIVATE KEY" => unusable_pkcs8(der),
        "EC PRIVATE KEY" => unusable_sec1(der),
        _ => None,
    }
}

/// Returns the complaint about a kind that cannot be used.
pub(super) fn unsupported(kind: &str) -> String {
    format!(
        "the private key is of the kind {kind}, which is not supported; \
         use an ECDSA (P-256, P-384, P-521), RSA or Ed25519 key, and a certificate for it"
    )
}

/// Reads the algorithm of a `PrivateKeyInfo` (RFC 5958 section 2).
fn unusable_pkcs8(der: &[u8]) -> Option<String> {
    let mut info = Der(Der(der).enter(SEQUENCE)?);
    info.enter(INTEGER)?;
    let mut algorithm = Der(info.enter(SEQUENCE)?);
    let kind = ObjectIdentifier::from_bytes(algorithm.enter(OID)?).ok()?;
    if kind == EC {
        return unusable_curve(algorithm);
    }
    (![RSA, ED25519].contains(&kind)).then(|| unsupported(&name(kind)))
}

/// Reads the curve of an `ECPrivateKey` (RFC 5915 section 3).
fn unusable_sec1(der: &[u8]) -> Option<String> {
    let mut key = Der(Der(der).enter(SEQUENCE)?);
    key.enter(INTEGER)?;
    key.enter(OCTETS)?;
    unusable_curve(Der(key.enter(EC_PARAMETERS)?))
}

fn unusable_curve(mut parameters: Der<'_>) -> Option<String> {
    if parameters.tag() == Some(SEQUENCE) {
        return Some(EXPLICIT_CURVE.to_owned());
    }
    let curve = ObjectIdentifier::from_bytes(parameters.enter(OID)?).ok()?;
    (!CURVES.contains(&curve)).then(|| unsupported(&format!("EC on the curve {}", name(curve))))
}

fn name(oid: ObjectIdentifier) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == oid);
    known.map_or_else(|| oid.to_string(), |(_, name)| (*name).to_owned())
}
