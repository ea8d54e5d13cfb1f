//! The relay over real sockets, every test on both pollers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustls::version::TLS12;
use socket2::SockRef;

use super::table::Cold;
use super::tunnel::End;
use super::*;
use crate::journal::{Cause, Entries, Entry, Path, Subject};
use crate::proto::addr::PeerAddr;
use crate::tls::offload::Offload;
use crate::tls::testing::{Peer, offer, server as tls_server};

mod goodbye;

/// Name of a listener whose tunnels panic when they move.
const PANICS: &str = "panics";
/// Name of a listener whose tunnels panic before they are in the table.
const PANICS_AT_THE_START: &str = "panics at the start";
/// Name of a listener whose tunnels panic when bytes have come into a pipe.
const PANICS_WITH_A_FULL_PIPE: &str = "panics with a full pipe";
/// Name of a listener whose tunnels panic when they end.
const PANICS_AT_THE_END: &str = "panics at the end";
const SOON: Duration = Duration::from_secs(20);

pub(super) fn panic_if_asked(cold: &Cold) {
    let subject = cold.subject.as_ref();
    assert!(subject.is_none_or(|subject| &*subject.listener != PANICS));
}

pub(super) fn panic_with_a_full_pipe_if_asked(cold: &Cold) {
    let subject = cold.subject.as_ref();
    assert!(subject.is_none_or(|subject| &*subject.listener != PANICS_WITH_A_FULL_PIPE));
}

pub(super) fn panic_at_the_start_if_asked(subject: &Subject) {
    assert!(&*subject.listener != PANICS_AT_THE_START);
}

pub(super) fn panic_at_the_end_if_asked(cold: &Cold) {
    let subject = cold.subject.as_ref();
    assert!(subject.is_none_or(|subject| &*subject.listener != PANICS_AT_THE_END));
}

fn on_both(test: impl Fn(&Bench)) {
    for choice in [PollerChoice::IoUring, PollerChoice::Epoll] {
        let (journal, entries) = crate::journal::journal();
        let relay = spawn(7, Some(0), choice, Arc::default(), journal).unwrap();
        let bench = Bench {
            handle: relay.handle(),
            entries,
        };
        test(&bench);
        bench.handle.stop_when_empty();
        relay.join();
        assert_eq!(bench.handle.alive(), 0);
    }
}

struct Bench {
    handle: Handle,
    entries: Entries,
}

struct Ended {
    cause: Cause,
    bytes: (u64, u64),
    paths: (Path, Path),
}

/// How a tunnel of a test is opened.
struct Plan {
    to_server: &'static [u8],
    to_client: &'static [u8],
    idle: Duration,
    half_close: Duration,
    listener: &'static str,
    legs: [Option<Box<Leg>>; 2],
    says_goodbye: bool,
    lease: Box<dyn Send>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            to_server: b"",
            to_client: b"",
            idle: SOON,
            half_close: SOON,
            listener: "l",
            legs: [None, None],
            says_goodbye: false,
            lease: Box::new(()),
        }
    }
}

impl Bench {
    fn adopt(&self, client: impl Into<OwnedFd>, server: impl Into<OwnedFd>, plan: Plan) {
        let subject = Subject {
            listener: plan.listener.into(),
            peer: PeerAddr::Unix,
            client: PeerAddr::Unix,
            backend: None,
            server: None,
            started: SystemTime::now(),
            over_tls: false,
            certificate: None,
            is_http: false,
            timing: None,
            request: None,
        };
        self.handle.adopt(Start {
            client: client.into(),
            server: server.into(),
            legs: plan.legs,
            to_server: plan.to_server.to_vec(),
            to_client: plan.to_client.to_vec(),
            says_goodbye: plan.says_goodbye,
            timeouts: Timeouts {
                idle: plan.idle,
                half_close: plan.half_close,
            },
            subject: Box::new(subject),
            lease: Lease(plan.lease),
        });
        self.handle.wake();
    }

