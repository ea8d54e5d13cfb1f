//! Which request goes where: conditions of routes, redirects, fixed answers.

use crate::harness::free_addr;
use crate::harness::http::{self, exchange, exchange_on, get};
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::{Plan, backend, responding};
use crate::harness::websocket;

/// Starts a proxy whose routes answer with their own condition's name, and asks it each request.
fn check(routes: &[(&str, &str)], rows: &[(&str, &str, &str)]) {
    let routes: String = routes
        .iter()
        .map(|(condition, name)| responding(condition, name))
        .collect();
    let proxy = Plan::routes_only(&routes).start();
    for (host, target, expected) in rows {
        let answer = exchange(proxy.addr(), get(host, target, ""));
        let found = match answer.status {
            200 => answer.text(),
            status => status.to_string(),
        };
        assert_eq!(found, *expected, "{host} {target}");
    }
}

#[test]
fn hosts() {
    check(
        &[
            ("host = \"maps.example.com\"", "exact"),
            ("host = [\"*.maps.example.com\", \"*.b.example\"]", "under"),
            ("host = \"ws*\"", "prefix"),
        ],
        &[
            ("maps.example.com", "/", "exact"),
            ("MAPS.Example.COM", "/", "exact"),
            ("maps.example.com:8443", "/", "exact"),
            ("maps.example.com.", "/", "exact"),
            ("a.maps.example.com", "/", "under"),
            ("a.b.c.maps.example.com:80", "/", "under"),
            ("x.b.example", "/", "under"),
            ("b.example", "/", "404"),
            ("xmaps.example.com", "/", "404"),
            ("maps.example.co", "/", "404"),
            ("ws.example.org", "/", "prefix"),
            ("WS42", "/", "prefix"),
            ("ws", "/", "prefix"),
            ("aws.example.org", "/", "404"),
            ("127.0.0.1", "/", "404"),
            ("[::1]:80", "/", "404"),
        ],
    );
}

#[test]
fn an_ip_literal_may_be_a_host() {
    check(
        &[("host = \"127.0.0.1\"", "four")],
        &[
            ("127.0.0.1", "/", "four"),
            ("127.0.0.1:8080", "/", "four"),
            ("127.0.0.11", "/", "404"),
        ],
    );
}

#[test]
fn paths_match_on_whole_segments() {
    check(
        &[
            ("path = \"/socket.io/\"", "socket.io"),
            ("path = \"/a/b\"", "a/b"),
            ("path = \"/~user\"", "user"),
        ],
        &[
            ("x", "/socket.io", "socket.io"),
            ("x", "/socket.io/", "socket.io"),
            ("x", "/socket.io?transport=websocket", "socket.io"),
            ("x", "/socket.io/?EIO=4", "socket.io"),
            ("x", "/socket.io/a/b", "socket.io"),
            ("x", "/socket.iox", "404"),
            ("x", "/socket.io.x", "404"),
            ("x", "/SOCKET.IO/", "404"),
            ("x", "/%73ocket.io/x", "socket.io"),
            ("x", "/%73%6Fcket%2eio/x", "socket.io"),
            ("x", "/./socket.io/x", "socket.io"),
            ("x", "/z/../socket.io/x", "socket.io"),
            ("x", "/z/%2e%2E/socket.io/x", "socket.io"),
            ("x", "/socket.io/../a", "404"),
            ("x", "/socket.io/../a/b", "a/b"),
            ("x", "/socket.io%2Fx", "404"),
            ("x", "/a/b/c", "a/b"),
            ("x", "/a/b/../b/c", "a/b"),
            ("x", "/a/bc", "404"),
            ("x", "/a", "404"),
            ("x", "/%7Euser/x", "user"),
            ("x", "/~user", "user"),
            ("x", "/", "404"),
            ("x", "/?/socket.io/", "404"),
        ],
    );
}

#[test]
fn a_path_that_climbs_above_the_root_is_refused() {
    let rows = [
        "/..",
        "/../x",
        "/a/../../b",
        "/%2e%2e/x",
        "/a/%2E./../../x",
        "/./../x",
    ];
    let rows: Vec<_> = rows.iter().map(|target| ("x", *target, "400")).collect();
    check(&[("", "any")], &rows);
    check(
        &[("", "any")],
        &[("x", "/a/..", "any"), ("x", "/a/../b/..", "any")],
    );
}

