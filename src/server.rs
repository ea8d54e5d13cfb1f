//! The process: start, signals, drain.
//!
//! Everything that can be wrong is found before the first connection is accepted. After that main
//! only waits for signals; the data threads never wait for main.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::LocalSet;

use crate::admin::ctl::socket::{AdminSocket, SocketError};
use crate::admin::diagnostics;
use crate::admin::http::{self, BindError, Site};
use crate::admin::log::{self, LogError};
use crate::admin::sample::Sampler;
use crate::admin::state::{Scene, Sources};
use crate::config::{Bind, Config, Offload, Server, Threads};
use crate::journal::{Counts, Journal};
use crate::reception::driver::Driver;
use crate::reception::listen::{ListenError, UnixPath, adopt, listen};
use crate::reception::thread::{self as reception, Entrance, Phase, Setup, Shared};
use crate::relay::offload::KernelTls;
use crate::relay::poller::{PollerChoice, PollerKind};
use crate::relay::{self, Relay};
use crate::sys::probe;
use crate::sys::signals::Signals;
use crate::sys::thread::cores;
use crate::tls::identity::Wrong;

mod backends;
mod certificates;
mod inherited;
mod notify;
mod pid_file;
mod privileges;
mod running;
pub mod sandbox;

use certificates::Shown;
use inherited::Inherited;
use notify::Notifier;
use pid_file::{PidFile, PidFileError};
use privileges::{Account, PrivilegeError};
use running::Running;
use sandbox::Sandbox;

/// Descriptors beside connections: listeners, rings, pipes, logs.
const SPARE_DESCRIPTORS: u64 = 256;
/// Wishes of operators that may wait for main.
const ERRANDS_MAX: usize = 16;

/// Why the process cannot run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    AdminSocket(#[from] SocketError),
    #[error(transparent)]
    AdminHttp(#[from] BindError),
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("listener {0}: {1}")]
    Identity(Arc<str>, Wrong),
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// Runs until a stop signal and returns the exit code: 0 after a drain, 1 when it could not run.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    run_announced(config, |_| {})
}

/// Like [`run`]; `announce` is told the addresses once connections are accepted.
pub fn run_announced(config: Config, announce: impl FnOnce(&[SocketAddr])) -> ExitCode {
    diagnostics::begin(config.log.level);
    let ended = control_runtime().and_then(|runtime| {
        let life = async {
            let running = start(config).await?;
            announce(&running.addresses);
            Ok(running.until_stopped().await)
        };
        LocalSet::new().block_on(&runtime, life)
    });
    ended.unwrap_or_else(|error| {
        diagnostics::queue_in(None);
        diagnostics::say(&format!("longsplice: {error}\n"));
        ExitCode::FAILURE
    })
}

/// Makes the runtime of main, where everything happens that is neither opening nor moving: signals
/// and whatever looks after the rest. It has no thread but this one.
fn control_runtime() -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::System("epoll", error))
}

