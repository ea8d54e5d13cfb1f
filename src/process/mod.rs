//! The process: start, signals, reload, drain.
//!
//! Everything that can be wrong is found before the first connection is accepted. After that main
//! only waits for signals; the data threads never wait for main.

use std::collections::HashSet;
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
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::admin::ctl::socket::{AdminSocket, SocketError};
use crate::admin::http::{self, BindError, Site};
use crate::admin::sample::Sampler;
use crate::admin::state::{Scene, Sources};
use crate::config::{Config, Process, Threads};
use crate::journal::{Counts, Journal};
use crate::log::diagnostics;
use crate::log::{self, LogError};
use crate::reception::listen::ListenError;
use crate::reception::socket::driver::Driver;
use crate::reception::thread::{self as reception, Phase, Setup, Shared};
use crate::relay::offload::KernelTls;
use crate::relay::poller::{PollerChoice, PollerKind};
use crate::relay::{self, Relay};
use crate::sys::probe;
use crate::sys::signals::Signals;
use crate::sys::thread::cores;
use crate::tls::identity::Wrong;
use crate::upstream::Upstream;

mod backends;
mod certificates;
mod changes;
mod drain;
mod inherited;
mod listeners;
mod notify;
mod pid_file;
mod places;
mod privileges;
mod reload;
mod running;
pub mod sandbox;

use backends::Backends;
use certificates::Watch;
use changes::wants_kernel_tls;
use inherited::Inherited;
use listeners::{Listeners, Opening, Orders};
use notify::Notifier;
use pid_file::{PidFile, PidFileError};
use places::Places;
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
    #[error("{}", lines(.0))]
    Several(Vec<Self>),
}

