//! Servers that do what a test says: the application behind the proxy.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::PATIENCE;
use super::peer::Peer;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listening socket.
pub(crate) struct Origin {
    socket: Socket,
}

impl Origin {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) fn bind() -> Self {
        Self::bind_with_backlog(BACKLOG)
    }

    /// Listens with room for `backlog` waiting connections.
    fn bind_with_backlog(backlog: i32) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&addr.into()).unwrap();
        socket.listen(backlog).unwrap();
        Self { socket }
    }

    /// Listens on a unix socket.
    pub(crate) fn bind_unix(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(path).unwrap()).unwrap();
        socket.listen(BACKLOG).unwrap();
        Self { socket }
    }

    /// Listens, but never takes a connection: the kernel leaves attempts to connect unanswered.
    pub(crate) fn clogged() -> Clogged {
        let origin = Self::bind_with_backlog(0);
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let connected =
                socket.connect_timeout(&origin.addr().into(), Duration::from_millis(200));
            match connected {
                Ok(()) => waiting.push(socket),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    return Clogged {
                        origin,
                        _waiting: waiting,
                    };
                }
            }
        }
    }

    /// Returns where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }

    /// Waits for the next connection.
    pub(crate) fn accept(&self) -> Peer {
        self.accept_within(PATIENCE).expect("no connection came")
    }

    /// Waits `time` for a connection.
    pub(crate) fn accept_within(&self, time: Duration) -> Option<Peer> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        match self.socket.accept() {
            Ok((socket, _)) => Some(Peer::new(socket)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("accept: {error}"),
        }
    }

    /// Demands that no connection waits to be accepted.
    pub(crate) fn expect_untouched(&self) {
        self.socket.set_nonblocking(true).unwrap();
        assert!(self.socket.accept().is_err(), "a connection came through");
        self.socket.set_nonblocking(false).unwrap();
    }

    /// Serves every connection with `serve`, each on a thread of its own, until the tests end.
    pub(crate) fn serve(serve: impl Fn(Peer) + Send + Sync + 'static) -> SocketAddr {
        let origin = Self::bind();
        let addr = origin.addr();
        origin.serve_with(serve);
        addr
    }

    /// Like [`Origin::serve`], on this socket.
    pub(crate) fn serve_with(self, serve: impl Fn(Peer) + Send + Sync + 'static) {
        let serve = Arc::new(serve);
        thread::spawn(move || {
            while let Ok((socket, _)) = self.socket.accept() {
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(Peer::new(socket)));
            }
        });
    }

    /// Sends back what comes, and ends its half when the other side has ended its own.
    pub(crate) fn echo() -> SocketAddr {
        Self::serve(echo)
    }

    /// Reads a request head, hands it to the test, sends `answer`, and closes.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Answering {
        let answer = answer.into();
        let (heads, received) = channel();
        let addr = Self::serve(move |mut peer| {
            let head = peer.read_head();
            // The test may have ended.
            let _ = heads.send(head);
            let _ = peer.try_send(&answer);
        });
        Answering { addr, received }
    }
}

/// Echoes one connection until both sides have ended.
pub(crate) fn echo(mut peer: Peer) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count) = peer.receive(&mut buffer) {
        if count == 0 || peer.try_send(&buffer[..count]).is_err() {
            break;
        }
    }
}

/// A listener whose queue is full.
pub(crate) struct Clogged {
    origin: Origin,
    _waiting: Vec<Socket>,
}

impl Clogged {
    /// Returns where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.origin.addr()
    }
}

/// A server with one answer to everything, and the heads it was asked with.
pub(crate) struct Answering {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    received: Receiver<String>,
}

impl Answering {
    /// Waits for the next request head.
    pub(crate) fn head(&self) -> String {
        self.received
            .recv_timeout(PATIENCE)
            .expect("no request came")
    }

    /// Demands that no (further) request came.
    pub(crate) fn expect_untouched(&self) {
        match self.received.recv_timeout(Duration::ZERO) {
            Err(RecvTimeoutError::Timeout) => {}
            other => panic!("a request came through: {other:?}"),
        }
    }
}
