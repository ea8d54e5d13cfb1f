//! Connections that speak another protocol than their listener expects: the log names the key to look at.

use std::time::Duration;

use rustls::version::TLS13;

use crate::harness::eventually;
use crate::harness::http::{self, get, ok};
use crate::harness::origin::{Answering, Origin};
use crate::harness::parts::{Part, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};
use crate::harness::tls::{Identity, Secure};

const PROXY_V1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 1000 80\r\n";
const PROXY_V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x01\x03\xe8\0\x50";
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03aaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaa\x00\x00\x02\x13\x01\x01\x00";
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The alert unexpected_message, unprotected.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 10];

const TRUSTING_OTHERS: &str =
    "proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]";

fn plain(keys: &str) -> (Proxy, Answering) {
    let origin = Origin::answering(ok("hello"));
    let proxy = Plan::http(origin.addr).listener_keys(keys).start();
    (proxy, origin)
}

/// Waits for the line of a refusal whose detail contains all `parts`.
fn wait_told(proxy: &Proxy, cause: &str, parts: &[&str]) {
    proxy.wait_access("refused", |line| {
        let detail = line["detail"].as_str().unwrap_or_default();
        line["cause"] == cause && parts.iter().all(|part| detail.contains(part))
    });
}

#[test]
fn a_plain_listener_recognises_what_is_no_request() {
    let header = [PROXY_V1, get("x", "/", "").as_bytes()].concat();
    let rows: [(&str, &[u8], &[&str]); 6] = [
        (
            "",
            &header,
            &["version 1", "proxy_protocol = \"off\"", "trusted_proxies"],
        ),
        (
            "",
            PROXY_V2,
            &["version 2", "proxy_protocol = \"off\"", "trusted_proxies"],
        ),
        (
            TRUSTING_OTHERS,
            &header,
            &["version 1", "127.0.0.1", "not in trusted_proxies"],
        ),
        ("", CLIENT_HELLO, &["TLS ClientHello", "[listener.tls]"]),
        (
            TRUSTING_OTHERS,
            CLIENT_HELLO,
            &["TLS ClientHello", "[listener.tls]"],
        ),
        ("", HTTP2_PREFACE, &["HTTP/2", "mode = \"http\""]),
    ];
    for (keys, bytes, parts) in rows {
        let (proxy, origin) = plain(keys);
        let mut client = proxy.connect();
        client.send(bytes);
        let answer = http::expect_own_answer(&mut client, 400);
        // The key is the operator's business.
        assert!(
            !answer.text().contains("proxy_protocol"),
            "{}",
            answer.text()
        );
        wait_told(&proxy, "bad-request", parts);
        // Byte by byte it is the same, as far as the connection lives.
        let mut client = proxy.connect();
        let _ = client.drip(bytes, Duration::from_millis(1));
        client.read_to_end();
        origin.expect_untouched();
        eventually("the same words", || {
            let lines = proxy.access_lines();
            let told = |line: &&serde_json::Value| {
                let detail = line["detail"].as_str().unwrap_or_default();
                parts.iter().all(|part| detail.contains(part))
            };
            lines.iter().filter(told).count() == 2
        });
    }
}

#[test]
fn a_second_header_needs_a_trusted_first_client() {
    let (proxy, origin) = plain(TRUSTING_OTHERS);
    let mut client = Peer::connect_from("127.0.0.2", proxy.addr());
    client.send([PROXY_V1, PROXY_V1].concat());
    http::expect_own_answer(&mut client, 400);
    wait_told(
        &proxy,
        "bad-request",
        &["203.0.113.9, which is not in trusted_proxies"],
    );
    origin.expect_untouched();
}

