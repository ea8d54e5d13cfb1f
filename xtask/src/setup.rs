//! `cargo xtask setup`: fetches what the gates need and says by name what it could not.
//!
//! Debian packages need root and are left alone without; everything else goes into the cache
//! folder of the user, at the versions that `tests/real` pins.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::lab;
use crate::parts::{
    self, CARGO_DENY_VERSION, Cache, OLD_AIOHTTP, Part, SYSTEM, USEFUL, up_to_date,
};
use crate::process::{printed, succeeds};
use crate::services::NoServices;

/// Installs what is missing; returns whether everything is there then. With `loud` it also says
/// what was there already.
pub(crate) fn run(top: &Path, loud: bool) -> bool {
    let cache = Cache::of_user();
    toolchain();
    // What is built here keeps the cores busy, what is fetched the network.
    let (node, python, old_aiohttp, guests, deny) = thread::scope(|scope| {
        let deny = scope.spawn(|| cargo_deny(&cache));
        debian_packages();
        let node = report("node (ws, socket.io)", node_modules(top, &cache));
        let python = report("websockets", python_packages(top, &cache));
        let old_aiohttp = report("old-aiohttp", old_aiohttp(top, &cache));
        let guests = report("guest kernels", lab::fetch());
        let deny = deny.join().unwrap_or_else(|_| Err("panicked".to_owned()));
        let deny = report("cargo-deny", deny);
        (node, python, old_aiohttp, guests, deny)
    });
    let system = SYSTEM.iter().filter(|part| !part.present());
    let missing: Vec<&str> = system.map(|part| part.name).collect();
    for name in &missing {
        println!("setup: {name}: missing; its tests will be skipped");
    }
    let all = missing.is_empty() && node && python && old_aiohttp && deny && guests;
    if loud && all {
        println!("setup: everything is there");
    }
    all
}

fn report(name: &str, done: Result<(), String>) -> bool {
    if let Err(why) = &done {
        println!("setup: {name}: {why}; what needs it will be skipped");
    }
    done.is_ok()
}

/// Adds rustfmt and clippy where rustup left them out.
fn toolchain() {
    for (component, proof) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !succeeds("cargo", &[proof, "--version"]) {
            let _ = loudly("rustup", &["component", "add", component], None);
        }
    }
}

fn debian_packages() {
    let parts = SYSTEM.iter().chain(USEFUL);
    let missing: Vec<&Part> = parts.filter(|part| !part.present()).collect();
    if missing.is_empty() {
        return;
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|part| part.packages)
        .copied()
        .collect();
    if !succeeds("apt-get", &["--version"]) {
        println!(
            "setup: no apt-get here; please install {}",
            packages.join(" ")
        );
        return;
    }
    if printed("id", &["-u"]).as_deref() != Some("0") {
        println!(
            "setup: not root; run: apt-get install {}",
            packages.join(" ")
        );
        return;
    }
    let _ = loudly("apt-get", &["update", "-qq"], None);
    let services = NoServices::begin();
    // One by one: a package that this release does not have must not keep the others away.
    for part in missing {
        let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
        args.extend(part.packages);
        let _ = loudly("apt-get", &args, None);
        for package in part.packages {
            services.disable(package);
        }
    }
}

fn node_modules(top: &Path, cache: &Cache) -> Result<(), String> {
    let (manifests, folder) = (parts::manifests(top), cache.node());
    let lock = "package-lock.json";
    if folder.join("node_modules").is_dir() && up_to_date(&manifests.join(lock), &folder.join(lock))
    {
        return Ok(());
    }
    let io = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(io)?;
    fs::copy(manifests.join("package.json"), folder.join("package.json")).map_err(io)?;
    let lock_copy = folder.join(lock);
    fs::copy(manifests.join(lock), &lock_copy).map_err(io)?;
    let args = [
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    loudly("npm", &args, Some(&folder)).inspect_err(|_| {
        // The copy stands for a finished installation.
        let _ = fs::remove_file(&lock_copy);
    })
}

fn python_packages(top: &Path, cache: &Cache) -> Result<(), String> {
    let venv = cache.venv();
    let (wanted, copy) = (
        parts::manifests(top).join("requirements.txt"),
        venv.join("requirements.txt"),
    );
    if cache.python().exists() && up_to_date(&wanted, &copy) {
        return Ok(());
    }
    let (venv, wanted) = (venv.to_string_lossy(), wanted.to_string_lossy());
    let python = cache.python();
    // Anew: an environment is tied to the interpreter that made it, which may have gone.
    loudly("python3", &["-m", "venv", "--clear", &venv], None)?;
    let args = [
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "-r",
        &wanted,
    ];
    loudly(&python.to_string_lossy(), &args, None)?;
    fs::copy(&*wanted, copy).map_err(|error| error.to_string())?;
    Ok(())
}

/// Installs a version of aiohttp that no present Python compiles, into a folder of its own, because two versions
/// cannot share one.
fn old_aiohttp(top: &Path, cache: &Cache) -> Result<(), String> {
    let (wanted, folder) = (parts::manifests(top).join(OLD_AIOHTTP), cache.old_aiohttp());
    let copy = folder.join(OLD_AIOHTTP);
    if up_to_date(&wanted, &copy) {
        return Ok(());
    }
    let (python, wanted) = (cache.python(), wanted.to_string_lossy());
    let (python, target) = (python.to_string_lossy(), folder.to_string_lossy());
    let args = [
        "AIOHTTP_NO_EXTENSIONS=1",
        &python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--upgrade",
        "--target",
        &target,
        "-r",
        &wanted,
    ];
    loudly("env", &args, None)?;
    fs::copy(&*wanted, copy).map_err(|error| error.to_string())?;
    Ok(())
}

fn cargo_deny(cache: &Cache) -> Result<(), String> {
    if parts::cargo_deny(cache).is_some() {
        return Ok(());
    }
    println!("setup: building cargo-deny {CARGO_DENY_VERSION}, this takes some minutes");
    let (package, root) = (format!("cargo-deny@{CARGO_DENY_VERSION}"), cache.cargo());
    // A debug build takes a third of the time and checks as well.
    let args = ["install", "--locked", "--debug", "--quiet", "--root"];
    let root = root.to_string_lossy();
    let args: Vec<&str> = args.into_iter().chain([&*root, &package]).collect();
    loudly("cargo", &args, None)
}

/// Runs a program with its output shown.
fn loudly(program: &str, args: &[&str], folder: Option<&Path>) -> Result<(), String> {
    println!("setup: {program} {}", args.join(" "));
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .env("DEBIAN_FRONTEND", "noninteractive");
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program}: {status}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
