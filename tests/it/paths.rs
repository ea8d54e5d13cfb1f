//! Unix sockets in the file system: whose they are, who may connect, and what is left alone.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::parts::in_path;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;

fn plan_at(path: &Path) -> Plan {
    let tcp = crate::harness::free_addr();
    Plan::tcp(Origin::echo()).bind(format!("\"{tcp}\", \"unix:{}\"", path.display()))
}

/// A folder that everybody may enter, which temporary folders of root are not.
fn open_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

fn echoes(path: &Path) {
    let mut client = Peer::connect_unix(path);
    client.send("x");
    client.expect("x");
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["0000", "0022", "0077", "0777"] {
        let folder = open_folder();
        let (edge, admin) = (folder.path().join("edge"), folder.path().join("admin"));
        let keys = format!("admin_socket = \"{}\"", admin.display());
        let plan = plan_at(&edge).process_keys(&keys);
        let script = format!("umask {umask}; exec \"$@\"");
        // What a log or a pid file gets is up to it, as ever.
        let mut proxy = Proxy::spawn_through(&["sh", "-c", &script, "sh"], &plan.toml());
        proxy.wait_listening();
        eventually("the process is ready", || proxy.log().contains(" ready "));
        assert_eq!((mode_of(&edge), mode_of(&admin)), (0o666, 0o660), "{umask}");
        echoes(&edge);
    }
}

#[test]
fn sockets_are_those_of_server_user_who_may_replace_them() {
    if !Uid::effective().is_root() {
        println!("skipped: not root");
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let folder = open_folder();
    let (edge, admin) = (folder.path().join("edge"), folder.path().join("admin"));
    std::os::unix::fs::chown(folder.path(), Some(nobody.uid.as_raw()), None).unwrap();
    let keys = format!("user = \"nobody\"\nadmin_socket = \"{}\"", admin.display());
    let plan = plan_at(&edge).process_keys(&keys);
    let mut proxy = plan.start();
    eventually("the process is ready", || proxy.log().contains(" ready "));
    for path in [&edge, &admin] {
        let found = fs::symlink_metadata(path).unwrap();
        let owner = (found.uid(), found.gid());
        assert_eq!(owner, (nobody.uid.as_raw(), nobody.gid.as_raw()));
    }
    // Somebody who has nothing to do with it.
    if in_path("python3").is_some() && Path::new("/usr/bin/python3").exists() {
        let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                      s.send(b'x'); print(s.recv(1).decode())";
        let output = Command::new("setpriv")
            .args(["--reuid=54321", "--regid=54321", "--clear-groups", "--"])
            .args(["/usr/bin/python3", "-c", script])
            .arg(&edge)
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"x\n", "{output:?}");
    }
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert!(!edge.exists() && !admin.exists());
}

#[test]
fn what_is_no_dead_socket_keeps_the_process_from_starting() {
    for key in ["bind", "admin_socket"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("it");
        let start = || {
            let plan = match key {
                "bind" => plan_at(&path),
                _ => Plan::tcp(Origin::echo())
                    .process_keys(&format!("admin_socket = \"{}\"", path.display())),
            };
            let mut proxy = Proxy::spawn(&plan.toml());
            assert_eq!(proxy.wait_exit(), Some(1), "{key}");
            proxy.log()
        };
        fs::write(&path, "precious").unwrap();
        let said = start();
        assert!(
            said.contains("a file that is no socket is in the way"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let before = fs::metadata(&victim).unwrap();
        symlink(&victim, &path).unwrap();
        let said = start();
        assert!(
            said.contains("a file that is no socket is in the way"),
            "{said}"
        );
        let after = fs::metadata(&victim).unwrap();
        assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()));
        fs::remove_file(&path).unwrap();
        let living = UnixListener::bind(&path).unwrap();
        let said = start();
        assert!(said.contains("another process"), "{said}");
        drop(living);
    }
}

#[test]
fn a_socket_that_may_not_be_asked_is_said_to_be_one() {
    if !Uid::effective().is_root() {
        println!("skipped: not root");
        return;
    }
    let folder = open_folder();
    let path = folder.path().join("edge.sock");
    let _roots = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let program = folder.path().join("longsplice");
    fs::copy(crate::harness::process::binary(), &program).unwrap();
    let plan = plan_at(&path);
    let file = folder.path().join("longsplice.toml");
    fs::write(&file, plan.toml()).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
    command.arg(&program).args(["run", "-c"]).arg(&file);
    let mut proxy = Proxy::launch_in(command, TempDir::new().unwrap(), &plan.toml());
    assert_eq!(proxy.wait_exit(), Some(1));
    let log = proxy.log();
    assert!(log.contains("may not connect to"), "{log}");
    assert!(!log.contains("another process listens there"), "{log}");
    assert!(!log.contains("port below 1024"), "{log}");
}

#[test]
fn a_reload_that_is_refused_leaves_no_socket() {
    let folder = TempDir::new().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let plan = plan_at(&first);
    let proxy = plan.start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bad = plan.clone().bind(format!(
        "\"{}\", \"unix:{}\", \"unix:{}\", \"{}\"",
        proxy.addr(),
        first.display(),
        second.display(),
        taken.local_addr().unwrap()
    ));
    let said = proxy.reload(&bad.toml());
    assert!(said.contains("not reloaded"), "{said}");
    assert!(!second.exists(), "it was left");
    echoes(&first);
}

#[test]
fn a_socket_that_somebody_removed_comes_back_with_a_reload() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("edge.sock");
    let plan = plan_at(&path);
    let mut proxy = plan.start();
    let mut old = Peer::connect_unix(&path);
    old.send("x");
    old.expect("x");
    for _ in 0..3 {
        fs::remove_file(&path).unwrap();
        let said = proxy.reload(&plan.toml());
        assert!(said.contains(" reloaded"), "{said}");
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        for _ in 0..5 {
            echoes(&path);
        }
    }
    old.send("y");
    old.expect("y");
    drop(old);
    // Whose it is now is not known here, and nothing of it is touched.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    let said = proxy.reload(&plan.toml());
    assert!(said.contains("not reloaded"), "{said}");
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert!(path.exists());
    drop(other);
}
