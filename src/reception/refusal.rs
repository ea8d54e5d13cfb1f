//! A refusal as a value: why a connection or a request is not served, and the answer that the client gets.
//! `report` writes it to the log.

use std::io;
use std::sync::Arc;

use super::socket::tls::{cause_of, detail_of};
use crate::config::Listener;
use crate::journal::Cause;
use crate::proto::http::answer::{self, AnswerBody, Own};
use crate::proto::http::refusal::{self as http, RefusalKind};
use crate::relay::tunnel::End;
use crate::upstream::Member;

/// The reason to end a connection or a request before a tunnel or an answer exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The cause.
    pub(super) cause: Cause,
    /// The broken rule, or the error of the system; may be empty.
    pub(super) detail: String,
    /// The server that was tried, if any.
    pub(super) server: Option<Arc<str>>,
    /// Whether it is counted without a log entry, because scanners cause it and operators need not know.
    pub(super) quiet: bool,
    /// Whether the client gets no answer, so that it may repeat its request.
    pub(super) silent: bool,
    /// What our answer says in place of `detail`, where that is for operators only.
    told: Option<String>,
    /// Additional header lines of the answer.
    extra_lines: &'static [(&'static str, &'static str)],
}

impl Refusal {
    /// Makes a refusal.
    #[must_use]
    pub(super) fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
            server: None,
            quiet: false,
            silent: false,
            told: None,
            extra_lines: &[],
        }
    }

    /// Replaces the detail in the log by words for the operator; the client is told what it would be told
    /// without them.
    #[must_use]
    pub(super) fn explained(mut self, detail: String) -> Self {
        self.told = Some(std::mem::replace(&mut self.detail, detail));
        self
    }

    /// Refuses a request whose backend changed with each of several reloads.
    #[must_use]
    pub(super) fn rerouted_too_often() -> Self {
        Self::new(Cause::NoServer, "each reload gave it another backend")
    }

    /// Makes it one that is counted without a log entry.
    #[must_use]
    pub(super) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Makes it one that closes the client's connection without an answer, for the reason in `detail`: clients
    /// repeat a request whose connection, used before, closed without an answer (RFC 9112 section 9.3.1).
    #[must_use]
    pub(super) fn in_silence(mut self, detail: &'static str) -> Self {
        self.silent = true;
        self.detail = detail.to_owned();
        self
    }

    /// Makes the refusal for an `error` of the client's connection.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn client_gone(error: io::Error) -> Self {
        Self::new(
            cause_of(&error, End::Client),
            detail_of(&error, End::Client),
        )
    }

    /// Makes the refusal for a client that has `left`: in good order, of which `detail` says when, or with an
    /// error.
    #[must_use]
    pub(super) fn client_left(left: io::Result<()>, detail: &'static str) -> Self {
        match left {
            Ok(()) => Self::new(Cause::ClientClosed, detail),
            Err(error) => Self::client_gone(error),
        }
    }

    /// Makes the refusal for an `error` of the server's connection.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(super) fn server_gone(error: io::Error) -> Self {
        Self::new(
            cause_of(&error, End::Server),
            detail_of(&error, End::Server),
        )
    }

    /// Names the server that was tried.
    #[must_use]
    pub(super) fn at_server(mut self, server: &Member) -> Self {
        self.server = Some(Arc::clone(&server.name));
        self
    }

    /// Returns the status of our own answer; none = the client gets no answer.
    #[must_use]
    pub(super) fn status(&self) -> Option<u16> {
        if self.silent {
            return None;
        }
        match self.cause {
            Cause::BadRequest | Cause::BadUpgrade => Some(400),
            Cause::NoRoute => Some(404),
            Cause::RequestHeaderTimeout | Cause::BodyTimeout => Some(408),
            Cause::BodyTooLarge => Some(413),
            Cause::RequestLineTooLong => Some(414),
            Cause::WebsocketVersion => Some(426),
            Cause::RequestHeadTooLarge => Some(431),
            Cause::UnknownCoding => Some(501),
            Cause::InternalError => Some(500),
            Cause::ConnectRefused
            | Cause::ConnectFailed
            | Cause::BadResponse
            | Cause::ResponseIncomplete
            | Cause::ServerTlsFailed
            | Cause::ServerTlsBadRecord
            | Cause::ServerReset => Some(502),
            Cause::NoServer | Cause::QueueFull | Cause::QueueTimeout | Cause::OutOfResources => {
                Some(503)
            }
            Cause::ConnectTimeout | Cause::ServerTlsTimeout | Cause::ResponseTimeout => Some(504),
            Cause::ClientClosed
            | Cause::ServerClosed
            | Cause::ClientTruncated
            | Cause::ServerTruncated
            | Cause::TlsHandshakeFailed
            | Cause::TlsHandshakeTimeout
            | Cause::TlsBadRecord
            | Cause::TlsKeyUpdateUnsupported
            | Cause::TlsRecordLimit
            | Cause::ClientReset
            | Cause::ClientStalled
            | Cause::TunnelIdle
            | Cause::HalfCloseIdle
            | Cause::Drained
            | Cause::Killed
            | Cause::Served
            | Cause::Probe
            | Cause::ProxyHeaderTimeout
            | Cause::ProxyHeaderMissing
            | Cause::ProxyHeaderMalformed
            | Cause::UntrustedSource
            | Cause::KeepAliveTimeout
            | Cause::RequestIncomplete
            | Cause::Redirected
            | Cause::Responded => None,
        }
    }

    /// Appends our own answer to `out`: the listener's page for the status, or a text with the status and,
    /// if the client is at fault, the rule it broke.
    pub(super) fn write_answer(
        &self,
        status: u16,
        listener: &Listener,
        close: bool,
        to_head: bool,
        out: &mut Vec<u8>,
    ) {
        let text;
        let content = match listener.errors.of(status) {
            Some(page) => AnswerBody {
                media_type: page.media_type,
                bytes: &page.bytes,
            },
            None => {
                text = self.text(status);
                AnswerBody::text(&text)
            }
        };
        let answer = Own {
            status,
            content,
            extra_lines: self.extra_lines,
            strict_transport: listener.strict_transport(),
            close,
            to_head,
        };
        answer.write(out);
    }

    fn text(&self, status: u16) -> String {
        let mut text = format!("{status} {}\n", answer::reason(status));
        let clients_fault = status < 500 || self.cause == Cause::UnknownCoding;
        let detail = self.told.as_ref().unwrap_or(&self.detail);
        if clients_fault && !detail.is_empty() {
            text.push_str(detail);
            text.push('\n');
        }
        text
    }
}

