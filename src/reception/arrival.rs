//! An accepted connection as a value: who came, when, to which address, and under which snapshot of the
//! configuration. Serving it is the task of `opening`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::bound_address::BoundAddress;
use super::client_place::ClientPlace;
use super::context::ThreadContext;
use super::snapshot::Snapshot;
use super::socket::Socket;
use crate::config::{Listener, Mode};
use crate::journal::{ClientCertificate, Connections, Subject};
use crate::proto::addr::PeerAddr;

/// An accepted connection.
pub(super) struct Arrival {
    /// The connection.
    pub(super) socket: Socket,
    /// The address of the other end.
    pub(super) peer: PeerAddr,
    /// The configuration of its address when it was accepted or its current request began.
    pub(super) snapshot: Arc<Snapshot>,
    /// The address it came to.
    pub(super) bound: Rc<BoundAddress>,
    /// When it was accepted, for time-outs.
    pub(super) accepted: Instant,
    /// When it was accepted, for the log.
    pub(super) started: SystemTime,
    /// Whether its last log entry is written, so that only its close is left to do.
    pub(super) told: Rc<Cell<bool>>,
    /// Its place below `max_connections` and among the clients of its listener, given back when it is
    /// over.
    pub(super) client_place: ClientPlace,
}

impl Arrival {
    /// Returns the listener of its snapshot.
    pub(super) fn listener(&self) -> &Listener {
        &self.snapshot.listener
    }

    /// Takes the current snapshot; true = a reload has changed it.
    pub(super) fn renew(&mut self) -> bool {
        self.bound.renew(&mut self.snapshot)
    }

    /// Tells whether the connection gets no further request.
    pub(super) fn is_last(&self) -> bool {
        self.bound.is_behind(&self.snapshot)
    }

    /// Fills in the numbers of clients, this one included.
    pub(super) fn count_clients(&self, context: &ThreadContext, connections: &mut Connections) {
        connections.process = context.shared.connections();
        connections.listener = self.client_place.at_listener();
    }

    /// Returns what the log says of the connection when it speaks for `client`.
    #[must_use]
    pub(super) fn subject(&self, client: PeerAddr) -> Box<Subject> {
        Box::new(Subject {
            listener: Arc::clone(&self.listener().name),
            peer: self.peer,
            client,
            backend: None,
            server: None,
            started: self.started,
            over_tls: self.listener().tls.is_some(),
            certificate: self.certificate(),
            is_http: self.listener().mode == Mode::Http,
            timing: None,
            request: None,
        })
    }

    /// Returns what the client showed, if it was asked for a certificate; before the handshake is done that
    /// is nothing.
    fn certificate(&self) -> Option<ClientCertificate> {
        let tls = self.listener().tls.as_ref();
        tls.and_then(|tls| tls.client_ca.as_ref())?;
        let terms = self.socket.terms();
        Some(match terms.and_then(|terms| terms.client.as_ref()) {
            Some(_) => ClientCertificate::Verified,
            None => ClientCertificate::Missing,
        })
    }
}
