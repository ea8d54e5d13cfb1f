//! Addresses as text: to listen on, of servers, of the log's target.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::facility;
use super::read::resolved;
use super::{Bind, LogTarget, ServerAddress};

/// The forms that [`bind`] accepts.
pub(super) const BIND: &str = "IP:PORT, [IPv6]:PORT or unix:/path";
/// The forms that [`server`] accepts.
pub(super) const SERVER: &str = "IP:PORT, [IPv6]:PORT, NAME:PORT, srv:NAME or unix:/path";
/// The forms that [`nameserver`] accepts.
pub(super) const NAMESERVER: &str = "IP, IP:PORT or [IPv6]:PORT";
/// The forms that [`log_target`] accepts.
pub(super) const LOG_TARGET: &str =
    "stderr, journald, file:PATH, syslog:HOST:PORT[/facility] or syslog:unix:PATH";

/// Longest path of a unix socket, in bytes (unix(7): `sun_path` holds 108 with the NUL).
const UNIX_PATH_LEN_MAX: usize = 107;
/// Longest name, in bytes (RFC 1035 section 2.3.4, without the final dot).
const NAME_LEN_MAX: usize = 253;
/// Longest label of a name, in bytes (RFC 1035 section 2.3.4).
const LABEL_LEN_MAX: usize = 63;
/// Default port of name servers (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// Parses an address to listen on.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn bind(base: &Path, text: &str) -> Result<Bind, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(base, path).map(Bind::Unix);
    }
    socket_address(text).map(Bind::Inet)
}

/// Parses `IP:PORT` or `[IPv6]:PORT`.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = host_and_port(text)?;
    match text.parse::<SocketAddr>() {
        Ok(addr) => Ok(addr),
        Err(_) if host.is_empty() || host == "*" => Err(format!(
            "names no address (0.0.0.0:{port} and [::]:{port} are all of them)"
        )),
        Err(_) => Err(format!("begins with {host:?}, which is no IP address")),
    }
}

/// Parses the address of a server.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn server(base: &Path, text: &str) -> Result<ServerAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(base, path).map(ServerAddress::Unix);
    }
    if let Some(name) = text.strip_prefix("srv:") {
        return srv(name);
    }
    let (host, port) = host_and_port(text)?;
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok(ServerAddress::Inet(addr.ip(), addr.port()));
    }
    if is_name(host) {
        return Ok(ServerAddress::Name(host.to_owned(), port));
    }
    Err(format!(
        "begins with {host:?}, which is neither an IP address nor a name"
    ))
}

/// Parses the name of SRV records. They carry the port, so one in the text is a mistake.
fn srv(name: &str) -> Result<ServerAddress, String> {
    if name.contains(':') {
        return Err("has a port, which SRV records say themselves".to_owned());
    }
    if !is_name(name) {
        return Err(format!("goes on with {name:?}, which is no name"));
    }
    Ok(ServerAddress::Srv(name.to_owned()))
}

/// Parses the address of a name server; the port may be left out.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn nameserver(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, DNS_PORT)),
        Err(_) => socket_address(text),
    }
}

fn host_and_port(text: &str) -> Result<(&str, u16), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err("has no port (an IPv6 address stands in brackets before it)".to_owned());
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("has no port".to_owned());
    };
    let digits_only = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits_only && port > 0 => Ok((host, port)),
        Ok(_) | Err(_) => Err(format!("has the port {port:?}, not one from 1 to 65535")),
    }
}

/// Returns whether a text may be a DNS name; underscores are in use and pass.
pub(super) fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text);
    let label_fits = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // A last label of digits alone would be an IPv4 address with a mistake in it (RFC 3696 section 2).
    let numeric_end = labels
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    labels.len() <= NAME_LEN_MAX && labels.split('.').all(label_fits) && !numeric_end
}

/// Parses the path of a unix socket.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn unix_path(base: &Path, text: &str) -> Result<PathBuf, String> {
    let path = resolved(base, text).map_err(|_| "names no path".to_owned())?;
    let len_bytes = path.as_os_str().len();
    if len_bytes > UNIX_PATH_LEN_MAX {
        return Err(format!(
            "has a path of {len_bytes} bytes, more than {UNIX_PATH_LEN_MAX}"
        ));
    }
    Ok(path)
}

/// Parses `log.target`.
///
/// # Errors
/// The fault, in words that follow the quoted text.
pub(super) fn log_target(base: &Path, text: &str) -> Result<LogTarget, String> {
    match text {
        "stderr" => return Ok(LogTarget::Stderr),
        "journald" => return Ok(LogTarget::Journald),
        _ => {}
    }
    if let Some(path) = text.strip_prefix("file:") {
        let path = resolved(base, path).map_err(|_| "names no path".to_owned())?;
        return Ok(LogTarget::File(path));
    }
    if let Some(path) = text.strip_prefix("syslog:unix:") {
        return unix_path(base, path).map(LogTarget::SyslogUnix);
    }
    if let Some(receiver) = text.strip_prefix("syslog:") {
        return syslog_receiver(receiver);
    }
    Err("is unknown".to_owned())
}

fn syslog_receiver(text: &str) -> Result<LogTarget, String> {
    let (receiver, facility) = match text.rsplit_once('/') {
        Some((receiver, facility)) => (receiver, Some(facility)),
        None => (text, None),
    };
    if let Some(unknown) = facility.filter(|name| !facility::is_known(name)) {
        return Err(format!("ends with the unknown facility {unknown:?}"));
    }
    // The base does not matter: a text that begins with unix: never comes here.
    if receiver.starts_with("srv:") {
        return Err("names no receiver".to_owned());
    }
    server(Path::new(""), receiver)?;
    let facility = facility.map(str::to_owned);
    Ok(LogTarget::SyslogUdp(receiver.to_owned(), facility))
}
