//! The closed list of causes: why a connection or a request ended.
//!
//! A cause is declared once, with its name, its side and one sentence.

/// Who ended a connection, or whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client, or what stands in front of us.
    Client,
    /// The server.
    Server,
    /// longsplice itself: a limit, a stop, a resource of this machine.
    Proxy,
}

impl Side {
    /// Returns the word of the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Proxy => "proxy",
        }
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $side:ident;)*) => {
        /// Why a connection or a request ended: the closed list, documented in the README.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Cause { $($(#[$doc])* $variant,)* }

        impl Cause {
            /// Every cause, in the order of the README.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name in logs and metrics, in kebab-case.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the side it came from.
            #[must_use]
            pub fn side(self) -> Side {
                match self { $(Self::$variant => Side::$side,)* }
            }
        }
    };
}

causes! {
    /// The client ended first, in good order.
    ClientClosed, "client-closed", Client;
    /// The server ended first, in good order.
    ServerClosed, "server-closed", Server;
    /// The client's TLS connection ended without close_notify: whether it had said all is unknown.
    ClientTruncated, "client-truncated", Client;
    /// The server's TLS connection ended without close_notify: whether it had said all is unknown.
    ServerTruncated, "server-truncated", Server;
    /// The client's connection was reset.
    ClientReset, "client-reset", Client;
    /// The server's connection was reset.
    ServerReset, "server-reset", Server;
    /// Neither side of the tunnel said anything for `tunnel_idle`.
    TunnelIdle, "tunnel-idle", Proxy;
    /// One side had ended, and the other said nothing for `half_close`.
    HalfCloseIdle, "half-close-idle", Proxy;
    /// Ended by a stop of longsplice.
    Drained, "drained", Proxy;
    /// Ended by an operator (`longsplice ctl kill`).
    Killed, "killed", Proxy;
    /// A request was served.
    Served, "served", Proxy;
    /// A connection was opened and closed, or sent LOCAL or UNKNOWN, and nothing else: a probe.
    Probe, "probe", Client;
    /// The PROXY header was not complete within `proxy_header`.
    ProxyHeaderTimeout, "proxy-header-timeout", Client;
    /// `require`, and a trusted source sent something else than a PROXY header.
    ProxyHeaderMissing, "proxy-header-missing", Client;
    /// The PROXY header is malformed.
    ProxyHeaderMalformed, "proxy-header-malformed", Client;
    /// `require`, and the source is not in `trusted_proxies`.
    UntrustedSource, "untrusted-source", Client;
    /// The TLS handshake came to nothing, or the client does not speak TLS.
    TlsHandshakeFailed, "tls-handshake-failed", Client;
    /// The TLS handshake was not complete within `tls_handshake`.
    TlsHandshakeTimeout, "tls-handshake-timeout", Client;
    /// A TLS record of the client is wrong, or too many of them carry nothing.
    TlsBadRecord, "tls-bad-record", Client;
    /// A TLS record of the server is wrong, or too many of them carry nothing.
    ServerTlsBadRecord, "server-tls-bad-record", Server;
    /// A peer's TLS keys change, and the kernel that has ours cannot change them.
    TlsKeyUpdateUnsupported, "tls-key-update-unsupported", Proxy;
    /// The TLS keys have sealed as many records as they may, and cannot be changed.
    TlsRecordLimit, "tls-record-limit", Proxy;
    /// The request head was not complete within `request_header`.
    RequestHeaderTimeout, "request-header-timeout", Client;
    /// No further request came within `keep_alive`; counted, without a line.
    KeepAliveTimeout, "keep-alive-timeout", Client;
    /// The client closed in the middle of a request.
    RequestIncomplete, "request-incomplete", Client;
    /// The request is malformed or ambiguous.
    BadRequest, "bad-request", Client;
    /// The request is a WebSocket upgrade that breaks RFC 6455.
    BadUpgrade, "bad-upgrade", Client;
    /// The request asks for another version of the WebSocket protocol than 13.
    WebsocketVersion, "websocket-version", Client;
    /// The request line is longer than `limits.request_line`.
    RequestLineTooLong, "request-line-too-long", Client;
    /// The head is longer than `limits.head` or has more lines than `limits.headers`.
    RequestHeadTooLarge, "request-head-too-large", Client;
    /// The body is longer than `limits.max_body`.
    BodyTooLarge, "body-too-large", Client;
    /// The client did not read its answer for `timeouts.response`.
    ClientStalled, "client-stalled", Client;
    /// The body was silent for too long.
    BodyTimeout, "body-timeout", Client;
    /// No route fits.
    NoRoute, "no-route", Client;
    /// A route answered with a redirect.
    Redirected, "redirected", Proxy;
    /// A route answered with a fixed text.
    Responded, "responded", Proxy;
    /// No server of the backend may be used.
    NoServer, "no-server", Server;
    /// Every server is at its `max_connections`, and `max_queue` requests wait already.
    QueueFull, "queue-full", Server;
    /// The request waited for a server for `timeouts.queue`.
    QueueTimeout, "queue-timeout", Server;
    /// The server refused the connection.
    ConnectRefused, "connect-refused", Server;
    /// The connection to the server was not open within `connect`.
    ConnectTimeout, "connect-timeout", Server;
    /// The server cannot be reached, or the system refused to try.
    ConnectFailed, "connect-failed", Server;
    /// The TLS handshake with the server came to nothing: its certificate, its versions, or no TLS.
    ServerTlsFailed, "server-tls-failed", Server;
    /// The TLS handshake with the server was not complete within `connect`.
    ServerTlsTimeout, "server-tls-timeout", Server;
    /// The server closed or reset before its answer was complete.
    ResponseIncomplete, "response-incomplete", Server;
    /// The server's answer was not there within `response`.
    ResponseTimeout, "response-timeout", Server;
    /// The server's answer is malformed or ambiguous.
    BadResponse, "bad-response", Server;
    /// This machine has no descriptor, memory or port left.
    OutOfResources, "out-of-resources", Proxy;
    /// A defect of longsplice; please report it.
    InternalError, "internal-error", Proxy;
}
