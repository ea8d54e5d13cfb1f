//! Listening sockets: one per reception thread and address, so that the kernel spreads connections.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, TcpKeepalive as TcpKeepaliveTimes, Type};

use crate::config::{Bind, TcpKeepalive};
use crate::sys::unix_path::{self, UnixPath};

/// Connections that may wait for accept. The kernel limits it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// Mode of a unix socket, the same as web servers use: the directory controls access.
const UNIX_MODE: u32 = 0o666;

/// How long binding a taken port is retried: the kernel releases the listeners of a killed process that
/// used io_uring a moment after its end.
const TAKEN_RETRY_TIME: Duration = Duration::from_millis(1000);
const TAKEN_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Receive buffer of one connection (SO_RCVBUF), which the kernel doubles for its own needs. With
/// autotuning the kernel would hold megabytes for a peer whose data is not read. Autotuning also
/// overrides TCP_WINDOW_CLAMP, so the buffer itself has to be fixed.
pub const RECEIVE_LEN_BYTES: usize = 512 * 1024;
/// Unsent bytes that a connection holds before it stops being writable (TCP_NOTSENT_LOWAT).
pub const NOTSENT_LEN_BYTES: u32 = 128 * 1024;

/// The kernel's default pause between unanswered keepalive probes (tcp(7), tcp_keepalive_intvl).
const KEEPALIVE_INTERVAL_MAX: Duration = Duration::from_secs(75);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {bind}: {source}{}", advice(.source))]
pub struct ListenError {
    bind: Bind,
    source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "; another process listens there: stop it, choose another port, or set \
             server.share_port = true in both"
        }
        Some(libc::EACCES) => {
            "; a port below 1024 needs CAP_NET_BIND_SERVICE (or root), a unix socket a folder this \
             user may write to"
        }
        Some(libc::EADDRNOTAVAIL) => {
            "; no interface of this machine has that address; freebind = true in the listener listens \
             on it before it is there"
        }
        _ => "",
    }
}

/// Sockets on one address.
#[derive(Debug)]
pub struct Listening {
    /// As many as requested.
    pub sockets: Vec<Socket>,
    /// The path of a unix socket, removed with this value.
    pub path: Option<UnixPath>,
}

/// How to listen on an address.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListenOptions {
    /// The keepalive of the connections accepted there.
    pub keepalive: TcpKeepalive,
    /// Whether other processes may listen on the address too; if not, that is an error.
    pub share_port: bool,
    /// Whether no interface needs to have the address yet.
    pub freebind: bool,
}

/// Opens `count` sockets on one address, a unix path as `count` handles of one socket.
///
/// # Errors
/// The system refuses. The text names the address and a remedy.
pub fn listen(bind: &Bind, options: ListenOptions, count: usize) -> Result<Listening, ListenError> {
    let listening = match bind {
        Bind::Inet(addr) => listen_inet(*addr, options, count),
        Bind::Unix(path) => listen_unix(path, count),
    };
    listening.map_err(|source| ListenError {
        bind: bind.clone(),
        source,
    })
}

fn listen_inet(addr: SocketAddr, options: ListenOptions, count: usize) -> io::Result<Listening> {
    if !options.share_port && addr.port() != 0 {
        claim(addr, options.freebind)?;
    }
    let mut sockets = Vec::with_capacity(count);
    let mut addr = addr;
    for _ in 0..count {
        let socket = stream(addr, options.freebind)?;
        socket.set_reuse_port(true)?;
        socket.bind(&addr.into())?;
        prepare(&socket, options.keepalive)?;
        socket.listen(BACKLOG)?;
        // Port 0 means any port; the other sockets need the same one.
        addr = socket.local_addr()?.as_socket().unwrap_or(addr);
        sockets.push(socket);
    }
    Ok(Listening {
        sockets,
        path: None,
    })
}

/// Makes handles of inherited listening sockets, one for each of `count` threads.
///
/// # Errors
/// The system refuses. The text names the address.
pub fn adopt(
    bind: &Bind,
    sockets: &[Socket],
    keepalive: TcpKeepalive,
    count: usize,
) -> Result<Listening, ListenError> {
    let handle = |socket: &Socket| {
        if let Bind::Inet(_) = bind {
            prepare(socket, keepalive)?;
        }
        socket.set_nonblocking(true)?;
        socket.try_clone()
    };
    let handles = sockets.iter().cycle().take(count).map(handle);
    let sockets = handles.collect::<io::Result<_>>();
    sockets
        .map(|sockets| Listening {
            sockets,
            // The process that created the path removes it.
            path: None,
        })
        .map_err(|source| ListenError {
            bind: bind.clone(),
            source,
        })
}

/// Sets the options that accepted connections inherit, which saves three calls per connection.
fn prepare(socket: &Socket, keepalive: TcpKeepalive) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LEN_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_LEN_BYTES)?;
    set_keepalive(socket, keepalive)
}

/// Sets after which silence the kernel probes a client. The pause between unanswered probes is at most
/// the kernel's default.
pub(super) fn set_keepalive(socket: &Socket, keepalive: TcpKeepalive) -> io::Result<()> {
    match keepalive {
        TcpKeepalive::Off => socket.set_keepalive(false),
        TcpKeepalive::System => socket.set_keepalive(true),
        TcpKeepalive::After(pause) => {
            socket.set_keepalive(true)?;
            let interval = pause.min(KEEPALIVE_INTERVAL_MAX);
            let times = TcpKeepaliveTimes::new()
                .with_time(pause)
                .with_interval(interval);
            socket.set_tcp_keepalive(&times)
        }
    }
}

/// Makes sure that no other process listens on `addr`: with SO_REUSEPORT alone, binding would succeed
/// beside it.
fn claim(addr: SocketAddr, freebind: bool) -> io::Result<()> {
    let deadline = Instant::now() + TAKEN_RETRY_TIME;
    loop {
        match stream(addr, freebind)?.bind(&addr.into()) {
            Err(error)
                if error.raw_os_error() == Some(libc::EADDRINUSE) && Instant::now() < deadline =>
            {
                std::thread::sleep(TAKEN_RETRY_PAUSE);
            }
            result => return result,
        }
    }
}

/// Makes a socket that can be bound to `addr`. With `freebind`, no interface needs to have the address (ip(7)).
fn stream(addr: SocketAddr, freebind: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    match addr {
        SocketAddr::V4(_) => socket.set_freebind_v4(freebind)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(freebind)?;
        }
    }
    Ok(socket)
}

fn listen_unix(path: &Path, count: usize) -> io::Result<Listening> {
    let (socket, place) = unix_path::listen(path, UNIX_MODE, BACKLOG)?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 1..count {
        sockets.push(socket.try_clone()?);
    }
    sockets.push(socket);
    Ok(Listening {
        sockets,
        path: Some(place),
    })
}
