//! The parts from outside that gates need: where each comes from and how it is known to be there.
//!
//! A test whose part is absent says `skipped: PART is not installed` and passes; a part named in
//! `LONGSPLICE_TEST_REQUIRE` is there, so a test that skips it all the same has to fail.

use std::env;
use std::path::{Path, PathBuf};

use crate::lab;
use crate::process::succeeds;

/// Something a gate needs that is not in the repository.
pub(crate) struct Part {
    /// Name in messages and in `LONGSPLICE_TEST_REQUIRE`.
    pub(crate) name: &'static str,
    /// Debian packages that bring it; empty = it comes another way.
    pub(crate) packages: &'static [&'static str],
    /// Program and arguments that exit with 0 when it is there.
    proof: &'static [&'static str],
}

/// Parts that a package manager brings.
pub(crate) const SYSTEM: &[Part] = &[
    part("ab", &["apache2-utils"], &["ab", "-V"]),
    part("chromium", &["chromium"], &["chromium", "--version"]),
    part("curl", &["curl"], &["curl", "--version"]),
    // Neither has a version to ask for without starting Erlang as a user of its own.
    part(
        "ejabberd",
        &["ejabberd"],
        &["sh", "-c", "ls /usr/lib/*/ejabberd-*/ebin/ejabberd.beam"],
    ),
    part(
        "rabbitmq-server",
        &["rabbitmq-server"],
        &[
            "sh",
            "-c",
            "command -v escript && command -v epmd && ls /usr/lib/rabbitmq/lib/*/plugins/cowboy-*",
        ],
    ),
    part("goaccess", &["goaccess"], &["goaccess", "--version"]),
    part("haproxy", &["haproxy"], &["haproxy", "-v"]),
    part("iproute2", &["iproute2"], &["ip", "-V"]),
    part("logrotate", &["logrotate"], &["logrotate", "--version"]),
    part("nginx", &["nginx"], &["nginx", "-v"]),
    part("nodejs", &["nodejs"], &["node", "--version"]),
    part("openssl", &["openssl"], &["openssl", "version"]),
    part("stunnel4", &["stunnel4"], &["stunnel4", "-version"]),
    part(
        "systemd",
        &["systemd"],
        &["systemd-socket-activate", "--version"],
    ),
    part("rsyslog", &["rsyslog"], &["rsyslogd", "-v"]),
    part("tmux", &["tmux"], &["tmux", "-V"]),
    part(
        "uwsgi",
        &["uwsgi-core", "uwsgi-plugin-python3"],
        &["uwsgi-core", "--plugin", "python3", "--version"],
    ),
    // It exits with 1 whatever it is asked that is not work.
    part("wrk", &["wrk"], &["sh", "-c", "command -v wrk"]),
    part("npm", &["npm"], &["npm", "--version"]),
    part(
        "qemu",
        &["qemu-system-x86"],
        &["qemu-system-x86_64", "--version"],
    ),
    part(
        "python",
        &["python3", "python3-venv"],
        &["python3", "-c", "import venv, ensurepip"],
    ),
];

/// Parts that a package manager brings and that make a gate faster; nothing is skipped without them.
pub(crate) const USEFUL: &[Part] = &[part(
    "user-mode-linux",
    &["user-mode-linux"],
    &["linux.uml", "--version"],
)];

/// Versions of the tools that setup builds or fetches.
pub(crate) const CARGO_DENY_VERSION: &str = "0.20.2";
/// The list of packages of a version of aiohttp that broke a rule of HTTP.
pub(crate) const OLD_AIOHTTP: &str = "old-aiohttp.txt";

const fn part(
    name: &'static str,
    packages: &'static [&'static str],
    proof: &'static [&'static str],
) -> Part {
    Part {
        name,
        packages,
        proof,
    }
}

impl Part {
    /// Whether it is there, in PATH or among the daemons, which PATH of a user often leaves out.
    pub(crate) fn present(&self) -> bool {
        let [program, args @ ..] = self.proof else {
            return false;
        };
        succeeds(program, args) || succeeds(&format!("/usr/sbin/{program}"), args)
    }
}

