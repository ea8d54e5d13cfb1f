//! Where the system keeps the certificates that it trusts: `SSL_CERT_FILE`, as OpenSSL's tools know it, or the
//! file that the distribution maintains. `SSL_CERT_DIR` is not read: such a directory holds each certificate
//! several times under hashed names, and every distribution that has one has the file too.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf, absolute};

/// The environment variable that names another file.
pub const VARIABLE: &str = "SSL_CERT_FILE";

/// The files of distributions.
pub const FILES: [&str; 7] = [
    // Debian, Ubuntu, Alpine, Arch, Gentoo, NixOS.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL, Amazon Linux.
    "/etc/pki/tls/certs/ca-bundle.crt",
    // The same, from which the one above is a link.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // openSUSE, SLES.
    "/etc/ssl/ca-bundle.pem",
    // Alpine's and OpenSSL's own default.
    "/etc/ssl/cert.pem",
    // OpenELEC, LibreELEC.
    "/etc/pki/tls/cacert.pem",
    // NixOS without the name of Debian.
    "/etc/ssl/certs/ca-bundle.crt",
];

/// Returns the file, whether it can be read or not.
#[must_use]
pub fn path() -> PathBuf {
    choose(env::var_os(VARIABLE).as_deref(), Path::is_file)
}

/// Returns whether a file is the store, or a place of distributions for it. Its certificates are not the
/// operator's choice.
#[must_use]
pub fn is_at(file: &Path) -> bool {
    FILES.iter().any(|known| file == Path::new(known)) || file == path()
}

fn choose(variable: Option<&OsStr>, exists: impl Fn(&Path) -> bool) -> PathBuf {
    if let Some(named) = variable.filter(|named| !named.is_empty()) {
        // The directory of the process changes when it becomes a service.
        return absolute(named).unwrap_or_else(|_| named.into());
    }
    let found = FILES.iter().map(Path::new).find(|path| exists(path));
    found.unwrap_or(Path::new(FILES[0])).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_and_then_the_first_that_is_there() {
        let rows: [(Option<&str>, &[&str], &str); 6] = [
            (None, &[FILES[0], FILES[1]], FILES[0]),
            (None, &[FILES[3], FILES[1]], FILES[1]),
            (None, &[FILES[6]], FILES[6]),
            (None, &[], FILES[0]),
            (Some(""), &[FILES[1]], FILES[1]),
            (Some("/x/ca.pem"), &[FILES[0]], "/x/ca.pem"),
        ];
        for (variable, there, expected) in rows {
            let exists = |path: &Path| there.iter().any(|it| Path::new(it) == path);
            let chosen = choose(variable.map(OsStr::new), exists);
            assert_eq!(chosen, Path::new(expected), "{variable:?} {there:?}");
        }
        let relative = choose(Some(OsStr::new("ca.pem")), |_| true);
        assert_eq!(relative, env::current_dir().unwrap().join("ca.pem"));
    }
}
