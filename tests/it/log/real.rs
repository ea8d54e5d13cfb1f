//! Programs that read logs: HAProxy's halog beside HAProxy itself, GoAccess, rsyslog, logrotate.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::http::{self, get};
use crate::harness::httplog::{fields_of, halog, without_syslog};
use crate::harness::origin::{Origin, echo};
use crate::harness::parts::{Part, Running, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::wait_listening_on;
use crate::harness::rsyslog::Rsyslog;
use crate::harness::{PATIENCE, eventually, free_addr, websocket};

/// Waits until a file has lines that `enough` holds of, and returns it.
fn wait_for(path: &Path, what: &str, enough: impl Fn(&str) -> bool) -> String {
    let read = || fs::read_to_string(path).unwrap_or_default();
    eventually(what, || enough(&read()));
    read()
}

/// Returns the access lines of a log without its diagnostics.
fn access_lines(text: &str) -> Vec<&str> {
    let is_diagnostic = |line: &&str| {
        ["ERROR ", "WARN ", "INFO "]
            .iter()
            .any(|it| line.contains(it))
    };
    text.lines().filter(|line| !is_diagnostic(line)).collect()
}

/// What is asked of longsplice and of HAProxy alike.
fn ask_everything(addr: SocketAddr) {
    http::exchange(addr, get("x", "/plain?a=b", "User-Agent: test/1\r\n"));
    http::exchange(addr, "nonsense\r\n\r\n");
    let mut client = websocket::open(addr);
    client.finish();
    client.expect_closed();
}

/// An application that answers requests, and echoes what comes behind an upgrade.
fn application() -> SocketAddr {
    Origin::serve(|mut peer| {
        let head = peer.read_head();
        let key = http::values(&head, "sec-websocket-key");
        if let [key] = key[..] {
            let accept = websocket::accept_for(key);
            peer.send(websocket::switching("").replace(websocket::ACCEPT, &accept));
            echo(peer);
        } else {
            peer.send(http::ok("twenty bytes of body"));
        }
    })
}

#[test]
fn httplog_is_read_by_halog_and_by_the_manual() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let tcp = free_addr();
    let more = format!(
        "[[listener]]\nname = \"tcp side\"\nbind = [\"{tcp}\"]\nmode = \"tcp\"\n\
         [[listener.route]]\nbackend = \"echo\"\n\
         [[backend]]\nname = \"echo\"\n[[backend.server]]\naddress = \"{}\"\n\
         [log]\naccess = \"httplog\"\ntarget = \"file:{}\"\n",
        Origin::echo(),
        log.display()
    );
    let proxy = Plan::http(application()).more(&more).start();
    ask_everything(proxy.addr());
    http::exchange(proxy.addr(), get("x", "/quote/a\"b", ""));
    let mut client = Peer::connect(tcp);
    client.send("hello");
    client.expect("hello");
    client.finish();
    client.expect_closed();
    // Two requests, one that is none, a tunnel's two lines, and those of the tcp side.
    let text = wait_for(&log, "seven lines", |text| access_lines(text).len() >= 7);
    let lines = access_lines(&text);
    if let Some(fields) = fields_of(&lines) {
        let find = |what: &str, fits: &dyn Fn(&Value) -> bool| {
            let found = fields.iter().find(|line| fits(line));
            found
                .unwrap_or_else(|| panic!("{what}: {fields:#?}"))
                .clone()
        };
        let plain = find("plain", &|it| it["request"] == "GET /plain?a=b HTTP/1.1");
        let expected = [
            ("client_ip", "127.0.0.1"),
            ("frontend", "edge"),
            ("backend", "app"),
            ("status", "200"),
            ("bytes", "20"),
            ("state", "----"),
            ("retries", "0"),
            ("tw", "0"),
        ];
        for (field, value) in expected {
            assert_eq!(plain[field], value, "{field} in {plain}");
        }
        for time in ["tr_request", "tc", "tr", "ta"] {
            assert_ne!(plain[time], "-1", "{time} in {plain}");
        }
        find("escaped", &|it| {
            it["request"]
                .as_str()
                .is_some_and(|it| it.contains("a#22b"))
        });
        let bad = find("refused", &|it| it["request"] == "<BADREQ>");
        assert_eq!(
            (&bad["status"], &bad["state"]),
            (&"400".into(), &"PR--".into())
        );
        let open = find("open", &|it| it["status"] == "101" && it["bytes"] == "+0");
        assert!(open["ta"].as_str().unwrap().starts_with('+'), "{open}");
        let close = find("close", &|it| it["status"] == "101" && it["bytes"] == "0");
        assert_eq!(close["request"], open["request"]);
        assert_eq!(close["state"], "----");
        let tunnel = find("tcp", &|it| it["tt"].is_string() && it["bytes"] == "5");
        assert_eq!(
            (&tunnel["frontend"], &tunnel["state"]),
            (&"tcp_side".into(), &"--".into())
        );
    }
    // halog expects what syslog puts in front.
    let stored: String = lines
        .iter()
        .map(|line| format!("Feb  6 12:14:14 host longsplice[1]: {line}\n"))
        .collect();
    let Some(counted) = halog(&["-H", "-q", "-st"], &stored) else {
        return;
    };
    assert_eq!(counted, ["101 2", "200 2", "400 1"], "{text}");
}

