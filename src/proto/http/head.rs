//! Request and response heads: httparse splits them, the rules here refuse ambiguous ones.
//!
//! A head is parsed from the start each time more bytes have come. No state is kept in between, so any split
//! of the input gives the same result. Limits and the form of lines are checked on incomplete heads too; the
//! meaning of the lines is checked when the head is complete.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};

use crate::proto::{Progress, websocket};

use super::Scheme;
use super::challenge;
use super::fields::{Announced, ConnectionOptions, elements_of, named};
use super::framing::{Form, Framing};
use super::pattern::normalise_path;
use super::refusal::{BadResponse, HttpRefusal, Malformed};
use super::target::{Authority, Target};

pub use super::line::{HeadLimits, HttpVersion, Line};

/// Why a request that asks for a WebSocket cannot open one (RFC 6455 section 4.1): it is then served without
/// the fields of the upgrade, since a server may ignore an Upgrade (RFC 9110 section 7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeRemoved {
    /// It is HTTP/1.0.
    Version,
    /// Its method is not GET.
    Method,
    /// It has a body.
    Body,
}

impl UpgradeRemoved {
    /// Returns what the log says of it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => {
                "served without its Upgrade, which needs HTTP/1.1; does the proxy in front speak HTTP/1.0 \
                 (nginx: proxy_http_version 1.1)?"
            }
            Self::Method => "served without its Upgrade, which needs the method GET",
            Self::Body => "served without its Upgrade, which may not have a body",
        }
    }

    /// Returns what the log says if no route fits the rest of the request.
    #[must_use]
    pub fn without_route(self) -> &'static str {
        match self {
            Self::Version => {
                "no route fits this request without its Upgrade, which needs HTTP/1.1; does the proxy in front \
                 speak HTTP/1.0 (nginx: proxy_http_version 1.1)?"
            }
            Self::Method => {
                "no route fits this request without its Upgrade, which needs the method GET"
            }
            Self::Body => {
                "no route fits this request without its Upgrade, which may not have a body"
            }
        }
    }

    fn of(method: &str, version: HttpVersion, framing: Framing) -> Option<Self> {
        match framing {
            _ if version != HttpVersion::Http11 => Some(Self::Version),
            _ if method != "GET" => Some(Self::Method),
            Framing::None | Framing::Length(0) => None,
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => Some(Self::Body),
        }
    }
}

/// A request head that broke no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method, a token.
    pub method: &'a str,
    /// The request target as received.
    pub target: &'a str,
    /// The version.
    pub version: HttpVersion,
    /// The request line as received, without CRLF.
    pub request_line: &'a [u8],
    /// Header lines in order.
    pub lines: Vec<Line<'a>>,
    /// Host (and port) the request is for: the Host line, or the authority of an absolute target,
    /// which agree; empty for HTTP/1.0 without Host.
    pub authority: &'a str,
    /// Host alone, lower case, without port and without a dot at the end; an IPv6 address keeps its
    /// brackets.
    pub host: String,
    /// Path for routes: unreserved escapes decoded, dot segments removed (RFC 3986 6.2.2); `*`
    /// for OPTIONS *.
    pub path: String,
    /// How the body ends.
    pub framing: Framing,
    /// The scheme of an absolute target; none for the other forms.
    pub target_scheme: Option<Scheme>,
    /// The key, if the request is a valid WebSocket upgrade.
    pub websocket_key: Option<&'a str>,
    /// Why the fields of its upgrade are removed, so that the rest is an ordinary request.
    pub upgrade_removed: Option<UpgradeRemoved>,
    /// Whether the client will send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for 100 (Continue).
    pub expects_continue: bool,
}

impl<'a> Request<'a> {
    /// Returns the value of the first line of that name, in any case.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        first(&self.lines, name)
    }

    /// Returns whether its credentials authenticate the connection (NTLM, Negotiate), so that requests that
    /// follow on the connection have to follow on the server's too.
    #[must_use]
    pub fn authenticates_connection(&self) -> bool {
        challenge::vouches_for_connection(&self.lines)
    }

    /// Returns the target in the form for the server that answers it, in two parts to be joined.
    pub(super) fn target_for_server(&self) -> (&'static str, &'a str) {
        // A request with an illegal target does not exist: `parse_request` has refused it.
        Target::parse(self.method, self.target).map_or(("", self.target), Target::for_server)
    }

    /// Returns path and query as received; `/` where the target has no path.
    #[must_use]
    pub fn path_and_query(&self) -> (&'a str, &'a str) {
        Target::parse(self.method, self.target)
            .map_or(("/", ""), |target| (target.path(), target.query()))
    }
}

