//! Clients that speak HTTP/1.0, in front of servers that speak HTTP/1.1.

use std::fs;
use std::process::Command;

use rustls::version::TLS13;
use tempfile::TempDir;

use crate::harness::free_addr;
use crate::harness::http::{self, get, lines, ok, read_answer, values};
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, finish};
use crate::harness::peer::{End, Peer};
use crate::harness::plan::Plan;
use crate::harness::process::wait_listening_on;
use crate::harness::tls::{Identity, Secure};

/// An answer in chunks, with all that a chunk may have beside its content.
const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
    6;a=\"b\"\r\nhello \r\n5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n";

/// Answers everything in chunks, on connections that stay open.
fn chunking(mut peer: Peer) {
    while peer.try_read_head().is_some() {
        peer.send(CHUNKS);
    }
}

#[test]
fn chunks_arrive_as_their_content() {
    let proxy = Plan::http(Origin::serve(chunking)).start();
    for lines in ["", "Connection: keep-alive\r\n"] {
        let mut client = proxy.connect();
        // What follows a body without a length is not served.
        client.send(format!(
            "GET /1 HTTP/1.0\r\n{lines}\r\nGET /2 HTTP/1.0\r\n\r\n"
        ));
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(values(&head, "connection"), ["close"]);
        assert_eq!(values(&head, "transfer-encoding"), [""; 0]);
        assert_eq!(client.read_to_end(), (b"hello world".to_vec(), End::Closed));
        let line = proxy.wait_access("request", |line| line["version"] == "1.0");
        assert_eq!(
            (&line["cause"], &line["bytes_out"]),
            (&"served".into(), &11.into())
        );
    }
    // A client of today gets chunks.
    let mut client = proxy.connect();
    client.send(get("x", "/", ""));
    client.read_head();
    client.expect("6\r\nhello \r\n5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n");
}

#[test]
fn the_end_of_the_content_is_a_close_notify_over_tls() {
    let identity = Identity::new(&["localhost"]);
    let proxy = Plan::http(Origin::serve(chunking))
        .listener_keys(&identity.listener_keys())
        .start();
    let mut client = Secure::connect(proxy.addr(), &identity.client(&TLS13, None));
    client.send("GET / HTTP/1.0\r\n\r\n");
    client.read_head();
    // An end without close_notify is an error here.
    assert_eq!(client.read_to_end().unwrap(), b"hello world");
}

#[test]
fn content_that_breaks_off_does_not_look_whole() {
    for cut in [
        "5\r\nhel",
        "5\r\nhello",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\nx",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{cut}");
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr()).start();
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        let mut server = origin.accept();
        server.read_head();
        let (head, rest) = answer.split_at(answer.len() - 1);
        server.send(head);
        client.read_head();
        client.expect(if cut == "5\r\nhel" { "he" } else { "hell" });
        server.send(rest);
        drop(server);
        assert_eq!(client.read_to_end().1, End::Reset, "{cut:?}");
    }
}

#[test]
fn the_server_is_asked_in_http_1_1() {
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr()).start();
    let default = origin.addr().to_string();
    let rows = [
        ("", default.as_str()),
        ("Host: a.example\r\n", "a.example"),
        (
            "Host: a.example\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n",
            "a.example",
        ),
    ];
    for (lines, host) in rows {
        let mut client = proxy.connect();
        client.send(format!("GET /a?b HTTP/1.0\r\n{lines}\r\n"));
        let mut server = origin.accept();
        let head = server.read_head();
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
        assert_eq!(values(&head, "host"), [host], "{head}");
        let keeps = lines.contains("keep-alive");
        let connection: &[&str] = if keeps { &[] } else { &["close"] };
        assert_eq!(values(&head, "connection"), connection, "{head}");
        assert_eq!(values(&head, "keep-alive"), [""; 0], "{head}");
        // Nobody named a host to this proxy.
        let forwarded = values(&head, "x-forwarded-host");
        assert_eq!(forwarded.is_empty(), lines.is_empty(), "{head}");
        server.send(ok("fine").replace("HTTP/1.1", "HTTP/1.0"));
        let answer = read_answer(&mut client);
        assert!(
            answer.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            answer.head
        );
        let expected = if keeps { "keep-alive" } else { "close" };
        assert_eq!(answer.values("connection"), [expected]);
        assert_eq!(answer.text(), "fine");
    }
}

