//! What systemd gives and is told: sockets, notifications, limits; and the units in `xtask/dist`.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::harness::origin::Origin;
use crate::harness::parts::{Part, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, binary};
use crate::harness::{PATIENCE, eventually, free_addr};

/// systemd's end of NOTIFY_SOCKET.
struct Manager {
    socket: UnixDatagram,
    name: String,
    _folder: TempDir,
}

impl Manager {
    fn at_a_path() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::of(socket, path.display().to_string(), folder)
    }

    fn at_an_abstract_name() -> Self {
        let name = format!(
            "longsplice-test-{}-{}",
            std::process::id(),
            free_addr().port()
        );
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self::of(socket, format!("@{name}"), TempDir::new().unwrap())
    }

    fn of(socket: UnixDatagram, name: String, folder: TempDir) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            name,
            _folder: folder,
        }
    }

    /// Starts longsplice with the variables beside NOTIFY_SOCKET.
    fn start(&self, plan: &Plan, variables: &[&str]) -> Proxy {
        let socket = format!("NOTIFY_SOCKET={}", self.name);
        let wrapper: Vec<&str> = ["env", &socket]
            .into_iter()
            .chain(variables.iter().copied())
            .collect();
        Proxy::spawn_through(&wrapper, &plan.toml())
    }

    fn told(&self) -> String {
        let mut buffer = [0; 4096];
        let len = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    /// Waits for a message that begins like this; watchdog pings are passed over.
    fn expect(&self, start: &str) -> String {
        loop {
            let told = self.told();
            if told != "WATCHDOG=1" {
                assert!(told.starts_with(start), "{told:?}, not {start:?}");
                return told;
            }
        }
    }
}

fn number_behind(told: &str, key: &str) -> u64 {
    let line = told.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().parse().unwrap()
}

#[test]
fn systemd_is_told_of_start_reload_and_stop() {
    for manager in [Manager::at_a_path(), Manager::at_an_abstract_name()] {
        let plan = Plan::tcp(Origin::echo()).process_keys("drain_timeout = \"7s\"");
        let mut proxy = manager.start(&plan, &[]);
        manager.expect("READY=1\n");
        // Ready means ready.
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
        proxy.signal(Signal::SIGHUP);
        let reloading = manager.expect("RELOADING=1\n");
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        let told = Duration::from_micros(number_behind(&reloading, "MONOTONIC_USEC="));
        assert!(
            (uptime - told.as_secs_f64()).abs() < 30.0,
            "{uptime} {told:?}"
        );
        manager.expect("READY=1\n");
        proxy.signal(Signal::SIGTERM);
        let stopping = manager.expect("STOPPING=1\n");
        assert!(number_behind(&stopping, "EXTEND_TIMEOUT_USEC=") >= 7_000_000);
        drop(client);
        assert_eq!(proxy.wait_exit(), Some(0));
    }
}

