//! The PROXY protocol in front of what a server gets: exactly these bytes, before anything else.

use std::net::{IpAddr, SocketAddr};

use crate::harness::free_port;
use crate::harness::http;
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::websocket;

/// Version 1 for a connection from `source` to `destination` (proxy-protocol.txt 2.1).
fn v1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let (source, destination) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {source} {destination}\r\n").into()
}

/// Version 2 for a connection from `source` to `destination` (proxy-protocol.txt 2.2).
fn v2(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (family, len) = if source.is_ipv4() {
        (0x11, 12)
    } else {
        (0x21, 36)
    };
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    bytes.extend([family, 0, len]);
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes
}

type Encode = fn(SocketAddr, SocketAddr) -> Vec<u8>;

const VERSIONS: [(&str, Encode); 2] = [("v1", v1), ("v2", v2)];

#[test]
fn tcp_mode_says_where_the_client_comes_from_and_went_to() {
    for (name, encode) in VERSIONS {
        let origin = Origin::bind();
        let (v4, v6) = (free_port(), free_port());
        let proxy = Plan::tcp(origin.addr())
            .bind(format!("\"127.0.0.1:{v4}\", \"[::1]:{v6}\""))
            .backend_keys(&format!("send_proxy = \"{name}\""))
            .start();
        let addrs = [format!("127.0.0.1:{v4}"), format!("[::1]:{v6}")];
        for addr in addrs.map(|addr| addr.parse().unwrap()) {
            let mut client = Peer::connect(addr);
            let mut server = origin.accept();
            server.expect(encode(client.local_addr(), addr));
            client.send("payload");
            server.expect("payload");
            server.send("answer");
            client.expect("answer");
        }
        // The header is no byte of the client's.
        let line = proxy.wait_access("close", |_| true);
        assert_eq!(line["bytes_in"], 7);
    }
}

#[test]
fn a_wildcard_listener_names_the_address_the_client_used() {
    for (name, encode) in VERSIONS {
        let origin = Origin::bind();
        let port = free_port();
        let _proxy = Plan::tcp(origin.addr())
            .bind(format!("\"0.0.0.0:{port}\""))
            .backend_keys(&format!("send_proxy = \"{name}\""))
            .start();
        let addr = format!("127.0.0.77:{port}").parse().unwrap();
        let client = Peer::connect_from("127.0.0.9", addr);
        origin.accept().expect(encode(client.local_addr(), addr));
    }
}

#[test]
fn both_wildcards_share_a_port_and_keep_their_families() {
    for (name, encode) in VERSIONS {
        let origin = Origin::bind();
        let port = free_port();
        let _proxy = Plan::tcp(origin.addr())
            .bind(format!("\"0.0.0.0:{port}\", \"[::]:{port}\""))
            .backend_keys(&format!("send_proxy = \"{name}\""))
            .start();
        for ip in ["127.0.0.1", "::1"] {
            let addr = SocketAddr::new(ip.parse().unwrap(), port);
            let client = Peer::connect(addr);
            origin.accept().expect(encode(client.local_addr(), addr));
        }
    }
}

#[test]
fn it_comes_before_an_upgrade_and_what_is_glued_to_it() {
    for (name, encode) in VERSIONS {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr())
            .backend_keys(&format!("send_proxy = \"{name}\""))
            .start();
        let mut client = proxy.connect();
        client.send(websocket::request("app", "/chat", "") + "early");
        let mut server = origin.accept();
        server.expect(encode(client.local_addr(), proxy.addr()));
        assert!(websocket::accept(&mut server).starts_with("GET /chat HTTP/1.1\r\n"));
        server.expect("early");
        client.read_head();
        server.send("late");
        client.expect("late");
    }
}

#[test]
fn http_mode_sends_it_before_the_request() {
    for (name, encode) in VERSIONS {
        let origin = Origin::bind();
        let proxy = Plan::http(origin.addr())
            .backend_keys(&format!("send_proxy = \"{name}\""))
            .start();
        let mut client = proxy.connect();
        client.send(http::get("app", "/x", ""));
        let mut server = origin.accept();
        server.expect(encode(client.local_addr(), proxy.addr()));
        assert!(server.read_head().starts_with("GET /x HTTP/1.1\r\n"));
        server.send(http::ok("hello"));
        assert_eq!(http::read_answer(&mut client).text(), "hello");
    }
}

#[test]
fn a_believed_header_is_passed_on() {
    let came = "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";
    let source: SocketAddr = "203.0.113.7:56324".parse().unwrap();
    let destination: SocketAddr = "192.0.2.1:443".parse().unwrap();
    for (name, encode) in VERSIONS {
        let origin = Origin::bind();
        let proxy = Plan::tcp(origin.addr())
            .listener_keys("proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]")
            .backend_keys(&format!("send_proxy = \"{name}\""))
            .start();
        let mut client = proxy.connect();
        client.send(format!("{came}payload"));
        let mut server = origin.accept();
        server.expect(encode(source, destination));
        server.expect("payload");
    }
}

#[test]
fn the_servers_choice_overrides_the_backends() {
    let rows: [(&str, &str, Option<Encode>); 4] = [
        ("v1", "v2", Some(v2)),
        ("v2", "v1", Some(v1)),
        ("off", "v1", Some(v1)),
        ("v2", "off", None),
    ];
    for (of_backend, of_server, encode) in rows {
        let origin = Origin::bind();
        let proxy = Plan::tcp(origin.addr())
            .backend_keys(&format!("send_proxy = \"{of_backend}\""))
            .server_keys(&format!("send_proxy = \"{of_server}\""))
            .start();
        let mut client = proxy.connect();
        client.send("payload");
        let mut server = origin.accept();
        if let Some(encode) = encode {
            server.expect(encode(client.local_addr(), proxy.addr()));
        }
        server.expect("payload");
    }
}

#[test]
fn a_client_on_a_unix_socket_has_no_address_to_name() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("edge.sock");
    for name in ["v1", "v2"] {
        let origin = Origin::bind();
        let proxy = Plan::tcp(origin.addr())
            .bind(format!("\"unix:{}\"", path.display()))
            .backend_keys(&format!("send_proxy = \"{name}\""))
            .start();
        let mut client = Peer::connect_unix(&path);
        client.send("payload");
        let mut server = origin.accept();
        if name == "v1" {
            server.expect("PROXY UNKNOWN\r\n");
        } else {
            let header = server.read(16);
            assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
            // LOCAL, or PROXY of family UNSPEC; no addresses either way.
            assert!([0x20, 0x21].contains(&header[12]), "{header:?}");
            assert_eq!(header[13..], [0, 0, 0]);
        }
        server.expect("payload");
        drop(proxy);
    }
}
