//! Checks of servers that speak TLS: they go over TLS, and say what is wrong with it.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::version::TLS13;

use super::believing;
use super::programs::Rsa;
use crate::harness::http::{get, ok, read_answer};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::tls::{Identity, VERSIONS};
use crate::harness::tls_server::{Served, TlsOrigin, demanding, server_config};
use crate::harness::{PATIENCE, eventually, free_addr, websocket};

/// Checks of `kind` that are quick enough for a test.
pub(super) fn quick(kind: &str) -> String {
    format!(
        "kind = \"{kind}\"\ninterval = \"100ms\"\nfast_interval = \"50ms\"\ntimeout = \"2s\"\n\
         rise = 1\nfall = 2"
    )
}

pub(super) fn wait_up(proxy: &Proxy, server: impl std::fmt::Display) {
    proxy.wait_said(&["state=\"up\"", &format!("server={server} ")]);
}

/// Waits until the server is down, and returns the line that says why.
pub(super) fn wait_down(proxy: &Proxy, server: impl std::fmt::Display) -> String {
    proxy.wait_said(&["state=\"down\"", &format!("server={server} ")])
}

/// Serves each connection of its own accord, and tells what it is told to tell.
fn serving<T: Send + 'static>(
    origin: TlsOrigin,
    serve: impl Fn(Served) -> T + Send + Sync + 'static,
) -> (SocketAddr, Receiver<T>) {
    let addr = origin.addr();
    let (tell, told) = channel();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        loop {
            let served = origin.accept();
            let (serve, tell) = (Arc::clone(&serve), tell.clone());
            thread::spawn(move || tell.send(serve(served)));
        }
    });
    (addr, told)
}

#[test]
fn http_checks_ask_over_tls_with_a_whole_handshake_each_time() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        let mut config = server_config(&identity, &[version], None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (addr, told) = serving(TlsOrigin::bind(config), |mut served| {
            let head = served.read_head();
            served.send(ok("fine"));
            let end = served.read_to_end();
            let tls = &served.tls;
            let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
            let name = tls.server_name().map(str::to_owned);
            (head, name, alpn, tls.handshake_kind(), end.ok())
        });
        let proxy = Plan::http(addr)
            .backend_keys(&believing(&identity, ""))
            .health(&quick("http"))
            .start();
        wait_up(&proxy, addr);
        for _ in 0..3 {
            let (head, name, alpn, kind, end) = told.recv_timeout(PATIENCE).unwrap();
            assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
            assert_eq!(name.as_deref(), Some("localhost"));
            assert_eq!(alpn.as_deref(), Some(&b"http/1.1"[..]));
            // A session that goes on would say nothing of the certificate.
            assert_eq!(kind, Some(HandshakeKind::Full));
            assert_eq!(end.as_deref(), Some(&b""[..]), "no close_notify");
        }
    }
}

#[test]
fn websocket_checks_open_one_over_tls() {
    let identity = Identity::new(&["localhost"]);
    let config = server_config(&identity, &VERSIONS, None);
    let (addr, told) = serving(TlsOrigin::bind(config), |mut served| {
        let head = served.read_head();
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = websocket::accept_for(key.unwrap());
        served.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ));
        // The head of a Close frame that is masked.
        served.expect([0x88, 0x82]);
        served.notify();
    });
    let proxy = Plan::http(addr)
        .backend_keys(&believing(&identity, ""))
        .health(&quick("websocket"))
        .start();
    wait_up(&proxy, addr);
    told.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn tcp_checks_make_the_handshake_and_end_it_in_good_order() {
    let identity = Identity::new(&["localhost"]);
    let config = server_config(&identity, &VERSIONS, None);
    let (addr, told) = serving(TlsOrigin::bind(config), |mut served| served.read_to_end());
    let proxy = Plan::tcp(addr)
        .backend_keys(&believing(&identity, ""))
        .health(&quick("tcp"))
        .start();
    wait_up(&proxy, addr);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"");
}

#[test]
fn a_check_may_go_in_the_clear() {
    let identity = Identity::new(&["localhost"]);
    // It answers to TLS only.
    let origin = Origin::bind();
    let health = format!("{}\ntls = false", quick("tcp"));
    let proxy = Plan::http(origin.addr())
        .backend_keys(&believing(&identity, ""))
        .health(&health)
        .start();
    let mut check = origin.accept();
    assert_eq!(check.read_to_end().0, b"");
    wait_up(&proxy, origin.addr());
    let health = format!("{}\ntls = false", quick("http"));
    let plain = Origin::answering(ok("in the clear"));
    let proxy = Plan::http(plain.addr)
        .backend_keys(&believing(&identity, ""))
        .health(&health)
        .start();
    wait_up(&proxy, plain.addr);
}

