//! The same work with everything that tells of it off, and on: access lines, lines of tunnels that
//! go on, metrics that are asked for, and the admin socket.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::proxy::{Proxy, free_address};
use super::{MIB, PATIENCE, REPETITIONS, Result, WRITE_BYTES, measure, pour};

/// The name of this comparison.
pub(super) const NAME: &str = "observed";
/// Tunnels that are open, and take their turns.
const TUNNELS: usize = 16;
/// How often metrics and state are asked for, as often as a tunnel that goes on gets a line.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a browser sends to open a WebSocket.
const UPGRADE: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n\
    Host: maps.example.com\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Origin: https://maps.example.com\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// What is answered; the accept value belongs to that key.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// How connections become tunnels: `mode` of the listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Tcp,
    Http,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

/// A unit of work.
#[derive(Clone, Copy)]
enum Work {
    /// A message of this size there and back, alone: the proxy wakes up for each.
    Echo(usize),
    /// The same while every tunnel has one: the proxy wakes up for many.
    Echoes(usize),
    /// A MiB from the server to the client.
    ToClient,
    /// A connection with its tunnel, one message there and back, and its end.
    Open,
}

/// What is measured with each mode.
const WORKS: &[(Mode, &[Work])] = &[
    (
        Mode::Tcp,
        &[
            Work::Echo(64),
            Work::Echo(1400),
            Work::Echoes(64),
            Work::ToClient,
            Work::Open,
        ],
    ),
    (
        Mode::Http,
        &[
            Work::Echo(64),
            Work::Echo(1400),
            Work::Echoes(64),
            Work::Open,
        ],
    ),
];

impl Work {
    fn name(self) -> String {
        match self {
            Self::Echo(size) => format!("echo-{size}B"),
            Self::Echoes(size) => format!("echoes-{size}B"),
            Self::ToClient => "to-client-MiB".to_owned(),
            Self::Open => "open".to_owned(),
        }
    }

    /// Units that are done before the count begins, and units counted: a second or two of the
    /// guest's time, so that what happens once a second happens.
    const fn units(self) -> (usize, usize) {
        match self {
            Self::Echo(_) | Self::Echoes(_) => (50 * TUNNELS, 2000 * TUNNELS),
            Self::ToClient => (16, 512),
            Self::Open => (50, 1000),
        }
    }

    fn run(self, stage: &mut Stage<'_>, units: usize) -> Result<()> {
        let Stage {
            tunnels, buffer, ..
        } = stage;
        let turns = units / TUNNELS;
        match self {
            Self::Echo(size) => {
                let (from_client, from_server) = (frame(size, true), frame(size, false));
                for _ in 0..turns {
                    for tunnel in &mut *tunnels {
                        tunnel.send(&from_client, buffer)?;
                        tunnel.answer(&from_server, buffer)?;
                    }
                }
                Ok(())
            }
            Self::Echoes(size) => {
                let messages = (frame(size, true), frame(size, false));
                (0..turns).try_for_each(|_| echo_all(tunnels, &messages, buffer))
            }
            Self::ToClient => {
                let tunnel = tunnels.first_mut().ok_or("no tunnel")?;
                pour(
                    &mut tunnel.server,
                    &mut tunnel.client,
                    units * MIB,
                    &mut buffer[..],
                )
            }
            Self::Open => (0..units).try_for_each(|_| stage.open_and_close()),
        }
    }
}

/// Sends a message on every tunnel, then answers all.
fn echo_all(
    tunnels: &mut [Tunnel],
    (from_client, from_server): &(Vec<u8>, Vec<u8>),
    buffer: &mut [u8],
) -> Result<()> {
    for tunnel in &mut *tunnels {
        tunnel.client.write_all(from_client)?;
    }
    for tunnel in &mut *tunnels {
        read_exactly(&mut tunnel.server, from_client.len(), buffer)?;
    }
    for tunnel in &mut *tunnels {
        tunnel.server.write_all(from_server)?;
    }
    for tunnel in tunnels {
        read_exactly(&mut tunnel.client, from_server.len(), buffer)?;
    }
    Ok(())
}

