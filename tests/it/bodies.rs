//! Bodies on their way: streamed, bounded, answered before their end, expected, and silent.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::http::{
    self, Answer, exchange, expect_own_answer, get, ok, read_answer, values,
};
use crate::harness::origin::Origin;
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::random::Random;

const MIB: usize = 1 << 20;

/// Long enough for what must not come to have come.
const MOMENT: Duration = Duration::from_millis(150);

/// A chunk that does not end while a test lasts, or a length that is not reached.
const FRAMINGS: [(&str, &str); 2] = [
    ("Content-Length: 1000000000", ""),
    ("Transfer-Encoding: chunked", "7fffffff\r\n"),
];

fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n")
}

/// A client and a server with a request between them.
fn asked(proxy: &Proxy, origin: &Origin, request: &str) -> (Peer, Peer, String) {
    let mut client = proxy.connect();
    client.send(request);
    let mut server = origin.accept();
    let head = server.read_head();
    (client, server, head)
}

fn says_close(answer: &Answer) -> bool {
    answer.values("connection").contains(&"close")
}

#[test]
fn an_answer_that_is_not_read_stops_its_server_and_costs_no_memory() {
    let block = Random::new(41).bytes(MIB + 4099);
    for (framing, before) in FRAMINGS {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let (mut client, mut server, _) = asked(&proxy, &origin, &get("x", "/", ""));
        server.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{before}"));
        client.read_head();
        client.expect(before);
        let resident = proxy.resident_kib();
        let taken = server.send_until_stalled(&block, 256 * MIB, Duration::from_millis(500));
        assert!(taken < 64 * MIB, "{taken} bytes went nowhere");
        let grown = proxy.resident_kib().saturating_sub(resident);
        assert!(grown < 4096, "{grown} KiB more");
        drop(server);
        let (received, end) = client.read_to_end();
        // Bytes that a reset discards cannot be read.
        assert_eq!(end, End::Reset);
        assert!(received.len() <= taken && same_stream(&received, &block));
    }
}

fn same_stream(received: &[u8], block: &[u8]) -> bool {
    let pieces = received.chunks(block.len());
    pieces
        .into_iter()
        .all(|piece| piece == &block[..piece.len()])
}

#[test]
fn a_body_that_is_not_read_stops_its_client_and_costs_no_memory() {
    let block = Random::new(42).bytes(MIB + 4099);
    for (framing, before) in FRAMINGS {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let request = post(framing) + before;
        let (mut client, mut server, _) = asked(&proxy, &origin, &request);
        server.expect(before);
        let resident = proxy.resident_kib();
        let taken = client.send_until_stalled(&block, 256 * MIB, Duration::from_millis(500));
        assert!(taken < 64 * MIB, "{taken} bytes went nowhere");
        let grown = proxy.resident_kib().saturating_sub(resident);
        assert!(grown < 4096, "{grown} KiB more");
        client.finish();
        // All that was taken arrives, and then an end that is not the body's.
        let (received, _) = server.read_to_end();
        assert!(received.len() == taken && same_stream(&received, &block));
        proxy.wait_cause("refused", "request-incomplete");
    }
}

#[test]
fn idle_connections_hold_no_buffer() {
    const CONNECTIONS: usize = 300;
    let origin = Origin::serve(|mut peer| {
        while peer.try_read_head().is_some() {
            peer.send(ok(&"x".repeat(60_000)));
        }
    });
    let proxy = Plan::http(origin).start();
    let idle = |count| -> Vec<Peer> {
        let open = |_| {
            let mut client = proxy.connect();
            client.send(get("x", "/", ""));
            assert_eq!(read_answer(&mut client).body.len(), 60_000);
            client
        };
        (0..count).map(open).collect()
    };
    // What is there once for all is there by now.
    let _first = idle(50);
    let before = proxy.resident_kib();
    let _others = idle(CONNECTIONS);
    let grown = proxy.resident_kib().saturating_sub(before);
    // Each is two sockets; a buffer for either direction would be 16 KiB more.
    assert!(
        grown < CONNECTIONS * 8,
        "{grown} KiB for {CONNECTIONS} connections"
    );
}

