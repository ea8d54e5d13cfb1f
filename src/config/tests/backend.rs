//! Rules of `[[backend]]`.

use super::{check, read, wrong};
use crate::config::Balance;

/// A file with one backend.
fn backend(lines: &str) -> String {
    format!(
        "[[listener]]\nbind = \"127.0.0.1:80\"\nroute = [{{ backend = \"app\" }}]\n\
         [[backend]]\nname = \"app\"\n{lines}\n"
    )
}

#[test]
fn every_method_has_its_word() {
    for &method in Balance::ALL {
        let word = method.as_str();
        let text = backend(&format!(
            "balance = \"{word}\"\nserver = [{{ address = \"a:1\" }}]"
        ));
        let config = read(&text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.backends[0].balance, method, "{word}");
    }
}

#[test]
fn rules_of_backends() {
    let with_server =
        |lines: &str| backend(&format!("{lines}\nserver = [{{ address = \"a:1\" }}]"));
    check(
        with_server,
        &[
            ("", "nothing"),
            (
                "balance = \"maglev\"\nsend_proxy = \"v2\"\nkeep_alive = false\nmax_queue = 0",
                "nothing",
            ),
            (
                "balance = \"roundrobin\"",
                "backend[0].balance: \"roundrobin\" is unknown; did you mean round_robin? One of \
             source, round_robin, least_connections, random_two or maglev",
            ),
            ("host_header = \"app.internal\"", "nothing"),
            ("host_header = \"[::1]:8080\"", "nothing"),
            (
                "host_header = \"http://app\"",
                "backend[0].host_header: \"http://app\" is no value of a Host header; \
                 a name or an address, with or without port",
            ),
            (
                "host_header = \"app:\"",
                "backend[0].host_header: \"app:\" is no value of a Host header; \
                 a name or an address, with or without port",
            ),
            (
                "host_header = \"a\\r\\nX: b\"",
                "backend[0].host_header: \"a\\r\\nX: b\" is no value of a Host header; \
                 a name or an address, with or without port",
            ),
            (
                "send_proxy = true",
                "backend[0].send_proxy: is a boolean; off, v1 or v2",
            ),
            (
                "max_queue = \"1024\"",
                "backend[0].max_queue: is a string; a whole number from 0 to 1000000",
            ),
            ("limits = { head = \"1MiB\", headers = 1024 }", "nothing"),
            (
                "limits.head = \"2MiB\"",
                "backend[0].limits.head: \"2MiB\" is above the limit 1MiB; \
                 a whole number and a unit such as \"512B\", \"16KiB\" or \"1MiB\"",
            ),
            (
                "limits.headers = 1025",
                "backend[0].limits.headers: 1025 is out of range; a whole number from 1 to 1024",
            ),
            (
                "limits.max_body = \"1MiB\"",
                "backend[0].limits.max_body: unknown key; head, headers",
            ),
            (
                "timeouts.tunnel_idle = \"0s\"",
                "backend[0].timeouts.tunnel_idle: \"0s\" is below the least value 1ms; \
             a whole number and a unit such as \"300ms\", \"10s\", \"5m\" or \"24h\"",
            ),
            (
                "retries = 0\nwhen_down = \"queue\"\nsource = [\"127.0.0.2\", \"::1\"]",
                "nothing",
            ),
            (
                "retries = 11",
                "backend[0].retries: 11 is out of range; a whole number from 0 to 10",
            ),
            (
                "when_down = \"wait\"",
                "backend[0].when_down: \"wait\" is unknown; refuse or queue",
            ),
            ("drain_close = \"websocket\"", "nothing"),
            (
                "drain_close = true",
                "backend[0].drain_close: is a boolean; plain or websocket",
            ),
            (
                "source = \"lo\"",
                "backend[0].source: \"lo\" is no IP address; an address of this machine such as \"10.0.0.5\", or a list of them",
            ),
            (
                "source = [\"0.0.0.0\"]",
                "backend[0].source[0]: \"0.0.0.0\" is no address that a connection can come from; an address of this machine such as \"10.0.0.5\", or a list of them",
            ),
            (
                "retry = 2",
                "backend[0].retry: unknown key; name, balance, host_header, keep_alive, abort_on_close, max_queue, when_down, retries, slow_start, drain_close, send_proxy, source, timeouts, limits, health, tls, server",
            ),
        ],
    );
}

