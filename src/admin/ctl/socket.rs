//! The admin socket: access control, and the answers.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::unistd::{Gid, Uid};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::{
    CertificateState, CtlRequest, Errand, Filter, REQUEST_LEN_MAX, Reply, Tunnels, Wanted,
};
use crate::admin::mark::mark;
use crate::admin::overview::overview;
use crate::admin::sample::Sampler;
use crate::admin::state::{CertificateInUse, CertificateOwner, Sources};
use crate::config::LogLevel;
use crate::log::diagnostics;
use crate::log::timestamp;
use crate::sys::peer;
use crate::sys::unix_path::{self, UnixPath};

/// Mode of the socket.
const MODE: u32 = 0o660;
/// Connections that may wait for accept.
const BACKLOG: i32 = 128;
/// Connections served at one time.
const CONNECTIONS_MAX: usize = 16;
/// Time a client has to send its request, and to take its answer.
const CLIENT_TIME: Duration = Duration::from_secs(10);
/// Pause of accepting after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const DAY_S: i64 = 24 * 60 * 60;

/// Reason why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("server.admin_socket {}: {}", path.display(), words(.source))]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "another process answers there".to_owned(),
        Some(_) | None => error.to_string(),
    }
}

/// The socket and its place in the file system, which is removed with this value.
#[derive(Debug)]
pub struct AdminSocket {
    listener: Option<UnixListener>,
    place: UnixPath,
}

impl AdminSocket {
    /// Listens at `path`; a socket that no process listens on any more is replaced.
    ///
    /// # Errors
    /// Another process listens there, or the path cannot be used.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(path: &Path) -> Result<Self, SocketError> {
        let wrong = |source| SocketError {
            path: path.to_owned(),
            source,
        };
        let (socket, place) = unix_path::listen(path, MODE, BACKLOG).map_err(wrong)?;
        let listener = UnixListener::from_std(socket.into()).map_err(wrong)?;
        Ok(Self {
            listener: Some(listener),
            place,
        })
    }

    /// Returns its path.
    #[must_use]
    pub fn place(&self) -> &UnixPath {
        &self.place
    }

    /// Answers clients on the [`tokio::task::LocalSet`] of this thread, for as long as it runs.
    pub fn serve(&mut self, sampler: Arc<Sampler>, errands: mpsc::Sender<Errand>) {
        if let Some(listener) = self.listener.take() {
            let group = self.place.group().map_or(u32::MAX, Gid::as_raw);
            let desk = Rc::new(Desk {
                sampler,
                errands,
                group,
                places: Semaphore::new(CONNECTIONS_MAX),
            });
            spawn_local(accept_all(listener, desk));
        }
    }
}

/// State for answering requests.
struct Desk {
    sampler: Arc<Sampler>,
    errands: mpsc::Sender<Errand>,
    /// Group whose members may send requests.
    group: u32,
    places: Semaphore,
}

