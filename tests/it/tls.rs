//! TLS ended by the proxy: handshakes, identities, requests. Tunnels over TLS
//! are in `ktls`.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use crate::harness::http::{get, ok};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, finish};
use crate::harness::peer::End;
use crate::harness::plan::{Plan, backend, responding};
use crate::harness::process::{Proxy, run};
use crate::harness::random::Random;
use crate::harness::tls::{Identity, Secure, VERSIONS};
use crate::harness::websocket;

// Alerts, and what deserves one.
mod alerts;
// Certificates for one name with keys of several kinds.
mod choice;
// Clients' certificates: demanded, requested, revoked.
mod clients;
// Folders of certificates.
mod folder;
// Certificates and keys of every kind and form.
mod identity;
// PEM files in every form.
mod pem;
// What servers are told of a client's TLS.
mod subject;
// Session tickets under keys from files.
mod tickets;
// Certificates that deserve a warning, and those that do not replace a better one.
mod warnings;
// Certificates that are replaced while the proxy runs.
mod watched;

#[test]
fn requests_are_answered_and_forwarded_as_https() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        let origin = Origin::answering(ok("the body"));
        let proxy = Plan::http(origin.addr)
            .listener_keys(&identity.listener_keys())
            .start();
        let mut client = Secure::connect(proxy.addr(), &identity.client(version, None));
        client.send(get("localhost", "/", "Connection: close\r\n"));
        let answer = String::from_utf8(client.read_to_end().unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("the body"), "{answer}");
        let head = origin.head().to_ascii_lowercase();
        assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
    }
}

/// Posts 3 MB over TLS to a server that `serve` plays, and demands that they come back.
pub(crate) fn exchange_large_body(
    proxy: &Proxy,
    identity: &Identity,
    serve: impl FnOnce(&str) + Send + 'static,
) {
    let body = "b".repeat(3_000_000);
    let sent = body.clone();
    let app = thread::spawn(move || serve(&sent));
    let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head);
    client.send(&body);
    let answer = client.read_to_end().unwrap();
    assert!(answer.ends_with(body.as_bytes()));
    app.join().unwrap();
}

#[test]
fn a_large_body_goes_both_ways() {
    let identity = Identity::new(&["localhost"]);
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys(&identity.listener_keys())
        .start();
    exchange_large_body(&proxy, &identity, move |body| {
        let mut server = origin.accept();
        server.read_head();
        server.expect(body);
        server.send(ok(body));
    });
}

#[test]
fn a_websocket_with_early_frames_becomes_a_tunnel() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr())
            .listener_keys(&identity.listener_keys())
            .start();
        let mut client = Secure::connect(proxy.addr(), &identity.client(version, None));
        let request = websocket::request("localhost", "/ws", "");
        client.send([request.as_bytes(), b"early frame"].concat());
        let mut server = origin.accept();
        let head = websocket::accept(&mut server);
        assert!(
            head.to_ascii_lowercase()
                .contains("x-forwarded-proto: https")
        );
        server.send("first of the server");
        assert!(client.read_head().starts_with("HTTP/1.1 101"));
        client.expect("first of the server");
        server.expect("early frame");
        client.notify();
        server.expect_ended();
        server.finish();
        assert_eq!(client.read_to_end().unwrap(), b"");
        let line = proxy.wait_cause("close", "client-closed");
        assert_eq!(
            (&line["path_in"], &line["bytes_in"]),
            (&"user-records".into(), &11.into())
        );
        assert_eq!(
            (&line["path_out"], &line["bytes_out"]),
            (&"user-records".into(), &19.into())
        );
    }
}

#[test]
fn much_goes_both_ways_with_key_updates_between() {
    for version in VERSIONS {
        let identity = Identity::new(&["localhost"]);
        let proxy = Plan::tcp(Origin::echo())
            .listener_keys(&identity.listener_keys())
            .start();
        let mut client = Secure::connect(proxy.addr(), &identity.client(version, None));
        let mut random = Random::new(7);
        let mut total = 0;
        for round in 0..60 {
            let most = if round % 2 == 0 { 2_000 } else { 150_000 };
            let len = random.between(1, most);
            let block = random.bytes(len);
            if version == &TLS13 && round % 5 == 0 {
                client.tls.refresh_traffic_keys().unwrap();
            }
            client.send(&block);
            client.expect(&block);
            total += len;
        }
        client.notify();
        assert_eq!(client.read_to_end().unwrap(), b"");
        let line = proxy.wait_cause("close", "client-closed");
        assert_eq!(
            (&line["bytes_in"], &line["bytes_out"]),
            (&total.into(), &total.into())
        );
    }
}

