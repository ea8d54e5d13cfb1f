//! Access rules of `admin_http`: which requests are answered and which may change something. No sockets, no
//! clock.
//!
//! A page of another origin in an operator's browser must neither read nor change anything. Without CORS it
//! cannot read, unless its own name resolves to our address (DNS rebinding), so the requested name must be
//! one of ours. It cannot change anything because it has no token, and because the browser's `Origin` (RFC
//! 6454) must match.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// Wrong tokens from one source in [`WINDOW`].
const WRONG_MAX: u32 = 10;
/// Time after which wrong tokens are forgotten.
const WINDOW: Duration = Duration::from_mins(1);
/// Sources of wrong tokens that are remembered at a time.
const SOURCES_MAX: usize = 1024;
/// The part of an IPv6 address that names a network rather than a host in it.
const NETWORK: u128 = u128::MAX << 64;

/// Returns whether an authority (`HOST` or `HOST:PORT`) is accepted: an address, `localhost`, or one of
/// `hosts`, which are in lower case. Another name may belong to a foreign page.
pub(super) fn is_ours(authority: &str, hosts: &[String]) -> bool {
    let Some(host) = host_of(authority) else {
        return false;
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_address = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()),
    };
    let same = |known: &str| known.trim_end_matches('.').eq_ignore_ascii_case(name);
    is_address || same("localhost") || hosts.iter().any(|known| same(known))
}

/// Takes the port off.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        Some(_) | None => (authority, ""),
    };
    let fits = !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    fits.then_some(host)
}

/// Returns whether an origin is that of the page at `authority`. TLS may end in front of us, so the scheme is
/// ignored.
pub(super) fn is_same_origin(origin: &str, authority: &str) -> bool {
    let rest = origin.split_once("://");
    rest.is_some_and(|(scheme, host)| {
        matches!(scheme, "http" | "https") && host.eq_ignore_ascii_case(authority)
    })
}

/// Returns the token of an Authorization header (RFC 6750 section 2.1).
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Returns whether a token is correct, in a time that reveals nothing about it, not even its length.
pub(super) fn is_secret(token: &str, secret: &[u8]) -> bool {
    let (ours, theirs) = (digest(&SHA256, secret), digest(&SHA256, token.as_bytes()));
    verify_slices_are_equal(ours.as_ref(), theirs.as_ref()).is_ok()
}

/// Wrong tokens by source, so that no client can try them all.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    by_source: HashMap<IpAddr, Wrong>,
}

#[derive(Debug)]
struct Wrong {
    first: Instant,
    count: u32,
}

impl Wrong {
    fn left(&self, now: Instant) -> Duration {
        WINDOW.saturating_sub(now.saturating_duration_since(self.first))
    }
}

impl Guesses {
    /// Returns how long requests from `source` are refused, if it has guessed too often.
    pub(super) fn pause(&mut self, source: IpAddr, now: Instant) -> Option<Duration> {
        self.by_source.retain(|_, wrong| !wrong.left(now).is_zero());
        match self.by_source.get(&network(source)) {
            Some(wrong) if wrong.count >= WRONG_MAX => Some(wrong.left(now)),
            Some(_) => None,
            None => (self.by_source.len() >= SOURCES_MAX).then_some(WINDOW),
        }
    }

    /// Counts a wrong token.
    pub(super) fn wrong(&mut self, source: IpAddr, now: Instant) {
        let fresh = Wrong {
            first: now,
            count: 0,
        };
        self.by_source.entry(network(source)).or_insert(fresh).count += 1;
    }
}

/// Returns the network of an IPv6 address, because a client may use all addresses of its network.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_may_be_asked_for() {
        let hosts = ["ops.example.com".to_owned(), "dotted.example.".to_owned()];
        let rows = [
            ("127.0.0.1", true),
            ("127.0.0.1:9464", true),
            ("[::1]", true),
            ("[::1]:9464", true),
            ("localhost", true),
            ("LocalHost:9464", true),
            ("localhost.", true),
            ("ops.example.com", true),
            ("OPS.example.com.:80", true),
            ("dotted.example", true),
            ("example.com", false),
            ("evil.ops.example.com", false),
            ("ops.example.com.evil", false),
            ("127.0.0.1.evil", false),
            ("localhost.evil", false),
            ("", false),
            (":80", false),
            ("::1", false),
            ("[::1", false),
            ("[127.0.0.1]", false),
            ("[evil]:80", false),
            ("127.0.0.1:80:80", false),
            ("127.0.0.1:port", false),
            ("user@127.0.0.1", false),
            ("127.1", false),
            ("0x7f.0.0.1", false),
        ];
        for (authority, ours) in rows {
            assert_eq!(is_ours(authority, &hosts), ours, "{authority:?}");
        }
    }

    #[test]
    fn only_our_own_page_may_ask_for_changes() {
        let rows = [
            ("http://127.0.0.1:9464", "127.0.0.1:9464", true),
            ("https://ops.example.com", "OPS.example.com", true),
            ("http://127.0.0.1:9465", "127.0.0.1:9464", false),
            ("http://127.0.0.1", "127.0.0.1:9464", false),
            ("http://evil.example", "127.0.0.1:9464", false),
            ("null", "127.0.0.1:9464", false),
            ("", "", false),
            ("file://", "", false),
            ("ftp://localhost", "localhost", false),
        ];
        for (origin, authority, same) in rows {
            assert_eq!(is_same_origin(origin, authority), same, "{origin:?}");
        }
    }

    #[test]
    fn a_token_is_read_and_compared_as_a_whole() {
        let rows = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer  ", None),
            ("abc", None),
        ];
        for (header, token) in rows {
            assert_eq!(bearer(header), token, "{header:?}");
        }
        for (token, right) in [
            ("secret", true),
            ("secre", false),
            ("secrets", false),
            ("", false),
        ] {
            assert_eq!(is_secret(token, b"secret"), right, "{token:?}");
        }
    }

    #[test]
    fn a_source_guesses_ten_times_a_minute() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let mine: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        for _ in 0..WRONG_MAX {
            assert_eq!(guesses.pause(mine, start), None);
            guesses.wrong(mine, start);
        }
        let later = start + Duration::from_secs(20);
        assert_eq!(
            guesses.pause(neighbour, later),
            Some(Duration::from_secs(40))
        );
        assert_eq!(guesses.pause(other, later), None);
        assert_eq!(network(mapped), other);
        assert_eq!(guesses.pause(mine, start + WINDOW), None);
        assert!(guesses.by_source.is_empty());
    }

    #[test]
    fn sources_of_guesses_are_bounded() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let source = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        for number in 0..SOURCES_MAX {
            assert_eq!(guesses.pause(source(number), start), None);
            guesses.wrong(source(number), start);
        }
        assert_eq!(guesses.pause(source(SOURCES_MAX), start), Some(WINDOW));
        assert_eq!(guesses.pause(source(0), start), None);
        assert_eq!(guesses.pause(source(SOURCES_MAX), start + WINDOW), None);
    }
}
