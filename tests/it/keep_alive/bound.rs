//! Servers that authenticate a connection (NTLM, Negotiate): it stays with its client, and with no other.

use std::net::SocketAddr;
use std::time::Duration;

use super::{MOMENT, answer, post, says_close, telling, text, text_over};
use crate::harness::http::{self, Answer, get, ok, read_answer, sample, values};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, file, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::websocket;
use crate::harness::{eventually, free_addr};

/// An answer that demands an authentication, with this header line.
fn denial(status: u16, line: &str) -> String {
    format!("HTTP/1.1 {status} No\r\n{line}\r\nContent-Length: 2\r\n\r\nno")
}

fn ntlm(token: &str) -> String {
    denial(401, &format!("WWW-Authenticate: NTLM{token}"))
}

/// Two servers of one backend, in turn.
fn in_turn() -> (Origin, Origin, Plan) {
    let (one, other) = (Origin::bind(), Origin::bind());
    let plan = Plan::http(one.addr())
        .backend_keys("balance = \"round_robin\"")
        .and_server(other.addr());
    (one, other, plan)
}

/// Takes the connection that one of the two servers gets.
fn accept_either(one: &Origin, other: &Origin) -> Peer {
    let peer = one.accept_within(MOMENT);
    peer.unwrap_or_else(|| other.accept())
}

/// Sends `request` and answers it on `server`.
fn over(client: &mut Peer, server: &mut Peer, request: &str, said: &str) -> Answer {
    client.send(request);
    answer(server, said);
    read_answer(client)
}

/// Lets a client be challenged on a new connection.
fn challenged(proxy: &Proxy, one: &Origin, other: &Origin) -> (Peer, Peer) {
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    let mut server = accept_either(one, other);
    answer(&mut server, ntlm(" VHlwZTI="));
    assert_eq!(read_answer(&mut client).status, 401);
    (client, server)
}

#[test]
fn upgrades_that_are_refused_and_the_one_that_is_not_share_a_connection() {
    let origin = Origin::bind();
    let (one, other, in_turn) = in_turn();
    let origins = [
        (Plan::http(origin.addr()), &origin, &origin),
        (in_turn, &one, &other),
    ];
    for (plan, one, other) in origins {
        let proxy = plan.start();
        let mut client = proxy.connect();
        client.send(websocket::request("x", "/", ""));
        let mut server = accept_either(one, other);
        answer(&mut server, ntlm(""));
        let refused = read_answer(&mut client);
        assert_eq!((refused.status, refused.text().as_str()), (401, "no"));
        let request = websocket::request("x", "/", "Authorization: NTLM VHlwZTE=\r\n");
        let refused = over(&mut client, &mut server, &request, &ntlm(" VHlwZTI="));
        assert_eq!(refused.values("www-authenticate"), ["NTLM VHlwZTI="]);
        client.send(websocket::request(
            "x",
            "/",
            "Authorization: NTLM VHlwZTM=\r\n",
        ));
        let head = websocket::accept(&mut server);
        assert_eq!(values(&head, "authorization"), ["NTLM VHlwZTM="]);
        assert_eq!(http::status(&client.read_head()), 101);
        client.send("ping");
        server.expect("ping");
        one.expect_untouched();
        other.expect_untouched();
    }
}

#[test]
fn a_refused_upgrade_leaves_both_connections_usable() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    for status in [200, 400, 403, 426, 503] {
        let mut client = proxy.connect();
        client.send(websocket::request("x", "/", ""));
        let mut server = origin.accept();
        answer(&mut server, denial(status, "X: y"));
        assert_eq!(read_answer(&mut client).status, status);
        assert_eq!(text_over(&mut client, &mut server, "more"), "more");
    }
    // Not if the server says so.
    let mut client = proxy.connect();
    client.send(websocket::request("x", "/", ""));
    let mut server = origin.accept();
    answer(&mut server, denial(403, "Connection: close"));
    assert_eq!(read_answer(&mut client).status, 403);
    server.expect_ended();
    client.send(get("x", "/", ""));
    answer(&mut origin.accept(), ok("anew"));
    assert_eq!(read_answer(&mut client).text(), "anew");
}

