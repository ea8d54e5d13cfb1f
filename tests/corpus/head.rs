//! What holds for every input of `proto::http`: shared by the corpus test and the fuzz target.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use longsplice::proto::Progress;
use longsplice::proto::addr::{PeerAddr, TrustedProxies};
use longsplice::proto::http::Scheme;
use longsplice::proto::http::condition::{Condition, FieldName, ParameterName};
use longsplice::proto::http::forwarding::{
    ForwardingFacts, Hop, Reader, Speaker, client_of, port_of, request_head, response_head,
    scheme_of,
};
use longsplice::proto::http::framing::{Body, Form, Framing, FramingError};
use longsplice::proto::http::head::{
    EMPTY_LINES_MAX, HeadLimits, HttpVersion, Line, Request, Response, empty_lines_len, is_begun,
    parse_request, parse_response,
};
use longsplice::proto::http::refusal::INTERIM_MAX;

/// The defaults.
pub(crate) const LIMITS: HeadLimits = HeadLimits {
    request_line: 8 * 1024,
    head: 32 * 1024,
    headers: 100,
};

/// The defaults for answers.
pub(crate) const ANSWER_LIMITS: HeadLimits = HeadLimits {
    request_line: 0,
    head: 64 * 1024,
    headers: 256,
};

const TIGHT: HeadLimits = HeadLimits {
    request_line: 40,
    head: 200,
    headers: 5,
};

/// For heads that have grown on their way.
const WIDE: HeadLimits = HeadLimits {
    request_line: 1 << 20,
    head: 1 << 20,
    headers: 1000,
};

const STRICT_TRANSPORT: &str = "strict-transport-security";

/// Fields that may come out in another form than they came in, or were not there at all.
const REWRITTEN: [&str; 11] = [
    "connection",
    "content-length",
    STRICT_TRANSPORT,
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Panics if reading `bytes` as a request, a response or a body breaks a promise.
pub(crate) fn check(bytes: &[u8]) {
    check_request(bytes);
    check_response(bytes);
    for framing in [
        Framing::None,
        Framing::Length(9),
        Framing::Chunked,
        Framing::UntilClose,
    ] {
        check_body(framing, bytes);
    }
}

fn check_request(bytes: &[u8]) {
    let complete = |progress| match progress {
        Ok(Progress::Complete { value, used }) => Some((value, used)),
        Ok(Progress::Partial) | Err(_) => None,
    };
    let read = |bytes, limits| complete(parse_request(bytes, limits));
    if let Some((request, used)) = read(bytes, &TIGHT) {
        assert!(request.request_line.len() <= TIGHT.request_line && used <= TIGHT.head);
        assert!(request.lines.len() <= TIGHT.headers);
        assert_eq!(read(bytes, &LIMITS), Some((request, used)));
    }
    let Some((request, used)) = read(bytes, &LIMITS) else {
        return for_lengths(bytes.len(), |len| {
            assert_eq!(read(&bytes[..len], &LIMITS), None);
        });
    };
    for_lengths(used, |len| {
        assert_eq!(parse_request(&bytes[..len], &LIMITS), Ok(Progress::Partial));
    });
    assert_eq!(read(&bytes[..used], &LIMITS), Some((request.clone(), used)));
    let start = empty_lines_len(bytes);
    assert!(start <= 2 * EMPTY_LINES_MAX && is_begun(bytes) && !is_begun(&bytes[..start]));
    conserves(&bytes[start..used], request.request_line, &request.lines);
    assert!(request.path.starts_with('/') || request.path == "*");
    assert!(
        !request
            .host
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || byte == b'@')
    );
    let upgrade = request.websocket_key.is_some();
    assert!(!upgrade || request.upgrade_removed.is_none());
    assert!(!request.method.eq_ignore_ascii_case("connect"));
    assert!(!upgrade || matches!(request.framing, Framing::None | Framing::Length(0)));
    for peer in [Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::LOCALHOST] {
        for hop in [Hop::KeepAlive, Hop::Close, Hop::Upgrade] {
            if upgrade || hop != Hop::Upgrade {
                check_forwarded(&request, peer, hop);
            }
        }
    }
    check_other_host(&request);
    check_conditions(&request);
    check_body(request.framing, &bytes[used..]);
}