async fn start(mut config: Config) -> Result<Running, StartError> {
    let mut inherited = Inherited::take_all();
    let notifier = Notifier::from_environment();
    let signals = Signals::take().map_err(|error| StartError::System("signals", error))?;
    let (journal, log) = log::prepare(&config.log);
    diagnostics::queue_in(Some(journal.clone()));
    speak_of(&config);
    raise_descriptor_limit(config.server.max_connections.get());
    let account = Account::of(&config.server)?;
    let pid_file = config.server.pid_file.as_deref();
    let pid_file = pid_file.map(PidFile::claim).transpose()?;
    let cores = cores().map_err(|error| StartError::System("sched_getaffinity", error))?;
    let plan = Plan::new(&config.server, &cores);
    let Opened {
        entrances,
        addresses,
        unix_paths,
        shown,
    } = open_listeners(&config, plan.receptions, &mut inherited)?;
    inherited.report_leftovers();
    let admin_socket = config.server.admin_socket.as_deref();
    let mut admin_socket = admin_socket.map(AdminSocket::open).transpose()?;
    if let Some(path) = config.server.admin_socket.as_deref() {
        account.give(path)?;
    }
    let admin_http = config.server.admin_http.map(http::bind).transpose()?;
    account.become_it(&config.server)?;
    privileges::warn_of_unreadable(&config.listeners);
    let kernel_tls = Arc::new(kernel_tls_for(&config));
    let mut sandbox = Sandbox::of(&config);
    let servers = std::mem::take(&mut config.backends);
    let mut backends = backends::open(servers, &config.server.nameservers);
    // Before the first thread, which those to come take it from.
    sandbox.confine_files();
    // As whoever opens its file again, and not before.
    let log = log.begin()?;
    let counts = journal.counts();
    let relays = plan.start_relays(&kernel_tls, &journal)?;
    let (phase, phase_seen) = watch::channel(Phase::Running);
    backends.settle().await;
    let shared = Arc::new(Shared {
        upstreams: backends.upstreams.clone(),
        places: Arc::new(Semaphore::new(config.server.max_connections.get())),
        places_max: config.server.max_connections.get(),
    });
    let sources = sources(&config, &shared, &relays, &counts);
    let admin = admin_http.map(|listener| {
        let sampler = Sampler::new(Arc::clone(&sources));
        http::serve(listener, Site { sampler })
    });
    let admin = admin.transpose();
    let admin = admin.map_err(|error| StartError::System("server.admin_http", error))?;
    let receptions = plan.start_receptions(entrances, &relays, &shared, &journal, &phase_seen)?;
    let (errand, errands) = mpsc::channel(ERRANDS_MAX);
    if let Some(socket) = &mut admin_socket {
        socket.serve(Arc::clone(&sources), errand);
    }
    let watch = certificates::watch(shown)
        .map_err(|error| StartError::System("certificate thread", error))?;
    sandbox.confine_calls();
    for address in &addresses {
        tracing::info!(%address, "listening");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        reception_threads = plan.receptions,
        relay_threads = plan.relays,
        "ready"
    );
    Ok(Running {
        addresses,
        signals,
        notifier,
        server: config.server,
        phase,
        receptions,
        relays,
        sources,
        _admin: admin,
        counts,
        log,
        _watch: watch,
        _backends: backends,
        _pid_file: pid_file,
        _admin_socket: admin_socket,
        errands,
        unix_paths,
    })
}

/// Says where the state of the process is read.
fn sources(
    config: &Config,
    shared: &Shared,
    relays: &[Relay],
    counts: &Arc<Counts>,
) -> Arc<Sources> {
    Arc::new(Sources {
        started: SystemTime::now(),
        relays: relays.iter().map(Relay::handle).collect(),
        scene: ArcSwap::from_pointee(Scene {
            listeners: config.listeners.iter().cloned().map(Arc::new).collect(),
            upstreams: shared.upstreams.clone(),
        }),
        places: Arc::clone(&shared.places),
        max_connections: config.server.max_connections.get(),
        counts: Arc::clone(counts),
        draining: AtomicBool::new(false),
    })
}

/// Says at the start what an operator should know about the configuration.
fn speak_of(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if !config.without_effect.is_empty() {
        let keys = config.without_effect.join(", ");
        tracing::warn!(keys, "these settings have no effect in this version yet");
    }
}

/// Raises the limit of open files as far as it goes and compares it with what may be needed.
fn raise_descriptor_limit(max_connections: usize) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let wanted = (max_connections as u64)
        .saturating_mul(2)
        .saturating_add(SPARE_DESCRIPTORS);
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "too few descriptors for server.max_connections: raise LimitNOFILE= or lower it"
        );
    }
}

/// Finds out what the kernel's TLS does, if any listener or backend wants to know, and says so.
fn kernel_tls_for(config: &Config) -> KernelTls {
    let of_clients = config.listeners.iter().map(|listener| {
        let tls = listener.tls.as_ref();
        tls.map(|tls| tls.offload)
    });
    let of_servers = config.backends.iter().map(|backend| {
        let tls = backend.tls.as_ref();
        tls.map(|tls| tls.offload)
    });
    let mut wishes = of_clients.chain(of_servers).flatten();
    if wishes.all(|wish| wish == Offload::Never) {
        return KernelTls::default();
    }
    match probe::ktls() {
        Ok(offer) => {
            let kernel_tls = KernelTls::of(&offer);
            tracing::info!(offers = %kernel_tls, "kernel TLS");
            kernel_tls
        }
        Err(refusal) => {
            let why = refusal.to_string();
            tracing::info!(
                why,
                "no kernel TLS here; records are protected in user space: see longsplice doctor"
            );
            KernelTls::default()
        }
    }
}

/// Sockets by reception thread.
type EntrancesByThread = Vec<Vec<Entrance>>;

