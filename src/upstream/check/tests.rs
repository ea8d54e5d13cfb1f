//! Checks of servers that answer as scripted, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream as UnixStreamStd};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::*;
use crate::config::HealthMethod;

/// The defaults.
const LIMITS: HeadLimits = HeadLimits {
    request_line: 0,
    head: 64 * 1024,
    headers: 256,
};

fn health(kind: HealthKind) -> HealthCheck {
    HealthCheck {
        kind,
        method: HealthMethod::Get,
        path: "/healthz".to_owned(),
        host: None,
        tls: true,
        expect: vec![(200, 399)],
        interval: Duration::from_secs(10),
        fast_interval: Duration::from_secs(1),
        timeout: Duration::from_secs(5),
        rise: 2,
        fall: 3,
    }
}

fn run(addr: SocketAddr, health: &HealthCheck, send_proxy: Option<proxy::HeaderVersion>) -> String {
    run_at(&Address::Inet(addr), health, send_proxy)
}

/// Runs a check; returns "ok" or the failure.
fn run_at(
    address: &Address,
    health: &HealthCheck,
    send_proxy: Option<proxy::HeaderVersion>,
) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let target = Target {
        address,
        host: "app.example:80",
        source: &[],
        send_proxy,
        tls: None,
        limits: LIMITS,
    };
    match runtime.block_on(check(target, health)) {
        Ok(()) => "ok".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

/// Accepts one connection, reads until `mark`, sends the result of `answer`, and returns all bytes received
/// until the end.
fn server(
    mark: &'static str,
    answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = read_until(&mut stream, mark);
        // The check may have ended.
        let _ = stream.write_all(&answer(&String::from_utf8_lossy(&request)));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut request);
        String::from_utf8_lossy(&request).into_owned()
    });
    (addr, thread)
}

fn read_until(stream: &mut TcpStream, mark: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(mark.as_bytes()) && stream.read(&mut byte).unwrap() == 1 {
        bytes.push(byte[0]);
    }
    bytes
}

const HEAD_END: &str = "\r\n\r\n";

fn answering(answer: &str, health: &HealthCheck) -> String {
    let answer = answer.as_bytes().to_vec();
    let (addr, thread) = server(HEAD_END, move |_| answer);
    let said = run(addr, health, None);
    thread.join().unwrap();
    said
}

#[test]
fn answers_are_judged() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let cookies = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "Set-Cookie: a=b\r\n".repeat(120)
    );
    let lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(257));
    let wide = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(60_000));
    let interim = |count| "HTTP/1.1 103 Early\r\n\r\n".repeat(count) + "HTTP/1.1 200 OK\r\n\r\n";
    let (sixteen, seventeen) = (interim(16), interim(17));
    let rows = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 399 Odd\r\n\r\n", "ok"),
        ("HTTP/1.0 200 OK\r\n\r\nno length", "ok"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "ok",
        ),
        ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 None\r\n\r\n", "ok"),
        // No body, whatever the fields say.
        (
            "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "ok",
        ),
        (
            "HTTP/1.1 204 None\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
            "ok",
        ),
        (
            "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "ok",
        ),
        (
            "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
            "answered something malformed: the version is neither HTTP/1.0 nor HTTP/1.1",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 1, 1\r\n\r\n",
            "ok",
        ),
        (
            "HTTP/1.1 503 Busy\r\nTransfer-Encoding: gzip\r\n\r\n",
            "answered something malformed: Transfer-Encoding names a coding other than 'chunked', \
             the only one that longsplice knows",
        ),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            "answered 503",
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "answered 101"),
        ("", "closed without an answer"),
        ("HTTP/1.1 200 OK\r\n", "closed within its answer"),
        ("HTTP/1.1 103 Early\r\n\r\n", "closed within its answer"),
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            "answered something malformed: the version is neither HTTP/1.0 nor HTTP/1.1",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
            "answered something malformed: Content-Length is not one plain decimal number",
        ),
        (
            &long,
            "answered something malformed: the head is longer than 65536 bytes, \
             the limit `head` in [backend.limits]",
        ),
        (
            &lines,
            "answered something malformed: there are more than 256 header lines, \
             the limit `headers` in [backend.limits]",
        ),
        (&cookies, "ok"),
        (&wide, "ok"),
        (&sixteen, "ok"),
        (
            &seventeen,
            "answered something malformed: more than 16 interim answers (1xx) came before the answer",
        ),
    ];
    for (answer, expected) in rows {
        assert_eq!(
            answering(answer, &health(HealthKind::Http)),
            expected,
            "{answer}"
        );
    }
    let mut expects = health(HealthKind::Http);
    expects.expect = vec![(204, 204), (418, 418)];
    assert_eq!(
        answering("HTTP/1.1 200 OK\r\n\r\n", &expects),
        "answered 200"
    );
    assert_eq!(answering("HTTP/1.1 418 Tea\r\n\r\n", &expects), "ok");
}

