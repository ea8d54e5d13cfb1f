//! Real clients, servers and balancers around the proxy.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::http::{self, get, sample};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, wait_listening_on};
use crate::harness::{eventually, free_addr, websocket};

/// Starts a script that prints the port it listens on.
fn serve(mut command: Command, script: &str) -> (Running, SocketAddr) {
    let running = Running::start(command.arg(file(script)));
    let addr = SocketAddr::from(([127, 0, 0, 1], running.port()));
    (running, addr)
}

fn ws_url(proxy: &Proxy) -> String {
    format!("ws://{}/chat?room=1", proxy.addr())
}

#[test]
fn node_ws_on_both_sides() {
    let (Some(server), Some(mut client)) = (Part::Node.command(), Part::Node.command()) else {
        return;
    };
    let (_app, addr) = serve(server, "real/ws_server.js");
    let proxy = Plan::http(addr).start();
    let said = finish(client.arg(file("real/ws_client.js")).arg(ws_url(&proxy)));
    let headers: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(headers["x-real-ip"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["host"], proxy.addr().to_string());
    let line = proxy.wait_access("close", |_| true);
    assert!(line["bytes_in"].as_u64().unwrap() > 1000, "{line}");
}

#[test]
fn node_ws_through_tcp_mode() {
    let (Some(server), Some(mut client)) = (Part::Node.command(), Part::Node.command()) else {
        return;
    };
    let (_app, addr) = serve(server, "real/ws_server.js");
    let proxy = Plan::tcp(addr).start();
    finish(client.arg(file("real/ws_client.js")).arg(ws_url(&proxy)));
    proxy.wait_access("close", |_| true);
}

#[test]
fn python_websockets_on_both_sides() {
    let (Some(server), Some(mut client)) = (Part::Websockets.command(), Part::Websockets.command())
    else {
        return;
    };
    let (_app, addr) = serve(server, "real/websockets_server.py");
    let proxy = Plan::http(addr).start();
    finish(
        client
            .arg(file("real/websockets_client.py"))
            .arg(ws_url(&proxy)),
    );
    proxy.wait_access("close", |_| true);
}

/// The old one says of its 101, and of the 204 of its health check, that chunks follow.
#[test]
fn aiohttp_old_and_new_is_up_and_serves_websockets() {
    for (part, version) in [(Part::OldAiohttp, "3.5.4"), (Part::Websockets, "3.14.5")] {
        let (Some(server), Some(mut client)) = (part.command(), Part::Websockets.command()) else {
            return;
        };
        let (_app, addr) = serve(server, "real/aiohttp_server.py");
        let straight = |path: &str| {
            let mut peer = Peer::connect(addr);
            peer.send(get("x", path, "Connection: close\r\n"));
            String::from_utf8(peer.read_to_end().0).unwrap()
        };
        assert!(straight("/version").ends_with(&format!("\r\n\r\n{version}")));
        if version == "3.5.4" {
            // Else this test shows nothing.
            let head = straight("/healthz");
            assert!(
                head.contains("\r\nTransfer-Encoding: chunked\r\n"),
                "{head}"
            );
        }
        let proxy = Plan::http(addr)
            .health("kind = \"http\"\npath = \"/healthz\"\ninterval = \"200ms\"")
            .start();
        eventually("the health check passes", || {
            let mut peer = proxy.connect();
            peer.send(get("x", "/version", ""));
            http::read_answer(&mut peer).text() == version
        });
        let mut peer = proxy.connect();
        for path in ["/healthz", "/version", "/healthz"] {
            peer.send(get("x", path, ""));
            let head = peer.read_head();
            match http::status(&head) {
                204 => assert!(!head.contains("Transfer-Encoding"), "{head}"),
                _ => peer.expect(version),
            }
        }
        peer.send(get("x", "/cookies", ""));
        let answer = http::read_answer(&mut peer);
        assert_eq!(
            (answer.values("set-cookie").len(), &*answer.text()),
            (120, "eaten")
        );
        finish(
            client
                .arg(file("real/websockets_client.py"))
                .arg(ws_url(&proxy)),
        );
        proxy.wait_access("close", |_| true);
    }
}

#[test]
fn node_and_python_understand_each_other() {
    let (Some(node), Some(mut python)) = (Part::Node.command(), Part::Websockets.command()) else {
        return;
    };
    let (_app, addr) = serve(node, "real/ws_server.js");
    let proxy = Plan::http(addr).start();
    finish(
        python
            .arg(file("real/websockets_client.py"))
            .arg(ws_url(&proxy)),
    );
}

#[test]
fn socket_io_stays_on_the_websocket_transport() {
    for transports in ["websocket", "default"] {
        let (Some(server), Some(mut client)) = (Part::Node.command(), Part::Node.command()) else {
            return;
        };
        let (_app, addr) = serve(server, "real/socketio_server.js");
        let proxy = Plan::http(addr).start();
        finish(
            client
                .arg(file("real/socketio_client.js"))
                .arg(format!("http://{}", proxy.addr()))
                .arg(transports),
        );
        let tunnels = proxy.access_lines();
        let tunnels = tunnels
            .iter()
            .filter(|line| line["event"] == "open")
            .count();
        assert_eq!(tunnels, 1, "one WebSocket for the whole life");
    }
}

#[test]
fn curl_sends_its_own_header() {
    let Some(mut curl) = Part::Curl.command() else {
        return;
    };
    let origin = Origin::answering(http::ok("hello curl"));
    let proxy = Plan::http(origin.addr)
        .listener_keys("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.0/8\"]")
        .start();
    let url = format!("http://{}/a?b=c", proxy.addr());
    let said = finish(curl.args([
        "-sS",
        "--haproxy-protocol",
        "--interface",
        "127.0.0.4",
        &url,
    ]));
    assert_eq!(said, "hello curl");
    let head = origin.head();
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    assert_eq!(http::values(&head, "x-real-ip"), ["127.0.0.4"]);
}

#[test]
fn curl_uploads_and_downloads() {
    let Some(mut curl) = Part::Curl.command() else {
        return;
    };
    let dir = TempDir::new().unwrap();
    let upload = dir.path().join("upload");
    let body = crate::harness::random::Random::new(71).bytes(3 << 20);
    fs::write(&upload, &body).unwrap();
    let origin = Origin::serve(|mut peer| {
        let head = peer.read_head();
        if !http::values(&head, "expect").is_empty() {
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let len = http::values(&head, "content-length")[0].parse().unwrap();
        let body = peer.read(len);
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"));
        peer.send(body);
    });
    let proxy = Plan::http(origin).start();
    let download = dir.path().join("download");
    finish(
        curl.args(["-sS", "--fail", "--data-binary"])
            .arg(format!("@{}", upload.display()))
            .arg("-o")
            .arg(&download)
            .arg(format!("http://{}/", proxy.addr())),
    );
    assert!(fs::read(&download).unwrap() == body);
}

/// Runs curl against a Node application through the proxy; each `{}` in `args` is the proxy's
/// address. Returns what it printed and the requests that Node understood.
fn curl_at_node(args: &[&str], requests: usize) -> Option<(String, Vec<String>)> {
    let (node, mut curl) = (Part::Node.command()?, Part::Curl.command()?);
    let (app, addr) = serve(node, "real/http_server.js");
    let proxy = Plan::http(addr).start();
    let at = proxy.addr().to_string();
    curl.args(["-sS", "--max-time", "15"])
        .args(args.iter().map(|arg| arg.replace("{}", &at)));
    let said = finish(&mut curl);
    Some((said, (0..requests).map(|_| app.line()).collect()))
}

#[test]
fn curl_asks_twice_on_one_connection() {
    let connects = "%{num_connects} %{http_version}\n";
    let args = ["-w", connects, "http://{}/1", "http://{}/2"];
    let Some((said, understood)) = curl_at_node(&args, 2) else {
        return;
    };
    assert_eq!(said, "GET /1 0\n1 1.1\nGET /2 0\n0 1.1\n");
    assert_eq!(understood, ["GET /1 0", "GET /2 0"]);
}

#[test]
fn curl_speaks_http_1_0() {
    let connects = "%{num_connects} %{response_code}\n";
    // It asks for no more on a connection of HTTP/1.0.
    let args = [
        "--http1.0",
        "-w",
        connects,
        "-d",
        "body",
        "http://{}/1",
        "http://{}/2",
    ];
    let Some((said, _)) = curl_at_node(&args, 2) else {
        return;
    };
    assert_eq!(said, "POST /1 4\n1 200\nPOST /2 4\n1 200\n");
}

#[test]
fn curl_asks_for_heads() {
    let args = [
        "-I",
        "http://{}/1",
        "http://{}/2",
        "-w",
        "%{num_connects}\n",
    ];
    let Some((said, understood)) = curl_at_node(&args, 2) else {
        return;
    };
    assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{said}");
    assert!(said.ends_with("\r\n\r\n0\n"), "{said}");
    assert_eq!(understood, ["HEAD /1 0", "HEAD /2 0"]);
}

#[test]
fn curl_waits_for_its_100() {
    // It would send all the same after a minute.
    let args = [
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "60",
        "-d",
        "body",
        "http://{}/1",
        "-w",
        "%{response_code}\n",
    ];
    let Some((said, understood)) = curl_at_node(&args, 1) else {
        return;
    };
    assert_eq!(said, "POST /1 4\n200\n");
    assert_eq!(understood, ["POST /1 4"]);
}

#[test]
fn curl_uploads_in_chunks_what_it_reads_as_it_comes() {
    let (Some(node), Some(curl)) = (Part::Node.command(), Part::Curl.command()) else {
        return;
    };
    let (app, addr) = serve(node, "real/http_server.js");
    let proxy = Plan::http(addr).start();
    // It does not know how much will come, nor that anything follows after a pause.
    let pipe = "(printf first; sleep 0.3; head -c 3000000 /dev/zero) \
                | exec \"$0\" -sS --max-time 15 -T - \"$1\" -w '%{num_connects}\\n' --next -sS \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", pipe]).arg(curl.get_program());
    let said = finish(shell.arg(format!("http://{}/up", proxy.addr())));
    assert_eq!(said, "PUT /up 3000005\n1\nGET /up 0\n");
    assert_eq!(app.line(), "PUT /up 3000005");
    let line = proxy.wait_access("request", |line| line["method"] == "PUT");
    // With the sizes and ends of chunks.
    assert!(line["bytes_in"].as_u64().unwrap() > 3_000_005, "{line}");
}

