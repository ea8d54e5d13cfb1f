//! `[server]`: the process as a whole.

use std::path::Path;
use std::sync::OnceLock;

use super::admin::{ADMIN_HTTP, ADMIN_SOCKET, HOSTS, TOKEN, needs_token};
use crate::config::address::{self, NAMESERVER};
use crate::config::read::Scope;
use crate::config::section::{At, Key, Section};
use crate::config::shape::Fallback;
use crate::config::types::{
    Bool, CONNECTIONS_MAX, Choice, Many, Maybe, OR_ZERO, PATH, POSITIVE, Text, Time, Whole, WordOr,
};
use crate::config::{Process, Sandbox, Threads};

/// Limit on threads: more than any machine has cores.
const THREADS_MAX: u64 = 1024;
/// Longest name of a user, in bytes (useradd(8)).
const USER_LEN_MAX: usize = 32;
/// Name servers that are asked before a name counts as not resolved; resolv.conf(5) takes 3.
const NAMESERVERS_MAX: usize = 8;

const THREADS: WordOr<Threads, Whole<std::num::NonZeroUsize>> = WordOr {
    words: Choice(&[(
        "auto",
        Threads::Auto,
        "One thread for each core this process may run on.",
    )]),
    or: Whole::within(1..=THREADS_MAX),
    wrap: Threads::Count,
    unwrap: |threads| match threads {
        Threads::Auto => None,
        Threads::Count(count) => Some(*count),
    },
};

const SANDBOX: WordOr<Sandbox, Bool> = WordOr {
    words: Choice(&[(
        "log",
        Sandbox::Log,
        "The kernel logs system calls that are not on the list, and lets them pass. Files are not \
         confined.",
    )]),
    or: Bool,
    wrap: |on| if on { Sandbox::On } else { Sandbox::Off },
    unwrap: |sandbox| match sandbox {
        Sandbox::On => Some(true),
        Sandbox::Off => Some(false),
        Sandbox::Log => None,
    },
};

const ACCOUNT: Text<String> = Text {
    wanted: "the name of an account of this system",
    pattern: "^[^\\s:/]{1,32}$",
    parse: account,
    show: String::clone,
};

fn account(_: &Path, text: &str) -> Result<String, String> {
    let fits = |character: char| {
        !character.is_whitespace() && !character.is_control() && !":/".contains(character)
    };
    if (1..=USER_LEN_MAX).contains(&text.len()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("is no such name".to_owned())
    }
}

