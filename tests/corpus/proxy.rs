//! What holds for every input of `proto::proxy`: shared by the corpus test and the fuzz target.

use longsplice::proto::Progress;
use longsplice::proto::proxy::{
    Addresses, Header, HeaderVersion, MalformedHeader, V1_LEN_MAX, V2_LEN_MAX, encode, parse,
};

/// Length of the longer signature.
const SIGNATURE_LEN_MAX: usize = 12;

/// Panics if reading `bytes` breaks a promise of `parse` or `encode`.
pub(crate) fn check(bytes: &[u8]) {
    let is_settled = |len: &usize| parse(&bytes[..*len]) != Ok(Progress::Partial);
    let Some(settled_len) = (0..=bytes.len()).find(is_settled) else {
        assert!(bytes.len() < V2_LEN_MAX, "waits for more than the limit");
        return;
    };
    let answer = parse(&bytes[..settled_len]);
    let later = settled_len.saturating_add(300).min(bytes.len());
    for len in (settled_len..later).chain([bytes.len()]) {
        assert_eq!(parse(&bytes[..len]), answer, "changes after {len} bytes");
    }
    match answer {
        Ok(Progress::Partial) => unreachable!("settled"),
        Ok(Progress::Complete { value, used }) => {
            assert_eq!(used, settled_len, "took more or less than was needed");
            comes_back(&bytes[..used], &value);
        }
        Err(MalformedHeader::NotProxy) => assert!(settled_len <= SIGNATURE_LEN_MAX),
        Err(_) => assert!(settled_len > b"PROXY ".len(), "judged before the signature"),
    }
}

/// Writes what was read and reads it again.
fn comes_back(read: &[u8], header: &Header) {
    let version = match read {
        [b'P', ..] => HeaderVersion::V1,
        _ => HeaderVersion::V2,
    };
    let mut written = Vec::new();
    encode(version, header, &mut written);
    let len_max = match version {
        HeaderVersion::V1 => V1_LEN_MAX,
        HeaderVersion::V2 => read.len(),
    };
    assert!(
        written.len() <= len_max,
        "grew from {read:?} to {written:?}"
    );
    let used = written.len();
    let value = header.clone();
    assert_eq!(parse(&written), Ok(Progress::Complete { value, used }));

    let mut line = Vec::new();
    encode(HeaderVersion::V1, header, &mut line);
    let value = match header.addresses {
        Addresses::Local => Header::from(Addresses::Unknown),
        addresses @ (Addresses::Proxied { .. } | Addresses::Unknown) => Header::from(addresses),
    };
    let used = line.len();
    assert_eq!(parse(&line), Ok(Progress::Complete { value, used }));
}
