//! `server.admin_http`: metrics that say what happened, health, readiness, limits.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::origin::Origin;
use crate::harness::parts::{Part, file};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::tls::{Identity, Secure};
use crate::harness::{eventually, free_addr, http, websocket};

fn get(admin: SocketAddr, path: &str) -> http::Answer {
    http::exchange(admin, http::get("localhost", path, "Connection: close\r\n"))
}

/// What Prometheus' own parser makes of the metrics.
struct Metrics(Vec<Value>);

impl Metrics {
    fn read(mut python: Command, admin: SocketAddr) -> Self {
        let answer = get(admin, "/metrics");
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.values("content-type"),
            ["text/plain; version=0.0.4; charset=utf-8"]
        );
        let mut child = python
            .arg(file("real/metrics.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&answer.body).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", answer.text());
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Sums the samples of this name whose labels include these.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Value| {
            sample["name"] == format!("longsplice_{name}")
                && labels
                    .iter()
                    .all(|(key, value)| sample["labels"][key] == *value)
        };
        let fitting: Vec<&Value> = self.0.iter().filter(fits).collect();
        assert!(
            !fitting.is_empty(),
            "no {name} with {labels:?}: {:#?}",
            self.0
        );
        fitting
            .iter()
            .map(|sample| sample["value"].as_f64().unwrap())
            .sum()
    }
}

fn python() -> Option<Command> {
    Part::Websockets.command()
}

fn admin() -> (SocketAddr, String) {
    let addr = free_addr();
    (addr, format!("admin_http = \"{addr}\""))
}

#[test]
fn metrics_say_what_happened() {
    if python().is_none() {
        return;
    }
    let (admin, keys) = admin();
    let echo = websocket::echo_server();
    let proxy = Plan::http(echo).process_keys(&keys).start();
    let server = echo.to_string();
    let names = [
        ("listener", "edge"),
        ("backend", "app"),
        ("server", server.as_str()),
    ];
    let mut open = websocket::open(proxy.addr());
    let mut gone = websocket::open(proxy.addr());
    for client in [&mut open, &mut gone] {
        client.send([7; 1000]);
        client.read(1000);
    }
    drop(gone);
    proxy.wait_access("close", |_| true);
    let mut bad = proxy.connect();
    bad.send("GET / HTTP/1.1\r\n\r\n");
    bad.read_head();
    proxy.wait_access("refused", |_| true);
    let read = || Metrics::read(python().unwrap(), admin);
    let metrics = read();
    let sum = |name, labels: &[(&str, &str)]| metrics.sum(name, &[&names[..], labels].concat());
    assert_eq!(sum("tunnels", &[]), 1.0);
    assert_eq!(sum("tunnels_opened_total", &[]), 2.0);
    assert_eq!(sum("tunnels_ended_total", &[]), 1.0);
    // The open one counts as well.
    assert_eq!(sum("tunnel_bytes_total", &[("direction", "in")]), 2000.0);
    assert_eq!(sum("tunnel_bytes_total", &[("direction", "out")]), 2000.0);
    assert_eq!(sum("stage_seconds_count", &[("stage", "connect")]), 2.0);
    assert_eq!(sum("stage_seconds_count", &[("stage", "response")]), 2.0);
    let inf = [("stage", "head"), ("le", "+Inf")];
    assert_eq!(metrics.sum("stage_seconds_bucket", &inf), 2.0);
    let copied = [("direction", "in"), ("path", "copy")];
    assert_eq!(metrics.sum("relay_bytes_total", &copied), 2000.0);
    let refused = [("listener", "edge"), ("cause", "bad-request")];
    assert_eq!(metrics.sum("refused_total", &refused), 1.0);
    assert_eq!(metrics.sum("connections_accepted_total", &names[..1]), 3.0);
    let of_server = &names[1..];
    assert_eq!(metrics.sum("server_active", of_server), 1.0);
    assert_eq!(metrics.sum("server_connects_total", of_server), 2.0);
    let up = [of_server, &[("standing", "up")]].concat();
    assert_eq!(metrics.sum("server_standing", &up), 1.0);
    assert_eq!(metrics.sum("queue_length", &names[1..2]), 0.0);
    assert_eq!(
        metrics.sum("build", &[("version", env!("CARGO_PKG_VERSION"))]),
        1.0
    );
    drop(bad);
    eventually("only the tunnel is left", || {
        read().sum("connections", &[]) == 1.0
    });
    // What an open tunnel moves shows while it is open.
    open.send([7; 500]);
    open.read(500);
    eventually("its bytes are counted", || {
        read().sum("tunnel_bytes_total", &[("direction", "in")]) == 2500.0
    });
    drop(open);
    eventually("it has ended, and its bytes are counted once", || {
        let metrics = read();
        assert_eq!(
            metrics.sum("tunnel_bytes_total", &[("direction", "in")]),
            2500.0
        );
        metrics.sum("tunnels", &[]) == 0.0
    });
}

