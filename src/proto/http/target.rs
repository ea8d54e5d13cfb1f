//! Request targets and authorities (RFC 9112 section 3.2, RFC 9110 section 7.2).

use std::net::Ipv6Addr;

use super::Scheme;
use super::refusal::HttpRefusal;

/// A request target, by form; the authority-form belongs to CONNECT, which is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// `/path?query`.
    Origin(&'a str),
    /// `http://authority/path?query`.
    Absolute {
        scheme: Scheme,
        authority: Authority<'a>,
        /// As received; may be empty or begin with `?`. `*` for OPTIONS without path and query, which asks
        /// about the server (RFC 9112 section 3.2.4).
        path_and_query: &'a str,
    },
    /// `*`, for OPTIONS only.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Parses the target of a request with that method.
    ///
    /// # Errors
    /// [`HttpRefusal::Target`] for a fragment, bytes outside ASCII and unknown forms,
    /// [`HttpRefusal::UserInfo`], [`HttpRefusal::HostValue`] for the authority of an absolute target.
    pub(super) fn parse(method: &str, target: &'a str) -> Result<Self, HttpRefusal> {
        let visible = target.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || target.contains('#') {
            return Err(HttpRefusal::Target);
        }
        if target.starts_with('/') {
            return Ok(Self::Origin(target));
        }
        if target == "*" && method == "OPTIONS" {
            return Ok(Self::Asterisk);
        }
        let (scheme, rest) = target.split_once("://").ok_or(HttpRefusal::Target)?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => return Err(HttpRefusal::Target),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        if authority.contains('@') {
            return Err(HttpRefusal::UserInfo);
        }
        let authority = Authority::parse(authority).ok_or(HttpRefusal::HostValue)?;
        let path_and_query = match path_and_query {
            "" if method == "OPTIONS" => "*",
            received => received,
        };
        Ok(Self::Absolute {
            scheme,
            authority,
            path_and_query,
        })
    }

    /// Returns the target in the form for the server that answers it, in two parts to be joined: path and
    /// query as received, behind a `/` where an absolute target has no path (RFC 9112 section 3.2.1).
    pub(super) fn for_server(self) -> (&'static str, &'a str) {
        match self {
            Self::Origin(text) => ("", text),
            Self::Asterisk => ("", "*"),
            Self::Absolute { path_and_query, .. } => match path_and_query.as_bytes() {
                [b'/' | b'*', ..] => ("", path_and_query),
                _ => ("/", path_and_query),
            },
        }
    }

    /// Returns the scheme of an absolute target.
    pub(super) fn scheme(self) -> Option<Scheme> {
        match self {
            Self::Absolute { scheme, .. } => Some(scheme),
            Self::Origin(_) | Self::Asterisk => None,
        }
    }

    /// Returns the path as received, without the query: `/` where an absolute target has none.
    pub(super) fn path(self) -> &'a str {
        let path_and_query = match self {
            Self::Origin(text) => text,
            Self::Absolute { path_and_query, .. } => path_and_query,
            Self::Asterisk => return "*",
        };
        let end = path_and_query.find('?').unwrap_or(path_and_query.len());
        match path_and_query.get(..end) {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// Returns the query as received with its `?`, or an empty text.
    pub(super) fn query(self) -> &'a str {
        let path_and_query = match self {
            Self::Origin(text) => text,
            Self::Absolute { path_and_query, .. } => path_and_query,
            Self::Asterisk => return "",
        };
        path_and_query
            .find('?')
            .and_then(|at| path_and_query.get(at..))
            .unwrap_or("")
    }
}

/// A host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// The authority as received.
    pub(super) text: &'a str,
    /// The host as received; an IPv6 address keeps its brackets.
    pub(super) host: &'a str,
    /// The port, if one is written.
    pub(super) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses `HOST[:PORT]`, HOST being a name of letters, digits, `-`, `.`, `_` and `~`, an IPv4
    /// address or an IPv6 address in brackets.
    ///
    /// RFC 3986 allows more in a name (percent escapes, `,`, `;`, `=` ...). No resolvable name has
    /// them, and programs disagree about what they mean, so they are malformed here.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let host_len = if text.starts_with('[') {
            text.find(']')? + 1
        } else {
            text.find(':').unwrap_or(text.len())
        };
        let (host, port) = text.split_at_checked(host_len)?;
        let valid = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_name(host),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        valid.then_some(Self { text, host, port })
    }

    /// Returns whether both name the same place when `scheme` gives the default port.
    pub(super) fn agrees(self, other: Self, scheme: Scheme) -> bool {
        let port = |authority: Self| authority.port.unwrap_or(scheme.default_port());
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }

    /// Returns the host as routes compare it: lower case, without a dot at the end.
    pub(super) fn host_lowercase(self) -> String {
        let host = self.host.strip_suffix('.').unwrap_or(self.host);
        host.to_ascii_lowercase()
    }
}

/// Returns whether no label is empty and all characters are allowed in names; one dot may be at the end.
pub(super) fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    labels.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~'))
    })
}
