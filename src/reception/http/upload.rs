//! The body of a request on its way from the client: where it ends, how long it may be, and what came
//! behind it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

use super::super::refusal::Refusal;
use super::super::socket::Socket;
use super::super::socket::driver::until;
use crate::config::Limits;
use crate::journal::Cause;
use crate::proto::http::framing::{Advance, Body, Framing};
use crate::proto::http::head::{HeadLimits, Request};

/// Bytes that one direction holds at most.
pub(super) const BUFFER_LEN_BYTES: usize = 32 * 1024;
/// Maximum bytes of an unwanted body that are read so that the connection can stay open. Reading more
/// would cost more than a new connection.
const UNWANTED_LEN_BYTES_MAX: u64 = 64 * 1024;
/// How long reading them may take.
const UNWANTED_TIME: Duration = Duration::from_secs(2);

/// The body of one request.
pub(super) struct Upload<'a> {
    client: &'a Socket,
    framing: Framing,
    len_max: Option<u64>,
    progress: RefCell<UploadProgress>,
    /// What came behind the request's head and was not parsed yet.
    early: Cell<&'a [u8]>,
    /// What of it is to be sent and was not sent yet.
    ready: Cell<Vec<u8>>,
    /// Whether the client waits for a 100 (Continue).
    awaits_continue: Cell<bool>,
    bytes_in: Cell<u64>,
    /// Whether the server was sent the whole body.
    sent: Cell<bool>,
}

/// How far the body has come.
struct UploadProgress {
    body: Body,
    content: u64,
    /// What came behind the body: the requests that follow.
    rest: Vec<u8>,
}

impl<'a> Upload<'a> {
    /// Prepares the body of `request`. `early` is what came behind its head already.
    #[must_use]
    pub(super) fn new(
        client: &'a Socket,
        request: &Request<'_>,
        early: &'a [u8],
        limits: &Limits,
        head_limits: &HeadLimits,
    ) -> Self {
        let body = Body::of_request(request.framing, head_limits);
        let awaits_continue = request.expects_continue && !body.is_done();
        Self {
            client,
            framing: request.framing,
            len_max: limits.max_body,
            progress: RefCell::new(UploadProgress {
                body,
                content: 0,
                rest: Vec::new(),
            }),
            early: Cell::new(early),
            ready: Cell::default(),
            awaits_continue: Cell::new(awaits_continue),
            bytes_in: Cell::new(0),
            sent: Cell::new(false),
        }
    }

