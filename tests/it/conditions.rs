//! Conditions of routes on method, headers, query and exact path, and the Host that servers get.

use std::fs;

use tempfile::TempDir;

use crate::harness::free_addr;
use crate::harness::http::{self, exchange, exchange_on, get};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running};
use crate::harness::peer::Peer;
use crate::harness::plan::{Plan, responding};
use crate::harness::process::{Proxy, wait_listening_on};
use crate::harness::websocket;

fn start(routes: &[(&str, &str)], listener_keys: &str) -> Proxy {
    let route = |(condition, name): &(&str, &str)| responding(condition, name);
    let routes: String = routes.iter().map(route).collect();
    Plan::routes_only(&routes)
        .listener_keys(listener_keys)
        .start()
}

/// Sends each request to a proxy whose routes answer with their name.
fn check(routes: &[(&str, &str)], rows: &[(&str, &str)]) {
    let proxy = start(routes, "");
    for (request, expected) in rows {
        let answer = exchange(proxy.addr(), request);
        let found = match answer.status {
            200 => answer.text(),
            status => status.to_string(),
        };
        assert_eq!(found, *expected, "{request}");
    }
}

#[test]
fn slashes_are_merged_for_routes_alone() {
    let origin = Origin::answering(http::ok("admin"));
    let proxy = Plan::http(origin.addr)
        .routes("[[listener.route]]\npath = \"/admin\"\nbackend = \"app\"\n")
        .start();
    for target in [
        "/admin",
        "//admin",
        "///admin//",
        "/x/..//admin",
        "/.//admin/a",
        "//admin?a=//b",
    ] {
        let answer = exchange(proxy.addr(), get("x", target, ""));
        assert_eq!(answer.text(), "admin", "{target}");
        let head = origin.head();
        assert!(
            head.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{head}"
        );
    }
    for (target, status) in [
        ("/Admin", 404),
        ("/%2Fadmin", 404),
        ("/admin%2Fa", 404),
        ("/x;/admin", 404),
        ("/\\admin", 404),
        ("/%2561dmin", 404),
        ("//../admin", 400),
        ("/x//../../admin", 400),
        ("/admin//../x", 400),
        ("/x//../admin", 400),
    ] {
        assert_eq!(
            exchange(proxy.addr(), get("x", target, "")).status,
            status,
            "{target}"
        );
    }
}

#[test]
fn methods() {
    let with = |method: &str| get("x", "/", "Content-Length: 0\r\n").replace("GET", method);
    let rows: Vec<(String, &str)> = [
        ("GET", "read"),
        ("PURGE", "purge"),
        ("PUT", "404"),
        ("get", "404"),
        ("GETS", "404"),
        ("OPTIONS", "404"),
    ]
    .into_iter()
    .map(|(method, expected)| (with(method), expected))
    .collect();
    let rows: Vec<_> = rows
        .iter()
        .map(|(request, name)| (request.as_str(), *name))
        .collect();
    check(
        &[
            ("method = [\"GET\", \"HEAD\"]", "read"),
            ("method = \"PURGE\"", "purge"),
        ],
        &rows,
    );
}

#[test]
fn headers() {
    check(
        &[
            ("header = { X-V = \"2*\", Accept = \"*json*\" }", "both"),
            ("header = { x-v = [\"1\", \"3\"] }", "version"),
            ("header = { Authorization = \"*\" }", "known"),
        ],
        &[
            (
                &get(
                    "x",
                    "/",
                    "X-V: 2.1\r\nAccept: text/html, application/json\r\n",
                ),
                "both",
            ),
            (
                &get("x", "/", "x-v: 2\r\nX-V: 9\r\nACCEPT: json\r\n"),
                "both",
            ),
            (&get("x", "/", "X-V: 2.1\r\n"), "404"),
            (&get("x", "/", "Accept: json\r\n"), "404"),
            (&get("x", "/", "X-V: 9\r\nX-V: 3\r\n"), "version"),
            (&get("x", "/", "X-V: 1, 3\r\n"), "404"),
            (&get("x", "/", "X_V: 1\r\n"), "404"),
            (&get("x", "/", "Authorization:\r\n"), "known"),
            (&get("x", "/", ""), "404"),
        ],
    );
}

#[test]
fn headers_about_the_client_count_from_trusted_senders() {
    let proxy = start(
        &[
            ("header = { X-Forwarded-Host = \"inner\" }", "inner"),
            ("", "rest"),
        ],
        "trusted_proxies = [\"127.0.0.2\"]",
    );
    for (source, expected) in [("127.0.0.2", "inner"), ("127.0.0.1", "rest")] {
        let mut client = Peer::connect_from(source, proxy.addr());
        let request = get("x", "/", "X-Forwarded-Host: inner\r\n");
        assert_eq!(
            exchange_on(&mut client, request).text(),
            expected,
            "{source}"
        );
    }
}