#[test]
fn a_backend_has_servers() {
    check(
        backend,
        &[
            (
                "",
                "backend[0].server: missing; at least one [[backend.server]]",
            ),
            (
                "server = []",
                "backend[0].server: missing; at least one [[backend.server]]",
            ),
            (
                "server = [1]",
                "backend[0].server[0]: is an integer; a table",
            ),
            (
                "server = \"a:1\"",
                "backend[0].server: is a string; a list of tables",
            ),
            (
                "server = { address = \"a:1\" }",
                "backend[0].server: is one table; a list of tables, each written [[backend.server]]",
            ),
        ],
    );
}

#[test]
fn a_backend_has_a_name() {
    let named = |name: &str| {
        let text = backend("server = [{ address = \"a:1\" }]");
        text + &format!("[[backend]]\n{name}\nserver = [{{ address = \"a:1\" }}]")
    };
    let wanted = "a name without white space and '/', at most 128 bytes";
    check(
        named,
        &[
            ("", &format!("backend[1].name: missing; {wanted}")),
            (
                "name = \"app\"",
                &format!(
                    "backend[1].name: \"app\" is the name of backend[0].name already; {wanted}"
                ),
            ),
            (
                "name = \"a/b\"",
                &format!("backend[1].name: \"a/b\" holds white space or '/'; {wanted}"),
            ),
            ("name = \"other\"", "nothing"),
        ],
    );
}

#[test]
fn a_route_leads_to_no_backend_whose_name_is_refused() {
    let leading = |name: &str| {
        let text = backend("server = [{ address = \"a:1\" }]");
        let text = text.replacen("backend = \"app\"", &format!("backend = {name}"), 1);
        text + &format!("[[backend]]\nname = {name}\nserver = [{{ address = \"a:1\" }}]")
    };
    let text = leading("\"a\\u001b[2J\"");
    let said = wrong(&text);
    assert!(
        said.contains("backend: \"a\\u{1b}[2J\" is no backend; the name of a backend: app\n"),
        "{said}"
    );
    assert!(
        said.contains("backend[1].name: \"a\\u{1b}[2J\" holds a control character"),
        "{said}"
    );
}

