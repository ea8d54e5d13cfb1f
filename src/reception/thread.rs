//! A reception thread: its runtime, its listeners, its connections, and its end.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use socket2::{SockRef, Socket as ListeningSocket};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use super::arrival::{self, Arrival};
use super::bound_address::BoundAddress;
use super::client_place::ClientPlace;
use super::listen::set_keepalive;
use super::snapshot::Present;
use super::socket::Socket;
use super::socket::driver::{Driver, Interest, WatchedSocket};
use crate::config::Bind;
use crate::journal::tally::Count;
use crate::journal::{Journal, peer_of};
use crate::relay;
use crate::sys::thread::{pin_to, set_nice};

/// Connections accepted before others get their turn.
const ACCEPT_BURST: usize = 64;
/// Tunnels handed over before relay is woken at once instead of at the end of the pass.
const WAKE_AFTER: u32 = 8;
/// How long accepting rests when the machine has no descriptor or memory left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Least time between two lines about a lack of resources.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);
/// How long connections that are closed at the end may take to say so in the log.
const LAST_WORDS_TIME: Duration = Duration::from_millis(500);

/// What a reception thread that does TLS handshakes yields to relay on the same core.
const NICE: i32 = 10;

/// How far the life of the process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connections are accepted.
    Running,
    /// None is accepted, those there are go on.
    Draining,
    /// Whatever is left is closed.
    Ended,
}

/// What all reception threads have in common; nothing in it is ever locked.
#[derive(Debug)]
pub struct Shared {
    /// `max_connections`.
    pub places: Arc<Semaphore>,
    /// How many of them there are in all.
    pub places_max: Arc<AtomicUsize>,
}

impl Shared {
    /// Returns how many client connections there are.
    #[must_use]
    pub fn connections(&self) -> u32 {
        let open = self
            .places_max
            .load(Ordering::Relaxed)
            .saturating_sub(self.places.available_permits());
        u32::try_from(open).unwrap_or(u32::MAX)
    }
}

/// A listening socket and what happens to its connections.
#[derive(Debug)]
pub struct Entrance {
    /// Its address as the configuration writes it, which is what tells it apart.
    pub bind: Bind,
    /// Where the present configuration of its connections is found.
    pub present: Present,
    /// Another process listens on it too, and goes on when this one ends.
    pub is_shared: bool,
    /// The socket.
    pub socket: ListeningSocket,
}

/// What a reload asks of a thread.
#[derive(Debug)]
pub enum Order {
    /// Let connections in here from now on.
    Open(Entrance),
    /// Look at what has been published for this address and concerns the socket itself.
    Adjust(Bind),
    /// Let nobody in here any more; those who are in stay.
    Close(Bind),
}

/// What one thread needs to begin.
pub struct Setup {
    /// Number of the thread.
    pub index: usize,
    /// Core to run on, if it is to stay on one.
    pub core: Option<usize>,
    /// Who tells readiness.
    pub driver: Driver,
    /// What it listens on, and what changes about that.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Where tunnels go.
    pub relay: relay::Handle,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Where ends are written down.
    pub journal: Journal,
    /// When to stop.
    pub phase: watch::Receiver<Phase>,
    /// Who hears of the end of the thread, however it comes.
    pub ended: mpsc::UnboundedSender<usize>,
}

/// Tells of the end of a thread by being dropped.
struct Ending(usize, mpsc::UnboundedSender<usize>);

impl Drop for Ending {
    fn drop(&mut self) {
        // Main may have ended first.
        let _ = self.1.send(self.0);
    }
}

/// What the connections of one thread share.
pub struct Local {
    /// Who tells readiness.
    pub driver: Driver,
    /// What is shared with other threads.
    pub shared: Arc<Shared>,
    /// Where ends are written down.
    pub journal: Journal,
    relay: relay::Handle,
    unannounced: Cell<u32>,
    connections: Cell<usize>,
    idle: Notify,
    draining: Cell<bool>,
    drain_begun: Notify,
    complained: Cell<Option<Instant>>,
    /// How far the life of the process has come.
    pub phase: watch::Receiver<Phase>,
}

