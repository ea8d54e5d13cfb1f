//! A folder of certificates while the process runs: certificates that are added and removed. Each of them is looked
//! after like one that the configuration names.
//!
//! A file that has come, and one that is gone, counts when two listings in a row say so. What a new certificate
//! and its key hold counts when it is read twice, and is not used while clients would refuse it
//! ([`judge::unfit`]); a reload asks nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::certificate::Certificate;
use super::files::{Looks, Seen, keeps, seen, texts_of};
use crate::admin::state::CertificateOwner;
use crate::config::CertificateFiles;
use crate::tls::folder::{FolderFile, Listing};
use crate::tls::judge::{self, Finding};
use crate::tls::servers::is_root_of_system;
use crate::tls::wrong::Wrong;

/// A folder of certificates.
pub(super) struct Folder {
    path: PathBuf,
    /// Its index among the elements of `certificates`.
    element: usize,
    listing: Listing,
    /// The previous listing.
    before: Result<Vec<FolderFile>, Wrong>,
    /// Certificates that are not used yet, by their files.
    arrivals: BTreeMap<PathBuf, Arrival>,
    /// What was said of files, so that it is said once.
    said: BTreeMap<PathBuf, String>,
}

/// The files of certificates that came and went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) added: Vec<PathBuf>,
    pub(super) removed: Vec<PathBuf>,
}

