//! What happened to connections: the closed list of causes, the entries, and the bounded queue that
//! carries them to the thread that writes them.
//!
//! A data thread never waits here: an entry that finds the queue full is dropped and counted.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

use tracing::Level;

use crate::proto::addr::PeerAddr;

pub mod counts;
mod timing;

pub use counts as tally;
use counts::{Count, Tally, Way};
pub use timing::{Connections, Timing};

/// Entries that may wait for the writer; at about 400 bytes each this is 26 MB at the worst.
const QUEUE_LEN_MAX: usize = 65_536;
/// Bytes of what strangers sent, and of diagnostics, in the queue: 256 for each entry of a full one.
const QUEUED_TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

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

/// What is known of a connection from its opening on; shared by all its entries.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Name of the listener.
    pub listener: Arc<str>,
    /// The address of the connection itself.
    pub peer: PeerAddr,
    /// Who the client is.
    pub client: PeerAddr,
    /// Name of the backend, once chosen.
    pub backend: Option<Arc<str>>,
    /// Name of the server, once chosen.
    pub server: Option<Arc<str>>,
    /// When the connection was accepted (or the request began).
    pub started: SystemTime,
    /// Whether the client speaks TLS that ends here.
    pub over_tls: bool,
    /// Whether the listener speaks HTTP; else every connection is a tunnel.
    pub is_http: bool,
    /// How long its parts took, as far as anybody measured.
    pub timing: Option<Box<Timing>>,
    /// The upgrade request of a tunnel, where lines of its end tell it ([`Wishes::stories`]).
    pub request: Option<Box<RequestFacts>>,
}

/// How bytes of one direction went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Path {
    /// Some by recv and send.
    pub copied: bool,
    /// Some by splice.
    pub spliced: bool,
    /// Some as TLS records opened or sealed by us.
    pub records: bool,
    /// From some point on as TLS records opened or sealed by the kernel.
    pub kernel: bool,
    /// Whether the kernel has the records, or why not: those of the client, or else of the server; none =
    /// neither speaks TLS.
    pub offload: Option<Offloaded>,
}

/// Whether the kernel has the records of one direction, or why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloaded {
    /// It has.
    Kernel,
    /// `offload = "never"`.
    Never,
    /// This kernel does no TLS of this version and cipher in this direction, or is slow at it.
    NotOffered,
    /// The direction was not bulky.
    NotBulky,
    /// The tunnel ended before the records came to a boundary.
    NotYet,
    /// The kernel would not have them.
    Refused,
}

impl Offloaded {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::Kernel,
        Self::Never,
        Self::NotOffered,
        Self::NotBulky,
        Self::NotYet,
        Self::Refused,
    ];

    /// Returns the word of the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Never => "never",
            Self::NotOffered => "not-offered",
            Self::NotBulky => "not-bulky",
            Self::NotYet => "not-yet",
            Self::Refused => "refused",
        }
    }
}

impl std::fmt::Display for Path {
    /// Writes the words of the log, joined by `+`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [
            (self.records, "user-records"),
            (self.kernel, "kernel-tls"),
            (self.copied, "copy"),
            (self.spliced, "splice"),
        ];
        let mut between = "";
        for (_, word) in words.into_iter().filter(|(used, _)| *used) {
            write!(f, "{between}{word}")?;
            between = "+";
        }
        if between.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

/// The request line and what came of it, for access lines.
#[derive(Debug, Clone)]
pub struct RequestFacts {
    /// Method as received.
    pub method: String,
    /// Target as received, at most the first 1024 bytes.
    pub target: String,
    /// Host as received.
    pub host: String,
    /// HTTP version, `1.0` or `1.1`.
    pub version: &'static str,
    /// Status sent to the client.
    pub status: u16,
    /// Referer, if sent.
    pub referer: Option<String>,
    /// User-Agent, if sent.
    pub user_agent: Option<String>,
}

