//! Paths that a configuration needs while the process runs.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::unistd::geteuid;

use crate::config::{Bind, Config, LogTarget};

/// Limit on links in one path, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Paths that name resolution, time zones and libc itself read. Missing ones are skipped.
const ALWAYS_READ: &[&str] = &[
    "/dev/null",
    "/dev/urandom",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/services",
    "/etc/ssl/certs",
    "/lib",
    "/lib64",
    "/proc/self",
    "/proc/stat",
    "/proc/meminfo",
    "/proc/sys",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
];

/// Files that are read again for every name resolution. They are updated by replacement, and rules for the
/// old file would not cover the new one.
const REPLACED: &[&str] = &["/etc/hosts", "/etc/resolv.conf"];

/// Paths by kind of access; a directory stands for everything below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) read: BTreeSet<PathBuf>,
    pub(super) written: BTreeSet<PathBuf>,
}

impl Places {
    /// Returns the paths that a configuration needs.
    pub(super) fn of(config: &Config) -> Self {
        let mut places = Self::default();
        places.read.extend(ALWAYS_READ.iter().map(PathBuf::from));
        let is_root = geteuid().is_root();
        for file in REPLACED {
            places.read.extend(ways_to_replaced(file, is_root));
        }
        for file in config.files() {
            let is_folder = file.is_dir();
            places.read.extend(if is_folder {
                ways_into(file)
            } else {
                ways_to(file)
            });
        }
        for file in written_files(config) {
            places.written.extend(ways_to_written(file));
        }
        places
    }

    /// Returns a path that `other` needs and these do not cover.
    pub(super) fn lacking<'o>(&self, other: &'o Self) -> Option<&'o Path> {
        let covers = |places: &BTreeSet<PathBuf>, wanted: &Path| {
            places.iter().any(|place| wanted.starts_with(place))
        };
        let unread = other
            .read
            .iter()
            .find(|wanted| !covers(&self.read, wanted) && !covers(&self.written, wanted));
        let unwritten = other
            .written
            .iter()
            .find(|wanted| !covers(&self.written, wanted));
        unread.or(unwritten).map(PathBuf::as_path)
    }
}

fn written_files(config: &Config) -> Vec<&Path> {
    let mut files: Vec<&Path> = Vec::new();
    files.extend(config.process.pid_file.as_deref());
    files.extend(config.process.admin_socket.as_deref());
    if let LogTarget::File(path) = &config.log.target {
        files.push(path);
    }
    for bind in config.listeners.iter().flat_map(|listener| &listener.bind) {
        if let Bind::Unix(path) = bind {
            files.push(path);
        }
    }
    files
}

