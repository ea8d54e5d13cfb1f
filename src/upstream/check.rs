//! One health check of one server: connects, opens TLS if the server speaks it, sends a request, judges the
//! answer.
//!
//! Reports a failure in words; `balance::health` decides what follows from it. A head within the limits of the
//! backend and at most `READ_LEN_MAX` bytes of a body are read, within one time limit. Answers to http and
//! websocket checks are parsed as strictly as answers to clients' requests.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};

use self::wire::Wire;
use super::client_tls::TlsToServer;
use super::member::Address;
use crate::config::{HealthCheck, HealthKind, duration_text};
use crate::proto::Progress;
use crate::proto::http::framing::Framing;
use crate::proto::http::head::{self, HeadLimits, Response};
use crate::proto::http::refusal::{BadResponse, INTERIM_MAX};
use crate::proto::proxy::{self, Addresses, Header};
use crate::proto::websocket;

mod failure;
mod wire;

pub use failure::CheckFailure;

/// Longest body of an answer that is read, in bytes.
const READ_LEN_MAX: usize = 16 * 1024;
/// Longest wait of a `tcp` check for the server's first record, by which the server accepts or refuses our
/// side of a handshake of TLS 1.3. The reference states it.
const VERDICT: Duration = Duration::from_millis(500);
/// Time a server that passed has to close in good order. Its answer counts already; waiting only spares it a
/// reset.
const FAREWELL: Duration = Duration::from_millis(200);
/// Pause before connecting again to a unix socket whose accept queue is full, because such a socket gives no
/// readiness.
const UNIX_BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// The server to check.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Where it is.
    pub address: &'a Address,
    /// Value of Host unless the check configures another.
    pub host: &'a str,
    /// Local addresses to connect from; the first of the right family is used. None = any.
    pub source: &'a [IpAddr],
    /// Version of the PROXY header to send first; none = no header.
    pub send_proxy: Option<proxy::HeaderVersion>,
    /// TLS to the server, after the PROXY header; none = plain.
    pub tls: Option<&'a TlsToServer>,
    /// Limits of the head of its answer.
    pub limits: HeadLimits,
}

/// Checks a server once.
///
/// # Errors
/// The reason why the server did not pass.
pub async fn check(target: Target<'_>, health: &HealthCheck) -> Result<(), CheckFailure> {
    let deadline = Instant::now() + health.timeout;
    let late = || duration_text(health.timeout);
    let connecting = timeout_at(deadline, connect(target)).await;
    let mut wire = connecting.map_err(|_| CheckFailure::ConnectTimeout(late()))??;
    let mut opening = Vec::new();
    if let Some(version) = target.send_proxy {
        // Version 1 has no LOCAL and writes UNKNOWN.
        proxy::encode(version, &Header::from(Addresses::Local), &mut opening);
    }
    if let Some(tls) = target.tls {
        let http = health.kind != HealthKind::Tcp;
        let securing = async {
            wire.send(&std::mem::take(&mut opening)).await?;
            wire.secure(tls, http).await
        };
        let secured = timeout_at(deadline, securing).await;
        secured.map_err(|_| CheckFailure::HandshakeTimeout(late()))??;
    }
    let answered = timeout_at(deadline, converse(&mut wire, opening, target, health)).await;
    let rest = answered.map_err(|_| CheckFailure::AnswerTimeout(late()))??;
    if health.kind == HealthKind::Tcp && wire.may_be_refused() {
        let until = deadline.min(Instant::now() + VERDICT);
        // A server that is silent has refused nothing.
        if let Ok(heard) = timeout_at(until, wire.await_record()).await {
            heard?;
        }
    }
    if rest > 0 || wire.is_secure() {
        let until = deadline.min(Instant::now() + FAREWELL);
        // The check has passed, however the close ends.
        let _ = timeout_at(until, take_leave(wire, rest)).await;
    }
    Ok(())
}

async fn connect(target: Target<'_>) -> Result<Wire, CheckFailure> {
    let connected = match target.address {
        Address::Inet(addr) => {
            let socket = socket_to(*addr, target.source)?;
            socket.connect(*addr).await.map(Wire::from)
        }
        Address::Unix(path) => connect_unix(path).await.map(Wire::from),
    };
    connected.map_err(not_connected)
}

/// Makes a socket that connects to `addr` from one of `sources`, as connections for clients do.
fn socket_to(addr: SocketAddr, sources: &[IpAddr]) -> Result<TcpSocket, CheckFailure> {
    let made = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = made.map_err(not_connected)?;
    let mut sources = sources.iter();
    let Some(ip) = sources.find(|ip| ip.is_ipv4() == addr.is_ipv4()) else {
        return Ok(socket);
    };
    // The port is chosen at connect (ip(7)).
    let prepared = setsockopt(&socket, IpBindAddressNoPort, &true).map_err(io::Error::from);
    let bound = prepared.and_then(|()| socket.bind(SocketAddr::new(*ip, 0)));
    bound.map_err(|error| {
        CheckFailure::Ours(format!("the source address {ip} cannot be used: {error}"))
    })?;
    Ok(socket)
}

