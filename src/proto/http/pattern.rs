//! Patterns of routes: host patterns, path prefixes on whole segments, and exact paths.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::refusal::PathError;
use super::target::{Authority, is_name};

/// A pattern of host names: `x`, `*.x` (every name under x, not x itself) or `ws*` (a prefix).
///
/// Names are kept in lower case and without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// Every name under this one, at any depth.
    Under(String),
    /// Every name that begins like this; `*` alone is the empty prefix, which matches every name.
    Prefix(String),
}

/// Why a text is not a [`HostPattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostPatternError {
    /// The text is empty.
    #[error("a host pattern is empty; allowed: 'name', '*.name', 'prefix*'")]
    Empty,
    /// A star that is neither before the first dot nor at the end.
    #[error("'*' stands for whole names only in front ('*.name') or at the end ('prefix*')")]
    Star,
    /// `name:port`.
    #[error("a host pattern has no port: ports are ignored; allowed: 'name', '*.name', 'prefix*'")]
    Port,
    /// Something no host name holds.
    #[error(
        "a host name consists of letters, digits, '-', '_' and dots between them \
         (other alphabets in their xn-- form)"
    )]
    Name,
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    /// Parses `name`, `*.name` or `prefix*`, in any case.
    ///
    /// # Errors
    /// One [`HostPatternError`] each for what is not allowed.
    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let text = text.to_ascii_lowercase();
        if text.is_empty() {
            return Err(HostPatternError::Empty);
        }
        if let Some(name) = text.strip_prefix("*.") {
            return plain_name(name).map(Self::Under);
        }
        if let Some(prefix) = text.strip_suffix('*') {
            let known = prefix
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            return match known {
                true => Ok(Self::Prefix(prefix.to_owned())),
                false if prefix.contains('*') => Err(HostPatternError::Star),
                false => Err(HostPatternError::Name),
            };
        }
        plain_name(&text).map(Self::Exact)
    }
}

/// Checks a name without a star, already in lower case.
fn plain_name(name: &str) -> Result<String, HostPatternError> {
    if name.contains('*') {
        return Err(HostPatternError::Star);
    }
    match Authority::parse(name) {
        Some(authority) if authority.text != authority.host => Err(HostPatternError::Port),
        Some(authority) => Ok(authority.host_lowercase()),
        None if name.split_once(':').is_some_and(|(host, _)| is_name(host)) => {
            Err(HostPatternError::Port)
        }
        None => Err(HostPatternError::Name),
    }
}

impl HostPattern {
    /// Returns whether the pattern matches a host without port; its case and a dot at its end are ignored.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        match self {
            Self::Exact(name) => host.eq_ignore_ascii_case(name.as_bytes()),
            Self::Prefix(prefix) => host
                .get(..prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes())),
            Self::Under(name) => {
                let Some(labels_len) = host.len().checked_sub(name.len()) else {
                    return false;
                };
                let (labels, tail) = host.split_at(labels_len);
                labels.len() > 1
                    && labels.ends_with(b".")
                    && tail.eq_ignore_ascii_case(name.as_bytes())
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(name) => write!(f, "*.{name}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Returns whether a text may be the value of a Host line: `HOST` or `HOST:PORT`.
#[must_use]
pub fn is_host_value(text: &str) -> bool {
    Authority::parse(text).is_some() && !text.ends_with(':')
}

/// A path prefix on whole segments, normalised, without the slash at its end (`/` is empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefix(String);

/// Why a text is not a [`PathPrefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathPrefixError {
    /// No slash in front.
    #[error("a path begins with '/'")]
    Slash,
    /// A query, a fragment, white space, a control character or something outside ASCII.
    #[error("a path holds visible ASCII characters without '?' and '#' (others as %XX)")]
    Character,
    /// It leads nowhere certain.
    #[error(transparent)]
    Dots(#[from] PathError),
}

impl FromStr for PathPrefix {
    type Err = PathPrefixError;

    /// Parses a path; a slash at its end makes no difference.
    ///
    /// # Errors
    /// One [`PathPrefixError`] each for what is not allowed.
    fn from_str(text: &str) -> Result<Self, PathPrefixError> {
        let mut path = legal_path(text)?;
        if path.ends_with('/') {
            path.pop();
        }
        Ok(Self(path))
    }
}

impl PathPrefix {
    /// Returns whether a path made by [`normalise_path`] begins with these segments.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        path.strip_prefix(self.0.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns whether every path below `other` is below this prefix.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }

    /// Returns whether a path is below this prefix.
    #[must_use]
    pub fn holds(&self, path: &ExactPath) -> bool {
        self.matches(&path.0)
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.0)
    }
}

/// A whole path, normalised; a slash at its end makes a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactPath(String);

impl FromStr for ExactPath {
    type Err = PathPrefixError;

    /// Parses a path.
    ///
    /// # Errors
    /// One [`PathPrefixError`] each for what is not allowed.
    fn from_str(text: &str) -> Result<Self, PathPrefixError> {
        legal_path(text).map(Self)
    }
}

impl ExactPath {
    /// Returns whether a path made by [`normalise_path`] is this one.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.0 == path
    }
}

