//! `cargo xtask bench`: longsplice beside HAProxy, nginx and a bare splice loop, in one run.
//!
//! Proxies are pinned to one core, clients and backend to another. Every figure is taken once per
//! round, proxy after proxy, and compared within the round. `benches/README.md` has the method.

mod backend;
mod exchanges;
mod link;
mod meter;
mod network;
mod observer;
mod peers;
mod pings;
pub(crate) mod process;
mod reactor;
mod readers;
mod report;
mod requests;
mod splice_loop;
mod subject;
mod work;
mod writers;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use report::Row;
use subject::{Programs, Subject};
use work::{Amounts, Setup, Work};

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Two rounds of a third of the work: under a minute, for a look.
    #[arg(long)]
    quick: bool,
    /// Rounds; figures are medians over them.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only works whose name starts with this (trips, trips-64B, bulk, short, upgrade, requests, quiet,
    /// flood, idle, stalled, observed, tls, tls-full, tls-resumed, tls-trips, tls-bulk, tls-quiet, tls-flood, tls-idle); may be
    /// given more than once.
    #[arg(long)]
    only: Vec<String>,
    /// Leave out a proxy (longsplice, longsplice-observed, haproxy, haproxy-splice, nginx,
    /// nginx-16k, splice-loop).
    #[arg(long)]
    without: Vec<String>,
    /// The longsplice binary; built in release mode when not given.
    #[arg(long, value_name = "FILE")]
    longsplice: Option<PathBuf>,
    /// The HAProxy binary; the fetched one, else the system's, when not given.
    #[arg(long, value_name = "FILE")]
    haproxy: Option<PathBuf>,
    /// The nginx binary; likewise.
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// Folder of nginx's dynamic modules; likewise.
    #[arg(long, value_name = "DIR")]
    nginx_modules: Option<PathBuf>,
    /// Only download the newest HAProxy and nginx of Debian into target/bench-peers.
    #[arg(long)]
    fetch_peers: bool,
    /// Core of the proxy measured.
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// Core of clients and backend.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// TCP congestion control in the benchmark's own network namespace.
    #[arg(long, value_name = "NAME", default_value = "cubic")]
    congestion_control: String,
    /// Where the raw rows go, as CSV.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run the bare splice loop (used by the benchmark itself).
    #[arg(long, hide = true, num_args = 2, value_names = ["LISTEN", "BACKEND"])]
    splice_loop: Option<Vec<SocketAddr>>,
}

const FULL: Amounts = Amounts {
    trips: 60_000,
    bulk_bytes: 1_000_000_000,
    connections: 6_000,
    requests: 30_000,
    paced_trips: 4_000,
    idle_tunnels: 4_000,
};
const QUICK: Amounts = Amounts {
    trips: 20_000,
    bulk_bytes: 400_000_000,
    connections: 2_000,
    requests: 10_000,
    paced_trips: 2_000,
    idle_tunnels: 2_000,
};
const FULL_ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 2;

/// Rounds of the works that measure memory, which hardly varies.
const MEMORY_ROUNDS: usize = 2;

/// Runs the benchmark and prints tables.
///
/// # Errors
/// A program that is missing or does not behave, or a file that cannot be written.
pub(crate) fn run(top: &Path, options: &Options) -> io::Result<bool> {
    match compare(top, options) {
        Ok(()) => Ok(true),
        Err(error) => Err(io::Error::other(format!("{error:#}"))),
    }
}

fn compare(top: &Path, options: &Options) -> Result<()> {
    if let Some([listen, backend]) = options.splice_loop.as_deref() {
        return splice_loop::relay(*listen, *backend);
    }
    if options.fetch_peers {
        return peers::fetch(top);
    }
    raise_descriptor_limit()?;
    let amounts = if options.quick { QUICK } else { FULL };
    let default_rounds = if options.quick {
        QUICK_ROUNDS
    } else {
        FULL_ROUNDS
    };
    let rounds = options.rounds.unwrap_or(default_rounds);
    let works = chosen_works(&options.only)?;
    let setup = Setup {
        programs: programs(top, options)?,
        proxy_core: options.proxy_core,
        load_core: options.load_core,
        amounts,
    };
    let mut remarks = remarks(&setup, rounds, &options.without)?;
    remarks.push(network::enter(&options.congestion_control)?);
    for remark in &remarks {
        println!("{remark}");
    }
    let mut rows = Vec::new();
    for work in works {
        measure_rounds(work, &setup, rounds, &options.without, &mut rows)?;
    }
    println!("{}", report::tables(&rows, &amounts));
    if let Some(path) = &options.output {
        report::save(path, &remarks, &rows)?;
    }
    Ok(())
}