/// Forwards a request to a server that has a Host of its own.
fn check_other_host(request: &Request<'_>) {
    let peer = PeerAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let facts = ForwardingFacts {
        speaker: Speaker {
            peer,
            trusted: false,
        },
        client: peer,
        scheme: Scheme::Http,
        port: 80,
        client_subject: None,
        server_host: Some("app.internal:81"),
    };
    let mut head = Vec::new();
    request_head(request, &facts, Hop::Close, "server:1", &mut head);
    let Ok(Progress::Complete { value: next, .. }) = parse_request(&head, &WIDE) else {
        panic!("no request: {:?}", head.escape_ascii().to_string());
    };
    assert_eq!(next.authority, "app.internal:81");
    assert_eq!(
        (next.method, next.framing),
        (request.method, request.framing)
    );
    assert_eq!(next.path_and_query(), request.path_and_query());
    let told = next.first("x-forwarded-host").unwrap_or_default();
    assert_eq!(told, request.authority.as_bytes());
}

/// Looks for each field and each parameter of a request, and for some that it does not have.
fn check_conditions(request: &Request<'_>) {
    let any = || vec!["*".parse().expect("a pattern")];
    for line in &request.lines {
        // Some names are not allowed in conditions.
        if let Ok(name) = line.name.parse::<FieldName>() {
            let values = any();
            assert!(
                Condition { name, values }.holds(request, true),
                "{}",
                line.name
            );
        }
    }
    let values = any();
    let name: FieldName = "no-such-field-anywhere".parse().expect("a name");
    let named = |line: &Line<'_>| line.is("no-such-field-anywhere");
    let expected = request.lines.iter().any(named);
    assert_eq!(Condition { name, values }.holds(request, true), expected);
    let (_, query) = request.path_and_query();
    for pair in query.trim_start_matches('?').split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let texts = (
            String::from_utf8(decoded(name)),
            String::from_utf8(decoded(value)),
        );
        let (Ok(name), Ok(value)) = texts else {
            continue;
        };
        let (Ok(name), Ok(value)) = (name.parse::<ParameterName>(), value.parse()) else {
            continue;
        };
        let values = vec![value];
        assert!(Condition { name, values }.holds(query), "{pair}");
    }
}

/// Decodes a part of a query, in the plainest way.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).unwrap_or("");
        let is_hex = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match bytes[at] {
            b'%' if is_hex => {
                decoded.push(u8::from_str_radix(digits, 16).expect("two digits"));
                at += 2;
            }
            b'+' => decoded.push(b' '),
            byte => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}

