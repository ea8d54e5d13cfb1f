//! Scenario S0: a classic ELB sends PROXY lines; http goes to https; the application and the log see
//! the client and not the balancer; the balancer's policy can be switched without an error.

use std::io::copy;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::haproxy::Haproxy;
use crate::harness::http::{self, get};
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::process::Proxy;
use crate::harness::tls::Identity;
use crate::harness::{eventually, free_addr, websocket};
use crate::nginx::Nginx;
use crate::put;

const CONFIGURATION: &str = include_str!("longsplice.toml");
const HOST: &str = "chat.example.com";

/// The client as the balancer sees it.
const CLIENT: &str = "203.0.113.7";

/// Where real clients connect from, which HAProxy passes on.
const REAL_CLIENT: &str = "127.0.0.33";

/// The balancer: forwards bytes, and says in a line who the client is while its policy is on.
struct Elb {
    /// Where its port 80 is.
    http: SocketAddr,
    /// Where its port 443 is, behind which TLS has ended already.
    https: SocketAddr,
    /// Whether the ProxyProtocol policy is on.
    policy: Arc<AtomicBool>,
}

impl Elb {
    fn start(to: SocketAddr, policy: bool) -> Self {
        let policy = Arc::new(AtomicBool::new(policy));
        Self {
            http: forward(80, to, Arc::clone(&policy)),
            https: forward(443, to, Arc::clone(&policy)),
            policy,
        }
    }
}

/// Forwards every connection to `to`; returns where it listens.
fn forward(port: u16, to: SocketAddr, policy: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let policy = policy.load(Ordering::SeqCst);
            thread::spawn(move || {
                let line = format!("PROXY TCP4 {CLIENT} 172.31.0.9 51000 {port}\r\n");
                let line = if policy { line } else { String::new() };
                // A connection that fails is the client's to notice.
                let _ = pump(client, to, &line);
            });
        }
    });
    addr
}

fn pump(client: TcpStream, to: SocketAddr, line: &str) -> std::io::Result<()> {
    let server = TcpStream::connect(to)?;
    copy(&mut line.as_bytes(), &mut &server)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = copy(&mut &client, &mut &server);
            let _ = server.shutdown(std::net::Shutdown::Write);
        });
        let _ = copy(&mut &server, &mut &client);
        let _ = client.shutdown(std::net::Shutdown::Write);
    });
    Ok(())
}

struct Site {
    _app: Running,
    proxy: Proxy,
}