#[test]
fn an_answer_to_head_tells_nothing_of_chunks() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n");
    let proxy = Plan::http(origin.addr).start();
    let mut client = proxy.connect();
    client.send("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let head = client.read_head();
    assert_eq!(lines(&head), ["X: y", "Connection: keep-alive"]);
}

#[test]
fn apache_bench_reads_chunks_to_their_end() {
    for (flags, kept) in [
        (&["-n", "20", "-c", "4"][..], false),
        (&["-k", "-n", "20"], true),
    ] {
        let Some(mut ab) = Part::Ab.command() else {
            return;
        };
        let proxy = Plan::http(Origin::serve(chunking)).start();
        let url = format!("http://{}/", proxy.addr());
        let said = finish(ab.args(flags).arg(&url));
        let value = |name: &str| {
            let line = said.lines().find(|line| line.starts_with(name));
            let line = line.unwrap_or_else(|| panic!("no {name}: {said}"));
            line.split_whitespace()
                .rev()
                .find_map(|word| word.parse::<u64>().ok())
        };
        assert_eq!(value("Complete requests:"), Some(20), "{said}");
        assert_eq!(value("Failed requests:"), Some(0), "{said}");
        assert_eq!(value("Document Length:"), Some(11), "{said}");
        assert_eq!(said.contains("Keep-Alive requests:"), kept, "{said}");
    }
}

#[test]
fn curl_reads_chunks_to_their_end() {
    let Some(mut curl) = Part::Curl.command() else {
        return;
    };
    let proxy = Plan::http(Origin::serve(chunking)).start();
    let url = format!("http://{}/", proxy.addr());
    let said = finish(curl.args(["-sS", "--http1.0", "-w", " %{http_code}", &url]));
    assert_eq!(said, "hello world 200");
}

#[test]
fn nginx_as_the_front_speaks_http_1_0() {
    let Some(nginx) = Part::Nginx.command() else {
        return;
    };
    let origin = Origin::serve(|mut peer| {
        while let Some(head) = peer.try_read_head() {
            assert!(head.contains(" HTTP/1.1\r\n"), "{head}");
            match values(&head, "content-length").first() {
                Some(_) => {
                    peer.expect("body");
                    peer.send(ok("taken"));
                }
                None => peer.send(CHUNKS),
            }
        }
    });
    let proxy = Plan::http(origin).start();
    let (front, _running) = front(nginx, &proxy.addr().to_string());
    let mut client = Peer::connect(front);
    client.send(get("x", "/", ""));
    let head = client.read_head();
    assert_eq!(http::status(&head), 200, "{head}");
    let body = match values(&head, "transfer-encoding")[..] {
        ["chunked"] => String::from_utf8(client.read_until(b"0\r\n\r\n")).unwrap(),
        _ => panic!("{head}"),
    };
    let content: String = body.split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(content, "hello world", "{body}");
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(read_answer(&mut client).text(), "taken");
}

/// Starts nginx in front of `upstream`, to which it speaks the version that was its default for long.
fn front(mut nginx: Command, upstream: &str) -> (std::net::SocketAddr, (Running, TempDir)) {
    let dir = TempDir::new().unwrap();
    let (at, addr) = (dir.path().display(), free_addr());
    let text = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\n\
         http {{\n  access_log off;\n  client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n\
         fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;\n\
         server {{\n    listen {addr};\n    location / {{\n      proxy_http_version 1.0;\n\
         proxy_pass http://{upstream};\n    }}\n  }}\n}}\n"
    );
    let config = dir.path().join("nginx.conf");
    fs::write(&config, text).unwrap();
    let errors = dir.path().join("error.log");
    let running = Running::start(nginx.arg("-e").arg(errors).arg("-c").arg(&config));
    wait_listening_on(running.pid(), &addr.to_string());
    (addr, (running, dir))
}
