//! What holds for every input of `proto::client_hello`: shared by the corpus test and the fuzz
//! target.

use longsplice::proto::Progress;
use longsplice::proto::client_hello::{LEN_BYTES_MAX, parse};

/// Panics if reading `bytes` breaks a promise of `parse`.
pub(crate) fn check(bytes: &[u8]) {
    let is_settled = |len: &usize| parse(&bytes[..*len]) != Ok(Progress::Partial);
    let Some(settled_len) = (0..=bytes.len()).find(is_settled) else {
        assert!(bytes.len() < LEN_BYTES_MAX, "waits for more than the limit");
        return;
    };
    let answer = parse(&bytes[..settled_len]);
    let later = settled_len.saturating_add(300).min(bytes.len());
    for len in (settled_len..later).chain([bytes.len()]) {
        assert_eq!(parse(&bytes[..len]), answer, "changes after {len} bytes");
    }
    if let Ok(Progress::Complete { value, used }) = answer {
        assert_eq!(used, settled_len, "took more or less than was needed");
        let names = value.server_name.iter();
        for name in names {
            assert!(!name.is_empty() && name.len() <= 253, "{name:?}");
            let legal = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
            assert!(name.bytes().all(legal), "{name:?}");
        }
        assert!(value.alpn.iter().all(|protocol| !protocol.is_empty()));
    }
}