#[test]
fn wrk_keeps_its_connections() {
    let (Some(node), Some(mut wrk)) = (Part::Node.command(), Part::Wrk.command()) else {
        return;
    };
    let (_app, addr) = serve(node, "real/http_server.js");
    let proxy = Plan::http(addr).start();
    let url = format!("http://{}/x", proxy.addr());
    let said = finish(wrk.args(["-t", "1", "-c", "8", "-d", "1s", &url]));
    assert!(said.contains(" requests in "), "{said}");
    for complaint in ["Socket errors", "Non-2xx"] {
        assert!(!said.contains(complaint), "{said}");
    }
    let lines = proxy.access_lines();
    let mut clients: Vec<_> = lines
        .iter()
        .map(|line| line["client_port"].as_u64())
        .collect();
    clients.sort_unstable();
    clients.dedup();
    // Beside the eight, wrk opens one to see whether the server is there.
    assert!(clients.len() <= 9, "{} connections", clients.len());
}

/// Starts HAProxy with one frontend and one server.
fn haproxy(dir: &Path, listen: &str, server: &str, mode: &str) -> Option<(Running, SocketAddr)> {
    let mut command = Part::Haproxy.command()?;
    let addr = free_addr();
    let config = dir.join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend front\n  bind {addr} {listen}\n  default_backend back\n\
         backend back\n  server s1 {server}\n"
    );
    fs::write(&config, text).unwrap();
    let running = Running::start(command.args(["-db", "-q", "-f"]).arg(&config));
    wait_listening_on(running.pid(), &addr.to_string());
    Some((running, addr))
}

