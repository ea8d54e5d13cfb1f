//! Man pages and completions, read by the programs that they are for.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::cli::args::CompletedShell;
use crate::cli::completions::script;
use crate::cli::man::pages;

pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !installed {
        println!("skipped: {program} is not installed");
    }
    installed
}

/// Returns what man(1) has against a page.
fn warnings(page: &Path) -> String {
    let output = Command::new("man")
        .args(["--warnings", "-E", "UTF-8", "-l"])
        .arg(page)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .env_remove("MANPAGER")
        .env_remove("MANROFFOPT")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(output.stdout.len() > 100, "{}", page.display());
    said
}

#[test]
fn man_has_nothing_against_any_page() {
    if !is_installed("man") || !is_installed("groff") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let broken = folder.path().join("broken.1");
    let page = pages().swap_remove(0).1;
    fs::write(&broken, page + ".NOSUCHMACRO\n\\fZ").unwrap();
    assert_ne!(warnings(&broken), "", "warnings are seen");
    for (name, page) in pages() {
        let path = folder.path().join(&name);
        fs::write(&path, page).unwrap();
        assert_eq!(warnings(&path), "", "{name}");
    }
}

#[test]
fn there_is_a_page_for_each_command_and_each_volume() {
    let pages = pages();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "longsplice.1",
        "longsplice-run.1",
        "longsplice-ctl.1",
        "longsplice-ctl-log-level.1",
        "longsplice.toml.5",
        "longsplice-log.7",
        "longsplice-operation.7",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let operation = &pages.last().unwrap().1;
    for heading in [
        ".SH \"RELOAD AND DRAIN\"",
        ".SH \"PRIVILEGES\"",
        ".SS \"Drain\"",
    ] {
        assert!(operation.contains(heading), "{heading}");
    }
}

#[test]
fn shells_can_read_their_completions() {
    let folder = TempDir::new().unwrap();
    for (shell, program, option) in [
        (CompletedShell::Bash, "bash", "-n"),
        (CompletedShell::Zsh, "zsh", "-n"),
        (CompletedShell::Fish, "fish", "--no-execute"),
    ] {
        let script = script(shell);
        for word in ["doctor", "min-idle", "completions"] {
            assert!(script.contains(word), "{program}: {word}");
        }
        if !is_installed(program) {
            continue;
        }
        let file = folder.path().join(program);
        fs::write(&file, script).unwrap();
        let output = Command::new(program)
            .arg(option)
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{program}: {said}"
        );
    }
}