#[test]
fn parameters() {
    check(
        &[
            ("query = { v = \"2\", q = \"a b*\" }", "both"),
            ("query = { v = [\"1\", \"3\"] }", "version"),
            ("query = { flag = \"\" }", "flag"),
        ],
        &[
            (&get("x", "/?v=2&q=a+b", ""), "both"),
            (&get("x", "/?q=a%20bc&x=y&%76=%32", ""), "both"),
            (&get("x", "/?v=2", ""), "404"),
            (&get("x", "/?v=9&v=3", ""), "version"),
            (&get("x", "/v=1?", ""), "404"),
            (&get("x", "/?flag", ""), "flag"),
            (&get("x", "/?a&flag=&b", ""), "flag"),
            (&get("x", "/?flag=1", ""), "404"),
            (&get("x", "/", ""), "404"),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("GET http://x?v=1 HTTP/1.1\r\nHost: x\r\n\r\n", "version"),
        ],
    );
}

#[test]
fn exact_paths() {
    check(
        &[
            ("exact_path = \"/healthz\"", "check"),
            ("exact_path = \"/\"", "root"),
        ],
        &[
            (&get("x", "/healthz", ""), "check"),
            (&get("x", "/healthz?full", ""), "check"),
            (&get("x", "//x/..//%68ealthz", ""), "check"),
            (&get("x", "/healthz/", ""), "404"),
            (&get("x", "/healthz/a", ""), "404"),
            (&get("x", "/Healthz", ""), "404"),
            (&get("x", "/", ""), "root"),
            ("GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", "root"),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ],
    );
}

#[test]
fn every_condition_of_a_route_holds_and_the_first_route_wins() {
    let all = "host = \"a\"\npath = \"/api\"\nmethod = \"GET\"\nheader = { X-V = \"1\" }\n\
               query = { q = \"1\" }\nwebsocket = false";
    check(
        &[(all, "all"), ("method = \"GET\"", "get"), ("", "rest")],
        &[
            (&get("a", "/api/x?q=1", "X-V: 1\r\n"), "all"),
            (&get("b", "/api/x?q=1", "X-V: 1\r\n"), "get"),
            (&get("a", "/app?q=1", "X-V: 1\r\n"), "get"),
            (&get("a", "/api/x?q=2", "X-V: 1\r\n"), "get"),
            (&get("a", "/api/x?q=1", "X-V: 2\r\n"), "get"),
            (
                &get("a", "/api/x?q=1", "X-V: 1\r\n").replace("GET", "DELETE"),
                "rest",
            ),
            (&websocket::request("a", "/api/x?q=1", "X-V: 1\r\n"), "get"),
        ],
    );
}

#[test]
fn servers_get_the_host_of_their_backend() {
    let origin = Origin::answering(http::ok("x"));
    let proxy = Plan::http(origin.addr)
        .backend_keys("host_header = \"app.internal:81\"")
        .start();
    for request in [
        get("shop.example:8080", "/", ""),
        websocket::request("shop.example:8080", "/", ""),
        "GET / HTTP/1.0\r\nHost: shop.example:8080\r\n\r\n".to_owned(),
        "GET http://shop.example:8080 HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n".to_owned(),
    ] {
        assert_eq!(exchange(proxy.addr(), &request).status, 200, "{request}");
        let head = origin.head();
        assert_eq!(http::values(&head, "host"), ["app.internal:81"], "{head}");
        assert_eq!(
            http::values(&head, "x-forwarded-host"),
            ["shop.example:8080"],
            "{head}"
        );
    }
    assert_eq!(exchange(proxy.addr(), "GET / HTTP/1.0\r\n\r\n").status, 200);
    let head = origin.head();
    assert_eq!(http::values(&head, "host"), ["app.internal:81"], "{head}");
    assert!(http::values(&head, "x-forwarded-host").is_empty(), "{head}");
}

#[test]
fn checks_ask_for_the_host_of_their_backend() {
    for (keys, expected) in [
        ("kind = \"http\"", "app.internal"),
        ("kind = \"websocket\"", "app.internal"),
        ("kind = \"http\"\nhost = \"own\"", "own"),
    ] {
        let origin = Origin::bind();
        let _proxy = Plan::http(origin.addr())
            .backend_keys("host_header = \"app.internal\"")
            .health(keys)
            .start();
        let head = origin.accept().read_head();
        assert_eq!(http::values(&head, "host"), [expected], "{head}");
    }
}

/// A server that serves one name alone.
#[test]
fn nginx_serves_one_name() {
    let Some(mut nginx) = Part::Nginx.command() else {
        return;
    };
    let dir = TempDir::new().unwrap();
    let (addr, at) = (free_addr(), dir.path().display());
    let text = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
         events {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path {at}/b;\n\
         proxy_temp_path {at}/p;\n  fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n\
         scgi_temp_path {at}/s;\n  server {{ listen {addr} default_server; return 421; }}\n\
         server {{\n    listen {addr};\n    server_name app.internal;\n\
         return 200 \"$host $http_x_forwarded_host\";\n  }}\n}}\n"
    );
    let config = dir.path().join("nginx.conf");
    fs::write(&config, text).unwrap();
    let errors = dir.path().join("error.log");
    let running = Running::start(nginx.arg("-e").arg(errors).arg("-c").arg(&config));
    wait_listening_on(running.pid(), &addr.to_string());
    let ask = |plan: Plan| exchange(plan.start().addr(), get("shop.example", "/", ""));
    assert_eq!(ask(Plan::http(addr)).status, 421);
    let answer = ask(Plan::http(addr).backend_keys("host_header = \"app.internal\""));
    assert_eq!(answer.text(), "app.internal shop.example");
}