/// Forwards a request and reads it as the next proxy would, which trusts us.
fn check_forwarded(request: &Request<'_>, peer: Ipv4Addr, hop: Hop) {
    let trusted = TrustedProxies {
        ranges: vec!["127.0.0.0/8".parse().expect("a range")],
        unix: false,
    };
    let ours = Speaker {
        peer: PeerAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
        trusted: true,
    };
    let speaker = Speaker {
        peer: PeerAddr::from(SocketAddr::from((peer, 1))),
        trusted: trusted.contains_ip(IpAddr::V4(peer)),
    };
    let facts = ForwardingFacts {
        speaker,
        client: client_of(request, speaker, &trusted),
        scheme: scheme_of(request, speaker.trusted, None, Some(443)),
        port: port_of(request, speaker.trusted, Some(443), 80),
        client_subject: speaker.trusted.then_some("CN=a\\,b"),
        server_host: None,
    };
    let mut head = Vec::new();
    request_head(request, &facts, hop, "a.default:1", &mut head);
    let Ok(Progress::Complete { value: next, used }) = parse_request(&head, &WIDE) else {
        panic!(
            "forwarded what is no request: {:?}",
            head.escape_ascii().to_string()
        );
    };
    assert_eq!(used, head.len(), "forwarded more than one head");
    let target = for_server(request);
    let is_rewritten = request.target != target;
    assert!(!is_rewritten || (next.target_scheme.is_none() && request.target_scheme.is_some()));
    assert_eq!(
        (next.method, next.target, next.version, next.framing),
        (
            request.method,
            target.as_str(),
            HttpVersion::Http11,
            request.framing
        ),
    );
    assert_eq!(next.path, request.path);
    let names_host = request.lines.iter().any(|line| line.is("host"));
    let named = match request.authority {
        "" if !names_host => ("a.default:1", "a.default"),
        authority => (authority, &*request.host),
    };
    assert_eq!((next.authority, &*next.host), named);
    let is_old = request.version == HttpVersion::Http10;
    assert!(!is_old || next.lines.iter().all(|line| !line.is("expect")));
    assert_eq!(next.upgrade_removed, None);
    let key = request.websocket_key.filter(|_| hop == Hop::Upgrade);
    assert_eq!(next.websocket_key, key);
    assert!(next.keep_alive || hop == Hop::Close);
    assert_eq!(client_of(&next, ours, &trusted).ip(), facts.client.ip());
    assert_eq!(scheme_of(&next, true, None, None), facts.scheme);
    assert_eq!(port_of(&next, true, None, 1), facts.port);
    let values = |name: &str| -> Vec<&[u8]> {
        let lines = next.lines.iter().filter(|line| line.is(name));
        lines.map(|line| line.value).collect()
    };
    for name in [
        "x-forwarded-for",
        "x-real-ip",
        "x-forwarded-proto",
        "x-forwarded-port",
    ] {
        assert_eq!(values(name).len(), 1, "{name}");
    }
    assert!(values("x-forwarded-host").len() <= 1);
    if !speaker.trusted {
        assert_eq!(values("x-forwarded-for"), [b"203.0.113.9"]);
        assert_eq!(values("x-real-ip"), [b"203.0.113.9"]);
        assert_eq!(facts.scheme, Scheme::Https);
        assert!(values("forwarded").is_empty());
    }
    let mut lines = next.lines;
    lines.retain(|line| names_host || !line.is("host"));
    if let Some(subject) = facts.client_subject {
        // One line, the last of ours, whatever the request says.
        let of_subject = |line: &Line<'_>| {
            let name = line.name.replace('_', "-");
            name.eq_ignore_ascii_case("x-client-subject")
        };
        let told: Vec<_> = lines.extract_if(.., |line| of_subject(line)).collect();
        assert!(matches!(&told[..], [one] if one.value == subject.as_bytes()));
    }
    passes_in_order(&request.lines, &lines);
}

/// The target as servers expect it, found by another way than the parser's.
fn for_server(request: &Request<'_>) -> String {
    let Some((_, rest)) = request.target.split_once("://") else {
        return request.target.to_owned();
    };
    if request.target_scheme.is_none() {
        // An origin form with a scheme in its query.
        return request.target.to_owned();
    }
    let rest = rest.trim_start_matches(|byte| byte != '/' && byte != '?');
    match (request.method, rest) {
        ("OPTIONS", "") => "*".to_owned(),
        (_, path) if path.starts_with('/') => path.to_owned(),
        (_, query) => format!("/{query}"),
    }
}

fn check_response(bytes: &[u8]) {
    for method in ["GET", "HEAD"] {
        let Ok(Progress::Complete { value, used }) = parse_response(bytes, method, &ANSWER_LIMITS)
        else {
            return for_lengths(bytes.len(), |len| {
                let early = parse_response(&bytes[..len], method, &ANSWER_LIMITS);
                assert!(
                    !matches!(early, Ok(Progress::Complete { .. })),
                    "refused too late"
                );
            });
        };
        for_lengths(used, |len| {
            let early = parse_response(&bytes[..len], method, &ANSWER_LIMITS);
            assert_eq!(early, Ok(Progress::Partial));
        });
        conserves(&bytes[..used], value.status_line, &value.lines);
        assert!(!value.keep_alive || value.framing != Framing::UntilClose);
        check_answered(&value, method);
        check_body(value.framing, &bytes[used..]);
    }
}

