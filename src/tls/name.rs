//! Distinguished names as text (RFC 4514), on one line and in ASCII, for headers and logs. The text equals
//! that of `openssl x509 -subject -nameopt RFC2253`.

use super::der::Der;

/// Longest text of a name; a longer name is left out, because headers have limits.
const TEXT_LEN_MAX: usize = 4096;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const T61_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1a;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Names of attribute types (RFC 4514 section 3, and the descriptors of RFC 4519 and RFC 2985 that
/// certificates use); other types are written as numbers.
const TYPES: [(&[u8], &str); 13] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x04], "SN"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x55, 0x04, 0x0c], "title"),
    (&[0x55, 0x04, 0x2a], "GN"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01],
        "UID",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19],
        "DC",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01],
        "emailAddress",
    ),
];

/// Returns a name in DER as text, the last attribute first; none if it is malformed or too long.
#[must_use]
pub fn text(name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for set in sets(name)? {
        let mut attributes = attributes(set)?;
        attributes.reverse();
        let attributes: Option<Vec<String>> = attributes.iter().map(Attribute::text).collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    Some(parts.join(",")).filter(|text| text.len() <= TEXT_LEN_MAX)
}

/// Returns the first common name of a name in DER.
#[must_use]
pub fn common_name(name: &[u8]) -> Option<String> {
    for set in sets(name)? {
        for attribute in attributes(set)? {
            if attribute.kind == COMMON_NAME {
                return attribute.value();
            }
        }
    }
    None
}

fn sets(name: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = Der(Der(name).enter(SEQUENCE)?);
    let mut sets = Vec::new();
    while rest.tag().is_some() {
        sets.push(rest.enter(SET)?);
    }
    Some(sets)
}

fn attributes(set: &[u8]) -> Option<Vec<Attribute<'_>>> {
    let mut rest = Der(set);
    let mut found = Vec::new();
    while rest.tag().is_some() {
        let mut pair = Der(rest.enter(SEQUENCE)?);
        let kind = pair.enter(OBJECT_ID)?;
        let whole = pair.whole()?;
        let (tag, content) = Der(whole).next()?;
        found.push(Attribute {
            kind,
            tag,
            content,
            whole,
        });
    }
    Some(found)
}

/// One attribute of a name.
struct Attribute<'a> {
    kind: &'a [u8],
    tag: u8,
    content: &'a [u8],
    /// The value with tag and length.
    whole: &'a [u8],
}

impl Attribute<'_> {
    fn text(&self) -> Option<String> {
        let known = TYPES.iter().find(|(kind, _)| *kind == self.kind);
        let value = self.value().filter(|_| known.is_some());
        let value = value.map_or_else(|| hexadecimal(self.whole), |value| escaped(&value));
        Some(match known {
            Some((_, kind)) => format!("{kind}={value}"),
            None => format!("{}={value}", dotted(self.kind)?),
        })
    }

    /// Decodes the value; none = it is not text.
    fn value(&self) -> Option<String> {
        match self.tag {
            UTF8_STRING => String::from_utf8(self.content.to_vec()).ok(),
            NUMERIC_STRING | PRINTABLE_STRING | T61_STRING | IA5_STRING | VISIBLE_STRING => {
                // Read as Latin-1, as other software does.
                Some(self.content.iter().copied().map(char::from).collect())
            }
            BMP_STRING => {
                let (units, rest) = self.content.as_chunks::<2>();
                let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
                let text: Result<String, _> = char::decode_utf16(units).collect();
                text.ok().filter(|_| rest.is_empty())
            }
            UNIVERSAL_STRING => {
                let (units, rest) = self.content.as_chunks::<4>();
                let units = units.iter().map(|unit| u32::from_be_bytes(*unit));
                let text: Option<String> = units.map(char::from_u32).collect();
                text.filter(|_| rest.is_empty())
            }
            _ => None,
        }
    }
}

/// Escapes a value (RFC 4514 section 2.4); each byte that is not printable ASCII becomes a backslash and two
/// digits.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let outermost = (at == 0 && b" #".contains(&byte)) || (at == last && byte == b' ');
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.extend(['\\', char::from(byte)]);
            }
            b' '..=b'~' if outermost => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out += &format!("\\{byte:02X}"),
        }
    }
    out
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("#{}", digits.concat())
}

