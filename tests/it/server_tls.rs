//! TLS to servers: handshakes and whose fault they are, requests, tunnels with either end over TLS.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread;

use rustls::CipherSuite;
use rustls::version::{TLS12, TLS13};

use crate::harness::http::{get, ok, read_answer};
use crate::harness::origin::Origin;
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};
use crate::harness::random::Random;
use crate::harness::tls::{Identity, Secure, VERSIONS};
use crate::harness::tls_server::{Served, TlsOrigin, demanding, server_config};
use crate::harness::websocket;
use crate::harness::{PATIENCE, free_addr};
use crate::tls::exchange_large_body;

// Checks of servers that speak TLS.
mod checks;
// Servers that refuse our certificate after the handshake looks complete, or end with an alert.
mod late;
// openssl, nginx, node as servers.
mod programs;
// The certificates that the system trusts.
mod system_store;
// Files of `[backend.tls]` that are replaced while the proxy runs.
mod watched;

/// Writes `[backend.tls]` that believes `identity`, as keys of a backend, with more of its keys.
pub(crate) fn believing(identity: &Identity, more: &str) -> String {
    format!(
        "tls = {{ ca = \"{}\", server_name = \"localhost\", {more} }}",
        identity.cert_file()
    )
}

/// A client's end, over TLS or not.
pub(crate) enum Client {
    Plain(Peer),
    Tls(Box<Secure>),
}

impl Client {
    pub(crate) fn connect(proxy: &Proxy, tls: Option<&Identity>) -> Self {
        match tls {
            None => Self::Plain(proxy.connect()),
            Some(identity) => {
                let config = identity.client(&TLS13, None);
                Self::Tls(Box::new(Secure::connect(proxy.addr(), &config)))
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self {
            Self::Plain(peer) => peer.send(bytes),
            Self::Tls(secure) => secure.send(bytes),
        }
    }

    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        match self {
            Self::Plain(peer) => peer.expect(bytes),
            Self::Tls(secure) => secure.expect(bytes),
        }
    }

    fn read_head(&mut self) -> String {
        match self {
            Self::Plain(peer) => peer.read_head(),
            Self::Tls(secure) => secure.read_head(),
        }
    }

    /// Waits until what is there to be received grows no more although nothing is received.
    pub(crate) fn wait_stalled(&self) {
        match self {
            Self::Plain(peer) => peer.wait_stalled(),
            Self::Tls(secure) => secure.wait_stalled(),
        }
    }

    /// Ends its half in good order.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Plain(peer) => peer.finish(),
            Self::Tls(secure) => secure.notify(),
        }
    }

    pub(crate) fn expect_ended(&mut self) {
        match self {
            Self::Plain(peer) => peer.expect_ended(),
            Self::Tls(secure) => assert_eq!(secure.read_to_end().unwrap(), b""),
        }
    }
}

/// The keys of a listener whose clients speak TLS, or do not.
fn listener_keys(identity: &Identity, tls: bool) -> String {
    if tls {
        identity.listener_keys()
    } else {
        String::new()
    }
}