/// One thing to write.
#[derive(Debug)]
pub enum Entry {
    /// A line of diagnostics.
    Diagnostic {
        /// When it was said.
        time: SystemTime,
        /// How grave it is.
        level: Level,
        /// What was said, without a line end.
        text: String,
    },
    /// Whoever writes to a file opens it again.
    Reopen,
    /// Nothing that comes after this is written; for [`Entries`] alone.
    End,
    /// A tunnel opened.
    Open {
        /// Whose.
        subject: Box<Subject>,
        /// The upgrade request, unless the tunnel is of `tcp` or `sni` mode.
        request: Option<Box<RequestFacts>>,
    },
    /// A tunnel goes on.
    Progress {
        /// Whose.
        subject: Box<Subject>,
        /// Bytes received from the client since the tunnel opened.
        bytes_in: u64,
        /// Bytes sent to the client since the tunnel opened.
        bytes_out: u64,
        /// Since accept.
        lasted: Duration,
    },
    /// A tunnel ended.
    Close {
        /// Whose.
        subject: Box<Subject>,
        /// Why.
        cause: Cause,
        /// Bytes received from the client since the tunnel opened.
        bytes_in: u64,
        /// Bytes sent to the client since the tunnel opened.
        bytes_out: u64,
        /// How the bytes from the client went.
        path_in: Path,
        /// How the bytes to the client went.
        path_out: Path,
        /// From accept to the end.
        lasted: Duration,
    },
    /// A request that was no upgrade, or an upgrade that was refused, was answered.
    Request {
        /// Whose.
        subject: Box<Subject>,
        /// What was asked and answered.
        request: Box<RequestFacts>,
        /// Why it ended so.
        cause: Cause,
        /// Bytes of body received from the client.
        bytes_in: u64,
        /// Bytes of body sent to the client.
        bytes_out: u64,
        /// From the first byte of the request (or accept) to the end.
        lasted: Duration,
    },
    /// A connection or a request was refused.
    Refused {
        /// Whose.
        subject: Box<Subject>,
        /// Why.
        cause: Cause,
        /// The rule that was broken, in words; empty when the cause says it all.
        detail: String,
        /// Status of our own answer; none = closed without one.
        status: Option<u16>,
        /// What was asked, if the head could be read.
        request: Option<Box<RequestFacts>>,
        /// From accept to the end.
        lasted: Duration,
    },
}

impl RequestFacts {
    fn text_bytes(&self) -> usize {
        let sent = [&self.referer, &self.user_agent];
        let sent = sent.into_iter().flatten().map(String::len).sum::<usize>();
        self.method.len() + self.target.len() + self.host.len() + sent
    }
}

impl Entry {
    /// Returns how much text it holds that somebody else gave the length of.
    fn text_bytes(&self) -> usize {
        let of = |request: &Option<Box<RequestFacts>>| {
            request.as_ref().map_or(0, |request| request.text_bytes())
        };
        match self {
            Self::Diagnostic { text, .. } => text.len(),
            Self::Reopen | Self::End => 0,
            Self::Open { subject, request } => of(&subject.request) + of(request),
            Self::Progress { subject, .. } | Self::Close { subject, .. } => of(&subject.request),
            Self::Request { request, .. } => request.text_bytes(),
            Self::Refused {
                detail, request, ..
            } => detail.len() + of(request),
        }
    }
}

/// The sending end: cheap to clone, one per thread.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: Sender<Entry>,
    shared: Arc<Counts>,
    wishes: Arc<PresentWishes>,
}

/// What the writer makes of entries, so that nobody prepares what is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// Whether entries become access lines.
    pub lines: bool,
    /// Whether the line of a tunnel's end tells the request that opened it.
    pub stories: bool,
    /// How often a tunnel that goes on gets a line; none = never.
    pub progress: Option<Duration>,
}

/// The wishes of this moment, shared by every sending end; a reload changes them.
#[derive(Debug)]
pub struct PresentWishes {
    lines: AtomicBool,
    stories: AtomicBool,
    /// In milliseconds; 0 = never.
    progress_ms: AtomicU64,
}

impl PresentWishes {
    /// Says what the writer makes of entries from now on.
    pub fn set(&self, wishes: Wishes) {
        let Wishes {
            lines,
            stories,
            progress,
        } = wishes;
        let ms = progress.map_or(0, |pause| pause.as_millis().max(1));
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        self.lines.store(lines, Ordering::Relaxed);
        self.stories.store(stories, Ordering::Relaxed);
        self.progress_ms.store(ms, Ordering::Relaxed);
    }
}

/// How often each cause was seen since the start.
#[derive(Debug)]
pub struct Counts {
    tally: Tally,
    by_cause: Vec<AtomicU64>,
    dropped: AtomicU64,
    /// Entries in the queue.
    waiting: AtomicUsize,
    /// Bytes of text in them.
    text_bytes: AtomicUsize,
    /// Whether a wish to open files again is in the queue.
    reopening: AtomicBool,
}