#[test]
fn haproxy_in_front_names_the_client() {
    for (option, mode) in [
        ("send-proxy", "tcp"),
        ("send-proxy-v2", "tcp"),
        (
            "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority",
            "tcp",
        ),
        ("send-proxy", "http"),
        ("send-proxy-v2", "http"),
    ] {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr())
            .listener_keys("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]")
            .start();
        let dir = TempDir::new().unwrap();
        let server = format!("{} {option}", proxy.addr());
        let Some((_haproxy, front)) = haproxy(dir.path(), "", &server, mode) else {
            return;
        };
        let mut client = Peer::connect_from("127.0.0.33", front);
        client.send(websocket::request("app.example", "/", ""));
        let mut server = origin.accept();
        let head = websocket::accept(&mut server);
        assert_eq!(
            http::values(&head, "x-real-ip"),
            ["127.0.0.33"],
            "{option} {mode}"
        );
        assert_eq!(
            http::values(&head, "x-forwarded-port"),
            [front.port().to_string()]
        );
        client.read_head();
        client.send("ping");
        server.expect("ping");
        server.send("pong");
        client.expect("pong");
        drop(client);
        server.expect_ended();
        drop(server);
        let line = proxy.wait_access("close", |_| true);
        assert!(
            line["client"].as_str().unwrap().contains("127.0.0.33"),
            "{line}"
        );
    }
}

