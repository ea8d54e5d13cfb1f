//! HTTP/1.1 as bytes, as the tests need it: no rule is enforced here that a test does not state.

use std::net::SocketAddr;

use super::peer::Peer;

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The head, its empty line included.
    pub(crate) head: String,
    /// What followed the head, up to Content-Length or the end of the connection.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the values of all lines of this name, in order, without white space around them.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        values(&self.head, name)
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Returns the values of all lines of `head` with this name.
pub(crate) fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    lines(head)
        .into_iter()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// Returns the header lines of `head`, without the first line.
pub(crate) fn lines(head: &str) -> Vec<&str> {
    head.trim_end_matches("\r\n")
        .split("\r\n")
        .skip(1)
        .collect()
}

/// Receives an answer: its head, then as much body as its Content-Length says; without one, all
/// that comes until the end.
pub(crate) fn read_answer(peer: &mut Peer) -> Answer {
    let head = peer.read_head();
    let status = status(&head);
    let len = values(&head, "content-length")
        .first()
        .map(|len| len.parse().unwrap());
    let body = match len {
        _ if status < 200 || status == 204 || status == 304 => Vec::new(),
        Some(len) => peer.read(len),
        None => peer.read_to_end().0,
    };
    Answer { status, head, body }
}

/// Returns the status of an answer's head.
pub(crate) fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|status| status.get(..3))
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// Sends `request` on a new connection and receives the answer.
pub(crate) fn exchange(addr: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    exchange_on(&mut Peer::connect(addr), request)
}

/// Sends `request` and receives the answer.
pub(crate) fn exchange_on(peer: &mut Peer, request: impl AsRef<[u8]>) -> Answer {
    // The answer may come, and the connection end, before the whole request is taken.
    let _ = peer.try_send(request);
    read_answer(peer)
}

/// Returns the value of a sample of `/metrics`, such as `queue_length{backend="app"}`; none while there
/// is none, or nothing listens at `admin`.
pub(crate) fn sample(admin: SocketAddr, name: &str) -> Option<usize> {
    let mut peer = Peer::try_connect(admin).ok()?;
    let request = get("x", "/metrics", "Connection: close\r\n");
    let metrics = exchange_on(&mut peer, request).text();
    let name = format!("longsplice_{name} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name))?;
    Some(value.parse().unwrap())
}

/// Writes a GET request for `target` at `host`, with further header lines (each with its CRLF).
pub(crate) fn get(host: &str, target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")
}

/// Writes an answer with status 200 and this body.
pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Demands an answer of the proxy's own: this status and a short text whose length is stated; and,
/// where the answer says so, the end of the connection after it.
pub(crate) fn expect_own_answer(peer: &mut Peer, status: u16) -> Answer {
    let answer = read_answer(peer);
    assert_eq!(answer.status, status, "{}", answer.head);
    let len = body_len(&answer);
    assert_eq!(answer.body.len(), len, "{answer:?}");
    assert!(len > 0 && len < 512, "a short text: {answer:?}");
    if answer.values("connection").contains(&"close") {
        peer.expect_ended();
    }
    answer
}

fn body_len(answer: &Answer) -> usize {
    let len = answer.values("content-length");
    assert_eq!(len.len(), 1, "one Content-Length: {}", answer.head);
    len[0].parse().unwrap()
}