impl Counts {
    /// Takes an entry with so much text off the queue.
    fn leave(&self, text_bytes: usize) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.text_bytes.fetch_sub(text_bytes, Ordering::Relaxed);
    }

    /// Returns how often `cause` was counted.
    #[must_use]
    pub fn of(&self, cause: Cause) -> u64 {
        self.by_cause
            .get(cause as usize)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Returns where things are counted by name.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Returns how many entries wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns how many entries found the queue full and were not written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Makes a journal; the receiver is for the writer's thread.
#[must_use]
pub fn journal() -> (Journal, Entries) {
    // Bounded by a count: a channel with a bound of its own keeps the room of every entry it has
    // ever held, this one only of those that wait.
    let (queue, entries) = channel();
    let by_cause = Cause::ALL.iter().map(|_| AtomicU64::new(0)).collect();
    let shared = Arc::new(Counts {
        tally: Tally::new(),
        by_cause,
        dropped: AtomicU64::new(0),
        waiting: AtomicUsize::new(0),
        text_bytes: AtomicUsize::new(0),
        reopening: AtomicBool::new(false),
    });
    let entries = Entries {
        queue: entries,
        shared: Arc::clone(&shared),
        ended: Cell::new(false),
    };
    let journal = Journal {
        queue,
        shared,
        wishes: Arc::new(PresentWishes {
            lines: AtomicBool::new(true),
            stories: AtomicBool::new(false),
            progress_ms: AtomicU64::new(0),
        }),
    };
    (journal, entries)
}

/// The receiving end, for the writer's thread.
#[derive(Debug)]
pub struct Entries {
    queue: Receiver<Entry>,
    shared: Arc<Counts>,
    /// Whether the end has been taken out.
    ended: Cell<bool>,
}

impl Entries {
    /// Waits for the next entry, at most `patience`; none = no limit.
    #[must_use]
    pub fn next_within(&self, patience: Option<Duration>) -> Waited {
        if self.ended.get() {
            return Waited::Closed;
        }
        let received = match patience {
            Some(patience) => self.queue.recv_timeout(patience),
            None => self.queue.recv().map_err(RecvTimeoutError::from),
        };
        match received {
            Ok(entry) => self.taken(entry).map_or(Waited::Closed, Waited::Entry),
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(RecvTimeoutError::Disconnected) => Waited::Closed,
        }
    }

    /// Waits for the next entry, at most `patience`.
    #[must_use]
    pub fn wait_for(&self, patience: Duration) -> Option<Entry> {
        let received = self.queue.recv_timeout(patience).ok();
        let received = received.filter(|_| !self.ended.get());
        received.and_then(|entry| self.taken(entry))
    }

    /// Returns the next entry if one is there.
    #[must_use]
    pub fn take(&self) -> Option<Entry> {
        let received = self.queue.try_recv().ok().filter(|_| !self.ended.get());
        received.and_then(|entry| self.taken(entry))
    }

    /// Counts what was taken out; none = it was the end.
    fn taken(&self, entry: Entry) -> Option<Entry> {
        self.shared.leave(entry.text_bytes());
        if matches!(entry, Entry::Reopen) {
            self.shared.reopening.store(false, Ordering::Relaxed);
        }
        self.ended.set(matches!(entry, Entry::End));
        (!self.ended.get()).then_some(entry)
    }

    /// Returns the counts, which go on changing.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.shared)
    }
}

/// What came of waiting for an entry.
#[derive(Debug)]
pub enum Waited {
    /// It came.
    Entry(Entry),
    /// The time is over.
    Nothing,
    /// Nothing more is written, or every sender is gone.
    Closed,
}

impl Journal {
    /// Returns where the writer's wishes are changed.
    #[must_use]
    pub fn wishes(&self) -> Arc<PresentWishes> {
        Arc::clone(&self.wishes)
    }

    /// Tells whether entries become access lines; where they do not, those that are many are better
    /// counted than made.
    #[must_use]
    pub fn has_lines(&self) -> bool {
        self.wishes.lines.load(Ordering::Relaxed)
    }

