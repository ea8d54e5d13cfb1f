//! The start: every error is found before the first connection is accepted.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};

use super::backends::{Backends, PreparedTls};
use super::certificates::{Watch, Watched};
use super::inherited::Inherited;
use super::kernel_tls::offered_to;
use super::limits;
use super::listeners::{Listeners, Opening};
use super::notify::Notifier;
use super::pid_file::PidFile;
use super::places::Places;
use super::plan::{Common, Plan};
use super::privileges::{self, Account};
use super::running::Running;
use super::sandbox::Sandbox;
use super::sources::sources;
use super::start_error::StartError;
use crate::admin::ctl::Errand;
use crate::admin::ctl::socket::AdminSocket;
use crate::admin::http::{self, Site};
use crate::admin::sample::Sampler;
use crate::admin::state::Sources;
use crate::config::Config;
use crate::journal::Journal;
use crate::log::{self, Prepared, diagnostics};
use crate::reception::context::{Phase, Shared};
use crate::sys::signals::Signals;
use crate::sys::thread::cores;

/// Limit on waiting requests of operators.
const ERRANDS_MAX: usize = 16;

/// Runs until a stop signal and returns the exit code: 0 after a drain, 1 if it could not run.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    run_announced(config, |_| {})
}

/// Like [`run`]; calls `announce` with the addresses once connections are accepted.
pub fn run_announced(config: Config, announce: impl FnOnce(&[SocketAddr])) -> ExitCode {
    diagnostics::begin(config.log.level, config.log.format);
    let ended = control_runtime().and_then(|runtime| {
        let life = async {
            let running = start(config).await?;
            announce(&running.listeners.addresses());
            Ok(running.until_stopped().await)
        };
        let ended = LocalSet::new().block_on(&runtime, life);
        // A pending name look-up is not worth waiting for.
        runtime.shutdown_background();
        ended
    });
    ended.unwrap_or_else(|error| {
        diagnostics::queue_in(None);
        diagnostics::say(&format!("longsplice: {error}\n"));
        ExitCode::FAILURE
    })
}

/// Makes the runtime of the control thread, for everything except opening connections and moving bytes:
/// signals, checks, names, operators. It has no other thread.
fn control_runtime() -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::System("epoll", error))
}

async fn start(config: Config) -> Result<Running, StartError> {
    let inherited = Inherited::take_all();
    let notifier = Notifier::from_environment();
    let signals = Signals::take().map_err(|error| StartError::System("signals", error))?;
    let (journal, log) = prepare_log(&config);
    limits::raise_descriptor_limit(config.process.max_connections);
    let account = Account::of(&config.process)?;
    let cores = cores().map_err(|error| StartError::System("sched_getaffinity", error))?;
    let plan = Plan::new(&config.process, &cores);
    let mut opened = open_all(&config, &account, plan.receptions, inherited)?;
    account.become_it(&config.process)?;
    privileges::warn_of_unreadable(&config);
    let kernel_tls = Arc::new(offered_to(&config));
    let mut sandbox = Sandbox::of(&config);
    let nameservers = &config.process.nameservers;
    let mut backends = Backends::begin(&config.backends, &opened.client_tls, nameservers);
    // Before the first thread starts: threads inherit the confinement.
    sandbox.confine_files();
    // As the user who will open the log's file again, and not before.
    let (log, log_settings) = log.begin()?;
    let counts = journal.counts();
    let relays = plan.start_relays(&kernel_tls, &journal)?;
    let (phase, phase_seen) = watch::channel(Phase::Running);
    backends.settle().await;
    let upstreams = backends.upstreams();
    let places = Places::new(config.process.max_connections);
    let shared = Arc::new(shared_of(&places));
    let sources = sources(&config, &upstreams, &shared, &relays, &counts);
    let (admin, errands) = serve_admin(&sources, opened.admin_http, opened.admin_socket.as_mut())?;
    let (mut listeners, orders) = Listeners::new(plan.receptions);
    let shown = listeners.apply(&config.listeners, &upstreams, opened.opening);
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
    let mut watch = Watch::new(Arc::clone(&sources.certificates));
    watch
        .replace(Watched {
            shown,
            to_servers: opened.client_tls.into_watched(),
        })
        .map_err(|error| StartError::System("certificate thread", error))?;
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
        _pid_file: opened.pid_file,
        _admin_socket: opened.admin_socket,
        errands,
    })
}

/// Queues diagnostics for the log, beginning with the warnings of the configuration.
fn prepare_log(config: &Config) -> (Journal, Prepared) {
    let (journal, log) = log::prepare(&config.log);
    diagnostics::queue_in(Some(journal.clone()));
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    (journal, log)
}

/// Resources that are opened, bound and read while the process may still have every privilege.
struct Opened {
    opening: Opening,
    client_tls: PreparedTls,
    pid_file: Option<PidFile>,
    admin_socket: Option<AdminSocket>,
    admin_http: Option<TcpListener>,
}

fn open_all(
    config: &Config,
    account: &Account,
    receptions: usize,
    mut inherited: Inherited,
) -> Result<Opened, StartError> {
    let pid_file = config.process.pid_file.as_deref();
    let pid_file = pid_file.map(PidFile::claim).transpose()?;
    let opening = Opening::prepare(config, &HashSet::new(), receptions, &mut inherited);
    let opening = opening.map_err(StartError::Several)?;
    inherited.report_leftovers();
    for path in opening.paths() {
        account.give(path)?;
    }
    let admin_socket = open_admin_socket(config, account)?;
    let admin_http = config.process.admin_http.map(http::bind).transpose()?;
    let client_tls = PreparedTls::of(&config.backends)
        .map_err(|(backend, wrong)| StartError::ClientTls(backend, wrong))?;
    Ok(Opened {
        opening,
        client_tls,
        pid_file,
        admin_socket,
        admin_http,
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

/// Serves operators over HTTP and over the admin socket; requests for the control thread arrive in the
/// channel.
fn serve_admin(
    sources: &Arc<Sources>,
    admin_http: Option<TcpListener>,
    admin_socket: Option<&mut AdminSocket>,
) -> Result<(Option<JoinHandle<()>>, mpsc::Receiver<Errand>), StartError> {
    // One for both: the busiest tunnels are those since an operator asked last.
    let sampler = Arc::new(Sampler::new(Arc::clone(sources)));
    let site = Site {
        sampler: Arc::clone(&sampler),
    };
    let served = admin_http.map(|listener| http::serve(listener, site));
    let served = served.transpose();
    let served = served.map_err(|error| StartError::System("server.admin_http", error))?;
    let (errand, errands) = mpsc::channel(ERRANDS_MAX);
    if let Some(socket) = admin_socket {
        socket.serve(sampler, errand);
    }
    Ok((served, errands))
}
