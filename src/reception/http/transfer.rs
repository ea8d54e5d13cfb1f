//! Passes a request to the server and its answer to the client: heads are rewritten, bodies are passed on
//! as they arrive, each direction through one buffer.
//!
//! Both directions run at once, because a server may answer before it has read everything, and a client
//! may wait for a 100 (Continue) before it sends its body.

use std::cell::Cell;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

use super::super::arrival::Arrival;
use super::super::context::ThreadContext;
use super::super::head_reader::{HeadError, read_head};
use super::super::refusal::Refusal;
use super::super::socket::driver::until;
use super::super::socket::{Half, Socket};
use super::upload::{BUFFER_LEN_BYTES, Upload};
use crate::journal::Cause;
use crate::proto::Progress;
use crate::proto::http::forwarding::{Hop, Reader, response_head};
use crate::proto::http::framing::{Body, FramingError};
use crate::proto::http::head::{HeadLimits, HttpVersion, Request, Response, parse_response};
use crate::proto::http::refusal::{BadResponse, INTERIM_MAX};

/// Initial capacity of a head for the client.
const HEAD_LEN_BYTES: usize = 1024;

/// How a transfer succeeded.
pub(super) enum Transferred {
    /// The client was sent the complete answer.
    Complete {
        /// Whether the connection to the server may carry another request.
        server_stays: bool,
    },
    /// The server switched protocols, and the client was sent its 101.
    Upgraded {
        /// What the server sent behind its 101.
        to_client: Vec<u8>,
    },
}

/// One request and its answer.
pub(super) struct Transfer<'a> {
    client: &'a Socket,
    /// The value of Strict-Transport-Security, if the listener adds it.
    strict_transport: Option<&'a str>,
    request: &'a Request<'a>,
    arrival: &'a Arrival,
    context: &'a ThreadContext,
    upload: Upload<'a>,
    bytes_out: Cell<u64>,
    status: Cell<u16>,
    /// When the final answer began.
    answered: Cell<Option<Instant>>,
    /// Whether the client's connection stays open after this request.
    client_stays: Cell<bool>,
    /// Whether the client's connection and the server's belong together, because the server authenticates the
    /// connection: neither outlives the other.
    bound: Cell<bool>,
    /// Whether the server's connection may carry another request.
    reusable: Cell<bool>,
    /// Whether the server has sent anything.
    server_spoke: Cell<bool>,
    /// When a byte of a body last moved, in either direction.
    active: Cell<Instant>,
}

impl<'a> Transfer<'a> {
    /// Prepares the transfer of `request`, which came on `arrival`, with its body `upload`.
    #[must_use]
    pub(super) fn new(
        arrival: &'a Arrival,
        request: &'a Request<'a>,
        upload: Upload<'a>,
        context: &'a ThreadContext,
    ) -> Self {
        Self {
            client: &arrival.socket,
            strict_transport: arrival.listener().strict_transport(),
            request,
            arrival,
            context,
            upload,
            bytes_out: Cell::new(0),
            status: Cell::new(0),
            answered: Cell::new(None),
            client_stays: Cell::new(request.keep_alive),
            bound: Cell::new(false),
            reusable: Cell::new(false),
            server_spoke: Cell::new(false),
            active: Cell::new(Instant::now()),
        }
    }

