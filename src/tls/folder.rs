//! Folders of certificates, as an element of `certificates` names them: which files are certificates, and in which
//! file the key of each is. Whether a certificate fits its key is [`super::identity`]'s matter.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::anchors::is_of_ca;
use super::file::text_of;
use super::pem::{self, BadPem};
use super::wrong::{Wrong, wrong};

/// Most certificates of a folder: all of them are read again and again.
pub const FILES_MAX: usize = 1000;
/// The ends of the names of certificates.
const ENDS: [&[u8]; 3] = [b".pem", b".crt", b".cer"];

/// A file of a folder that is a certificate, or has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderFile {
    /// A certificate, and the file of its key, which may be the same.
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A file that cannot be used.
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why, and what to do.
        why: Wrong,
    },
}

impl FolderFile {
    /// Returns the file of the certificate.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::Pair { cert, .. } => cert,
            Self::Unusable { file, .. } => file,
        }
    }
}

/// Reads a folder, in the order of the files' names. Files that hold only a key, and certificates of authorities
/// without a key, are passed over.
///
/// # Errors
/// The folder cannot be read, or holds too many certificates.
pub fn list(folder: &Path) -> Result<Vec<FolderFile>, Wrong> {
    let unreadable = |error| wrong(format!("{}: cannot be read: {error}", folder.display()));
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        names.insert(entry.map_err(unreadable)?.file_name());
    }
    let certificates: Vec<&OsString> = names.iter().filter(|name| is_certificate(name)).collect();
    if certificates.len() > FILES_MAX {
        return Err(wrong(format!(
            "{}: holds {} certificates; at most {FILES_MAX}",
            folder.display(),
            certificates.len()
        )));
    }
    let entry = |name: &&OsString| {
        let cert = folder.join(name);
        let key = names_of_keys(name)
            .into_iter()
            .find(|it| names.contains(it));
        match key_of(&cert, key.map(|name| folder.join(name))) {
            Ok(key) => key.map(|key| FolderFile::Pair { cert, key }),
            Err(why) => Some(FolderFile::Unusable { file: cert, why }),
        }
    };
    Ok(certificates.iter().filter_map(entry).collect())
}

/// Returns whether a file is a certificate by its name.
fn is_certificate(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.starts_with(b".") && ENDS.iter().any(|end| name.ends_with(end))
}

/// Returns the names that the file of a certificate's key may have: STEM.key and FILE.key.
fn names_of_keys(name: &OsStr) -> [OsString; 2] {
    let mut whole = name.to_owned();
    whole.push(".key");
    [
        Path::new(name).with_extension("key").into_os_string(),
        whole,
    ]
}

/// Finds the file of the key of a certificate: its own file, or the one beside it; none = it needs none.
fn key_of(cert: &Path, beside: Option<PathBuf>) -> Result<Option<PathBuf>, Wrong> {
    let parts = pem::parts(&text_of(cert)?)?;
    match (parts.certificates.is_empty(), parts.keys.is_empty()) {
        (false, false) => Ok(Some(cert.to_owned())),
        (true, false) => Ok(None),
        (true, true) => Err(BadPem::NoCertificate.into()),
        (false, true) if beside.is_some() => Ok(beside),
        (false, true) if parts.certificates.iter().all(|it| is_of_ca(it)) => Ok(None),
        (false, true) => Err(wrong(
            "the private key is missing: a BEGIN PRIVATE KEY block, here or in a file beside it with the same \
             name and .key",
        )),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;
    use crate::tls::testing::authority;

    #[test]
    fn names_say_what_may_be_a_certificate_and_its_key() {
        let rows = [
            ("a.pem", true),
            ("a.crt", true),
            ("a.b.cer", true),
            (".a.pem", false),
            ("..data", false),
            ("a.key", false),
            ("a.pem.key", false),
            ("a.pem~", false),
            ("pem", false),
        ];
        for (name, expected) in rows {
            assert_eq!(is_certificate(OsStr::new(name)), expected, "{name}");
        }
        let keys = names_of_keys(OsStr::new("a.b.crt"));
        assert_eq!(keys, ["a.b.key", "a.b.crt.key"]);
    }

    #[test]
    fn each_certificate_finds_its_key() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(["a".to_owned()]).unwrap();
        let cert = cert.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        let files = [
            ("b.pem", format!("{key}{cert}")),
            ("a.crt", cert.clone()),
            ("a.key", key.clone()),
            ("c.cer", cert.clone()),
            ("c.cer.key", key.clone()),
            ("ca.crt", authority("ca").pem()),
            ("privkey.pem", key),
            ("d.pem", cert),
            ("e.pem", String::new()),
            (".hidden.pem", "broken".to_owned()),
            ("readme.txt", "broken".to_owned()),
        ];
        for (name, text) in files {
            fs::write(at(name), text).unwrap();
        }
        let listed = list(folder.path()).unwrap();
        let shown: Vec<_> = listed
            .iter()
            .map(|entry| {
                let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
                match entry {
                    FolderFile::Pair { cert, key } => format!("{} {}", name(cert), name(key)),
                    FolderFile::Unusable { file, why } => format!("{}: {why}", name(file)),
                }
            })
            .collect();
        assert_eq!(
            shown,
            [
                "a.crt a.key",
                "b.pem b.pem",
                "c.cer c.cer.key",
                "d.pem: the private key is missing: a BEGIN PRIVATE KEY block, here or in a file beside it \
                 with the same name and .key",
                "e.pem: holds no certificate (BEGIN CERTIFICATE)",
            ]
        );
        for number in 0..=FILES_MAX {
            fs::write(at(&format!("{number}.pem")), "").unwrap();
        }
        let error = list(folder.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("holds 1008 certificates; at most 1000"),
            "{error}"
        );
        let error = list(&at("nowhere")).unwrap_err().to_string();
        assert!(error.contains("nowhere: cannot be read"), "{error}");
    }
}
