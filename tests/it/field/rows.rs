//! The cases, each with what longsplice does.

use std::time::Duration;

use super::Row;
use super::stage::{Client, MARKED, Trial};
use crate::harness::http::{get, ok, values};
use crate::harness::websocket;

/// Longer than the time that a proxy here gives a request head.
const IDLE: Duration = Duration::from_millis(2500);

pub(super) const ROWS: &[Row] = &[
    // Answers that never have a body.
    Row {
        case: "204 with `Content-Length: 5`",
        play: |it| {
            answered(
                it,
                "GET",
                "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            )
        },
        ours: "204, goes on",
    },
    Row {
        case: "204 with `Transfer-Encoding: chunked`",
        play: |it| {
            let answer = "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n";
            answered(it, "GET", answer)
        },
        ours: "204, goes on",
    },
    Row {
        case: "204 with a whole answer behind it",
        play: |it| {
            let answer = format!("HTTP/1.1 204 No Content\r\n\r\n{}", ok("stray"));
            answered(it, "GET", &answer)
        },
        ours: "204, goes on",
    },
    Row {
        case: "103 with `Content-Length: 5`, then 200",
        play: |it| {
            let answer = format!(
                "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n{}",
                ok("a")
            );
            answered(it, "GET", &answer)
        },
        ours: "103 200 with Content-Length, goes on",
    },
    Row {
        case: "304 with `Content-Length: 5` and `Transfer-Encoding: chunked`",
        play: |it| {
            let answer = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\
                          Transfer-Encoding: chunked\r\n\r\n";
            answered(it, "GET", answer)
        },
        ours: "304, goes on",
    },
    Row {
        case: "HEAD answered with `Content-Length: 5` and `Transfer-Encoding: chunked`",
        play: |it| {
            let answer =
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
            answered(it, "HEAD", answer)
        },
        ours: "200, goes on",
    },
    Row {
        case: "101 with `Transfer-Encoding: chunked` (aiohttp 3.5.4)",
        play: |it| {
            it.answers(websocket::switching("Transfer-Encoding: chunked\r\n") + "hello");
            let text = it.ask(websocket::request("x", "/", ""));
            let opened = text.ends_with("\r\n\r\nhello");
            statuses(&text) + if opened { ", tunnel" } else { "" }
        },
        ours: "101, tunnel",
    },
    // Connections that are authenticated.
    Row {
        case: "NTLM: two refused upgrades (401) and one that is accepted",
        play: negotiation,
        ours: "401 401 101 over one connection",
    },
    // Upgrades that cannot be one.
    Row {
        case: "an upgrade in HTTP/1.0",
        play: |it| {
            upgrade(
                it,
                &websocket::request("x", "/", "").replace("HTTP/1.1", "HTTP/1.0"),
            )
        },
        ours: "200, without Upgrade",
    },
    Row {
        case: "an upgrade with POST",
        play: |it| {
            let text = websocket::request("x", "/", "Content-Length: 0\r\n");
            upgrade(it, &text.replace("GET", "POST"))
        },
        ours: "200, without Upgrade",
    },
    Row {
        case: "an upgrade with a body",
        play: |it| {
            upgrade(
                it,
                &(websocket::request("x", "/", "Content-Length: 5\r\n") + "hello"),
            )
        },
        ours: "200, without Upgrade",
    },
    Row {
        case: "an upgrade of version 8",
        play: |it| {
            let text = websocket::request("x", "/", "");
            upgrade(it, &text.replace("Version: 13", "Version: 8"))
        },
        ours: "426",
    },
    // Absolute form.
    Row {
        case: "`GET http://x/a?b`",
        play: |it| target(it, "GET http://x/a?b HTTP/1.1\r\nHost: x\r\n\r\n"),
        ours: "200, asks for `/a?b`",
    },
    Row {
        case: "`GET http://x`",
        play: |it| target(it, "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n"),
        ours: "200, asks for `/`",
    },
    Row {
        case: "`OPTIONS http://x`",
        play: |it| target(it, "OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n"),
        ours: "200, asks for `*`",
    },
    Row {
        case: "`GET https://x/` over plain HTTP",
        play: |it| target(it, "GET https://x/ HTTP/1.1\r\nHost: x\r\n\r\n"),
        ours: "400",
    },
    Row {
        case: "`GET http://y/` with `Host: x`",
        play: |it| target(it, "GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n"),
        ours: "400",
    },
    // Versions.
    Row {
        case: "HTTP/1.0 client, server that chunks",
        play: |it| {
            it.answers(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            );
            let mut client = it.connect();
            let text = client.ask("GET / HTTP/1.0\r\nHost: x\r\n\r\n");
            let form = match (text.ends_with("\r\n\r\nhello"), text.contains("5\r\nhello")) {
                (true, _) => "unchunked",
                (false, true) => "in chunks",
                (false, false) => "no body",
            };
            let ended = if client.is_closed() { "closed" } else { "open" };
            format!("{}, {form}, {ended}", statuses(&text))
        },
        ours: "200, unchunked, closed",
    },
    Row {
        case: "version of the request to the server, for an HTTP/1.0 client",
        play: |it| {
            it.ask("GET / HTTP/1.0\r\nHost: x\r\n\r\n");
            it.last()
                .map_or_else(String::new, |heard| first_line(&heard.head, 2))
        },
        ours: "HTTP/1.1",
    },
    Row {
        case: "CRLF behind a body, then the next request",
        play: |it| {
            let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na\r\n";
            statuses(&it.ask(format!("{post}{}", get("x", MARKED, ""))))
        },
        ours: "200 200",
    },
    Row {
        case: "three CRLFs before a request",
        play: |it| statuses(&it.ask(format!("\r\n\r\n\r\n{}", get("x", "/", "")))),
        ours: "200",
    },
    Row {
        case: "CRLF behind a body, then silence beyond the time limit of a head",
        play: |it| {
            let mut client = it.connect();
            let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na\r\n";
            let first = statuses(&client.ask(post));
            let unasked = statuses(&client.read_within(IDLE));
            format!("{first}, then {unasked}")
        },
        ours: "200, then nothing",
    },
    // Framing.
    Row {
        case: "`Content-Length: 005`",
        play: |it| {
            passes(
                it,
                &post("Content-Length: 005\r\n", "hello"),
                "content-length",
            )
        },
        ours: "200, passes `5`",
    },
    Row {
        case: "`Transfer-Encoding: , Chunked`",
        play: |it| {
            let request = post("Transfer-Encoding: , Chunked\r\n", "0\r\n\r\n");
            passes(it, &request, "transfer-encoding")
        },
        ours: "200, passes `chunked`",
    },
    Row {
        case: "chunk extension `5;a=b`",
        play: |it| chunks(it, "5;a=b\r\nhello\r\n0\r\n\r\n"),
        ours: "200, without extension",
    },
    Row {
        case: "chunk size `5;`",
        play: |it| chunks(it, "5;\r\nhello\r\n0\r\n\r\n"),
        ours: "400",
    },
    Row {
        case: "chunk extension `5;a=\"b`",
        play: |it| chunks(it, "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
        ours: "400",
    },
    Row {
        case: "chunk size with blanks, `5 `, in a request",
        play: |it| chunks(it, "5 \r\nhello\r\n0\r\n\r\n"),
        ours: "400",
    },
    Row {
        case: "chunk size with blanks, `5  `, in an answer",
        play: |it| {
            let answer =
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0\r\n\r\n";
            it.answers(answer);
            let text = it.ask(get("x", "/", ""));
            let whole = text.contains("hello") && text.ends_with("0\r\n\r\n");
            statuses(&text) + if whole { ", whole" } else { "" }
        },
        ours: "200, whole",
    },
    Row {
        case: "`Transfer-Encoding: zip`",
        play: |it| {
            let request = post("Transfer-Encoding: zip\r\n", "0\r\n\r\n");
            passes(it, &request, "transfer-encoding")
        },
        ours: "501",
    },
    Row {
        case: "`Transfer-Encoding: gzip, chunked`",
        play: |it| {
            let request = post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n");
            passes(it, &request, "transfer-encoding")
        },
        ours: "501",
    },
    Row {
        case: "`Content-Length` with `Transfer-Encoding`",
        play: |it| {
            let request = post(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            );
            passes(it, &request, "content-length")
        },
        ours: "400",
    },
    // Forwarding.
    Row {
        case: "`X.Real.IP: 9.9.9.9` of a stranger",
        play: |it| passes(it, &get("x", "/", "X.Real.IP: 9.9.9.9\r\n"), "x.real.ip"),
        ours: "200, drops it",
    },
    Row {
        case: "`X~Forwarded~For: 9.9.9.9` of a stranger",
        play: |it| {
            let request = get("x", "/", "X~Forwarded~For: 9.9.9.9\r\n");
            passes(it, &request, "x~forwarded~for")
        },
        ours: "200, drops it",
    },
    Row {
        case: "`X_Real_IP: 9.9.9.9` of a stranger",
        play: |it| passes(it, &get("x", "/", "X_Real_IP: 9.9.9.9\r\n"), "x_real_ip"),
        ours: "200, drops it",
    },
    Row {
        case: "`X-Client-Subject: CN=a` of a stranger",
        play: |it| {
            let request = get("x", "/", "X-Client-Subject: CN=a\r\n");
            passes(it, &request, "x-client-subject")
        },
        ours: "200, drops it",
    },
    Row {
        case: "`X-Forwarded-For: 9.9.9.9` of a stranger",
        play: |it| {
            let request = get("x", "/", "X-Forwarded-For: 9.9.9.9\r\n");
            passes(it, &request, "x-forwarded-for")
        },
        ours: "200, passes `127.0.0.1`",
    },
    Row {
        case: "`CONNECT x:1`",
        play: |it| statuses(&it.ask("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n")),
        ours: "400",
    },
    Row {
        case: "`connect x:1`",
        play: |it| statuses(&it.ask("connect x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n")),
        ours: "400",
    },
    Row {
        case: "`connect /`",
        play: |it| statuses(&it.ask("connect / HTTP/1.1\r\nHost: x\r\n\r\n")),
        ours: "400",
    },
    // Paths, with a rule for `/admin`.
    Row {
        case: "`//admin` for a rule on `/admin`",
        play: |it| ruled(it, "//admin"),
        ours: "by the rule",
    },
    Row {
        case: "`/x/..//admin` for a rule on `/admin`",
        play: |it| ruled(it, "/x/..//admin"),
        ours: "by the rule",
    },
    Row {
        case: "`/./admin` for a rule on `/admin`",
        play: |it| ruled(it, "/./admin"),
        ours: "by the rule",
    },
    Row {
        case: "`/%61dmin` for a rule on `/admin`",
        play: |it| ruled(it, "/%61dmin"),
        ours: "by the rule",
    },
    Row {
        case: "`/%2Fadmin` for a rule on `/admin`",
        play: |it| ruled(it, "/%2Fadmin"),
        ours: "passes `/%2Fadmin`",
    },
    Row {
        case: "`/admin%2F..%2Fx` for a rule on `/admin`",
        play: |it| ruled(it, "/admin%2F..%2Fx"),
        ours: "passes `/admin%2F..%2Fx`",
    },
    Row {
        case: "`/ADMIN` for a rule on `/admin`",
        play: |it| ruled(it, "/ADMIN"),
        ours: "passes `/ADMIN`",
    },
    Row {
        case: "`/x;/admin` for a rule on `/admin`",
        play: |it| ruled(it, "/x;/admin"),
        ours: "passes `/x;/admin`",
    },
    Row {
        case: "`//x` without a rule",
        play: |it| ruled(it, "//x"),
        ours: "passes `//x`",
    },
    Row {
        case: "`/admin//../x` for a rule on `/admin`",
        play: |it| ruled(it, "/admin//../x"),
        ours: "400",
    },
    Row {
        case: "`//../x`",
        play: |it| ruled(it, "//../x"),
        ours: "400",
    },
    // Who leaves.
    Row {
        case: "the client closes while events stream",
        play: |it| {
            let client = streaming(it);
            drop(client);
            left_or_kept(it)
        },
        ours: "leaves the server",
    },
    Row {
        case: "the client ends its half while events stream",
        play: |it| {
            let client = streaming(it);
            client.finish();
            left_or_kept(it)
        },
        ours: "leaves the server",
    },
    Row {
        case: "POST on a kept connection that the server ends without an answer",
        play: |it| abandoned(it, &post("Content-Length: 1\r\n", "a")),
        ours: "closes in silence, asked once",
    },
    Row {
        case: "GET on a kept connection that the server ends without an answer",
        play: |it| abandoned(it, &get("x", "/", "")),
        ours: "502, asked twice",
    },
    // Other protocols.
    Row {
        case: "a PROXY header (v1) that is not expected",
        play: |it| {
            let request = get("x", "/", "");
            statuses(&it.ask(format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{request}")))
        },
        ours: "400",
    },
    Row {
        case: "a PROXY header (v2) that is not expected",
        play: |it| {
            let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02";
            statuses(&it.ask([&header[..], get("x", "/", "").as_bytes()].concat()))
        },
        ours: "400",
    },
    Row {
        case: "a ClientHello without TLS here",
        play: |it| statuses(&it.ask(b"\x16\x03\x01\0\x05\x01\0\0\x01\0\r\n\r\n")),
        ours: "400",
    },
    Row {
        case: "the preface of HTTP/2",
        play: |it| statuses(&it.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")),
        ours: "400",
    },
    // Limits of answers.
    Row {
        case: "120 lines of Set-Cookie",
        play: |it| {
            let cookies: String = (0..120)
                .map(|at| format!("Set-Cookie: a{at}=b\r\n"))
                .collect();
            it.answers(format!(
                "HTTP/1.1 200 OK\r\n{cookies}Content-Length: 1\r\n\r\na"
            ));
            statuses(&it.ask(get("x", "/", "")))
        },
        ours: "200",
    },
    Row {
        case: "an answer's head of 40 KiB",
        play: |it| {
            let line = format!("X-A: {}\r\n", "a".repeat(4089));
            let lines = line.repeat(10);
            it.answers(format!(
                "HTTP/1.1 200 OK\r\n{lines}Content-Length: 1\r\n\r\na"
            ));
            statuses(&it.ask(get("x", "/", "")))
        },
        ours: "200",
    },
];

fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}")
}

/// Lists the statuses of all answers in a text.
fn statuses(text: &str) -> String {
    let all = text.split("HTTP/1.").skip(1);
    let code = |line: &'_ str| {
        line.split(' ')
            .nth(1)
            .and_then(|word| word.parse::<u16>().ok())
    };
    let codes: Vec<String> = all.filter_map(code).map(|code| code.to_string()).collect();
    match codes.is_empty() {
        true if text.is_empty() => "nothing".to_owned(),
        true => "other bytes".to_owned(),
        false => codes.join(" "),
    }
}

/// Returns a word of the first line.
fn first_line(head: &str, word: usize) -> String {
    let line = head.lines().next().unwrap_or("");
    line.split(' ').nth(word).unwrap_or("").to_owned()
}

/// Says how an answer comes through, which framing it has, and whether its connection goes on.
fn answered(it: &Trial<'_>, method: &str, answer: &str) -> String {
    it.answers(answer);
    let mut client = it.connect();
    let text = client.ask(get("x", "/", "").replace("GET", method));
    let mut found = statuses(&text);
    let fields = ["Content-Length", "Transfer-Encoding"];
    let has = |name: &&&str| !values(&text, name).is_empty();
    let fields: Vec<&str> = fields.iter().filter(has).copied().collect();
    if !fields.is_empty() {
        found += &format!(" with {}", fields.join(", "));
    }
    let marked = client.ask(get("x", MARKED, ""));
    found += match marked.ends_with("\r\n\r\nmarked") {
        true => ", goes on",
        false if marked.is_empty() => ", closed",
        false => ", then a wrong answer",
    };
    found
}

fn negotiation(it: &Trial<'_>) -> String {
    let mut client = it.connect();
    let refusal =
        |lines: &str| format!("HTTP/1.1 401 Unauthorized\r\n{lines}Content-Length: 2\r\n\r\nno");
    let steps = [
        refusal("WWW-Authenticate: NTLM\r\n"),
        refusal("WWW-Authenticate: NTLM TlRMTVNTUAAC\r\n"),
        websocket::switching(""),
    ];
    let step = |answer: &String| {
        it.answers(answer);
        statuses(&client.ask(websocket::request(
            "x",
            "/",
            "Authorization: NTLM TlRMTVNTUAAB\r\n",
        )))
    };
    let found: Vec<String> = steps.iter().map(step).collect();
    let mut connections: Vec<usize> = it.heard().iter().map(|heard| heard.connection).collect();
    connections.dedup();
    let count = match connections.len() {
        1 => "one connection".to_owned(),
        count => format!("{count} connections"),
    };
    format!("{} over {count}", found.join(" "))
}

fn upgrade(it: &Trial<'_>, request: &str) -> String {
    let found = statuses(&it.ask(request));
    let upgrade = |head: &str| !values(head, "upgrade").is_empty();
    match it.last() {
        None => found,
        Some(heard) if upgrade(&heard.head) => format!("{found}, with Upgrade"),
        Some(_) => format!("{found}, without Upgrade"),
    }
}

fn target(it: &Trial<'_>, request: &str) -> String {
    let found = statuses(&it.ask(request));
    match it.last() {
        None => found,
        Some(heard) => format!("{found}, asks for `{}`", first_line(&heard.head, 1)),
    }
}

/// Says what the server gets of a field.
fn passes(it: &Trial<'_>, request: &str, name: &str) -> String {
    let found = statuses(&it.ask(request));
    let Some(heard) = it.last() else {
        return found;
    };
    match values(&heard.head, name)[..] {
        [] => format!("{found}, drops it"),
        ref values => format!("{found}, passes `{}`", values.join("`, `")),
    }
}

fn chunks(it: &Trial<'_>, body: &str) -> String {
    let found = statuses(&it.ask(post("Transfer-Encoding: chunked\r\n", body)));
    match it.last() {
        None => found,
        Some(heard) if heard.body.contains(';') => format!("{found}, with extension"),
        Some(_) => format!("{found}, without extension"),
    }
}

fn ruled(it: &Trial<'_>, path: &str) -> String {
    let text = it.ask(get("x", path, ""));
    match it.last() {
        Some(heard) => format!("passes `{}`", first_line(&heard.head, 1)),
        None if text.ends_with("admin") => "by the rule".to_owned(),
        None => statuses(&text),
    }
}

/// Returns a client that has got the first event of an answer that goes on.
fn streaming(it: &Trial<'_>) -> Client {
    it.answers("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    let mut client = it.connect();
    client.ask(get("x", "/", ""));
    client
}

fn left_or_kept(it: &Trial<'_>) -> String {
    let words = if it.is_left() {
        "leaves the server"
    } else {
        "stays"
    };
    words.to_owned()
}

/// Sends a request on a connection that has served one, and has the server end instead of answering.
fn abandoned(it: &Trial<'_>, request: &str) -> String {
    let mut client = it.connect();
    client.ask(get("x", "/", ""));
    let before = it.heard().len();
    it.answers_and_ends("");
    let text = client.ask(request);
    let asked = match it.heard().len() - before {
        1 => "asked once".to_owned(),
        2 => "asked twice".to_owned(),
        count => format!("asked {count} times"),
    };
    let found = match text.is_empty() {
        true => "closes in silence".to_owned(),
        false => statuses(&text),
    };
    format!("{found}, {asked}")
}
