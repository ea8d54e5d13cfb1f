//! Tunnels whose server speaks TLS, with its records left to the kernel or not; the client speaks plain
//! bytes, TLS of which the kernel has nothing, or TLS that is left to it as well.

use std::io::{Read as _, Write as _};
use std::thread;

use serde_json::Value;

use super::{MUCH, OFFLOADS};
use crate::harness::free_port;
use crate::harness::kernel::{Suite, rekeys, takes};
use crate::harness::openssl::Openssl;
use crate::harness::parts::Part;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::random::Random;
use crate::harness::tls::Identity;
use crate::harness::tls_server::{Served, TlsOrigin, server_config};
use crate::server_tls::{Client, believing};

/// How a client speaks: none = in the clear, else over TLS with this `offload`.
type ClientWish<'a> = Option<&'a str>;

/// Every way to speak at the client's end of a tunnel whose other end has `offload`.
fn clients(offload: &str) -> [ClientWish<'_>; 3] {
    [None, Some("never"), Some(offload)]
}

/// What clients over TLS speak here: rustls's first choice.
fn clients_suite() -> Suite {
    Suite::all()[1]
}

/// A tunnel with both its ends in the test's hands.
struct Joined {
    proxy: Proxy,
    client: Client,
    server: Served,
}

fn plan(
    identity: &Identity,
    origin: std::net::SocketAddr,
    offload: &str,
    wish: ClientWish,
) -> Plan {
    let keys = believing(identity, &format!("offload = \"{offload}\""));
    // A handshake takes seconds where the processor is emulated and other tests are at it too.
    let plan = Plan::tcp(origin)
        .backend_keys(&keys)
        .backend_timeouts("connect = \"60s\"");
    match wish {
        None => plan,
        Some(wish) => {
            let keys = identity.listener_keys();
            plan.listener_keys(&format!("{keys}\ntls.offload = \"{wish}\""))
                .listener_timeouts("tls_handshake = \"60s\"")
        }
    }
}

fn join_quietly(suite: Suite, offload: &str, wish: ClientWish) -> Joined {
    let identity = Identity::new(&["localhost"]);
    let config = server_config(&identity, &[suite.version], Some(suite.cipher.suite()));
    let origin = TlsOrigin::bind(config);
    let proxy = plan(&identity, origin.addr(), offload, wish).start();
    let mut client = Client::connect(&proxy, wish.map(|_| &identity));
    client.send("hello");
    let mut server = origin.accept();
    server.expect("hello");
    server.send("welcome");
    client.expect("welcome");
    Joined {
        proxy,
        client,
        server,
    }
}

/// Joins and makes both directions bulky where that matters.
fn join(suite: Suite, offload: &str, wish: ClientWish) -> Joined {
    let mut joined = join_quietly(suite, offload, wish);
    if offload == "adaptive" {
        joined.echo(MUCH);
    }
    joined
}

impl Joined {
    /// Sends `len` bytes there and back again, in pieces of all sizes.
    fn echo(&mut self, len: usize) {
        let (client, server) = (&mut self.client, &mut self.server);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut stream = server.stream();
                let (mut buffer, mut left) = (vec![0; 65_536], len);
                while left > 0 {
                    let len = stream.read(&mut buffer).unwrap();
                    stream.write_all(&buffer[..len]).unwrap();
                    left -= len;
                }
            });
            let (mut random, mut left) = (Random::new(3), len);
            while left > 0 {
                let most = [100, 20_000, 120_000][random.between(0, 2)];
                let piece = random.between(1, most).min(left);
                let bytes = random.bytes(piece);
                client.send(&bytes);
                client.expect(&bytes);
                left -= piece;
            }
        });
    }

    /// Ends in good order, the client first, and returns the line of the end.
    fn end(&mut self) -> Value {
        self.client.finish();
        assert_eq!(self.server.read_to_end().unwrap(), b"", "no close_notify");
        self.server.notify();
        self.client.expect_ended();
        self.proxy.wait_cause("close", "client-closed")
    }
}

/// Demands that the directions went as this kernel allows at either end.
fn expect_paths(line: &Value, suite: Suite, offload: &str, wish: ClientWish) {
    let server = takes(suite, offload);
    let client = wish.is_some_and(|wish| takes(clients_suite(), wish));
    for (path, offloaded) in [("path_in", "offload_in"), ("path_out", "offload_out")] {
        let words = line[path].as_str().unwrap();
        let kernel = words.split('+').any(|word| word == "kernel-tls");
        assert_eq!(
            kernel,
            server || client,
            "{suite:?} {offload} {wish:?} {line}"
        );
        if wish.is_none() {
            assert_eq!(line[offloaded] == "kernel", server, "{suite:?} {line}");
        }
    }
}

#[test]
fn much_goes_both_ways_with_every_suite_and_either_kind_of_client() {
    let of_its_key = |suite: &Suite| !suite.rsa || suite.version == &rustls::version::TLS13;
    for suite in Suite::all().into_iter().filter(of_its_key) {
        let usual = Suite::usual()
            .iter()
            .any(|usual| usual.cipher.suite() == suite.cipher.suite());
        for offload in OFFLOADS {
            // Enough for a switch; where there is none, for many records.
            let len = if offload == "adaptive" {
                MUCH
            } else {
                MUCH / 6
            };
            // An emulated processor takes its time: what needs a switch is done with the usual suites.
            let wishes = clients(offload);
            let wishes = match (usual, offload) {
                (true, "never") | (false, "always") => &wishes[..1],
                (true, _) => &wishes[..],
                (false, _) => &[],
            };
            for wish in wishes {
                let mut joined = join_quietly(suite, offload, *wish);
                joined.echo(len);
                let line = joined.end();
                let (up, down) = (len + "hello".len(), len + "welcome".len());
                assert_eq!(
                    (&line["bytes_in"], &line["bytes_out"]),
                    (&up.into(), &down.into())
                );
                expect_paths(&line, suite, offload, *wish);
            }
        }
    }
}

