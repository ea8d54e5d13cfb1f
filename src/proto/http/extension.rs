//! Chunk extensions (RFC 9112 section 7.1.1), read by their grammar, one byte at a time.
//!
//! An extension concerns one connection only, and no one is known to need one across a proxy, so their
//! meaning is not kept. What is not of the form is refused: servers and proxies disagree on where such a line
//! ends.

/// How far an extension has come, after its first semicolon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// Behind a semicolon.
    Semicolon,
    /// Within a name.
    Name,
    /// Behind a name and a blank.
    BehindName,
    /// Behind an equals sign.
    Equals,
    /// Within a value that is a token.
    Token,
    /// Within a value in quotes.
    Quoted,
    /// Behind a backslash in quotes.
    Escaped,
    /// Directly behind closing quotes.
    BehindQuotes,
    /// Behind a value and a blank.
    BehindValue,
}

impl Extension {
    /// Takes one byte of the line; none = the extension is malformed. Line ends are not taken.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        let is_token = is_token_byte(byte);
        match (self, byte) {
            (Self::Semicolon, b' ' | b'\t') => Some(Self::Semicolon),
            (Self::Semicolon | Self::Name, _) if is_token => Some(Self::Name),
            (Self::Name | Self::BehindName, b' ' | b'\t') => Some(Self::BehindName),
            (Self::Name | Self::BehindName, b'=') => Some(Self::Equals),
            (Self::Equals, b' ' | b'\t') => Some(Self::Equals),
            (Self::Equals, b'"') => Some(Self::Quoted),
            (Self::Equals | Self::Token, _) if is_token => Some(Self::Token),
            (Self::Quoted, b'"') => Some(Self::BehindQuotes),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted | Self::Escaped, b'\t' | b' '..=b'~' | 0x80..) => Some(Self::Quoted),
            (Self::Token | Self::BehindQuotes | Self::BehindValue, b' ' | b'\t') => {
                Some(Self::BehindValue)
            }
            (
                Self::Name
                | Self::BehindName
                | Self::Token
                | Self::BehindQuotes
                | Self::BehindValue,
                b';',
            ) => Some(Self::Semicolon),
            (_, _) => None,
        }
    }

    /// Returns whether the line may end here; `padded` = blanks may stand at its end.
    pub(super) fn may_end(self, padded: bool) -> bool {
        match self {
            Self::Name | Self::Token | Self::BehindQuotes => true,
            Self::BehindName | Self::BehindValue => padded,
            Self::Semicolon | Self::Equals | Self::Quoted | Self::Escaped => false,
        }
    }
}

/// Returns whether a byte may be part of a token (RFC 9110 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what stands behind the first semicolon; returns whether the line may end there, without and with
    /// blanks at its end.
    fn read(text: &str) -> Option<(bool, bool)> {
        let mut bytes = text.bytes();
        let end = bytes.try_fold(Extension::Semicolon, Extension::next)?;
        Some((end.may_end(false), end.may_end(true)))
    }

    #[test]
    fn extensions_are_read_by_their_grammar() {
        let (whole, padded, open) = (
            Some((true, true)),
            Some((false, true)),
            Some((false, false)),
        );
        let rows = [
            ("a", whole),
            ("a=b", whole),
            (" \ta", whole),
            ("a;b;c=d", whole),
            ("a = b ; c", whole),
            ("a=\"\"", whole),
            ("a=\"b; c=\\\" \t\u{fc}\"", whole),
            ("a=\"b\";c", whole),
            ("chunk-signature=0123456789abcdef", whole),
            ("ieof", whole),
            ("a ", padded),
            ("a=b \t", padded),
            ("a=\"b\" ", padded),
            // Nothing behind the semicolon or the equals sign, or quotes that are not closed.
            ("", open),
            (" ", open),
            ("a;", open),
            ("a; ", open),
            ("a=", open),
            ("a= ", open),
            ("a=\"b", open),
            ("a=\"b\\\"", open),
            ("a=\"\\", open),
            (";", None),
            ("a;;b", None),
            ("=b", None),
            ("a==b", None),
            ("a b", None),
            ("a=b c", None),
            ("a=b=c", None),
            ("\"a\"", None),
            ("a\"b\"", None),
            ("a=b\"c\"", None),
            ("a=\"b\"c", None),
            ("a=\"b\"\"c\"", None),
            ("a,b", None),
            ("\u{fc}", None),
            ("a=\u{fc}", None),
            ("a\0", None),
            ("a=\"\0\"", None),
            ("a=\"\\\0\"", None),
            ("a=\"\x7f\"", None),
            ("a=\r", None),
            ("a\n", None),
            ("a=\"\r\n\"", None),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }
}
