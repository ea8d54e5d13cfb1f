//! Files whose contents belong together, read again and again: a change counts when it is read twice. The meaning of
//! the contents is given by a function.

use std::path::PathBuf;

use aws_lc_rs::digest::{Context, SHA256};

use crate::admin::state::CertificateOwner;
use crate::tls::file;
use crate::tls::wrong::Wrong;

/// Files whose contents belong together.
pub(super) struct Files<T> {
    pub(super) paths: Vec<PathBuf>,
    make: fn(&[Vec<u8>]) -> Result<T, Wrong>,
    /// The last valid contents.
    pub(super) good: T,
    /// The digest of the texts that gave them.
    pub(super) digest: [u8; 32],
    pub(super) looks: Looks<Seen>,
    /// The last complaint about them, unless they are valid now.
    pub(super) complaint: Option<Wrong>,
}

impl<T> Files<T> {
    pub(super) fn read(
        paths: Vec<PathBuf>,
        make: fn(&[Vec<u8>]) -> Result<T, Wrong>,
    ) -> Result<Self, Wrong> {
        let texts = texts_of(&paths);
        Self::of(paths, texts, make)
    }

    /// Takes the texts that were read from the files.
    pub(super) fn of(
        paths: Vec<PathBuf>,
        texts: Result<Vec<Vec<u8>>, Wrong>,
        make: fn(&[Vec<u8>]) -> Result<T, Wrong>,
    ) -> Result<Self, Wrong> {
        let seen = seen(&texts);
        let looks = Looks::begin(seen.clone());
        Ok(Self {
            good: make(&texts?)?,
            digest: seen?,
            paths,
            make,
            looks,
            complaint: None,
        })
    }

    /// Returns the files' names for the log.
    pub(super) fn name(&self) -> String {
        let mut names: Vec<_> = self
            .paths
            .iter()
            .map(|path| path.display())
            .map(|name| name.to_string())
            .collect();
        names.dedup();
        names.join(", ")
    }

    /// Takes new valid contents and logs faults; returns whether there are new contents.
    pub(super) fn look_and_tell(&mut self, owner: &CertificateOwner) -> bool {
        self.look_and_judge(owner, |_, _| Ok(()))
    }

    /// As [`Self::look_and_tell`], but new contents also have to pass `judge`, which is given the previous ones
    /// as the second argument.
    pub(super) fn look_and_judge(
        &mut self,
        owner: &CertificateOwner,
        judge: impl FnOnce(&T, &T) -> Result<(), Wrong>,
    ) -> bool {
        let fresh = self.fresh();
        match fresh.map(|new| new.and_then(|new| judge(&new, &self.good).map(|()| new))) {
            None => false,
            Some(Ok(good)) => {
                self.good = good;
                if let Ok(digest) = self.looks.settled {
                    self.digest = digest;
                }
                true
            }
            Some(Err(why)) => {
                self.complain(owner, &why);
                false
            }
        }
    }

    pub(super) fn complain(&self, owner: &CertificateOwner, why: &Wrong) {
        let text = "not replaced: what was read before stays";
        keeps(owner, &self.name(), &why.to_string(), text);
    }

    /// Reads once and returns what is new; a fault has to be logged.
    pub(super) fn fresh(&mut self) -> Option<Result<T, Wrong>> {
        let texts = texts_of(&self.paths);
        if !self.looks.settles(seen(&texts)) {
            return None;
        }
        match texts.and_then(|texts| (self.make)(&texts)) {
            Ok(good) => {
                self.complaint = None;
                Some(Ok(good))
            }
            Err(wrong) if self.complaint.as_ref() == Some(&wrong) => None,
            Err(wrong) => {
                self.complaint = Some(wrong.clone());
                Some(Err(wrong))
            }
        }
    }
}

/// Logs that new contents of `file` are not used, and why.
pub(super) fn keeps(owner: &CertificateOwner, file: &str, why: &str, text: &str) {
    match owner {
        CertificateOwner::Listener(listener) => tracing::warn!(%listener, file, %why, "{text}"),
        CertificateOwner::Backend(backend) => tracing::warn!(%backend, file, %why, "{text}"),
    }
}

pub(super) fn texts_of(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, Wrong> {
    paths.iter().map(|path| file::text_of(path)).collect()
}

/// The result of reading files: a digest, so that keys are not in memory twice, or the reason of a failure.
pub(super) type Seen = Result<[u8; 32], Wrong>;

pub(super) fn seen(texts: &Result<Vec<Vec<u8>>, Wrong>) -> Seen {
    let mut context = Context::new(&SHA256);
    for text in texts.as_ref().map_err(Clone::clone)? {
        context.update(&text.len().to_be_bytes());
        context.update(text);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

/// The results of reading files so far.
pub(super) struct Looks<S> {
    /// The result that was last acted upon.
    pub(super) settled: S,
    /// The latest result, if it differs.
    fresh: Option<S>,
}

impl<S: PartialEq> Looks<S> {
    pub(super) fn begin(settled: S) -> Self {
        Self {
            settled,
            fresh: None,
        }
    }

    /// Returns whether a new result has come twice in a row.
    pub(super) fn settles(&mut self, seen: S) -> bool {
        if seen == self.settled {
            self.fresh = None;
            return false;
        }
        if self.fresh.as_ref() == Some(&seen) {
            self.settled = seen;
            self.fresh = None;
            return true;
        }
        self.fresh = Some(seen);
        false
    }
}
