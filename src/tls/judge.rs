//! What deserves a warning about the certificates of a listener, in words with a remedy. Pure: the
//! certificates, the names that routes take, and the time are passed in.
//!
//! Nothing here refuses a certificate: an operator may know better. Only a replacement that no operator
//! has asked for is held back when it is [`worse`] than what it replaces.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use x509_cert::der::DateTime;

use super::choice::{KeyKind, Table};
use super::x509::{Facts, RSA_BITS_MIN};
use crate::proto::http::pattern::HostPattern;

/// Days before the end of a certificate when warnings begin.
const EXPIRY_NOTICE_DAYS: i64 = 14;
/// Names that are listed in one warning; a certificate may have a hundred.
const NAMES_SHOWN_MAX: usize = 8;
const DAY_S: i64 = 24 * 60 * 60;

/// A certificate as it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    /// The name of its file.
    pub(super) file: &'a str,
    /// What clients get, the certificate itself first.
    pub(super) chain: &'a [Facts],
    /// Certificates of its file that are no part of the chain.
    pub(super) strangers: &'a [Facts],
    pub(super) kind: KeyKind,
}

/// The names that the routes of a listener take.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The patterns of all routes.
    pub hosts: Vec<HostPattern>,
    /// Whether a route takes every name.
    pub any: bool,
}

/// What is wrong with a certificate, or with a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Its RSA key is short.
    WeakKey {
        /// Its length.
        bits: usize,
    },
    /// The time is outside of its validity, or will be soon.
    Validity {
        /// The subject of the certificate, unless it is the first of the chain.
        link: Option<String>,
        /// What is wrong.
        fault: ValidityFault,
    },
    /// Nothing follows a certificate that its issuer, no known root, has signed.
    IssuerMissing {
        /// The issuer.
        issuer: String,
    },
    /// A certificate that is no part of the chain.
    Stranger {
        /// Its subject.
        subject: String,
    },
    /// Routes take none of these names of the certificate.
    Unrouted {
        /// The names.
        names: Vec<String>,
    },
    /// It has no DNS name, and is not the first, which clients get without a name.
    Nameless,
    /// Other certificates are chosen for all its names.
    NeverChosen {
        /// Their files.
        instead: Vec<String>,
    },
    /// Clients of some routes get a certificate that is not for their host.
    Uncovered {
        /// The patterns of the hosts.
        hosts: Vec<String>,
        /// The file of the certificate that they get.
        instead: String,
    },
    /// A certificate was for these names, and its successor is not.
    NamesLost {
        /// The names.
        names: Vec<String>,
    },
}

/// How the time and the validity of a certificate differ; times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidityFault {
    /// It begins later.
    NotYet {
        /// When.
        from_s: i64,
    },
    /// It ends soon.
    Soon {
        /// Whole days until then.
        days: i64,
        /// When.
        at_s: i64,
    },
    /// It is over.
    Over {
        /// Since when.
        at_s: i64,
    },
}

impl ValidityFault {
    /// Judges a certificate at `now_s`.
    fn of(facts: &Facts, now_s: i64) -> Option<Self> {
        if let Some(from_s) = facts.not_before.filter(|from_s| now_s < *from_s) {
            return Some(Self::NotYet { from_s });
        }
        let at_s = facts.not_after?;
        let days = (at_s - now_s).div_euclid(DAY_S);
        if days < 0 {
            Some(Self::Over { at_s })
        } else {
            (days < EXPIRY_NOTICE_DAYS).then_some(Self::Soon { days, at_s })
        }
    }

    /// Returns whether clients refuse the certificate already.
    fn is_refused(self) -> bool {
        match self {
            Self::NotYet { .. } | Self::Over { .. } => true,
            Self::Soon { .. } => false,
        }
    }
}

