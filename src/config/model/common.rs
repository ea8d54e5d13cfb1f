//! Values that listeners and backends have in common.

use std::path::{Path, PathBuf};

/// Index into [`Config::backends`](super::Config::backends).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackendId(pub usize);

/// Files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first, or the combined file.
    pub cert: PathBuf,
    /// The private key; the same path for a combined file.
    pub key: PathBuf,
}

impl CertificateFiles {
    pub(super) fn paths(&self) -> [&Path; 2] {
        [&self.cert, &self.key]
    }
}

/// An element of `certificates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// One certificate.
    Files(CertificateFiles),
    /// A folder, all of whose certificates are taken.
    Folder(PathBuf),
}

impl CertificateSource {
    /// Returns the files, or the folder itself.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let (first, second) = match self {
            Self::Files(CertificateFiles { cert, key }) => (cert, Some(key)),
            Self::Folder(folder) => (folder, None),
        };
        let second = second.into_iter();
        [first].into_iter().chain(second).map(PathBuf::as_path)
    }
}

/// `tls.min_version`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}