/// The route that sends http to https.
const REDIRECT: &str = "[[listener.route]]
host = \"chat.example.com\"
scheme = \"http\"
redirect = { scheme = \"https\" }
";

/// Starts the application and the proxy in front of it; none = no Node.
fn site(proxy_protocol: &str) -> Option<Site> {
    start(proxy_protocol, &[])
}

/// The same as it is while the policy is switched: the line may come or not, and no redirect.
fn site_at_the_switch() -> Option<Site> {
    start("optional", &[(REDIRECT, String::new())])
}

fn start(proxy_protocol: &str, more: &[(&str, String)]) -> Option<Site> {
    let mut node = Part::Node.command()?;
    let app = Running::start(node.arg(file("scenarios/s0_elb_nginx/app.js")));
    let configuration = put(
        CONFIGURATION,
        &[
            ("0.0.0.0:80", free_addr().to_string()),
            ("172.31.0.0/20", "127.0.0.1".to_owned()),
            ("172.31.23.38:8081", format!("127.0.0.1:{}", app.port())),
            (
                "proxy_protocol = \"require\"",
                format!("proxy_protocol = \"{proxy_protocol}\""),
            ),
        ],
    );
    Some(Site {
        _app: app,
        proxy: Proxy::start(&put(&configuration, more)),
    })
}

/// Demands that the application knows the client, and knows of https.
fn check_facts(facts: &str, url: &str) {
    check_facts_of(CLIENT, facts, url);
}

fn check_facts_of(client: &str, facts: &str, url: &str) {
    let facts: Value = serde_json::from_str(facts).unwrap_or_else(|_| panic!("facts: {facts}"));
    assert_eq!(facts["url"], url);
    assert_eq!(facts["host"], HOST);
    assert_eq!(facts["realIp"], client);
    assert_eq!(facts["forwardedFor"], client);
    assert_eq!(facts["proto"], "https");
    assert_eq!(facts["version"], "1.1");
}

#[test]
fn http_goes_to_https_and_unknown_names_are_caught() {
    let Some(site) = site("require") else {
        return;
    };
    let elb = Elb::start(site.proxy.addr(), true);
    let answer = http::exchange(elb.http, get(HOST, "/rooms/7?from=mail", ""));
    assert_eq!(answer.status, 301);
    assert_eq!(
        answer.values("location"),
        ["https://chat.example.com/rooms/7?from=mail"]
    );
    for door in [elb.http, elb.https] {
        let answer = http::exchange(door, get("other.example.com", "/", ""));
        assert_eq!(answer.status, 404);
        assert_eq!(answer.text(), "There is no such site here.\n");
    }
}

#[test]
fn nginx_in_the_same_place_did_the_same() {
    let (Some(mut node), Some(mut client)) = (Part::Node.command(), Part::Node.command()) else {
        return;
    };
    let app = Running::start(node.arg(file("scenarios/s0_elb_nginx/app.js")));
    let front = free_addr();
    let configuration = put(
        include_str!("nginx.conf"),
        &[
            ("listen 80", format!("listen {front}")),
            ("172.31.0.0/20", "127.0.0.1".to_owned()),
            ("172.31.23.38:8081", format!("127.0.0.1:{}", app.port())),
        ],
    );
    let Some(_nginx) = Nginx::start(&configuration, &[front]) else {
        return;
    };
    let elb = Elb::start(front, true);
    let answer = http::exchange(elb.http, get(HOST, "/rooms/7?from=mail", ""));
    assert_eq!(answer.status, 301);
    assert_eq!(
        answer.values("location"),
        ["https://chat.example.com/rooms/7?from=mail"]
    );
    let answer = http::exchange(elb.https, get("other.example.com", "/", ""));
    assert_eq!(answer.status, 404);
    let facts = finish(
        client
            .arg(file("scenarios/s0_elb_nginx/client.js"))
            .arg(format!("ws://{}/chat", elb.https))
            .arg(HOST),
    );
    check_facts(&facts, "/chat");
}

#[test]
fn the_application_sees_the_client_in_requests_and_websockets() {
    let (Some(site), Some(mut node)) = (site("require"), Part::Node.command()) else {
        return;
    };
    let elb = Elb::start(site.proxy.addr(), true);
    // What the client writes itself is not believed.
    let lines = "X-Forwarded-For: 198.51.100.66\r\nX-Real-IP: 198.51.100.66\r\n";
    let answer = http::exchange(elb.https, get(HOST, "/page?x=1", lines));
    assert_eq!(answer.status, 200);
    check_facts(&answer.text(), "/page?x=1");

    let facts = finish(
        node.arg(file("scenarios/s0_elb_nginx/client.js"))
            .arg(format!("ws://{}/chat", elb.https))
            .arg(HOST),
    );
    check_facts(&facts, "/chat");
}

#[test]
fn a_browsers_first_http_request_with_curl_ends_at_https() {
    let (Some(site), Some(mut curl)) = (site("require"), Part::Curl.command()) else {
        return;
    };
    let elb = Elb::start(site.proxy.addr(), true);
    let said = finish(curl.args([
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{redirect_url}",
        "-H",
        &format!("Host: {HOST}"),
        &format!("http://{}/a?b", elb.http),
    ]));
    assert_eq!(said, "301 https://chat.example.com/a?b");
}

#[test]
fn the_access_log_shows_the_client_and_not_the_balancer() {
    let (Some(site), Some(mut node)) = (site("require"), Part::Node.command()) else {
        return;
    };
    let elb = Elb::start(site.proxy.addr(), true);
    http::exchange(elb.https, get(HOST, "/", ""));
    http::exchange(elb.http, get(HOST, "/", ""));
    finish(
        node.arg(file("scenarios/s0_elb_nginx/client.js"))
            .arg(format!("ws://{}/chat", elb.https))
            .arg(HOST),
    );
    site.proxy.wait_access("close", |_| true);
    let lines = site.proxy.access_lines();
    assert_eq!(lines.len(), 4, "two requests, open and close: {lines:?}");
    for line in lines {
        let client = line["client"].as_str().unwrap();
        assert!(client.starts_with(CLIENT), "{line}");
    }
}

#[test]
fn the_balancers_health_checks_leave_no_line() {
    let Some(site) = site("require") else {
        return;
    };
    // A classic ELB checks a TCP port by connecting and closing; no PROXY line, policy or not.
    for _ in 0..10 {
        drop(site.proxy.connect());
    }
    let elb = Elb::start(site.proxy.addr(), true);
    http::exchange(elb.https, get(HOST, "/", ""));
    site.proxy.wait_access("request", |_| true);
    assert_eq!(site.proxy.access_lines().len(), 1, "{}", site.proxy.log());
}

/// HAProxy as the ELB: a TCP listener and an SSL listener that ends TLS, both with the destination
/// port that clients of the real one have.
fn haproxy(site: &Site, certificate: &str) -> Option<(Haproxy, SocketAddr, SocketAddr)> {
    let (http, https) = (free_addr(), free_addr());
    let addr = site.proxy.addr();
    let front = |name, bind: &str, port: u16| {
        format!(
            "frontend {name}\n  bind {bind}\n  tcp-request connection set-dst-port int({port})\n  \
             default_backend elb\n"
        )
    };
    let sections = front("http", &http.to_string(), 80)
        + &front("https", &format!("{https} ssl crt {certificate}"), 443)
        + &format!(
            "backend elb\n  server lined {addr} send-proxy\n  server plain {addr} disabled\n"
        );
    let haproxy = Haproxy::start(&sections, &[http, https])?;
    Some((haproxy, http, https))
}

#[test]
fn haproxy_as_the_balancer_is_told_apart_by_the_destination_port() {
    let (Some(site), Some(curl)) = (site("require"), Part::Curl.command()) else {
        return;
    };
    let identity = Identity::new(&[HOST]);
    let Some((_haproxy, http, https)) = haproxy(&site, &identity.file()) else {
        return;
    };
    let ask = |scheme: &str, door: SocketAddr, form: &str| {
        let mut curl = Command::new(curl.get_program());
        curl.args([
            "-sS",
            "--noproxy",
            "*",
            "--interface",
            REAL_CLIENT,
            "-w",
            form,
        ])
        .args([
            "--cacert",
            &identity.cert_file(),
            "-H",
            &format!("Host: {HOST}"),
        ])
        .args([
            "--connect-to",
            &format!("{HOST}:{}:127.0.0.1:{0}", door.port()),
        ]);
        finish(curl.arg(format!("{scheme}://{HOST}:{}/a?b", door.port())))
    };
    let said = ask("http", http, "%{http_code} %{redirect_url}");
    assert!(said.ends_with("301 https://chat.example.com/a?b"), "{said}");
    check_facts_of(REAL_CLIENT, &ask("https", https, ""), "/a?b");
    let lines = site.proxy.access_lines();
    assert!(
        lines.iter().all(|line| line["client"] == REAL_CLIENT),
        "{lines:?}"
    );
}

#[test]
fn the_policy_is_switched_on_and_off_without_an_error() {
    for start in [false, true] {
        let Some(site) = site_at_the_switch() else {
            return;
        };
        let elb = Elb::start(site.proxy.addr(), start);
        switch_under_load(&site, elb.https, CLIENT, |policy| {
            elb.policy.store(policy, Ordering::SeqCst);
        });
    }
}

#[test]
fn haproxy_starts_and_stops_sending_lines_without_an_error() {
    let identity = Identity::new(&[HOST]);
    for first in ["plain", "lined"] {
        let Some(site) = site_at_the_switch() else {
            return;
        };
        let Some((haproxy, http, _)) = haproxy(&site, &identity.file()) else {
            return;
        };
        let set = |policy| {
            let (on, off) = if policy {
                ("lined", "plain")
            } else {
                ("plain", "lined")
            };
            // In between both flow, as they do in a balancer of many machines.
            haproxy.admin(&format!("set server elb/{on} state ready"));
            haproxy.admin(&format!("set server elb/{off} state maint"));
        };
        set(first == "lined");
        switch_under_load(&site, http, REAL_CLIENT, set);
    }
}

/// Switches the policy on and off while requests and upgrades flow and tunnels stand, and demands
/// that every one of them succeeds.
fn switch_under_load(site: &Site, door: SocketAddr, client: &str, set: impl Fn(bool)) {
    /// Requests and upgrades between two switches.
    const BETWEEN: usize = 60;
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut standing: Vec<Peer> = (0..4).map(|_| chat(door)).collect();
    let (stop, done) = (&stop, &done);
    thread::scope(|scope| {
        for kind in [short as fn(SocketAddr), short, several, upgrade, upgrade] {
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    kind(door);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for policy in [true, false, true, false, true, false] {
            let before = done.load(Ordering::SeqCst);
            eventually("requests and upgrades flow", || {
                done.load(Ordering::SeqCst) > before + BETWEEN
            });
            set(policy);
            let expected = if policy { client } else { "127.0.0.1" };
            eventually("the client is known, or the balancer", || {
                real_ip(door) == expected
            });
            standing.iter_mut().for_each(say_hello);
            // One more that stands from here on.
            standing.push(chat(door));
        }
        stop.store(true, Ordering::SeqCst);
    });
    eventually("every tunnel but those that stand is closed", || {
        let lines = site.proxy.access_lines();
        let count = |event| lines.iter().filter(|line| line["event"] == event).count();
        count("open") == count("close") + standing.len()
    });
    for line in site.proxy.access_lines() {
        let sound = ["served", "client-closed", "server-closed"];
        let cause = line["cause"].as_str();
        assert!(cause.is_none_or(|cause| sound.contains(&cause)), "{line}");
        let status = line["status"].as_u64();
        assert!(
            status.is_none_or(|status| [101, 200].contains(&status)),
            "{line}"
        );
    }
}

fn connect(door: SocketAddr) -> Peer {
    Peer::connect_from(REAL_CLIENT, door)
}

fn real_ip(door: SocketAddr) -> String {
    let answer = http::exchange_on(&mut connect(door), get(HOST, "/", ""));
    assert_eq!(answer.status, 200, "{}", answer.head);
    let facts: Value = serde_json::from_str(&answer.text()).unwrap();
    facts["realIp"].as_str().unwrap().to_owned()
}

/// A request on a connection of its own.
fn short(door: SocketAddr) {
    real_ip(door);
}

/// Several requests on one connection.
fn several(door: SocketAddr) {
    let mut client = connect(door);
    for _ in 0..5 {
        let answer = http::exchange_on(&mut client, get(HOST, "/", ""));
        assert_eq!(answer.status, 200, "{}", answer.head);
    }
}

/// A WebSocket that is opened, used and closed.
fn upgrade(door: SocketAddr) {
    let mut client = chat(door);
    say_hello(&mut client);
    // Close with code 1000, masked with zeros; the same comes back, and then the end.
    client.send([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
    client.expect([0x88, 0x02, 0x03, 0xe8]);
    client.expect_closed();
}

/// Opens a WebSocket; the application's greeting has come.
fn chat(door: SocketAddr) -> Peer {
    let mut client = connect(door);
    client.send(websocket::request(HOST, "/chat", ""));
    let head = client.read_head();
    assert_eq!(http::status(&head), 101, "{head}");
    let start = client.read(2);
    assert_eq!(start[0], 0x81, "a text");
    let len = match start[1] {
        126 => client.read(2).try_into().map(u16::from_be_bytes).unwrap(),
        len => u16::from(len),
    };
    client.read(usize::from(len));
    client
}

fn say_hello(client: &mut Peer) {
    client.send(websocket::client_text("hello"));
    client.expect(websocket::server_text("you said: hello"));
}
