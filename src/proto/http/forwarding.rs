//! What the application is told about the client, and what passes between client and server: one
//! code path for HTTP and WebSocket.
//!
//! Lines pass byte for byte and in order. Taken out are those that speak of one connection only
//! (RFC 9110 section 7.6.1) and, from a peer that is not trusted, what it says about whom it speaks
//! for. Ours come last. Two lines may come out in another form than they came in, both hop-by-hop:
//! a Transfer-Encoding with empty list elements is written as plain `chunked`, so that no server
//! can read it in another way, and an Upgrade that offers more than `websocket` offers only that.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::net::{IpAddr, SocketAddr};

use crate::proto::addr::{PeerAddr, TrustedProxies};

use super::Scheme;
use super::fields::{elements, elements_of, named};
use super::head::{HttpVersion, Line, Request, Response, names_websocket};

/// Who speaks on a connection, as of its PROXY header, and whether that is one of
/// `trusted_proxies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker {
    /// The address after PROXY.
    pub peer: PeerAddr,
    /// Whether its X-Forwarded-* and X-Real-IP are believed.
    pub trusted: bool,
}

/// What a request is forwarded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardingFacts<'a> {
    /// Who speaks.
    pub speaker: Speaker,
    /// Who the client is ([`client_of`]).
    pub client: PeerAddr,
    /// How the client's first hop was spoken ([`scheme_of`]).
    pub scheme: Scheme,
    /// Which port it was spoken to ([`port_of`]).
    pub port: u16,
    /// The subject of the client's certificate, in printable ASCII, if it is to be told: what others
    /// say of it is then dropped, trusted or not, for it was verified here.
    pub client_subject: Option<&'a str>,
}

/// What becomes of the connection a head is written to, after its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Another message follows.
    KeepAlive,
    /// It ends.
    Close,
    /// It becomes a WebSocket.
    Upgrade,
}