#[test]
fn the_proxy_header_of_a_check_goes_before_the_handshake() {
    let identity = Identity::new(&["localhost"]);
    let origin = TlsOrigin::bind(server_config(&identity, &VERSIONS, None));
    let addr = origin.addr();
    let proxy = Plan::http(addr)
        .backend_keys(&believing(&identity, ""))
        .server_keys("send_proxy = \"v1\"")
        .health(&quick("http"))
        .start();
    let header = "PROXY UNKNOWN\r\n";
    let (said, mut served) = origin.accept_behind(header.len());
    assert_eq!(String::from_utf8(said).unwrap(), header);
    assert!(served.read_head().starts_with("GET / HTTP/1.1\r\n"));
    served.send(ok("fine"));
    wait_up(&proxy, addr);
}

/// A server that is down from its first check on, and what the log says of it.
fn down(addr: SocketAddr, keys: &str, kind: &str, why: &str) {
    let health = quick(kind).replace("2s", "300ms");
    let proxy = Plan::http(addr).backend_keys(keys).health(&health).start();
    let line = wait_down(&proxy, addr);
    assert!(line.contains(why), "{line}");
    let mut client = proxy.connect();
    client.send(get("localhost", "/", ""));
    assert_eq!(read_answer(&mut client).status, 503, "{line}");
}

