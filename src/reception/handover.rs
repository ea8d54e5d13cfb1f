//! The handover of a finished tunnel to relay: the only place that assembles [`Start`]. A tunnel never
//! comes back.

use std::rc::Rc;

use tokio::task::spawn_local;

use super::arrival::Arrival;
use super::context::ThreadContext;
use super::socket::Socket;
use crate::journal::Subject;
use crate::relay::tunnel::End;
use crate::relay::{Lease, Start, Timeouts};
use crate::upstream::Reservation;

/// Tunnels handed over before relay is woken at once instead of at the end of the pass.
const WAKE_AFTER: u32 = 8;

/// A tunnel that both sides have agreed to, without its client's side.
pub(super) struct NewTunnel {
    /// The server's side.
    pub(super) server_side: ServerSide,
    /// What the client sent that the server has not got.
    pub(super) to_server: Vec<u8>,
    /// What the log says of it.
    pub(super) subject: Box<Subject>,
}

/// The server's side of a tunnel.
pub(super) struct ServerSide {
    /// The server's connection.
    pub(super) socket: Socket,
    /// What the server sent that the client has not got.
    pub(super) to_client: Vec<u8>,
    /// Whether the client gets a Close frame when a drain ends the tunnel.
    pub(super) says_goodbye: bool,
    /// The tunnel's time-outs.
    pub(super) timeouts: Timeouts,
    /// The place at the server.
    pub(super) place: Reservation,
}

/// Hands a tunnel of the client that came as `arrival` to relay.
pub(super) async fn hand_over(tunnel: NewTunnel, arrival: Arrival, context: &Rc<ThreadContext>) {
    let server_side = tunnel.server_side;
    let (client, of_client, from_client) = arrival.socket.into_parts(End::Client).await;
    let (server, of_server, from_server) = server_side.socket.into_parts(End::Server).await;
    let start = Start {
        client,
        server,
        legs: [of_client, of_server],
        to_server: joined(tunnel.to_server, from_client),
        to_client: joined(server_side.to_client, from_server),
        says_goodbye: server_side.says_goodbye,
        timeouts: server_side.timeouts,
        subject: tunnel.subject,
        lease: Lease(Box::new((server_side.place, arrival.client_place))),
    };
    context.relay.adopt(start);
    wake_soon(context);
}

/// Returns `first` and what `second` holds behind it.
fn joined(mut first: Vec<u8>, mut second: Vec<u8>) -> Vec<u8> {
    if first.is_empty() {
        return second;
    }
    first.append(&mut second);
    first
}

/// Wakes relay once for all tunnels that are handed over in one pass of the executor.
fn wake_soon(context: &Rc<ThreadContext>) {
    let unannounced = context.unannounced.get() + 1;
    context.unannounced.set(unannounced);
    if unannounced == 1 {
        let context = Rc::clone(context);
        // Runs behind every task that is ready now: the end of the pass.
        spawn_local(async move { announce(&context) });
    } else if unannounced == WAKE_AFTER {
        announce(context);
    }
}

/// Wakes relay if there are tunnels it was not woken for.
pub(super) fn announce(context: &ThreadContext) {
    if context.unannounced.replace(0) > 0 {
        context.relay.wake();
    }
}
