//! Many requests on one connection: their order, their servers, and where each message ends.

use std::time::Duration;

use crate::harness::http::{Answer, exchange_on, get, ok, read_answer, values};
use crate::harness::peer::Peer;

// Requests of one client: their order, and what ends their connection.
mod order;
// Connections to servers that are kept, and for whom.
mod servers;
// Connections that the server authenticates.
mod bound;
// Requests on a kept connection that dies.
mod retry;
// Where an answer ends, and what a server sends beyond it.
mod answers;
// Where the body of a request ends, read or not.
mod bodies;
// Idle connections, slow requests, stops.
mod ends;

/// Long enough for what must not come to have come.
const MOMENT: Duration = Duration::from_millis(150);

fn post(target: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Answers every request with its method, target and body, and the number of its connection's
/// requests so far.
fn telling(mut peer: Peer) {
    let mut count = 0;
    while let Some(head) = peer.try_read_head() {
        count += 1;
        let len = values(&head, "content-length")
            .first()
            .map_or(0, |len| len.parse().unwrap());
        let body = String::from_utf8(peer.read(len)).unwrap();
        let line = head.split(" HTTP/").next().unwrap();
        if peer
            .try_send(ok(&format!("{count} {line} {body}")))
            .is_err()
        {
            return;
        }
    }
}

/// Takes the next request of a server's connection and answers it.
fn answer(server: &mut Peer, bytes: impl AsRef<[u8]>) -> String {
    let head = server.read_head();
    server.send(bytes);
    head
}

fn text(client: &mut Peer, request: impl AsRef<[u8]>) -> String {
    exchange_on(client, request).text()
}

fn says_close(answer: &Answer) -> bool {
    answer.values("connection").contains(&"close")
}

fn text_over(client: &mut Peer, server: &mut Peer, body: &str) -> String {
    client.send(get("x", "/", ""));
    answer(server, ok(body));
    read_answer(client).text()
}
