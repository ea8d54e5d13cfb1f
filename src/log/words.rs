//! Common parts of the older formats: names without spaces, and escapes of characters that clients must not
//! write into a line.

use crate::proto::addr::PeerAddr;

/// Returns a name as one field: separators become underscores.
pub(super) fn field(name: &str, separators: &str) -> String {
    let separates = |c: char| c.is_whitespace() || c.is_control() || separators.contains(c);
    let shown = |c: char| if separates(c) { '_' } else { c };
    name.chars().map(shown).collect()
}

/// Returns the address of a client; a unix socket has none.
pub(super) fn address(client: PeerAddr) -> String {
    match client {
        PeerAddr::Inet(addr) => addr.ip().to_canonical().to_string(),
        PeerAddr::Unix => "unix".to_owned(),
    }
}

/// Appends `text`; bytes that are not printable, and those of `special`, are written by `escape`.
pub(super) fn push_escaped(
    out: &mut String,
    text: &str,
    special: &str,
    escape: impl Fn(u8) -> String,
) {
    for byte in text.bytes() {
        let shown = char::from(byte);
        if (b' '..=b'~').contains(&byte) && !special.contains(shown) {
            out.push(shown);
        } else {
            out.push_str(&escape(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_separates_inside_a_field() {
        assert_eq!(field("a b/c\t\"d", "/\""), "a_b_c__d");
        assert_eq!(field("[::]:443", "/"), "[::]:443");
    }

    #[test]
    fn what_is_not_printable_is_escaped() {
        let mut out = String::new();
        push_escaped(&mut out, "a\"\n\u{e4} ~", "\"", |byte| {
            format!("#{byte:02X}")
        });
        assert_eq!(out, "a#22#0A#C3#A4 ~");
    }
}
