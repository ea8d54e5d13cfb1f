//! Our own identities: certificates and keys from PEM files, and the rustls configuration of a listener. The
//! choice among several certificates is `choice`'s.
//!
//! Files are read by `file`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::anchors::Anchors;
use super::chain;
use super::choice::{KeyKind, Names};
use super::file::text_of;
use super::judge::Certificate;
use super::pem::{self, BadPem, Parts};
use super::verifier::{ClientDemand, TrustedClients};
use super::words;
use super::wrong::{Wrong, wrong};
use super::x509::{self, Facts, RSA_BITS_MIN};

const NO_KEY: &str = "the private key is missing: a BEGIN PRIVATE KEY block, here or in key = PATH";

/// A certificate with its chain and key.
#[derive(Debug, Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    /// The certificates that peers get, the leaf first.
    chain: Vec<Facts>,
    /// Certificates of the file that are no part of the chain.
    strangers: Vec<Facts>,
}

/// Reads a certificate, its chain and its key; `key` may be the same file, and the blocks of a file may be in
/// any order.
///
/// # Errors
/// A description of the fault and its remedy.
pub fn read(cert: &Path, key: &Path) -> Result<Identity, Wrong> {
    let cert_text = text_of(cert)?;
    let key_text = text_of(key)?;
    identity(&cert_text, &key_text)
}

/// Reads a certificate, its chain and its key from two texts, which may be the same.
///
/// # Errors
/// A description of the fault and its remedy.
pub fn identity(cert_text: &[u8], key_text: &[u8]) -> Result<Identity, Wrong> {
    let Pair {
        certificates,
        named,
        keys,
    } = pair(cert_text, key_text)?;
    let facts: Option<Vec<Facts>> = certificates.iter().map(|der| x509::read(der)).collect();
    let facts = facts.ok_or_else(|| wrong("a certificate cannot be read; X.509 in PEM"))?;
    let keys = signing_keys(keys, &facts)?;
    let more = || wrong("holds more than one private key; a file holds one certificate's");
    let [signing_key, others @ ..] = keys.as_slice() else {
        return Err(wrong(NO_KEY));
    };
    let leaf = match signing_key.public_key() {
        Some(public_key) => facts
            .iter()
            .take(named)
            .position(|facts| facts.public_key == public_key.as_ref()),
        None => Some(0),
    };
    let leaf = leaf.ok_or_else(|| {
        if others.is_empty() || cert_text != key_text {
            wrong("the private key belongs to none of the certificates")
        } else {
            more()
        }
    })?;
    if !others.is_empty() {
        return Err(more());
    }
    let signing_key = Arc::clone(signing_key);
    let sorted = chain::sort(leaf, &certificates, &facts);
    let facts_of = |indexes: &[usize]| {
        let found = indexes.iter().filter_map(|index| facts.get(*index));
        found.cloned().collect()
    };
    let sent = sorted.chain.iter();
    let sent = sent.filter_map(|index| certificates.get(*index).cloned());
    Ok(Identity {
        key: Arc::new(CertifiedKey::new(sent.collect(), signing_key)),
        chain: facts_of(&sorted.chain),
        strangers: facts_of(&sorted.strangers),
    })
}

/// The contents of the files of a certificate and its key, at least one of either.
struct Pair {
    certificates: Vec<CertificateDer<'static>>,
    /// How many of them stand in the file of the certificate; the key has to belong to one of these.
    named: usize,
    /// The first is that of the file of the key.
    keys: Vec<PrivateKeyDer<'static>>,
}

/// Reads the certificates and keys of two texts, which may be the same. Certificates in the text of the key may
/// complete the chain.
fn pair(cert_text: &[u8], key_text: &[u8]) -> Result<Pair, Wrong> {
    let (cert, key) = if cert_text == key_text {
        (
            pem::parts(cert_text).map_err(Wrong::from)?,
            Parts::default(),
        )
    } else {
        let of = |name: &str, text| {
            // Which file is meant goes without saying if the fault is the key's.
            pem::parts(text).map_err(|fault| {
                if matches!(fault, BadPem::Encrypted { .. }) {
                    Wrong::from(fault)
                } else {
                    wrong(format!("{name}: {fault}"))
                }
            })
        };
        let (cert, key) = (of("cert", cert_text)?, of("key", key_text)?);
        if key.keys.is_empty() {
            return Err(wrong(NO_KEY));
        }
        (cert, key)
    };
    let keys: Vec<_> = key.keys.into_iter().chain(cert.keys).collect();
    let mut certificates = cert.certificates;
    let mut seen = HashSet::new();
    certificates.retain(|der| seen.insert(der.to_vec()));
    let named = certificates.len();
    let others = key.certificates.into_iter();
    certificates.extend(others.filter(|der| seen.insert(der.to_vec())));
    if named == 0 {
        return Err(BadPem::NoCertificate.into());
    }
    if keys.is_empty() {
        return Err(wrong(NO_KEY));
    }
    Ok(Pair {
        certificates,
        named,
        keys,
    })
}

