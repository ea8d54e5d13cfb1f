//! The proxy's own answers: short texts with exact lengths, and places to redirect to.

use super::Scheme;
use super::head::Request;

/// Appends one of our own answers to `out`.
///
/// `body` is sent as text/plain with its exact length; `to_head` tells the length and leaves the
/// body out. Control characters in `extra_lines` (name and value) are left out, so that no value
/// can begin a new line. With `close` the answer says that the connection ends after it. It is
/// always HTTP/1.1, whatever the client speaks (RFC 9110 section 6.2).
pub fn own(
    status: u16,
    body: &str,
    extra_lines: &[(&str, &str)],
    close: bool,
    to_head: bool,
    out: &mut Vec<u8>,
) {
    let has_body = !matches!(status, 100..=199 | 204 | 304);
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
    if has_body {
        out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    for (name, value) in extra_lines {
        out.extend(name.bytes().filter(|byte| !byte.is_ascii_control()));
        out.extend_from_slice(b": ");
        out.extend(value.bytes().filter(|byte| !byte.is_ascii_control()));
        out.extend_from_slice(b"\r\n");
    }
    if close {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if has_body && !to_head {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Returns the reason phrase of RFC 9110 section 15, empty for codes it does not know.
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

/// Builds the Location of a redirect: path and query as received, behind another scheme, host or
/// port.
///
/// `host` none means the request's host without its port; `port` none, or the default of `scheme`,
/// is left out. Nothing is returned for a request that names no host (HTTP/1.0) when none is given.
/// A target holds visible ASCII only, so the value cannot begin a new line.
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
