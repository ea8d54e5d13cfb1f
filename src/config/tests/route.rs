//! Rules of `[[listener.route]]`.

use super::{check, read, wrong};

/// A file with one route in a listener of this mode.
fn route(mode: &str, lines: &str) -> String {
    format!(
        "[[listener]]\nbind = \"127.0.0.1:80\"\nmode = \"{mode}\"\n[[listener.route]]\n{lines}\n\
         [[backend]]\nname = \"app\"\nserver = [{{ address = \"127.0.0.1:3000\" }}]\n"
    )
}

#[test]
fn rules_of_routes() {
    check(
        |lines| route("http", lines),
        &[
            ("backend = \"app\"", "nothing"),
            (
                "backend = \"app\"\nhost = [\"a\", \"*.b.c\", \"ws*\"]\npath = \"/x/\"\nwebsocket = false\n\
             scheme = \"https\"\nclient = \"10.0.0.0/8\"",
                "nothing",
            ),
            (
                "",
                "listener[0].route[0]: leads nowhere; exactly one of backend, redirect and respond",
            ),
            (
                "backend = \"app\"\nrespond.status = 200",
                "listener[0].route[0]: leads to several places; exactly one of backend, redirect and respond",
            ),
            (
                "backend = \"ap\"",
                "listener[0].route[0].backend: \"ap\" is no backend; the name of a backend: app",
            ),
            (
                "backend = 0",
                "listener[0].route[0].backend: is an integer; the name of a backend: app",
            ),
            (
                "backend = \"app\"\nhost = []",
                "listener[0].route[0].host: is empty; at least one: name, *.name or prefix*",
            ),
            (
                "backend = \"app\"\nclient = []",
                "listener[0].route[0].client: is empty; at least one: an address, or a range such as 10.0.0.0/8",
            ),
            (
                "backend = \"app\"\nwebsocket = \"yes\"",
                "listener[0].route[0].websocket: is a string; true or false",
            ),
            (
                "backend = \"app\"\nscheme = \"ws\"",
                "listener[0].route[0].scheme: \"ws\" is unknown; http or https",
            ),
            (
                "backend = \"app\"\npath = \"/..\"",
                "listener[0].route[0].path: \"/..\" is no path: the path climbs above the root; \
             a path such as \"/socket.io/\"",
            ),
            (
                "backend = \"app\"\nserver_name = \"x\"",
                "listener[0].route[0].server_name: does not belong here: in mode \"http\" routes go by \
             the Host header; host",
            ),
            (
                "backend = \"app\"\nhosts = \"x\"",
                "listener[0].route[0].hosts: unknown key; did you mean host?",
            ),
        ],
    );
    let none = "[[listener]]\nbind = \"127.0.0.1:80\"\n";
    assert_eq!(
        wrong(none),
        "1:1: listener[0].route: missing; at least one [[listener.route]]"
    );
}

#[test]
fn rules_of_routes_without_http() {
    let http_key = |mode: &str, key: &str, why: &str| {
        format!(
            "listener[0].route[0].{key}: does not belong here: in mode \"{mode}\" {why}; client or server_name"
        )
    };
    for (mode, why) in [("tcp", "there is no HTTP"), ("sni", "TLS stays closed")] {
        for lines in [
            "host = \"x\"",
            "path = \"/\"",
            "websocket = true",
            "scheme = \"http\"",
        ] {
            let key = lines.split(' ').next().expect("a key");
            let text = format!("backend = \"app\"\n{lines}");
            check(
                |lines| route(mode, lines),
                &[(&text, &http_key(mode, key, why))],
            );
        }
        for (lines, key) in [
            ("redirect.scheme = \"https\"", "redirect"),
            ("respond.status = 200", "respond"),
        ] {
            let expected = format!(
                "listener[0].route[0].{key}: does not belong here: \
                 the proxy speaks no HTTP on this listener; backend"
            );
            check(|lines| route(mode, lines), &[(lines, &expected)]);
        }
    }
    let by_name = "backend = \"app\"\nserver_name = [\"a\", \"*.b\"]";
    assert_eq!(wrong(&route("sni", by_name)), "nothing");
    assert_eq!(
        wrong(&route("tcp", by_name)),
        "6:1: listener[0].route[0].server_name: does not belong here: without [listener.tls] no \
         server name is known; client, or mode = \"sni\""
    );
}

