//! Authentication schemes in challenges and credentials (RFC 9110 section 11): which of them authenticate a
//! connection instead of a request.
//!
//! NTLM and Negotiate (RFC 4559) do so: the requests that follow on the connection belong to the user who has
//! authenticated, without another word. Nothing here decides whether a user is let in.

use super::line::Line;

/// The schemes that authenticate a connection.
const OF_CONNECTIONS: [&[u8]; 2] = [b"NTLM", b"Negotiate"];

/// Tells whether any challenge in the header lines of a response authenticates the connection.
#[must_use]
pub(super) fn challenges_connection(lines: &[Line<'_>]) -> bool {
    lines
        .iter()
        .filter(|line| line.is("www-authenticate") || line.is("proxy-authenticate"))
        .any(|line| schemes(line.value).any(is_of_connection))
}

/// Tells whether credentials in the header lines of a request authenticate the connection.
#[must_use]
pub(super) fn vouches_for_connection(lines: &[Line<'_>]) -> bool {
    lines
        .iter()
        .filter(|line| line.is("authorization") || line.is("proxy-authorization"))
        .any(|line| is_of_connection(token(line.value)))
}

fn is_of_connection(scheme: &[u8]) -> bool {
    OF_CONNECTIONS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme))
}

/// Returns the schemes of a list of challenges.
///
/// Commas separate challenges, and the parameters of a challenge as well. An element begins a challenge
/// unless its first token is followed by `=`.
fn schemes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    outside_quotes(value).filter_map(|element| {
        let scheme = token(element);
        let behind = element.get(scheme.len()..).unwrap_or_default();
        let is_parameter = behind.trim_ascii_start().starts_with(b"=");
        (!scheme.is_empty() && !is_parameter).then_some(scheme)
    })
}

/// Splits at the commas that do not stand in a quoted string (RFC 9110 section 5.6.4). A string without an end
/// reaches to the end of the value.
fn outside_quotes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let elements = value.split(move |byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => escaped = quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    });
    elements.map(<[u8]>::trim_ascii)
}

/// Returns the token at the start, perhaps an empty one.
fn token(value: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b',' | b'=' | b'"');
    let len = value.iter().position(is_end).unwrap_or(value.len());
    // `len` is at most the length.
    value.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(name: &'a str, value: &'a str) -> Line<'a> {
        Line {
            name,
            value: value.as_bytes(),
            raw: b"",
        }
    }

    #[test]
    fn challenges_name_their_schemes() {
        let rows: [(&str, &[&str]); 18] = [
            ("", &[]),
            ("NTLM", &["NTLM"]),
            ("NTLM TlRMTVNTUAACAAAA==", &["NTLM"]),
            ("ntlm\tTlRM", &["ntlm"]),
            ("Negotiate, NTLM", &["Negotiate", "NTLM"]),
            (",, Negotiate ,,NTLM,", &["Negotiate", "NTLM"]),
            ("Basic realm=\"x\"", &["Basic"]),
            ("Basic realm=\"x\", Negotiate", &["Basic", "Negotiate"]),
            ("Basic realm=\"a, NTLM\"", &["Basic"]),
            ("Basic realm=\"a\\\", NTLM\", Digest", &["Basic", "Digest"]),
            ("Basic realm = \"x\" , charset = \"UTF-8\"", &["Basic"]),
            (
                "Digest realm=\"x\", nonce=\"NTLM\", qop=auth, NTLM",
                &["Digest", "NTLM"],
            ),
            // Parameters of that name are none.
            ("Digest ntlm=1, Negotiate=2", &["Digest"]),
            ("Bearer error=\"NTLM\"", &["Bearer"]),
            ("NTLMv2 x", &["NTLMv2"]),
            ("X-NTLM", &["X-NTLM"]),
            // No end of the string: it holds all the rest.
            ("Basic realm=\"x, NTLM", &["Basic"]),
            ("=x, \"NTLM\"", &[]),
        ];
        for (value, expected) in rows {
            let found: Vec<_> = schemes(value.as_bytes())
                .map(|scheme| String::from_utf8_lossy(scheme).into_owned())
                .collect();
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn some_schemes_authenticate_the_connection() {
        let rows: [(&str, &str, bool); 10] = [
            ("WWW-Authenticate", "NTLM", true),
            ("www-authenticate", "nEGOTIATE YII=", true),
            ("Proxy-Authenticate", "Negotiate", true),
            ("WWW-Authenticate", "Basic realm=\"NTLM\", NTLM", true),
            ("WWW-Authenticate", "Basic realm=\"NTLM\"", false),
            ("WWW-Authenticate", "Digest realm=\"x\"", false),
            ("WWW-Authenticate", "NTLMv2", false),
            ("X-WWW-Authenticate", "NTLM", false),
            ("Authorization", "NTLM", false),
            ("Authentication-Info", "Negotiate", false),
        ];
        for (name, value, expected) in rows {
            let lines = [line("Server", "x"), line(name, value)];
            assert_eq!(challenges_connection(&lines), expected, "{name}: {value}");
        }
    }

    #[test]
    fn some_credentials_authenticate_the_connection() {
        let rows: [(&str, &str, bool); 8] = [
            ("Authorization", "NTLM TlRM", true),
            ("authorization", "negotiate YII=", true),
            ("Proxy-Authorization", "NTLM TlRM", true),
            ("Authorization", "Basic NTLM", false),
            ("Authorization", "Bearer x, NTLM", false),
            ("Authorization", "", false),
            ("WWW-Authenticate", "NTLM", false),
            ("X-Authorization", "NTLM", false),
        ];
        for (name, value, expected) in rows {
            let lines = [line("Host", "x"), line(name, value)];
            assert_eq!(vouches_for_connection(&lines), expected, "{name}: {value}");
        }
    }
}
