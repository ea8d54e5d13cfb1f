//! A folder of certificates while the process runs: certificates that are added and removed. Each of them is looked
//! after like one that the configuration names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::certificate::Certificate;
use super::files::{Looks, keeps};
use crate::admin::state::CertificateOwner;
use crate::config::CertificateFiles;
use crate::tls::folder::{FolderFile, list};
use crate::tls::wrong::Wrong;

/// A folder of certificates.
pub(super) struct Folder {
    path: PathBuf,
    /// Its index among the elements of `certificates`.
    element: usize,
    looks: Looks<Result<Vec<FolderFile>, Wrong>>,
    /// What was said of files, so that it is said once.
    said: BTreeMap<PathBuf, String>,
}

/// The files of certificates that came and went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) added: Vec<PathBuf>,
    pub(super) removed: Vec<PathBuf>,
}

impl Folder {
    /// Reads a folder with its certificates.
    ///
    /// # Errors
    /// A description of the fault; the folder was valid when the configuration was read.
    pub(super) fn read(path: &Path, element: usize) -> Result<(Self, Vec<Certificate>), Wrong> {
        let listed = list(path)?;
        let mut certificates = Vec::new();
        for entry in &listed {
            match entry {
                FolderFile::Pair { cert, key } => {
                    certificates.push(certificate(cert, key, element)?);
                }
                FolderFile::Unusable { why, .. } => return Err(why.clone()),
            }
        }
        let folder = Self {
            path: path.to_owned(),
            element,
            looks: Looks::begin(Ok(listed)),
            said: BTreeMap::new(),
        };
        Ok((folder, certificates))
    }

    /// Adds certificates to all those of the listener, and removes those whose files are gone, unless none would
    /// be left. A listing counts when it is seen twice.
    pub(super) fn look(
        &mut self,
        certificates: &mut Vec<Certificate>,
        owner: &CertificateOwner,
    ) -> Changes {
        self.looks.settles(list(&self.path));
        let mut wrong: Vec<(PathBuf, String, &str)> = Vec::new();
        let mut changes = Changes::default();
        match &self.looks.settled {
            Ok(entries) => {
                for entry in entries {
                    if let Err(why) = add(entry, self.element, certificates, &mut changes.added) {
                        let file = entry.file().to_owned();
                        wrong.push((
                            file,
                            why.to_string(),
                            "not used: the other certificates stay",
                        ));
                    }
                }
                let is_gone = |it: &Certificate| {
                    it.element == self.element
                        && !entries
                            .iter()
                            .any(|entry| Some(entry.file()) == cert_of(it))
                };
                if certificates.iter().all(is_gone) {
                    let why = "holds no certificate with a key any more".to_owned();
                    wrong.push((self.path.clone(), why, "not removed: the last ones stay"));
                } else {
                    let gone = certificates.extract_if(.., |it| is_gone(it));
                    let gone = gone.filter_map(|it| cert_of(&it).map(Path::to_owned));
                    changes.removed.extend(gone);
                }
            }
            Err(why) => {
                let text = "not read: its certificates stay";
                wrong.push((self.path.clone(), why.to_string(), text));
            }
        }
        // In the order of the configuration, and of the names in a folder.
        certificates.sort_by(|a, b| (a.element, cert_of(a)).cmp(&(b.element, cert_of(b))));
        self.say(wrong, owner);
        changes
    }

    fn say(&mut self, wrong: Vec<(PathBuf, String, &str)>, owner: &CertificateOwner) {
        let before = std::mem::take(&mut self.said);
        for (file, why, text) in wrong {
            if before.get(&file) != Some(&why) {
                keeps(owner, &file.display().to_string(), &why, text);
            }
            self.said.insert(file, why);
        }
    }
}

/// Adds the certificate of an entry unless it is there. One whose file has become unusable is looked after by
/// itself.
fn add(
    entry: &FolderFile,
    element: usize,
    certificates: &mut Vec<Certificate>,
    added: &mut Vec<PathBuf>,
) -> Result<(), Wrong> {
    let is_it = |it: &Certificate| it.element == element && cert_of(it) == Some(entry.file());
    let known = certificates.iter().position(is_it);
    let (cert, key) = match (entry, known) {
        (FolderFile::Pair { cert, key }, _) => (cert, key),
        (FolderFile::Unusable { .. }, Some(_)) => return Ok(()),
        (FolderFile::Unusable { why, .. }, None) => return Err(why.clone()),
    };
    let known = known.and_then(|index| certificates.get_mut(index));
    match known {
        Some(known) if known.files.paths.get(1) == Some(key) => return Ok(()),
        // Its key has moved into another file.
        Some(known) => *known = certificate(cert, key, element)?,
        None => certificates.push(certificate(cert, key, element)?),
    }
    added.push(cert.clone());
    Ok(())
}

fn certificate(cert: &Path, key: &Path, element: usize) -> Result<Certificate, Wrong> {
    let (cert, key) = (cert.to_owned(), key.to_owned());
    let mut certificate = Certificate::read(&CertificateFiles { cert, key })?;
    certificate.element = element;
    Ok(certificate)
}

fn cert_of(certificate: &Certificate) -> Option<&Path> {
    certificate.files.paths.first().map(PathBuf::as_path)
}
