//! Version 1 of the PROXY protocol, a line of text (proxy-protocol.txt 2.1).
//!
//! ```text
//! PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n
//! PROXY UNKNOWN[ anything]\r\n
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::header::{Addresses, Header, MalformedHeader, Pair, V1_LEN_MAX};
use crate::proto::Progress;

/// The signature: the first bytes of every line.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Parses the line at the start of `buf`; the caller has seen the signature.
///
/// The line is checked once it is complete, as proxy-protocol.txt requires.
pub(super) fn parse(buf: &[u8]) -> Result<Progress<Header>, MalformedHeader> {
    let Some(line_len) = line_len(buf)? else {
        return Ok(Progress::Partial);
    };
    let (line, _) = buf.split_at(line_len); // line_len < buf.len(), as line_len() found CRLF there
    let words = line.get(SIGNATURE.len()..).unwrap_or_default();
    let value = Header::from(addresses(words)?);
    let used = line_len + 2;
    Ok(Progress::Complete { value, used })
}

/// Returns the position of the CRLF; none if it has not arrived.
fn line_len(buf: &[u8]) -> Result<Option<usize>, MalformedHeader> {
    let within = buf.get(..V1_LEN_MAX).unwrap_or(buf);
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if within.len() < V1_LEN_MAX {
            Ok(None)
        } else {
            Err(MalformedHeader::LineTooLong)
        };
    };
    if within.get(end) == Some(&b'\n') {
        return Err(MalformedHeader::LineEnding);
    }
    match within.get(end + 1) {
        Some(b'\n') => Ok(Some(end)),
        Some(_) => Err(MalformedHeader::LineEnding),
        None if within.len() < V1_LEN_MAX => Ok(None),
        None => Err(MalformedHeader::LineTooLong),
    }
}

/// Parses the text between the signature and CRLF.
fn addresses(words: &[u8]) -> Result<Addresses, MalformedHeader> {
    let mut fields = words.split(|byte| *byte == b' ');
    match fields.next() {
        Some(b"UNKNOWN") => Ok(Addresses::Unknown),
        Some(b"TCP4") => pair::<Ipv4Addr>(fields),
        Some(b"TCP6") => pair::<Ipv6Addr>(fields),
        Some(_) | None => Err(MalformedHeader::LineProtocol),
    }
}

/// Reads the two addresses and two ports of one family.
fn pair<'a, Ip>(mut fields: impl Iterator<Item = &'a [u8]>) -> Result<Addresses, MalformedHeader>
where
    Ip: FromStr + Into<IpAddr>,
{
    let mut field = || fields.next().ok_or(MalformedHeader::LineFields);
    let texts = [field()?, field()?, field()?, field()?];
    if field().is_ok() || texts.iter().any(|text| text.is_empty()) {
        return Err(MalformedHeader::LineFields);
    }
    let [source, destination, source_port, destination_port] = texts;
    let (source, destination) = (ip::<Ip>(source)?, ip::<Ip>(destination)?);
    Ok(Addresses::Proxied {
        source: SocketAddr::new(source, port(source_port)?),
        destination: SocketAddr::new(destination, port(destination_port)?),
    })
}

fn ip<Ip: FromStr + Into<IpAddr>>(text: &[u8]) -> Result<IpAddr, MalformedHeader> {
    parsed::<Ip>(text)
        .map(Into::into)
        .ok_or(MalformedHeader::LineAddress)
}

fn port(text: &[u8]) -> Result<u16, MalformedHeader> {
    let digits_only = text.iter().all(u8::is_ascii_digit);
    let leading_zero = text.len() > 1 && text.first() == Some(&b'0');
    parsed(text)
        .filter(|_| digits_only && !leading_zero)
        .ok_or(MalformedHeader::LinePort)
}

fn parsed<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Appends the line for `addresses`.
pub(super) fn encode(addresses: Addresses, out: &mut Vec<u8>) {
    let line = match addresses {
        Addresses::Unknown | Addresses::Local => "PROXY UNKNOWN\r\n".to_owned(),
        Addresses::Proxied {
            source,
            destination,
        } => match Pair::of(source, destination) {
            Pair::V4(from, to) => tcp_line("TCP4", from.into(), to.into()),
            Pair::V6(from, to) => tcp_line("TCP6", from.into(), to.into()),
        },
    };
    out.extend_from_slice(line.as_bytes());
}

fn tcp_line(protocol: &str, from: SocketAddr, to: SocketAddr) -> String {
    let (from_ip, from_port) = (from.ip(), from.port());
    let (to_ip, to_port) = (to.ip(), to.port());
    format!("PROXY {protocol} {from_ip} {to_ip} {from_port} {to_port}\r\n")
}