#[test]
fn the_first_route_whose_every_condition_holds_wins() {
    check(
        &[
            ("host = \"a\"\npath = \"/x\"", "both"),
            ("host = \"a\"", "host"),
            ("path = \"/x\"", "path"),
            ("", "rest"),
        ],
        &[
            ("a", "/x", "both"),
            ("a", "/y", "host"),
            ("b", "/x", "path"),
            ("b", "/y", "rest"),
        ],
    );
}

#[test]
fn upgrades_and_requests_may_go_different_ways() {
    let routes =
        responding("websocket = true", "upgrade") + &responding("websocket = false", "request");
    let proxy = Plan::routes_only(&routes).start();
    assert_eq!(exchange(proxy.addr(), get("x", "/", "")).text(), "request");
    let upgrade = websocket::request("x", "/", "");
    assert_eq!(exchange(proxy.addr(), &upgrade).text(), "upgrade");
    let upper = upgrade.replace("Upgrade: websocket", "Upgrade: WebSocket");
    assert_eq!(exchange(proxy.addr(), upper).text(), "upgrade");
    // Another protocol is no WebSocket: the request is served without it.
    let other = get("x", "/", "Upgrade: h2c\r\nConnection: Upgrade\r\n");
    assert_eq!(exchange(proxy.addr(), other).text(), "request");
}

#[test]
fn the_scheme_is_the_one_the_clients_first_hop_saw() {
    let routes =
        responding("scheme = \"https\"", "https") + &responding("scheme = \"http\"", "http");
    let proxy = Plan::routes_only(&routes)
        .listener_keys("proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.2\"]")
        .start();
    let proxied = |port: u16| format!("PROXY TCP4 203.0.113.7 192.0.2.1 1000 {port}\r\n");
    let forwarded = |scheme: &str| get("x", "/", &format!("X-Forwarded-Proto: {scheme}\r\n"));
    let rows = [
        ("127.0.0.2", get("x", "/", ""), "http"),
        ("127.0.0.2", proxied(443) + &get("x", "/", ""), "https"),
        ("127.0.0.2", proxied(80) + &get("x", "/", ""), "http"),
        ("127.0.0.2", forwarded("https"), "https"),
        ("127.0.0.2", forwarded("http"), "http"),
        // The speaker of the header is a stranger: it says nothing.
        ("127.0.0.1", forwarded("https"), "http"),
        ("127.0.0.2", proxied(80) + &forwarded("https"), "http"),
        ("127.0.0.2", proxied(443) + &forwarded("http"), "https"),
    ];
    for (source, request, expected) in rows {
        let mut client = Peer::connect_from(source, proxy.addr());
        assert_eq!(
            exchange_on(&mut client, &request).text(),
            expected,
            "{request}"
        );
    }
}

#[test]
fn the_client_is_whom_trusted_proxies_name() {
    let routes = responding("client = [\"203.0.113.0/24\", \"127.0.0.3\"]", "inside")
        + &responding("", "outside");
    let proxy = Plan::routes_only(&routes)
        .listener_keys(
            "proxy_protocol = \"optional\"\ntrusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]",
        )
        .start();
    let plain = || get("x", "/", "");
    let chain = |chain: &str| get("x", "/", &format!("X-Forwarded-For: {chain}\r\n"));
    let rows = [
        ("127.0.0.1", plain(), "outside"),
        ("127.0.0.3", plain(), "inside"),
        ("127.0.0.2", plain(), "outside"),
        ("127.0.0.2", chain("203.0.113.9"), "inside"),
        ("127.0.0.1", chain("203.0.113.9"), "outside"),
        ("127.0.0.2", chain("203.0.113.9, 198.51.100.1"), "outside"),
        ("127.0.0.2", chain("198.51.100.1, 203.0.113.9"), "inside"),
        (
            "127.0.0.2",
            chain("203.0.113.9, 10.1.1.1, 10.2.2.2"),
            "inside",
        ),
        ("127.0.0.2", chain("203.0.113.9,10.1.1.1"), "inside"),
        (
            "127.0.0.2",
            format!("PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n{}", plain()),
            "inside",
        ),
        (
            "127.0.0.2",
            format!(
                "PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n{}",
                chain("203.0.113.9")
            ),
            "outside",
        ),
        (
            "127.0.0.2",
            format!(
                "PROXY TCP4 10.0.0.7 192.0.2.1 1 2\r\n{}",
                chain("203.0.113.9")
            ),
            "inside",
        ),
    ];
    for (source, request, expected) in rows {
        let mut client = Peer::connect_from(source, proxy.addr());
        assert_eq!(
            exchange_on(&mut client, &request).text(),
            expected,
            "{source} {request}"
        );
    }
}

