//! Servers that speak TLS and do what a test says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CipherSuite, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use super::tls::Identity;
use super::tls_end::{TlsEnd, set_up};

/// Makes the configuration of a server that shows `identity` and speaks these versions; `suite` = the
/// only one.
pub(crate) fn server_config(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    suite: Option<CipherSuite>,
) -> ServerConfig {
    let mut provider: CryptoProvider = default_provider();
    if let Some(suite) = suite {
        provider
            .cipher_suites
            .retain(|known| known.suite() == suite);
    }
    let key = PrivateKeyDer::from_pem_slice(identity.pem().1.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate()], key)
        .unwrap()
}

/// Makes the configuration of a server that demands the certificate of `client`.
pub(crate) fn demanding(
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
    client: &Identity,
) -> ServerConfig {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(client.certificate()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_slice(identity.pem().1.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![identity.certificate()], key)
        .unwrap()
}

/// A listening socket behind which TLS is spoken.
pub(crate) struct TlsOrigin {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl TlsOrigin {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) fn bind(config: ServerConfig) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            config: Arc::new(config),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Goes on with another configuration, for the connections it takes from now on.
    pub(crate) fn under(self, config: ServerConfig) -> Self {
        Self {
            config: Arc::new(config),
            ..self
        }
    }

    /// Takes the next connection and what is sent on it in the clear: `preface` bytes.
    pub(crate) fn accept_behind(&self, preface: usize) -> (Vec<u8>, Served) {
        let mut tcp = self.accept_tcp().unwrap();
        let mut said = vec![0; preface];
        tcp.read_exact(&mut said).unwrap();
        (said, self.shake(tcp).unwrap())
    }

    /// Takes the next connection, on which nothing is said yet.
    pub(crate) fn accept_tcp(&self) -> std::io::Result<TcpStream> {
        let (tcp, _) = self.listener.accept()?;
        set_up(&tcp);
        Ok(tcp)
    }

    /// Makes the handshake on a connection.
    pub(crate) fn shake(&self, tcp: TcpStream) -> std::io::Result<Served> {
        let tls = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        let mut served = Served { tls, tcp };
        served.shake()?;
        Ok(served)
    }

    /// Takes the next connection and makes the handshake.
    pub(crate) fn accept(&self) -> Served {
        self.accept_behind(0).1
    }

    /// Takes the next connection, whose handshake comes to nothing.
    pub(crate) fn accept_refused(&self) -> rustls::Error {
        let mut tcp = self.accept_tcp().unwrap();
        let mut tls = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        loop {
            if let Err(error) = tls.complete_io(&mut tcp) {
                let inner = error.into_inner().expect("an error of TLS");
                return *inner.downcast().expect("an error of rustls");
            }
        }
    }

    /// Sends back what comes on every connection until close_notify, and answers that; changes keys
    /// now and then where the version can.
    pub(crate) fn echo(config: ServerConfig) -> SocketAddr {
        let origin = Self::bind(config);
        let addr = origin.addr();
        thread::spawn(move || {
            loop {
                let mut served = origin.accept();
                thread::spawn(move || served.echo());
            }
        });
        addr
    }
}

/// A server's end of a TLS connection.
pub(crate) type Served = TlsEnd<ServerConnection>;

impl Served {
    fn echo(&mut self) {
        let mut buffer = vec![0; 65_536];
        for turn in 1_u32.. {
            let mut stream = self.stream();
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => {
                    if stream.write_all(&buffer[..len]).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
            if turn.is_multiple_of(16) {
                // An error with TLS 1.2, which cannot.
                let _ = self.tls.refresh_traffic_keys();
            }
        }
        self.notify();
        let _ = self.tcp.shutdown(Shutdown::Write);
    }
}
