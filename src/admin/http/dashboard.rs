//! The page at `/`: one file with its style and its program in it, which loads nothing from elsewhere.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use super::answers::{Answer, page};

const MARKUP: &str = include_str!("dashboard.html");
const STYLE: &str = include_str!("dashboard.css");
const PROGRAM: &str = include_str!("dashboard.js");

const HTML: &str = "text/html; charset=utf-8";

/// The page as it is sent.
static PAGE: LazyLock<Bytes> = LazyLock::new(|| {
    let text = MARKUP
        .replace("/* style */", STYLE)
        .replace("/* program */", PROGRAM);
    Bytes::from(text)
});

/// Permissions of the page (Content Security Policy Level 3): our style, our program, requests to us. Nothing
/// can be loaded from elsewhere, even if a name or an error message contains markup.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source_of(STYLE),
        source_of(PROGRAM)
    );
    // ASCII without control characters.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Answers with the page.
pub(super) fn answer() -> Answer {
    let mut answer = page(StatusCode::OK, HTML, PAGE.clone());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    answer
}

/// Names a text as a policy does.
fn source_of(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_put_together_and_holds_nothing_that_its_policy_refuses() {
        let page = std::str::from_utf8(&PAGE).unwrap();
        for (open, text, close) in [
            ("<style>", STYLE, "</style>"),
            ("<script>", PROGRAM, "</script>"),
        ] {
            assert!(page.contains(&format!("{open}{text}{close}")), "{open}");
            assert_eq!(page.matches(open).count(), 1, "{open}");
            assert!(!text.contains("</"), "{open} would end early");
        }
        for refused in [
            " style=",
            " onclick=",
            "innerHTML",
            "javascript:",
            "src=",
            "https:",
            "eval(",
        ] {
            assert!(!page.contains(refused), "{refused}");
        }
        let policy = POLICY.to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
