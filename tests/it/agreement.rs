//! The corpus of request heads against real servers: what is refused never reaches them, and of what
//! is accepted the proxy and the servers agree where it ends.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::http::{self, get};
use crate::harness::parts::{Part, Running, file};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::wait_listening_on;
use crate::harness::{eventually, free_addr};

/// The request behind each file; it must come through as itself, and be the last.
const MARKED: &str = "/marked-request-behind";

/// Fewer would mean that names are not understood any more.
const REFUSED_MIN: usize = 150;
const ACCEPTED_MIN: usize = 80;

/// A real server, and what it understood: `METHOD TARGET` and more, a line for each request.
struct Server {
    running: Running,
    addr: SocketAddr,
    /// The file it logs to; none = standard output.
    log: Option<PathBuf>,
    said: Vec<String>,
    /// Files that it may refuse itself, and close: stricter than the RFCs, in some of
    /// its versions.
    stricter: &'static [&'static str],
    _dir: TempDir,
}

impl Server {
    fn node() -> Option<Self> {
        let mut node = Part::Node.command()?;
        let running = Running::start(node.arg(file("real/http_server.js")));
        let addr = SocketAddr::from(([127, 0, 0, 1], running.port()));
        Some(Self {
            running,
            addr,
            log: None,
            said: Vec::new(),
            stricter: &[
                "9112-3.1-method-_______________.ok",
                "9112-3.1-method-get.ok",
            ],
            _dir: TempDir::new().unwrap(),
        })
    }

    fn gunicorn() -> Option<Self> {
        let mut python = Part::Websockets.command()?;
        let running = Running::start(python.arg(file("real/wsgi_server.py")));
        let addr = SocketAddr::from(([127, 0, 0, 1], running.port()));
        Some(Self {
            running,
            addr,
            log: None,
            said: Vec::new(),
            stricter: &[
                "9110-7.6.1-expect-other.ok",
                "9112-3.1-method-_______________.ok",
                "9112-3.1-method-get.ok",
                "9112-6.2-length-leading-zeros.ok",
            ],
            _dir: TempDir::new().unwrap(),
        })
    }