#[test]
fn what_authenticates_the_connection_binds_it() {
    let challenges = [
        (401, "WWW-Authenticate: NTLM", ""),
        (401, "www-authenticate: negotiate", ""),
        (
            401,
            "WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Negotiate",
            "",
        ),
        (401, "WWW-Authenticate: Basic realm=\"a,b\", NTLM", ""),
        (407, "Proxy-Authenticate: NTLM", ""),
        (200, "WWW-Authenticate: Negotiate oRQwEqADCgEA", ""),
        (200, "X: y", "Authorization: Negotiate YII=\r\n"),
        (200, "X: y", "authorization: ntlm VHlwZTM=\r\n"),
    ];
    let (one, other, plan) = in_turn();
    let proxy = plan.start();
    for (status, line, asked) in challenges {
        let mut client = proxy.connect();
        client.send(get("x", "/", asked));
        let mut server = accept_either(&one, &other);
        answer(&mut server, denial(status, line));
        assert_eq!(read_answer(&mut client).status, status, "{line}");
        for turn in ["1", "2", "3"] {
            assert_eq!(text_over(&mut client, &mut server, turn), turn, "{line}");
        }
        let said = over(&mut client, &mut server, &post("/", ""), &ok("posted"));
        assert_eq!(said.text(), "posted");
        // It belongs to this client alone, and ends with it.
        let mut stranger = proxy.connect();
        stranger.send(get("x", "/", ""));
        let mut fresh = accept_either(&one, &other);
        answer(&mut fresh, ok("fresh"));
        assert_eq!(read_answer(&mut stranger).text(), "fresh", "{line}");
        drop(client);
        server.expect_closed();
    }
}

#[test]
fn what_does_not_binds_nothing() {
    for line in [
        "WWW-Authenticate: Basic realm=\"NTLM\"",
        "WWW-Authenticate: Digest realm=\"x\", Negotiate=1",
        "X-WWW-Authenticate: NTLM",
    ] {
        let (one, other, plan) = in_turn();
        let proxy = plan.start();
        let mut client = proxy.connect();
        client.send(get("x", "/", "Authorization: Basic TlRMTQ==\r\n"));
        let mut first = accept_either(&one, &other);
        answer(&mut first, denial(401, line));
        assert_eq!(read_answer(&mut client).status, 401);
        client.send(get("x", "/", ""));
        let mut second = accept_either(&one, &other);
        answer(&mut second, ok("the other's"));
        assert_eq!(read_answer(&mut client).text(), "the other's", "{line}");
    }
}

#[test]
fn another_client_of_a_trusted_proxy_does_not_get_the_connection() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys("trusted_proxies = [\"127.0.0.0/8\"]")
        .start();
    let from = |ip: &str| get("x", "/", &format!("X-Forwarded-For: {ip}\r\n"));
    let mut client = proxy.connect();
    client.send(from("203.0.113.1"));
    let mut first = origin.accept();
    answer(&mut first, ntlm(""));
    assert_eq!(read_answer(&mut client).status, 401);
    client.send(from("203.0.113.2"));
    let mut second = origin.accept();
    answer(&mut second, ok("a stranger's"));
    assert_eq!(read_answer(&mut client).text(), "a stranger's");
    let again = over(&mut client, &mut first, &from("203.0.113.1"), &ok("mine"));
    assert_eq!(again.text(), "mine");
    let again = over(&mut client, &mut second, &from("203.0.113.2"), &ok("its"));
    assert_eq!(again.text(), "its");
}