/// Writes an object identifier with dots (X.690 section 8.19).
fn dotted(kind: &[u8]) -> Option<String> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number: u64 = 0;
    for byte in kind {
        number = number.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    (!numbers.is_empty()).then(|| numbers.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &len[..], content].concat()
    }

    fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        der(SEQUENCE, &[der(OBJECT_ID, kind), der(tag, value)].concat())
    }

    fn name(sets: &[&[Vec<u8>]]) -> Vec<u8> {
        let sets: Vec<Vec<u8>> = sets.iter().map(|set| der(SET, &set.concat())).collect();
        der(SEQUENCE, &sets.concat())
    }

    fn common(tag: u8, value: &[u8]) -> Vec<u8> {
        name(&[&[attribute(COMMON_NAME, tag, value)]])
    }

    #[test]
    fn the_last_attribute_comes_first() {
        let country = attribute(&[0x55, 4, 6], PRINTABLE_STRING, b"DE");
        let (unit, user) = (
            attribute(&[0x55, 4, 0x0b], UTF8_STRING, b"ships"),
            attribute(TYPES[10].0, UTF8_STRING, b"17"),
        );
        let cn = attribute(COMMON_NAME, UTF8_STRING, b"Ada");
        let name = name(&[&[country], &[unit, user], &[cn]]);
        assert_eq!(text(&name).as_deref(), Some("CN=Ada,UID=17+OU=ships,C=DE"));
        assert_eq!(common_name(&name).as_deref(), Some("Ada"));
        assert_eq!(text(&der(SEQUENCE, &[])).as_deref(), Some(""));
    }

    #[test]
    fn values_are_escaped() {
        let rows: [(u8, &[u8], &str); 14] = [
            (UTF8_STRING, b"a b", "a b"),
            (UTF8_STRING, b" a ", "\\ a\\ "),
            (UTF8_STRING, b" ", "\\ "),
            (UTF8_STRING, b"#a#", "\\#a#"),
            (
                UTF8_STRING,
                b"a,b+c\"d\\e<f>g;h=i",
                "a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=i",
            ),
            (
                UTF8_STRING,
                b"a\r\nX-Real-IP: 1\0",
                "a\\0D\\0AX-Real-IP: 1\\00",
            ),
            (UTF8_STRING, "J\u{fc}rgen".as_bytes(), "J\\C3\\BCrgen"),
            (UTF8_STRING, b"\xff", "#0C820001FF"),
            (T61_STRING, b"J\xfcrgen", "J\\C3\\BCrgen"),
            (BMP_STRING, &[0, b'J', 0, 0xfc], "J\\C3\\BC"),
            (BMP_STRING, &[0, b'J', 0], "#1E820003004A00"),
            (UNIVERSAL_STRING, &[0, 0, 0, b'J'], "J"),
            (0x02, &[5], "#0282000105"),
            (UTF8_STRING, b"", ""),
        ];
        for (tag, value, expected) in rows {
            let expected = format!("CN={expected}");
            assert_eq!(text(&common(tag, value)), Some(expected), "{value:?}");
        }
    }

    #[test]
    fn unknown_kinds_have_their_numbers() {
        let kind = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x02];
        let name = name(&[&[attribute(&kind, IA5_STRING, b"x")]]);
        let expected = "1.2.840.113549.1.9.2=#1682000178";
        assert_eq!(text(&name).as_deref(), Some(expected));
        assert_eq!(dotted(&[0x88, 0x37]).as_deref(), Some("2.999"));
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0xff; 12]), None);
    }

    #[test]
    fn what_is_malformed_or_too_long_is_not_told() {
        let whole = common(UTF8_STRING, b"Ada");
        for len in 0..whole.len() {
            assert_eq!(text(&whole[..len]), None, "{len}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x11;
            let _ = (text(&changed), common_name(&changed));
        }
        let at_most = vec![b'a'; TEXT_LEN_MAX - 3];
        assert!(text(&common(UTF8_STRING, &at_most)).is_some());
        let more = vec![b'a'; TEXT_LEN_MAX - 2];
        assert_eq!(text(&common(UTF8_STRING, &more)), None);
    }
}
