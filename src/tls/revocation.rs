//! Lists of revoked certificates (RFC 5280 section 5), as the key `crl` names them: reading them, their age, and
//! whose they are. webpki checks certificates against them, and their signatures.

use std::path::Path;

use rustls_pki_types::CertificateRevocationListDer;
use webpki::OwnedCertRevocationList;

use super::anchors::Anchors;
use super::der::Der;
use super::file::text_of;
use super::shown::seconds_of;
use super::wrong::{Wrong, wrong};
use super::{name, pem, words, x509};

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXTENSIONS: u8 = 0xa0;
/// Issuing distribution point (RFC 5280 section 5.2.5): a list with one may be a part of its issuer's.
const DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];

/// The lists of one file, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocations(Vec<List>);

/// A list of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct List {
    der: CertificateRevocationListDer<'static>,
    /// The distinguished name of the issuer, in DER.
    issuer: Vec<u8>,
    /// The part of the issuer's certificates it is for; empty = all.
    part: Vec<u8>,
    /// When it was issued, in seconds since 1970.
    since_s: i64,
    /// When the next one is due, in seconds since 1970.
    until_s: Option<i64>,
    /// How many certificates it names.
    revoked: usize,
}

/// Reads the lists of a file.
///
/// # Errors
/// A description of what is wrong with the file.
pub fn read(path: &Path) -> Result<Revocations, Wrong> {
    revocations(&text_of(path)?)
}

/// Reads lists from a text: one in DER, or any number in PEM.
///
/// # Errors
/// A description of what is wrong with it.
pub fn revocations(text: &[u8]) -> Result<Revocations, Wrong> {
    // The tag of a SEQUENCE is the digit 0, with which text before a block may begin.
    let is_der = text.first() == Some(&SEQUENCE) && !pem::has_block(text);
    let found = if is_der {
        vec![CertificateRevocationListDer::from(text.to_vec())]
    } else {
        pem::crls(text)?
    };
    let lists: Result<Vec<List>, Wrong> = found.into_iter().map(List::read).collect();
    let mut lists = lists?;
    // webpki takes the first list that fits a certificate.
    lists.sort_by_key(|list| std::cmp::Reverse(list.since_s));
    Ok(Revocations(lists))
}

impl Revocations {
    /// Returns the lists in the order in which they are searched: the newest of an issuer comes first.
    pub(super) fn in_order_of_search(
        &self,
    ) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        self.0.iter().map(|list| list.der.clone())
    }

    /// Returns how many lists there are, and how many certificates they revoke.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().map(|list| list.revoked).sum())
    }

    /// Refuses to follow `before` if a list is older than the one in use for the same certificates: a revoked
    /// certificate would come to life again.
    ///
    /// # Errors
    /// Which one is older.
    pub fn follow(&self, before: &Self) -> Result<(), Wrong> {
        for old in &before.0 {
            // Of several, the newest is the first, on both sides.
            let newest_of = |all: &Self| {
                let same = |one: &&List| one.issuer == old.issuer && one.part == old.part;
                all.0.iter().find(same).map(|list| list.since_s)
            };
            match (newest_of(self), newest_of(before)) {
                (Some(since_s), Some(before_s)) if since_s < before_s => {
                    return Err(wrong(format!(
                        "the list of {} is of {}, older than the one in use of {}",
                        old.issuer_text(),
                        date(since_s),
                        date(before_s)
                    )));
                }
                (Some(_) | None, Some(_) | None) => {}
            }
        }
        Ok(())
    }

    /// Returns when the next of the lists in use ends after `now_s`, both in seconds since 1970.
    #[must_use]
    pub fn next_end(&self, now_s: i64) -> Option<i64> {
        let ends = self.in_use().filter_map(|list| list.until_s);
        ends.filter(|until_s| *until_s > now_s).min()
    }

    /// Returns warnings at `now_s`, in seconds since 1970: lists that have ended, and authorities of `anchors`
    /// without one.
    #[must_use]
    pub fn warnings(&self, anchors: &Anchors, now_s: i64) -> Vec<String> {
        let mut warnings = self.end_warnings(now_s);
        for anchor in anchors.certificates() {
            let Some(facts) = x509::read(anchor) else {
                continue;
            };
            if !self.0.iter().any(|list| list.issuer == facts.subject) {
                let issuer = name::text(&facts.subject).unwrap_or_default();
                warnings.push(format!(
                    "holds no list of {issuer}, which is in client_ca: clients with its certificates \
                     are refused"
                ));
            }
        }
        warnings
    }

    /// Returns warnings of lists that have ended at `now_s`, in seconds since 1970.
    #[must_use]
    pub fn end_warnings(&self, now_s: i64) -> Vec<String> {
        let ended = |list: &List| {
            let until_s = list.until_s.filter(|until_s| *until_s <= now_s)?;
            Some(format!(
                "the list of {} ended {}: clients with its certificates are refused until the next one \
                 is here",
                list.issuer_text(),
                date(until_s)
            ))
        };
        self.in_use().filter_map(ended).collect()
    }

    /// Returns the newest list of each issuer and part.
    fn in_use(&self) -> impl Iterator<Item = &List> {
        let is_newest = |(index, list): &(usize, &List)| {
            let newer = self.0.iter().take(*index);
            !newer
                .into_iter()
                .any(|one| one.issuer == list.issuer && one.part == list.part)
        };
        self.0.iter().enumerate().filter(is_newest).map(|it| it.1)
    }
}