impl Local {
    /// Tells whether the process is about to end: what is answered now is answered for the last
    /// time on its connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        // The phase is there for all threads at once, the flag when this one has come to look.
        self.draining.get() || *self.phase.borrow() != Phase::Running
    }

    /// Waits until the process is about to end.
    pub async fn drain(&self) {
        // Nothing comes between the look and the wait, both are in one poll of one thread.
        if !self.is_draining() {
            self.drain_begun.notified().await;
        }
    }

    fn begin_drain(&self) {
        self.draining.set(true);
        self.drain_begun.notify_waiters();
    }

    /// Hands a tunnel to relay; relay is woken once for all that are handed over in one pass.
    pub fn hand_over(self: &Rc<Self>, start: relay::Start) {
        self.relay.adopt(start);
        let unannounced = self.unannounced.get() + 1;
        self.unannounced.set(unannounced);
        if unannounced == 1 {
            let this = Rc::clone(self);
            // Runs behind every task that is ready now: the end of the pass.
            spawn_local(async move { this.announce() });
        } else if unannounced == WAKE_AFTER {
            self.announce();
        }
    }

    /// Tells whether the last complaint about resources is long enough ago for another one.
    fn may_complain(&self) -> bool {
        let now = Instant::now();
        let may = self
            .complained
            .get()
            .is_none_or(|last| now - last >= COMPLAINT_PAUSE);
        if may {
            self.complained.set(Some(now));
        }
        may
    }

    fn announce(&self) {
        if self.unannounced.replace(0) > 0 {
            self.relay.wake();
        }
    }
}

/// Starts a reception thread, and waits until its ring, or what stands in for it, is there.
///
/// # Errors
/// The system refuses the thread or its ring.
pub fn spawn(setup: Setup) -> io::Result<JoinHandle<()>> {
    let (report, reported) = sync_channel(1);
    let name = format!("reception-{}", setup.index);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        settle(&setup);
        let driver = setup.driver;
        let _ending = Ending(setup.index, setup.ended.clone());
        let of_run = report.clone();
        let life = async move {
            // Whoever started it waits for this.
            let _ = of_run.send(Ok(()));
            drop(of_run);
            run(setup).await;
        };
        if let Err(error) = driver.block_on(life) {
            let _ = report.send(Err(error));
        }
    })?;
    reported
        .recv()
        .map_err(|_| io::Error::other("the thread ended while it started"))??;
    Ok(thread)
}

/// Puts the thread beside its relay thread, and behind it if it does handshakes of a millisecond
/// each: a storm of them must not delay the frames of tunnels that are open. Without TLS an opening
/// takes microseconds, and being interrupted by every message costs a fifth more than it saves.
fn settle(setup: &Setup) {
    if let Some(Err(error)) = setup.core.map(pin_to) {
        tracing::debug!(%error, "a reception thread runs where the system likes");
    }
}

/// Lets relay go first on this core.
fn step_back() {
    if let Err(error) = set_nice(NICE) {
        tracing::debug!(%error, "a reception thread runs as the system likes");
    }
}

async fn run(setup: Setup) {
    let Setup {
        driver,
        mut orders,
        relay,
        shared,
        journal,
        mut phase,
        ..
    } = setup;
    let local = Rc::new(Local {
        driver,
        shared,
        journal,
        relay,
        unannounced: Cell::new(0),
        connections: Cell::new(0),
        idle: Notify::new(),
        draining: Cell::new(false),
        drain_begun: Notify::new(),
        complained: Cell::new(None),
        phase: phase.clone(),
    });
    let mut listening = ListeningSockets::default();
    loop {
        tokio::select! {
            biased;
            Some(order) = orders.recv() => listening.obey(order, &local),
            _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
            // A failed one is a panic, which has been reported where it happened.
            Some(_) = listening.accepting.join_next() => {}
        }
    }
    listening.close();
    while listening.accepting.join_next().await.is_some() {}
    local.begin_drain();
    let all_gone = async {
        while local.connections.get() > 0 {
            local.idle.notified().await;
        }
    };
    let ended = async {
        let _ = phase.wait_for(|phase| *phase == Phase::Ended).await;
        sleep(LAST_WORDS_TIME).await;
    };
    tokio::select! {
        () = all_gone => {}
        () = ended => {}
    }
    local.announce();
}

/// The listening of one thread.
#[derive(Default)]
struct ListeningSockets {
    open: Vec<(Rc<BoundAddress>, Rc<WatchedSocket>)>,
    /// A task for each of them, and for those that are being closed.
    accepting: JoinSet<()>,
}

impl ListeningSockets {
    fn open(&mut self, entrance: Entrance, local: &Rc<Local>) {
        let Entrance {
            bind,
            present,
            is_shared,
            socket,
        } = entrance;
        let bound = Rc::new(BoundAddress::new(bind, present, is_shared));
        let readiness = Rc::new(WatchedSocket::new(local.driver, socket.into()));
        self.open.push((Rc::clone(&bound), Rc::clone(&readiness)));
        let accepting = accept_all(bound, readiness, Rc::clone(local));
        self.accepting.spawn_local(accepting);
    }