/// Loads the private keys; one that is there more than once, in several forms, is one.
fn signing_keys(
    keys: Vec<PrivateKeyDer<'static>>,
    facts: &[Facts],
) -> Result<Vec<Arc<dyn SigningKey>>, Wrong> {
    let provider = default_provider().key_provider;
    let mut found: Vec<Arc<dyn SigningKey>> = Vec::new();
    for key in keys {
        let key = provider
            .load_private_key(key)
            .map_err(|_| unusable_key(facts))?;
        let is_known = |it: &Arc<dyn SigningKey>| it.public_key() == key.public_key();
        if !found.iter().any(is_known) {
            found.push(key);
        }
    }
    Ok(found)
}

pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    Ok(pem::certificates(text)?)
}

/// Explains why the library refuses a key.
fn unusable_key(facts: &[Facts]) -> Wrong {
    let short = facts.iter().find_map(|facts| facts.rsa_bits);
    match short {
        Some(bits) if bits < RSA_BITS_MIN => wrong(format!(
            "an RSA key of {bits} bits is refused by the TLS library; at least {RSA_BITS_MIN}"
        )),
        Some(_) | None => wrong(
            "the private key cannot be used: it is damaged, or not RSA, ECDSA (P-256, P-384, P-521) or \
             Ed25519",
        ),
    }
}

impl Identity {
    /// Returns the chain and its key.
    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// Returns the kind of its key.
    pub(super) fn key_kind(&self) -> KeyKind {
        KeyKind::of(&*self.key.key)
    }

    /// Returns the facts of the certificate itself.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.chain.first()
    }

    /// Returns the names the certificate is valid for, in lower case.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.facts().map_or(&[], |facts| &facts.names)
    }

    /// Returns the end of its validity, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        self.facts()?.not_after
    }

    /// Returns what [`super::judge`] judges; `file` is the name of its file.
    #[must_use]
    pub fn to_judge<'a>(&'a self, file: &'a str) -> Certificate<'a> {
        Certificate {
            file,
            chain: &self.chain,
            strangers: &self.strangers,
            kind: self.key_kind(),
        }
    }
}

/// Reads the CA certificates that must have signed clients' certificates.
///
/// # Errors
/// A description of what is wrong with the file.
pub fn read_client_ca(path: &Path) -> Result<Anchors, Wrong> {
    anchors(&text_of(path)?)
}

/// Reads trusted certificates from a text, each of which has to be usable: a file of `client_ca` or `ca`.
///
/// # Errors
/// A description of what is wrong with it.
pub fn anchors(text: &[u8]) -> Result<Anchors, Wrong> {
    Anchors::new(certificates(text)?).map_err(|(index, error)| {
        let number = index + 1;
        wrong(format!(
            "certificate {number} of the file {}",
            words::of_anchor(&error)
        ))
    })
}

/// What a listener offers to clients.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Identities, at least one; the first is the default.
    pub identities: Vec<Identity>,
    /// What is demanded of clients; none = they are not asked for a certificate.
    pub clients: Option<ClientDemand>,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
    /// Whether ALPN selects `http/1.1`, or is not used at all.
    pub http: bool,
}

/// The keys of session tickets. rustls replaces them every six hours and accepts tickets of the previous ones
/// for as long again.
pub type Tickets = Arc<dyn ProducesTickets>;

/// Makes keys for tickets.
///
/// # Errors
/// The system has no randomness.
pub fn tickets() -> Result<Tickets, Wrong> {
    Ticketer::new().map_err(|_| wrong("the system gives no random bytes"))
}

/// Makes the rustls configuration of an offer; shared by all threads. A client that resumes with a ticket of
/// `tickets` is not asked for a certificate again.
///
/// # Errors
/// rustls refuses it.
pub fn server_config(offer: Offer, tickets: Tickets) -> Result<Arc<ServerConfig>, Wrong> {
    let provider: Arc<CryptoProvider> = Arc::new(default_provider());
    let versions: &[_] = if offer.only_tls13 {
        &[&TLS13]
    } else {
        &[&TLS13, &TLS12]
    };
    let spoken = |suite: &&SupportedCipherSuite| versions.contains(&suite.version());
    let suites = provider.cipher_suites.iter().filter(spoken).copied();
    let listed = offer.identities.iter().map(|it| (it.names(), it.key()));
    let names = Names::new(&listed.collect::<Vec<_>>(), suites.collect());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|_| wrong("internal error: the TLS library refuses its own versions"))?;
    let builder = match offer.clients {
        Some(demand) => {
            let verifier = TrustedClients::new(demand, provider)?;
            builder.with_client_cert_verifier(Arc::new(verifier))
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(names));
    config.ticketer = tickets;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.enable_secret_extraction = true;
    if offer.http {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
