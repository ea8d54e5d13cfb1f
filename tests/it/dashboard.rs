//! The dashboard at `server.admin_http`: what is answered to whom, and who may change something.

mod page;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::origin::Origin;
use crate::harness::parts::{Part, finish};
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};
use crate::harness::{eventually, free_addr, http};

const TOKEN: &str = "a-token-of-the-tests";

/// A process with a dashboard.
struct Board {
    proxy: Proxy,
    admin: SocketAddr,
    plan: Plan,
    token: PathBuf,
    _dir: TempDir,
}

impl Board {
    /// Starts it; `keys` are further ones of `[server]`, with `TOKEN` for the file of the token.
    fn start(plan: Plan, keys: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let token = dir.path().join("token");
        fs::write(&token, format!("{TOKEN}\n")).unwrap();
        fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
        let admin = free_addr();
        let keys = keys.replace("TOKEN", &format!("\"{}\"", token.display()));
        let plan = plan.process_keys(&format!("admin_http = \"{admin}\"\n{keys}"));
        let proxy = plan.start();
        proxy.wait_listening_on(admin);
        Self {
            proxy,
            admin,
            plan,
            token,
            _dir: dir,
        }
    }

    /// Starts one on which servers may be drained.
    fn writable(plan: Plan) -> Self {
        Self::start(plan, WRITABLE)
    }

    fn get(&self, host: &str, path: &str) -> http::Answer {
        let request = http::get(host, path, "Connection: close\r\n");
        http::exchange(self.admin, request)
    }

    fn overview(&self) -> Value {
        let answer = self.get("localhost", "/api/overview");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.values("content-type"), ["application/json"]);
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn standing(&self) -> Value {
        self.overview()["backends"][0]["servers"][0]["standing"].clone()
    }

    /// Posts a body with these header lines, each with its CRLF, and those that are needed anyway.
    fn post(&self, path: &str, lines: &str, body: &str) -> http::Answer {
        let mut request = format!("POST {path} HTTP/1.1\r\n{lines}Connection: close\r\n");
        if !lines.contains("Host:") {
            request += &format!("Host: {}\r\n", self.admin);
        }
        if !lines.contains("Content-Type:") {
            request += "Content-Type: application/json\r\n";
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        http::exchange(self.admin, request)
    }
}

const WRITABLE: &str = "admin_http_write = true\nadmin_http_token = TOKEN";

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn wish(server: impl std::fmt::Display) -> String {
    format!("{{\"server\": \"app/{server}\"}}")
}

#[test]
fn the_page_and_what_it_reads_are_answered_with_what_keeps_them_apart() {
    let echo = Origin::echo();
    let board = Board::start(Plan::tcp(echo), "");
    let mut client = Peer::connect(board.proxy.addr());
    client.send("hello");
    client.expect("hello");
    let page = board.get("127.0.0.1", "/");
    assert_eq!(page.status, 200);
    assert_eq!(page.values("content-type"), ["text/html; charset=utf-8"]);
    let policy = page.values("content-security-policy").concat();
    for part in [
        "default-src 'none';",
        "script-src 'sha256-",
        "connect-src 'self';",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    for path in ["/", "/api/overview", "/metrics", "/nothing"] {
        let answer = board.get("localhost:1", path);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.values(name), [value], "{path}");
        }
        let open = answer.values("access-control-allow-origin");
        assert!(open.is_empty(), "{path}: {open:?}");
    }
    eventually("its bytes are shown", || {
        board.overview()["totals"]["bytes_in"] == 5
    });
    let seen = board.overview();
    assert_eq!(seen["write"], false);
    assert_eq!(seen["status"]["tunnels"], 1);
    assert_eq!(seen["backends"][0]["servers"][0]["name"], echo.to_string());
}

