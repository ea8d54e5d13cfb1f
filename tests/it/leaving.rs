//! Clients that leave before their answer is complete: the server's connection and its place are free at
//! once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::http::{self, get, ok, read_answer};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, file};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::random::Random;
use crate::harness::tls::{Identity, Secure, VERSIONS};
use crate::harness::{eventually, free_addr};
use crate::without_ring;

/// Far less than the time-outs that would end the requests otherwise.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Long enough for what must not come to have come.
const MOMENT: Duration = Duration::from_millis(150);
/// The head of an answer that goes on for ever, and its first event.
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n7\r\ndata:1\n\r\n";

/// How far a request is when its client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has it and says nothing.
    Head,
    /// The answer has begun and says nothing more.
    Body,
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Closes,
    Resets,
    /// It ends its direction and goes on reading.
    HalfCloses,
    /// It has sent more requests, which are not read yet.
    ClosesBehindMore,
}

impl Way {
    const ALL: [Self; 4] = [
        Self::Closes,
        Self::Resets,
        Self::HalfCloses,
        Self::ClosesBehindMore,
    ];
}

/// Lets a client send `request` and get to `stage`.
fn ask(proxy: &Proxy, origin: &Origin, request: &str, stage: Stage) -> (Peer, Peer) {
    let mut client = proxy.connect();
    client.send(request);
    let mut server = origin.accept();
    let head = server.read_head();
    let len = http::values(&head, "content-length");
    server.read(len.first().map_or(0, |len| len.parse().unwrap()));
    if stage == Stage::Body {
        server.send(EVENTS);
        client.read_head();
        client.expect("7\r\ndata:1\n\r\n");
    }
    (client, server)
}

fn check_leaving(proxy: &Proxy, origin: &Origin) {
    let before = proxy.settled_descriptors();
    let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody".to_owned();
    let requests = [get("x", "/", ""), post, http_upgrade()];
    let mut count = 0;
    for stage in [Stage::Head, Stage::Body] {
        for way in Way::ALL {
            for request in &requests {
                let (mut client, mut server) = ask(proxy, origin, request, stage);
                let began = Instant::now();
                let stays = match way {
                    Way::Closes => {
                        drop(client);
                        None
                    }
                    Way::Resets => {
                        client.reset();
                        None
                    }
                    Way::HalfCloses => {
                        client.finish();
                        Some(client)
                    }
                    Way::ClosesBehindMore => {
                        client.send(get("x", "/second", "").repeat(3));
                        // So that they are there when the end comes.
                        server.expect_silence(MOMENT);
                        drop(client);
                        None
                    }
                };
                server.expect_ended();
                let took = began.elapsed();
                assert!(took < AT_ONCE, "{stage:?} {way:?}: {took:?}");
                if let Some(mut client) = stays {
                    client.expect_ended();
                }
                count += 1;
                let event = match stage {
                    Stage::Head => "refused",
                    Stage::Body => "request",
                };
                eventually("a line for each", || proxy.access_lines().len() == count);
                let line = proxy.access_lines().pop().unwrap();
                let cause = match way {
                    Way::Resets => "client-reset",
                    Way::Closes | Way::HalfCloses | Way::ClosesBehindMore => "client-closed",
                };
                let said = (line["event"].as_str(), line["cause"].as_str());
                assert_eq!(said, (Some(event), Some(cause)), "{stage:?} {way:?} {line}");
            }
        }
    }
    proxy.wait_descriptors(before);
}

fn http_upgrade() -> String {
    crate::harness::websocket::request("x", "/", "")
}

#[test]
fn the_server_learns_at_once_that_a_client_has_left() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    check_leaving(&proxy, &origin);
}

#[test]
fn the_server_learns_it_without_io_uring() {
    let origin = Origin::bind();
    if let Some(proxy) = without_ring::start(&Plan::http(origin.addr())) {
        check_leaving(&proxy, &origin);
    }
}

