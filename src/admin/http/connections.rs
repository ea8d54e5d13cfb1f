//! Serves the HTTP/1.1 connections of one listener on its thread, among other tasks.
//!
//! The service is made for few clients: connections, heads and times are limited. The function that answers
//! requests interprets them.

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::answers::Answer;

/// Connections at one time; more wait in the kernel. Upgraded connections do not count.
const CONNECTIONS_MAX: usize = 64;
/// Time limit of a head; an idle connection counts as one that sends a head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection lives at most, unless it is upgraded.
const LIFETIME: Duration = Duration::from_mins(2);
/// Longest head.
const HEAD_LEN_BYTES_MAX: usize = 16 * 1024;
/// Pause of accepting after an error.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and answers their requests with `answer`, which gets the client's address too.
///
/// Never returns. Connections run on the [`tokio::task::LocalSet`] of this thread; `name` precedes errors in
/// the diagnostics.
pub async fn serve_connections<F>(
    listener: TcpListener,
    name: &'static str,
    answer: impl Fn(Request<Incoming>, IpAddr) -> F + 'static,
) where
    F: Future<Output = Answer> + 'static,
{
    let answer = Rc::new(answer);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "{name}: accept");
                sleep(PAUSE).await;
                continue;
            }
        };
        let answer = Rc::clone(&answer);
        spawn_local(async move {
            let _place = place;
            let service = service_fn(|request| {
                let answered = answer(request, peer.ip());
                async { Ok::<_, Infallible>(answered.await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_LEN_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Ok(Err(error)) = timeout(LIFETIME, served).await {
                tracing::debug!(%error, "{name}: a connection ended");
            }
        });
    }
}
