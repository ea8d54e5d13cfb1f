//! Very many WebSockets that talk, on one thread each for servers and clients.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use crate::harness::{PATIENCE, websocket};

/// How often each side says something.
const TALK_PAUSE: Duration = Duration::from_secs(1);
/// A Close frame of a server without a reason (RFC 6455, 5.5.1): 1001, going away.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// How a WebSocket ended, as its client saw it.
#[derive(Debug)]
pub(super) struct End {
    /// When.
    pub(super) at: Instant,
    /// What was not in order about it; empty = nothing.
    pub(super) wrong: String,
}

/// Clients whose WebSockets are open.
pub(super) struct Crowd {
    runtime: Runtime,
    clients: Vec<JoinHandle<End>>,
}

impl Crowd {
    /// Opens `count` WebSockets at `addr`, in front of [`serve`]; they talk whenever one of these
    /// methods runs.
    pub(super) fn open(addr: SocketAddr, count: usize) -> Self {
        let runtime = runtime();
        let clients = runtime.block_on(async {
            let mut clients = Vec::with_capacity(count);
            for _ in 0..count {
                let opening = timeout(PATIENCE, opened(addr));
                let (stream, early) = opening.await.unwrap().unwrap();
                clients.push(tokio::spawn(listen(stream, early)));
            }
            clients
        });
        Self { runtime, clients }
    }

    /// Waits until every one of them has ended.
    pub(super) fn ends(self) -> Vec<End> {
        let Self { runtime, clients } = self;
        runtime.block_on(async {
            let mut ends = Vec::with_capacity(clients.len());
            for client in clients {
                ends.push(client.await.unwrap());
            }
            ends
        })
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Upgrades every connection, sends text frames with the numbers from 0 on, and forgets what comes.
pub(super) fn serve() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A connection that is gone needs nothing more.
                tokio::spawn(async { talk(stream).await.unwrap_or_default() });
            }
        });
    });
    addr
}

async fn talk(mut stream: TcpStream) -> std::io::Result<()> {
    head(&mut stream).await?;
    stream
        .write_all(websocket::switching("").as_bytes())
        .await?;
    let mut buffer = [0; 4096];
    let mut beat = interval(TALK_PAUSE);
    let mut number = 0_u64;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                stream.write_all(&message(number)).await?;
                number += 1;
            }
            read = stream.read(&mut buffer) => if read? == 0 {
                return Ok(());
            },
        }
    }
}

fn message(number: u64) -> Vec<u8> {
    websocket::server_text(&format!("{number:0100}"))
}

/// Reads to the end of a head and returns what came behind it.
async fn head(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let behind = bytes.split_off(at + 4);
            return Ok((String::from_utf8(bytes).unwrap(), behind));
        }
    }
}

async fn opened(addr: SocketAddr) -> std::io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let request = websocket::request("app.example", "/chat", "");
    stream.write_all(request.as_bytes()).await?;
    let (head, behind) = head(&mut stream).await?;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ok((stream, behind))
}

/// Talks and listens until the other side ends.
async fn listen(mut stream: TcpStream, mut received: Vec<u8>) -> End {
    let mut beat = interval(TALK_PAUSE);
    let mut next = 0;
    let wrong = loop {
        while let Some(rest) = received.strip_prefix(&message(next)[..]) {
            received = rest.to_vec();
            next += 1;
        }
        tokio::select! {
            biased;
            read = stream.read_buf(&mut received) => match read {
                Ok(0) => break left_over(&received),
                Ok(_) => {}
                Err(error) => break error.to_string(),
            },
            // What cannot be sent any more is none of the ends that are looked for.
            _ = beat.tick() => drop(stream.write_all(&websocket::client_text("hello")).await),
        }
    };
    End {
        at: Instant::now(),
        wrong,
    }
}

/// Says what is wrong with what came behind the last whole message.
fn left_over(received: &[u8]) -> String {
    if received.is_empty() || received == GOING_AWAY {
        String::new()
    } else {
        format!("{received:?} at the end")
    }
}
