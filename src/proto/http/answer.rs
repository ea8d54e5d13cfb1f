//! The proxy's own answers, texts or pages with exact lengths, and targets of redirects.

use super::Scheme;
use super::head::Request;

/// The body of an answer, with its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerBody<'a> {
    /// The value of Content-Type, which must hold no control characters.
    pub media_type: &'a str,
    /// The body.
    pub bytes: &'a [u8],
}

impl<'a> AnswerBody<'a> {
    /// Makes a body of `text`, as text/plain.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self {
            media_type: "text/plain; charset=utf-8",
            bytes: text.as_bytes(),
        }
    }
}

/// An answer of the proxy itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own<'a> {
    /// The status.
    pub status: u16,
    /// Sent with its exact length; left out where the status has no body.
    pub content: AnswerBody<'a>,
    /// Further lines, name and value. Control characters are left out, so that no value can begin a
    /// new line. Connection is not one of them.
    pub extra_lines: &'a [(&'a str, &'a str)],
    /// The value of Strict-Transport-Security, for connections over TLS that are configured for it.
    pub strict_transport: Option<&'a str>,
    /// Whether the connection ends after the answer.
    pub close: bool,
    /// Whether the answer is to HEAD: the length is sent, the body is not.
    pub to_head: bool,
}

impl Own<'_> {
    /// Appends the answer to `out`. It is always HTTP/1.1, whatever the client's version (RFC 9110 section
    /// 6.2).
    pub fn write(&self, out: &mut Vec<u8>) {
        let status = self.status;
        let has_body = !matches!(status, 100..=199 | 204 | 304);
        out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
        if has_body {
            write_line(out, "Content-Type", self.content.media_type);
            write_line(out, "Content-Length", &self.content.bytes.len().to_string());
        }
        for (name, value) in self.extra_lines {
            write_line(out, name, value);
        }
        if let Some(value) = self.strict_transport {
            write_line(out, "Strict-Transport-Security", value);
        }
        // One line only: some readers look at the first one alone.
        let upgrades = self.extra_lines.iter().any(|(name, _)| *name == "Upgrade");
        match (self.close, upgrades) {
            (true, true) => write_line(out, "Connection", "close, Upgrade"),
            (true, false) => write_line(out, "Connection", "close"),
            (false, true) => write_line(out, "Connection", "Upgrade"),
            (false, false) => {}
        }
        out.extend_from_slice(b"\r\n");
        if has_body && !self.to_head {
            out.extend_from_slice(self.content.bytes);
        }
    }
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend(name.bytes().filter(|byte| !byte.is_ascii_control()));
    out.extend_from_slice(b": ");
    out.extend(value.bytes().filter(|byte| !byte.is_ascii_control()));
    out.extend_from_slice(b"\r\n");
}

