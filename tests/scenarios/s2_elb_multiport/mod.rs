//! Scenario S2: a PROXY line on 80, 81 and 443, on 443 in front of the TLS hello; the client is
//! found behind the line and behind a chain of trusted proxies.

mod aws;
mod log;

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::version::TLS13;
use serde_json::Value;

use crate::haproxy::Haproxy;
use crate::harness::http::{self, get};
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::process::Proxy;
use crate::harness::tls::{Identity, Secure, VERSIONS};
use crate::harness::{PATIENCE, eventually, free_addr};
use crate::nginx::Nginx;
use crate::put;

const CONFIGURATION: &str = include_str!("longsplice.toml");
const HOST: &str = "app.example.com";

/// What the balancer says on port 443 of clients of both families, and their addresses.
const LINES: [(&str, &str); 2] = [
    (
        "PROXY TCP4 203.0.113.7 10.0.0.9 35646 443\r\n",
        "203.0.113.7",
    ),
    (
        "PROXY TCP6 2001:db8:85a3::8a2e:370:7334 2001:db8::9 35646 443\r\n",
        "2001:db8:85a3::8a2e:370:7334",
    ),
];

/// The address that real clients connect from; HAProxy passes it on.
const REAL_CLIENT: &str = "127.0.0.33";

struct Site {
    app: Running,
    proxy: Proxy,
    identity: Identity,
    /// Where its ports 80, 81 and 443 are.
    ports: [SocketAddr; 3],
}

/// What the configuration says of the log.
const LOG: &str = "target = \"file:/var/log/longsplice/access.log\", access = \"combined\"";

/// Starts the application and the proxy in front of it; none = no Node. Its log says in JSON what
/// tests look at.
fn site() -> Option<Site> {
    site_with(&[(LOG, "access = \"json\"".to_owned())])
}

/// Like [`site`], with these changes to the configuration in place of its own for the log.
fn site_with(changes: &[(&str, String)]) -> Option<Site> {
    let mut node = Part::Node.command()?;
    let app = Running::start(node.arg(file("scenarios/s2_elb_multiport/app.js")));
    let identity = Identity::new(&[HOST]);
    let ports = [free_addr(), free_addr(), free_addr()];
    let configuration = put(
        CONFIGURATION,
        &[
            ("0.0.0.0:80\"", format!("{}\"", ports[0])),
            ("0.0.0.0:81\"", format!("{}\"", ports[1])),
            ("0.0.0.0:443\"", format!("{}\"", ports[2])),
            ("/etc/ssl/private/app.example.com.pem", identity.file()),
            ("127.0.0.1:8080", format!("127.0.0.1:{}", app.port())),
        ],
    );
    Some(Site {
        app,
        proxy: Proxy::start(&put(&configuration, changes)),
        identity,
        ports,
    })
}

/// Reads what the application says it was told, and demands these facts of it.
fn check_facts(text: &str, expected: &[(&str, &str)]) {
    let facts: Value =
        serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("facts: {text}"));
    for (name, value) in expected {
        assert_eq!(facts[*name], *value, "{name} in {facts}");
    }
}

