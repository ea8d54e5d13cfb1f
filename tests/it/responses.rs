//! The corpus of answers through the proxy: what is refused is a 502 or a cut connection, what is
//! whole arrives whole, and no later answer holds a byte of an earlier one.
//!
//! tests/corpus/main.rs tells the names of the files. The server is a script: it sends a file as
//! its answer to `/case`, and `marked` to everything else, on the same connection if it is asked
//! there again.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::http::{self, get, ok, read_answer, values};
use crate::harness::origin::Origin;
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::websocket;

/// Fewer would mean that names are not understood any more.
const REFUSED_MIN: usize = 130;
const PASSED_MIN: usize = 80;

/// A file.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    verdict: String,
    bytes: Vec<u8>,
}

impl Case {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/head");
        let mut cases = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.starts_with("response-") {
                continue;
            }
            let (_, verdict) = name.rsplit_once('.').unwrap();
            cases.push(Self {
                verdict: verdict.to_owned(),
                bytes: fs::read(&path).unwrap(),
                name,
            });
        }
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// The request that it answers.
    fn request(&self) -> String {
        let get = get("x", "/case", "");
        match self.name.split('-').nth(1).unwrap() {
            "HEAD" => get.replace("GET", "HEAD"),
            "HTTP10" => get.replace("HTTP/1.1", "HTTP/1.0"),
            "UPGRADE" => websocket::request("x", "/case", ""),
            _ => get,
        }
    }

    fn is(&self, asked: &str) -> bool {
        self.name.starts_with(&format!("response-{asked}-"))
    }

    /// Whether it is refused for what its body is, which may show when its head has gone already.
    fn breaks_late(&self) -> bool {
        ["-7.1-", "-7.1.2-", "-6.5-"]
            .iter()
            .any(|section| self.name.contains(section))
    }
}

/// A whole answer, read by other rules than the proxy's: only what the files need.
struct Reference {
    interim: usize,
    status: u16,
    body: Vec<u8>,
    /// Its end is the end of the server's connection.
    until_close: bool,
    /// Its end is the end of the client's connection.
    ends_client: bool,
}

