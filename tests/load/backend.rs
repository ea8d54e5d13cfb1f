//! Servers that are told in each request how to end it.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::random::Random;
use crate::wish::{Fate, Wish, hash};

/// A server.
pub(crate) struct Backend {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    ledger: Arc<Ledger>,
}

#[derive(Default)]
struct Ledger {
    connections: AtomicUsize,
    complaints: Mutex<Vec<String>>,
}

/// Ids of requests that must not be done twice, by whichever server.
static DONE: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

impl Backend {
    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.ledger.connections.load(Ordering::SeqCst)
    }

    /// What was wrong with requests.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.ledger.complaints.lock().unwrap().clone()
    }
}

/// Starts one, with a thread for each connection.
pub(crate) fn start() -> Backend {
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let ledger = Arc::new(Ledger::default());
    let shared = Arc::clone(&ledger);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let ledger = Arc::clone(&shared);
            ledger.connections.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                serve(stream, &ledger);
                ledger.connections.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    Backend { addr, ledger }
}

/// Listens with room for all that may come while its thread has to wait for a processor; beyond it
/// the kernel would let connections hang for seconds.
fn listen() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

/// A request head and what came of it.
struct Request {
    method: String,
    wish: Wish,
    body: Vec<u8>,
    body_hash: Option<u64>,
}

/// Serves a connection until either side ends it.
fn serve(stream: TcpStream, ledger: &Ledger) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader, ledger) {
        let complain = |what: &str| {
            let line = format!("{} {:?}: {what}", request.method, request.wish);
            ledger.complaints.lock().unwrap().push(line);
        };
        if request
            .body_hash
            .is_some_and(|told| told != hash(&request.body))
        {
            complain("another body than was sent");
        }
        if request.method == "POST" {
            let mut done = DONE.lock().unwrap();
            if !done.get_or_insert_default().insert(request.wish.id) {
                complain("came twice");
            }
        }
        if !answer(&mut writer, &request) {
            return;
        }
    }
}

/// Reads a request; none when the connection has ended, even inside one.
fn read(reader: &mut BufReader<TcpStream>, ledger: &Ledger) -> Option<Request> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut len, mut chunked, mut body_hash) = (0, false, None);
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name {
            "Content-Length" => len = value.parse().unwrap(),
            "Transfer-Encoding" => chunked = true,
            "X-Hash" => body_hash = value.parse().ok(),
            _ => {}
        }
    }
    let Some(wish) = Wish::parse(&target) else {
        let mut complaints = ledger.complaints.lock().unwrap();
        complaints.push(format!("no request: {first}"));
        return None;
    };
    let body = match chunked {
        true => read_chunks(reader)?,
        false => read_exactly(reader, len)?,
    };
    Some(Request {
        method,
        wish,
        body,
        body_hash,
    })
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.strip_suffix("\r\n").map(str::to_owned)
}

fn read_exactly(reader: &mut BufReader<TcpStream>, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(reader)?, 16).unwrap();
        bytes.extend(read_exactly(reader, size)?);
        assert_eq!(line(reader)?, "");
        if size == 0 {
            return Some(bytes);
        }
    }
}

/// Answers as it was told; tells whether the connection goes on.
fn answer(writer: &mut TcpStream, request: &Request) -> bool {
    let wish = request.wish;
    let mut random = Random::new(wish.id ^ 0xB0D7);
    if wish.fate == Fate::Mute {
        return false;
    }
    let body = wish.body();
    let head_only = request.method == "HEAD";
    // An end that is the connection's is an announced one; wrk takes it for an error.
    let until_close = wish.fate == Fate::Close && !wish.text;
    let kind = random.between(0, if until_close { 2 } else { 1 });
    let (framing, content) = match kind {
        0 => (format!("Content-Length: {}\r\n", body.len()), body),
        1 => (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            chunks(&body, &mut random),
        ),
        _ => (String::new(), body),
    };
    let mut bytes = format!("HTTP/1.1 200 OK\r\nX-Id: {}\r\n{framing}\r\n", wish.id).into_bytes();
    let head_len = bytes.len();
    if !head_only {
        bytes.extend_from_slice(&content);
    }
    let body_len = bytes.len() - head_len;
    let sent = match wish.fate {
        Fate::CutHead => random.between(1, head_len - 1),
        // At least one byte is missing, whatever the framing.
        Fate::CutBody | Fate::ResetBody => head_len + random.between(0, body_len.saturating_sub(1)),
        Fate::Calm | Fate::Close | Fate::Linger | Fate::Mute => bytes.len(),
    };
    let written = write_in_pieces(writer, &bytes[..sent], &mut random);
    match wish.fate {
        Fate::Calm => written,
        Fate::Linger => {
            // A server that closes a moment after its answer.
            thread::sleep(Duration::from_micros(random.between(0, 3000) as u64));
            false
        }
        Fate::ResetBody => {
            let _ = SockRef::from(&*writer).set_linger(Some(Duration::ZERO));
            false
        }
        Fate::Close | Fate::CutBody | Fate::CutHead | Fate::Mute => false,
    }
}

fn chunks(body: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 64);
    let mut rest = body;
    while !rest.is_empty() {
        let len = random.between(1, 30_000).min(rest.len());
        bytes.extend_from_slice(format!("{len:x}\r\n").as_bytes());
        bytes.extend_from_slice(&rest[..len]);
        bytes.extend_from_slice(b"\r\n");
        rest = &rest[len..];
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Mostly at once, sometimes in two, so that ends fall between segments too.
fn write_in_pieces(writer: &mut TcpStream, bytes: &[u8], random: &mut Random) -> bool {
    let at = match random.between(0, 3) {
        0 => random.between(0, bytes.len()),
        _ => bytes.len(),
    };
    let (first, second) = bytes.split_at(at);
    writer.write_all(first).is_ok() && writer.write_all(second).is_ok()
}
