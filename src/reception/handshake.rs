//! TLS handshakes: carries bytes between a socket and [`crate::tls::handshake`], which does the work. The
//! time limit is `tls_handshake` for a client, and what is left of `connect` for a server.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use tokio::time::{Instant, timeout_at};

use super::first_bytes;
use super::refusal::Refusal;
use super::socket::Socket;
use crate::journal::Cause;
use crate::proto::first_bytes::Opening;
use crate::tls::control::{Alert, sealed_len_max};
use crate::tls::handshake::{Established, Handshake, HandshakeFailure};
use crate::tls::offload::Offload;
use crate::tls::servers::told;
use crate::tls::words::{self, OtherEnd};
use crate::upstream::client_tls::TlsToServer;

/// Bytes asked for at once. Bytes that follow the handshake are kept.
const READ_LEN_BYTES: usize = 4096;

/// Makes the handshake with a client. `received` is what it has sent so far. Afterwards the socket speaks
/// TLS.
///
/// # Errors
/// The refusal to report; the client was sent the alert. [`Cause::Probe`] for a client that sent nothing. For
/// a client that speaks another protocol, what it is; it was sent nothing.
pub(super) async fn run(
    socket: &mut Socket,
    config: &Arc<ServerConfig>,
    received: Vec<u8>,
    wish: Offload,
    deadline: Instant,
) -> Result<(), NoHandshake> {
    let mut silent = received.is_empty();
    let carried = carry(socket, config, received, &mut silent);
    let refusal = match timeout_at(deadline, carried).await {
        Ok(Ok(established)) => {
            socket.protect(established, wish);
            return Ok(());
        }
        Ok(Err(NoHandshake::NotTls(opening))) => return Err(NoHandshake::NotTls(opening)),
        Ok(Err(NoHandshake::Refused(refusal))) => refusal,
        Err(_) => Refusal::new(Cause::TlsHandshakeTimeout, ""),
    };
    Err(NoHandshake::Refused(match silent {
        true => Refusal::new(Cause::Probe, ""),
        false => refusal,
    }))
}

/// Why a client has no TLS session.
pub(super) enum NoHandshake {
    /// It is refused.
    Refused(Refusal),
    /// It speaks this protocol, which is not TLS.
    NotTls(Opening),
}

impl From<Refusal> for NoHandshake {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

async fn carry(
    socket: &Socket,
    config: &Arc<ServerConfig>,
    received: Vec<u8>,
    silent: &mut bool,
) -> Result<Established, NoHandshake> {
    let mut handshake = Handshake::new(Arc::clone(config), received).map_err(failed)?;
    loop {
        let complete = handshake.advance();
        let answer = handshake.take_outbox();
        if matches!(complete, Err(HandshakeFailure::NotTls(_))) && handshake.is_unbegun() {
            let opening = first_bytes::recognise(socket, handshake.inbox()).await;
            if let Some(opening) = opening {
                return Err(NoHandshake::NotTls(opening));
            }
        }
        let sent = socket.send_all(&answer).await;
        let complete = complete.map_err(failed)?;
        sent.map_err(|error| Refusal::new(Cause::ClientReset, error.to_string()))?;
        if complete {
            let established = handshake.finish().map_err(failed)?;
            return Ok(admit(socket, established).await?);
        }
        let read = socket.recv_onto(handshake.inbox(), READ_LEN_BYTES).await;
        match read {
            Ok(0) => return Err(failed(handshake.closed()).into()),
            Ok(_) => *silent = false,
            Err(error) => return Err(Refusal::new(Cause::ClientReset, error.to_string()).into()),
        }
    }
}

/// Makes the handshake with a server. Afterwards the socket speaks TLS.
///
/// # Errors
/// The refusal; the server was sent the alert.
pub(super) async fn with_server(
    socket: &mut Socket,
    tls: &TlsToServer,
    http: bool,
) -> Result<(), Refusal> {
    let refused = |failure: &HandshakeFailure| Refusal::new(Cause::ServerTlsFailed, told(failure));
    let lost = |error: &io::Error| {
        let detail = format!("the server broke the handshake off: {error}");
        Refusal::new(Cause::ServerTlsFailed, detail)
    };
    let handshake = Handshake::with_server(tls.config(http), tls.name.clone());
    let mut handshake = handshake.map_err(|failure| refused(&failure))?;
    loop {
        let complete = handshake.advance();
        let answer = handshake.take_outbox();
        let sent = socket.send_all(&answer).await;
        let complete = complete.map_err(|failure| refused(&failure))?;
        sent.map_err(|error| lost(&error))?;
        if complete {
            let established = handshake.finish().map_err(|failure| refused(&failure))?;
            socket.protect(established, tls.offload);
            return Ok(());
        }
        let read = socket.recv_onto(handshake.inbox(), READ_LEN_BYTES).await;
        if read.map_err(|error| lost(&error))? == 0 {
            return Err(refused(&handshake.closed()));
        }
    }
}

/// Refuses a client whose certificate has expired since it was verified: a session may be resumed later
/// than that.
async fn admit(socket: &Socket, mut established: Established) -> Result<Established, Refusal> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if !established.terms.is_client_expired(now_s) {
        return Ok(established);
    }
    let mut alert = vec![0; sealed_len_max(2)];
    let session = &mut established.session;
    let sealed = session.seal_alert(Alert::CertificateExpired, &mut alert);
    alert.truncate(sealed.unwrap_or(0));
    // A client that does not get the alert is refused all the same.
    let _ = socket.send_all(&alert).await;
    Err(Refusal::new(
        Cause::TlsHandshakeFailed,
        "the client's certificate has expired since its session began",
    ))
}

fn failed(failure: HandshakeFailure) -> Refusal {
    let refusal = Refusal::new(
        Cause::TlsHandshakeFailed,
        words::told(&failure, OtherEnd::Client),
    );
    match failure {
        // Scanners and misdirected browsers. With a log entry for each, they could flood the log.
        HandshakeFailure::NotTls(_) => refusal.quiet(),
        HandshakeFailure::Refused(_)
        | HandshakeFailure::Untrusted { .. }
        | HandshakeFailure::TooMany
        | HandshakeFailure::Closed { .. }
        | HandshakeFailure::UnknownKeys => refusal,
    }
}
