//! Heads on their way between client and server, and the lines about the client that are added for the
//! application: one code path for HTTP and WebSocket.
//!
//! Lines are forwarded byte for byte and in order. Removed are lines that concern one connection only (RFC
//! 9110 section 7.6.1), forwarding lines from a peer that is not trusted, and lines whose names a gateway
//! takes for one of ours. Our own lines come last. Content-Length and Transfer-Encoding are written anew from
//! their meaning, so that no reader can understand them differently, and are left out where they have none. An
//! Upgrade that offers more than `websocket` offers only that.

use std::fmt::{self, Display, Write};
use std::net::{IpAddr, SocketAddr};

use crate::proto::addr::{PeerAddr, TrustedProxies};

use super::Scheme;
use super::fields::{Announced, elements, elements_of, named};
use super::head::{HttpVersion, Line, Request, Response, names_websocket};
use super::names::{X_CLIENT_SUBJECT, is_about_client, is_lookalike, is_of_websocket, is_ours};
use super::refusal::HttpRefusal;
use super::target::Authority;

/// The peer of a connection, after its PROXY header, and whether it is one of `trusted_proxies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker {
    /// The address after PROXY.
    pub peer: PeerAddr,
    /// Whether its X-Forwarded-* and X-Real-IP are trusted.
    pub trusted: bool,
}

/// The facts that forwarding a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardingFacts<'a> {
    /// The peer.
    pub speaker: Speaker,
    /// The client's address ([`client_of`]).
    pub client: PeerAddr,
    /// The scheme of the client's first hop ([`scheme_of`]).
    pub scheme: Scheme,
    /// The port of the client's first hop ([`port_of`]).
    pub port: u16,
    /// The subject of the client's certificate, in printable ASCII, if it is to be forwarded. Lines of others
    /// about it are then removed, trusted or not, because the certificate was verified here.
    pub client_subject: Option<&'a str>,
    /// The Host that the server gets; none = the client's.
    pub server_host: Option<&'a str>,
}

/// The state of the connection to which a head is written, after its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// The connection takes another message.
    KeepAlive,
    /// The connection ends.
    Close,
    /// The connection becomes a WebSocket.
    Upgrade,
}

/// Returns the client's address: the peer's, or, if that is trusted, the first address in X-Forwarded-For
/// from the right that is not trusted (all trusted: the leftmost).
///
/// All X-Forwarded-For lines form one list. Where it is empty, the X-Real-IP of a trusted peer is the client,
/// if there is exactly one and it is an address. An element may carry a port (`a.b.c.d:p`, `[v6]:p`); without one
/// the port is 0, meaning unknown. The search ends at an element that is not an address (`unknown`, a name),
/// and the client is then the trusted address that reported it: elements further left were written by an
/// unknown party.
#[must_use]
pub fn client_of(request: &Request<'_>, speaker: Speaker, trusted: &TrustedProxies) -> PeerAddr {
    let mut client = speaker.peer;
    if !speaker.trusted {
        return client;
    }
    if let Some(address) = real_ip(request) {
        return address;
    }
    for element in elements_of(&request.lines, X_FORWARDED_FOR).rev() {
        let Some(address) = parse_element(element) else {
            return client;
        };
        client = address;
        if !trusted.contains(client) {
            return client;
        }
    }
    client
}

/// Returns the address in X-Real-IP, if it is the only one that names the client.
fn real_ip(request: &Request<'_>) -> Option<PeerAddr> {
    if elements_of(&request.lines, X_FORWARDED_FOR)
        .next()
        .is_some()
    {
        return None;
    }
    let mut values = named(&request.lines, "x-real-ip").map(|line| line.value);
    let value = values.next().filter(|_| values.next().is_none())?;
    parse_element(value)
}

/// Parses one element of X-Forwarded-For, or an X-Real-IP.
fn parse_element(element: &[u8]) -> Option<PeerAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, 0),
        Err(_) => text.parse::<SocketAddr>().ok()?,
    };
    Some(PeerAddr::from(address))
}

/// Returns the scheme of the client's first hop.
///
/// `known` is the scheme that the connection itself shows: https for TLS that ends here, else the SSL TLV of
/// a version 2 PROXY header. Without it, a trusted peer's X-Forwarded-Proto decides (its first element, which
/// is the client's hop: `https` and `wss`, or `http` and `ws`; anything else is ignored), then destination
/// port 443 in the PROXY header, then it is http.
#[must_use]
pub fn scheme_of(
    request: &Request<'_>,
    trusted: bool,
    known: Option<Scheme>,
    proxy_destination_port: Option<u16>,
) -> Scheme {
    let forwarded = || match first_element(request, "x-forwarded-proto") {
        Some(word) if is_word(word, &["https", "wss"]) => Some(Scheme::Https),
        Some(word) if is_word(word, &["http", "ws"]) => Some(Scheme::Http),
        Some(_) | None => None,
    };
    known
        .or_else(|| if trusted { forwarded() } else { None })
        .unwrap_or(match proxy_destination_port {
            Some(443) => Scheme::Https,
            Some(_) | None => Scheme::Http,
        })
}