    /// Opens a tunnel between two TCP connections; returns the outer ends.
    fn tunnel(&self, plan: Plan) -> (TcpStream, TcpStream) {
        let ((client, near), (server, far)) = (pair(), pair());
        self.adopt(near, far, plan);
        (client, server)
    }

    fn ended(&self) -> Ended {
        match self.entries.wait_for(SOON).unwrap() {
            Entry::Close {
                cause,
                bytes_in,
                bytes_out,
                path_in,
                path_out,
                ..
            } => Ended {
                cause,
                bytes: (bytes_in, bytes_out),
                paths: (path_in, path_out),
            },
            other @ (Entry::Progress { .. }
            | Entry::Open { .. }
            | Entry::Request { .. }
            | Entry::Refused { .. }) => {
                panic!("{other:?}")
            }
        }
    }

    /// Looks at every open tunnel, page after page.
    fn all(&self) -> Vec<inspect::Glance> {
        let (mut all, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let page = self.handle.inspect(from).blocking_recv().unwrap();
            assert!(page.tunnels.len() <= inspect::SLICE_LEN as usize);
            all.extend(page.tunnels);
            next = page.next;
        }
        all
    }

    fn expect(&self, cause: Cause, bytes: (u64, u64)) {
        let ended = self.ended();
        assert_eq!((ended.cause, ended.bytes), (cause, bytes));
    }
}

/// Returns the two ends of a connection: the outer one blocks with a time limit, the inner one never.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (inner, _) = listener.accept().unwrap();
    outer.set_read_timeout(Some(SOON)).unwrap();
    outer.set_write_timeout(Some(SOON)).unwrap();
    inner.set_nonblocking(true).unwrap();
    (outer, inner)
}

fn unix_pair() -> (UnixStream, UnixStream) {
    let (outer, inner) = UnixStream::pair().unwrap();
    outer.set_read_timeout(Some(SOON)).unwrap();
    inner.set_nonblocking(true).unwrap();
    (outer, inner)
}

fn read_exactly(mut from: impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

fn read_to_end(mut from: impl Read) -> Vec<u8> {
    let mut bytes = vec![];
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Waits until `condition` holds.
fn until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < SOON, "it never holds");
        thread::yield_now();
    }
}

fn reset(stream: TcpStream) {
    crate::sys::stream::reset_on_close(std::os::fd::AsFd::as_fd(&stream)).unwrap();
    drop(stream);
}

/// A cheap generator of reproducible bytes and lengths.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn chunk(&mut self, left: usize) -> Vec<u8> {
        let sizes = [7, 300, 5_000, 70_000, 400_000];
        let size = sizes[(self.next() % 5) as usize];
        let len = usize::try_from(self.next() % size).unwrap() + 1;
        let mut bytes = vec![0; len.min(left)];
        for word in bytes.chunks_mut(8) {
            let noise = self.next().to_le_bytes();
            word.copy_from_slice(&noise[..word.len()]);
        }
        bytes
    }
}

fn write_noise(to: &mut impl Write, seed: u64, len: usize) {
    let (mut noise, mut left) = (Noise(seed), len);
    while left > 0 {
        let chunk = noise.chunk(left);
        to.write_all(&chunk).unwrap();
        left -= chunk.len();
    }
}

/// Reads and compares `len` bytes of noise, now and then slowly.
fn read_noise(from: &mut impl Read, seed: u64, len: usize) {
    let (mut noise, mut pace, mut left) = (Noise(seed), Noise(seed + 1), len);
    while left > 0 {
        let chunk = noise.chunk(left);
        assert!(
            read_exactly(&mut *from, chunk.len()) == chunk,
            "bytes differ"
        );
        left -= chunk.len();
        if pace.next().is_multiple_of(64) {
            thread::sleep(Duration::from_millis(3));
        }
    }
}