/// Returns the reason phrase of RFC 9110 section 15, empty for unknown codes.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// Builds the Location of a redirect: path and query as received, with another scheme, host or port.
///
/// `host` none means the request's host without its port; `port` none, or the default of `scheme`, is left
/// out. Returns none if neither the request (HTTP/1.0) nor `host` names a host. A target holds visible ASCII
/// only, so the value cannot begin a new line.
#[must_use]
pub fn location(
    request: &Request<'_>,
    scheme: Scheme,
    host: Option<&str>,
    port: Option<u16>,
) -> Option<String> {
    let host = host.unwrap_or(&request.host);
    if host.is_empty() {
        return None;
    }
    let (path, query) = request.path_and_query();
    let path = if path == "*" { "/" } else { path };
    let port = match port {
        Some(port) if port != scheme.default_port() => format!(":{port}"),
        Some(_) | None => String::new(),
    };
    Some(format!("{}://{host}{port}{path}{query}", scheme.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Progress;
    use crate::proto::http::framing::Framing;
    use crate::proto::http::head::{HeadLimits, parse_request, parse_response};

    const LIMITS: HeadLimits = HeadLimits {
        request_line: 1000,
        head: 1000,
        headers: 10,
    };

    #[test]
    fn answers_are_whole() {
        let mut out = Vec::new();
        let answer = Own {
            status: 301,
            content: AnswerBody::text("ü\n"),
            extra_lines: &[("Location", "http://a/\r\nEvil: x")],
            strict_transport: Some("max-age=1"),
            close: true,
            to_head: false,
        };
        answer.write(&mut out);
        let expected = "HTTP/1.1 301 Moved Permanently\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\
            Location: http://a/Evil: x\r\nStrict-Transport-Security: max-age=1\r\n\
            Connection: close\r\n\r\nü\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn answers_end_where_they_say() {
        // Status, close, to HEAD; framing as a client reads it, bytes of body sent.
        let rows = [
            (200, false, false, Framing::Length(4), 4),
            (404, true, false, Framing::Length(4), 4),
            (503, true, true, Framing::None, 0),
            (204, false, false, Framing::None, 0),
            (304, false, false, Framing::None, 0),
            (599, false, false, Framing::Length(4), 4),
        ];
        for (status, close, to_head, framing, body_len) in rows {
            let mut out = Vec::new();
            let answer = Own {
                status,
                content: AnswerBody {
                    media_type: "text/html",
                    bytes: b"body",
                },
                extra_lines: &[],
                strict_transport: None,
                close,
                to_head,
            };
            answer.write(&mut out);
            let method = if to_head { "HEAD" } else { "GET" };
            let Ok(Progress::Complete { value, used }) = parse_response(&out, method, &LIMITS)
            else {
                panic!("{status}")
            };
            assert_eq!(value.status, status);
            assert_eq!(value.framing, framing, "{status}");
            assert_eq!(value.keep_alive, !close, "{status}");
            assert_eq!(out.len() - used, body_len, "{status}");
        }
    }

    #[test]
    fn an_answer_has_one_connection_line_at_most() {
        let upgrade = [("Upgrade", "websocket")];
        let rows = [
            (true, &upgrade[..], &["Connection: close, Upgrade"][..]),
            (false, &upgrade[..], &["Connection: Upgrade"]),
            (true, &[], &["Connection: close"]),
            (false, &[], &[]),
        ];
        for (close, extra_lines, expected) in rows {
            let mut out = Vec::new();
            let answer = Own {
                status: 426,
                content: AnswerBody::text("no"),
                extra_lines,
                strict_transport: None,
                close,
                to_head: false,
            };
            answer.write(&mut out);
            let text = String::from_utf8(out).unwrap();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with("Connection"))
                .collect();
            assert_eq!(lines, expected);
        }
    }

    #[test]
    fn redirects_keep_path_and_query() {
        use Scheme::{Http, Https};
        let rows = [
            (
                "/a/%2e?x=/../",
                "b:8080",
                Https,
                None,
                None,
                Some("https://b/a/%2e?x=/../"),
            ),
            ("/", "B", Http, Some("c"), Some(81), Some("http://c:81/")),
            ("/", "b", Https, None, Some(443), Some("https://b/")),
            ("/", "b", Http, None, Some(443), Some("http://b:443/")),
            ("//evil/", "b", Https, None, None, Some("https://b//evil/")),
            ("http://b?q", "b", Https, None, None, Some("https://b/?q")),
            ("/", "[::1]:80", Https, None, None, Some("https://[::1]/")),
            ("/", "", Https, None, None, None),
            ("/", "", Https, Some("c"), None, Some("https://c/")),
        ];
        for (target, host, scheme, to_host, port, expected) in rows {
            let head = match host {
                "" => format!("GET {target} HTTP/1.0\r\n\r\n"),
                host => format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            };
            let Ok(Progress::Complete { value, .. }) = parse_request(head.as_bytes(), &LIMITS)
            else {
                panic!("{head}")
            };
            let found = location(&value, scheme, to_host, port);
            assert_eq!(found.as_deref(), expected, "{head}");
        }
    }
}
