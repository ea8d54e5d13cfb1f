//! Folders of certificates, as an element of `certificates` names them: which files are certificates, and in which
//! file the key of each is. Whether a certificate fits its key is [`super::identity`]'s matter.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
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

    /// Returns the file of the key, unless the file cannot be used.
    #[must_use]
    pub fn key(&self) -> Option<&PathBuf> {
        match self {
            Self::Pair { key, .. } => Some(key),
            Self::Unusable { .. } => None,
        }
    }
}

/// Reads a folder once; see [`Listing::list`].
///
/// # Errors
/// The folder cannot be read, or holds too many certificates.
pub fn list(folder: &Path) -> Result<Vec<FolderFile>, Wrong> {
    Listing::new(folder).list()
}

/// A folder that is listed again and again. A file is read when it is new or its `Stamp` has changed, and
/// `READS_MORE` times after that.
pub struct Listing {
    folder: PathBuf,
    /// What is known of the files of certificates, by their names.
    known: BTreeMap<OsString, Known>,
}

/// How often a file that has changed is read again: a write right after a read may leave the stamp as it was,
/// because the clocks of file systems have steps, of up to two seconds.
const READS_MORE: u8 = 2;

/// What is known of a file.
struct Known {
    stamp: Stamp,
    holds: Result<Holds, Wrong>,
    reads_left: u8,
}

/// What changes when a file is written, or another takes its place: device, inode and length, and the times of
/// the last changes of the contents and of the inode, in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([u64; 3], [(i64, i64); 2]);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let it = fs::metadata(path).ok()?;
        let changed = [(it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec())];
        Some(Self([it.dev(), it.ino(), it.size()], changed))
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// A certificate and a key.
    Both,
    /// A key alone.
    Key,
    /// Certificates without a key.
    Certificates {
        /// Whether all are of authorities.
        of_cas: bool,
    },
}

impl Listing {
    /// Knows nothing of the files yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            known: BTreeMap::new(),
        }
    }

    /// Lists the folder, in the order of the files' names. Files that hold only a key, and certificates of
    /// authorities without a key, are passed over.
    ///
    /// # Errors
    /// The folder cannot be read, or holds too many certificates.
    pub fn list(&mut self) -> Result<Vec<FolderFile>, Wrong> {
        self.list_with(text_of)
    }

    fn list_with(
        &mut self,
        mut read: impl FnMut(&Path) -> Result<Vec<u8>, Wrong>,
    ) -> Result<Vec<FolderFile>, Wrong> {
        let folder = &self.folder;
        let unreadable = |error| wrong(format!("{}: cannot be read: {error}", folder.display()));
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            names.insert(entry.map_err(unreadable)?.file_name());
        }
        let count = names.iter().filter(|name| is_certificate(name)).count();
        if count > FILES_MAX {
            return Err(wrong(format!(
                "{}: holds {count} certificates; at most {FILES_MAX}",
                folder.display(),
            )));
        }
        let mut before = std::mem::take(&mut self.known);
        let mut listed = Vec::new();
        for name in names.iter().filter(|name| is_certificate(name)) {
            let cert = self.folder.join(name);
            let beside = names_of_keys(name)
                .into_iter()
                .find(|it| names.contains(it));
            let (holds, known) = holds_of(&cert, before.remove(name), &mut read);
            match key_of(&cert, holds, beside.map(|name| self.folder.join(name))) {
                Ok(Some(key)) => listed.push(FolderFile::Pair { cert, key }),
                Ok(None) => {}
                Err(why) => listed.push(FolderFile::Unusable { file: cert, why }),
            }
            if let Some(known) = known {
                self.known.insert(name.clone(), known);
            }
        }
        Ok(listed)
    }
}

/// Returns what a file holds, and what to remember of it; nothing if it cannot be read. The stamp is taken before
/// the file is read, so that a write between the two is seen the next time.
fn holds_of(
    path: &Path,
    known: Option<Known>,
    read: &mut impl FnMut(&Path) -> Result<Vec<u8>, Wrong>,
) -> (Result<Holds, Wrong>, Option<Known>) {
    let stamp = Stamp::of(path);
    let known = known.filter(|known| stamp == Some(known.stamp));
    let reads_left = match known {
        Some(known) if known.reads_left == 0 => return (known.holds.clone(), Some(known)),
        Some(known) => known.reads_left - 1,
        None => READS_MORE,
    };
    let text = match read(path) {
        Ok(text) => text,
        Err(why) => return (Err(why), None),
    };
    let holds = holds(&text);
    let known = stamp.map(|stamp| Known {
        stamp,
        holds: holds.clone(),
        reads_left,
    });
    (holds, known)
}

fn holds(text: &[u8]) -> Result<Holds, Wrong> {
    let parts = pem::parts(text)?;
    match (parts.certificates.is_empty(), parts.keys.is_empty()) {
        (false, false) => Ok(Holds::Both),
        (true, false) => Ok(Holds::Key),
        (true, true) => Err(BadPem::NoCertificate.into()),
        (false, true) => Ok(Holds::Certificates {
            of_cas: parts.certificates.iter().all(|it| is_of_ca(it)),
        }),
    }
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
fn key_of(
    cert: &Path,
    holds: Result<Holds, Wrong>,
    beside: Option<PathBuf>,
) -> Result<Option<PathBuf>, Wrong> {
    match holds? {
        Holds::Both => Ok(Some(cert.to_owned())),
        Holds::Key => Ok(None),
        Holds::Certificates { .. } if beside.is_some() => Ok(beside),
        Holds::Certificates { of_cas: true } => Ok(None),
        Holds::Certificates { of_cas: false } => Err(wrong(
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

    #[test]
    fn only_files_that_have_changed_are_read_again() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(["a".to_owned()]).unwrap();
        let cert = cert.self_signed(&key).unwrap().pem();
        let both = cert + &key.serialize_pem();
        for name in ["a.pem", "b.pem"] {
            fs::write(at(name), &both).unwrap();
        }
        let mut listing = Listing::new(folder.path());
        let mut look = || {
            let mut read = Vec::new();
            let listed = listing.list_with(|path| {
                read.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                text_of(path)
            });
            (listed.unwrap(), read.join(" "))
        };
        let (first, read) = look();
        assert_eq!(read, "a.pem b.pem");
        // The clock of the file system may not have moved on: they are read twice more.
        for expected in ["a.pem b.pem", "a.pem b.pem", "", ""] {
            assert_eq!(look(), (first.clone(), expected.to_owned()));
        }
        // As long as before, but the key is gone.
        let keyless = both.replace("PRIVATE KEY", "PRIVATE DOG");
        fs::write(at("b.pem"), keyless).unwrap();
        for expected in ["b.pem", "b.pem", "b.pem", ""] {
            let (listed, read) = look();
            assert_ne!(listed, first);
            assert_eq!(read, expected);
        }
        // Another file in its place.
        fs::write(at(".b"), &both).unwrap();
        fs::rename(at(".b"), at("b.pem")).unwrap();
        for expected in ["b.pem", "b.pem", "b.pem", ""] {
            assert_eq!(look(), (first.clone(), expected.to_owned()));
        }
        // What cannot be read is tried again each time.
        fs::remove_file(at("b.pem")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("b.pem")).unwrap();
        for _ in 0..5 {
            assert_eq!(look().1, "b.pem");
        }
        // A key that comes beside a certificate needs no read.
        fs::remove_file(at("b.pem")).unwrap();
        fs::rename(at("a.pem"), at("c.crt")).unwrap();
        assert_eq!(look().1, "c.crt");
    }
}
