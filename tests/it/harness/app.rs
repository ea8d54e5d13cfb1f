//! An application with a name, whose health a test decides: one of several servers of a backend.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread;

use super::http;
use super::origin::echo;
use super::peer::Peer;
use super::websocket;

/// The application; it serves until the tests end.
///
/// `GET /healthz` answers the status that was set, everything else the name; an upgrade becomes an
/// echo of raw bytes.
pub(crate) struct App {
    addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    name: String,
    health: AtomicU16,
    checks: AtomicUsize,
    upgrades: AtomicUsize,
    requests: AtomicUsize,
}

impl App {
    /// Serves at a free port of 127.0.0.1.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Serves at `addr`.
    pub(crate) fn start_at(name: &str, addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            name: name.to_owned(),
            health: AtomicU16::new(200),
            checks: AtomicUsize::new(0),
            upgrades: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let server = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let server = Arc::clone(&server);
                thread::spawn(move || server.serve(Peer::new(stream.into())));
            }
        });
        Self { addr, state }
    }

    /// Returns where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers `GET /healthz` with this status from now on.
    pub(crate) fn set_health(&self, status: u16) {
        self.state.health.store(status, Ordering::SeqCst);
    }

    /// Returns how often `GET /healthz` came.
    pub(crate) fn checks(&self) -> usize {
        self.state.checks.load(Ordering::SeqCst)
    }

    /// Returns how many WebSockets were opened.
    pub(crate) fn upgrades(&self) -> usize {
        self.state.upgrades.load(Ordering::SeqCst)
    }

    /// Returns how many other requests came.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl State {
    fn serve(&self, mut peer: Peer) {
        while let Some(head) = peer.try_read_head() {
            let closes = http::values(&head, "connection").contains(&"close");
            let answer = if head.starts_with("GET /healthz ") {
                self.checks.fetch_add(1, Ordering::SeqCst);
                let status = self.health.load(Ordering::SeqCst);
                format!("HTTP/1.1 {status} Health\r\nContent-Length: 0\r\n\r\n")
            } else if let [key] = http::values(&head, "sec-websocket-key")[..] {
                self.upgrades.fetch_add(1, Ordering::SeqCst);
                let accept = websocket::accept_for(key);
                let answer = websocket::switching("").replace(websocket::ACCEPT, &accept);
                if peer.try_send(answer).is_ok() {
                    echo(peer);
                }
                return;
            } else {
                self.requests.fetch_add(1, Ordering::SeqCst);
                http::ok(&self.name)
            };
            if peer.try_send(answer).is_err() || closes {
                return;
            }
        }
    }
}
