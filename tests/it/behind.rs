//! Listeners behind a balancer: what `behind` makes of connections.

use std::fs;
use std::net::SocketAddr;

use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::run;
use crate::harness::{eventually, http};

/// Timer of a connection (proc_net_tcp.rst of the kernel): which, and for how many seconds.
#[derive(Debug, PartialEq, Eq)]
struct Timer {
    kind: u64,
    left_s: u64,
}

/// Reads the timer of the connection of `server` to `client`, both of 127.0.0.0/8.
fn timer(server: SocketAddr, client: SocketAddr) -> Option<Timer> {
    let port = |addr: SocketAddr| format!(":{:04X}", addr.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours = fields[1].ends_with(&port(server)) && fields[2].ends_with(&port(client));
        ours.then(|| fields[5].to_owned())
    })?;
    let (kind, left) = fields.split_once(':').unwrap();
    let number = |text| u64::from_str_radix(text, 16).unwrap();
    // In ticks of USER_HZ, 100 a second.
    Some(Timer {
        kind: number(kind),
        left_s: number(left) / 100,
    })
}

const KEEPALIVE_TIMER: u64 = 2;

#[test]
fn clients_are_asked_whether_they_are_there() {
    let system: u64 = fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let nlb = "behind = \"nlb\"\ntrusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = \"optional\"";
    let rows = [
        ("", Some(system)),
        ("tcp_keepalive = \"off\"", None),
        ("tcp_keepalive = \"300s\"", Some(300)),
        (nlb, Some(60)),
    ];
    for (keys, expected) in rows {
        let proxy = Plan::tcp(Origin::echo()).listener_keys(keys).start();
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
        // The acknowledgement of the last byte may still be on its way, with a timer of its own.
        eventually("the timer is the one wanted", || {
            let Some(timer) = timer(proxy.addr(), client.local_addr()) else {
                return false;
            };
            match expected {
                Some(pause) => {
                    let fresh = pause.saturating_sub(20)..=pause;
                    timer.kind == KEEPALIVE_TIMER && fresh.contains(&timer.left_s)
                }
                None => timer.kind == 0,
            }
        });
    }
}

#[test]
fn a_classic_and_a_network_balancer_must_say_who_the_client_is() {
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc0\0\x02\x01\x03\xe8\x01\xbb";
    let rows: [(&str, &[u8]); 2] = [
        (
            "clb",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1000 443\r\n".as_slice(),
        ),
        ("nlb", v2),
    ];
    for (kind, header) in rows {
        let origin = Origin::answering(http::ok("hello"));
        let keys = format!("behind = \"{kind}\"\ntrusted_proxies = [\"127.0.0.1\"]");
        let proxy = Plan::http(origin.addr).listener_keys(&keys).start();
        let mut client = proxy.connect();
        client.send(header);
        let answer = http::exchange_on(&mut client, http::get("x", "/", ""));
        assert_eq!(answer.text(), "hello", "{kind}");
        assert_eq!(http::values(&origin.head(), "x-real-ip"), ["203.0.113.7"]);
        let mut without = proxy.connect();
        without.send(http::get("x", "/", ""));
        without.expect_ended();
        proxy.wait_cause("refused", "proxy-header-missing");
        origin.expect_untouched();
    }
}

/// A network balancer's health check carries nothing but TLVs, and comes every few seconds.
#[test]
fn health_checks_of_a_network_balancer_leave_no_line() {
    let proxy = Plan::http(Origin::echo())
        .listener_keys("behind = \"nlb\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .start();
    for _ in 0..3 {
        let mut check = proxy.connect();
        check.send(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\x07\xea\0\x04\x01abc");
        check.finish();
        check.expect_ended();
    }
    let mut stranger = proxy.connect();
    stranger.send("GET");
    stranger.send(" / HTTP/1.1\r\n\r\n");
    stranger.expect_ended();
    // Its line stands behind whatever the checks had left.
    proxy.wait_cause("refused", "proxy-header-missing");
    assert_eq!(proxy.access_lines().len(), 1, "{:?}", proxy.access_lines());
}

#[test]
fn an_application_balancer_is_believed_in_its_headers() {
    let origin = Origin::answering(http::ok("hello"));
    let proxy = Plan::http(origin.addr)
        .listener_keys("behind = \"alb\"\ntrusted_proxies = [\"127.0.0.2\"]")
        .start();
    let request = http::get("x", "/", "X-Forwarded-For: 203.0.113.7\r\n");
    let mut balancer = Peer::connect_from("127.0.0.2", proxy.addr());
    assert_eq!(http::exchange_on(&mut balancer, request).text(), "hello");
    assert_eq!(http::values(&origin.head(), "x-real-ip"), ["203.0.113.7"]);
}

#[test]
fn check_prints_what_a_balancer_stands_for() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("longsplice.toml");
    let plan = Plan::http(Origin::echo())
        .listener_keys("behind = \"clb\"\ntrusted_proxies = [\"10.0.0.0/8\"]");
    fs::write(&file, plan.toml()).unwrap();
    let outcome = run(&["check", "--print", "-c", file.to_str().unwrap()]);
    for line in [
        "behind = \"clb\"",
        "proxy_protocol = \"require\"",
        "tcp_keepalive = \"system\"",
        "keep_alive = \"75s\"",
    ] {
        assert!(outcome.stdout.contains(line), "{line}: {outcome:?}");
    }
}
