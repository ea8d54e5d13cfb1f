//! Files of `[backend.tls]` that are replaced while the proxy runs: in effect for the next handshake within five
//! seconds, without a signal, and nothing to connections that are open.

use std::fs;
use std::path::PathBuf;
use std::thread;

use rustls::version::TLS13;
use tempfile::TempDir;

use super::checks::{quick, wait_down, wait_up};
use crate::harness::eventually;
use crate::harness::http::{exchange, get, ok, read_answer};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::tls::{Identity, VERSIONS};
use crate::harness::tls_server::{Served, TlsOrigin, demanding, server_config};

/// The files of a `[backend.tls]`.
struct Store {
    dir: TempDir,
}

impl Store {
    fn new(ca: &Identity, own: &Identity) -> Self {
        let store = Self {
            dir: TempDir::new().unwrap(),
        };
        store.trust(ca);
        store.show(own);
        store
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn keys(&self) -> String {
        format!(
            "tls = {{ ca = \"{}\", server_name = \"localhost\", cert = \"{}\", key = \"{}\" }}",
            self.path("ca.pem").display(),
            self.path("cert.pem").display(),
            self.path("key.pem").display()
        )
    }

    fn trust(&self, ca: &Identity) {
        fs::write(self.path("ca.pem"), ca.pem().0).unwrap();
    }

    fn show(&self, own: &Identity) {
        let (cert, key) = own.pem();
        fs::write(self.path("cert.pem"), cert).unwrap();
        fs::write(self.path("key.pem"), key).unwrap();
    }
}

/// Lines of the log that say something of files.
fn lines_of(proxy: &Proxy, level: &str) -> Vec<String> {
    let lines = proxy.log_lines().into_iter();
    lines
        .filter(|line| line.contains(level) && line.contains("replaced"))
        .collect()
}

#[test]
fn the_next_server_connection_shows_the_new_certificate_and_open_ones_stay() {
    let server = Identity::new(&["localhost"]);
    let [old, new] = [1, 2].map(|_| Identity::new(&["us"]));
    let store = Store::new(&server, &old);
    // A server that demands a certificate and takes either.
    let config = |client: &Identity| demanding(&server, &TLS13, client);
    let origin = TlsOrigin::bind(config(&old));
    let proxy = Plan::tcp(origin.addr()).backend_keys(&store.keys()).start();
    let mut client = proxy.connect();
    let mut tunnel = origin.accept();
    client.send("before");
    tunnel.expect("before");
    store.show(&new);
    eventually("it is told", || lines_of(&proxy, "INFO").len() == 1);
    let line = &lines_of(&proxy, "INFO")[0];
    for part in ["backend=app", "cert.pem", "4096-01-01"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let origin = origin.under(config(&new));
    let mut other = proxy.connect();
    let mut next = origin.accept();
    other.send("new");
    next.expect("new");
    let shown = next.tls.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, new.certificate());
    client.send("behind");
    tunnel.expect("behind");
    assert_eq!(lines_of(&proxy, "WARN"), [""; 0]);
}

#[test]
fn a_replaced_ca_counts_for_checks_and_requests() {
    let [old, new] = [1, 2].map(|_| Identity::new(&["localhost"]));
    let store = Store::new(&old, &old);
    let origin = TlsOrigin::bind(server_config(&new, &VERSIONS, None));
    let addr = origin.addr();
    thread::spawn(move || {
        loop {
            // Checks without trust end the handshake.
            let Ok(mut served) = origin.shake(origin.accept_tcp().unwrap()) else {
                continue;
            };
            thread::spawn(move || {
                served.read_head();
                served.send(ok("trusted"));
                let _ = served.read_to_end();
            });
        }
    });
    let proxy = Plan::http(addr)
        .backend_keys(&store.keys())
        .health(&quick("http"))
        .start();
    let line = wait_down(&proxy, addr);
    assert!(line.contains("ca"), "{line}");
    store.trust(&new);
    wait_up(&proxy, addr);
    let answer = exchange(proxy.addr(), get("x", "/", ""));
    assert!(answer.text().ends_with("trusted"), "{answer:?}");
    let line = lines_of(&proxy, "INFO").pop().unwrap();
    assert!(
        line.contains("ca replaced") && line.contains("count=1"),
        "{line}"
    );
}

#[test]
fn a_broken_one_is_told_once_and_the_old_one_stays() {
    let server = Identity::new(&["localhost"]);
    let [own, next] = [1, 2].map(|_| Identity::new(&["us"]));
    let store = Store::new(&server, &own);
    let origin = TlsOrigin::bind(demanding(&server, &TLS13, &own));
    let proxy = Plan::tcp(origin.addr()).backend_keys(&store.keys()).start();
    let mut told = 0;
    let mut wait_told = |file: &str| {
        told += 1;
        eventually(file, || lines_of(&proxy, "WARN").len() == told);
        let line = lines_of(&proxy, "WARN").pop().unwrap();
        for part in ["backend=app", file] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let mut client = proxy.connect();
        let mut served = origin.accept();
        client.send("still");
        served.expect("still");
    };
    fs::write(store.path("cert.pem"), next.pem().0).unwrap();
    wait_told("cert.pem");
    fs::write(store.path("ca.pem"), "nothing").unwrap();
    wait_told("ca.pem");
    fs::remove_file(store.path("key.pem")).unwrap();
    wait_told("key.pem: cannot be read");
    store.show(&own);
    store.trust(&server);
    // A time in which nothing is to be told again.
    thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(lines_of(&proxy, "WARN").len(), 3);
}

#[test]
fn a_kept_connection_that_was_made_with_the_old_files_serves_no_more() {
    let server = Identity::new(&["localhost"]);
    let [old, new] = [1, 2].map(|_| Identity::new(&["us"]));
    let store = Store::new(&server, &old);
    let origin = TlsOrigin::bind(demanding(&server, &TLS13, &old));
    let proxy = Plan::http(origin.addr())
        .backend_keys(&store.keys())
        .start();
    let answers = |served: &mut Served| {
        served.read_head();
        served.send(ok("fine"));
    };
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    let mut first = origin.accept();
    answers(&mut first);
    read_answer(&mut client);
    // It is used as long as the files stay.
    client.send(get("x", "/", ""));
    answers(&mut first);
    read_answer(&mut client);
    store.show(&new);
    eventually("it is told", || lines_of(&proxy, "INFO").len() == 1);
    let origin = origin.under(demanding(&server, &TLS13, &new));
    client.send(get("x", "/", ""));
    let mut second = origin.accept();
    answers(&mut second);
    read_answer(&mut client);
    assert_eq!(first.read_to_end().unwrap(), b"", "no close_notify");
    let shown = second.tls.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, new.certificate());
}

#[test]
fn files_are_watched_after_a_reload_too() {
    let server = Identity::new(&["localhost"]);
    let [old, new] = [1, 2].map(|_| Identity::new(&["us"]));
    let store = Store::new(&server, &old);
    let origin = TlsOrigin::bind(demanding(&server, &TLS13, &new));
    let plan = Plan::tcp(origin.addr()).backend_keys(&store.keys());
    let proxy = plan.start();
    // One that touches the backend, and one that does not.
    let toml = plan
        .backend_timeouts("connect = \"7s\"")
        .listener_timeouts("proxy_header = \"7s\"")
        .toml();
    proxy.reload(&toml.replace("connect = \"7s\"", ""));
    proxy.reload(&toml);
    store.show(&new);
    eventually("it is told", || lines_of(&proxy, "INFO").len() == 1);
    let mut client = proxy.connect();
    let mut served = origin.accept();
    client.send("new");
    served.expect("new");
}
