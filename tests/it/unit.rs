//! The real program inside of what `xtask/dist/longsplice.service` allows: its user, its capabilities
//! and its filter of system calls, put on in the way systemd does it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::Uid;
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, file, finish, or_skip};
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, binary};
use crate::harness::tls::Identity;

/// An account that every system has and that may do nothing.
const NOBODY: u32 = 65534;

/// What systemd allows whenever a list says what is allowed (systemd.exec(5), SystemCallFilter=).
const ALWAYS: [&str; 5] = ["@default", "execve", "exit", "exit_group", "rt_sigreturn"];

/// The unit as it is, or with what its comment says a start as root takes.
fn settings(as_root: bool) -> Vec<(String, String)> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("xtask/dist");
    let text = fs::read_to_string(dist.join("longsplice.service")).unwrap();
    let of_unit = text.lines();
    let of_comment = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let of_comment = of_comment.filter(|_| as_root);
    let lines = of_unit.chain(of_comment);
    let settings = lines.filter(|line| !line.starts_with(['#', '[']));
    let settings = settings.filter_map(|line| line.split_once('='));
    settings
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn words_of<'s>(settings: &'s [(String, String)], key: &'s str) -> impl Iterator<Item = &'s str> {
    let values = settings.iter().filter(move |(found, _)| found == key);
    values.flat_map(|(_, value)| value.split(' '))
}

/// Returns the calls of a name, which is one or a set of them.
fn expand(name: &str, calls: &mut BTreeSet<String>) {
    if !name.starts_with('@') {
        calls.insert(name.to_owned());
        return;
    }
    let mut analyze = Part::Analyze.command().unwrap();
    let said = finish(analyze.args(["syscall-filter", "--no-pager", name]));
    let members = said.lines().skip(1).map(str::trim);
    for member in members.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        expand(member, calls);
    }
}

/// Returns the calls that are left when all lines of SystemCallFilter= have been read.
fn allowed(settings: &[(String, String)]) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for name in ALWAYS {
        expand(name, &mut calls);
    }
    for (_, value) in settings.iter().filter(|(key, _)| key == "SystemCallFilter") {
        let mut named = BTreeSet::new();
        let (names, denied) = match value.strip_prefix('~') {
            Some(names) => (names, true),
            None => (value.as_str(), false),
        };
        for name in names.split(' ') {
            expand(name, &mut named);
        }
        if denied {
            calls.retain(|call| !named.contains(call));
        } else {
            calls.extend(named);
        }
    }
    calls
}

/// Returns capabilities as setpriv(1) writes them.
fn capabilities(settings: &[(String, String)], key: &str) -> String {
    let names = words_of(settings, key).filter_map(|name| name.strip_prefix("CAP_"));
    names.fold("-all".to_owned(), |all, name| {
        all + ",+" + &name.to_lowercase()
    })
}

/// Returns a command that starts what follows as systemd would; none = a part is missing.
fn confined(settings: &[(String, String)], folder: &Path, as_root: bool) -> Option<Command> {
    // One that everybody may run, which the first one in PATH need not be.
    let python = Some("/usr/bin/python3").filter(|python| Path::new(python).exists());
    let python = or_skip("python", python.map(Command::new))?;
    let script = folder.join("under_filter.py");
    fs::copy(file("it/under_filter.py"), &script).unwrap();
    let mut command = Command::new("setpriv");
    let bounding = capabilities(settings, "CapabilityBoundingSet");
    command.arg(format!("--bounding-set={bounding}"));
    if !as_root {
        let ambient = capabilities(settings, "AmbientCapabilities");
        command.args([
            &format!("--reuid={NOBODY}"),
            &format!("--regid={NOBODY}"),
            "--clear-groups",
            &format!("--inh-caps={ambient}"),
            &format!("--ambient-caps={ambient}"),
        ]);
    }
    let calls: Vec<String> = allowed(settings).into_iter().collect();
    command
        .arg("--")
        .arg(python.get_program())
        .arg(script)
        .arg(calls.join(","));
    Some(command)
}

/// The folder of whom the service starts as, with the program in it.
fn place(as_root: bool) -> TempDir {
    let folder = TempDir::new().unwrap();
    if !as_root {
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("longsplice");
    fs::copy(binary(), program).unwrap();
    folder
}

#[test]
fn the_program_starts_serves_and_stops_inside_of_its_unit() {
    if !Uid::effective().is_root() {
        println!("skipped: not root");
        return;
    }
    if Part::Analyze.command().is_none() {
        return;
    }
    for as_root in [false, true] {
        let settings = settings(as_root);
        let folder = place(as_root);
        let at = |name: &str| folder.path().join(name).display().to_string();
        let site = Identity::new(&["localhost"]);
        let key = folder.path().join("site.pem");
        fs::copy(site.file(), &key).unwrap();
        chown(&key, None, Some(NOBODY)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let mut keys = format!(
            "max_connections = 1000\npid_file = \"{}\"\nadmin_socket = \"{}\"\nadmin_http = \"{}\"",
            at("pid"),
            at("admin.sock"),
            crate::harness::free_addr()
        );
        if as_root {
            keys += &format!("\nuser = \"{NOBODY}\"\ngroup = \"{NOBODY}\"");
        }
        let (tcp, unix) = (crate::harness::free_addr(), at("edge.sock"));
        let secure = format!(
            "[[listener]]\nbind = [\"{}\"]\nmode = \"tcp\"\n[listener.tls]\ncertificates = \"{}\"\n\
             [[listener.route]]\nbackend = \"app\"",
            crate::harness::free_addr(),
            key.display()
        );
        let plan = Plan::tcp(Origin::echo())
            .bind(format!("\"{tcp}\", \"unix:{unix}\""))
            .process_keys(&keys)
            .more(&secure);
        let file = folder.path().join("longsplice.toml");
        fs::write(&file, plan.toml()).unwrap();
        let Some(mut command) = confined(&settings, folder.path(), as_root) else {
            return;
        };
        command.arg(folder.path().join("longsplice"));
        command.args(["run", "-c"]).arg(&file);
        let mut proxy = Proxy::launch_in(command, TempDir::new().unwrap(), &plan.toml());
        proxy.wait_listening();
        eventually("the process is ready", || proxy.log().contains(" ready "));
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
        let said = proxy.reload_again();
        assert!(said.contains("nothing changed"), "{said}");
        drop(client);
        proxy.signal(Signal::SIGTERM);
        assert_eq!(proxy.wait_exit(), Some(0), "{}", proxy.log());
        let log = proxy.log();
        for wrong in ["not permitted", "not confined", "WARN", "ERROR"] {
            assert!(!log.contains(wrong), "{wrong}: {log}");
        }
    }
}
