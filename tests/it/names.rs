//! Names of servers that change, fail and recover.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::app::App;
use crate::harness::dns::{Data, Dns, Mood};
use crate::harness::http::{exchange, get};
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};
use crate::harness::{eventually, free_port, websocket};
use crate::health::{QUICK, who_answers};

/// Applications called after their address, 127.0.0.HOST, all at one port.
fn apps(hosts: &[u8]) -> (Vec<App>, u16) {
    let port = free_port();
    let app = |host: &u8| {
        let addr = SocketAddr::from(([127, 0, 0, *host], port));
        App::start_at(&host.to_string(), addr)
    };
    (hosts.iter().map(app).collect(), port)
}

fn plan(dns: &Dns, server: String) -> Plan {
    Plan::routes_only("[[listener.route]]\nbackend = \"app\"\n")
        .process_keys(&format!("nameservers = [\"{}\"]", dns.addr()))
        .backend_keys("balance = \"round_robin\"")
        .server(server)
}

/// Waits until exactly these answer, in any order.
fn wait_answers(proxy: &Proxy, expected: &[&str]) {
    eventually(&format!("answers from {expected:?}"), || {
        let mut names = who_answers(proxy, 4);
        names.sort();
        names.dedup();
        names == expected
    });
}

#[test]
fn each_address_of_a_name_is_a_server_and_changes_are_followed() {
    let (apps, port) = apps(&[1, 2, 3]);
    let dns = Dns::start();
    dns.addresses("app.test", 1, &["127.0.0.1", "127.0.0.2"]);
    let mut proxy = plan(&dns, format!("app.test:{port}")).start();
    wait_answers(&proxy, &["1", "2"]);
    let mut tunnels: Vec<_> = (0..4).map(|_| websocket::open(proxy.addr())).collect();
    assert_eq!((apps[0].upgrades(), apps[1].upgrades()), (2, 2));

    dns.addresses("app.test", 1, &["127.0.0.2", "127.0.0.3"]);
    proxy.wait_said(&[
        "state=\"gone\"",
        &format!("server=app.test:{port}@127.0.0.1 "),
    ]);
    wait_answers(&proxy, &["2", "3"]);
    for tunnel in &mut tunnels {
        tunnel.send("still here");
        tunnel.expect("still here");
    }
    // What was open when the address went is logged under its name when it ends.
    drop(tunnels);
    let name = format!("app.test:{port}@127.0.0.1");
    proxy.wait_access("close", |line| line["server"] == name.as_str());

    dns.addresses("app.test", 1, &["127.0.0.1"]);
    wait_answers(&proxy, &["1"]);
    proxy.expect_sound();
}

#[test]
fn a_name_that_stops_resolving_keeps_its_last_addresses() {
    let (_apps, port) = apps(&[1, 2]);
    let dns = Dns::start();
    dns.addresses("app.test", 1, &["127.0.0.1"]);
    let proxy = plan(&dns, format!("app.test:{port}")).start();
    wait_answers(&proxy, &["1"]);
    for (mood, why) in [
        (Mood::Denying, "does not exist"),
        (Mood::Failing, "the name server says"),
        (Mood::Silent, "is not answered"),
    ] {
        dns.be(mood);
        let line = proxy.wait_said(&["the last addresses of the name stand", why]);
        assert!(line.contains("WARN"), "{line}");
        assert_eq!(who_answers(&proxy, 2), ["1", "1"]);
    }
    dns.addresses("app.test", 1, &["127.0.0.2"]);
    dns.be(Mood::Answering);
    wait_answers(&proxy, &["2"]);
}

#[test]
fn a_silent_resolver_does_not_hold_up_the_start() {
    let (_apps, port) = apps(&[1]);
    let dns = Dns::start();
    dns.be(Mood::Silent);
    dns.addresses("app.test", 1, &["127.0.0.1"]);
    let started = Instant::now();
    let proxy = plan(&dns, format!("app.test:{port}")).start();
    proxy.wait_said(&["ready"]);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    let answer = exchange(proxy.addr(), get("app.example", "/", ""));
    assert_eq!(answer.status, 503);
    let line = proxy.wait_cause("refused", "no-server");
    assert_eq!(line["detail"], "no name of a server has an address");
    proxy.wait_said(&["the name has no address yet", "is not answered"]);
    dns.be(Mood::Answering);
    eventually("it serves", || {
        exchange(
            proxy.addr(),
            get("app.example", "/", "Connection: close\r\n"),
        )
        .status
            == 200
    });
    assert_eq!(who_answers(&proxy, 1), ["1"]);
}

/// It may be a typing error, or a record that is still to come: other backends are not to suffer
/// from it, and it can be mended without a restart.
#[test]
fn a_name_that_does_not_exist_is_a_warning() {
    let (_apps, port) = apps(&[1]);
    let dns = Dns::start();
    dns.addresses("app.test", 60, &["127.0.0.1"]);
    let proxy = plan(&dns, format!("ap.test:{port}"))
        .and_server(format!("app.test:{port}"))
        .start();
    let server = format!("server=ap.test:{port} ");
    proxy.wait_said(&["the name has no address yet", "does not exist", &server]);
    assert_eq!(who_answers(&proxy, 3), ["1", "1", "1"]);
    dns.forget("app.test");
    dns.addresses("ap.test", 60, &["127.0.0.1"]);
    proxy.wait_said(&[
        "the name points there",
        &format!("ap.test:{port}@127.0.0.1"),
    ]);
    assert_eq!(proxy.count_said(&["the name has no address yet"]), 1);
}

