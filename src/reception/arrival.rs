//! One accepted connection on its way to being a tunnel, an answer or a refusal.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::bound_address::BoundAddress;
use super::client_place::ClientPlace;
use super::http::connection;
use super::refusal::Refusal;
use super::snapshot::Snapshot;
use super::socket::Socket;
use super::thread::{Local, Phase};
use super::tunnel_only;
use super::{handshake, proxy_header};
use crate::config::{Listener, Mode, Offload, ProxyProtocol};
use crate::journal::tally::Stage;
use crate::journal::{Cause, Connections, Entry, RequestFacts, Subject};
use crate::proto::addr::PeerAddr;
use crate::relay::offload::OffloadWish;

/// A connection as accept gave it.
pub(super) struct Arrival {
    /// The connection.
    pub(super) socket: Socket,
    /// Its address.
    pub(super) peer: PeerAddr,
    /// What happens to it, as it was when it was accepted or its present request began.
    pub(super) snapshot: Arc<Snapshot>,
    /// Where it came in.
    pub(super) bound: Rc<BoundAddress>,
    /// When it was accepted, for time-outs.
    pub(super) accepted: Instant,
    /// When it was accepted, for the log.
    pub(super) started: SystemTime,
    /// Whether its last line is in the log, so that only its close is left to do.
    pub(super) told: Rc<Cell<bool>>,
    /// Its place among `max_connections` and its listener's clients, given back when it is over.
    pub(super) place: ClientPlace,
}

impl Arrival {
    /// Returns whose it is.
    pub(super) fn listener(&self) -> &Listener {
        &self.snapshot.listener
    }

    /// Takes over what a reload has changed; true = there was something.
    pub(super) fn renew(&mut self) -> bool {
        self.bound.renew(&mut self.snapshot)
    }

    /// Tells whether it gets no further request.
    pub(super) fn is_last(&self) -> bool {
        self.bound.is_behind(&self.snapshot)
    }

    /// Returns what relay is to do with the records of its tunnel.
    fn offload_wish(&self) -> OffloadWish {
        let tls = self.listener().tls.as_ref();
        tls.map_or(OffloadWish::Never, |tls| wish_of(tls.offload))
    }

    /// Fills in how many clients there are now, this one among them.
    pub(super) fn count_clients(&self, local: &Local, connections: &mut Connections) {
        connections.process = local.shared.connections();
        connections.listener = self.place.at_listener();
    }

    /// Returns what the log says of the connection when `client` is who speaks.
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
            is_http: self.listener().mode == Mode::Http,
            timing: None,
            request: None,
        })
    }
}

/// Returns what relay is told of an `offload`.
pub(super) fn wish_of(offload: Offload) -> OffloadWish {
    match offload {
        Offload::Adaptive => OffloadWish::Adaptive,
        Offload::Always => OffloadWish::Always,
        Offload::Never => OffloadWish::Never,
    }
}

/// Serves a connection from its first byte until it is over, has become a tunnel, or the process
/// ends.
pub(super) async fn serve(arrival: Arrival, local: Rc<Local>) {
    let (subject, accepted) = (arrival.subject(arrival.peer), arrival.accepted);
    let told = Rc::clone(&arrival.told);
    let mut phase = local.phase.clone();
    let journal = local.journal.clone();
    tokio::select! {
        biased;
        () = open(arrival, local) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Ended) => if !told.get() {
            journal.write(Entry::Refused {
                subject,
                cause: Cause::Drained,
                detail: "the stop did not leave enough time".to_owned(),
                status: None,
                request: None,
                lasted: accepted.elapsed(),
            });
        },
    }
}

async fn open(mut arrival: Arrival, local: Rc<Local>) {
    let mut inbox = Vec::new();
    let deadline = arrival.accepted + arrival.listener().timeouts.proxy_header;
    let read = proxy_header::read(
        &arrival.socket,
        &mut inbox,
        arrival.listener(),
        arrival.peer,
        deadline,
    );
    let origin = match read.await {
        Ok(origin) => origin,
        Err(refusal) => {
            return refuse(
                &arrival,
                arrival.subject(arrival.peer),
                refusal,
                None,
                &local,
            );
        }
    };
    let tally = local.journal.tally();
    let listener = Arc::clone(&arrival.snapshot.listener);
    if listener.proxy_protocol != ProxyProtocol::Off {
        let took = arrival.accepted.elapsed();
        tally.at(&listener.name, |row| row.took(Stage::ProxyHeader, took));
    }
    let tls = arrival.snapshot.tls.as_ref();
    if let Some(tls) = tls.map(|tls| Arc::clone(&tls.borrow())) {
        let began = Instant::now();
        let deadline = Instant::now() + listener.timeouts.tls_handshake;
        let received = std::mem::take(&mut inbox);
        let wish = arrival.offload_wish();
        let shaking = handshake::run(&mut arrival.socket, &tls, received, wish, deadline);
        if let Err(refusal) = Box::pin(shaking).await {
            let subject = arrival.subject(origin.speaker);
            let has_alert = refusal.cause == Cause::TlsHandshakeFailed;
            refuse(&arrival, subject, refusal, None, &local);
            arrival.told.set(true);
            if has_alert {
                // A reset would take it away again.
                arrival.socket.close_gently().await;
            }
            return;
        }
        if let Some(terms) = arrival.socket.terms() {
            let cipher = terms.cipher.unwrap_or("unknown");
            tally.at(&listener.name, |row| {
                row.took(Stage::TlsHandshake, began.elapsed());
                row.shook_hands(terms.version_name(), cipher, terms.resumed);
            });
        }
    }
    match arrival.listener().mode {
        Mode::Http => connection::serve(arrival, origin, inbox, local).await,
        // On the heap, so that an idle connection of http mode has no room for it.
        Mode::Tcp | Mode::Sni => Box::pin(tunnel_only::serve(arrival, origin, inbox, local)).await,
    }
}

/// Counts the end of a connection that gets no answer, and writes it down unless it was a probe.
pub(super) fn refuse(
    arrival: &Arrival,
    mut subject: Box<Subject>,
    refusal: Refusal,
    request: Option<Box<RequestFacts>>,
    local: &Local,
) {
    if refusal.cause == Cause::Probe || refusal.quiet {
        let (listener, peer) = (&arrival.listener().name, arrival.peer);
        tracing::debug!(%listener, %peer, cause = refusal.cause.as_str(), "not worth a line");
        return local.journal.count_silently(listener, refusal.cause);
    }
    let status = match arrival.listener().mode {
        Mode::Http => refusal.status(),
        Mode::Tcp | Mode::Sni => None,
    };
    if refusal.server.is_some() {
        subject.server = refusal.server;
    }
    let timing = subject.timing.get_or_insert_default();
    arrival.count_clients(local, &mut timing.connections);
    local.journal.write(Entry::Refused {
        subject,
        cause: refusal.cause,
        detail: refusal.detail,
        status,
        request,
        lasted: arrival.accepted.elapsed(),
    });
}
