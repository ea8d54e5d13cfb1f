//! A relay that does nothing but splice: the limit that bulk figures are compared to.
//!
//! One thread, edge-triggered epoll, one pipe of 64 KiB per direction for the life of a
//! connection, both sockets handed from pipe to pipe. No timeouts, no errors passed on.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::pipe2;

const SPLICE_BYTES: usize = 64 * 1024;
const EVENTS_PER_WAIT: usize = 256;
const LISTENER: u64 = u64::MAX;

/// One direction of a connection.
struct Direction {
    pipe_out: OwnedFd,
    pipe_in: OwnedFd,
    held_bytes: usize,
    ended: bool,
}

/// A client, its server connection and the two directions, client to server first.
struct Pair {
    sockets: [TcpStream; 2],
    directions: [Direction; 2],
}

/// Relays connections from `listen` to `to` until it is killed.
pub(super) fn relay(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).context("bind the splice loop")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create1")?;
    epoll
        .add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))
        .context("epoll_ctl")?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut events = [EpollEvent::empty(); EVENTS_PER_WAIT];
    loop {
        let count = epoll
            .wait(&mut events, EpollTimeout::NONE)
            .context("epoll_wait")?;
        for event in &events[..count] {
            if event.data() == LISTENER {
                let free = pairs
                    .iter()
                    .position(Option::is_none)
                    .unwrap_or(pairs.len());
                let pair = open(&listener, to, &epoll, free)?;
                if free == pairs.len() {
                    pairs.push(None);
                }
                pairs[free] = Some(pair);
                continue;
            }
            let index = usize::try_from(event.data() / 2).expect("an index of ours");
            let Some(pair) = &mut pairs[index] else {
                continue;
            };
            if !pair.pump()? {
                pairs[index] = None;
            }
        }
    }
}

fn open(listener: &TcpListener, to: SocketAddr, epoll: &Epoll, index: usize) -> Result<Pair> {
    let (client, _) = listener.accept().context("accept")?;
    let server = TcpStream::connect(to).context("connect to the backend")?;
    let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    for (side, socket) in [&client, &server].into_iter().enumerate() {
        socket
            .set_nonblocking(true)
            .context("non-blocking socket")?;
        socket.set_nodelay(true).context("TCP_NODELAY")?;
        let token = (index * 2 + side) as u64;
        epoll
            .add(socket, EpollEvent::new(interest, token))
            .context("epoll_ctl")?;
    }
    let directions = [Direction::new()?, Direction::new()?];
    Ok(Pair {
        sockets: [client, server],
        directions,
    })
}

impl Pair {
    /// Moves what can be moved; false when the connection has ended.
    fn pump(&mut self) -> Result<bool> {
        let [client, server] = &self.sockets;
        let [up, down] = &mut self.directions;
        up.pump(client, server)?;
        down.pump(server, client)?;
        Ok(!(up.ended && down.ended))
    }
}

impl Direction {
    fn new() -> Result<Self> {
        let (pipe_out, pipe_in) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).context("pipe2")?;
        Ok(Self {
            pipe_out,
            pipe_in,
            held_bytes: 0,
            ended: false,
        })
    }

    fn pump(&mut self, from: &TcpStream, to: &TcpStream) -> Result<()> {
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        while !self.ended {
            if self.held_bytes == 0 {
                match splice(from, None, &self.pipe_in, None, SPLICE_BYTES, flags) {
                    Ok(0) | Err(Errno::ECONNRESET) => {
                        self.ended = true;
                        // The peer may be gone already; then there is nothing to do.
                        let _ = to.shutdown(std::net::Shutdown::Write);
                        return Ok(());
                    }
                    Ok(count) => self.held_bytes = count,
                    Err(Errno::EAGAIN) => return Ok(()),
                    Err(errno) => bail!("splice in: {errno}"),
                }
            }
            match splice(&self.pipe_out, None, to, None, self.held_bytes, flags) {
                Ok(count) => self.held_bytes -= count,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EPIPE | Errno::ECONNRESET) => self.ended = true,
                Err(errno) => bail!("splice out: {errno}"),
            }
        }
        Ok(())
    }
}
