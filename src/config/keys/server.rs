//! `[[backend.server]]`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use super::drafts::{BackendDraft, ServerDraft};
use super::shared::{SEND_PROXY, SOURCE};
use crate::config::ServerAddress;
use crate::config::address::{self, SERVER as ADDRESS};
use crate::config::read::{Among, Scope};
use crate::config::section::{At, Key, Section};
use crate::config::shape::Fallback;
use crate::config::types::{Bool, CONNECTIONS_MAX, Maybe, Text, Unique, Whole};

const WEIGHT_MAX: u64 = 256;

fn address_text((_, address): &(Arc<str>, ServerAddress)) -> String {
    match address {
        ServerAddress::Inet(ip, port) => SocketAddr::new(*ip, *port).to_string(),
        ServerAddress::Name(name, port) => format!("{name}:{port}"),
        ServerAddress::Srv(name) => format!("srv:{name}"),
        ServerAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// `[[backend.server]]`.
pub(super) static SERVER: Section<ServerDraft> = Section {
    path: "backend.server",
    short: "A server of the backend.",
    long: "",
    blank: ServerDraft::blank,
    defaults: OnceLock::new(),
    rules: &[],
    keys: &[
        Key {
            name: "address",
            since: "0.1",
            default: Fallback::Required,
            short: "Where it is; also its name in logs and metrics.",
            long: "A name is resolved again as its TTL says, and each of its addresses becomes a server. \
                   `srv:NAME` asks for SRV records, which also say port and weight. The path of a unix socket \
                   starts at the configuration's directory unless it begins with `/`.",
            example: "\"app.internal:3000\"",
            wrong: "\"localhost\"",
            kind: &At {
                of: Unique {
                    of: Text {
                        wanted: ADDRESS,
                        pattern: "^(unix:.+|srv:.+|.+:[0-9]{1,5})$",
                        parse: |base, text| Ok((text.into(), address::server(base, text)?)),
                        show: address_text,
                    },
                    among: Among::Rows,
                    spelling: |(text, _)| text.to_string(),
                    taken: "is",
                },
                at: |it: &mut ServerDraft| &mut it.address,
            },
        },
        Key {
            name: "weight",
            since: "0.1",
            default: Fallback::Is("1"),
            short: "Its share of new connections, beside the weights of the other servers.",
            long: "With 0 it gets none, and those it has go on.",
            example: "10",
            wrong: "257",
            kind: &At {
                of: Whole::within(0..=WEIGHT_MAX),
                at: |it: &mut ServerDraft| &mut it.server.weight,
            },
        },
        Key {
            name: "max_connections",
            since: "0.1",
            default: Fallback::Words("no limit"),
            short: "Requests and tunnels that it has at one time, at most.",
            long: "The next one goes to another server, or waits in the backend's queue.",
            example: "1024",
            wrong: "0",
            kind: &At {
                of: Maybe(Whole::within(1..=CONNECTIONS_MAX)),
                at: |it: &mut ServerDraft| &mut it.server.max_connections,
            },
        },
        Key {
            name: "source",
            since: "0.1",
            default: Fallback::Words("the backend's `source`"),
            short: "Addresses of this machine that connections to it come from, in turn.",
            long: "At least one must be of the family of the server's address.",
            example: "\"127.0.0.2\"",
            wrong: "\"0.0.0.0\"",
            kind: &At {
                of: Maybe(SOURCE),
                at: |it: &mut ServerDraft| &mut it.source,
            },
        },
        Key {
            name: "send_proxy",
            since: "0.1",
            default: Fallback::Words("the backend's `send_proxy`"),
            short: "Which PROXY header it gets before the client's bytes.",
            long: "",
            example: "\"v1\"",
            wrong: "1",
            kind: &At {
                of: Maybe(SEND_PROXY),
                at: |it: &mut ServerDraft| &mut it.send_proxy,
            },
        },
        Key {
            name: "tls",
            since: "0.1",
            default: Fallback::Words("whether there is a `[backend.tls]`"),
            short: "Whether it is spoken to over TLS.",
            long: "",
            example: "false",
            wrong: "\"yes\"",
            kind: &At {
                of: Maybe(Bool),
                at: |it: &mut ServerDraft| &mut it.tls,
            },
        },
    ],
};

/// Copies a backend's settings to its servers, and refuses sources that cannot reach the server.
pub(super) fn servers_inherit(draft: &mut BackendDraft, scope: &Scope<'_, '_>) {
    for row in &mut draft.servers {
        let written = &mut row.value;
        let server = &mut written.server;
        (server.name, server.address) = written.address.clone();
        server.send_proxy = written.send_proxy.or(draft.send_proxy).flatten();
        let source = written.source.as_ref().or(draft.source.as_ref());
        server.source = source.cloned().unwrap_or_default();
        let ServerAddress::Inet(ip, _) = server.address else {
            continue;
        };
        let unlike = |from: &IpAddr| from.is_ipv4() != ip.is_ipv4();
        if !server.source.is_empty() && server.source.iter().all(unlike) {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            scope.row(&row.key).place.reject(format!(
                "no address in `source` is {family} like the server's; one that is"
            ));
        }
    }
}

/// Warns of a backend whose servers get no new connection.
pub(super) fn servers_have_weight(draft: &mut BackendDraft, scope: &Scope<'_, '_>) {
    let mut servers = draft.servers.iter();
    if servers.len() > 0 && servers.all(|row| row.value.server.weight == 0) {
        scope
            .place
            .warn("every server has weight 0; none gets a new connection");
    }
}
