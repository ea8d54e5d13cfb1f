//! The demo's WebSocket application: every message goes back to its sender.
//!
//! tungstenite knows the frames (RFC 6455 section 5) and reads and writes without waiting, so it works on two
//! buffers here; this file moves bytes between them and the connection. The opening of the WebSocket is
//! not its business.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// Bytes of one message that the application takes.
const MESSAGE_LEN_BYTES_MAX: usize = 64 * 1024;
/// Bytes read from the connection at a time.
const READ_LEN_BYTES: usize = 16 * 1024;

/// Echoes messages until the client closes the WebSocket or breaks its rules.
///
/// # Errors
/// The connection breaks.
pub(super) async fn echo(mut connection: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LEN_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_LEN_BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(Buffers::default(), Role::Server, Some(limits));
    let mut chunk = [0; READ_LEN_BYTES];
    loop {
        let len = connection.read(&mut chunk).await?;
        if len == 0 {
            return Ok(());
        }
        // `read` returns how many bytes of `chunk` it filled.
        socket.get_mut().received.extend(&chunk[..len]);
        let stays_open = answer(&mut socket);
        let to_send = std::mem::take(&mut socket.get_mut().to_send);
        connection.write_all(&to_send).await?;
        if !stays_open {
            return connection.shutdown().await;
        }
    }
}

/// Answers every message that has arrived in full; returns whether the WebSocket stays open.
fn answer(socket: &mut WebSocket<Buffers>) -> bool {
    loop {
        let answered = match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message),
            // tungstenite answers pings and closes by itself.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
                socket.flush()
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
}

/// What tungstenite takes for a connection: bytes that have arrived, and bytes to send.
#[derive(Default)]
struct Buffers {
    received: VecDeque<u8>,
    to_send: Vec<u8>,
}

impl Read for Buffers {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.received.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Read::read(&mut self.received, buf)
    }
}

impl Write for Buffers {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.to_send.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `messages` over a connection that passes `step` bytes at a time; returns what comes back.
    async fn echoed(messages: Vec<Message>, step: usize) -> Vec<Message> {
        let mut client = WebSocket::from_raw_socket(Buffers::default(), Role::Client, None);
        for message in messages {
            client.send(message).unwrap();
        }
        let (ours, theirs) = tokio::io::duplex(step);
        let (mut reading, mut writing) = tokio::io::split(ours);
        let bytes = std::mem::take(&mut client.get_mut().to_send);
        let mut answer = Vec::new();
        let (served, sent, read) = tokio::join!(
            echo(theirs),
            async move {
                writing.write_all(&bytes).await?;
                writing.shutdown().await
            },
            reading.read_to_end(&mut answer),
        );
        served.unwrap();
        // The application may end before it has read all.
        drop(sent);
        read.unwrap();
        client.get_mut().received.extend(answer);
        std::iter::from_fn(|| client.read().ok()).collect()
    }

    #[tokio::test]
    async fn messages_come_back_in_order_and_pings_are_answered() {
        let sent = vec![
            Message::text("hello"),
            Message::binary(vec![7; MESSAGE_LEN_BYTES_MAX]),
            Message::Ping("x".into()),
            Message::text(""),
        ];
        let mut expected = sent.clone();
        expected[2] = Message::Pong("x".into());
        for step in [1, 5, 4096, 1 << 20] {
            assert_eq!(echoed(sent.clone(), step).await, expected, "{step}");
        }
    }

    #[tokio::test]
    async fn a_close_is_answered_and_ends_the_echo() {
        let sent = vec![Message::text("a"), Message::Close(None)];
        assert_eq!(
            echoed(sent, 1 << 20).await,
            [Message::text("a"), Message::Close(None)]
        );
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_ends_the_echo() {
        let sent = vec![
            Message::text("a"),
            Message::binary(vec![0; MESSAGE_LEN_BYTES_MAX + 1]),
            Message::text("b"),
        ];
        assert_eq!(echoed(sent, 1 << 20).await, [Message::text("a")]);
    }
}
