//! One request of `http` mode: it is routed, answered and logged, or becomes a tunnel.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::super::arrival::Arrival;
use super::super::bound_address::ROUTES_MAX;
use super::super::connect::{Search, tunnel_timeouts};
use super::super::context::ThreadContext;
use super::super::handover::NewTunnel;
use super::super::introduction::introduce;
use super::super::proxy_header::Origin;
use super::super::refusal::Refusal;
use super::super::report::{self, RefusedRequest};
use super::super::route::{self, Asked, Traits};
use super::super::snapshot::Snapshot;
use super::super::socket::{Half, Socket};
use super::kept::{Bound, Destination, Kept};
use super::transfer::{Transfer, Transferred};
use super::upload::Upload;
use crate::config::{BackendId, DrainClose, Redirect, Respond, RouteAction};
use crate::journal::{Cause, Entry, RequestFacts, Subject, Timing, clipped};
use crate::proto::http::Scheme;
use crate::proto::http::answer::{self, AnswerBody, Own};
use crate::proto::http::forwarding::{
    ForwardingFacts, Hop, Speaker, check_scheme, client_of, port_of, request_head, scheme_of,
};
use crate::proto::http::head::{HeadLimits, HttpVersion, Request, UpgradeRemoved};
use crate::relay::Timeouts;
use crate::upstream::{Lineup, Member, Reservation};

/// Initial capacity of a head for a server.
const HEAD_LEN_BYTES: usize = 2048;
/// Why a request that a kept connection left unanswered is not repeated here.
const UNANSWERED: &str = "the kept connection ended before a byte of the answer, and only the client may \
                          repeat the request";
/// Maximum bytes of a target or a header value in the log.
const LOGGED_LEN_BYTES: usize = 1024;

/// The client's side of its requests.
#[derive(Clone, Copy)]
pub(super) struct ClientSide<'a> {
    /// The connection.
    pub(super) arrival: &'a Arrival,
    /// The origin that its PROXY header named.
    pub(super) origin: &'a Origin,
    /// What the connections of its thread share.
    pub(super) context: &'a ThreadContext,
    /// Limits of its heads.
    pub(super) limits: &'a HeadLimits,
}

/// When a request began: with its first byte; the first request of a connection, with accept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    /// For time-outs.
    pub(super) at: Instant,
    /// For the log.
    pub(super) time: SystemTime,
}

impl Began {
    /// Returns the current time.
    #[must_use]
    pub(super) fn now() -> Self {
        Self {
            at: Instant::now(),
            time: SystemTime::now(),
        }
    }
}

/// What follows a request on the client's connection.
pub(super) enum NextStep {
    /// Another request may follow. These bytes came behind this one.
    Request(Vec<u8>),
    /// The end of the connection.
    End(ConnectionEnd),
}

/// How the client's connection ends.
pub(super) enum ConnectionEnd {
    /// Close after the client has read its answer.
    Gently,
    /// Close at once: there is no answer to read.
    Silently,
    /// Reset: the answer is incomplete, and the client must not take it for complete.
    Reset {
        /// Whether the client reads. It then gets what was sent before, and the reset after it.
        reads: bool,
    },
    /// It becomes a tunnel.
    Tunnel(Box<Upgraded>),
}

/// A connection that became a tunnel, apart from its client.
pub(super) struct Upgraded {
    /// The server's connection.
    pub(super) server: Socket,
    /// What relay is to know of the tunnel.
    pub(super) tunnel: NewTunnel,
}

/// Serves `request`. `early` is what came behind its head already.
pub(super) async fn serve(
    client: ClientSide<'_>,
    request: &Request<'_>,
    early: &[u8],
    began: Began,
    kept: &mut Kept,
) -> NextStep {
    let timing = Cell::new(Timing {
        head: Some(began.at.elapsed()),
        ..Timing::default()
    });
    let mut exchange = Exchange::new(client, request, early, began, &timing);
    match exchange.conduct(kept).await {
        Ok(Served::Answered(cause)) => exchange.answered(cause).await,
        Ok(Served::Tunnel(server_side)) => exchange.opened(server_side),
        Err(refusal) if exchange.transfer.is_answered() => exchange.cut_off(&refusal),
        Err(refusal) => exchange.refused(refusal).await,
    }
}

