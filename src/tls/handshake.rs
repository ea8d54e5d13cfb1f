//! The handshake of a connection, at either end, as a pure driver over rustls: bytes in, bytes out,
//! until there is a [`Session`].
//!
//! rustls is given whole records one by one, so that bytes after the peer's last handshake record are
//! not lost inside rustls when the keys are taken out: they go to [`super::control`].

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, PeerIncompatible, ServerConfig};
use rustls_pki_types::ServerName;

use super::control::{Alert, Session};
use super::record::{ContentType, Keys, RecordError, RecordVersion, whole_record};
use super::refused::{RefusedCertificate, take_refused};
use super::terms::Terms;
use crate::proto::Progress;
use crate::proto::client_hello;

/// Handshake records one client may send; a hello in tiny fragments is legal, a thousand are not.
const RECORDS_MAX: u32 = 256;

/// Why a handshake failed. The outbox holds the alert for the peer. It has no text of its own, so that none
/// of rustls's reaches a log: [`super::words::told`] describes it.
#[derive(Debug, Clone, PartialEq)]
pub enum HandshakeFailure {
    /// The peer does not speak TLS.
    NotTls(Spoken),
    /// The error that rustls found, or the peer's alert.
    Refused(Error),
    /// The client's certificate is not accepted.
    Untrusted {
        /// Why.
        error: Error,
        /// Which one it is.
        certificate: Box<RefusedCertificate>,
    },
    /// The peer sent too many handshake records.
    TooMany,
    /// The peer ended in the middle.
    Closed {
        /// Whether it had sent something before.
        heard: bool,
    },
    /// rustls gave keys of an unknown kind.
    UnknownKeys,
}

impl From<Error> for HandshakeFailure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// What a peer seems to speak instead of TLS, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP without TLS.
    Http,
    /// Another protocol in plain text: SMTP, FTP, SSH, Redis and the like.
    Text,
    /// A hello of SSL 2, with which old clients begin.
    OldTls,
    /// Something else.
    Unknown,
}

impl Spoken {
    /// Judges by the first bytes of a peer.
    fn of(bytes: &[u8]) -> Self {
        const TEXT_LEN_MIN: usize = 4;
        let methods = [
            &b"GET "[..],
            b"HEAD ",
            b"POST ",
            b"PUT ",
            b"OPTIONS ",
            b"PRI * ",
        ];
        let http = bytes.starts_with(b"HTTP/") || methods.iter().any(|it| bytes.starts_with(it));
        let start = bytes.get(..bytes.len().min(16)).unwrap_or_default();
        let is_text = |byte: &u8| byte.is_ascii_graphic() || b" \r\n\t".contains(byte);
        if http {
            Self::Http
        } else if matches!(bytes, [0x80..=0xff, _, 1, 0 | 2 | 3, ..]) {
            Self::OldTls
        } else if start.len() >= TEXT_LEN_MIN && start.iter().all(is_text) {
            Self::Text
        } else {
            Self::Unknown
        }
    }
}

/// A connection of rustls, as its server or its client.
enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Connection {
    /// Gives records to rustls; returns how many bytes it has consumed, and its answer.
    fn advance(
        &mut self,
        records: &mut [u8],
        outbox: &mut Vec<u8>,
    ) -> (usize, Result<Said, Error>) {
        match self {
            Self::Server(connection) => {
                let UnbufferedStatus { discard, state } = connection.process_tls_records(records);
                (discard, note(state, outbox))
            }
            Self::Client(connection) => {
                let UnbufferedStatus { discard, state } = connection.process_tls_records(records);
                (discard, note(state, outbox))
            }
        }
    }

    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }
}

/// A handshake in progress.
pub struct Handshake {
    connection: Connection,
    /// Bytes received and not yet given to rustls.
    inbox: Vec<u8>,
    /// Whole records rustls has to see again: fragments of an incomplete message.
    given: Vec<u8>,
    /// The records of the ClientHello, until it is complete: rustls does not report the server name.
    hello: Option<Vec<u8>>,
    server_name: Option<String>,
    outbox: Vec<u8>,
    records: u32,
}

