//! The PROXY header of an arriving connection: whether to expect one, which senders to believe, and which
//! client the connection speaks for afterwards.

use std::io;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::first_bytes;
use super::refusal::Refusal;
use super::socket::Socket;
use super::socket::driver::until;
use crate::config::{Listener, ProxyProtocol};
use crate::journal::Cause;
use crate::proto::Progress;
use crate::proto::addr::PeerAddr;
use crate::proto::proxy::{self, Addresses, Header, MalformedHeader, Tlvs};

/// Maximum number of headers in a row: each balancer in a chain may add one.
const STACK_LEN_MAX: usize = 4;
/// Bytes asked for at once. Bytes that follow the header stay in the inbox.
const READ_LEN_BYTES: usize = 2048;

/// The origin of a connection, as its PROXY headers say.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The source address: of the client, or of the last proxy that speaks HTTP.
    pub(super) speaker: PeerAddr,
    /// The address that the speaker connected to, if a header named it.
    pub(super) destination: Option<SocketAddr>,
    /// The extensions of a header of version 2.
    pub(super) tlvs: Tlvs,
    /// Whether the header named no client (LOCAL, UNKNOWN): most probably a health check of the balancer.
    pub(super) maybe_probe: bool,
}

impl Origin {
    fn direct(peer: PeerAddr) -> Self {
        Self {
            speaker: peer,
            destination: None,
            tlvs: Tlvs::default(),
            maybe_probe: false,
        }
    }

    fn believe(&mut self, header: Header) {
        self.tlvs = header.tlvs;
        match header.addresses {
            Addresses::Proxied {
                source,
                destination,
            } => {
                self.speaker = source.into();
                self.destination = Some(destination);
            }
            Addresses::Unknown | Addresses::Local => self.maybe_probe = true,
        }
    }
}

/// Reads the PROXY headers of a connection, as its listener requires.
///
/// `inbox` receives what is read; on return it begins with the first byte of payload. `deadline` applies
/// to all headers together.
///
/// # Errors
/// The refusal to report; the client gets no answer. [`Cause::Probe`] for a connection that sent nothing.
pub(super) async fn read(
    socket: &Socket,
    inbox: &mut Vec<u8>,
    listener: &Listener,
    peer: PeerAddr,
    deadline: Instant,
) -> Result<Origin, Refusal> {
    let mut origin = Origin::direct(peer);
    let required = match (
        listener.proxy_protocol,
        listener.trusted_proxies.contains(peer),
    ) {
        (ProxyProtocol::Off, _) | (ProxyProtocol::Optional, false) => return Ok(origin),
        (ProxyProtocol::Require, false) => {
            return Err(Refusal::new(
                Cause::UntrustedSource,
                "only addresses in trusted_proxies may connect here",
            ));
        }
        (ProxyProtocol::Optional, true) => false,
        (ProxyProtocol::Require, true) => true,
    };
    for depth in 0..STACK_LEN_MAX {
        let needed = required && depth == 0;
        match until(deadline, next_header(socket, inbox)).await {
            Ok(Ok(Found::Header(header))) => origin.believe(*header),
            Ok(Ok(Found::Payload)) if needed => {
                let opening = first_bytes::recognise(socket, inbox).await;
                return Err(Refusal::new(
                    Cause::ProxyHeaderMissing,
                    first_bytes::told_instead_of_header(opening),
                ));
            }
            // What follows is payload: other bytes, or silence where no header is required.
            Ok(Ok(Found::Payload)) => break,
            Err(_) if inbox.is_empty() && !needed => break,
            Ok(Ok(Found::End)) if inbox.is_empty() => {
                return if depth == 0 || origin.maybe_probe {
                    Err(probe())
                } else {
                    Ok(origin)
                };
            }
            Err(_) if inbox.is_empty() => return Err(probe()),
            Err(_) => return Err(Refusal::new(Cause::ProxyHeaderTimeout, "")),
            Ok(Ok(Found::End)) => {
                return Err(Refusal::new(
                    Cause::ProxyHeaderMalformed,
                    "the connection ended inside the PROXY header",
                ));
            }
            Ok(Err(ReadError::Malformed(rule))) => {
                return Err(Refusal::new(Cause::ProxyHeaderMalformed, rule.to_string()));
            }
            Ok(Err(ReadError::Io(_))) if inbox.is_empty() => return Err(probe()),
            Ok(Err(ReadError::Io(error))) => {
                return Err(Refusal::new(Cause::ClientReset, error.to_string()));
            }
        }
        if origin.maybe_probe || !listener.trusted_proxies.contains(origin.speaker) {
            break;
        }
    }
    Ok(origin)
}

fn probe() -> Refusal {
    Refusal::new(Cause::Probe, "")
}

enum Found {
    Header(Box<Header>),
    Payload,
    End,
}

enum ReadError {
    Malformed(MalformedHeader),
    Io(io::Error),
}

async fn next_header(socket: &Socket, inbox: &mut Vec<u8>) -> Result<Found, ReadError> {
    loop {
        match proxy::parse(inbox) {
            Ok(Progress::Complete { value, used }) => {
                inbox.drain(..used);
                return Ok(Found::Header(Box::new(value)));
            }
            Ok(Progress::Partial) => {}
            Err(MalformedHeader::NotProxy) => return Ok(Found::Payload),
            Err(rule) => return Err(ReadError::Malformed(rule)),
        }
        let received = socket
            .recv_onto(inbox, READ_LEN_BYTES)
            .await
            .map_err(ReadError::Io)?;
        if received == 0 {
            return Ok(Found::End);
        }
    }
}
