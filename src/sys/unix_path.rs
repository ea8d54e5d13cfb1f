//! Listening unix sockets at a path (unix(7)): created with their mode, given to an account, and removed
//! again. Any process that may write in the directory may replace the path at any moment, so no link is
//! followed, and only the socket made here is touched.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::signal::kill;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Pid, Uid, fchownat, geteuid};
use socket2::{Domain, SockAddr, Socket, Type};

/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o777;

/// The path of a unix socket that this process made: removed when this is dropped, unless another file is
/// there now.
#[derive(Debug)]
pub struct UnixPath {
    path: PathBuf,
    made: Identity,
}

/// Device and inode. The kernel keeps the inode as long as the socket is open, so no other file gets its
/// number.
type Identity = (u64, u64);

/// Listens at `path` with a socket to which `mode` and the directory give access. A socket left by a dead
/// process is replaced.
///
/// # Errors
/// Another process listens there (EADDRINUSE), another file is in the way, or the system's error.
pub fn listen(path: &Path, mode: u32, backlog: i32) -> io::Result<(Socket, UnixPath)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    // The file gets the descriptor's mode without the umask: never more than requested.
    fchmod(&socket, Mode::from_bits_truncate(mode))?;
    socket.bind(&SockAddr::unix(path)?)?;
    let (file, made) = made_at(path)?;
    let place = UnixPath {
        path: path.to_owned(),
        made,
    };
    if file.metadata()?.mode() & PERMISSIONS != mode {
        // The descriptor refers to that very file; chmod(2) refuses descriptors opened as a path only.
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        fs::set_permissions(itself, Permissions::from_mode(mode))?;
    }
    socket.listen(backlog)?;
    Ok((socket, place))
}

/// Returns a descriptor of the socket that was just bound to `path`.
fn made_at(path: &Path) -> io::Result<(File, Identity)> {
    let (file, found) = hold(path)?;
    if file.metadata()?.uid() == geteuid().as_raw() {
        Ok((file, found))
    } else {
        Err(somebody_elses())
    }
}

/// Opens the file at `path` as a path only: its contents cannot be read.
fn hold(path: &Path) -> io::Result<(File, Identity)> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if found.file_type().is_socket() {
        Ok((file, (found.dev(), found.ino())))
    } else {
        Err(somebody_elses())
    }
}

fn somebody_elses() -> io::Error {
    io::Error::other("another file has taken its place meanwhile")
}

impl UnixPath {
    /// Returns whether the socket is still at its path.
    #[must_use]
    pub fn stands(&self) -> bool {
        let found = fs::symlink_metadata(&self.path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == self.made)
    }

    /// Makes an account its owner, unless it is already.
    ///
    /// # Errors
    /// The process may not, or the socket is gone.
    pub fn give(&self, user: Option<Uid>, group: Option<Gid>) -> io::Result<()> {
        let (file, found) = hold(&self.path)?;
        if found != self.made {
            return Err(somebody_elses());
        }
        let owner = file.metadata()?;
        let has_user = user.is_none_or(|user| user.as_raw() == owner.uid());
        let has_group = group.is_none_or(|group| group.as_raw() == owner.gid());
        if !(has_user && has_group) {
            fchownat(&file, "", user, group, AtFlags::AT_EMPTY_PATH)?;
        }
        Ok(())
    }

    /// Returns the group whose members may connect by its mode.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn group(&self) -> io::Result<Gid> {
        Ok(Gid::from_raw(fs::symlink_metadata(&self.path)?.gid()))
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        if self.stands() {
            // Another process may have removed it already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a stale socket at `path`; never a socket in use, never a file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::other(
                "a file that is no socket is in the way; it is left alone",
            ));
        }
        // Nothing is there, or bind will report what is.
        Err(_) => return Ok(()),
    }
    // Without waiting: connecting to a socket with a full queue would block.
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) if is_orphan(&socket) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(io::Error::new(
            error.kind(),
            "a socket is in the way that this user may not connect to, so whether anybody \
                 listens there cannot be told; remove it, or give it to this user",
        )),
        Ok(()) | Err(_) => Err(Errno::EADDRINUSE.into()),
    }
}

/// Returns whether the listening process is gone: the kernel keeps a listener of io_uring for a moment after
/// its process was killed, and still accepts connections to it.
fn is_orphan(stream: &Socket) -> bool {
    let listener = getsockopt(stream, PeerCredentials).map(|peer| peer.pid());
    // 0 is a process outside of our pid namespace.
    listener.is_ok_and(|pid| pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    const BACKLOG: i32 = 8;

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & PERMISSIONS
    }

    #[test]
    fn the_mode_is_the_one_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o660, 0o666, 0o600, 0o777] {
            let path = folder.path().join(format!("{mode:o}"));
            let (_socket, place) = listen(&path, mode, BACKLOG).unwrap();
            assert_eq!(mode_of(&path), mode);
            UnixStream::connect(&path).unwrap();
            drop(place);
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_is_no_dead_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.sock");
        let refused = |what: &str| {
            let said = listen(&path, 0o660, BACKLOG).unwrap_err().to_string();
            assert!(said.contains(what), "{said}");
            assert!(fs::symlink_metadata(&path).is_ok(), "it is gone");
            said
        };
        fs::write(&path, "precious").unwrap();
        refused("no socket");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused("no socket");
        fs::remove_dir(&path).unwrap();
        symlink(folder.path().join("elsewhere"), &path).unwrap();
        refused("no socket");
        fs::remove_file(&path).unwrap();
        let living = UnixListener::bind(&path).unwrap();
        refused("in use");
        drop(living);
        drop(listen(&path, 0o660, BACKLOG).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn one_whose_queue_is_full_keeps_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.sock");
        let (_socket, _place) = listen(&path, 0o660, 0).unwrap();
        let _queued = UnixStream::connect(&path).unwrap();
        listen(&path, 0o660, BACKLOG).unwrap_err();
        assert!(path.exists());
    }

    #[test]
    fn what_somebody_put_there_instead_is_neither_given_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (
            folder.path().join("edge.sock"),
            folder.path().join("victim"),
        );
        fs::write(&victim, "precious").unwrap();
        let before = fs::metadata(&victim).unwrap();
        let (_socket, place) = listen(&path, 0o660, BACKLOG).unwrap();
        assert!(place.stands());
        fs::remove_file(&path).unwrap();
        assert!(!place.stands());
        let own = (Some(Uid::effective()), Some(Gid::effective()));
        place.give(own.0, own.1).unwrap_err();
        symlink(&victim, &path).unwrap();
        let other = Uid::from_raw(65534);
        place.give(Some(other), None).unwrap_err();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        place.give(Some(other), None).unwrap_err();
        drop(place);
        assert!(path.exists());
        let after = fs::metadata(&victim).unwrap();
        assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
    }

    #[test]
    fn an_owner_is_changed_only_if_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.sock");
        let (_socket, place) = listen(&path, 0o660, BACKLOG).unwrap();
        place.give(None, None).unwrap();
        place
            .give(Some(Uid::effective()), Some(Gid::effective()))
            .unwrap();
        let other = place.give(Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534)));
        let found = fs::symlink_metadata(&path).unwrap();
        if geteuid().is_root() {
            other.unwrap();
            assert_eq!((found.uid(), found.gid()), (65534, 65534));
            assert_eq!(mode_of(&path), 0o660);
            assert_eq!(place.group().unwrap(), Gid::from_raw(65534));
        } else {
            other.unwrap_err();
        }
    }
}