impl From<http::HttpRefusal> for Refusal {
    fn from(refusal: http::HttpRefusal) -> Self {
        let cause = match refusal.kind() {
            RefusalKind::BadRequest => Cause::BadRequest,
            RefusalKind::BadUpgrade => Cause::BadUpgrade,
            RefusalKind::WebsocketVersion => Cause::WebsocketVersion,
            RefusalKind::UnknownCoding => Cause::UnknownCoding,
            RefusalKind::RequestLineTooLong => Cause::RequestLineTooLong,
            RefusalKind::RequestHeadTooLarge => Cause::RequestHeadTooLarge,
        };
        Self {
            extra_lines: refusal.extra_lines(),
            ..Self::new(cause, refusal.to_string())
        }
    }
}

impl From<http::BadResponse> for Refusal {
    fn from(bad: http::BadResponse) -> Self {
        Self::new(Cause::BadResponse, bad.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::REFUSAL_STATUSES;

    #[test]
    fn every_status_may_have_a_page() {
        let refused = Cause::ALL.iter().map(|cause| Refusal::new(*cause, ""));
        let statuses: BTreeSet<u16> = refused.filter_map(|refusal| refusal.status()).collect();
        assert_eq!(statuses, BTreeSet::from(REFUSAL_STATUSES));
    }
}
