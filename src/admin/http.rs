//! `server.admin_http`: metrics, health, the dashboard and its data, over HTTP.
//!
//! It runs on the control thread and is made for few clients. Every client that reaches the address may read.
//! There is no CORS, so that no page of another origin can read it in an operator's browser. A change needs
//! the token, if changes are allowed at all; `access` has the rules, `connections` the limits.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

use self::access::Guesses;
use self::answers::{Answer, only, page, plain};
use self::connections::serve_connections;
use super::mark::mark;
use super::metrics;
use super::overview::{Overview, overview};
use super::sample::Sampler;

mod access;
pub mod answers;
pub mod connections;
mod dashboard;

/// Longest body.
const BODY_LEN_MAX: usize = 4 * 1024;
/// Time limit of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("server.admin_http: {address}: {reason}")]
pub struct BindError {
    address: SocketAddr,
    reason: io::Error,
}

/// Listens on `address`; connections wait until [`serve`].
///
/// # Errors
/// The address is in use, or does not belong to this machine.
pub fn bind(address: SocketAddr) -> Result<StdListener, BindError> {
    let listen = || {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|reason| BindError { address, reason })
}

/// The contents to serve.
#[derive(Debug)]
pub struct Site {
    /// Source of all data.
    pub sampler: Arc<Sampler>,
}

/// State for answering requests.
struct Desk {
    site: Site,
    guesses: RefCell<Guesses>,
}

/// Serves until the task is ended, on the [`tokio::task::LocalSet`] of this thread.
///
/// # Errors
/// The runtime refuses the listener.
pub fn serve(listener: StdListener, site: Site) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::from_std(listener)?;
    let guesses = RefCell::default();
    let desk = Rc::new(Desk { site, guesses });
    let answer = move |request, peer| {
        let desk = Rc::clone(&desk);
        async move { desk.answer(request, peer).await }
    };
    Ok(spawn_local(serve_connections(
        listener,
        "server.admin_http",
        answer,
    )))
}

/// The data of the page.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    overview: Overview,
    /// Whether servers may be drained here.
    write: bool,
}

