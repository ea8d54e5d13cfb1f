//! A client's connection to a proxy, plain or TLS, and the dialling of it.
//!
//! The TLS side is made cheap: it accepts every certificate unverified, has one key exchange (X25519) and one
//! cipher (AES-128-GCM), and so makes every proxy use the same.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
};

use super::reactor::unless_blocked;

/// Names that may hold tickets at the same time.
const TICKET_HOLDERS: usize = 256;

/// How clients reach a proxy.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    proxy: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

impl Dial {
    /// In the clear.
    pub(super) fn plain(proxy: SocketAddr) -> Self {
        Self { proxy, tls: None }
    }

    /// By TLS 1.3; a `resuming` client shows the tickets it was given, else every handshake is full.
    pub(super) fn tls(proxy: SocketAddr, resuming: bool) -> Result<Self> {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..aws_lc_rs::default_provider()
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .context("TLS 1.3")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unlooked))
            .with_no_client_auth();
        config.resumption = if resuming {
            Resumption::in_memory_sessions(TICKET_HOLDERS)
        } else {
            Resumption::disabled()
        };
        Ok(Self {
            proxy,
            tls: Some(Arc::new(config)),
        })
    }

    /// Connects without waiting for a handshake; tickets are kept for each `holder` apart.
    pub(super) fn begin(&self, holder: usize) -> Result<Link> {
        // On loopback a connect with room in the listener's queue does not wait.
        let tcp = TcpStream::connect(self.proxy).context("connect to the proxy")?;
        tcp.set_nonblocking(true).context("non-blocking client")?;
        let Some(config) = &self.tls else {
            return Ok(Link::Plain(tcp));
        };
        let name = ServerName::try_from(format!("client-{holder}.bench")).context("a name")?;
        let tls = ClientConnection::new(Arc::clone(config), name).context("a TLS client")?;
        let mut secure = Secure {
            tcp,
            tls,
            emptied: false,
        };
        secure.flush().context("client write")?;
        Ok(Link::Tls(Box::new(secure)))
    }

    /// Connects and makes the handshake, if there is one.
    pub(super) fn connect(&self) -> Result<Link> {
        let mut link = self.begin(0)?;
        if let Link::Tls(secure) = &mut link {
            secure.tcp.set_nonblocking(false).context("blocking")?;
            while secure.tls.is_handshaking() {
                secure
                    .tls
                    .complete_io(&mut secure.tcp)
                    .context("handshake")?;
            }
            secure.tcp.set_nonblocking(true).context("non-blocking")?;
        }
        Ok(link)
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) enum Link {
    Plain(TcpStream),
    Tls(Box<Secure>),
}

/// A client's connection with its TLS.
#[derive(Debug)]
pub(super) struct Secure {
    tcp: TcpStream,
    tls: ClientConnection,
    /// Whether the last read took less than was asked for: nothing more is there.
    emptied: bool,
}

impl Link {
    /// The socket.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(secure) => &secure.tcp,
        }
    }

    /// Writes what the kernel takes now; returns how many bytes that were, or none. By TLS they are
    /// taken as long as [`Link::flush`] has nothing left.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(tcp) => unless_blocked(tcp.write(bytes)),
            Self::Tls(secure) => {
                let count = secure.tls.writer().write(bytes)?;
                secure.flush()?;
                Ok(Some(count))
            }
        }
    }

    /// Hands what is left of earlier writes to the kernel; false = it takes no more now.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(secure) => secure.flush(),
        }
    }

    /// Reads what is there; none = nothing more until the next event, 0 = the proxy has ended.
    ///
    /// A plain link is read once for each event, for a short read proves it empty; one with TLS
    /// until nothing comes.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(tcp) => unless_blocked(tcp.read(buffer)),
            Self::Tls(secure) => secure.read(buffer),
        }
    }

    /// Whether an event asks for further reads after one that brought something.
    pub(super) const fn reads_on(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether the handshake was a resumed one.
    pub(super) fn is_resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(secure) => secure.tls.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Announces the end, if the protocol has a message for it.
    pub(super) fn end(&mut self) {
        if let Self::Tls(secure) = self {
            secure.tls.send_close_notify();
            // The proxy may be gone first.
            let _ = secure.flush();
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp().as_fd()
    }
}

impl Secure {
    fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            if unless_blocked(self.tls.write_tls(&mut self.tcp))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            if let Some(count) = unless_blocked(self.tls.reader().read(buffer))? {
                return Ok(Some(count));
            }
            if std::mem::take(&mut self.emptied) {
                return Ok(None);
            }
            let mut source = Source {
                tcp: &self.tcp,
                emptied: false,
            };
            match unless_blocked(self.tls.read_tls(&mut source))? {
                None => return Ok(None),
                Some(0) => return Ok(Some(0)),
                Some(_) => self.emptied = source.emptied,
            }
            self.tls.process_new_packets().map_err(io::Error::other)?;
            self.flush()?;
        }
    }
}

/// Reads from a socket and remembers whether that took all there was.
struct Source<'a> {
    tcp: &'a TcpStream,
    emptied: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut tcp = self.tcp;
        let count = tcp.read(buffer)?;
        self.emptied = count < buffer.len();
        Ok(count)
    }
}

/// Accepts every certificate: the client's cost is not measured.
#[derive(Debug)]
struct Unlooked;

impl ServerCertVerifier for Unlooked {
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
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
