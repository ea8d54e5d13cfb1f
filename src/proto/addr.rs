//! Addresses of peers, and ranges of trusted addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The address of one end of a connection.
///
/// IPv4-mapped IPv6 addresses are always written as IPv4 ([`PeerAddr::from`] does it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A unix socket; its path, if it has one, does not identify the client.
    Unix,
}

impl PeerAddr {
    /// Returns the IP address, or none for a unix socket.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Inet(addr) => Some(addr.ip()),
            Self::Unix => None,
        }
    }

    /// Returns the port, or none for a unix socket.
    #[must_use]
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Inet(addr) => Some(addr.port()),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Inet(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

/// A range of addresses, `10.0.0.0/8`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix_len: u8,
}

impl Cidr {
    /// Returns whether `ip` lies in the range; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.network, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix_len))
                    .unwrap_or(0);
                u32::from(ip) & mask == u32::from(network)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix_len))
                    .unwrap_or(0);
                u128::from(ip) & mask == u128::from(network)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Why a text is not a [`Cidr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The part before the slash is not an IP address.
    #[error("'{0}' is not an IP address")]
    Address(String),
    /// The part after the slash is not a number in range.
    #[error("prefix length '{0}' is not a number from 0 to {1}")]
    Prefix(String, u8),
    /// Bits after the prefix are set: probably a typing error.
    #[error("bits are set behind the prefix; the range is {0}")]
    HostBits(Cidr),
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Parses `ADDRESS/PREFIX` or a bare `ADDRESS`.
    ///
    /// # Errors
    /// One [`CidrError`] variant each for a bad address, a bad prefix, and bits set after it.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| CidrError::Address(address.to_owned()))?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = match prefix {
            None => bits,
            Some(text) => {
                parse_prefix(text, bits).ok_or_else(|| CidrError::Prefix(text.to_owned(), bits))?
            }
        };
        let range = Self::masked(address, prefix_len);
        if range.network == address {
            Ok(range)
        } else {
            Err(CidrError::HostBits(range))
        }
    }
}

fn parse_prefix(text: &str, bits: u8) -> Option<u8> {
    let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|len| digits_only && *len <= bits)
}

impl Cidr {
    fn masked(address: IpAddr, prefix_len: u8) -> Self {
        let network = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(prefix_len))
                    .unwrap_or(0);
                IpAddr::V4((u32::from(ip) & mask).into())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(prefix_len))
                    .unwrap_or(0);
                IpAddr::V6((u128::from(ip) & mask).into())
            }
        };
        Self {
            network,
            prefix_len,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

/// The set of trusted addresses (`trusted_proxies`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Ranges of IP addresses.
    pub ranges: Vec<Cidr>,
    /// Whether peers on unix sockets are trusted (written `unix:`).
    pub unix: bool,
}

impl TrustedProxies {
    /// Returns whether `peer` is trusted.
    #[must_use]
    pub fn contains(&self, peer: PeerAddr) -> bool {
        match peer {
            PeerAddr::Inet(addr) => self.contains_ip(addr.ip()),
            PeerAddr::Unix => self.unix,
        }
    }

    /// Returns whether an IP address is trusted.
    #[must_use]
    pub fn contains_ip(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_what_they_say() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
        ];
        for (range, ip, expected) in rows {
            let range: Cidr = range.parse().unwrap();
            assert_eq!(
                range.contains(ip.parse().unwrap()),
                expected,
                "{range} {ip}"
            );
        }
    }

    #[test]
    fn nonsense_is_named() {
        let rows = [
            (
                "10.0.0.1/8",
                "bits are set behind the prefix; the range is 10.0.0.0/8",
            ),
            (
                "10.0.0.0/33",
                "prefix length '33' is not a number from 0 to 32",
            ),
            (
                "10.0.0.0/+8",
                "prefix length '+8' is not a number from 0 to 32",
            ),
            ("10.0.0.0/", "prefix length '' is not a number from 0 to 32"),
            (
                "::/129",
                "prefix length '129' is not a number from 0 to 128",
            ),
            ("localhost", "'localhost' is not an IP address"),
            ("", "'' is not an IP address"),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<Cidr>().unwrap_err().to_string(), expected);
        }
    }
}
