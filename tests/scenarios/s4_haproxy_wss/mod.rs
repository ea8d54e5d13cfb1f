//! Scenario S4: ws on one port and wss on another to one Node application whose clients mostly
//! listen.
//!
//! The test runs ten times as fast as production: pushes every 500 ms, idle after 1 s.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::authority::certify;
use crate::haproxy::Haproxy;
use crate::harness::browser::Browser;
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::process::{Proxy, run};
use crate::harness::{free_addr, http, websocket};
use crate::put;

const CONFIGURATION: &str = include_str!("longsplice.toml");
const CONSOLE: &str = include_str!("console.js");
const HOST: &str = "sockets.example.com";
/// How often the application pushes here.
const PUSH_MS: &str = "500";

struct Site {
    _apps: Vec<Running>,
    proxy: Proxy,
    /// Holds the certificates.
    dir: TempDir,
    ws: SocketAddr,
    wss: SocketAddr,
}

/// Starts one application, which pushes `pushes` times, and the proxy; none = no Node.
fn site(pushes: u32) -> Option<Site> {
    site_of(&[""], pushes)
}

/// Starts an application of each name and the proxy in front of them.
fn site_of(names: &[&str], pushes: u32) -> Option<Site> {
    let mut apps = Vec::new();
    for name in names {
        let mut node = Part::Node.command()?;
        let app = Running::start(
            node.arg(file("scenarios/s4_haproxy_wss/app.js"))
                .env("PUSH_MS", PUSH_MS)
                .env("PUSHES", pushes.to_string())
                .env("NAME", name),
        );
        apps.push((app.port(), app));
    }
    let dir = TempDir::new().unwrap();
    certify(dir.path(), &[HOST]);
    let (ws, wss) = (free_addr(), free_addr());
    let servers: Vec<String> = apps
        .iter()
        .map(|(port, _)| format!("{{ address = \"127.0.0.1:{port}\" }}"))
        .collect();
    let configuration = put(
        CONFIGURATION,
        &[
            ("0.0.0.0:80\"", format!("{ws}\"")),
            ("0.0.0.0:443\"", format!("{wss}\"")),
            ("/etc/haproxy/site.pem", path(dir.path(), "site.pem")),
            (
                "name = \"app\"",
                "name = \"app\"\nbalance = \"round_robin\"".to_owned(),
            ),
            ("{ address = \"127.0.0.1:8080\" }", servers.join(", ")),
            ("tunnel_idle = \"10s\"", "tunnel_idle = \"1s\"".to_owned()),
        ],
    );
    Some(Site {
        _apps: apps.into_iter().map(|(_, app)| app).collect(),
        proxy: Proxy::start(&configuration),
        dir,
        ws,
        wss,
    })
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

/// Lets Node listen to `pushes` pushes, say something and leave; `dir` holds the certificates.
fn listen(node: &mut Command, dir: &Path, url: &str, pushes: &str) {
    node.arg(file("scenarios/s4_haproxy_wss/client.js"));
    node.args([url, pushes]);
    if url.starts_with("wss") {
        node.args([&path(dir, "root.pem"), HOST]);
    }
    let heard = finish(node);
    assert_eq!(heard.trim(), pushes);
}

#[test]
fn a_silent_client_lives_as_long_as_the_server_pushes() {
    let Some(site) = site(1000) else {
        return;
    };
    for (scheme, addr) in [("ws", site.ws), ("wss", site.wss)] {
        let Some(mut node) = Part::Node.command() else {
            return;
        };
        // Eight pushes take four times as long as what counts as idle.
        listen(
            &mut node,
            site.dir.path(),
            &format!("{scheme}://{addr}/"),
            "8",
        );
        let close = site
            .proxy
            .wait_access("close", |line| line["listener"] == scheme);
        // The client begins to close, the server ends the connection (RFC 6455 section 7.1.1).
        assert!(
            close["cause"].as_str().unwrap().ends_with("-closed"),
            "{close}"
        );
        assert!(close["duration_ms"].as_u64().unwrap() >= 4000, "{close}");
    }
}

#[test]
fn haproxy_in_the_same_place_did_the_same() {
    let Some(mut node) = Part::Node.command() else {
        return;
    };
    let app = Running::start(
        node.arg(file("scenarios/s4_haproxy_wss/app.js"))
            .env("PUSH_MS", PUSH_MS),
    );
    let dir = TempDir::new().unwrap();
    certify(dir.path(), &[HOST]);
    let (ws, wss) = (free_addr(), free_addr());
    let configuration = put(
        include_str!("haproxy.cfg"),
        &[
            ("0.0.0.0:80", ws.to_string()),
            ("0.0.0.0:443", wss.to_string()),
            ("/etc/haproxy/site.pem", path(dir.path(), "site.pem")),
            ("127.0.0.1:8080", format!("127.0.0.1:{}", app.port())),
            // Ten times as fast, as everything here.
            ("timeout client 10s", "timeout client 1s".to_owned()),
        ],
    );
    let Some(_haproxy) = Haproxy::start_on(&configuration, &[ws, wss]) else {
        return;
    };
    for url in [format!("ws://{ws}/"), format!("wss://{wss}/")] {
        let Some(mut node) = Part::Node.command() else {
            return;
        };
        listen(&mut node, dir.path(), &url, "4");
    }
}

#[test]
fn the_console_of_a_browser_hears_echo_and_push() {
    let Some(site) = site(1000) else {
        return;
    };
    for (scheme, addr) in [("ws", site.ws), ("wss", site.wss)] {
        let Some(browser) = Browser::find() else {
            return;
        };
        let url = format!("{scheme}://{addr}/");
        let browser = browser.trusting(path(site.dir.path(), "leaf.pem"));
        let seen = browser.evaluate(
            "about:blank",
            &CONSOLE.replace("URL')", &format!("{url}')")),
        );
        let heard: Vec<&str> = seen["heard"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap())
            .collect();
        assert!(heard.contains(&"received: typed in the console"), "{seen}");
        assert!(heard.contains(&"push 1"), "{seen}");
        assert_eq!(
            (&seen["code"], &seen["clean"]),
            (&1000.into(), &true.into())
        );
        let of_listener = |line: &serde_json::Value| line["listener"] == scheme;
        let open = site.proxy.wait_access("open", of_listener);
        let agent = open["user_agent"].as_str().unwrap();
        assert!(agent.contains("Chrome/"), "{open}");
        let close = site.proxy.wait_access("close", of_listener);
        let cause = close["cause"].as_str().unwrap();
        assert!(cause.ends_with("-closed"), "{close}");
    }
}

#[test]
fn every_frame_of_a_connection_goes_to_one_server() {
    let Some(site) = site_of(&["red", "green", "blue"], 3) else {
        return;
    };
    let mut clients: Vec<Peer> = (0..12).map(|_| websocket::open(site.ws)).collect();
    let mut chosen = vec![String::new(); clients.len()];
    // In turns, so that the frames of all connections mix, and longer than the pushes go on.
    for _ in 0..6 {
        for (client, chosen) in clients.iter_mut().zip(&mut chosen) {
            client.send(websocket::client_text("mine"));
            loop {
                let frame = text_frame(client);
                let (text, server) = frame.split_once(" (").unwrap();
                if chosen.is_empty() {
                    server.clone_into(chosen);
                }
                assert_eq!(server, chosen, "{frame}");
                if text == "received: mine" {
                    break;
                }
            }
        }
    }
    for name in ["red)", "green)", "blue)"] {
        let count = chosen.iter().filter(|chosen| *chosen == name).count();
        assert_eq!(count, 4, "{chosen:?}");
    }
}

#[test]
fn many_clients_each_keep_their_server_and_their_order() {
    let Some(site) = site(3) else {
        return;
    };
    let clients: Vec<Peer> = (0..50).map(|_| websocket::open(site.ws)).collect();
    for mut client in clients {
        client.send(websocket::client_text("mine"));
        let mut frames: Vec<String> = (0..4).map(|_| text_frame(&mut client)).collect();
        let at = frames.iter().position(|text| text == "received: mine");
        frames.remove(at.unwrap_or_else(|| panic!("an echo among {frames:?}")));
        assert_eq!(frames, ["push 1", "push 2", "push 3"]);
    }
}

/// Receives one short text frame of the server.
fn text_frame(client: &mut Peer) -> String {
    let head = client.read(2);
    assert_eq!(head[0], 0x81, "a text frame: {head:?}");
    assert!(head[1] < 126);
    String::from_utf8(client.read(usize::from(head[1]))).unwrap()
}

#[test]
fn a_tunnel_on_which_nobody_speaks_ends() {
    let Some(site) = site(0) else {
        return;
    };
    let mut client = websocket::open(site.ws);
    client.expect_ended();
    let close = site.proxy.wait_cause("close", "tunnel-idle");
    assert!(close["duration_ms"].as_u64().unwrap() >= 900, "{close}");
}

#[test]
fn a_client_that_speaks_keeps_a_tunnel_whose_server_is_silent() {
    let Some(site) = site(0) else {
        return;
    };
    // A pong that nobody asked for goes one way only (RFC 6455 section 5.5.3).
    let pong = [0x8a, 0x80, 1, 2, 3, 4];
    let mut client = websocket::open(site.ws);
    for _ in 0..6 {
        client.expect_silence(std::time::Duration::from_millis(400));
        client.send(pong);
    }
    client.expect_ended();
    let close = site.proxy.wait_cause("close", "tunnel-idle");
    assert!(close["duration_ms"].as_u64().unwrap() >= 3200, "{close}");
}

#[test]
fn a_plain_request_gets_the_applications_refusal() {
    let Some(site) = site(0) else {
        return;
    };
    // `ws` alone answers requests that are no upgrade with 426.
    let answer = http::exchange(site.ws, http::get("localhost", "/", ""));
    assert_eq!(answer.status, 426);
    let line = site.proxy.wait_access("request", |_| true);
    assert_eq!(line["status"], 426);
}

#[test]
fn a_weak_key_is_named_before_the_start() {
    let Some(mut openssl) = Part::Openssl.command() else {
        return;
    };
    let dir = TempDir::new().unwrap();
    let pem = path(dir.path(), "site.pem");
    finish(openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:1024",
        "-nodes",
        "-subj",
        "/CN=weak",
        "-keyout",
        &pem,
        "-out",
        &path(dir.path(), "cert.pem"),
    ]));
    let key = std::fs::read_to_string(&pem).unwrap();
    let certificate = std::fs::read_to_string(dir.path().join("cert.pem")).unwrap();
    std::fs::write(&pem, key + &certificate).unwrap();
    let configuration = path(dir.path(), "longsplice.toml");
    let said =
        format!("listener[1].tls.certificates[0]: {pem}: an RSA key of 1024 bits is refused");
    let text = put(CONFIGURATION, &[("/etc/haproxy/site.pem", pem)]);
    std::fs::write(&configuration, text).unwrap();
    // The TLS library refuses it, so a warning is not enough.
    let outcome = run(&["check", "-c", &configuration]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains(&said), "{outcome:?}");
}
