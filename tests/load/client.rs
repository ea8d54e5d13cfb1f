//! Clients that know how each of their requests must end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::harness::PATIENCE;
use crate::harness::random::Random;
use crate::wish::{Fate, Wish, hash};

/// Requests sent ahead at most.
const AHEAD_MAX: usize = 4;
/// Longest body that is sent.
const UPLOAD_MAX: usize = 100_000;

/// What came of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    whole: usize,
    cut: usize,
    refused: usize,
    /// Requests that may not be done twice and met a kept connection in the moment it died.
    unlucky: usize,
    posts: usize,
}

impl Tally {
    /// Adds another one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.whole += other.whole;
        self.cut += other.cut;
        self.refused += other.refused;
        self.unlucky += other.unlucky;
        self.posts += other.posts;
    }

    /// Demands that every kind of end was met, and bad luck seldom.
    pub(crate) fn judge(&self) {
        let met = self.whole.min(self.cut).min(self.refused).min(self.posts);
        assert!(met > 10, "{self:?}");
        assert!(self.unlucky * 10 < self.posts, "{self:?}");
    }
}

/// How an answer ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Whole; the connection stays or not.
    Whole { stays: bool },
    /// Cut off.
    Cut,
}

struct Answer {
    status: u16,
    id: Option<u64>,
    body: Vec<u8>,
    end: End,
}

