//! The handover of a finished tunnel to relay: the only place that assembles [`Start`]. A tunnel never
//! comes back.

use std::rc::Rc;

use tokio::task::spawn_local;

use super::client_place::ClientPlace;
use super::context::ThreadContext;
use super::socket::Detached;
use crate::journal::Subject;
use crate::relay::{Lease, Start, Timeouts};
use crate::upstream::Reservation;

/// Tunnels handed over before relay is woken at once instead of at the end of the pass.
const WAKE_AFTER: u32 = 8;

/// A tunnel that both sides have agreed to, without its connections.
pub(super) struct NewTunnel {
    /// What the client sent that the server has not got.
    pub(super) to_server: Vec<u8>,
    /// What the server sent that the client has not got.
    pub(super) to_client: Vec<u8>,
    /// Whether the client gets a Close frame when a drain ends the tunnel.
    pub(super) says_goodbye: bool,
    /// The tunnel's time-outs.
    pub(super) timeouts: Timeouts,
    /// What the log says of it.
    pub(super) subject: Box<Subject>,
    /// The place at the server.
    pub(super) server_place: Reservation,
}

/// Hands a tunnel to relay, with the connections of its client and its server.
pub(super) fn hand_over(
    tunnel: NewTunnel,
    client_place: ClientPlace,
    client: Detached,
    server: Detached,
    context: &Rc<ThreadContext>,
) {
    context.relay.adopt(Start {
        client: client.fd,
        server: server.fd,
        legs: [client.leg, server.leg],
        to_server: joined(tunnel.to_server, client.unread),
        to_client: joined(tunnel.to_client, server.unread),
        says_goodbye: tunnel.says_goodbye,
        timeouts: tunnel.timeouts,
        subject: tunnel.subject,
        lease: Lease(Box::new((tunnel.server_place, client_place))),
    });
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
