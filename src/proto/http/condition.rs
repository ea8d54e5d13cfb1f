//! Conditions of routes on the method, header fields and the query: their legal forms, and when they hold.
//!
//! Comparing allocates nothing, decodes percent-escapes on the way, and changes nothing in the request.
//! Methods are case-sensitive (RFC 9110 section 9.1), names of fields are not (section 5.1). A query is read
//! as forms write it (WHATWG URL, section 5.1): pairs between `&`, `+` for a space.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::fields::named;
use super::head::Request;
use super::names::{X_CLIENT_SUBJECT, is_about_client, is_lookalike};

/// Longest method of a condition, in bytes.
pub const METHOD_LEN_MAX: usize = 64;
/// Longest name of a field or of a parameter in a condition, in bytes.
pub const NAME_LEN_MAX: usize = 128;
/// Longest pattern of a value, in bytes. It bounds the work of one comparison: a star has it tried at every
/// byte of the value.
pub const PATTERN_LEN_MAX: usize = 256;

/// Methods of RFC 9110 and RFC 5789, for a hint about a method in the wrong case.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH",
];

/// A method that a request may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodName(String);

/// Why a text is not a [`MethodName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MethodNameError {
    /// No token (RFC 9110 section 5.6.2).
    #[error("is no method: a method consists of letters, digits and !#$%&'*+-.^_`|~")]
    Token,
    /// Longer than [`METHOD_LEN_MAX`].
    #[error("is longer than {METHOD_LEN_MAX} bytes")]
    TooLong,
    /// A well-known method in another case.
    #[error("matches no usual request: methods are case-sensitive; write \"{0}\"")]
    Case(&'static str),
    /// CONNECT.
    #[error("never arrives: longsplice refuses CONNECT")]
    Connect,
}

impl FromStr for MethodName {
    type Err = MethodNameError;

