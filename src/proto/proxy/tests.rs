//! Rows, prefixes, one-byte changes and round trips of PROXY headers.

use super::*;

#[test]
fn a_line_is_read() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nrest";
    let Ok(Progress::Complete { value, used }) = parse(line) else {
        panic!("not complete");
    };
    assert_eq!(&line[used..], b"rest");
    let mut out = Vec::new();
    encode(Version::V1, &value, &mut out);
    assert_eq!(out, line[..used]);
}