#[test]
fn the_request_is_what_was_configured() {
    let asked = |health: &HealthCheck, version| {
        let (addr, thread) = server(HEAD_END, |_| b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
        assert_eq!(run(addr, health, version), "ok");
        thread.join().unwrap()
    };
    let mut configured = health(HealthKind::Http);
    assert_eq!(
        asked(&configured, None),
        "GET /healthz HTTP/1.1\r\nHost: app.example:80\r\nUser-Agent: longsplice\r\n\
         Connection: close\r\n\r\n"
    );
    configured.method = HealthMethod::Head;
    configured.host = Some("maps".to_owned());
    configured.path = "/a?b".to_owned();
    assert_eq!(
        asked(&configured, Some(proxy::HeaderVersion::V1)),
        "PROXY UNKNOWN\r\nHEAD /a?b HTTP/1.1\r\nHost: maps\r\nUser-Agent: longsplice\r\n\
         Connection: close\r\n\r\n"
    );
    let request = asked(&configured, Some(proxy::HeaderVersion::V2));
    // The signature, version 2, LOCAL.
    assert!(
        request.starts_with("\r\n\r\n\0\r\nQUIT\n\x20"),
        "{request:?}"
    );
    assert!(request.contains("HEAD /a?b HTTP/1.1\r\n"), "{request:?}");
}

#[test]
fn a_head_has_no_body() {
    let mut head = health(HealthKind::Http);
    head.method = HealthMethod::Head;
    let started = Instant::now();
    assert_eq!(
        answering("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", &head),
        "ok"
    );
    assert!(started.elapsed() < FAREWELL, "{:?}", started.elapsed());
}

/// Answers an upgrade according to RFC 6455.
fn upgraded(request: &str) -> Vec<u8> {
    let key = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = websocket::accept_of(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_websocket_check_opens_and_closes_a_websocket() {
    let configured = health(HealthKind::Websocket);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // A real server side: it refuses frames that are not masked.
        let mut socket = tungstenite::accept(stream).unwrap();
        let message = socket.read().unwrap();
        let end = socket.read();
        (
            message,
            matches!(end, Err(tungstenite::Error::ConnectionClosed)),
        )
    });
    assert_eq!(run(addr, &configured, None), "ok");
    let (message, ended) = thread.join().unwrap();
    let tungstenite::Message::Close(Some(frame)) = message else {
        panic!("{message:?}");
    };
    assert_eq!(u16::from(frame.code), 1000);
    assert!(ended);

    let keys: Vec<String> = (0..2)
        .map(|_| {
            let (addr, thread) = server(HEAD_END, upgraded);
            assert_eq!(run(addr, &configured, None), "ok");
            let request = thread.join().unwrap();
            assert!(
                request.starts_with("GET /healthz HTTP/1.1\r\n"),
                "{request}"
            );
            let key = request.lines().find(|line| line.contains("-Key: "));
            key.unwrap().to_owned()
        })
        .collect();
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn other_answers_to_an_upgrade_fail() {
    let configured = health(HealthKind::Websocket);
    let rows = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "answered 200 to the upgrade, not 101",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            "answered 101 without a right Upgrade, Connection and Sec-WebSocket-Accept",
        ),
    ];
    for (answer, expected) in rows {
        assert_eq!(answering(answer, &configured), expected);
    }
}

#[test]
fn a_tcp_check_only_connects() {
    let configured = health(HealthKind::Tcp);
    let (addr, thread) = server("never", |_| Vec::new());
    assert_eq!(run(addr, &configured, None), "ok");
    assert_eq!(thread.join().unwrap(), "");
    let (addr, thread) = server("never", |_| Vec::new());
    assert_eq!(run(addr, &configured, Some(proxy::HeaderVersion::V1)), "ok");
    assert_eq!(thread.join().unwrap(), "PROXY UNKNOWN\r\n");
}

#[test]
fn what_cannot_be_reached_is_said() {
    let mut configured = health(HealthKind::Http);
    configured.timeout = Duration::from_millis(150);
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    assert_eq!(run(nobody, &configured, None), "refused the connection");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    assert_eq!(
        run(silent.local_addr().unwrap(), &configured, None),
        "no answer within 150ms"
    );
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(
        run_at(
            &Address::Unix("/nonexistent/socket".into()),
            &configured,
            None
        ),
        "cannot be reached: No such file or directory (os error 2)"
    );
}

#[test]
fn a_drip_does_not_extend_the_time() {
    let mut configured = health(HealthKind::Http);
    configured.timeout = Duration::from_millis(300);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut count = 0_u32;
        while stream.write_all(b"H").is_ok() && count < 1000 {
            count += 1;
            thread::sleep(Duration::from_millis(20));
            if count == 1 {
                let _ = stream.write_all(b"TTP/1.1 200 OK\r\nX: ");
            }
        }
    });
    let started = Instant::now();
    assert_eq!(run(addr, &configured, None), "no answer within 300ms");
    assert!(started.elapsed() < Duration::from_secs(2));
    thread.join().unwrap();
}

#[test]
fn unix_sockets_are_checked_and_their_full_queue_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let address = Address::Unix(path);
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 1024];
        let len = stream.read(&mut bytes).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    });
    assert_eq!(run_at(&address, &health(HealthKind::Http), None), "ok");
    assert!(thread.join().unwrap().contains("Host: app.example:80\r\n"));
}

#[test]
fn a_full_queue_of_a_unix_socket_is_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let at = socket2::SockAddr::unix(&path).unwrap();
    socket.bind(&at).unwrap();
    socket.listen(0).unwrap();
    let waiting = UnixStreamStd::connect(&path).unwrap();
    let mut configured = health(HealthKind::Tcp);
    configured.timeout = Duration::from_millis(150);
    let address = Address::Unix(path);
    assert_eq!(
        run_at(&address, &configured, None),
        "no connection within 150ms"
    );
    drop(waiting);
}

#[test]
fn a_check_comes_from_the_source_address_that_fits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Inet(listener.local_addr().unwrap());
    let checked = |source: &str| {
        let source = ["::1".parse().unwrap(), source.parse().unwrap()];
        let target = Target {
            address: &address,
            host: "app.example:80",
            source: &source,
            send_proxy: None,
            tls: None,
            limits: LIMITS,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(check(target, &health(HealthKind::Tcp)))
    };
    assert_eq!(checked("127.0.0.9"), Ok(()));
    let (_, from) = listener.accept().unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    let failure = checked("203.0.113.1").unwrap_err();
    assert!(matches!(failure, CheckFailure::Ours(_)), "{failure}");
}
