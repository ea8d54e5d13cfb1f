//! The numbers at the end of an httplog line, connections and places in queues, beside HAProxy's.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::http::{self, get, sample};
use crate::harness::httplog::{fields_of, without_syslog};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::wait_listening_on;
use crate::harness::{PATIENCE, eventually, free_addr, websocket};

/// Requests that are there at one time; the server takes one of them.
const CLIENTS: usize = 4;

/// A server that answers when it may.
#[derive(Clone)]
struct Held(Arc<(Mutex<(usize, bool)>, Condvar)>, SocketAddr);

impl Held {
    fn start() -> Self {
        let state: Arc<(Mutex<(usize, bool)>, Condvar)> = Arc::default();
        let held = Arc::clone(&state);
        let addr = Origin::serve(move |mut peer| {
            peer.read_head();
            let (state, changed) = &*held;
            let mut guard = state.lock().unwrap();
            guard.0 += 1;
            while !guard.1 {
                guard = changed.wait(guard).unwrap();
            }
            drop(guard);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        });
        Self(state, addr)
    }

    fn came(&self) -> usize {
        self.0.0.lock().unwrap().0
    }

    fn let_go(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }
}

/// Lets clients ask one after the other, each once the one before waits; returns them when all have
/// their answers.
fn ask(addr: SocketAddr, server: &Held, waiting: impl Fn() -> usize) -> Vec<Peer> {
    let mut clients = Vec::new();
    for at in 0..CLIENTS {
        let mut client = Peer::connect(addr);
        client.send(get("x", &format!("/q{at}"), ""));
        clients.push(client);
        eventually("it is served or waits", || {
            server.came() == 1 && waiting() == at
        });
    }
    server.let_go();
    for client in &mut clients {
        assert_eq!(http::read_answer(client).status, 200);
    }
    clients
}

/// Returns the lines of the requests, by target.
fn by_target(lines: &[String]) -> Option<HashMap<String, Value>> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let fields = fields_of(&lines)?;
    let target = |line: &Value| {
        line["request"]
            .as_str()?
            .split(' ')
            .nth(1)
            .map(str::to_owned)
    };
    let named = fields
        .into_iter()
        .map(|line| (target(&line).unwrap(), line));
    Some(named.collect())
}

/// What HAProxy writes; none = it is not installed, or no Python.
fn theirs(balance: &str) -> Option<HashMap<String, Value>> {
    let mut haproxy = Part::Haproxy.command()?;
    let (front, server) = (free_addr(), Held::start());
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let dir = TempDir::new().unwrap();
    let (configuration, admin) = (dir.path().join("haproxy.cfg"), dir.path().join("admin"));
    let text = format!(
        "global\n  log {} local1\n  stats socket {}\n\
         defaults\n  mode http\n  log global\n  option httplog\n\
         timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n  timeout queue 30s\n\
         frontend edge\n  bind {front}\n  default_backend app\n\
         backend app\n  balance {balance}\n  server one {} maxconn 1\n",
        receiver.local_addr().unwrap(),
        admin.display(),
        server.1
    );
    fs::write(&configuration, text).unwrap();
    let running = Running::start(haproxy.args(["-db", "-q", "-f"]).arg(&configuration));
    wait_listening_on(running.pid(), &front.to_string());
    let _clients = ask(front, &server, || waiting_at_haproxy(&admin));
    let mut lines = Vec::new();
    let mut buffer = [0; 8192];
    while lines.len() < CLIENTS {
        let len = receiver.recv(&mut buffer).unwrap();
        let message = String::from_utf8(buffer[..len].to_vec()).unwrap();
        if message.contains("\"GET /q") {
            lines.push(without_syslog(message.trim_end()).to_owned());
        }
    }
    by_target(&lines)
}

/// Sums what waits for the server and for the backend (HAProxy's management guide, section 9.1).
fn waiting_at_haproxy(admin: &Path) -> usize {
    let mut socket = UnixStream::connect(admin).unwrap();
    socket.write_all(b"show stat\n").unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).unwrap();
    let row = |name: &str| {
        let row = said.lines().find(|line| line.starts_with(name)).unwrap();
        row.split(',').nth(2).unwrap().parse::<usize>().unwrap()
    };
    row("app,one,") + row("app,BACKEND,")
}

