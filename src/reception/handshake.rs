//! The TLS handshake of an arriving connection: bytes carried between the socket and
//! [`crate::tls::handshake`], within `tls_handshake`.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;
use super::socket::Socket;
use crate::journal::Cause;
use crate::tls::handshake::{Established, Failure, Handshake};

/// Bytes asked for at once; whatever follows the handshake is kept.
const READ_LEN_BYTES: usize = 4096;

/// Runs the handshake; `received` is what came before. Afterwards the socket speaks TLS.
///
/// # Errors
/// The refusal to count; the client has its alert. [`Cause::Probe`] is one that leaves no line.
pub(super) async fn run(
    socket: &mut Socket,
    config: &Arc<ServerConfig>,
    received: Vec<u8>,
    deadline: Instant,
) -> Result<(), Refusal> {
    let mut silent = received.is_empty();
    let carried = carry(socket, config, received, &mut silent);
    let refusal = match timeout_at(deadline, carried).await {
        Ok(Ok(established)) => {
            socket.protect(established);
            return Ok(());
        }
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::new(Cause::TlsHandshakeTimeout, ""),
    };
    Err(if silent {
        Refusal::new(Cause::Probe, "")
    } else {
        refusal
    })
}

async fn carry(
    socket: &Socket,
    config: &Arc<ServerConfig>,
    received: Vec<u8>,
    silent: &mut bool,
) -> Result<Established, Refusal> {
    let mut handshake = Handshake::new(Arc::clone(config), received).map_err(failed)?;
    loop {
        let complete = handshake.advance();
        let answer = handshake.take_outbox();
        let sent = socket.send_all(&answer).await;
        let complete = complete.map_err(failed)?;
        sent.map_err(|error| Refusal::new(Cause::ClientReset, error.to_string()))?;
        if complete {
            return handshake.finish().map_err(failed);
        }
        let read = socket.recv_onto(handshake.inbox(), READ_LEN_BYTES).await;
        match read {
            Ok(0) => return Err(failed(Failure::Closed)),
            Ok(_) => *silent = false,
            Err(error) => return Err(Refusal::new(Cause::ClientReset, error.to_string())),
        }
    }
}

fn failed(failure: Failure) -> Refusal {
    let refusal = Refusal::new(Cause::TlsHandshakeFailed, failure.to_string());
    match failure {
        // Scanners and lost browsers; a line for each would be their way into the log.
        Failure::NotTls => refusal.quiet(),
        Failure::Refused(_) | Failure::TooMany | Failure::Closed | Failure::UnknownKeys => refusal,
    }
}