/// A response head that broke no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// The version.
    pub version: HttpVersion,
    /// The status, 100 to 999.
    pub status: u16,
    /// The status line as received, without CRLF.
    pub status_line: &'a [u8],
    /// Header lines in order.
    pub lines: Vec<Line<'a>>,
    /// How the body ends, given the request's method.
    pub framing: Framing,
    /// The length that the fields announce, as far as it may be passed on; the answer itself may have no body.
    pub(super) announced: Announced,
    /// Whether the server will take another request on this connection. Not after an answer without a body
    /// whose fields announce one against the rules, because its server may send one all the same.
    pub keep_alive: bool,
}

impl<'a> Response<'a> {
    /// Returns the value of the first line of that name, in any case.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        first(&self.lines, name)
    }

    /// Returns whether this answer opens the WebSocket requested with `key`: a 101 with Upgrade, Connection
    /// and exactly one, correct Sec-WebSocket-Accept.
    ///
    /// # Source
    /// RFC 6455 section 4.1, the client's duties.
    #[must_use]
    pub fn accepts(&self, key: &str) -> bool {
        let upgrade = elements_of(&self.lines, "upgrade")
            .map(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
            .reduce(|all, one| all && one);
        let connection = elements_of(&self.lines, "connection")
            .any(|option| option.eq_ignore_ascii_case(b"upgrade"));
        let mut answers = named(&self.lines, "sec-websocket-accept");
        let answer = answers.next().map(|line| line.value);
        self.status == 101
            && self.version == HttpVersion::Http11
            && upgrade == Some(true)
            && connection
            && answer == Some(websocket::accept_of(key).as_bytes())
            && answers.next().is_none()
    }

    /// Returns the form in which a chunked body is passed on to a client of that version. HTTP/1.0 knows no
    /// chunks (RFC 9112 6.1).
    #[must_use]
    pub fn form_for(client: HttpVersion) -> Form {
        match client {
            HttpVersion::Http10 => Form::Content,
            HttpVersion::Http11 => Form::Chunks,
        }
    }

    /// Returns whether nothing but the end of the connection tells a client of that version where the body ends.
    #[must_use]
    pub fn ends_with_connection(&self, client: HttpVersion) -> bool {
        match self.framing {
            Framing::UntilClose => true,
            Framing::Chunked => Self::form_for(client) == Form::Content,
            Framing::None | Framing::Length(_) => false,
        }
    }

    /// Returns whether it demands or completes an authentication of the connection (NTLM, Negotiate).
    #[must_use]
    pub fn authenticates_connection(&self) -> bool {
        challenge::challenges_connection(&self.lines)
    }

    /// Returns whether this is an interim answer (100, 102, 103 ...); a 101 is not.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// Parses a request head at the start of `buf`, which holds all bytes received so far.
///
/// Up to [`EMPTY_LINES_MAX`] empty lines before the request line are ignored (RFC 9112 section 2.2) and count
/// into `used`; one more is refused. An `Upgrade: websocket` that Connection does not list is ignored (RFC
/// 9110 section 7.8), and so is one in HTTP/1.0, with another method than GET, or with a body: the server may
/// ignore an Upgrade, and this one cannot be meant. Any other must be a complete and valid upgrade.
///
/// # Errors
/// The [`HttpRefusal`] of the first broken rule, as early as it shows: limits and the form of lines before
/// the head is complete.
///
/// # Source
/// RFC 9112 sections 2 to 6, RFC 9110 sections 5 and 7, RFC 6455 section 4.2.1.
pub fn parse_request<'a>(
    buf: &'a [u8],
    limits: &HeadLimits,
) -> Result<Progress<Request<'a>>, HttpRefusal> {
    let empty_len = empty_lines_len(buf);
    let rest = buf.get(empty_len..).unwrap_or_default();
    match rest {
        [b'\r'] if empty_len < EMPTY_LINES_LEN_MAX => return Ok(Progress::Partial),
        [b'\r' | b'\n', ..] => return Err(HttpRefusal::LeadingEmptyLines),
        _ => {}
    }
    if is_first_line_longer(rest, limits.request_line) {
        return Err(HttpRefusal::RequestLineTooLong);
    }
    let mut slots = Slots::new(limits.headers);
    let mut split = httparse::Request::new(&mut []);
    let parsed = split.parse_with_uninit_headers(rest, slots.as_mut());
    match parsed.map_err(refusal_of)? {
        Status::Partial => {
            check_line_ends(rest)?;
            if buf.len() >= limits.head {
                return Err(HttpRefusal::HeadTooLong);
            }
            Ok(Progress::Partial)
        }
        Status::Complete(len) => {
            if empty_len + len > limits.head {
                return Err(HttpRefusal::HeadTooLong);
            }
            let head = rest.get(..len).unwrap_or(rest);
            let (request_line, lines) = split_lines(head, split.headers)?;
            let start = StartLine {
                method: split.method.unwrap_or(""),
                target: split.path.unwrap_or(""),
                version: HttpVersion::of_minor(split.version),
                request_line,
            };
            Ok(Progress::Complete {
                value: judge_request(start, lines)?,
                used: empty_len + len,
            })
        }
    }
}