    /// Returns the body of the request.
    #[must_use]
    pub(super) fn upload(&self) -> &Upload<'a> {
        &self.upload
    }

    /// Returns the body bytes received from the client and sent to it.
    #[must_use]
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.upload.bytes_in(), self.bytes_out.get())
    }

    /// Returns the status that the client was sent; 0 = none yet.
    #[must_use]
    pub(super) fn status(&self) -> u16 {
        self.status.get()
    }

    /// Tells whether a final answer to the client has begun.
    #[must_use]
    pub(super) fn is_answered(&self) -> bool {
        self.answered.get().is_some()
    }

    /// Returns when it began.
    #[must_use]
    pub(super) fn answered_at(&self) -> Option<Instant> {
        self.answered.get()
    }

    /// Decides, with the head of the final answer, whether the client's connection stays open after it.
    pub(super) fn settle_client(&self, may_stay: bool) -> bool {
        let stays = may_stay
            && self.client_stays.get()
            && self.upload.has_near_end()
            && !self.context.is_draining()
            && !self.arrival.is_last();
        self.client_stays.set(stays);
        stays
    }

    /// Reads the rest of the request and returns what came behind it; none = the client's connection is to
    /// be closed.
    pub(super) async fn finish(self) -> Option<Vec<u8>> {
        let goes_on = self.client_stays.get() && self.upload.discard().await;
        goes_on.then(|| self.upload.into_rest())
    }

    /// Returns what came behind a request without a body that became a tunnel.
    #[must_use]
    pub(super) fn into_early(self) -> Vec<u8> {
        self.upload.into_rest()
    }

    /// Notes whether the connection to the server may carry another request after this one.
    pub(super) fn expect_reuse(&self, reusable: bool) {
        self.reusable.set(reusable);
    }

    /// Binds the client's connection to the server's that it is about to use again.
    pub(super) fn bind(&self) {
        self.bound.set(true);
    }

    /// Tells whether the client's connection is bound to the server's, as far as is known.
    #[must_use]
    pub(super) fn is_bound(&self) -> bool {
        self.bound.get()
    }

    /// Tells whether `refusal` is the end of the server's connection before the server sent anything, or a TLS
    /// alert in place of its first byte.
    #[must_use]
    pub(super) fn is_unanswered(&self, refusal: &Refusal) -> bool {
        let closed = matches!(
            refusal.cause,
            Cause::ServerReset | Cause::ResponseIncomplete | Cause::ServerTlsFailed
        );
        closed && !self.server_spoke.get()
    }

    /// Tells whether a request that a connection left unanswered may be sent again: its method is
    /// idempotent (RFC 9110 9.2.2), and no part of a body was sent.
    #[must_use]
    pub(super) fn may_be_repeated(&self) -> bool {
        let idempotent = matches!(
            self.request.method,
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        );
        idempotent && self.upload.is_empty()
    }

    /// Sends an answer of our own.
    ///
    /// # Errors
    /// The client's connection broke, or the client did not read before `deadline`.
    pub(super) async fn send_own_answer(
        &self,
        status: u16,
        answer: &[u8],
        deadline: Instant,
    ) -> Result<(), Refusal> {
        self.begin_answer(status);
        match timeout_at(deadline, self.client.send_all(answer)).await {
            Ok(sent) => sent.map_err(Refusal::client_gone),
            Err(_) => Err(client_stalled()),
        }
    }

    /// Sends `head` (the request's head, what stands before it, and the part of the body that is there) and
    /// the rest of the body to the server, and the server's answer to the client. `silence` is how long
    /// either side may send nothing, and `half` what it means if the client ends its direction behind the
    /// request.
    ///
    /// # Errors
    /// The first failure, on either side; [`Transfer::is_answered`] tells whether an answer of our own is
    /// no longer possible.
    pub(super) async fn run(
        &self,
        server: &Socket,
        head: &[u8],
        limits: &HeadLimits,
        silence: Duration,
        half: Half,
    ) -> Result<Transferred, Refusal> {
        self.active.set(Instant::now());
        let upload = async {
            server.send_all(head).await.map_err(Refusal::server_gone)?;
            self.upload.send(server, silence, &self.active).await
        };
        let download = self.download(server, limits, silence);
        tokio::pin!(upload, download);
        tokio::select! {
            biased;
            sent = &mut upload => match sent {
                Ok(()) => {}
                // The server may have answered before it stopped reading.
                Err(refusal) if refusal.cause == Cause::ServerReset => {}
                Err(refusal) => return Err(refusal),
            },
            outcome = &mut download => return outcome,
            // The body is not sent yet, so only a reset counts.
            refusal = self.await_leaving(half) => return Err(refusal),
        }
        self.active.set(Instant::now());
        tokio::select! {
            biased;
            outcome = &mut download => outcome,
            refusal = self.await_leaving(half) => Err(refusal),
        }
    }

    /// Waits until the client no longer waits for its answer.
    async fn await_leaving(&self, half: Half) -> Refusal {
        let left = match self.upload.is_sent() {
            true => self.client.leaving(half).await,
            // Its end means nothing behind the rest of a body.
            false => self.client.breaking().await,
        };
        let detail = match self.is_answered() {
            true => "the client closed its connection before its answer was complete",
            false => "the client closed its connection before its answer began",
        };
        Refusal::client_left(left, detail)
    }

    /// Passes on interim answers, then the head and the body of the final answer.
    async fn download(
        &self,
        server: &Socket,
        limits: &HeadLimits,
        silence: Duration,
    ) -> Result<Transferred, Refusal> {
        let mut inbox = Vec::new();
        // An interim answer whose fields announce a body may be followed by one.
        let mut server_stays = true;
        for _ in 0..=INTERIM_MAX {
            self.read_response(server, &mut inbox, limits, silence)
                .await?;
            let parsed = parse_response(&inbox, self.request.method, limits)?;
            let Progress::Complete {
                value: response,
                used,
            } = parsed
            else {
                return Err(Refusal::new(
                    Cause::BadResponse,
                    "the answer's head has no end",
                ));
            };
            let rest = inbox.get(used..).unwrap_or_default();
            if response.status == 101 {
                return self.upgrade(&response, rest, silence).await;
            }
            if !response.is_interim() {
                server_stays &= response.keep_alive;
                return self
                    .pass_answer(server, &response, rest, server_stays, limits, silence)
                    .await;
            }
            server_stays &= response.keep_alive;
            // HTTP/1.0 knows no answer before the answer (RFC 9110 15.2).
            if self.request.version == HttpVersion::Http11 {
                if response.status == 100 {
                    self.upload.note_continue();
                }
                let mut out = Vec::new();
                response_head(&response, self.reader(Hop::KeepAlive), &mut out);
                self.send_to_client(&out, silence).await?;
            }
            inbox.drain(..used);
        }
        Err(BadResponse::TooManyInterim.into())
    }

    /// Reads a head from the server; a body that still goes up renews its patience.
    async fn read_response(
        &self,
        server: &Socket,
        inbox: &mut Vec<u8>,
        limits: &HeadLimits,
        silence: Duration,
    ) -> Result<(), Refusal> {
        let method = self.request.method;
        let check = |inbox: &[u8]| Ok(parse_response(inbox, method, limits).map(drop)?);
        let read = {
            let reading = async {
                if inbox.is_empty() {
                    // The server has only just been asked.
                    server.await_bytes().await.map_err(HeadError::Failed)?;
                }
                read_head(server, inbox, limits.head, check).await
            };
            tokio::pin!(reading);
            loop {
                let deadline = self.active.get() + silence;
                match until(deadline, &mut reading).await {
                    Ok(read) => break Some(read),
                    Err(_) if self.active.get() + silence > Instant::now() => {}
                    Err(_) => break None,
                }
            }
        };
        if !inbox.is_empty() {
            self.server_spoke.set(true);
        }
        match read {
            Some(Ok(())) => Ok(()),
            Some(Err(HeadError::Refused(refusal))) => Err(refusal),
            Some(Err(HeadError::Closed)) => Err(Refusal::new(
                Cause::ResponseIncomplete,
                "the server closed before its answer was complete",
            )),
            Some(Err(HeadError::Failed(error))) => Err(Refusal::server_gone(error)),
            None => Err(Refusal::new(Cause::ResponseTimeout, "no answer in time")),
        }
    }

    async fn upgrade(
        &self,
        response: &Response<'_>,
        rest: &[u8],
        silence: Duration,
    ) -> Result<Transferred, Refusal> {
        let accepted = self
            .request
            .websocket_key
            .is_some_and(|key| response.accepts(key));
        if !accepted {
            let rule = if self.request.websocket_key.is_some() {
                "the 101 does not accept this WebSocket key"
            } else {
                "a 101 without an upgrade request"
            };
            return Err(Refusal::new(Cause::BadResponse, rule));
        }
        let mut out = Vec::new();
        response_head(response, self.reader(Hop::Upgrade), &mut out);
        self.begin_answer(response.status);
        self.send_to_client(&out, silence).await?;
        Ok(Transferred::Upgraded {
            to_client: rest.to_vec(),
        })
    }

    async fn pass_answer(
        &self,
        server: &Socket,
        response: &Response<'_>,
        rest: &[u8],
        mut server_stays: bool,
        limits: &HeadLimits,
        silence: Duration,
    ) -> Result<Transferred, Refusal> {
        if self.reusable.get()
            && (response.authenticates_connection() || self.request.authenticates_connection())
        {
            self.bind();
        }
        let client = self.request.version;
        // A reload may have taken `keep_alive` from its backend since it was bound.
        let outlived = self.is_bound() && !(server_stays && self.reusable.get());
        let hop = match self.settle_client(!response.ends_with_connection(client) && !outlived) {
            true => Hop::KeepAlive,
            false => Hop::Close,
        };
        let mut out = Vec::with_capacity(rest.len() + HEAD_LEN_BYTES);
        response_head(response, self.reader(hop), &mut out);
        let head_len = out.len();
        out.extend_from_slice(rest);
        let form = Response::form_for(client);
        let mut body = Body::of_response(response.framing, form, limits);
        let part = out.get_mut(head_len..).unwrap_or_default();
        let mut advance = body.advance(part).map_err(bad_body)?;
        server_stays &= advance.used == rest.len();
        out.truncate(head_len + advance.passed);
        self.begin_answer(response.status);
        self.send_to_client(&out, silence).await?;
        count(&self.bytes_out, advance.passed);
        drop(out);
        let mut buffer = Vec::new();
        while !body.is_done() {
            consume_budget().await;
            let received = self.recv_body(server, &mut buffer, silence).await?;
            if received == 0 && body.may_end() {
                if server.is_truncated() {
                    // Only close_notify marks the end of such a body (RFC 9112 section 9.8).
                    return Err(Refusal::new(
                        Cause::ServerTruncated,
                        "the server closed without close_notify behind a body of unknown length",
                    ));
                }
                break;
            }
            if received == 0 {
                return Err(Refusal::new(
                    Cause::ResponseIncomplete,
                    "the server closed in the middle of the body",
                ));
            }
            // `received` is at most the length of the buffer.
            let received = buffer.get_mut(..received).unwrap_or_default();
            advance = body.advance(received).map_err(bad_body)?;
            // Bytes behind the end answer no request.
            server_stays &= advance.used == received.len();
            let part = received.get(..advance.passed).unwrap_or_default();
            self.send_to_client(part, silence).await?;
            count(&self.bytes_out, advance.passed);
        }
        server_stays &= self.upload.is_sent();
        Ok(Transferred::Complete { server_stays })
    }

    async fn recv_body(
        &self,
        server: &Socket,
        buffer: &mut Vec<u8>,
        silence: Duration,
    ) -> Result<usize, Refusal> {
        let receiving = server.recv_over(buffer, BUFFER_LEN_BYTES);
        match until(Instant::now() + silence, receiving).await {
            Ok(received) => received.map_err(Refusal::server_gone),
            Err(_) => Err(Refusal::new(
                Cause::ResponseTimeout,
                "the answer stopped coming",
            )),
        }
    }

    /// Describes the reader of an answer. `connection` is what the answer says about the connection.
    fn reader(&self, connection: Hop) -> Reader<'a> {
        Reader {
            version: self.request.version,
            connection,
            strict_transport: self.strict_transport,
        }
    }

    fn begin_answer(&self, status: u16) {
        self.status.set(status);
        self.answered.set(Some(Instant::now()));
    }

    async fn send_to_client(&self, data: &[u8], silence: Duration) -> Result<(), Refusal> {
        self.active.set(Instant::now());
        let sent = timeout_at(Instant::now() + silence, self.client.send_all(data)).await;
        sent.map_or_else(
            |_| Err(client_stalled()),
            |sent| sent.map_err(Refusal::client_gone),
        )
    }
}

fn count(counter: &Cell<u64>, more: usize) {
    counter.set(counter.get() + more as u64);
}

fn client_stalled() -> Refusal {
    Refusal::new(Cause::ClientStalled, "the client does not read")
}

fn bad_body(error: FramingError) -> Refusal {
    Refusal::new(Cause::BadResponse, error.to_string())
}