#[test]
fn the_end_of_a_bound_connection_is_the_end_of_the_clients() {
    let (one, other, plan) = in_turn();
    let proxy = plan.start();
    // While it is idle.
    let (mut client, server) = challenged(&proxy, &one, &other);
    drop(server);
    client.expect_closed();
    // With a request on it, which is not repeated, as harmless as it is.
    let (mut client, mut server) = challenged(&proxy, &one, &other);
    client.send(get("x", "/", ""));
    answer(&mut server, "");
    drop(server);
    client.expect_closed();
    let line = proxy.wait_cause("refused", "response-incomplete");
    assert!(
        line["detail"]
            .as_str()
            .unwrap()
            .contains("only the client may"),
        "{line}"
    );
    // In the middle of an answer, or before its head is whole: the client learns that there is no more.
    let (mut client, mut server) = challenged(&proxy, &one, &other);
    client.send(get("x", "/", ""));
    answer(&mut server, "HTTP/1.1 2");
    drop(server);
    let failed = read_answer(&mut client);
    assert_eq!(failed.status, 502);
    assert!(says_close(&failed), "{failed:?}");
    client.expect_closed();
    one.expect_untouched();
    other.expect_untouched();
}

#[test]
fn a_server_that_says_close_closes_the_clients_connection_too() {
    let (one, other, plan) = in_turn();
    let proxy = plan.start();
    let (mut client, mut server) = challenged(&proxy, &one, &other);
    let closing = "HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let last = over(&mut client, &mut server, &get("x", "/", ""), closing);
    assert!(says_close(&last), "{last:?}");
    client.expect_closed();
    // Bytes that nobody asked for: it may not be used again either.
    let (mut client, mut server) = challenged(&proxy, &one, &other);
    let last = over(
        &mut client,
        &mut server,
        &get("x", "/", ""),
        &(ok("a") + "b"),
    );
    assert_eq!(last.text(), "a");
    client.expect_closed();
}

#[test]
fn without_keep_alive_nothing_is_bound() {
    let (one, other, plan) = in_turn();
    let proxy = plan
        .backend_keys("balance = \"round_robin\"\nkeep_alive = false")
        .start();
    let mut client = proxy.connect();
    for _ in 0..3 {
        client.send(get("x", "/", "Authorization: Negotiate YII=\r\n"));
        let mut server = accept_either(&one, &other);
        let head = answer(
            &mut server,
            ntlm("").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
        );
        assert_eq!(values(&head, "connection"), ["close"]);
        let answer = read_answer(&mut client);
        assert!(!says_close(&answer), "{answer:?}");
        server.expect_ended();
    }
}

/// A bound request that waits for its server, which has no room.
struct Waiting {
    proxy: Proxy,
    client: Peer,
    server: Peer,
    busy: Peer,
    busy_server: Peer,
}

/// Lets a bound request wait. `one` and `other` are the servers.
fn let_one_wait(one: &Origin, other: &Origin) -> Waiting {
    let admin = free_addr();
    let proxy = Plan::http(one.addr())
        .process_keys(&format!("admin_http = \"{admin}\""))
        .backend_keys("balance = \"round_robin\"")
        .server_keys(&format!(
            "max_connections = 1\n[[backend.server]]\naddress = \"{}\"",
            other.addr()
        ))
        .start();
    // Until one of them is bound to the first server.
    let (mut client, server) = loop {
        let mut client = proxy.connect();
        client.send(get("x", "/", ""));
        let Some(mut server) = one.accept_within(MOMENT) else {
            answer(&mut other.accept(), ok("the other's"));
            read_answer(&mut client);
            continue;
        };
        answer(&mut server, ntlm(""));
        read_answer(&mut client);
        break (client, server);
    };
    // While it is idle it takes no place.
    let mut busy = proxy.connect();
    let busy_server = loop {
        busy.send(get("x", "/", ""));
        if let Some(mut server) = one.accept_within(MOMENT) {
            server.read_head();
            break server;
        }
        answer(&mut other.accept(), ok("the other's"));
        read_answer(&mut busy);
    };
    client.send(get("x", "/waits", ""));
    eventually("it waits, although the other one has room", || {
        sample(admin, "queue_length{backend=\"app\"}") == Some(1)
    });
    Waiting {
        proxy,
        client,
        server,
        busy,
        busy_server,
    }
}

