//! Where the log goes: files that are rotated, receivers that come and go, targets that stall.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::http::{self, get};
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};
use crate::harness::{PATIENCE, eventually, free_addr, free_port};

/// Answers every request itself, and writes its log to `target`.
fn plan(target: &str, more: &str) -> Plan {
    let routes = "[[listener.route]]\nrespond = { status = 200, body = \"\" }\n";
    Plan::routes_only(routes).more(&format!("[log]\ntarget = \"{target}\"\n{more}\n"))
}

/// Makes a request whose line can be told from others.
fn ask(proxy: &Proxy, mark: &str) {
    let answer = http::exchange(proxy.addr(), get("x", &format!("/{mark}"), ""));
    assert_eq!(answer.status, 200);
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until a file holds `what`.
fn wait_in(path: &Path, what: &str) {
    eventually(&format!("{what} in {}", path.display()), || {
        read(path).contains(what)
    });
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[test]
fn a_file_holds_access_lines_and_diagnostics_alike() {
    let folder = Folder::new();
    let log = folder.path("log");
    fs::write(&log, "of before\n").unwrap();
    let mut proxy = plan(&format!("file:{}", log.display()), "").start();
    ask(&proxy, "one");
    wait_in(&log, "/one");
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    let text = read(&log);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "of before");
    // What was said before anything was listened on is there too.
    assert!(
        lines[1].contains("WARN") && lines[1].contains("no route leads"),
        "{text}"
    );
    let listening = format!("INFO listening address={}", proxy.addr());
    assert!(
        lines.iter().any(|line| line.ends_with(&listening)),
        "{text}"
    );
    let access = lines
        .iter()
        .find_map(|line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(access.unwrap()["event"], "request");
    assert!(lines.last().unwrap().contains("stopped"), "{text}");
    assert_eq!(proxy.log(), "");
}

#[test]
fn a_file_is_opened_again_when_a_signal_says_so() {
    let folder = Folder::new();
    let log = folder.path("log");
    let proxy = plan(&format!("file:{}", log.display()), "").start();
    for signal in [Signal::SIGUSR1, Signal::SIGHUP] {
        let old = folder.path(signal.as_str());
        ask(&proxy, "early");
        wait_in(&log, "/early");
        let inode = log.metadata().unwrap().ino();
        fs::rename(&log, &old).unwrap();
        proxy.signal(signal);
        eventually("there is a new file", || log.exists());
        ask(&proxy, "late");
        wait_in(&log, "/late");
        assert!(!read(&log).contains("/early"));
        assert!(!read(&old).contains("/late"));
        assert_eq!(old.metadata().unwrap().ino(), inode);
        fs::remove_file(&log).unwrap();
        proxy.signal(Signal::SIGUSR1);
        eventually("there is a new file", || log.exists());
    }
}

#[test]
fn a_file_that_was_renamed_or_removed_is_followed_without_a_signal() {
    let folder = Folder::new();
    let log = folder.path("log");
    let proxy = plan(&format!("file:{}", log.display()), "").start();
    for (at, remove) in [false, true].into_iter().enumerate() {
        if remove {
            fs::remove_file(&log).unwrap();
        } else {
            fs::rename(&log, folder.path("log.1")).unwrap();
        }
        let mark = format!("mark{at}");
        eventually("lines are in the new file", || {
            ask(&proxy, &mark);
            read(&log).contains(&mark)
        });
    }
}

#[test]
fn a_file_that_cannot_be_opened_again_keeps_the_old_one_and_says_so() {
    let folder = Folder::new();
    let below = folder.path("below");
    fs::create_dir(&below).unwrap();
    let log = below.join("log");
    // The sandbox knows folders, not names: one that takes the place of another is not in it.
    let proxy = plan(&format!("file:{}", log.display()), "")
        .process_keys("sandbox = false")
        .start();
    let moved = folder.path("moved");
    fs::rename(&below, &moved).unwrap();
    proxy.signal(Signal::SIGUSR1);
    wait_in(
        &moved.join("log"),
        "cannot be opened again, the old one is kept",
    );
    eventually("standard error says so", || {
        proxy.log().contains("cannot be opened again")
    });
    ask(&proxy, "kept");
    wait_in(&moved.join("log"), "/kept");
    fs::create_dir(&below).unwrap();
    proxy.signal(Signal::SIGUSR1);
    eventually("there is a new file", || log.exists());
    ask(&proxy, "again");
    wait_in(&log, "/again");
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_at_the_start() {
    let folder = Folder::new();
    let file = folder.path("longsplice.toml");
    let target = folder.path("none/log");
    let text = plan(&format!("file:{}", target.display()), "").toml();
    fs::write(&file, text).unwrap();
    let outcome = run(&["run", "-c", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let expected = format!(
        "longsplice: log.target = \"file:{}\": No such file or directory (os error 2)\n",
        target.display()
    );
    // What was said before is not lost with it.
    let (before, last) = outcome
        .stderr
        .split_at(outcome.stderr.len() - expected.len());
    assert!(before.contains("no route leads"), "{outcome:?}");
    assert_eq!(last, expected);
}

#[test]
fn a_full_disk_loses_lines_and_nothing_else() {
    let mut proxy = plan("file:/dev/full", "").start();
    for _ in 0..20 {
        ask(&proxy, "x");
    }
    eventually("standard error says so", || {
        proxy
            .log()
            .contains("the log takes no lines: No space left on device")
    });
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert_eq!(proxy.log_lines().len(), 1, "{}", proxy.log());
}

#[test]
fn a_fifo_that_nobody_reads_holds_up_nobody_and_tells_what_was_dropped() {
    let folder = Folder::new();
    let fifo = folder.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut proxy = plan(&format!("file:{}", fifo.display()), "").start();
    assert!(fifo.metadata().unwrap().file_type().is_fifo());
    // One connection that asks without end, until the queue (65,536 entries) has overflowed.
    let mut client = proxy.connect();
    let ahead = get("x", "/ahead", "").repeat(200);
    let answer_len = {
        client.send(get("x", "/ahead", ""));
        client.read_head().len()
    };
    for _ in 0..400 {
        client.send(&ahead);
        client.read(answer_len * 200);
    }
    ask(&proxy, "served-all-the-same");
    // A reader comes: what was dropped is told.
    let (sender, told) = channel();
    let reader = fs::File::options().read(true).open(&fifo).unwrap();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
        let told = lines.find_map(|line| {
            let (before, _) = line.split_once(" lines were dropped")?;
            before.rsplit(' ').next()?.parse::<u64>().ok()
        });
        // Kept open: it stops reading.
        let _ = sender.send((told.unwrap(), lines));
    });
    let (told, _reader) = told.recv_timeout(PATIENCE).expect("nothing was told");
    assert!(told > 10_000, "{told}");
    // Nobody reads again, and the proxy stops all the same.
    let began = Instant::now();
    for _ in 0..50 {
        client.send(&ahead);
        client.read(answer_len * 200);
    }
    drop(client);
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    assert!(began.elapsed() < PATIENCE);
}

/// Receives datagrams until one holds `what`, and returns it.
fn receive(what: &str, mut next: impl FnMut(&mut [u8]) -> std::io::Result<usize>) -> String {
    let mut buffer = vec![0; 65_536];
    let mut seen = Vec::new();
    loop {
        let len = next(&mut buffer).unwrap_or_else(|error| panic!("{error}; {what} in {seen:#?}"));
        let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
        if text.contains(what) {
            return text;
        }
        seen.push(text);
    }
}

#[test]
fn syslog_over_udp_has_facility_severity_name_and_process() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = receiver.local_addr().unwrap().port();
    let target = format!("syslog:localhost:{port}/local1");
    let proxy = plan(&target, "access = \"httplog\"\nfacility = \"mail\"").start();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap();
    let tag = format!(" {host} longsplice[{}]: ", proxy.pid());
    let ready = receive("ready", |buffer| receiver.recv(buffer));
    // local1 is 17, info is 6.
    assert!(ready.starts_with("<142>"), "{ready}");
    // `<142>Nov  4 17:19:02 host longsplice[1]: ready version=...`
    assert_eq!(
        ready.find(&tag),
        Some("<142>Nov  4 17:19:02".len()),
        "{ready}"
    );
    assert!(ready.contains(&format!("{tag}ready version")), "{ready}");
    ask(&proxy, "asked");
    let line = receive("/asked", |buffer| receiver.recv(buffer));
    assert!(line.starts_with("<142>") && line.ends_with("\"GET /asked HTTP/1.1\""));
    http::exchange(proxy.addr(), "nonsense\r\n\r\n");
    let line = receive("<BADREQ>", |buffer| receiver.recv(buffer));
    assert!(line.starts_with("<141>"), "a notice: {line}");
}

#[test]
fn a_syslog_receiver_that_was_refused_gets_lines_again_and_the_number_of_those_lost() {
    let port = free_port();
    let proxy = plan(&format!("syslog:127.0.0.1:{port}"), "").start();
    for _ in 0..5 {
        ask(&proxy, "lost");
    }
    let receiver = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut heard = String::new();
    eventually("lines come, and that some were lost", || {
        ask(&proxy, "here");
        let mut buffer = [0; 8192];
        while let Ok(len) = receiver.recv(&mut buffer) {
            heard += std::str::from_utf8(&buffer[..len]).unwrap();
        }
        heard.contains("/here") && heard.contains(" lines were dropped")
    });
}

#[test]
fn a_syslog_name_without_an_address_is_a_warning() {
    let proxy = plan("syslog:no-such-name.invalid:514", "").start();
    ask(&proxy, "served");
    eventually("standard error says so", || {
        proxy
            .log()
            .contains("WARN the log takes no lines: failed to lookup address")
    });
}

#[test]
fn a_unix_syslog_receiver_goes_and_returns() {
    let folder = Folder::new();
    let path = folder.path("log");
    let proxy = plan(&format!("syslog:unix:{}", path.display()), "").start();
    eventually("its absence is told on standard error", || {
        proxy.log().contains("the log takes no lines")
    });
    for at in 0..3 {
        let receiver = UnixDatagram::bind(&path).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let mark = format!("mark{at}");
        let asking = std::thread::scope(|scope| {
            let heard = scope.spawn(|| receive(&mark, |buffer| receiver.recv(buffer)));
            while !heard.is_finished() {
                ask(&proxy, &mark);
            }
            heard.join().unwrap()
        });
        // daemon is 3, info is 6; no host name, as from syslog(3).
        assert!(asking.starts_with("<30>"), "{asking}");
        let rest = &asking["<30>Nov  4 17:19:02 ".len()..];
        assert!(
            rest.starts_with(&format!("longsplice[{}]: {{", proxy.pid())),
            "{asking}"
        );
        drop(receiver);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_receiver_that_does_not_read_holds_up_nobody() {
    let folder = Folder::new();
    let path = folder.path("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let mut proxy = plan(&format!("syslog:unix:{}", path.display()), "").start();
    // The kernel keeps some datagrams for it (net.unix.max_dgram_qlen), then the log waits.
    for _ in 0..1000 {
        ask(&proxy, "x");
    }
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    drop(receiver);
}

#[test]
fn journald_gets_fields_by_its_native_protocol() {
    let folder = Folder::new();
    let socket = UnixDatagram::bind(folder.path("socket")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // /run/systemd/journal is that folder, for this process alone.
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal \
        && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
    let place = folder.0.path().to_str().unwrap();
    let own_mounts = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        place,
    ];
    let able = std::process::Command::new(own_mounts[0])
        .args(&own_mounts[1..])
        .arg("true")
        .output();
    if !able.is_ok_and(|output| output.status.success()) {
        println!("skipped: unshare is not permitted");
        return;
    }
    let origin = free_addr();
    let plan = Plan::http(origin).more("[log]\ntarget = \"journald\"\nfacility = \"local7\"\n");
    let mut proxy = Proxy::spawn_through(&own_mounts, &plan.toml());
    proxy.wait_listening();
    let ready = receive("ready", |buffer| socket.recv(buffer));
    let fields: Vec<&str> = ready.lines().skip(1).collect();
    let expected = [
        "PRIORITY=6",
        "SYSLOG_FACILITY=23",
        "SYSLOG_IDENTIFIER=longsplice",
    ];
    assert!(ready.starts_with("MESSAGE=ready version="), "{ready}");
    assert_eq!(fields, expected);
    http::exchange(proxy.addr(), get("x", "/asked", ""));
    let refused = receive("connect-refused", |buffer| socket.recv(buffer));
    let fields: Vec<&str> = refused.lines().skip(1).collect();
    let server = format!("LONGSPLICE_SERVER={origin}");
    let expected = [
        "PRIORITY=4",
        "SYSLOG_FACILITY=23",
        "SYSLOG_IDENTIFIER=longsplice",
        "LONGSPLICE_EVENT=refused",
        "LONGSPLICE_LISTENER=edge",
        "LONGSPLICE_CLIENT=127.0.0.1",
        "LONGSPLICE_BACKEND=app",
        &server,
        "LONGSPLICE_CAUSE=connect-refused",
        "LONGSPLICE_SIDE=server",
        "LONGSPLICE_STATUS=502",
    ];
    assert_eq!(fields, expected);
    let message = refused
        .lines()
        .next()
        .unwrap()
        .strip_prefix("MESSAGE=")
        .unwrap();
    let message: Value = serde_json::from_str(message).unwrap();
    assert_eq!(message["target"], "/asked");
}

#[test]
fn a_line_for_syslog_is_cut_where_receivers_would() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let origin = Origin::answering(http::ok(""));
    let log = format!(
        "[log]\ntarget = \"syslog:{}\"\n",
        receiver.local_addr().unwrap()
    );
    let proxy = Plan::http(origin.addr).more(&log).start();
    // In JSON each of these bytes is six.
    let long = "\u{1}".replace('\u{1}', "\\").repeat(8000);
    let lines = format!("User-Agent: {long}\r\nReferer: {long}\r\n");
    let target = "\\".repeat(7000);
    http::exchange(proxy.addr(), get("x", &format!("/cut{target}"), &lines));
    let line = receive("/cut", |buffer| receiver.recv(buffer));
    assert!(line.len() <= 8192, "{}", line.len());
}