/// Checks that an absolute target names the scheme of the client's connection (RFC 9112 section 3.2.2, RFC
/// 9110 section 7.4): `scheme`, as [`scheme_of`] finds it.
///
/// A trusted peer may also name the scheme of its own connection to us, which is https exactly if `over_tls`:
/// some proxies write the target anew and tell the client's scheme in X-Forwarded-Proto.
///
/// # Errors
/// [`HttpRefusal::SchemeDisagrees`].
pub fn check_scheme(
    request: &Request<'_>,
    trusted: bool,
    scheme: Scheme,
    over_tls: bool,
) -> Result<(), HttpRefusal> {
    let own = match over_tls {
        true => Scheme::Https,
        false => Scheme::Http,
    };
    match request.target_scheme {
        None => Ok(()),
        Some(named) if named == scheme || (trusted && named == own) => Ok(()),
        Some(_) => Err(HttpRefusal::SchemeDisagrees),
    }
}

/// Returns the port of the client's first hop: a trusted peer's X-Forwarded-Port, else the destination port
/// of the PROXY header, else the listener's. Port 0 is no port.
#[must_use]
pub fn port_of(
    request: &Request<'_>,
    trusted: bool,
    proxy_destination_port: Option<u16>,
    listener_port: u16,
) -> u16 {
    let forwarded = || {
        let digits = first_element(request, "x-forwarded-port")?;
        let text = std::str::from_utf8(digits).ok()?;
        let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|port| digits_only && *port != 0)
    };
    match trusted {
        true => forwarded(),
        false => None,
    }
    .or(proxy_destination_port.filter(|port| *port != 0))
    .unwrap_or(listener_port)
}

fn first_element<'a>(request: &'a Request<'_>, name: &'a str) -> Option<&'a [u8]> {
    elements_of(&request.lines, name).next()
}

fn is_word(word: &[u8], words: &[&str]) -> bool {
    words
        .iter()
        .any(|one| word.eq_ignore_ascii_case(one.as_bytes()))
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";

const STRICT_TRANSPORT_SECURITY: &str = "Strict-Transport-Security";

/// Fields that a Connection line cannot have removed: those that frame and route the message, those that open
/// the WebSocket, and Strict-Transport-Security, which concerns the client's side. A peer that lists them
/// wants the other side to see a different message than we do. Our own lines are added after the removal, so
/// they are not listed here.
const NOT_REMOVABLE: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "strict-transport-security",
];

/// Appends the head for the server to `out`.
///
/// The method is sent as received, and so is the target, except that an absolute one becomes path and query,
/// which is what servers expect (RFC 9112 section 3.2.1). The version is our own, HTTP/1.1 (RFC 9110 section
/// 2.5), whatever the client's is. HTTP/1.1 wants a Host: a request without one gets the host of its target,
/// else `default_host`. Expect means nothing in HTTP/1.0 (RFC 9110 section 10.1.1), and must not begin to.
///
/// `connection` is the state of the server's connection after the request; [`Hop::Upgrade`] only for a
/// request with a `websocket_key`.
pub fn request_head(
    request: &Request<'_>,
    facts: &ForwardingFacts<'_>,
    connection: Hop,
    default_host: &str,
    out: &mut Vec<u8>,
) {
    write_request_line(request, out);
    if let Some(host) = host_written(request, facts, default_host) {
        write_field(out, "Host", host.as_bytes());
    }
    let passed = PassedOptions {
        upgrade: connection == Hop::Upgrade,
        trailers: request.version == HttpVersion::Http11
            && elements_of(&request.lines, "te").any(|t| t.eq_ignore_ascii_case(b"trailers")),
    };
    let announced = Announced::from(request.framing);
    let nominated = nominated(&request.lines);
    let mut trailers_written = false;
    for line in &request.lines {
        if facts.server_host.is_some() && line.is("host") {
            continue;
        }
        if is_lookalike(line.name) || is_replaced(line, facts) {
            continue;
        }
        if request.upgrade_removed.is_some() && is_of_websocket(line.name) {
            continue;
        }
        if line.is("expect") && request.version == HttpVersion::Http10 {
            continue;
        }
        if line.is("te") {
            if passed.trailers && !trailers_written {
                trailers_written = true;
                write_te(out, line);
            }
            continue;
        }
        pass(line, passed.upgrade, announced, &nominated, out);
    }
    write_ours(request, facts, out);
    write_connection(connection, HttpVersion::Http11, passed, out);
    out.extend_from_slice(b"\r\n");
}