async fn accept_all(listener: UnixListener, desk: Rc<Desk>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Rc::clone(&desk);
                spawn_local(async move { desk.serve(stream).await });
            }
            Err(error) => {
                tracing::debug!(%error, "admin socket");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Desk {
    fn sources(&self) -> &Sources {
        self.sampler.sources()
    }

    async fn serve(&self, mut stream: UnixStream) {
        let (Ok(_place), Ok(peer)) = (self.places.try_acquire(), stream.peer_cred()) else {
            return;
        };
        // Unread bytes would turn the close into a reset, and the answer would be lost.
        let reply = match timeout(CLIENT_TIME, read_request(&mut stream)).await {
            Ok(_) if !self.may_ask(&stream, &peer) => {
                Reply::Failed("you are not in the group of the admin socket".to_owned())
            }
            Ok(Ok(request)) => self.answer(request, &peer).await,
            Ok(Err(wrong)) => Reply::Failed(wrong),
            Err(_) => return,
        };
        // These types have no value that JSON cannot represent.
        let mut line = serde_json::to_vec(&reply).unwrap_or_default();
        line.push(b'\n');
        // A client that does not read its answer in time does not get it.
        let _ = timeout(CLIENT_TIME, stream.write_all(&line)).await;
    }

    /// Returns whether a peer may send requests. Permission to connect is not enough: a descriptor may have
    /// been passed on to another process.
    fn may_ask(&self, stream: &UnixStream, peer: &UCred) -> bool {
        peer.uid() == 0
            || peer.uid() == Uid::effective().as_raw()
            || peer.gid() == self.group
            || peer::groups(stream.as_fd()).is_ok_and(|groups| groups.contains(&self.group))
    }

    async fn answer(&self, request: CtlRequest, peer: &UCred) -> Reply {
        if request.changes() {
            let (uid, pid) = (peer.uid(), peer.pid());
            let command = serde_json::to_string(&request).unwrap_or_default();
            tracing::info!(uid, pid, command, "admin socket");
        }
        match self.conduct(request).await {
            Ok(value) => Reply::Done(value),
            Err(why) => Reply::Failed(why),
        }
    }

    async fn conduct(&self, request: CtlRequest) -> Result<serde_json::Value, String> {
        match request {
            CtlRequest::Status => json(&self.sources().status()),
            CtlRequest::Overview => json(&overview(&self.sampler).await),
            CtlRequest::Listeners => json(&self.sources().listeners()),
            CtlRequest::Backends => json(&self.sources().backends()),
            CtlRequest::Tunnels(wanted) => json(&self.tunnels(wanted).await?),
            CtlRequest::Certificates => json(&self.certificates()),
            CtlRequest::Kill { id } => self.kill(&id).await,
            CtlRequest::Drain { server: None } => self.drain().await,
            CtlRequest::Drain { server: Some(name) } => json(&mark(self.sources(), &name, true)?),
            CtlRequest::Undrain { server } => json(&mark(self.sources(), &server, false)?),
            CtlRequest::Reload => self.reload().await,
            CtlRequest::LogLevel { level } => set_level(&level),
        }
    }

    async fn tunnels(&self, wanted: Wanted) -> Result<Tunnels, String> {
        let filter = Filter::new(wanted)?;
        let limit = filter.limit();
        let found = self.sources().tunnels(limit + 1, |it| filter.takes(it));
        let mut tunnels = found.await;
        let more = tunnels.len() > limit;
        tunnels.truncate(limit);
        Ok(Tunnels { tunnels, more })
    }

    async fn kill(&self, id: &str) -> Result<serde_json::Value, String> {
        let unknown = || format!("no open tunnel has the id {id:?}");
        let parsed = id.parse().map_err(|_| unknown())?;
        if self.sources().kill(parsed).await {
            json(&format!("{id} is ended"))
        } else {
            Err(unknown())
        }
    }

    async fn drain(&self) -> Result<serde_json::Value, String> {
        let (reply, replied) = oneshot::channel();
        self.run(Errand::Drain(reply)).await?;
        json(&replied.await.map_err(|_| STOPPING.to_owned())?)
    }

    async fn reload(&self) -> Result<serde_json::Value, String> {
        let (reply, replied) = oneshot::channel();
        self.run(Errand::Reload(reply)).await?;
        match replied.await {
            Ok(Ok(lines)) => json(&lines.join("\n")),
            Ok(Err(lines)) => Err(lines.join("\n")),
            Err(_) => Err(STOPPING.to_owned()),
        }
    }

    async fn run(&self, errand: Errand) -> Result<(), String> {
        let sent = self.errands.send(errand).await;
        sent.map_err(|_| STOPPING.to_owned())
    }

    fn certificates(&self) -> Vec<CertificateState> {
        let in_use = self.sources().certificates.load();
        in_use.iter().map(certificate).collect()
    }
}

const STOPPING: &str = "the process is stopping";

fn json(value: &impl Serialize) -> Result<serde_json::Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

async fn read_request(stream: &mut UnixStream) -> Result<CtlRequest, String> {
    let mut line = Vec::new();
    let limited = stream.take(REQUEST_LEN_MAX as u64);
    let read = BufReader::new(limited).read_until(b'\n', &mut line).await;
    read.map_err(|error| error.to_string())?;
    if !line.ends_with(b"\n") {
        return Err(format!(
            "the request is no line, or longer than {REQUEST_LEN_MAX} bytes"
        ));
    }
    serde_json::from_slice(&line).map_err(|error| format!("the request is not understood: {error}"))
}

fn set_level(text: &str) -> Result<serde_json::Value, String> {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let found = levels.iter().find(|(name, _)| *name == text);
    let (name, level) =
        found.ok_or_else(|| format!("{text:?} is no level; error, warn, info, debug or trace"))?;
    diagnostics::set_level(*level);
    json(&format!("the level is {name}"))
}

fn certificate(in_use: &CertificateInUse) -> CertificateState {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let end = in_use.not_after.and_then(|at| u64::try_from(at).ok());
    let (listener, backend) = match &in_use.owner {
        CertificateOwner::Listener(name) => (name.to_string(), String::new()),
        CertificateOwner::Backend(name) => (String::new(), name.to_string()),
    };
    CertificateState {
        listener,
        backend,
        role: in_use.role.to_owned(),
        file: in_use.file.display().to_string(),
        names: in_use.names.clone(),
        issuer: in_use.issuer.clone(),
        not_after: end.map_or_else(String::new, |at| {
            timestamp(UNIX_EPOCH + Duration::from_secs(at))
        }),
        days_left: in_use
            .not_after
            .map_or(0, |at| at.saturating_sub(now_s).div_euclid(DAY_S)),
        refused: in_use.refused.clone().unwrap_or_default(),
    }
}
