//! What a listener's answers carry besides what they answer: `[listener.errors]` and `tls.hsts`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::config::read::{Table, Value, alternatives, shown};
use crate::config::units;
use crate::config::{ErrorPage, ErrorPages, Hsts, Mode, REFUSAL_STATUSES};

/// Longest error page, in bytes: it is sent as a whole, and stays in memory.
const PAGE_LEN_MAX: u64 = 64 * 1024;
const PAGE: &str = "the path of a file of at most 64KiB";
const AGE: &str = "a whole number and a unit such as \"8760h\", at most 87600h";
const AGE_MAX: Duration = Duration::from_hours(10 * 365 * 24);
/// What browsers' lists ask of a host that wants to be in them (hstspreload.org).
const PRELOAD_AGE_MIN: Duration = Duration::from_hours(365 * 24);

/// Reads `[listener.errors]` and the files it names.
pub(super) fn error_pages(listener: &mut Table<'_, '_>, mode: Mode) -> ErrorPages {
    let Some(value) = listener.take("errors") else {
        return ErrorPages::default();
    };
    let Some(mut table) = of_http(value, mode).and_then(Value::table) else {
        return ErrorPages::default();
    };
    let mut pages: Vec<ErrorPage> = table
        .take_all()
        .into_iter()
        .filter_map(|(key, value)| error_page(&key, value))
        .collect();
    pages.sort_by_key(|page| page.status);
    ErrorPages(pages)
}

fn error_page(key: &str, value: Value<'_, '_>) -> Option<ErrorPage> {
    let statuses = REFUSAL_STATUSES.map(|status| status.to_string());
    let Some(at) = statuses.iter().position(|status| status == key) else {
        let words: Vec<&str> = statuses.iter().map(String::as_str).collect();
        value.place.reject(format!(
            "{} is no status that longsplice refuses with; {}",
            shown(key),
            alternatives(&words)
        ));
        return None;
    };
    let place = value.place.clone();
    let file = value.file(PAGE)?;
    let bytes = match content_of(&file) {
        Ok(bytes) => bytes,
        Err(wrong) => {
            place.reject(format!("{wrong}; {PAGE}"));
            return None;
        }
    };
    Some(ErrorPage {
        status: REFUSAL_STATUSES.get(at).copied()?,
        media_type: media_type(&file, &bytes),
        file,
        bytes: bytes.into(),
    })
}

fn content_of(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = File::open(file);
    let read = opened.and_then(|file| file.take(PAGE_LEN_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > PAGE_LEN_MAX => Err("is longer than 64KiB".to_owned()),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// Names the type of a page; its encoding only where it is certain.
fn media_type(file: &Path, bytes: &[u8]) -> &'static str {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let is_html = extension.is_some_and(|extension| {
        extension.eq_ignore_ascii_case("html") || extension.eq_ignore_ascii_case("htm")
    });
    match (is_html, std::str::from_utf8(bytes).is_ok()) {
        (true, true) => "text/html; charset=utf-8",
        (true, false) => "text/html",
        (false, true) => "text/plain; charset=utf-8",
        (false, false) => "text/plain",
    }
}

/// Reads `tls.hsts`: a duration, or a table with more.
pub(super) fn hsts(tls: &mut Table<'_, '_>, mode: Mode) -> Option<Hsts> {
    let value = of_http(tls.take("hsts")?, mode)?;
    if !value.is_table() {
        return Some(strict_transport(age(value)?, false, false));
    }
    let mut table = value.table()?;
    let max_age = table.require("max_age", AGE).and_then(age);
    let include_subdomains = table.boolean("include_subdomains").unwrap_or(false);
    let preload = table.boolean("preload").unwrap_or(false);
    let max_age = max_age?;
    if preload && (!include_subdomains || max_age < PRELOAD_AGE_MIN) {
        table.place.warn(
            "browsers' lists take a host with preload only together with include_subdomains and a \
             max_age of 8760h or more",
        );
    }
    Some(strict_transport(max_age, include_subdomains, preload))
}

fn age(value: Value<'_, '_>) -> Option<Duration> {
    value.parse(AGE, |text| {
        let age = units::duration(text, &(Duration::ZERO..=AGE_MAX))?;
        if age.subsec_nanos() != 0 {
            return Err("is no whole number of seconds".to_owned());
        }
        Ok(age)
    })
}

/// Writes the header's value (RFC 6797 section 6.1).
fn strict_transport(max_age: Duration, include_subdomains: bool, preload: bool) -> Hsts {
    let mut value = format!("max-age={}", max_age.as_secs());
    for (set, directive) in [
        (include_subdomains, "; includeSubDomains"),
        (preload, "; preload"),
    ] {
        if set {
            value.push_str(directive);
        }
    }
    Hsts {
        max_age,
        include_subdomains,
        preload,
        value,
    }
}

/// Refuses a key where no answer is ours to write on.
fn of_http<'r, 'a>(value: Value<'r, 'a>, mode: Mode) -> Option<Value<'r, 'a>> {
    if mode == Mode::Http {
        return Some(value);
    }
    value
        .place
        .reject("does not belong here: the proxy speaks no HTTP on this listener; mode = \"http\"");
    None
}
