//! The search for a server: a place at one, a connection to it, and another one after a failure.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::arrival::Arrival;
use super::dial::{self, Obstacle};
use super::handshake;
use super::refusal::Refusal;
use super::snapshot::RoutedBackend;
use super::socket::driver::{Driver, until};
use super::socket::{Half, Socket};
use crate::config::{BackendTimeouts, Mode};
use crate::journal::{Cause, Timing};
use crate::proto::addr::PeerAddr;
use crate::relay::Timeouts;
use crate::tls::record::RecordVersion;
use crate::upstream::{Denied, InLine, Lineup, Member, MemberId, Reservation, Upstream};

/// Returns the time-outs of a tunnel.
#[must_use]
pub(super) fn tunnel_timeouts(timeouts: &BackendTimeouts) -> Timeouts {
    Timeouts {
        idle: timeouts.tunnel_idle,
        half_close: timeouts.half_close,
    }
}

/// The search for a server that can be reached, for one request or one connection.
pub(super) struct Search<'a> {
    /// The backend.
    pub(super) upstream: &'a Arc<Upstream>,
    /// The edition of it that the route refers to.
    edition: u32,
    /// The backend as it was when the search began.
    pub(super) lineup: Arc<Lineup>,
    client: &'a Socket,
    mode: Mode,
    /// What it means if the client ends its direction.
    pub(super) half: Half,
    client_ip: Option<IpAddr>,
    tried: Vec<MemberId>,
    /// The times so far.
    timing: &'a Cell<Timing>,
    /// The time spent in attempts to connect.
    spent: Duration,
    /// Why the last attempt failed.
    refusal: Option<Refusal>,
}

impl<'a> Search<'a> {
    /// Begins a search for a request of `speaker` that came on `arrival`. `half` says what it means if
    /// that client ends its direction meanwhile.
    #[must_use]
    pub(super) fn new(
        RoutedBackend { upstream, edition }: RoutedBackend<'a>,
        arrival: &'a Arrival,
        half: Half,
        speaker: PeerAddr,
        timing: &'a Cell<Timing>,
    ) -> Self {
        Self {
            upstream,
            edition,
            lineup: upstream.lineup(),
            client: &arrival.socket,
            mode: arrival.listener().mode,
            half,
            client_ip: speaker.ip(),
            tried: Vec::new(),
            timing,
            spent: Duration::ZERO,
            refusal: None,
        }
    }

    /// Takes a place at a server that was not tried yet, or waits in the queue of the backend for one.
    /// None = a reload has changed the backend since it was chosen, so that a route must be chosen again.
    ///
    /// # Errors
    /// No server may get the request, none is left to try, the queue is full, the wait was too long, or
    /// the client left.
    pub(super) async fn place(&mut self) -> Result<Option<Reservation>, Refusal> {
        self.place_at(None).await
    }

