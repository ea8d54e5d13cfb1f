//! Version 2 of the PROXY protocol, binary (proxy-protocol.txt 2.2).
//!
//! ```text
//! 0          12          13                14       16
//! +----------+-----------+-----------------+--------+-----------+-----------------------+
//! | signature| 2:command | family:transport| length | addresses | TLVs: type, length,   |
//! | 12 bytes | 4:4 bits  | 4:4 bits        | u16    | by family | value; to the end     |
//! +----------+-----------+-----------------+--------+-----------+-----------------------+
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::header::{
    Addresses, Header, MalformedHeader, Pair, Ssl, Tlvs, UNIQUE_ID_LEN_MAX, V2_LEN_MAX,
};
use crate::proto::Progress;

/// The signature: the first bytes of every header.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const FIXED_LEN: usize = 16;
const VERSION: u8 = 2;
const COMMAND_LOCAL: u8 = 0;
const COMMAND_PROXY: u8 = 1;
const FAMILY_INET: u8 = 1;
const FAMILY_INET6: u8 = 2;
const FAMILY_UNIX: u8 = 3;
const TRANSPORT_STREAM: u8 = 1;
const TRANSPORT_DGRAM: u8 = 2;

const TYPE_ALPN: u8 = 0x01;
const TYPE_AUTHORITY: u8 = 0x02;
const TYPE_CRC32C: u8 = 0x03;
const TYPE_UNIQUE_ID: u8 = 0x05;
const TYPE_SSL: u8 = 0x20;
const SUBTYPE_SSL_VERSION: u8 = 0x21;
const SUBTYPE_SSL_CN: u8 = 0x22;
const SUBTYPE_SSL_CIPHER: u8 = 0x23;
const TYPE_AWS: u8 = 0xEA;
const SUBTYPE_AWS_VPCE_ID: u8 = 0x01;

const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;

/// Type and length of a TLV.
const TLV_HEAD_LEN: usize = 3;
const CRC32C_LEN: usize = 4;

/// Parses the header at the start of `buf`; the caller has seen the signature.
///
/// The fixed part is checked byte by byte, so that no caller waits for the rest of a wrong header.
pub(super) fn parse(buf: &[u8]) -> Result<Progress<Header>, MalformedHeader> {
    let Some(fixed) = Fixed::read(buf)? else {
        return Ok(Progress::Partial);
    };
    let used = FIXED_LEN + fixed.block_len;
    let Some(header) = buf.get(..used) else {
        return Ok(Progress::Partial);
    };
    let block = header.get(FIXED_LEN..).unwrap_or_default();
    let (addresses, tlvs) = fixed.split(block);
    let value = Header {
        addresses: fixed.meaning(addresses),
        tlvs: read_tlvs(header, tlvs)?,
    };
    Ok(Progress::Complete { value, used })
}

/// The bytes between the signature and the addresses.
struct Fixed {
    /// LOCAL: the sender speaks for itself.
    local: bool,
    /// None if it is unknown, which only LOCAL may have.
    family: Option<Family>,
    stream: bool,
    /// Length of the part after the fixed one, in bytes.
    block_len: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Unspec,
    Inet,
    Inet6,
    Unix,
}

impl Family {
    fn of(nibble: u8) -> Option<Self> {
        match nibble {
            0 => Some(Self::Unspec),
            FAMILY_INET => Some(Self::Inet),
            FAMILY_INET6 => Some(Self::Inet6),
            FAMILY_UNIX => Some(Self::Unix),
            _ => None,
        }
    }

    /// Length of two addresses, and of two ports where the family has ports.
    fn addresses_len(self) -> usize {
        match self {
            Self::Unspec => 0,
            Self::Inet => 12,
            Self::Inet6 => 36,
            Self::Unix => 216,
        }
    }
}

