//! The server behind a proxy, which does what a row says, and the client in front of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::http::{ok, values};
use crate::harness::within;

/// A request for this is answered in the same way in every row.
pub(super) const MARKED: &str = "/marked";
/// Without a byte for so long, nothing more is expected of an answer that has begun.
const QUIET: Duration = Duration::from_millis(400);

/// How long the first byte of an answer may take; some proxies never answer some of this.
const PATIENCE: Duration = Duration::from_secs(4);

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// It answers so; an empty text is no answer.
    pub(super) answer: Vec<u8>,
    /// Whether it ends the connection then.
    pub(super) ends: bool,
}

/// A request that the server got.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// The number of its connection.
    pub(super) connection: usize,
    pub(super) head: String,
    /// The body as it came, chunks and all.
    pub(super) body: String,
}

/// The server.
pub(super) struct Stage {
    script: Mutex<Script>,
    heard: Mutex<Vec<Heard>>,
    /// The numbers of connections that the proxy has ended.
    ended: Mutex<Vec<usize>>,
}

impl Stage {
    /// Opens a server on a free port.
    pub(super) fn open() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let stage = Arc::new(Self {
            script: Mutex::new(Script {
                answer: Vec::new(),
                ends: false,
            }),
            heard: Mutex::default(),
            ended: Mutex::default(),
        });
        let shared = Arc::clone(&stage);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let stage = Arc::clone(&shared);
                thread::spawn(move || stage.serve(connection, Reader::new(stream)));
            }
        });
        (stage, addr)
    }

    fn serve(&self, connection: usize, mut reader: Reader) {
        while let Some(head) = reader.until(b"\r\n\r\n") {
            let Some(body) = reader.body(&head) else {
                break;
            };
            if head.contains(MARKED) {
                let _ = reader.stream.write_all(ok("marked").as_bytes());
                continue;
            }
            let script = self.script.lock().unwrap().clone();
            self.heard.lock().unwrap().push(Heard {
                connection,
                head,
                body,
            });
            let _ = reader.stream.write_all(&script.answer);
            if script.ends {
                let _ = reader.stream.shutdown(Shutdown::Write);
            }
        }
        self.ended.lock().unwrap().push(connection);
    }
}

/// Bytes of a connection in the order in which they come.
struct Reader {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Reader {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            seen: Vec::new(),
        }
    }

    /// Reads more; false = there is none.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let len = self.stream.read(&mut bytes).unwrap_or(0);
        self.seen.extend_from_slice(&bytes[..len]);
        len > 0
    }

    fn take(&mut self, len: usize) -> Option<String> {
        while self.seen.len() < len {
            if !self.more() {
                return None;
            }
        }
        let rest = self.seen.split_off(len);
        let taken = std::mem::replace(&mut self.seen, rest);
        Some(String::from_utf8_lossy(&taken).into_owned())
    }

    /// Reads up to `mark` and with it.
    fn until(&mut self, mark: &[u8]) -> Option<String> {
        loop {
            let found = self
                .seen
                .windows(mark.len())
                .position(|window| window == mark);
            if let Some(at) = found {
                return self.take(at + mark.len());
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn body(&mut self, head: &str) -> Option<String> {
        if let Some(len) = values(head, "content-length").first() {
            return self.take(len.parse().ok()?);
        }
        if values(head, "transfer-encoding").is_empty() {
            return Some(String::new());
        }
        let mut body = String::new();
        loop {
            let line = self.until(b"\r\n")?;
            let digits = line.trim_end().split([';', ' ', '\t']).next()?;
            let len = usize::from_str_radix(digits, 16).ok()?;
            body += &line;
            if len == 0 {
                break;
            }
            body += &self.take(len + 2)?;
        }
        loop {
            let line = self.until(b"\r\n")?;
            body += &line;
            if line == "\r\n" {
                return Some(body);
            }
        }
    }
}

/// One row at one proxy.
pub(super) struct Trial<'a> {
    addr: SocketAddr,
    stage: &'a Stage,
}

impl<'a> Trial<'a> {
    pub(super) fn new(addr: SocketAddr, stage: &'a Stage) -> Self {
        stage.heard.lock().unwrap().clear();
        let trial = Self { addr, stage };
        trial.answers(ok("hello"));
        trial
    }

    /// From now on the server answers so.
    pub(super) fn answers(&self, answer: impl AsRef<[u8]>) {
        *self.stage.script.lock().unwrap() = Script {
            answer: answer.as_ref().to_vec(),
            ends: false,
        };
    }

    /// From now on the server answers so and ends the connection.
    pub(super) fn answers_and_ends(&self, answer: impl AsRef<[u8]>) {
        *self.stage.script.lock().unwrap() = Script {
            answer: answer.as_ref().to_vec(),
            ends: true,
        };
    }

    pub(super) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.addr).unwrap();
        Client { stream }
    }

    /// Sends bytes on a connection of their own, and returns what comes back.
    pub(super) fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        self.connect().ask(bytes)
    }

    /// Returns the requests that the server got.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.stage.heard.lock().unwrap().clone()
    }

    /// Returns the last request that the server got.
    pub(super) fn last(&self) -> Option<Heard> {
        self.heard().pop()
    }

    /// Returns whether the proxy ends the connection of the last request soon.
    pub(super) fn is_left(&self) -> bool {
        let connection = self.last().unwrap().connection;
        within(Duration::from_secs(2), || {
            self.stage.ended.lock().unwrap().contains(&connection)
        })
    }
}

/// A client's connection.
pub(super) struct Client {
    stream: TcpStream,
}

impl Client {
    /// Sends bytes and returns what comes back.
    pub(super) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.send(bytes);
        self.read()
    }

    /// Sends bytes; a proxy may have had enough already.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Reads until nothing comes any more.
    pub(super) fn read(&mut self) -> String {
        self.read_within(PATIENCE)
    }

    /// Reads until nothing comes any more; waits for the first byte so long.
    pub(super) fn read_within(&mut self, patience: Duration) -> String {
        let (mut all, mut bytes) = (Vec::new(), [0; 65_536]);
        let began = Instant::now();
        loop {
            let wait = match all.is_empty() {
                true => patience.saturating_sub(began.elapsed()).max(QUIET),
                false => QUIET,
            };
            self.stream.set_read_timeout(Some(wait)).unwrap();
            match self.stream.read(&mut bytes) {
                Ok(0) => break,
                Ok(len) => all.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Ends the sending half.
    pub(super) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Returns whether the proxy has ended or reset the connection.
    pub(super) fn is_closed(&mut self) -> bool {
        self.stream.set_read_timeout(Some(QUIET)).unwrap();
        match self.stream.read(&mut [0; 1]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}