/// `[server]`.
pub(super) static PROCESS: Section<Process> = Section {
    path: "server",
    short: "The process as a whole: threads, limits, stopping, privileges, and the ways in for operators.",
    long: "`reception_threads`, `relay_threads`, `user`, `group`, `sandbox`, `pid_file`, `admin_socket` and \
           `admin_http` take a restart, and a reload that changes them says so. It applies the other keys.",
    blank: Process::default,
    defaults: OnceLock::new(),
    rules: &[drain_window_fits, needs_token],
    keys: &[
        Key {
            name: "reception_threads",
            since: "0.1",
            default: Fallback::Is("\"auto\""),
            short: "Threads that open connections: PROXY headers, TLS handshakes, HTTP.",
            long: "An established tunnel leaves these threads for a relay thread.",
            example: "4",
            wrong: "\"many\"",
            kind: &At {
                of: THREADS,
                at: |it: &mut Process| &mut it.reception_threads,
            },
        },
        Key {
            name: "relay_threads",
            since: "0.1",
            default: Fallback::Is("\"auto\""),
            short: "Threads that move the bytes of established tunnels.",
            long: "",
            example: "4",
            wrong: "0",
            kind: &At {
                of: THREADS,
                at: |it: &mut Process| &mut it.relay_threads,
            },
        },
        Key {
            name: "max_connections",
            since: "0.1",
            default: Fallback::Is("65536"),
            short: "Client connections at one time, over all listeners.",
            long: "At the limit, listeners pause: new connections wait in the kernel's accept queue, and \
                   none is accepted only to be closed.",
            example: "1000",
            wrong: "0",
            kind: &At {
                of: Whole::within(1..=CONNECTIONS_MAX),
                at: |it: &mut Process| &mut it.max_connections,
            },
        },
        Key {
            name: "drain_lead",
            since: "0.1",
            default: Fallback::Is("\"0s\""),
            short: "How long connections are still accepted after the first stop signal.",
            long: "During this time `/readyz` already answers 503, so that a balancer can take this node \
                   out before it stops accepting. Choose a few intervals of the balancer's health check.",
            example: "\"15s\"",
            wrong: "5",
            kind: &At {
                of: Time(OR_ZERO),
                at: |it: &mut Process| &mut it.drain_lead,
            },
        },
        Key {
            name: "drain_timeout",
            since: "0.1",
            default: Fallback::Is("\"10m\""),
            short: "How long established tunnels may live after accepting has stopped.",
            long: "Then the tunnels that are left are closed, all at once.",
            example: "\"1h\"",
            wrong: "\"10\"",
            kind: &At {
                of: Time(OR_ZERO),
                at: |it: &mut Process| &mut it.drain_timeout,
            },
        },
        Key {
            name: "drain_window",
            since: "0.1",
            default: Fallback::Words("tunnels stay until `drain_timeout`"),
            short: "Spreads the end of tunnels evenly over this time.",
            long: "Clients that reconnect when their tunnel ends do not all come back in the same second.",
            example: "\"60s\"",
            wrong: "\"0s\"",
            kind: &At {
                of: Maybe(Time(POSITIVE)),
                at: |it: &mut Process| &mut it.drain_window,
            },
        },
        Key {
            name: "drain_rate",
            since: "0.1",
            default: Fallback::Words("as many as `drain_window` asks for"),
            short: "Tunnels that a drain ends in one second, at most.",
            long: "It needs `drain_window`. Tunnels that the rate leaves behind end at `drain_timeout`.",
            example: "100",
            wrong: "0",
            kind: &At {
                of: Maybe(Whole::within(1..=CONNECTIONS_MAX)),
                at: |it: &mut Process| &mut it.drain_rate,
            },
        },
        Key {
            name: "share_port",
            since: "0.1",
            default: Fallback::Is("false"),
            short: "Whether several processes may listen on the same port.",
            long: "With `true`, a new process can start beside the old one (`SO_REUSEPORT`), and the kernel \
                   spreads connections over both. Both processes must say so.",
            example: "true",
            wrong: "1",
            kind: &At {
                of: Bool,
                at: |it: &mut Process| &mut it.share_port,
            },
        },
        Key {
            name: "user",
            since: "0.1",
            default: Fallback::Words("the user that started it"),
            short: "User to become once all sockets are bound.",
            long: "Only root can become another user. A reload reads certificates and keys as this user.",
            example: "\"longsplice\"",
            wrong: "\"a b\"",
            kind: &At {
                of: Maybe(ACCOUNT),
                at: |it: &mut Process| &mut it.user,
            },
        },
        Key {
            name: "group",
            since: "0.1",
            default: Fallback::Words("the groups of `user`"),
            short: "Group to become once all sockets are bound.",
            long: "",
            example: "\"longsplice\"",
            wrong: "\"\"",
            kind: &At {
                of: Maybe(ACCOUNT),
                at: |it: &mut Process| &mut it.group,
            },
        },
        Key {
            name: "sandbox",
            since: "0.1",
            default: Fallback::Is("true"),
            short: "Whether the process confines itself once it serves.",
            long: "It keeps the system calls it needs (seccomp) and the files it needs (Landlock), as far as \
                   the kernel can. Use `\"log\"` to find calls missing from the list.",
            example: "\"log\"",
            wrong: "\"yes\"",
            kind: &At {
                of: SANDBOX,
                at: |it: &mut Process| &mut it.sandbox,
            },
        },
        Key {
            name: "pid_file",
            since: "0.1",
            default: Fallback::Words("no file"),
            short: "File that holds the process id while the process runs.",
            long: "",
            example: "\"/run/longsplice.pid\"",
            wrong: "\"\"",
            kind: &At {
                of: Maybe(PATH),
                at: |it: &mut Process| &mut it.pid_file,
            },
        },
        Key {
            name: "admin_socket",
            since: "0.1",
            default: Fallback::Words("no socket"),
            short: "Unix socket for `longsplice ctl` and `longsplice top`.",
            long: "Root, the user of the process and members of the socket's group may use it (mode 0660).",
            example: "\"/run/longsplice/admin.sock\"",
            wrong: "\"\"",
            kind: &At {
                of: Maybe(ADMIN_SOCKET),
                at: |it: &mut Process| &mut it.admin_socket,
            },
        },
        Key {
            name: "admin_http",
            since: "0.1",
            default: Fallback::Words("no such listener"),
            short: "Address of `/metrics`, `/healthz`, `/readyz` and the dashboard.",
            long: "There is no password for reading: choose an address that only operators reach.",
            example: "\"127.0.0.1:9464\"",
            wrong: "\"localhost:80\"",
            kind: &At {
                of: Maybe(ADMIN_HTTP),
                at: |it: &mut Process| &mut it.admin_http,
            },
        },
        Key {
            name: "admin_http_hosts",
            since: "0.1",
            default: Fallback::Words("IP addresses and `localhost`"),
            short: "Names by which browsers may reach `admin_http`, besides addresses and `localhost`.",
            long: "A request with another Host is refused, which stops DNS rebinding.",
            example: "[\"ops.example.com\"]",
            wrong: "\"ops.example.com:80\"",
            kind: &At {
                of: HOSTS,
                at: |it: &mut Process| &mut it.admin_access.hosts,
            },
        },
        Key {
            name: "admin_http_write",
            since: "0.1",
            default: Fallback::Is("false"),
            short: "Whether servers can be drained at `admin_http`.",
            long: "It needs `admin_http_token`.",
            example: "true",
            wrong: "\"yes\"",
            kind: &At {
                of: Bool,
                at: |it: &mut Process| &mut it.admin_access.write,
            },
        },
        Key {
            name: "admin_http_token",
            since: "0.1",
            default: Fallback::Words("no token"),
            short: "File with the token that changes at `admin_http` require.",
            long: "The file holds 16 to 1024 printable characters without spaces; white space around them is \
                   ignored. Make one with `(umask 077; openssl rand -hex 32 > FILE)`.",
            example: "\"token\"",
            wrong: "\"/nowhere/token\"",
            kind: &At {
                of: Maybe(TOKEN),
                at: |it: &mut Process| &mut it.admin_access.token,
            },
        },
        Key {
            name: "nameservers",
            since: "0.1",
            default: Fallback::Words("as resolv.conf(5) says"),
            short: "DNS servers that names of backend servers are asked of, in this order.",
            long: "Without a port, 53 is taken.",
            example: "[\"127.0.0.53\"]",
            wrong: "\"dns.example\"",
            kind: &At {
                of: Many {
                    of: Text {
                        wanted: NAMESERVER,
                        pattern: "",
                        parse: |_, text| address::nameserver(text),
                        show: ToString::to_string,
                    },
                    wanted: "",
                    len: 1..=NAMESERVERS_MAX,
                    plural: "name servers",
                    shows_empty: false,
                },
                at: |it: &mut Process| &mut it.nameservers,
            },
        },
    ],
};

/// Warns of a `drain_window` that does not end before `drain_timeout`, and of a rate without a window.
fn drain_window_fits(process: &mut Process, scope: &Scope<'_, '_>) {
    if process
        .drain_window
        .is_some_and(|window| window > process.drain_timeout)
    {
        scope
            .place_of("drain_window")
            .warn("is longer than drain_timeout, at which all that is left ends at once");
    }
    if process.drain_rate.is_some() && process.drain_window.is_none() {
        scope.place_of("drain_rate").warn(
            "means nothing without drain_window: no tunnel is ended before drain_timeout, \
             and then all at once",
        );
    }
}
