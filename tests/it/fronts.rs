//! Request heads as real proxies, clients and applications of the field send and understand them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::free_addr;
use crate::harness::http::{self, get, ok};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::wait_listening_on;
use crate::harness::tls::Identity;
use crate::harness::websocket;

/// Starts nginx with these lines in its one location.
fn nginx(dir: &Path, location: &str) -> Option<(Running, SocketAddr)> {
    let mut command = Part::Nginx.command()?;
    let (addr, at) = (free_addr(), dir.display());
    let text = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\n\
         http {{\n  access_log off;\n  client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  \
         fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;\n  \
         server {{\n    listen {addr};\n    location / {{\n{location}\n    }}\n  }}\n}}\n"
    );
    let config = dir.join("nginx.conf");
    fs::write(&config, text).unwrap();
    let errors = dir.join("error.log");
    let running = Running::start(command.arg("-e").arg(errors).arg("-c").arg(&config));
    wait_listening_on(running.pid(), &addr.to_string());
    Some((running, addr))
}

/// Starts HAProxy in front of one server.
fn haproxy(dir: &Path, server: &str) -> Option<(Running, SocketAddr)> {
    let mut command = Part::Haproxy.command()?;
    let addr = free_addr();
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 9s\n  timeout server 9s\n\
         frontend front\n  bind {addr}\n  default_backend back\nbackend back\n  server s {server}\n"
    );
    let config = dir.join("haproxy.cfg");
    fs::write(&config, text).unwrap();
    let running = Running::start(command.args(["-db", "-q", "-f"]).arg(&config));
    wait_listening_on(running.pid(), &addr.to_string());
    Some((running, addr))
}

/// The commonest mistake with nginx and WebSockets: without `proxy_http_version 1.1` it speaks HTTP/1.0.
#[test]
fn an_upgrade_behind_nginx_with_http_1_0_is_served_and_explained() {
    let upgrading = "proxy_set_header Upgrade $http_upgrade;\n\
                     proxy_set_header Connection \"upgrade\";";
    let Some(mut node) = Part::Node.command() else {
        return;
    };
    let app = Running::start(node.arg(file("real/ws_server.js")));
    let app_addr = SocketAddr::from(([127, 0, 0, 1], app.port()));
    let proxy = Plan::http(app_addr).start();
    let dir = TempDir::new().unwrap();
    let pass = format!("proxy_pass http://{};\n{upgrading}", proxy.addr());
    let Some((_nginx, front)) = nginx(dir.path(), &pass) else {
        return;
    };
    let mut client = Peer::connect(front);
    client.send(websocket::request("app.example", "/", ""));
    assert_eq!(http::status(&client.read_head()), 200);
    // One chunk, whose size stands before it.
    let chunks = client.read_until(b"\r\n0\r\n\r\n");
    let chunks = String::from_utf8(chunks).unwrap();
    let text = chunks.trim_end_matches("\r\n0\r\n\r\n");
    let told: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    let headers = told["headers"].as_object().unwrap();
    for gone in ["upgrade", "sec-websocket-key", "sec-websocket-version"] {
        assert!(!headers.contains_key(gone), "{headers:?}");
    }
    let line = proxy.wait_access("request", |_| true);
    assert_eq!(line["version"], "1.0", "{line}");
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains("proxy_http_version 1.1"), "{detail}");
    // With the line that it lacked, the upgrade opens.
    let dir = TempDir::new().unwrap();
    let Some((_nginx, front)) = nginx(dir.path(), &format!("{pass}\nproxy_http_version 1.1;"))
    else {
        return;
    };
    let mut client = Peer::connect(front);
    client.send(websocket::request("app.example", "/", ""));
    assert_eq!(http::status(&client.read_head()), 101);
}

