//! `cargo xtask cost`: instructions of the proxy per unit of work, for variants that do the same.
//!
//! One guest boots with a processor that counts instructions as nanoseconds; `benches/cost` puts
//! the load on a released longsplice in it. Figures of one boot are compared with each other and
//! with nothing else: some of the peers' work on loopback is charged to the proxy.

mod figures;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::binaries::{self, COST, LONGSPLICE};
use super::files::make_folder;
use super::guest;
use super::image::Image;
use super::packages::Packages;
use super::{emulated, known, modules};
use crate::parts::Cache;
use figures::Figures;

/// Options of `cargo xtask cost`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Kernel (6.1, 6.12, 7.2)
    #[arg(default_value = "6.1")]
    guest: String,
    /// Where the raw rows go, as CSV
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only one comparison: offload (TLS with each `tls.offload`), observed (logs and metrics off and on)
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only a kernel that is in the cache; nothing is downloaded
    #[arg(long)]
    offline: bool,
}

/// Measures and prints a table; returns whether the guest came to its end and figures are steady.
///
/// # Errors
/// A build that fails, a kernel or QEMU that cannot be had, files that cannot be written.
pub(crate) fn run(top: &Path, options: &Options) -> io::Result<bool> {
    count(top, options).map_err(|error| io::Error::other(format!("{error:#}")))
}

fn count(top: &Path, options: &Options) -> Result<bool> {
    let guest = known(&options.guest)?;
    let only = options.only.as_deref();
    ensure!(
        only.is_none_or(|only| figures::names().any(|name| name == only)),
        "no such comparison: {only:?}"
    );
    let packages = Packages::new(Cache::of_user().lab(), options.offline);
    // Only an emulated processor counts instructions.
    let (kernel, busybox) = (emulated(guest, &packages)?, packages.busybox()?);
    let binaries = binaries::build_cost(top)?;
    let mut image = Image::new(&busybox)?;
    image.job(&job(only));
    image.modules(modules::to_load(&kernel, &busybox)?);
    for name in [LONGSPLICE, COST] {
        let binary = binaries.get(name).with_context(|| format!("no {name}"))?;
        image.program(binary, &format!("lab/{name}"))?;
    }
    let logs = top.join("target/xtask");
    make_folder(&logs)?;
    let log = logs.join(format!("cost-{}", guest.name));
    let ended = guest::boot(&kernel, &image.to_bytes(), &log, &mut |_| {})?;
    let figures = Figures::of(&ended.said);
    let took = ended.took.as_secs();
    println!(
        "Linux {}, {took} s, instructions of the proxy per unit\n",
        kernel.version
    );
    println!("{}", figures.tables());
    let findings = figures.findings();
    for finding in &findings {
        println!("cost: {finding}");
    }
    if let Some(why) = &ended.stalled {
        println!("cost: {why}");
    }
    if !figures.is_complete() {
        println!("{}\ncost: see {}.console.log", ended.said, log.display());
    }
    if let Some(file) = &options.output {
        let text = format!("# Linux {}\n{}", kernel.version, figures.csv());
        fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(findings.is_empty())
}

/// Returns what the guest does.
fn job(only: Option<&str>) -> String {
    let only = only.map_or_else(String::new, |only| format!("LONGSPLICE_COST_ONLY={only} "));
    format!("{only}LONGSPLICE_COST_BINARY=/lab/longsplice /lab/cost\nsay \"cost ended $?\"\n")
}
