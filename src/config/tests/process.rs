//! Rules of `[server]` and `[log]`.

use std::os::unix::fs::PermissionsExt;

use super::{SMALL, check, full, wrong};
use crate::config::parse;

fn server(lines: &str) -> String {
    format!("[server]\n{lines}\n{SMALL}")
}

#[test]
fn rules_of_server() {
    check(
        server,
        &[
            ("", "nothing"),
            ("reception_threads = 4\nrelay_threads = \"auto\"", "nothing"),
            (
                "reception_threads = \"many\"",
                "server.reception_threads: \"many\" is unknown; auto",
            ),
            (
                "relay_threads = 0",
                "server.relay_threads: 0 is out of range; a whole number from 1 to 1024",
            ),
            (
                "relay_threads = 1.5",
                "server.relay_threads: is a float; a whole number from 1 to 1024",
            ),
            (
                "max_connections = -1",
                "server.max_connections: -1 is out of range; a whole number from 1 to 16777216",
            ),
            ("max_connections = 0x10000", "nothing"),
            (
                "max_connections = 99999999999999999999",
                "server.max_connections: 99999999999999999999 is out of range; \
             a whole number from 1 to 16777216",
            ),
            (
                "share_port = 1",
                "server.share_port: is an integer; true or false",
            ),
            ("drain_timeout = \"0s\"", "nothing"),
            (
                "drain_window = \"0s\"",
                "server.drain_window: \"0s\" is below the least value 1ms; \
             a whole number and a unit such as \"300ms\", \"10s\", \"5m\" or \"24h\"",
            ),
            ("drain_lead = \"0s\"", "nothing"),
            (
                "drain_lead = 5",
                "server.drain_lead: is an integer; \
             a whole number and a unit such as \"300ms\", \"10s\", \"5m\" or \"24h\"",
            ),
            (
                "drain_rate = 0",
                "server.drain_rate: 0 is out of range; a whole number from 1 to 16777216",
            ),
            (
                "user = \"a b\"",
                "server.user: \"a b\" is no such name; the name of an account of this system",
            ),
            (
                "group = \"\"",
                "server.group: \"\" is no such name; the name of an account of this system",
            ),
            (
                "pid_file = \"\"",
                "server.pid_file: \"\" is empty; the path of a file",
            ),
            (
                "pid_file = \"a\\u0000\"",
                "server.pid_file: \"a\\0\" holds a NUL; the path of a file",
            ),
            (
                "nameservers = [\"127.0.0.1\", \"127.0.0.1:5353\", \"::1\", \"[::1]:53\"]",
                "nothing",
            ),
            (
                "nameservers = \"dns.example\"",
                "server.nameservers: \"dns.example\" has no port; IP, IP:PORT or [IPv6]:PORT",
            ),
            (
                "nameservers = [\"127.0.0.1:0\"]",
                "server.nameservers[0]: \"127.0.0.1:0\" has the port \"0\", not one from 1 to 65535; \
             IP, IP:PORT or [IPv6]:PORT",
            ),
            (
                "nameservers = []",
                "server.nameservers: is empty; at least one: IP, IP:PORT or [IPv6]:PORT",
            ),
            (
                "nameservers = [\"::1\",\"::2\",\"::3\",\"::4\",\"::5\",\"::6\",\"::7\",\"::8\",\"::9\"]",
                "server.nameservers[8]: is one too many; at most 8 name servers",
            ),
        ],
    );
}

#[test]
fn rules_of_admin_addresses_and_unknown_keys() {
    check(
        server,
        &[
            (
                "admin_http = \"localhost:80\"",
                "server.admin_http: \"localhost:80\" begins with \"localhost\", which is no IP address; \
             IP:PORT or [IPv6]:PORT",
            ),
            (
                "admin_http = \"127.0.0.1:8080\"",
                "listener[0].bind[0]: \"127.0.0.1:8080\" is taken by server.admin_http already; \
             IP:PORT, [IPv6]:PORT or unix:/path",
            ),
            (
                "drain-timeout = \"1s\"",
                "server.drain-timeout: unknown key; did you mean drain_timeout?",
            ),
            (
                "\"a b\" = 1",
                "server.\"a b\": unknown key; reception_threads, relay_threads, max_connections, \
             drain_lead, drain_timeout, drain_window, drain_rate, share_port, user, group, sandbox, pid_file, admin_socket, admin_http, admin_http_hosts, \
             admin_http_write, admin_http_token, nameservers",
            ),
        ],
    );
}

#[test]
fn rules_of_who_may_do_what_at_admin_http() {
    let wanted = "a name such as \"ops.example.com\", without a port";
    let bad_host = |key: &str, host: &str| {
        format!("server.admin_http_hosts{key}: \"{host}\" is no name; {wanted}")
    };
    let (no_port, no_address) = (bad_host("", "ops.example:80"), bad_host("[1]", "192.0.2.1"));
    check(
        server,
        &[
            ("admin_http_hosts = [\"ops.example\", \"Other\"]", "nothing"),
            ("admin_http_hosts = \"ops.example:80\"", &no_port),
            ("admin_http_hosts = [\"a\", \"192.0.2.1\"]", &no_address),
            ("admin_http_write = false", "nothing"),
            (
                "admin_http_write = true",
                "server.admin_http_write: needs admin_http_token; the path of a file with a token; \
                 make one with: (umask 077; openssl rand -hex 32 > FILE)",
            ),
            (
                "admin_http_write = \"yes\"",
                "server.admin_http_write: is a string; true or false",
            ),
            (
                "admin_http_write = true\nadmin_http_token = \"/nowhere/token\"",
                "server.admin_http_token: \"/nowhere/token\" cannot be read: No such file or \
                 directory (os error 2); the path of a file with the token, 16 to 1024 printable \
                 characters without spaces",
            ),
        ],
    );
}