#[test]
fn what_is_wrong_with_the_tls_of_a_server_is_why_it_is_down() {
    let (good, other) = (Identity::new(&["localhost"]), Identity::named("other"));
    let expired = Identity::expired(&["localhost"]);
    let serve = |identity: &Identity| {
        let origin = TlsOrigin::bind(server_config(identity, &VERSIONS, None));
        let addr = origin.addr();
        thread::spawn(move || {
            loop {
                origin.accept_refused();
            }
        });
        addr
    };
    let name = believing(&good, "").replace("\"localhost\"", "\"example.com\"");
    for kind in ["http", "websocket", "tcp"] {
        let unknown = "comes from no issuer in ca";
        down(serve(&good), &believing(&other, ""), kind, unknown);
        let another = "is not for example.com, but for localhost";
        down(serve(&good), &name, kind, another);
        let over = "has expired";
        down(serve(&expired), &believing(&expired, ""), kind, over);

        let keys = believing(&good, "");
        let plain = Origin::serve(|mut peer| {
            let _ = peer.try_send("HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = peer.receive(&mut [0; 1000]);
        });
        down(plain, &keys, kind, "the server does not speak TLS");
        down(Origin::serve(drop), &keys, kind, "the server ");
        let silent = Origin::serve(
            |mut peer| {
                while peer.receive(&mut [0; 1000]).is_ok_and(|len| len > 0) {}
            },
        );
        down(silent, &keys, kind, "no TLS handshake within 300ms");
        down(free_addr(), &keys, kind, "refused the connection");
    }
}

#[test]
fn a_handshake_or_an_answer_without_end_ends_the_check() {
    let identity = Identity::new(&["localhost"]);
    let keys = believing(&identity, "");
    // A long ServerHello, byte by byte.
    let endless = Origin::serve(|mut peer| {
        let mut sent = peer.try_send([22, 3, 3, 0, 4, 2, 0, 0xFF, 0xFF]);
        while sent.is_ok() {
            sent = peer.try_send([22, 3, 3, 0, 1, 0]);
        }
    });
    down(
        endless,
        &keys,
        "http",
        "the server sent too many handshake records",
    );

    let config = server_config(&identity, &VERSIONS, None);
    let (addr, _told) = serving(TlsOrigin::bind(config), |mut served| {
        use std::io::Write as _;
        served.read_head();
        served.send("HTTP/1.1 200 OK\r\nX: ");
        let mut stream = served.stream();
        while stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    down(addr, &keys, "http", "the head is longer than 65536 bytes");
}

#[test]
fn a_server_that_wants_a_certificate_is_checked_with_ours() {
    let (server, mine) = (Identity::new(&["localhost"]), Identity::named("us"));
    for version in VERSIONS {
        let serve = || {
            let origin = TlsOrigin::bind(demanding(&server, version, &mine));
            let addr = origin.addr();
            thread::spawn(move || {
                while let Ok(tcp) = origin.accept_tcp() {
                    let Ok(mut served) = origin.shake(tcp) else {
                        continue;
                    };
                    served.read_head();
                    served.send(ok("fine"));
                }
            });
            addr
        };
        let addr = serve();
        let keys = believing(&server, &format!("cert = \"{}\"", mine.file()));
        let proxy = Plan::http(addr)
            .backend_keys(&keys)
            .health(&quick("http"))
            .start();
        wait_up(&proxy, addr);
        let nobody = believing(&server, "");
        // rustls tells a nameless client of TLS 1.2 less.
        let alert = if *version == TLS13 {
            "the server refused with the alert certificate_required (116): it demands"
        } else {
            "the server refused with the alert"
        };
        down(serve(), &nobody, "http", alert);
    }
}

#[test]
fn openssl_as_an_https_server_is_up() {
    let Some(rsa) = Rsa::new() else { return };
    for version in ["-tls1_2", "-tls1_3"] {
        let addr = free_addr();
        let mut openssl = Part::Openssl.command().unwrap();
        openssl
            .args(["s_server", "-www", "-accept", &addr.to_string(), version])
            .args(["-cert", &rsa.path("cert.pem"), "-key", &rsa.path("key.pem")])
            .stdin(Stdio::null());
        let _server = Running::start(&mut openssl);
        let proxy = Plan::http(addr)
            .backend_keys(&rsa.keys())
            .health(&quick("http"))
            .start();
        wait_up(&proxy, addr);
        let mut client = proxy.connect();
        client.send(get("localhost", "/", "Connection: close\r\n"));
        assert_eq!(read_answer(&mut client).status, 200);
    }
}

#[test]
fn nginx_whose_certificate_goes_bad_goes_down_and_comes_back() {
    let Some(rsa) = Rsa::new() else { return };
    let Some(mut nginx) = Part::Nginx.command() else {
        return;
    };
    let addr = free_addr();
    let config = rsa.path("nginx.conf");
    let (cert, key) = (rsa.path("shown.pem"), rsa.path("shown.key"));
    let text = format!(
        "daemon off; pid {pid}; error_log {log}; events {{}}\n\
         http {{ access_log off; server {{ listen {addr} ssl; server_name localhost;\n\
         ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;\n\
         location / {{ return 200 \"fine\"; }} }} }}\n",
        pid = rsa.path("nginx.pid"),
        log = rsa.path("nginx.log"),
    );
    fs::write(&config, text).unwrap();
    let show = |from: &str| {
        fs::copy(rsa.path(&format!("{from}cert.pem")), &cert).unwrap();
        fs::copy(rsa.path(&format!("{from}key.pem")), &key).unwrap();
    };
    show("");
    let running = Running::start(nginx.args(["-c", &config]));
    eventually("nginx listens", || Peer::try_connect(addr).is_ok());
    let proxy = Plan::http(addr)
        .backend_keys(&rsa.keys())
        .health(&quick("http"))
        .start();
    wait_up(&proxy, addr);
    let ask = || {
        let mut client = proxy.connect();
        client.send(get("localhost", "/", "Connection: close\r\n"));
        read_answer(&mut client).status
    };
    assert_eq!(ask(), 200);

    // Of the same issuer's name and for another host.
    let mut openssl = Part::Openssl.command().unwrap();
    openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args(["-keyout", &rsa.path("badkey.pem")])
        .args(["-out", &rsa.path("badcert.pem"), "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"]);
    finish(&mut openssl);
    show("bad");
    reload(&running);
    let line = wait_down(&proxy, addr);
    assert!(line.contains("the server's certificate"), "{line}");
    assert_eq!(ask(), 503, "{line}");

    show("");
    reload(&running);
    eventually("it is up again", || {
        proxy.count_said(&["state=\"up\"", &addr.to_string()]) >= 2
    });
    // A worker of before may take a last connection.
    eventually("it is served again", || ask() == 200);
}

fn reload(nginx: &Running) {
    let pid = nix::unistd::Pid::from_raw(nginx.pid().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
}

#[test]
fn a_certificate_that_ends_takes_its_server_down() {
    let identity = Identity::until(&["localhost"], Duration::from_secs(3));
    let config = server_config(&identity, &VERSIONS, None);
    let origin = TlsOrigin::bind(config);
    let addr = origin.addr();
    thread::spawn(move || {
        while let Ok(tcp) = origin.accept_tcp() {
            if let Ok(mut served) = origin.shake(tcp) {
                let _ = served.read_to_end();
            }
        }
    });
    let began = Instant::now();
    let proxy = Plan::tcp(addr)
        .backend_keys(&believing(&identity, ""))
        .health(&quick("tcp"))
        .start();
    wait_up(&proxy, addr);
    let line = wait_down(&proxy, addr);
    assert!(line.contains("has expired"), "{line}");
    assert!(began.elapsed() > Duration::from_secs(1), "{line}");
}