    /// Tells whether the line of a tunnel's end tells the request that opened it.
    #[must_use]
    pub fn has_stories(&self) -> bool {
        self.wishes.stories.load(Ordering::Relaxed)
    }

    /// Returns how often a tunnel that goes on gets a line; none = never.
    #[must_use]
    pub fn progress(&self) -> Option<Duration> {
        let ms = self.wishes.progress_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// Lets the writer end, behind everything that was written until now. Others may keep senders: they
    /// are not waited for.
    pub fn end(&self) {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(Entry::End).is_err() {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Asks the writer to open its file again, behind everything that was written until now.
    pub fn reopen(&self) {
        // However full the queue is: one more at a time does no harm.
        if !self.shared.reopening.swap(true, Ordering::Relaxed) {
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
            if self.queue.send(Entry::Reopen).is_err() {
                self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Hands an entry to the writer and counts its cause; never waits.
    pub fn write(&self, entry: Entry) {
        match &entry {
            Entry::Progress { .. } | Entry::Diagnostic { .. } | Entry::Reopen | Entry::End => {}
            Entry::Open { subject, .. } => self.tally().of(subject, |row| {
                row.add(Count::Opened, 1);
                subject
                    .timing
                    .iter()
                    .for_each(|timing| row.took_all(timing));
            }),
            Entry::Close {
                subject,
                cause,
                path_in,
                path_out,
                ..
            } => {
                self.count(*cause);
                self.tally().of(subject, |row| {
                    row.add(Count::Ended(*cause), 1);
                    for (way, path) in [(Way::In, path_in), (Way::Out, path_out)] {
                        let offload = path.offload.map(|state| Count::Offload(way, state));
                        offload.iter().for_each(|count| row.add(*count, 1));
                    }
                });
            }
            Entry::Request {
                subject,
                cause,
                bytes_in,
                bytes_out,
                ..
            } => {
                let timing = subject.timing.as_deref().copied().unwrap_or_default();
                self.count_request(subject, &timing, *cause, (*bytes_in, *bytes_out));
            }
            Entry::Refused { subject, cause, .. } => {
                self.count(*cause);
                self.tally().of(subject, |row| {
                    row.add(Count::Refused(*cause), 1);
                    subject
                        .timing
                        .iter()
                        .for_each(|timing| row.took_all(timing));
                });
            }
        }
        let (shared, text_bytes) = (&self.shared, entry.text_bytes());
        let has_room = shared.waiting.fetch_add(1, Ordering::Relaxed) < QUEUE_LEN_MAX;
        let text_before = shared.text_bytes.fetch_add(text_bytes, Ordering::Relaxed);
        let has_room = has_room && text_before < QUEUED_TEXT_BYTES_MAX;
        if !has_room || self.queue.send(entry).is_err() {
            shared.leave(text_bytes);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an end at a listener that leaves no line (a probe).
    pub fn count_silently(&self, listener: &Arc<str>, cause: Cause) {
        self.count(cause);
        self.tally()
            .at(listener, |row| row.add(Count::Refused(cause), 1));
    }

    /// Counts a request that was answered, with the bytes of its bodies; [`Journal::write`] does it
    /// for those that get a line.
    pub fn count_request(
        &self,
        subject: &Subject,
        timing: &Timing,
        cause: Cause,
        (bytes_in, bytes_out): (u64, u64),
    ) {
        self.count(cause);
        self.tally().of(subject, |row| {
            row.add(Count::Requests(cause), 1);
            row.add(Count::BodyBytes(Way::In), bytes_in);
            row.add(Count::BodyBytes(Way::Out), bytes_out);
            row.took_all(timing);
        });
    }

    /// Returns where things are counted by name.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    fn count(&self, cause: Cause) {
        if let Some(count) = self.shared.by_cause.get(cause as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the counts, which go on changing.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.shared)
    }
}

/// Shortens a text from outside to `len_bytes_max`, on a character boundary.
#[must_use]
pub fn clipped(text: &str, len_bytes_max: usize) -> String {
    text[..text.floor_char_boundary(len_bytes_max)].to_owned()
}

/// Turns an address the kernel gave into a [`PeerAddr`]; none = a unix socket.
#[must_use]
pub fn peer_of(addr: Option<SocketAddr>) -> PeerAddr {
    addr.map_or(PeerAddr::Unix, PeerAddr::from)
}

#[cfg(test)]
mod tests;