fn suites() -> Vec<(&'static rustls::SupportedProtocolVersion, CipherSuite)> {
    vec![
        (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        (
            &TLS12,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
        (&TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
        (&TLS13, CipherSuite::TLS13_AES_256_GCM_SHA384),
        (&TLS13, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ]
}

#[test]
fn much_goes_both_ways_with_every_cipher_and_either_kind_of_client() {
    let identity = Identity::new(&["localhost"]);
    for (version, suite) in suites() {
        let addr = TlsOrigin::echo(server_config(&identity, &[version], Some(suite)));
        for client_tls in [false, true] {
            let proxy = Plan::tcp(addr)
                .listener_keys(&listener_keys(&identity, client_tls))
                .backend_keys(&believing(&identity, ""))
                .start();
            let mut client = Client::connect(&proxy, client_tls.then_some(&identity));
            let mut random = Random::new(7);
            let mut total = 0;
            for round in 0..60 {
                let len = if round % 3 == 0 { 300_000 } else { 1_000 } + round;
                let text = random.bytes(len);
                total += len;
                let (part, rest) = text.split_at(len / 2);
                client.send(part);
                client.expect(part);
                client.send(rest);
                client.expect(rest);
            }
            client.finish();
            client.expect_ended();
            let line = proxy.wait_cause("close", "client-closed");
            assert_eq!(line["bytes_in"], total, "{suite:?} {line}");
            assert_eq!(line["bytes_out"], total, "{suite:?} {line}");
            let (path_in, path_out) = (&line["path_in"], &line["path_out"]);
            assert!(
                path_in.as_str().unwrap().starts_with("user-records"),
                "{line}"
            );
            assert!(
                path_out.as_str().unwrap().starts_with("user-records"),
                "{line}"
            );
        }
    }
}

#[test]
fn an_upgrade_with_early_bytes_on_both_sides_becomes_a_tunnel() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        for client_tls in [false, true] {
            let origin = TlsOrigin::bind(server_config(&identity, &[version], None));
            let proxy = Plan::http(origin.addr())
                .listener_keys(&listener_keys(&identity, client_tls))
                .backend_keys(&believing(&identity, ""))
                .start();
            let app = thread::spawn(move || {
                let mut server = origin.accept();
                server.read_head();
                let answer = websocket::switching("");
                server.send([answer.as_bytes(), b"first of the server"].concat());
                server.expect("early frame");
                assert_eq!(server.read_to_end().unwrap(), b"");
                server.send("after the client's end");
                server.notify();
            });
            let mut client = Client::connect(&proxy, client_tls.then_some(&identity));
            let request = websocket::request("localhost", "/ws", "");
            client.send([request.as_bytes(), b"early frame"].concat());
            assert!(client.read_head().starts_with("HTTP/1.1 101"));
            client.expect("first of the server");
            client.finish();
            client.expect("after the client's end");
            client.expect_ended();
            app.join().unwrap();
            let line = proxy.wait_cause("close", "client-closed");
            assert_eq!(
                (&line["bytes_in"], &line["bytes_out"]),
                (&11.into(), &41.into())
            );
        }
    }
}

#[test]
fn requests_share_a_connection_that_gets_tickets_and_new_keys_between() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        let mut config = server_config(&identity, &[version], None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let origin = TlsOrigin::bind(config);
        let proxy = Plan::http(origin.addr())
            .backend_keys(&believing(&identity, ""))
            .start();
        let app = thread::spawn(move || {
            let mut server = origin.accept();
            assert_eq!(server.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
            for turn in 0..4 {
                server.read_head();
                server.send(ok(&format!("answer {turn}")));
                // A record without data, on an idle connection.
                if server.tls.refresh_traffic_keys().is_ok() {
                    server.tls.write_tls(&mut server.tcp).unwrap();
                }
            }
            assert_eq!(server.read_to_end().unwrap(), b"", "no close_notify");
        });
        let mut client = proxy.connect();
        for turn in 0..4 {
            client.send(get("localhost", "/", ""));
            let answer = read_answer(&mut client);
            assert_eq!(answer.text(), format!("answer {turn}"));
        }
        client.finish();
        app.join().unwrap();
    }
}

#[test]
fn a_kept_connection_that_says_something_is_not_used_again() {
    let identity = Identity::new(&["localhost"]);
    let origin = TlsOrigin::bind(server_config(&identity, &VERSIONS, None));
    let proxy = Plan::http(origin.addr())
        .backend_keys(&believing(&identity, ""))
        .start();
    let (said, heard) = channel();
    let app = thread::spawn(move || {
        let mut server = origin.accept();
        server.read_head();
        server.send(ok("first"));
        server.send(ok("evil"));
        said.send(()).unwrap();
        let mut next = origin.accept();
        next.read_head();
        next.send(ok("second"));
    });
    let mut client = proxy.connect();
    client.send(get("localhost", "/", ""));
    assert_eq!(read_answer(&mut client).text(), "first");
    heard.recv_timeout(PATIENCE).unwrap();
    client.send(get("localhost", "/", ""));
    assert_eq!(read_answer(&mut client).text(), "second");
    app.join().unwrap();
}

#[test]
fn bodies_go_both_ways() {
    let identity = Identity::new(&["localhost"]);
    let origin = TlsOrigin::bind(server_config(&identity, &VERSIONS, None));
    let proxy = Plan::http(origin.addr())
        .listener_keys(&identity.listener_keys())
        .backend_keys(&believing(&identity, ""))
        .start();
    exchange_large_body(&proxy, &identity, move |body| {
        let mut server = origin.accept();
        server.read_head();
        server.expect(body);
        server.send(ok(body));
    });
}

/// One server that refuses, or is refused: what the client gets and what the log says.
fn refused(addr: SocketAddr, keys: &str, status: u16, cause: &str, detail: &str) {
    let proxy = Plan::http(addr)
        .backend_keys(&format!("retries = 0\n{keys}"))
        .backend_timeouts("connect = \"1s\"")
        .start();
    let mut client = proxy.connect();
    client.send(get("localhost", "/", ""));
    assert_eq!(read_answer(&mut client).status, status, "{detail}");
    let line = proxy.wait_cause("refused", cause);
    assert!(line["detail"].as_str().unwrap().contains(detail), "{line}");
    assert_eq!(
        (&line["side"], &line["server"]),
        (&"server".into(), &addr.to_string().into())
    );
}

#[test]
fn a_handshake_that_comes_to_nothing_says_whose_fault_it_is() {
    let (good, other) = (Identity::new(&["localhost"]), Identity::named("other"));
    let expired = Identity::expired(&["localhost"]);
    let tls = |identity: &Identity, keys: &str, detail: &str| {
        let origin = TlsOrigin::bind(server_config(identity, &VERSIONS, None));
        let addr = origin.addr();
        let told = thread::spawn(move || origin.accept_refused());
        refused(addr, keys, 502, "server-tls-failed", detail);
        assert!(matches!(
            told.join().unwrap(),
            rustls::Error::AlertReceived(_)
        ));
    };
    tls(&good, &believing(&other, ""), "comes from no issuer in ca");
    let name = believing(&good, "").replace("\"localhost\"", "\"example.com\"");
    tls(&good, &name, "is not for example.com, but for localhost");
    let by_address = format!("tls = {{ ca = \"{}\" }}", good.cert_file());
    tls(
        &good,
        &by_address,
        "is not for 127.0.0.1, but for localhost",
    );
    tls(&expired, &believing(&expired, ""), "has expired");

    let only_12 = TlsOrigin::bind(server_config(&good, &[&TLS12], None));
    let addr = only_12.addr();
    let told = thread::spawn(move || only_12.accept_refused());
    let keys = believing(&good, "min_version = \"1.3\"");
    refused(
        addr,
        &keys,
        502,
        "server-tls-failed",
        "alert protocol_version (70): it speaks TLS 1.1 at most",
    );
    told.join().unwrap();

    let plain = Origin::serve(|mut peer| {
        let _ = peer.try_send("HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = peer.receive(&mut [0; 1000]);
    });
    let keys = believing(&good, "");
    refused(plain, &keys, 502, "server-tls-failed", "does not speak TLS");
    let closing = Origin::serve(drop);
    refused(closing, &keys, 502, "server-tls-failed", "the server ");
    let silent =
        Origin::serve(|mut peer| while peer.receive(&mut [0; 1000]).is_ok_and(|len| len > 0) {});
    refused(silent, &keys, 504, "server-tls-timeout", "did not come");
    refused(free_addr(), &keys, 502, "connect-refused", "");
}

#[test]
fn without_verification_anybody_will_do() {
    let identity = Identity::new(&["elsewhere"]);
    let addr = TlsOrigin::echo(server_config(&identity, &VERSIONS, None));
    let proxy = Plan::tcp(addr).backend_keys("tls.verify = false").start();
    let mut client = proxy.connect();
    client.send("x");
    client.expect("x");
    assert!(proxy.log().contains("are not verified"), "{}", proxy.log());
}

#[test]
fn another_server_is_tried_when_a_handshake_fails() {
    let (good, other) = (Identity::new(&["localhost"]), Identity::named("other"));
    let bad = TlsOrigin::bind(server_config(&other, &VERSIONS, None));
    let addr = TlsOrigin::echo(server_config(&good, &VERSIONS, None));
    let proxy = Plan::tcp(bad.addr())
        .backend_keys(&format!(
            "balance = \"round_robin\"\n{}",
            believing(&good, "")
        ))
        .more(&format!("[[backend.server]]\naddress = \"{addr}\""))
        .start();
    let told = thread::spawn(move || {
        bad.accept_refused();
    });
    for _ in 0..2 {
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
    }
    told.join().unwrap();
}

#[test]
fn our_certificate_is_shown_to_a_server_that_asks() {
    let (server, mine) = (Identity::new(&["localhost"]), Identity::named("us"));
    for version in VERSIONS {
        let origin = TlsOrigin::bind(demanding(&server, version, &mine));
        let keys = believing(&server, &format!("cert = \"{}\"", mine.file()));
        let proxy = Plan::tcp(origin.addr()).backend_keys(&keys).start();
        let mut client = proxy.connect();
        client.send("x");
        let mut accepted = origin.accept();
        accepted.expect("x");
        let shown = accepted.tls.peer_certificates().unwrap()[0].clone();
        assert_eq!(shown, mine.certificate());
    }
}

#[test]
fn the_proxy_header_goes_first_and_in_the_clear() {
    let identity = Identity::new(&["localhost"]);
    let origin = TlsOrigin::bind(server_config(&identity, &VERSIONS, None));
    let proxy = Plan::tcp(origin.addr())
        .backend_keys(&believing(&identity, ""))
        .server_keys("send_proxy = \"v1\"")
        .start();
    let mut client = proxy.connect();
    let (from, to) = (client.local_addr(), proxy.addr());
    let header = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        from.port(),
        to.port()
    );
    client.send("hello");
    let (said, mut server) = origin.accept_behind(header.len());
    assert_eq!(String::from_utf8(said).unwrap(), header);
    server.expect("hello");
    server.send("and back");
    client.expect("and back");
}

/// A tunnel of `tcp` mode with a server over TLS.
fn tunnel(
    identity: &Identity,
    version: &'static rustls::SupportedProtocolVersion,
) -> (Proxy, Peer, Served) {
    let origin = TlsOrigin::bind(server_config(identity, &[version], None));
    let proxy = Plan::tcp(origin.addr())
        .backend_keys(&believing(identity, ""))
        .start();
    let mut client = proxy.connect();
    client.send("hello");
    let mut server = origin.accept();
    server.expect("hello");
    (proxy, client, server)
}

#[test]
fn ends_of_a_server_are_passed_on_as_what_they_are() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        let (proxy, mut client, mut server) = tunnel(&identity, version);
        server.send("last words");
        server.notify();
        client.expect("last words");
        client.expect_ended();
        client.finish();
        assert_eq!(server.read_to_end().unwrap(), b"");
        proxy.wait_cause("close", "server-closed");

        let (proxy, mut client, mut server) = tunnel(&identity, version);
        server.send("cut off");
        server.truncate();
        client.expect("cut off");
        client.expect_ended();
        client.finish();
        assert_eq!(server.read_to_end().unwrap(), b"");
        let line = proxy.wait_cause("close", "server-truncated");
        assert_eq!(line["side"], "server");

        let (proxy, mut client, mut server) = tunnel(&identity, version);
        server.tcp.write_all(&[23, 3, 3, 0, 40]).unwrap();
        server.tcp.write_all(&[7; 40]).unwrap();
        assert_eq!(client.read_to_end().1, End::Reset);
        proxy.wait_cause("close", "server-tls-bad-record");
        let alert = server.read_to_end().unwrap_err();
        assert!(alert.to_string().contains("BadRecordMac"), "{alert}");

        let (proxy, client, mut server) = tunnel(&identity, version);
        client.reset();
        assert!(server.read_to_end().is_err());
        proxy.wait_cause("close", "client-reset");
    }
}