/// A completed handshake.
pub struct Established {
    /// The keys and the state that belongs to them.
    pub session: Session,
    /// Bytes received after the handshake: records of the session.
    pub received: Vec<u8>,
    /// The negotiated parameters.
    pub terms: Terms,
}

impl Handshake {
    /// Begins a handshake with a client; `received` are bytes received already.
    ///
    /// # Errors
    /// rustls refuses the configuration.
    pub fn new(config: Arc<ServerConfig>, received: Vec<u8>) -> Result<Self, HandshakeFailure> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self {
            inbox: received,
            hello: Some(Vec::new()),
            ..Self::over(Connection::Server(connection))
        })
    }

    /// Begins a handshake with the server that must prove to be `name`; we send first.
    ///
    /// # Errors
    /// rustls refuses the configuration.
    pub fn with_server(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, HandshakeFailure> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(Self::over(Connection::Client(connection)))
    }

    fn over(connection: Connection) -> Self {
        Self {
            connection,
            inbox: Vec::new(),
            given: Vec::new(),
            hello: None,
            server_name: None,
            outbox: Vec::new(),
            records: 0,
        }
    }

    /// Returns the buffer to which received bytes are appended.
    pub fn inbox(&mut self) -> &mut Vec<u8> {
        &mut self.inbox
    }

    /// Returns whether no whole record has come yet, so that the inbox begins with the peer's first byte.
    #[must_use]
    pub fn is_unbegun(&self) -> bool {
        self.records == 0
    }

    /// Takes the bytes to send, also after a failure.
    #[must_use]
    pub fn take_outbox(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outbox)
    }

    /// Continues as far as the received bytes allow; true = the handshake is complete.
    ///
    /// # Errors
    /// The handshake has failed; the outbox holds the alert.
    pub fn advance(&mut self) -> Result<bool, HandshakeFailure> {
        loop {
            if self.settle()? {
                return Ok(true);
            }
            let Some(len) = self.next_record()? else {
                return Ok(false);
            };
            self.records += 1;
            if self.records > RECORDS_MAX {
                self.answer_plainly(Alert::UnexpectedMessage);
                return Err(HandshakeFailure::TooMany);
            }
            let rest = self.inbox.split_off(len);
            let mut record = std::mem::replace(&mut self.inbox, rest);
            self.look_at_hello(&record)?;
            self.given.append(&mut record);
        }
    }

    /// Describes that the peer has closed now.
    #[must_use]
    pub fn closed(&self) -> HandshakeFailure {
        HandshakeFailure::Closed {
            heard: self.records > 0 || !self.inbox.is_empty(),
        }
    }

    /// Takes the server name out of the ClientHello, once it is complete, and refuses versions of old. rustls
    /// would find another fault with those first: the lack of signature algorithms.
    fn look_at_hello(&mut self, record: &[u8]) -> Result<(), HandshakeFailure> {
        let Some(hello) = &mut self.hello else {
            return Ok(());
        };
        hello.extend_from_slice(record);
        match client_hello::parse(hello) {
            Ok(Progress::Partial) => return Ok(()),
            Ok(Progress::Complete { value, .. }) if value.version < client_hello::TLS12 => {
                self.answer_plainly(Alert::ProtocolVersion);
                return Err(Error::from(PeerIncompatible::Tls12NotOffered).into());
            }
            Ok(Progress::Complete { value, .. }) => self.server_name = value.server_name,
            // rustls reports the error in it.
            Err(_) => {}
        }
        self.hello = None;
        Ok(())
    }

    fn next_record(&mut self) -> Result<Option<usize>, HandshakeFailure> {
        match whole_record(&self.inbox) {
            Ok(len) => Ok(len),
            Err(RecordError::TooLong) if self.records > 0 => {
                self.answer_plainly(Alert::RecordOverflow);
                Err(HandshakeFailure::NotTls(Spoken::Unknown))
            }
            Err(_) => {
                self.answer_plainly(Alert::UnexpectedMessage);
                let spoken = if self.records == 0 {
                    Spoken::of(&self.inbox)
                } else {
                    Spoken::Unknown
                };
                Err(HandshakeFailure::NotTls(spoken))
            }
        }
    }

    /// Takes everything rustls has to send; true = the handshake is complete.
    fn settle(&mut self) -> Result<bool, HandshakeFailure> {
        loop {
            let (used, said) = self.connection.advance(&mut self.given, &mut self.outbox);
            self.given.drain(..used.min(self.given.len()));
            match said {
                Ok(Said::Something) => {}
                Ok(Said::Nothing) => return Ok(!self.connection.common().is_handshaking()),
                Err(error) => return Err(self.refuse(error)),
            }
        }
    }

    /// Collects the alert for `error`.
    fn refuse(&mut self, error: Error) -> HandshakeFailure {
        // Called once more than it has something to send, rustls would look for the rest of a flight in
        // records that are gone.
        while self.connection.common().wants_write()
            && let (_, Ok(Said::Something)) = self.connection.advance(&mut [], &mut self.outbox)
        {
        }
        match (take_refused(), error) {
            (Some(certificate), error) if is_of_certificate(&error) => {
                HandshakeFailure::Untrusted {
                    error,
                    certificate: Box::new(certificate),
                }
            }
            (_, error) => HandshakeFailure::Refused(error),
        }
    }

    /// Queues an alert in the clear, for a peer that may not even speak TLS.
    fn answer_plainly(&mut self, alert: Alert) {
        self.outbox
            .extend_from_slice(&[ContentType::Alert as u8, 3, 3, 0, 2]);
        self.outbox.extend_from_slice(&alert.payload());
    }

    /// Takes the session out of rustls after a complete handshake whose outbox was taken.
    ///
    /// # Errors
    /// The handshake is not complete, or rustls gives keys of an unknown kind.
    pub fn finish(self) -> Result<Established, HandshakeFailure> {
        if !self.given.is_empty() {
            // Part of a message follows the last one: the keys would change in the middle of it.
            return Err(HandshakeFailure::Refused(Error::HandshakeNotComplete));
        }
        let version = self.connection.common().protocol_version();
        let version = version.and_then(RecordVersion::of);
        let version = version.ok_or(HandshakeFailure::UnknownKeys)?;
        let keys = |(sequence, secrets)| {
            Keys::new(version, sequence, &secrets).ok_or(HandshakeFailure::UnknownKeys)
        };
        let (session, terms) = match self.connection {
            Connection::Server(connection) => {
                let terms = Terms::of(&connection, version, self.server_name);
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                let (receive, send) = (keys(secrets.rx)?, keys(secrets.tx)?);
                (Session::new(version, receive, send, kernel), terms)
            }
            Connection::Client(connection) => {
                let terms = Terms::of_client(&connection, version);
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                let (receive, send) = (keys(secrets.rx)?, keys(secrets.tx)?);
                (Session::of_client(version, receive, send, kernel), terms)
            }
        };
        Ok(Established {
            session,
            received: self.inbox,
            terms,
        })
    }
}

