//! Scenario S1: longsplice in place of the cloud's balancer, in front of Erlang and Cowboy: what the
//! application is told of a client in a PROXY line is what the client's own socket says.

mod erlang;

use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use rustls::version::TLS13;
use serde_json::Value;
use tempfile::TempDir;

use self::erlang::{Application, cowboy, cowboy_on, ejabberd, rabbitmq};
use crate::haproxy::Haproxy;
use crate::harness::http::{self, get};
use crate::harness::parts::{Part, Running, file};
use crate::harness::process::{Proxy, binary};
use crate::harness::tls::{Identity, Secure};
use crate::harness::websocket;
use crate::harness::{eventually, free_addr, free_port};
use crate::put;

const CONFIGURATION: &str = include_str!("longsplice.toml");
/// What did the same before.
const HAPROXY: &str = include_str!("haproxy.cfg");
const HOST: &str = "elb.example.com";

/// Where clients of both families come to.
fn doors() -> [SocketAddr; 2] {
    [
        free_addr(),
        SocketAddr::from((Ipv6Addr::LOCALHOST, free_port())),
    ]
}

struct Site {
    proxy: Proxy,
    identity: Identity,
    doors: [SocketAddr; 2],
}

/// Puts longsplice in front of an application, with more changes to its configuration.
fn site(app: &Application, more: &[(&str, String)]) -> Site {
    let (identity, doors) = (Identity::new(&[HOST]), doors());
    let configuration = put(
        CONFIGURATION,
        &[
            ("0.0.0.0:8543", doors[0].to_string()),
            ("[::]:8543", doors[1].to_string()),
            ("cert.pem", identity.file()),
            ("127.0.0.1:8181", format!("127.0.0.1:{}", app.told)),
            ("127.0.0.1:8180", format!("127.0.0.1:{}", app.plain)),
        ],
    );
    let site = Site {
        proxy: Proxy::start(&put(&configuration, more)),
        identity,
        doors,
    };
    // The first check of every backend must have gone well.
    for host in [HOST, "ws.example.com"] {
        eventually("the application is up", || site.status(host) != 503);
    }
    site
}

impl Site {
    /// Asks for the root of a host; returns the status.
    fn status(&self, host: &str) -> u16 {
        let config = self.identity.client(&TLS13, None);
        let mut client = Secure::begin(self.doors[0], &config, HOST, b"");
        client.shake().unwrap();
        client.send(get(host, "/", "Connection: close\r\n"));
        http::status(&client.read_head())
    }
}

/// A client that is connected and had something echoed.
struct Client {
    _running: Running,
    /// What its own socket says it is, as JSON with `address` and `port`; and `facts`.
    told: Value,
}

impl Client {
    /// Runs client.js; none = no Node.
    fn start(kind: &str, door: SocketAddr, identity: &Identity) -> Option<Self> {
        let mut node = Part::Node.command()?;
        let url = match kind {
            "stomp" => format!("wss://{door}/ws"),
            "xmpp" => format!("wss://{door}/websocket"),
            _ => format!("wss://{door}/"),
        };
        node.arg(file("scenarios/s1_local_elb/client.js")).args([
            kind,
            &url,
            &identity.cert_file(),
            HOST,
        ]);
        let running = Running::start(&mut node);
        let told = serde_json::from_str(&running.line()).unwrap();
        Some(Self {
            _running: running,
            told,
        })
    }

    fn address(&self) -> &str {
        self.told["address"].as_str().unwrap()
    }

    fn port(&self) -> u64 {
        self.told["port"].as_u64().unwrap()
    }
}

