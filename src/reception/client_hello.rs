//! `sni` mode: reads the ClientHello of a connection whose TLS is passed through without being opened.

use tokio::time::{Instant, timeout_at};

use super::first_bytes::{self, Place};
use super::refusal::Refusal;
use super::socket::Socket;
use crate::journal::Cause;
use crate::proto::Progress;
use crate::proto::client_hello::{ClientHello, MalformedHello, parse};

/// Bytes asked for at once. Bytes that follow the ClientHello stay in the inbox.
const READ_LEN_BYTES: usize = 4096;

/// The alert that answers an unknown server name: a fatal unrecognized_name in a plain
/// record (RFC 8446 sections 5.1 and 6, RFC 6066 section 3).
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Reads until `inbox` begins with a whole ClientHello, and leaves it there for the server.
///
/// # Errors
/// The refusal to report: [`Cause::Probe`] for a connection that sent nothing, a quiet one for bytes that
/// are not TLS and no other protocol that is known.
pub(super) async fn read(
    socket: &Socket,
    inbox: &mut Vec<u8>,
    place: Place<'_>,
    deadline: Instant,
) -> Result<ClientHello, Refusal> {
    loop {
        match parse(inbox) {
            Ok(Progress::Complete { value, .. }) => return Ok(value),
            Ok(Progress::Partial) => {}
            Err(rule @ MalformedHello::NotTls) => {
                let opening = first_bytes::recognise(socket, inbox).await;
                return Err(match opening {
                    Some(opening) => failed(first_bytes::told(opening, place)),
                    None => failed(rule.to_string()).quiet(),
                });
            }
            Err(rule) => return Err(failed(rule.to_string())),
        }
        match timeout_at(deadline, socket.recv_onto(inbox, READ_LEN_BYTES)).await {
            Ok(Ok(1..)) => {}
            Ok(_) | Err(_) if inbox.is_empty() => return Err(Refusal::new(Cause::Probe, "")),
            Ok(Ok(0)) => return Err(failed("the client closed inside its ClientHello")),
            Ok(Err(error)) => return Err(Refusal::client_gone(error)),
            Err(_) => return Err(Refusal::new(Cause::TlsHandshakeTimeout, "")),
        }
    }
}

fn failed(rule: impl Into<String>) -> Refusal {
    Refusal::new(Cause::TlsHandshakeFailed, rule)
}
