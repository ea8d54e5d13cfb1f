//! `http` mode: the requests of one connection, one after the other, each on its own.
//!
//! Requests that a client sends ahead wait in the inbox and are answered in order. Between two
//! requests nothing is held but the two sockets.

use std::rc::Rc;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::arrival::{Arrival, refuse};
use super::super::head_reader::{HeadError, READ_LEN_BYTES, read_head};
use super::super::proxy_header::Origin;
use super::super::refusal::Refusal;
use super::super::socket::Socket;
use super::super::socket::driver::until;
use super::super::thread::Local;
use super::exchange::{self, Began, Client, End, Next, Tunnel};
use super::kept::Kept;
use crate::config::Limits;
use crate::journal::{Cause, Entry};
use crate::proto::Progress;
use crate::proto::http::head::{HeadLimits, parse_request};
use crate::relay::tunnel::End as Leg;
use crate::relay::{Lease, Start};

/// Serves a connection until it ends or becomes a tunnel.
pub(in crate::reception) async fn serve(
    mut arrival: Arrival,
    origin: Origin,
    inbox: Vec<u8>,
    local: Rc<Local>,
) {
    match serve_requests(&mut arrival, &origin, inbox, &local).await {
        End::Gently => {
            arrival.told.set(true);
            arrival.socket.close_gently().await;
        }
        End::Silently => arrival.socket.notify(),
        End::Reset { reads: true } => {
            arrival.told.set(true);
            arrival.socket.reset_behind().await;
        }
        End::Reset { reads: false } => arrival.socket.reset().await,
        End::Tunnel(tunnel) => hand_over(*tunnel, arrival, &local).await,
    }
}

fn head_limits(limits: &Limits) -> HeadLimits {
    HeadLimits {
        request_line: limits.request_line,
        head: limits.head,
        headers: limits.headers,
    }
}

async fn hand_over(tunnel: Tunnel, arrival: Arrival, local: &Rc<Local>) {
    let upgraded = *tunnel.upgraded;
    let (client, of_client, mut from_client) = arrival.socket.into_parts(Leg::Client).await;
    let (server, of_server, mut from_server) = upgraded.server.into_parts(Leg::Server).await;
    let (mut to_server, mut to_client) = (tunnel.to_server, upgraded.to_client);
    to_server.append(&mut from_client);
    to_client.append(&mut from_server);
    local.hand_over(Start {
        client,
        server,
        legs: [of_client, of_server],
        to_server,
        to_client,
        says_goodbye: upgraded.says_goodbye,
        timeouts: upgraded.timeouts,
        subject: tunnel.subject,
        lease: Lease(Box::new((upgraded.place, arrival.place))),
    });
}

async fn serve_requests(
    arrival: &mut Arrival,
    origin: &Origin,
    mut inbox: Vec<u8>,
    local: &Local,
) -> End {
    let mut kept = Kept::default();
    let mut began = Began {
        at: arrival.accepted,
        time: arrival.started,
    };
    let mut deadline = Instant::now() + arrival.listener().timeouts.request_header;
    loop {
        // On the heap, because between requests it would hold its room for nothing.
        let serving = Box::pin(serve_request(
            arrival, origin, local, inbox, began, deadline, &mut kept,
        ));
        inbox = match serving.await {
            Next::Request(rest) => rest,
            Next::End(end) => return end,
        };
        if inbox.is_empty() {
            inbox = Vec::new();
            if !await_request(arrival, local, &mut inbox, &mut kept).await {
                return End::Silently;
            }
        } else {
            // A client that sends far ahead must not keep the others waiting.
            yield_now().await;
        }
        began = Began::now();
        deadline = began.at + arrival.listener().timeouts.request_header;
    }
}

/// Waits for the first bytes of another request; tells whether they came. An idle connection ends
/// without a word and without a line, by either side, by `keep_alive` or by a stop.
async fn await_request(
    arrival: &Arrival,
    local: &Local,
    inbox: &mut Vec<u8>,
    kept: &mut Kept,
) -> bool {
    let patience = arrival.listener().timeouts.keep_alive;
    let socket = &arrival.socket;
    let waiting = async {
        let receiving = async {
            socket.await_bytes().await?;
            socket.recv_onto(inbox, READ_LEN_BYTES).await
        };
        tokio::select! {
            biased;
            received = receiving => matches!(received, Ok(1..)),
            // A request that is here already is still served.
            () = ended(arrival, local) => tokio::select! {
                biased;
                received = socket.recv_onto(inbox, READ_LEN_BYTES) => matches!(received, Ok(1..)),
                () = std::future::ready(()) => false,
            },
            () = kept.watch() => false,
        }
    };
    match timeout(patience, waiting).await {
        Ok(came) => came,
        Err(_) => {
            let (listener, peer) = (&arrival.listener().name, arrival.peer);
            let cause = Cause::KeepAliveTimeout;
            tracing::debug!(%listener, %peer, cause = cause.as_str(), "not worth a line");
            local.journal.count_silently(listener, cause);
            false
        }
    }
}

