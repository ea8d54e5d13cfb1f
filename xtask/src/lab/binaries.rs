//! The binaries that guests run, built by cargo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The binary under test.
pub(super) const LONGSPLICE: &str = "longsplice";
/// The test binary of `tests/it`.
pub(super) const IT: &str = "it";
/// The unit tests of the library.
pub(super) const UNIT: &str = "unit";

/// The load of `cargo xtask cost`.
pub(super) const COST: &str = "cost";

/// AWS-LC gathers noise of the processor's clock when a process begins to use it, and an emulated
/// processor has next to none: that was most of a test's time. In guests the kernel's randomness is
/// enough.
///
/// # Source
/// aws-lc-sys, builder/main.rs, `should_build_jitter_entropy`.
const TEST_BUILD: &[(&str, &str)] = &[("AWS_LC_SYS_NO_JITTER_ENTROPY", "1")];

/// Builds what tests need, in the profile `lab`; returns the binaries by name.
///
/// # Errors
/// A build that fails.
pub(super) fn build_tests(top: &Path) -> Result<BTreeMap<&'static str, PathBuf>> {
    let args = [
        "test",
        "--no-run",
        "--lib",
        "--test",
        "it",
        "--profile",
        "lab",
    ];
    build(top, &args, &[LONGSPLICE, IT, UNIT], TEST_BUILD)
}

/// Builds what is measured, as it is released, and the load.
///
/// # Errors
/// A build that fails.
pub(super) fn build_cost(top: &Path) -> Result<BTreeMap<&'static str, PathBuf>> {
    let args = ["build", "--release", "--bin", LONGSPLICE, "--bench", COST];
    build(top, &args, &[LONGSPLICE, COST], &[])
}

fn build(
    top: &Path,
    args: &[&str],
    wanted: &[&str],
    envs: &[(&str, &str)],
) -> Result<BTreeMap<&'static str, PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(args)
        .args(["--package", "longsplice"])
        .args(["--message-format", "json-render-diagnostics"])
        .envs(envs.iter().copied())
        .current_dir(top)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    ensure!(
        output.status.success(),
        "the build ended with {}",
        output.status
    );
    let built = built(&String::from_utf8_lossy(&output.stdout));
    for name in wanted {
        ensure!(built.contains_key(name), "cargo built no {name}");
    }
    Ok(built)
}

/// Reads cargo's messages, one JSON object a line.
///
/// # Source
/// The Cargo Book, External tools, JSON messages, artifact messages.
fn built(messages: &str) -> BTreeMap<&'static str, PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    messages
        .filter_map(|message: Value| artifact(&message))
        .collect()
}

fn artifact(message: &Value) -> Option<(&'static str, PathBuf)> {
    let file = message.get("executable")?.as_str()?;
    let kind = message.pointer("/target/kind/0")?.as_str()?;
    let name = message.pointer("/target/name")?.as_str()?;
    let role = match (kind, name) {
        ("bin", "longsplice") => LONGSPLICE,
        ("test", "it") => IT,
        ("lib", "longsplice") => UNIT,
        ("bench", "cost") => COST,
        _ => return None,
    };
    Some((role, PathBuf::from(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_told_apart() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"toml"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"longsplice"},"executable":"/t/longsplice-1"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"longsplice"},"executable":"/t/longsplice"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"it"},"executable":"/t/it-1"}
{"reason":"build-finished","success":true}
not json"#;
        let found: Vec<(&str, PathBuf)> = built(messages).into_iter().collect();
        let expected = [
            (IT, "/t/it-1"),
            (LONGSPLICE, "/t/longsplice"),
            (UNIT, "/t/longsplice-1"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, file)| (name, PathBuf::from(file)))
        );
    }
}
