//! Scenario S3: one process where stunnel and HAProxy stood one behind the other, in front of two
//! Node applications of which one speaks socket.io.

mod before;
mod syslog;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;

use crate::authority::certify;
use crate::harness::http::{self, Answer, get};
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::process::Proxy;
use crate::harness::tls::{Secure, client_believing};
use crate::harness::{eventually, free_addr, websocket};
use crate::put;

const CONFIGURATION: &str = include_str!("longsplice.toml");
const MAPS: &str = "dev-maps01";
const COLTRANE: &str = "dev-coltrane01";
/// A client that is not on this machine.
const STRANGER: &str = "203.0.113.7";

/// The applications.
struct Applications {
    maps: Vec<(u16, Running)>,
    coltrane: Vec<(u16, Running)>,
}

impl Applications {
    /// Starts so many of each, named by their number; none = no Node.
    fn start(maps: usize, coltrane: usize) -> Option<Self> {
        let start = |script: &str, count: usize| {
            let apps = (0..count).map(|number| {
                let mut node = Part::Node.command()?;
                node.arg(file("scenarios/s3_stunnel_haproxy_node").join(script));
                let app = Running::start(node.env("NAME", number.to_string()));
                Some((app.port(), app))
            });
            apps.collect::<Option<Vec<_>>>()
        };
        Some(Self {
            maps: start("maps.js", maps)?,
            coltrane: start("coltrane.js", coltrane)?,
        })
    }