#[test]
fn clients_that_have_left_keep_no_server_busy() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .server_keys("max_connections = 10")
        .start();
    let before = proxy.settled_descriptors();
    let asked: Vec<_> = (0..10)
        .map(|_| ask(&proxy, &origin, &get("x", "/slow", ""), Stage::Head))
        .collect();
    let (clients, servers): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let mut other = proxy.connect();
    other.send(get("x", "/", ""));
    assert!(
        origin.accept_within(MOMENT).is_none(),
        "all places are taken"
    );
    drop(clients);
    let mut server = origin.accept_within(AT_ONCE).expect("no place is free");
    server.read_head();
    server.send(ok("served"));
    assert_eq!(read_answer(&mut other).text(), "served");
    drop((other, server, servers));
    proxy.wait_descriptors(before);
}

#[test]
fn a_client_that_leaves_the_queue_gives_up_its_request() {
    for way in Way::ALL {
        let (origin, admin) = (Origin::bind(), free_addr());
        let proxy = Plan::http(origin.addr())
            .process_keys(&format!("admin_http = \"{admin}\""))
            .server_keys("max_connections = 1")
            .start();
        let (first, server) = ask(&proxy, &origin, &get("x", "/first", ""), Stage::Head);
        let waiting = || http::sample(admin, "queue_length{backend=\"app\"}");
        let mut client = proxy.connect();
        client.send(get("x", "/waits", ""));
        eventually("it waits", || waiting() == Some(1));
        match way {
            Way::Closes => drop(client),
            Way::Resets => client.reset(),
            Way::HalfCloses => {
                client.finish();
                client.expect_ended();
            }
            Way::ClosesBehindMore => {
                client.send(get("x", "/more", ""));
                drop(client);
            }
        }
        eventually("it has left", || waiting() == Some(0));
        drop((first, server));
        assert!(origin.accept_within(MOMENT).is_none(), "{way:?}");
    }
}

#[test]
fn a_client_that_leaves_while_a_server_is_connected_to_ends_the_attempt() {
    let clogged = Origin::clogged();
    let proxy = Plan::http(clogged.addr())
        .backend_timeouts("connect = \"1h\"")
        .start();
    let before = proxy.settled_descriptors();
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    eventually("it connects", || proxy.descriptors() == before + 2);
    drop(client);
    let line = proxy.wait_cause("refused", "client-closed");
    assert_eq!(line["server"], clogged.addr().to_string());
    proxy.wait_descriptors(before);
}

#[test]
fn a_client_whose_body_the_server_does_not_take_may_leave() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let before = proxy.settled_descriptors();
    let mut client = proxy.connect();
    let len = 1_u64 << 30;
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n"
    ));
    let mut server = origin.accept();
    server.read_head();
    let block = Random::new(83).bytes(1 << 20);
    client.send_until_stalled(&block, 256 << 20, Duration::from_millis(300));
    client.reset();
    proxy.wait_cause("refused", "client-reset");
    server.drain();
    proxy.wait_descriptors(before);
}

#[test]
fn with_abort_on_close_off_a_client_that_only_stops_sending_is_answered() {
    let origin = Origin::bind();
    let plan = Plan::http(origin.addr())
        .backend_keys("abort_on_close = false")
        .server_keys("max_connections = 1");
    let proxies = [
        Some(plan.start()),
        without_ring::start(&plan.bind(format!("\"{}\"", free_addr()))),
    ];
    for proxy in proxies.into_iter().flatten() {
        // In each state: one has an answer that has begun, one waits in the queue, and gets its turn.
        let (mut first, mut server) = ask(&proxy, &origin, &get("x", "/", ""), Stage::Head);
        first.finish();
        let mut queued = proxy.connect();
        queued.send(get("x", "/queued", ""));
        queued.finish();
        server.expect_silence(MOMENT);
        server.send(EVENTS);
        first.read_head();
        first.expect("7\r\ndata:1\n\r\n");
        server.expect_silence(MOMENT);
        server.send("0\r\n\r\n");
        first.expect("0\r\n\r\n");
        first.expect_closed();
        let mut server = origin.accept();
        server.read_head();
        server.expect_silence(MOMENT);
        server.send(ok("queued"));
        assert_eq!(read_answer(&mut queued).text(), "queued");
        drop((queued, server));
        // A reset is another matter.
        let (client, mut server) = ask(&proxy, &origin, &get("x", "/", ""), Stage::Head);
        client.finish();
        server.expect_silence(MOMENT);
        client.reset();
        server.expect_ended();
        proxy.wait_cause("refused", "client-reset");
    }
}