/// Makes the rest of a handshake, and a request; returns the body of the answer.
fn ask(mut client: Secure, lines: &str) -> String {
    client.shake().unwrap();
    client.send(get(HOST, "/page", &format!("{lines}Connection: close\r\n")));
    let answer = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

#[test]
fn the_line_and_the_hello_come_in_one_segment() {
    let Some(site) = site() else {
        return;
    };
    for version in VERSIONS {
        for (line, client) in LINES {
            let config = site.identity.client(version, None);
            let secure = Secure::begin(site.ports[2], &config, HOST, line.as_bytes());
            let facts = [
                ("host", HOST),
                ("url", "/page"),
                ("realIp", client),
                ("forwardedFor", client),
                ("proto", "https"),
                ("port", "443"),
            ];
            check_facts(&ask(secure, ""), &facts);
        }
    }
    for (_, client) in LINES {
        let line = site
            .proxy
            .wait_access("request", |line| line["client"] == client);
        assert_eq!(line["client_port"], 35646);
        assert_eq!(
            line["peer"].as_str().unwrap().split(':').next(),
            Some("127.0.0.1")
        );
    }
}

/// What was there before, on its own configuration.
struct Before {
    _app: Running,
    nginx: Nginx,
    identity: Identity,
    ports: [SocketAddr; 3],
}

/// Starts the application and nginx in front of it; none = no Node or no nginx.
fn before() -> Option<Before> {
    let mut node = Part::Node.command()?;
    let app = Running::start(node.arg(file("scenarios/s2_elb_multiport/app.js")));
    let (identity, ports) = (Identity::new(&[HOST]), [(); 3].map(|()| free_addr()));
    let configuration = put(
        include_str!("nginx.conf"),
        &[
            ("listen 80 ", format!("listen {} ", ports[0])),
            ("listen 81 ", format!("listen {} ", ports[1])),
            ("listen 443 ", format!("listen {} ", ports[2])),
            ("/etc/ssl/private/app.example.com.pem", identity.file()),
            ("127.0.0.1:8080", format!("127.0.0.1:{}", app.port())),
        ],
    );
    Some(Before {
        nginx: Nginx::start(&configuration, &ports)?,
        _app: app,
        identity,
        ports,
    })
}

#[test]
fn nginx_in_the_same_place_did_the_same() {
    let Some(before) = before() else {
        return;
    };
    for (line, client) in LINES {
        let config = before.identity.client(&TLS13, None);
        let secure = Secure::begin(before.ports[2], &config, HOST, line.as_bytes());
        let facts = [
            ("host", HOST),
            ("realIp", client),
            ("forwardedFor", client),
            ("proto", "https"),
        ];
        check_facts(&ask(secure, ""), &facts);
    }
}

#[test]
fn the_line_and_the_hello_are_cut_anywhere() {
    let Some(site) = site() else {
        return;
    };
    let config = site.identity.client(&TLS13, None);
    for (line, client) in LINES {
        let end = line.len();
        // Between any two bytes of the line, behind it, and in the header of the hello's record.
        let mut cuts: Vec<Vec<usize>> = (1..=end + 6).map(|at| vec![at]).collect();
        cuts.push(vec![end - 1, end]);
        cuts.push(vec![end - 2, end - 1, end, end + 1]);
        // Not the whole line byte by byte: on a busy machine that takes longer than a header may.
        cuts.push((end - 6..end + 8).collect());
        for cut in cuts {
            let (secure, hello) = hello(&site, &config);
            let whole = [line.as_bytes(), &hello].concat();
            let mut from = 0;
            for at in cut.iter().copied().chain([whole.len()]) {
                std::io::Write::write_all(&mut &secure.tcp, &whole[from..at]).unwrap();
                // So that the next piece is read alone.
                wait_taken(site.proxy.pid(), &secure.tcp);
                from = at;
            }
            check_facts(&ask(secure, ""), &[("realIp", client), ("proto", "https")]);
        }
    }
}

/// Waits until a process has received everything that `client` sent it so far (proc_pid_net(5)).
fn wait_taken(pid: u32, client: &TcpStream) {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => {
            let ip = u32::from_ne_bytes(addr.ip().octets());
            format!("{ip:08X}:{:04X}", addr.port())
        }
        SocketAddr::V6(addr) => panic!("{addr} is not IPv4"),
    };
    let peer = hex(client.peer_addr().unwrap());
    let ends = [peer.as_str(), &hex(client.local_addr().unwrap())];
    eventually("the bytes are taken", || {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        table.lines().skip(1).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // A connection that nobody has accepted has no inode.
            fields[1..3] == ends && fields[4].ends_with(":00000000") && fields[9] != "0"
        })
    });
}

/// Connects, and returns the connection with its hello not yet sent.
fn hello(site: &Site, config: &Arc<rustls::ClientConfig>) -> (Secure, Vec<u8>) {
    let tcp = TcpStream::connect(site.ports[2]).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    (Secure { tls, tcp }, hello)
}

#[test]
fn each_port_knows_its_scheme() {
    let Some(site) = site() else {
        return;
    };
    for (addr, port) in site.ports.into_iter().zip(["80", "81"]) {
        let line = format!("PROXY TCP4 203.0.113.7 10.0.0.9 35646 {port}\r\n");
        let answer = http::exchange(addr, line + &get(HOST, "/", ""));
        let facts = [("realIp", "203.0.113.7"), ("proto", "http"), ("port", port)];
        check_facts(&answer.text(), &facts);
    }
}