#[test]
fn a_drain_says_close_notify() {
    let identity = Identity::new(&["localhost"]);
    let mut proxy = Plan::tcp(Origin::echo())
        .process_keys("drain_timeout = \"100ms\"")
        .listener_keys(&identity.listener_keys())
        .start();
    let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
    client.send("x");
    client.expect("x");
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(client.read_to_end().unwrap(), b"");
    proxy.wait_cause("close", "drained");
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn a_stranger_to_tls_gets_an_alert_and_leaves_no_line() {
    let identity = Identity::new(&["localhost"]);
    let proxy = Plan::http(Origin::echo())
        .listener_keys(&identity.listener_keys())
        .start();
    for text in ["EHLO x\r\n", "\0\u{1}garbage"] {
        let mut peer = proxy.connect();
        peer.send(text);
        assert_eq!(
            peer.read_to_end(),
            (vec![21, 3, 3, 0, 2, 2, 10], End::Closed)
        );
    }
    // Connect and close: a probe.
    proxy.connect().finish();
    let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
    client.notify();
    assert_eq!(proxy.access_lines(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_handshake_has_its_time() {
    let identity = Identity::new(&["localhost"]);
    let proxy = Plan::http(Origin::echo())
        .listener_keys(&identity.listener_keys())
        .listener_timeouts("tls_handshake = \"300ms\"")
        .start();
    let mut peer = proxy.connect();
    // The beginning of a hello, and then byte by byte, which extends nothing.
    peer.send([22, 3, 1, 2, 0, 1, 0]);
    peer.drip_until_refused(Duration::from_millis(50));
    let line = proxy.wait_cause("refused", "tls-handshake-timeout");
    assert_eq!(line["listener"], "edge");
}

#[test]
fn a_client_that_does_not_believe_us_is_a_failed_handshake() {
    let (identity, other) = (Identity::new(&["localhost"]), Identity::new(&["localhost"]));
    let proxy = Plan::http(Origin::echo())
        .listener_keys(&identity.listener_keys())
        .start();
    for version in VERSIONS {
        let config = other.client(version, None);
        let mut client = Secure::begin(proxy.addr(), &config, "localhost", b"");
        assert!(client.shake().is_err());
        proxy.wait_cause("refused", "tls-handshake-failed");
    }
}

#[test]
fn a_proxy_header_comes_before_the_hello() {
    let identity = Identity::new(&["localhost"]);
    let origin = Origin::answering(ok("x"));
    let keys = format!(
        "{}\nproxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]",
        identity.listener_keys()
    );
    let proxy = Plan::http(origin.addr).listener_keys(&keys).start();
    let config = identity.client(&TLS13, None);
    let header = b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 443\r\n";
    let mut client = Secure::begin(proxy.addr(), &config, "localhost", header);
    client.shake().unwrap();
    client.send(get("localhost", "/", "Connection: close\r\n"));
    client.read_to_end().unwrap();
    let head = origin.head().to_ascii_lowercase();
    assert!(head.contains("x-real-ip: 203.0.113.7\r\n"), "{head}");
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let names = [&["first.example"][..], &["*.w.example"], &["a.w.example"]];
    let [first, wild, exact] = names.map(Identity::new);
    let files = [&first, &wild, &exact].map(|identity| format!("\"{}\"", identity.file()));
    let proxy = Plan::http(Origin::echo())
        .listener_keys(&format!("tls.certificates = [{}]", files.join(", ")))
        .start();
    for version in VERSIONS {
        for (identity, name, good) in [
            (&first, "first.example", true),
            (&wild, "x.w.example", true),
            (&exact, "a.w.example", true),
            (&wild, "a.w.example", false),
            (&first, "y.x.w.example", false),
        ] {
            let config = identity.client(version, None);
            let mut client = Secure::begin(proxy.addr(), &config, name, b"");
            assert_eq!(client.shake().is_ok(), good, "{name}");
        }
    }
}

#[test]
fn tunnels_are_routed_by_the_name_the_client_asked_for() {
    let identity = Identity::new(&["a.example", "b.example"]);
    let (a, b) = (Origin::bind(), Origin::bind());
    let routes = "[[listener.route]]\nserver_name = [\"b.example\"]\nbackend = \"other\"\n\
                  [[listener.route]]\nserver_name = [\"a.example\"]\nbackend = \"app\"\n";
    let proxy = Plan::tcp(a.addr())
        .listener_keys(&identity.listener_keys())
        .routes(routes)
        .more(&backend("other", b.addr()))
        .start();
    for version in VERSIONS {
        let config = identity.client(version, None);
        for (name, origin) in [("a.example", &a), ("b.example", &b), ("B.example", &b)] {
            let mut client = Secure::begin(proxy.addr(), &config, name, b"");
            client.shake().unwrap();
            client.send(name);
            origin.accept().expect(name);
        }
    }
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let identity = Identity::new(&["localhost"]);
    let proxy = Plan::routes_only(&responding("", "hello"))
        .listener_keys(&identity.listener_keys())
        .listener_timeouts("keep_alive = \"300ms\"")
        .start();
    let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(client.read_head().starts_with("HTTP/1.1 200"));
        client.expect("hello");
    }
    // The idle connection ends in good order.
    assert_eq!(client.read_to_end().unwrap(), b"");
}

#[test]
fn sessions_resume_on_every_thread() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        let proxy = Plan::tcp(Origin::echo())
            .listener_keys(&identity.listener_keys())
            .start();
        let config = identity.client(version, None);
        for nth in 0..12 {
            let mut client = Secure::connect(proxy.addr(), &config);
            let resumed = client.tls.handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, nth > 0, "{version:?} {nth}");
            // Tickets of TLS 1.3 come with the first bytes.
            client.send("x");
            client.expect("x");
        }
    }
}

