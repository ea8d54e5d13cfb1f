//! The types of `admin_socket` and of the keys that begin with `admin_http`.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::shared::bind_spelling;
use crate::config::address;
use crate::config::page::quoted_path;
use crate::config::read::{Among, Scope, Value};
use crate::config::shape::Shape;
use crate::config::types::{Custom, Many, PATH, Text, Unique};
use crate::config::{AdminToken, Bind, Process};

/// Limit on names of the dashboard: far more than it will ever have.
const HOSTS_MAX: usize = 64;
const TOKEN_WANTED: &str =
    "the path of a file with the token, 16 to 1024 printable characters without spaces";
/// Remedy for a missing token.
const TOKEN_ADVICE: &str = "the path of a file with a token; make one with: \
     (umask 077; openssl rand -hex 32 > FILE)";
/// Shortest token in bytes: 64 bits, if it is written in hexadecimal.
const TOKEN_LEN_MIN: usize = 16;
/// Longest token in bytes; it has to go into a header line.
const TOKEN_LEN_MAX: usize = 1024;
/// Longest file of a token: white space may stand around it.
const TOKEN_FILE_LEN_MAX: u64 = 4096;
/// The bit of a file mode that lets users other than its owner and group read it.
const READ_BY_OTHERS: u32 = 0o004;

/// The type of `admin_socket`.
pub(super) const ADMIN_SOCKET: Unique<Text<PathBuf>> = Unique {
    of: Text {
        wanted: "the path of a unix socket",
        pattern: PATH.pattern,
        parse: address::unix_path,
        show: |path| path.to_string_lossy().into_owned(),
    },
    among: Among::Binds,
    spelling: |path| bind_spelling(&Bind::Unix(path.clone())),
    taken: "is taken by",
};

/// The type of `admin_http`.
pub(super) const ADMIN_HTTP: Unique<Text<SocketAddr>> = Unique {
    of: Text {
        wanted: "IP:PORT or [IPv6]:PORT",
        pattern: "^.+:[0-9]{1,5}$",
        parse: |_, text| address::socket_address(text),
        show: ToString::to_string,
    },
    among: Among::Binds,
    spelling: |addr| bind_spelling(&Bind::Inet(*addr)),
    taken: "is taken by",
};

/// The type of `admin_http_hosts`.
pub(super) const HOSTS: Many<Text<String>> = Many {
    of: Text {
        wanted: "a name such as \"ops.example.com\", without a port",
        pattern: "^[A-Za-z0-9_.-]+$",
        parse: host,
        show: String::clone,
    },
    wanted: "",
    len: 1..=HOSTS_MAX,
    plural: "names",
    shows_empty: false,
};

fn host(_: &Path, text: &str) -> Result<String, String> {
    if address::is_name(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("is no name".to_owned())
    }
}

/// The type of `admin_http_token`.
pub(super) const TOKEN: Custom<AdminToken> = Custom {
    read: token,
    show: |token| Some(quoted_path(&token.file)),
    wanted: TOKEN_WANTED,
    shape: || Shape::Text {
        what: TOKEN_WANTED.to_owned(),
        pattern: PATH.pattern,
    },
};

fn token(value: Value<'_, '_>) -> Option<AdminToken> {
    let place = value.place.clone();
    let file = value.file(TOKEN_WANTED)?;
    match secret_of(&file) {
        Ok((secret, read_by_others)) => {
            if read_by_others {
                place.warn(format!(
                    "every user of this machine can read {}; chmod o-r FILE prevents that",
                    file.display()
                ));
            }
            let secret = secret.as_bytes().into();
            Some(AdminToken { file, secret })
        }
        Err(wrong) => {
            place.reject(format!("{wrong}; {TOKEN_WANTED}"));
            None
        }
    }
}

/// Reads a token; also returns whether users other than the owner and the group of its file may read it.
fn secret_of(path: &Path) -> Result<(String, bool), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    let mut text = String::new();
    let read = file.take(TOKEN_FILE_LEN_MAX).read_to_string(&mut text);
    read.map_err(unreadable)?;
    let secret = text.trim_ascii();
    let len = secret.len();
    // The message does not repeat the text, which may be a token after all.
    if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&len) {
        return Err(format!("names a file with a token of {len} bytes"));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("names a file with more than a token".to_owned());
    }
    Ok((secret.to_owned(), mode & READ_BY_OTHERS != 0))
}

/// Refuses `admin_http_write` without a token.
pub(super) fn needs_token(process: &mut Process, scope: &Scope<'_, '_>) {
    if process.admin_access.write && !scope.has("admin_http_token") {
        let place = scope.place_of("admin_http_write");
        place.reject(format!("needs admin_http_token; {TOKEN_ADVICE}"));
    }
}
