//! The part of rustls that outlives a TLS 1.3 handshake: the secrets for new keys and, on connections where
//! we are the client, the tickets for resumption.

use rustls::ConnectionTrafficSecrets;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;

use super::fault::Fault;
use super::record::{Keys, RecordError, RecordVersion};

/// A message's type and length (RFC 8446 section 4).
const HEADER_LEN: usize = 4;
const NEW_SESSION_TICKET: u8 = 4;
/// Longest ticket message assembled from records; rustls accepts none that is longer.
const TICKET_LEN_MAX: usize = 1 << 16;

/// The secrets of a connection, as its server or its client.
#[expect(
    clippy::large_enum_variant,
    reason = "it is boxed whole, and most connections are those of clients"
)]
pub(super) enum Schedule {
    /// We are the server.
    Server(KernelConnection<ServerConnectionData>),
    /// We are the client.
    Client(Box<Client>),
}

/// The state a client keeps.
pub(super) struct Client {
    kernel: KernelConnection<ClientConnectionData>,
    /// The beginning of a message that ends in a later record.
    begun: Vec<u8>,
}

impl Schedule {
    /// Makes the state a client keeps.
    pub(super) fn of_client(kernel: KernelConnection<ClientConnectionData>) -> Self {
        Self::Client(Box::new(Client {
            kernel,
            begun: Vec::new(),
        }))
    }

    /// Returns the keys for receiving after a KeyUpdate.
    ///
    /// # Errors
    /// [`Fault::Internal`].
    pub(super) fn next_receiving_keys(&mut self) -> Result<Keys, Fault> {
        let next = match self {
            Self::Server(kernel) => kernel.update_rx_secret(),
            Self::Client(client) => client.kernel.update_rx_secret(),
        };
        keys_of(next)
    }

    /// Returns the keys for sending after a KeyUpdate.
    ///
    /// # Errors
    /// [`Fault::Internal`].
    pub(super) fn next_sending_keys(&mut self) -> Result<Keys, Fault> {
        let next = match self {
            Self::Server(kernel) => kernel.update_tx_secret(),
            Self::Client(client) => client.kernel.update_tx_secret(),
        };
        keys_of(next)
    }
}

/// Converts the keys that rustls made.
fn keys_of(next: Result<(u64, ConnectionTrafficSecrets), rustls::Error>) -> Result<Keys, Fault> {
    let keys = next
        .ok()
        .and_then(|(sequence, secrets)| Keys::new(RecordVersion::Tls13, sequence, &secrets));
    keys.ok_or(Fault::Internal("rustls makes no new keys"))
}

impl Client {
    /// Takes the tickets out of a record of handshake messages; returns what follows them, another message or
    /// nothing.
    ///
    /// # Errors
    /// A ticket is malformed or too long.
    pub(super) fn take_tickets(&mut self, payload: &[u8]) -> Result<Vec<u8>, Fault> {
        if payload.is_empty() {
            return Err(RecordError::UnexpectedType.into());
        }
        let mut messages = std::mem::take(&mut self.begun);
        messages.extend_from_slice(payload);
        let mut at = 0;
        loop {
            // `at` is the end of a whole message.
            let rest = &messages[at..];
            match rest {
                [NEW_SESSION_TICKET, a, b, c, body @ ..] => {
                    let len = u32::from_be_bytes([0, *a, *b, *c]);
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    if len > TICKET_LEN_MAX {
                        return Err(Fault::Message("a ticket that is too long"));
                    }
                    let Some(ticket) = body.get(..len) else {
                        self.begun = rest.to_vec();
                        return Ok(Vec::new());
                    };
                    let stored = self.kernel.handle_new_session_ticket(ticket);
                    stored.map_err(|_| Fault::Message("a ticket that cannot be read"))?;
                    at += HEADER_LEN + len;
                }
                [] => return Ok(Vec::new()),
                [NEW_SESSION_TICKET, ..] => {
                    self.begun = rest.to_vec();
                    return Ok(Vec::new());
                }
                _ => return Ok(rest.to_vec()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_of_ends_costs_no_memory() {
        let kernel = size_of::<KernelConnection<ServerConnectionData>>();
        assert_eq!(size_of::<Schedule>(), kernel);
    }
}