fn chosen_works(only: &[String]) -> Result<Vec<Work>> {
    let is_chosen = |work: &Work| {
        only.is_empty()
            || only
                .iter()
                .any(|prefix| work.name().starts_with(prefix.as_str()))
    };
    let works: Vec<Work> = Work::ALL.into_iter().filter(is_chosen).collect();
    ensure!(!works.is_empty(), "no such work: {only:?}");
    Ok(works)
}

/// Measures every subject once per round; the order rotates, so that no subject always follows the same
/// neighbour.
fn measure_rounds(
    work: Work,
    setup: &Setup,
    rounds: usize,
    without: &[String],
    rows: &mut Vec<Row>,
) -> Result<()> {
    let is_chosen = |subject: &Subject| !without.iter().any(|name| name == subject.name());
    let mut subjects: Vec<Subject> = work.subjects().iter().copied().filter(is_chosen).collect();
    let rounds = match work {
        Work::Idle { .. } | Work::Stalled => rounds.min(MEMORY_ROUNDS),
        // Cheap, and the least steady.
        Work::Bulk => rounds * 2,
        // The two follow each other soon, so that both have the same neighbours, and often.
        Work::Observed { .. } => rounds * 6,
        Work::Trips { .. }
        | Work::TlsBulk { .. }
        | Work::Short
        | Work::Handshakes { .. }
        | Work::Upgrade
        | Work::Requests { .. }
        | Work::Quiet { .. }
        | Work::Flood { .. } => rounds,
    };
    for round in 0..rounds {
        for &subject in &subjects {
            let started = Instant::now();
            let figures = work
                .measure(subject, setup)
                .with_context(|| format!("{} through {}", work.name(), subject.name()))?;
            let text: Vec<String> = figures
                .iter()
                .map(|(metric, value)| format!("{}={value:.3}", metric.name()))
                .collect();
            let seconds = started.elapsed().as_secs_f64();
            let (work_name, subject_name) = (work.name(), subject.name());
            eprintln!(
                "{round} {work_name} {subject_name} {} ({seconds:.1} s)",
                text.join(" ")
            );
            rows.extend(figures.into_iter().map(|(metric, value)| Row {
                work,
                round,
                subject,
                metric,
                value,
            }));
        }
        subjects.rotate_left(1);
    }
    Ok(())
}

fn programs(top: &Path, options: &Options) -> Result<Programs> {
    let scratch = std::env::temp_dir().join(format!("longsplice-bench-{}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    let longsplice = match &options.longsplice {
        Some(path) => path.clone(),
        None if options
            .without
            .iter()
            .any(|name| name == Subject::Longsplice.name()) =>
        {
            PathBuf::from("longsplice")
        }
        None => build_release(top)?,
    };
    let found = peers::find(top);
    Ok(Programs {
        longsplice,
        haproxy: options.haproxy.clone().unwrap_or(found.haproxy),
        nginx: options.nginx.clone().unwrap_or(found.nginx),
        nginx_modules: options.nginx_modules.clone().unwrap_or(found.nginx_modules),
        configurations: top.join("benches/peers"),
        certificate: make_certificate(&scratch)?,
        scratch,
    })
}

/// Makes a P-256 key and a certificate of its own, in one file that every proxy takes.
fn make_certificate(scratch: &Path) -> Result<PathBuf> {
    let (key, certificate) = (scratch.join("key.pem"), scratch.join("certificate.pem"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"])
        .args(["-subj", "/CN=bench", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .context("run openssl")?;
    ensure!(
        output.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let both = scratch.join("both.pem");
    let text = [fs::read(&key)?, fs::read(&certificate)?].concat();
    fs::write(&both, text).with_context(|| both.display().to_string())?;
    Ok(both)
}

fn build_release(top: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "longsplice"])
        .current_dir(top)
        .status()
        .context("run cargo")?;
    if !status.success() {
        bail!("the release build ended with {status}");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(top.join("target"), PathBuf::from);
    Ok(target.join("release/longsplice"))
}

/// Lets this process, and the proxies it starts, open as many descriptors as the hard limit allows.
fn raise_descriptor_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("setrlimit")
}

/// What a reader of the figures must know: machine, versions, rounds.
fn remarks(setup: &Setup, rounds: usize, without: &[String]) -> Result<Vec<String>> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("kernel release")?;
    let cpus = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find(|line| line.starts_with("model name"))
        .unwrap_or_default();
    let model = model.split(':').next_back().unwrap_or_default().trim();
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let mut remarks = vec![
        format!("Linux {}, {count} cores of {model}", kernel.trim()),
        format!(
            "proxy on core {}, load on core {}",
            setup.proxy_core, setup.load_core
        ),
        format!("{rounds} rounds"),
    ];
    for subject in [Subject::Longsplice, Subject::Haproxy, Subject::Nginx] {
        if !without.iter().any(|name| name == subject.name()) {
            let version = subject.version(&setup.programs)?;
            remarks.push(format!("{}: {version}", subject.name()));
        }
    }
    Ok(remarks)
}
