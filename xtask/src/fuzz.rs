//! `cargo xtask fuzz`: runs the targets of `tests/fuzz` with cargo-fuzz, which needs nightly.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::process::printed;

/// Runs one target, or every one, for `seconds` each; returns whether none found anything.
///
/// # Errors
/// When cargo-fuzz is not there.
pub(crate) fn run(top: &Path, target: Option<&str>, seconds: u32) -> io::Result<bool> {
    let folder = top.join("tests/fuzz");
    let fuzz_dir = folder.to_string_lossy().into_owned();
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => targets(&fuzz_dir)?,
    };
    let mut clean = true;
    for target in targets {
        println!("fuzz: {target} for {seconds} s");
        // What is found goes into the first folder; the second holds what `cargo test` replays.
        let found = folder.join("corpus").join(&target);
        fs::create_dir_all(&found)?;
        let seeds = top.join("tests/corpus").join(&target);
        let status = Command::new("cargo")
            .args(["+nightly", "fuzz", "run", "--fuzz-dir", &fuzz_dir, &target])
            .args([found, seeds])
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .status()?;
        clean &= status.success();
    }
    Ok(clean)
}

fn targets(fuzz_dir: &str) -> io::Result<Vec<String>> {
    let listed = printed(
        "cargo",
        &["+nightly", "fuzz", "list", "--fuzz-dir", fuzz_dir],
    );
    let listed = listed.ok_or_else(|| {
        io::Error::other("no targets: cargo install cargo-fuzz, rustup toolchain install nightly")
    })?;
    Ok(listed.lines().map(str::to_owned).collect())
}