/// Returns the host of a Host line of ours; none = the request's own line is passed on.
fn host_written<'a>(
    request: &Request<'a>,
    facts: &ForwardingFacts<'a>,
    default: &'a str,
) -> Option<&'a str> {
    if facts.server_host.is_some() {
        return facts.server_host;
    }
    let is_named = named(&request.lines, "host").next().is_some();
    let host = match request.authority {
        "" => default,
        authority => authority,
    };
    (!is_named).then_some(host)
}

fn write_request_line(request: &Request<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    let (slash, target) = request.target_for_server();
    out.extend_from_slice(slash.as_bytes());
    out.extend_from_slice(target.as_bytes());
    out.push(b' ');
    write_line(out, VERSION);
}

/// Our own version, in requests and in responses.
const VERSION: &[u8] = b"HTTP/1.1";

/// Returns whether we write a line ourselves, or the peer may not send it.
fn is_replaced(line: &Line<'_>, facts: &ForwardingFacts<'_>) -> bool {
    let verified_here = facts.client_subject.is_some() && line.is(X_CLIENT_SUBJECT);
    let forbidden = !facts.speaker.trusted && is_about_client(line.name);
    is_ours(line.name) || verified_here || forbidden
}

/// The client to which a response is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader<'a> {
    /// Its HTTP version.
    pub version: HttpVersion,
    /// The state of its connection after the response.
    pub connection: Hop,
    /// The value of Strict-Transport-Security, for connections over TLS that are configured for it.
    pub strict_transport: Option<&'a str>,
}

