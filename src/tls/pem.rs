//! PEM files (RFC 7468 and its forerunners) of certificates, private keys and revocation lists: bytes in,
//! blocks or an error out. Every `BEGIN` line of a file is used or named in an error, so that no part of a
//! file is lost in silence.
//!
//! The grammar is wider than RFC 7468 where files in use are: blocks may follow each other without a line
//! break, a byte order mark may stand before a block, lines may end in CRLF, text may stand between blocks,
//! and OpenSSL's older labels are known. A line that starts with `#` outside of a block is a comment, even if
//! it holds a `BEGIN`. `scan` finds the blocks, `key` tells kinds of private keys apart, and `foreign`
//! recognises files that are no PEM. Files are read by [`super::identity`], and the fields of certificates by
//! [`super::x509`].

mod bad;
mod foreign;
mod key;
mod scan;

use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
    PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use super::der::Der;
use scan::{Body, Raw};

pub use bad::BadPem;
pub use foreign::ForeignForm;

const SEQUENCE: u8 = 0x30;
const CRL_ELSEWHERE: &str = "a revocation list goes into the file of the key crl";

/// A block of a PEM file.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its `BEGIN`, counted from one.
    pub line: usize,
    /// The words between `BEGIN` and the dashes.
    pub label: String,
    /// The meaning of its bytes.
    pub material: Material,
}

