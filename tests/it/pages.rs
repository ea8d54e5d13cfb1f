//! What own answers may be made to carry: error pages, and Strict-Transport-Security.

use std::fs;

use tempfile::TempDir;

use crate::harness::free_addr;
use crate::harness::http::{self, Answer, exchange, exchange_on, get, ok, values};
use crate::harness::origin::Origin;
use crate::harness::plan::{Plan, responding};
use crate::harness::process::run;
use crate::harness::tls::{Identity, Secure, VERSIONS};
use crate::harness::websocket;

const HTML: &str = "<!doctype html>\n<p>Back soon \u{263a}\n";

/// A folder with pages, and the table that names them.
fn pages() -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("sorry.html"), HTML).unwrap();
    fs::write(path("plain"), "gone\n").unwrap();
    fs::write(path("empty.txt"), "").unwrap();
    fs::write(path("large.html"), "x".repeat(64 * 1024)).unwrap();
    let table = format!(
        "[listener.errors]\n502 = \"{}\"\n404 = \"{}\"\n400 = \"{}\"\n426 = \"{}\"\n431 = \"{}\"\n",
        path("sorry.html"),
        path("plain"),
        path("empty.txt"),
        path("sorry.html"),
        path("large.html"),
    );
    (dir, table)
}

fn expect_page(answer: &Answer, status: u16, media_type: &str, body: &str) {
    assert_eq!(answer.status, status, "{}", answer.head);
    assert_eq!(answer.values("content-type"), [media_type]);
    assert_eq!(answer.values("content-length"), [body.len().to_string()]);
    assert_eq!(answer.text(), body);
}

#[test]
fn refusals_are_answered_with_the_page_of_their_status() {
    let (_dir, table) = pages();
    let routes = format!("{table}[[listener.route]]\nhost = \"x\"\nbackend = \"app\"\n");
    let proxy = Plan::http(free_addr()).routes(&routes).start();
    let (html, plain) = ("text/html; charset=utf-8", "text/plain; charset=utf-8");
    let mut client = proxy.connect();
    // The connection goes on, as it does without a page.
    for _ in 0..2 {
        let answer = exchange_on(&mut client, get("x", "/", ""));
        expect_page(&answer, 502, html, HTML);
        assert!(answer.values("connection").is_empty(), "{}", answer.head);
        let answer = exchange_on(&mut client, get("y", "/", ""));
        expect_page(&answer, 404, plain, "gone\n");
    }
    let answer = exchange(proxy.addr(), get("x", "/", "Connection: close\r\n"));
    expect_page(&answer, 502, html, HTML);
    assert_eq!(answer.values("connection"), ["close"]);
    // Refused before it was a request.
    let answer = exchange(proxy.addr(), "nonsense\r\n\r\n");
    expect_page(&answer, 400, plain, "");
    assert_eq!(answer.values("connection"), ["close"]);
    let head = get("x", "/", &format!("X: {}\r\n", "y".repeat(33_000)));
    let answer = exchange(proxy.addr(), head);
    expect_page(&answer, 431, html, &"x".repeat(64 * 1024));
    // What the status needs besides is still there.
    let upgrade = websocket::request("x", "/", "").replace("Version: 13", "Version: 12");
    let answer = exchange(proxy.addr(), upgrade);
    expect_page(&answer, 426, html, HTML);
    assert_eq!(answer.values("sec-websocket-version"), ["13"]);
    // A status without a page keeps its text.
    let answer = exchange(
        proxy.addr(),
        get("x", &format!("/{}", "x".repeat(9000)), ""),
    );
    assert_eq!(answer.status, 414);
    assert!(answer.text().starts_with("414 URI Too Long\n"));
    proxy.wait_cause("refused", "no-route");
}

#[test]
fn the_page_of_a_head_request_is_its_length() {
    let (_dir, table) = pages();
    let routes = format!("{table}[[listener.route]]\nbackend = \"app\"\n");
    let proxy = Plan::http(free_addr()).routes(&routes).start();
    let mut client = proxy.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.read_head();
    assert_eq!(values(&head, "content-length"), [HTML.len().to_string()]);
    // The next answer begins right behind it.
    let answer = exchange_on(&mut client, get("x", "/", ""));
    expect_page(&answer, 502, "text/html; charset=utf-8", HTML);
}