#[test]
fn a_clients_end_without_close_notify_reaches_the_server_without_one() {
    let identity = Identity::new(&["localhost"]);
    let origin = TlsOrigin::bind(server_config(&identity, &VERSIONS, None));
    let proxy = Plan::tcp(origin.addr())
        .listener_keys(&identity.listener_keys())
        .backend_keys(&believing(&identity, ""))
        .start();
    let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
    client.send("hello");
    let mut server = origin.accept();
    server.expect("hello");
    client.truncate();
    assert!(
        server.read_to_end().is_err(),
        "it was told that this was all"
    );
    server.notify();
    server.truncate();
    assert_eq!(client.read_to_end().unwrap(), b"");
    proxy.wait_cause("close", "client-truncated");
}

#[test]
fn a_body_that_ends_with_the_connection_ends_with_close_notify() {
    let identity = Identity::new(&["localhost"]);
    for whole in [true, false] {
        let origin = TlsOrigin::bind(server_config(&identity, &VERSIONS, None));
        let proxy = Plan::http(origin.addr())
            .backend_keys(&believing(&identity, ""))
            .start();
        let mut client = proxy.connect();
        client.send(get("localhost", "/", ""));
        let mut server = origin.accept();
        server.read_head();
        server.send("HTTP/1.1 200 OK\r\n\r\npart");
        if whole {
            server.notify();
        }
        server.truncate();
        assert!(client.read_head().starts_with("HTTP/1.1 200"));
        let (body, end) = client.read_to_end();
        assert_eq!(body, b"part");
        let (expected, cause) = if whole {
            (End::Closed, "served")
        } else {
            (End::Reset, "server-truncated")
        };
        assert_eq!(end, expected);
        proxy.wait_cause("request", cause);
    }
}

