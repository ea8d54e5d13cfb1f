//! Another configuration, in place: what changes, what stays, and what is refused as a whole.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::app::App;
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::{Plan, backend, responding};
use crate::harness::process::Proxy;
use crate::harness::tls::{Identity, Secure, client_believing, shown_certificate};
use crate::harness::{eventually, free_addr, http, websocket};

/// Lets a process go to files that it did not need at its start.
const ANYWHERE: &str = "sandbox = false";

/// Writes a listener that answers `body`.
fn listener(name: &str, addr: SocketAddr, body: &str) -> String {
    format!(
        "[[listener]]\nname = \"{name}\"\nbind = [\"{addr}\"]\n{}",
        responding("", body)
    )
}

fn body_at(addr: SocketAddr) -> String {
    http::exchange(addr, http::get("x", "/", "")).text()
}

#[test]
fn listeners_come_change_and_go() {
    let (one, two) = (free_addr(), free_addr());
    let proxy = Proxy::start(&listener("one", one, "1"));
    assert_eq!(body_at(one), "1");

    let both = listener("one", one, "1 changed") + &listener("two", two, "2");
    let line = proxy.reload(&both);
    assert!(line.contains("listeners added: two"), "{line}");
    assert!(line.contains("listeners changed: one"), "{line}");
    proxy.wait_listening_on(two);
    assert_eq!(
        (body_at(one), body_at(two)),
        ("1 changed".into(), "2".into())
    );

    let line = proxy.reload(&listener("two", two, "2"));
    assert!(line.contains("listeners removed: one"), "{line}");
    assert!(!line.contains("changed"), "{line}");
    eventually("the first one is gone", || !proxy.listens_on(one));
    assert_eq!(body_at(two), "2");

    let line = proxy.reload_again();
    assert!(line.contains("nothing changed"), "{line}");
}

#[test]
fn an_old_connection_meets_the_new_routes_with_its_next_request() {
    let addr = free_addr();
    let proxy = Proxy::start(&listener("one", addr, "old"));
    let mut client = Peer::connect(addr);
    assert_eq!(
        http::exchange_on(&mut client, http::get("x", "/", "")).text(),
        "old"
    );
    proxy.reload(&listener("one", addr, "new"));
    assert_eq!(
        http::exchange_on(&mut client, http::get("x", "/", "")).text(),
        "new"
    );

    // Its listener goes: it is idle and closed.
    proxy.reload(&listener("two", free_addr(), "2"));
    client.expect_closed();
}

#[test]
fn a_tunnel_outlives_its_listener_its_backend_and_every_setting() {
    let origin = websocket::echo_server();
    let plan = Plan::http(origin);
    let mut proxy = plan.start();
    let mut client = websocket::open(proxy.addr());
    let other = listener("other", free_addr(), "other");
    let line = proxy.reload(&other);
    assert!(line.contains("listeners removed: edge"), "{line}");
    assert!(line.contains("backends removed: app"), "{line}");
    eventually("nobody listens", || !proxy.listens_on(proxy.addr()));
    for _ in 0..3 {
        client.send("still here");
        client.expect("still here");
    }
    drop(client);
    let close = proxy.wait_cause("close", "client-closed");
    assert_eq!(
        (&close["backend"], &close["listener"]),
        (&"app".into(), &"edge".into())
    );

    // And back again.
    proxy.reload(&plan.toml());
    proxy.wait_listening_on(proxy.addr());
    drop(websocket::open(proxy.addr()));
    proxy.expect_sound();
}

#[test]
fn a_backend_goes_to_another_server_and_keeps_counting() {
    let (one, two) = (Origin::bind(), Origin::bind());
    let plan = Plan::tcp(one.addr()).server_keys("max_connections = 1");
    let proxy = plan.start();
    let mut first = proxy.connect();
    let mut served = one.accept();
    first.send("x");
    served.expect("x");
    // The same server with room for one more: the tunnel that is there still counts.
    let line = proxy.reload(&plan.clone().server_keys("max_connections = 2").toml());
    assert!(line.contains("backends changed: app"), "{line}");
    let _second = proxy.connect();
    let _served = one.accept();
    let _third = proxy.connect();
    one.expect_untouched();
    // Who waits goes where there is room now.
    proxy.reload(&plan.server(two.addr().to_string()).toml());
    let _served = two.accept();
    first.send("y");
    served.expect("y");
}