#[test]
fn a_header_of_haproxy_that_nobody_expects_is_named() {
    for (option, version) in [("send-proxy", "version 1"), ("send-proxy-v2", "version 2")] {
        let identity = Identity::new(&["localhost"]);
        for (keys, tls, cause) in [
            (String::new(), "", "bad-request"),
            (
                identity.listener_keys(),
                "ssl verify none",
                "tls-handshake-failed",
            ),
        ] {
            let origin = Origin::answering(ok("hello"));
            let proxy = Plan::http(origin.addr).listener_keys(&keys).start();
            let dir = TempDir::new().unwrap();
            let server = format!("{} {option} {tls}", proxy.addr());
            let Some((_haproxy, front)) = haproxy(dir.path(), &server) else {
                return;
            };
            let mut client = Peer::connect(front);
            client.send(get("x", "/", ""));
            client.read_to_end();
            proxy.wait_access("refused", |line| {
                let detail = line["detail"].as_str().unwrap_or_default();
                line["cause"] == cause
                    && [version, "proxy_protocol = \"off\"", "trusted_proxies"]
                        .iter()
                        .all(|part| detail.contains(part))
            });
            origin.expect_untouched();
        }
    }
}

/// socket.io and its engine look for their path at the start of the target.
#[test]
fn socket_io_is_reached_by_clients_that_send_the_absolute_form() {
    for transports in ["websocket", "default"] {
        let (Some(mut server), Some(mut client)) = (Part::Node.command(), Part::Node.command())
        else {
            return;
        };
        let app = Running::start(server.arg(file("real/socketio_server.js")));
        let app_addr = SocketAddr::from(([127, 0, 0, 1], app.port()));
        let proxy = Plan::http(app_addr).start();
        finish(
            client
                .arg("-r")
                .arg(file("real/absolute_form.js"))
                .arg(file("real/socketio_client.js"))
                .arg(format!("http://{}", proxy.addr()))
                .arg(transports),
        );
        let absolute = format!("http://{}/socket.io/?", proxy.addr());
        proxy.wait_access("open", |line| {
            line["target"].as_str().unwrap().starts_with(&absolute)
        });
    }
}

#[test]
fn curl_may_take_the_proxy_for_a_forward_proxy() {
    let Some(mut curl) = Part::Curl.command() else {
        return;
    };
    let origin = Origin::answering(ok("hello"));
    let proxy = Plan::http(origin.addr).start();
    let proxy_url = format!("http://{}", proxy.addr());
    let said = finish(curl.args([
        "-sS",
        "-x",
        &proxy_url,
        "--path-as-is",
        "http://app.example/a//b/../c?c=http://d/",
    ]));
    assert_eq!(said, "hello");
    let head = origin.head();
    let line = "GET /a//b/../c?c=http://d/ HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    assert_eq!(http::values(&head, "host"), ["app.example"], "{head}");
}

/// uWSGI makes one variable of `X-Real-IP` and `X_Real_IP`, and reads the length of the body from
/// `Content_Length`.
#[test]
fn uwsgi_sees_no_lookalike() {
    let Some(mut uwsgi) = Part::Uwsgi.command() else {
        return;
    };
    let addr = free_addr();
    let running = Running::start(
        uwsgi
            .args(["--plugin", "python3", "--die-on-term", "--need-app"])
            .args(["--http-socket", &addr.to_string(), "--wsgi-file"])
            .arg(file("real/environ.py")),
    );
    wait_listening_on(running.pid(), &addr.to_string());
    let lines = "X_Real_IP: 203.0.113.9\r\nX_Forwarded_For: 203.0.113.9\r\n\
                 x_client_subject: CN=evil\r\nX.Real.IP: 203.0.113.9\r\nContent_Length: 5\r\n";
    let ask = |addr| -> Value {
        let answer = http::exchange(addr, get("x", "/", lines));
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.text()).unwrap()
    };
    // By itself it believes them all.
    let told = ask(addr);
    assert_eq!(told["HTTP_X_REAL_IP"], "203.0.113.9", "{told}");
    assert_eq!(told["CONTENT_LENGTH"], "5", "{told}");
    let proxy = Plan::http(addr).start();
    let told = ask(proxy.addr());
    for (name, expected) in [
        ("HTTP_X_REAL_IP", "127.0.0.1"),
        ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
        ("CONTENT_LENGTH", ""),
    ] {
        assert_eq!(told[name].as_str().unwrap_or_default(), expected, "{told}");
    }
    assert!(!told.to_string().contains("203.0.113.9"), "{told}");
    assert!(!told.to_string().contains("CN=evil"), "{told}");
}