#[test]
fn haproxys_health_checks_leave_no_line() {
    let admin = free_addr();
    let proxy = Plan::http(Origin::echo())
        .process_keys(&format!("admin_http = \"{admin}\""))
        .listener_keys("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .start();
    proxy.wait_said(&["ready version"]);
    let dir = TempDir::new().unwrap();
    let server = format!(
        "{} send-proxy-v2 check check-send-proxy inter 50ms",
        proxy.addr()
    );
    let before = proxy.log_lines().len();
    let Some((_haproxy, front)) = haproxy(dir.path(), "", &server, "tcp") else {
        return;
    };
    // Ten checks and then one line that is not theirs.
    eventually("ten checks came", || {
        sample(admin, "connections_accepted_total{listener=\"edge\"}") >= Some(10)
    });
    let mut client = Peer::connect(front);
    client.send("nonsense\r\n\r\n");
    assert_eq!(http::status(&client.read_head()), 400);
    proxy.wait_access("refused", |_| true);
    assert_eq!(proxy.log_lines().len(), before + 1, "{}", proxy.log());
}

#[test]
fn haproxy_behind_understands_what_is_sent() {
    for version in ["v1", "v2"] {
        let origin = Origin::answering(http::ok("hello"));
        let dir = TempDir::new().unwrap();
        let options = format!("{}\n  option forwardfor", origin.addr);
        let Some((_haproxy, addr)) = haproxy(dir.path(), "accept-proxy", &options, "http") else {
            return;
        };
        let proxy = Plan::tcp(addr)
            .backend_keys(&format!("send_proxy = \"{version}\""))
            .start();
        let mut client = Peer::connect_from("127.0.0.44", proxy.addr());
        assert_eq!(
            http::exchange_on(&mut client, get("x", "/", "")).text(),
            "hello"
        );
        let head = origin.head();
        assert_eq!(
            http::values(&head, "x-forwarded-for"),
            ["127.0.0.44"],
            "{version}"
        );
    }
}

#[test]
fn nginx_behind_understands_what_is_sent() {
    for version in ["v1", "v2"] {
        let Some(mut nginx) = Part::Nginx.command() else {
            return;
        };
        let dir = TempDir::new().unwrap();
        let addr = free_addr();
        let at = dir.path().display();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n\
             fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;\n\
             server {{\n    listen {addr} proxy_protocol;\n\
             location / {{ return 200 \"$proxy_protocol_addr $proxy_protocol_server_port $http_x_real_ip\"; }}\n  }}\n}}\n"
        );
        let config = dir.path().join("nginx.conf");
        fs::write(&config, text).unwrap();
        let running = Running::start(
            nginx
                .arg("-e")
                .arg(dir.path().join("error.log"))
                .arg("-c")
                .arg(&config),
        );
        wait_listening_on(running.pid(), &addr.to_string());
        let proxy = Plan::http(addr)
            .backend_keys(&format!("send_proxy = \"{version}\""))
            .start();
        let mut client = Peer::connect_from("127.0.0.55", proxy.addr());
        let answer = http::exchange_on(&mut client, get("x", "/", ""));
        assert_eq!(
            answer.text(),
            format!("127.0.0.55 {} 127.0.0.55", proxy.addr().port())
        );
    }
}