    /// Parses a method.
    ///
    /// # Errors
    /// One [`MethodNameError`] each for what is not allowed.
    fn from_str(text: &str) -> Result<Self, MethodNameError> {
        if !is_token(text) {
            return Err(MethodNameError::Token);
        }
        if text.len() > METHOD_LEN_MAX {
            return Err(MethodNameError::TooLong);
        }
        if text.eq_ignore_ascii_case("CONNECT") {
            return Err(MethodNameError::Connect);
        }
        let meant = |known: &&&str| known.eq_ignore_ascii_case(text) && **known != text;
        match METHODS.iter().find(meant) {
            Some(known) => Err(MethodNameError::Case(known)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl MethodName {
    /// Returns whether this is the method of a request.
    #[must_use]
    pub fn matches(&self, method: &str) -> bool {
        self.0 == method
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A condition on a header field, or on a parameter of the query: its name, and patterns of its value, any of
/// which must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition<N> {
    /// The name.
    pub name: N,
    /// The patterns, at least one.
    pub values: Vec<ValuePattern>,
}

impl Condition<FieldName> {
    /// Returns whether a line of that name has a value that matches. `trusted` says whether the sender of the
    /// request is; lines about the client count from such a sender only, because others are dropped.
    #[must_use]
    pub fn holds(&self, request: &Request<'_>, trusted: bool) -> bool {
        let counts = trusted || !self.name.is_forwarding;
        let matches = |value: &[u8]| {
            self.values
                .iter()
                .any(|pattern| pattern.matches(value.iter().copied()))
        };
        counts && named(&request.lines, &self.name.text).any(|line| matches(line.value))
    }
}

impl Condition<ParameterName> {
    /// Returns whether a parameter of that name has a value that matches. The query is as received, without
    /// or with its `?`.
    #[must_use]
    pub fn holds(&self, query: &str) -> bool {
        let query = query.strip_prefix('?').unwrap_or(query);
        let matches = |value: &str| {
            let decoded = Decoded::of(value);
            self.values
                .iter()
                .any(|pattern| pattern.matches(decoded.clone()))
        };
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .any(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Decoded::of(name).eq(self.name.0.bytes()) && matches(value)
            })
    }
}

impl<N: PartialEq> Condition<N> {
    /// Returns whether this holds for every request for which `other` does, as far as equal patterns show.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let covered = |value| self.values.iter().any(|own| own.is_any() || own == value);
        self.name == other.name && other.values.iter().all(covered)
    }
}

/// The name of a header field that a condition may look at.
#[derive(Debug, Clone)]
pub struct FieldName {
    /// As written.
    text: String,
    /// Whether it is about the client that a peer forwards for.
    is_forwarding: bool,
}

impl PartialEq for FieldName {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for FieldName {}

/// Why a text is not a [`FieldName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FieldNameError {
    /// No token.
    #[error("is no name of a header: it consists of letters, digits and !#$%&'*+-.^_`|~")]
    Token,
    /// Longer than [`NAME_LEN_MAX`].
    #[error("is longer than {NAME_LEN_MAX} bytes")]
    TooLong,
    /// Host.
    #[error("has a key of its own: host, whose patterns ignore case and port")]
    Host,
    /// A name that some programs take for another one.
    #[error("never arrives: longsplice drops it, because some programs take it for another header")]
    Lookalike,
    /// X-Client-Subject.
    #[error("is written by longsplice; what clients send under this name is dropped")]
    ClientSubject,
}

impl FromStr for FieldName {
    type Err = FieldNameError;

    /// Parses a name, in any case.
    ///
    /// # Errors
    /// One [`FieldNameError`] each for what is not allowed.
    fn from_str(text: &str) -> Result<Self, FieldNameError> {
        if !is_token(text) {
            return Err(FieldNameError::Token);
        }
        if text.len() > NAME_LEN_MAX {
            return Err(FieldNameError::TooLong);
        }
        if text.eq_ignore_ascii_case("host") {
            return Err(FieldNameError::Host);
        }
        if is_lookalike(text) {
            return Err(FieldNameError::Lookalike);
        }
        if text.eq_ignore_ascii_case(X_CLIENT_SUBJECT) {
            return Err(FieldNameError::ClientSubject);
        }
        Ok(Self {
            text: text.to_owned(),
            is_forwarding: is_about_client(text),
        })
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The name of a parameter of the query, decoded; case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterName(String);

/// Why a text is not a [`ParameterName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParameterNameError {
    /// No text.
    #[error("is empty")]
    Empty,
    /// Longer than [`NAME_LEN_MAX`].
    #[error("is longer than {NAME_LEN_MAX} bytes")]
    TooLong,
}

impl FromStr for ParameterName {
    type Err = ParameterNameError;

    /// Takes a name in its decoded form.
    ///
    /// # Errors
    /// One [`ParameterNameError`] each for what is not allowed.
    fn from_str(text: &str) -> Result<Self, ParameterNameError> {
        match text.len() {
            0 => Err(ParameterNameError::Empty),
            1..=NAME_LEN_MAX => Ok(Self(text.to_owned())),
            _ => Err(ParameterNameError::TooLong),
        }
    }
}

impl fmt::Display for ParameterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern of a value: a text in which each `*` stands for any number of bytes, none included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePattern(String);

/// Why a text is not a [`ValuePattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ValuePatternError {
    /// Longer than [`PATTERN_LEN_MAX`].
    #[error("is longer than {PATTERN_LEN_MAX} bytes")]
    TooLong,
    /// A control character. A `*` stands for one that a query has escaped, or for a tab in a field.
    #[error("holds a control character: write * in its place")]
    Control,
}

impl FromStr for ValuePattern {
    type Err = ValuePatternError;

    /// Parses a pattern; the empty one matches an empty value.
    ///
    /// # Errors
    /// One [`ValuePatternError`] each for what is not allowed.
    fn from_str(text: &str) -> Result<Self, ValuePatternError> {
        if text.len() > PATTERN_LEN_MAX {
            return Err(ValuePatternError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(ValuePatternError::Control);
        }
        Ok(Self(text.to_owned()))
    }
}

impl ValuePattern {
    /// Returns whether every value matches.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Returns whether the bytes of a value match, in their case.
    ///
    /// A star first stands for nothing; at the first byte that does not fit, the last star takes one more.
    fn matches(&self, value: impl Iterator<Item = u8> + Clone) -> bool {
        let (mut pattern, mut value) = (self.0.as_bytes(), value);
        let mut last_star = None;
        loop {
            let here = value.clone();
            match (pattern, value.next()) {
                (b"*", _) | ([], None) => return true,
                ([b'*', rest @ ..], _) => {
                    (pattern, value) = (rest, here.clone());
                    last_star = Some((rest, here));
                }
                ([wanted, rest @ ..], Some(byte)) if *wanted == byte => pattern = rest,
                (_, None) => return false,
                (_, Some(_)) => {
                    let Some((behind, from)) = &mut last_star else {
                        return false;
                    };
                    from.next();
                    (pattern, value) = (behind, from.clone());
                }
            }
        }
    }
}

impl fmt::Display for ValuePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bytes of a name or value in a query, decoded: `+` is a space, and an escape without two hex digits
/// stays as it is.
#[derive(Debug, Clone)]
struct Decoded<'a> {
    rest: &'a [u8],
}

impl<'a> Decoded<'a> {
    fn of(text: &'a str) -> Self {
        let rest = text.as_bytes();
        Self { rest }
    }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match self.rest {
            [] => return None,
            [b'%', high, low, rest @ ..] => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                (_, _) => (b'%', self.rest.get(1..).unwrap_or(&[])),
            },
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
        };
        self.rest = rest;
        Some(byte)
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// Returns whether a text is a token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(in_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Progress;
    use crate::proto::http::head::{HeadLimits, parse_request};

    const LIMITS: HeadLimits = HeadLimits {
        request_line: 8 * 1024,
        head: 32 * 1024,
        headers: 100,
    };

    fn condition<N: FromStr<Err: fmt::Debug>>(name: &str, values: &[&str]) -> Condition<N> {
        let pattern = |text: &&str| text.parse().unwrap();
        Condition {
            name: name.parse().unwrap(),
            values: values.iter().map(pattern).collect(),
        }
    }

    #[test]
    fn patterns_match_what_they_say() {
        let rows = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("**", "a", true),
            ("v2", "v2", true),
            ("v2", "V2", false),
            ("v2", "v22", false),
            ("v2", "v", false),
            ("v2*", "v2.1", true),
            ("*bot", "Googlebot", true),
            ("*bot", "Googlebot/2", false),
            ("*bot*", "Googlebot/2", true),
            ("*bot*", "bot", true),
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*aab", "aaaab", true),
            ("*ab*ab", "abxab", true),
            ("*ab*ab", "ab", false),
            ("a b", "a b", true),
            ("m\u{fc}nchen*", "m\u{fc}nchen 1", true),
        ];
        for (pattern, value, expected) in rows {
            let pattern: ValuePattern = pattern.parse().unwrap();
            assert_eq!(
                pattern.matches(value.bytes()),
                expected,
                "{pattern} {value}"
            );
            assert_eq!(pattern.to_string().parse(), Ok(pattern));
        }
        use ValuePatternError as E;
        let long = "a".repeat(PATTERN_LEN_MAX + 1);
        for (text, error) in [
            ("a\r\nb", E::Control),
            ("a\u{7f}", E::Control),
            (&long, E::TooLong),
        ] {
            assert_eq!(text.parse::<ValuePattern>(), Err(error), "{text:?}");
        }
    }

    /// Says the same by recursion.
    fn reference(pattern: &[u8], value: &[u8]) -> bool {
        match (pattern, value) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                (0..=value.len()).any(|taken| reference(rest, &value[taken..]))
            }
            ([wanted, rest @ ..], [byte, value @ ..]) => wanted == byte && reference(rest, value),
            (_, _) => false,
        }
    }

    #[test]
    fn patterns_agree_with_a_slow_reading() {
        let texts = |alphabet: &[char], len: usize| {
            let mut all = vec![String::new()];
            let mut from = 0;
            for _ in 0..len {
                let until = all.len();
                for index in from..until {
                    for letter in alphabet {
                        let text = format!("{}{letter}", all[index]);
                        all.push(text);
                    }
                }
                from = until;
            }
            all
        };
        let values = texts(&['a', 'b'], 6);
        for pattern in texts(&['a', 'b', '*'], 5) {
            let parsed: ValuePattern = pattern.parse().unwrap();
            for value in &values {
                let expected = reference(pattern.as_bytes(), value.as_bytes());
                assert_eq!(parsed.matches(value.bytes()), expected, "{pattern} {value}");
            }
        }
    }

    #[test]
    fn methods_are_tokens_in_their_case() {
        let get: MethodName = "GET".parse().unwrap();
        for (method, expected) in [("GET", true), ("get", false), ("HEAD", false), ("", false)] {
            assert_eq!(get.matches(method), expected, "{method}");
        }
        use MethodNameError as E;
        let long = "A".repeat(METHOD_LEN_MAX + 1);
        let rows = [
            ("M-SEARCH", None),
            ("PROPFIND", None),
            ("x!", None),
            ("", Some(E::Token)),
            ("GET ", Some(E::Token)),
            ("GET,POST", Some(E::Token)),
            ("get", Some(E::Case("GET"))),
            ("Patch", Some(E::Case("PATCH"))),
            ("connect", Some(E::Connect)),
            (&long, Some(E::TooLong)),
        ];
        for (text, error) in rows {
            assert_eq!(text.parse::<MethodName>().err(), error, "{text}");
        }
    }

    #[test]
    fn names_of_fields_say_what_is_wrong() {
        use FieldNameError as E;
        let long = "A".repeat(NAME_LEN_MAX + 1);
        let rows = [
            ("X-Api-Version", None),
            ("x_y", None),
            ("", Some(E::Token)),
            ("X Y", Some(E::Token)),
            ("X:", Some(E::Token)),
            ("hOST", Some(E::Host)),
            ("X-Client-Subject", Some(E::ClientSubject)),
            ("x_client_subject", Some(E::Lookalike)),
            ("X.Forwarded.Host", Some(E::Lookalike)),
            (&long, Some(E::TooLong)),
        ];
        for (text, error) in rows {
            assert_eq!(text.parse::<FieldName>().err(), error, "{text}");
        }
    }

    fn holds_for(condition: &Condition<FieldName>, lines: &str, trusted: bool) -> bool {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        match parse_request(text.as_bytes(), &LIMITS).unwrap() {
            Progress::Complete { value, .. } => condition.holds(&value, trusted),
            Progress::Partial => panic!("{lines:?}"),
        }
    }

    #[test]
    fn fields_match_in_any_line() {
        let rows = [
            ("X-V", &["2"][..], "X-V: 2\r\n", true),
            ("X-V", &["2"], "x-v:2\r\n", true),
            ("x-v", &["2"], "X-V:  2 \r\n", true),
            ("X-V", &["2"], "X-V: 1\r\nX-V: 2\r\n", true),
            ("X-V", &["1", "2"], "X-V: 2\r\n", true),
            ("X-V", &["2"], "X-V: 1, 2\r\n", false),
            ("X-V", &["*2*"], "X-V: 1, 2\r\n", true),
            ("X-V", &["2"], "X-VV: 2\r\n", false),
            ("X-V", &["2"], "X_V: 2\r\n", false),
            ("X-V", &["*"], "X-V:\r\n", true),
            ("X-V", &[""], "X-V:\r\n", true),
            ("X-V", &[""], "", false),
            ("X-V", &["*"], "", false),
            ("X-V", &["a*"], "X-V: a\u{ff}\r\n", true),
        ];
        for (name, values, lines, expected) in rows {
            let condition = condition(name, values);
            assert_eq!(
                holds_for(&condition, lines, false),
                expected,
                "{name} {values:?} {lines}"
            );
        }
    }

    #[test]
    fn lines_about_the_client_count_from_trusted_senders() {
        for name in [
            "X-Forwarded-Host",
            "X-Real-IP",
            "Forwarded",
            "X-Forwarded-Prefix",
        ] {
            let condition = condition(name, &["a"]);
            let lines = format!("{name}: a\r\n");
            let found = [false, true].map(|trusted| holds_for(&condition, &lines, trusted));
            assert_eq!(found, [false, true], "{name}");
        }
    }

    #[test]
    fn parameters_match_decoded() {
        let rows = [
            ("v", &["2"][..], "?v=2", true),
            ("v", &["2"], "v=2", true),
            ("v", &["2"], "?a=1&v=2&b", true),
            ("v", &["2"], "?v=1&v=2", true),
            ("v", &["2"], "?v=%32", true),
            ("v", &["2"], "?%76=2", true),
            ("v", &["2"], "?V=2", false),
            ("v", &["2"], "?v=2=", false),
            ("v", &["2=3"], "?v=2=3", true),
            ("v", &["2"], "?v=2;a=1", false),
            ("v", &["2"], "?av=2", false),
            ("v", &["2"], "", false),
            ("v", &["2"], "?", false),
            ("v", &["*"], "?v", true),
            ("v", &[""], "?v", true),
            ("v", &[""], "?v=", true),
            ("v", &[""], "?&&v&", true),
            ("v", &["*"], "?w", false),
            ("v", &["a b"], "?v=a+b", true),
            ("v", &["a b"], "?v=a%20b", true),
            ("v", &["a+b"], "?v=a%2Bb", true),
            ("v", &["a+b"], "?v=a+b", false),
            ("v", &["a&b"], "?v=a%26b", true),
            ("v", &["%zz%4"], "?v=%zz%4", true),
            ("v", &["%"], "?v=%25", true),
            ("v", &["\u{e4}"], "?v=%c3%A4", true),
            ("a b", &["*"], "?a+b", true),
            ("v", &["1", "2*"], "?v=23", true),
        ];
        for (name, values, query, expected) in rows {
            let condition: Condition<ParameterName> = condition(name, values);
            assert_eq!(
                condition.holds(query),
                expected,
                "{name} {values:?} {query}"
            );
        }
        use ParameterNameError as E;
        let long = "a".repeat(NAME_LEN_MAX + 1);
        for (text, error) in [("", E::Empty), (&long, E::TooLong)] {
            assert_eq!(text.parse::<ParameterName>(), Err(error), "{text}");
        }
    }

    #[test]
    fn wider_conditions_cover_narrower_ones() {
        let rows = [
            ("A", &["1"][..], "a", &["1"][..], true),
            ("A", &["1", "2"], "A", &["2"], true),
            ("A", &["1"], "A", &["1", "2"], false),
            ("A", &["*"], "A", &["1", "2"], true),
            ("A", &["1"], "A", &["*"], false),
            ("A", &["*"], "B", &["*"], false),
        ];
        for (wide, wide_values, narrow, narrow_values, expected) in rows {
            let wide: Condition<FieldName> = condition(wide, wide_values);
            let narrow = condition(narrow, narrow_values);
            assert_eq!(wide.covers(&narrow), expected, "{wide:?} {narrow:?}");
        }
    }
}