impl List {
    fn read(der: CertificateRevocationListDer<'static>) -> Result<Self, Wrong> {
        OwnedCertRevocationList::from_der(&der)
            .map_err(|error| wrong(words::of_webpki_list(&error)))?;
        Self::facts(der).ok_or_else(|| wrong("a list in crl is malformed"))
    }

    /// Reads the fields of a list that webpki has read before (RFC 5280 section 5.1).
    fn facts(der: CertificateRevocationListDer<'static>) -> Option<Self> {
        let mut list = Der(Der(&der).enter(SEQUENCE)?);
        let mut body = Der(list.enter(SEQUENCE)?);
        body.enter(INTEGER)?;
        // The algorithm of the signature.
        body.enter(SEQUENCE)?;
        let issuer = body.whole()?.to_vec();
        let (tag, since) = body.next()?;
        let since_s = seconds_of(tag, since)?;
        let until_s = match body.tag() {
            Some(tag @ (UTC_TIME | GENERALIZED_TIME)) => Some(seconds_of(tag, body.next()?.1)?),
            _ => None,
        };
        let mut revoked = 0;
        if body.tag() == Some(SEQUENCE) {
            let mut entries = Der(body.enter(SEQUENCE)?);
            while entries.tag().is_some() {
                entries.enter(SEQUENCE)?;
                revoked += 1;
            }
        }
        let part = match body.tag() {
            Some(EXTENSIONS) => distribution_point(Der(body.enter(EXTENSIONS)?))?,
            _ => Vec::new(),
        };
        Some(Self {
            issuer,
            part,
            since_s,
            until_s,
            revoked,
            der,
        })
    }

    fn issuer_text(&self) -> String {
        name::text(&self.issuer).unwrap_or_default()
    }
}

/// Finds the value of the issuing distribution point; empty if there is none.
fn distribution_point(mut extensions: Der<'_>) -> Option<Vec<u8>> {
    let mut extensions = Der(extensions.enter(SEQUENCE)?);
    while extensions.tag().is_some() {
        let mut extension = Der(extensions.enter(SEQUENCE)?);
        if extension.enter(OBJECT_ID)? != DISTRIBUTION_POINT {
            continue;
        }
        while let Some((tag, value)) = extension.next() {
            if tag == OCTET_STRING {
                return Some(value.to_vec());
            }
        }
    }
    Some(Vec::new())
}

fn date(s: i64) -> String {
    words::date_of(u64::try_from(s).unwrap_or(0))
}

#[cfg(test)]
mod tests;
