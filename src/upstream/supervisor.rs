//! The supervisor of one backend, on the control runtime: runs the checks, resolves the names, and publishes
//! a new line-up at every change.
//!
//! The [`Roster`] decides what follows from each result; here are the tasks and the clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::check::{self, CheckFailure, Target};
use super::client_tls::ClientTls;
use super::lineup::Lineup;
use super::member::{Member, MemberId};
use super::names::{NameAnswer, Resolution};
use super::places::Upstream;
use super::random::random;
use super::roster::{Job, Roster};
use crate::config::{Backend, BackendServer};

/// Concurrent checks of one backend, limited so that many servers are not checked at the same moment.
const CHECKS_MAX: usize = 32;
/// Concurrent questions for names of one backend.
const QUESTIONS_MAX: usize = 32;
/// Longest sleep when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// A result that a task of the supervisor reports.
enum Report {
    Checked(MemberId, Result<(), CheckFailure>),
    /// The answer for the server with this index, with the means to ask again, under the configuration of
    /// this number.
    Resolved(u32, usize, Resolution, Result<NameAnswer, String>),
}

/// Another configuration of the same backend.
struct Reconfiguration {
    backend: Arc<Backend>,
    tls: Option<ClientTls>,
    nameservers: Vec<SocketAddr>,
    done: oneshot::Sender<()>,
}

/// A question that is due later.
struct Question {
    server: usize,
    at: Duration,
    resolution: Resolution,
}

/// The task that supervises a backend; dropping this value ends the task.
#[derive(Debug)]
pub struct Supervisor {
    task: JoinHandle<()>,
    settled: watch::Receiver<bool>,
    reconfigurations: mpsc::UnboundedSender<Reconfiguration>,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    /// Waits until the backend may serve, or every member has been checked once.
    pub async fn settled(&mut self) {
        // If the task ends, there is nothing to wait for.
        let _ = self.settled.wait_for(|settled| *settled).await;
    }

    /// Changes to another configuration; returns when its line-up is published.
    pub async fn reconfigure(
        &self,
        backend: Arc<Backend>,
        tls: Option<ClientTls>,
        nameservers: &[SocketAddr],
    ) {
        let (done, seen) = oneshot::channel();
        let nameservers = nameservers.to_vec();
        let reconfiguration = Reconfiguration {
            backend,
            tls,
            nameservers,
            done,
        };
        // A task that has ended by a panic, which has been reported, applies no changes any more.
        let _ = self.reconfigurations.send(reconfiguration);
        let _ = seen.await;
    }
}

/// Starts a supervisor on the [`tokio::task::LocalSet`] of this thread.
///
/// The first line-up, published at once, has the servers whose addresses need no resolution.
#[must_use]
pub fn supervise(
    upstream: Arc<Upstream>,
    backend: Arc<Backend>,
    tls: Option<&ClientTls>,
    nameservers: &[SocketAddr],
) -> Supervisor {
    let (reports, reported) = mpsc::unbounded_channel();
    let (settle, settled) = watch::channel(false);
    let (reconfigurations, reconfigured) = mpsc::unbounded_channel();
    let questions = questions(&backend, nameservers);
    let mut work = Work {
        roster: Roster::new(Arc::clone(&backend), tls, Duration::ZERO, random),
        upstream,
        backend,
        started: Instant::now(),
        questions,
        edition: 0,
        asking: 0,
        checking: 0,
        reports,
        settle,
    };
    work.publish();
    let task = spawn_local(work.run(reported, reconfigured));
    Supervisor {
        task,
        settled,
        reconfigurations,
    }
}

/// Returns the questions to ask at once.
fn questions(backend: &Backend, nameservers: &[SocketAddr]) -> Vec<Question> {
    let servers = backend.servers.iter().enumerate();
    let question = |(server, it): (usize, &BackendServer)| {
        let resolution = Resolution::new(&it.address, nameservers)?;
        let at = Duration::ZERO;
        Some(Question {
            server,
            at,
            resolution,
        })
    };
    servers.filter_map(question).collect()
}

struct Work {
    upstream: Arc<Upstream>,
    backend: Arc<Backend>,
    roster: Roster,
    started: Instant,
    questions: Vec<Question>,
    /// Number of the configuration: distinguishes answers and line-ups of earlier ones.
    edition: u32,
    asking: usize,
    checking: usize,
    reports: mpsc::UnboundedSender<Report>,
    settle: watch::Sender<bool>,
}

