//! The connection of a check: bytes over TCP or a unix socket, plain or over TLS.
//!
//! TLS uses the same code as connections for clients (`tls::handshake`, `tls::control`), but sessions are not
//! resumed, so that each check verifies the server's certificate. The buffers hold at most one record and the
//! bytes received with its end.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::failure::CheckFailure;
use crate::tls::channel::Channel;
use crate::tls::control::{Alert, Fault};
use crate::tls::handshake::{self, Handshake};
use crate::tls::servers::{afresh, told, told_of_fault};
use crate::upstream::client_tls::TlsToServer;

/// Most bytes per receive.
const CHUNK_LEN_BYTES: usize = 4096;
/// Most bytes read from a server that still sends after our close_notify.
const REST_LEN_MAX: usize = 64 * 1024;

/// The traits that both kinds of sockets share.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// An open connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    secured: Option<Channel>,
}

impl From<TcpStream> for Wire {
    fn from(stream: TcpStream) -> Self {
        Self {
            stream: Box::new(stream),
            secured: None,
        }
    }
}

impl From<UnixStream> for Wire {
    fn from(stream: UnixStream) -> Self {
        Self {
            stream: Box::new(stream),
            secured: None,
        }
    }
}

impl Wire {
    /// Opens TLS; `http` = ALPN offers `http/1.1`.
    ///
    /// # Errors
    /// [`CheckFailure::Tls`], with whose fault it is; the server has its alert.
    pub(super) async fn secure(
        &mut self,
        tls: &TlsToServer,
        http: bool,
    ) -> Result<(), CheckFailure> {
        let refused = |failure: handshake::HandshakeFailure| CheckFailure::Tls(told(&failure));
        let lost = |error: io::Error| {
            CheckFailure::Tls(format!("the server broke the handshake off: {error}"))
        };
        let config = afresh(&tls.config(http));
        let mut handshake = Handshake::with_server(config, tls.name.clone()).map_err(refused)?;
        loop {
            let complete = handshake.advance();
            let answer = handshake.take_outbox();
            let sent = self.stream.write_all(&answer).await;
            let complete = complete.map_err(refused)?;
            sent.map_err(lost)?;
            if complete {
                let established = handshake.finish().map_err(refused)?;
                self.secured = Some(Channel::new(established.session, established.received));
                return Ok(());
            }
            let read = receive_onto(&mut *self.stream, handshake.inbox()).await;
            if read.map_err(lost)? == 0 {
                return Err(refused(handshake.closed()));
            }
        }
    }

    /// Returns whether the connection uses TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.secured.is_some()
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) async fn send(&mut self, data: &[u8]) -> Result<(), CheckFailure> {
        let Some(secured) = &mut self.secured else {
            return self.stream.write_all(data).await.map_err(broken);
        };
        let mut sealed = Vec::new();
        secured.seal(data, &mut sealed).map_err(faulty)?;
        self.stream.write_all(&sealed).await.map_err(broken)
    }

    /// Receives once, appending to `data`; 0 = the server has ended.
    ///
    /// # Errors
    /// The connection is broken, or a record is invalid.
    pub(super) async fn receive(&mut self, data: &mut Vec<u8>) -> Result<usize, CheckFailure> {
        let Some(secured) = &mut self.secured else {
            return receive_onto(&mut *self.stream, data).await.map_err(broken);
        };
        let before = data.len();
        loop {
            while data.len() == before && open_one(&mut *self.stream, secured, data).await? {}
            if data.len() > before || secured.has_ended() {
                return Ok(data.len() - before);
            }
            let read = receive_onto(&mut *self.stream, secured.received()).await;
            if read.map_err(broken)? == 0 {
                return Ok(0);
            }
        }
    }

    /// Returns whether the server may still refuse our side of the handshake: with TLS 1.3 it verifies our
    /// certificate, or the lack of one, after our handshake is done.
    pub(super) fn may_be_refused(&self) -> bool {
        let secured = self.secured.as_ref();
        secured.is_some_and(Channel::is_tls13)
    }

    /// Waits for the first record of the server behind its handshake, or for its end. A server that accepts
    /// our side of the handshake usually sends tickets at once.
    ///
    /// # Errors
    /// The connection is broken, or the record is an alert or invalid.
    pub(super) async fn await_record(&mut self) -> Result<(), CheckFailure> {
        let Some(secured) = &mut self.secured else {
            return Ok(());
        };
        let mut data = Vec::new();
        while !open_one(&mut *self.stream, secured, &mut data).await? {
            let read = receive_onto(&mut *self.stream, secured.received()).await;
            if read.map_err(broken)? == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Closes in good order: over TLS it sends close_notify, after which the server may close as well.
    pub(super) async fn finish(mut self) {
        let Some(secured) = &mut self.secured else {
            return;
        };
        let mut alert = Vec::new();
        secured.seal_alert(Alert::CloseNotify, &mut alert);
        if self.stream.write_all(&alert).await.is_err() || self.stream.shutdown().await.is_err() {
            return;
        }
        let (mut scratch, mut len) = (Vec::new(), 0);
        while len < REST_LEN_MAX {
            scratch.clear();
            match receive_onto(&mut *self.stream, &mut scratch).await {
                Ok(0) | Err(_) => return,
                Ok(count) => len += count,
            }
        }
    }
}

/// Opens a record, as [`Channel::open_one`], and sends the alert that follows from it.
async fn open_one(
    stream: &mut dyn Stream,
    secured: &mut Channel,
    data: &mut Vec<u8>,
) -> Result<bool, CheckFailure> {
    let opened = secured.open_one(data);
    let mut answer = Vec::new();
    match opened.map_err(Fault::alert) {
        Ok(_) => secured.seal_owed(&mut answer),
        Err(Some(alert)) => secured.seal_alert(alert, &mut answer),
        Err(None) => {}
    }
    if !answer.is_empty() {
        // The result is the same, whether the server gets it or not.
        let _ = stream.write_all(&answer).await;
    }
    opened.map_err(faulty)
}

async fn receive_onto(stream: &mut dyn Stream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    bytes.reserve(CHUNK_LEN_BYTES);
    stream.read_buf(bytes).await
}

fn faulty(fault: Fault) -> CheckFailure {
    CheckFailure::Tls(told_of_fault(fault))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: io::Error) -> CheckFailure {
    match error.raw_os_error() {
        Some(libc::ECONNRESET | libc::EPIPE) => CheckFailure::Reset,
        _ => CheckFailure::Unreachable(error.to_string()),
    }
}