#[test]
fn a_listener_that_requires_headers_says_what_came_instead() {
    let (proxy, _origin) =
        plain("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.0/8\"]");
    let request = get("x", "/", "");
    let rows: [(&[u8], &str); 4] = [
        (CLIENT_HELLO, "a TLS ClientHello"),
        (request.as_bytes(), "an HTTP request"),
        (HTTP2_PREFACE, "the preface of HTTP/2"),
        (
            b"EHLO x\r\n",
            "sent no PROXY header; let the balancer send one",
        ),
    ];
    for (bytes, what) in rows {
        let mut client = proxy.connect();
        client.send(bytes);
        client.expect_closed();
        wait_told(&proxy, "proxy-header-missing", &[what, "proxy_protocol"]);
    }
}

#[test]
fn a_tls_listener_answers_plain_http_in_http() {
    let identity = Identity::new(&["localhost"]);
    let (proxy, origin) = plain(&identity.listener_keys());
    let request = get("localhost", "/", "");
    for bytes in [request.as_bytes(), HTTP2_PREFACE] {
        for pause in [None, Some(Duration::from_millis(1))] {
            let mut client = proxy.connect();
            match pause {
                None => client.send(bytes),
                // The rest may come too late.
                Some(pause) => drop(client.drip(bytes, pause)),
            }
            let answer = http::expect_own_answer(&mut client, 400);
            assert!(answer.text().contains("https://"), "{}", answer.text());
        }
    }
    wait_told(
        &proxy,
        "tls-handshake-failed",
        &["an HTTP request", "[listener.tls]"],
    );
    wait_told(
        &proxy,
        "tls-handshake-failed",
        &["HTTP/2", "[listener.tls]"],
    );
    for (bytes, version) in [(PROXY_V1, "version 1"), (PROXY_V2, "version 2")] {
        let mut client = proxy.connect();
        client.send(bytes);
        let (said, _) = client.read_to_end();
        assert_eq!(said, ALERT, "an alert and nothing else");
        let parts = [version, "proxy_protocol = \"off\"", "trusted_proxies"];
        wait_told(&proxy, "tls-handshake-failed", &parts);
    }
    // What nobody knows is not worth a line, as before.
    let lines = proxy.access_lines().len();
    let mut client = proxy.connect();
    client.send(b"EHLO x\r\n");
    assert_eq!(client.read_to_end().0, ALERT);
    assert_eq!(proxy.access_lines().len(), lines);
    origin.expect_untouched();
}

#[test]
fn a_tls_tunnel_answers_plain_http_with_an_alert() {
    let identity = Identity::new(&["localhost"]);
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&identity.listener_keys())
        .start();
    let mut client = proxy.connect();
    client.send(get("localhost", "/", ""));
    assert_eq!(client.read_to_end().0, ALERT);
    wait_told(
        &proxy,
        "tls-handshake-failed",
        &["an HTTP request", "[listener.tls]"],
    );
}