/// Forwards a response and reads it as the client would.
fn check_answered(response: &Response<'_>, method: &str) {
    for (hop, version) in [
        (Hop::KeepAlive, HttpVersion::Http11),
        (Hop::Close, HttpVersion::Http11),
        (Hop::KeepAlive, HttpVersion::Http10),
    ] {
        let mut head = Vec::new();
        let reader = Reader {
            version,
            connection: hop,
            strict_transport: Some("max-age=9"),
        };
        response_head(response, reader, &mut head);
        let Ok(Progress::Complete { value: next, used }) = parse_response(&head, method, &WIDE)
        else {
            panic!(
                "forwarded what is no response: {:?}",
                head.escape_ascii().to_string()
            );
        };
        assert_eq!(used, head.len(), "forwarded more than one head");
        assert_eq!(next.version, HttpVersion::Http11);
        assert_eq!(next.status_line[8..], response.status_line[8..]);
        let framing = match response.ends_with_connection(version) {
            true => Framing::UntilClose,
            false => response.framing,
        };
        assert_eq!((next.status, next.framing), (response.status, framing));
        let chunks = |line: &Line<'_>| line.is("transfer-encoding");
        assert!(version == HttpVersion::Http11 || !next.lines.iter().any(chunks));
        let goes_on = hop == Hop::KeepAlive && next.framing != Framing::UntilClose;
        assert!(response.is_interim() || next.keep_alive == goes_on);
        passes_in_order(&response.lines, &next.lines);
        let asked = next.lines.iter().filter(|line| line.is(STRICT_TRANSPORT));
        let lines = response
            .lines
            .iter()
            .filter(|line| line.is(STRICT_TRANSPORT));
        let added = usize::from(response.status >= 200);
        assert_eq!(asked.count(), lines.count().max(added));
    }
}

/// Every line of `after` stands in `before`, in that order, byte for byte.
fn passes_in_order(before: &[Line<'_>], after: &[Line<'_>]) {
    let mut before = before.iter();
    for line in after {
        if !REWRITTEN.iter().any(|name| line.is(name)) {
            assert!(
                before.any(|one| one.raw == line.raw),
                "{line:?} came from nowhere"
            );
        }
        assert!(!line.is("keep-alive") && !line.is("proxy-connection"));
    }
}

/// The parts of a head are the whole of its bytes.
fn conserves(head: &[u8], first_line: &[u8], lines: &[Line<'_>]) {
    let mut joined = Vec::with_capacity(head.len());
    for line in [first_line]
        .into_iter()
        .chain(lines.iter().map(|line| line.raw))
    {
        joined.extend_from_slice(line);
        joined.extend_from_slice(b"\r\n");
    }
    joined.extend_from_slice(b"\r\n");
    assert_eq!(joined, head);
}

/// What a body comes to: bytes used, bytes of content, whether it is done, and what is passed on.
type Outcome = Result<(usize, u64, bool, Vec<u8>), FramingError>;

fn read_body<'a>(mut body: Body, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut used, mut content, mut passed) = (0, 0, Vec::new());
    for piece in pieces {
        let mut input = piece.to_vec();
        let advance = body.advance(&mut input)?;
        assert!(
            advance.used == piece.len() || advance.done,
            "left bytes behind"
        );
        assert!(advance.content <= advance.passed as u64 && advance.passed <= advance.used);
        assert_eq!(input[advance.used..], piece[advance.used..]);
        passed.extend_from_slice(&input[..advance.passed]);
        used += advance.used;
        content += advance.content;
    }
    Ok((used, content, body.is_done(), passed))
}

