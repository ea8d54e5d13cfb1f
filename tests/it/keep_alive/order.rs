//! Requests of one client: they are answered in order, and some are the last on their connection.

use std::thread;
use std::time::Duration;

use super::{answer, post, telling, text};
use crate::harness::http::{self, exchange_on, get, ok, read_answer};
use crate::harness::origin::{Origin, echo};
use crate::harness::plan::{Plan, backend, responding};
use crate::harness::websocket;

#[test]
fn requests_sent_ahead_are_answered_in_order_each_on_its_own_route() {
    let (first, second) = (Origin::serve(telling), Origin::serve(telling));
    let routes = "[[listener.route]]\npath = \"/second\"\nbackend = \"second\"\n".to_owned()
        + &responding("path = \"/own\"", "own")
        + "[[listener.route]]\nhost = \"away\"\nredirect = { host = \"there\" }\n"
        + "[[listener.route]]\npath = \"/none\"\nhost = \"nobody\"\nbackend = \"app\"\n"
        + "[[listener.route]]\nhost = \"x\"\nbackend = \"app\"\n";
    let plan = Plan::http(first)
        .routes(&routes)
        .more(&backend("second", second));
    let requests = [
        (get("x", "/1", ""), 200, "1 GET /1 "),
        (
            post("/2", "GET /evil HTTP/1.1\r\n\r\n"),
            200,
            "2 POST /2 GET /evil HTTP/1.1\r\n\r\n",
        ),
        (get("x", "/second/3", ""), 200, "1 GET /second/3 "),
        (get("x", "/own", ""), 200, "own"),
        (post("/own", "unread"), 200, "own"),
        (get("away", "/6", ""), 301, "http://there/6\n"),
        (
            get("nobody", "/7", ""),
            404,
            "404 Not Found\nno route fits this request\n",
        ),
        (post("/second/8", ""), 200, "2 POST /second/8 "),
        (get("x", "/9", "Connection: close\r\n"), 200, "3 GET /9 "),
    ];
    let stream: String = requests
        .iter()
        .map(|(request, ..)| request.as_str())
        .collect();
    // Whole, and in pieces of every kind of length.
    for piece_len in [stream.len(), 1, 7, 100] {
        let proxy = plan.start();
        let mut client = proxy.connect();
        let mut sender = client.twin();
        let bytes = stream.clone().into_bytes();
        let sending = thread::spawn(move || {
            for piece in bytes.chunks(piece_len) {
                sender.send(piece);
            }
        });
        for (request, status, body) in &requests {
            let answer = read_answer(&mut client);
            assert_eq!(answer.status, *status, "{request}");
            assert_eq!(answer.text(), *body, "{request}");
        }
        client.expect_closed();
        sending.join().unwrap();
        proxy.wait_access("request", |line| line["target"] == "/9");
        let lines = proxy.access_lines();
        let targets: Vec<&str> = lines
            .iter()
            .filter_map(|line| line["target"].as_str())
            .collect();
        let asked = [
            "/1",
            "/2",
            "/second/3",
            "/own",
            "/own",
            "/6",
            "/7",
            "/second/8",
            "/9",
        ];
        assert_eq!(targets, asked);
    }
}

#[test]
fn nothing_is_served_behind_a_close() {
    let closing = |line: &str| get("x", "/2", line);
    let rows = [
        closing("Connection: close\r\n"),
        closing("Connection: x, Close\r\n"),
        closing("").replace("HTTP/1.1", "HTTP/1.0"),
        // Without a route, it closes all the same.
        get("nobody", "/2", "Connection: close\r\n"),
    ];
    for second in rows {
        let routes = "[[listener.route]]\nhost = \"x\"\nbackend = \"app\"\n";
        let proxy = Plan::http(Origin::serve(telling)).routes(routes).start();
        let mut client = proxy.connect();
        client.send(get("x", "/1", "") + &second + &get("x", "/3", ""));
        assert_eq!(read_answer(&mut client).text(), "1 GET /1 ");
        read_answer(&mut client);
        client.expect_closed();
        proxy.wait_access("request", |line| line["target"] == "/1");
        let lines = proxy.access_lines();
        assert!(lines.iter().all(|line| line["target"] != "/3"), "{second}");
    }
}

#[test]
fn a_line_tells_of_its_request_alone() {
    let proxy = Plan::http(Origin::serve(telling)).start();
    let mut client = proxy.connect();
    text(&mut client, get("x", "/first", ""));
    // A client that is silent for longer than its second request may take.
    thread::sleep(Duration::from_millis(600));
    text(&mut client, post("/second", "four"));
    let line = proxy.wait_access("request", |line| line["target"] == "/second");
    assert!(line["duration_ms"].as_u64().unwrap() < 500, "{line}");
    assert_eq!(line["bytes_in"], 4);
    let first = proxy.wait_access("request", |line| line["target"] == "/first");
    assert!(
        first["started"].as_str() < line["started"].as_str(),
        "{first} {line}"
    );
}

#[test]
fn http_1_0_ends_after_its_answer_unless_it_asks_for_more() {
    let origin = Origin::serve(telling);
    let proxy = Plan::http(origin).start();
    let mut client = proxy.connect();
    client.send("GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n");
    assert_eq!(read_answer(&mut client).text(), "1 GET /1 ");
    client.expect_closed();

    let mut client = proxy.connect();
    for count in ["1", "2"] {
        let request = "GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
        let answer = exchange_on(&mut client, request);
        assert_eq!(
            answer.values("connection"),
            ["keep-alive"],
            "{}",
            answer.head
        );
        // On one connection of the server, which is asked in HTTP/1.1.
        assert_eq!(answer.text(), format!("{count} GET /1 "));
    }
    assert_eq!(text(&mut client, get("x", "/3", "")), "3 GET /3 ");
    assert_eq!(text(&mut client, "GET /4 HTTP/1.0\r\n\r\n"), "4 GET /4 ");
    client.expect_closed();
}

#[test]
fn an_upgrade_may_follow_requests() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(get("x", "/1", ""));
    let mut server = origin.accept();
    answer(&mut server, ok("one"));
    assert_eq!(read_answer(&mut client).text(), "one");
    // All at once: a request, the upgrade, and bytes of the tunnel.
    client.send(post("/2", "body") + &websocket::request("x", "/ws", "") + "early");
    answer(&mut server, ok("two"));
    server.expect("body");
    let head = server.read_head();
    assert!(head.starts_with("GET /ws "), "{head}");
    server.send(websocket::switching("") + "hello");
    assert_eq!(read_answer(&mut client).text(), "two");
    assert_eq!(http::status(&client.read_head()), 101);
    client.expect("hello");
    server.expect("early");
    let echoing = thread::spawn(move || echo(server));
    client.send("and more");
    client.expect("and more");
    client.finish();
    client.expect_closed();
    echoing.join().unwrap();
    origin.expect_untouched();
    let line = proxy.wait_access("close", |_| true);
    assert_eq!(line["target"], serde_json::Value::Null);
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&13.into(), &13.into()),
        "{line}"
    );
}