impl Certificate<'_> {
    fn facts(&self) -> Option<&Facts> {
        self.chain.first()
    }

    fn names(&self) -> &[String] {
        self.facts().map_or(&[], |facts| &facts.names)
    }

    /// Returns what is wrong with the certificate itself at `now_s`, in seconds since 1970.
    #[must_use]
    pub fn alone(&self, now_s: i64) -> Vec<Finding> {
        let bits = self.facts().and_then(|facts| facts.rsa_bits);
        let weak = bits.filter(|bits| *bits < RSA_BITS_MIN);
        let weak = weak.map(|bits| Finding::WeakKey { bits });
        let strangers = self.strangers.iter().map(|stranger| Finding::Stranger {
            subject: stranger.subject_text(),
        });
        weak.into_iter()
            .chain(self.validity(now_s))
            .chain(strangers)
            .collect()
    }

    /// Returns the certificates of the chain that are invalid at `now_s`, or will be soon. Clients do not look
    /// at the validity of a root that they have.
    #[must_use]
    pub fn validity(&self, now_s: i64) -> Vec<Finding> {
        let links = self.chain.iter().enumerate();
        let judged = links.filter_map(|(index, facts)| {
            let link = (index > 0).then(|| facts.subject_text());
            if link.is_some() && facts.is_self_issued() {
                return None;
            }
            let fault = ValidityFault::of(facts, now_s)?;
            Some(Finding::Validity { link, fault })
        });
        judged.collect()
    }

    /// Returns what is missing behind a certificate that stands alone; `is_root` knows roots by their names in
    /// DER.
    #[must_use]
    pub fn issuer_missing(&self, is_root: impl Fn(&[u8]) -> bool) -> Option<Finding> {
        let [facts] = self.chain else {
            return None;
        };
        if facts.is_self_issued() || is_root(&facts.issuer) {
            return None;
        }
        Some(Finding::IssuerMissing {
            issuer: facts.issuer_text(),
        })
    }

    /// Returns why clients refuse the chain at `now_s`, by its validity.
    fn refusals(&self, now_s: i64) -> Vec<Finding> {
        let mut found = self.validity(now_s);
        found.retain(|finding| match finding {
            Finding::Validity { fault, .. } => fault.is_refused(),
            Finding::WeakKey { .. }
            | Finding::IssuerMissing { .. }
            | Finding::Stranger { .. }
            | Finding::Unrouted { .. }
            | Finding::Nameless
            | Finding::NeverChosen { .. }
            | Finding::Uncovered { .. }
            | Finding::NamesLost { .. } => false,
        });
        found
    }

    fn is_refused(&self, now_s: i64) -> bool {
        let links = self.chain.iter().enumerate();
        let mut judged = links.filter(|(index, facts)| *index == 0 || !facts.is_self_issued());
        judged.any(|(_, facts)| {
            ValidityFault::of(facts, now_s).is_some_and(ValidityFault::is_refused)
        })
    }
}

/// What a finding of [`together`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The certificate with this index.
    Certificate(usize),
    /// The routes.
    Routes,
}

