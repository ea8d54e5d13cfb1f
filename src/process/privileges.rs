//! Privileges after binding: the process changes to another user, drops its capabilities, and can gain none
//! by execve(2).
//!
//! All of it happens before a second thread starts, so that it holds for all. A process that stays root
//! (`user` is not set) keeps its capabilities: that was the operator's choice.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::unistd::{
    Gid, Group, Uid, User, geteuid, getresgid, getresuid, initgroups, seteuid, setgroups,
    setresgid, setresuid,
};

use crate::config::{Config, Process};
use crate::sys::capabilities;
use crate::sys::unix_path::UnixPath;

/// Reason why the process cannot change to the configured account.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivilegeError {
    #[error("server.user: this system has no user {0:?}")]
    NoUser(String),
    #[error("server.group: this system has no group {0:?}")]
    NoGroup(String),
    #[error("server.user: the user {0} has no group of its own; set server.group")]
    NoGroupOf(Uid),
    #[error(
        "server.{key}: this process runs as {present} and may not become {wanted:?}: start it as \
         root, or leave {key} out"
    )]
    NotRoot {
        key: &'static str,
        wanted: String,
        present: String,
    },
    #[error("cannot give up privileges: {0}: {1}")]
    System(&'static str, #[source] io::Error),
    #[error("privileges were given up and are still there: {0}")]
    StillThere(&'static str),
}

/// The accounts of the configuration, looked up.
#[derive(Debug)]
pub(super) struct Account {
    /// By id, and by name if the account has one.
    user: Option<(Uid, Option<CString>)>,
    group: Option<Gid>,
}

impl Account {
    /// Looks up `server.user` and `server.group`; a number is an account without a name.
    ///
    /// # Errors
    /// There is no such account, or the look-up fails.
    pub(super) fn of(process: &Process) -> Result<Self, PrivilegeError> {
        let group = process.group.as_deref().map(group).transpose()?;
        let Some(name) = process.user.as_deref() else {
            return Ok(Self { user: None, group });
        };
        let user = user(name)?;
        let group = group
            .or(user.group)
            .ok_or(PrivilegeError::NoGroupOf(user.id))?;
        Ok(Self {
            user: Some((user.id, user.name)),
            group: Some(group),
        })
    }

    /// Makes the account the owner of a socket that was made before the change of user.
    ///
    /// # Errors
    /// The process lacks the permission.
    pub(super) fn give(&self, place: &UnixPath) -> Result<(), PrivilegeError> {
        let user = self.user.as_ref().map(|(uid, _)| *uid);
        let given = place.give(user, self.group);
        given.map_err(|error| PrivilegeError::System("chown", error))
    }

    /// Changes to this account and drops the remaining privileges. To be called after everything that needs a
    /// privilege, and before a second thread starts.
    ///
    /// # Errors
    /// The process lacks the permission, or the change did not take effect.
    pub(super) fn become_it(&self, process: &Process) -> Result<(), PrivilegeError> {
        let changes_user = self.user.as_ref().is_some_and(|(uid, _)| !is_all(*uid));
        // A user that the process has already does not imply a change of group.
        let changes_group =
            process.group.is_some() && self.group.is_some_and(|gid| !is_all_of_group(gid));
        if changes_user {
            capabilities::give_up_bounds();
        }
        if changes_user || changes_group {
            self.change(process)?;
        }
        if changes_user {
            // Private keys are in memory: no core dump, and no tracing by other processes of that user.
            set_dumpable(false).map_err(system("PR_SET_DUMPABLE"))?;
        }
        if !geteuid().is_root() {
            capabilities::give_up()
                .map_err(|error| PrivilegeError::System("capabilities", error))?;
            verify_none()?;
        }
        set_no_new_privs().map_err(system("PR_SET_NO_NEW_PRIVS"))
    }

    /// Changes groups first, because only root may change them.
    fn change(&self, process: &Process) -> Result<(), PrivilegeError> {
        let refused = |call, key, wanted: &Option<String>| {
            let wanted = wanted.clone().unwrap_or_default();
            move |errno: Errno| {
                if errno == Errno::EPERM {
                    let present = present_user();
                    return PrivilegeError::NotRoot {
                        key,
                        wanted,
                        present,
                    };
                }
                PrivilegeError::System(call, errno.into())
            }
        };
        let (key, wanted) = match &process.group {
            Some(_) => ("group", &process.group),
            None => ("user", &process.user),
        };
        if let Some(gid) = self.group {
            match &self.user {
                Some((_, Some(name))) => initgroups(name, gid),
                Some((_, None)) | None => setgroups(&[gid]),
            }
            .map_err(refused("setgroups", key, wanted))?;
            setresgid(gid, gid, gid).map_err(refused("setresgid", key, wanted))?;
            if !is_all_of_group(gid) {
                return Err(PrivilegeError::StillThere("the group"));
            }
        }
        if let Some((uid, _)) = self.user {
            setresuid(uid, uid, uid).map_err(refused("setresuid", "user", &process.user))?;
            if !is_all(uid) {
                return Err(PrivilegeError::StillThere("the user"));
            }
        }
        Ok(())
    }
}

/// Warns of files that were read as root and that the present user cannot read: reloads would fail, and
/// renewed certificates would not be noticed.
pub(super) fn warn_of_unreadable(config: &Config) {
    let files: BTreeSet<&Path> = config.files().collect();
    for file in files {
        if let Err(error) = File::open(file) {
            tracing::warn!(
                file = %file.display(),
                %error,
                user = present_user(),
                "this file cannot be read again by server.user: every reload will be refused, and a \
                 certificate that is replaced is not taken up; let that user or a group of it read \
                 the file and its folders"
            );
        }
    }
}

struct FoundUser {
    id: Uid,
    group: Option<Gid>,
    name: Option<CString>,
}

fn user(name: &str) -> Result<FoundUser, PrivilegeError> {
    let found = User::from_name(name).map_err(system("getpwnam"))?;
    if let Some(user) = found {
        return Ok(FoundUser {
            id: user.uid,
            group: Some(user.gid),
            name: CString::new(user.name).ok(),
        });
    }
    let number = name.parse().map(Uid::from_raw);
    let id = number.map_err(|_| PrivilegeError::NoUser(name.to_owned()))?;
    let found = User::from_uid(id).map_err(system("getpwuid"))?;
    Ok(FoundUser {
        id,
        group: found.as_ref().map(|user| user.gid),
        name: found.and_then(|user| CString::new(user.name).ok()),
    })
}

fn group(name: &str) -> Result<Gid, PrivilegeError> {
    let found = Group::from_name(name).map_err(system("getgrnam"))?;
    let number = name.parse().map(Gid::from_raw).ok();
    let gid = found.map(|group| group.gid).or(number);
    gid.ok_or_else(|| PrivilegeError::NoGroup(name.to_owned()))
}

/// Returns whether the real, effective and saved user are all `uid`.
fn is_all(uid: Uid) -> bool {
    getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3])
}

fn is_all_of_group(gid: Gid) -> bool {
    getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3])
}

/// Verifies that there is no way back.
fn verify_none() -> Result<(), PrivilegeError> {
    let any = capabilities::has_any();
    if any.map_err(|error| PrivilegeError::System("capget", error))? {
        return Err(PrivilegeError::StillThere("capabilities"));
    }
    if seteuid(Uid::from_raw(0)).is_ok() {
        return Err(PrivilegeError::StillThere("the way back to root"));
    }
    Ok(())
}

fn present_user() -> String {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| format!("{:?}", user.name))
}

fn system(call: &'static str) -> impl Fn(Errno) -> PrivilegeError {
    move |errno| PrivilegeError::System(call, errno.into())
}