#[test]
fn what_is_no_refusal_has_no_page() {
    let (_dir, table) = pages();
    let own = "[[listener.route]]\nhost = \"own\"\nrespond = { status = 404, body = \"mine\" }\n";
    let routes = format!("{table}{own}[[listener.route]]\nbackend = \"app\"\n");
    let origin = Origin::answering("HTTP/1.1 502 Theirs\r\nContent-Length: 6\r\n\r\ntheirs");
    let proxy = Plan::http(origin.addr).routes(&routes).start();
    assert_eq!(exchange(proxy.addr(), get("own", "/", "")).text(), "mine");
    assert_eq!(exchange(proxy.addr(), get("x", "/", "")).text(), "theirs");
}

#[test]
fn a_page_that_is_not_there_is_an_error_of_the_configuration() {
    let (dir, table) = pages();
    let routes = format!("{table}[[listener.route]]\nbackend = \"app\"\n");
    let plan = Plan::http(free_addr()).routes(&routes);
    let file = dir.path().join("longsplice.toml");
    fs::write(&file, plan.toml()).unwrap();
    let file = file.to_str().unwrap();
    let printed = run(&["check", "--print", "-c", file]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let line = format!("\n502 = \"{}/sorry.html\"\n", dir.path().display());
    assert!(printed.stdout.contains(&line), "{printed:?}");
    fs::remove_file(dir.path().join("sorry.html")).unwrap();
    for command in ["check", "run"] {
        let outcome = run(&[command, "-c", file]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        for key in [" listener[0].errors.502: ", " listener[0].errors.426: "] {
            assert!(outcome.stderr.contains(key), "{outcome:?}");
        }
    }
}

/// The heads of the answers to `requests`, each sent on a TLS connection of its own.
fn heads_over_tls(plan: &Plan, identity: &Identity, requests: &[String]) -> Vec<String> {
    let proxy = plan.start();
    let mut heads = Vec::new();
    for (request, version) in requests.iter().zip(VERSIONS.iter().cycle()) {
        let mut client = Secure::connect(proxy.addr(), &identity.client(version, None));
        client.send(request);
        heads.push(client.read_head());
    }
    heads
}

#[test]
fn every_answer_over_tls_carries_strict_transport_security() {
    let identity = Identity::new(&["localhost"]);
    let keys = identity.listener_keys()
        + "\ntls.hsts = { max_age = \"8760h\", include_subdomains = true }";
    let routes = responding("host = \"own\"", "own")
        + "[[listener.route]]\nhost = \"away\"\nredirect = { host = \"there\" }\n"
        + "[[listener.route]]\nhost = \"x\"\nbackend = \"app\"\n";
    let theirs = "Strict-Transport-Security: max-age=1\r\n";
    let origin = Origin::serve(move |mut peer| {
        while let Some(head) = peer.try_read_head() {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/ws" => websocket::switching(""),
                "/own" => ok("x").replace("\r\n\r\n", &format!("\r\n{theirs}\r\n")),
                "/early" => "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned() + &ok("x"),
                _ => ok("x"),
            };
            peer.send(answer);
        }
    });
    let plan = Plan::http(origin).listener_keys(&keys).routes(&routes);
    let ours = "max-age=31536000; includeSubDomains";
    let rows = [
        (get("x", "/", ""), 200, vec![ours]),
        (get("x", "/", "").replace("1.1", "1.0"), 200, vec![ours]),
        (get("own", "/", ""), 200, vec![ours]),
        (get("away", "/", ""), 301, vec![ours]),
        (get("nobody", "/", ""), 404, vec![ours]),
        ("nonsense\r\n\r\n".to_owned(), 400, vec![ours]),
        // The application's own word stands.
        (get("x", "/own", ""), 200, vec!["max-age=1"]),
        (get("x", "/early", ""), 103, vec![]),
        (websocket::request("x", "/ws", ""), 101, vec![]),
    ];
    let requests: Vec<String> = rows.iter().map(|row| row.0.clone()).collect();
    let heads = heads_over_tls(&plan, &identity, &requests);
    for ((request, status, expected), head) in rows.iter().zip(heads) {
        assert_eq!(http::status(&head), *status, "{request}");
        assert_eq!(
            values(&head, "strict-transport-security"),
            *expected,
            "{request}{head}"
        );
    }
}

#[test]
fn without_the_key_nothing_is_said_of_strict_transport_security() {
    let identity = Identity::new(&["localhost"]);
    let origin = Origin::answering(ok("x"));
    let plan = Plan::http(origin.addr).listener_keys(&identity.listener_keys());
    let requests = [get("x", "/", ""), "nonsense\r\n\r\n".to_owned()];
    for head in heads_over_tls(&plan, &identity, &requests) {
        assert!(
            values(&head, "strict-transport-security").is_empty(),
            "{head}"
        );
    }
}
