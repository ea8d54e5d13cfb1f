//! Scenario S4, its plain half: ws on one port to one Node application whose clients mostly listen.
//!
//! The test runs ten times as fast as production: pushes every 500 ms, idle after 1 s.

use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::process::Proxy;
use crate::harness::{free_addr, http, websocket};
use crate::put;

const CONFIGURATION: &str = include_str!("longsplice.toml");

struct Site {
    _app: Running,
    proxy: Proxy,
}

/// Starts the application, which pushes `pushes` times, and the proxy; none = no Node.
fn site(pushes: u32) -> Option<Site> {
    let mut node = Part::Node.command()?;
    let app = Running::start(
        node.arg(file("scenarios/s4_haproxy_wss/app.js"))
            .env("PUSH_MS", "500")
            .env("PUSHES", pushes.to_string()),
    );
    let configuration = put(
        CONFIGURATION,
        &[
            ("0.0.0.0:80\"", format!("{}\"", free_addr())),
            ("127.0.0.1:8080", format!("127.0.0.1:{}", app.port())),
            ("tunnel_idle = \"10s\"", "tunnel_idle = \"1s\"".to_owned()),
        ],
    );
    Some(Site {
        _app: app,
        proxy: Proxy::start(&configuration),
    })
}

#[test]
fn a_silent_client_lives_as_long_as_the_server_pushes() {
    let (Some(site), Some(mut node)) = (site(1000), Part::Node.command()) else {
        return;
    };
    // Eight pushes take four times as long as what counts as idle.
    let heard = finish(
        node.arg(file("scenarios/s4_haproxy_wss/client.js"))
            .arg(format!("ws://{}/", site.proxy.addr()))
            .arg("8"),
    );
    assert_eq!(heard.trim(), "8");
    let close = site.proxy.wait_access("close", |_| true);
    // The client begins to close, the server ends the connection (RFC 6455 section 7.1.1).
    assert!(
        close["cause"].as_str().unwrap().ends_with("-closed"),
        "{close}"
    );
    assert!(close["duration_ms"].as_u64().unwrap() >= 4000, "{close}");
}

#[test]
fn many_clients_each_keep_their_server_and_their_order() {
    let Some(site) = site(3) else {
        return;
    };
    let clients: Vec<Peer> = (0..50)
        .map(|_| websocket::open(site.proxy.addr()))
        .collect();
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
    let mut client = websocket::open(site.proxy.addr());
    client.expect_ended();
    let close = site.proxy.wait_cause("close", "tunnel-idle");
    assert!(close["duration_ms"].as_u64().unwrap() >= 900, "{close}");
}

#[test]
fn a_plain_request_gets_the_applications_refusal() {
    let Some(site) = site(0) else {
        return;
    };
    // `ws` alone answers requests that are no upgrade with 426.
    let answer = http::exchange(site.proxy.addr(), http::get("localhost", "/", ""));
    assert_eq!(answer.status, 426);
    let line = site.proxy.wait_access("request", |_| true);
    assert_eq!(line["status"], 426);
}