#[test]
fn httplog_says_what_haproxy_says() {
    let (front, receiver) = (free_addr(), UdpSocket::bind("127.0.0.1:0").unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let Some(mut haproxy) = Part::Haproxy.command() else {
        return;
    };
    let dir = TempDir::new().unwrap();
    let (configuration, log) = (dir.path().join("haproxy.cfg"), dir.path().join("log"));
    let app = application();
    let text = format!(
        "global\n  log {} local1\ndefaults\n  mode http\n  log global\n  option httplog\n\
         timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend edge\n  bind {front}\n  default_backend app\n\
         backend app\n  server {app} {app}\n",
        receiver.local_addr().unwrap()
    );
    fs::write(&configuration, text).unwrap();
    let running = Running::start(haproxy.args(["-db", "-q", "-f"]).arg(&configuration));
    wait_listening_on(running.pid(), &front.to_string());
    ask_everything(front);
    let mut theirs = Vec::new();
    let mut buffer = [0; 8192];
    while theirs.len() < 3 {
        let len = receiver.recv(&mut buffer).unwrap();
        let message = String::from_utf8(buffer[..len].to_vec()).unwrap();
        let line = without_syslog(message.trim_end()).to_owned();
        if line.contains("HTTP/1.1\"") || line.contains("BADREQ") {
            theirs.push(line);
        }
    }
    let target = format!(
        "[log]\naccess = \"httplog\"\ntarget = \"file:{}\"\n",
        log.display()
    );
    let proxy = Plan::http(app).more(&target).start();
    ask_everything(proxy.addr());
    let finished = |text: &str| {
        let lines = access_lines(text);
        let finished = lines.into_iter().filter(|line| !line.contains("/+"));
        finished.map(str::to_owned).collect::<Vec<_>>()
    };
    let text = wait_for(&log, "three lines", |text| finished(text).len() >= 3);
    let ours = finished(&text);
    let read = |lines: &[String]| fields_of(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let (Some(theirs), Some(ours)) = (read(&theirs), read(&ours)) else {
        return;
    };
    for wanted in &theirs {
        let found = ours
            .iter()
            .find(|line| line["request"] == wanted["request"]);
        let line = found.unwrap_or_else(|| panic!("{wanted} in {ours:#?}"));
        let same = [
            "client_ip",
            "frontend",
            "ssl",
            "backend",
            "server",
            "status",
            "req_cookie",
            "res_cookie",
            "state",
            "retries",
            "srv_queue",
            "backend_queue",
        ];
        for field in same {
            assert_eq!(line[field], wanted[field], "{field}: {line} {wanted}");
        }
        for time in ["tr_request", "tw", "tc", "tr", "ta"] {
            assert_eq!(
                line[time] == "-1",
                wanted[time] == "-1",
                "{time}: {line} {wanted}"
            );
        }
    }
}

#[test]
fn combined_is_read_by_goaccess() {
    let Some(mut goaccess) = Part::Goaccess.command() else {
        return;
    };
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let target = format!(
        "[log]\naccess = \"combined\"\ntarget = \"file:{}\"\n",
        log.display()
    );
    let keys = "proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.1\"]";
    let proxy = Plan::http(application())
        .listener_keys(keys)
        .more(&target)
        .start();
    let lines = "User-Agent: \"test\"\r\nReferer: http://from/\r\n";
    let asked = get("x", "/plain?a=b", lines);
    http::exchange(
        proxy.addr(),
        format!("PROXY TCP4 203.0.113.7 10.0.0.9 1 80\r\n{asked}"),
    );
    ask_everything(proxy.addr());
    let text = wait_for(&log, "four lines", |text| access_lines(text).len() >= 4);
    let lines = access_lines(&text);
    let first = lines[0];
    assert!(first.starts_with("203.0.113.7 - - ["), "{first}");
    let rest = "] \"GET /plain?a=b HTTP/1.1\" 200 20 \"http://from/\" \"\\x22test\\x22\"";
    assert!(first.ends_with(rest), "{first}");
    let pure = dir.path().join("pure");
    fs::write(&pure, lines.join("\n") + "\n").unwrap();
    goaccess
        .arg(&pure)
        .args(["--log-format=COMBINED", "--no-global-config", "-o", "json"]);
    let said: Value = serde_json::from_str(&finish(&mut goaccess)).unwrap();
    let general = &said["general"];
    assert_eq!(
        (&general["valid_requests"], &general["failed_requests"]),
        (&4.into(), &0.into())
    );
}

#[test]
fn rsyslog_reads_messages_over_udp_and_on_its_socket() {
    let rules = |at: &Path| {
        format!(
            "template(name=\"t\" type=\"string\" string=\"%syslogfacility-text%|%syslogseverity-text%\
             |%hostname%|%programname%|%procid%|%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{}/out\" template=\"t\")\n",
            at.display()
        )
    };
    let Some(rsyslog) = Rsyslog::start(rules) else {
        return;
    };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap().to_owned();
    let targets = [
        (format!("syslog:{}/local1", rsyslog.addr()), "local1"),
        (
            format!("syslog:unix:{}", rsyslog.path("socket").display()),
            "local6",
        ),
    ];
    for (target, facility) in targets {
        let log =
            format!("[log]\naccess = \"httplog\"\ntarget = \"{target}\"\nfacility = \"local6\"\n");
        let proxy = Plan::http(application()).more(&log).start();
        http::exchange(proxy.addr(), get("x", &format!("/{facility}"), ""));
        let wanted = format!("\"GET /{facility} HTTP/1.1\"");
        let text = rsyslog.wait_for("out", &wanted, |text| text.contains(&wanted));
        let line = text.lines().find(|line| line.contains(&wanted)).unwrap();
        let start = format!(
            "{facility}|info|{host}|longsplice|{}| 127.0.0.1:",
            proxy.pid()
        );
        assert!(line.starts_with(&start), "{line}");
        // Diagnostics have no time of their own in front.
        let ready = text.lines().find(|line| line.contains("| ready version"));
        assert!(ready.is_some_and(|line| line.contains("|info|")), "{text}");
    }
}

fn logrotate(configuration: &Path) -> Option<()> {
    let mut logrotate = Part::Logrotate.command()?;
    let state = configuration.with_extension("state");
    logrotate
        .arg("--force")
        .arg("--state")
        .arg(state)
        .arg(configuration);
    finish(&mut logrotate);
    Some(())
}

#[test]
fn logrotate_loses_nothing_with_and_without_the_signal() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let target = format!("[log]\ntarget = \"file:{}\"\n", log.display());
    let proxy = Plan::http(application()).more(&target).start();
    let ask = |at: usize| {
        http::exchange(proxy.addr(), get("x", &format!("/n{at}."), ""));
    };
    let mut asked = 0;
    for signals in [true, false] {
        let script = if signals {
            format!("postrotate\n kill -USR1 {}\nendscript\n", proxy.pid())
        } else {
            String::new()
        };
        let configuration = dir.path().join("logrotate.conf");
        let text = format!(
            "\"{}\" {{\n rotate 9\n create\n {script}}}\n",
            log.display()
        );
        fs::write(&configuration, text).unwrap();
        for _ in 0..3 {
            ask(asked);
            asked += 1;
            if logrotate(&configuration).is_none() {
                return;
            }
            // Until the new file has lines.
            eventually("the new file is written to", || {
                ask(asked);
                asked += 1;
                fs::read_to_string(&log).is_ok_and(|text| text.contains("/n"))
            });
        }
    }
    let mut proxy = proxy;
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    let files = fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().path());
    let logs: Vec<PathBuf> = files
        .filter(|file| {
            file.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("log")
        })
        .filter(|file| !file.to_str().unwrap().contains("logrotate"))
        .collect();
    assert_eq!(logs.len(), 7, "{logs:?}");
    let all: String = logs
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for at in 0..asked {
        let times = all.matches(&format!("/n{at}.\"")).count();
        assert_eq!(times, 1, "/n{at}. of {asked}");
    }
}
