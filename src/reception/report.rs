//! Reports of refusals: the only place that assembles and writes [`Entry::Refused`]. Why a connection or
//! a request is refused is decided elsewhere, see [`Refusal`].

use tokio::time::Instant;

use super::arrival::Arrival;
use super::context::ThreadContext;
use super::refusal::Refusal;
use crate::config::Mode;
use crate::journal::{Cause, Entry, Journal, RequestFacts, Subject};

/// Reports a connection that gets no answer. Probes and other refusals that are no operator's concern
/// are counted only.
pub(super) fn connection(
    arrival: &Arrival,
    mut subject: Box<Subject>,
    refusal: Refusal,
    context: &ThreadContext,
) {
    if refusal.cause == Cause::Probe || refusal.quiet {
        return count_only(arrival, refusal.cause, context);
    }
    let status = match arrival.listener().mode {
        Mode::Http => refusal.status(),
        Mode::Tcp | Mode::Sni => None,
    };
    let timing = subject.timing.get_or_insert_default();
    arrival.count_clients(context, &mut timing.connections);
    let request = RefusedRequest {
        status,
        facts: None,
        began: arrival.accepted,
    };
    write(subject, refusal, request, &context.journal);
}

/// What the log says of a refused request besides its subject.
pub(super) struct RefusedRequest {
    /// The status of our answer; none = it gets no answer.
    pub(super) status: Option<u16>,
    /// The request; none = its head cannot be read.
    pub(super) facts: Option<Box<RequestFacts>>,
    /// When the request began.
    pub(super) began: Instant,
}

/// Reports a request that is refused.
pub(super) fn request(
    subject: Box<Subject>,
    refusal: Refusal,
    request: RefusedRequest,
    context: &ThreadContext,
) {
    write(subject, refusal, request, &context.journal);
}

/// Reports a connection that was accepted at `accepted` and is still open when the process ends.
pub(super) fn cut_off(subject: Box<Subject>, accepted: Instant, journal: &Journal) {
    let why = "the stop did not leave enough time";
    let request = RefusedRequest {
        status: None,
        facts: None,
        began: accepted,
    };
    write(subject, Refusal::new(Cause::Drained, why), request, journal);
}

/// Counts the end of a connection without a log entry.
pub(super) fn count_only(arrival: &Arrival, cause: Cause, context: &ThreadContext) {
    let (listener, peer) = (&arrival.listener().name, arrival.peer);
    tracing::debug!(%listener, %peer, cause = cause.as_str(), "not worth a line");
    context.journal.note_silently(listener, cause);
}

fn write(mut subject: Box<Subject>, refusal: Refusal, request: RefusedRequest, journal: &Journal) {
    if refusal.server.is_some() {
        subject.server = refusal.server;
    }
    journal.note(Entry::Refused {
        subject,
        cause: refusal.cause,
        detail: refusal.detail,
        status: request.status,
        request: request.facts,
        lasted: request.began.elapsed(),
    });
}
