//! Scenario S0: a classic ELB sends PROXY lines; http goes to https; the application and the log see
//! the client and not the balancer; the balancer's policy can be switched without an error.

use std::io::copy;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::http::{self, get};
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::process::Proxy;
use crate::harness::{eventually, free_addr};
use crate::put;

const CONFIGURATION: &str = include_str!("longsplice.toml");
const HOST: &str = "chat.example.com";

/// The client as the balancer sees it.
const CLIENT: &str = "203.0.113.7";

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

/// Starts the application and the proxy in front of it; none = no Node.
fn site(proxy_protocol: &str) -> Option<Site> {
    let mut node = Part::Node.command()?;
    let app = Running::start(node.arg(file("scenarios/s0_elb_nginx/app.js")));
    let configuration = put(
        CONFIGURATION,
        &[
            ("0.0.0.0:80", free_addr().to_string()),
            ("172.31.0.0/20", "127.0.0.0/8".to_owned()),
            ("172.31.23.38:8081", format!("127.0.0.1:{}", app.port())),
            (
                "proxy_protocol = \"require\"",
                format!("proxy_protocol = \"{proxy_protocol}\""),
            ),
        ],
    );
    Some(Site {
        _app: app,
        proxy: Proxy::start(&configuration),
    })
}

/// Demands that the application knows the client, and knows of https.
fn check_facts(facts: &str, url: &str) {
    let facts: Value = serde_json::from_str(facts).unwrap_or_else(|_| panic!("facts: {facts}"));
    assert_eq!(facts["url"], url);
    assert_eq!(facts["host"], HOST);
    assert_eq!(facts["realIp"], CLIENT);
    assert_eq!(facts["forwardedFor"], CLIENT);
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

#[test]
fn the_policy_is_switched_on_and_off_without_an_error() {
    let Some(site) = site("optional") else {
        return;
    };
    let elb = Elb::start(site.proxy.addr(), false);
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    // Without the line the destination port is not known either: http.
                    let answer = http::exchange(elb.https, get(HOST, "/", ""));
                    assert!([200, 301].contains(&answer.status), "{}", answer.head);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for policy in [true, false, true, false, true] {
            let before = asked.load(Ordering::SeqCst);
            eventually("requests flow", || {
                asked.load(Ordering::SeqCst) > before + 30
            });
            elb.policy.store(policy, Ordering::SeqCst);
        }
        let before = asked.load(Ordering::SeqCst);
        eventually("requests flow", || {
            asked.load(Ordering::SeqCst) > before + 30
        });
        stop.store(true, Ordering::SeqCst);
    });
    let answer = http::exchange(elb.https, get(HOST, "/after", ""));
    check_facts(&answer.text(), "/after");
    assert!(
        site.proxy
            .access_lines()
            .iter()
            .all(|line| line["event"] == "request")
    );
}