#[test]
fn the_client_is_found_through_a_chain_of_trusted_proxies() {
    /// PROXY source, what it says in X-Forwarded-For, the client, X-Forwarded-For to the application.
    type Row = (
        &'static str,
        &'static [&'static str],
        &'static str,
        &'static str,
    );
    const ROWS: &[Row] = &[
        (
            "TCP4 203.0.113.7 10.0.0.9",
            &[],
            "203.0.113.7",
            "203.0.113.7",
        ),
        // Not a trusted proxy: what it says of others is not believed.
        (
            "TCP4 203.0.113.7 10.0.0.9",
            &["198.51.100.66"],
            "203.0.113.7",
            "203.0.113.7",
        ),
        (
            "TCP6 2001:db8::7 2001:db8::9",
            &["10.1.1.1"],
            "2001:db8::7",
            "2001:db8::7",
        ),
        ("TCP4 10.1.2.3 10.0.0.9", &[], "10.1.2.3", "10.1.2.3"),
        (
            "TCP4 10.1.2.3 10.0.0.9",
            &["198.51.100.66"],
            "198.51.100.66",
            "198.51.100.66, 10.1.2.3",
        ),
        // What stands left of the last address that is not trusted, anybody may have written.
        (
            "TCP4 10.1.2.3 10.0.0.9",
            &["192.0.2.1, 198.51.100.66, 10.9.9.9"],
            "198.51.100.66",
            "192.0.2.1, 198.51.100.66, 10.9.9.9, 10.1.2.3",
        ),
        (
            "TCP4 10.1.2.3 10.0.0.9",
            &["192.0.2.1", "2001:db8::66, 10.9.9.9"],
            "2001:db8::66",
            "192.0.2.1, 2001:db8::66, 10.9.9.9, 10.1.2.3",
        ),
        (
            "TCP4 10.1.2.3 10.0.0.9",
            &["10.5.5.5, 127.0.0.1"],
            "10.5.5.5",
            "10.5.5.5, 127.0.0.1, 10.1.2.3",
        ),
    ];
    let Some(site) = site() else {
        return;
    };
    let config = site.identity.client(&TLS13, None);
    for (source, said, client, told) in ROWS {
        let lines: String = said
            .iter()
            .map(|value| format!("X-Forwarded-For: {value}\r\n"))
            .collect();
        let facts = [("realIp", *client), ("forwardedFor", *told)];
        let line = |port| format!("PROXY {source} 4000 {port}\r\n");
        let answer = http::exchange(site.ports[0], line("80") + &get(HOST, "/", &lines));
        check_facts(&answer.text(), &facts);
        let secure = Secure::begin(site.ports[2], &config, HOST, line("443").as_bytes());
        check_facts(&ask(secure, &lines), &facts);
    }
}

#[test]
fn a_balancer_behind_a_balancer_sends_two_lines() {
    let Some(site) = site() else {
        return;
    };
    let config = site.identity.client(&TLS13, None);
    let outer = "PROXY TCP4 10.1.2.3 10.0.0.9 4000 443\r\n";
    for (inner, client) in LINES {
        let preface = format!("{outer}{inner}");
        let secure = Secure::begin(site.ports[2], &config, HOST, preface.as_bytes());
        check_facts(&ask(secure, ""), &[("realIp", client), ("proto", "https")]);
    }
}

/// HAProxy in front of these three ports, and where each is.
fn balancer(ports: [SocketAddr; 3], option: &str) -> Option<(Haproxy, [SocketAddr; 3])> {
    let fronts = [free_addr(), free_addr(), free_addr()];
    let sections: String = fronts
        .iter()
        .zip(ports)
        .map(|(front, port)| {
            format!(
                "listen {}\n  bind {front}\n  server s1 {port} {option}\n",
                front.port()
            )
        })
        .collect();
    Some((Haproxy::start(&sections, &fronts)?, fronts))
}

fn curl(program: &Command, identity: &Identity, front: SocketAddr, scheme: &str) -> String {
    let port = front.port();
    finish(
        Command::new(program.get_program())
            .args(["-sS", "--noproxy", "*", "--interface", REAL_CLIENT])
            .args(["--cacert", &identity.cert_file()])
            .args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")])
            .args(["-A", "test/1", "-e", "https://example.org/from"])
            .arg(format!("{scheme}://{HOST}:{port}/curl?a=b")),
    )
}

fn expect_real_client(text: &str, scheme: &str, front: SocketAddr) {
    let port = front.port().to_string();
    let facts = [
        ("realIp", REAL_CLIENT),
        ("forwardedFor", REAL_CLIENT),
        ("proto", scheme),
        ("port", &port),
    ];
    check_facts(text, &facts);
}