/// How an exchange succeeded.
enum Served {
    /// The client has an answer, from the server or our own.
    Answered(Cause),
    /// The server agreed to the upgrade, and the client knows.
    Tunnel(Box<ServerSide>),
}

/// The server's side of a tunnel.
struct ServerSide {
    socket: Socket,
    /// What the server sent behind its 101.
    to_client: Vec<u8>,
    /// Whether the client gets a Close frame when a drain ends the tunnel.
    says_goodbye: bool,
    timeouts: Timeouts,
    /// The place at the server.
    place: Reservation,
}

/// One request.
struct Exchange<'a> {
    client: ClientSide<'a>,
    /// The snapshot that its route is chosen from.
    snapshot: Arc<Snapshot>,
    request: &'a Request<'a>,
    facts: ForwardingFacts<'a>,
    subject: Box<Subject>,
    transfer: Transfer<'a>,
    began: Began,
    timing: &'a Cell<Timing>,
    /// When the request was sent to the server.
    asked: Option<Instant>,
}

impl<'a> Exchange<'a> {
    fn new(
        client: ClientSide<'a>,
        request: &'a Request<'a>,
        early: &'a [u8],
        began: Began,
        timing: &'a Cell<Timing>,
    ) -> Self {
        let ClientSide {
            arrival,
            origin,
            context,
            limits,
        } = client;
        let facts = forwarding_facts(arrival, origin, request);
        let upload = Upload::new(
            &arrival.socket,
            request,
            early,
            &arrival.listener().limits,
            limits,
        );
        let mut subject = arrival.subject(facts.client);
        subject.started = began.time;
        Self {
            client,
            snapshot: Arc::clone(&arrival.snapshot),
            request,
            facts,
            subject,
            transfer: Transfer::new(arrival, request, upload, context),
            began,
            timing,
            asked: None,
        }
    }

    async fn conduct(&mut self, kept: &mut Kept) -> Result<Served, Refusal> {
        let over_tls = self.client.arrival.socket.terms().is_some();
        let trusted = self.facts.speaker.trusted;
        check_scheme(self.request, trusted, self.facts.scheme, over_tls)?;
        let traits = Traits {
            client: self.facts.client,
            host: Some(&self.request.host),
            server_name: None,
            path: Some(&self.request.path),
            websocket: Some(self.request.websocket_key.is_some()),
            scheme: Some(self.facts.scheme),
            request: Some(Asked {
                request: self.request,
                trusted: self.facts.speaker.trusted,
            }),
        };
        for _ in 0..ROUTES_MAX {
            let snapshot = Arc::clone(&self.snapshot);
            let id = match route::choose(&snapshot.listener, &traits) {
                None => return Err(self.without_route()),
                Some(RouteAction::Redirect(redirect)) => return self.redirect(redirect).await,
                Some(RouteAction::Respond(respond)) => return self.respond(respond).await,
                Some(RouteAction::Backend(id)) => *id,
            };
            if let Some(ended) = self.forward(&snapshot, id, kept).await? {
                return Ok(ended);
            }
            self.snapshot = self.client.arrival.bound.next(&snapshot).await?;
            kept.renew(&self.snapshot);
        }
        Err(Refusal::rerouted_too_often())
    }

    fn without_route(&self) -> Refusal {
        let refusal = Refusal::new(Cause::NoRoute, "no route fits this request");
        match self.request.upgrade_removed {
            // A route with `websocket = true` would fit, had its Upgrade been one.
            Some(removed) => refusal.explained(removed.without_route().to_owned()),
            None => refusal,
        }
    }