#[test]
fn a_bound_request_waits_for_its_server() {
    let (one, other) = (Origin::bind(), Origin::bind());
    let mut it = let_one_wait(&one, &other);
    it.busy_server.send(ok("done"));
    read_answer(&mut it.busy);
    assert!(answer(&mut it.server, ok("turn")).contains("GET /waits "));
    assert_eq!(read_answer(&mut it.client).text(), "turn");
}

#[test]
fn a_bound_connection_that_ends_while_its_request_waits_ends_the_clients() {
    let (one, other) = (Origin::bind(), Origin::bind());
    let mut it = let_one_wait(&one, &other);
    drop(it.server);
    it.busy_server.send(ok("done"));
    read_answer(&mut it.busy);
    it.client.expect_ended();
    // As if it had ended a moment later, with the request on it.
    let line = it.proxy.wait_cause("refused", "response-incomplete");
    assert_eq!(
        line["detail"], "the server closed the connection that it authenticates",
        "{line}"
    );
    one.expect_untouched();
    other.expect_untouched();
}

#[test]
fn a_silent_end_takes_nothing_of_the_response_before() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    let mut server = origin.accept();
    server.read_head();
    // Most of its body is unread when the connection ends: a reset would follow a mere close.
    client.send(post("/lost", &"x".repeat(300_000)));
    // The client reads slowly, so that the end of it is still unsent then.
    let body = "y".repeat(3_000_000);
    let answering = std::thread::spawn(move || {
        server.send(denial(401, "WWW-Authenticate: NTLM").replace(
            "Length: 2\r\n\r\nno",
            &format!("Length: {}\r\n\r\n{body}", body.len()),
        ));
    });
    assert!(client.read_head().starts_with("HTTP/1.1 401 "));
    for _ in 0..300 {
        std::thread::sleep(Duration::from_millis(1));
        assert!(client.read(10_000).iter().all(|byte| *byte == b'y'));
    }
    client.expect_closed();
    answering.join().unwrap();
    proxy.wait_cause("refused", "response-incomplete");
}

#[test]
fn a_reload_leaves_what_is_bound_to_a_server_that_stays() {
    let (one, other, plan) = in_turn();
    let proxy = plan.start();
    let (mut client, mut server) = challenged(&proxy, &one, &other);
    let more = plan.clone().and_server(free_addr());
    proxy.reload(&more.backend_timeouts("response = \"50s\"").toml());
    assert_eq!(text_over(&mut client, &mut server, "still"), "still");
    // Without it, the client authenticates anew on another connection.
    let third = Origin::serve(telling);
    proxy.reload(
        &Plan::http(third)
            .bind(format!("\"{}\"", proxy.addr()))
            .toml(),
    );
    client.send(post("/", "lost"));
    client.expect_ended();
    let line = proxy.wait_cause("refused", "no-server");
    assert!(
        line["detail"]
            .as_str()
            .unwrap()
            .contains("gets no more requests"),
        "{line}"
    );
    assert_eq!(
        text(&mut proxy.connect(), post("/", "again")),
        "1 POST / again"
    );
    server.expect_ended();
}

#[test]
fn a_reload_that_takes_keep_alive_away_ends_what_is_bound_with_an_announcement() {
    let (one, other, plan) = in_turn();
    let proxy = plan.start();
    let (mut client, mut server) = challenged(&proxy, &one, &other);
    let without = "balance = \"round_robin\"\nkeep_alive = false";
    proxy.reload(&plan.clone().backend_keys(without).toml());
    client.send(get("x", "/", ""));
    // A server may ignore the wish that the connection ends.
    let head = answer(&mut server, ok("last"));
    assert_eq!(values(&head, "connection"), ["close"]);
    let last = read_answer(&mut client);
    assert!(says_close(&last), "{last:?}");
    assert_eq!(last.text(), "last");
    client.expect_ended();
    server.expect_ended();
}