#[test]
fn small_messages_are_echoed_and_counted() {
    on_both(|bench| {
        let (mut client, mut server) = bench.tunnel(Plan::default());
        for _ in 0..100 {
            client.write_all(b"ping").unwrap();
            assert_eq!(read_exactly(&server, 4), b"ping");
            server.write_all(b"pong!").unwrap();
            assert_eq!(read_exactly(&client, 5), b"pong!");
        }
        drop(client);
        assert_eq!(read_to_end(&server), b"");
        drop(server);
        let ended = bench.ended();
        assert_eq!(
            (ended.cause, ended.bytes),
            (Cause::ClientClosed, (400, 500))
        );
        assert_eq!(
            (ended.paths.0.to_string(), ended.paths.1.to_string()),
            ("copy".to_owned(), "copy".to_owned())
        );
    });
}

#[test]
fn bulk_both_ways_arrives_unchanged() {
    const LEN: usize = 64 << 20;
    on_both(|bench| {
        let (client, server) = bench.tunnel(Plan::default());
        thread::scope(|scope| {
            for (stream, seed) in [(&client, 3), (&server, 5)] {
                let mut to = stream;
                scope.spawn(move || write_noise(&mut to, seed, LEN));
            }
            scope.spawn(|| read_noise(&mut &server, 3, LEN));
            scope.spawn(|| read_noise(&mut &client, 5, LEN));
        });
        drop(server);
        assert_eq!(read_to_end(&client), b"");
        drop(client);
        let ended = bench.ended();
        assert_eq!(
            (ended.cause, ended.bytes),
            (Cause::ServerClosed, (LEN as u64, LEN as u64))
        );
        assert!(
            ended.paths.0.spliced || ended.paths.1.spliced,
            "never spliced"
        );
    });
}

#[test]
fn a_stalled_reader_holds_the_writer_back_and_loses_nothing() {
    const LEN: usize = 32 << 20;
    on_both(|bench| {
        let ((mut client, near), (mut server, far)) = (pair(), pair());
        for socket in [&client, &near, &far, &server] {
            // Else the kernel may grow its buffers until all of it fits.
            let socket = SockRef::from(socket);
            socket.set_recv_buffer_size(128 * 1024).unwrap();
            socket.set_send_buffer_size(128 * 1024).unwrap();
        }
        bench.adopt(near, far, Plan::default());
        let sent = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                write_noise(&mut client, 11, LEN);
                client.shutdown(Shutdown::Write).unwrap();
                sent.store(true, Ordering::Relaxed);
            });
            thread::sleep(Duration::from_millis(400));
            assert!(
                !sent.load(Ordering::Relaxed),
                "nothing held the writer back"
            );
            read_noise(&mut server, 11, LEN);
            assert_eq!(read_to_end(&server), b"");
        });
        drop(server);
        bench.expect(Cause::ClientClosed, (LEN as u64, 0));
    });
}

#[test]
fn half_close_leaves_the_other_direction_open() {
    on_both(|bench| {
        for client_first in [true, false] {
            let (client, server) = bench.tunnel(Plan::default());
            let (first, mut second) = if client_first {
                (client, server)
            } else {
                (server, client)
            };
            (&first).write_all(b"last words").unwrap();
            first.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&second), b"last words");
            second.write_all(b"an answer").unwrap();
            assert_eq!(read_exactly(&first, 9), b"an answer");
            second.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&first), b"");
            if client_first {
                bench.expect(Cause::ClientClosed, (10, 9));
            } else {
                bench.expect(Cause::ServerClosed, (9, 10));
            }
        }
    });
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    on_both(|bench| {
        for (client_first, half_closed) in
            [(true, false), (false, false), (true, true), (false, true)]
        {
            let (client, server) = bench.tunnel(Plan::default());
            let (first, second) = if client_first {
                (client, server)
            } else {
                (server, client)
            };
            (&first).write_all(b"hello").unwrap();
            assert_eq!(read_exactly(&second, 5), b"hello");
            if half_closed {
                first.shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_to_end(&second), b"");
            }
            reset(first);
            let ended = bench.ended();
            let error = match (&second).read(&mut [0]) {
                // After its end, a reset shows when a byte is sent.
                Ok(0) if half_closed => loop {
                    if let Err(error) = (&second).write(b"x") {
                        break error.kind();
                    }
                },
                other => other.unwrap_err().kind(),
            };
            assert!(
                matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                "{error:?}"
            );
            let cause = if client_first {
                Cause::ClientReset
            } else {
                Cause::ServerReset
            };
            assert_eq!(ended.cause, cause);
        }
    });
}

