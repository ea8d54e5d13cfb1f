//! `cargo xtask lab`: tests in guest kernels, for what the machine's own kernel may not have.
//!
//! Kernel TLS is a matter of the kernel's configuration and version: three kernels of Debian boot
//! without network, disk or root file system, run the tests of `SUITES`, and must end with no
//! connection left in the kernel's count. As many run at once as this machine has cores. A guest that
//! cannot be had is skipped by name.

mod binaries;
pub(crate) mod cost;
mod cpio;
mod files;
mod guest;
mod image;
mod modules;
mod packages;
mod reading;
mod sources;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use crate::parts::Cache;
use crate::process::succeeds;
use binaries::{IT, LONGSPLICE, UNIT};
use files::make_folder;
use guest::Ended;
use image::Image;
use packages::{Kernel, Packages};
use reading::Reading;

/// Options of `cargo xtask lab`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Kernels (6.1, 6.12, 7.2); all when none is named
    guests: Vec<String>,
    /// Only tests of `tests/it` whose name contains this; may be given more than once
    #[arg(long, value_name = "NAME")]
    filter: Vec<String>,
    /// Only kernels that are in the cache; nothing is downloaded
    #[arg(long)]
    offline: bool,
}

/// A kernel to test in.
struct Guest {
    /// The version it stands for.
    name: &'static str,
    /// Name in `LONGSPLICE_TEST_REQUIRE`.
    part: &'static str,
    /// Where Debian has it.
    suite: &'static str,
    /// Values of `tls.offload` that tests go through.
    offloads: &'static str,
}

/// What one guest shows for all of them: that "never" is obeyed where the kernel could.
const ALL_OFFLOADS: &str = "adaptive,always,never";
/// What depends on the kernel.
const KERNEL_OFFLOADS: &str = "adaptive,always";

/// The oldest kernel that longsplice runs on, the one of long support that most run, and the newest,
/// whose kernel TLS changes keys.
const GUESTS: &[Guest] = &[
    Guest {
        name: "6.1",
        part: "guest-6.1",
        suite: "bookworm",
        offloads: ALL_OFFLOADS,
    },
    Guest {
        name: "6.12",
        part: "guest-6.12",
        suite: "bookworm-backports",
        offloads: KERNEL_OFFLOADS,
    },
    Guest {
        name: "7.2",
        part: "guest-7.2",
        suite: "sid",
        offloads: KERNEL_OFFLOADS,
    },
];
/// Test binaries and the names of what they run.
const SUITES: &[(&str, &str)] = &[(UNIT, "sys::probe"), (IT, "ktls::")];
/// Real clients that are brought into guests.
const TOOLS: &[&str] = &["curl", "openssl"];
/// What a guest does without: a programming language with its libraries is larger than the rest.
const LEFT_OUT: &[&str] = &["node is not installed", "python is not installed"];
/// Lines of a console that are shown when a guest failed.
const TAIL_LINES: usize = 40;

/// Runs the tests in the guests; returns whether none failed.
///
/// # Errors
/// A build that fails, a kernel that is not in the list, files that cannot be written.
pub(crate) fn run(top: &Path, options: &Options) -> io::Result<bool> {
    test(top, options).map_err(|error| io::Error::other(format!("{error:#}")))
}

/// Brings the kernels into the cache.
///
/// # Errors
/// Which could not be had, and why.
pub(crate) fn fetch() -> Result<(), String> {
    let packages = Packages::new(Cache::of_user().lab(), false);
    let mut missing = Vec::new();
    if let Err(error) = packages.busybox() {
        missing.push(format!("busybox: {error:#}"));
    }
    for guest in GUESTS {
        if let Err(error) = packages.kernel(guest.suite) {
            missing.push(format!("{}: {error:#}", guest.part));
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("; "))
    }
}

/// Returns the parts that this module needs, and whether each is there.
pub(crate) fn inventory() -> impl Iterator<Item = (&'static str, bool)> {
    let packages = Packages::new(Cache::of_user().lab(), true);
    let is_there = move |guest: &Guest| parts(guest, &packages).is_ok();
    GUESTS
        .iter()
        .map(move |guest| (guest.part, is_there(guest)))
}