/// The meaning of the bytes of a block.
#[derive(Debug, PartialEq, Eq)]
pub enum Material {
    /// A certificate, without what OpenSSL's `TRUSTED CERTIFICATE` holds behind it.
    Certificate(CertificateDer<'static>),
    /// A private key of a kind that can sign a handshake.
    Key(PrivateKeyDer<'static>),
    /// A private key that needs a passphrase.
    EncryptedKey,
    /// A list of revoked certificates.
    Crl(CertificateRevocationListDer<'static>),
    /// Parameters of a kind of keys, which the key or TLS itself holds too.
    Parameters,
    /// A block that cannot be used, with a description and a remedy.
    Unusable(String),
}

/// The certificates and private keys of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The certificates, in the order of the file.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The private keys, in the order of the file.
    pub keys: Vec<PrivateKeyDer<'static>>,
}

/// Reads all blocks of a PEM text, in their order. A text without any is an error only if it is recognised as
/// a file of another form.
///
/// # Errors
/// The text is no PEM, or a part of it is damaged.
///
/// # Source
/// RFC 7468; RFC 1421 section 4.6 for encrypted keys; OpenSSL's `PEM_read_bio` for older labels.
pub fn read(text: &[u8]) -> Result<Vec<Block>, BadPem> {
    let raw = scan::scan(text);
    // A file of another form may hold the dashes of PEM by chance, or in another encoding.
    let form = match &raw {
        Ok(raw) if !raw.is_empty() => None,
        Ok(_) | Err(_) => foreign::form(text),
    };
    if let Some(form) = form {
        return Err(BadPem::Foreign(form));
    }
    raw?.into_iter().map(block).collect()
}

/// Reads a text of certificates, at least one. Private keys and parameters are passed over: verification
/// needs none, and a file may hold a certificate together with its key.
///
/// # Errors
/// It is no such text.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadPem> {
    let mut found = Vec::new();
    for block in read(text)? {
        match block.material {
            Material::Certificate(der) => found.push(der),
            Material::Key(_) | Material::EncryptedKey | Material::Parameters => {}
            Material::Unusable(_) if block.label.ends_with("PRIVATE KEY") => {}
            Material::Crl(_) => return Err(misplaced(block.line, block.label, CRL_ELSEWHERE)),
            Material::Unusable(why) => return Err(unusable(block.line, block.label, why)),
        }
    }
    if found.is_empty() {
        return Err(BadPem::NoCertificate);
    }
    Ok(found)
}

/// Reads a text that holds certificates, private keys, or both; parameters are passed over.
///
/// # Errors
/// It is no such text.
pub fn parts(text: &[u8]) -> Result<Parts, BadPem> {
    let mut parts = Parts::default();
    for block in read(text)? {
        match block.material {
            Material::Certificate(der) => parts.certificates.push(der),
            Material::Key(key) => parts.keys.push(key),
            Material::EncryptedKey => return Err(BadPem::Encrypted { line: block.line }),
            Material::Parameters => {}
            Material::Crl(_) => return Err(misplaced(block.line, block.label, CRL_ELSEWHERE)),
            Material::Unusable(why) => return Err(unusable(block.line, block.label, why)),
        }
    }
    Ok(parts)
}

/// Reads a text that holds lists of revoked certificates and nothing else, at least one.
///
/// # Errors
/// It is no such text.
pub fn crls(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, BadPem> {
    let mut found = Vec::new();
    for block in read(text)? {
        match block.material {
            Material::Crl(der) => found.push(der),
            Material::Certificate(_)
            | Material::Key(_)
            | Material::EncryptedKey
            | Material::Parameters => {
                let remedy = "revocation lists alone (BEGIN X509 CRL) are read from this file";
                return Err(misplaced(block.line, block.label, remedy));
            }
            Material::Unusable(why) => return Err(unusable(block.line, block.label, why)),
        }
    }
    if found.is_empty() {
        return Err(BadPem::NoCrl);
    }
    Ok(found)
}

/// Returns whether a file holds the mark that begins a block.
#[must_use]
pub fn has_block(file: &[u8]) -> bool {
    const MARK: &[u8] = b"-----BEGIN ";
    file.windows(MARK.len()).any(|window| window == MARK)
}

fn unusable(line: usize, label: String, why: String) -> BadPem {
    BadPem::Unusable { line, label, why }
}

fn misplaced(line: usize, label: String, remedy: &'static str) -> BadPem {
    BadPem::Misplaced {
        line,
        label,
        remedy,
    }
}

/// Finds the meaning of a block.
fn block(raw: Raw<'_>) -> Result<Block, BadPem> {
    let material = material(&raw)?;
    Ok(Block {
        line: raw.line,
        label: raw.label.to_owned(),
        material,
    })
}

fn material(raw: &Raw<'_>) -> Result<Material, BadPem> {
    let bytes = match &raw.body {
        Body::Bytes(bytes) => bytes,
        Body::Encrypted => return Ok(Material::EncryptedKey),
    };
    let damaged = |noun| BadPem::Damaged {
        line: raw.line,
        label: raw.label.to_owned(),
        noun,
    };
    let unusable = |why: &str| Ok(Material::Unusable(why.to_owned()));
    match raw.label {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            // OpenSSL's auxiliary data, and whatever else it tolerates there, follow the certificate.
            let (certificate, _) = sequence(bytes).ok_or_else(|| damaged("X.509 certificate"))?;
            Ok(Material::Certificate(certificate.to_vec().into()))
        }
        "X509 CRL" => match sequence(bytes) {
            Some((crl, [])) => Ok(Material::Crl(crl.to_vec().into())),
            Some(_) | None => Err(damaged("revocation list")),
        },
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => match sequence(bytes) {
            Some((der, [])) => Ok(private_key(raw.label, der)),
            Some(_) | None => Err(damaged("private key")),
        },
        "EC PARAMETERS" | "DH PARAMETERS" | "X9.42 DH PARAMETERS" | "DSA PARAMETERS" => {
            Ok(Material::Parameters)
        }
        "ENCRYPTED PRIVATE KEY" => Ok(Material::EncryptedKey),
        "OPENSSH PRIVATE KEY" => unusable(key::OPENSSH),
        "PUBLIC KEY" | "RSA PUBLIC KEY" | "EC PUBLIC KEY" => unusable(
            "is a public key, which the certificate holds already; a private key has BEGIN PRIVATE KEY",
        ),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => unusable(
            "is a request (CSR); use the certificate (BEGIN CERTIFICATE) that the authority answers it with",
        ),
        "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => unusable(
            "is a PKCS#7 bundle; openssl pkcs7 -in FILE -print_certs -out NEW takes the certificates out",
        ),
        label => Ok(Material::Unusable(
            match label.strip_suffix(" PRIVATE KEY") {
                Some(kind) => key::unsupported(kind),
                None => "is of an unknown kind; remove the block".to_owned(),
            },
        )),
    }
}

fn private_key(label: &str, der: &[u8]) -> Material {
    if let Some(why) = key::unusable(label, der) {
        return Material::Unusable(why);
    }
    let der = der.to_vec();
    Material::Key(match label {
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
        _ => PrivatePkcs8KeyDer::from(der).into(),
    })
}

/// Splits a SEQUENCE, tag and length included, from the bytes behind it.
fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut der = Der(bytes);
    if der.tag() != Some(SEQUENCE) {
        return None;
    }
    Some((der.whole()?, der.0))
}

#[cfg(test)]
mod tests;