#[test]
fn each_backend_has_its_own() {
    let (app, other) = (Origin::bind(), Origin::bind());
    let proxy = Plan::http(app.addr())
        .routes(
            "[[listener.route]]\npath = \"/other\"\nbackend = \"other\"\n\
             [[listener.route]]\nbackend = \"app\"\n",
        )
        .more(&crate::harness::plan::backend("other", other.addr()))
        .start();
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    let mut first = app.accept();
    answer(&mut first, ntlm(""));
    read_answer(&mut client);
    client.send(get("x", "/other", ""));
    let mut second = other.accept();
    answer(&mut second, ntlm(""));
    read_answer(&mut client);
    for _ in 0..3 {
        assert_eq!(text_over(&mut client, &mut first, "first"), "first");
        let said = over(
            &mut client,
            &mut second,
            &get("x", "/other", ""),
            &ok("second"),
        );
        assert_eq!(said.text(), "second");
    }
}

/// Starts two servers that authenticate as IIS does, and the proxy in front.
fn in_front_of_ntlm() -> Option<([(Running, SocketAddr); 2], Proxy)> {
    let start = || {
        let app = Running::start(Part::Node.command()?.arg(file("real/ntlm_server.js")));
        let addr = SocketAddr::from(([127, 0, 0, 1], app.port()));
        Some((app, addr))
    };
    let apps = [start()?, start()?];
    let plan = Plan::http(apps[0].1).backend_keys("balance = \"round_robin\"");
    let proxy = plan.and_server(apps[1].1).start();
    Some((apps, proxy))
}

#[test]
fn curl_authenticates_by_ntlm() {
    let (Some((_apps, proxy)), Some(mut curl)) = (in_front_of_ntlm(), Part::Curl.command()) else {
        return;
    };
    let url = format!("http://{}/", proxy.addr());
    curl.args(["-sS", "--max-time", "15", "--ntlm", "-u", "user:password"]);
    // It does not authenticate again on a connection on which it has.
    let said = finish(curl.args([&url, &url, &url, "-w", "%{response_code} "]));
    assert_eq!(said, "200 on 1\n200 200 on 1\n200 200 on 1\n200 ");
    eventually("a line for each", || proxy.access_lines().len() == 4);
    let lines = proxy.access_lines();
    assert!(
        lines
            .windows(2)
            .all(|pair| pair[0]["server"] == pair[1]["server"])
    );
    // With a body, which it sends once it may.
    let mut curl = Part::Curl.command().unwrap();
    curl.args(["-sS", "--max-time", "15", "--ntlm", "-u", "user:password"]);
    let said = finish(curl.args(["-d", "body", &url, "-w", "%{response_code}"]));
    assert!(
        said.starts_with("200 on ") && said.ends_with("200"),
        "{said}"
    );
}

#[test]
fn a_websocket_opens_behind_ntlm() {
    let Some((apps, proxy)) = in_front_of_ntlm() else {
        return;
    };
    // The messages of types 1 and 3, without what they say (MS-NLMP section 2.2.1).
    let message = |letters| format!("Authorization: NTLM TlRMTVNTUAA{letters}AAAA=\r\n");
    let mut client = proxy.connect();
    let mut asked = |lines: &str| {
        client.send(websocket::request("x", "/", lines));
        http::status(&client.read_head())
    };
    assert_eq!(asked(""), 401);
    assert_eq!(asked(&message("B")), 401);
    assert_eq!(asked(&message("D")), 101);
    client.expect("hello");
    let line = proxy.wait_access("open", |_| true);
    let is_it = |app: &&(Running, SocketAddr)| line["server"] == app.1.to_string();
    let (served, _) = apps.iter().find(is_it).unwrap();
    let said = [served.line(), served.line(), served.line()];
    assert_eq!(said, ["GET 401 1", "GET 401 1", "GET 200 1"]);
}
