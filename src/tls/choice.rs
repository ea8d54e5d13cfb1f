//! The choice of a certificate for a client: by the server name it asks for, and among several
//! certificates for one name by what its ClientHello says it can verify.
//!
//! An exact name goes before a wildcard. Among certificates for the same name, ECDSA and Ed25519 keys go
//! before RSA keys, because their signatures cost a tenth of the time; apart from that the order of the
//! list decides. The first certificate that the client can verify is taken.
//!
//! RFC 6066 section 3, RFC 8422 section 5.1.1, RFC 5246 sections 7.4.1.4.1 and 7.4.2, RFC 8446 sections 4.2.3
//! and 4.4.2.2.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{CipherSuite, NamedGroup, SignatureScheme, SupportedCipherSuite};

/// A kind of key: a client that can verify signatures of one key can verify those of every key of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyKind(pub(super) Option<SignatureScheme>);

impl KeyKind {
    /// Returns the kind of a key.
    pub(super) fn of(key: &dyn SigningKey) -> Self {
        // Every kind has one of these; no two kinds have the same.
        let schemes = [
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
        ];
        Self(
            schemes
                .into_iter()
                .find(|scheme| key.choose_scheme(&[*scheme]).is_some()),
        )
    }

    fn is_rsa(self) -> bool {
        self.0 == Some(SignatureScheme::RSA_PSS_SHA256)
    }
}

/// For each name the certificates that fit it, as indexes into the list of the configuration, the best
/// first.
#[derive(Debug, Default)]
pub(super) struct Table {
    exact: HashMap<String, Vec<usize>>,
    /// Keyed by the part after `*.`.
    wildcards: HashMap<String, Vec<usize>>,
    /// For clients without a name, and for names that no certificate has: the first certificate, and
    /// those that have all its names.
    default: Vec<usize>,
}

impl Table {
    /// Makes the table from the names and the kind of key of each certificate.
    pub(super) fn new(certificates: &[(&[String], KeyKind)]) -> Self {
        let mut table = Self::default();
        let (rsa, others): (Vec<_>, Vec<_>) = certificates
            .iter()
            .enumerate()
            .partition(|(_, (_, kind))| kind.is_rsa());
        let first_names = certificates.first().map_or(&[][..], |(names, _)| names);
        for (index, (names, _)) in others.into_iter().chain(rsa) {
            for name in *names {
                let (lists, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut table.wildcards, parent),
                    None => (&mut table.exact, name.as_str()),
                };
                let list = lists.entry(name.to_owned()).or_default();
                // A certificate may have a name twice.
                if list.last() != Some(&index) {
                    list.push(index);
                }
            }
            let has_all = || first_names.iter().all(|name| names.contains(name));
            if index == 0 || (!first_names.is_empty() && has_all()) {
                table.default.push(index);
            }
        }
        table
    }

    /// Returns the certificates for a name, the best first.
    fn fitting(&self, name: Option<&str>) -> impl Iterator<Item = usize> {
        let named = name.map(|name| {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let parent = name.split_once('.').map(|(_, parent)| parent);
            let wildcards = parent.and_then(|parent| self.wildcards.get(parent));
            (self.exact.get(&name), wildcards)
        });
        let (exact, wildcards) = named.unwrap_or_default();
        let lists = match (exact, wildcards) {
            (None, None) => (Some(&self.default), None),
            lists => lists,
        };
        let (first, second) = lists;
        let lists = first.into_iter().chain(second);
        lists.flatten().copied()
    }

    /// Returns every list, from which the first certificate that a client can verify is taken.
    pub(super) fn lists(&self) -> impl Iterator<Item = &[usize]> {
        let named = self.exact.values().chain(self.wildcards.values());
        named.chain([&self.default]).map(Vec::as_slice)
    }
}

/// What a client says about the signatures it can verify.
struct Offered<'a> {
    schemes: &'a [SignatureScheme],
    suites: &'a [CipherSuite],
    /// None = it says nothing, and any will do (RFC 8422 section 4).
    groups: Option<&'a [NamedGroup]>,
}