/// Appends the head for `reader` to `out`.
///
/// The status line, but for its version, and all lines that do not concern the server's connection or the
/// framing are sent as received. The version is our own, HTTP/1.1, whatever the server's and the reader's are
/// (RFC 9110 section 6.2). A reader that speaks HTTP/1.0 is not told of chunks: it gets their content alone. A
/// 101 and a 426 keep an Upgrade that names `websocket`. An interim answer gets no Connection line, because it does
/// not end the exchange. Strict-Transport-Security is added to final answers whose server did not set it (RFC
/// 6797 section 7.1: there may be only one, and the application's takes precedence).
pub fn response_head(response: &Response<'_>, reader: Reader<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(VERSION);
    // The version that it replaces has the same length.
    write_line(
        out,
        response
            .status_line
            .get(VERSION.len()..)
            .unwrap_or_default(),
    );
    let announced = match (response.announced, reader.version) {
        (Announced::Chunked, HttpVersion::Http10) => Announced::Nothing,
        (announced, HttpVersion::Http10 | HttpVersion::Http11) => announced,
    };
    let passed = PassedOptions {
        upgrade: matches!(response.status, 101 | 426) && names_websocket(&response.lines),
        trailers: false,
    };
    let nominated = nominated(&response.lines);
    let mut strict_transport = reader.strict_transport.filter(|_| response.status >= 200);
    for line in &response.lines {
        if line.is(STRICT_TRANSPORT_SECURITY) {
            strict_transport = None;
        }
        if !line.is("te") {
            pass(line, passed.upgrade, announced, &nominated, out);
        }
    }
    if let Some(value) = strict_transport {
        write_field(out, STRICT_TRANSPORT_SECURITY, value.as_bytes());
    }
    if !response.is_interim() {
        write_connection(reader.connection, reader.version, passed, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The hop-by-hop fields that are sent to the next hop and listed in its Connection line.
#[derive(Clone, Copy)]
struct PassedOptions {
    /// `Upgrade: websocket`.
    upgrade: bool,
    /// `TE: trailers`.
    trailers: bool,
}

/// Returns the elements of Connection that are field names.
fn nominated<'a>(lines: &'a [Line<'a>]) -> Vec<&'a [u8]> {
    elements_of(lines, "connection")
        .filter(|option| !is_word(option, &["close", "keep-alive", "upgrade", "te"]))
        .filter(|option| !is_word(option, &NOT_REMOVABLE))
        .collect()
}

/// Appends a line unless it is hop-by-hop. A line that frames the message says what was `announced`.
fn pass(
    line: &Line<'_>,
    upgrade: bool,
    announced: Announced,
    nominated: &[&[u8]],
    out: &mut Vec<u8>,
) {
    if line.is("connection") || line.is("keep-alive") || line.is("proxy-connection") {
        return;
    }
    if line.is("upgrade") {
        let named = elements(line.value).any(|p| p.eq_ignore_ascii_case(b"websocket"));
        match upgrade && named {
            true if line.value.eq_ignore_ascii_case(b"websocket") => write_line(out, line.raw),
            true => write_line(out, b"Upgrade: websocket"),
            false => {}
        }
        return;
    }
    if line.is("content-length") {
        if let Announced::Length(len) = announced {
            write_shown(out, "Content-Length", len);
        }
        return;
    }
    if line.is("transfer-encoding") {
        if announced == Announced::Chunked {
            write_line(out, b"Transfer-Encoding: chunked");
        }
        return;
    }
    let name = line.name.as_bytes();
    if !nominated.iter().any(|one| name.eq_ignore_ascii_case(one)) {
        write_line(out, line.raw);
    }
}

fn write_te(out: &mut Vec<u8>, line: &Line<'_>) {
    match line.value.eq_ignore_ascii_case(b"trailers") {
        true => write_line(out, line.raw),
        false => write_line(out, b"TE: trailers"),
    }
}

/// Appends our lines about the client.
///
/// A peer on a unix socket has no address: it adds nothing to a chain, and lines that would hold nothing else
/// are left out. X-Forwarded-Host is the first element of a trusted peer's, if that is a host with an optional
/// port; anything else there is ignored, like a scheme or a port that is none. It is left out if the request
/// names no host.
fn write_ours(request: &Request<'_>, facts: &ForwardingFacts<'_>, out: &mut Vec<u8>) {
    write_chain(request, facts.speaker, out);
    if let Some(ip) = facts.client.ip() {
        write_shown(out, "X-Real-IP", ip);
    }
    write_field(out, "X-Forwarded-Proto", facts.scheme.as_str().as_bytes());
    let forwarded_host = match facts.speaker.trusted {
        true => first_element(request, "x-forwarded-host")
            .and_then(|element| std::str::from_utf8(element).ok())
            .filter(|text| Authority::parse(text).is_some()),
        false => None,
    };
    let host = forwarded_host.unwrap_or(request.authority);
    if !host.is_empty() {
        write_field(out, "X-Forwarded-Host", host.as_bytes());
    }
    write_shown(out, "X-Forwarded-Port", facts.port);
    if let Some(subject) = facts.client_subject.filter(|subject| !subject.is_empty()) {
        write_field(out, X_CLIENT_SUBJECT, subject.as_bytes());
    }
}

/// Appends X-Forwarded-For: a trusted peer's own list, or its X-Real-IP, then the peer.
fn write_chain(request: &Request<'_>, speaker: Speaker, out: &mut Vec<u8>) {
    let mut chain: Vec<u8> = Vec::new();
    if speaker.trusted {
        for element in elements_of(&request.lines, X_FORWARDED_FOR) {
            join(&mut chain, element);
        }
        if let Some(ip) = real_ip(request).and_then(PeerAddr::ip) {
            join(&mut chain, ip.to_string().as_bytes());
        }
    }
    match speaker.peer.ip() {
        Some(ip) if chain.is_empty() => write_shown(out, "X-Forwarded-For", ip),
        Some(ip) => {
            join(&mut chain, ip.to_string().as_bytes());
            write_field(out, "X-Forwarded-For", &chain);
        }
        None if chain.is_empty() => {}
        None => write_field(out, "X-Forwarded-For", &chain),
    }
}

/// Appends a line whose value comes from its `Display`, which must write no control characters.
fn write_shown(out: &mut Vec<u8>, name: &str, value: impl Display) {
    // Writing to a `Vec` is infallible.
    let _ = write!(Text(out), "{name}: {value}\r\n");
}

/// Appends text to bytes.
struct Text<'o>(&'o mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends an element to a list, unless it is empty.
fn join(list: &mut Vec<u8>, element: &[u8]) {
    if element.is_empty() {
        return;
    }
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element);
}

/// Appends our Connection line, if the reader needs one (RFC 9112 section 9.3): HTTP/1.1 keeps the connection by
/// default, HTTP/1.0 only on request.
fn write_connection(
    connection: Hop,
    reader: HttpVersion,
    passed: PassedOptions,
    out: &mut Vec<u8>,
) {
    let end = match (connection, reader) {
        (Hop::Close, _) => "close",
        (Hop::KeepAlive, HttpVersion::Http10) => "keep-alive",
        (Hop::KeepAlive, HttpVersion::Http11) | (Hop::Upgrade, _) => "",
    };
    let upgrade = if passed.upgrade { "Upgrade" } else { "" };
    let trailers = if passed.trailers { "TE" } else { "" };
    let mut options = Vec::new();
    for option in [end, upgrade, trailers] {
        join(&mut options, option.as_bytes());
    }
    if !options.is_empty() {
        write_field(out, "Connection", &options);
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    write_line(out, value);
}

fn write_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
