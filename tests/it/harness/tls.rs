//! Certificates made on the spot, and clients that speak TLS.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::tls_end::{TlsEnd, set_up};

/// Both versions we speak.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A certificate with its key, in one file.
pub(crate) struct Identity {
    dir: TempDir,
    cert: String,
    key: String,
}

impl Identity {
    /// Makes one that is good for `names`.
    pub(crate) fn new(names: &[&str]) -> Self {
        Self::of(params(names))
    }

    /// Makes one that is good for `names`, for as long as `validity` from now on.
    pub(crate) fn until(names: &[&str], validity: Duration) -> Self {
        let mut params = params(names);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        params.not_after = date_time_ymd(1970, 1, 1) + now + validity;
        Self::of(params)
    }

    /// Makes one that is over.
    pub(crate) fn expired(names: &[&str]) -> Self {
        let mut params = params(names);
        params.not_after = date_time_ymd(2020, 1, 1);
        Self::of(params)
    }

    /// Makes one of a client whose common name is `name`.
    pub(crate) fn named(name: &str) -> Self {
        let mut params = params(&["client"]);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Self::of(params)
    }

    fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let (cert, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("both.pem"), format!("{key}{cert}")).unwrap();
        std::fs::write(dir.path().join("cert.pem"), &cert).unwrap();
        Self { dir, cert, key }
    }

    /// Returns the file that holds both.
    pub(crate) fn file(&self) -> String {
        self.path("both.pem")
    }

    /// Returns the file that holds the certificate alone.
    pub(crate) fn cert_file(&self) -> String {
        self.path("cert.pem")
    }

    /// Returns the certificate and the key as PEM.
    pub(crate) fn pem(&self) -> (&str, &str) {
        (&self.cert, &self.key)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Returns the keys of `[[listener]]` that end TLS with it.
    pub(crate) fn listener_keys(&self) -> String {
        format!("tls.certificates = [\"{}\"]", self.file())
    }

    /// Returns the certificate.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    /// Makes a client that believes this certificate only, and shows `shown` if there is one.
    pub(crate) fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        shown: Option<&Self>,
    ) -> Arc<ClientConfig> {
        self.client_with_alpn(version, shown, &[])
    }

    /// Makes such a client that offers these protocols.
    pub(crate) fn client_with_alpn(
        &self,
        version: &'static SupportedProtocolVersion,
        shown: Option<&Self>,
        alpn: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![shown.certificate()], key)
                    .unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

/// A client's end of a TLS connection.
pub(crate) type Secure = TlsEnd<ClientConnection>;

impl Secure {
    /// Connects and sends `preface` in the clear; the handshake is made with the first bytes.
    pub(crate) fn begin(
        addr: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
        preface: &[u8],
    ) -> Self {
        let mut tcp = TcpStream::connect(addr).unwrap();
        set_up(&tcp);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        // In one segment with the hello.
        let mut first = preface.to_vec();
        tls.write_tls(&mut first).unwrap();
        tcp.write_all(&first).unwrap();
        Self { tls, tcp }
    }

    /// Connects and makes the handshake.
    pub(crate) fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut secure = Self::begin(addr, config, "localhost", b"");
        secure.shake().unwrap();
        secure
    }
}

/// Returns the certificate that is shown to a client that asks for `name`.
pub(crate) fn shown_certificate(addr: SocketAddr, name: &str) -> CertificateDer<'static> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    let mut client = Secure::begin(addr, &Arc::new(config), name, b"");
    client.shake().unwrap();
    client.tls.peer_certificates().unwrap()[0].clone()
}

/// Makes a client that believes `root` only.
pub(crate) fn client_believing(root: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Believes every certificate.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