#[test]
fn aliases_and_long_answers_are_followed() {
    let (_apps, port) = apps(&[1]);
    let dns = Dns::start();
    dns.set("app.test", 60, &[Data::Cname("other.test")]);
    dns.addresses("other.test", 60, &["127.0.0.1"]);
    dns.be(Mood::Truncating);
    let proxy = plan(&dns, format!("app.test:{port}")).start();
    assert_eq!(who_answers(&proxy, 1), ["1"]);
    assert!(dns.asked_over_tcp() > 0);
}

#[test]
fn services_say_where_and_how_much() {
    let (_apps, port) = apps(&[1, 2, 3]);
    let dns = Dns::start();
    for host in ["1", "2", "3"] {
        dns.addresses(&format!("{host}.test"), 1, &[&format!("127.0.0.{host}")]);
    }
    dns.set(
        "_ws._tcp.test",
        1,
        &[
            Data::Srv(5, 3, port, "1.test"),
            Data::Srv(5, 1, port, "2.test"),
            Data::Srv(9, 1, port, "3.test"),
        ],
    );
    let proxy = plan(&dns, "srv:_ws._tcp.test".to_owned()).start();
    let count = |answers: &[String], name: &str| answers.iter().filter(|it| *it == name).count();
    let answers = who_answers(&proxy, 8);
    assert_eq!((count(&answers, "1"), count(&answers, "2")), (6, 2));
    // The best priority has no address any more, and keeps those it had; without its records, the
    // spare ones get their turn.
    dns.set("_ws._tcp.test", 1, &[Data::Srv(9, 1, port, "3.test")]);
    wait_answers(&proxy, &["3"]);
    dns.set(
        "_ws._tcp.test",
        1,
        &[
            Data::Srv(9, 1, port, "3.test"),
            Data::Srv(9, 1, port, "2.test"),
        ],
    );
    wait_answers(&proxy, &["2", "3"]);
}

#[test]
fn names_are_checked_like_addresses() {
    let (apps, port) = apps(&[1, 2]);
    apps[1].set_health(500);
    let dns = Dns::start();
    dns.addresses("app.test", 1, &["127.0.0.1", "127.0.0.2"]);
    let proxy = plan(&dns, format!("app.test:{port}")).health(QUICK).start();
    let second = format!("server=app.test:{port}@127.0.0.2 ");
    proxy.wait_said(&["state=\"down\"", "answered 500", &second]);
    assert_eq!(who_answers(&proxy, 4), ["1"; 4]);
    apps[1].set_health(200);
    proxy.wait_said(&["state=\"up\"", &second]);
    wait_answers(&proxy, &["1", "2"]);
    // Asking again changes nothing about who is up.
    let asked = dns.asked("app.test");
    eventually("it was asked again", || dns.asked("app.test") > asked + 3);
    assert_eq!(proxy.count_said(&["state=\"up\"", &second]), 1);
}

/// Requests go on without an error and tunnels without an end while the name changes all the time.
#[test]
fn names_may_change_under_load() {
    let (_apps, port) = apps(&[1, 2, 3, 4]);
    let dns = Dns::start();
    dns.addresses("app.test", 1, &["127.0.0.1", "127.0.0.2"]);
    let mut proxy = plan(&dns, format!("app.test:{port}")).start();
    let addr = proxy.addr();
    let going = Arc::new(AtomicBool::new(true));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let going = Arc::clone(&going);
            thread::spawn(move || {
                let mut tunnel = websocket::open(addr);
                let mut served = 0;
                while going.load(Ordering::Relaxed) {
                    let answer = exchange(addr, get("app.example", "/", "Connection: close\r\n"));
                    assert_eq!(answer.status, 200);
                    tunnel.send("beat");
                    tunnel.expect("beat");
                    served += 1;
                }
                served
            })
        })
        .collect();
    for ips in [
        &["127.0.0.3"][..],
        &["127.0.0.4", "127.0.0.1"],
        &["127.0.0.2", "127.0.0.3", "127.0.0.4"],
        &["127.0.0.1"],
    ] {
        let gone = proxy.count_said(&["state=\"gone\""]);
        dns.addresses("app.test", 1, ips);
        eventually("the change is seen", || {
            proxy.count_said(&["state=\"gone\""]) > gone
        });
    }
    going.store(false, Ordering::Relaxed);
    for thread in load {
        assert!(thread.join().unwrap() > 0);
    }
    proxy.expect_sound();
}

#[test]
fn check_shows_name_servers_and_services() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.toml");
    let text = Plan::routes_only("[[listener.route]]\nbackend = \"app\"\n")
        .process_keys("nameservers = [\"127.0.0.1\", \"[::1]:5353\"]")
        .backend_keys("slow_start = \"30s\"")
        .health("kind = \"http\"\nmethod = \"OPTIONS\"\ninterval = \"500ms\"")
        .server("srv:_ws._tcp.test")
        .toml();
    std::fs::write(&file, text).unwrap();
    let outcome = run(&["check", "--print", "-c", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for line in [
        "nameservers = [\"127.0.0.1:53\", \"[::1]:5353\"]",
        "slow_start = \"30s\"",
        "method = \"OPTIONS\"",
        "fast_interval = \"500ms\"",
        "address = \"srv:_ws._tcp.test\"",
    ] {
        assert!(outcome.stdout.contains(line), "{line}\n{}", outcome.stdout);
    }
}