#[test]
fn what_a_server_says_last_arrives_at_a_client_that_does_not_read_yet() {
    let [tls13, tls12] = [Suite::usual()[0], Suite::usual()[1]];
    for (suite, offload, wish) in [
        (tls13, "always", Some("always")),
        (tls13, "adaptive", Some("adaptive")),
        (tls12, "always", None),
    ] {
        let mut joined = join(suite, offload, wish);
        let all = Random::new(8).bytes(MUCH);
        let (client, server) = (&mut joined.client, &mut joined.server);
        thread::scope(|scope| {
            scope.spawn(|| {
                server.send(&all);
                server.notify();
                server.read_to_end().unwrap();
            });
            client.wait_stalled();
            client.expect(&all);
            client.expect_ended();
            client.finish();
        });
        let line = joined.proxy.wait_cause("close", "server-closed");
        expect_paths(&line, suite, offload, wish);
    }
}

#[test]
fn ends_of_a_server_mean_what_they_do_elsewhere() {
    for suite in Suite::usual() {
        let adaptive = (suite.version == &rustls::version::TLS13).then_some(("adaptive", None));
        let always = [("always", None), ("always", Some("always"))];
        for (offload, wish) in always.into_iter().chain(adaptive) {
            let mut joined = join(suite, offload, wish);
            joined.server.send("cut off");
            joined.server.truncate();
            joined.client.expect("cut off");
            match &mut joined.client {
                Client::Plain(peer) => peer.expect_ended(),
                Client::Tls(secure) => assert!(secure.read_to_end().is_err(), "a close_notify"),
            }
            joined.client.finish();
            joined.proxy.wait_cause("close", "server-truncated");

            let mut joined = join(suite, offload, wish);
            let record = [&[23, 3, 3, 0, 48][..], &[0x5a; 48]].concat();
            joined.server.tcp.write_all(&record).unwrap();
            let alert = joined.server.read_to_end().unwrap_err();
            assert!(alert.to_string().contains("BadRecordMac"), "{alert}");
            joined.proxy.wait_cause("close", "server-tls-bad-record");

            let joined = join(suite, offload, wish);
            let socket = socket2::SockRef::from(&joined.server.tcp);
            socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(joined.server);
            joined.proxy.wait_cause("close", "server-reset");
        }
    }
}

#[test]
fn keys_of_a_server_change_where_the_kernel_can_and_end_the_tunnel_with_their_cause_where_not() {
    let suite = Suite::tls13();
    for offload in ["adaptive", "always"] {
        for wish in clients(offload) {
            let mut joined = join(suite, offload, wish);
            // It asks for new ones of ours as well.
            joined.server.tls.refresh_traffic_keys().unwrap();
            if takes(suite, offload) && !rekeys() {
                let server = &mut joined.server;
                server.tls.write_tls(&mut server.tcp).unwrap();
                let alert = server.read_to_end().unwrap_err();
                assert!(alert.to_string().contains("InternalError"), "{alert}");
                let line = joined
                    .proxy
                    .wait_cause("close", "tls-key-update-unsupported");
                expect_paths(&line, suite, offload, wish);
                continue;
            }
            for round in 0..3 {
                let text = format!("{round} under new keys");
                joined.server.send(&text);
                joined.client.expect(&text);
                joined.echo(50_000);
                joined.server.tls.refresh_traffic_keys().unwrap();
                joined.echo(50_000);
            }
            expect_paths(&joined.end(), suite, offload, wish);
        }
    }
}

#[test]
fn openssl_as_the_server_changes_its_keys() {
    if Part::Openssl.command().is_none() {
        return;
    }
    let identity = Identity::new(&["localhost"]);
    for offload in ["always", "never"] {
        let port = free_port();
        let file = identity.file();
        let mut server = Openssl::server([&file, &file], port, &["-tls1_3", "-msg"]);
        let proxy = plan(&identity, ([127, 0, 0, 1], port).into(), offload, None).start();
        let mut client = proxy.connect();
        client.send("hello\n");
        server.await_line("hello");
        server.type_line("welcome");
        client.expect("welcome\n");
        for letter in "KkK".chars() {
            server.command(letter);
            server.await_line(">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
            // What OpenSSL chose.
            let suite = Suite::all()[1];
            if takes(suite, offload) && !rekeys() {
                server.await_line("<<< TLS 1.3, Alert [length 0002], fatal internal_error");
                proxy.wait_cause("close", "tls-key-update-unsupported");
                break;
            }
            server.type_line("under its new keys");
            client.expect("under its new keys\n");
            client.send("and under ours\n");
            if letter == 'K' {
                server.await_line("<<< TLS 1.3, Handshake [length 0005], KeyUpdate");
            }
            server.await_line("and under ours");
        }
    }
}