/// Returns the directories through which a file is found, now and after it or a link on the way to it is
/// replaced: the directory that contains it, and for each link the directory of its target. The root
/// directory would allow everything, so a file in it stands for itself.
fn ways_to(file: &Path) -> BTreeSet<PathBuf> {
    let mut ways = BTreeSet::new();
    let mut left: VecDeque<_> = file.components().map(owned).collect();
    let (mut here, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop_front() {
        if part == Path::new("..") {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let Ok(target) = fs::read_link(&next) else {
            here = next;
            continue;
        };
        links += 1;
        if links > LINKS_MAX {
            break;
        }
        ways.extend(folder_of(&next));
        for part in target.components().rev() {
            left.push_front(owned(part));
        }
        // The remaining path begins in the same directory, or at the root, which `join` handles.
        ways.extend(folder_of(&lexical(&here.join(&target))));
    }
    ways.extend(folder_of(&here));
    ways
}

/// Returns the same for all files of a folder: those that will come into it, and the targets of the links that are
/// in it.
fn ways_into(folder: &Path) -> BTreeSet<PathBuf> {
    let mut ways = ways_to(&folder.join("any"));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        ways.extend(ways_to(&entry.path()));
    }
    ways
}

/// Returns the same for a file that is written. A device, or a descriptor of this process such as
/// `/dev/stdout`, is allowed as the file that it is now: its directory would be all devices, or all
/// processes.
fn ways_to_written(file: &Path) -> BTreeSet<PathBuf> {
    let ways = ways_to(file);
    let is_special = |way: &PathBuf| {
        (way.starts_with("/dev") && !way.starts_with("/dev/shm")) || way.starts_with("/proc")
    };
    if ways.iter().any(is_special) {
        return fs::canonicalize(file).into_iter().collect();
    }
    ways
}

/// Returns the same for a file below /etc. Root could read everything there, including password hashes, so
/// root gets the file as it is now instead of the directory; if it is a link, as for systemd-resolved and
/// NetworkManager, a new target is still found.
fn ways_to_replaced(file: &str, is_root: bool) -> BTreeSet<PathBuf> {
    let file = Path::new(file);
    let ways = ways_to(file).into_iter();
    let narrowed = ways.map(|way| {
        let is_its_folder = Some(way.as_path()) == file.parent();
        if is_root && is_its_folder {
            file.to_owned()
        } else {
            way
        }
    });
    narrowed.collect()
}

fn owned(part: Component<'_>) -> PathBuf {
    PathBuf::from(part.as_os_str())
}

/// Resolves `..` in a path by its text; only the targets of links need that.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let is_root = folder.parent().is_none();
    Some(if is_root { path } else { folder }.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_way_to_a_file_goes_through_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        for name in ["live", "archive", "versions/1"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        fs::write(base.join("archive/a1.pem"), "").unwrap();
        fs::write(base.join("versions/1/a.pem"), "").unwrap();
        symlink("../archive/a1.pem", base.join("live/a.pem")).unwrap();
        symlink(base.join("versions/1"), base.join("current")).unwrap();
        let check = |file: &str, expected: &[&str]| {
            let expected = expected.iter().map(|name| base.join(name));
            assert_eq!(ways_to(&base.join(file)), expected.collect(), "{file}");
        };
        check("archive/a1.pem", &["archive"]);
        check("not/there", &["not"]);
        check("live/a.pem", &["archive", "live"]);
        check("current/a.pem", &["", "versions", "versions/1"]);
        assert_eq!(ways_to(Path::new("/x")), [PathBuf::from("/x")].into());
        let into = ["archive", "live"].map(|name| base.join(name));
        assert_eq!(ways_into(&base.join("live/")), into.into());
    }

    #[test]
    fn what_is_written_opens_neither_devices_nor_processes() {
        for file in [
            "/dev/stdout",
            "/dev/fd/1",
            "/proc/self/fd/1",
            "/dev/null",
            "/dev/log",
        ] {
            let ways = ways_to_written(Path::new(file));
            let opened = fs::canonicalize(file).ok();
            assert_eq!(ways, opened.into_iter().collect(), "{file}");
            assert!(ways.iter().all(|way| !way.is_dir()), "{file}: {ways:?}");
        }
        let shared = ways_to_written(Path::new("/dev/shm/x"));
        assert_eq!(shared, [PathBuf::from("/dev/shm")].into());
    }

    #[test]
    fn what_is_replaced_is_found_again_but_root_gets_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        for name in ["etc", "run"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        fs::write(base.join("etc/hosts"), "").unwrap();
        symlink("../run/resolv.conf", base.join("etc/resolv.conf")).unwrap();
        let check = |file: &str, is_root, expected: &[&str]| {
            let expected = expected.iter().map(|name| base.join(name));
            let file = base.join(file);
            let ways = ways_to_replaced(file.to_str().unwrap(), is_root);
            assert_eq!(ways, expected.collect(), "{file:?} {is_root}");
        };
        check("etc/hosts", false, &["etc"]);
        check("etc/hosts", true, &["etc/hosts"]);
        check("etc/resolv.conf", false, &["etc", "run"]);
        check("etc/resolv.conf", true, &["etc/resolv.conf", "run"]);
    }

    #[test]
    fn what_is_not_covered_is_named() {
        let places = |read: &[&str], written: &[&str]| Places {
            read: read.iter().map(PathBuf::from).collect(),
            written: written.iter().map(PathBuf::from).collect(),
        };
        let present = places(&["/etc/x"], &["/run/y"]);
        let lacking = |read: &[&str], written: &[&str]| {
            let other = places(read, written);
            present.lacking(&other).map(Path::to_owned)
        };
        assert_eq!(lacking(&["/etc/x/deeper", "/run/y"], &["/run/y/z"]), None);
        assert_eq!(lacking(&["/etc/xy"], &[]), Some("/etc/xy".into()));
        assert_eq!(lacking(&[], &["/etc/x"]), Some("/etc/x".into()));
    }
}
