//! The load of `cargo xtask cost`: what a unit of TLS work costs the proxy, in instructions.
//!
//! Runs in a guest where one instruction is one nanosecond, so that the CPU time the kernel charges
//! a process is a count of its instructions, those of the kernel in its name included. One process
//! is the client and the server around the proxy; it waits while the proxy works. A line
//! `cost WORK SUITE OFFLOAD REPETITION INSTRUCTIONS` for each figure goes to standard output.
//! Elsewhere, as with `cargo bench`, its figures mean nothing, and it does nothing.

use std::error::Error;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedCipherSuite};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Names the proxy's binary; without it nothing is measured.
const BINARY: &str = "LONGSPLICE_COST_BINARY";
/// The values of `tls.offload`.
const OFFLOADS: &[&str] = &["never", "always", "adaptive"];
/// How often each figure is taken; the difference says how far it is to be trusted.
const REPETITIONS: usize = 2;
/// How long anything may take that the proxy has to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the proxy must have done nothing to be at rest.
const REST: Duration = Duration::from_millis(5);
/// Bytes of one write of bulk.
const WRITE_BYTES: usize = 64 * 1024;
const MIB: usize = 1024 * 1024;

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

    /// Units that are done before the count begins, so that adaptation is over, and units counted.
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

fn main() -> Result<()> {
    let Some(binary) = env::var_os(BINARY) else {
        println!("the load of `cargo xtask cost`, which runs it in a guest");
        return Ok(());
    };
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let scratch = env::temp_dir();
    let keys = scratch.join("keys.pem");
    let certificate = identity.cert.pem();
    fs::write(&keys, identity.signing_key.serialize_pem() + &certificate)?;
    for repetition in 0..REPETITIONS {
        for offload in OFFLOADS {
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let proxy = Proxy::start(Path::new(&binary), offload, &keys, server.local_addr()?)?;
            for (suite, suite_name) in suites().map(|(name, suite)| (suite, name)) {
                let config = client(&certificate, suite)?;
                for work in WORKS {
                    let mut tunnel = Tunnel::open(&proxy, &server, &config)?;
                    let instructions = measure(*work, &mut tunnel, &proxy)?;
                    let work = work.name();
                    println!("cost {work} {suite_name} {offload} {repetition} {instructions}");
                }
            }
        }
    }
    Ok(())
}

/// Returns the proxy's instructions for one unit.
fn measure(work: Work, tunnel: &mut Tunnel, proxy: &Proxy) -> Result<u64> {
    let (warm_up, counted) = work.units();
    work.run(tunnel, warm_up)?;
    let before = proxy.instructions_at_rest()?;
    work.run(tunnel, counted)?;
    let after = proxy.instructions_at_rest()?;
    Ok((after - before) / u64::try_from(counted)?)
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

/// Writes so many bytes on one side while another thread reads them on the other.
fn pour(
    from: &mut (impl Write + Send),
    to: &mut impl Read,
    bytes: usize,
    buffer: &mut [u8],
) -> Result<()> {
    thread::scope(|scope| {
        let chunk = vec![0x5a; WRITE_BYTES];
        let writer =
            scope.spawn(move || (0..bytes / WRITE_BYTES).try_for_each(|_| from.write_all(&chunk)));
        let mut left = bytes;
        while left > 0 {
            match to.read(buffer)? {
                0 => return Err("the proxy closed".into()),
                read => left = left.saturating_sub(read),
            }
        }
        writer.join().map_err(|_| "the writer panicked")??;
        Ok(())
    })
}

/// The proxy that is measured; ended when dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(binary: &Path, offload: &str, keys: &Path, server: SocketAddr) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let file: PathBuf = keys.with_file_name("longsplice.toml");
        fs::write(&file, plan(address, server, keys.display(), offload))?;
        let child = Command::new(binary)
            .arg("run")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()?;
        let mut proxy = Self { child, address };
        let started = Instant::now();
        while !is_listening(address)? {
            if let Some(status) = proxy.child.try_wait()? {
                return Err(format!("the proxy ended: {status}").into());
            }
            if started.elapsed() > PATIENCE {
                return Err("the proxy does not listen".into());
            }
            thread::sleep(REST);
        }
        Ok(proxy)
    }

    /// Waits until the proxy has nothing to do and returns the instructions of all its threads.
    fn instructions_at_rest(&self) -> Result<u64> {
        let started = Instant::now();
        let mut last = self.instructions()?;
        loop {
            thread::sleep(REST);
            let now = self.instructions()?;
            if now == last {
                return Ok(now);
            }
            if started.elapsed() > PATIENCE {
                return Err("the proxy does not come to rest".into());
            }
            last = now;
        }
    }

    /// The first field of `/proc/PID/task/TID/schedstat`: Documentation/scheduler/sched-stats.rst.
    fn instructions(&self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let field = text.split(' ').next().unwrap_or_default();
            total += field.parse::<u64>()?;
        }
        Ok(total)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks without connecting, so that the proxy sees nothing of it.
fn is_listening(address: SocketAddr) -> Result<bool> {
    let port = format!(":{:04X} ", address.port());
    let table = fs::read_to_string("/proc/net/tcp")?;
    let is_it = |line: &str| line.contains(" 0A ") && line.contains(&port);
    Ok(table.lines().any(is_it))
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