#[test]
fn systemd_is_told_of_a_lead_and_how_far_a_drain_is() {
    let manager = Manager::at_a_path();
    let keys = "drain_lead = \"2s\"\ndrain_timeout = \"7s\"";
    let mut proxy = manager.start(&Plan::tcp(Origin::echo()).process_keys(keys), &[]);
    manager.expect("READY=1\n");
    let mut client = proxy.connect();
    client.send("x");
    client.expect("x");
    let asked = Instant::now();
    proxy.signal(Signal::SIGTERM);
    let stopping = manager.expect("STOPPING=1\n");
    assert!(number_behind(&stopping, "EXTEND_TIMEOUT_USEC=") >= 9_000_000);
    assert!(asked.elapsed() < Duration::from_secs(2), "behind the lead");
    manager.expect("STATUS=draining for 5 s: 1 tunnels left, 0 ended");
    drop(client);
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_watchdog_is_fed_while_it_runs_and_while_it_drains() {
    let manager = Manager::at_a_path();
    let proxy = manager.start(&Plan::tcp(Origin::echo()), &["WATCHDOG_USEC=600000"]);
    manager.expect("READY=1\n");
    for _ in 0..3 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
    let mut client = proxy.connect();
    client.send("x");
    client.expect("x");
    proxy.signal(Signal::SIGTERM);
    manager.expect("STOPPING=1\n");
    for _ in 0..3 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
    // One that stands still says nothing.
    proxy.freeze();
    manager
        .socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let silent = loop {
        match manager.socket.recv(&mut [0; 64]) {
            Ok(_) => {}
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(silent, ErrorKind::WouldBlock);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::at_a_path();
    let variables = ["WATCHDOG_USEC=20000", "WATCHDOG_PID=1"];
    let mut proxy = manager.start(&Plan::tcp(Origin::echo()), &variables);
    manager.expect("READY=1\n");
    manager
        .socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    manager.socket.recv(&mut [0; 64]).unwrap_err();
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn variables_that_mean_nothing_do_no_harm() {
    let wrapper = [
        "env",
        "NOTIFY_SOCKET=nonsense",
        "WATCHDOG_USEC=-1",
        "LISTEN_FDS=9999999999",
        "LISTEN_PID=1",
    ];
    let mut proxy = Proxy::spawn_through(&wrapper, &Plan::tcp(Origin::echo()).toml());
    proxy.wait_listening();
    let mut client = proxy.connect();
    client.send("x");
    client.expect("x");
}

/// Runs longsplice behind systemd-socket-activate, which starts it when the first client comes.
fn activated(plan: &Plan, sockets: &[&str]) -> Option<Proxy> {
    let command = Part::SocketActivate.command()?;
    let mut wrapper = vec![command.get_program().to_str().unwrap()];
    for socket in sockets {
        wrapper.extend(["-l", socket]);
    }
    let mut proxy = Proxy::spawn_through(&wrapper, &plan.toml());
    proxy.wait_listening();
    Some(proxy)
}

#[test]
fn sockets_of_systemd_are_served() {
    let (first, second, own) = (free_addr(), free_addr(), free_addr());
    let unwanted = free_addr();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("edge.sock");
    let plan = Plan::tcp(Origin::echo())
        .bind(format!(
            "\"{first}\", \"{second}\", \"unix:{}\"",
            path.display()
        ))
        .more(&format!(
            "[[listener]]\nbind = \"{own}\"\nmode = \"tcp\"\n[[listener.route]]\nbackend = \"app\""
        ));
    let texts = [first, second, unwanted].map(|addr| addr.to_string());
    let sockets = [&texts[0], &texts[1], path.to_str().unwrap(), &texts[2]];
    let Some(mut proxy) = activated(&plan, &sockets) else {
        return;
    };
    for _ in 0..10 {
        for mut client in [
            Peer::connect(first),
            Peer::connect(second),
            Peer::connect_unix(&path),
        ] {
            client.send("x");
            client.expect("x");
        }
    }
    // What was not handed over is bound as always.
    let mut client = Peer::connect(own);
    client.send("x");
    client.expect("x");
    drop(client);
    eventually("the socket that nobody wants is told of", || {
        let log = proxy.log();
        log.contains(&unwanted.to_string()) && log.contains("no listener has in its bind")
    });
    assert_eq!(
        Peer::try_connect(unwanted).err().map(|e| e.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert!(path.exists(), "the path is systemd's");
}

/// systemd keeps its end of the socket: clients who come while the service is down wait for the next.
#[test]
fn a_socket_of_systemd_outlives_the_process() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let plan = Plan::tcp(Origin::echo()).bind(format!("\"{addr}\""));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("longsplice.toml");
    fs::write(&file, plan.toml()).unwrap();
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run -c \"$1\" 3<&0 </dev/null";
    for _ in 0..2 {
        // The one of the second round is here before its server.
        let mut client = Peer::connect(addr);
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(binary()).arg(&file);
        command.stdin(OwnedFd::from(listener.try_clone().unwrap()));
        let mut proxy = Proxy::launch_in(command, TempDir::new().unwrap(), &plan.toml());
        client.send("x");
        client.expect("x");
        drop(client);
        proxy.signal(Signal::SIGTERM);
        assert_eq!(proxy.wait_exit(), Some(0));
    }
}

#[test]
fn a_limit_of_descriptors_is_raised_as_far_as_it_goes() {
    let wrapper = [
        "sh",
        "-c",
        "ulimit -Sn 512; ulimit -Hn 4096; exec \"$@\"",
        "sh",
    ];
    let fits = Plan::tcp(Origin::echo()).process_keys("max_connections = 1920");
    let exceeds = Plan::tcp(Origin::echo()).process_keys("max_connections = 1921");
    for (plan, warned) in [(fits, false), (exceeds, true)] {
        let mut proxy = Proxy::spawn_through(&wrapper, &plan.toml());
        proxy.wait_listening();
        eventually("the process is ready", || proxy.log().contains(" ready "));
        let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).unwrap();
        let files = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let files: Vec<&str> = files.unwrap().split_whitespace().collect();
        assert_eq!(files[3..5], ["4096", "4096"]);
        assert_eq!(
            proxy.log().contains("too few descriptors"),
            warned,
            "{}",
            proxy.log()
        );
    }
}

/// Returns the units, in a folder where `ExecStart=` exists.
fn units() -> TempDir {
    let folder = TempDir::new().unwrap();
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("xtask/dist");
    for name in ["longsplice.service", "longsplice.socket"] {
        let text = fs::read_to_string(dist.join(name)).unwrap();
        let text = text.replace("/usr/bin/longsplice", "/bin/true");
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn the_units_are_what_systemd_understands() {
    let Some(mut analyze) = Part::Analyze.command() else {
        return;
    };
    let folder = units();
    let files = ["longsplice.service", "longsplice.socket"].map(|name| folder.path().join(name));
    let output = analyze
        .arg("verify")
        .args(["--man=no"])
        .args(files)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_us: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("longsplice"))
        .collect();
    assert!(output.status.success() && about_us.is_empty(), "{said}");
}

#[test]
fn the_service_is_well_confined() {
    let Some(mut analyze) = Part::Analyze.command() else {
        return;
    };
    let folder = units();
    // In tenths; 100 is a service without any confinement, and this fails above it.
    let said = finish(
        analyze
            .args(["security", "--offline=true", "--threshold=25", "--no-pager"])
            .arg(folder.path().join("longsplice.service")),
    );
    assert!(said.contains("Overall exposure level"), "{said}");
}