#[test]
fn backends_are_reached_by_name() {
    let (a, b) = (
        Origin::answering(http::ok("this is a")),
        Origin::answering(http::ok("this is b")),
    );
    let proxy = Plan::http(a.addr)
        .routes(
            "[[listener.route]]\npath = \"/b\"\nbackend = \"b\"\n\
             [[listener.route]]\nbackend = \"app\"\n",
        )
        .more(&backend("b", b.addr))
        .start();
    assert_eq!(
        exchange(proxy.addr(), get("x", "/b/1", "")).text(),
        "this is b"
    );
    assert_eq!(
        exchange(proxy.addr(), get("x", "/a/1", "")).text(),
        "this is a"
    );
    assert!(b.head().starts_with("GET /b/1 HTTP/1.1\r\n"));
    assert!(a.head().starts_with("GET /a/1 HTTP/1.1\r\n"));
    let line = proxy.wait_access("request", |line| line["backend"] == "b");
    assert_eq!(line["server"], b.addr.to_string());
}

#[test]
fn the_target_is_forwarded_as_received() {
    let origin = Origin::answering(http::ok(""));
    let proxy = Plan::http(origin.addr).start();
    for target in [
        "/%73ocket.io/./a/../b?q=%2F&%zz=1",
        "/a//b///c",
        "/?",
        "/a;v=1,2/!$&'()*+=:@-._~",
        "/%e2%82%ac",
    ] {
        exchange(proxy.addr(), get("x", target, ""));
        let head = origin.head();
        assert_eq!(head.split(' ').nth(1), Some(target), "{head}");
    }
}

#[test]
fn redirects_keep_path_and_query() {
    let rows = [
        (
            "{ scheme = \"https\" }",
            "app.example:8080",
            "/a/b?c=d&e=%20",
            301,
            "https://app.example/a/b?c=d&e=%20",
        ),
        (
            "{ scheme = \"https\" }",
            "app.example",
            "/",
            301,
            "https://app.example/",
        ),
        (
            "{ scheme = \"https\", host = \"new.example\", status = 308 }",
            "app.example",
            "/x?y",
            308,
            "https://new.example/x?y",
        ),
        (
            "{ scheme = \"https\", port = 8443 }",
            "app.example:80",
            "/x",
            301,
            "https://app.example:8443/x",
        ),
        (
            "{ scheme = \"https\", port = 443 }",
            "app.example",
            "/x",
            301,
            "https://app.example/x",
        ),
        (
            "{ scheme = \"http\", port = 80 }",
            "app.example",
            "/x",
            301,
            "http://app.example/x",
        ),
        (
            "{ host = \"www.example\", status = 302 }",
            "example",
            "/x",
            302,
            "http://www.example/x",
        ),
        (
            "{ scheme = \"https\" }",
            "[2001:db8::1]:80",
            "/x",
            301,
            "https://[2001:db8::1]/x",
        ),
    ];
    for (redirect, host, target, status, location) in rows {
        let routes = format!("[[listener.route]]\nredirect = {redirect}\n");
        let proxy = Plan::routes_only(&routes).start();
        let answer = exchange(proxy.addr(), get(host, target, ""));
        assert_eq!(answer.status, status, "{}", answer.head);
        assert_eq!(answer.values("location"), [location]);
        let line = proxy.wait_access("request", |_| true);
        assert_eq!(line["cause"], "redirected");
    }
}

