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

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nix::sys::memfd::{MFdFlags, memfd_create};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType, date_time_ymd};
use tokio::net::TcpListener;

/// The page; it loads nothing from anywhere.
const PAGE: &str = include_str!("page.html");
/// What the page may do (Content-Security-Policy).
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self' ws: wss:";
/// Bytes of one message that the application takes.
const MESSAGE_LEN_BYTES_MAX: usize = 64 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the certificate is good for: some systems refuse more than 825 days.
const VALIDITY_DAYS: u32 = 365;

/// Where the demo listens unless told otherwise.
pub(super) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

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
            let application = Router::new()
                .route("/", get(page))
                .route("/ws", get(websocket));
            let served = runtime.block_on(async { axum::serve(listener, application).await });
            if let Err(error) = served {
                tracing::error!(%error, "the demo's application ended");
            }
        })?;
    Ok(address)
}

/// A certificate and its key, signed by nobody else, in a file that has no name and ends with this
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

/// The page names the client as the application sees it: what X-Real-IP says, if it is an address.
async fn page(request_headers: HeaderMap) -> Response {
    let client = request_headers
        .get("x-real-ip")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<IpAddr>().ok())
        .map_or_else(|| "nobody in particular".to_owned(), |ip| ip.to_string());
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, PAGE.replace("{client}", &client)).into_response()
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MESSAGE_LEN_BYTES_MAX)
        .on_upgrade(echo)
}

/// Sends back whatever comes, and nothing else.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let sent = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_configuration_is_legal() {
        let certificate = Certificate::make(DEFAULT_LISTEN.ip()).unwrap();
        let text = configuration(DEFAULT_LISTEN, DEFAULT_LISTEN, &certificate.path());
        let config = crate::config::parse(&text, Path::new("demo")).unwrap();
        assert!(config.warnings.is_empty());
    }
}
