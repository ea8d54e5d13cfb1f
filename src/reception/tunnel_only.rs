//! `tcp` and `sni` mode: the whole connection becomes a tunnel.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::arrival::Arrival;
use super::bound_address::ROUTES_MAX;
use super::client_hello::{self, UNRECOGNIZED_NAME};
use super::connect::{Search, tunnel_timeouts};
use super::context::ThreadContext;
use super::first_bytes::Place;
use super::handover::{NewTunnel, hand_over};
use super::introduction::introduce;
use super::proxy_header::Origin;
use super::refusal::Refusal;
use super::report;
use super::route::{self, Traits};
use super::socket::tls::fault_of;
use super::socket::{Half, Socket};
use crate::config::{Mode, RouteAction};
use crate::journal::{Cause, Entry, Subject, Timing};
use crate::relay::Timeouts;
use crate::relay::tunnel::End;
use crate::upstream::Reservation;

/// How long a connection whose PROXY header named no client may stay silent. After this time it is not a
/// probe and gets a server.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes asked for at once meanwhile.
const PROBE_READ_LEN_BYTES: usize = 2048;

/// Serves a connection of `tcp` or `sni` mode.
pub(super) async fn serve(
    arrival: Arrival,
    mut origin: Origin,
    mut inbox: Vec<u8>,
    context: Rc<ThreadContext>,
) {
    let mut subject = arrival.subject(origin.speaker);
    let timing = Cell::default();
    let opening = open(
        &arrival,
        &mut origin,
        &mut subject,
        &mut inbox,
        &context,
        &timing,
    );
    let opened = opening.await;
    let mut took = timing.get();
    arrival.count_clients(&context, &mut took.connections);
    subject.timing = Some(Box::new(took));
    match opened {
        Ok(ServerSide {
            socket: server,
            timeouts,
            place,
        }) => {
            context.journal.note(Entry::Open {
                subject: subject.clone(),
                request: None,
            });
            if !context.journal.has_stories() {
                subject.timing = None;
            }
            let client = arrival.socket.detach(End::Client).await;
            let server = server.detach(End::Server).await;
            let tunnel = NewTunnel {
                to_server: inbox,
                to_client: Vec::new(),
                says_goodbye: false,
                timeouts,
                subject,
                server_place: place,
            };
            hand_over(tunnel, arrival.client_place, client, server, &context);
        }
        Err(refusal) => {
            let alert = arrival.listener().mode == Mode::Sni && refusal.cause == Cause::NoRoute;
            report::connection(&arrival, subject, refusal, &context);
            // The send buffer is still empty, so this does not wait.
            if alert && arrival.socket.send_all(&UNRECOGNIZED_NAME).await.is_ok() {
                arrival.told.set(true);
                arrival.socket.close_gently().await;
            }
        }
    }
}

/// The server's side of a new tunnel.
struct ServerSide {
    socket: Socket,
    timeouts: Timeouts,
    /// The place at the server.
    place: Reservation,
}

async fn open(
    arrival: &Arrival,
    origin: &mut Origin,
    subject: &mut Subject,
    inbox: &mut Vec<u8>,
    context: &ThreadContext,
    timing: &Cell<Timing>,
) -> Result<ServerSide, Refusal> {
    if origin.maybe_probe && inbox.is_empty() {
        await_payload(&arrival.socket, inbox).await?;
    }
    let terms = arrival.socket.terms();
    let mut server_name = terms.and_then(|terms| terms.server_name.clone());
    if arrival.listener().mode == Mode::Sni {
        let deadline = Instant::now() + arrival.listener().timeouts.tls_handshake;
        let place = Place {
            listener: arrival.listener(),
            speaker: origin.speaker,
            inside_tls: false,
        };
        let hello = client_hello::read(&arrival.socket, inbox, place, deadline).await?;
        server_name.clone_from(&hello.server_name);
        origin.tlvs.authority = hello.server_name.or(origin.tlvs.authority.take());
        // The server has not chosen a protocol yet; the first is the one the client prefers.
        origin.tlvs.alpn = hello.alpn.into_iter().next();
    }
    let traits = Traits {
        client: origin.speaker,
        host: None,
        server_name: server_name.as_deref(),
        path: None,
        websocket: None,
        scheme: None,
        request: None,
    };
    let half = match inbox.is_empty() {
        true => Half::LeavesIfSilent,
        false => Half::Stays,
    };
    // There may have been a reload since it was accepted.
    let mut snapshot = Arc::clone(&arrival.snapshot);
    arrival.bound.renew(&mut snapshot);
    for _ in 0..ROUTES_MAX {
        let Some(RouteAction::Backend(id)) = route::choose(&snapshot.listener, &traits) else {
            return Err(Refusal::new(
                Cause::NoRoute,
                "no route takes this client or this server name",
            ));
        };
        let backend = snapshot.backend(*id)?;
        subject.backend = Some(Arc::clone(&backend.upstream.name));
        let search = Search::new(backend, arrival, half, origin.speaker, timing);
        if let Some(opened) = reach(search, arrival, origin, subject, context).await? {
            return Ok(opened);
        }
        snapshot = arrival.bound.next(&snapshot).await?;
    }
    Err(Refusal::rerouted_too_often())
}

/// Connects to a server of the backend that a route chose; none = a reload has changed the backend.
async fn reach(
    mut search: Search<'_>,
    arrival: &Arrival,
    origin: &Origin,
    subject: &mut Subject,
    context: &ThreadContext,
) -> Result<Option<ServerSide>, Refusal> {
    let mut preface = Vec::new();
    let (place, server) = loop {
        let Some(place) = search.place().await? else {
            return Ok(None);
        };
        preface.clear();
        introduce(
            &place.member().server,
            origin.speaker,
            origin,
            &arrival.socket,
            &mut preface,
        );
        let connecting = search.connect(&place, context.driver, &mut preface);
        if let Some(server) = connecting.await? {
            break (place, server);
        }
    };
    let member = place.member();
    subject.server = Some(Arc::clone(&member.name));
    server
        .send_all(&preface)
        .await
        .map_err(|error| Refusal::server_gone(error).at_server(member))?;
    Ok(Some(ServerSide {
        socket: server,
        timeouts: tunnel_timeouts(&search.lineup.backend.timeouts),
        place,
    }))
}

/// Waits for the first byte of a connection that looks like a probe. If it ends instead, it was one.
async fn await_payload(socket: &Socket, inbox: &mut Vec<u8>) -> Result<(), Refusal> {
    match timeout(
        PROBE_PATIENCE,
        socket.recv_onto(inbox, PROBE_READ_LEN_BYTES),
    )
    .await
    {
        Ok(Err(error)) if fault_of(&error).is_some() => Err(Refusal::client_gone(error)),
        Ok(Ok(0) | Err(_)) => Err(Refusal::new(Cause::Probe, "")),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