/// Puts each error on a line of its own.
fn lines(errors: &[StartError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\nlongsplice: ")
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
            announce(&running.listeners.addresses());
            Ok(running.until_stopped().await)
        };
        let ended = LocalSet::new().block_on(&runtime, life);
        // A name that is still being looked up is not worth waiting for.
        runtime.shutdown_background();
        ended
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

async fn start(config: Config) -> Result<Running, StartError> {
    let mut inherited = Inherited::take_all();
    let notifier = Notifier::from_environment();
    let signals = Signals::take().map_err(|error| StartError::System("signals", error))?;
    let (journal, log) = log::prepare(&config.log);
    diagnostics::queue_in(Some(journal.clone()));
    say_all(&config.warnings);
    raise_descriptor_limit(config.process.max_connections.get());
    let account = Account::of(&config.process)?;
    let pid_file = config.process.pid_file.as_deref();
    let pid_file = pid_file.map(PidFile::claim).transpose()?;
    let cores = cores().map_err(|error| StartError::System("sched_getaffinity", error))?;
    let plan = Plan::new(&config.process, &cores);
    let opening = Opening::prepare(&config, &HashSet::new(), plan.receptions, &mut inherited);
    let opening = opening.map_err(StartError::Several)?;
    inherited.report_leftovers();
    for path in opening.paths() {
        account.give(path)?;
    }
    let mut admin_socket = open_admin_socket(&config, &account)?;
    let admin_http = config.process.admin_http.map(http::bind).transpose()?;
    account.become_it(&config.process)?;
    privileges::warn_of_unreadable(&config);
    let kernel_tls = Arc::new(kernel_tls_for(&config));
    let mut sandbox = Sandbox::of(&config);
    let mut backends = Backends::begin(&config.backends, &config.process.nameservers);
    // Before the first thread, which those to come take it from.
    sandbox.confine_files();
    // As whoever opens its file again, and not before.
    let (log, log_settings) = log.begin()?;
    let counts = journal.counts();
    let relays = plan.start_relays(&kernel_tls, &journal)?;
    let (phase, phase_seen) = watch::channel(Phase::Running);
    backends.settle().await;
    let upstreams = backends.upstreams();
    let places = Places::new(config.process.max_connections.get());
    let shared = Arc::new(shared_of(&places));
    let sources = sources(&config, &upstreams, &shared, &relays, &counts);
    // One for all: what it calls busy is what moved since anybody asked last.
    let sampler = Arc::new(Sampler::new(Arc::clone(&sources)));
    let admin = serve_admin_http(admin_http, &sampler)?;
    let (errand, errands) = mpsc::channel(ERRANDS_MAX);
    if let Some(socket) = &mut admin_socket {
        socket.serve(sampler, errand);
    }
    let (mut listeners, orders) = Listeners::new(plan.receptions);
    let shown = listeners.apply(&config.listeners, &upstreams, opening);
    let (ended, reception_ended) = mpsc::unbounded_channel();
    let common = Common {
        relays: &relays,
        shared: &shared,
        journal: &journal,
        phase: &phase_seen,
        ended,
    };
    let receptions = plan.start_receptions(orders, &common)?;
    drop(common);
    let mut watch = Watch::default();
    let watching = watch.replace(shown);
    watching.map_err(|error| StartError::System("certificate thread", error))?;
    sandbox.confine_calls();
    plan.say_ready(&listeners);
    Ok(Running {
        config,
        signals,
        notifier,
        listeners,
        places,
        watch,
        log_settings,
        phase,
        receptions,
        reception_ended,
        relays,
        sources,
        _admin: admin,
        counts,
        log,
        backends,
        sandbox,
        _pid_file: pid_file,
        _admin_socket: admin_socket,
        errands,
    })
}

fn open_admin_socket(
    config: &Config,
    account: &Account,
) -> Result<Option<AdminSocket>, StartError> {
    let Some(path) = config.process.admin_socket.as_deref() else {
        return Ok(None);
    };
    let socket = AdminSocket::open(path)?;
    account.give(socket.place())?;
    Ok(Some(socket))
}

fn shared_of(places: &Places) -> Shared {
    Shared {
        places: places.semaphore(),
        places_max: places.count(),
    }
}

fn serve_admin_http(
    listener: Option<std::net::TcpListener>,
    sampler: &Arc<Sampler>,
) -> Result<Option<tokio::task::JoinHandle<()>>, StartError> {
    let admin = listener.map(|listener| {
        let sampler = Arc::clone(sampler);
        http::serve(listener, Site { sampler })
    });
    let admin = admin.transpose();
    admin.map_err(|error| StartError::System("server.admin_http", error))
}

fn say_all(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Says where the state of the process is read.
fn sources(
    config: &Config,
    upstreams: &[Arc<Upstream>],
    shared: &Shared,
    relays: &[Relay],
    counts: &Arc<Counts>,
) -> Arc<Sources> {
    Arc::new(Sources {
        started: SystemTime::now(),
        relays: relays.iter().map(Relay::handle).collect(),
        scene: ArcSwap::from_pointee(scene(config, upstreams)),
        places: Arc::clone(&shared.places),
        max_connections: Arc::clone(&shared.places_max),
        counts: Arc::clone(counts),
        draining: AtomicBool::new(false),
    })
}

fn scene(config: &Config, upstreams: &[Arc<Upstream>]) -> Scene {
    Scene {
        listeners: config.listeners.iter().cloned().map(Arc::new).collect(),
        upstreams: upstreams.to_vec(),
        access: config.process.admin_access.clone(),
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
    if !wants_kernel_tls(config) {
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

/// What all reception threads are given.
struct Common<'a> {
    relays: &'a [Relay],
    shared: &'a Arc<Shared>,
    journal: &'a Journal,
    phase: &'a watch::Receiver<Phase>,
    ended: mpsc::UnboundedSender<usize>,
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
    fn new(process: &Process, cores: &'a [usize]) -> Self {
        let count = |threads| match threads {
            Threads::Auto => cores.len().max(1),
            Threads::Count(count) => count.get(),
        };
        let (receptions, relays) = (
            count(process.reception_threads),
            count(process.relay_threads),
        );
        let paired = receptions == relays && relays == cores.len();
        Self {
            receptions,
            relays,
            pinned: paired.then_some(cores),
        }
    }

    fn say_ready(&self, listeners: &Listeners) {
        for address in listeners.addresses() {
            tracing::info!(%address, "listening");
        }
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            reception_threads = self.receptions,
            relay_threads = self.relays,
            "ready"
        );
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
        orders: Vec<Orders>,
        common: &Common<'_>,
    ) -> Result<Vec<JoinHandle<()>>, StartError> {
        let mut threads = Vec::with_capacity(self.receptions);
        for ((index, orders), relay) in orders
            .into_iter()
            .enumerate()
            .zip(common.relays.iter().cycle())
        {
            let driver = match relay.poller().kind {
                PollerKind::IoUring => Driver::Ring,
                PollerKind::Epoll => Driver::Epoll,
            };
            let setup = Setup {
                index,
                core: self.core(index),
                driver,
                orders,
                relay: relay.handle(),
                shared: Arc::clone(common.shared),
                journal: common.journal.clone(),
                phase: common.phase.clone(),
                ended: common.ended.clone(),
            };
            let thread = reception::spawn(setup)
                .map_err(|error| StartError::System("reception thread", error))?;
            threads.push(thread);
        }
        Ok(threads)
    }
}