/// Waits until no further request is wanted: the process or the listener goes.
async fn ended(arrival: &Arrival, local: &Local) {
    tokio::select! {
        () = local.drain() => {}
        () = arrival.bound.closed() => {}
    }
}

/// Reads one request and serves it, by the configuration that is in effect when its head is whole.
async fn serve_request(
    arrival: &mut Arrival,
    origin: &Origin,
    local: &Local,
    mut inbox: Vec<u8>,
    began: Began,
    deadline: Instant,
    kept: &mut Kept,
) -> Next {
    let read = read_in_time(arrival, &mut inbox, deadline).await;
    if arrival.renew() {
        // They lead to servers as they were known before.
        kept.clear();
    }
    let limits = &head_limits(&arrival.listener().limits);
    let client = Client {
        arrival,
        origin,
        local,
        limits,
    };
    let parsed = read.and_then(|()| match parse_request(&inbox, limits)? {
        Progress::Complete { value, used } => Ok((value, used)),
        Progress::Partial => Err(Refusal::new(
            Cause::BadRequest,
            "the request head has no end",
        )),
    });
    match parsed {
        Ok((request, used)) => {
            let early = inbox.get(used..).unwrap_or_default();
            exchange::serve(client, &request, early, began, kept).await
        }
        Err(refusal) => Next::End(deny(client, refusal, began).await),
    }
}

async fn read_in_time(
    arrival: &Arrival,
    inbox: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), Refusal> {
    let limits = head_limits(&arrival.listener().limits);
    let reading = read_request(&arrival.socket, inbox, &limits);
    match until(deadline, reading).await {
        Ok(read) => read,
        Err(_) if inbox.is_empty() => Err(Refusal::new(Cause::Probe, "")),
        Err(_) => Err(Refusal::new(
            Cause::RequestHeaderTimeout,
            "the request head is too late",
        )),
    }
}

async fn read_request(
    socket: &Socket,
    inbox: &mut Vec<u8>,
    limits: &HeadLimits,
) -> Result<(), Refusal> {
    let len_checked = limits.request_line.min(limits.head);
    let check = |inbox: &[u8]| Ok(parse_request(inbox, limits).map(drop)?);
    match read_head(socket, inbox, len_checked, check).await {
        Ok(()) => Ok(()),
        Err(HeadError::Refused(refusal)) => Err(refusal),
        Err(HeadError::Closed | HeadError::Failed(_)) if inbox.is_empty() => {
            Err(Refusal::new(Cause::Probe, ""))
        }
        Err(HeadError::Closed) => Err(Refusal::new(
            Cause::RequestIncomplete,
            "the client closed in the middle of the request head",
        )),
        Err(HeadError::Failed(error)) => Err(Refusal::client_gone(error)),
    }
}

/// Answers a request whose head cannot be read; nobody knows where the next one would begin.
async fn deny(client: Client<'_>, refusal: Refusal, began: Began) -> End {
    let Client {
        arrival,
        origin,
        local,
        ..
    } = client;
    let mut subject = arrival.subject(origin.speaker);
    subject.started = began.time;
    if refusal.cause == Cause::Probe {
        refuse(arrival, subject, refusal, None, local);
        return End::Silently;
    }
    let timing = subject.timing.get_or_insert_default();
    arrival.count_clients(local, &mut timing.connections);
    let status = refusal.status();
    let mut out = Vec::new();
    if let Some(status) = status {
        refusal.write_answer(status, arrival.listener(), true, false, &mut out);
    }
    local.journal.write(Entry::Refused {
        subject,
        cause: refusal.cause,
        detail: refusal.detail,
        status,
        request: None,
        lasted: began.at.elapsed(),
    });
    let deadline = Instant::now() + arrival.listener().timeouts.request_header;
    match timeout_at(deadline, arrival.socket.send_all(&out)).await {
        Ok(Ok(())) if status.is_some() => End::Gently,
        Ok(_) | Err(_) => End::Silently,
    }
}
