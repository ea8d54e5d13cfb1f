//! The process at the other end of a unix socket (unix(7)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Groups that one process may have at most (NGROUPS_MAX).
const GROUPS_MAX: usize = 65_536;

/// Returns the supplementary groups that the peer had when it connected.
///
/// # Errors
/// The error of getsockopt(2) of SO_PEERGROUPS.
pub fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<libc::gid_t>> {
    let mut groups: Vec<libc::gid_t> = vec![0; GROUPS_MAX];
    let mut len =
        libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
    // SAFETY: the pointer is to `len` bytes of `groups`, alive and writable for the call, and the
    // kernel writes numbers of that type and how many bytes they have.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    Errno::result(result)?;
    groups.truncate(len as usize / size_of::<libc::gid_t>());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_groups_of_a_peer_are_its_own() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut own: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .into_iter()
            .map(nix::unistd::Gid::as_raw)
            .collect();
        let mut found = groups(one.as_fd()).unwrap();
        own.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, own);
    }
}