#[test]
fn a_client_certificate_is_demanded_and_verified() {
    let (identity, mine, other) = (
        Identity::new(&["localhost"]),
        Identity::new(&["client"]),
        Identity::new(&["stranger"]),
    );
    let keys = format!(
        "{}\ntls.client_ca = \"{}\"",
        identity.listener_keys(),
        mine.cert_file()
    );
    let proxy = Plan::routes_only(&responding("", "hello"))
        .listener_keys(&keys)
        .start();
    for version in VERSIONS {
        for (shown, good) in [(Some(&mine), true), (None, false), (Some(&other), false)] {
            let config = identity.client(version, shown);
            let mut client = Secure::begin(proxy.addr(), &config, "localhost", b"");
            // With TLS 1.3 the refusal comes after the client believes to be done.
            let _ = client.shake();
            let mut answer = String::new();
            let mut stream = client.stream();
            let _ = stream.write_all(get("localhost", "/", "Connection: close\r\n").as_bytes());
            let _ = stream.read_to_string(&mut answer);
            assert_eq!(answer.ends_with("hello"), good, "{answer}");
        }
    }
}

#[test]
fn the_lowest_version_is_kept() {
    let identity = Identity::new(&["localhost"]);
    let keys = format!("{}\ntls.min_version = \"1.3\"", identity.listener_keys());
    let proxy = Plan::tcp(Origin::echo()).listener_keys(&keys).start();
    let config = identity.client(&TLS12, None);
    let mut client = Secure::begin(proxy.addr(), &config, "localhost", b"");
    assert!(client.shake().is_err());
    proxy.wait_cause("refused", "tls-handshake-failed");
    Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
}

#[test]
fn what_is_wrong_with_a_certificate_is_known_before_the_start() {
    let (identity, other) = (Identity::new(&["a"]), Identity::new(&["b"]));
    let toml = Plan::tcp(Origin::echo())
        .listener_keys(&format!(
            "tls.certificates = [{{ cert = \"{}\", key = \"{}\" }}]",
            identity.file(),
            other.file()
        ))
        .toml();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, toml).unwrap();
    for command in ["check", "run"] {
        let outcome = run(&[command, "-c", file.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        let files = format!("{} with the key of {}", identity.file(), other.file());
        let said =
            format!("listener[0].tls.certificates[0]: {files}: the private key belongs to none");
        assert!(outcome.stderr.contains(&said), "{outcome:?}");
    }
}

/// A proxy that answers every request over TLS with "hello".
fn greeter(identity: &Identity) -> Proxy {
    Plan::routes_only(&responding("", "hello"))
        .listener_keys(&identity.listener_keys())
        .start()
}

#[test]
fn curl_gets_its_answer() {
    let Some(curl) = Part::Curl.command() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let proxy = greeter(&identity);
    let program = curl.get_program();
    for version in ["1.2", "1.3"] {
        let mut curl = std::process::Command::new(program);
        let port = proxy.addr().port();
        curl.args(["-s", "--noproxy", "*", "--cacert", &identity.cert_file()])
            .args([&format!("--tlsv{version}"), "--tls-max", version])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .arg(format!("https://localhost:{port}/"));
        assert_eq!(finish(&mut curl), "hello");
    }
}

#[test]
fn python_gets_its_answer_and_a_clean_end() {
    let Some(mut python) = Part::Python.command() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let proxy = greeter(&identity);
    // Without the option a bare FIN would look like close_notify.
    let script = "
import socket, ssl, sys
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=sys.argv[2])
    context.options &= ~getattr(ssl, 'OP_IGNORE_UNEXPECTED_EOF', 0)
    context.minimum_version = context.maximum_version = version
    raw = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    tls = context.wrap_socket(raw, server_hostname='localhost', suppress_ragged_eofs=False)
    tls.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
    answer = b''
    while piece := tls.recv(4096):
        answer += piece
    print(tls.version(), answer.endswith(b'hello'))
";
    python.args(["-c", script, &proxy.addr().port().to_string()]);
    let said = finish(python.arg(identity.cert_file()));
    assert_eq!(said, "TLSv1.2 True\nTLSv1.3 True\n");
}