/// What listening begins with.
struct Opened {
    entrances: EntrancesByThread,
    addresses: Vec<SocketAddr>,
    unix_paths: Vec<UnixPath>,
    shown: Vec<Shown>,
}

fn open_listeners(
    config: &Config,
    threads: usize,
    inherited: &mut Inherited,
) -> Result<Opened, StartError> {
    let mut opened = Opened {
        entrances: (0..threads).map(|_| Vec::new()).collect(),
        addresses: Vec::new(),
        unix_paths: Vec::new(),
        shown: Vec::new(),
    };
    for listener in &config.listeners {
        let wrong = |wrong| StartError::Identity(Arc::clone(&listener.name), wrong);
        let shown = Shown::of(listener).map_err(wrong)?;
        let tls = shown.as_ref().map(Shown::now);
        opened.shown.extend(shown);
        let listener = Arc::new(listener.clone());
        for bind in &listener.bind {
            let (handed, keepalive) = (inherited.take(bind), listener.tcp_keepalive);
            let sockets = if handed.is_empty() {
                listen(bind, keepalive, config.server.share_port, threads)?
            } else {
                adopt(bind, &handed, keepalive, threads)?
            };
            // A path that systemd made stays.
            if let Bind::Unix(path) = bind
                && handed.is_empty()
            {
                opened.unix_paths.push(UnixPath::of(path));
            }
            let local = sockets.first().and_then(|socket| socket.local_addr().ok());
            let address = local.and_then(|addr| addr.as_socket());
            opened.addresses.extend(address);
            for (mine, socket) in opened.entrances.iter_mut().zip(sockets) {
                mine.push(Entrance {
                    listener: Arc::clone(&listener),
                    tls: tls.clone(),
                    is_shared: !handed.is_empty(),
                    socket,
                });
            }
        }
    }
    Ok(opened)
}

/// How many threads, and on which cores.
struct Plan<'a> {
    receptions: usize,
    relays: usize,
    /// Cores to stay on, or none when the threads do not cover them all: fewer threads than cores
    /// are better moved about by the scheduler than crowded on the first ones.
    pinned: Option<&'a [usize]>,
}

impl<'a> Plan<'a> {
    fn new(server: &Server, cores: &'a [usize]) -> Self {
        let count = |threads| match threads {
            Threads::Auto => cores.len().max(1),
            Threads::Count(count) => count.get(),
        };
        let (receptions, relays) = (count(server.reception_threads), count(server.relay_threads));
        let paired = receptions == relays && relays == cores.len();
        Self {
            receptions,
            relays,
            pinned: paired.then_some(cores),
        }
    }

    fn core(&self, index: usize) -> Option<usize> {
        self.pinned.and_then(|cores| cores.get(index).copied())
    }

    fn start_relays(
        &self,
        kernel_tls: &Arc<KernelTls>,
        journal: &Journal,
    ) -> Result<Vec<Relay>, StartError> {
        let mut relays: Vec<Relay> = Vec::with_capacity(self.relays);
        for index in 0..self.relays {
            let (core, kernel_tls) = (self.core(index), Arc::clone(kernel_tls));
            let relay = relay::spawn(index, core, PollerChoice::Auto, kernel_tls, journal.clone())
                .map_err(|error| StartError::System("relay thread", error))?;
            relays.push(relay);
        }
        if let Some(why) = relays
            .first()
            .and_then(|relay| relay.poller().refused.as_deref())
        {
            tracing::warn!(
                why,
                "io_uring cannot be used; epoll stands in: see longsplice doctor"
            );
        }
        Ok(relays)
    }

    fn start_receptions(
        &self,
        entrances: EntrancesByThread,
        relays: &[Relay],
        shared: &Arc<Shared>,
        journal: &Journal,
        phase: &watch::Receiver<Phase>,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let mut threads = Vec::with_capacity(self.receptions);
        for ((index, entrances), relay) in
            entrances.into_iter().enumerate().zip(relays.iter().cycle())
        {
            let driver = match relay.poller().kind {
                PollerKind::IoUring => Driver::Ring,
                PollerKind::Epoll => Driver::Epoll,
            };
            let setup = Setup {
                index,
                core: self.core(index),
                driver,
                entrances,
                relay: relay.handle(),
                shared: Arc::clone(shared),
                journal: journal.clone(),
                phase: phase.clone(),
            };
            let thread = reception::spawn(setup)
                .map_err(|error| StartError::System("reception thread", error))?;
            threads.push(thread);
        }
        Ok(threads)
    }
}