/// Empty lines before a request line that are ignored: some clients send one behind the body of a POST, and
/// an old library another one.
pub const EMPTY_LINES_MAX: usize = 4;
const EMPTY_LINES_LEN_MAX: usize = 2 * EMPTY_LINES_MAX;

/// Returns whether `buf`, received where a request may begin, holds more than the empty lines that are
/// ignored before it. False also for a part of the last of them.
#[must_use]
pub fn is_begun(buf: &[u8]) -> bool {
    let empty_len = empty_lines_len(buf);
    match buf.get(empty_len..).unwrap_or_default() {
        [] => false,
        [b'\r'] => empty_len >= EMPTY_LINES_LEN_MAX,
        _ => true,
    }
}

/// Returns the length of the whole empty lines at the start that are ignored.
pub fn empty_lines_len(buf: &[u8]) -> usize {
    let pairs = buf.chunks_exact(2).take(EMPTY_LINES_MAX);
    2 * pairs.take_while(|pair| *pair == b"\r\n").count()
}

/// The parts of a request line.
#[derive(Clone, Copy)]
struct StartLine<'a> {
    method: &'a str,
    target: &'a str,
    version: HttpVersion,
    request_line: &'a [u8],
}

/// Checks the meaning of the lines of a complete head.
fn judge_request<'a>(
    start: StartLine<'a>,
    lines: Vec<Line<'a>>,
) -> Result<Request<'a>, HttpRefusal> {
    let StartLine {
        method,
        target: text,
        version,
        request_line,
    } = start;
    // Methods are case-sensitive, but a server may take any spelling of this one for a tunnel.
    if method.eq_ignore_ascii_case("CONNECT") {
        return Err(HttpRefusal::Connect);
    }
    let target = Target::parse(method, text)?;
    let authority = authority_of(target, version, &lines)?;
    let path = normalise_path(target.path())?;
    let framing = match Announced::read(&lines, version)? {
        Announced::Nothing => Framing::None,
        Announced::Length(len) => Framing::Length(len),
        Announced::Chunked => Framing::Chunked,
    };
    let connection = ConnectionOptions::read(&lines)?;
    let asks_upgrade = connection.upgrade && names_websocket(&lines);
    let upgrade_removed = UpgradeRemoved::of(method, version, framing).filter(|_| asks_upgrade);
    let websocket_key = match asks_upgrade && upgrade_removed.is_none() {
        true => Some(upgrade_key(&lines)?),
        false => None,
    };
    let expects_continue = version == HttpVersion::Http11
        && elements_of(&lines, "expect").any(|e| e.eq_ignore_ascii_case(b"100-continue"));
    Ok(Request {
        method,
        target: text,
        version,
        request_line,
        authority: authority.map_or("", |authority| authority.text),
        host: authority.map_or_else(String::new, Authority::host_lowercase),
        path,
        framing,
        target_scheme: target.scheme(),
        websocket_key,
        upgrade_removed,
        keep_alive: connection.persists(version),
        expects_continue,
        lines,
    })
}

/// Returns the authority of the request (RFC 9112 section 3.2).
fn authority_of<'a>(
    target: Target<'a>,
    version: HttpVersion,
    lines: &[Line<'a>],
) -> Result<Option<Authority<'a>>, HttpRefusal> {
    let mut hosts = named(lines, "host").map(|line| line.value);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(HttpRefusal::HostRepeated);
    }
    let host = match host {
        Some(value) => {
            let text = std::str::from_utf8(value).map_err(|_| HttpRefusal::HostValue)?;
            Some(Authority::parse(text).ok_or(HttpRefusal::HostValue)?)
        }
        None if version == HttpVersion::Http11 => return Err(HttpRefusal::HostMissing),
        None => None,
    };
    let Target::Absolute {
        scheme, authority, ..
    } = target
    else {
        return Ok(host);
    };
    match host {
        Some(host) if !host.agrees(authority, scheme) => Err(HttpRefusal::HostDisagrees),
        Some(host) => Ok(Some(host)),
        None => Ok(Some(authority)),
    }
}

