//! `[listener.errors]`: pages for the statuses of longsplice's own refusals.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::drafts::ListenerDraft;
use super::shared::refuse_without_http;
use crate::config::page::{Page, quoted_path};
use crate::config::read::{Scope, Value};
use crate::config::section::Type;
use crate::config::shape::Shape;
use crate::config::types::PATH;
use crate::config::words::{alternatives, shown};
use crate::config::{ErrorPage, ErrorPages, REFUSAL_STATUSES};

/// Longest error page, in bytes: it is sent as a whole, and stays in memory.
const PAGE_LEN_MAX: u64 = 64 * 1024;
const WANTED: &str = "the path of a file of at most 64KiB";

/// The type of `errors`: a table whose keys are statuses.
pub(super) struct Pages;

pub(super) const ERRORS: Pages = Pages;

impl Type for Pages {
    type Value = ErrorPages;

    fn read(&self, value: Value<'_, '_>) -> Option<ErrorPages> {
        let mut table = value.table()?;
        let all = table.take_all().into_iter();
        let mut pages: Vec<ErrorPage> = all.filter_map(|(key, value)| page(&key, value)).collect();
        pages.sort_by_key(|page| page.status);
        Some(ErrorPages(pages))
    }

    fn show(&self, pages: &mut ErrorPages) -> Option<String> {
        let all = pages.0.iter();
        let parts = all.map(|page| format!("{} = {}", page.status, quoted_path(&page.file)));
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| format!("{{ {} }}", parts.join(", ")))
    }

    fn print(&self, _: &str, pages: &mut ErrorPages, out: &mut Page) {
        if pages.0.is_empty() {
            return;
        }
        out.header("[listener.errors]");
        for page in &pages.0 {
            out.line(&page.status.to_string(), &quoted_path(&page.file));
        }
    }

    fn wanted(&self) -> String {
        "a table".to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Map {
            path: "listener.errors",
            names: REFUSAL_STATUSES.map(|status| status.to_string()).into(),
            of: Box::new(Shape::Text {
                what: WANTED.to_owned(),
                pattern: PATH.pattern,
            }),
        }
    }
}

fn page(key: &str, value: Value<'_, '_>) -> Option<ErrorPage> {
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
    let file = value.file(WANTED)?;
    let bytes = match content_of(&file) {
        Ok(bytes) => bytes,
        Err(wrong) => {
            place.reject(format!("{wrong}; {WANTED}"));
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

/// Returns the media type of a page, with the encoding only if that is certain.
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

/// Refuses pages for listeners that give no answers of their own.
pub(super) fn errors_are_http(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    refuse_without_http("errors", draft.listener.mode, scope);
}