fn test(top: &Path, options: &Options) -> Result<bool> {
    let guests = chosen(&options.guests)?;
    let mut all_well = true;
    let mut able = Vec::new();
    let packages = Packages::new(Cache::of_user().lab(), options.offline);
    for guest in guests {
        match parts(guest, &packages) {
            Ok(parts) => able.push((guest, parts)),
            Err(why) => all_well &= skip(guest, &format!("{why:#}")),
        }
    }
    if able.is_empty() {
        return Ok(all_well);
    }
    let lab = Lab {
        binaries: binaries::build_tests(top)?,
        suites: suites(&options.filter),
        logs: top.join("target/xtask"),
    };
    make_folder(&lab.logs)?;
    Ok(lab.run_all(&able)? && all_well)
}

/// The programs of guests, and the folders of their output.
struct Lab {
    binaries: BTreeMap<&'static str, PathBuf>,
    suites: Vec<(&'static str, String)>,
    logs: PathBuf,
}

impl Lab {
    /// Runs guests, one on each core of this machine; returns whether all was well.
    fn run_all(&self, guests: &[(&Guest, Parts)]) -> Result<bool> {
        let queue = Mutex::new(guests.iter());
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || -> Result<bool> {
            let mut all_well = true;
            while let Some((guest, parts)) = next() {
                all_well &= self.run(guest, parts)?;
            }
            Ok(all_well)
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            let mut all_well = true;
            for worker in workers {
                let ended = worker
                    .join()
                    .map_err(|_| anyhow!("a guest's thread panicked"))?;
                all_well &= ended?;
            }
            Ok(all_well)
        })
    }

    /// Runs one guest; returns whether all was well.
    fn run(&self, guest: &Guest, parts: &Parts) -> Result<bool> {
        let log = self.logs.join(format!("lab-{}", guest.name));
        let mut kernels = parts.kernels.iter().peekable();
        while let Some(kernel) = kernels.next() {
            let initramfs = self.initramfs(guest, kernel, &parts.busybox)?;
            // What ends is progress, here and for the gate that listens to this process.
            let mut heard = |line: &str| {
                if line.starts_with("test ") {
                    println!("guest {}: {line}", guest.name);
                }
            };
            let ended = guest::boot(kernel, &initramfs, &log, &mut heard)?;
            let reading = Reading::of(&ended.said);
            if reading.release.is_empty() && kernels.peek().is_some() {
                let last = ended.console.lines().last().unwrap_or_default();
                println!(
                    "guest {}: {} does not run here: {last}",
                    guest.name,
                    kernel.image.display()
                );
                continue;
            }
            return Ok(report(
                guest,
                kernel,
                &ended,
                &reading,
                self.suites.len(),
                &log,
            ));
        }
        Ok(false)
    }