impl Work {
    async fn run(
        mut self,
        mut reported: mpsc::UnboundedReceiver<Report>,
        mut reconfigured: mpsc::UnboundedReceiver<Reconfiguration>,
    ) {
        loop {
            self.start_checks();
            self.ask();
            let wake = self.started + self.next_due();
            tokio::select! {
                Some(report) = reported.recv() => self.take(report),
                Some(reconfiguration) = reconfigured.recv() => self.reconfigure(reconfiguration),
                () = self.upstream.alarm.notified() => {}
                () = sleep_until(wake) => {}
            }
            while let Ok(report) = reported.try_recv() {
                self.take(report);
            }
            self.roster.look_around(self.now(), random);
            self.publish();
        }
    }

    fn reconfigure(&mut self, reconfiguration: Reconfiguration) {
        let Reconfiguration {
            backend,
            tls,
            nameservers,
            done,
        } = reconfiguration;
        self.edition = self.edition.wrapping_add(1);
        self.questions = questions(&backend, &nameservers);
        self.backend = Arc::clone(&backend);
        let now = self.now();
        self.roster.reconfigure(backend, tls.as_ref(), now, random);
        self.publish();
        // The caller may have stopped waiting.
        let _ = done.send(());
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn publish(&mut self) {
        let now = self.now();
        if self.roster.is_changed(now) {
            let seats = self.roster.seats(now);
            let lineup = Lineup::new(Arc::clone(&self.backend), seats);
            self.upstream.publish(lineup.of_edition(self.edition));
            self.roster.say();
        }
        if self.roster.is_settled() {
            self.settle.send_replace(true);
        }
    }

    fn next_due(&self) -> Duration {
        let now = self.now();
        let room = self.checking < CHECKS_MAX;
        let check = self.roster.next_due(now, room);
        let room = self.asking < QUESTIONS_MAX;
        let question = self.questions.iter().map(|question| question.at).min();
        let due = check.into_iter().chain(question.filter(|_| room));
        due.min().unwrap_or(now + IDLE)
    }

    fn start_checks(&mut self) {
        let room = CHECKS_MAX.saturating_sub(self.checking);
        for Job { member } in self.roster.due_checks(self.now(), room) {
            self.checking += 1;
            let (backend, reports) = (Arc::clone(&self.backend), self.reports.clone());
            spawn_local(async move {
                let result = check(&member, &backend).await;
                // The supervisor may have ended.
                let _ = reports.send(Report::Checked(member.id(), result));
            });
        }
    }

    fn ask(&mut self) {
        let now = self.now();
        while self.asking < QUESTIONS_MAX {
            let due = self
                .questions
                .iter()
                .position(|question| question.at <= now);
            let Some(place) = due else {
                return;
            };
            let Question {
                server,
                mut resolution,
                ..
            } = self.questions.swap_remove(place);
            self.asking += 1;
            let (edition, reports) = (self.edition, self.reports.clone());
            spawn_local(async move {
                let result = resolution.ask().await;
                let _ = reports.send(Report::Resolved(edition, server, resolution, result));
            });
        }
    }

    fn take(&mut self, report: Report) {
        let now = self.now();
        match report {
            Report::Checked(id, result) => {
                self.checking = self.checking.saturating_sub(1);
                self.roster.checked(id, result, now, random());
            }
            Report::Resolved(edition, server, resolution, result) => {
                self.asking = self.asking.saturating_sub(1);
                if edition != self.edition {
                    return;
                }
                let pause = self.roster.resolved(server, result, now, random);
                let at = now.saturating_add(pause);
                self.questions.push(Question {
                    server,
                    at,
                    resolution,
                });
            }
        }
    }
}

async fn check(member: &Member, backend: &Backend) -> Result<(), CheckFailure> {
    let Some(health) = &backend.health else {
        return Ok(());
    };
    let host = match &backend.host_header {
        Some(host) => host.to_string(),
        None => member.host(),
    };
    let target = Target {
        address: &member.address,
        host: &host,
        source: &member.server.source,
        send_proxy: member.server.send_proxy,
        tls: member.tls.as_deref().filter(|_| health.tls),
        limits: backend.limits.into(),
    };
    check::check(target, health).await
}