#[test]
fn what_comes_inside_tls_is_told_apart() {
    let identity = Identity::new(&["localhost"]);
    let (proxy, _origin) = plain(&format!("{}\n{TRUSTING_OTHERS}", identity.listener_keys()));
    let rows: [(&[u8], &str); 3] = [
        (PROXY_V1, "inside TLS: the balancer must send it before"),
        (CLIENT_HELLO, "encrypts twice"),
        (HTTP2_PREFACE, "mode = \"http\" speaks HTTP/1.1"),
    ];
    for (bytes, told) in rows {
        let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
        client.send(bytes);
        let answer = String::from_utf8(client.read_to_end().unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        wait_told(&proxy, "bad-request", &[told]);
    }
}

#[test]
fn sni_mode_names_what_is_no_tls() {
    let proxy = Plan::sni(Origin::echo()).start();
    let request = get("x", "/", "");
    let rows: [(&[u8], &str); 4] = [
        (request.as_bytes(), "an HTTP request without TLS"),
        (HTTP2_PREFACE, "HTTP/2 without TLS"),
        (PROXY_V1, "proxy_protocol = \"off\""),
        (PROXY_V2, "proxy_protocol = \"off\""),
    ];
    for (bytes, told) in rows {
        let mut client = proxy.connect();
        client.send(bytes);
        client.read_to_end();
        wait_told(&proxy, "tls-handshake-failed", &[told]);
    }
}

#[test]
fn a_limit_is_named_with_its_value_and_its_key() {
    let origin = Origin::answering(ok("hello"));
    let proxy = Plan::http(origin.addr)
        .limits("request_line = 100\nhead = \"1KiB\"\nheaders = 5\nmax_body = 10")
        .start();
    let lines = |count: usize| "X: y\r\n".repeat(count);
    let rows = [
        (
            get("x", &"/".repeat(200), ""),
            414,
            "100 bytes",
            "request_line",
        ),
        (
            get("x", "/", &format!("X: {}\r\n", "y".repeat(2000))),
            431,
            "1024 bytes",
            "head in [listener.limits]",
        ),
        (get("x", "/", &lines(6)), 431, "5 header lines", "headers"),
        (
            get("x", "/", "Content-Length: 11\r\n"),
            413,
            "10 bytes",
            "max_body",
        ),
    ];
    for (request, status, value, key) in rows {
        let mut client = proxy.connect();
        client.send(&request);
        let answer = http::expect_own_answer(&mut client, status);
        assert!(
            !answer.text().contains("listener.limits"),
            "{}",
            answer.text()
        );
        proxy.wait_access("refused", |line| {
            let detail = line["detail"].as_str().unwrap_or_default();
            line["status"] == status
                && [value, key, "[listener.limits]"]
                    .iter()
                    .all(|part| detail.contains(part))
        });
    }
    origin.expect_untouched();
}

#[test]
fn check_warns_of_a_wait_before_a_server_that_speaks_first() {
    let toml = |mode: &str, protocol: &str| {
        Plan::tcp(Origin::echo())
            .listener_keys(&format!(
                "proxy_protocol = \"{protocol}\"\ntrusted_proxies = [\"10.0.0.0/8\"]"
            ))
            .toml()
            .replace("mode = \"tcp\"", &format!("mode = \"{mode}\""))
    };
    let dir = tempfile::TempDir::new().unwrap();
    for (mode, protocol, warned) in [
        ("tcp", "optional", true),
        ("tcp", "require", false),
        ("sni", "optional", false),
    ] {
        let path = dir.path().join("longsplice.toml");
        std::fs::write(&path, toml(mode, protocol)).unwrap();
        let outcome = run(&["check", "-c", path.to_str().unwrap()]);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(
            said.contains("proxy_header"),
            warned,
            "{mode} {protocol}: {said}"
        );
    }
}

#[test]
fn curl_and_openssl_meet_the_wrong_port() {
    let (Some(mut curl), Some(mut h2c), Some(mut openssl)) = (
        Part::Curl.command(),
        Part::Curl.command(),
        Part::Openssl.command(),
    ) else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let (proxy, _origin) = plain(&identity.listener_keys());
    let url = format!("http://{}/", proxy.addr());
    let said = finish(curl.args(["-sS", "-i", &url]));
    assert!(
        said.starts_with("HTTP/1.1 400 ") && said.contains("https://"),
        "{said}"
    );
    wait_told(&proxy, "tls-handshake-failed", &["[listener.tls]"]);

    let (proxy, _origin) = plain("");
    let addr = proxy.addr().to_string();
    let output = openssl
        .args(["s_client", "-connect", &addr])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("wrong version"),
        "{said}"
    );
    wait_told(
        &proxy,
        "bad-request",
        &["TLS ClientHello", "[listener.tls]"],
    );

    let url = format!("http://{addr}/");
    let output = h2c
        .args(["-sS", "--http2-prior-knowledge", &url])
        .output()
        .unwrap();
    assert!(!output.status.success());
    wait_told(&proxy, "bad-request", &["HTTP/2"]);
}
