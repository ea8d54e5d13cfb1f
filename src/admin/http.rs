//! `server.admin_http`: metrics, health, the dashboard and what it reads, over HTTP.
//!
//! It runs beside everything else on main and is made for few: connections, heads and times are
//! limited. Reading is free to whoever reaches the address; there is no CORS, so that no page of
//! another origin reads it in somebody's browser.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use super::metrics;
use super::sample::Sampler;

/// Connections at one time; beyond, they wait in the kernel.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take for a head, idle ones included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection lives at the most.
const LIFETIME: Duration = Duration::from_mins(2);
/// Longest head.
const HEAD_LEN_MAX: usize = 16 * 1024;
/// How long accepting rests when it fails.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

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
/// The address is taken, or not ours.
pub fn bind(address: SocketAddr) -> Result<StdListener, BindError> {
    let listen = || {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|reason| BindError { address, reason })
}

/// What is served.
#[derive(Debug)]
pub struct Site {
    /// Where everything is read.
    pub sampler: Arc<Sampler>,
}

/// Serves until the task is ended, on the [`tokio::task::LocalSet`] of this thread.
///
/// # Errors
/// The runtime does not take the listener.
pub fn serve(listener: StdListener, site: Site) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::from_std(listener)?;
    Ok(spawn_local(accept(listener, Rc::new(site))))
}

async fn accept(listener: TcpListener, site: Rc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "server.admin_http: accept");
                sleep(PAUSE).await;
                continue;
            }
        };
        let site = Rc::clone(&site);
        spawn_local(async move {
            let _place = place;
            let service = service_fn(move |request| answer(Rc::clone(&site), request));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_LEN_MAX)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(LIFETIME, served).await {
                tracing::debug!(%error, "server.admin_http: a connection ended");
            }
        });
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(site: Rc<Site>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    Ok(match request.uri().path() {
        path @ ("/metrics" | "/healthz" | "/readyz") if reads => read(&site, path).await,
        "/metrics" | "/healthz" | "/readyz" => {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            answer
        }
        _ => plain(StatusCode::NOT_FOUND, "nothing here\n"),
    })
}

async fn read(site: &Site, path: &str) -> Answer {
    match path {
        "/metrics" => match metrics::text(&site.sampler).await {
            Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "no metrics\n"),
        },
        "/readyz" if site.sampler.sources().is_draining() => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        _ => plain(StatusCode::OK, "ok\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    page(status, TEXT, text)
}

/// Makes an answer that nobody keeps and nobody guesses the type of.
fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    answer
}