/// Finds the client: the speaker, or, when it is trusted, the first address in X-Forwarded-For from
/// the right that is not (all trusted: the leftmost).
///
/// All X-Forwarded-For lines are one list. An element may carry a port (`a.b.c.d:p`, `[v6]:p`);
/// without one the port is 0, for nobody knows it. At an element that is no address (`unknown`, a
/// name) the walk ends, and the client is the trusted address that reported it: what stands further
/// left was written by somebody unknown.
#[must_use]
pub fn client_of(request: &Request<'_>, speaker: Speaker, trusted: &TrustedProxies) -> PeerAddr {
    let mut client = speaker.peer;
    if !speaker.trusted {
        return client;
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

/// Parses one element of X-Forwarded-For.
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

/// Finds out how the client's first hop was spoken.
///
/// `known` is what this connection itself tells: https for TLS ended here, else what the SSL TLV of
/// a version 2 PROXY header says. Without it a trusted speaker's X-Forwarded-Proto decides (the
/// first element, for that is the client's hop; `https` and `wss`, or `http` and `ws`, all else is
/// no answer), then port 443 as destination in the PROXY header, then it is http.
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

/// Finds out which port the client's first hop was spoken to: a trusted speaker's X-Forwarded-Port,
/// else the destination port of the PROXY header, else the listener's.
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
    .or(proxy_destination_port)
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

/// The lines we write ourselves; never passed on from anybody.
const OURS: [&str; 5] = [
    X_FORWARDED_FOR,
    "x-real-ip",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
];

const STRICT_TRANSPORT_SECURITY: &str = "Strict-Transport-Security";

/// Fields that a Connection line cannot have removed: those that frame and route the message, those
/// that open the WebSocket, and Strict-Transport-Security, which speaks of the client's side. A peer that lists them wants the other side to see another message
/// than we do. Ours are added after the removal, so they need no place here.
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
/// The request line goes as received: an absolute target stays absolute, an HTTP/1.0 request stays
/// one, so that the server answers with nothing that an HTTP/1.0 client cannot read.
///
/// `connection` names what becomes of the server's connection; [`Hop::Upgrade`] only for a request
/// with a `websocket_key`.
pub fn request_head(
    request: &Request<'_>,
    facts: &ForwardingFacts<'_>,
    connection: Hop,
    out: &mut Vec<u8>,
) {
    write_line(out, request.request_line);
    let passed = PassedOptions {
        upgrade: connection == Hop::Upgrade,
        trailers: request.version == HttpVersion::Http11
            && elements_of(&request.lines, "te").any(|t| t.eq_ignore_ascii_case(b"trailers")),
    };
    let nominated = nominated(&request.lines);
    let mut trailers_written = false;
    for line in &request.lines {
        let forgeable = is_forwarding_field(line.name);
        if forgeable && (!facts.speaker.trusted || is_ours(line.name)) {
            continue;
        }
        if facts.client_subject.is_some() && is_client_subject(line.name) {
            continue;
        }
        if line.is("te") {
            if passed.trailers && !trailers_written {
                trailers_written = true;
                write_te(out, line);
            }
            continue;
        }
        pass(line, passed.upgrade, &nominated, out);
    }
    write_ours(request, facts, out);
    write_connection(connection, request.version, passed, out);
    out.extend_from_slice(b"\r\n");
}

/// The client that a response is passed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader<'a> {
    /// What it speaks.
    pub version: HttpVersion,
    /// What becomes of its connection.
    pub connection: Hop,
    /// The value of Strict-Transport-Security, where its connection has TLS and wants it.
    pub strict_transport: Option<&'a str>,
}

/// Appends the head for `reader` to `out`.
///
/// The status line and all lines that do not speak of the server's connection go as received. A
/// 101 and a 426 keep an Upgrade that names `websocket`. An interim answer gets no Connection line,
/// for it does not end the exchange. Strict-Transport-Security is added to final answers whose
/// server did not set it (RFC 6797 section 7.1: there is one, and the application knows better).
pub fn response_head(response: &Response<'_>, reader: Reader<'_>, out: &mut Vec<u8>) {
    write_line(out, response.status_line);
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
            pass(line, passed.upgrade, &nominated, out);
        }
    }
    if let Some(value) = strict_transport {
        write_field(out, STRICT_TRANSPORT_SECURITY, value.as_bytes());
    }
    if !response.is_interim() {
        let spoken = match response.version {
            HttpVersion::Http10 => HttpVersion::Http10,
            HttpVersion::Http11 => reader.version,
        };
        write_connection(reader.connection, spoken, passed, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Which hop-by-hop fields go on to the next hop, to be named by its Connection line.
#[derive(Clone, Copy)]
struct PassedOptions {
    /// `Upgrade: websocket`.
    upgrade: bool,
    /// `TE: trailers`.
    trailers: bool,
}

/// Returns what Connection lists besides the options that are no field names.
fn nominated<'a>(lines: &'a [Line<'a>]) -> Vec<&'a [u8]> {
    elements_of(lines, "connection")
        .filter(|option| !is_word(option, &["close", "keep-alive", "upgrade", "te"]))
        .filter(|option| !is_word(option, &NOT_REMOVABLE))
        .collect()
}

/// Appends a line unless it is hop-by-hop.
fn pass(line: &Line<'_>, upgrade: bool, nominated: &[&[u8]], out: &mut Vec<u8>) {
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
    if line.is("transfer-encoding") && !line.value.eq_ignore_ascii_case(b"chunked") {
        write_line(out, b"Transfer-Encoding: chunked");
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

/// Tells whether a field speaks about whom the sender speaks for.
///
/// `_` counts as `-`: gateways to CGI and WSGI make no difference between the two, so that
/// `X_Real_IP` could stand in for ours.
fn is_forwarding_field(name: &str) -> bool {
    let name = dashed(name);
    let in_family = name
        .get(..X_FORWARDED.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(X_FORWARDED));
    in_family || is_word(name.as_bytes(), &["x-real-ip", "forwarded"])
}

const X_FORWARDED: &str = "x-forwarded-";

fn is_ours(name: &str) -> bool {
    is_word(dashed(name).as_bytes(), &OURS)
}

fn is_client_subject(name: &str) -> bool {
    dashed(name).eq_ignore_ascii_case(X_CLIENT_SUBJECT)
}

const X_CLIENT_SUBJECT: &str = "X-Client-Subject";

fn dashed(name: &str) -> Cow<'_, str> {
    match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    }
}

/// Appends one line each of what we say about the client.
///
/// A speaker on a unix socket has no address: it adds nothing to a chain, and lines that would hold
/// nothing else are left out. So is X-Forwarded-Host where the request names no host.
fn write_ours(request: &Request<'_>, facts: &ForwardingFacts<'_>, out: &mut Vec<u8>) {
    write_chain(request, facts.speaker, out);
    if let Some(ip) = facts.client.ip() {
        write_shown(out, "X-Real-IP", ip);
    }
    write_field(out, "X-Forwarded-Proto", facts.scheme.as_str().as_bytes());
    let forwarded_host = match facts.speaker.trusted {
        true => named(&request.lines, "x-forwarded-host")
            .map(|line| line.value)
            .find(|value| !value.is_empty()),
        false => None,
    };
    let host = forwarded_host.unwrap_or(request.authority.as_bytes());
    if !host.is_empty() {
        write_field(out, "X-Forwarded-Host", host);
    }
    write_shown(out, "X-Forwarded-Port", facts.port);
    if let Some(subject) = facts.client_subject.filter(|subject| !subject.is_empty()) {
        write_field(out, X_CLIENT_SUBJECT, subject.as_bytes());
    }
}

/// Appends X-Forwarded-For: what a trusted speaker passed on, then the speaker.
fn write_chain(request: &Request<'_>, speaker: Speaker, out: &mut Vec<u8>) {
    let mut chain: Vec<u8> = Vec::new();
    if speaker.trusted {
        for element in elements_of(&request.lines, X_FORWARDED_FOR) {
            join(&mut chain, element);
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

/// Appends a line whose value is written by its `Display`, which must hold no control characters.
fn write_shown(out: &mut Vec<u8>, name: &str, value: impl Display) {
    // Writing to a Vec cannot go wrong.
    let _ = write!(Text(out), "{name}: {value}\r\n");
}

/// Bytes that text is appended to.
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

/// Appends our Connection line, where one is needed (RFC 9112 section 9.3): HTTP/1.1 goes on
/// without saying so, HTTP/1.0 only when told.
fn write_connection(
    connection: Hop,
    spoken: HttpVersion,
    passed: PassedOptions,
    out: &mut Vec<u8>,
) {
    let end = match (connection, spoken) {
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
