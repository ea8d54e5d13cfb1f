//! Properties of a whole text: positions, syntax, warnings.

use std::fmt::Write;

use expect_test::expect;

use super::{SMALL, listener, read, wrong};
use crate::config::load;

#[test]
fn positions_count_lines_and_characters_from_one() {
    let rows = [
        ("", "1:1: listener: missing; at least one [[listener]]"),
        (
            "server = 1",
            "1:1: listener: missing; at least one [[listener]]\n1:10: server: is an integer; a table",
        ),
        (
            "\n  x = 1 # é",
            "1:1: listener: missing; at least one [[listener]]\n2:3: x: unknown key; server, log, listener, backend",
        ),
        (
            "server = { user = \"é\", x = 1 }",
            "1:1: listener: missing; at least one [[listener]]\n\
             1:24: server.x: unknown key; reception_threads, relay_threads, max_connections, \
             drain_lead, drain_timeout, drain_window, drain_rate, share_port, user, group, sandbox, pid_file, admin_socket, admin_http, admin_http_hosts, \
             admin_http_write, admin_http_token, nameservers",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(wrong(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_toml_is_told_in_the_same_form() {
    let mut said = String::new();
    for text in [
        "[server",
        "a = ",
        "a = 1\na = 2",
        "a = \"x\nb = [1",
        "= 1\nb ! 2",
        "[a]\n[a]",
    ] {
        writeln!(said, "{text:?}\n{}", wrong(text)).expect("a String");
    }
    expect![[r#"
        "[server"
        1:8: syntax: unclosed table; expected `]`
        "a = "
        1:5: syntax: string values must be quoted; expected literal string
        "a = 1\na = 2"
        2:1: syntax: duplicate key: "a"; each key stands once
        "a = \"x\nb = [1"
        1:7: syntax: invalid basic string; expected `"`
        2:7: syntax: unclosed array; expected `]`
        "= 1\nb ! 2"
        1:1: syntax: unquoted keys cannot be empty; expected letters, numbers, `-`, `_`
        2:3: syntax: key with no value; expected `=`
        "[a]\n[a]"
        2:2: syntax: duplicate key: "a"; each key stands once
    "#]]
    .assert_eq(&said);
}

#[test]
fn warnings() {
    let said = |text: &str| read(text).expect("legal").warnings.join("\n");
    assert_eq!(said(SMALL), "");
    let optional = listener("bind = \"127.0.0.1:80\"\nproxy_protocol = \"optional\"");
    assert_eq!(
        said(&optional),
        "/etc/longsplice.toml:3:18: listener[0].proxy_protocol: \
         \"optional\" with empty trusted_proxies never believes a PROXY header"
    );
    let unused = format!(
        "{SMALL}[[backend]]\nname = \"b\"\nserver = [{{ address = \"unix:/b\", weight = 0 }}]"
    );
    assert_eq!(
        said(&unused),
        "/etc/longsplice.toml:10:1: backend[1]: every server has weight 0; none gets a new connection\n\
         /etc/longsplice.toml:10:1: backend[1]: no route leads to the backend \"b\""
    );
    let drain = |keys: &str| said(&format!("[server]\n{keys}\n{SMALL}"));
    assert_eq!(drain("drain_window = \"10m\"\ndrain_rate = 50"), "");
    assert_eq!(
        drain("drain_timeout = \"30s\"\ndrain_window = \"1m\""),
        "/etc/longsplice.toml:3:16: server.drain_window: \
         is longer than drain_timeout, at which all that is left ends at once"
    );
    assert_eq!(
        drain("drain_rate = 50"),
        "/etc/longsplice.toml:2:14: server.drain_rate: means nothing without drain_window: \
         no tunnel is ended before drain_timeout, and then all at once"
    );
}

#[test]
fn a_close_frame_where_there_are_none() {
    let said = |text: &str| read(text).expect("legal").warnings.join("\n");
    let closing = SMALL.replace(
        "name = \"app\"\n",
        "name = \"app\"\ndrain_close = \"websocket\"\n",
    );
    assert_eq!(said(&closing), "");
    let tcp = closing.replace("[[listener]]\n", "[[listener]]\nmode = \"tcp\"\n");
    let warning = said(&tcp);
    assert!(
        warning.ends_with(
            "backend[0].drain_close: only listeners in mode \"tcp\" or \"sni\" lead here, where no Close is sent"
        ),
        "{warning}"
    );
    let hosted = tcp.replace("drain_close = \"websocket\"", "host_header = \"a\"");
    let warning = said(&hosted);
    assert!(
        warning.ends_with(
            "backend[0].host_header: only listeners in mode \"tcp\" or \"sni\" lead here, where no Host \
             is written; a check has `health.host`"
        ),
        "{warning}"
    );
    let both =
        format!("{tcp}[[listener]]\nbind = \"127.0.0.1:81\"\nroute = [{{ backend = \"app\" }}]\n");
    assert_eq!(said(&both), "");
}

#[test]
fn what_a_file_with_many_mistakes_hears() {
    let text = r#"
[sever]
x = 1
[server]
drain_timout = "10m"
max_connections = 0
share_port = "yes"
[[listener]]
bind = ["0.0.0.0", ":80", "127.0.0.1:80", "127.0.0.1:80"]
mode = "htp"
proxy_protocol = "require"
tls = true
[[listener.route]]
backend = "nope"
path = "x"
respond = { status = 600 }
[[listener.route]]
client = ["10.0.0.1/8", 3]
[listener.timeouts]
keep_alive = 10
[[backend]]
name = "app"
[[backend.server]]
adress = "127.0.0.1:3000"
"#;
    expect![[r#"
        /etc/longsplice.toml:2:2: sever: unknown key; did you mean server?
        /etc/longsplice.toml:5:1: server.drain_timout: unknown key; did you mean drain_timeout?
        /etc/longsplice.toml:6:19: server.max_connections: 0 is out of range; a whole number from 1 to 16777216
        /etc/longsplice.toml:7:14: server.share_port: is a string; true or false
        /etc/longsplice.toml:9:9: listener[0].bind[0]: "0.0.0.0" has no port (an IPv6 address stands in brackets before it); IP:PORT, [IPv6]:PORT or unix:/path
        /etc/longsplice.toml:9:20: listener[0].bind[1]: ":80" names no address (0.0.0.0:80 and [::]:80 are all of them); IP:PORT, [IPv6]:PORT or unix:/path
        /etc/longsplice.toml:9:43: listener[0].bind[3]: "127.0.0.1:80" is taken by listener[0].bind[2] already; IP:PORT, [IPv6]:PORT or unix:/path
        /etc/longsplice.toml:10:8: listener[0].mode: "htp" is unknown; did you mean http? One of http, tcp or sni
        /etc/longsplice.toml:11:18: listener[0].proxy_protocol: "require" with empty trusted_proxies refuses every connection; name the balancers in trusted_proxies
        /etc/longsplice.toml:12:7: listener[0].tls: is a boolean; a table
        /etc/longsplice.toml:13:1: listener[0].route[0]: leads to several places; exactly one of backend, redirect and respond
        /etc/longsplice.toml:14:11: listener[0].route[0].backend: "nope" is no backend; the name of a backend: app
        /etc/longsplice.toml:15:8: listener[0].route[0].path: "x" is no path: a path begins with '/'; a path such as "/socket.io/"
        /etc/longsplice.toml:16:22: listener[0].route[0].respond.status: 600 is out of range; a whole number from 200 to 599
        /etc/longsplice.toml:17:1: listener[0].route[1]: leads nowhere; exactly one of backend, redirect and respond
        /etc/longsplice.toml:18:11: listener[0].route[1].client[0]: "10.0.0.1/8" is no range: bits are set behind the prefix; the range is 10.0.0.0/8; an address, or a range such as 10.0.0.0/8
        /etc/longsplice.toml:18:25: listener[0].route[1].client[1]: is an integer; an address, or a range such as 10.0.0.0/8
        /etc/longsplice.toml:20:14: listener[0].timeouts.keep_alive: is an integer; a whole number and a unit such as "300ms", "10s", "5m" or "24h"
        /etc/longsplice.toml:23:1: backend[0].server[0].address: missing; IP:PORT, [IPv6]:PORT, NAME:PORT, srv:NAME or unix:/path
        /etc/longsplice.toml:24:1: backend[0].server[0].adress: unknown key; did you mean address?
    "#]].assert_eq(&read(text).expect_err("illegal").to_string());
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |name: &str, content: Option<&[u8]>| {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).expect("a file");
        }
        let errors = load(&path).expect_err("illegal").to_string();
        errors.replace(&folder.path().display().to_string(), "FOLDER")
    };
    let rows = [
        (
            said("missing", None),
            "FOLDER/missing: cannot be read: No such file or directory (os error 2); a file in TOML\n",
        ),
        (
            said("", None),
            "FOLDER/: cannot be read: Is a directory (os error 21); a file in TOML\n",
        ),
        (
            said("long", Some(&vec![b'\n'; 4 * 1024 * 1024 + 1])),
            "FOLDER/long: is too long; at most 4MiB\n",
        ),
        (
            said("latin1", Some(b"# ok\nuser = \"\xe9\"\n")),
            "FOLDER/latin1:2:9: syntax: is not UTF-8; TOML is UTF-8\n",
        ),
    ];
    for (said, expected) in rows {
        assert_eq!(said, expected);
    }
}