#[test]
fn tokens_are_read_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let text = server("admin_http_write = true\nadmin_http_token = \"token\"");
    let config = folder.path().join("longsplice.toml");
    let read = |content: &[u8], mode| {
        std::fs::write(&file, content).expect("a file");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("a mode");
        parse(&text, &config)
    };
    let legal = read(b"  0123456789abcdef\n", 0o640).expect("legal");
    let access = &legal.process.admin_access;
    let token = access.token.as_ref().expect("a token");
    assert_eq!(&*token.secret, b"0123456789abcdef");
    assert_eq!(legal.warnings, Vec::<String>::new());
    for shown in [format!("{legal:?}"), legal.to_string()] {
        assert!(shown.contains(file.to_str().expect("UTF-8")), "{shown}");
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
        assert!(!shown.contains("48, 49"), "{shown}");
    }
    full::round_trip(&legal);
    let open = read(b"0123456789abcdef", 0o644).expect("legal");
    assert!(open.warnings[0].contains("every user of this machine can read"));
    let rows: [(&[u8], &str); 5] = [
        (b"", "names a file with a token of 0 bytes"),
        (
            b" 0123456789abcde ",
            "names a file with a token of 15 bytes",
        ),
        (&[b'x'; 1025], "names a file with a token of 1025 bytes"),
        (b"0123456789 abcdef", "names a file with more than a token"),
        (
            b"0123456789\xff\xff\xff\xff\xff\xff",
            "cannot be read: stream did not contain valid UTF-8",
        ),
    ];
    for (content, wrong) in rows {
        let said = read(content, 0o600).expect_err("illegal").to_string();
        let wanted = format!("server.admin_http_token: {wrong}; the path of a file");
        assert!(said.contains(&wanted), "{said}");
        assert!(!said.contains("0123456789"), "{said}");
    }
}

#[test]
fn rules_of_durations() {
    let duration = |text: &str| server(&format!("drain_timeout = {text}"));
    let wanted = "a whole number and a unit such as \"300ms\", \"10s\", \"5m\" or \"24h\"";
    for legal in ["300ms", "10s", "5m", "24h", "8760h", "0ms", "010s"] {
        assert_eq!(
            wrong(&duration(&format!("\"{legal}\""))),
            "nothing",
            "{legal}"
        );
    }
    let rows = [
        ("10", "is an integer"),
        ("\"10\"", "\"10\" has no unit"),
        ("\"\"", "\"\" is not a duration"),
        ("\"s\"", "\"s\" is not a duration"),
        ("\"-1s\"", "\"-1s\" is not a duration"),
        ("\"1.5s\"", "\"1.5s\" has the unknown unit \".5s\""),
        ("\"1 s\"", "\"1 s\" has the unknown unit \" s\""),
        ("\"1d\"", "\"1d\" has the unknown unit \"d\""),
        ("\"1h30m\"", "\"1h30m\" has the unknown unit \"h30m\""),
        ("\"8761h\"", "\"8761h\" is above the limit 8760h"),
        (
            "\"99999999999999999999h\"",
            "\"99999999999999999999h\" is above the limit 8760h",
        ),
    ];
    for (text, expected) in rows {
        let expected = format!("2:17: server.drain_timeout: {expected}; {wanted}");
        assert_eq!(wrong(&duration(text)), expected);
    }
}

#[test]
fn rules_of_log() {
    let target = "stderr, journald, file:PATH, syslog:HOST:PORT[/facility] or syslog:unix:PATH";
    for legal in [
        "stderr",
        "journald",
        "file:/var/log/x",
        "syslog:127.0.0.1:514",
        "syslog:[::1]:514/local1",
        "syslog:loghost:514/daemon",
        "syslog:unix:/dev/log",
    ] {
        let text = format!("[log]\ntarget = {legal:?}\n{SMALL}");
        assert_eq!(wrong(&text), "nothing", "{legal}");
    }
    for (illegal, expected) in [
        ("stdout", "is unknown"),
        ("file:", "names no path"),
        ("syslog:", "has no port"),
        ("syslog:h", "has no port"),
        ("syslog:h:0", "has the port \"0\", not one from 1 to 65535"),
        (
            "syslog:h:514/local9",
            "ends with the unknown facility \"local9\"",
        ),
        ("syslog:unix:", "names no path"),
    ] {
        let text = format!("[log]\ntarget = {illegal:?}\n{SMALL}");
        let expected = format!("2:10: log.target: {illegal:?} {expected}; {target}");
        assert_eq!(wrong(&text), expected);
    }
    check(
        |lines| format!("[log]\n{lines}\n{SMALL}"),
        &[
            (
                "level = \"warning\"",
                "log.level: \"warning\" is unknown; did you mean warn? One of error, warn, info, debug or trace",
            ),
            (
                "access = true",
                "log.access: is a boolean; json, httplog, combined or off",
            ),
            (
                "facility = \"local8\"",
                "log.facility: \"local8\" is unknown; kern, user, mail, daemon, auth, syslog, lpr, news, \
             uucp, cron, authpriv, ftp, local0, local1, local2, local3, local4, local5, local6 or \
             local7",
            ),
            (
                "progress = \"500ms\"",
                "log.progress: \"500ms\" is below the least value 1s; \
             a whole number and a unit such as \"300ms\", \"10s\", \"5m\" or \"24h\"",
            ),
            (
                "target = \"file:x\"\nfacility = \"cron\"\nlevel = \"trace\"\naccess = \"off\"\n\
             progress = \"5m\"",
                "nothing",
            ),
        ],
    );
}
