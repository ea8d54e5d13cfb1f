//! A reception thread: its runtime, its listeners, its connections, and its end.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use socket2::{SockRef, Socket as ListeningSocket};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use super::arrival::{self, Arrival};
use super::driver::{Driver, Interest, Readiness};
use super::socket::Socket;
use crate::config::Listener;
use crate::journal::tally::Count;
use crate::journal::{Journal, peer_of};
use crate::relay;
use crate::sys::thread::{pin_to, set_nice};
use crate::upstream::Upstream;

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
    /// By [`crate::config::BackendId`].
    pub upstreams: Vec<Arc<Upstream>>,
    /// `max_connections`.
    pub places: Arc<Semaphore>,
    /// How many of them there are in all.
    pub places_max: usize,
}

impl Shared {
    /// Returns how many client connections there are.
    #[must_use]
    pub fn connections(&self) -> u32 {
        let open = self
            .places_max
            .saturating_sub(self.places.available_permits());
        u32::try_from(open).unwrap_or(u32::MAX)
    }
}

/// How TLS is ended at this moment: read once for each handshake, replaced from outside.
pub type TlsNow = watch::Receiver<Arc<ServerConfig>>;

/// A listening socket and what happens to its connections.
pub struct Entrance {
    /// Whose it is.
    pub listener: Arc<Listener>,
    /// Present = its clients speak TLS, which ends here.
    pub tls: Option<TlsNow>,
    /// Another process listens on it too, and goes on when this one ends.
    pub is_shared: bool,
    /// The socket.
    pub socket: ListeningSocket,
}

/// What one thread needs to begin.
pub struct Setup {
    /// Number of the thread.
    pub index: usize,
    /// Core to run on, if it is to stay on one.
    pub core: Option<usize>,
    /// Who tells readiness.
    pub driver: Driver,
    /// Its listening sockets.
    pub entrances: Vec<Entrance>,
    /// Where tunnels go.
    pub relay: relay::Handle,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Where ends are written down.
    pub journal: Journal,
    /// When to stop.
    pub phase: watch::Receiver<Phase>,
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

/// Starts a reception thread.
///
/// # Errors
/// The system refuses the thread.
pub fn spawn(setup: Setup) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("reception-{}", setup.index)).spawn(move || {
        settle(&setup);
        let driver = setup.driver;
        if let Err(error) = driver.block_on(run(setup)) {
            tracing::error!(%error, "a reception thread cannot make its ring; it serves nothing");
        }
    })
}

/// Puts the thread beside its relay thread, and behind it if it does handshakes of a millisecond
/// each: a storm of them must not delay the frames of tunnels that are open. Without TLS an opening
/// takes microseconds, and being interrupted by every message costs a fifth more than it saves.
fn settle(setup: &Setup) {
    let pinned = setup.core.map_or(Ok(()), pin_to);
    let does_tls = |entrance: &Entrance| entrance.tls.is_some();
    let speaks_tls = |upstream: &Arc<Upstream>| upstream.lineup().backend.tls.is_some();
    let shakes_hands =
        setup.entrances.iter().any(does_tls) || setup.shared.upstreams.iter().any(speaks_tls);
    let nice = if shakes_hands { set_nice(NICE) } else { Ok(()) };
    if let Err(error) = pinned.and(nice) {
        tracing::debug!(%error, "a reception thread runs where and as the system likes");
    }
}

async fn run(setup: Setup) {
    let Setup {
        driver,
        entrances,
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
    let accepting: Vec<_> = entrances
        .into_iter()
        .map(|entrance| spawn_local(accept_all(entrance, Rc::clone(&local), phase.clone())))
        .collect();
    for task in accepting {
        // An error would be a panic, which has been reported where it happened.
        let _ = task.await;
    }
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

/// Accepts on one socket until the process drains. This task lives as long as its socket, and only
/// its waiting is ever given up, never an accept.
async fn accept_all(entrance: Entrance, local: Rc<Local>, mut phase: watch::Receiver<Phase>) {
    let Entrance {
        listener,
        tls,
        is_shared,
        socket,
    } = entrance;
    let door = Door {
        listener,
        tls,
        readiness: Readiness::new(local.driver, socket.into()),
    };
    let mut queue = Queue::Empty;
    loop {
        // Only an empty queue is waited for: epoll tells of arrivals, not of those that are left.
        if queue == Queue::Empty {
            let readable = door.readiness.wait(Interest::Readable);
            tokio::select! {
                _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
                waited = readable => if let Err(error) = waited {
                    tracing::error!(%error, listener = %door.listener.name, "cannot wait for connections");
                    return;
                },
            }
        }
        queue = tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
            queue = accept_burst(&door, &local) => queue,
        };
        yield_now().await;
    }
    // Those that were complete before we stopped are still served.
    while let Ok(place) = Arc::clone(&local.shared.places).try_acquire_owned() {
        match accept_one(&door, place, &local) {
            Ok(()) => {}
            Err(_) => break,
        }
    }
    if is_shared {
        drop(door.readiness.release().await);
    } else {
        let _ = SockRef::from(&door.readiness).shutdown(Shutdown::Both);
    }
}

/// An [`Entrance`] that is waited at.
struct Door {
    listener: Arc<Listener>,
    tls: Option<TlsNow>,
    /// Its listening socket.
    readiness: Readiness,
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
async fn accept_burst(door: &Door, local: &Rc<Local>) -> Queue {
    for _ in 0..ACCEPT_BURST {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&local.shared.places).acquire_owned().await else {
            return Queue::Empty;
        };
        match accept_one(door, place, local) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Queue::Empty,
            Err(error) if exhausted(&error) => {
                if local.may_complain() {
                    let listener = &door.listener.name;
                    tracing::warn!(%error, %listener, "accepting rests until there is room again");
                }
                sleep(EXHAUSTED_PAUSE).await;
                return Queue::MayHold;
            }
            // The client is gone already, or the network said something about it (accept(2)).
            Err(error) => tracing::debug!(%error, listener = %door.listener.name, "accept"),
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

fn accept_one(door: &Door, place: OwnedSemaphorePermit, local: &Rc<Local>) -> io::Result<()> {
    let socket = SockRef::from(&door.readiness);
    let (client, addr) = socket.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
    let tally = local.journal.tally();
    tally.at(&door.listener.name, |row| row.add(Count::Accepted, 1));
    let arrival = Arrival {
        socket: Socket::new(client.into(), local.driver),
        peer: peer_of(addr.as_socket()),
        listener: Arc::clone(&door.listener),
        tls: door.tls.clone(),
        accepted: Instant::now(),
        started: SystemTime::now(),
        told: Rc::default(),
        place,
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