    async fn redirect(&self, redirect: &Redirect) -> Result<Served, Refusal> {
        let scheme = redirect.scheme.unwrap_or(self.facts.scheme);
        let location = answer::location(
            self.request,
            scheme,
            redirect.host.as_deref(),
            redirect.port,
        )
        .ok_or_else(|| Refusal::new(Cause::BadRequest, "a redirect needs a Host"))?;
        let body = format!("{location}\n");
        let extra_lines = [("Location", location.as_str())];
        self.answer(redirect.status, &body, &extra_lines).await?;
        Ok(Served::Answered(Cause::Redirected))
    }

    async fn respond(&self, respond: &Respond) -> Result<Served, Refusal> {
        self.answer(respond.status, &respond.body, &[]).await?;
        Ok(Served::Answered(Cause::Responded))
    }

    async fn answer(
        &self,
        status: u16,
        body: &str,
        extra_lines: &[(&str, &str)],
    ) -> Result<(), Refusal> {
        let mut out = Vec::new();
        let answer = Own {
            status,
            content: AnswerBody::text(body),
            extra_lines,
            strict_transport: self.client.arrival.listener().strict_transport(),
            close: !self.outlives_own_answer(true),
            to_head: self.to_head(),
        };
        answer.write(&mut out);
        self.send_own_answer(status, &out).await
    }

    fn to_head(&self) -> bool {
        self.request.method == "HEAD"
    }

    /// Decides whether the connection stays open after an answer of our own. Such answers are HTTP/1.1, and
    /// an HTTP/1.0 client does not expect a connection to stay open after one.
    fn outlives_own_answer(&self, may_stay: bool) -> bool {
        let persistent = self.request.version == HttpVersion::Http11;
        self.transfer.settle_client(persistent && may_stay)
    }

