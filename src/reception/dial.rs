//! Dialing servers: opening a connection to the address of one server, from a source address if the
//! configuration names some. Which server it is, and what happens after a failure, is decided in
//! `connect`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, SockAddr, Type};
use tokio::time::sleep;

use super::listen::{NOTSENT_LEN_BYTES, RECEIVE_LEN_BYTES};
use super::refusal::Refusal;
use super::socket::Socket;
use super::socket::driver::{Driver, Interest};
use crate::journal::Cause;
use crate::upstream::{Address, Member};

/// Pause between two attempts at a unix socket with a full accept queue, which gives no readiness.
const UNIX_BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// Why a connection could not be opened, as far as it matters for what to try next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// This machine has no descriptor or memory left.
    Machine,
    /// No source address or port is left for this server; another server may be reached.
    Source,
    /// The server or the network between.
    Server,
}

/// Opens a connection to a server.
///
/// # Errors
/// The refusal, and what the obstacle is.
pub(super) async fn open(member: &Member, driver: Driver) -> Result<Socket, (Obstacle, Refusal)> {
    match &member.address {
        Address::Inet(addr) => open_inet(*addr, member, driver).await,
        Address::Unix(path) => open_unix(path, driver).await.map_err(not_opened),
    }
}

/// Connects to `addr`. Source addresses without a free port are skipped.
async fn open_inet(
    addr: SocketAddr,
    member: &Member,
    driver: Driver,
) -> Result<Socket, (Obstacle, Refusal)> {
    let fitting = |ip: &&IpAddr| ip.is_ipv4() == addr.is_ipv4();
    let sources: Vec<IpAddr> = member
        .server
        .source
        .iter()
        .filter(fitting)
        .copied()
        .collect();
    if sources.is_empty() {
        let socket = stream_to(addr).map_err(not_opened)?;
        return connect(socket, addr, driver).await.map_err(not_opened);
    }
    let turn = member.traffic.next_source();
    let mut failed = None;
    for step in 0..sources.len() {
        // In range: there is at least one.
        let Some(ip) = sources.get(turn.wrapping_add(step) % sources.len()) else {
            break;
        };
        let socket = stream_to(addr).map_err(not_opened)?;
        let opened = match set_source(&socket, *ip) {
            Ok(()) => connect(socket, addr, driver).await,
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                let detail = format!("the source address {ip} cannot be used: {error}");
                failed = Some((
                    Obstacle::Source,
                    Refusal::new(Cause::OutOfResources, detail),
                ));
            }
            opened => return opened.map_err(not_opened),
        }
    }
    Err(failed.unwrap_or_else(|| {
        (
            Obstacle::Source,
            Refusal::new(Cause::InternalError, "no source"),
        )
    }))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_opened(error: io::Error) -> (Obstacle, Refusal) {
    let (fault, cause) = match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => (Obstacle::Server, Cause::ConnectRefused),
        Some(libc::ETIMEDOUT) => (Obstacle::Server, Cause::ConnectTimeout),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            (Obstacle::Machine, Cause::OutOfResources)
        }
        // Source ports are counted per server.
        Some(libc::EADDRNOTAVAIL) => (Obstacle::Source, Cause::OutOfResources),
        _ => (Obstacle::Server, Cause::ConnectFailed),
    };
    (fault, Refusal::new(cause, format!("connect: {error}")))
}

fn stream_to(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LEN_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_LEN_BYTES)?;
    Ok(socket)
}

fn set_source(socket: &socket2::Socket, ip: IpAddr) -> io::Result<()> {
    // The kernel chooses the port at connect, so that one port serves many servers (ip(7)).
    setsockopt(socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(ip, 0).into())
}

async fn connect(socket: socket2::Socket, addr: SocketAddr, driver: Driver) -> io::Result<Socket> {
    let started = socket.connect(&addr.into());
    let socket = Socket::new(socket.into(), driver);
    match started {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            socket.wait(Interest::Writable).await?;
            socket.take_error()?;
        }
        result => result?,
    }
    Ok(socket)
}

async fn open_unix(path: &Path, driver: Driver) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    loop {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        match socket.connect(&address) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                sleep(UNIX_BACKLOG_PAUSE).await;
            }
            result => return result.map(|()| Socket::new(socket.into(), driver)),
        }
    }
}