/// Takes and prints every figure.
pub(super) fn compare(binary: &Path) -> Result<()> {
    for repetition in 0..REPETITIONS {
        for (mode, works) in WORKS {
            for is_observed in [false, true] {
                let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let observer = is_observed.then(Observer::new).transpose()?;
                let backend = server.local_addr()?;
                let plan = |listen| plan(*mode, listen, backend, observer.as_ref());
                let proxy = Proxy::start(binary, plan)?;
                let watch = observer.map(Observer::watch);
                let mut stage = Stage::new(*mode, &proxy, &server)?;
                let variant = if is_observed { "on" } else { "off" };
                for work in *works {
                    let run = |units| work.run(&mut stage, units);
                    let instructions = measure(&proxy, work.units(), run)?;
                    let (work, mode) = (work.name(), mode.name());
                    println!("cost {NAME} {work} {mode} {variant} {repetition} {instructions}");
                }
                if let Some(watch) = watch {
                    watch.finish()?;
                }
            }
        }
    }
    Ok(())
}

/// Returns a WebSocket's binary message that is `size` bytes with its header.
fn frame(size: usize, is_masked: bool) -> Vec<u8> {
    const BINARY: u8 = 0x82;
    const MASKED: u8 = 0x80;
    let mask_len = if is_masked { 4 } else { 0 };
    let bit = if is_masked { MASKED } else { 0 };
    let mut frame = vec![BINARY];
    match u8::try_from(size - 2 - mask_len) {
        Ok(len @ ..126) => frame.push(bit | len),
        Ok(_) | Err(_) => {
            let len = u16::try_from(size - 4 - mask_len).unwrap_or(u16::MAX);
            frame.push(bit | 126);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.resize(size, 0x55);
    frame
}

/// The tunnels of one proxy.
struct Stage<'a> {
    mode: Mode,
    proxy: &'a Proxy,
    server: &'a TcpListener,
    tunnels: Vec<Tunnel>,
    buffer: Vec<u8>,
}

impl<'a> Stage<'a> {
    fn new(mode: Mode, proxy: &'a Proxy, server: &'a TcpListener) -> Result<Self> {
        let tunnels = (0..TUNNELS).map(|_| Tunnel::open(mode, proxy, server));
        Ok(Self {
            mode,
            proxy,
            server,
            tunnels: tunnels.collect::<Result<_>>()?,
            buffer: vec![0; WRITE_BYTES],
        })
    }

    fn open_and_close(&mut self) -> Result<()> {
        let mut tunnel = Tunnel::open(self.mode, self.proxy, self.server)?;
        tunnel.send(&frame(64, true), &mut self.buffer)?;
        tunnel.answer(&frame(64, false), &mut self.buffer)?;
        drop(tunnel.client);
        match tunnel.server.read(&mut self.buffer)? {
            0 => Ok(()),
            _ => Err("more came than was sent".into()),
        }
    }
}

/// Both ends of a tunnel through the proxy.
struct Tunnel {
    client: TcpStream,
    server: TcpStream,
}

impl Tunnel {
    fn open(mode: Mode, proxy: &Proxy, server: &TcpListener) -> Result<Self> {
        let mut client = TcpStream::connect(proxy.address)?;
        if mode == Mode::Http {
            client.write_all(UPGRADE)?;
        }
        let (mut server, _) = server.accept()?;
        for socket in [&client, &server] {
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
        }
        if mode == Mode::Http {
            read_head(&mut server)?;
            server.write_all(SWITCHING)?;
            read_head(&mut client)?;
        }
        Ok(Self { client, server })
    }

    fn send(&mut self, message: &[u8], buffer: &mut [u8]) -> Result<()> {
        self.client.write_all(message)?;
        read_exactly(&mut self.server, message.len(), buffer)
    }

    fn answer(&mut self, message: &[u8], buffer: &mut [u8]) -> Result<()> {
        self.server.write_all(message)?;
        read_exactly(&mut self.client, message.len(), buffer)
    }
}

fn read_exactly(from: &mut TcpStream, len: usize, buffer: &mut [u8]) -> Result<()> {
    let message = buffer.get_mut(..len).ok_or("a message is too large")?;
    Ok(from.read_exact(message)?)
}

/// Reads a head, behind which nothing may come.
fn read_head(from: &mut TcpStream) -> Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        match from.read(&mut buffer)? {
            0 => return Err("closed within a head".into()),
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(())
}

/// Where the proxy tells of itself.
struct Observer {
    lines: PathBuf,
    http: SocketAddr,
    socket: PathBuf,
}

impl Observer {
    fn new() -> Result<Self> {
        let scratch = std::env::temp_dir();
        let lines = scratch.join("access.log");
        // Of the proxy before, if there was one.
        let _ = fs::remove_file(&lines);
        Ok(Self {
            lines,
            http: free_address()?,
            socket: scratch.join("admin.sock"),
        })
    }

    /// Begins to ask.
    fn watch(self) -> Watch {
        let (stop, is_over) = mpsc::channel();
        let (http, socket) = (self.http, self.socket);
        let asking = thread::spawn(move || -> std::result::Result<usize, String> {
            let mut asked = 0;
            while is_over.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                ask_metrics(http).map_err(|error| format!("/metrics: {error}"))?;
                ask_status(&socket).map_err(|error| format!("admin socket: {error}"))?;
                asked += 1;
            }
            Ok(asked)
        });
        Watch {
            lines: self.lines,
            stop,
            asking,
        }
    }
}