/// Asks until the time is over, and panics at the first answer that is wrong.
pub(crate) fn run(addr: SocketAddr, seed: u64, until: Instant) -> Tally {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut next_id = seed << 32;
    let mut connection = None;
    while Instant::now() < until {
        let mut stream: BufReader<TcpStream> = match connection.take() {
            Some(stream) => stream,
            None => BufReader::new(connect(addr)),
        };
        let count = random.between(1, AHEAD_MAX);
        let asked: Vec<(&str, Wish)> = (0..count)
            .map(|_| {
                next_id += 1;
                let method = ["GET", "GET", "HEAD", "POST"][random.between(0, 3)];
                (method, Wish::choose(&mut random, next_id))
            })
            .collect();
        let bytes: Vec<u8> = asked
            .iter()
            .flat_map(|(method, wish)| request(method, wish, &mut random))
            .collect();
        // The proxy may end the connection inside it, after an answer that was cut.
        let mut writer = stream.get_ref().try_clone().unwrap();
        let sending = std::thread::spawn(move || writer.write_all(&bytes));
        connection = receive(stream.by_ref(), &asked, &mut tally).then_some(stream);
        if connection.is_none() {
            let _ = sending.join().unwrap();
        } else {
            sending.join().unwrap().unwrap();
        }
    }
    tally
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn request(method: &str, wish: &Wish, random: &mut Random) -> Vec<u8> {
    let start = format!("{method} {} HTTP/1.1\r\nHost: x\r\n", wish.target());
    if method != "POST" {
        return format!("{start}\r\n").into_bytes();
    }
    let len = [10, 3000, UPLOAD_MAX][random.between(0, 2)];
    let body = random.bytes(len);
    let told = hash(&body);
    let mut bytes = format!("{start}X-Hash: {told}\r\n").into_bytes();
    if random.between(0, 1) == 0 {
        bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
        bytes.extend(body);
        return bytes;
    }
    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(random.between(1, 20_000).max(500)) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// Receives the answers and judges each; tells whether the connection goes on.
fn receive(stream: &mut BufReader<TcpStream>, asked: &[(&str, Wish)], tally: &mut Tally) -> bool {
    for (method, wish) in asked {
        // The proxy ends in silence where only the client may repeat the request.
        if *method == "POST" && stream.fill_buf().is_ok_and(<[u8]>::is_empty) {
            tally.posts += 1;
            match wish.fate {
                Fate::Mute | Fate::ResetBody => tally.refused += 1,
                Fate::Calm | Fate::Close | Fate::Linger | Fate::CutBody | Fate::CutHead => {
                    tally.unlucky += 1;
                }
            }
            return false;
        }
        let answer = read_answer(stream, method)
            .unwrap_or_else(|error| panic!("{method} {wish:?}: {error}"));
        judge(method, wish, &answer, tally);
        if answer.end != (End::Whole { stays: true }) {
            // A proxy that says close, or cuts an answer off, ends the connection.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert_eq!(rest, b"", "{method} {wish:?}");
            return false;
        }
    }
    true
}

fn judge(method: &str, wish: &Wish, answer: &Answer, tally: &mut Tally) {
    let what = format!("{method} {wish:?} {} {:?}", answer.status, answer.end);
    tally.posts += usize::from(method == "POST");
    if answer.status == 502 {
        assert_eq!(answer.id, None, "{what}");
        assert_ne!(answer.end, End::Cut, "{what}");
        let text: &[u8] = if method == "HEAD" {
            b""
        } else {
            b"502 Bad Gateway\n"
        };
        assert_eq!(answer.body, text, "{what}");
        match wish.fate {
            Fate::CutHead | Fate::Mute | Fate::ResetBody => tally.refused += 1,
            // It may have been done; nobody may do it again.
            Fate::Calm | Fate::Close | Fate::Linger | Fate::CutBody => {
                assert_eq!(method, "POST", "{what}");
                tally.unlucky += 1;
            }
        }
        return;
    }
    assert_eq!((answer.status, answer.id), (200, Some(wish.id)), "{what}");
    let body = if method == "HEAD" {
        Vec::new()
    } else {
        wish.body()
    };
    if method == "HEAD" || wish.fate.is_whole() {
        assert!(answer.end != End::Cut && answer.body == body, "{what}");
        tally.whole += 1;
    } else {
        assert!(
            matches!(wish.fate, Fate::CutBody | Fate::ResetBody),
            "{what}"
        );
        assert!(
            answer.end == End::Cut && body.starts_with(&answer.body),
            "{what}"
        );
        tally.cut += 1;
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>, method: &str) -> std::io::Result<Answer> {
    let status = line(stream)?;
    let status: u16 = status.split(' ').nth(1).unwrap().parse().unwrap();
    let (mut id, mut len, mut chunked, mut close) = (None, None, false, false);
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name {
            "X-Id" => id = value.parse().ok(),
            "Content-Length" => len = Some(value.parse().unwrap()),
            "Transfer-Encoding" => chunked = true,
            "Connection" => close = value == "close",
            _ => {}
        }
    }
    let mut body = Vec::new();
    let whole = match len {
        _ if method == "HEAD" => true,
        Some(len) => read_up_to(stream, len, &mut body),
        None if chunked => read_chunks(stream, &mut body),
        None => read_up_to(stream, u64::MAX, &mut body) || close,
    };
    let end = if whole {
        End::Whole { stays: !close }
    } else {
        End::Cut
    };
    Ok(Answer {
        status,
        id,
        body,
        end,
    })
}

/// A line; the end of the connection is an error here, since an answer is owed.
fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    line.strip_suffix("\r\n")
        .map(str::to_owned)
        .ok_or_else(|| std::io::Error::other(format!("no whole line: {line:?}")))
}

/// Tells whether all of it came.
fn read_up_to(stream: &mut BufReader<TcpStream>, len: u64, body: &mut Vec<u8>) -> bool {
    let before = body.len() as u64;
    if let Err(error) = stream.by_ref().take(len).read_to_end(body) {
        // All else is silence, which is no end.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    body.len() as u64 - before == len
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> bool {
    loop {
        let size = match line(stream) {
            Ok(size) => size,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "{error}");
                return false;
            }
        };
        let size = u64::from_str_radix(&size, 16).unwrap();
        if !read_up_to(stream, size, body) {
            return false;
        }
        match line(stream) {
            Ok(end) => assert_eq!(end, "", "a chunk is longer than it says"),
            Err(_) => return false,
        }
        if size == 0 {
            return true;
        }
    }
}
