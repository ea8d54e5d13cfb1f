//! `mode = "sni"`: TLS passed through unopened, routed by the server name of its ClientHello.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::harness::openssl::Openssl;
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, Running, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::{Plan, backend};
use crate::harness::{eventually, free_addr};

/// The alert to a client whose server name has no route: a fatal unrecognized_name.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Writes a ClientHello for `name` as its only record (RFC 8446 4.1.2, RFC 6066 3).
fn client_hello(name: &str) -> Vec<u8> {
    let with_len = |bytes: &[u8]| {
        let len = u16::try_from(bytes.len()).unwrap();
        [&len.to_be_bytes()[..], bytes].concat()
    };
    let entry = [&[0][..], &with_len(name.as_bytes())].concat();
    let server_name = [&[0, 0][..], &with_len(&with_len(&entry))].concat();
    let alpn = [&[0, 16][..], &with_len(&with_len(b"\x02h2\x08http/1.1"))].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &[0, 2, 0x13, 0x01],
        &[1, 0],
        &with_len(&[server_name, alpn].concat()),
    ]
    .concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1][..], &len[1..], &body].concat();
    [&[22, 3, 1][..], &with_len(&message)].concat()
}

fn named(names: &str, backend: &str) -> String {
    format!("[[listener.route]]\nserver_name = [{names}]\nbackend = \"{backend}\"\n")
}

#[test]
fn the_server_name_decides_and_every_byte_arrives() {
    let (one, other) = (Origin::bind(), Origin::bind());
    let routes = named("\"one.example\"", "app") + &named("\"*.other.example.\"", "other");
    let proxy = Plan::sni(one.addr())
        .routes(&routes)
        .more(&backend("other", other.addr()))
        .start();
    for (name, origin) in [
        ("one.example", &one),
        ("A.b.Other.example", &other),
        // A dot at the end does not make it another name.
        ("one.example.", &one),
        ("c.other.example.", &other),
    ] {
        let hello = client_hello(name);
        // Whole with what follows, byte by byte, and cut once at each place.
        let mut client = proxy.connect();
        client.send([&hello[..], b"then data"].concat());
        let mut server = origin.accept();
        server.expect(&hello);
        server.expect("then data");
        server.send("answer");
        client.expect("answer");

        let mut dripping = proxy.connect();
        for byte in &hello {
            dripping.send([*byte]);
        }
        origin.accept().expect(&hello);
        for cut in [1, 4, 5, 6, 43, hello.len() - 1] {
            let mut client = proxy.connect();
            client.send(&hello[..cut]);
            proxy.wait_received(&client);
            client.send(&hello[cut..]);
            origin.accept().expect(&hello);
        }
    }
}

#[test]
fn an_unknown_name_and_none_hear_an_alert() {
    let origin = Origin::bind();
    let proxy = Plan::sni(origin.addr())
        .routes(&named("\"one.example\"", "app"))
        .start();
    for name in ["two.example", "192.0.2.7"] {
        let mut client = proxy.connect();
        client.send(client_hello(name));
        client.expect(UNRECOGNIZED_NAME);
        client.expect_closed();
        drop(client);
        proxy.wait_cause("refused", "no-route");
    }
    origin.expect_untouched();
}

#[test]
fn what_nobody_knows_and_who_says_nothing_leaves_no_line() {
    let origin = Origin::bind();
    let mut proxy = Plan::sni(origin.addr())
        .listener_timeouts("tls_handshake = \"300ms\"")
        .start();
    let mut plain = proxy.connect();
    plain.send("EHLO x\r\n");
    plain.expect_ended();
    drop(proxy.connect());
    proxy.connect().expect_ended();
    // Half a ClientHello is another matter, however slowly it grows.
    let mut slow = proxy.connect();
    let hello = client_hello("one.example");
    let _ = slow.drip(&hello[..40], Duration::from_millis(50));
    slow.expect_ended();
    proxy.wait_cause("refused", "tls-handshake-timeout");
    let mut broken = proxy.connect();
    broken.send([22, 3, 1, 0, 4, 2, 0, 0, 0]);
    broken.expect_ended();
    proxy.wait_cause("refused", "tls-handshake-failed");
    assert_eq!(proxy.access_lines().len(), 2, "{}", proxy.log());
    origin.expect_untouched();
    proxy.expect_sound();
}

#[test]
fn a_proxy_header_comes_before_the_hello_on_both_sides() {
    let origin = Origin::bind();
    let proxy = Plan::sni(origin.addr())
        .listener_keys("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .server_keys("send_proxy = \"v2\"")
        .start();
    let hello = client_hello("one.example");
    let mut client = proxy.connect();
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 5678 443\r\n";
    client.send([&header[..], &hello].concat());
    let mut server = origin.accept();
    let fixed = server.read(16);
    let rest = server.read(usize::from(u16::from_be_bytes([fixed[14], fixed[15]])));
    assert_eq!(
        rest[..12],
        [203, 0, 113, 9, 192, 0, 2, 1, 0x16, 0x2e, 0x01, 0xbb]
    );
    // PP2_TYPE_AUTHORITY and PP2_TYPE_ALPN.
    let holds = |tlv: &[u8]| rest.windows(tlv.len()).any(|window| window == tlv);
    assert!(holds(b"\x02\x00\x0bone.example"), "{rest:?}");
    assert!(holds(b"\x01\x00\x02h2"), "{rest:?}");
    server.expect(&hello);
    let line = proxy.wait_access("open", |_| true);
    assert_eq!(line["client"], "203.0.113.9");
}

/// Starts `openssl s_server`, which sends back each line reversed, with a certificate for `name`.
fn openssl_server(name: &str, folder: &Path) -> Option<(Running, SocketAddr)> {
    let key = folder.join(format!("{name}.key"));
    let cert = folder.join(format!("{name}.pem"));
    let subject = format!("/CN={name}");
    finish(
        Part::Openssl
            .command()?
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj"])
            .arg(&subject)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert),
    );
    let addr = free_addr();
    let mut command = Part::Openssl.command()?;
    command
        .args(["s_server", "-rev", "-accept", &addr.to_string()])
        .arg("-key")
        .arg(&key)
        .arg("-cert")
        .arg(&cert);
    let server = Running::start(&mut command);
    eventually("openssl listens", || Peer::try_connect(addr).is_ok());
    Some((server, addr))
}

#[test]
fn openssl_reaches_the_server_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_one, one)) = openssl_server("one.example", folder.path()) else {
        return;
    };
    let Some((_two, two)) = openssl_server("two.example", folder.path()) else {
        return;
    };
    let routes = named("\"one.example\"", "app") + &named("\"two.example\"", "two");
    let proxy = Plan::sni(one)
        .routes(&routes)
        .more(&backend("two", two))
        .start();
    for name in ["one.example", "two.example"] {
        let mut client = Openssl::client(proxy.addr(), &["-servername", name]);
        client.await_line(&format!("subject=CN = {name}"));
        client.type_line("abc");
        client.await_line("cba");
    }
}