/// One site behind a backend whose name is given to another site's server in `moved`.
fn swapped_names(
    mode: &str,
    [at, admin]: [SocketAddr; 2],
    [ours, theirs]: [SocketAddr; 2],
) -> [String; 2] {
    let toml = |condition: &str, named: &[(&str, SocketAddr)]| {
        let (first, _) = named[0];
        let backends: String = (named.iter().rev())
            .map(|(name, addr)| backend(name, *addr) + "max_connections = 1\n")
            .collect();
        format!(
            "[server]\nadmin_http = \"{admin}\"\n\
             [[listener]]\nname = \"edge\"\nbind = [\"{at}\"]\nmode = \"{mode}\"\n\
             [[listener.route]]\n{condition}\nbackend = \"{first}\"\n{backends}"
        )
    };
    [
        toml("client = [\"127.0.0.1\"]", &[("x", ours)]),
        toml("client = [\"127.0.0.1\"]", &[("y", ours), ("x", theirs)]),
    ]
}

/// Waits until a request waits for a server.
fn await_queue(admin: SocketAddr) {
    eventually("a request waits", || {
        http::sample(admin, "queue_length{backend=\"x\"}") == Some(1)
    });
}

#[test]
fn no_request_goes_by_an_old_route_to_a_new_server() {
    let (ours, theirs) = (App::start("ours"), App::start("theirs"));
    let (at, admin) = (free_addr(), free_addr());
    let [before, after] = swapped_names("http", [at, admin], [ours.addr(), theirs.addr()]);
    let proxy = Proxy::start(&before);
    // One has sent nothing, one half of its head, one waits behind a tunnel that fills the server.
    let mut silent = Peer::connect(at);
    let mut half = Peer::connect(at);
    half.send("GET / HTTP/1.1\r\nHo");
    let tunnel = websocket::open(at);
    let mut waiting = Peer::connect(at);
    waiting.send(http::get("a", "/", ""));
    await_queue(admin);
    proxy.reload(&after);
    assert_eq!(http::read_answer(&mut waiting).text(), "ours");
    drop(tunnel);
    half.send("st: a\r\n\r\n");
    assert_eq!(http::read_answer(&mut half).text(), "ours");
    let answer = http::exchange_on(&mut silent, http::get("a", "/", ""));
    assert_eq!(answer.text(), "ours");
    assert_eq!(theirs.requests(), 0);
}

#[test]
fn no_tunnel_goes_by_an_old_route_to_a_new_server() {
    let (ours, theirs) = (Origin::bind(), Origin::bind());
    let (at, admin) = (free_addr(), free_addr());
    let [before, after] = swapped_names("tcp", [at, admin], [ours.addr(), theirs.addr()]);
    let proxy = Proxy::start(&before);
    let _first = Peer::connect(at);
    let _served = ours.accept();
    let _waiting = Peer::connect(at);
    await_queue(admin);
    proxy.reload(&after);
    let _served_too = ours.accept();
    theirs.expect_untouched();
}

#[test]
fn what_is_wrong_changes_nothing_and_is_named() {
    let addr = free_addr();
    let good = listener("one", addr, "good");
    let mut proxy = Proxy::start(&good);
    let taken = Origin::bind();
    let fresh = free_addr();
    let certificate = Identity::new(&["localhost"]);
    let secure = format!(
        "[[listener]]\nname = \"tls\"\nbind = [\"{}\"]\n{}\n{}",
        free_addr(),
        certificate.listener_keys(),
        responding("", "tls")
    );
    let unreadable = secure.replace(&certificate.file(), "/nowhere/site.pem");
    let changed = listener("one", addr, "changed");
    let bad = [
        (
            changed.clone() + "nonsense = 1\nmore = 2",
            vec!["nonsense", "more"],
        ),
        ("[".to_owned(), vec!["longsplice.toml:1"]),
        (
            changed.clone()
                + &listener("fresh", fresh, "f")
                + &listener("taken", taken.addr(), "t"),
            vec!["cannot listen on", "another process listens there"],
        ),
        (changed.clone() + &unreadable, vec!["/nowhere/site.pem"]),
        (
            changed + "[log]\ntarget = \"file:/nowhere/log\"\n",
            vec!["/nowhere/log"],
        ),
    ];
    let descriptors = proxy.settled_descriptors();
    for (toml, names) in bad {
        let seen = proxy.log_lines().len();
        let line = proxy.reload(&toml);
        assert!(line.contains("not reloaded; nothing has changed"), "{line}");
        for name in names {
            eventually(name, || {
                proxy.log_lines()[seen..]
                    .iter()
                    .any(|line| line.contains(name))
            });
        }
        assert_eq!(body_at(addr), "good");
        assert!(!proxy.listens_on(fresh));
    }
    proxy.wait_descriptors(descriptors);
    let line = proxy.reload(&good);
    assert!(line.contains("nothing changed"), "{line}");
    proxy.expect_sound();
}