#[test]
fn names_that_are_not_ours_get_nothing_but_metrics_and_health() {
    let board = Board::start(
        Plan::tcp(Origin::echo()),
        "admin_http_hosts = [\"ops.example\"]",
    );
    for path in ["/", "/api/overview"] {
        for (host, status) in [
            ("127.0.0.1:9464", 200),
            ("[::1]", 200),
            ("localhost", 200),
            ("ops.example:8443", 200),
            ("evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("", 421),
        ] {
            assert_eq!(board.get(host, path).status, status, "{path} {host:?}");
        }
        let two = http::get("localhost", path, "Host: localhost\r\n");
        assert_ne!(http::exchange(board.admin, two).status, 200);
        let old = format!("GET {path} HTTP/1.0\r\n\r\n");
        assert_eq!(http::exchange(board.admin, old).status, 421);
        let target = format!("http://evil.example{path}");
        assert_eq!(board.get("localhost", &target).status, 421);
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(board.get("any.example", path).status, 200, "{path}");
    }
}

#[test]
fn only_who_may_drains_a_server() {
    let echo = Origin::echo();
    let board = Board::writable(Plan::tcp(echo));
    assert_eq!(board.overview()["write"], true);
    let (right, body) = (bearer(TOKEN), wish(echo));
    let long = wish("x".repeat(5000));
    let with = |line: &str| format!("{right}{line}\r\n");
    let refused = [
        (401, String::new(), &*body),
        (401, bearer("a-token-of-the-test"), &body),
        (401, format!("{right}{right}"), &body),
        (401, "Authorization: Basic YTpi\r\n".to_owned(), &body),
        (403, with("Origin: http://evil.example"), &body),
        (403, with("Origin: null"), &body),
        (421, with("Host: evil.example"), &body),
        (415, with("Content-Type: text/plain"), &body),
        (
            415,
            with("Content-Type: application/x-www-form-urlencoded"),
            &body,
        ),
        (413, right.clone(), &long),
        (400, right.clone(), "server=x"),
        (400, right.clone(), "{\"server\": \"app/x\", \"all\": true}"),
        (404, right.clone(), "{\"server\": \"app/x\"}"),
        (404, right.clone(), "{\"server\": \"x/y\"}"),
    ];
    for (status, lines, body) in &refused {
        let answer = board.post("/api/drain", lines, body);
        assert_eq!(answer.status, *status, "{lines} {answer:?}");
        assert_eq!(
            answer.values("www-authenticate").is_empty(),
            *status != 401,
            "{answer:?}"
        );
    }
    assert_eq!(board.standing(), "up");
    let get = board.get("localhost", "/api/drain");
    assert_eq!((get.status, get.values("allow")), (405, vec!["POST"]));
    let post = board.post("/api/overview", &right, &body);
    assert_eq!(
        (post.status, post.values("allow")),
        (405, vec!["GET, HEAD"])
    );
    let same = with(&format!("Origin: http://{}", board.admin));
    let done = board.post("/api/drain", &same, &body);
    assert_eq!(done.text(), format!("app/{echo} is drained\n"));
    eventually("it is drained", || board.standing() == "drained");
    let said = board.proxy.wait_said(&["admin http", "command=\"drain\""]);
    assert!(said.contains("peer=127.0.0.1"), "{said}");
    assert!(!board.proxy.log().contains(TOKEN));
    assert_eq!(board.post("/api/undrain", &same, &body).status, 200);
    eventually("it is taken back", || board.standing() == "up");
}

#[test]
fn nothing_is_changed_unless_that_is_configured_and_a_reload_configures_it() {
    let echo = Origin::echo();
    let board = Board::start(Plan::tcp(echo), "admin_http_token = TOKEN");
    let try_it = |token: &str| board.post("/api/drain", &bearer(token), &wish(echo)).status;
    let answer = board.post("/api/drain", &bearer(TOKEN), &wish(echo));
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("admin_http_write"), "{answer:?}");
    // As an editor does it.
    let other = board.token.with_extension("new");
    fs::write(&other, "another-token-of-the-tests").unwrap();
    fs::set_permissions(&other, PermissionsExt::from_mode(0o600)).unwrap();
    fs::rename(&other, &board.token).unwrap();
    let keys = format!(
        "admin_http = \"{}\"\n{}",
        board.admin,
        WRITABLE.replace("TOKEN", &format!("\"{}\"", board.token.display()))
    );
    let plan = board.plan.clone().process_keys(&keys);
    let said = board.proxy.reload(&plan.toml());
    assert!(said.contains("server changed"), "{said}");
    assert_eq!(try_it(TOKEN), 401);
    assert_eq!(try_it("another-token-of-the-tests"), 200);
    assert_eq!(board.overview()["write"], true);
}

#[test]
fn tokens_cannot_be_tried_one_after_the_other() {
    let echo = Origin::echo();
    let board = Board::writable(Plan::tcp(echo));
    for _ in 0..10 {
        let wrong = board.post("/api/drain", &bearer("wrong-wrong-wrong"), &wish(echo));
        assert_eq!(wrong.status, 401);
    }
    let refused = board.post("/api/drain", &bearer(TOKEN), &wish(echo));
    assert_eq!(refused.status, 429);
    let pause: u64 = refused.values("retry-after")[0].parse().unwrap();
    assert!((1..=61).contains(&pause), "{pause}");
    assert_eq!(board.standing(), "up");
}

#[test]
fn curl_drains_as_the_readme_says() {
    let Some(mut curl) = Part::Curl.command() else {
        return;
    };
    let echo = Origin::echo();
    let board = Board::writable(Plan::tcp(echo));
    let token = fs::read_to_string(&board.token).unwrap();
    curl.args(["-sS", "--fail-with-body", "-H"])
        .arg(format!("Authorization: Bearer {}", token.trim()))
        .args(["-H", "Content-Type: application/json", "-d", &wish(echo)])
        .arg(format!("http://{}/api/drain", board.admin));
    assert_eq!(finish(&mut curl), format!("app/{echo} is drained\n"));
    eventually("it is drained", || board.standing() == "drained");
}

#[test]
fn check_says_how_a_token_is_made() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("longsplice.toml");
    let plan = Plan::tcp(free_addr()).process_keys("admin_http_write = true");
    fs::write(&file, plan.toml()).unwrap();
    let outcome = run(&["check", "-c", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    let said = "openssl rand -hex 32 > FILE";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
}
