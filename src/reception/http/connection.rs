//! `http` mode: the requests of one client connection, one after another.
//!
//! Pipelined requests wait in the inbox and are answered in order. Between two requests only the sockets
//! and the list of kept ones are held.

use std::io;
use std::rc::Rc;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::arrival::Arrival;
use super::super::context::ThreadContext;
use super::super::first_bytes::{self, Place};
use super::super::handover::hand_over;
use super::super::head_reader::{HeadError, READ_LEN_BYTES, read_head};
use super::super::proxy_header::Origin;
use super::super::refusal::Refusal;
use super::super::report::{self, RefusedRequest};
use super::super::socket::Socket;
use super::super::socket::driver::until;
use super::super::socket::tls::fault_of;
use super::exchange::{self, Began, ClientSide, ConnectionEnd, NextStep};
use super::kept::Kept;
use crate::config::Limits;
use crate::journal::Cause;
use crate::proto::Progress;
use crate::proto::first_bytes::Opening;
use crate::proto::http::head::{HeadLimits, is_begun, parse_request};
use crate::proto::http::refusal::HttpRefusal;
use crate::relay::tunnel::End;
use crate::tls::control::Fault;

/// Serves a connection until it ends or becomes a tunnel.
pub(in crate::reception) async fn serve(
    mut arrival: Arrival,
    origin: Origin,
    inbox: Vec<u8>,
    context: Rc<ThreadContext>,
) {
    match serve_requests(&mut arrival, &origin, inbox, &context).await {
        ConnectionEnd::Gently => {
            arrival.told.set(true);
            arrival.socket.close_gently().await;
        }
        ConnectionEnd::Silently => arrival.socket.notify(),
        ConnectionEnd::Reset { reads: true } => {
            arrival.told.set(true);
            arrival.socket.reset_behind().await;
        }
        ConnectionEnd::Reset { reads: false } => arrival.socket.reset().await,
        ConnectionEnd::Tunnel(upgraded) => {
            let client = arrival.socket.detach(End::Client).await;
            let server = upgraded.server.detach(End::Server).await;
            let client_place = arrival.client_place;
            hand_over(upgraded.tunnel, client_place, client, server, &context);
        }
    }
}

fn head_limits(limits: &Limits) -> HeadLimits {
    HeadLimits {
        request_line: limits.request_line,
        head: limits.head,
        headers: limits.headers,
    }
}

async fn serve_requests(
    arrival: &mut Arrival,
    origin: &Origin,
    mut inbox: Vec<u8>,
    context: &ThreadContext,
) -> ConnectionEnd {
    let mut kept = Kept::default();
    let mut began = Began {
        at: arrival.accepted,
        time: arrival.started,
    };
    let mut deadline = Instant::now() + arrival.listener().timeouts.request_header;
    loop {
        // On the heap, so that it takes no memory between requests.
        let serving = Box::pin(serve_request(
            arrival, origin, context, inbox, began, deadline, &mut kept,
        ));
        inbox = match serving.await {
            NextStep::Request(rest) => rest,
            NextStep::End(end) => return end,
        };
        if is_begun(&inbox) {
            // Pipelined requests of one client must not delay the other clients.
            yield_now().await;
        } else {
            // Without an empty line, nothing is held.
            inbox.shrink_to_fit();
            match await_request(arrival, context, &mut inbox, &mut kept).await {
                Ok(true) => {}
                Ok(false) => return ConnectionEnd::Silently,
                Err(error) => {
                    let limits = &head_limits(&arrival.listener().limits);
                    let client = ClientSide {
                        arrival,
                        origin,
                        context,
                        limits,
                    };
                    return deny(client, Refusal::client_gone(error), Began::now()).await;
                }
            }
        }
        began = Began::now();
        deadline = began.at + arrival.listener().timeouts.request_header;
    }
}

/// Waits for the first bytes of another request; tells whether they came. An idle connection ends without
/// an answer and without a log entry, whether the client, `keep_alive` or a drain ends it.
///
/// Empty lines are no request yet: some clients send one behind a body. They neither end the wait nor start
/// it anew.
///
/// # Errors
/// A record of the client broke a rule.
async fn await_request(
    arrival: &Arrival,
    context: &ThreadContext,
    inbox: &mut Vec<u8>,
    kept: &mut Kept,
) -> io::Result<bool> {
    let patience = arrival.listener().timeouts.keep_alive;
    let socket = &arrival.socket;
    let waiting = async {
        let receiving = async {
            loop {
                socket.await_bytes().await?;
                let received = socket.recv_onto(inbox, READ_LEN_BYTES).await?;
                if received == 0 || is_begun(inbox) {
                    return io::Result::Ok(received);
                }
                inbox.shrink_to_fit();
            }
        };
        tokio::select! {
            biased;
            received = receiving => came(received),
            // A request that has arrived already is still served.
            () = ended(arrival, context) => tokio::select! {
                biased;
                received = socket.recv_onto(inbox, READ_LEN_BYTES) => {
                    came(received).map(|came| came && is_begun(inbox))
                }
                () = std::future::ready(()) => Ok(false),
            },
            () = kept.watch() => Ok(false),
        }
    };
    if let Ok(came) = timeout(patience, waiting).await {
        return came;
    }
    report::count_only(arrival, Cause::KeepAliveTimeout, context);
    Ok(false)
}