    /// Tells an application of coltrane's what to do, past the proxy.
    fn command(&self, number: usize, command: &str) {
        let addr = SocketAddr::from(([127, 0, 0, 1], self.coltrane[number].0));
        let request = format!("POST {command} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(http::exchange(addr, request).status, 200);
    }
}

/// Writes the servers in place of the one that a configuration names.
fn servers(apps: &[(u16, Running)]) -> String {
    let servers: Vec<String> = apps
        .iter()
        .map(|(port, _)| format!("{{ address = \"127.0.0.1:{port}\", max_connections = 1024 }}"))
        .collect();
    servers.join(", ")
}

/// Both ways in.
#[derive(Clone, Copy)]
struct Doors {
    http: SocketAddr,
    https: SocketAddr,
}

struct Site {
    apps: Applications,
    proxy: Proxy,
    doors: Doors,
    certificates: Certificates,
}

struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        certify(dir.path(), &[MAPS, COLTRANE]);
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A client that knows the root only, so all between it and the site's must be shown.
    fn client(&self) -> Arc<ClientConfig> {
        client_believing(CertificateDer::from_pem_file(self.path("root.pem")).unwrap())
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Puts longsplice in front of applications, with more changes to its configuration; nobody
/// receives its log.
fn site(apps: Applications, more: &[(&str, String)]) -> Site {
    site_logging_to(free_addr(), apps, more)
}

/// Like [`site`], with a receiver of its log.
fn site_logging_to(syslog: SocketAddr, apps: Applications, more: &[(&str, String)]) -> Site {
    let certificates = Certificates::new();
    let doors = Doors {
        http: free_addr(),
        https: free_addr(),
    };
    let configuration = put(
        CONFIGURATION,
        &[
            ("127.0.0.1:514", syslog.to_string()),
            ("0.0.0.0:443", doors.https.to_string()),
            // Strangers come with a PROXY line.
            (
                "\"0.0.0.0:80\"]",
                format!(
                    "\"{}\"]\nproxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.1\"]",
                    doors.http
                ),
            ),
            (
                "/etc/ssl/private/site.pem",
                text(&certificates.path("site.pem")),
            ),
            ("/run/longsplice.pid", text(&certificates.path("pid"))),
            (
                "{ address = \"127.0.0.1:3000\", max_connections = 1024 }",
                servers(&apps.maps),
            ),
            (
                "{ address = \"127.0.0.1:8000\", max_connections = 1024 }",
                servers(&apps.coltrane),
            ),
            ("interval = \"10s\"", "interval = \"100ms\"".to_owned()),
        ],
    );
    let site = Site {
        proxy: Proxy::start(&put(&configuration, more)),
        apps,
        doors,
        certificates,
    };
    site.wait_ready();
    site
}

impl Site {
    /// Waits until the first check of every backend has gone well.
    fn wait_ready(&self) {
        let socket_io = websocket::request(MAPS, "/socket.io/?EIO=4&transport=websocket", "");
        for request in [get(MAPS, "/", ""), get(COLTRANE, "/", ""), socket_io] {
            eventually("a server is up", || {
                let mut client = Peer::connect(self.doors.http);
                client.send(&request);
                http::status(&client.read_head()) != 503
            });
        }
    }

    /// Asks over TLS.
    fn ask(&self, host: &str, target: &str) -> Answer {
        ask(self.doors.https, &self.certificates, host, target)
    }
}

fn ask(https: SocketAddr, certificates: &Certificates, host: &str, target: &str) -> Answer {
    let mut client = Secure::begin(https, &certificates.client(), MAPS, b"");
    client.shake().unwrap();
    client.send(get(host, target, "Connection: close\r\n"));
    let said = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    Answer {
        status: http::status(head),
        head: head.to_owned(),
        body: body.as_bytes().to_vec(),
    }
}

fn facts(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.head);
    serde_json::from_slice(&answer.body).unwrap()
}

/// Demands that strangers are sent from port 80 to https, with their path.
fn check_redirects(http: SocketAddr) {
    for host in [MAPS, COLTRANE, "dev-maps01.example.com"] {
        let mut client = Peer::connect(http);
        client.send(format!("PROXY TCP4 {STRANGER} 10.0.0.1 51000 80\r\n"));
        let answer = http::exchange_on(&mut client, get(host, "/a/b?c=d&e", ""));
        assert_eq!(answer.status, 301, "{}", answer.head);
        assert_eq!(
            answer.values("location"),
            [format!("https://{host}/a/b?c=d&e")]
        );
    }
}

/// Lets a socket.io client talk through heartbeats; returns what it saw.
fn talk(https: SocketAddr, certificates: &Certificates, transports: &str) -> Option<Value> {
    let mut node = Part::Node.command()?;
    node.arg(file("scenarios/s3_stunnel_haproxy_node/client.js"))
        .arg(format!("https://{MAPS}:{}", https.port()))
        .arg(certificates.path("root.pem"))
        .arg(transports);
    Some(serde_json::from_str(&finish(&mut node)).unwrap())
}

/// Demands that socket.io begins on websocket, or comes to it, and stays there.
fn check_socket_io(https: SocketAddr, certificates: &Certificates) {
    for (transports, expected) in [
        ("websocket", &["websocket"][..]),
        ("default", &["polling", "websocket"]),
    ] {
        let Some(seen) = talk(https, certificates, transports) else {
            return;
        };
        assert_eq!(seen["seen"], Value::from(expected), "{seen}");
        assert_eq!(seen["forwardedFor"], "127.0.0.1", "{seen}");
    }
}

#[test]
fn one_file_is_all_of_tls_and_a_label_of_the_name_leads_to_the_application() {
    let Some(apps) = Applications::start(1, 1) else {
        return;
    };
    let site = site(apps, &[]);
    for (host, app) in [
        ("dev-maps01", Some("maps")),
        ("dev-maps01.example.com", Some("maps")),
        ("www.dev-maps01", Some("maps")),
        ("DEV-COLTRANE01:443", Some("coltrane")),
        ("dev-coltrane01.example.com", Some("coltrane")),
        // No label of these is the name.
        ("dev-maps012", None),
        ("xdev-maps01", None),
        ("maps", None),
    ] {
        let answer = site.ask(host, "/x?y");
        match app {
            None => assert_eq!(answer.status, 404, "{host}: {}", answer.head),
            Some(app) => {
                let facts = facts(&answer);
                assert_eq!(facts["app"], app, "{host}: {facts}");
                assert_eq!(facts["host"], host);
                assert_eq!(facts["url"], "/x?y");
                assert_eq!(facts["forwardedFor"], "127.0.0.1");
            }
        }
    }
}

#[test]
fn port_80_sends_strangers_to_https_and_serves_this_machine() {
    let Some(apps) = Applications::start(1, 1) else {
        return;
    };
    let site = site(apps, &[]);
    check_redirects(site.doors.http);
    for (host, app) in [(MAPS, "maps"), (COLTRANE, "coltrane")] {
        let answer = http::exchange(site.doors.http, get(host, "/", ""));
        assert_eq!(facts(&answer)["app"], app);
    }
    let answer = http::exchange(site.doors.http, get("other", "/", ""));
    assert_eq!(answer.status, 404);
}

#[test]
fn http_backends_get_one_request_per_connection() {
    let Some(apps) = Applications::start(1, 1) else {
        return;
    };
    let site = site(apps, &[]);
    let mut client = Peer::connect(site.doors.http);
    for _ in 0..3 {
        // The client's own connection goes on.
        let answer = http::exchange_on(&mut client, get(COLTRANE, "/", ""));
        let facts = facts(&answer);
        assert_eq!(facts["requests"], 1, "{facts}");
        assert_eq!(facts["connection"], "close", "{facts}");
        assert!(!answer.values("connection").contains(&"close"));
    }
}

#[test]
fn socket_io_stays_on_websocket_and_its_heartbeats_flow() {
    // Polling goes to another backend than WebSockets do; a client must come to the same server
    // through both.
    let Some(apps) = Applications::start(3, 1) else {
        return;
    };
    let site = site(apps, &[]);
    check_socket_io(site.doors.https, &site.certificates);
}

#[test]
fn no_more_connections_than_allowed_in_all() {
    let Some(apps) = Applications::start(1, 1) else {
        return;
    };
    let site = site(
        apps,
        &[("max_connections = 4096", "max_connections = 3".to_owned())],
    );
    let mut clients: Vec<Peer> = (0..3).map(|_| Peer::connect(site.doors.http)).collect();
    for client in &mut clients {
        facts(&http::exchange_on(client, get(COLTRANE, "/", "")));
    }
    let mut waiting = Peer::connect(site.doors.http);
    waiting.send(get(COLTRANE, "/", ""));
    waiting.expect_silence(Duration::from_millis(300));
    drop(clients.pop());
    facts(&http::read_answer(&mut waiting));
}

/// Two requests at a server that takes two at a time, which it answers when it is told to.
fn busy(site: &Site) -> [Peer; 2] {
    let clients = [(); 2].map(|()| {
        let mut client = Peer::connect(site.doors.http);
        client.send(get(COLTRANE, "/hold", ""));
        client
    });
    let app = SocketAddr::from(([127, 0, 0, 1], site.apps.coltrane[0].0));
    eventually("both are at the server", || {
        facts(&http::exchange(app, get(COLTRANE, "/", "")))["held"] == 2
    });
    clients
}

#[test]
fn what_a_server_does_not_take_waits_for_its_turn() {
    let Some(apps) = Applications::start(1, 1) else {
        return;
    };
    let two = ("max_connections = 1024", "max_connections = 2".to_owned());
    let site = site(apps, &[two]);
    let clients = busy(&site);
    let mut waiting: Vec<Peer> = (0..3).map(|_| Peer::connect(site.doors.http)).collect();
    for client in &mut waiting {
        client.send(get(COLTRANE, "/", ""));
    }
    waiting[0].expect_silence(Duration::from_millis(300));
    // The other application has places of its own.
    facts(&site.ask(MAPS, "/"));
    site.apps.command(0, "/release");
    for mut client in clients.into_iter().chain(waiting) {
        facts(&http::read_answer(&mut client));
    }
}

#[test]
fn nobody_waits_for_longer_than_allowed() {
    let Some(apps) = Applications::start(1, 1) else {
        return;
    };
    let site = site(
        apps,
        &[
            ("max_connections = 1024", "max_connections = 2".to_owned()),
            ("queue = \"100s\"", "queue = \"300ms\"".to_owned()),
        ],
    );
    let clients = busy(&site);
    let mut waiting = Peer::connect(site.doors.http);
    let since = Instant::now();
    waiting.send(get(COLTRANE, "/", ""));
    assert_eq!(http::read_answer(&mut waiting).status, 503);
    assert!(since.elapsed() >= Duration::from_millis(300));
    site.apps.command(0, "/release");
    for mut client in clients {
        facts(&http::read_answer(&mut client));
    }
}

#[test]
fn a_failing_server_leaves_the_rotation_and_returns() {
    let Some(apps) = Applications::start(1, 2) else {
        return;
    };
    let site = site(apps, &[]);
    // The number of the server that answered, or the status.
    let asked = || {
        let answer = site.ask(COLTRANE, "/");
        match answer.status {
            200 => facts(&answer)["name"].as_str().unwrap().to_owned(),
            status => status.to_string(),
        }
    };
    let becomes = |expected: &str| eventually(expected, || asked() == expected);
    // Which of them serves this address is settled by the address.
    let home = asked();
    let (here, there) = if home == "0" { (0, 1) } else { (1, 0) };
    site.apps.command(here, "/sick");
    becomes(&there.to_string());
    // Nothing of it is left: no answer of the sick one comes any more.
    for _ in 0..20 {
        assert_eq!(asked(), there.to_string());
    }
    site.apps.command(there, "/sick");
    becomes("503");
    site.apps.command(there, "/well");
    becomes(&there.to_string());
    site.apps.command(here, "/well");
    becomes(&here.to_string());
}

#[test]
fn two_workers_and_a_pid_file() {
    let Some(apps) = Applications::start(1, 1) else {
        return;
    };
    let mut site = site(apps, &[]);
    let pid = site.proxy.pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let names: Vec<String> = tasks
        .map(|task| fs::read_to_string(task.path().join("comm")).unwrap_or_default())
        .collect();
    for worker in ["reception-", "relay-"] {
        let count = names.iter().filter(|name| name.starts_with(worker)).count();
        assert_eq!(count, 2, "{worker} in {names:?}");
    }
    let pid_file = site.certificates.path("pid");
    eventually("the pid file is written", || {
        fs::read_to_string(&pid_file).is_ok_and(|text| text.trim() == pid.to_string())
    });
    site.proxy.signal(Signal::SIGTERM);
    assert_eq!(site.proxy.wait_exit(), Some(0));
    assert!(!pid_file.exists());
}
