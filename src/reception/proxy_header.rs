//! The PROXY header of an arriving connection: whether to expect one, whom to believe, and who the
//! connection speaks for afterwards.

use std::io;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::refusal::Refusal;
use super::socket::Socket;
use super::socket::driver::until;
use crate::config::{Listener, ProxyProtocol};
use crate::journal::Cause;
use crate::proto::Progress;
use crate::proto::addr::PeerAddr;
use crate::proto::proxy::{self, Addresses, Header, MalformedHeader, Tlvs};

/// Headers that may stand before each other: balancer behind balancer behind balancer ...
const STACK_LEN_MAX: usize = 4;
/// Bytes asked for at once; whatever follows the header stays in the inbox.
const READ_LEN_BYTES: usize = 2048;

/// Whom a connection speaks for.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The address after PROXY: the client, or the last proxy that speaks HTTP.
    pub(super) speaker: PeerAddr,
    /// Where the speaker connected to, if a header said so.
    pub(super) destination: Option<SocketAddr>,
    /// What version 2 said besides.
    pub(super) tlvs: Tlvs,
    /// Whether the header named nobody (LOCAL, UNKNOWN): most probably a probe of the balancer.
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

/// Reads the PROXY headers of a connection, as the listener wants them.
///
/// `inbox` receives what was read; on return it begins with the first byte of payload. `deadline`
/// holds for all headers together.
///
/// # Errors
/// The refusal to count; nothing is to be answered. [`Cause::Probe`] is one that leaves no line.
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
                return Err(Refusal::new(
                    Cause::ProxyHeaderMissing,
                    "the source is trusted but sent no PROXY header; does the balancer send one?",
                ));
            }
            // Bytes that are no header, or silence where none is needed, are the payload's affair.
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