/// Sends until nothing more is taken.
fn pour(mut client: Peer, len: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let block = [b'x'; 65_536];
        for _ in 0..len / block.len() {
            if client.try_send(block).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_server_may_answer_a_long_body_without_reading_it() {
    let no = "HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno";
    for (framing, before) in FRAMINGS {
        for resets in [false, true] {
            let origin = Origin::bind();
            let proxy = Plan::http(origin.addr()).start();
            let (mut client, mut server, _) = asked(&proxy, &origin, &(post(framing) + before));
            let pouring = pour(client.twin(), 40 * MIB);
            // Both directions are full before the answer comes.
            let mut seen = 0;
            while seen < 100_000 {
                seen += server.read(10_000).len();
            }
            server.send(no);
            if resets {
                server.reset();
            }
            let answer = read_answer(&mut client);
            assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
            // Where the next request would begin is unknown.
            assert!(says_close(&answer), "{}", answer.head);
            drop(client);
            pouring.join().unwrap();
            proxy.wait_access("request", |line| line["status"] == 413);
        }
    }
}

#[test]
fn a_server_that_neither_reads_nor_answers_is_a_504() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .backend_timeouts("response = \"500ms\"")
        .start();
    let request = post("Content-Length: 1000000000");
    let (mut client, _server, _) = asked(&proxy, &origin, &request);
    let pouring = pour(client.twin(), 40 * MIB);
    let answer = expect_own_answer_while_sending(&mut client);
    assert_eq!(answer.status, 504);
    assert!(says_close(&answer));
    proxy.wait_cause("refused", "response-timeout");
    drop(client);
    pouring.join().unwrap();
}

fn expect_own_answer_while_sending(client: &mut Peer) -> Answer {
    let answer = read_answer(client);
    assert!(!answer.body.is_empty(), "{}", answer.head);
    answer
}

#[test]
fn a_body_that_flows_slowly_has_all_the_time() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .backend_timeouts("response = \"400ms\"")
        .start();
    let (mut client, mut server, _) = asked(&proxy, &origin, &post("Content-Length: 12"));
    let started = Instant::now();
    client
        .drip(b"twelve bytes", Duration::from_millis(100))
        .unwrap();
    server.expect("twelve bytes");
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
    client.read_head();
    server
        .drip(b"twelve bytes", Duration::from_millis(100))
        .unwrap();
    client.expect("twelve bytes");
    assert!(started.elapsed() > Duration::from_secs(2));
    // And the connections are as good as before.
    client.send(get("x", "/", ""));
    server.read_head();
    server.send(ok("again"));
    assert_eq!(read_answer(&mut client).text(), "again");
}

#[test]
fn a_client_that_does_not_read_has_a_cause() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .backend_timeouts("response = \"400ms\"")
        .start();
    let (client, mut server, _) = asked(&proxy, &origin, &get("x", "/", ""));
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    let pouring = pour(server.twin(), 200 * MIB);
    proxy.wait_cause("request", "client-stalled");
    server.expect_ended();
    pouring.join().unwrap();
    drop(client);
}

#[test]
fn a_cut_answer_takes_nothing_from_the_one_before_it() {
    // More than the client's side takes unread, less than that and what waits on ours.
    let first = "x".repeat(150_000);
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let mut client = proxy.connect();
    client.send(get("x", "/first", "") + &get("x", "/second", ""));
    let mut server = origin.accept();
    server.read_head();
    server.send(ok(&first));
    server.read_head();
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort");
    drop(server);
    // It is over for the proxy before the client reads a byte.
    proxy.wait_cause("request", "response-incomplete");
    // A time in which what waits must not be lost: no condition ends it.
    thread::sleep(MOMENT);
    assert_eq!(read_answer(&mut client).text(), first);
    client.read_head();
    assert_eq!(client.read_to_end(), (b"short".to_vec(), End::Reset));
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .limits("max_body = \"1KiB\"")
        .start();
    let mut client = proxy.connect();
    client.send(post("Expect: 100-continue\r\nContent-Length: 1025"));
    let answer = expect_own_answer(&mut client, 413);
    // The client may send the body all the same, or not.
    assert!(says_close(&answer), "{}", answer.head);
    origin.expect_untouched();
    proxy.wait_cause("refused", "body-too-large");
}

#[test]
fn a_client_may_send_without_its_100() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let head = post("Expect: 100-continue\r\nContent-Length: 4");
    let (mut client, mut server, _) = asked(&proxy, &origin, &(head + "body"));
    server.expect("body");
    // It comes too late to be of use, and is passed on.
    server.send("HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &ok("done"));
    assert_eq!(http::status(&client.read_head()), 100);
    let answer = read_answer(&mut client);
    assert_eq!(answer.text(), "done");
    assert!(!says_close(&answer), "{}", answer.head);
}

#[test]
fn hints_pass_while_a_100_is_awaited() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let head = post("Expect: 100-continue\r\nTransfer-Encoding: chunked");
    let (mut client, mut server, _) = asked(&proxy, &origin, &head);
    server.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(http::status(&client.read_head()), 103);
    client.expect_silence(MOMENT);
    server.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(http::status(&client.read_head()), 100);
    client.send("4\r\nbody\r\n0\r\n\r\n");
    server.expect("4\r\nbody\r\n0\r\n\r\n");
    server.send(ok("done"));
    assert_eq!(read_answer(&mut client).text(), "done");
}

#[test]
fn an_expectation_nobody_knows_is_left_to_the_server() {
    let no = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let head = post("Expect: 200-ok\r\nContent-Length: 4");
    let (mut client, mut server, head) = asked(&proxy, &origin, &(head + "body"));
    assert_eq!(values(&head, "expect"), ["200-ok"]);
    server.expect("body");
    server.send(no);
    let answer = read_answer(&mut client);
    assert_eq!(answer.status, 417);
    assert!(!says_close(&answer), "{}", answer.head);
}

#[test]
fn an_http_1_0_client_that_expects_100_gets_none() {
    let origin = Origin::serve(|mut peer| {
        let head = peer.read_head();
        // The server would wait for what this client may never send.
        assert_eq!(values(&head, "expect"), [""; 0]);
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        peer.expect("body");
        peer.send(ok("done"));
    });
    let proxy = Plan::http(origin).start();
    let request = post("Expect: 100-continue\r\nContent-Length: 4").replace("HTTP/1.1", "HTTP/1.0");
    let answer = exchange(proxy.addr(), request + "body");
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
}