#[test]
fn handshakes_and_bulk_are_told_apart() {
    const BULK: usize = 4 << 20;
    if python().is_none() {
        return;
    }
    let (admin, keys) = admin();
    let identity = Identity::new(&["localhost"]);
    let secure = Plan::tcp(Origin::echo())
        .process_keys(&keys)
        .listener_keys(&identity.listener_keys())
        .start();
    let config = identity.client(&rustls::version::TLS13, None);
    for _ in 0..2 {
        let mut client = Secure::connect(secure.addr(), &config);
        client.send("hello");
        client.expect("hello");
    }
    let metrics = Metrics::read(python().unwrap(), admin);
    let version = ("version", "TLSv1.3");
    assert_eq!(
        metrics.sum("handshakes_total", &[version, ("resumed", "false")]),
        1.0
    );
    assert_eq!(
        metrics.sum("handshakes_total", &[version, ("resumed", "true")]),
        1.0
    );
    let stage = [("stage", "tls_handshake")];
    assert_eq!(metrics.sum("stage_seconds_count", &stage), 2.0);
    let records = [("path", "user-records"), ("direction", "in")];
    assert_eq!(metrics.sum("relay_bytes_total", &records), 10.0);
    drop(secure);
    let (admin, keys) = self::admin();
    let proxy = Plan::tcp(Origin::echo()).process_keys(&keys).start();
    let mut client = proxy.connect();
    let mut writer = client.twin();
    let sending = std::thread::spawn(move || writer.send(vec![1; BULK]));
    client.read(BULK);
    sending.join().unwrap();
    let metrics = Metrics::read(python().unwrap(), admin);
    let of = |path| metrics.sum("relay_bytes_total", &[("direction", "in"), ("path", path)]);
    assert_eq!(of("copy") + of("splice"), 4_194_304.0);
    assert!(of("splice") > 0.0);
}

#[test]
fn readiness_ends_with_a_drain_and_health_does_not() {
    let (admin, keys) = admin();
    let mut proxy = Plan::tcp(Origin::echo()).process_keys(&keys).start();
    let mut tunnel = proxy.connect();
    tunnel.send("x");
    tunnel.expect("x");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(admin, path).status, 200, "{path}");
    }
    proxy.signal(Signal::SIGTERM);
    eventually("not ready while draining", || {
        get(admin, "/readyz").status == 503
    });
    assert_eq!(get(admin, "/healthz").status, 200);
    assert!(
        get(admin, "/metrics")
            .text()
            .contains("\nlongsplice_draining 1")
    );
    assert!(proxy.is_running());
    drop(tunnel);
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_taken_address_is_an_error_at_the_start() {
    let (admin, keys) = admin();
    let _other = std::net::TcpListener::bind(admin).unwrap();
    let mut proxy = Proxy::spawn(&Plan::tcp(free_addr()).process_keys(&keys).toml());
    assert_eq!(proxy.wait_exit(), Some(1));
    let said = format!("longsplice: server.admin_http: {admin}: ");
    assert!(proxy.log().contains(&said), "{}", proxy.log());
}

#[test]
fn what_is_asked_is_bounded() {
    let (admin, keys) = admin();
    let _proxy = Plan::tcp(Origin::echo()).process_keys(&keys).start();
    eventually("it listens", || Peer::try_connect(admin).is_ok());
    assert_eq!(get(admin, "/nothing").status, 404);
    let post = http::exchange(admin, "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(
        (post.status, post.values("allow")),
        (405, vec!["GET, HEAD"])
    );
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let mut peer = Peer::connect(admin);
    // It may be closed before all is sent.
    let _ = peer.try_send(long);
    let head = peer.try_read_head();
    assert!(head.is_none_or(|head| http::status(&head) == 431));
    // Those who say nothing do not keep others out for ever, and cost no more than their places.
    let silent: Vec<Peer> = (0..100).map(|_| Peer::connect(admin)).collect();
    drop(silent);
    assert_eq!(get(admin, "/healthz").status, 200);
}

#[test]
fn the_reference_names_what_is_served_and_nothing_else() {
    let (admin, keys) = admin();
    let _proxy = Plan::tcp(Origin::echo()).process_keys(&keys).start();
    eventually("it listens", || Peer::try_connect(admin).is_ok());
    let text = get(admin, "/metrics").text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let served: BTreeSet<&str> = types.map(|line| line.split(' ').next().unwrap()).collect();
    let page = file("../src/manual/reference/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap().trim());
    let listed: Vec<&str> = cells.map(|cell| cell.trim_matches('`')).collect();
    let named: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(named.len(), listed.len(), "one of them twice: {listed:?}");
    assert_eq!(named, served);
}