/// Returns whether Upgrade offers the WebSocket protocol, alone or among others.
pub(super) fn names_websocket(lines: &[Line<'_>]) -> bool {
    elements_of(lines, "upgrade").any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// Checks the rules of an upgrade and returns its key (RFC 6455 section 4.2.1).
fn upgrade_key<'a>(lines: &[Line<'a>]) -> Result<&'a str, HttpRefusal> {
    match only(lines, "sec-websocket-version") {
        None if first(lines, "sec-websocket-version").is_none() => {
            return Err(HttpRefusal::UpgradeVersionMissing);
        }
        None => return Err(HttpRefusal::UpgradeVersionRepeated),
        Some(number) if number != websocket::VERSION.as_bytes() => {
            return Err(HttpRefusal::WebsocketVersion);
        }
        Some(_) => {}
    }
    if first(lines, "sec-websocket-key").is_none() {
        return Err(HttpRefusal::UpgradeKeyMissing);
    }
    only(lines, "sec-websocket-key")
        .and_then(|key| std::str::from_utf8(key).ok())
        .filter(|key| websocket::is_valid_key(key))
        .ok_or(HttpRefusal::UpgradeKey)
}

/// Parses a response head at the start of `buf`; `request_method` is the method of the request, because an
/// answer to HEAD has no body.
///
/// `limits.request_line` does not apply. No bytes may precede the status line, whose reason may be missing
/// together with the space before it.
///
/// # Errors
/// The [`BadResponse`] of the first broken rule, as early as it shows.
///
/// # Source
/// RFC 9112 sections 4 to 6, RFC 9110 sections 6.4.1 and 15.
pub fn parse_response<'a>(
    buf: &'a [u8],
    request_method: &str,
    limits: &HeadLimits,
) -> Result<Progress<Response<'a>>, BadResponse> {
    if let [b'\r' | b'\n', ..] = buf {
        return Err(BadResponse::StatusLine);
    }
    let mut slots = Slots::new(limits.headers);
    let mut split = httparse::Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut split, buf, slots.as_mut());
    match parsed.map_err(|error| bad_response_of(error, limits))? {
        Status::Partial => {
            check_line_ends(buf)?;
            if buf.len() >= limits.head {
                return Err(BadResponse::HeadTooLong(limits.head));
            }
            Ok(Progress::Partial)
        }
        Status::Complete(len) => {
            if len > limits.head {
                return Err(BadResponse::HeadTooLong(limits.head));
            }
            let head = buf.get(..len).unwrap_or(buf);
            let (status_line, lines) = split_lines(head, split.headers)?;
            let version = HttpVersion::of_minor(split.version);
            let status = split.code.unwrap_or(0);
            if status < 100 {
                return Err(BadResponse::StatusCode);
            }
            let length = ResponseLength::read(status, request_method, version, &lines)?;
            let persists = ConnectionOptions::read(&lines)?.persists(version);
            Ok(Progress::Complete {
                value: Response {
                    version,
                    status,
                    status_line,
                    lines,
                    framing: length.framing,
                    announced: length.announced,
                    keep_alive: persists
                        && length.is_sound
                        && length.framing != Framing::UntilClose,
                },
                used: len,
            })
        }
    }
}

/// How the body of a response ends (RFC 9112 section 6.3).
struct ResponseLength {
    framing: Framing,
    /// What may be passed on of the fields.
    announced: Announced,
    /// Whether the fields agree with the end.
    is_sound: bool,
}