/// A request to drain a server or to lift the drain.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// `BACKEND/SERVER`.
    server: String,
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let path = request.uri().path().to_owned();
        // Load balancers and Prometheus may use any name for this process.
        let public = matches!(&*path, "/metrics" | "/healthz" | "/readyz");
        let reads = public || matches!(&*path, "/" | "/api/overview");
        let changes = matches!(&*path, "/api/drain" | "/api/undrain");
        if !reads && !changes {
            return plain(StatusCode::NOT_FOUND, "nothing here\n");
        }
        if !public && !self.is_ours(&request) {
            return misdirected();
        }
        match *request.method() {
            Method::GET | Method::HEAD if reads => self.read(&path).await,
            Method::POST if changes => self
                .change(request, &path, peer)
                .await
                .unwrap_or_else(|refusal| refusal),
            _ if reads => only("GET, HEAD"),
            _ => only("POST"),
        }
    }

    /// Returns whether the requested name is one of ours.
    fn is_ours(&self, request: &Request<Incoming>) -> bool {
        let scene = self.site.sampler.sources().scene();
        authority(request).is_some_and(|it| access::is_ours(it, &scene.access.hosts))
    }

    async fn read(&self, path: &str) -> Answer {
        let sampler = &self.site.sampler;
        match path {
            "/" => dashboard::answer(),
            "/api/overview" => self.overview().await,
            "/metrics" => match metrics::text(sampler).await {
                Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
                Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "no metrics\n"),
            },
            "/readyz" if sampler.sources().is_draining() => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            _ => plain(StatusCode::OK, "ok\n"),
        }
    }

    async fn overview(&self) -> Answer {
        let sampler = &self.site.sampler;
        let shown = Shown {
            overview: overview(sampler).await,
            write: sampler.sources().scene().access.write,
        };
        match serde_json::to_vec(&shown) {
            Ok(json) => page(StatusCode::OK, "application/json", json),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "no overview\n"),
        }
    }

    /// Drains a server or lifts the drain, if the client may do so.
    async fn change(
        &self,
        request: Request<Incoming>,
        path: &str,
        peer: IpAddr,
    ) -> Result<Answer, Answer> {
        if let Some(refusal) = self.refusal(&request, peer) {
            return Err(refusal);
        }
        if sole(&request, &CONTENT_TYPE).is_none_or(|it| !is_json(it)) {
            let advice = "the body has to be application/json\n";
            return Err(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, advice));
        }
        let body = body_of(request).await?;
        let wish: Wish = serde_json::from_slice(&body).map_err(|error| {
            let said = format!("the body is not {{\"server\": \"BACKEND/SERVER\"}}: {error}\n");
            plain(StatusCode::BAD_REQUEST, said)
        })?;
        let drains = path == "/api/drain";
        let (command, server) = (if drains { "drain" } else { "undrain" }, &wish.server);
        tracing::info!(%peer, command, server, "admin http");
        match mark(self.site.sampler.sources(), server, drains) {
            Ok(done) => Ok(plain(StatusCode::OK, done + "\n")),
            Err(why) => Err(plain(StatusCode::NOT_FOUND, why + "\n")),
        }
    }

    /// Returns the refusal for a client that may not change anything; none for one that may.
    fn refusal(&self, request: &Request<Incoming>, peer: IpAddr) -> Option<Answer> {
        let scene = self.site.sampler.sources().scene();
        let Some(token) = scene.access.token.as_ref().filter(|_| scene.access.write) else {
            return Some(plain(StatusCode::FORBIDDEN, READ_ONLY));
        };
        let same = |origin| authority(request).is_some_and(|it| access::is_same_origin(origin, it));
        if request.headers().contains_key(ORIGIN) && !sole(request, &ORIGIN).is_some_and(same) {
            return Some(plain(StatusCode::FORBIDDEN, "not from another origin\n"));
        }
        let now = Instant::now();
        let mut guesses = self.guesses.borrow_mut();
        if let Some(pause) = guesses.pause(peer, now) {
            let mut answer = plain(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens\n");
            let seconds = HeaderValue::from(pause.as_secs() + 1);
            answer.headers_mut().insert(RETRY_AFTER, seconds);
            return Some(answer);
        }
        let Some(offered) = sole(request, &AUTHORIZATION).and_then(access::bearer) else {
            return Some(unauthorized(
                "this takes the token of server.admin_http_token\n",
            ));
        };
        if access::is_secret(offered, &token.secret) {
            return None;
        }
        guesses.wrong(peer, now);
        tracing::warn!(%peer, "admin http: a wrong token");
        Some(unauthorized("this is not the token\n"))
    }
}

const READ_ONLY: &str = "nothing is changed here: server.admin_http_write is not true\n";

/// Returns the authority of the request: that of its target, or its Host.
fn authority(request: &Request<Incoming>) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => sole(request, &HOST),
    }
}

/// Returns the value of a header line that occurs once, if it is ASCII.
fn sole<'r>(request: &'r Request<Incoming>, name: &HeaderName) -> Option<&'r str> {
    let mut values = request.headers().get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => only.to_str().ok(),
        (None | Some(_), _) => None,
    }
}

/// Returns whether a media type is that of JSON; forms cannot send it.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

async fn body_of(request: Request<Incoming>) -> Result<Bytes, Answer> {
    let limited = Limited::new(request.into_body(), BODY_LEN_MAX);
    match timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too long\n",
        )),
        Ok(Err(_)) => Err(plain(StatusCode::BAD_REQUEST, "the body is malformed\n")),
        Err(_) => Err(plain(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long\n",
        )),
    }
}

fn misdirected() -> Answer {
    let advice = "this name is not in server.admin_http_hosts; use the address or add it\n";
    plain(StatusCode::MISDIRECTED_REQUEST, advice)
}

fn unauthorized(text: &'static str) -> Answer {
    let mut answer = plain(StatusCode::UNAUTHORIZED, text);
    let scheme = HeaderValue::from_static("Bearer realm=\"longsplice\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    answer
}
