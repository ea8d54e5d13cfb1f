//! Listening sockets: new ones are opened before a configuration is applied, unchanged ones stay open, and
//! reception is told the difference.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::certificates::Shown;
use super::inherited::Inherited;
use super::start_error::StartError;
use crate::config::{Bind, Config, Listener};
use crate::reception::accept::Entrance;
use crate::reception::client_place::Clients;
use crate::reception::listen::{ListenOptions, Listening, adopt, listen};
use crate::reception::snapshot::{Present, Snapshot};
use crate::reception::thread::Order;
use crate::sys::unix_path::UnixPath;
use crate::upstream::Upstream;

/// Sockets on one address.
struct Opened {
    bind: Bind,
    /// A socket for each thread.
    listening: Listening,
    /// Whether another process made the sockets and listens on them too.
    is_shared: bool,
}

/// The additional resources of a configuration: sockets for new addresses, and the certificates of every
/// listener.
pub(super) struct Opening {
    sockets: Vec<Opened>,
    /// Certificates of each listener, in order.
    shown: Vec<Option<Shown>>,
}

impl Opening {
    /// Opens `threads` sockets on each address of `config` that is not among the `present` ones; all are
    /// closed again after an error.
    ///
    /// # Errors
    /// Every error.
    pub(super) fn prepare(
        config: &Config,
        present: &HashSet<Bind>,
        threads: usize,
        inherited: &mut Inherited,
    ) -> Result<Self, Vec<StartError>> {
        let mut opening = Self {
            sockets: Vec::new(),
            shown: Vec::new(),
        };
        let mut errors = Vec::new();
        for listener in &config.listeners {
            match Shown::of(listener) {
                Ok(shown) => opening.shown.push(shown),
                Err(wrong) => {
                    errors.push(StartError::Identity(Arc::clone(&listener.name), wrong));
                }
            }
            for bind in listener.bind.iter().filter(|bind| !present.contains(bind)) {
                // A port of which we hold a part cannot be claimed, and need not be.
                let shares = config.process.share_port || present.iter().any(|b| overlap(b, bind));
                let (handed, keepalive) = (inherited.take(bind), listener.tcp_keepalive);
                let options = ListenOptions {
                    keepalive,
                    share_port: shares,
                    freebind: listener.freebind,
                };
                let listening = if handed.is_empty() {
                    listen(bind, options, threads)
                } else {
                    adopt(bind, &handed, keepalive, threads)
                };
                match listening {
                    Ok(listening) => opening.sockets.push(Opened {
                        bind: bind.clone(),
                        listening,
                        is_shared: !handed.is_empty(),
                    }),
                    Err(error) => errors.push(error.into()),
                }
            }
        }
        if errors.is_empty() {
            Ok(opening)
        } else {
            Err(errors)
        }
    }

    /// Returns the paths of the unix sockets that were made.
    pub(super) fn paths(&self) -> impl Iterator<Item = &UnixPath> {
        let opened = self.sockets.iter();
        opened.filter_map(|opened| opened.listening.path.as_ref())
    }
}

