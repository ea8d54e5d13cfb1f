//! What servers are told of a client's TLS: the subject of its certificate as a header, and the TLVs
//! of a version 2 PROXY header.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::harness::http::{self, get, ok};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::wait_listening_on;
use crate::harness::tls::{Identity, Secure, VERSIONS};
use crate::harness::{eventually, free_addr, websocket};

/// A version 2 PROXY header, read by nobody's code but this.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    alpn: Option<String>,
    authority: Option<String>,
    /// The bits of PP2_TYPE_SSL and its `verify`.
    ssl: Option<(u8, u32)>,
    version: Option<String>,
    common_name: Option<String>,
    cipher: Option<String>,
}

impl Told {
    fn read(server: &mut Peer) -> Self {
        let head = server.read(16);
        assert_eq!(&head[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x11", "{head:?}");
        let block = server.read(usize::from(u16::from_be_bytes([head[14], head[15]])));
        let mut told = Self::default();
        told.take(&block[12..]);
        told
    }

    fn take(&mut self, mut rest: &[u8]) {
        while let [kind, high, low, behind @ ..] = rest {
            let (value, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            let text = || Some(String::from_utf8(value.to_vec()).unwrap());
            match kind {
                0x01 => self.alpn = text(),
                0x02 => self.authority = text(),
                0x20 => {
                    let verify = u32::from_be_bytes(value[1..5].try_into().unwrap());
                    self.ssl = Some((value[0], verify));
                    self.take(&value[5..]);
                }
                0x21 => self.version = text(),
                0x22 => self.common_name = text(),
                0x23 => self.cipher = text(),
                other => panic!("TLV {other}"),
            }
            rest = behind;
        }
        assert!(rest.is_empty(), "{rest:?}");
    }
}

/// The keys of a listener that believes the certificates of `mine`.
fn keys(identity: &Identity, mine: &Identity) -> String {
    format!(
        "{}\ntls.client_ca = \"{}\"",
        identity.listener_keys(),
        mine.cert_file()
    )
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn the_header_says_it_and_nobody_else_does() {
    let identity = Identity::new(&["localhost"]);
    let mine = Identity::named("Ada \u{c5}, \"the first\"\r\nX-Evil: 1");
    let expected = "CN=Ada \\C3\\85\\, \\\"the first\\\"\\0D\\0AX-Evil: 1";
    let lines = "X-Client-Subject: CN=forged\r\nx_client_subject: CN=forged\r\n";
    for trusted in ["", "trusted_proxies = [\"127.0.0.1\"]"] {
        let keys = format!(
            "{trusted}\n{}\ntls.client_subject = true",
            keys(&identity, &mine)
        );
        for version in VERSIONS {
            let origin = Origin::bind();
            let proxy = Plan::http(origin.addr()).listener_keys(&keys).start();
            let config = identity.client(version, Some(&mine));
            // The second one resumes, and shows no certificate.
            for _ in 0..2 {
                let mut client = Secure::connect(proxy.addr(), &config);
                client.send(websocket::request("localhost", "/ws", lines));
                let mut server = origin.accept();
                let head = websocket::accept(&mut server);
                assert_eq!(
                    http::values(&head, "x-client-subject"),
                    [expected],
                    "{head}"
                );
                assert!(!head.contains("forged"), "{head}");
                assert!(!head.contains("\nX-Evil"), "{head}");
                client.read_head();
            }
        }
    }
}

#[test]
fn no_other_listener_lets_it_in() {
    let (identity, mine) = (Identity::new(&["localhost"]), Identity::named("Ada"));
    let origin = Origin::answering(ok("x"));
    let plain = free_addr();
    let other = format!(
        "[[listener]]\nname = \"plain\"\nbind = [\"{plain}\"]\nmode = \"http\"\n\
         [[listener.route]]\nbackend = \"app\"\n"
    );
    let keys = format!("{}\ntls.client_subject = true", keys(&identity, &mine));
    let _proxy = Plan::http(origin.addr)
        .listener_keys(&keys)
        .more(&other)
        .start();
    let lines =
        "X-Client-Subject: CN=forged\r\nx_client_subject: CN=forged\r\nConnection: close\r\n";
    let mut client = Peer::connect(plain);
    client.send(get("localhost", "/", lines));
    client.read_to_end();
    let head = origin.head();
    assert!(!head.contains("forged"), "{head}");
}

#[test]
fn a_ticket_does_not_outlive_the_clients_certificate() {
    let identity = Identity::new(&["localhost"]);
    for version in VERSIONS {
        let mine = Identity::until(&["client"], Duration::from_secs(4));
        let proxy = Plan::tcp(Origin::echo())
            .listener_keys(&keys(&identity, &mine))
            .start();
        let config = identity.client(version, Some(&mine));
        let mut resumed = false;
        eventually("the certificate has ended", || {
            let mut client = Secure::begin(proxy.addr(), &config, "localhost", b"");
            let lives = client.shake().is_ok() && client.try_echo().is_ok();
            resumed |= client.tls.handshake_kind() == Some(HandshakeKind::Resumed);
            !lives
        });
        assert!(resumed, "no ticket was ever taken");
        proxy.wait_cause("refused", "tls-handshake-failed");
    }
}

#[test]
fn without_the_option_the_header_is_believed_from_trusted_peers_only() {
    let (identity, mine) = (Identity::new(&["localhost"]), Identity::named("Ada"));
    let origin = Origin::answering(ok("x"));
    for (trust, told) in [
        ("", None),
        ("\ntrusted_proxies = [\"127.0.0.1\"]", Some("CN=mine")),
    ] {
        let proxy = Plan::http(origin.addr)
            .listener_keys(&(keys(&identity, &mine) + trust))
            .start();
        let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, Some(&mine)));
        let lines = "X-Client-Subject: CN=mine\r\nConnection: close\r\n";
        client.send(get("localhost", "/", lines));
        client.read_to_end().unwrap();
        let head = origin.head();
        let values = http::values(&head, "x-client-subject");
        assert_eq!(values, told.as_slice(), "{head}");
    }
}

#[test]
fn openssl_writes_the_same_subject() {
    let (Some(openssl), Some(curl)) = (Part::Openssl.command(), Part::Curl.command()) else {
        return;
    };
    let openssl = || Command::new(openssl.get_program());
    let identity = Identity::new(&["localhost"]);
    for subject in [
        "/C=DE/ST=Hessen/L=Frankfurt am Main/O=Ships, Inc./OU=#1+CN=Ada/CN= A ",
        "/DC=example/DC=com/UID=17/emailAddress=a@b.example/serialNumber=7/CN=J\u{fc}rgen <\\\"x\\\">;",
    ] {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let (request, kind) = (path("request.pem"), path("kind"));
        fs::write(&kind, "basicConstraints = CA:FALSE\n").unwrap();
        let mut make = openssl();
        make.args(["req", "-new", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-utf8", "-multivalue-rdn", "-subj", subject]);
        finish(make.args(["-out", &request, "-keyout", &key]));
        let mut sign = openssl();
        sign.args(["x509", "-req", "-days", "2", "-extfile", &kind]);
        finish(sign.args(["-in", &request, "-signkey", &key, "-out", &cert]));
        let mut tell = openssl();
        tell.args([
            "x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", &cert,
        ]);
        let expected = finish(&mut tell);
        let expected = expected.trim_end().strip_prefix("subject=").unwrap();

        let origin = Origin::answering(ok("hello"));
        let keys = format!(
            "{}\ntls.client_ca = \"{cert}\"\ntls.client_subject = true",
            identity.listener_keys()
        );
        let proxy = Plan::http(origin.addr).listener_keys(&keys).start();
        let port = proxy.addr().port();
        let mut curl = Command::new(curl.get_program());
        curl.args(["-s", "--noproxy", "*", "--cacert", &identity.cert_file()])
            .args(["--cert", &cert, "--key", &key])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .arg(format!("https://localhost:{port}/"));
        assert_eq!(finish(&mut curl), "hello");
        let head = origin.head();
        assert_eq!(
            http::values(&head, "x-client-subject"),
            [expected],
            "{head}"
        );
    }
}

#[test]
fn a_proxy_header_says_how_the_client_came() {
    let (identity, mine) = (Identity::new(&["localhost"]), Identity::named("Ada"));
    for (version, name, cipher) in [
        (&TLS12, "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (&TLS13, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ] {
        let anonymous = Told {
            authority: text("localhost"),
            ssl: Some((0x01, 1)),
            version: text(name),
            cipher: text(cipher),
            ..Told::default()
        };
        let told = |listener_keys: &str, shown: Option<&Identity>| {
            let origin = Origin::bind();
            let proxy = Plan::tcp(origin.addr())
                .listener_keys(listener_keys)
                .backend_keys("send_proxy = \"v2\"")
                .start();
            let config = identity.client(version, shown);
            [(); 2].map(|()| {
                let mut client = Secure::connect(proxy.addr(), &config);
                client.send("x");
                let mut server = origin.accept();
                let told = Told::read(&mut server);
                server.expect("x");
                // The client hears its ticket with it.
                server.send("y");
                client.expect("y");
                told
            })
        };
        for told in told(&identity.listener_keys(), None) {
            assert_eq!(told, anonymous);
        }
        let requested = keys(&identity, &mine) + "\ntls.client_auth = \"request\"";
        for told in told(&requested, None) {
            assert_eq!(told, anonymous);
        }
        let [first, resumed] = told(&keys(&identity, &mine), Some(&mine));
        let known = |bits| Told {
            ssl: Some((bits, 0)),
            common_name: text("Ada"),
            authority: text("localhost"),
            version: text(name),
            cipher: text(cipher),
            ..Told::default()
        };
        assert_eq!(first, known(0x07));
        assert_eq!(resumed, known(0x05));
    }
}

#[test]
fn http_and_websocket_say_it_too() {
    let (identity, mine) = (Identity::new(&["localhost"]), Identity::named("Ada"));
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys(&keys(&identity, &mine))
        .backend_keys("send_proxy = \"v2\"")
        .start();
    let config = identity.client_with_alpn(&TLS13, Some(&mine), &["h2", "http/1.1"]);
    for request in [
        get("localhost", "/", ""),
        websocket::request("localhost", "/ws", ""),
    ] {
        let mut client = Secure::connect(proxy.addr(), &config);
        assert_eq!(client.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
        client.send(request);
        let mut server = origin.accept();
        let told = Told::read(&mut server);
        assert_eq!(told.alpn, text("http/1.1"));
        assert_eq!(told.authority, text("localhost"));
        assert_eq!(
            told.ssl.map(|(bits, verify)| (bits & 1, verify)),
            Some((1, 0))
        );
        assert_eq!(told.common_name, text("Ada"));
        assert!(server.read_head().starts_with("GET /"));
    }
}

#[test]
fn what_a_believed_header_says_gives_way_to_what_is_known() {
    let identity = Identity::new(&["localhost"]);
    let origin = Origin::bind();
    let keys = format!(
        "{}\nproxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]",
        identity.listener_keys()
    );
    let proxy = Plan::tcp(origin.addr())
        .listener_keys(&keys)
        .backend_keys("send_proxy = \"v2\"")
        .start();
    // PROXY from 203.0.113.7 with ALPN h2, authority "outer", SSL without TLS.
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x21".to_vec();
    header.extend([203, 0, 113, 7, 192, 0, 2, 1, 1, 1, 1, 0xbb]);
    header.extend(b"\x01\0\x02h2\x02\0\x05outer\x20\0\x05\0\0\0\0\x01");
    let config = identity.client(&TLS13, None);
    let mut client = Secure::begin(proxy.addr(), &config, "localhost", &header);
    client.shake().unwrap();
    let told = Told::read(&mut origin.accept());
    assert_eq!(told.alpn, None);
    assert_eq!(told.authority, text("localhost"));
    assert_eq!(told.ssl, Some((0x01, 1)));
}

#[test]
fn haproxy_reads_it() {
    let Some(mut haproxy) = Part::Haproxy.command() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let dir = TempDir::new().unwrap();
    let (behind, configuration) = (free_addr(), dir.path().join("haproxy.cfg"));
    let text = fs::read_to_string(file("it/tls/haproxy.cfg")).unwrap();
    fs::write(&configuration, text.replace("ADDRESS", &behind.to_string())).unwrap();
    let haproxy = Running::start(haproxy.arg("-db").arg("-f").arg(&configuration));
    wait_listening_on(haproxy.pid(), &behind.to_string());
    let proxy = Plan::http(behind)
        .listener_keys(&identity.listener_keys())
        .backend_keys("send_proxy = \"v2\"")
        .start();
    for version in VERSIONS {
        let mut client = Secure::connect(proxy.addr(), &identity.client(version, None));
        client.send(get("localhost", "/", "Connection: close\r\n"));
        let answer = String::from_utf8(client.read_to_end().unwrap()).unwrap();
        assert!(
            answer.ends_with("authority localhost from 127.0.0.1\n"),
            "{answer}"
        );
    }
}
