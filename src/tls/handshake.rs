//! The opening of a connection, at either end of it, as a pure driver over rustls: bytes in, bytes out,
//! until a [`Session`] is there.
//!
//! rustls is given whole records one by one, so whatever follows the peer's last handshake record
//! is still ours when the keys leave rustls: it goes to [`super::control`] next, not into loss.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};
use rustls_pki_types::ServerName;

use super::control::{Alert, Session};
use super::record::{ContentType, Keys, RecordError, RecordVersion, whole_record};
use super::terms::Terms;
use crate::proto::Progress;
use crate::proto::client_hello;

/// Handshake records one client may send; a hello in tiny fragments is legal, a thousand are not.
const RECORDS_MAX: u32 = 256;

/// Why a handshake came to nothing. What the peer is to be told is in the outbox.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HandshakeFailure {
    /// The peer does not speak TLS.
    #[error("the client does not speak TLS")]
    NotTls,
    /// What rustls found wrong, or what the peer's alert says.
    #[error("{0}")]
    Refused(#[from] Error),
    /// The peer goes on for ever.
    #[error("the handshake has too many records")]
    TooMany,
    /// The peer ended in the middle.
    #[error("the client closed in the middle of the handshake")]
    Closed,
    /// The library gave keys we do not know.
    #[error("keys of an unknown kind")]
    UnknownKeys,
}

/// A connection of rustls, by which end of it we are.
enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Connection {
    /// Lets rustls look at records; returns how many bytes it is done with, and what it said.
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

/// A handshake that goes on.
pub struct Handshake {
    connection: Connection,
    /// Received, and not seen by rustls.
    inbox: Vec<u8>,
    /// Whole records rustls wants to see again: fragments of a message that is not complete.
    given: Vec<u8>,
    /// The records of the ClientHello, until it is complete: rustls does not tell the server name.
    hello: Option<Vec<u8>>,
    server_name: Option<String>,
    outbox: Vec<u8>,
    records: u32,
}

/// A handshake that is done.
pub struct Established {
    /// The keys and what belongs to them.
    pub session: Session,
    /// What came behind the handshake: records of the session.
    pub received: Vec<u8>,
    /// What was settled.
    pub terms: Terms,
}

impl Handshake {
    /// Begins with a client; `received` is what came already.
    ///
    /// # Errors
    /// What rustls says about the configuration.
    pub fn new(config: Arc<ServerConfig>, received: Vec<u8>) -> Result<Self, HandshakeFailure> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self {
            inbox: received,
            hello: Some(Vec::new()),
            ..Self::over(Connection::Server(connection))
        })
    }

    /// Begins with the server that is to prove that it is `name`; the first bytes are ours.
    ///
    /// # Errors
    /// What rustls says about the configuration.
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

    /// Where received bytes go, at the end.
    pub fn inbox(&mut self) -> &mut Vec<u8> {
        &mut self.inbox
    }

    /// Takes what has to be sent, also after a failure.
    #[must_use]
    pub fn take_outbox(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outbox)
    }

    /// Goes as far as what was received allows; true = the handshake is complete.
    ///
    /// # Errors
    /// The handshake is over; the outbox has the alert.
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
            self.look_for_server_name(&record);
            self.given.append(&mut record);
        }
    }

    fn look_for_server_name(&mut self, record: &[u8]) {
        let Some(hello) = &mut self.hello else {
            return;
        };
        hello.extend_from_slice(record);
        match client_hello::parse(hello) {
            Ok(Progress::Partial) => return,
            Ok(Progress::Complete { value, .. }) => self.server_name = value.server_name,
            // What is wrong with it, rustls will say.
            Err(_) => {}
        }
        self.hello = None;
    }

    fn next_record(&mut self) -> Result<Option<usize>, HandshakeFailure> {
        match whole_record(&self.inbox) {
            Ok(len) => Ok(len),
            Err(RecordError::TooLong) if self.records > 0 => {
                self.answer_plainly(Alert::RecordOverflow);
                Err(HandshakeFailure::NotTls)
            }
            Err(_) => {
                self.answer_plainly(Alert::UnexpectedMessage);
                Err(HandshakeFailure::NotTls)
            }
        }
    }

    /// Lets rustls say all it has to say; true = the handshake is complete.
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

    /// Collects the alert that goes with `error`.
    fn refuse(&mut self, error: Error) -> HandshakeFailure {
        // Asked once more than it has something to say, rustls would look for what is left of a flight
        // in records that are gone.
        while self.connection.common().wants_write()
            && let (_, Ok(Said::Something)) = self.connection.advance(&mut [], &mut self.outbox)
        {
        }
        HandshakeFailure::Refused(error)
    }

    /// An alert in the clear, to somebody who may not even speak TLS.
    fn answer_plainly(&mut self, alert: Alert) {
        self.outbox
            .extend_from_slice(&[ContentType::Alert as u8, 3, 3, 0, 2]);
        self.outbox.extend_from_slice(&alert.payload());
    }

    /// Takes rustls apart after a complete handshake whose outbox was taken.
    ///
    /// # Errors
    /// The handshake is not complete, or its keys are of an unknown kind.
    pub fn finish(self) -> Result<Established, HandshakeFailure> {
        if !self.given.is_empty() {
            // Part of a message behind the last one: keys would change in the middle of it.
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

enum Said {
    Something,
    Nothing,
}

/// Takes what rustls wants to send.
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
            // The outbox is sent before anything else happens, so it is as good as sent.
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