/// Returns whether one of two addresses includes the other.
fn overlap(one: &Bind, other: &Bind) -> bool {
    let (Bind::Inet(one), Bind::Inet(other)) = (one, other) else {
        return false;
    };
    one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// An address with its listening sockets.
struct Gate {
    bind: Bind,
    present: Present,
    address: Option<SocketAddr>,
    /// Removed from the file system with this value, unless another process made it.
    path: Option<UnixPath>,
}

/// All listening sockets.
pub(super) struct Listeners {
    gates: Vec<Gate>,
    threads: Vec<mpsc::UnboundedSender<Order>>,
}

/// The receiver of a thread's orders from [`Listeners`].
pub(super) type Orders = mpsc::UnboundedReceiver<Order>;

impl Listeners {
    /// Starts without sockets; each of the `threads` has to follow its orders.
    pub(super) fn new(threads: usize) -> (Self, Vec<Orders>) {
        let (threads, orders) = (0..threads).map(|_| mpsc::unbounded_channel()).unzip();
        let listeners = Self {
            gates: Vec::new(),
            threads,
        };
        (listeners, orders)
    }

    /// Returns every address at which clients can connect, as the configuration writes it. A unix socket
    /// whose path is gone or was replaced is left out.
    pub(super) fn binds(&self) -> HashSet<Bind> {
        let stands = |gate: &&Gate| gate.path.as_ref().is_none_or(UnixPath::stands);
        let open = self.gates.iter().filter(stands);
        open.map(|gate| gate.bind.clone()).collect()
    }

    /// Returns how many threads serve each address.
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Returns every IP address with a listening socket.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.gates.iter().filter_map(|gate| gate.address).collect()
    }

    /// Removes the unix sockets from the file system, for a process that takes over.
    pub(super) fn remove_paths(&mut self) {
        for gate in &mut self.gates {
            gate.path = None;
        }
    }

    /// Applies a configuration whose sockets are open; returns the certificates to check from now on.
    pub(super) fn apply(
        &mut self,
        listeners: &[Listener],
        upstreams: &Arc<[Arc<Upstream>]>,
        opening: Opening,
    ) -> Vec<Shown> {
        let mut sockets = opening.sockets;
        let mut kept = HashSet::new();
        let editions = upstreams.iter().map(|it| it.lineup().edition);
        let editions: Arc<[u32]> = editions.collect();
        for (listener, shown) in listeners.iter().zip(&opening.shown) {
            let snapshot = Arc::new(Snapshot {
                listener: Arc::new(listener.clone()),
                tls: shown.as_ref().map(Shown::now),
                upstreams: Arc::clone(upstreams),
                editions: Arc::clone(&editions),
                clients: self.clients_of(&listener.name),
            });
            for bind in &listener.bind {
                let snapshot = Arc::clone(&snapshot);
                let new = sockets.iter().position(|opened| opened.bind == *bind);
                match new.map(|at| sockets.swap_remove(at)) {
                    Some(opened) => self.open(opened, snapshot),
                    None => self.adjust(bind, snapshot),
                }
                kept.insert(bind);
            }
        }
        self.close(|gate| !kept.contains(&gate.bind));
        opening.shown.into_iter().flatten().collect()
    }

    fn close(&mut self, which: impl Fn(&Gate) -> bool) {
        for gate in self.gates.extract_if(.., |gate| which(gate)) {
            for thread in &self.threads {
                // A thread that has ended has nothing open.
                let _ = thread.send(Order::Close(gate.bind.clone()));
            }
        }
    }

    /// Returns the client counter of a listener: the existing one, if there is one.
    fn clients_of(&self, name: &str) -> Clients {
        let mut snapshots = self.gates.iter().map(|gate| gate.present.load());
        let present = snapshots.find(|snapshot| *snapshot.listener.name == *name);
        present.map_or_else(Clients::default, |snapshot| snapshot.clients.clone())
    }

    fn open(&mut self, opened: Opened, snapshot: Arc<Snapshot>) {
        let Opened {
            bind,
            listening: Listening { sockets, path },
            is_shared,
        } = opened;
        // Its predecessor, whose path was lost.
        self.close(|gate| gate.bind == bind);
        let present: Present = Arc::new(ArcSwap::new(snapshot));
        let local = sockets.first().and_then(|socket| socket.local_addr().ok());
        self.gates.push(Gate {
            bind: bind.clone(),
            present: Arc::clone(&present),
            address: local.and_then(|addr| addr.as_socket()),
            path,
        });
        for (thread, socket) in self.threads.iter().zip(sockets) {
            let entrance = Entrance {
                bind: bind.clone(),
                present: Arc::clone(&present),
                is_shared,
                socket,
            };
            // A thread that has ended cannot serve it.
            let _ = thread.send(Order::Open(entrance));
        }
    }

    fn adjust(&self, bind: &Bind, snapshot: Arc<Snapshot>) {
        let Some(gate) = self.gates.iter().find(|gate| gate.bind == *bind) else {
            return;
        };
        let before = gate.present.swap(Arc::clone(&snapshot));
        let keepalive = before.listener.tcp_keepalive != snapshot.listener.tcp_keepalive;
        let tls = snapshot.shakes_hands();
        if keepalive || tls {
            for thread in &self.threads {
                // A thread that has ended has nothing open.
                let _ = thread.send(Order::Adjust(bind.clone()));
            }
        }
    }
}