/// Asks once per [`INTERVAL`].
struct Watch {
    lines: PathBuf,
    stop: Sender<()>,
    asking: JoinHandle<std::result::Result<usize, String>>,
}

impl Watch {
    /// Ends, and sees to it that something was told: a figure of nothing is worth nothing.
    fn finish(self) -> Result<()> {
        drop(self.stop);
        let asked = self.asking.join().map_err(|_| "the observer panicked")??;
        let text = fs::read_to_string(&self.lines)?;
        let lines = |event: &str| {
            let event = format!("\"event\":\"{event}\"");
            text.lines().filter(|line| line.contains(&event)).count()
        };
        let (opened, went_on, closed) = (lines("open"), lines("progress"), lines("close"));
        println!("asked {asked} times; {opened} open, {went_on} go on, {closed} closed");
        if asked == 0 || opened == 0 || went_on == 0 || closed == 0 {
            return Err("not everything was on".into());
        }
        Ok(())
    }
}

fn ask_metrics(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") && answer.contains("\nlongsplice_") {
        Ok(())
    } else {
        Err(answer.into())
    }
}

fn ask_status(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"{\"command\":\"status\"}\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains("tunnels") {
        Ok(())
    } else {
        Err(answer.into())
    }
}

/// Returns the proxy's configuration: one thread of each kind.
fn plan(mode: Mode, listen: SocketAddr, server: SocketAddr, observer: Option<&Observer>) -> String {
    let (mode, interval) = (mode.name(), INTERVAL.as_secs());
    let (admin, log) = match observer {
        None => (
            String::new(),
            "level = \"error\"\naccess = \"off\"".to_owned(),
        ),
        Some(Observer {
            lines,
            http,
            socket,
        }) => (
            format!(
                "admin_http = \"{http}\"\nadmin_socket = \"{}\"",
                socket.display()
            ),
            format!(
                "level = \"info\"\naccess = \"json\"\ntarget = \"file:{}\"\nprogress = \"{interval}s\"",
                lines.display()
            ),
        ),
    };
    format!(
        r#"
[server]
reception_threads = 1
relay_threads = 1
max_connections = 100
{admin}
[log]
{log}
[[listener]]
bind = ["{listen}"]
mode = "{mode}"
[[listener.route]]
backend = "server"
[[backend]]
name = "server"
[[backend.server]]
address = "{server}"
"#
    )
}
