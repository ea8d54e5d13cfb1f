//! The request line that servers get, and upgrades that are removed.

use super::*;

#[test]
fn an_absolute_target_names_the_scheme_of_the_connection() {
    use Scheme::{Http, Https};
    // Target, trusted, the client's scheme, our connection over TLS, accepted.
    let rows = [
        ("/", false, Http, false, true),
        ("/", false, Https, true, true),
        ("http://a/", false, Http, false, true),
        ("https://a/", false, Https, true, true),
        ("https://a/", false, Http, false, false),
        ("http://a/", false, Https, true, false),
        // Over plain TCP from a balancer whose PROXY header names TLS.
        ("https://a/", false, Https, false, true),
        ("http://a/", false, Https, false, false),
        // A trusted peer also names its own connection.
        ("https://a/", true, Https, false, true),
        ("http://a/", true, Https, false, true),
        ("http://a/", true, Http, true, true),
        ("https://a/", true, Http, false, false),
        ("http://a/", true, Https, true, false),
    ];
    for (target, trusted, scheme, over_tls, accepted) in rows {
        let host = if target.starts_with('/') { "a" } else { "A" };
        let head = format!("GET {target} HTTP/1.1\nHost: {host}");
        let found = with_request(&head, |request| {
            check_scheme(request, trusted, scheme, over_tls)
        });
        let expected = match accepted {
            true => Ok(()),
            false => Err(HttpRefusal::SchemeDisagrees),
        };
        assert_eq!(found, expected, "{target} {trusted} {scheme:?} {over_tls}");
    }
}

#[test]
fn absolute_targets_become_path_and_query() {
    let rows = [
        ("GET http://a/ HTTP/1.1", "GET / HTTP/1.1"),
        ("GET http://a HTTP/1.1", "GET / HTTP/1.1"),
        (
            "GET http://a?x=/http://b HTTP/1.1",
            "GET /?x=/http://b HTTP/1.1",
        ),
        ("GET http://a? HTTP/1.1", "GET /? HTTP/1.1"),
        (
            "POST HTTP://A:80/%2e/b//?c=%zz&d=\"<>| HTTP/1.1",
            "POST /%2e/b//?c=%zz&d=\"<>| HTTP/1.1",
        ),
        ("GET http://a//b HTTP/1.1", "GET //b HTTP/1.1"),
        ("GET http://a/http://b/ HTTP/1.1", "GET /http://b/ HTTP/1.1"),
        ("OPTIONS http://a HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("OPTIONS http://a/ HTTP/1.1", "OPTIONS / HTTP/1.1"),
        ("OPTIONS http://a?x HTTP/1.1", "OPTIONS /?x HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("get http://a/x HTTP/1.1", "get /x HTTP/1.1"),
    ];
    for (line, expected) in rows {
        check_request(
            &format!("{line}\nhost: a\nB: c"),
            from(STRANGER),
            Hop::KeepAlive,
            &format!("{expected}\nhost: a\nB: c\n{ADDED}"),
        );
    }
}

#[test]
fn an_upgrade_that_cannot_be_one_leaves_nothing_behind() {
    let fields = "Connection: Upgrade, X-A\nUpgrade: websocket\nX-A: 1\nSec-WebSocket-Version: 13\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: chat\n\
                  Sec_WebSocket_Key: x\nSec-Fetch-Mode: websocket\nOrigin: http://a";
    let kept = "Sec-Fetch-Mode: websocket\nOrigin: http://a";
    let rows = [
        ("GET / HTTP/1.0", ""),
        ("POST / HTTP/1.1", "\nContent-Length: 1"),
        ("PUT / HTTP/1.1", ""),
        ("GET / HTTP/1.1", "\nTransfer-Encoding: chunked"),
    ];
    for (line, framing) in rows {
        let passed = line.replace("HTTP/1.0", "HTTP/1.1");
        check_request(
            &format!("{line}\nHost: a{framing}\n{fields}"),
            from(STRANGER),
            Hop::KeepAlive,
            &format!("{passed}\nHost: a{framing}\n{kept}\n{ADDED}"),
        );
    }
}
