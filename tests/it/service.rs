//! The process as a service: whose it is, what it may, its pid file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Group, Uid, User};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::tls::Identity;

/// An account that every system has and that may do nothing.
const NOBODY: &str = "nobody";

/// Tells whether this test may become somebody else, and says so if not.
fn is_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        println!("skipped: not root");
    }
    root
}

fn nobody() -> User {
    User::from_name(NOBODY).unwrap().unwrap()
}

/// A setpriv(1) that runs what follows as nobody.
const AS_NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid=nobody",
    "--regid=nogroup",
    "--clear-groups",
    "--inh-caps=-all",
    "--",
];

/// A field of /proc/PID/task/TID/status for each thread.
fn of_threads(pid: u32, field: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let texts = threads.map(|thread| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{field}:")));
        line.unwrap_or_default().trim().to_owned()
    });
    texts.collect()
}

fn all_threads(pid: u32, field: &str, expected: &str) {
    let found = of_threads(pid, field);
    assert!(found.len() > 3, "{found:?}");
    assert!(
        found.iter().all(|text| text == expected),
        "{field}: {found:?}"
    );
}

#[test]
fn privileges_are_given_up_by_every_thread() {
    if !is_root() {
        return;
    }
    let plan = Plan::tcp(Origin::echo()).process_keys("user = \"nobody\"");
    let proxy = plan.start();
    let mut client = proxy.connect();
    client.send("x");
    client.expect("x");
    let (uid, gid) = (nobody().uid.as_raw(), nobody().gid.as_raw());
    eventually("the process is somebody else", || {
        of_threads(proxy.pid(), "Uid").len() > 3
    });
    all_threads(
        proxy.pid(),
        "Uid",
        &[uid.to_string().as_str(); 4].join("\t"),
    );
    all_threads(
        proxy.pid(),
        "Gid",
        &[gid.to_string().as_str(); 4].join("\t"),
    );
    all_threads(proxy.pid(), "Groups", &gid.to_string());
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        all_threads(proxy.pid(), set, "0000000000000000");
    }
    all_threads(proxy.pid(), "NoNewPrivs", "1");
    // Nothing of it is dumped or traced: its files belong to root.
    let owner = fs::metadata(format!("/proc/{}/mem", proxy.pid())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
}

#[test]
fn a_group_may_be_named_and_an_account_be_a_number() {
    if !is_root() {
        return;
    }
    let daemon = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
    let uid = nobody().uid.as_raw();
    for (keys, uid, gid, groups) in [
        (
            "user = \"nobody\"\ngroup = \"daemon\"".to_owned(),
            uid,
            daemon,
            daemon.to_string(),
        ),
        (
            "user = \"54321\"\ngroup = \"54322\"".to_owned(),
            54321,
            54322,
            "54322".to_owned(),
        ),
    ] {
        let mut proxy = Plan::tcp(Origin::echo()).process_keys(&keys).start();
        eventually("the process is ready", || proxy.log().contains(" ready "));
        all_threads(
            proxy.pid(),
            "Uid",
            &[uid.to_string().as_str(); 4].join("\t"),
        );
        all_threads(
            proxy.pid(),
            "Gid",
            &[gid.to_string().as_str(); 4].join("\t"),
        );
        all_threads(proxy.pid(), "Groups", &groups);
        proxy.signal(Signal::SIGTERM);
        assert_eq!(proxy.wait_exit(), Some(0));
    }
}

#[test]
fn a_port_of_root_is_bound_before_the_drop() {
    if !is_root() {
        return;
    }
    let floor: u16 = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let Some(port) = (600..floor.max(600))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
    else {
        println!("skipped: every port is free for everybody");
        return;
    };
    let plan = Plan::tcp(Origin::echo())
        .bind(format!("\"127.0.0.1:{port}\""))
        .process_keys("user = \"nobody\"");
    let proxy = plan.start();
    let mut client = proxy.connect();
    client.send("x");
    client.expect("x");
}