    fn nginx() -> Option<Self> {
        let mut nginx = Part::Nginx.command()?;
        let dir = TempDir::new().unwrap();
        let addr = free_addr();
        let at = dir.path().display();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{}}\nhttp {{\n  log_format understood '$request';\n\
             access_log {at}/access.log understood;\n  client_body_temp_path {at}/b;\n\
             proxy_temp_path {at}/p;\n  fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n\
             scgi_temp_path {at}/s;\n  keepalive_requests 100000;\n\
             server {{\n    listen {addr};\n    large_client_header_buffers 4 64k;\n\
             location / {{ return 200 \"$request_method $request_uri\\n\"; }}\n  }}\n}}\n"
        );
        let config = dir.path().join("nginx.conf");
        fs::write(&config, text).unwrap();
        let errors = dir.path().join("error.log");
        let running = Running::start(nginx.arg("-e").arg(errors).arg("-c").arg(&config));
        wait_listening_on(running.pid(), &addr.to_string());
        Some(Self {
            running,
            addr,
            log: Some(dir.path().join("access.log")),
            said: Vec::new(),
            stricter: &[
                "9112-3.1-method-_______________.ok",
                "9112-3.1-method-get.ok",
                "9112-3.2.1-bad-escape.ok",
                "9112-3.2.1-encoded-nul.ok",
                "9112-3.2.4-absolute-options.ok",
                "9112-3.2.4-asterisk.ok",
            ],
            _dir: dir,
        })
    }

    /// Waits until it has understood `count` more requests, and returns what they were.
    fn understood(&mut self, count: usize) -> Vec<String> {
        match &self.log {
            None => (0..count).map(|_| self.running.line()).collect(),
            Some(log) => {
                let mut lines = Vec::new();
                let seen = self.said.len();
                eventually("the server's log", || {
                    let text = fs::read_to_string(log).unwrap_or_default();
                    lines = text.lines().skip(seen).map(str::to_owned).collect();
                    lines.len() >= count
                });
                assert_eq!(lines.len(), count, "{lines:?}");
                self.said.extend(lines.clone());
                lines
            }
        }
    }
}

/// Labelled files of requests: name, verdict, bytes (tests/corpus/main.rs tells the names).
fn labelled() -> Vec<(String, String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/head");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let (rule, verdict) = name.rsplit_once('.')?;
            let verdict = verdict.to_owned();
            (!rule.starts_with("response-"))
                .then(|| (name.clone(), verdict, fs::read(&path).unwrap()))
        })
        .collect()
}

/// All answers on a connection, up to its end: the status and the body of each.
fn answers(client: &mut Peer, heads_only: &[bool]) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    while let Some(head) = client.try_read_head() {
        let status = http::status(&head);
        if status < 200 {
            continue;
        }
        let len = http::values(&head, "content-length")
            .first()
            .map(|len| len.parse().unwrap());
        let chunked = !http::values(&head, "transfer-encoding").is_empty();
        let body = match len {
            _ if heads_only.get(answers.len()) == Some(&true) => Vec::new(),
            Some(len) => client.read(len),
            None if chunked => client.read_until(b"0\r\n\r\n"),
            None => client.read_to_end().0,
        };
        answers.push((status, String::from_utf8_lossy(&body).into_owned()));
    }
    answers
}

/// The methods of the requests in a whole file, as far as the test must know them: a HEAD has an
/// answer without a body.
fn heads_only(bytes: &[u8]) -> Vec<bool> {
    vec![bytes.starts_with(b"HEAD ")]
}

fn check(server: Option<Server>) {
    let Some(mut server) = server else {
        return;
    };
    let proxy = Plan::http(server.addr)
        .listener_timeouts("request_header = \"500ms\"")
        .backend_timeouts("response = \"2s\"")
        .start();
    let marked = get("marked", MARKED, "Connection: close\r\n");
    let (mut refused, mut accepted, mut stricter) = (0, 0, Vec::new());
    for (name, verdict, bytes) in labelled() {
        // Shown only if the test fails.
        println!("{name}");
        if verdict == "partial" {
            continue;
        }
        let mut client = proxy.connect();
        let _ = client.try_send([&bytes, marked.as_bytes()].concat());
        let answers = answers(&mut client, &heads_only(&bytes));
        if verdict != "ok" {
            // What stands before the broken one may be whole; the broken one ends it all.
            let (status, text) = answers
                .last()
                .unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!(status.to_string(), verdict, "{name}: {text}");
            let lines = server.understood(answers.len() - 1);
            assert!(
                lines.iter().all(|line| !line.contains(MARKED)),
                "{name}: {lines:?}"
            );
            refused += 1;
            continue;
        }
        accepted += 1;
        if answers.iter().any(|(status, _)| *status >= 400) {
            stricter.push(name.clone());
            if server.log.is_none() {
                // The application never heard of it, and of what is behind it at most as it is.
                let served = answers.iter().filter(|(status, _)| *status == 200);
                let lines = server.understood(served.count());
                let marked = format!("GET {MARKED} 0");
                assert!(
                    lines.is_empty() || lines == [marked],
                    "{name}: {answers:?} {lines:?}"
                );
                continue;
            }
        }
        let lines = server.understood(answers.len());
        let last = lines.last().unwrap_or_else(|| panic!("{name}: no request"));
        let marks = lines.iter().filter(|line| line.contains(MARKED)).count();
        match marks {
            // The connection went on, and the marked request was the last one.
            1 => assert!(
                last.starts_with(&format!("GET {MARKED}")),
                "{name}: {lines:?}"
            ),
            // HTTP/1.0 or `Connection: close`: nothing behind it was served.
            count => assert_eq!((count, lines.len()), (0, 1), "{name}: {lines:?}"),
        }
    }
    let unexpected = |name: &&String| !server.stricter.contains(&name.as_str());
    let unexpected: Vec<&String> = stricter.iter().filter(unexpected).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert!(
        refused >= REFUSED_MIN && accepted >= ACCEPTED_MIN,
        "{refused} {accepted}"
    );
}

#[test]
fn node_and_the_proxy_agree_where_messages_end() {
    check(Server::node());
}

#[test]
fn gunicorn_and_the_proxy_agree_where_messages_end() {
    check(Server::gunicorn());
}

#[test]
fn nginx_and_the_proxy_agree_where_messages_end() {
    check(Server::nginx());
}

/// Fewer would mean that names are not understood any more.
const UNFINISHED_MIN: usize = 100;

/// The labelled requests that have no end, and the whole ones without their last byte.
fn unfinished() -> Vec<(String, Vec<u8>)> {
    let cut = |(name, verdict, mut bytes): (String, String, Vec<u8>)| match verdict.as_str() {
        "partial" => Some((name, bytes)),
        "ok" => bytes.pop().map(|_| (name + " without its end", bytes)),
        _ => None,
    };
    labelled().into_iter().filter_map(cut).collect()
}

/// Sends each and ends; what has no end is never served, and nothing of it stands before the next
/// request. A server that answers without reading the body (nginx, here) may have written it down.
fn check_unfinished(server: Option<Server>) {
    let Some(mut server) = server else {
        return;
    };
    // Requests before the cut one are answered, although the client has ended its half.
    let proxy = Plan::http(server.addr)
        .backend_keys("abort_on_close = false")
        .start();
    let unfinished = unfinished();
    assert!(unfinished.len() >= UNFINISHED_MIN, "{}", unfinished.len());
    for (name, bytes) in unfinished {
        // Shown only if the test fails.
        println!("{name}");
        let mut client = proxy.connect();
        client.send(&bytes);
        client.finish();
        // A request that asks for no more may stand before the cut one.
        let heads_only = heads_only(&bytes);
        let answers = answers(&mut client, &heads_only);
        let served = answers.iter().filter(|(status, _)| *status == 200).count();
        let mut marked = proxy.connect();
        marked.send(get("marked", MARKED, "Connection: close\r\n"));
        assert_eq!(http::read_answer(&mut marked).status, 200, "{name}");
        if server.log.is_none() {
            let lines = server.understood(served + 1);
            let last = lines.last().unwrap();
            assert!(
                last.starts_with(&format!("GET {MARKED}")),
                "{name}: {lines:?}"
            );
        }
    }
    if let Some(log) = &server.log {
        let text = fs::read_to_string(log).unwrap();
        assert!(!text.contains("/evil"), "{text}");
    }
}

#[test]
fn node_is_not_served_what_has_no_end() {
    check_unfinished(Server::node());
}

#[test]
fn gunicorn_is_not_served_what_has_no_end() {
    check_unfinished(Server::gunicorn());
}

#[test]
fn nginx_is_not_served_what_has_no_end() {
    check_unfinished(Server::nginx());
}