/// What longsplice writes; none = no Python.
fn ours(balance: &str) -> Option<HashMap<String, Value>> {
    let (server, admin, dir) = (Held::start(), free_addr(), TempDir::new().unwrap());
    let log = dir.path().join("log");
    let target = format!(
        "[log]\naccess = \"httplog\"\ntarget = \"file:{}\"\n",
        log.display()
    );
    let proxy = Plan::http(server.1)
        .process_keys(&format!("admin_http = \"{admin}\""))
        .backend_keys(&format!("balance = \"{balance}\""))
        .server_keys("max_connections = 1")
        .more(&target)
        .start();
    let waiting = || sample(admin, "queue_length{backend=\"app\"}").unwrap();
    let _clients = ask(proxy.addr(), &server, waiting);
    let lines = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains("\"GET /q"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("all lines are there", || lines().len() == CLIENTS);
    by_target(&lines())
}

#[test]
fn connections_and_places_in_queues_are_those_of_haproxy() {
    for (theirs_is, ours_is) in [("roundrobin", "round_robin"), ("source", "source")] {
        let (Some(theirs), Some(ours)) = (theirs(theirs_is), ours(ours_is)) else {
            return;
        };
        for at in 0..CLIENTS {
            let target = format!("/q{at}");
            let (ours, theirs) = (&ours[&target], &theirs[&target]);
            let same = [
                "actconn",
                "feconn",
                "retries",
                "srv_queue",
                "backend_queue",
                "state",
            ];
            for field in same {
                assert_eq!(ours[field], theirs[field], "{field}: {ours} {theirs}");
            }
        }
        // Both count from one those who stood in a line, whichever it is.
        let queued = |line: &Value| {
            let read = |field: &str| line[field].as_str().unwrap().parse::<usize>().unwrap();
            read("srv_queue") + read("backend_queue")
        };
        let places: Vec<usize> = (0..CLIENTS)
            .map(|at| queued(&ours[&format!("/q{at}")]))
            .collect();
        assert_eq!(places, [0, 1, 2, 3], "{ours_is}");
    }
}

#[test]
fn clients_are_counted_by_listener_as_tunnels_and_across_a_reload_too() {
    let other = free_addr();
    let routes = "[[listener.route]]\nwebsocket = true\nbackend = \"app\"\n\
                  [[listener.route]]\nrespond = { status = 200, body = \"edge\" }\n";
    let edge = Plan::http(websocket::echo_server()).routes(routes);
    let plan = |body: &str| {
        let more = format!(
            "[[listener]]\nname = \"other\"\nbind = [\"{other}\"]\n\
             [[listener.route]]\nrespond = {{ status = 200, body = \"{body}\" }}\n\
             [log]\naccess = \"httplog\"\n"
        );
        edge.clone().more(&more)
    };
    let proxy = plan("one").start();
    let counts = |addr: SocketAddr, target: &str| {
        let mut client = Peer::connect(addr);
        client.send(get("x", target, ""));
        http::read_answer(&mut client);
        let end = format!("\"GET {target} HTTP/1.1\"");
        let line = proxy.wait_said(&[&end]);
        let (_, rest) = line
            .split_once(" ---- ")
            .or(line.split_once(" LR-- "))
            .unwrap();
        let mut numbers = rest.split('/').map(|number| number.parse::<u32>().unwrap());
        (client, numbers.next().unwrap(), numbers.next().unwrap())
    };
    let tunnel = websocket::open(proxy.addr());
    let (_idle, process, listener) = counts(other, "/one");
    assert_eq!((process, listener), (2, 1));
    let line = proxy.reload(&plan("two").toml());
    assert!(line.contains("reloaded"), "{line}");
    let (second, process, listener) = counts(other, "/two");
    assert_eq!((process, listener), (3, 2));
    let (_, process, listener) = counts(proxy.addr(), "/three");
    assert_eq!((process, listener), (4, 2));
    drop((tunnel, second));
    let mut asked = 0;
    eventually("they are gone", || {
        asked += 1;
        let (_, process, listener) = counts(other, &format!("/gone{asked}"));
        (process, listener) == (2, 2)
    });
}
