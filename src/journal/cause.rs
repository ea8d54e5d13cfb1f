//! The closed list of causes: why a connection or a request ended.
//!
//! A cause is declared once, with its name, its side, HAProxy's termination state and one sentence. The
//! formats of the log, the metrics and the manual take them from here.

/// The side that ended a connection, or was at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client, or the balancer in front of longsplice.
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
    ($($variant:ident { name: $name:literal, side: $side:ident, state: $state:literal, text: $text:literal, })*) => {
        /// Why a connection or a request ended: the closed list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Cause { $(#[doc = $text] $variant,)* }

        impl Cause {
            /// Every cause, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name in logs and metrics, in kebab-case.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the side that is responsible.
            #[must_use]
            pub fn side(self) -> Side {
                match self { $(Self::$variant => Side::$side,)* }
            }

            /// Returns HAProxy's termination state (its configuration manual, section 8.5): which
            /// side or limit ended the exchange, and in which phase; `.` = the phase it had reached.
            #[must_use]
            pub fn state(self) -> &'static str {
                match self { $(Self::$variant => $state,)* }
            }

            /// Returns one sentence that describes the cause.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

causes! {
    ClientClosed {
        name: "client-closed",
        side: Client,
        state: "--",
        text: "The client closed first, cleanly.",
    }
    ServerClosed {
        name: "server-closed",
        side: Server,
        state: "--",
        text: "The server closed first, cleanly.",
    }
    ClientTruncated {
        name: "client-truncated",
        side: Client,
        state: "C.",
        text: "The client's TLS connection ended without `close_notify`: its data may be incomplete.",
    }
    ServerTruncated {
        name: "server-truncated",
        side: Server,
        state: "S.",
        text: "The server's TLS connection ended without `close_notify`: its data may be incomplete.",
    }
    ClientReset {
        name: "client-reset",
        side: Client,
        state: "C.",
        text: "The client reset its connection.",
    }
    ServerReset {
        name: "server-reset",
        side: Server,
        state: "S.",
        text: "The server reset its connection.",
    }
    TunnelIdle {
        name: "tunnel-idle",
        side: Proxy,
        state: "cD",
        text: "Neither side of the tunnel sent data for `timeouts.tunnel_idle`.",
    }
    HalfCloseIdle {
        name: "half-close-idle",
        side: Proxy,
        state: "cD",
        text: "One side of the tunnel had closed, and the other sent no data for `timeouts.half_close`.",
    }
    Drained {
        name: "drained",
        side: Proxy,
        state: "K.",
        text: "longsplice stopped before the tunnel or the request had ended.",
    }
    Killed {
        name: "killed",
        side: Proxy,
        state: "K.",
        text: "An operator ended the tunnel (`longsplice ctl kill`).",
    }
    Served {
        name: "served",
        side: Proxy,
        state: "--",
        text: "The request was served.",
    }
    Probe {
        name: "probe",
        side: Client,
        state: "CR",
        text: "The client opened and closed a connection without data, or with a LOCAL or UNKNOWN PROXY header; counted, without a line.",
    }
    ProxyHeaderTimeout {
        name: "proxy-header-timeout",
        side: Client,
        state: "cR",
        text: "The PROXY header was not complete within `timeouts.proxy_header`.",
    }
    ProxyHeaderMissing {
        name: "proxy-header-missing",
        side: Client,
        state: "PR",
        text: "The listener requires a PROXY header, and a trusted source sent other data.",
    }
    ProxyHeaderMalformed {
        name: "proxy-header-malformed",
        side: Client,
        state: "PR",
        text: "The PROXY header is malformed.",
    }
    UntrustedSource {
        name: "untrusted-source",
        side: Client,
        state: "PR",
        text: "The listener requires a PROXY header, and the source is not in `trusted_proxies`.",
    }
    TlsHandshakeFailed {
        name: "tls-handshake-failed",
        side: Client,
        state: "CR",
        text: "The TLS handshake with the client failed, or the client does not speak TLS.",
    }
    TlsHandshakeTimeout {
        name: "tls-handshake-timeout",
        side: Client,
        state: "cR",
        text: "The TLS handshake with the client was not complete within `timeouts.tls_handshake`.",
    }
    TlsBadRecord {
        name: "tls-bad-record",
        side: Client,
        state: "C.",
        text: "The client sent an invalid TLS record, or too many empty ones.",
    }
    ServerTlsBadRecord {
        name: "server-tls-bad-record",
        side: Server,
        state: "S.",
        text: "The server sent an invalid TLS record, or too many empty ones.",
    }
    TlsKeyUpdateUnsupported {
        name: "tls-key-update-unsupported",
        side: Proxy,
        state: "PD",
        text: "A peer changed its TLS keys, and this kernel, which holds the keys of the connection, cannot change them.",
    }
    TlsRecordLimit {
        name: "tls-record-limit",
        side: Proxy,
        state: "PD",
        text: "The TLS keys sealed as many records as they may, and cannot be changed.",
    }
    RequestHeaderTimeout {
        name: "request-header-timeout",
        side: Client,
        state: "cR",
        text: "The request head was not complete within `timeouts.request_header`.",
    }
    KeepAliveTimeout {
        name: "keep-alive-timeout",
        side: Client,
        state: "cR",
        text: "The client sent no further request within `timeouts.keep_alive`; counted, without a line.",
    }
    RequestIncomplete {
        name: "request-incomplete",
        side: Client,
        state: "CR",
        text: "The client closed in the middle of a request.",
    }
    BadRequest {
        name: "bad-request",
        side: Client,
        state: "PR",
        text: "The request is malformed or ambiguous.",
    }
    BadUpgrade {
        name: "bad-upgrade",
        side: Client,
        state: "PR",
        text: "The request is a WebSocket upgrade that violates RFC 6455.",
    }
    WebsocketVersion {
        name: "websocket-version",
        side: Client,
        state: "PR",
        text: "The request asks for a version of the WebSocket protocol other than 13.",
    }
    UnknownCoding {
        name: "unknown-coding",
        side: Client,
        state: "PR",
        text: "The request's Transfer-Encoding names a coding other than `chunked`, the only one that longsplice knows.",
    }
    RequestLineTooLong {
        name: "request-line-too-long",
        side: Client,
        state: "PR",
        text: "The request line is longer than `limits.request_line`.",
    }
    RequestHeadTooLarge {
        name: "request-head-too-large",
        side: Client,
        state: "PR",
        text: "The request head is longer than `limits.head` or has more lines than `limits.headers`.",
    }
    BodyTooLarge {
        name: "body-too-large",
        side: Client,
        state: "PR",
        text: "The request body is longer than `limits.max_body`.",
    }
    ClientStalled {
        name: "client-stalled",
        side: Client,
        state: "cD",
        text: "The client did not read its response for `timeouts.response`.",
    }
    BodyTimeout {
        name: "body-timeout",
        side: Client,
        state: "cD",
        text: "The client sent no part of the request body for too long.",
    }
    NoRoute {
        name: "no-route",
        side: Client,
        state: "PR",
        text: "No route matches the request.",
    }
    Redirected {
        name: "redirected",
        side: Proxy,
        state: "LR",
        text: "A route answered with a redirect.",
    }
    Responded {
        name: "responded",
        side: Proxy,
        state: "LR",
        text: "A route answered with a fixed response.",
    }
    NoServer {
        name: "no-server",
        side: Server,
        state: "SC",
        text: "No server of the backend is available.",
    }
    QueueFull {
        name: "queue-full",
        side: Server,
        state: "SQ",
        text: "Every server is at its `max_connections`, and `max_queue` requests are waiting already.",
    }
    QueueTimeout {
        name: "queue-timeout",
        side: Server,
        state: "sQ",
        text: "The request waited in the queue for `timeouts.queue`.",
    }
    ConnectRefused {
        name: "connect-refused",
        side: Server,
        state: "SC",
        text: "The server refused the connection.",
    }
    ConnectTimeout {
        name: "connect-timeout",
        side: Server,
        state: "sC",
        text: "The connection to the server was not open within `timeouts.connect`.",
    }
    ConnectFailed {
        name: "connect-failed",
        side: Server,
        state: "SC",
        text: "The server is unreachable, or this machine's kernel refused to connect.",
    }
    ServerTlsFailed {
        name: "server-tls-failed",
        side: Server,
        state: "SC",
        text: "The TLS handshake with the server failed: its certificate, its versions, no TLS at all, or an alert of the server before its first byte.",
    }
    ServerTlsTimeout {
        name: "server-tls-timeout",
        side: Server,
        state: "sC",
        text: "The TLS handshake with the server was not complete within `timeouts.connect`.",
    }
    ResponseIncomplete {
        name: "response-incomplete",
        side: Server,
        state: "S.",
        text: "The server closed or reset its connection before its response was complete.",
    }
    ResponseTimeout {
        name: "response-timeout",
        side: Server,
        state: "s.",
        text: "The server did not respond within `timeouts.response`.",
    }
    BadResponse {
        name: "bad-response",
        side: Server,
        state: "PH",
        text: "The server's response is malformed or ambiguous.",
    }
    OutOfResources {
        name: "out-of-resources",
        side: Proxy,
        state: "R.",
        text: "This machine has no descriptor, memory or port left.",
    }
    InternalError {
        name: "internal-error",
        side: Proxy,
        state: "I.",
        text: "A defect of longsplice; please report it.",
    }
}

/// Writes the page of the manual that lists the causes, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = REFERENCE_HEAD.to_owned();
    for cause in Cause::ALL {
        let (name, side) = (cause.as_str(), cause.side().as_str());
        page += &format!(
            "| `{name}` | {side} | `{}` | {} |\n",
            cause.state(),
            cause.text()
        );
    }
    page
}

const REFERENCE_HEAD: &str = "\
# Causes

Every line of the log that reports an end names its cause, and so do `longsplice ctl status`, the dashboard and the
metrics with a `cause` label. The list is closed: a name here never changes its meaning.

The side says who ended the connection or whose fault the end was: the `client`, the `server`, or longsplice itself
(`proxy`). The state is the pair of letters that `access = \"httplog\"` writes, as in section 8.5 of HAProxy's
configuration manual. A dot stands for the phase that the connection had reached: `R` request, `Q` queue, `C` connecting,
`H` waiting for the response head, `D` data.

| cause | side | state | what happened |
|---|---|---|---|
";