/// Returns what is wrong with the certificates of a listener as a list, and as the list for its routes.
#[must_use]
pub fn together(certificates: &[Certificate<'_>], asked: &Asked) -> Vec<(About, Finding)> {
    let listed: Vec<_> = certificates
        .iter()
        .map(|it| (it.names(), it.kind))
        .collect();
    let table = Table::new(&listed);
    let mut found = Vec::new();
    for (index, certificate) in certificates.iter().enumerate() {
        let about = About::Certificate(index);
        if certificate.names().is_empty() && index > 0 {
            found.push((about, Finding::Nameless));
        } else if let Some(instead) = instead_of(index, certificates, &table) {
            found.push((about, Finding::NeverChosen { instead }));
        }
        let names = certificate.names().iter();
        let names: Vec<String> = names.filter(|name| !asked.takes(name)).cloned().collect();
        if !names.is_empty() {
            found.push((about, Finding::Unrouted { names }));
        }
    }
    let mut hosts: Vec<String> = Vec::new();
    for host in &asked.hosts {
        let text = host.to_string();
        let mut names = certificates.iter().flat_map(Certificate::names);
        let covered = is_address(&text) || names.any(|name| may_meet(name, host));
        if !covered && !hosts.contains(&text) {
            hosts.push(text);
        }
    }
    if !hosts.is_empty() {
        let instead = certificates.first().map_or("", |it| it.file).to_owned();
        found.push((About::Routes, Finding::Uncovered { hosts, instead }));
    }
    found
}

/// Returns the certificates that are chosen instead of one that is never chosen. Of two with the same kind of
/// key, clients that can verify the one can verify the other, so the first of a list is taken.
fn instead_of(
    index: usize,
    certificates: &[Certificate<'_>],
    table: &Table,
) -> Option<Vec<String>> {
    let kind_of = |index: &usize| certificates.get(*index).map(|it| it.kind);
    let mut instead = Vec::new();
    for list in table.lists().filter(|list| list.contains(&index)) {
        let before = list.iter().find(|it| kind_of(it) == kind_of(&index))?;
        if *before == index {
            return None;
        }
        instead.push(*before);
    }
    instead.sort_unstable();
    instead.dedup();
    let files = instead.iter().filter_map(|index| certificates.get(*index));
    Some(files.map(|it| it.file.to_owned()).collect())
}

/// Returns what is missing behind `new` and is not behind `old`; see [`Certificate::issuer_missing`]. The clients of
/// an `old` one that is sent with its root have that root, and need nothing behind a `new` one that it signed. An
/// `old` one that signs itself had nothing behind it to lose.
#[must_use]
pub fn issuer_lost(
    new: &Certificate<'_>,
    old: &Certificate<'_>,
    is_root: impl Fn(&[u8]) -> bool,
) -> Option<Finding> {
    let missing = new.issuer_missing(&is_root)?;
    let had_more = match old.chain {
        [] => false,
        [alone] => !alone.is_self_issued() && is_root(&alone.issuer),
        [_, next, ..] => {
            let is_same_root =
                |facts: &Facts| next.is_self_issued() && facts.issuer == next.subject;
            !new.facts().is_some_and(is_same_root)
        }
    };
    had_more.then_some(missing)
}

/// Returns in what `new` is worse than `old`, which it would replace: clients would refuse it, or routes would
/// lose a name that no certificate of `others` has. Nothing is worse than one that clients refuse already.
/// `issuer_lost` is what the function of that name has found.
#[must_use]
pub fn worse(
    new: &Certificate<'_>,
    old: &Certificate<'_>,
    others: &[Certificate<'_>],
    asked: &Asked,
    now_s: i64,
    issuer_lost: Option<Finding>,
) -> Vec<Finding> {
    if old.is_refused(now_s) {
        return Vec::new();
    }
    let mut found = new.refusals(now_s);
    found.extend(issuer_lost);
    let has = |name: &str| {
        let mut all = others.iter().chain([new]).flat_map(Certificate::names);
        all.any(|has| has == name || covers(has, name))
    };
    let mut names = Vec::new();
    for name in old.names().iter().flat_map(|name| asked.taken(name)) {
        if !has(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() {
        found.push(Finding::NamesLost { names });
    }
    found
}

/// Returns why `new`, a certificate in addition, is not to stand beside `others`: clients would refuse it, or it would
/// be chosen for a name of one of `others` that comes with its issuer, and comes without its own. `is_root` is as in
/// [`Certificate::issuer_missing`].
#[must_use]
pub fn unfit(
    new: &Certificate<'_>,
    others: &[Certificate<'_>],
    now_s: i64,
    is_root: impl Fn(&[u8]) -> bool,
) -> Vec<Finding> {
    let mut found = new.refusals(now_s);
    let is_rival = |it: &&Certificate<'_>| {
        !it.is_refused(now_s) && it.names().iter().any(|name| new.names().contains(name))
    };
    let mut rivals = others.iter().filter(is_rival);
    found.extend(rivals.find_map(|it| issuer_lost(new, it, &is_root)));
    found
}

impl Asked {
    /// Returns whether a route takes a name of a certificate, or some of the names below `*.`.
    fn takes(&self, name: &str) -> bool {
        self.any || self.hosts.iter().any(|host| may_meet(name, host))
    }

    /// Returns what a successor needs in place of a name of a certificate: the name itself if a route takes it, but
    /// of a wildcard only the names that routes take, if all of them are exact.
    fn taken(&self, name: &str) -> Vec<String> {
        if self.any {
            return vec![name.to_owned()];
        }
        let mut names = Vec::new();
        for host in self.hosts.iter().filter(|host| may_meet(name, host)) {
            match host {
                HostPattern::Exact(host) => names.push(host.clone()),
                HostPattern::Under(_) | HostPattern::Prefix(_) => return vec![name.to_owned()],
            }
        }
        names
    }
}

/// Returns whether a wildcard of a certificate covers an exact name.
fn covers(wildcard: &str, name: &str) -> bool {
    let parent = name.split_once('.').map(|(_, parent)| parent);
    wildcard
        .strip_prefix("*.")
        .is_some_and(|covered| parent == Some(covered))
}

/// Returns whether there is a host that a name of a certificate covers and a pattern matches.
fn may_meet(name: &str, pattern: &HostPattern) -> bool {
    let Some(parent) = name.strip_prefix("*.") else {
        return pattern.matches(name);
    };
    match pattern {
        HostPattern::Exact(host) => covers(name, host),
        HostPattern::Under(above) => {
            let rest = parent.strip_suffix(above.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
        HostPattern::Prefix(prefix) => match prefix.split_once('.') {
            Some((_, rest)) => parent.starts_with(rest),
            None => true,
        },
    }
}

/// Returns whether a host is an address, which clients do not ask for by a server name.
fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WeakKey { bits } => {
                write!(
                    f,
                    "an RSA key of {bits} bits is weak; at least {RSA_BITS_MIN}"
                )
            }
            Self::Validity { link, fault } => {
                match link {
                    None => write!(f, "the certificate ")?,
                    Some(link) => write!(f, "the issuer's certificate \"{link}\" in the chain ")?,
                }
                write!(f, "{fault}")
            }
            Self::IssuerMissing { issuer } => write!(
                f,
                "the certificate of the issuer \"{issuer}\" is missing, and clients that do not have it \
                 refuse the connection; append it to the file (a fullchain.pem has it). If the issuer is \
                 a root of your own, add it to this system's store, and this warning ends"
            ),
            Self::Stranger { subject } => write!(
                f,
                "the certificate \"{subject}\" in the file signed none of the chain, and clients do not \
                 get it; take it out, or put in the issuer that is meant"
            ),
            Self::Unrouted { names } => write!(
                f,
                "no route takes {}, which the certificate is for; add the name to a route, if clients use it",
                listed(names)
            ),
            Self::Nameless => write!(
                f,
                "the certificate has no DNS name, and only the first of the list is used without one; \
                 put it first, or take it out"
            ),
            Self::NeverChosen { instead } => write!(
                f,
                "no client gets the certificate: {} stands before it, for the same names and with the \
                 same kind of key; take one of them out",
                instead.join(" or ")
            ),
            Self::Uncovered { hosts, instead } => write!(
                f,
                "no certificate of this listener is for {}, which routes take: clients get {instead}, \
                 and refuse it; add a certificate",
                listed(hosts)
            ),
            Self::NamesLost { names } => write!(
                f,
                "the certificate is not for {} any more, which routes take",
                listed(names)
            ),
        }
    }
}

impl fmt::Display for ValidityFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { from_s } => write!(
                f,
                "is not valid before {}, and clients refuse it until then; check this machine's clock, \
                 or use the previous certificate",
                date(*from_s)
            ),
            Self::Soon { days: 1, at_s } => {
                write!(f, "expires in 1 day, on {}; renew it", date(*at_s))
            }
            Self::Soon { days, at_s } => {
                write!(f, "expires in {days} days, on {}; renew it", date(*at_s))
            }
            Self::Over { at_s } => write!(
                f,
                "has expired, on {}, and clients refuse it; renew it",
                date(*at_s)
            ),
        }
    }
}

/// Writes names as a list, the first ones of a long list.
fn listed(names: &[String]) -> String {
    let shown = names.get(..NAMES_SHOWN_MAX).unwrap_or(names);
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

/// Writes a time as in RFC 3339.
fn date(at_s: i64) -> String {
    let since_1970 = u64::try_from(at_s).map(Duration::from_secs);
    let time = since_1970
        .ok()
        .and_then(|it| DateTime::from_unix_duration(it).ok());
    time.map_or_else(|| "a day before 1970".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
