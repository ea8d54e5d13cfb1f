//! Recognises files that are given for PEM files and are none: other encodings, and containers of
//! certificates and keys. The first bytes decide; such files are not read further.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::tls::der::Der;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// Content types of PKCS#7 and CMS: 1.2.840.113549.1.7 (RFC 5652).
const PKCS7: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07";
/// PBES1 and PBES2: 1.2.840.113549.1.5 (RFC 8018), and PKCS#12's own: 1.2.840.113549.1.12.1 (RFC 7292).
const ENCRYPTIONS: [&[u8]; 2] = [
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x05",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01",
];

/// The form of a file that is no PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignForm {
    /// Text in UTF-16, as Windows' editors write it.
    Utf16,
    /// A certificate in DER.
    Certificate,
    /// A private key in DER.
    Key,
    /// An encrypted private key in DER.
    EncryptedKey,
    /// A PKCS#12 container (`.p12`, `.pfx`).
    Pkcs12,
    /// A PKCS#7 bundle in DER (`.p7b`).
    Pkcs7,
    /// Something else in DER.
    Der,
    /// A key store of Java.
    KeyStore,
    /// PEM that is encoded in base64 once more.
    Base64OfPem,
    /// Base64 without `BEGIN` and `END` lines.
    BareBase64,
}

impl fmt::Display for ForeignForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf16 => {
                "is text in UTF-16, and PEM is ASCII; iconv -f UTF-16 -t UTF-8 FILE > NEW converts it"
            }
            Self::Certificate => {
                "is a certificate in DER, not PEM; openssl x509 -inform DER -in FILE -out NEW converts it"
            }
            Self::Key => {
                "is a private key in DER, not PEM; openssl pkey -inform DER -in FILE -out NEW converts it"
            }
            Self::EncryptedKey => {
                "is an encrypted private key in DER, not PEM; openssl pkey -inform DER -in FILE -out NEW \
                 converts it and takes the passphrase off"
            }
            Self::Pkcs12 => {
                "is a PKCS#12 container, not PEM; openssl pkcs12 -in FILE -nodes -out NEW converts it"
            }
            Self::Pkcs7 => {
                "is a PKCS#7 bundle in DER, not PEM; openssl pkcs7 -inform DER -in FILE -print_certs -out NEW \
                 converts it"
            }
            Self::Der => "is DER, not PEM, and neither a certificate nor a private key",
            Self::KeyStore => {
                "is a key store of Java, not PEM; keytool -importkeystore -srckeystore FILE -destkeystore P12 \
                 -deststoretype pkcs12 and openssl pkcs12 -in P12 -nodes -out NEW convert it"
            }
            Self::Base64OfPem => {
                "is PEM in base64 once more, as in a Kubernetes Secret; base64 -d FILE > NEW decodes it"
            }
            Self::BareBase64 => {
                "is base64 without the lines -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----, or \
                 those of a private key; add them"
            }
        })
    }
}

/// Recognises the form of a file without PEM blocks; none if it is not known.
pub(super) fn form(file: &[u8]) -> Option<ForeignForm> {
    let is_utf16 = file.starts_with(b"\xff\xfe") || file.starts_with(b"\xfe\xff");
    if is_utf16 || has(file, b"B\0E\0G\0I\0N\0") {
        return Some(ForeignForm::Utf16);
    }
    if file.starts_with(b"\xfe\xed\xfe\xed") {
        return Some(ForeignForm::KeyStore);
    }
    if let Some(form) = form_of_der(file) {
        return Some(form);
    }
    let signs = file.iter().filter(|byte| !byte.is_ascii_whitespace());
    let bytes = BASE64_STANDARD
        .decode(signs.copied().collect::<Vec<_>>())
        .ok()?;
    if has(&bytes, b"-----BEGIN ") {
        return Some(ForeignForm::Base64OfPem);
    }
    form_of_der(&bytes).map(|_| ForeignForm::BareBase64)
}

/// Tells apart what may stand in a file of DER; none if the file is not one SEQUENCE.
fn form_of_der(file: &[u8]) -> Option<ForeignForm> {
    let mut rest = Der(file);
    // PKCS#12 may be in BER, whose length is not known at its start.
    if file.starts_with(b"\x30\x80\x02\x01\x03\x30") {
        return Some(ForeignForm::Pkcs12);
    }
    let mut content = Der(rest.enter(SEQUENCE)?);
    if !rest.0.is_empty() {
        // A text may begin with the digit 0, which is the tag of a SEQUENCE.
        return None;
    }
    let (Some(first), Some(second)) = (content.next(), content.next()) else {
        return Some(ForeignForm::Der);
    };
    let third = content.tag();
    Some(match (first, second) {
        // RFC 5280 section 4.1: a SEQUENCE, the algorithm, and the signature.
        ((SEQUENCE, _), (SEQUENCE, _)) if third == Some(BIT_STRING) => ForeignForm::Certificate,
        // RFC 7292 section 4: version 3 and a PKCS#7 content.
        ((INTEGER, [3]), (SEQUENCE, _)) => ForeignForm::Pkcs12,
        // RFC 5958 section 2: a version, the algorithm, and the key; RFC 8017: numbers; RFC 5915: the key.
        ((INTEGER, [0 | 1]), (SEQUENCE, _)) if third == Some(OCTETS) => ForeignForm::Key,
        ((INTEGER, [0 | 1]), (INTEGER, _)) if third == Some(INTEGER) => ForeignForm::Key,
        ((INTEGER, [1]), (OCTETS, _)) => ForeignForm::Key,
        ((SEQUENCE, algorithm), (OCTETS, _)) if is_encryption(algorithm) => {
            ForeignForm::EncryptedKey
        }
        ((OID, kind), _) if kind.starts_with(PKCS7) => ForeignForm::Pkcs7,
        _ => ForeignForm::Der,
    })
}

fn is_encryption(algorithm: &[u8]) -> bool {
    let oid = Der(algorithm).enter(OID).unwrap_or_default();
    ENCRYPTIONS.iter().any(|known| oid.starts_with(known))
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