#[test]
fn a_stop_says_close_notify_to_both() {
    let identity = Identity::new(&["localhost"]);
    let origin = TlsOrigin::bind(server_config(&identity, &VERSIONS, None));
    let mut proxy = Plan::tcp(origin.addr())
        .process_keys("drain_timeout = \"1ms\"")
        .listener_keys(&identity.listener_keys())
        .backend_keys(&believing(&identity, ""))
        .start();
    let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
    client.send("hello");
    let mut server = origin.accept();
    server.expect("hello");
    proxy.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.read_to_end().unwrap(), b"");
    assert_eq!(client.read_to_end().unwrap(), b"");
    assert_eq!(proxy.wait_exit(), Some(0));
}

#[test]
fn what_is_wrong_is_known_before_the_start() {
    let identity = Identity::new(&["localhost"]);
    let rows = [
        (
            "tls.ca = \"/nowhere.pem\"".to_owned(),
            "backend[0].tls.ca: \"/nowhere.pem\" cannot be read",
        ),
        (
            "tls.server_name = \"a b\"".to_owned(),
            "backend[0].tls.server_name: \"a b\" is neither",
        ),
        (
            format!("tls.key = \"{}\"", identity.file()),
            "backend[0].tls.cert: missing",
        ),
    ];
    for (keys, said) in rows {
        let toml = Plan::tcp(free_addr()).backend_keys(&keys).toml();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, toml).unwrap();
        let outcome = run(&["check", "-c", file.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(said), "{outcome:?}");
    }
}

#[test]
fn a_reload_goes_by_what_the_files_hold() {
    let (first, second) = (Identity::new(&["localhost"]), Identity::new(&["localhost"]));
    let proxy = Plan::http(free_addr())
        .backend_keys(&believing(&first, ""))
        .process_keys("sandbox = false")
        .start();
    let line = proxy.reload_again();
    assert!(line.contains("nothing changed"), "{line}");
    std::fs::copy(second.cert_file(), first.cert_file()).unwrap();
    let line = proxy.reload_again();
    assert!(line.contains("backends changed: app"), "{line}");
}