/// A file, why it is not as the operator wants it, and what happens instead.
type Complaint = (PathBuf, String, &'static str);

impl Folder {
    /// Reads a folder with its certificates.
    ///
    /// # Errors
    /// A description of the fault; the folder was valid when the configuration was read.
    pub(super) fn read(path: &Path, element: usize) -> Result<(Self, Vec<Certificate>), Wrong> {
        let mut listing = Listing::new(path);
        let listed = listing.list()?;
        let mut certificates = Vec::new();
        for entry in &listed {
            match entry {
                FolderFile::Pair { cert, key } => {
                    let (cert, key) = (cert.clone(), key.clone());
                    let mut certificate = Certificate::read(&CertificateFiles { cert, key })?;
                    certificate.element = element;
                    certificates.push(certificate);
                }
                FolderFile::Unusable { why, .. } => return Err(why.clone()),
            }
        }
        let folder = Self {
            path: path.to_owned(),
            element,
            listing,
            before: Ok(listed),
            arrivals: BTreeMap::new(),
            said: BTreeMap::new(),
        };
        Ok((folder, certificates))
    }

    /// Adds certificates to all those of the listener, and removes those whose files are gone, unless none would
    /// be left.
    pub(super) fn look(
        &mut self,
        certificates: &mut Vec<Certificate>,
        owner: &CertificateOwner,
        now_s: i64,
    ) -> Changes {
        let now = self.listing.list();
        let before = std::mem::replace(&mut self.before, now.clone());
        let (now, before) = match (&now, &before) {
            (Ok(now), Ok(before)) => (by_file(now), by_file(before)),
            (Err(why), Err(same)) if why == same => {
                let text = "not read: its certificates stay";
                self.say(vec![(self.path.clone(), why.to_string(), text)], owner);
                return Changes::default();
            }
            // A fault counts when it is seen twice, and so does its end.
            (Ok(_) | Err(_), Err(_)) | (Err(_), Ok(_)) => return Changes::default(),
        };
        let mut wrong = Vec::new();
        let added = self.add(&now, &before, certificates, now_s, &mut wrong);
        let is_gone = |it: &Certificate| {
            let is_listed = |file| now.contains_key(file) || before.contains_key(file);
            it.element == self.element && !cert_of(it).is_some_and(is_listed)
        };
        let mut removed = Vec::new();
        if certificates.iter().all(is_gone) {
            let why = "holds no certificate with a key any more".to_owned();
            wrong.push((self.path.clone(), why, "not removed: the last ones stay"));
        } else {
            let gone = certificates.extract_if(.., |it| is_gone(it));
            removed.extend(gone.filter_map(|it| cert_of(&it).map(Path::to_owned)));
        }
        // In the order of the configuration, and of the names in a folder.
        certificates.sort_by(|a, b| (a.element, cert_of(a)).cmp(&(b.element, cert_of(b))));
        self.say(wrong, owner);
        Changes { added, removed }
    }

    /// Adds the certificates that have come; returns their files. A known one whose key has moved into another
    /// file is read from there, and what is new there is judged like every replacement. A known one whose file
    /// has become unusable is looked after by itself.
    fn add(
        &mut self,
        now: &ByFile<'_>,
        before: &ByFile<'_>,
        certificates: &mut Vec<Certificate>,
        now_s: i64,
        wrong: &mut Vec<Complaint>,
    ) -> Vec<PathBuf> {
        let mut known = BTreeMap::new();
        for (index, it) in certificates.iter().enumerate() {
            if let Some(cert) = cert_of(it).filter(|_| it.element == self.element) {
                known.insert(cert.to_owned(), index);
            }
        }
        let key_of = |cert: &PathBuf| now.get(cert.as_path()).and_then(|entry| entry.key());
        self.arrivals.retain(|cert, arrival| {
            !known.contains_key(cert) && key_of(cert) == Some(&arrival.key)
        });
        let mut added = Vec::new();
        for (file, entry) in now {
            let is_twice = before.get(file) == Some(entry);
            let known = known.get(*file).and_then(|at| certificates.get_mut(*at));
            match (entry, known) {
                (FolderFile::Pair { cert, key }, Some(known)) => {
                    if known.files.paths.get(1) != Some(key) {
                        known.files.paths = vec![cert.clone(), key.clone()];
                    }
                }
                (FolderFile::Unusable { .. }, Some(_)) => {}
                (FolderFile::Unusable { file, why }, None) => {
                    if is_twice {
                        wrong.push((file.clone(), why.to_string(), NOT_USED));
                    }
                }
                (FolderFile::Pair { cert, key }, None) => {
                    let arrival = self.arrivals.entry(cert.clone());
                    let arrival = arrival.or_insert_with(|| Arrival::new(key));
                    match arrival.look(cert, certificates, now_s) {
                        None => {}
                        Some(Ok(mut certificate)) => {
                            certificate.element = self.element;
                            certificates.push(certificate);
                            added.push(cert.clone());
                        }
                        Some(Err((why, text))) => wrong.push((cert.clone(), why, text)),
                    }
                }
            }
        }
        self.arrivals.retain(|cert, _| !added.contains(cert));
        added
    }

    fn say(&mut self, wrong: Vec<Complaint>, owner: &CertificateOwner) {
        let before = std::mem::take(&mut self.said);
        for (file, why, text) in wrong {
            if before.get(&file) != Some(&why) {
                keeps(owner, &file.display().to_string(), &why, text);
            }
            self.said.insert(file, why);
        }
    }
}

const NOT_USED: &str = "not used: the other certificates stay";

/// A certificate that has come and is not used yet.
struct Arrival {
    key: PathBuf,
    looks: Looks<Option<Seen>>,
    /// What was read twice.
    read: Option<Result<Certificate, Wrong>>,
}

impl Arrival {
    fn new(key: &Path) -> Self {
        Self {
            key: key.to_owned(),
            looks: Looks::begin(None),
            read: None,
        }
    }

    /// Reads it once, and returns it when it may be used, or why it may not; none = what it holds has to be read
    /// again.
    fn look(
        &mut self,
        cert: &Path,
        others: &[Certificate],
        now_s: i64,
    ) -> Option<Result<Certificate, (String, &'static str)>> {
        let paths = vec![cert.to_owned(), self.key.clone()];
        let texts = texts_of(&paths);
        let seen = Some(seen(&texts));
        if self.looks.settles(seen.clone()) {
            self.read = Some(Certificate::of(paths, texts));
        }
        if self.looks.settled != seen {
            return None;
        }
        let certificate = match self.read.take()? {
            Ok(certificate) => certificate,
            Err(why) => {
                let text = why.to_string();
                self.read = Some(Err(why));
                return Some(Err((text, NOT_USED)));
            }
        };
        let judged: Vec<_> = others.iter().map(|it| it.files.good.to_judge("")).collect();
        let new = certificate.files.good.to_judge("");
        let found = judge::unfit(&new, &judged, now_s, is_root_of_system);
        if found.is_empty() {
            return Some(Ok(certificate));
        }
        self.read = Some(Ok(certificate));
        let why: Vec<String> = found.iter().map(Finding::to_string).collect();
        let text = "not added: clients would refuse the new certificate; mend the file, or reload to take it as it is";
        Some(Err((why.join("; "), text)))
    }
}

type ByFile<'a> = BTreeMap<&'a Path, &'a FolderFile>;

fn by_file(listed: &[FolderFile]) -> ByFile<'_> {
    listed.iter().map(|entry| (entry.file(), entry)).collect()
}

fn cert_of(certificate: &Certificate) -> Option<&Path> {
    certificate.files.paths.first().map(PathBuf::as_path)
}

#[cfg(test)]
mod tests;
