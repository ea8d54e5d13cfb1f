//! Real servers behind the proxy, over TLS: OpenSSL, nginx, Node.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::http::{get, read_answer};
use crate::harness::openssl::Openssl;
use crate::harness::parts::{Part, Running, finish};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::websocket::{self, request};
use crate::harness::{eventually, free_addr, free_port};

/// A certificate for localhost with an RSA key, which OpenSSL made.
pub(super) struct Rsa {
    dir: TempDir,
}

impl Rsa {
    pub(super) fn new() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut openssl = Part::Openssl.command()?;
        openssl
            .current_dir(dir.path())
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
            ])
            .args([
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
                "-subj",
                "/CN=localhost",
            ])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        finish(&mut openssl);
        Some(Self { dir })
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(super) fn files(&self) -> [String; 2] {
        [self.path("cert.pem"), self.path("key.pem")]
    }

    pub(super) fn keys(&self) -> String {
        format!(
            "tls = {{ ca = \"{}\", server_name = \"localhost\" }}",
            self.path("cert.pem")
        )
    }
}

fn tcp(rsa: &Rsa, port: u16) -> Proxy {
    Plan::tcp(([127, 0, 0, 1], port).into())
        .backend_keys(&rsa.keys())
        .start()
}

#[test]
fn openssl_talks_through_a_tunnel() {
    let Some(rsa) = Rsa::new() else { return };
    for version in ["-tls1_2", "-tls1_3"] {
        let port = free_port();
        let mut server =
            Openssl::server(rsa.files().each_ref().map(String::as_str), port, &[version]);
        let proxy = tcp(&rsa, port);
        let mut client = proxy.connect();
        client.send("from the client\n");
        server.await_line("from the client");
        server.type_line("from the server");
        client.expect("from the server\n");
    }
}

#[test]
fn openssl_changes_its_keys_in_a_tunnel_and_asks_for_ours() {
    let Some(rsa) = Rsa::new() else { return };
    let port = free_port();
    // Each message is shown: `>>>` what it sends, `<<<` what it gets.
    let mut server = Openssl::server(
        rsa.files().each_ref().map(String::as_str),
        port,
        &["-tls1_3", "-msg"],
    );
    let proxy = tcp(&rsa, port);
    let mut client = proxy.connect();
    client.send("before, from the client\n");
    server.await_line("before, from the client");
    server.type_line("before, from the server");
    client.expect("before, from the server\n");
    for (round, letter) in "kKKkK".chars().enumerate() {
        server.command(letter);
        server.await_line(">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
        // Under its new keys; so the tunnel has met them when this comes.
        let text = format!("{round} from the server");
        server.type_line(&text);
        client.expect(format!("{text}\n"));
        let text = format!("{round} from the client\n");
        client.send(&text);
        if letter == 'K' {
            server.await_line("<<< TLS 1.3, Handshake [length 0005], KeyUpdate");
        }
        server.await_line(text.trim_end());
    }
    client.finish();
    let line = proxy.wait_access("close", |_| true);
    assert_eq!(line["side"], "client", "{line}");
}

#[test]
fn nginx_answers_over_connections_that_are_kept() {
    let Some(rsa) = Rsa::new() else { return };
    let Some(mut nginx) = Part::Nginx.command() else {
        return;
    };
    let addr = free_addr();
    let config = rsa.path("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {pid}; error_log stderr; events {{}}\n\
         http {{ access_log off; server {{ listen {addr} ssl; server_name localhost;\n\
         ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;\n\
         location / {{ return 200 \"$ssl_protocol $ssl_server_name $connection_requests\"; }} }} }}\n",
        pid = rsa.path("nginx.pid"),
        cert = rsa.path("cert.pem"),
        key = rsa.path("key.pem"),
    );
    fs::write(&config, text).unwrap();
    let _nginx = Running::start(nginx.args(["-c", &config]));
    eventually("nginx listens", || {
        std::net::TcpStream::connect(addr).is_ok()
    });
    let proxy = Plan::http(addr).backend_keys(&rsa.keys()).start();
    let mut client = proxy.connect();
    for number in 1..=3 {
        client.send(get("localhost", "/", ""));
        let body = read_answer(&mut client).body;
        let expected = format!("TLSv1.3 localhost {number}");
        assert_eq!(String::from_utf8_lossy(&body), expected);
    }
}

#[test]
fn a_websocket_of_node_over_tls_echoes() {
    let Some(rsa) = Rsa::new() else { return };
    let Some(mut node) = Part::Node.command() else {
        return;
    };
    let script = "const https = require('https'), fs = require('fs'), ws = require('ws');\
        const server = https.createServer({cert: fs.readFileSync('cert.pem'), key: fs.readFileSync('key.pem')});\
        new ws.WebSocketServer({server}).on('connection', socket => socket.on('message', (data, binary) => socket.send(data, {binary})));\
        server.listen(0, '127.0.0.1', () => console.log(server.address().port));";
    let node = node_in(&rsa, &mut node, script);
    let proxy = Plan::http(([127, 0, 0, 1], node.port()).into())
        .backend_keys(&rsa.keys())
        .start();
    let mut client = proxy.connect();
    client.send(request("localhost", "/", ""));
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for text in ["first", "second"] {
        client.send(websocket::client_text(text));
        client.expect(websocket::server_text(text));
    }
}

fn node_in(rsa: &Rsa, node: &mut Command, script: &str) -> Running {
    Running::start(node.current_dir(rsa.dir.path()).args(["-e", script]))
}