impl ResponseLength {
    /// Reads the fields, as far as the status and the request's method let them mean anything.
    ///
    /// A 1xx (the 101 included) and a 204 end at their empty line, whatever their fields say, and none of these
    /// may be passed on (RFC 9110 section 8.6, RFC 9112 section 6.1). A 304 and an answer to HEAD end there too,
    /// but their fields tell the length of another answer, and are passed on unless they are ambiguous.
    fn read(
        status: u16,
        request_method: &str,
        version: HttpVersion,
        lines: &[Line<'_>],
    ) -> Result<Self, Malformed> {
        let announced = Announced::read(lines, version);
        if status < 200 || status == 204 {
            // `Content-Length: 0` breaks a rule, but is true.
            return Ok(Self {
                framing: Framing::None,
                announced: Announced::Nothing,
                is_sound: matches!(announced, Ok(Announced::Nothing | Announced::Length(0))),
            });
        }
        if request_method == "HEAD" || status == 304 {
            return Ok(Self {
                framing: Framing::None,
                announced: announced.unwrap_or(Announced::Nothing),
                is_sound: announced.is_ok(),
            });
        }
        let announced = announced?;
        Ok(Self {
            framing: match announced {
                Announced::Nothing => Framing::UntilClose,
                Announced::Length(len) => Framing::Length(len),
                Announced::Chunked => Framing::Chunked,
            },
            announced,
            is_sound: true,
        })
    }
}

/// Storage for httparse's header lines, which it fills: on the stack up to the default limits, else on the heap.
struct Slots<'a> {
    count: usize,
    stack: [MaybeUninit<Header<'a>>; SLOTS_ON_STACK],
    heap: Vec<MaybeUninit<Header<'a>>>,
}

/// The higher one of the defaults of `limits.headers`.
const SLOTS_ON_STACK: usize = 256;

impl<'a> Slots<'a> {
    fn new(count: usize) -> Self {
        let mut heap = Vec::new();
        if count > SLOTS_ON_STACK {
            heap.resize_with(count, MaybeUninit::uninit);
        }
        Self {
            count,
            stack: [const { MaybeUninit::uninit() }; SLOTS_ON_STACK],
            heap,
        }
    }

    fn as_mut(&mut self) -> &mut [MaybeUninit<Header<'a>>] {
        self.stack.get_mut(..self.count).unwrap_or(&mut self.heap)
    }
}

fn refusal_of(error: httparse::Error) -> HttpRefusal {
    match error {
        httparse::Error::Token | httparse::Error::Status => HttpRefusal::RequestLine,
        httparse::Error::Version => HttpRefusal::Version,
        httparse::Error::TooManyHeaders => HttpRefusal::TooManyLines,
        httparse::Error::HeaderName => Malformed::FieldName.into(),
        httparse::Error::HeaderValue => Malformed::FieldValue.into(),
        httparse::Error::NewLine => Malformed::LineEnd.into(),
    }
}

fn bad_response_of(error: httparse::Error, limits: &HeadLimits) -> BadResponse {
    match error {
        httparse::Error::Token | httparse::Error::Status => BadResponse::StatusLine,
        httparse::Error::Version => BadResponse::Version,
        httparse::Error::TooManyHeaders => BadResponse::TooManyLines(limits.headers),
        httparse::Error::HeaderName => Malformed::FieldName.into(),
        httparse::Error::HeaderValue => Malformed::FieldValue.into(),
        httparse::Error::NewLine => Malformed::LineEnd.into(),
    }
}

/// Returns whether the first line is, or can only become, longer than `len_max` without CRLF.
fn is_first_line_longer(buf: &[u8], len_max: usize) -> bool {
    let seen = buf.get(..len_max.saturating_add(2)).unwrap_or(buf);
    let line = match seen.iter().position(|byte| *byte == b'\n') {
        Some(end) => seen.get(..end).unwrap_or(seen),
        None => seen,
    };
    line.strip_suffix(b"\r").unwrap_or(line).len() > len_max
}

/// Refuses line feeds without a preceding carriage return, which httparse accepts as line ends.
fn check_line_ends(buf: &[u8]) -> Result<(), Malformed> {
    let mut lines = buf.split_inclusive(|byte| *byte == b'\n');
    match lines.all(|line| !line.ends_with(b"\n") || line.ends_with(b"\r\n")) {
        true => Ok(()),
        false => Err(Malformed::LineEnd),
    }
}

/// Adds the whole line to each name and value, and returns the first line of the head.
fn split_lines<'a>(
    head: &'a [u8],
    headers: &[Header<'a>],
) -> Result<(&'a [u8], Vec<Line<'a>>), Malformed> {
    let mut raw_lines = head
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r\n").ok_or(Malformed::LineEnd));
    let mut next_line = || raw_lines.next().unwrap_or(Err(Malformed::LineEnd));
    let first_line = next_line()?;
    let mut lines = Vec::with_capacity(headers.len());
    for header in headers {
        lines.push(Line {
            name: header.name,
            value: header.value,
            raw: next_line()?,
        });
    }
    match next_line()? {
        [] => Ok((first_line, lines)),
        _ => Err(Malformed::LineEnd),
    }
}

fn first<'a>(lines: &[Line<'a>], name: &str) -> Option<&'a [u8]> {
    lines
        .iter()
        .find(|line| line.is(name))
        .map(|line| line.value)
}

/// Returns the value of the line with that name if there is exactly one.
fn only<'a>(lines: &[Line<'a>], name: &str) -> Option<&'a [u8]> {
    let mut values = lines.iter().filter(|line| line.is(name));
    let value = values.next().map(|line| line.value);
    value.filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests;
