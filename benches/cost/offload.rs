//! TLS work for each value of `tls.offload`.

use std::fmt::Display;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedCipherSuite};

use super::proxy::Proxy;
use super::{MIB, PATIENCE, REPETITIONS, Result, WRITE_BYTES, measure, pour};

/// The name of this comparison.
pub(super) const NAME: &str = "offload";
/// The values of `tls.offload`.
const OFFLOADS: &[&str] = &["never", "always", "adaptive"];

/// The suites of TLS 1.3 that are measured.
fn suites() -> [(&'static str, SupportedCipherSuite); 2] {
    [
        ("aes128-gcm", cipher_suite::TLS13_AES_128_GCM_SHA256),
        (
            "chacha20-poly1305",
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ),
    ]
}

/// A unit of work.
#[derive(Clone, Copy)]
enum Work {
    /// A MiB from the server to the client.
    ToClient,
    /// A MiB from the client to the server.
    FromClient,
    /// A message of this size there and back.
    Echo(usize),
}

const WORKS: &[Work] = &[
    Work::ToClient,
    Work::FromClient,
    Work::Echo(100),
    Work::Echo(1400),
    Work::Echo(16_000),
];

impl Work {
    fn name(self) -> String {
        match self {
            Self::ToClient => "to-client-MiB".to_owned(),
            Self::FromClient => "from-client-MiB".to_owned(),
            Self::Echo(size) => format!("echo-{size}B"),
        }
    }

    /// Units that are done before the count begins, and units counted.
    const fn units(self) -> (usize, usize) {
        match self {
            Self::ToClient | Self::FromClient => (4, 16),
            // What happens once in a while is not to show.
            Self::Echo(..=1400) => (100, 2000),
            Self::Echo(_) => (100, 400),
        }
    }

    fn run(self, tunnel: &mut Tunnel, units: usize) -> Result<()> {
        match self {
            Self::ToClient => tunnel.pour_to_client(units * MIB),
            Self::FromClient => tunnel.pour_from_client(units * MIB),
            Self::Echo(size) => (0..units).try_for_each(|_| tunnel.echo(size)),
        }
    }
}

/// Takes and prints every figure.
pub(super) fn compare(binary: &Path) -> Result<()> {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let keys = std::env::temp_dir().join("keys.pem");
    let certificate = identity.cert.pem();
    fs::write(&keys, identity.signing_key.serialize_pem() + &certificate)?;
    for repetition in 0..REPETITIONS {
        for offload in OFFLOADS {
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let backend = server.local_addr()?;
            let plan = |listen| plan(listen, backend, keys.display(), offload);
            let proxy = Proxy::start(binary, plan)?;
            for (suite, suite_name) in suites().map(|(name, suite)| (suite, name)) {
                let config = client(&certificate, suite)?;
                for work in WORKS {
                    let mut tunnel = Tunnel::open(&proxy, &server, &config)?;
                    let run = |units| work.run(&mut tunnel, units);
                    let instructions = measure(&proxy, work.units(), run)?;
                    let work = work.name();
                    println!(
                        "cost {NAME} {work} {suite_name} {offload} {repetition} {instructions}"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Makes a client that speaks this suite alone.
fn client(certificate: &str, suite: SupportedCipherSuite) -> Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![suite];
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Both ends of a tunnel through the proxy.
struct Tunnel {
    client: StreamOwned<ClientConnection, TcpStream>,
    server: TcpStream,
    buffer: Vec<u8>,
}

impl Tunnel {
    fn open(proxy: &Proxy, server: &TcpListener, config: &Arc<ClientConfig>) -> Result<Self> {
        let tcp = TcpStream::connect(proxy.address)?;
        let name = ServerName::try_from("localhost")?;
        let tls = ClientConnection::new(Arc::clone(config), name)?;
        let mut client = StreamOwned::new(tls, tcp);
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock)?;
        }
        let (server, _) = server.accept()?;
        for socket in [&client.sock, &server] {
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
        }
        let buffer = vec![0x5a; WRITE_BYTES];
        Ok(Self {
            client,
            server,
            buffer,
        })
    }

    fn pour_to_client(&mut self, bytes: usize) -> Result<()> {
        let (client, server) = (&mut self.client, &mut self.server);
        pour(server, client, bytes, &mut self.buffer)
    }

    fn pour_from_client(&mut self, bytes: usize) -> Result<()> {
        let (client, server) = (&mut self.client, &mut self.server);
        pour(client, server, bytes, &mut self.buffer)
    }

    fn echo(&mut self, size: usize) -> Result<()> {
        let message = self
            .buffer
            .get_mut(..size)
            .ok_or("a message is too large")?;
        self.client.write_all(message)?;
        self.server.read_exact(message)?;
        self.server.write_all(message)?;
        self.client.read_exact(message)?;
        Ok(())
    }
}

/// Returns the proxy's configuration: one thread of each kind, no log, as in `benches/peers`.
fn plan(listen: SocketAddr, server: SocketAddr, keys: impl Display, offload: &str) -> String {
    format!(
        r#"
[server]
reception_threads = 1
relay_threads = 1
max_connections = 100
[log]
level = "error"
access = "off"
[[listener]]
bind = ["{listen}"]
mode = "tcp"
[listener.tls]
certificates = "{keys}"
offload = "{offload}"
[[listener.route]]
backend = "server"
[[backend]]
name = "server"
[[backend.server]]
address = "{server}"
"#
    )
}
