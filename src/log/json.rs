//! Access lines as JSON: one object a line, with the fields of the table in its order.

use std::fmt::Write as _;

use super::access::Access;
use super::fields::{FIELDS, Value};
use super::time::push_rfc3339;
use crate::proto::addr::PeerAddr;

/// Writes an access line as one JSON object without a line end.
#[must_use]
pub(super) fn line(access: &Access<'_>) -> String {
    let mut out = String::with_capacity(512);
    let mut before = "{\"";
    for field in FIELDS {
        if !field.events.contains(&access.event) {
            continue;
        }
        let value = (field.read)(access);
        if matches!(value, Value::Absent) {
            continue;
        }
        out.push_str(before);
        out.push_str(field.name);
        out.push_str("\":");
        push(&mut out, value);
        before = ",\"";
    }
    out.push('}');
    out
}

fn push(out: &mut String, value: Value<'_>) {
    // Writing to a `String` is infallible.
    let _ = match value {
        Value::Absent | Value::Null => out.write_str("null"),
        Value::Text(text) => {
            push_text(out, text);
            Ok(())
        }
        Value::Number(number) => write!(out, "{number}"),
        Value::Time(time) => {
            out.push('"');
            push_rfc3339(out, time);
            out.write_char('"')
        }
        Value::Host(PeerAddr::Inet(addr)) => write!(out, "\"{}\"", addr.ip()),
        Value::Host(addr @ PeerAddr::Unix) | Value::Address(addr) => write!(out, "\"{addr}\""),
        Value::Path(path) => write!(out, "\"{path}\""),
    };
}

/// Appends a JSON string. Apart from JSON's own escapes, it escapes characters that act on a terminal: the C1
/// controls, and marks that change the direction of text.
pub(super) fn push_text(out: &mut String, text: &str) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    out.push('"');
    if text.bytes().all(is_plain) {
        out.push_str(text);
    } else {
        text.chars().for_each(|c| push_char(out, c));
    }
    out.push('"');
}

fn push_char(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\u{c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => {
            // All of them have four digits; writing to a `String` is infallible.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        _ => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        push_text(&mut out, text);
        out
    }

    #[test]
    fn nothing_in_a_line_moves_a_terminal() {
        let text = "a\u{9b}31m\u{7f}\u{202e}é";
        let safe = written(text);
        assert_eq!(safe, "\"a\\u009b31m\\u007f\\u202eé\"");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        assert_eq!(written("plain"), "\"plain\"");
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&written(&text)).unwrap(), text);
        }
    }

    #[test]
    fn what_json_demands_is_escaped_as_serde_does_it() {
        let text: String = (0..0x7f_u8).map(char::from).collect();
        assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
    }
}