impl Offered<'_> {
    /// Returns whether the client knows the curve of a key, which TLS 1.2 does not tell by the scheme of a
    /// signature (RFC 8422 section 5.1.1).
    fn knows_curve(&self, key: &dyn SigningKey) -> bool {
        let curve = match KeyKind::of(key).0 {
            Some(SignatureScheme::ECDSA_NISTP256_SHA256) => NamedGroup::secp256r1,
            Some(SignatureScheme::ECDSA_NISTP384_SHA384) => NamedGroup::secp384r1,
            Some(SignatureScheme::ECDSA_NISTP521_SHA512) => NamedGroup::secp521r1,
            Some(_) | None => return true,
        };
        self.groups.is_none_or(|groups| groups.contains(&curve))
    }
}

/// In which versions of TLS a client can verify a key. The version is settled later, so the client may
/// be able to verify a key only if it is the one version or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Never,
    SomeVersion,
    EveryVersion,
}

/// Chooses a certificate for each client.
#[derive(Debug)]
pub(super) struct Names {
    table: Table,
    keys: Vec<Arc<CertifiedKey>>,
    /// What we offer.
    suites: Vec<SupportedCipherSuite>,
}

impl Names {
    /// Prepares the choice among certificates with these names for handshakes with `suites`; the first one is
    /// the default.
    pub(super) fn new(
        certificates: &[(&[String], Arc<CertifiedKey>)],
        suites: Vec<SupportedCipherSuite>,
    ) -> Self {
        let listed = certificates.iter();
        let listed: Vec<_> = listed
            .map(|(names, key)| (*names, KeyKind::of(&*key.key)))
            .collect();
        Self {
            table: Table::new(&listed),
            keys: certificates
                .iter()
                .map(|(_, key)| Arc::clone(key))
                .collect(),
            suites,
        }
    }

    /// Returns the best certificate for the name that the client can verify. If it can verify none, the
    /// best one of all: the handshake then ends with an alert that says so.
    fn choose(&self, name: Option<&str>, offered: &Offered<'_>) -> Option<&Arc<CertifiedKey>> {
        let mut fitting = self.table.fitting(name).peekable();
        let mut best = self.keys.get(*fitting.peek()?)?;
        let mut best_fit = Fit::Never;
        for key in fitting.filter_map(|index| self.keys.get(index)) {
            let fit = self.fit(&*key.key, offered);
            if fit > best_fit {
                (best, best_fit) = (key, fit);
            }
        }
        Some(best)
    }

    fn fit(&self, key: &dyn SigningKey, offered: &Offered<'_>) -> Fit {
        let is_offered = |suite: &&SupportedCipherSuite| offered.suites.contains(&suite.suite());
        let verifies = |is_allowed: &dyn Fn(&SignatureScheme) -> bool| {
            let schemes = offered.schemes.iter().copied().filter(is_allowed);
            key.choose_scheme(&schemes.collect::<Vec<_>>()).is_some()
        };
        // None = the client cannot speak the version with us.
        let (mut tls12, mut tls13) = (None, None);
        for suite in self.suites.iter().filter(is_offered) {
            match suite {
                SupportedCipherSuite::Tls12(suite) => {
                    // A suite belongs to one kind of key.
                    let verifies = || verifies(&|scheme| suite.sign.contains(scheme));
                    let is_fit = tls12 == Some(true) || (offered.knows_curve(key) && verifies());
                    tls12 = Some(is_fit);
                }
                SupportedCipherSuite::Tls13(_) => {
                    tls13 = tls13.or_else(|| Some(verifies(&signs_in_tls13)));
                }
            }
        }
        match (tls12, tls13) {
            (Some(true), Some(true) | None) | (None, Some(true)) => Fit::EveryVersion,
            (Some(true), Some(false)) | (Some(false), Some(true)) => Fit::SomeVersion,
            (Some(false) | None, Some(false) | None) => Fit::Never,
        }
    }
}

/// Returns whether TLS 1.3 allows a scheme for handshakes (RFC 8446 section 4.2.3).
fn signs_in_tls13(scheme: &SignatureScheme) -> bool {
    !matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::ECDSA_SHA1_Legacy
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = Offered {
            schemes: hello.signature_schemes(),
            suites: hello.cipher_suites(),
            groups: hello.named_groups(),
        };
        self.choose(hello.server_name(), &offered).cloned()
    }
}

#[cfg(test)]
mod tests;
