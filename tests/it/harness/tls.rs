//! Certificates made on the spot, and a client that speaks TLS over a [`Peer`]-like connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
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

use super::PATIENCE;

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
pub(crate) struct Secure {
    pub(crate) tls: ClientConnection,
    pub(crate) tcp: TcpStream,
}

impl Secure {
    /// Connects and sends `preface` in the clear; the handshake is made with the first bytes.
    pub(crate) fn begin(
        addr: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
        preface: &[u8],
    ) -> Self {
        let mut tcp = TcpStream::connect(addr).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
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

    /// Goes on until the handshake is complete.
    pub(crate) fn shake(&mut self) -> std::io::Result<()> {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.tcp)?;
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.tcp);
        stream.write_all(bytes.as_ref()).unwrap();
        stream.flush().unwrap();
    }

    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let mut got = vec![0; bytes.as_ref().len()];
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.tcp);
        stream.read_exact(&mut got).unwrap();
        assert!(got == bytes.as_ref(), "other bytes came back");
    }

    /// Sends something to a server that sends it back, if all goes well.
    pub(crate) fn try_echo(&mut self) -> std::io::Result<()> {
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.tcp);
        stream.write_all(b"echo")?;
        stream.read_exact(&mut [0; 4])
    }

    /// Reads up to the end; an error unless it is a close_notify.
    pub(crate) fn read_to_end(&mut self) -> std::io::Result<Vec<u8>> {
        let mut got = Vec::new();
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.tcp);
        stream.read_to_end(&mut got)?;
        Ok(got)
    }

    /// Reads up to the end of a head.
    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.tcp);
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Says close_notify and goes on listening.
    pub(crate) fn notify(&mut self) {
        self.tls.send_close_notify();
        self.tls.write_tls(&mut self.tcp).unwrap();
    }

    /// Ends without close_notify.
    pub(crate) fn truncate(&self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }
}

/// Returns the certificate that is shown to a client that asks for `name`.
pub(crate) fn shown_certificate(addr: SocketAddr, name: &str) -> CertificateDer<'static> {
    let shown = Arc::new(Shown(Mutex::new(None)));
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&shown) as _)
        .with_no_client_auth();
    Secure::begin(addr, &Arc::new(config), name, b"")
        .shake()
        .unwrap();
    shown.0.lock().unwrap().take().unwrap()
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

/// Believes every certificate and keeps it.
#[derive(Debug)]
struct Shown(Mutex<Option<CertificateDer<'static>>>);

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = Some(shown.clone().into_owned());
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