    fn initramfs(&self, guest: &Guest, kernel: &Kernel, busybox: &Path) -> Result<Vec<u8>> {
        let mut image = Image::new(busybox)?;
        let mut required = vec!["ktls"];
        for tool in TOOLS {
            if image.tool(tool)? {
                required.push(tool);
            }
        }
        image.job(&format!(
            "export LONGSPLICE_TEST_REQUIRE={} LONGSPLICE_TEST_OFFLOADS={}\n{}",
            required.join(","),
            guest.offloads,
            include_str!("job.sh")
        ));
        image.modules(modules::to_load(kernel, busybox)?);
        for name in [LONGSPLICE, IT, UNIT] {
            if let Some(binary) = self.binaries.get(name) {
                image.program(binary, &format!("lab/{name}"))?;
            }
        }
        let tests = self
            .suites
            .iter()
            .fold(String::new(), |mut text, (name, filter)| {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{name} {filter}");
                text
            });
        image.file("lab/tests", tests.into_bytes());
        Ok(image.to_bytes())
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Guest>> {
    if names.is_empty() {
        return Ok(GUESTS.iter().collect());
    }
    names.iter().map(|name| known(name)).collect()
}

fn known(name: &str) -> Result<&'static Guest> {
    let guest = GUESTS.iter().find(|guest| guest.name == name);
    guest.with_context(|| format!("no guest kernel {name}: 6.1, 6.12, 7.2"))
}

/// What a guest needs from outside.
struct Parts {
    /// Kernels of its version, the fastest first; each replaces the one before it if that fails.
    kernels: Vec<Kernel>,
    busybox: PathBuf,
}

fn parts(guest: &Guest, packages: &Packages) -> Result<Parts> {
    ensure!(cfg!(target_arch = "x86_64"), "this machine is not x86-64");
    let fast = packages::user_mode_linux(guest.name);
    let kernels = match (fast, emulated(guest, packages)) {
        (fast, Ok(emulated)) => fast.into_iter().chain([emulated]).collect(),
        (Some(fast), Err(_)) => vec![fast],
        (None, Err(why)) => return Err(why),
    };
    Ok(Parts {
        kernels,
        busybox: packages.busybox()?,
    })
}

/// Returns the kernel that QEMU boots for a guest.
fn emulated(guest: &Guest, packages: &Packages) -> Result<Kernel> {
    ensure!(
        succeeds(guest::QEMU, &["--version"]),
        "qemu is not installed"
    );
    packages.kernel(guest.suite)
}

/// Says that a guest is skipped; returns whether it may be.
fn skip(guest: &Guest, why: &str) -> bool {
    println!("skipped: guest kernel {}: {why}", guest.name);
    let required = std::env::var("LONGSPLICE_TEST_REQUIRE").unwrap_or_default();
    let is_required = required
        .split(',')
        .any(|name| [guest.part, "all"].contains(&name.trim()));
    if is_required {
        println!("lab: {} is required", guest.part);
    }
    !is_required
}

/// Returns binaries and filters to run.
fn suites(filters: &[String]) -> Vec<(&'static str, String)> {
    if filters.is_empty() {
        let suites = SUITES.iter();
        return suites
            .map(|(name, filter)| (*name, (*filter).to_owned()))
            .collect();
    }
    filters.iter().map(|filter| (IT, filter.clone())).collect()
}

/// Prints how a guest ended; returns whether all was well.
fn report(
    guest: &Guest,
    kernel: &Kernel,
    ended: &Ended,
    reading: &Reading,
    suites: usize,
    log: &Path,
) -> bool {
    let mut findings = reading.findings(suites, &ended.console);
    findings.extend(ended.stalled.clone());
    let is_well = findings.is_empty();
    if !is_well {
        println!("{}", ended.said);
        let console: Vec<&str> = ended.console.lines().collect();
        let tail = console.len().saturating_sub(TAIL_LINES);
        println!("{}", console.get(tail..).unwrap_or_default().join("\n"));
    }
    println!(
        "guest {}: Linux {} ({}), {} tests passed, {:.0} s; {}",
        guest.name,
        kernel.version,
        reading.release,
        reading.passed(),
        ended.took.as_secs_f64(),
        reading.counted()
    );
    let skipped = reading.skipped.iter();
    for why in skipped.filter(|why| !LEFT_OUT.contains(&why.as_str())) {
        println!("skipped: guest kernel {}: {why}", guest.name);
    }
    for finding in &findings {
        println!("guest {}: FAILED: {finding}", guest.name);
    }
    if !is_well {
        println!(
            "guest {}: {1}.log, {1}.console.log",
            guest.name,
            log.display()
        );
    }
    is_well
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_chosen_by_name() {
        let names =
            |chosen: Vec<&Guest>| -> Vec<&str> { chosen.iter().map(|one| one.name).collect() };
        assert_eq!(names(chosen(&[]).unwrap()), ["6.1", "6.12", "7.2"]);
        assert_eq!(names(chosen(&["7.2".to_owned()]).unwrap()), ["7.2"]);
        assert!(chosen(&["6".to_owned()]).is_err());
    }

    #[test]
    fn filters_take_the_place_of_the_suites() {
        assert_eq!(suites(&[]).len(), SUITES.len());
        assert_eq!(suites(&["tls::".to_owned()]), [(IT, "tls::".to_owned())]);
    }
}
