//! The page of the manual about metrics, written from the table of families.

use std::fmt::Write as _;

use super::families::FAMILIES;
use super::page::Kind;

/// Writes the page as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for family in FAMILIES {
        let total = if family.kind == Kind::Counter {
            "_total"
        } else {
            ""
        };
        let (name, kind) = (family.name, family.kind.as_str());
        let (help, detail) = (family.help, family.detail);
        let between = if detail.is_empty() { "" } else { " " };
        let labels = family.labels.join(", ");
        // Writing to a `String` is infallible.
        let _ = writeln!(
            page,
            "| `longsplice_{name}{total}` | {kind} | {labels} | {help}.{between}{detail} |"
        );
    }
    page
}

const HEAD: &str = "\
# Metrics

`server.admin_http` serves `/metrics` in Prometheus' text format, version 0.0.4:

```toml part
[server]
admin_http = \"127.0.0.1:9464\"
```

The values of `listener`, `backend` and `server` are names of the configuration, so the number of series does not grow
with the number of clients; a backend or a server that was not chosen is empty. `direction` is `in` (from the client) or
`out` (to the client), `cause` one of the [causes](causes.md), `thread` the number of a relay thread. Threads count for
themselves and a scrape adds up: counting takes no lock.

| metric | type | labels | meaning |
|---|---|---|---|
";