#[test]
fn rules_of_health() {
    let health = |lines: &str| {
        backend(&format!(
            "server = [{{ address = \"a:1\" }}]\nhealth = {{ {lines} }}"
        ))
    };
    let only_connects =
        "a check with kind = \"tcp\" only connects; kind = \"http\" or \"websocket\"";
    check(
        health,
        &[
            ("", "nothing"),
            (
                "kind = \"http\", path = \"/x?y\", host = \"a:80\", expect = \"200,301-302\", rise = 1",
                "nothing",
            ),
            (
                "kind = \"websocket\", path = \"/ws\", host = \"a\", fast_interval = \"300ms\"",
                "nothing",
            ),
            ("kind = \"http\", method = \"HEAD\"", "nothing"),
            (
                "kind = \"http\", method = \"POST\"",
                "backend[0].health.method: \"POST\" is unknown; GET, HEAD or OPTIONS",
            ),
            (
                "method = \"GET\"",
                &format!("backend[0].health.method: {only_connects}"),
            ),
            (
                "kind = \"websocket\", method = \"GET\"",
                "backend[0].health.method: a check with kind = \"websocket\" is a GET; kind = \"http\"",
            ),
            (
                "kind = \"off\", path = \"/x\", expect = \"200\", tls = true",
                "nothing",
            ),
            ("tls = false", "nothing"),
            (
                "tls = true",
                "backend[0].health.tls: no server of the backend speaks TLS; \
                 tls = true at a server, or [backend.tls]",
            ),
            (
                "tls = \"yes\"",
                "backend[0].health.tls: is a string; true or false",
            ),
            (
                "kind = \"https\"",
                "backend[0].health.kind: \"https\" is unknown; https is http over TLS, which [listener.tls] and [backend.tls] switch on. One of http, tcp, websocket or off",
            ),
            (
                "path = \"/x\"",
                &format!("backend[0].health.path: {only_connects}"),
            ),
            (
                "kind = \"tcp\", host = \"x\"",
                &format!("backend[0].health.host: {only_connects}"),
            ),
            (
                "kind = \"tcp\", expect = \"200\"",
                &format!("backend[0].health.expect: {only_connects}"),
            ),
            (
                "kind = \"websocket\", expect = \"101\"",
                "backend[0].health.expect: a check with kind = \"websocket\" expects 101; kind = \"http\"",
            ),
            (
                "kind = \"http\", path = \"/a b\"",
                "backend[0].health.path: \"/a b\" does not fit into a request line; a path such as \"/healthz\"",
            ),
            (
                "kind = \"http\", host = \"a/b\"",
                "backend[0].health.host: \"a/b\" is no host; a Host header such as \"example.com\"",
            ),
            (
                "kind = \"http\", expect = \"200-600\"",
                "backend[0].health.expect: \"200-600\" is not a range of status codes; \
             status codes from 100 to 599 such as \"200-399\" or \"200,301-302\"",
            ),
            (
                "kind = \"http\", expect = \"399-200\"",
                "backend[0].health.expect: \"399-200\" ends before it begins; \
             status codes from 100 to 599 such as \"200-399\" or \"200,301-302\"",
            ),
            (
                "fall = 0",
                "backend[0].health.fall: 0 is out of range; a whole number from 1 to 1000",
            ),
        ],
    );
}

fn server(lines: &str) -> String {
    backend(&format!("server = [{{ {lines} }}]"))
}

const ADDRESS: &str = "IP:PORT, [IPv6]:PORT, NAME:PORT, srv:NAME or unix:/path";

#[test]
fn rules_of_server_addresses() {
    for legal in [
        "127.0.0.1:1",
        "[::1]:1",
        "localhost:1",
        "a_b.c-d.example.:1",
        "unix:/x",
        "xn--p1ai:80",
        "srv:_ws._tcp.example.com",
    ] {
        assert_eq!(
            wrong(&server(&format!("address = \"{legal}\""))),
            "nothing",
            "{legal}"
        );
    }
    for (illegal, expected) in [
        ("localhost", "has no port"),
        (
            "::1:80",
            "has no port (an IPv6 address stands in brackets before it)",
        ),
        (
            "127.0.0:80",
            "begins with \"127.0.0\", which is neither an IP address nor a name",
        ),
        (
            "-a:80",
            "begins with \"-a\", which is neither an IP address nor a name",
        ),
        (
            "a..b:80",
            "begins with \"a..b\", which is neither an IP address nor a name",
        ),
        (
            "http://a:80",
            "begins with \"http://a\", which is neither an IP address nor a name",
        ),
        (
            ":80",
            "begins with \"\", which is neither an IP address nor a name",
        ),
        (
            "srv:_ws._tcp.example.com:80",
            "has a port, which SRV records say themselves",
        ),
        ("srv:a..b", "goes on with \"a..b\", which is no name"),
        ("srv:", "goes on with \"\", which is no name"),
        ("a:http", "has the port \"http\", not one from 1 to 65535"),
    ] {
        let expected = format!("backend[0].server[0].address: {illegal:?} {expected}; {ADDRESS}");
        check(
            |address| server(&format!("address = {address:?}")),
            &[(illegal, &expected)],
        );
    }
}