#[test]
fn rules_of_redirect_and_respond() {
    check(
        |lines| route("http", lines),
        &[
            ("redirect = { scheme = \"https\" }", "nothing"),
            (
                "redirect = { host = \"x.y\", port = 8443, status = 308 }",
                "nothing",
            ),
            ("redirect = { host = \"[::1]\" }", "nothing"),
            (
                "redirect = {}",
                "listener[0].route[0].redirect: leads back to where the request came from; \
             at least one of scheme, host and port",
            ),
            (
                "redirect = { host = \"x:80\" }",
                "listener[0].route[0].redirect.host: \"x:80\" is no host; a name or an address, without port",
            ),
            (
                "redirect = { host = \"x\\r\\ny\" }",
                "listener[0].route[0].redirect.host: \"x\\r\\ny\" is no host; \
             a name or an address, without port",
            ),
            (
                "redirect = { scheme = \"https\", status = 304 }",
                "listener[0].route[0].redirect.status: 304 is no redirect; 301, 302, 303, 307 or 308",
            ),
            (
                "redirect = { port = 0 }",
                "listener[0].route[0].redirect.port: 0 is out of range; a whole number from 1 to 65535",
            ),
            (
                "redirect = \"https\"",
                "listener[0].route[0].redirect: is a string; a table",
            ),
            ("respond = { status = 404, body = \"gone\" }", "nothing"),
            ("respond = { status = 204 }", "nothing"),
            (
                "respond = { body = \"x\" }",
                "listener[0].route[0].respond.status: missing; a status code from 200 to 599",
            ),
            (
                "respond = { status = 101 }",
                "listener[0].route[0].respond.status: 101 is out of range; a whole number from 200 to 599",
            ),
            (
                "respond = { status = 204, body = \"x\" }",
                "listener[0].route[0].respond: an answer with status 204 has no body; \
             no body, or another status",
            ),
        ],
    );
    let long = format!(
        "respond = {{ status = 200, body = \"{}\" }}",
        "x".repeat(65_537)
    );
    check(
        |lines| route("http", lines),
        &[(
            &long,
            "listener[0].route[0].respond.body: is 65537 bytes long; at most 65536",
        )],
    );
}

#[test]
fn routes_that_nothing_reaches() {
    let rows = [
        ("", "host = \"a\"", true),
        ("host = \"a\"", "", false),
        ("host = \"a\"", "host = \"a\"\npath = \"/x\"", true),
        ("host = [\"a\", \"b\"]", "host = \"A\"", true),
        ("host = \"a\"", "host = [\"a\", \"b\"]", false),
        ("websocket = true", "websocket = false", false),
        (
            "path = \"/x\"",
            "path = \"/x/\"\nclient = \"127.0.0.1\"",
            true,
        ),
        ("client = \"127.0.0.1\"", "client = \"127.0.0.2\"", false),
        ("scheme = \"http\"", "", false),
    ];
    for (first, second, unreachable) in rows {
        let second = format!("[[listener.route]]\n{second}\nrespond.status = 200");
        let text = route("http", &format!("backend = \"app\"\n{first}\n{second}"));
        let warnings = read(&text).expect("legal").warnings;
        let expected = if unreachable {
            vec![
                "listener[0].route[1]: never reached: an earlier route matches every request that it matches",
            ]
        } else {
            vec![]
        };
        let said: Vec<&str> = warnings
            .iter()
            .filter_map(|line| Some(line.split_once(": ")?.1))
            .collect();
        assert_eq!(said, expected, "{text}");
    }
}
