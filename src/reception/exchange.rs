//! `http` mode: one request, routed and answered, or turned into a tunnel.

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::arrival::{Arrival, refuse};
use super::head_reader::{HeadError, read_head};
use super::passage::{tunnel_timeouts, upstream};
use super::proxy_header::Origin;
use super::refusal::Refusal;
use super::route::{self, Traits};
use super::socket::Socket;
use super::thread::Local;
use super::transfer::{Outcome, Transfer};
use super::upstream::introduce;
use crate::config::{Action, Limits, Redirect, Respond};
use crate::journal::{Cause, Entry, RequestFacts, Subject, clipped};
use crate::proto::Progress;
use crate::proto::http::Scheme;
use crate::proto::http::answer;
use crate::proto::http::forwarding::{
    ForwardingFacts, Hop, Speaker, client_of, port_of, request_head, scheme_of,
};
use crate::proto::http::head::{HeadLimits, Request, parse_request};
use crate::relay::{Lease, Start};

/// Bytes that a head for a server has room for at first.
const HEAD_LEN_BYTES: usize = 2048;
/// Bytes of a target or a header value that the log keeps.
const LOGGED_LEN_BYTES: usize = 1024;

/// Serves the one request of a connection.
pub(super) async fn serve(arrival: Arrival, origin: Origin, mut inbox: Vec<u8>, local: Rc<Local>) {
    let limits = head_limits(&arrival.listener.limits);
    let deadline = Instant::now() + arrival.listener.timeouts.request_header;
    let reading = read_request(&arrival.socket, &mut inbox, &limits);
    let read = match timeout_at(deadline, reading).await {
        Ok(read) => read,
        Err(_) if inbox.is_empty() => Err(Refusal::new(Cause::Probe, "")),
        Err(_) => Err(Refusal::new(
            Cause::RequestHeaderTimeout,
            "the request head is too late",
        )),
    };
    let parsed = read.and_then(|()| match parse_request(&inbox, &limits)? {
        Progress::Complete { value, used } => Ok((value, used)),
        Progress::Partial => Err(Refusal::new(
            Cause::BadRequest,
            "the request head has no end",
        )),
    });
    let (request, used) = match parsed {
        Ok(parsed) => parsed,
        Err(refusal) => {
            let subject = arrival.subject(origin.speaker);
            return deny(arrival, Denied::unread(subject, refusal), &local).await;
        }
    };
    let early = inbox.get(used..).unwrap_or_default();
    let mut exchange = Exchange::new(&arrival, &origin, &local, &request, early);
    let ended = exchange.conduct(&limits).await;
    let Exchange {
        subject,
        transfer,
        status,
        ..
    } = exchange;
    let bytes = transfer.bytes();
    let answered = transfer.is_answered();
    let facts = |status| request_facts(&request, status);
    let written = |cause, status| Entry::Request {
        subject: subject.clone(),
        request: facts(status),
        cause,
        bytes_in: bytes.0,
        bytes_out: bytes.1,
        lasted: arrival.accepted.elapsed(),
    };
    match ended {
        Ok(Ended::Answered(cause)) => {
            local.journal.write(written(cause, status));
            arrival.socket.close_gently().await;
        }
        Ok(Ended::Tunnel {
            server,
            to_client,
            timeouts,
        }) => {
            local.journal.write(Entry::Open {
                subject: subject.clone(),
                request: Some(facts(101)),
            });
            local.hand_over(Start {
                client: arrival.socket.into_fd(),
                server: server.into_fd(),
                to_server: early.to_vec(),
                to_client,
                timeouts,
                subject,
                lease: Lease(Box::new(arrival.place)),
            });
        }
        Err(refusal) if answered => {
            // What the client got is not whole, and it must not take it for whole.
            local.journal.write(written(refusal.cause, status));
            arrival.socket.reset();
        }
        Err(refusal) => {
            let to_head = request.method == "HEAD";
            let request = Some(facts(refusal.status().unwrap_or(0)));
            deny(
                arrival,
                Denied {
                    subject,
                    refusal,
                    request,
                    to_head,
                },
                &local,
            )
            .await;
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
        Err(HeadError::Failed(error)) => Err(Refusal::new(Cause::ClientReset, error.to_string())),
    }
}

/// A refusal on its way to the client and into the log.
struct Denied {
    subject: Box<Subject>,
    refusal: Refusal,
    request: Option<Box<RequestFacts>>,
    to_head: bool,
}

impl Denied {
    fn unread(subject: Box<Subject>, refusal: Refusal) -> Self {
        Self {
            subject,
            refusal,
            request: None,
            to_head: false,
        }
    }
}

/// Answers with a refusal, as far as it has a status, and writes it down.
async fn deny(arrival: Arrival, denied: Denied, local: &Local) {
    let Denied {
        subject,
        refusal,
        request,
        to_head,
    } = denied;
    let Some(status) = refusal.status() else {
        return refuse(&arrival, subject, refusal, request, local);
    };
    let mut out = Vec::new();
    refusal.write_answer(status, to_head, &mut out);
    refuse(&arrival, subject, refusal, request, local);
    let deadline = Instant::now() + arrival.listener.timeouts.request_header;
    if let Ok(Ok(())) = timeout_at(deadline, arrival.socket.send_all(&out)).await {
        arrival.socket.close_gently().await;
    }
}

/// How an exchange ended well.
enum Ended {
    /// The client has an answer, the server's or our own.
    Answered(Cause),
    /// The server agreed to the upgrade, and the client knows.
    Tunnel {
        server: Socket,
        to_client: Vec<u8>,
        timeouts: crate::relay::Timeouts,
    },
}

/// One request on its way.
struct Exchange<'a> {
    arrival: &'a Arrival,
    origin: &'a Origin,
    local: &'a Local,
    request: &'a Request<'a>,
    facts: ForwardingFacts,
    subject: Box<Subject>,
    transfer: Transfer<'a>,
    status: u16,
}