impl fmt::Display for ExactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a path of the configuration, and normalises it.
fn legal_path(text: &str) -> Result<String, PathPrefixError> {
    if !text.starts_with('/') {
        return Err(PathPrefixError::Slash);
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    if !text.bytes().all(plain) {
        return Err(PathPrefixError::Character);
    }
    Ok(normalise_path(text)?)
}

/// Normalises a path for comparison with routes (RFC 3986 section 6.2.2): decodes escapes of unreserved
/// characters, writes the digits of other escapes in upper case, merges slashes, removes dot segments.
///
/// Only whole segments `.` and `..` count, after decoding: `%2e%2e` climbs, `..%2f` does not, because an
/// escaped slash is not a separator. Empty segments count for nothing, as for most applications: `//a` is
/// `/a`. But a `..` that would remove one is refused, because applications disagree about it: with the slashes
/// merged first, `/a//../b` is `/b`, and by the letter of RFC 3986 it is `/a/b`. An escape without two hex
/// digits stays unchanged. The input is the path without the query.
///
/// # Errors
/// A [`PathError`] for a `..` with an empty segment, or none, before it.
pub fn normalise_path(path: &str) -> Result<String, PathError> {
    if !path.contains('%') && !path.contains("/.") && !path.contains("//") {
        return Ok(path.to_owned());
    }
    let decoded = decode_unreserved(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = decoded.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "." => {}
            ".." => match segments.pop() {
                None => return Err(PathError::ClimbsAboveRoot),
                Some("") => return Err(PathError::RemovesEmpty),
                Some(_) => {}
            },
            other => segments.push(other),
        }
        if last && matches!(segment, "." | "..") {
            segments.push("");
        }
    }
    let mut path = String::with_capacity(decoded.len());
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.push_str(segment);
    }
    if segments.last() == Some(&"") {
        path.push('/');
    }
    Ok(path)
}

