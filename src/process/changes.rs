//! Differences between two configurations, for the log line of a reload.

use std::fmt;
use std::sync::Arc;

use crate::config::{BackendId, Config, Listener, Offload, RouteAction};

/// Names that were added, removed, or changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Diff {
    pub(super) added: Vec<Arc<str>>,
    pub(super) removed: Vec<Arc<str>>,
    pub(super) changed: Vec<Arc<str>>,
}

impl Diff {
    fn between<'a, T: 'a>(
        before: &'a [T],
        after: &'a [T],
        name: impl Fn(&T) -> &Arc<str>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Self {
        let mut diff = Self::default();
        let find = |all: &'a [T], wanted: &str| all.iter().find(|one| **name(one) == *wanted);
        for one in after {
            match find(before, name(one)) {
                None => diff.added.push(Arc::clone(name(one))),
                Some(known) if !same(known, one) => diff.changed.push(Arc::clone(name(one))),
                Some(_) => {}
            }
        }
        let gone = before.iter().filter(|one| find(after, name(one)).is_none());
        diff.removed.extend(gone.map(|one| Arc::clone(name(one))));
        diff
    }

    fn words(&self, what: &str, out: &mut Vec<String>) {
        let lists = [
            ("added", &self.added),
            ("removed", &self.removed),
            ("changed", &self.changed),
        ];
        for (verb, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            out.push(format!("{what} {verb}: {}", names.join(", ")));
        }
    }
}

/// The differences between two configurations.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) listeners: Diff,
    pub(super) backends: Diff,
    pub(super) log: bool,
    pub(super) server: bool,
}

impl Changes {
    /// Compares two configurations.
    pub(super) fn between(before: &Config, after: &Config) -> Self {
        let name = |id: BackendId, config: &Config| {
            let backend = config.backends.get(id.0);
            backend.map(|backend| Arc::clone(&backend.name))
        };
        // A backend whose index changed is the same.
        let leads_like = |one: &RouteAction, other: &RouteAction| match (one, other) {
            (RouteAction::Backend(one), RouteAction::Backend(other)) => {
                name(*one, before) == name(*other, after)
            }
            (RouteAction::Backend(_) | RouteAction::Redirect(_) | RouteAction::Respond(_), _) => {
                one == other
            }
        };
        let same_listener = |one: &Listener, other: &Listener| {
            let mut one = one.clone();
            let routes = one.routes.iter_mut().zip(&other.routes);
            for (mine, theirs) in routes {
                if leads_like(&mine.action, &theirs.action) {
                    mine.action = theirs.action.clone();
                }
            }
            one == *other
        };
        Self {
            listeners: Diff::between(
                &before.listeners,
                &after.listeners,
                |listener| &listener.name,
                same_listener,
            ),
            backends: Diff::between(
                &before.backends,
                &after.backends,
                |backend| &backend.name,
                |one, other| one == other,
            ),
            log: before.log != after.log,
            server: before.process != after.process,
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        self.listeners.words("listeners", &mut words);
        self.backends.words("backends", &mut words);
        if self.log {
            words.push("log changed".to_owned());
        }
        if self.server {
            words.push("server changed".to_owned());
        }
        if words.is_empty() {
            words.push("nothing changed".to_owned());
        }
        f.write_str(&words.join("; "))
    }
}

/// Resets in `after` the keys that only a restart can change, and returns their names.
pub(super) fn keep_what_takes_a_restart(before: &Config, after: &mut Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let (old, new) = (&before.process, &mut after.process);
    macro_rules! keep {
        ($($field:ident),*) => {$(
            if old.$field != new.$field {
                keys.push(concat!("server.", stringify!($field)));
                new.$field.clone_from(&old.$field);
            }
        )*};
    }
    keep!(
        reception_threads,
        relay_threads,
        user,
        group,
        sandbox,
        pid_file,
        admin_socket,
        admin_http
    );
    if wants_kernel_tls(after) && !wants_kernel_tls(before) {
        keys.push("tls.offload");
    }
    keys
}

/// Returns whether any listener or backend needs the probe of the kernel's TLS, which is done once.
pub(super) fn wants_kernel_tls(config: &Config) -> bool {
    let of_clients = config.listeners.iter().map(|listener| {
        let tls = listener.tls.as_ref();
        tls.map(|tls| tls.offload)
    });
    let of_servers = config.backends.iter().map(|backend| {
        let tls = backend.tls.as_ref();
        tls.map(|tls| tls.offload)
    });
    let mut wishes = of_clients.chain(of_servers).flatten();
    wishes.any(|wish| wish != Offload::Never)
}
