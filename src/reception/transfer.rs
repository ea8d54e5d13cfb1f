//! A request and its answer crossing between client and server: heads rewritten, bodies passed on
//! as they come, each direction through one buffer.
//!
//! Both directions run at once, because a server may answer before it has read everything, and a
//! client may wait for a 100 (Continue) before it sends.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::head_reader::{HeadError, read_head};
use super::refusal::Refusal;
use super::socket::Socket;
use crate::config::Limits;
use crate::journal::Cause;
use crate::proto::Progress;
use crate::proto::http::forwarding::{Hop, response_head};
use crate::proto::http::framing::{Body, Framing, FramingError};
use crate::proto::http::head::{HeadLimits, Request, Response, Version, parse_response};

/// Bytes that one direction holds at most.
const BUFFER_LEN_BYTES: usize = 16 * 1024;
/// Bytes that a head for the client has room for at first.
const HEAD_LEN_BYTES: usize = 1024;
/// Answers before the answer (100, 103) that one request may get.
const INTERIM_MAX: usize = 16;

/// How a transfer ended well.
pub(super) enum Outcome {
    /// The answer reached the client whole.
    Complete,
    /// The server switched protocols, and the client has its 101.
    Upgraded {
        /// What the server sent behind its 101.
        to_client: Vec<u8>,
    },
}

/// One request and its answer.
pub(super) struct Transfer<'a> {
    client: &'a Socket,
    request: &'a Request<'a>,
    /// What came behind the request's head.
    early: &'a [u8],
    body_len_max: Option<u64>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    status: Cell<u16>,
    answered: Cell<bool>,
    /// When a byte of a body last moved, either way.
    active: Cell<Instant>,
}

impl<'a> Transfer<'a> {
    /// Prepares the transfer of `request`, which `early` bytes have followed already.
    #[must_use]
    pub(super) fn new(
        client: &'a Socket,
        request: &'a Request<'a>,
        early: &'a [u8],
        limits: &Limits,
    ) -> Self {
        Self {
            client,
            request,
            early,
            body_len_max: limits.max_body,
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            status: Cell::new(0),
            answered: Cell::new(false),
            active: Cell::new(Instant::now()),
        }
    }