#[test]
fn rules_of_backend_servers() {
    check(
        server,
        &[
            ("address = \"a:1\", weight = 0", "nothing"),
            (
                "address = \"a:1\", weight = 256, max_connections = 1, send_proxy = \"off\"",
                "nothing",
            ),
            (
                "address = \"a:1\", weight = 257",
                "backend[0].server[0].weight: 257 is out of range; a whole number from 0 to 256",
            ),
            (
                "address = \"a:1\", max_connections = 0",
                "backend[0].server[0].max_connections: 0 is out of range; a whole number from 1 to 16777216",
            ),
            (
                "address = \"a:1\", colour = true",
                "backend[0].server[0].colour: unknown key; address, weight, max_connections, source, send_proxy, tls",
            ),
            (
                "weight = 1",
                &format!("backend[0].server[0].address: missing; {ADDRESS}"),
            ),
            (
                "address = \"a:1\" }, { address = \"a:1\"",
                &format!(
                    "backend[0].server[1].address: \"a:1\" is backend[0].server[0].address already; {ADDRESS}"
                ),
            ),
        ],
    );
}

#[test]
fn rules_of_tls_to_servers() {
    let with = |lines: &str| backend(lines);
    let server = "server = [{ address = \"a:1\" }]";
    let unix = "server = [{ address = \"unix:/s\", tls = true }]";
    let row = |keys: &str, server: &str| format!("{keys}\n{server}");
    check(
        with,
        &[
            (&row("tls.verify = false", server), "nothing"),
            (
                &row("tls.verify = false\ntls.server_name = \"::1\"", unix),
                "nothing",
            ),
            (
                &row(
                    "tls.verify = false",
                    "server = [{ address = \"a_b.c:1\", tls = false }]",
                ),
                "nothing",
            ),
            (
                &row("", unix),
                "backend[0].server[0]: a unix socket has no name that its certificate could be for; \
                 server_name in [backend.tls]",
            ),
            (
                &row("tls.ca = \"/nowhere\"", server),
                "backend[0].tls.ca: \"/nowhere\" cannot be read: No such file or directory (os error 2); \
                 the path of a PEM file",
            ),
            (
                &row("tls.ca = \"/etc/passwd\"", server),
                "backend[0].server[0]: tls: holds no certificate (BEGIN CERTIFICATE); \
                 ca in [backend.tls], the path of a PEM file",
            ),
            (
                &row("tls.server_name = \"a b\"\ntls.verify = false", server),
                "backend[0].tls.server_name: \"a b\" is neither; a host name or an IP address",
            ),
            (
                &row("tls.key = \"/etc/passwd\"\ntls.verify = false", server),
                "backend[0].tls.cert: missing; the path of a PEM file",
            ),
            (
                &row("tls.cert = \"/etc/passwd\"\ntls.verify = false", server),
                "backend[0].tls: cert: holds no certificate (BEGIN CERTIFICATE)",
            ),
            (
                &row("tls = true", server),
                "backend[0].tls: is a boolean; a table",
            ),
            (
                &row("tls.min_version = \"1.1\"\ntls.verify = false", server),
                "backend[0].tls.min_version: \"1.1\" is unknown; 1.2 or 1.3",
            ),
            (
                &row("tls.certificate = \"x\"\ntls.verify = false", server),
                "backend[0].tls.certificate: unknown key; verify, ca, server_name, min_version, cert, key, offload",
            ),
        ],
    );
}

#[test]
fn tls_to_servers_is_printed_as_it_is_in_effect() {
    let keys = "tls = { verify = false, server_name = \"x\", min_version = \"1.3\" }\nhealth = {}\n\
                server = [{ address = \"127.0.0.1:1\" }, { address = \"127.0.0.1:2\", tls = false }]";
    let config = read(&backend(keys)).unwrap();
    assert!(
        config
            .warnings
            .iter()
            .any(|warning| warning.contains("not verified"))
    );
    let printed = config.to_string();
    let health = "kind = \"tcp\"\ntls = true\n";
    assert!(printed.contains(health), "{printed}");
    let section = "[backend.tls]\nverify = false\nserver_name = \"x\"\nmin_version = \"1.3\"\n\
                   offload = \"adaptive\"\n";
    assert!(printed.contains(section), "{printed}");
    let again = read(&printed).unwrap();
    assert_eq!(again.to_string(), printed);
    let speaks = |index: usize| again.backends[0].servers[index].tls.is_some();
    assert_eq!((speaks(0), speaks(1)), (true, false));
}