    /// Like [`Search::place`]; `only` is the only server that may get the request, if there is one.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn place_at(
        &mut self,
        only: Option<&Member>,
    ) -> Result<Option<Reservation>, Refusal> {
        let began = Instant::now();
        let tell = |line: InLine| {
            self.note(|timing| {
                timing.server_queue += line.for_server;
                timing.backend_queue += line.for_backend;
            });
        };
        let upstream = self.upstream;
        let placing =
            upstream.place_telling(self.client_ip, &self.tried, only.map(Member::id), tell);
        let placed = tokio::select! {
            biased;
            placed = placing => placed,
            left = self.client.leaving(self.half) => {
                return Err(Refusal::client_left(left, "the client left the queue"));
            }
        };
        self.note(|timing| {
            let waited = began.elapsed();
            timing.queue = Some(timing.queue.unwrap_or_default() + waited);
        });
        let edition = match &placed {
            Ok(place) => place.edition(),
            Err(_) => self.upstream.lineup().edition,
        };
        if edition != self.edition {
            return Ok(None);
        }
        placed
            .map(Some)
            .map_err(|denied| match (denied, self.refusal.take()) {
                (Denied::AllTried, Some(refusal)) => refusal,
                (Denied::AllTried, None) => {
                    Refusal::new(Cause::NoServer, "no server is left to try")
                }
                (Denied::Nobody(why), _) => Refusal::new(Cause::NoServer, why),
                (Denied::QueueFull, _) => Refusal::new(Cause::QueueFull, ""),
                (Denied::QueueTimeout, _) => Refusal::new(Cause::QueueTimeout, ""),
            })
    }

    /// Connects to the server of `place`; none = the attempt failed, and another server may be tried.
    /// `preface` is what the server gets first. If the server speaks TLS, `preface` is sent before the
    /// handshake, and empty afterwards.
    ///
    /// # Errors
    /// The attempt failed, and no other server is to be tried.
    pub(super) async fn connect(
        &mut self,
        place: &Reservation,
        driver: Driver,
        preface: &mut Vec<u8>,
    ) -> Result<Option<Socket>, Refusal> {
        let member = place.member();
        let began = Instant::now();
        let deadline = began + self.lineup.backend.timeouts.connect;
        let mut opened = until(deadline, dial::open(member, driver)).await;
        if let Ok(Ok(socket)) = opened {
            let secured = self.secure(member, socket, preface, deadline).await;
            opened = Ok(secured.map_err(|refusal| (Obstacle::Server, refusal)));
        }
        self.spent += began.elapsed();
        let (obstacle, refusal) = match opened {
            Ok(Ok(socket)) => {
                member.traffic.note_connected();
                // The server may still refuse our side of a handshake of TLS 1.3; requests show whether it did.
                let version = socket.terms().map(|terms| terms.version);
                if self.mode != Mode::Http || version != Some(RecordVersion::Tls13) {
                    member.traffic.note_sound();
                }
                self.note_reached(member, self.spent);
                return Ok(Some(socket));
            }
            Ok(Err(failed)) => failed,
            Err(_) => (Obstacle::Server, Refusal::new(Cause::ConnectTimeout, "")),
        };
        let refusal = refusal.at_server(member);
        match obstacle {
            // Another server would not help.
            Obstacle::Machine => return Err(refusal),
            Obstacle::Source => {}
            Obstacle::Server => place.note_refused(),
        }
        self.go_on_after(member, refusal)?;
        Ok(None)
    }

    /// Notes that `member` cannot be used because of `refusal`, so that another server is tried.
    ///
    /// # Errors
    /// The refusal, if no other server is to be tried.
    pub(super) fn go_on_after(&mut self, member: &Member, refusal: Refusal) -> Result<(), Refusal> {
        if self.tried.len() >= self.lineup.backend.retries {
            return Err(refusal);
        }
        tracing::debug!(
            backend = %self.upstream.name,
            server = %member.name,
            cause = refusal.cause.as_str(),
            "another server is tried"
        );
        self.tried.push(member.id());
        self.note(|timing| {
            timing.retries += 1;
            timing.redispatched = true;
        });
        self.refusal = Some(refusal);
        Ok(())
    }

    /// Makes the TLS handshake, if the server speaks TLS.
    async fn secure(
        &self,
        member: &Member,
        mut socket: Socket,
        preface: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<Socket, Refusal> {
        let Some(tls) = &member.tls else {
            return Ok(socket);
        };
        let securing = async {
            let sent = socket.send_all(preface).await;
            sent.map_err(Refusal::server_gone)?;
            handshake::with_server(&mut socket, tls, self.mode == Mode::Http).await
        };
        match until(deadline, securing).await {
            Ok(secured) => secured?,
            Err(_) => {
                let detail = "the server's end of the handshake did not come";
                return Err(Refusal::new(Cause::ServerTlsTimeout, detail));
            }
        }
        preface.clear();
        Ok(socket)
    }
}

impl Search<'_> {
    /// Notes that a connection to `member` is open, and the time `spent` on opening it: zero for one that
    /// was kept.
    pub(super) fn note_reached(&self, member: &Member, spent: Duration) {
        let active = |member: &Member| member.traffic.active();
        self.note(|timing| {
            timing.connect = Some(spent);
            timing.connections.server = active(member);
            let seats = self.lineup.seats.iter();
            timing.connections.backend = seats.map(|seat| active(&seat.member)).sum();
        });
    }

    fn note(&self, change: impl FnOnce(&mut Timing)) {
        let mut timing = self.timing.get();
        change(&mut timing);
        self.timing.set(timing);
    }
}