    fn obey(&mut self, order: Order, local: &Rc<Local>) {
        match order {
            Order::Open(entrance) => {
                if entrance.present.load().shakes_hands() {
                    step_back();
                }
                self.open(entrance, local);
            }
            Order::Adjust(bind) => {
                let theirs = self.open.iter().filter(|(bound, _)| bound.bind == bind);
                theirs.for_each(|(bound, socket)| adjust(bound, socket));
            }
            Order::Close(bind) => {
                let theirs = self.open.extract_if(.., |(bound, _)| bound.bind == bind);
                theirs.for_each(|(bound, _)| bound.close());
            }
        }
    }

    fn close(&mut self) {
        self.open.drain(..).for_each(|(bound, _)| bound.close());
    }
}

/// Does to a socket that stays what its new configuration asks for.
fn adjust(bound: &BoundAddress, socket: &WatchedSocket) {
    let snapshot = bound.snapshot();
    if snapshot.shakes_hands() {
        step_back();
    }
    if let Bind::Inet(_) = bound.bind
        && let Err(error) = set_keepalive(&SockRef::from(socket), snapshot.listener.tcp_keepalive)
    {
        let listener = &snapshot.listener.name;
        tracing::warn!(%error, %listener, "tcp_keepalive stays as it was");
    }
}

/// Accepts on one socket until its bound is closed. This task lives as long as its socket, and only
/// its waiting is ever given up, never an accept.
async fn accept_all(bound: Rc<BoundAddress>, socket: Rc<WatchedSocket>, local: Rc<Local>) {
    let mut queue = Queue::Empty;
    loop {
        // Only an empty queue is waited for: epoll tells of arrivals, not of those that are left.
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
            queue = accept_burst(&bound, &socket, &local) => queue,
        };
        yield_now().await;
    }
    // Those that were complete before we stopped are still served.
    while let Ok(place) = Arc::clone(&local.shared.places).try_acquire_owned() {
        match accept_one(&bound, &socket, place, &local) {
            Ok(()) => {}
            Err(_) => break,
        }
    }
    if bound.is_shared {
        // The thread has let go of it already.
        if let Some(socket) = Rc::into_inner(socket) {
            drop(socket.release().await);
        }
    } else {
        let _ = SockRef::from(&*socket).shutdown(Shutdown::Both);
    }
}

/// The kernel's queue of a listening socket, as far as we know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// Accept found nothing more.
    Empty,
    /// Accept stopped before the end.
    MayHold,
}

/// Accepts what is there, up to a burst; a place is taken first, so that beyond `max_connections`
/// clients wait in the kernel's queue.
async fn accept_burst(
    bound: &Rc<BoundAddress>,
    socket: &WatchedSocket,
    local: &Rc<Local>,
) -> Queue {
    for _ in 0..ACCEPT_BURST {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&local.shared.places).acquire_owned().await else {
            return Queue::Empty;
        };
        match accept_one(bound, socket, place, local) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Queue::Empty,
            Err(error) if exhausted(&error) => {
                if local.may_complain() {
                    let listener = &bound.snapshot().listener.name;
                    tracing::warn!(%error, %listener, "accepting rests until there is room again");
                }
                sleep(EXHAUSTED_PAUSE).await;
                return Queue::MayHold;
            }
            // The client is gone already, or the network said something about it (accept(2)).
            Err(error) => tracing::debug!(%error, bind = %bound.bind, "accept"),
        }
    }
    Queue::MayHold
}

fn exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

fn accept_one(
    bound: &Rc<BoundAddress>,
    socket: &WatchedSocket,
    place: OwnedSemaphorePermit,
    local: &Rc<Local>,
) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let (client, addr) = socket.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
    let snapshot = bound.snapshot();
    let tally = local.journal.tally();
    tally.at(&snapshot.listener.name, |row| row.add(Count::Accepted, 1));
    let arrival = Arrival {
        socket: Socket::new(client.into(), local.driver),
        peer: peer_of(addr.as_socket()),
        bound: Rc::clone(bound),
        accepted: Instant::now(),
        started: SystemTime::now(),
        told: Rc::default(),
        place: ClientPlace::new(place, &snapshot.clients),
        snapshot,
    };
    let counted = Counted::new(local);
    let local = Rc::clone(local);
    spawn_local(async move {
        let _counted = counted;
        arrival::serve(arrival, local).await;
    });
    Ok(())
}

/// Counts a connection for as long as it lives here, a panic in its task included.
struct Counted(Rc<Local>);

impl Counted {
    fn new(local: &Rc<Local>) -> Self {
        local.connections.set(local.connections.get() + 1);
        Self(Rc::clone(local))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.0.connections.get().saturating_sub(1);
        self.0.connections.set(left);
        if left == 0 {
            self.0.idle.notify_one();
        }
    }
}
