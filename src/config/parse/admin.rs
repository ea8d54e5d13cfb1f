//! The keys of `[server]` that concern operators: `admin_socket`, `admin_http` and what begins with it.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Binds, elements};
use crate::config::address;
use crate::config::read::{Table, Value};
use crate::config::{AdminAccess, AdminToken, Bind};

const HOST: &str = "a name such as \"ops.example.com\", without a port";
/// Names of the dashboard: more than anybody gives it.
const HOSTS_MAX: usize = 64;
const TOKEN: &str =
    "the path of a file with the token, 16 to 1024 printable characters without spaces";
/// What to do about a token that is missing.
const TOKEN_ADVICE: &str = "the path of a file with a token; make one with: \
     (umask 077; openssl rand -hex 32 > FILE)";
/// Shortest token in bytes: 64 bits, if it is written in hexadecimal.
const TOKEN_LEN_MIN: usize = 16;
/// Longest token in bytes; it has to go into a header line.
const TOKEN_LEN_MAX: usize = 1024;
/// Longest file of a token: white space may stand around it.
const TOKEN_FILE_LEN_MAX: u64 = 4096;
/// Mode of a file that others than its owner and group read.
const READ_BY_OTHERS: u32 = 0o004;

/// Reads `admin_socket`.
pub(super) fn socket(table: &mut Table<'_, '_>, taken: &mut Binds) -> Option<PathBuf> {
    let value = table.take("admin_socket")?;
    let place = value.place.clone();
    let path = value.parse("the path of a unix socket", |text| {
        address::unix_path(place.base(), text)
    })?;
    taken.claim(Bind::Unix(path.clone()), &place);
    Some(path)
}

/// Reads `admin_http`.
pub(super) fn http(table: &mut Table<'_, '_>, taken: &mut Binds) -> Option<SocketAddr> {
    let value = table.take("admin_http")?;
    let place = value.place.clone();
    let addr = value.parse("IP:PORT or [IPv6]:PORT", address::socket_address)?;
    taken.claim(Bind::Inet(addr), &place);
    Some(addr)
}

/// Reads the keys that say who may do what at `admin_http`, and the file with the token.
pub(super) fn access(table: &mut Table<'_, '_>) -> AdminAccess {
    let hosts = hosts(table);
    let place = table.place_of("admin_http_write");
    let write = table.boolean("admin_http_write").unwrap_or(false);
    let names_token = table.has("admin_http_token");
    let token = table.take("admin_http_token").and_then(token);
    if write && !names_token {
        place.reject(format!("needs admin_http_token; {TOKEN_ADVICE}"));
    }
    AdminAccess {
        hosts,
        write,
        token,
    }
}

fn hosts(table: &mut Table<'_, '_>) -> Vec<String> {
    let values = elements(table, "admin_http_hosts", HOST);
    if let Some(value) = values.get(HOSTS_MAX) {
        let too_many = format!("is one too many; at most {HOSTS_MAX} names");
        value.place.reject(too_many);
    }
    let read = |value: Value<'_, '_>| {
        value.parse(HOST, |text| {
            if address::is_name(text) {
                Ok(text.to_ascii_lowercase())
            } else {
                Err("is no name".to_owned())
            }
        })
    };
    values.into_iter().filter_map(read).collect()
}

fn token(value: Value<'_, '_>) -> Option<AdminToken> {
    let place = value.place.clone();
    let file = value.file(TOKEN)?;
    match secret_of(&file) {
        Ok((secret, read_by_others)) => {
            if read_by_others {
                place.warn(format!(
                    "everybody on this machine may read {}; chmod o-r takes that away",
                    file.display()
                ));
            }
            let secret = secret.as_bytes().into();
            Some(AdminToken { file, secret })
        }
        Err(wrong) => {
            place.reject(format!("{wrong}; {TOKEN}"));
            None
        }
    }
}

/// Reads a token, and whether others than the owner and the group of its file may read it too.
fn secret_of(path: &Path) -> Result<(String, bool), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    let mut text = String::new();
    let read = file.take(TOKEN_FILE_LEN_MAX).read_to_string(&mut text);
    read.map_err(unreadable)?;
    let secret = text.trim_ascii();
    let len = secret.len();
    // The text is not told: it may be a token all the same.
    if !(TOKEN_LEN_MIN..=TOKEN_LEN_MAX).contains(&len) {
        return Err(format!("names a file with a token of {len} bytes"));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("names a file with more than a token".to_owned());
    }
    Ok((secret.to_owned(), mode & READ_BY_OTHERS != 0))
}