impl<'a> Exchange<'a> {
    fn new(
        arrival: &'a Arrival,
        origin: &'a Origin,
        local: &'a Local,
        request: &'a Request<'a>,
        early: &'a [u8],
    ) -> Self {
        let facts = forwarding_facts(arrival, origin, request);
        Self {
            arrival,
            origin,
            local,
            request,
            facts,
            subject: arrival.subject(facts.client),
            transfer: Transfer::new(&arrival.socket, request, early, &arrival.listener.limits),
            status: 0,
        }
    }

    async fn conduct(&mut self, limits: &HeadLimits) -> Result<Ended, Refusal> {
        let traits = Traits {
            client: self.facts.client,
            host: Some(&self.request.host),
            server_name: None,
            path: Some(&self.request.path),
            websocket: Some(self.request.websocket_key.is_some()),
            scheme: Some(self.facts.scheme),
        };
        match route::choose(&self.arrival.listener, &traits) {
            None => Err(Refusal::new(Cause::NoRoute, "no route fits this request")),
            Some(Action::Redirect(redirect)) => self.redirect(redirect).await,
            Some(Action::Respond(respond)) => self.respond(respond).await,
            Some(Action::Backend(id)) => self.forward(id.0, limits).await,
        }
    }

    async fn redirect(&mut self, redirect: &Redirect) -> Result<Ended, Refusal> {
        let scheme = redirect.scheme.unwrap_or(self.facts.scheme);
        let place = answer::location(
            self.request,
            scheme,
            redirect.host.as_deref(),
            redirect.port,
        )
        .ok_or_else(|| Refusal::new(Cause::BadRequest, "a redirect needs a Host"))?;
        let body = format!("{place}\n");
        let extra_lines = [("Location", place.as_str())];
        self.answer(redirect.status, &body, &extra_lines).await?;
        Ok(Ended::Answered(Cause::Redirected))
    }

    async fn respond(&mut self, respond: &Respond) -> Result<Ended, Refusal> {
        self.answer(respond.status, &respond.body, &[]).await?;
        Ok(Ended::Answered(Cause::Responded))
    }

    async fn answer(
        &mut self,
        status: u16,
        body: &str,
        extra_lines: &[(&str, &str)],
    ) -> Result<(), Refusal> {
        let to_head = self.request.method == "HEAD";
        let mut out = Vec::new();
        answer::own(status, body, extra_lines, true, to_head, &mut out);
        self.status = status;
        let deadline = Instant::now() + self.arrival.listener.timeouts.request_header;
        self.transfer.send_own_answer(&out, deadline).await
    }

    async fn forward(&mut self, id: usize, limits: &HeadLimits) -> Result<Ended, Refusal> {
        let upstream = upstream(self.local, id)?;
        self.subject.backend = Some(Arc::clone(&upstream.backend.name));
        self.transfer.check_length()?;
        let (server, config) = upstream
            .connect(self.facts.client, self.local.driver)
            .await?;
        self.subject.server = Some(Arc::clone(&config.name));
        let upgrade = self.request.websocket_key.is_some();
        let mut out = Vec::with_capacity(HEAD_LEN_BYTES);
        introduce(
            config,
            self.facts.client,
            self.origin,
            &self.arrival.socket,
            &mut out,
        );
        let hop = if upgrade { Hop::Upgrade } else { Hop::Close };
        request_head(self.request, &self.facts, hop, &mut out);
        let silence = upstream.backend.timeouts.response;
        let outcome = self.transfer.run(&server, &out, limits, silence).await;
        self.status = self.transfer.status();
        match outcome? {
            Outcome::Complete => Ok(Ended::Answered(Cause::Served)),
            Outcome::Upgraded { to_client } => Ok(Ended::Tunnel {
                server,
                to_client,
                timeouts: tunnel_timeouts(upstream),
            }),
        }
    }
}

fn forwarding_facts(arrival: &Arrival, origin: &Origin, request: &Request<'_>) -> ForwardingFacts {
    let trusted_proxies = &arrival.listener.trusted_proxies;
    let trusted = trusted_proxies.contains(origin.speaker);
    let speaker = Speaker {
        peer: origin.speaker,
        trusted,
    };
    let known = origin.tlvs.ssl.as_ref().map(|ssl| {
        if ssl.over_tls {
            Scheme::Https
        } else {
            Scheme::Http
        }
    });
    let destination_port = origin.destination.map(|destination| destination.port());
    let scheme = scheme_of(request, trusted, known, destination_port);
    let listener_port = || {
        arrival
            .socket
            .local()
            .port()
            .unwrap_or(scheme.default_port())
    };
    let port = match destination_port {
        Some(port) => port_of(request, trusted, Some(port), port),
        None => port_of(request, trusted, None, listener_port()),
    };
    let client = client_of(request, speaker, trusted_proxies);
    ForwardingFacts {
        speaker,
        client,
        scheme,
        port,
    }
}

fn request_facts(request: &Request<'_>, status: u16) -> Box<RequestFacts> {
    let logged = |name| {
        let value = request.first(name)?;
        Some(clipped(&String::from_utf8_lossy(value), LOGGED_LEN_BYTES))
    };
    Box::new(RequestFacts {
        method: clipped(request.method, LOGGED_LEN_BYTES),
        target: clipped(request.target, LOGGED_LEN_BYTES),
        host: clipped(request.authority, LOGGED_LEN_BYTES),
        version: request.version.as_str(),
        status,
        referer: logged("referer"),
        user_agent: logged("user-agent"),
    })
}
