//! A certificate with its key while the process runs: what is new in its files, what was refused, and its end.
//! Whether a new one is worse is judged by its owner.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::files::{Files, keeps, texts_of};
use crate::admin::state::{CertificateInUse, CertificateOwner};
use crate::config::CertificateFiles;
use crate::log::timestamp;
use crate::tls::identity::{self, Identity};
use crate::tls::judge::{self, Finding};
use crate::tls::servers::is_root_of_system;
use crate::tls::wrong::Wrong;

/// Pause between two warnings about the expiry of one certificate.
const END_QUIET_S: i64 = 24 * 60 * 60;

/// A certificate with its key.
pub(super) struct Certificate {
    pub(super) files: Files<Identity>,
    /// The index of the element of `certificates` that names it, or its folder.
    pub(super) element: usize,
    /// What stands in the files now, if it was refused.
    refused: Option<Refused>,
    /// Time of the last warning about its expiry, in seconds since 1970.
    spoken_of_s: Option<i64>,
}

/// New contents of the files of a certificate.
pub(super) struct Candidate {
    pub(super) identity: Identity,
    /// The fault that its issuer is missing, if that of the present certificate is not.
    pub(super) issuer_lost: Option<Finding>,
    /// The reason of an earlier refusal.
    known_why: Option<String>,
}

/// A certificate that was refused. It is judged again as time passes: it may become valid, or the present
/// one expire.
struct Refused {
    candidate: Candidate,
    why: String,
}

impl Certificate {
    /// Reads it. Its warnings have been logged with the configuration.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, Wrong> {
        let paths = vec![files.cert.clone(), files.key.clone()];
        let texts = texts_of(&paths);
        Self::of(paths, texts)
    }

    /// Takes the texts that were read from the files of the certificate and its key.
    pub(super) fn of(
        paths: Vec<PathBuf>,
        texts: Result<Vec<Vec<u8>>, Wrong>,
    ) -> Result<Self, Wrong> {
        let files = Files::of(paths, texts, read_identity)?;
        let mut certificate = Self {
            files,
            element: 0,
            refused: None,
            spoken_of_s: None,
        };
        certificate.note_end(now_s());
        Ok(certificate)
    }

    /// Returns what may take its place: what is new in the files, or what was refused and still stands there.
    pub(super) fn candidate(&mut self, owner: &CertificateOwner) -> Option<Candidate> {
        let refused = self.refused.take();
        let known_why = refused.as_ref().map(|refused| refused.why.clone());
        match self.files.fresh() {
            None => refused.map(|refused| refused.candidate),
            Some(Err(why)) => {
                self.files.complain(owner, &why);
                None
            }
            Some(Ok(identity)) => {
                let (new, old) = (identity.to_judge(""), self.files.good.to_judge(""));
                let issuer_lost = judge::issuer_lost(&new, &old, is_root_of_system);
                Some(Candidate {
                    identity,
                    issuer_lost,
                    known_why,
                })
            }
        }
    }

    pub(super) fn take(&mut self, new: Candidate, now_s: i64) {
        self.files.good = new.identity;
        self.note_end(now_s);
    }

    /// Keeps a new one aside, and logs why, unless that was logged before.
    pub(super) fn refuse(&mut self, new: Candidate, worse: &[Finding], owner: &CertificateOwner) {
        let why: Vec<String> = worse.iter().map(Finding::to_string).collect();
        let why = why.join("; ");
        if new.known_why.as_ref() != Some(&why) {
            keeps(
                owner,
                &self.files.name(),
                &why,
                "not replaced: the new certificate is worse than the one before, which stays; mend the file, \
                 or reload to take it as it is",
            );
        }
        let candidate = Candidate {
            known_why: Some(why.clone()),
            ..new
        };
        self.refused = Some(Refused { candidate, why });
    }

    /// Returns the end of its validity, for the log.
    pub(super) fn until(&self) -> Option<String> {
        let until = self.files.good.not_after();
        let until = until.and_then(|s| u64::try_from(s).ok());
        until.map(|s| timestamp(UNIX_EPOCH + Duration::from_secs(s)))
    }

    /// Describes it for operators.
    pub(super) fn in_use(&self, owner: CertificateOwner) -> CertificateInUse {
        let facts = self.files.good.facts().cloned().unwrap_or_default();
        CertificateInUse {
            owner,
            role: "certificate",
            file: self.files.paths.first().cloned().unwrap_or_default(),
            issuer: facts.issuer_text(),
            names: facts.names,
            not_after: facts.not_after,
            refused: self.why_not_taken(),
        }
    }

    /// Returns why what stands in its files now is not used; none = it is.
    fn why_not_taken(&self) -> Option<String> {
        let refused = self.refused.as_ref().map(|refused| refused.why.clone());
        refused.or_else(|| self.files.complaint.as_ref().map(Wrong::to_string))
    }

    fn note_end(&mut self, now_s: i64) {
        let ends = !self.files.good.to_judge("").validity(now_s).is_empty();
        self.spoken_of_s = ends.then_some(now_s);
    }

    /// Warns that it expires soon, unless that was logged today.
    pub(super) fn look_at_end(&mut self, listener: &str, now_s: i64) {
        for why in self.end_to_tell(now_s) {
            tracing::warn!(%listener, file = self.files.name(), "{why}");
        }
    }

    pub(super) fn end_to_tell(&mut self, now_s: i64) -> Vec<Finding> {
        let quiet = |said_s| (said_s..said_s + END_QUIET_S).contains(&now_s);
        if self.spoken_of_s.is_some_and(quiet) {
            return Vec::new();
        }
        let found = self.files.good.to_judge("").validity(now_s);
        if !found.is_empty() {
            self.spoken_of_s = Some(now_s);
        }
        found
    }
}

fn read_identity(texts: &[Vec<u8>]) -> Result<Identity, Wrong> {
    match texts {
        [cert, key] => identity::identity(cert, key),
        _ => identity::identity(&[], &[]),
    }
}

pub(super) fn now_s() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since_1970.map_or(0, |time| time.as_secs());
    now_s.try_into().unwrap_or(i64::MAX)
}