/// Decodes escapes of letters, digits, `-`, `.`, `_` and `~`, and writes others in upper case.
fn decode_unreserved(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        decoded.push_str(before);
        let byte = escape
            .get(1..3)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let escape_len = match byte {
            Some(byte) if is_unreserved(byte) => {
                decoded.push(char::from(byte));
                3
            }
            Some(byte) => {
                decoded.push_str(&format!("%{byte:02X}"));
                3
            }
            None => {
                decoded.push('%');
                1
            }
        };
        rest = escape.get(escape_len..).unwrap_or("");
    }
    decoded.push_str(rest);
    decoded
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_match_what_they_say() {
        let rows = [
            ("Maps.Example.com", "maps.example.com", true),
            ("maps.example.com", "MAPS.example.com.", true),
            ("maps.example.com", "x.maps.example.com", false),
            ("maps.example.com.", "maps.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "A.B.EXAMPLE.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "aexample.com", false),
            ("*.example.com", "example.com.evil", false),
            ("ws*", "ws.example.com", true),
            ("ws*", "WS", true),
            ("ws*", "w", false),
            ("ws*", "aws", false),
            ("dev.*", "dev.local", true),
            ("*", "anything", true),
            ("*", "", true),
            ("a", "", false),
            ("[::1]", "[::1]", true),
            ("10.0.0.1", "10.0.0.1", true),
        ];
        for (pattern, host, expected) in rows {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(host), expected, "{pattern} {host}");
            assert_eq!(pattern.to_string().parse(), Ok(pattern));
        }
    }

    #[test]
    fn host_patterns_name_what_is_wrong() {
        use HostPatternError as E;
        let rows = [
            ("", E::Empty),
            ("*.", E::Name),
            ("a.*.b", E::Star),
            ("**", E::Star),
            ("*a", E::Star),
            ("*.a*", E::Star),
            ("a:80", E::Port),
            ("a:x", E::Port),
            ("*.a:80", E::Port),
            ("a:80*", E::Name),
            ("[::1]:80", E::Port),
            ("a b", E::Name),
            ("a/b", E::Name),
            ("a..b", E::Name),
            ("m\u{fc}nchen.de", E::Name),
            ("m\u{fc}*", E::Name),
        ];
        for (text, error) in rows {
            assert_eq!(text.parse::<HostPattern>(), Err(error), "{text}");
        }
    }

    #[test]
    fn paths_match_on_segments() {
        let rows = [
            ("/socket.io/", "/socket.io", true),
            ("/socket.io/", "/socket.io/", true),
            ("/socket.io/", "/socket.io/a", true),
            ("/socket.io", "/socket.io/a", true),
            ("/socket.io/", "/socket.iox", false),
            ("/socket.io/", "/x/socket.io", false),
            ("/socket.io/", "/Socket.io", false),
            ("/socket.io/", "/x/../socket%2eio/%61", true),
            ("/socket.io/", "/socket.io/../x", false),
            ("/%73ocket.io/./", "/socket.io", true),
            ("/a%2fb", "/a%2Fb/c", true),
            ("/a%2Fb", "/a/b", false),
            ("/a", "//a", true),
            ("/a", "/a//b", true),
            ("/a/b", "/a//b", true),
            ("//a///b//", "/a/b", true),
            ("/a", "/%2Fa", false),
            ("/", "/", true),
            ("/", "/a", true),
            ("/", "*", false),
            ("/a", "*", false),
        ];
        for (prefix, path, expected) in rows {
            let prefix: PathPrefix = prefix.parse().unwrap();
            let path = normalise_path(path).unwrap();
            assert_eq!(prefix.matches(&path), expected, "{prefix} {path}");
            assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }
        use PathPrefixError as E;
        let rows = [
            ("", E::Slash),
            ("a/", E::Slash),
            ("/a?b", E::Character),
            ("/a#b", E::Character),
            ("/a b", E::Character),
            ("/\u{fc}", E::Character),
            ("/a/../..", E::Dots(PathError::ClimbsAboveRoot)),
            ("/a//../b", E::Dots(PathError::RemovesEmpty)),
        ];
        for (text, error) in rows {
            assert_eq!(text.parse::<PathPrefix>(), Err(error), "{text}");
        }
    }

    #[test]
    fn exact_paths_match_themselves() {
        let rows = [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/", false),
            ("/healthz/", "/healthz", false),
            ("/healthz", "/healthz/a", false),
            ("/healthz", "/Healthz", false),
            ("/healthz", "/x/..//%68ealthz", true),
            ("/x/../healthz", "/healthz", true),
            ("/", "/", true),
            ("/", "//", true),
            ("/", "*", false),
            ("/a%2fb", "/a%2Fb", true),
        ];
        for (exact, path, expected) in rows {
            let exact: ExactPath = exact.parse().unwrap();
            let path = normalise_path(path).unwrap();
            assert_eq!(exact.matches(&path), expected, "{exact} {path}");
            assert_eq!(exact.to_string().parse(), Ok(exact));
        }
        use PathPrefixError as E;
        for (text, error) in [
            ("", E::Slash),
            ("/a?b", E::Character),
            ("/..", E::Dots(PathError::ClimbsAboveRoot)),
        ] {
            assert_eq!(text.parse::<ExactPath>(), Err(error), "{text}");
        }
    }

    #[test]
    fn prefixes_cover_what_is_below_them() {
        let rows = [
            ("/", "/a", true),
            ("/a", "/a/b/", true),
            ("/a/", "/a", true),
            ("/a/b", "/a", false),
            ("/a", "/ab", false),
            ("/a", "/", false),
        ];
        for (wide, narrow, expected) in rows {
            let wide: PathPrefix = wide.parse().unwrap();
            assert_eq!(
                wide.covers(&narrow.parse().unwrap()),
                expected,
                "{wide} {narrow}"
            );
            assert_eq!(
                wide.holds(&narrow.parse().unwrap()),
                expected,
                "{wide} {narrow}"
            );
        }
    }

    #[test]
    fn paths_are_normalised() {
        let rows = [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/a/./b/.", Some("/a/b/")),
            ("/a/b/..", Some("/a/")),
            ("/a/..", Some("/")),
            ("/.", Some("/")),
            ("/./", Some("/")),
            ("/a/../b/../c", Some("/c")),
            ("//", Some("/")),
            ("//a", Some("/a")),
            ("///a//b///", Some("/a/b/")),
            ("/a//b/../c", Some("/a/c")),
            ("/a/..//b//.", Some("/b/")),
            ("//a/..", Some("/")),
            ("/a/.//./b", Some("/a/b")),
            ("/a%2f/%2fb", Some("/a%2F/%2Fb")),
            ("/a\\..\\b;/..;/", Some("/a\\..\\b;/..;/")),
            ("/...", Some("/...")),
            ("/.a/..b", Some("/.a/..b")),
            ("/%7Ea%2D%5f%2e", Some("/~a-_.")),
            ("/a%2f..%2fb", Some("/a%2F..%2Fb")),
            ("/%252e%252e/", Some("/%252e%252e/")),
            ("/%zz%4", Some("/%zz%4")),
            ("/%", Some("/%")),
            ("/%%41", Some("/%A")),
            ("/%\u{e9}", Some("/%\u{e9}")),
            ("*", Some("*")),
        ];
        for (path, expected) in rows {
            let found = normalise_path(path);
            assert_eq!(found.as_deref().ok(), expected, "{path}");
        }
        use PathError::{ClimbsAboveRoot, RemovesEmpty};
        let rows = [
            ("/..", ClimbsAboveRoot),
            ("/a/../..", ClimbsAboveRoot),
            ("/../a", ClimbsAboveRoot),
            ("/a/%2e%2E/.%2e/b", ClimbsAboveRoot),
            ("/a/../../a/b/c", ClimbsAboveRoot),
            ("/a//b/../../../..", RemovesEmpty),
            ("//..", RemovesEmpty),
            ("//a//../b", RemovesEmpty),
            ("/a//./%2e./b", RemovesEmpty),
            ("/a//b/../../c", RemovesEmpty),
            ("/a//..", RemovesEmpty),
            ("/a//../..", RemovesEmpty),
        ];
        for (path, error) in rows {
            assert_eq!(normalise_path(path), Err(error), "{path}");
        }
    }
}
