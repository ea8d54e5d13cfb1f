//! Answers of an HTTP service of this process: a status, a body in memory, and header lines that restrict
//! what a browser does with it.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

/// An answer whose body is in memory.
pub type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";

/// Makes the answer to a method that is not one of `methods`.
#[must_use]
pub fn only(methods: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    let allowed = HeaderValue::from_static(methods);
    answer.headers_mut().insert(ALLOW, allowed);
    answer
}

/// Makes an answer of plain text.
#[must_use]
pub fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    page(status, TEXT, text)
}

/// Makes an answer that caches do not keep, whose type browsers do not guess, and that pages of another
/// origin may not embed.
#[must_use]
pub fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let lines = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in lines {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    answer
}
