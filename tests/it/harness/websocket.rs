//! The opening of a WebSocket on both sides, and frames as far as a test needs them.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};

use super::http;
use super::origin::{Origin, echo};
use super::peer::Peer;

/// The key of RFC 6455 section 1.3.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The answer to [`KEY`], from the same section.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Returns the proof that `key` was read (RFC 6455 section 4.2.2).
pub(crate) fn accept_for(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(hash.finalize())
}

/// Writes an upgrade request with further header lines (each with its CRLF).
pub(crate) fn request(host: &str, target: &str, lines: &str) -> String {
    http::get(
        host,
        target,
        &format!(
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Version: 13\r\n{lines}"
        ),
    )
}

/// Writes the answer that opens a WebSocket asked for with [`KEY`].
pub(crate) fn switching(lines: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{lines}\r\n"
    )
}

/// Connects and upgrades; what comes back carries opaque bytes.
pub(crate) fn open(addr: SocketAddr) -> Peer {
    let mut client = Peer::connect(addr);
    open_on(&mut client);
    client
}

/// Upgrades a connection.
pub(crate) fn open_on(client: &mut Peer) {
    client.send(request("app.example", "/chat", ""));
    let head = client.read_head();
    assert_eq!(http::status(&head), 101, "{head}");
    assert_eq!(http::values(&head, "sec-websocket-accept"), [ACCEPT]);
}

/// Takes an upgrade request and answers it; returns its head.
pub(crate) fn accept(server: &mut Peer) -> String {
    let head = server.read_head();
    let key = http::values(&head, "sec-websocket-key");
    assert_eq!(key.len(), 1, "{head}");
    server.send(switching("").replace(ACCEPT, &accept_for(key[0])));
    head
}

/// Serves every connection: upgrade, then echo of raw bytes.
pub(crate) fn echo_server() -> SocketAddr {
    Origin::serve(|mut peer| {
        let _ = accept(&mut peer);
        echo(peer);
    })
}

/// A masked text frame of a client, under 126 bytes.
pub(crate) fn client_text(text: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let len = u8::try_from(text.len()).unwrap();
    let mut frame = vec![0x81, 0x80 | len];
    frame.extend(mask);
    frame.extend(
        text.bytes()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// A text frame of a server, under 126 bytes.
pub(crate) fn server_text(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
    frame.extend(text.bytes());
    frame
}
