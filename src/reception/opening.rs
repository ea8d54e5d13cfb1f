//! The opening of a connection, in order: PROXY header, TLS handshake, then the mode of its listener. It
//! ends with a tunnel, an answer or a refusal.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::arrival::Arrival;
use super::context::{Phase, ThreadContext};
use super::first_bytes::{self, Place};
use super::handshake::{self, NoHandshake};
use super::http::connection;
use super::proxy_header::{self, Origin};
use super::refusal::Refusal;
use super::{report, tunnel_only};
use crate::config::{Mode, ProxyProtocol};
use crate::journal::Cause;
use crate::journal::counts::Stage;
use crate::proto::first_bytes::Opening;
use crate::proto::http::answer::{AnswerBody, Own};
use crate::tls::offload::Offload;

/// Serves a connection from its first byte until it is over or has become a tunnel, or the process
/// ends.
pub(super) async fn serve(arrival: Arrival, context: Rc<ThreadContext>) {
    let (subject, accepted) = (arrival.subject(arrival.peer), arrival.accepted);
    let told = Rc::clone(&arrival.told);
    let mut phase = context.phase.clone();
    let journal = context.journal.clone();
    tokio::select! {
        biased;
        () = open(arrival, context) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Ended) => if !told.get() {
            report::cut_off(subject, accepted, &journal);
        },
    }
}

async fn open(mut arrival: Arrival, context: Rc<ThreadContext>) {
    let mut inbox = Vec::new();
    let listener = arrival.listener();
    let deadline = arrival.accepted + listener.timeouts.proxy_header;
    let (socket, peer) = (&arrival.socket, arrival.peer);
    let origin = match proxy_header::read(socket, &mut inbox, listener, peer, deadline).await {
        Ok(origin) => origin,
        Err(refusal) => {
            return report::connection(&arrival, arrival.subject(peer), refusal, &context);
        }
    };
    count_proxy_header(&arrival, &context);
    let tls = arrival.snapshot.tls.as_ref();
    if let Some(tls) = tls.map(|tls| Arc::clone(&tls.borrow())) {
        let began = Instant::now();
        let deadline = began + arrival.listener().timeouts.tls_handshake;
        let (received, wish) = (std::mem::take(&mut inbox), offload_of(&arrival));
        let shaking = handshake::run(&mut arrival.socket, &tls, received, wish, deadline);
        // On the heap, so that it takes no memory after the handshake.
        match Box::pin(shaking).await {
            Ok(()) => count_handshake(&arrival, began, &context),
            Err(NoHandshake::Refused(refusal)) => {
                return refuse_handshake(arrival, &origin, refusal, &context).await;
            }
            Err(NoHandshake::NotTls(opening)) => {
                return refuse_without_tls(arrival, &origin, opening, &context).await;
            }
        }
    }
    match arrival.listener().mode {
        Mode::Http => connection::serve(arrival, origin, inbox, context).await,
        // On the heap, so that an idle connection of http mode does not carry it.
        Mode::Tcp | Mode::Sni => {
            Box::pin(tunnel_only::serve(arrival, origin, inbox, context)).await;
        }
    }
}

/// Notes how long the PROXY header took, where one is expected.
fn count_proxy_header(arrival: &Arrival, context: &ThreadContext) {
    let listener = arrival.listener();
    if listener.proxy_protocol != ProxyProtocol::Off {
        let took = arrival.accepted.elapsed();
        let tally = context.journal.tally();
        tally.at(&listener.name, |row| row.took(Stage::ProxyHeader, took));
    }
}

/// Notes what a TLS handshake that `began` then has settled.
fn count_handshake(arrival: &Arrival, began: Instant, context: &ThreadContext) {
    if let Some(terms) = arrival.socket.terms() {
        let cipher = terms.cipher.unwrap_or("unknown");
        context.journal.tally().at(&arrival.listener().name, |row| {
            row.took(Stage::TlsHandshake, began.elapsed());
            row.shook_hands(terms.version_name(), cipher, terms.resumed);
        });
    }
}

/// Reports a TLS handshake without success, and closes the connection.
async fn refuse_handshake(
    arrival: Arrival,
    origin: &Origin,
    refusal: Refusal,
    context: &ThreadContext,
) {
    let has_alert = refusal.cause == Cause::TlsHandshakeFailed;
    let subject = arrival.subject(origin.speaker);
    report::connection(&arrival, subject, refusal, context);
    arrival.told.set(true);
    if has_alert {
        // A reset could take the alert away before the client has read it.
        arrival.socket.close_gently().await;
    }
}

/// Reports a client that speaks another protocol than TLS, and closes the connection.
///
/// A client of `http` mode that speaks HTTP is told so in HTTP, as nginx does; others are sent an alert.
async fn refuse_without_tls(
    arrival: Arrival,
    origin: &Origin,
    opening: Opening,
    context: &ThreadContext,
) {
    let place = Place {
        listener: arrival.listener(),
        speaker: origin.speaker,
        inside_tls: false,
    };
    let refusal = Refusal::new(Cause::TlsHandshakeFailed, first_bytes::told(opening, place));
    let is_told = arrival.listener().mode == Mode::Http
        && matches!(opening, Opening::Http1 | Opening::Http2Preface);
    let mut answer = Vec::new();
    match is_told {
        true => Own {
            status: 400,
            content: AnswerBody::text(NEEDS_TLS),
            extra_lines: &[],
            // A browser must not heed it without TLS (RFC 6797 section 7.2).
            strict_transport: None,
            close: true,
            to_head: false,
        }
        .write(&mut answer),
        false => answer.extend_from_slice(&UNEXPECTED_MESSAGE),
    }
    // A client that does not read it is refused all the same; the send buffer is still empty.
    let _ = arrival.socket.send_all(&answer).await;
    refuse_handshake(arrival, origin, refusal, context).await;
}

const NEEDS_TLS: &str =
    "400 Bad Request\nthe HTTP request came without TLS, and this port needs it: use https://\n";

/// A fatal unexpected_message in a plain record (RFC 8446 sections 5.1 and 6).
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];

/// Returns when relay is to leave the records of the client to the kernel.
fn offload_of(arrival: &Arrival) -> Offload {
    let tls = arrival.listener().tls.as_ref();
    tls.map_or(Offload::Never, |tls| tls.offload)
}