#[test]
fn a_redirect_answers_upgrades_too() {
    let proxy =
        Plan::routes_only("[[listener.route]]\nredirect = { scheme = \"https\" }\n").start();
    let answer = exchange(proxy.addr(), websocket::request("app.example", "/chat", ""));
    assert_eq!(answer.status, 301);
    assert_eq!(answer.values("location"), ["https://app.example/chat"]);
}

#[test]
fn a_fixed_answer_is_plain_text_of_its_length() {
    let proxy = Plan::routes_only(
        "[[listener.route]]\nrespond = { status = 418, body = \"no coffee: \\u00e4\" }\n",
    )
    .start();
    let mut client = proxy.connect();
    client.send(get("x", "/", "Connection: close\r\n"));
    let answer = http::expect_own_answer(&mut client, 418);
    assert_eq!(answer.text(), "no coffee: \u{e4}");
    assert!(answer.values("content-type")[0].starts_with("text/plain"));
    let line = proxy.wait_access("request", |_| true);
    assert_eq!(line["cause"], "responded");

    // HEAD: the same head without the body.
    let mut client = proxy.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let head = client.read_head();
    assert_eq!(http::values(&head, "content-length"), ["13"]);
    client.expect_ended();
}

#[test]
fn an_absolute_target_is_routed_by_its_authority() {
    let routes = responding("host = \"app.example\"\npath = \"/x\"", "found");
    let proxy = Plan::routes_only(&routes).start();
    let request = "GET http://app.example/x/y HTTP/1.1\r\nHost: app.example\r\n\r\n";
    assert_eq!(exchange(proxy.addr(), request).text(), "found");
    let request = "GET http://app.example/x/y HTTP/1.1\r\nHost: other.example\r\n\r\n";
    assert_eq!(exchange(proxy.addr(), request).status, 400);
}

#[test]
fn servers_take_turns_by_weight() {
    let named = |name: &'static str| Origin::answering(http::ok(name)).addr;
    let plan = Plan::http(named("a"))
        .backend_keys("balance = \"round_robin\"")
        .server_keys(&format!(
            "weight = 2\n[[backend.server]]\naddress = \"{}\"\nweight = 1\n\
             [[backend.server]]\naddress = \"{}\"\nweight = 0",
            named("b"),
            named("never")
        ));
    let proxy = plan.start();
    let mut turns = String::new();
    for _ in 0..30 {
        turns += &exchange(proxy.addr(), get("x", "/", "")).text();
    }
    assert_eq!(turns.matches('a').count(), 20, "{turns}");
    assert_eq!(turns.matches('b').count(), 10, "{turns}");
    assert!(!turns.contains("aaa"), "interleaved: {turns}");
}

#[test]
fn a_server_may_be_given_by_name() {
    let origin = Origin::answering(http::ok("found"));
    let proxy = Plan::http(origin.addr)
        .server(format!("localhost:{}", origin.addr.port()))
        .start();
    assert_eq!(exchange(proxy.addr(), get("x", "/", "")).text(), "found");
}

#[test]
fn listeners_have_their_own_ways_to_the_same_backends() {
    let origin = Origin::bind();
    let (plain, proxied) = (free_addr(), free_addr());
    let proxy = Plan::http(origin.addr())
        .more(&format!(
            "[[listener]]\nname = \"plain\"\nbind = [\"{plain}\"]\nmode = \"tcp\"\n\
             [[listener.route]]\nbackend = \"app\"\n\
             [[listener]]\nname = \"proxied\"\nbind = [\"{proxied}\"]\nmode = \"http\"\n\
             proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
             [[listener.route]]\nbackend = \"app\"\n"
        ))
        .start();
    let mut client = Peer::connect(plain);
    client.send("bytes");
    origin.accept().expect("bytes");
    let mut client = Peer::connect(proxied);
    client.send("PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n".to_owned() + &get("x", "/", ""));
    assert_eq!(
        http::values(&origin.accept().read_head(), "x-real-ip"),
        ["203.0.113.7"]
    );
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    assert_eq!(
        http::values(&origin.accept().read_head(), "x-real-ip"),
        ["127.0.0.1"]
    );
    proxy.wait_access("open", |line| line["listener"] == "plain");
}