/// Tells whether a receive brought bytes. A connection that broke has only ended, unless the client's records
/// are at fault.
fn came(received: io::Result<usize>) -> io::Result<bool> {
    match received {
        Ok(len) => Ok(len > 0),
        Err(error) if fault_of(&error).and_then(Fault::alert).is_some() => Err(error),
        Err(_) => Ok(false),
    }
}

/// Waits until no further request is accepted, because of a drain or because the address is closed.
async fn ended(arrival: &Arrival, context: &ThreadContext) {
    tokio::select! {
        () = context.drain() => {}
        () = arrival.bound.closed() => {}
    }
}

/// Reads one request and serves it under the configuration in effect when its head is complete.
async fn serve_request(
    arrival: &mut Arrival,
    origin: &Origin,
    context: &ThreadContext,
    mut inbox: Vec<u8>,
    began: Began,
    deadline: Instant,
    kept: &mut Kept,
) -> NextStep {
    let read = read_in_time(arrival, &mut inbox, deadline).await;
    if arrival.renew() {
        kept.renew(&arrival.snapshot);
    }
    let limits = &head_limits(&arrival.listener().limits);
    let client = ClientSide {
        arrival,
        origin,
        context,
        limits,
    };
    let parse = |inbox| parse_request(inbox, limits).map_err(|rule| refused(rule, limits));
    let parsed = read.and_then(|()| match parse(&inbox)? {
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
        Err(refusal) => {
            let refusal = explain(client, refusal, &mut inbox).await;
            NextStep::End(deny(client, refusal, began).await)
        }
    }
}

/// Makes the refusal of a head; the log names the limit that it exceeds.
fn refused(rule: HttpRefusal, limits: &HeadLimits) -> Refusal {
    let refusal = Refusal::from(rule);
    match rule.exceeded(limits) {
        Some(words) => refusal.explained(words),
        None => refusal,
    }
}

/// Adds words for the operator where the bytes in `inbox`, which break a rule of HTTP, begin another protocol.
async fn explain(client: ClientSide<'_>, refusal: Refusal, inbox: &mut Vec<u8>) -> Refusal {
    if refusal.cause != Cause::BadRequest {
        return refusal;
    }
    let ClientSide {
        arrival, origin, ..
    } = client;
    let place = Place {
        listener: arrival.listener(),
        speaker: origin.speaker,
        inside_tls: arrival.socket.terms().is_some(),
    };
    match first_bytes::recognise(&arrival.socket, inbox).await {
        // Its broken rule is the better word.
        None | Some(Opening::Http1) => refusal,
        Some(opening) => refusal.explained(first_bytes::told(opening, place)),
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
        Err(_) if !is_begun(inbox) => Err(Refusal::new(Cause::Probe, "")),
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
    let check = |inbox: &[u8]| {
        let parsed = parse_request(inbox, limits).map(drop);
        parsed.map_err(|rule| refused(rule, limits))
    };
    match read_head(socket, inbox, len_checked, check).await {
        Ok(()) => Ok(()),
        Err(HeadError::Refused(refusal)) => Err(refusal),
        Err(HeadError::Closed) if !is_begun(inbox) => Err(Refusal::new(Cause::Probe, "")),
        Err(HeadError::Failed(error)) if !is_begun(inbox) && fault_of(&error).is_none() => {
            Err(Refusal::new(Cause::Probe, ""))
        }
        Err(HeadError::Closed) => Err(Refusal::new(
            Cause::RequestIncomplete,
            "the client closed in the middle of the request head",
        )),
        Err(HeadError::Failed(error)) => Err(Refusal::client_gone(error)),
    }
}

/// Answers a request whose head cannot be read. No other follows, because nothing tells where it would
/// begin.
async fn deny(client: ClientSide<'_>, refusal: Refusal, began: Began) -> ConnectionEnd {
    let ClientSide {
        arrival,
        origin,
        context,
        ..
    } = client;
    let mut subject = arrival.subject(origin.speaker);
    subject.started = began.time;
    if refusal.cause == Cause::Probe {
        report::connection(arrival, subject, refusal, context);
        return ConnectionEnd::Silently;
    }
    let timing = subject.timing.get_or_insert_default();
    arrival.count_clients(context, &mut timing.connections);
    let status = refusal.status();
    let mut out = Vec::new();
    if let Some(status) = status {
        refusal.write_answer(status, arrival.listener(), true, false, &mut out);
    }
    let refused = RefusedRequest {
        status,
        facts: None,
        began: began.at,
    };
    report::request(subject, refusal, refused, context);
    let deadline = Instant::now() + arrival.listener().timeouts.request_header;
    match timeout_at(deadline, arrival.socket.send_all(&out)).await {
        Ok(Ok(())) if status.is_some() => ConnectionEnd::Gently,
        Ok(_) | Err(_) => ConnectionEnd::Silently,
    }
}