    /// Returns the body bytes received.
    #[must_use]
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in.get()
    }

    /// Tells whether the request has no body.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.framing, Framing::None | Framing::Length(0))
    }

    /// Tells whether the server was sent the whole body.
    #[must_use]
    pub(super) fn is_sent(&self) -> bool {
        self.sent.get()
    }

    /// Notes that the client was sent its 100 (Continue).
    pub(super) fn note_continue(&self) {
        self.awaits_continue.set(false);
    }

    /// Tells whether the end of the request was read, or is near enough to be read, so that another request
    /// may follow.
    ///
    /// A client that waits for a 100 and gets a final answer instead may send its body or leave it out
    /// (RFC 9110 10.1.1), so the meaning of its next bytes is unknown.
    #[must_use]
    pub(super) fn has_near_end(&self) -> bool {
        match self.progress.borrow().body.left() {
            Some(0) => true,
            Some(left) => left <= UNWANTED_LEN_BYTES_MAX && !self.awaits_continue.get(),
            None => false,
        }
    }

    /// Examines what has come already, so that a request that is malformed or too long in that part does
    /// not reach a server.
    ///
    /// # Errors
    /// [`Cause::BodyTooLarge`], or [`Cause::BadRequest`] for chunks that break a rule.
    pub(super) fn begin(&self) -> Result<(), Refusal> {
        if let Framing::Length(len) = self.framing {
            self.check_content(len)?;
        }
        let part = self.take_early()?;
        self.check_content(self.progress.borrow().content)?;
        // On a second call nothing is new.
        if !part.is_empty() {
            self.ready.set(part);
        }
        Ok(())
    }

    /// Returns the part of the body that [`Upload::begin`] found, once. It is sent first.
    #[must_use]
    pub(super) fn ready(&self) -> Vec<u8> {
        self.ready.take()
    }

    fn check_content(&self, len: u64) -> Result<(), Refusal> {
        match self.len_max {
            Some(max) if len > max => Err(Refusal::new(
                Cause::BodyTooLarge,
                format!("the body is longer than {max} bytes"),
            )
            .explained(format!(
                "the body has more than {max} bytes, the limit that max_body in [listener.limits] sets"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Sends the rest of the body to `server`, and notes in `active` when a part of it moved. `silence` is
    /// how long the client may send nothing.
    ///
    /// # Errors
    /// The failure, on either side.
    pub(super) async fn send(
        &self,
        server: &Socket,
        silence: Duration,
        active: &Cell<Instant>,
    ) -> Result<(), Refusal> {
        let mut buffer = Vec::new();
        while !self.progress.borrow().body.is_done() {
            consume_budget().await;
            active.set(Instant::now());
            let deadline = Instant::now() + silence;
            let receiving = self.client.recv_over(&mut buffer, BUFFER_LEN_BYTES);
            let received = match until(deadline, receiving).await {
                Ok(Ok(0)) => {
                    return Err(Refusal::new(
                        Cause::RequestIncomplete,
                        "the client closed in the middle of the body",
                    ));
                }
                Ok(received) => received.map_err(Refusal::client_gone)?,
                Err(_) => return Err(Refusal::new(Cause::BodyTimeout, "the body stopped coming")),
            };
            // `received` is at most the length of the buffer.
            let passed = self
                .take(buffer.get_mut(..received).unwrap_or_default())?
                .passed;
            self.check_content(self.progress.borrow().content)?;
            let part = buffer.get(..passed).unwrap_or_default();
            server.send_all(part).await.map_err(Refusal::server_gone)?;
        }
        self.sent.set(true);
        Ok(())
    }

    /// Reads the rest of the body and drops it; true = its end was reached.
    pub(super) async fn discard(&self) -> bool {
        let mut discarded = 0;
        let deadline = Instant::now() + UNWANTED_TIME;
        let mut buffer = self.early.take().to_vec();
        let mut taken = self.take(&mut buffer);
        while let Ok(advance) = taken {
            discarded += advance.used as u64;
            if self.progress.borrow().body.is_done() {
                return true;
            }
            if discarded > UNWANTED_LEN_BYTES_MAX {
                return false;
            }
            buffer.clear();
            let receiving = self.client.recv_onto(&mut buffer, BUFFER_LEN_BYTES);
            let Ok(Ok(1..)) = timeout_at(deadline, receiving).await else {
                return false;
            };
            taken = self.take(&mut buffer);
        }
        false
    }

    /// Reads what came with the head, once, and returns what is to be sent of it.
    fn take_early(&self) -> Result<Vec<u8>, Refusal> {
        let mut early = self.early.take().to_vec();
        let passed = self.take(&mut early)?.passed;
        early.truncate(passed);
        Ok(early)
    }

    /// Moves what is to be sent of `input` to its start, and keeps what follows the body.
    fn take(&self, input: &mut [u8]) -> Result<Advance, Refusal> {
        let mut progress = self.progress.borrow_mut();
        let advance = progress
            .body
            .advance(input)
            .map_err(|error| Refusal::new(Cause::BadRequest, error.to_string()))?;
        progress.content += advance.content;
        if advance.used > 0 {
            self.awaits_continue.set(false);
        }
        // `used` is at most the length of `input`.
        let rest = input.get(advance.used..).unwrap_or_default();
        if !rest.is_empty() {
            progress.rest = rest.to_vec();
        }
        self.bytes_in.set(self.bytes_in.get() + advance.used as u64);
        Ok(advance)
    }

    /// Returns what came behind the request. Its end must have been reached.
    #[must_use]
    pub(super) fn into_rest(self) -> Vec<u8> {
        debug_assert!(self.progress.borrow().body.is_done(), "the request is over");
        let mut rest = self.progress.into_inner().rest;
        rest.extend_from_slice(self.early.get());
        rest
    }
}
