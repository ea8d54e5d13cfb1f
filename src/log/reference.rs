//! The page of the manual about access lines, written from the table of fields.

use std::fmt::Write as _;

use super::access::Event;
use super::fields::FIELDS;
use super::journald;

/// Writes the page as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for field in FIELDS {
        let events = events(field.events);
        let (name, kind, text) = (field.name, field.kind.as_str(), field.text);
        // Writing to a `String` is infallible.
        let _ = writeln!(page, "| `{name}` | {kind} | {events} | {text} |");
    }
    page += JOURNALD;
    for (field, at) in journald::FIELDS {
        let (name, events) = (journald::name_of(field), events(at));
        let _ = writeln!(page, "| `{name}` | `{}` | {events} |", field.name);
    }
    page += COMBINED_AND_HTTPLOG;
    page
}

fn events(events: &[Event]) -> String {
    if events.len() == Event::ALL.len() {
        return "all".to_owned();
    }
    let words: Vec<String> = events
        .iter()
        .map(|event| format!("`{}`", event.as_str()))
        .collect();
    words.join(", ")
}

const HEAD: &str = "\
# Log fields

An access line reports one event of a connection, a request or a tunnel. `log.access` chooses its format: `json`,
`httplog`, `combined`, or `off` for none.

A tunnel has a line when it opens and one when it ends; with `log.progress` set, further lines in between. Each request
that opens no tunnel has one line. The end of an idle connection has none, and neither has a probe (a connection that was
opened and closed without data, or with a LOCAL or UNKNOWN PROXY header): these are only counted in the
[metrics](metrics.md).

## json

Each line is one JSON object. A field whose value is unknown is absent, except `backend` and `server`. Times are RFC 3339
with milliseconds, in UTC. Control characters, and characters that change the direction of text, are escaped.

```json
{\"time\":\"2026-02-06T12:14:14.764Z\",\"event\":\"request\",\"listener\":\"edge\",\"client\":\"203.0.113.9\",\"client_port\":5678,\"peer\":\"10.0.0.1:40000\",\"backend\":\"app\",\"server\":\"10.0.0.5:3000\",\"cause\":\"served\",\"side\":\"proxy\",\"bytes_in\":0,\"bytes_out\":2750,\"started\":\"2026-02-06T12:14:14.655Z\",\"duration_ms\":109,\"head_ms\":0,\"queue_ms\":0,\"connect_ms\":1,\"response_ms\":25,\"status\":200,\"method\":\"GET\",\"host\":\"app.example\",\"target\":\"/\",\"version\":\"1.1\"}
```

| field | type | events | meaning |
|---|---|---|---|
";

const JOURNALD: &str = "
## journald

With `log.target = \"journald\"` the line is the entry's `MESSAGE`, in the format that `log.access` names, and
`SYSLOG_IDENTIFIER` is `longsplice`. `PRIORITY` is 6 (info) for served requests and for tunnels, 5 (notice) for a client's
fault, 4 (warning) for a fault of a server or of this machine, 3 (error) for a defect of longsplice. These fields can be
searched (`journalctl LONGSPLICE_CAUSE=connect-refused`):

| journal field | field | events |
|---|---|---|
";

const COMBINED_AND_HTTPLOG: &str = "
## combined

The combined format of Apache and nginx has one line for each request, and one for each tunnel when it ends:

```text
203.0.113.9 - - [06/Feb/2026:12:14:14 +0000] \"GET / HTTP/1.1\" 200 2750 \"-\" \"curl/8.5.0\"
```

These are `client`, the local time, `method`, `target` and `version`, `status`, `bytes_out`, `referer` and `user_agent`.
Without a response the status is 499 (the client closed), 502 (the server's fault) or 444 (any other reason). A tunnel
without a request, as in `mode = \"tcp\"`, has 200. Characters that are not printable, `\"` and `\\` are written as `\\xHH`.

## httplog

HAProxy's `option httplog` has the fields of a request in HAProxy's order, so that halog and other readers of HAProxy's
logs can read the lines. A tunnel without a request has the fields of `option tcplog`.

```text
203.0.113.9:5678 [06/Feb/2026:12:14:14.655] edge~ app/10.0.0.5:3000 0/0/1/25/109 200 2750 - - ---- 7/6/5/4/0 0/0 \"GET / HTTP/1.1\"
```

| column | in the example | fields, or meaning |
|---|---|---|
| 1 | `203.0.113.9:5678` | `client`, `client_port` |
| 2 | `[06/Feb/2026:12:14:14.655]` | `started`, in local time |
| 3 | `edge~` | `listener`; `~` if TLS ends here |
| 4 | `app/10.0.0.5:3000` | `backend` (the listener again, if none was chosen) and `server` (or `<NOSRV>`) |
| 5 | `0/0/1/25/109` | `head_ms`, `queue_ms`, `connect_ms`, `response_ms`, `duration_ms`; -1 = not reached. Without a request: the second, the third and the last |
| 6 | `200` | `status`, or -1 |
| 7 | `2750` | `bytes_out`, without response heads |
| 8, 9 | `- -` | captured cookies, which longsplice has not |
| 10 | `----` | the termination state, two letters that stand for the [cause](causes.md), and `--` |
| 11 | `7/6/5/4/0` | clients of the process and of the listener when the line is made (for a tunnel: when it opened), connections to the backend and to the server when the connection was opened, and `retries` (`+` in front if one went to another server) |
| 12 | `0/0` | position in the queue for the server (`source`, `maglev`) and for any server of the backend when the wait began, from 1; 0 = did not wait |
| 13 | `\"GET / HTTP/1.1\"` | `method`, `target`, `version`; `\"<BADREQ>\"` if the request could not be read |

The lines of a tunnel that opens or goes on have a `+` in front of time and bytes, as HAProxy writes with `option
logasap`. Spaces in names become `_`. In a request, characters that are not printable, `\"` and `#` are written as `#XX`.
";
