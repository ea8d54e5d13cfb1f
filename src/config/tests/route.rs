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
                "backend = \"app\"\nexact_path = \"/x\"\nmethod = [\"GET\", \"M-SEARCH\"]\n\
                 header = { X-V = [\"1\", \"2*\"], Accept = \"*\" }\nquery = { \"a b\" = \"\" }",
                "nothing",
            ),
            (
                "backend = \"app\"\nmethod = \"GET\"\nheader.X-V = \"1\"\nquery.v = \"1\"",
                "nothing",
            ),
            (
                "backend = \"app\"\nexact_path = \"x\"",
                "listener[0].route[0].exact_path: \"x\" is no path: a path begins with '/'; \
                 a path such as \"/healthz\"",
            ),
            (
                "backend = \"app\"\nexact_path = [\"/x\"]",
                "listener[0].route[0].exact_path: is an array; a path such as \"/healthz\"",
            ),
            (
                "backend = \"app\"\nmethod = \"get\"",
                "listener[0].route[0].method: \"get\" matches no usual request: methods are case-sensitive; \
                 write \"GET\"; a method such as \"GET\"",
            ),
            (
                "backend = \"app\"\nmethod = [\"GET\", \"connect\"]",
                "listener[0].route[0].method[1]: \"connect\" never arrives: longsplice refuses CONNECT; \
                 a method such as \"GET\"",
            ),
            (
                "backend = \"app\"\nmethod = \"GET POST\"",
                "listener[0].route[0].method: \"GET POST\" is no method: a method consists of letters, digits \
                 and !#$%&'*+-.^_`|~; a method such as \"GET\"",
            ),
            (
                "backend = \"app\"\nmethod = []",
                "listener[0].route[0].method: is empty; at least one: a method such as \"GET\"",
            ),
            (
                "backend = \"app\"\nheader = \"X-V\"",
                "listener[0].route[0].header: is a string; a table such as { X-Api-Version = \"2*\" }",
            ),
            (
                "backend = \"app\"\nheader = {}",
                "listener[0].route[0].header: is empty; a table such as { X-Api-Version = \"2*\" }",
            ),
            (
                "backend = \"app\"\nheader = { Host = \"a\" }",
                "listener[0].route[0].header.Host: \"Host\" has a key of its own: host, whose patterns ignore \
                 case and port; the name of a header",
            ),
            (
                "backend = \"app\"\nheader = { X-V = 1 }",
                "listener[0].route[0].header.X-V: is an integer; a value, with * for any number of characters",
            ),
            (
                "backend = \"app\"\nheader = { X-V = [] }",
                "listener[0].route[0].header.X-V: is empty; at least one: \
                 a value, with * for any number of characters",
            ),
            (
                "backend = \"app\"\nheader = { X-V = \"a\\n\" }",
                "listener[0].route[0].header.X-V: \"a\\n\" holds a control character: write * in its place; \
                 a value, with * for any number of characters",
            ),
            (
                "backend = \"app\"\nheader = { X-V = \"1\", x-v = \"2\" }",
                "listener[0].route[0].header.x-v: x-v stands here twice; a list has several patterns",
            ),
            (
                "backend = \"app\"\nheader = { \"X V\" = \"1\" }",
                "listener[0].route[0].header.\"X V\": \"X V\" is no name of a header: it consists of letters, \
                 digits and !#$%&'*+-.^_`|~; the name of a header",
            ),
            (
                "backend = \"app\"\nquery = \"v=1\"",
                "listener[0].route[0].query: is a string; a table such as { version = \"2*\" }",
            ),
            (
                "backend = \"app\"\nquery = { \"\" = \"1\" }",
                "listener[0].route[0].query.\"\": \"\" is empty; the name of a parameter",
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
            "exact_path = \"/\"",
            "method = \"GET\"",
            "header = { X-V = \"1\" }",
            "query = { v = \"1\" }",
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
fn conditions_are_limited() {
    let list = |count: usize| {
        let words: Vec<String> = (0..count).map(|index| format!("\"A{index}\"")).collect();
        format!("[{}]", words.join(", "))
    };
    let table = |count: usize| {
        let rows: Vec<String> = (0..count)
            .map(|index| format!("A{index} = \"*\""))
            .collect();
        format!("{{ {} }}", rows.join(", "))
    };
    let long = "a".repeat(257);
    let rows = [
        (format!("method = {}", list(64)), "nothing".to_owned()),
        (
            format!("method = {}", list(65)),
            "method[64]: is one too many; at most 64 methods".to_owned(),
        ),
        (format!("header = {}", table(16)), "nothing".to_owned()),
        (
            format!("header = {}", table(17)),
            "header: has 17 keys; at most 16".to_owned(),
        ),
        (
            format!("query = {}", table(17)),
            "query: has 17 keys; at most 16".to_owned(),
        ),
        (
            format!("query = {{ v = {} }}", list(64)),
            "nothing".to_owned(),
        ),
        (
            format!("query = {{ v = {} }}", list(65)),
            "query.v[64]: is one too many; at most 64 patterns".to_owned(),
        ),
        (
            format!("query = {{ v = \"{long}\" }}"),
            format!(
                "query.v: \"{}\"... is longer than 256 bytes; a value, with * for any number of characters",
                "a".repeat(80)
            ),
        ),
    ];
    for (lines, expected) in rows {
        let expected = match expected.as_str() {
            "nothing" => expected,
            rest => format!("listener[0].route[0].{rest}"),
        };
        let lines = format!("backend = \"app\"\n{lines}");
        check(|lines| route("http", lines), &[(&lines, &expected)]);
    }
}

#[test]
fn an_exact_path_lies_below_the_prefix() {
    let warnings = |lines: &str| {
        let text = route("http", &format!("backend = \"app\"\n{lines}"));
        read(&text).expect("legal").warnings
    };
    let none: [&str; 0] = [];
    assert_eq!(warnings("path = \"/a\"\nexact_path = \"/a/b\""), none);
    assert_eq!(
        warnings("path = \"/a\"\nexact_path = \"/b\""),
        [
            "/etc/longsplice.toml:7:14: listener[0].route[0].exact_path: never reached: /b is not below the `path` /a/"
        ]
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
        ("path = \"/x\"", "path = \"/x/y\"", true),
        ("path = \"/x/y\"", "path = \"/x\"", false),
        ("path = \"/x\"", "exact_path = \"/x/y\"", true),
        ("path = \"/x\"", "exact_path = \"/xy\"", false),
        ("exact_path = \"/x\"", "exact_path = \"//x\"", true),
        ("exact_path = \"/x\"", "exact_path = \"/x/\"", false),
        ("exact_path = \"/x\"", "path = \"/x\"", false),
        ("method = [\"GET\", \"PUT\"]", "method = \"PUT\"", true),
        ("method = \"GET\"", "method = [\"GET\", \"PUT\"]", false),
        ("method = \"GET\"", "", false),
        (
            "header = { A = \"1\" }",
            "header = { a = \"1\", B = \"2\" }",
            true,
        ),
        ("header = { A = \"*\" }", "header = { A = \"1\" }", true),
        (
            "header = { A = \"1\" }",
            "header = { A = [\"1\", \"2\"] }",
            false,
        ),
        (
            "header = { A = \"1\", B = \"2\" }",
            "header = { A = \"1\" }",
            false,
        ),
        ("header = { A = \"1\" }", "query = { A = \"1\" }", false),
        (
            "query = { a = [\"1\", \"2\"] }",
            "query = { a = \"2\" }",
            true,
        ),
        ("query = { a = \"1\" }", "query = { A = \"1\" }", false),
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