fn is_of_certificate(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_)
    )
}

enum Said {
    Something,
    Nothing,
}

/// Takes the bytes rustls wants to send.
fn note<Data>(
    state: Result<ConnectionState<'_, '_, Data>, Error>,
    outbox: &mut Vec<u8>,
) -> Result<Said, Error> {
    match state? {
        ConnectionState::EncodeTlsData(mut data) => {
            let from = outbox.len();
            let wanted = match data.encode(&mut []) {
                Err(rustls::unbuffered::EncodeError::InsufficientSize(size)) => size.required_size,
                Ok(_) | Err(_) => 0,
            };
            outbox.resize(from + wanted, 0);
            let written = data.encode(&mut outbox[from..]);
            outbox.truncate(from + written.unwrap_or(0));
            Ok(Said::Something)
        }
        ConnectionState::TransmitTlsData(data) => {
            // The outbox is sent before anything else happens, so these bytes count as sent.
            data.done();
            Ok(Said::Something)
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Err(Error::General(
            "the peer closed during the handshake".into(),
        )),
        ConnectionState::BlockedHandshake
        | ConnectionState::WriteTraffic(_)
        | ConnectionState::ReadTraffic(_)
        | ConnectionState::ReadEarlyData(_)
        | _ => Ok(Said::Nothing),
    }
}

#[cfg(test)]
mod tests;