async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(UNIX_BACKLOG_PAUSE).await;
            }
            result => return result,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_connected(error: io::Error) -> CheckFailure {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => CheckFailure::Refused,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL) => {
            CheckFailure::Ours(error.to_string())
        }
        _ => CheckFailure::Unreachable(error.to_string()),
    }
}

/// Sends the contents of `opening` and the request of this kind of check, judges the answer, and returns how
/// many more bytes may come before the connection is closed in good order.
async fn converse(
    wire: &mut Wire,
    mut opening: Vec<u8>,
    target: Target<'_>,
    health: &HealthCheck,
) -> Result<usize, CheckFailure> {
    let key = match health.kind {
        HealthKind::Tcp => None,
        HealthKind::Http => {
            write_request(&mut opening, target, health, None);
            None
        }
        HealthKind::Websocket => {
            let key = random_key()?;
            write_request(&mut opening, target, health, Some(&key));
            Some(key)
        }
    };
    if !opening.is_empty() {
        wire.send(&opening).await?;
    }
    if health.kind == HealthKind::Tcp {
        // A tcp check sends a PROXY header at most; then we close.
        return Ok(0);
    }
    let rest = judge(wire, target.limits, health, key.as_deref()).await?;
    if key.is_some() {
        let closing = wire.send(&close_frame()?).await;
        return Ok(closing.map_or(0, |()| READ_LEN_MAX));
    }
    Ok(rest)
}

fn write_request(out: &mut Vec<u8>, target: Target<'_>, health: &HealthCheck, key: Option<&str>) {
    let method = health.method.as_str();
    let path = &health.path;
    let host = health.host.as_deref().unwrap_or(target.host);
    let upgrade = key.map_or_else(
        || "Connection: close\r\n".to_owned(),
        |key| {
            let version = websocket::VERSION;
            format!(
                "Connection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n"
            )
        },
    );
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: longsplice\r\n{upgrade}\r\n"
    );
    out.extend_from_slice(request.as_bytes());
}

fn random_key() -> Result<String, CheckFailure> {
    Ok(STANDARD.encode(random::<16>()?))
}

fn random<const LEN: usize>() -> Result<[u8; LEN], CheckFailure> {
    let mut bytes = [0; LEN];
    rand::fill(&mut bytes).map_err(|_| CheckFailure::Ours("no random bytes".to_owned()))?;
    Ok(bytes)
}

/// Makes a Close frame with the code 1000 (RFC 6455 sections 5.2 and 5.5.1).
fn close_frame() -> Result<[u8; 8], CheckFailure> {
    let [a, b, c, d] = random::<4>()?;
    let [high, low] = 1000_u16.to_be_bytes();
    Ok([0x88, 0x82, a, b, c, d, high ^ a, low ^ b])
}

/// Reads the answer's head, skipping interim answers (100, 103), and returns the length of a body that is
/// worth reading.
async fn judge(
    wire: &mut Wire,
    limits: HeadLimits,
    health: &HealthCheck,
    key: Option<&str>,
) -> Result<usize, CheckFailure> {
    let method = health.method.as_str();
    let mut bytes = Vec::with_capacity(1024);
    let mut interim = 0;
    loop {
        let parsed = head::parse_response(&bytes, method, &limits)?;
        let Progress::Complete {
            value: answer,
            used,
        } = parsed
        else {
            let began = interim > 0 || !bytes.is_empty();
            match wire.receive(&mut bytes).await? {
                0 if began => return Err(CheckFailure::ClosedWithin),
                0 => return Err(CheckFailure::Closed),
                _ => continue,
            }
        };
        if answer.is_interim() {
            interim += 1;
            if interim > INTERIM_MAX {
                return Err(BadResponse::TooManyInterim.into());
            }
            bytes.drain(..used);
            continue;
        }
        verdict(&answer, health, key)?;
        let body = match answer.framing {
            Framing::None => 0,
            Framing::Length(len) => usize::try_from(len).unwrap_or(usize::MAX),
            Framing::Chunked | Framing::UntilClose => READ_LEN_MAX,
        };
        return Ok(body.saturating_sub(bytes.len() - used).min(READ_LEN_MAX));
    }
}

fn verdict(
    answer: &Response<'_>,
    health: &HealthCheck,
    key: Option<&str>,
) -> Result<(), CheckFailure> {
    let status = answer.status;
    match key {
        Some(key) if answer.accepts(key) => Ok(()),
        Some(_) if status == 101 => Err(CheckFailure::WrongUpgrade),
        Some(_) => Err(CheckFailure::NoUpgrade(status)),
        None => {
            let mut expected = health.expect.iter();
            let expected = expected.any(|(low, high)| (*low..=*high).contains(&status));
            expected.then_some(()).ok_or(CheckFailure::Status(status))
        }
    }
}

/// Discards `len` bytes, or everything until the server has ended, and closes in good order.
async fn take_leave(mut wire: Wire, mut len: usize) {
    let mut scratch = Vec::new();
    while len > 0 {
        scratch.clear();
        match wire.receive(&mut scratch).await {
            Ok(0) | Err(_) => break,
            Ok(count) => len = len.saturating_sub(count),
        }
    }
    wire.finish().await;
}

#[cfg(test)]
mod tests;