#[test]
fn options_leave_nothing_to_read_again() {
    let (listen, to) = (free_addr().to_string(), Origin::echo().to_string());
    let arguments = ["run", "--listen", &listen, "--to", &to, "--mode", "tcp"];
    let proxy = Proxy::start_with(&arguments, std::slice::from_ref(&listen));
    let line = proxy.reload_again();
    assert!(line.contains("not reloaded"), "{line}");
    eventually("the reason", || {
        proxy.log().contains("there is no file to read again")
    });
}

#[test]
fn what_takes_a_restart_is_named_and_the_rest_applied() {
    let addr = free_addr();
    let proxy = Proxy::start(&format!(
        "[server]\nreception_threads = 1\n{}",
        listener("one", addr, "old")
    ));
    proxy.reload(&format!(
        "[server]\nreception_threads = 2\nrelay_threads = 1\n{}",
        listener("one", addr, "new")
    ));
    assert_eq!(body_at(addr), "new");
    eventually("the warning", || {
        proxy.log().contains(
            "in effect after a restart only: server.reception_threads, server.relay_threads",
        )
    });
}

#[test]
fn max_connections_grows_and_shrinks_while_it_is_full() {
    let plan =
        |max: usize| Plan::tcp(Origin::echo()).process_keys(&format!("max_connections = {max}"));
    let (origin, addr) = (Origin::echo(), free_addr());
    let toml = |max| {
        plan(max)
            .bind(format!("\"{addr}\""))
            .server(origin.to_string())
            .toml()
            // One line of those who wait.
            .replace("reception_threads = 2", "reception_threads = 1")
    };
    let proxy = Proxy::start(&toml(1));
    let mut clients: Vec<Peer> = (0..4).map(|_| Peer::connect(addr)).collect();
    for client in &mut clients {
        client.send("x");
    }
    clients[0].expect("x");
    clients[1].expect_silence(Duration::from_millis(100));
    proxy.reload(&toml(3));
    clients[1].expect("x");
    clients[2].expect("x");
    clients[3].expect_silence(Duration::from_millis(100));
    // No client has to leave. The first in the queue for a place still gets one,
    // then two that come free are gone for good.
    proxy.reload(&toml(1));
    clients[0].send("y");
    clients[0].expect("y");
    let mut waiting = Peer::connect(addr);
    waiting.send("x");
    drop(clients.remove(2));
    clients[2].expect("x");
    drop(clients.drain(1..));
    waiting.expect_silence(Duration::from_millis(100));
    drop(clients);
    waiting.expect("x");
}

#[test]
fn a_renewed_certificate_is_shown_at_once_and_tls_comes_and_goes() {
    let (old, new) = (Identity::new(&["localhost"]), Identity::new(&["localhost"]));
    let plan = Plan::tcp(Origin::echo()).process_keys(ANYWHERE);
    let proxy = plan.clone().listener_keys(&old.listener_keys()).start();
    let mut kept = Secure::connect(proxy.addr(), &client_believing(old.certificate()));
    kept.send("before");
    kept.expect("before");
    proxy.reload(&plan.clone().listener_keys(&new.listener_keys()).toml());
    assert_eq!(
        shown_certificate(proxy.addr(), "localhost"),
        new.certificate()
    );
    kept.send("after");
    kept.expect("after");
    // The same socket speaks plain text now.
    proxy.reload(&plan.toml());
    let mut plain = proxy.connect();
    plain.send("plain");
    plain.expect("plain");
    kept.send("still");
    kept.expect("still");
}