impl Fixed {
    /// Parses and checks the bytes received so far; none if the fixed part is incomplete.
    fn read(buf: &[u8]) -> Result<Option<Self>, MalformedHeader> {
        let mut bytes = buf.iter().skip(SIGNATURE.len()).copied();
        let Some(version_command) = bytes.next() else {
            return Ok(None);
        };
        let local = is_local(version_command)?;
        let Some(family_transport) = bytes.next() else {
            return Ok(None);
        };
        let (family, transport) = (family_transport >> 4, family_transport & 0x0F);
        let family = Family::of(family);
        // The family of LOCAL is ignored, so an unknown one is not an error (proxy-protocol.txt 2.2).
        if !local && family.is_none() {
            return Err(MalformedHeader::Family);
        }
        if !local && transport > TRANSPORT_DGRAM {
            return Err(MalformedHeader::Transport);
        }
        let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else {
            return Ok(None);
        };
        let block_len = usize::from(u16::from_be_bytes([high, low]));
        if block_len > V2_LEN_MAX - FIXED_LEN {
            return Err(MalformedHeader::TooLong);
        }
        if !local && family.is_some_and(|family| block_len < family.addresses_len()) {
            return Err(MalformedHeader::TooShort);
        }
        Ok(Some(Self {
            local,
            family,
            stream: transport == TRANSPORT_STREAM,
            block_len,
        }))
    }

    /// Splits the block into addresses and TLVs.
    ///
    /// LOCAL may name a family and leave its addresses out; after an unknown family, TLVs cannot be
    /// distinguished from addresses, and all bytes are skipped.
    fn split<'a>(&self, block: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        match self.family {
            Some(family) => block
                .split_at_checked(family.addresses_len())
                .unwrap_or((&[], block)),
            None => (block, &[]),
        }
    }

    /// Returns the meaning of the addresses.
    fn meaning(&self, addresses: &[u8]) -> Addresses {
        if self.local {
            return Addresses::Local;
        }
        let pair = match self.family {
            Some(Family::Inet) if self.stream => pair::<4, Ipv4Addr>(addresses),
            Some(Family::Inet6) if self.stream => pair::<16, Ipv6Addr>(addresses),
            Some(Family::Unspec | Family::Inet | Family::Inet6 | Family::Unix) | None => None,
        };
        pair.map_or(Addresses::Unknown, |(source, destination)| {
            Addresses::Proxied {
                source,
                destination,
            }
        })
    }
}

fn is_local(version_command: u8) -> Result<bool, MalformedHeader> {
    if version_command >> 4 != VERSION {
        return Err(MalformedHeader::Version);
    }
    match version_command & 0x0F {
        COMMAND_LOCAL => Ok(true),
        COMMAND_PROXY => Ok(false),
        _ => Err(MalformedHeader::Command),
    }
}

