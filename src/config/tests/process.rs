//! Rules of `[server]` and `[log]`.

use super::{SMALL, check, wrong};

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
             drain_timeout, drain_window, share_port, user, group, sandbox, pid_file, admin_socket, admin_http, nameservers",
            ),
        ],
    );
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
                "log.level: \"warning\" is unknown; error, warn, info, debug or trace",
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