    async fn send_own_answer(&self, status: u16, out: &[u8]) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.client.arrival.listener().timeouts.request_header;
        self.transfer.send_own_answer(status, out, deadline).await
    }

    /// Has a server of a backend answer; none = a reload has changed the backend.
    async fn forward(
        &mut self,
        snapshot: &Snapshot,
        id: BackendId,
        kept: &mut Kept,
    ) -> Result<Option<Served>, Refusal> {
        let client = self.client;
        let backend = snapshot.backend(id)?;
        self.subject.backend = Some(Arc::clone(&backend.upstream.name));
        self.transfer.upload().begin()?;
        let mut search = Search::new(
            backend,
            client.arrival,
            Half::Leaves,
            self.facts.client,
            self.timing,
        );
        if !search.lineup.backend.abort_on_close {
            search.half = Half::Stays;
        }
        let half = search.half;
        if let Some(member) = kept.bound_to(backend.upstream, self.facts.client) {
            return self.forward_bound(&mut search, &member, kept).await;
        }
        loop {
            let Some(place) = search.place().await? else {
                return Ok(None);
            };
            let member = Arc::clone(place.member());
            let wants_header = member.server.send_proxy.is_some();
            let destination = Destination {
                backend: id,
                member: member.id(),
                introduced: wants_header.then_some(self.facts.client),
                tls: member.tls.as_ref().map(|tls| tls.edition()),
            };
            if let Some(server) = kept.take(destination) {
                search.note_reached(&member, Duration::ZERO);
                match self
                    .ask(&search.lineup, &member, &server, Vec::new(), half)
                    .await
                {
                    Ok(outcome) => {
                        let to = Some(destination);
                        return Ok(Some(self.settle(outcome, &search, place, server, kept, to)));
                    }
                    // This happens once: the next connection is a new one.
                    Err(refusal) if self.transfer.is_unanswered(&refusal) => {
                        if !self.transfer.may_be_repeated() {
                            return Err(refusal.in_silence(UNANSWERED));
                        }
                        tracing::debug!(server = %member.name, "a kept connection was dead");
                    }
                    Err(refusal) => return Err(refusal),
                }
            }
            let mut preface = Vec::with_capacity(HEAD_LEN_BYTES);
            let connecting = self.connect(&mut search, &place, &mut preface);
            let Some(server) = connecting.await? else {
                continue;
            };
            let asking = self.ask(&search.lineup, &member, &server, preface, half);
            let outcome = match asking.await {
                Ok(outcome) => {
                    member.traffic.note_sound();
                    outcome
                }
                // With TLS 1.3 a server refuses our certificate after the handshake looks complete.
                Err(refusal) if refusal.cause == Cause::ServerTlsFailed => {
                    place.note_refused();
                    let unanswered = self.transfer.is_unanswered(&refusal);
                    let refusal = refusal.at_server(&member);
                    if !unanswered || !self.transfer.may_be_repeated() {
                        return Err(refusal);
                    }
                    search.go_on_after(&member, refusal)?;
                    continue;
                }
                Err(refusal) => return Err(refusal),
            };
            let to = Some(destination);
            return Ok(Some(self.settle(outcome, &search, place, server, kept, to)));
        }
    }

    /// Connects to the server of `place`; none = the attempt failed, and another server may be tried. `preface`
    /// gets what is to be sent first.
    async fn connect(
        &self,
        search: &mut Search<'_>,
        place: &Reservation,
        preface: &mut Vec<u8>,
    ) -> Result<Option<Socket>, Refusal> {
        let (client, half) = (self.client, search.half);
        let socket = &client.arrival.socket;
        let server = &place.member().server;
        introduce(server, self.facts.client, client.origin, socket, preface);
        let connecting = search.connect(place, client.context.driver, preface);
        tokio::select! {
            biased;
            connected = connecting => connected,
            left = socket.leaving(half) => {
                let detail = "the client closed its connection before a server was reached";
                Err(Refusal::client_left(left, detail).at_server(place.member()))
            }
        }
    }

    /// Has `member` answer over the connection on which it authenticates the client. If that is not possible
    /// the client's connection ends, so that the client authenticates anew.
    async fn forward_bound(
        &mut self,
        search: &mut Search<'_>,
        member: &Arc<Member>,
        kept: &mut Kept,
    ) -> Result<Option<Served>, Refusal> {
        let upstream = search.upstream;
        let place = match search.place_at(Some(member)).await {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(None),
            Err(refusal) if refusal.cause == Cause::NoServer => {
                return Err(refusal.at_server(member).in_silence(
                    "the server that authenticates this client gets no more requests",
                ));
            }
            Err(refusal) => return Err(refusal.at_server(member)),
        };
        self.transfer.bind();
        let Some(server) = kept.take_bound(upstream, self.facts.client) else {
            // The cause is the same if the end comes a moment later, with the request on it.
            let refusal = Refusal::new(Cause::ResponseIncomplete, "").at_server(member);
            return Err(
                refusal.in_silence("the server closed the connection that it authenticates")
            );
        };
        search.note_reached(member, Duration::ZERO);
        let asking = self.ask(&search.lineup, member, &server, Vec::new(), search.half);
        match asking.await {
            Ok(outcome) => Ok(Some(
                self.settle(outcome, search, place, server, kept, None),
            )),
            // On another connection it would be the request of another user, or of none.
            Err(refusal) if self.transfer.is_unanswered(&refusal) => {
                Err(refusal.in_silence(UNANSWERED))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Sends the request to `member` over `server`, after the bytes in `out`.
    async fn ask(
        &mut self,
        lineup: &Lineup,
        member: &Member,
        server: &Socket,
        mut out: Vec<u8>,
        half: Half,
    ) -> Result<Transferred, Refusal> {
        self.subject.server = Some(Arc::clone(&member.name));
        self.asked = Some(Instant::now());
        self.transfer.expect_reuse(self.may_keep(lineup));
        let facts = ForwardingFacts {
            server_host: lineup.backend.host_header.as_deref(),
            ..self.facts
        };
        let hop = self.server_hop(lineup);
        // Only a request in HTTP/1.0 can name none.
        let default_host = match self.request.authority {
            "" => member.host(),
            _ => String::new(),
        };
        request_head(self.request, &facts, hop, &default_host, &mut out);
        out.extend_from_slice(&self.transfer.upload().ready());
        let silence = lineup.backend.timeouts.response;
        let limits = lineup.backend.limits.into();
        self.transfer
            .run(server, &out, &limits, silence, half)
            .await
    }

    /// Keeps the server's connection for the next request, closes it, or makes it one end of a tunnel.
    /// `destination` says what it may be used for; none = it is bound already.
    fn settle(
        &self,
        outcome: Transferred,
        search: &Search<'_>,
        place: Reservation,
        server: Socket,
        kept: &mut Kept,
        destination: Option<Destination>,
    ) -> Served {
        let backend = &search.lineup.backend;
        match outcome {
            Transferred::Complete { server_stays } => {
                let is_bound = self.transfer.is_bound();
                if !(server_stays && self.may_keep(&search.lineup)) {
                    server.notify();
                    if is_bound {
                        self.transfer.settle_client(false);
                    }
                } else if is_bound {
                    kept.bind(Bound {
                        upstream: Arc::clone(search.upstream),
                        member: Arc::clone(place.member()),
                        client: self.facts.client,
                        socket: server,
                    });
                } else if let Some(destination) = destination {
                    kept.keep(destination, server);
                }
                Served::Answered(Cause::Served)
            }
            Transferred::Upgraded { to_client } => Served::Tunnel(Box::new(ServerSide {
                socket: server,
                to_client,
                says_goodbye: backend.drain_close == DrainClose::Websocket,
                timeouts: tunnel_timeouts(&backend.timeouts),
                place,
            })),
        }
    }

    /// Returns what the request tells the server about its connection. An HTTP/1.0 request that does not ask
    /// for more is the only one on its connection, because it is the only one of its client.
    fn server_hop(&self, lineup: &Lineup) -> Hop {
        if self.request.websocket_key.is_some() {
            Hop::Upgrade
        } else if self.may_keep(lineup) {
            Hop::KeepAlive
        } else {
            Hop::Close
        }
    }

    /// Tells whether the connection to the server may carry another request. A refused upgrade changes nothing
    /// about that.
    fn may_keep(&self, lineup: &Lineup) -> bool {
        let may_be_followed =
            self.request.keep_alive || self.request.version == HttpVersion::Http11;
        lineup.backend.keep_alive && may_be_followed
    }

    async fn answered(self, cause: Cause) -> NextStep {
        self.write_request(cause);
        match self.transfer.finish().await {
            Some(rest) => NextStep::Request(rest),
            None => NextStep::End(ConnectionEnd::Gently),
        }
    }

    /// Returns the times of the request.
    fn took(&self) -> Timing {
        let answered = self.transfer.answered_at();
        let took = self.asked.zip(answered);
        Timing {
            response: took.map(|(asked, at)| at.duration_since(asked)),
            ..self.timing.get()
        }
    }

    /// Returns what the log says of the request, its times included.
    fn told(&self) -> Box<Subject> {
        let mut timing = self.took();
        let ClientSide {
            arrival, context, ..
        } = self.client;
        arrival.count_clients(context, &mut timing.connections);
        Box::new(Subject {
            timing: Some(Box::new(timing)),
            ..(*self.subject).clone()
        })
    }

    fn opened(mut self, server_side: Box<ServerSide>) -> NextStep {
        let (subject, request) = (self.told(), request_facts(self.request, 101));
        let journal = &self.client.context.journal;
        if journal.has_stories() {
            self.subject.timing.clone_from(&subject.timing);
            self.subject.request = Some(request.clone());
        }
        journal.note(Entry::Open {
            subject,
            request: Some(request),
        });
        let server_side = *server_side;
        let tunnel = NewTunnel {
            to_server: self.transfer.into_early(),
            to_client: server_side.to_client,
            says_goodbye: server_side.says_goodbye,
            timeouts: server_side.timeouts,
            subject: self.subject,
            server_place: server_side.place,
        };
        NextStep::End(ConnectionEnd::Tunnel(Box::new(Upgraded {
            server: server_side.socket,
            tunnel,
        })))
    }

    fn cut_off(&self, refusal: &Refusal) -> NextStep {
        self.write_request(refusal.cause);
        let reads = !matches!(
            refusal.cause,
            Cause::ClientStalled | Cause::ClientReset | Cause::ClientClosed
        );
        NextStep::End(ConnectionEnd::Reset { reads })
    }

    fn write_request(&self, cause: Cause) {
        let journal = &self.client.context.journal;
        let (bytes_in, bytes_out) = self.transfer.bytes();
        let bytes = (bytes_in, bytes_out);
        journal.note_request(&self.subject, &self.took(), cause, bytes, || {
            Entry::Request {
                subject: self.told(),
                request: request_facts(self.request, self.transfer.status()),
                cause,
                bytes_in,
                bytes_out,
                lasted: self.began.at.elapsed(),
            }
        });
    }

    /// Reports a refusal, and answers with its status if it has one.
    async fn refused(self, refusal: Refusal) -> NextStep {
        let status = refusal.status();
        let subject = self.told();
        let mut out = Vec::new();
        if let Some(status) = status {
            // Not after a body that stopped: its rest will not come either.
            let may_stay = refusal.cause != Cause::BodyTimeout && !self.transfer.is_bound();
            let close = !self.outlives_own_answer(may_stay);
            let listener = self.client.arrival.listener();
            refusal.write_answer(status, listener, close, self.to_head(), &mut out);
        }
        let refused = RefusedRequest {
            status,
            facts: Some(request_facts(self.request, status.unwrap_or(0))),
            began: self.began.at,
        };
        let silent = refusal.silent;
        report::request(subject, refusal, refused, self.client.context);
        let Some(status) = status else {
            // The client is still there. A reset could take the end of the answer before from it.
            return NextStep::End(match silent {
                true => ConnectionEnd::Gently,
                false => ConnectionEnd::Silently,
            });
        };
        if self.send_own_answer(status, &out).await.is_err() {
            return NextStep::End(ConnectionEnd::Silently);
        }
        match self.transfer.finish().await {
            Some(rest) => NextStep::Request(rest),
            None => NextStep::End(ConnectionEnd::Gently),
        }
    }
}

fn forwarding_facts<'a>(
    arrival: &'a Arrival,
    origin: &Origin,
    request: &Request<'_>,
) -> ForwardingFacts<'a> {
    let trusted_proxies = &arrival.listener().trusted_proxies;
    let trusted = trusted_proxies.contains(origin.speaker);
    let speaker = Speaker {
        peer: origin.speaker,
        trusted,
    };
    let told = origin.tlvs.ssl.as_ref().map(|ssl| {
        if ssl.over_tls {
            Scheme::Https
        } else {
            Scheme::Http
        }
    });
    let terms = arrival.socket.terms();
    let known = match terms {
        Some(_) => Some(Scheme::Https),
        None => told,
    };
    let destination_port = origin
        .destination
        .map(|destination| destination.port())
        .filter(|port| *port != 0);
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
    let tls = arrival.listener().tls.as_ref();
    let subject = tls.filter(|tls| tls.client_subject).and_then(|_| {
        let client = terms?.client.as_ref()?;
        Some(client.text.as_str())
    });
    let guarded = arrival.listener().guards_client_subject;
    let client_subject = guarded.then(|| subject.unwrap_or(""));
    ForwardingFacts {
        speaker,
        client,
        scheme,
        port,
        client_subject,
        server_host: None,
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
        note: request.upgrade_removed.map_or("", UpgradeRemoved::as_str),
    })
}