#[test]
fn bytes_before_a_reset_are_delivered() {
    on_both(|bench| {
        let (client, mut server) = bench.tunnel(Plan::default());
        (&client).write_all(&[7; 100_000]).unwrap();
        // The relay has read all of it, so that the reset takes nothing away.
        until(|| bench.all().iter().any(|glance| glance.bytes_in == 100_000));
        reset(client);
        assert_eq!(bench.ended().bytes.0, 100_000);
        let mut got = 0;
        let error = loop {
            match server.read(&mut [0; 4096]) {
                Ok(0) => panic!("an end instead of a reset"),
                Ok(len) => got += len,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!((got, error), (100_000, ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_reset_under_back_pressure_is_passed_on_at_once() {
    on_both(|bench| {
        let (client, server) = bench.tunnel(Plan::default());
        client.set_nonblocking(true).unwrap();
        while (&client).write(&[1; 100_000]).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
        reset(client);
        assert_eq!(bench.ended().cause, Cause::ClientReset);
        let mut sink = vec![0; 1 << 20];
        let error = std::iter::repeat_with(|| (&server).read(&mut sink)).find_map(Result::err);
        assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn early_bytes_go_first() {
    on_both(|bench| {
        let ((mut client, near), (mut server, far)) = (pair(), pair());
        client.write_all(b" and late").unwrap();
        server.write_all(b" goes on").unwrap();
        let plan = Plan {
            to_server: b"early",
            to_client: b"101",
            ..Plan::default()
        };
        bench.adopt(near, far, plan);
        assert_eq!(read_exactly(&server, 14), b"early and late");
        assert_eq!(read_exactly(&client, 11), b"101 goes on");
        drop((client, server));
        assert_eq!(bench.ended().bytes, (14, 11));
    });
}

#[test]
fn unix_sockets_serve_as_either_end() {
    const LEN: usize = 8 << 20;
    on_both(|bench| {
        for client_is_unix in [true, false] {
            let ((unix, near), (tcp, far)) = (unix_pair(), pair());
            if client_is_unix {
                bench.adopt(near, far, Plan::default());
            } else {
                bench.adopt(far, near, Plan::default());
            }
            thread::scope(|scope| {
                scope.spawn(|| write_noise(&mut &unix, 21, LEN));
                scope.spawn(|| write_noise(&mut &tcp, 22, LEN));
                scope.spawn(|| read_noise(&mut &tcp, 21, LEN));
                scope.spawn(|| read_noise(&mut &unix, 22, LEN));
            });
            unix.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&tcp), b"");
            drop(tcp);
            assert_eq!(read_to_end(&unix), b"");
            let cause = if client_is_unix {
                Cause::ClientClosed
            } else {
                Cause::ServerClosed
            };
            bench.expect(cause, (LEN as u64, LEN as u64));
        }
    });
}

#[test]
fn silence_ends_a_tunnel_and_a_talking_server_keeps_it() {
    on_both(|bench| {
        // Ten times the pause, so that a busy machine does not stretch the pause to the timeout.
        let idle = Duration::from_secs(1);
        let (client, mut server) = bench.tunnel(Plan {
            idle,
            ..Plan::default()
        });
        let mut said = Instant::now();
        for _ in 0..12 {
            thread::sleep(Duration::from_millis(100));
            said = Instant::now();
            server.write_all(b"tick").unwrap();
            assert_eq!(read_exactly(&client, 4), b"tick");
        }
        let silent = Instant::now();
        assert_eq!(
            (read_to_end(&client), read_to_end(&server)),
            (vec![], vec![])
        );
        // The tunnel counts from some point between the two.
        let (since_said, lasted) = (said.elapsed(), silent.elapsed());
        bench.expect(Cause::TunnelIdle, (0, 48));
        assert!(since_said >= idle, "early: {since_said:?}");
        assert!(
            lasted < idle + Duration::from_millis(400),
            "late: {lasted:?}"
        );
    });
}

#[test]
fn after_one_end_the_shorter_silence_counts() {
    on_both(|bench| {
        let half_close = Duration::from_millis(200);
        let (client, server) = bench.tunnel(Plan {
            half_close,
            ..Plan::default()
        });
        let silent = Instant::now();
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&client), b"");
        assert_eq!(read_to_end(&server), b"");
        assert!(silent.elapsed() >= half_close && silent.elapsed() < half_close * 4);
        bench.expect(Cause::HalfCloseIdle, (0, 0));
    });
}

#[test]
fn ending_all_is_in_good_order() {
    on_both(|bench| {
        let tunnels: Vec<_> = (0..20).map(|_| bench.tunnel(Plan::default())).collect();
        for (client, _) in &tunnels {
            (&*client).write_all(b"on its way").unwrap();
        }
        for (_, server) in &tunnels {
            assert_eq!(read_exactly(server, 10), b"on its way");
        }
        bench.handle.end_some(5, Cause::Drained);
        for _ in 0..5 {
            bench.expect(Cause::Drained, (10, 0));
        }
        assert!(bench.entries.wait_for(Duration::from_millis(50)).is_none());
        bench.handle.end_all(Cause::Drained);
        for (client, server) in &tunnels {
            assert_eq!((read_to_end(client), read_to_end(server)), (vec![], vec![]));
        }
        for _ in 0..15 {
            bench.expect(Cause::Drained, (10, 0));
        }
    });
}

#[test]
fn open_tunnels_are_seen_in_pages_and_one_can_be_ended() {
    on_both(|bench| {
        let count = inspect::SLICE_LEN as usize + 3;
        let tunnels: Vec<_> = (0..count).map(|_| bench.tunnel(Plan::default())).collect();
        for (client, server) in &tunnels {
            (&*client).write_all(b"ping").unwrap();
            assert_eq!(read_exactly(server, 4), b"ping");
            (&*server).write_all(b"pong!").unwrap();
            assert_eq!(read_exactly(client, 5), b"pong!");
        }
        let seen = bench.all();
        assert_eq!(seen.len(), count);
        let ids: std::collections::HashSet<_> = seen.iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), count, "an id names one tunnel");
        assert!(seen.iter().all(|it| (it.bytes_in, it.bytes_out) == (4, 5)));
        assert!(
            seen.iter()
                .all(|it| it.path_in.to_string() == "copy" && it.id.thread() == 7)
        );
        let end = |id| {
            bench
                .handle
                .end_one(id, Cause::Killed)
                .blocking_recv()
                .unwrap()
        };
        let chosen = seen[count - 1].id;
        assert!(end(chosen));
        bench.expect(Cause::Killed, (4, 5));
        assert!(!end(chosen), "ended twice");
        let left = bench.all();
        assert_eq!(left.len(), count - 1);
        assert!(left.iter().all(|it| it.id != chosen));
        // Another tunnel in the same slot is not the one that was meant.
        let _next = bench.tunnel(Plan::default());
        assert_eq!(bench.all().len(), count);
        assert!(!end(chosen));
        bench.handle.end_all(Cause::Drained);
        let moved: u64 = (0..count).map(|_| bench.ended().bytes.0).sum();
        assert_eq!(moved, 4 * (count as u64 - 1));
    });
}

#[test]
fn a_thread_that_has_ended_answers_nobody() {
    let (journal, _entries) = crate::journal::journal();
    let relay = spawn(0, None, PollerChoice::Epoll, Arc::default(), journal).unwrap();
    let handle = relay.handle();
    handle.stop_when_empty();
    relay.join();
    assert!(handle.inspect(0).blocking_recv().is_err());
}

#[test]
fn a_panic_ends_one_tunnel_only() {
    on_both(|bench| {
        let (mut client, mut server) = bench.tunnel(Plan::default());
        let (mut bad, _bad_server) = bench.tunnel(Plan {
            listener: PANICS,
            ..Plan::default()
        });
        bad.write_all(b"x").unwrap();
        bench.expect(Cause::InternalError, (0, 0));
        assert_eq!(bad.read(&mut [0]).unwrap_or(0), 0);
        client.write_all(b"x").unwrap();
        assert_eq!(read_exactly(&server, 1), b"x");
        server.write_all(b"y").unwrap();
        assert_eq!(read_exactly(&client, 1), b"y");
        bench.handle.end_all(Cause::Drained);
        bench.expect(Cause::Drained, (1, 1));
    });
}

#[test]
fn a_panic_at_the_end_loses_no_tunnel() {
    on_both(|bench| {
        let (mut client, server) = bench.tunnel(Plan::default());
        let returned = Arc::new(());
        let (bad, bad_server) = bench.tunnel(Plan {
            listener: PANICS_AT_THE_END,
            lease: Box::new(Arc::clone(&returned)),
            ..Plan::default()
        });
        bad.shutdown(Shutdown::Write).unwrap();
        bad_server.shutdown(Shutdown::Write).unwrap();
        bench.expect(Cause::ClientClosed, (0, 0));
        assert_eq!((&bad).read(&mut [0]).unwrap_or(0), 0);
        client.write_all(b"x").unwrap();
        assert_eq!(read_exactly(&server, 1), b"x");
        bench.handle.end_all(Cause::Drained);
        bench.expect(Cause::Drained, (1, 0));
        assert_eq!(Arc::strong_count(&returned), 1);
    });
}

#[test]
fn a_pipe_of_a_tunnel_that_panics_is_not_lent_again() {
    const LEN: usize = 8 << 20;
    on_both(|bench| {
        // Where no tunnel is left, no pipe is.
        let (mut client, mut server) = bench.tunnel(Plan::default());
        let (bad, bad_server) = bench.tunnel(Plan {
            listener: PANICS_WITH_A_FULL_PIPE,
            ..Plan::default()
        });
        thread::scope(|scope| {
            // The writer ends when the tunnel does.
            scope.spawn(|| drop((&bad).write_all(&[b'X'; LEN])));
            std::io::copy(&mut &bad_server, &mut std::io::sink()).ok();
        });
        assert_eq!(bench.ended().cause, Cause::InternalError);
        thread::scope(|scope| {
            scope.spawn(|| {
                write_noise(&mut client, 3, LEN);
                client.shutdown(Shutdown::Write).unwrap();
            });
            read_noise(&mut server, 3, LEN);
            assert_eq!(read_to_end(&server), b"");
        });
        drop(server);
        let ended = bench.ended();
        assert!(ended.paths.0.spliced, "never spliced");
        assert_eq!(
            (ended.cause, ended.bytes.0),
            (Cause::ClientClosed, LEN as u64)
        );
    });
}

#[test]
fn a_panic_at_the_start_loses_no_tunnel() {
    on_both(|bench| {
        let (mut client, server) = bench.tunnel(Plan::default());
        let returned = Arc::new(());
        let (bad, bad_server) = bench.tunnel(Plan {
            to_server: b"early",
            listener: PANICS_AT_THE_START,
            lease: Box::new(Arc::clone(&returned)),
            ..Plan::default()
        });
        bench.expect(Cause::InternalError, (5, 0));
        assert_eq!(read_to_end(&bad), b"");
        assert_eq!(read_to_end(&bad_server), b"");
        client.write_all(b"x").unwrap();
        assert_eq!(read_exactly(&server, 1), b"x");
        until(|| Arc::strong_count(&returned) == 1);
        drop((client, server));
        assert_eq!(bench.ended().bytes, (1, 0));
    });
}

#[test]
fn early_bytes_that_cannot_be_sealed_end_the_tunnel_at_once() {
    on_both(|bench| {
        for of_client in [true, false] {
            let mut peer = Peer::new(&TLS12, "localhost");
            let mut session = peer.open(&tls_server(offer())).session;
            session.use_up_sending_keys();
            let end = if of_client { End::Client } else { End::Server };
            let leg = Leg::new(end, session, Vec::new(), false, Offload::Never);
            let leg = Some(Box::new(leg));
            let legs = if of_client { [leg, None] } else { [None, leg] };
            let ((client, near), (server, far)) = (pair(), pair());
            let returned = Arc::new(());
            let plan = Plan {
                to_server: if of_client { b"" } else { b"asked" },
                to_client: if of_client { b"said" } else { b"" },
                legs,
                lease: Box::new(Arc::clone(&returned)),
                ..Plan::default()
            };
            bench.adopt(near, far, plan);
            bench.expect(Cause::TlsRecordLimit, (0, 0));
            assert_eq!(read_to_end(&client), b"");
            assert_eq!(read_to_end(&server), b"");
            // The entry comes before the lease goes.
            until(|| Arc::strong_count(&returned) == 1);
        }
    });
}

#[test]
fn no_tunnel_is_lost_at_a_stop() {
    for choice in [PollerChoice::Auto, PollerChoice::Epoll] {
        let (journal, entries) = crate::journal::journal();
        let relay = spawn(0, None, choice, Arc::default(), journal).unwrap();
        let bench = Bench {
            handle: relay.handle(),
            entries,
        };
        let returned = Arc::new(());
        let adopted = 200;
        for nth in 0..adopted {
            let plan = Plan {
                lease: Box::new(Arc::clone(&returned)),
                ..Plan::default()
            };
            drop(bench.tunnel(plan));
            if nth == adopted / 2 {
                bench.handle.stop_when_empty();
            }
        }
        relay.join();
        for _ in 0..adopted {
            bench.ended();
        }
        assert_eq!((bench.handle.alive(), Arc::strong_count(&returned)), (0, 1));
    }
}

#[test]
fn a_thousand_tunnels_leave_no_descriptor_behind() {
    let inode = |fd: &OwnedFd| {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
        std::fs::read_link(path).unwrap()
    };
    on_both(|bench| {
        let mut inner = vec![];
        let mut tunnels: Vec<_> = (0..1000)
            .map(|_| {
                let ((client, near), (server, far)) = (unix_pair(), unix_pair());
                let (near, far) = (OwnedFd::from(near), OwnedFd::from(far));
                inner.extend([inode(&near), inode(&far)]);
                bench.adopt(near, far, Plan::default());
                (client, server)
            })
            .collect();
        for (client, server) in &mut tunnels {
            client.write_all(b"x").unwrap();
            assert_eq!(read_exactly(server, 1), b"x");
        }
        assert_eq!(bench.handle.alive(), 1000);
        drop(tunnels);
        for _ in 0..1000 {
            bench.ended();
        }
        // Other tests run beside this one, so only its own sockets are looked for.
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let open: std::collections::HashSet<_> = open
            .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
            .collect();
        assert_eq!(
            inner.iter().filter(|socket| open.contains(*socket)).count(),
            0
        );
    });
}
