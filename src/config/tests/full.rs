//! The full example of the contract, its values, and the way back to text.

use std::time::Duration;

use expect_test::expect;

use super::{SMALL, read};
use crate::config::{
    Balance, Bind, Config, HealthKind, Mode, RouteAction, ServerAddress, Threads, WhenDown, parse,
};
use crate::proto::proxy::HeaderVersion;
use crate::tls::testing::revocation_list;

/// The example, with every key; certificates are in the same directory.
pub(super) const FULL: &str = include_str!("full.toml");

/// Parses `text` as a file with its certificates in the same directory.
fn read_with_certificates(text: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = ["maps.example.com", "*.maps.example.com", "ws.example.com"];
    let (cert, key) = super::identity_for(&hosts);
    let both = format!("{key}{cert}");
    let (cert, key) = super::identity_for(&["b.example.com"]);
    for (name, text) in [
        ("site.pem", &both),
        ("b.crt", &cert),
        ("b.key", &key),
        ("ca.pem", &cert),
        ("revoked.pem", &revocation_list("rcgen self signed cert")),
        ("new.ticket", &super::ticket_key("new")),
        ("old.ticket", &super::ticket_key("old")),
    ] {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let (cert, key) = super::identity_for(&["c.example.com"]);
    std::fs::create_dir(folder.path().join("sites")).expect("a folder");
    std::fs::write(folder.path().join("sites/c.pem"), cert + &key).expect("a file");
    let config = parse(text, &folder.path().join("longsplice.toml")).expect("legal");
    // While the certificates are still there.
    round_trip(&config);
    config
}

/// Checks that the printed form is legal, and prints the same again.
pub(super) fn round_trip(config: &Config) {
    let printed = config.to_string();
    let again = read(&printed).unwrap_or_else(|errors| panic!("{errors}{printed}"));
    assert_eq!(again.to_string(), printed);
    assert_eq!(
        format!("{:?}", again.listeners),
        format!("{:?}", config.listeners)
    );
    assert_eq!(again.process, config.process);
    assert_eq!(again.log, config.log);
}

#[test]
fn the_full_example_is_legal() {
    let config = read_with_certificates(FULL);
    let listener = &config.listeners[0];
    assert_eq!(listener.mode, Mode::Http);
    assert_eq!(
        listener.bind[1],
        Bind::Inet("[::]:443".parse().expect("an address"))
    );
    assert_eq!(
        listener.tls.as_ref().map(|tls| tls.certificates.len()),
        Some(3)
    );
    assert_eq!(listener.limits.head, 32 * 1024);
    assert!(matches!(listener.routes[0].action, RouteAction::Backend(id) if id.0 == 0));
    assert!(matches!(&listener.routes[1].action, RouteAction::Redirect(to) if to.status == 301));
    assert!(matches!(&listener.routes[2].action, RouteAction::Respond(with) if with.status == 404));
    let backend = &config.backends[0];
    assert_eq!(backend.timeouts.tunnel_idle, Duration::from_hours(24));
    let health = backend.health.as_ref().expect("on");
    assert_eq!(
        (health.kind, &health.expect[..]),
        (HealthKind::Http, &[(200, 399)][..])
    );
    assert_eq!(backend.servers[0].send_proxy, Some(HeaderVersion::V1));
    assert_eq!(config.warnings, [""; 0]);
}

/// The example shows defaults wherever it can, so a file without those keys means the same.
#[test]
fn defaults_are_those_of_the_example() {
    let shown = read_with_certificates(FULL);
    let config = read(SMALL).expect("legal");
    assert_eq!(config.process.reception_threads, Threads::Auto);
    assert_eq!(
        config.process.max_connections,
        shown.process.max_connections
    );
    assert_eq!(config.process.drain_lead, shown.process.drain_lead);
    assert_eq!(config.process.drain_timeout, shown.process.drain_timeout);
    assert_eq!(config.process.share_port, shown.process.share_port);
    assert_eq!((config.process.user, config.process.pid_file), (None, None));
    assert_eq!(config.log, shown.log);
    let (listener, shown_listener) = (&config.listeners[0], &shown.listeners[0]);
    assert_eq!(listener.name.as_ref(), "127.0.0.1:8080");
    assert_eq!(listener.mode, shown_listener.mode);
    assert_eq!(listener.proxy_protocol, shown_listener.proxy_protocol);
    assert_eq!(listener.trusted_proxies, shown_listener.trusted_proxies);
    assert_eq!(listener.timeouts, shown_listener.timeouts);
    assert_eq!(listener.limits, shown_listener.limits);
    assert_eq!(listener.tls, None);
    let (backend, shown_backend) = (&config.backends[0], &shown.backends[0]);
    assert_eq!(backend.balance, Balance::Source);
    assert_eq!(backend.keep_alive, shown_backend.keep_alive);
    assert_eq!(backend.max_queue, shown_backend.max_queue);
    assert_eq!((backend.when_down, backend.retries), (WhenDown::Refuse, 2));
    assert_eq!(backend.timeouts, shown_backend.timeouts);
    assert_eq!(backend.limits, shown_backend.limits);
    assert_eq!((backend.limits.head, backend.limits.headers), (65536, 256));
    assert_eq!(backend.health, None);
    let server = &backend.servers[0];
    assert_eq!(
        (server.weight, server.max_connections, server.send_proxy),
        (1, None, None)
    );
    assert_eq!(server.name.as_ref(), "127.0.0.1:3000");
}

#[test]
fn a_server_overrides_its_backend() {
    let text = SMALL.replace("name = \"app\"\n", "name = \"app\"\nsend_proxy = \"v2\"\n")
        + "[[backend.server]]\naddress = \"x:1\"\nsend_proxy = \"off\"\n\
           [[backend.server]]\naddress = \"unix:/x\"\nsend_proxy = \"v1\"\n";
    let config = read(&text).expect("legal");
    let servers = &config.backends[0].servers;
    let versions: Vec<_> = servers.iter().map(|server| server.send_proxy).collect();
    assert_eq!(
        versions,
        [Some(HeaderVersion::V2), None, Some(HeaderVersion::V1)]
    );
    assert_eq!(servers[1].address, ServerAddress::Name("x".to_owned(), 1));
    round_trip(&config);
}

#[test]
fn small_limits_go_together() {
    let text = SMALL.replace(
        "[[listener.route]]",
        "limits.head = \"4KiB\"\n[[listener.route]]",
    );
    let limits = read(&text).expect("legal").listeners[0].limits;
    assert_eq!((limits.head, limits.request_line), (4096, 4096));
}

#[test]
fn odd_texts_survive_the_way_back() {
    let text = r#"
[log]
target = "file:/var/log/a \"b\" \\ c"
progress = "5m"
[[listener]]
name = "é\" ' \\"
bind = ["unix:/run/a b", "[::1]:1"]
proxy_protocol = "optional"
trusted_proxies = ["::/0", "unix:", "127.0.0.1"]
limits = { max_body = 1025, request_line = 100 }
timeouts.keep_alive = "90s"
[[listener.route]]
client = ["fe80::/10"]
respond = { status = 200, body = "a\tb\r\n\u0001\u007f'''\"\"\"" }
"#;
    let config = read(text).expect("legal");
    round_trip(&config);
    let printed = config.to_string();
    assert!(printed.contains("max_body = \"1025B\"\n"), "{printed}");
    assert!(printed.contains("keep_alive = \"90s\"\n"), "{printed}");
}

#[test]
fn what_print_prints() {
    expect![[r#"
        [server]
        reception_threads = "auto"
        relay_threads = "auto"
        max_connections = 65536
        drain_lead = "0s"
        drain_timeout = "10m"
        share_port = false
        sandbox = true
        admin_http_write = false

        [log]
        level = "info"
        format = "text"
        access = "json"
        target = "stderr"
        facility = "daemon"

        [[listener]]
        name = "127.0.0.1:8080"
        bind = ["127.0.0.1:8080"]
        mode = "http"
        proxy_protocol = "off"
        trusted_proxies = []
        tcp_keepalive = "system"
        freebind = false

        [listener.timeouts]
        proxy_header = "5s"
        tls_handshake = "10s"
        request_header = "10s"
        keep_alive = "65s"

        [listener.limits]
        request_line = "8KiB"
        head = "32KiB"
        headers = 100
        max_body = "none"

        [[listener.route]]
        backend = "app"

        [[backend]]
        name = "app"
        balance = "source"
        keep_alive = true
        abort_on_close = true
        max_queue = 1024
        when_down = "refuse"
        retries = 2
        slow_start = "0s"
        drain_close = "plain"

        [backend.timeouts]
        connect = "5s"
        queue = "30s"
        response = "1m"
        tunnel_idle = "24h"
        half_close = "30s"

        [backend.limits]
        head = "64KiB"
        headers = 256

        [backend.health]
        kind = "off"

        [[backend.server]]
        address = "127.0.0.1:3000"
        weight = 1
        send_proxy = "off"
    "#]]
    .assert_eq(&read(SMALL).expect("legal").to_string());
}