#[test]
fn data_behind_a_request_is_not_leaving() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(get("x", "/1", ""));
    let mut server = origin.accept();
    server.read_head();
    // More than is read ahead of its turn; it stays in the kernel.
    let block = get("x", "/more", "").repeat(1000);
    let sent = client.send_until_stalled(block.as_bytes(), 64 << 20, Duration::from_millis(300));
    assert!(sent < 64 << 20, "all of it was read");
    server.expect_silence(MOMENT);
    server.send(ok("1"));
    assert_eq!(read_answer(&mut client).text(), "1");
    server.read_head();
    server.send(ok("2"));
    assert_eq!(read_answer(&mut client).text(), "2");
    server.read_head();
    // An end in good order would stand behind what is not read.
    client.reset();
    server.expect_ended();
}

#[test]
fn a_client_over_tls_leaves_by_close_notify_or_without() {
    let identity = Identity::new(&["localhost"]);
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys(&identity.listener_keys())
        .start();
    for version in VERSIONS {
        for (goodbye, pipelined) in [(true, false), (false, false), (false, true)] {
            let mut client = Secure::connect(proxy.addr(), &identity.client(version, None));
            client.send(get("localhost", "/", ""));
            let mut server = origin.accept();
            server.read_head();
            server.send(EVENTS);
            client.read_head();
            if pipelined {
                client.send(get("localhost", "/second", ""));
                server.expect_silence(MOMENT);
            }
            // It goes on listening, as some do until they get a close_notify back.
            match goodbye {
                true => client.notify(),
                false => client.truncate(),
            }
            let began = Instant::now();
            server.expect_ended();
            assert!(
                began.elapsed() < AT_ONCE,
                "{version:?} {goodbye} {pipelined}"
            );
            proxy.wait_cause("request", "client-closed");
        }
    }
}

#[test]
fn a_bad_record_while_a_request_waits_is_named() {
    use std::io::Write;
    let identity = Identity::new(&["localhost"]);
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys(&identity.listener_keys())
        .start();
    let config = identity.client(VERSIONS[1], None);
    let mut client = Secure::connect(proxy.addr(), &config);
    client.send(get("localhost", "/", ""));
    let mut server = origin.accept();
    server.read_head();
    client.tcp.write_all(&[23, 3, 3, 0, 32]).unwrap();
    client.tcp.write_all(&[0; 32]).unwrap();
    server.expect_ended();
    proxy.wait_cause("refused", "tls-bad-record");
}

#[test]
fn node_learns_that_curl_has_left() {
    let (Some(mut node), Some(_)) = (Part::Node.command(), Part::Curl.command()) else {
        return;
    };
    let app = Running::start(node.arg(file("real/stream_server.js")));
    let addr = SocketAddr::from(([127, 0, 0, 1], app.port()));
    let proxy = Plan::http(addr).start();
    for path in ["/events", "/slow"] {
        let mut curl = Part::Curl.command().unwrap();
        let url = format!("http://{}{path}", proxy.addr());
        // It gives up, which is no success.
        let output = curl
            .args(["-sSN", "--max-time", "1", &url])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(28), "{output:?}");
        assert_eq!(app.line(), format!("came {path}"));
        assert_eq!(app.line(), format!("gone {path}"));
    }
}