#[test]
fn curl_through_haproxy_is_answered_and_logged() {
    let (Some(site), Some(program)) = (site(), Part::Curl.command()) else {
        return;
    };
    for option in ["send-proxy", "send-proxy-v2"] {
        let Some((_haproxy, fronts)) = balancer(site.ports, option) else {
            return;
        };
        for (front, scheme) in fronts.into_iter().zip(["http", "http", "https"]) {
            let said = curl(&program, &site.identity, front, scheme);
            expect_real_client(&said, scheme, front);
            let line = site.proxy.wait_access("request", |line| {
                line["host"] == format!("{HOST}:{}", front.port())
            });
            assert_eq!(line["client"], REAL_CLIENT);
            assert_eq!(line["status"], 200);
            assert_eq!(line["bytes_out"], said.len());
            for (field, value) in [
                ("method", "GET"),
                ("target", "/curl?a=b"),
                ("version", "1.1"),
                ("referer", "https://example.org/from"),
                ("user_agent", "test/1"),
            ] {
                assert_eq!(line[field], value, "{field} in {line}");
            }
            let time = line["time"].as_str().unwrap();
            assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        }
    }
}

#[test]
fn openssl_through_haproxy_opens_tls() {
    let (Some(site), Some(program)) = (site(), Part::Openssl.command()) else {
        return;
    };
    for option in ["send-proxy", "send-proxy-v2"] {
        let Some((_haproxy, fronts)) = balancer(site.ports, option) else {
            return;
        };
        for version in ["-tls1_2", "-tls1_3"] {
            let request = get(HOST, "/openssl", "Connection: close\r\n");
            let said = finish(Command::new("sh").args([
                "-c",
                "printf '%s' \"$1\" | \"$2\" s_client -quiet -verify_return_error \
                 -CAfile \"$3\" -verify_hostname \"$4\" -servername \"$4\" -connect \"$5\" \
                 -bind \"$6\" \"$7\" 2>&1",
                "sh",
                &request,
                program.get_program().to_str().unwrap(),
                &site.identity.cert_file(),
                HOST,
                &fronts[2].to_string(),
                REAL_CLIENT,
                version,
            ]));
            let (_, body) = said
                .split_once("\r\n\r\n")
                .unwrap_or_else(|| panic!("{said}"));
            expect_real_client(body.lines().next().unwrap(), "https", fronts[2]);
        }
    }
}

#[test]
fn websockets_of_node_and_python_go_through_haproxy() {
    let Some(site) = site() else {
        return;
    };
    for option in ["send-proxy", "send-proxy-v2"] {
        let Some((_haproxy, fronts)) = balancer(site.ports, option) else {
            return;
        };
        for (front, scheme) in fronts.into_iter().zip(["http", "http", "https"]) {
            let ca = (scheme == "https").then(|| site.identity.cert_file());
            if let Some(mut node) = Part::Node.command() {
                let url = format!("{}://{front}/node", scheme.replace("http", "ws"));
                node.arg(file("scenarios/s2_elb_multiport/client.js"));
                let said = finish(node.args([&url, HOST, REAL_CLIENT]).args(&ca));
                expect_real_client(&said, scheme, front);
            }
            if let Some(mut python) = Part::Websockets.command() {
                python.arg(file("scenarios/s2_elb_multiport/client.py"));
                let port = front.port().to_string();
                let said = finish(python.args([&port, HOST, REAL_CLIENT]).args(&ca));
                assert_eq!(said.lines().count(), if ca.is_some() { 2 } else { 1 });
                for line in said.lines() {
                    expect_real_client(line, scheme, front);
                }
            }
        }
    }
}

#[test]
fn strangers_are_closed_and_checks_leave_no_line() {
    let Some(site) = site() else {
        return;
    };
    let config = site.identity.client(&TLS13, None);
    for addr in site.ports {
        // An address that is not among the trusted, with a line all the same.
        let mut stranger = Peer::connect_from("127.0.0.2", addr);
        let _ = stranger.try_send(LINES[0].0);
        stranger.expect_ended();
        for _ in 0..3 {
            drop(Peer::connect(addr));
        }
    }
    // A hello without a line, while the balancer's policy is off.
    let mut bare = Secure::begin(site.ports[2], &config, HOST, b"");
    bare.shake().unwrap_err();
    site.proxy.wait_cause("refused", "proxy-header-missing");
    let causes: Vec<Value> = site
        .proxy
        .access_lines()
        .iter()
        .map(|line| line["cause"].clone())
        .collect();
    let strangers = causes.iter().filter(|cause| *cause == "untrusted-source");
    assert_eq!((strangers.count(), causes.len()), (3, 4), "{causes:?}");
    // The application has heard of none of them.
    drop(site.app);
}