/// Asks over TLS and returns the body of the answer, which is a 200.
fn ask(door: SocketAddr, identity: &Identity, host: &str, target: &str, lines: &str) -> String {
    let mut client = Secure::begin(door, &identity.client(&TLS13, None), HOST, b"");
    client.shake().unwrap();
    client.send(get(host, target, &format!("{lines}Connection: close\r\n")));
    let answer = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

/// Demands that Cowboy is told of clients at these doors what their sockets say.
fn check_told(doors: &[SocketAddr], identity: &Identity) {
    for door in doors {
        let Some(client) = Client::start("app", *door, identity) else {
            return;
        };
        let facts = &client.told["facts"];
        let line = &facts["line"];
        assert_eq!(line["client"], client.address(), "{facts}");
        assert_eq!(line["port"], client.port(), "{facts}");
        assert_eq!(line["door"], door.ip().to_string(), "{facts}");
        assert_eq!(line["door_port"], door.port(), "{facts}");
        assert_eq!(facts["proto"], "https");
        assert_eq!(facts["host"], HOST);
    }
}

#[test]
fn cowboy_is_told_what_the_clients_socket_says() {
    let Some(app) = cowboy() else {
        return;
    };
    let site = site(&app, &[]);
    check_told(&site.doors, &site.identity);
}

#[test]
fn haproxy_in_the_same_place_tells_the_same() {
    let Some(app) = cowboy() else {
        return;
    };
    let (identity, doors) = (Identity::new(&[HOST]), doors());
    let configuration = put(
        HAPROXY,
        &[
            (":::8543 v4v6", format!("{},{}", doors[0], doors[1])),
            ("/etc/haproxy/cert.pem", identity.file()),
            ("127.0.0.1:8181", format!("127.0.0.1:{}", app.told)),
            ("127.0.0.1:8180", format!("127.0.0.1:{}", app.plain)),
        ],
    );
    let Some(_haproxy) = Haproxy::start_on(&configuration, &doors) else {
        return;
    };
    check_told(&doors, &identity);
}

#[test]
fn upgrades_and_names_with_ws_get_the_line_and_nothing_else_does() {
    let Some(app) = cowboy() else {
        return;
    };
    let site = site(&app, &[]);
    // Cowboy refuses a connection whose first line is not what its listener expects, so an answer
    // says that the right one was asked.
    for (host, told) in [
        ("elb.example.com", false),
        ("news.example.com", false),
        ("ws.example.com", true),
        ("WS7.example.com:8543", true),
        ("wsfeed.example.com", true),
    ] {
        let facts = ask(site.doors[0], &site.identity, host, "/", "");
        let facts: Value = serde_json::from_str(&facts).unwrap();
        assert_eq!(facts["line"].is_object(), told, "{host}: {facts}");
        assert_eq!(facts["proto"], "https");
    }
    for upgrade in ["websocket", "WebSocket", "WEBSOCKET"] {
        let request = websocket::request(HOST, &format!("/{upgrade}"), "");
        let request = request.replace("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
        let mut client = Secure::begin(
            site.doors[0],
            &site.identity.client(&TLS13, None),
            HOST,
            b"",
        );
        client.shake().unwrap();
        client.send(request);
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let target = format!("/{upgrade}");
        let open = site
            .proxy
            .wait_access("open", |line| line["target"] == target);
        assert_eq!(open["backend"], "websockets");
    }
}

#[test]
fn rabbitmq_knows_its_stomp_clients_over_websockets() {
    let Some(app) = rabbitmq() else {
        return;
    };
    let site = site(
        &app,
        &[(
            "websocket\", path = \"/\"",
            "websocket\", path = \"/ws\"".to_owned(),
        )],
    );
    let mut clients = Vec::new();
    for door in site.doors {
        let Some(client) = Client::start("stomp", door, &site.identity) else {
            return;
        };
        clients.push((client, door));
    }
    // Its management is the plain application.
    let connections = || {
        let login = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";
        let said = ask(
            site.doors[0],
            &site.identity,
            HOST,
            "/api/connections",
            login,
        );
        serde_json::from_str::<Vec<Value>>(&said).unwrap()
    };
    for (client, door) in &clients {
        eventually("RabbitMQ knows the client", || {
            connections().iter().any(|seen| {
                seen["peer_host"] == client.address()
                    && seen["peer_port"] == client.port()
                    && seen["host"] == door.ip().to_string()
                    && seen["port"] == door.port()
            })
        });
    }
    assert_eq!(connections().len(), clients.len(), "{:?}", connections());
}

#[test]
fn ejabberd_knows_its_xmpp_clients_over_websockets() {
    let Some(app) = ejabberd() else {
        return;
    };
    let site = site(
        &app,
        &[
            // It closes connections that open with a PROXY line of nobody.
            (
                "kind = \"websocket\", path = \"/\"",
                "kind = \"tcp\"".to_owned(),
            ),
            // It has nothing at its root.
            (
                "http\", path = \"/\"",
                "http\", path = \"/\", expect = \"404\"".to_owned(),
            ),
        ],
    );
    for door in site.doors {
        let Some(client) = Client::start("xmpp", door, &site.identity) else {
            return;
        };
        let from = SocketAddr::new(
            client.address().parse().unwrap(),
            client.port().try_into().unwrap(),
        );
        let accepted = format!("Accepted proxied connection {from} -> {door}");
        app.wait_line(&accepted);
        app.wait_line(&format!("by anonymous backend from {}", from.ip()));
    }
}

#[test]
fn an_application_that_is_gone_is_not_asked_and_one_that_comes_back_is() {
    let Some(app) = cowboy() else {
        return;
    };
    let ports = [app.told, app.plain];
    let site = site(
        &app,
        &[(
            "path = \"/\" }",
            "path = \"/\", interval = \"100ms\" }".to_owned(),
        )],
    );
    drop(app);
    for host in [HOST, "ws.example.com"] {
        eventually("no server is up", || site.status(host) == 503);
    }
    let _app = cowboy_on(ports);
    for host in [HOST, "ws.example.com"] {
        eventually("the application is back", || site.status(host) == 200);
    }
}

/// Where everybody may look, and what is there belongs to `nobody`.
fn public_copy(identity: &Identity) -> TempDir {
    let dir = TempDir::new().unwrap();
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(dir.path(), mode(0o755)).unwrap();
    std::fs::copy(binary(), dir.path().join("longsplice")).unwrap();
    let certificate = dir.path().join("cert.pem");
    std::fs::copy(identity.file(), &certificate).unwrap();
    std::fs::set_permissions(&certificate, mode(0o400)).unwrap();
    if nix::unistd::geteuid().is_root() {
        chown(&certificate, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    dir
}

/// The user without rights.
const NOBODY: u32 = 65534;

#[test]
fn one_command_without_root_is_enough() {
    let Some(app) = cowboy() else {
        return;
    };
    let identity = Identity::new(&[HOST]);
    let dir = public_copy(&identity);
    let door = free_addr();
    let (listen, to) = (door.to_string(), format!("127.0.0.1:{}", app.told));
    let program = dir.path().join("longsplice");
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
        command.args(["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]);
        command.arg(&program);
        command
    } else {
        Command::new(&program)
    };
    command
        .current_dir(dir.path())
        .args(["run", "--listen", &listen, "--to", &to])
        .args(["--tls-cert", "cert.pem", "--send-proxy", "v1"]);
    let mut proxy = Proxy::start_command(command, &[listen]);
    check_told(&[door], &identity);
    proxy.expect_sound();
}
