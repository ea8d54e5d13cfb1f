//! `longsplice demo`: an embedded WebSocket application, the proxy in front of it, and a page to
//! try it in a browser. No file, no root, nothing to install.
//!
//! The application is an ordinary one on a port of its own: it learns who the client is from the
//! headers that longsplice adds, and shows it. The certificate is made at the start and lives in
//! memory only, so every demo has another one.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::sys::memfd::{MFdFlags, memfd_create};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType, date_time_ymd};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

use super::echo::echo;
use crate::admin::http::answers::{Answer, only, page, plain};
use crate::admin::http::connections::serve_connections;
use crate::proto::websocket::{VERSION, accept_of, is_valid_key};

/// The page; it loads nothing from anywhere.
const PAGE: &str = include_str!("page.html");
/// What the page may do (Content-Security-Policy).
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self' ws: wss:";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the certificate is good for: some systems refuse more than 825 days.
const VALIDITY_DAYS: u32 = 365;

/// Starts the application on a thread of its own and returns its address.
///
/// # Errors
/// No port of the loopback interface is free, or the system refuses the thread.
pub(super) fn start_application() -> io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    std::thread::Builder::new()
        .name("demo-app".to_owned())
        .spawn(move || {
            let served =
                serve_connections(listener, "demo", |request, _| async { answer(request) });
            LocalSet::new().block_on(&runtime, served);
        })?;
    Ok(address)
}

/// A certificate and its key, self-signed, in a file that has no name and is removed with this
/// value.
pub(super) struct Certificate(File);

impl Certificate {
    /// Makes one for this machine's own names and for the address that is listened on.
    ///
    /// # Errors
    /// The system has no memory for it, or no randomness.
    pub(super) fn make(listen: IpAddr) -> io::Result<Self> {
        let mut params =
            CertificateParams::new(["localhost".to_owned()]).map_err(io::Error::other)?;
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let addresses = loopback.into_iter().chain([listen]);
        for address in addresses.filter(|address| !address.is_unspecified()) {
            let name = SanType::IpAddress(address);
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = date_time_ymd(1970, 1, 1) + since_1970.map_err(io::Error::other)?;
        // A browser's clock may be behind.
        params.not_before = now - DAY;
        params.not_after = now + DAY * VALIDITY_DAYS;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let mut file = File::from(memfd_create("demo.pem", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(key.serialize_pem().as_bytes())?;
        file.write_all(certificate.pem().as_bytes())?;
        Ok(Self(file))
    }

    /// Returns the path under which this process can open the file.
    #[must_use]
    pub(super) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

/// Returns the configuration that puts longsplice on `listen` in front of the application.
#[must_use]
pub(super) fn configuration(listen: SocketAddr, application: SocketAddr, pem: &str) -> String {
    format!(
        r#"[server]
max_connections = 1000
drain_timeout = "1s"

[[listener]]
name = "demo"
bind = ["{listen}"]

[listener.tls]
certificates = ["{pem}"]

[[listener.route]]
backend = "application"

[[backend]]
name = "application"

[[backend.server]]
address = "{application}"
"#
    )
}

fn answer(request: Request<Incoming>) -> Answer {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/" if reads => page_for(request.headers()),
        "/" => only("GET, HEAD"),
        "/ws" if request.method() == Method::GET => open_websocket(request),
        "/ws" => only("GET"),
        _ => plain(StatusCode::NOT_FOUND, "nothing here\n"),
    }
}

/// The page names the client as the application sees it: what X-Real-IP says, if it is an address.
fn page_for(headers: &HeaderMap) -> Answer {
    let client = headers
        .get("x-real-ip")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<IpAddr>().ok())
        .map_or_else(|| "an unknown client".to_owned(), |ip| ip.to_string());
    let text = PAGE.replace("{client}", &client);
    let mut answer = page(StatusCode::OK, "text/html; charset=utf-8", text);
    let policy = HeaderValue::from_static(POLICY);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    answer
}

/// Opens a WebSocket (RFC 6455 section 4.2) and has its messages echoed.
fn open_websocket(request: Request<Incoming>) -> Answer {
    let Some(accept) = accept_for(request.headers()) else {
        let mut answer = plain(StatusCode::UPGRADE_REQUIRED, "this is for WebSockets\n");
        let headers = answer.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        return answer;
    };
    spawn_local(async move {
        let ended = match hyper::upgrade::on(request).await {
            Ok(connection) => echo(TokioIo::new(connection)).await,
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "demo: a WebSocket ended");
        }
    });
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// Returns the Sec-WebSocket-Accept for a request that opens a WebSocket; nothing for another request.
fn accept_for(headers: &HeaderMap) -> Option<HeaderValue> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let names = |name, token: &str| {
        text(name).is_some_and(|list| {
            let mut tokens = list.split(',').map(str::trim);
            tokens.any(|it| it.eq_ignore_ascii_case(token))
        })
    };
    let key = text(SEC_WEBSOCKET_KEY).filter(|key| is_valid_key(key))?;
    let opens = names(CONNECTION, "upgrade")
        && names(UPGRADE, "websocket")
        && text(SEC_WEBSOCKET_VERSION) == Some(VERSION);
    opens.then(|| HeaderValue::try_from(accept_of(key)).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_websocket_is_opened_only_as_the_rfc_asks() {
        let opening = [
            (CONNECTION, "keep-alive, Upgrade"),
            (UPGRADE, "WebSocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let headers_with = |changed: Option<(HeaderName, &'static str)>| {
            let mut headers = HeaderMap::new();
            for (name, value) in opening.clone().into_iter().chain(changed) {
                headers.insert(name, HeaderValue::from_static(value));
            }
            headers
        };
        let accept = accept_for(&headers_with(None)).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for changed in [
            (CONNECTION, "keep-alive"),
            (UPGRADE, "h2c"),
            (SEC_WEBSOCKET_VERSION, "8"),
            (SEC_WEBSOCKET_KEY, "short"),
        ] {
            assert_eq!(
                accept_for(&headers_with(Some(changed.clone()))),
                None,
                "{changed:?}"
            );
        }
    }

    #[test]
    fn the_configuration_is_legal() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8443));
        let certificate = Certificate::make(listen.ip()).unwrap();
        let text = configuration(listen, listen, &certificate.path());
        let config = crate::config::parse(&text, Path::new("demo")).unwrap();
        assert!(config.warnings.is_empty());
    }
}
