//! Types of values and checks that several tables share.

use std::net::IpAddr;
use std::path::Path;

use crate::config::read::Scope;
use crate::config::types::{Choice, Many, Text};
use crate::config::{Bind, Mode};
use crate::proto::addr::Cidr;
use crate::proto::proxy::HeaderVersion;

/// Addresses of this machine that connections to servers may come from, at most.
const SOURCES_MAX: usize = 256;
/// Longest name of a listener or backend, in bytes.
const NAME_LEN_MAX: usize = 128;

/// Checks the name of a listener or backend.
pub(super) fn name_text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > NAME_LEN_MAX {
        return Err(format!("is longer than {NAME_LEN_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// Writes an address so that equal ones are written alike: `unix:./a` as `unix:a`.
pub(super) fn bind_spelling(bind: &Bind) -> String {
    match bind {
        Bind::Inet(_) => bind.to_string(),
        Bind::Unix(path) => Bind::Unix(path.components().collect()).to_string(),
    }
}

/// Refuses a key of a listener where longsplice speaks no HTTP and gives no answers.
pub(super) fn refuse_without_http(key: &str, mode: Mode, scope: &Scope<'_, '_>) {
    if mode != Mode::Http && scope.has(key) {
        scope.refuse_whole(
            key,
            "the proxy speaks no HTTP on this listener; mode = \"http\"",
        );
    }
}

/// The forms of an element of `client` or `trusted_proxies`.
pub(super) const RANGE: &str = "an address, or a range such as 10.0.0.0/8";

/// Parses a range of addresses.
pub(super) fn range(_: &Path, text: &str) -> Result<Cidr, String> {
    text.parse()
        .map_err(|wrong| format!("is no range: {wrong}"))
}

/// The type of `send_proxy`.
pub(super) const SEND_PROXY: Choice<Option<HeaderVersion>> = Choice(&[
    ("off", None, "No header."),
    ("v1", Some(HeaderVersion::V1), "The text header."),
    (
        "v2",
        Some(HeaderVersion::V2),
        "The binary header, with what TLS said about the client.",
    ),
]);

/// The type of `source`.
pub(super) const SOURCE: Many<Text<IpAddr>> = Many {
    of: Text {
        wanted: "an address of this machine such as \"10.0.0.5\", or a list of them",
        pattern: "^[0-9A-Fa-f:.]+$",
        parse: source,
        show: ToString::to_string,
    },
    wanted: "",
    len: 1..=SOURCES_MAX,
    plural: "addresses",
    shows_empty: false,
};

fn source(_: &Path, text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
            Err("is no address that a connection can come from".to_owned())
        }
        Ok(ip) => Ok(ip),
        Err(_) => Err("is no IP address".to_owned()),
    }
}