/// Reads two addresses of `N` bytes, then two ports.
fn pair<const N: usize, Ip>(addresses: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    Ip: From<[u8; N]> + Into<std::net::IpAddr>,
{
    let (source, rest) = addresses.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    let socket =
        |ip: [u8; N], port: [u8; 2]| SocketAddr::new(Ip::from(ip).into(), u16::from_be_bytes(port));
    Some((
        socket(*source, *source_port),
        socket(*destination, *destination_port),
    ))
}

/// Reads the TLVs, which are the end of `header`; the checksum is over all of it.
fn read_tlvs(header: &[u8], mut rest: &[u8]) -> Result<Tlvs, MalformedHeader> {
    let mut tlvs = Tlvs::default();
    while let Some(tlv) = Tlv::split_from(&mut rest)? {
        match tlv.kind {
            TYPE_ALPN => keep_first(&mut tlvs.alpn, || bytes(tlv.value)),
            TYPE_AUTHORITY => keep_first(&mut tlvs.authority, || text(tlv.value)),
            TYPE_CRC32C if tlvs.crc32c => return Err(MalformedHeader::ChecksumForm),
            TYPE_CRC32C => {
                verify_checksum(header, tlv.value, rest)?;
                tlvs.crc32c = true;
            }
            TYPE_UNIQUE_ID if tlv.value.len() > UNIQUE_ID_LEN_MAX => {
                return Err(MalformedHeader::UniqueId);
            }
            TYPE_UNIQUE_ID => keep_first(&mut tlvs.unique_id, || bytes(tlv.value)),
            TYPE_SSL => {
                let ssl = read_ssl(tlv.value)?;
                keep_first(&mut tlvs.ssl, || Some(ssl));
            }
            TYPE_AWS => keep_first(&mut tlvs.aws_endpoint_id, || {
                text(tlv.value.strip_prefix(&[SUBTYPE_AWS_VPCE_ID])?)
            }),
            // PP2_TYPE_NOOP, PP2_TYPE_NETNS (a name on the sender's machine), private types.
            _ => {}
        }
    }
    Ok(tlvs)
}

/// Compares the checksum in `value` with that of `header`, whose last bytes are `value` and `rest`.
fn verify_checksum(header: &[u8], value: &[u8], rest: &[u8]) -> Result<(), MalformedHeader> {
    let Ok(sent) = <[u8; CRC32C_LEN]>::try_from(value) else {
        return Err(MalformedHeader::ChecksumForm);
    };
    let before_len = header.len().saturating_sub(CRC32C_LEN + rest.len());
    let before = header.get(..before_len).unwrap_or_default();
    if checksum(before, rest) == sent {
        Ok(())
    } else {
        Err(MalformedHeader::Checksum)
    }
}

/// Computes CRC32C over a header whose checksum field, zeroed, is between `before` and `after`.
fn checksum(before: &[u8], after: &[u8]) -> [u8; CRC32C_LEN] {
    let crc = crc32c::crc32c(before);
    let crc = crc32c::crc32c_append(crc, &[0; CRC32C_LEN]);
    crc32c::crc32c_append(crc, after).to_be_bytes()
}

fn read_ssl(value: &[u8]) -> Result<Ssl, MalformedHeader> {
    let Some((&[client, verify @ ..], mut rest)) = value.split_first_chunk::<5>() else {
        return Err(MalformedHeader::Ssl);
    };
    let certificate = client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) != 0;
    let client_verified = certificate && verify == [0; 4];
    let mut ssl = Ssl {
        over_tls: client & CLIENT_SSL != 0,
        client_verified,
        resumed: client_verified && client & CLIENT_CERT_CONN == 0,
        ..Ssl::default()
    };
    while let Some(tlv) = Tlv::split_from(&mut rest)? {
        match tlv.kind {
            SUBTYPE_SSL_VERSION => keep_first(&mut ssl.version, || text(tlv.value)),
            SUBTYPE_SSL_CN => keep_first(&mut ssl.common_name, || text(tlv.value)),
            SUBTYPE_SSL_CIPHER => keep_first(&mut ssl.cipher, || text(tlv.value)),
            _ => {}
        }
    }
    Ok(ssl)
}

struct Tlv<'a> {
    kind: u8,
    value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Takes the first TLV off `rest`; none at the end.
    fn split_from(rest: &mut &'a [u8]) -> Result<Option<Self>, MalformedHeader> {
        match *rest {
            [] => Ok(None),
            [kind, high, low, behind @ ..] => {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                let (value, behind) = behind
                    .split_at_checked(len)
                    .ok_or(MalformedHeader::TlvOverrun)?;
                *rest = behind;
                Ok(Some(Self { kind: *kind, value }))
            }
            [_] | [_, _] => Err(MalformedHeader::TlvDangling),
        }
    }
}

fn keep_first<T>(slot: &mut Option<T>, read: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = read();
    }
}

