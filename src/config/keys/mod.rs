//! Every key of the configuration, each declared once, and the conversion from the written form to [`Config`]
//! and back.
//!
//! A file here is a table or two: its sections, the types only it uses, and its rules.

mod admin;
mod backend;
mod backend_tls;
mod behind;
mod conditions;
mod drafts;
mod health;
mod listener;
mod listener_tls;
mod log;
mod pages;
mod process;
mod route;
mod server;
mod shared;

use std::collections::HashMap;
use std::sync::OnceLock;

use super::read::{Scope, Table};
use super::section::{At, Key, Row, Section, Sub, Tables};
use super::shape::{Fallback, SectionDoc};
use super::words::shown;
use super::{Backend, BackendId, Config, DrainClose, Listener, Log, Mode, Process};
use backend::BACKEND;
use drafts::{BackendDraft, ListenerDraft, RouteDraft};
use listener::LISTENER;
use log::LOG;
use process::PROCESS;

/// A configuration as written: references to other tables are not resolved yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    process: Process,
    log: Log,
    listeners: Vec<Row<ListenerDraft>>,
    backends: Vec<Row<BackendDraft>>,
}

/// The whole file.
static ROOT: Section<Draft> = Section {
    path: "",
    short: "The whole file.",
    long: "",
    blank: Draft::default,
    defaults: OnceLock::new(),
    rules: &[backends_are_used],
    keys: &[
        Key {
            name: "server",
            since: "0.1",
            default: Fallback::Is("{}"),
            short: "The process as a whole.",
            long: "",
            example: "{ max_connections = 1000 }",
            wrong: "1",
            kind: &At {
                of: Sub(&PROCESS),
                at: |it: &mut Draft| &mut it.process,
            },
        },
        Key {
            name: "log",
            since: "0.1",
            default: Fallback::Is("{}"),
            short: "Access lines and diagnostics.",
            long: "",
            example: "{ level = \"debug\" }",
            wrong: "\"debug\"",
            kind: &At {
                of: Sub(&LOG),
                at: |it: &mut Draft| &mut it.log,
            },
        },
        Key {
            name: "listener",
            since: "0.1",
            default: Fallback::Required,
            short: "Where connections are accepted.",
            long: "",
            example: "[{ bind = \"127.0.0.1:8080\", route = [{ backend = \"app\" }] }]",
            wrong: "{}",
            kind: &At {
                of: Tables(&LISTENER),
                at: |it: &mut Draft| &mut it.listeners,
            },
        },
        Key {
            name: "backend",
            since: "0.1",
            default: Fallback::Words("none: every route redirects or responds"),
            short: "Where routes lead.",
            long: "",
            example: "[{ name = \"app\", server = [{ address = \"127.0.0.1:3000\" }] }]",
            wrong: "{}",
            kind: &At {
                of: Tables(&BACKEND),
                at: |it: &mut Draft| &mut it.backends,
            },
        },
    ],
};

impl Draft {
    /// Reads the table of the whole text.
    pub(super) fn read(root: Table<'_, '_>) -> Self {
        ROOT.read(root)
    }

    /// Returns the configuration of a draft without errors.
    pub(super) fn into_config(self) -> Config {
        let backends = self.backends.into_iter();
        let backends: Vec<_> = backends.map(|row| row.value.into_backend()).collect();
        let names = backends.iter().enumerate();
        let ids: HashMap<&str, usize> = names.map(|(id, it)| (&*it.name, id)).collect();
        let rows = self.listeners.into_iter();
        let listeners = rows.map(|row| {
            let ListenerDraft { listener, routes } = row.value;
            // The reader of `backend` has checked that the name exists.
            let id = |name: &str| BackendId(ids.get(name).copied().unwrap_or_default());
            let routes = routes.into_iter().map(|row| row.value.into_route(id));
            Listener {
                routes: routes.collect(),
                ..listener
            }
        });
        let mut listeners: Vec<Listener> = listeners.collect();
        let tells = |it: &Listener| it.tls.as_ref().is_some_and(|tls| tls.client_subject);
        let guarded = listeners.iter().any(tells);
        for listener in &mut listeners {
            listener.guards_client_subject = guarded;
        }
        Config {
            source: None,
            process: self.process,
            log: self.log,
            listeners,
            backends,
            warnings: Vec::new(),
        }
    }

    /// Returns the draft that means `config`.
    pub(super) fn of(config: &Config) -> Self {
        let name = |id: BackendId| {
            let backend = config.backends.get(id.0);
            backend.map(|backend| backend.name.to_string())
        };
        let listener = |listener: &Listener| {
            let routes = listener.routes.iter();
            let routes = routes.map(|route| Row::from(RouteDraft::of(route, name)));
            Row::from(ListenerDraft {
                listener: listener.clone(),
                routes: routes.collect(),
            })
        };
        let backends = config.backends.iter();
        Self {
            process: config.process.clone(),
            log: config.log.clone(),
            listeners: config.listeners.iter().map(listener).collect(),
            backends: backends.map(|it| Row::from(BackendDraft::of(it))).collect(),
        }
    }

    /// Writes it as TOML.
    pub(super) fn print(&mut self, page: &mut super::page::Page) {
        ROOT.print(self, page);
    }
}

/// Tells whether a backend may have this name.
pub(super) fn is_backend_name(text: &str) -> bool {
    backend::name(text).is_ok()
}

/// Describes the whole file.
pub(super) fn describe() -> SectionDoc {
    ROOT.describe()
}

/// Warns of backends that no route leads to, and of keys without effect at those that only get connections
/// whose content is not looked at.
fn backends_are_used(draft: &mut Draft, scope: &Scope<'_, '_>) {
    let users = users(&draft.listeners);
    for Row { key, value } in &draft.backends {
        let name = &*value.backend.name;
        let row = scope.row(key);
        match users.get(name) {
            None if name.is_empty() => {}
            None => row
                .place
                .warn(format!("no route leads to the backend {}", shown(name))),
            Some(Users::Bytes) => warn_of_bytes(&value.backend, &row),
            Some(Users::Http) => {}
        }
    }
}

/// Warns of what has no effect on connections whose content is not looked at.
fn warn_of_bytes(backend: &Backend, row: &Scope<'_, '_>) {
    let only = "only listeners in mode \"tcp\" or \"sni\" lead here, where";
    if backend.drain_close == DrainClose::Websocket {
        let place = row.place_of("drain_close");
        place.warn(format!("{only} no Close is sent"));
    }
    if backend.host_header.is_some() {
        let place = row.place_of("host_header");
        place.warn(format!(
            "{only} no Host is written; a check has `health.host`"
        ));
    }
}

/// What kinds of listeners lead to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Users {
    /// Only those that pass bytes on.
    Bytes,
    /// At least one that routes requests.
    Http,
}

/// Returns what leads to each backend, by its name. It goes through the routes once: a file may have
/// many backends as well as many listeners.
fn users(listeners: &[Row<ListenerDraft>]) -> HashMap<&str, Users> {
    let mut users = HashMap::new();
    for Row { value, .. } in listeners {
        let routes = value.routes.iter();
        for name in routes.filter_map(|route| route.value.backend.as_deref()) {
            match value.listener.mode {
                Mode::Http => users.insert(name, Users::Http),
                Mode::Tcp | Mode::Sni => Some(*users.entry(name).or_insert(Users::Bytes)),
            };
        }
    }
    users
}
