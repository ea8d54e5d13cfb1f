//! Accepting connections: the listening sockets of one thread, the place that each connection takes
//! below `max_connections` first, and the task that serves it.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use socket2::{SockRef, Socket as ListeningSocket};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use super::arrival::Arrival;
use super::bound_address::BoundAddress;
use super::client_place::ClientPlace;
use super::context::{Counted, ThreadContext};
use super::listen::set_keepalive;
use super::opening;
use super::snapshot::Present;
use super::socket::Socket;
use super::socket::driver::{Interest, WatchedSocket};
use crate::config::Bind;
use crate::journal::counts::Count;
use crate::journal::peer_of;

/// Connections accepted in a row before other tasks of the thread run.
const ACCEPT_BURST: usize = 64;
/// How long accepting pauses when descriptors or memory are exhausted.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket to accept on, and where its configuration is published.
#[derive(Debug)]
pub struct Entrance {
    /// Its address as the configuration writes it, which identifies it.
    pub bind: Bind,
    /// Where the current configuration of its connections is published.
    pub present: Present,
    /// Another process listens on it too, and continues when this one ends.
    pub is_shared: bool,
    /// The socket.
    pub socket: ListeningSocket,
}

/// The listening sockets of one thread.
#[derive(Default)]
pub(super) struct ListeningSockets {
    open: Vec<(Rc<BoundAddress>, Rc<WatchedSocket>)>,
    /// One task for each socket, including those that are being closed.
    accepting: JoinSet<()>,
}

impl ListeningSockets {
    /// Begins to accept on a socket.
    pub(super) fn open(&mut self, entrance: Entrance, context: &Rc<ThreadContext>) {
        let Entrance {
            bind,
            present,
            is_shared,
            socket,
        } = entrance;
        let bound = Rc::new(BoundAddress::new(bind, present, is_shared));
        let socket = Rc::new(WatchedSocket::new(context.driver, socket.into()));
        self.open.push((Rc::clone(&bound), Rc::clone(&socket)));
        let accepting = accept_all(bound, socket, Rc::clone(context));
        self.accepting.spawn_local(accepting);
    }

    /// Applies to the sockets at `bind` what their current configuration says of the sockets
    /// themselves; true = their connections need TLS handshakes.
    pub(super) fn adjust(&self, bind: &Bind) -> bool {
        let mut shakes_hands = false;
        for (bound, socket) in self.open.iter().filter(|(bound, _)| bound.bind == *bind) {
            shakes_hands |= bound.snapshot().shakes_hands();
            adjust(bound, socket);
        }
        shakes_hands
    }

    /// Stops accepting at `bind`.
    pub(super) fn close(&mut self, bind: &Bind) {
        let closing = self.open.extract_if(.., |(bound, _)| bound.bind == *bind);
        closing.for_each(|(bound, _)| bound.close());
    }

    /// Stops accepting everywhere, after connections that were complete by then.
    pub(super) async fn close_all(mut self) {
        self.open.drain(..).for_each(|(bound, _)| bound.close());
        while self.next_closed().await {}
    }

    /// Waits for the end of one accepting task; false = there is none.
    pub(super) async fn next_closed(&mut self) -> bool {
        // A failed one has panicked, which was reported then.
        self.accepting.join_next().await.is_some()
    }
}

fn adjust(bound: &BoundAddress, socket: &WatchedSocket) {
    let snapshot = bound.snapshot();
    if let Bind::Inet(_) = bound.bind
        && let Err(error) = set_keepalive(&SockRef::from(socket), snapshot.listener.tcp_keepalive)
    {
        let listener = &snapshot.listener.name;
        tracing::warn!(%error, %listener, "tcp_keepalive stays as it was");
    }
}

/// Accepts on one socket until its address is closed. Closing interrupts only waits of this task, never
/// an accept.
async fn accept_all(
    bound: Rc<BoundAddress>,
    socket: Rc<WatchedSocket>,
    context: Rc<ThreadContext>,
) {
    let mut queue = Queue::Empty;
    loop {
        // Only an empty queue is waited for: epoll reports new connections, not those left over.
        if queue == Queue::Empty {
            tokio::select! {
                () = bound.closed() => break,
                waited = socket.wait(Interest::Readable) => if let Err(error) = waited {
                    let listener = &bound.snapshot().listener.name;
                    tracing::error!(%error, %listener, "cannot wait for connections");
                    return;
                },
            }
        }
        queue = tokio::select! {
            () = bound.closed() => break,
            queue = accept_burst(&bound, &socket, &context) => queue,
        };
        yield_now().await;
    }
    // Connections that the kernel completed before the close are still served.
    while let Ok(permit) = Arc::clone(&context.shared.places).try_acquire_owned() {
        match accept_one(&bound, &socket, permit, &context) {
            Ok(()) => {}
            Err(_) => break,
        }
    }
    if bound.is_shared {
        // The list of open sockets has dropped its handle already.
        if let Some(socket) = Rc::into_inner(socket) {
            drop(socket.release().await);
        }
    } else {
        let _ = SockRef::from(&*socket).shutdown(Shutdown::Both);
    }
}

/// What we know of the kernel's queue of a listening socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// Accept found nothing more.
    Empty,
    /// Accept stopped before the end.
    MayHold,
}

/// Accepts up to one burst of connections. Each takes a place first, so that clients beyond
/// `max_connections` wait in the kernel's queue.
async fn accept_burst(
    bound: &Rc<BoundAddress>,
    socket: &WatchedSocket,
    context: &Rc<ThreadContext>,
) -> Queue {
    for _ in 0..ACCEPT_BURST {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&context.shared.places).acquire_owned().await else {
            return Queue::Empty;
        };
        match accept_one(bound, socket, permit, context) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Queue::Empty,
            Err(error) if is_exhausted(&error) => {
                if context.may_warn_exhausted() {
                    let listener = &bound.snapshot().listener.name;
                    tracing::warn!(%error, %listener, "accepting pauses until resources are free again");
                }
                sleep(EXHAUSTED_PAUSE).await;
                return Queue::MayHold;
            }
            // The client has left already, or accept(2) passes on an error of the network.
            Err(error) => tracing::debug!(%error, bind = %bound.bind, "accept"),
        }
    }
    Queue::MayHold
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Accepts one connection and starts its task.
fn accept_one(
    bound: &Rc<BoundAddress>,
    socket: &WatchedSocket,
    permit: OwnedSemaphorePermit,
    context: &Rc<ThreadContext>,
) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let (client, addr) = socket.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
    let snapshot = bound.snapshot();
    let tally = context.journal.tally();
    tally.at(&snapshot.listener.name, |row| row.add(Count::Accepted, 1));
    let arrival = Arrival {
        socket: Socket::new(client.into(), context.driver),
        peer: peer_of(addr.as_socket()),
        bound: Rc::clone(bound),
        accepted: Instant::now(),
        started: SystemTime::now(),
        told: Rc::default(),
        client_place: ClientPlace::new(permit, &snapshot.clients),
        snapshot,
    };
    let counted = Counted::new(context);
    let context = Rc::clone(context);
    spawn_local(async move {
        let _counted = counted;
        opening::serve(arrival, context).await;
    });
    Ok(())
}