/// The folder that holds what setup fetched, outside of the repository.
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// `$XDG_CACHE_HOME/longsplice`, else `~/.cache/longsplice`.
    pub(crate) fn of_user() -> Self {
        let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let base = folder("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| folder("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .unwrap_or_else(env::temp_dir);
        Self(base.join("longsplice"))
    }

    /// Where npm installs.
    pub(crate) fn node(&self) -> PathBuf {
        self.0.join("node")
    }

    /// The Python environment.
    pub(crate) fn venv(&self) -> PathBuf {
        self.0.join("python")
    }

    /// The folder of [`OLD_AIOHTTP`]. It goes with the environment, whose interpreter it needs.
    pub(crate) fn old_aiohttp(&self) -> PathBuf {
        self.venv().join("old-aiohttp")
    }

    /// Its interpreter.
    pub(crate) fn python(&self) -> PathBuf {
        self.venv().join("bin/python")
    }

    /// Where the guest kernels are, with what apt knows of them.
    pub(crate) fn lab(&self) -> PathBuf {
        self.0.join("lab")
    }

    /// Where cargo installs, as `--root`.
    pub(crate) fn cargo(&self) -> PathBuf {
        self.0.join("cargo")
    }
}

/// Folder of the pinned versions of the real clients and servers.
pub(crate) fn manifests(top: &Path) -> PathBuf {
    top.join("tests/real")
}

/// Whether the installed copy of a manifest is the one of the repository.
pub(crate) fn up_to_date(manifest: &Path, copy: &Path) -> bool {
    let read = |path: &Path| std::fs::read(path).ok();
    read(manifest).is_some_and(|text| read(copy) == Some(text))
}

/// What is there and what is not, as gates and tests are told.
pub(crate) struct Inventory {
    /// Parts that must not be skipped.
    pub(crate) present: Vec<&'static str>,
    /// Parts whose tests will be skipped.
    pub(crate) absent: Vec<&'static str>,
    /// Command line of cargo-deny, if it is there.
    pub(crate) cargo_deny: Option<PathBuf>,
    envs: Vec<(String, String)>,
}

impl Inventory {
    /// Looks.
    pub(crate) fn take(top: &Path) -> Self {
        let cache = Cache::of_user();
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        let mut envs = Vec::new();
        let mut sort = |name, is_there: bool| {
            let list = if is_there { &mut present } else { &mut absent };
            list.push(name);
        };
        for part in SYSTEM {
            sort(part.name, part.present());
        }
        for (name, is_there) in lab::inventory() {
            sort(name, is_there);
        }
        let manifests = manifests(top);
        let lock = "package-lock.json";
        let modules = cache.node().join("node_modules");
        let node_modules =
            modules.is_dir() && up_to_date(&manifests.join(lock), &cache.node().join(lock));
        if node_modules {
            envs.push(env_of("LONGSPLICE_TEST_NODE_PATH", &modules));
        }
        sort("node", node_modules && succeeds("node", &["--version"]));
        let requirements = "requirements.txt";
        let python = cache.python();
        let websockets = python.exists()
            && up_to_date(
                &manifests.join(requirements),
                &cache.venv().join(requirements),
            );
        if websockets {
            envs.push(env_of("LONGSPLICE_TEST_PYTHON", &python));
        }
        sort("websockets", websockets);
        let folder = cache.old_aiohttp();
        let old_aiohttp =
            websockets && up_to_date(&manifests.join(OLD_AIOHTTP), &folder.join(OLD_AIOHTTP));
        if old_aiohttp {
            envs.push(env_of("LONGSPLICE_TEST_OLD_AIOHTTP", &folder));
        }
        sort("old-aiohttp", old_aiohttp);
        let cargo_deny = cargo_deny(&cache);
        sort("cargo-deny", cargo_deny.is_some());
        envs.push(("LONGSPLICE_TEST_REQUIRE".to_owned(), present.join(",")));
        Self {
            present,
            absent,
            cargo_deny,
            envs,
        }
    }

    /// The environment that tells tests where the parts are and which must not be skipped.
    pub(crate) fn envs(&self) -> &[(String, String)] {
        &self.envs
    }
}

fn env_of(name: &str, path: &Path) -> (String, String) {
    (name.to_owned(), path.to_string_lossy().into_owned())
}

/// Returns the cargo-deny to run: the user's own, else the one that setup built.
pub(crate) fn cargo_deny(cache: &Cache) -> Option<PathBuf> {
    let own = cache.cargo().join("bin/cargo-deny");
    [PathBuf::from("cargo-deny"), own]
        .into_iter()
        .find(|program| succeeds(&program.to_string_lossy(), &["--version"]))
}
