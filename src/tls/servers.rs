//! TLS towards servers: trusted certificates, our own certificate, and the rustls configuration of a backend.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};

/// A name in a certificate: a host name or an IP address.
pub use rustls_pki_types::ServerName;

use super::anchors::Anchors;
use super::control::Fault;
use super::file::text_of;
use super::handshake::HandshakeFailure;
use super::identity::{self, Identity, certificates};
use super::system_store;
use super::verifier::{AnyCertificate, TrustedServers};
use super::words::{self, OtherEnd};
use super::wrong::{Wrong, wrong};
use super::x509::{self, Facts};

/// Requirements on the servers of a backend, and our certificate for them.
#[derive(Debug, Clone)]
pub struct Demand {
    /// The CA certificates that must have signed servers' certificates; none = they are not verified.
    pub roots: Option<Arc<Anchors>>,
    /// Our certificate, for servers that request one.
    pub identity: Option<Identity>,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
    /// Whether ALPN offers `http/1.1`, or is not used at all.
    pub http: bool,
}

/// A [`Demand`] as files.
#[derive(Debug, Clone, Copy)]
pub struct DemandFiles<'a> {
    /// The CA certificates that must have signed servers' certificates; none = they are not verified.
    pub ca: Option<&'a Path>,
    /// Our certificate and its key, for servers that request one.
    pub certificate: Option<(&'a Path, &'a Path)>,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
}

/// A file of [`DemandFiles`] that cannot be used, or files that rustls does not accept together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// The file `ca` cannot be used.
    Ca(Wrong),
    /// Another file cannot be used, or rustls refuses the combination.
    Other(Wrong),
}

impl From<Unusable> for Wrong {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Ca(wrong) | Unusable::Other(wrong) => wrong,
        }
    }
}

impl DemandFiles<'_> {
    /// Reads the files; `http` = ALPN offers `http/1.1`.
    ///
    /// # Errors
    /// A description of what is wrong with a file.
    pub fn read(&self, http: bool) -> Result<Demand, Unusable> {
        let roots = self.ca.map(read_ca).transpose().map_err(Unusable::Ca)?;
        let identity = self
            .certificate
            .map(|(cert, key)| identity::read(cert, key));
        Ok(Demand {
            roots,
            identity: identity.transpose().map_err(Unusable::Other)?,
            only_tls13: self.only_tls13,
            http,
        })
    }

    /// Checks that the files are valid and that rustls accepts them; returns their [`fingerprint`].
    ///
    /// # Errors
    /// A description of what is wrong with a file, or why rustls refuses the combination.
    pub fn check(&self) -> Result<[u8; SHA256_OUTPUT_LEN], Unusable> {
        let demand = self.read(true)?;
        client_config(&demand).map_err(Unusable::Other)?;
        Ok(fingerprint(&demand))
    }
}

/// Reads CA certificates that may sign servers' certificates.
///
/// # Errors
/// A description of what is wrong with the file.
pub fn read_ca(path: &Path) -> Result<Arc<Anchors>, Wrong> {
    let text = text_of(path)?;
    if system_store::is_at(path) {
        store(&text)
    } else {
        ca(&text)
    }
}

/// Reads CA certificates that may sign servers' certificates, from the text of an operator's file: each of them
/// has to be usable.
///
/// # Errors
/// A description of what is wrong with it.
pub fn ca(text: &[u8]) -> Result<Arc<Anchors>, Wrong> {
    identity::anchors(text).map(Arc::new)
}

/// Reads the text of the system's store. A certificate in it that cannot be used is passed over: such a
/// collection holds a few, and the operator did not choose them.
///
/// # Errors
/// A description of what is wrong with it.
pub fn store(text: &[u8]) -> Result<Arc<Anchors>, Wrong> {
    let found = certificates(text)?;
    let roots = Anchors::of_usable(found);
    if roots.is_empty() {
        return Err(wrong("holds no certificate that can be used"));
    }
    Ok(Arc::new(roots))
}

/// Reads the fields of each certificate in a text of trusted ones, as far as they can be read.
#[must_use]
pub fn trusted_facts(text: &[u8]) -> Vec<Facts> {
    let found = certificates(text).unwrap_or_default();
    found.iter().filter_map(|der| x509::read(der)).collect()
}

/// Returns whether the system's store has a root with this name, in DER. A store that cannot be read has none.
#[must_use]
pub fn is_root_of_system(name: &[u8]) -> bool {
    let Ok(roots) = read_ca(&system_store::path()) else {
        return false;
    };
    let names = roots.chains().subjects();
    names.iter().any(|known| known.as_ref() == name)
}

/// Makes the rustls configuration of a demand; shared by all threads, with its cache of sessions to resume
/// (256 servers at most).
///
/// # Errors
/// rustls refuses it.
pub fn client_config(demand: &Demand) -> Result<Arc<ClientConfig>, Wrong> {
    let provider: Arc<CryptoProvider> = Arc::new(default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let versions: &[_] = if demand.only_tls13 {
        &[&TLS13]
    } else {
        &[&TLS13, &TLS12]
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|_| wrong("internal error: the TLS library refuses its own versions"))?;
    let verifier: Arc<dyn ServerCertVerifier> = match &demand.roots {
        Some(roots) => Arc::new(TrustedServers::new(Anchors::clone(roots), provider)?),
        None => Arc::new(AnyCertificate::new(algorithms)),
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &demand.identity {
        Some(identity) => {
            let shown = SingleCertAndKey::from(identity.key());
            builder.with_client_cert_resolver(Arc::new(shown))
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_secret_extraction = true;
    if demand.http {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(Arc::new(config))
}

/// Returns a SHA-256 of the trusted certificates, of our own certificate and of the versions, but not of
/// ALPN. Equal demands have equal fingerprints, also when the same files are read again.
#[must_use]
pub fn fingerprint(demand: &Demand) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        // With its length, so that different lists of parts never give the same input.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    add(&[
        u8::from(demand.only_tls13),
        u8::from(demand.roots.is_some()),
    ]);
    for anchor in demand.roots.iter().flat_map(|roots| roots.certificates()) {
        add(anchor);
    }
    if let Some(identity) = &demand.identity {
        // The key is determined by the first certificate.
        identity.key().cert.iter().for_each(|it| add(it));
    }
    let mut sum = [0; SHA256_OUTPUT_LEN];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

/// Returns the configuration without session resumption, so that each handshake verifies the certificate.
#[must_use]
pub fn afresh(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Describes what ended a connection to a server after our side of the handshake was complete.
#[must_use]
pub fn told_of_fault(fault: Fault) -> String {
    match fault {
        // With TLS 1.3 a server verifies our certificate after our handshake is done.
        Fault::PeerAlert(number) | Fault::ServerRefused(number) => {
            words::told_of_alert(number, OtherEnd::Server)
        }
        Fault::Record(_)
        | Fault::Message(_)
        | Fault::Value(_)
        | Fault::Ended
        | Fault::Flood
        | Fault::KeysUsedUp
        | Fault::NoKeyUpdate
        | Fault::Internal(_) => fault.to_string(),
    }
}

/// Describes a failed handshake with a server, and whose fault it was.
#[must_use]
pub fn told(failure: &HandshakeFailure) -> String {
    words::told(failure, OtherEnd::Server)
}

#[cfg(test)]
mod tests;