#[test]
fn accounts_that_cannot_be_had_are_an_exit_that_says_so() {
    let missing = Plan::tcp(Origin::echo());
    for (keys, said) in [
        (
            "user = \"no-such-user\"",
            "server.user: this system has no user \"no-such-user\"",
        ),
        (
            "group = \"no-such-group\"",
            "server.group: this system has no group \"no-such-group\"",
        ),
        (
            "user = \"54321\"",
            "server.user: the user 54321 has no group of its own",
        ),
    ] {
        let mut proxy = Proxy::spawn(&missing.clone().process_keys(keys).toml());
        assert_eq!(proxy.wait_exit(), Some(1));
        assert!(proxy.log().contains(said), "{}", proxy.log());
    }
}

/// A folder where nobody may write, which temporary folders of root are not.
fn folder_of_nobody() -> TempDir {
    let folder = TempDir::new().unwrap();
    let user = nobody();
    chown(
        folder.path(),
        Some(user.uid.as_raw()),
        Some(user.gid.as_raw()),
    )
    .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn who_is_not_root_may_be_itself_and_nobody_else() {
    if !is_root() {
        return;
    }
    // The program must be reachable for somebody who is not root.
    let folder = folder_of_nobody();
    let program = folder.path().join("longsplice");
    fs::copy(crate::harness::process::binary(), &program).unwrap();
    let run = |keys: &str| {
        let plan = Plan::tcp(Origin::echo()).process_keys(keys);
        let file = folder.path().join("longsplice.toml");
        fs::write(&file, plan.toml()).unwrap();
        let [setpriv, options @ ..] = AS_NOBODY;
        let mut command = std::process::Command::new(setpriv);
        command
            .args(options)
            .arg(&program)
            .arg("run")
            .arg("-c")
            .arg(&file);
        Proxy::launch_in(command, TempDir::new().unwrap(), &plan.toml())
    };
    let mut other = run("user = \"daemon\"");
    assert_eq!(other.wait_exit(), Some(1));
    let said = "server.user: this process runs as \"nobody\" and may not become \"daemon\": start it as root";
    assert!(other.log().contains(said), "{}", other.log());
    let mut itself = run("user = \"nobody\"");
    itself.wait_listening();
    itself.signal(Signal::SIGTERM);
    assert_eq!(itself.wait_exit(), Some(0));
}

#[test]
fn a_key_that_cannot_be_read_again_is_warned_of() {
    if !is_root() {
        return;
    }
    let site = Identity::new(&["localhost"]);
    fs::set_permissions(site.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let plan = Plan::tcp(Origin::echo())
        .listener_keys(&site.listener_keys())
        .process_keys("user = \"nobody\"");
    let proxy = plan.start();
    eventually("the key is warned of", || {
        let log = proxy.log();
        log.contains("cannot be read again by server.user") && log.contains(&site.file())
    });
}

fn pid_plan(path: &Path) -> Plan {
    Plan::tcp(Origin::echo()).process_keys(&format!("pid_file = \"{}\"", path.display()))
}

#[test]
fn the_pid_file_is_there_while_it_runs() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pid");
    let mut first = pid_plan(&path).start();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{}\n", first.pid())
    );
    let mut second = Proxy::spawn(&pid_plan(&path).toml());
    assert_eq!(second.wait_exit(), Some(1));
    let said = format!(
        "{}: the process {} has it, and runs",
        path.display(),
        first.pid()
    );
    assert!(second.log().contains(&said), "{}", second.log());
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{}\n", first.pid())
    );
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait_exit(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_pid_file_that_a_killed_process_left_is_taken_over() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pid");
    drop(pid_plan(&path).start());
    assert!(path.exists(), "killed: the file stays");
    let next = pid_plan(&path).start();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{}\n", next.pid())
    );
}

#[test]
fn a_pid_file_that_may_not_be_removed_any_more_is_emptied() {
    if !is_root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("pid");
    let plan = Plan::tcp(Origin::echo()).process_keys(&format!(
        "user = \"nobody\"\npid_file = \"{}\"",
        path.display()
    ));
    let mut proxy = plan.start();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{}\n", proxy.pid())
    );
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    let owner = fs::metadata(&path).unwrap();
    assert_eq!(
        std::os::unix::fs::MetadataExt::gid(&owner),
        Gid::effective().as_raw()
    );
}

#[test]
fn a_start_that_fails_leaves_no_pid_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pid");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = pid_plan(&path).bind(format!("\"{}\"", taken.local_addr().unwrap()));
    let mut proxy = Proxy::spawn(&plan.toml());
    assert_eq!(proxy.wait_exit(), Some(1));
    assert!(!path.exists());
}
