//! `server.sandbox`: restricts the serving process, enforced by the kernel for every thread. Files by
//! Landlock (landlock(7)), from before the first other thread starts; system calls by seccomp, once all
//! threads have started.
//!
//! Restrictions that the kernel does not support are left out and logged.

mod calls;
mod places;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{fs, io};

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::config::{Config, Sandbox as Wish};
use places::Places;

/// The version of Landlock whose kinds of access are handled; older kernels handle fewer.
const LANDLOCK: ABI = ABI::V5;

/// The restrictions in force.
#[derive(Debug)]
pub(super) struct Sandbox {
    wish: Wish,
    /// None = no rules for files are in force.
    places: Option<Places>,
}

impl Sandbox {
    /// Determines what `config` needs; nothing is restricted yet.
    pub(super) fn of(config: &Config) -> Self {
        let wish = config.process.sandbox;
        let places = (wish == Wish::On).then(|| Places::of(config));
        Self { wish, places }
    }

    /// Restricts this thread, and those it starts from now on, to the files that were determined.
    pub(super) fn confine_files(&mut self) {
        let Some(places) = &self.places else {
            return;
        };
        match confine_files(places) {
            Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => return,
            Ok(RulesetStatus::NotEnforced) => {
                tracing::info!("no Landlock here; files are not confined: see longsplice doctor");
            }
            Err(error) => tracing::warn!(%error, "files are not confined"),
        }
        self.places = None;
    }

    /// Restricts all threads to the system calls that are needed from now on.
    pub(super) fn confine_calls(&self) {
        let only_log = match self.wish {
            Wish::Off => return,
            Wish::On => false,
            Wish::Log => true,
        };
        if let Err(error) = calls::confine(only_log) {
            tracing::warn!(%error, "system calls are not confined");
        }
    }

    /// Returns a path that a new configuration needs and this process may not access any more: only a restart
    /// helps then.
    pub(super) fn lacks(&self, config: &Config) -> Option<PathBuf> {
        let places = self.places.as_ref()?;
        places.lacking(&Places::of(config)).map(Path::to_owned)
    }
}

fn confine_files(places: &Places) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let written = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::RemoveFile;
    let confined = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(&places.read, read))?
        .add_rules(path_beneath_rules(&places.written, written))?
        .add_rules(path_beneath_rules(
            ["/dev/null"],
            AccessFs::ReadFile | AccessFs::WriteFile,
        ))?
        .restrict_self()?;
    Ok(confined.ruleset)
}

/// `longsplice doctor --sandbox`: restricts this process like a serving one, and tries actions that must be
/// refused.
#[must_use]
pub fn trial() -> ExitCode {
    let places = Places {
        read: ["/proc/self".into()].into(),
        ..Places::default()
    };
    let mut out = io::stdout();
    let mut refused_all = true;
    let prepared = set_no_new_privs().map_err(|error| error.to_string());
    let files = prepared.and_then(|()| confine_files(&places).map_err(|error| error.to_string()));
    let calls = calls::confine(false).map_err(|error| error.to_string());
    let in_force = [
        ("files", files.map(|status| format!("{status:?}"))),
        ("system calls", calls.map(|()| "enforced".to_owned())),
    ];
    for (what, outcome) in in_force {
        refused_all &= outcome.is_ok();
        let said = outcome.unwrap_or_else(|error| error);
        let _ = writeln!(out, "{what}: {said}");
    }
    let attempts: [(&str, io::Result<()>); 5] = [
        ("open /etc/shadow", fs::File::open("/etc/shadow").map(drop)),
        ("create a file in /tmp", create_file()),
        (
            "start a program",
            Command::new("/bin/true").status().map(drop),
        ),
        ("become a program", Err(become_program())),
        ("open a packet socket", packet_socket()),
    ];
    for (what, outcome) in attempts {
        let kind = outcome.as_ref().err().map(io::Error::kind);
        let refused = kind == Some(io::ErrorKind::PermissionDenied);
        refused_all &= refused;
        let said = outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned());
        let mark = if refused { "refused" } else { "NOT REFUSED" };
        let _ = writeln!(out, "{what}: {mark}: {said}");
    }
    if refused_all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn create_file() -> io::Result<()> {
    let path = std::env::temp_dir().join(format!("longsplice-trial-{}", std::process::id()));
    fs::write(&path, "")?;
    fs::remove_file(&path)
}

/// Executes another program; returns only if that fails.
fn become_program() -> io::Error {
    std::os::unix::process::CommandExt::exec(&mut Command::new("/bin/true"))
}

fn packet_socket() -> io::Result<()> {
    let made = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::empty(),
        None,
    );
    Ok(made.map(drop)?)
}