impl Reference {
    fn of(case: &Case) -> Self {
        let mut rest = &case.bytes[..];
        let mut interim = 0;
        loop {
            let end = end_of_head(rest).unwrap_or_else(|| panic!("{}", case.name));
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest = &rest[end..];
            let status = http::status(&head);
            if status < 200 && status != 101 {
                interim += 1;
                continue;
            }
            let length = values(&head, "content-length");
            let chunked = !values(&head, "transfer-encoding").is_empty();
            let none = case.is("HEAD") || [204, 304].contains(&status);
            let until_close = !none && length.is_empty() && !chunked && status != 101;
            let len = match length.first() {
                _ if none => 0,
                // The fields of a 101 say nothing of the bytes of the tunnel.
                _ if status == 101 => rest.len(),
                Some(length) => length.parse().unwrap(),
                None if chunked => {
                    let (chunks, content) = chunks_passed(rest);
                    let old = case.is("HTTP10");
                    return Self {
                        interim,
                        status,
                        body: if old { content } else { chunks },
                        until_close,
                        ends_client: old,
                    };
                }
                None => rest.len(),
            };
            return Self {
                interim,
                status,
                body: rest[..len].to_vec(),
                until_close,
                ends_client: until_close,
            };
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    at.map(|at| at + 4)
}

/// What is passed on of a chunked body that breaks no rule: all but what stands behind a size, and the content
/// alone.
fn chunks_passed(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let line_end = |at: usize| at + 2 + find(&bytes[at..], b"\r\n").unwrap();
    let (mut at, mut passed, mut content) = (0, Vec::new(), Vec::new());
    loop {
        let line = &bytes[at..line_end(at)];
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let size =
            usize::from_str_radix(std::str::from_utf8(&line[..digits]).unwrap(), 16).unwrap();
        at = line_end(at);
        passed.extend_from_slice(&line[..digits]);
        passed.extend_from_slice(b"\r\n");
        let from = at;
        if size > 0 {
            at += size + 2;
            passed.extend_from_slice(&bytes[from..at]);
            content.extend_from_slice(&bytes[from..at - 2]);
            continue;
        }
        while &bytes[at..line_end(at)] != b"\r\n" {
            at = line_end(at);
        }
        passed.extend_from_slice(&bytes[from..at + 2]);
        return (passed, content);
    }
}

/// The bytes without what stands between a semicolon and the end of its line.
fn without_extensions(bytes: &[u8]) -> Vec<u8> {
    let mut within = false;
    let mut kept = bytes.to_vec();
    kept.retain(|byte| {
        within = *byte == b';' || within && !matches!(byte, b'\r' | b'\n');
        !within
    });
    kept
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// What the server does next.
#[derive(Clone)]
struct Script {
    case: Case,
    /// In pieces of one byte.
    dripped: bool,
    /// Whether it ends its half behind the answer, or waits for another request.
    ends: bool,
}

/// The server, the proxy in front of it, and word of each answer that was sent to its last byte.
struct Stage {
    proxy: Proxy,
    script: Arc<Mutex<Option<Script>>>,
    sent: Receiver<()>,
}

impl Stage {
    fn new() -> Self {
        let script: Arc<Mutex<Option<Script>>> = Arc::default();
        let (sender, sent) = channel();
        let sender = Mutex::new(sender);
        let shared = Arc::clone(&script);
        let addr = Origin::serve(move |peer| {
            let sender = sender.lock().unwrap().clone();
            serve(peer, &shared, &sender);
        });
        Self {
            // No case may need the time-out to be decided.
            proxy: Plan::http(addr).start(),
            script,
            sent,
        }
    }

    /// Plays a case and then a harmless request, on the client's connection if it is still there,
    /// and on a new one.
    fn play(&self, script: Script) {
        let case = script.case.clone();
        let what = format!(
            "{} dripped: {} ended: {}",
            case.name, script.dripped, script.ends
        );
        // Shown only if the test fails.
        println!("{what}");
        *self.script.lock().unwrap() = Some(script);
        let mut client = self.proxy.connect();
        client.send(case.request());
        self.sent.recv_timeout(PATIENCE).expect("was not asked");
        let goes_on = match case.verdict.as_str() {
            "ok" | "surplus" => expect_whole(&mut client, &case),
            _ => expect_refused(&mut client, &case),
        };
        if goes_on {
            expect_marked(&mut client, &what);
        }
        expect_marked(&mut self.proxy.connect(), &what);
    }
}

/// Serves one connection of the proxy.
fn serve(mut peer: Peer, script: &Mutex<Option<Script>>, sent: &Sender<()>) {
    let mut spoiled = "";
    while let Some(head) = peer.try_read_head() {
        if !head.contains(" /case ") {
            let _ = peer.try_send(ok(&format!("marked{spoiled}")));
            continue;
        }
        let script = script.lock().unwrap().clone().unwrap();
        let case = &script.case;
        // The proxy may refuse before the last byte.
        let _ = match script.dripped {
            true => peer.drip(&case.bytes, Duration::from_micros(20)),
            false => peer.try_send(&case.bytes),
        };
        if case.verdict != "ok" {
            spoiled = " on a connection that must not be used again";
        }
        if script.ends {
            peer.finish_if_open();
        }
        let _ = sent.send(());
    }
}

fn expect_marked(client: &mut Peer, what: &str) {
    client.send(get("x", "/marked", ""));
    let answer = read_answer(client);
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "marked"),
        "{what}"
    );
}

/// The next head that is the answer, and how many came before it.
fn final_head(client: &mut Peer) -> Option<(String, usize)> {
    let mut interim = 0;
    loop {
        let head = client.try_read_head()?;
        let status = http::status(&head);
        if status >= 200 || status == 101 {
            return Some((head, interim));
        }
        for field in ["content-length", "transfer-encoding"] {
            assert!(values(&head, field).is_empty(), "{head}");
        }
        interim += 1;
    }
}

/// Tells whether the client's connection goes on.
fn expect_whole(client: &mut Peer, case: &Case) -> bool {
    let name = &case.name;
    let reference = Reference::of(case);
    let (head, interim) = final_head(client).unwrap_or_else(|| panic!("{name}: no answer"));
    assert_eq!(http::status(&head), reference.status, "{name}");
    let passed = if case.is("HTTP10") {
        0
    } else {
        reference.interim
    };
    assert_eq!(interim, passed, "{name}");
    let framing = ["content-length", "transfer-encoding"].map(|field| values(&head, field).len());
    match reference.status {
        101 | 204 => assert_eq!(framing, [0, 0], "{name}: {head}"),
        _ => assert!(framing.iter().sum::<usize>() <= 1, "{name}: {head}"),
    }
    if reference.status == 101 {
        client.expect(&reference.body);
        return false;
    }
    if reference.ends_client {
        assert_eq!(values(&head, "connection"), ["close"], "{name}");
        let (body, end) = client.read_to_end();
        assert_eq!((&body, end), (&reference.body, End::Closed), "{name}");
        return false;
    }
    client.expect(&reference.body);
    let closes = values(&head, "connection").contains(&"close");
    if closes {
        client.expect_ended();
    }
    !closes
}

/// Tells whether the client's connection goes on: a 502 of ours does not end it.
fn expect_refused(client: &mut Peer, case: &Case) -> bool {
    let name = &case.name;
    let (head, _) = final_head(client).unwrap_or_else(|| panic!("{name}: no answer"));
    let status = http::status(&head);
    let own = head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n");
    if status == 502 && own {
        let len: usize = values(&head, "content-length")[0].parse().unwrap();
        if !case.is("HEAD") {
            client.expect("502 Bad Gateway\n");
            assert_eq!(len, 16);
        }
        let closes = values(&head, "connection").contains(&"close");
        if closes {
            client.expect_ended();
        }
        return !closes;
    }
    // The head had gone; the body must not look whole, neither by its length nor by its end.
    let whole_head = end_of_head(&case.bytes).is_some();
    let late = case.verdict == "partial" && whole_head || case.breaks_late();
    assert!(late, "{name}: {head}");
    let (body, end) = client.read_to_end();
    // Nothing but the end tells a body without a length from a whole one.
    assert!(!case.is("HTTP10") || end == End::Reset, "{name}: {head}");
    let bare = without_extensions(&case.bytes);
    let theirs = body.is_empty() || find(&bare, &body).is_some();
    assert!(theirs, "{name}: {body:?}");
    assert!(!body.ends_with(b"0\r\n\r\n"), "{name}: {body:?}");
    if let Some(len) = values(&head, "content-length").first() {
        assert!((body.len() as u64) < len.parse().unwrap(), "{name}");
    }
    false
}

#[test]
fn answers_pass_whole_or_are_refused_and_nothing_of_them_is_left() {
    let stage = Stage::new();
    let (mut refused, mut passed) = (0, 0);
    for case in Case::all() {
        let whole = matches!(case.verdict.as_str(), "ok" | "surplus");
        let needs_end = match whole {
            true => Reference::of(&case).until_close,
            false => case.verdict == "partial",
        };
        match case.verdict.as_str() {
            "502" => refused += 1,
            _ => passed += 1,
        }
        for dripped in [false, true] {
            // A head of 32 KiB, byte by byte, shows nothing that a shorter one does not.
            if dripped && case.bytes.len() > 2000 {
                continue;
            }
            for ends in [true, false] {
                if ends || !needs_end {
                    stage.play(Script {
                        case: case.clone(),
                        dripped,
                        ends,
                    });
                }
            }
        }
    }
    assert!(
        refused >= REFUSED_MIN && passed >= PASSED_MIN,
        "{refused} {passed}"
    );
}