#[test]
fn log_settings_change_behind_what_was_written() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("log");
    let addr = free_addr();
    let one = format!("[server]\n{ANYWHERE}\n{}", listener("one", addr, "1"));
    let proxy = Proxy::start(&one);
    body_at(addr);
    proxy.wait_access("request", |_| true);
    let target = format!(
        "[log]\nlevel = \"debug\"\naccess = \"combined\"\ntarget = \"file:{}\"\n",
        file.display()
    );
    proxy.rewrite(&(target + &one));
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    let text = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the reload is told there", || text().contains("reloaded"));
    body_at(addr);
    eventually("the request is told there", || {
        text().contains("\"GET / HTTP/1.1\" 200")
    });
    // A connection that says nothing is spoken of at debug only.
    drop(Peer::connect(addr));
    eventually("debug lines", || text().contains("not worth a line"));
    // Back, and the file is left alone.
    proxy.reload(&one);
    let len = text().len();
    body_at(addr);
    eventually("the second request is told here", || {
        proxy.access_lines().len() >= 2
    });
    assert_eq!(text().len(), len);
}

/// A client that opens tunnels one after the other until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Load {
    /// Opens a tunnel with `open` every 5 ms, says something in it, and leaves.
    fn begin(open: impl Fn() + Send + 'static) -> Self {
        let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, count) = (Arc::clone(&stop), Arc::<AtomicUsize>::clone(&opened));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                open();
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self {
            stop,
            opened,
            thread,
        }
    }

    /// Stops; panics when anything went wrong, and returns how many tunnels there were.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.opened.load(Ordering::Relaxed)
    }
}

/// Reloads in turn between two configurations, and looks after `tunnels` in between.
fn reload_a_hundred_times(proxy: &Proxy, toml: [&str; 2], mut look: impl FnMut(usize)) {
    let mut resident = 0;
    let mut descriptors = 0;
    for round in 0..100 {
        let line = proxy.reload(toml[round % 2]);
        assert!(!line.contains("not reloaded"), "{line}");
        look(round);
        if round == 20 {
            resident = proxy.resident_kib();
            descriptors = proxy.descriptors();
        }
    }
    let grown = proxy.resident_kib().saturating_sub(resident);
    assert!(grown < 4 * 1024, "{grown} KiB more than {resident} KiB");
    let grown = proxy.descriptors().saturating_sub(descriptors);
    // What the load has open at one moment.
    assert!(grown <= 16, "{grown} descriptors more than {descriptors}");
}

#[test]
fn a_hundred_reloads_under_load_break_nothing_and_leave_nothing() {
    let origin = websocket::echo_server();
    let plan = Plan::http(origin);
    let proxy = plan.start();
    let addr = proxy.addr();
    let mut tunnels: Vec<Peer> = (0..500).map(|_| websocket::open(addr)).collect();
    let load = Load::begin(move || {
        let mut client = websocket::open(addr);
        client.send("hello");
        client.expect("hello");
    });
    let coming = free_addr();
    let other = plan
        .clone()
        .listener_keys("tcp_keepalive = \"60s\"")
        .more(&(backend("more", origin) + &listener("more", coming, "more")));
    reload_a_hundred_times(&proxy, [&other.toml(), &plan.toml()], |round| {
        for client in tunnels.iter_mut().skip(round % 50).step_by(50) {
            client.send("still");
            client.expect("still");
        }
    });
    let opened = load.end();
    assert!(opened > 50, "{opened}");
    for client in &mut tunnels {
        client.send("end");
        client.expect("end");
    }
    let causes: HashSet<String> = proxy
        .access_lines()
        .iter()
        .filter_map(|line| line["cause"].as_str().map(str::to_owned))
        .collect();
    assert!(
        causes.is_subset(&["client-closed".to_owned()].into()),
        "{causes:?}"
    );
}

#[test]
fn a_hundred_certificates_under_load_break_nothing_and_leave_nothing() {
    let certificates = [Identity::new(&["localhost"]), Identity::new(&["localhost"])];
    let plan = Plan::tcp(Origin::echo()).process_keys(ANYWHERE);
    let toml = certificates.each_ref().map(|certificate| {
        plan.clone()
            .listener_keys(&certificate.listener_keys())
            .toml()
    });
    let proxy = Proxy::start(&toml[1]);
    let addr = proxy.addr();
    let believing = client_believing(certificates[1].certificate());
    let mut tunnels: Vec<Secure> = (0..50).map(|_| Secure::connect(addr, &believing)).collect();
    let load = Load::begin(move || drop(shown_certificate(addr, "localhost")));
    reload_a_hundred_times(&proxy, [&toml[0], &toml[1]], |round| {
        assert_eq!(
            shown_certificate(addr, "localhost"),
            certificates[round % 2].certificate()
        );
        for client in tunnels.iter_mut().skip(round % 10).step_by(10) {
            client.send("still");
            client.expect("still");
        }
    });
    load.end();
}