/// Any split comes to the same, and what stands behind the end does not matter.
fn check_body(framing: Framing, bytes: &[u8]) {
    let request = Body::of_request(framing, &TIGHT);
    let response = |form| Body::of_response(framing, form, &TIGHT);
    let bodies = [&request, &response(Form::Chunks), &response(Form::Content)];
    // Only chunks differ by who sends them, and in how they are passed on.
    let count = if framing == Framing::Chunked { 3 } else { 1 };
    for body in &bodies[..count] {
        let read = |pieces: &mut dyn Iterator<Item = &[u8]>| read_body((*body).clone(), pieces);
        let whole = read(&mut [bytes].into_iter());
        assert_eq!(read(&mut bytes.chunks(1)), whole);
        assert_eq!(read(&mut bytes.chunks(7)), whole);
        let Ok((used, content, done, passed)) = whole else {
            continue;
        };
        check_reread(framing, &passed, content, done);
        if done {
            let whole = Ok((used, content, true, passed));
            assert_eq!(read(&mut [&bytes[..used]].into_iter()), whole);
            let cut = &bytes[..used.saturating_sub(1)];
            if let Ok((_, _, done, _)) = read(&mut [cut].into_iter()) {
                assert!(!done || used == 0, "was done before its end");
            }
        }
    }
    let content = |body| read_body(body, [bytes]).map(|(_, content, _, passed)| (content, passed));
    if let Ok((len, passed)) = content(response(Form::Content)) {
        assert_eq!(len, passed.len() as u64, "passed on more than the content");
    }
}

/// What is passed on reads as the body that it was, or is the content alone, and is passed on as it is.
fn check_reread(framing: Framing, passed: &[u8], content: u64, done: bool) {
    if passed.len() as u64 == content {
        return;
    }
    let again = read_body(Body::of_request(framing, &TIGHT), [passed]);
    assert_eq!(again, Ok((passed.len(), content, done, passed.to_vec())));
}

/// Calls `judge` with lengths below `len`: all of a short input, some of a long one, and the last.
fn for_lengths(len: usize, judge: impl Fn(usize)) {
    let stride = len / 24 + 1;
    (0..len).step_by(stride).for_each(&judge);
    (len.saturating_sub(5)..len).for_each(judge);
}

/// How a connection that sends `bytes` and nothing else fares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As many whole messages.
    Whole(usize),
    /// Something is missing.
    Partial,
    /// The status of the refusal.
    Refused(u16),
}

/// Reads all requests a client sends on one connection.
pub(crate) fn judge_requests(mut bytes: &[u8]) -> Verdict {
    let mut count = 0;
    while !bytes.is_empty() {
        let (framing, used) = match parse_request(bytes, &LIMITS) {
            Ok(Progress::Complete { value, used }) => (value.framing, used),
            Ok(Progress::Partial) => return Verdict::Partial,
            Err(refusal) => return Verdict::Refused(refusal.status()),
        };
        let mut body = Body::of_request(framing, &LIMITS);
        match body.advance(&mut bytes[used..].to_vec()) {
            Ok(advance) if body.is_done() => bytes = &bytes[used + advance.used..],
            Ok(_) => return Verdict::Partial,
            Err(_) => return Verdict::Refused(400),
        }
        count += 1;
    }
    Verdict::Whole(count)
}

/// The key of the upgrades that answers are judged for (RFC 6455 section 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Reads what a server sends on one connection and then ends, as the answer to what `asked` names:
/// `HEAD`, `HTTP10` (a GET of that version), `UPGRADE` (with [`KEY`]) or else a GET.
///
/// Returns `ok` for a whole answer, `surplus` for one with bytes behind its end, `partial`, or `502`.
pub(crate) fn judge_answer(asked: &str, bytes: &[u8]) -> &'static str {
    let method = if asked == "HEAD" { "HEAD" } else { "GET" };
    let version = match asked {
        "HTTP10" => HttpVersion::Http10,
        _ => HttpVersion::Http11,
    };
    let mut rest = bytes;
    for _ in 0..=INTERIM_MAX {
        let response = match parse_response(rest, method, &ANSWER_LIMITS) {
            Ok(Progress::Complete { value, used }) => {
                rest = &rest[used..];
                value
            }
            Ok(Progress::Partial) => return "partial",
            Err(_) => return "502",
        };
        if response.status == 101 {
            let accepted = asked == "UPGRADE" && response.accepts(KEY);
            return if accepted { "ok" } else { "502" };
        }
        if response.is_interim() {
            continue;
        }
        let form = Response::form_for(version);
        let mut body = Body::of_response(response.framing, form, &ANSWER_LIMITS);
        return match body.advance(&mut rest.to_vec()) {
            Err(_) => "502",
            Ok(_) if !body.may_end() => "partial",
            Ok(advance) if advance.used < rest.len() => "surplus",
            Ok(_) => "ok",
        };
    }
    "502"
}