fn bytes(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

/// Returns a text that is safe to write to a log.
fn text(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    is_text(text).then(|| text.to_owned())
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Appends `header`; [`super::encode`] lists the parts that are left out.
pub(super) fn encode(header: &Header, out: &mut Vec<u8>) {
    let (command, family_transport, mut block) = match header.addresses {
        Addresses::Proxied {
            source,
            destination,
        } => {
            let (family, block) = address_block(&Pair::of(source, destination));
            (COMMAND_PROXY, family << 4 | TRANSPORT_STREAM, block)
        }
        Addresses::Unknown => (COMMAND_PROXY, 0, Vec::new()),
        Addresses::Local => (COMMAND_LOCAL, 0, Vec::new()),
    };
    let checksum_len = if header.tlvs.crc32c {
        TLV_HEAD_LEN + CRC32C_LEN
    } else {
        0
    };
    let block_len_max = V2_LEN_MAX - FIXED_LEN - checksum_len;
    write_tlvs(&header.tlvs, block_len_max, &mut block);

    let begin = out.len();
    let block_len = u16::try_from(block.len() + checksum_len).unwrap_or(u16::MAX); // <= V2_LEN_MAX
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[VERSION << 4 | command, family_transport]);
    out.extend_from_slice(&block_len.to_be_bytes());
    out.extend_from_slice(&block);
    if header.tlvs.crc32c {
        out.extend_from_slice(&[TYPE_CRC32C, 0, 4]);
        let checksum = checksum(out.get(begin..).unwrap_or_default(), &[]);
        out.extend_from_slice(&checksum);
    }
}

fn address_block(pair: &Pair) -> (u8, Vec<u8>) {
    let (family, ips, ports) = match pair {
        Pair::V4(from, to) => (
            FAMILY_INET,
            [from.ip().octets(), to.ip().octets()].concat(),
            [from.port(), to.port()],
        ),
        Pair::V6(from, to) => (
            FAMILY_INET6,
            [from.ip().octets(), to.ip().octets()].concat(),
            [from.port(), to.port()],
        ),
    };
    let mut block = ips;
    block.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
    (family, block)
}

fn write_tlvs(tlvs: &Tlvs, block_len_max: usize, block: &mut Vec<u8>) {
    let write = |block: &mut Vec<u8>, kind, value: &[u8]| {
        write_tlv(kind, value, block_len_max, block);
    };
    if let Some(alpn) = tlvs.alpn.as_deref().filter(|alpn| !alpn.is_empty()) {
        write(block, TYPE_ALPN, alpn);
    }
    if let Some(authority) = tlvs.authority.as_deref().filter(|text| is_text(text)) {
        write(block, TYPE_AUTHORITY, authority.as_bytes());
    }
    if let Some(unique_id) = &tlvs.unique_id
        && (1..=UNIQUE_ID_LEN_MAX).contains(&unique_id.len())
    {
        write(block, TYPE_UNIQUE_ID, unique_id);
    }
    if let Some(ssl) = &tlvs.ssl {
        let room = block_len_max.saturating_sub(block.len() + TLV_HEAD_LEN);
        write(block, TYPE_SSL, &ssl_value(ssl, room));
    }
    if let Some(id) = tlvs.aws_endpoint_id.as_deref().filter(|id| is_text(id)) {
        write(
            block,
            TYPE_AWS,
            &[&[SUBTYPE_AWS_VPCE_ID], id.as_bytes()].concat(),
        );
    }
}

fn ssl_value(ssl: &Ssl, len_max: usize) -> Vec<u8> {
    let over_tls = if ssl.over_tls { CLIENT_SSL } else { 0 };
    let certificate = match (ssl.client_verified, ssl.resumed) {
        (false, _) => 0,
        (true, false) => CLIENT_CERT_CONN | CLIENT_CERT_SESS,
        (true, true) => CLIENT_CERT_SESS,
    };
    let client = over_tls | certificate;
    let mut value = vec![client, 0, 0, 0, u8::from(!ssl.client_verified)];
    for (kind, text) in [
        (SUBTYPE_SSL_VERSION, &ssl.version),
        (SUBTYPE_SSL_CN, &ssl.common_name),
        (SUBTYPE_SSL_CIPHER, &ssl.cipher),
    ] {
        if let Some(text) = text.as_deref().filter(|text| is_text(text)) {
            write_tlv(kind, text.as_bytes(), len_max, &mut value);
        }
    }
    value
}

/// Appends a TLV unless `out` would grow beyond `len_max`, which is below 64 KiB.
fn write_tlv(kind: u8, value: &[u8], len_max: usize, out: &mut Vec<u8>) {
    let Ok(len) = u16::try_from(value.len()) else {
        return;
    };
    if out.len() + TLV_HEAD_LEN + value.len() > len_max {
        return;
    }
    let [high, low] = len.to_be_bytes();
    out.extend_from_slice(&[kind, high, low]);
    out.extend_from_slice(value);
}