    /// Returns the bytes of body received from the client and sent to it.
    #[must_use]
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.get(), self.bytes_out.get())
    }

    /// Returns the status the client got, 0 before it got one.
    #[must_use]
    pub(super) fn status(&self) -> u16 {
        self.status.get()
    }

    /// Returns whether the client has seen the start of a final answer.
    #[must_use]
    pub(super) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// Checks an announced length against `max_body`.
    ///
    /// # Errors
    /// [`Cause::BodyTooLarge`].
    pub(super) fn check_length(&self) -> Result<(), Refusal> {
        match self.request.framing {
            Framing::Length(len) => self.check_body(len),
            Framing::None | Framing::Chunked | Framing::UntilClose => Ok(()),
        }
    }

    fn check_body(&self, len: u64) -> Result<(), Refusal> {
        match self.body_len_max {
            Some(max) if len > max => Err(Refusal::new(
                Cause::BodyTooLarge,
                format!("the body is longer than {max} bytes"),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Sends an answer of our own.
    ///
    /// # Errors
    /// The client is gone, or does not read before `deadline`.
    pub(super) async fn send_own_answer(
        &self,
        answer: &[u8],
        deadline: Instant,
    ) -> Result<(), Refusal> {
        self.answered.set(true);
        match timeout_at(deadline, self.client.send_all(answer)).await {
            Ok(sent) => sent.map_err(client_gone),
            Err(_) => Err(Refusal::new(
                Cause::ClientStalled,
                "the client does not read",
            )),
        }
    }

    /// Sends `head` (with what stands before it) and the request's body to the server, and the
    /// server's answer to the client. `silence` is how long both sides may let us wait.
    ///
    /// # Errors
    /// What went wrong first, and on which side; [`Transfer::is_answered`] tells whether an answer
    /// of our own is still possible.
    pub(super) async fn run(
        &self,
        server: &Socket,
        head: &[u8],
        limits: &HeadLimits,
        silence: Duration,
    ) -> Result<Outcome, Refusal> {
        self.active.set(Instant::now());
        let upload = self.upload(server, head, limits, silence);
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
        }
        self.active.set(Instant::now());
        download.await
    }

    /// Sends the request.
    async fn upload(
        &self,
        server: &Socket,
        head: &[u8],
        limits: &HeadLimits,
        silence: Duration,
    ) -> Result<(), Refusal> {
        server.send_all(head).await.map_err(server_gone)?;
        if self.request.websocket_key.is_some() {
            return Ok(());
        }
        let mut body = Body::new(self.request.framing, limits);
        let mut content = 0;
        let mut buffer = Vec::new();
        let mut chunk = self.early;
        loop {
            let advance = body
                .advance(chunk)
                .map_err(|error| Refusal::new(Cause::BadRequest, error.to_string()))?;
            content += advance.content;
            self.check_body(content)?;
            let part = chunk.get(..advance.used).unwrap_or_default();
            server.send_all(part).await.map_err(server_gone)?;
            count(&self.bytes_in, advance.used);
            if advance.done {
                return Ok(());
            }
            self.active.set(Instant::now());
            buffer.resize(BUFFER_LEN_BYTES, 0);
            let received = match timeout_at(Instant::now() + silence, self.client.recv(&mut buffer))
                .await
            {
                Ok(Ok(0)) => {
                    return Err(Refusal::new(
                        Cause::RequestIncomplete,
                        "the client closed in the middle of the body",
                    ));
                }
                Ok(received) => received.map_err(client_gone)?,
                Err(_) => return Err(Refusal::new(Cause::BodyTimeout, "the body stopped coming")),
            };
            chunk = buffer.get(..received).unwrap_or_default();
        }
    }

    /// Passes on the answers before the answer, the answer's head, and its body.
    async fn download(
        &self,
        server: &Socket,
        limits: &HeadLimits,
        silence: Duration,
    ) -> Result<Outcome, Refusal> {
        let mut inbox = Vec::new();
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
                return self
                    .pass_answer(server, &response, rest, limits, silence)
                    .await;
            }
            // HTTP/1.0 knows no answer before the answer (RFC 9110 15.2).
            if self.request.version == Version::Http11 {
                let mut out = Vec::new();
                response_head(&response, self.request.version, Hop::Close, &mut out);
                self.send_to_client(&out, silence).await?;
            }
            inbox.drain(..used);
        }
        Err(Refusal::new(
            Cause::BadResponse,
            "too many answers before the answer",
        ))
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
        let reading = read_head(server, inbox, limits.head, check);
        tokio::pin!(reading);
        loop {
            let deadline = self.active.get() + silence;
            match timeout_at(deadline, &mut reading).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(HeadError::Refused(refusal))) => return Err(refusal),
                Ok(Err(HeadError::Closed)) => {
                    return Err(Refusal::new(
                        Cause::ResponseIncomplete,
                        "the server closed before its answer was complete",
                    ));
                }
                Ok(Err(HeadError::Failed(error))) => return Err(server_gone(error)),
                Err(_) if self.active.get() + silence > Instant::now() => {}
                Err(_) => {
                    return Err(Refusal::new(Cause::ResponseTimeout, "no answer in time"));
                }
            }
        }
    }

    async fn upgrade(
        &self,
        response: &Response<'_>,
        rest: &[u8],
        silence: Duration,
    ) -> Result<Outcome, Refusal> {
        let accepted = self
            .request
            .websocket_key
            .is_some_and(|key| response.accepts(key));
        if !accepted {
            let rule = if self.request.websocket_key.is_some() {
                "the 101 does not accept this WebSocket key"
            } else {
                "a 101 that nobody asked for"
            };
            return Err(Refusal::new(Cause::BadResponse, rule));
        }
        let mut out = Vec::new();
        response_head(response, self.request.version, Hop::Upgrade, &mut out);
        self.begin_answer(response.status);
        self.send_to_client(&out, silence).await?;
        Ok(Outcome::Upgraded {
            to_client: rest.to_vec(),
        })
    }

    async fn pass_answer(
        &self,
        server: &Socket,
        response: &Response<'_>,
        rest: &[u8],
        limits: &HeadLimits,
        silence: Duration,
    ) -> Result<Outcome, Refusal> {
        if !response.is_readable_by(self.request.version) {
            return Err(Refusal::new(
                Cause::BadResponse,
                "chunks for an HTTP/1.0 client",
            ));
        }
        let mut body = Body::new(response.framing, limits);
        let mut out = Vec::with_capacity(rest.len() + HEAD_LEN_BYTES);
        response_head(response, self.request.version, Hop::Close, &mut out);
        let mut advance = body.advance(rest).map_err(bad_body)?;
        out.extend_from_slice(rest.get(..advance.used).unwrap_or_default());
        self.begin_answer(response.status);
        self.send_to_client(&out, silence).await?;
        count(&self.bytes_out, advance.used);
        let mut buffer = Vec::new();
        while !advance.done {
            buffer.resize(BUFFER_LEN_BYTES, 0);
            let received =
                match timeout_at(Instant::now() + silence, server.recv(&mut buffer)).await {
                    Ok(received) => received.map_err(server_gone)?,
                    Err(_) => {
                        return Err(Refusal::new(
                            Cause::ResponseTimeout,
                            "the answer stopped coming",
                        ));
                    }
                };
            if received == 0 && body.may_end() {
                break;
            }
            if received == 0 {
                return Err(Refusal::new(
                    Cause::ResponseIncomplete,
                    "the server closed in the middle of the body",
                ));
            }
            let chunk = buffer.get(..received).unwrap_or_default();
            advance = body.advance(chunk).map_err(bad_body)?;
            let part = chunk.get(..advance.used).unwrap_or_default();
            self.send_to_client(part, silence).await?;
            count(&self.bytes_out, advance.used);
        }
        Ok(Outcome::Complete)
    }

    fn begin_answer(&self, status: u16) {
        self.status.set(status);
        self.answered.set(true);
    }

    async fn send_to_client(&self, data: &[u8], silence: Duration) -> Result<(), Refusal> {
        self.active.set(Instant::now());
        let sent = timeout_at(Instant::now() + silence, self.client.send_all(data)).await;
        sent.map_or_else(
            |_| {
                Err(Refusal::new(
                    Cause::ClientStalled,
                    "the client does not read",
                ))
            },
            |sent| sent.map_err(client_gone),
        )
    }
}

fn count(counter: &Cell<u64>, more: usize) {
    counter.set(counter.get() + more as u64);
}

fn client_gone(error: io::Error) -> Refusal {
    Refusal::new(Cause::ClientReset, error.to_string())
}

fn server_gone(error: io::Error) -> Refusal {
    Refusal::new(Cause::ServerReset, error.to_string())
}

fn bad_body(error: FramingError) -> Refusal {
    Refusal::new(Cause::BadResponse, error.to_string())
}
