//! check, doctor, demo: what a person runs first.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::free_addr;
use crate::harness::http;
use crate::harness::parts::Part;
use crate::harness::plan::Plan;
use crate::harness::process::{Outcome, Proxy, run};
use crate::harness::tls::{Secure, client_believing, shown_certificate};
use crate::harness::websocket;

fn check(toml: &str, more: &[&str]) -> (Outcome, String) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("longsplice.toml");
    fs::write(&file, toml).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let arguments: Vec<&str> = ["check", "-c", &file]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    (run(&arguments), file)
}

/// `longsplice help tls | head -1` is an ordinary thing to type.
#[test]
fn a_reader_that_goes_away_makes_no_command_panic() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("longsplice.toml");
    fs::write(&file, Plan::http(free_addr()).toml()).unwrap();
    let file = file.to_str().unwrap();
    let commands: [&[&str]; 8] = [
        &["check", "-c", file],
        &["check", "--print", "-c", file],
        &["schema"],
        &["help"],
        &["help", "tls"],
        &["help", "ctl", "tunnels"],
        &["completions", "bash"],
        &["doctor"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_longsplice"));
        let output = command.args(arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

#[test]
fn check_says_that_a_good_file_is_ok() {
    let (outcome, file) = check(&Plan::http(free_addr()).toml(), &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout, format!("{file}: ok\n"));
}

#[test]
fn check_names_every_error_at_once_with_its_place() {
    let toml = r#"[server]
max_connections = "many"
surprise = 1

[[listener]]
name = "edge"
bind = ["127.0.0.1:99999"]
mode = "ftp"
trusted_proxies = ["10.0.0.1/8"]
[[listener.route]]
backend = "nowhere"

[[backend]]
name = "app"
[backend.timeouts]
connect = "soon"
[[backend.server]]
address = "127.0.0.1:3000"
weight = 300
"#;
    let (outcome, file) = check(toml, &[]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert_eq!(outcome.stdout, "");
    let rows = [
        (2, "server.max_connections"),
        (3, "server.surprise"),
        (7, "listener[0].bind[0]"),
        (8, "listener[0].mode"),
        (9, "listener[0].trusted_proxies[0]"),
        (11, "listener[0].route[0].backend"),
        (16, "backend[0].timeouts.connect"),
        (19, "backend[0].server[0].weight"),
    ];
    for (line, key) in rows {
        let found = outcome.stderr.lines().any(|text| {
            text.starts_with(&format!("{file}:{line}:")) && text.contains(&format!(" {key}: "))
        });
        assert!(found, "line {line}, {key} in\n{}", outcome.stderr);
    }
    assert_eq!(
        outcome.stderr.lines().count(),
        rows.len(),
        "{}",
        outcome.stderr
    );

    // `run` says the same and does not start.
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("longsplice.toml");
    fs::write(&file, toml).unwrap();
    let outcome = run(&["run", "-c", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(
        outcome.stderr.contains("listener[0].mode"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn check_print_shows_a_configuration_that_is_itself_good() {
    let (outcome, _) = check(&Plan::http(free_addr()).toml(), &["--print"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let printed: String = outcome
        .stdout
        .lines()
        .filter(|line| !line.ends_with(": ok"))
        .map(|line| format!("{line}\n"))
        .collect();
    for line in [
        "max_connections = 65536",
        "connect = \"5s\"",
        "mode = \"http\"",
    ] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
    let (again, _) = check(&printed, &["--print"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains(&printed), "printing is stable");
}

#[test]
fn doctor_says_what_this_machine_offers() {
    let outcome = run(&["doctor", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(report["kernel"].is_string(), "{report}");
    for part in ["io_uring", "splice", "ktls"] {
        assert!(report[part]["ok"].is_boolean(), "{part} in {report}");
    }
    for limit in ["nofile", "pipe_pages", "ports"] {
        assert!(report["limits"][limit].is_object(), "{limit} in {report}");
    }
    assert!(report["advice"].is_array(), "{report}");
    let text = run(&["doctor"]);
    assert_eq!(text.code, Some(0));
    for word in ["io_uring", "splice", "nofile"] {
        assert!(text.stdout.contains(word), "{word} in {}", text.stdout);
    }
}

#[test]
fn help_and_version_are_fine() {
    for arguments in [["--help"], ["--version"]] {
        let outcome = run(&arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}");
        assert!(outcome.stdout.contains("longsplice"), "{arguments:?}");
    }
}

/// A demo on a free port, and that port.
fn demo() -> (Proxy, u16) {
    let demo = Proxy::start_with(&["demo", "--listen", &free_addr().to_string()], &[]);
    let url = demo.wait_stdout("a URL", |line| {
        line.split_whitespace()
            .find(|word| word.starts_with("https://localhost:"))
            .map(str::to_owned)
    });
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let port = port.parse().unwrap();
    (demo, port)
}

#[test]
fn demo_serves_a_page_whose_websocket_echoes() {
    let (mut demo, port) = demo();
    demo.wait_stdout("a word on the warning", |line| {
        line.contains("will warn").then_some(())
    });
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    // The certificate vouches for itself, under each name of this machine.
    let config = client_believing(shown_certificate(addr, "localhost"));
    for name in ["localhost", "127.0.0.1", "::1"] {
        Secure::begin(addr, &config, name, b"").shake().unwrap();
    }
    let host = format!("localhost:{port}");
    let mut client = Secure::connect(addr, &config);
    client.send(http::get(&host, "/", "Connection: close\r\n"));
    let page = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let lower = page.to_ascii_lowercase();
    assert!(lower.contains("content-type: text/html"), "{page}");
    assert!(page.contains("/ws"), "{page}");

    let mut client = Secure::connect(addr, &config);
    client.send(websocket::request(&host, "/ws", ""));
    assert_eq!(http::status(&client.read_head()), 101);
    client.send(websocket::client_text("hello"));
    client.expect(websocket::server_text("hello"));
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait_exit(), Some(0));
}

/// A validator of another author in another language agrees with what `schema` prints.
#[test]
fn the_schema_accepts_every_scenario_and_no_misspelt_key() {
    let Some(mut python) = Part::Websockets.command() else {
        return;
    };
    let dir = TempDir::new().unwrap();
    let outcome = run(&["schema"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let schema = dir.path().join("schema.json");
    fs::write(&schema, &outcome.stdout).unwrap();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenarios = fs::read_dir(top.join("tests/scenarios")).unwrap();
    let mut files = vec![top.join("src/config/tests/full.toml")];
    for scenario in scenarios {
        let scenario = scenario.unwrap().path();
        let inside = fs::read_dir(scenario).into_iter().flatten();
        let inside = inside.map(|file| file.unwrap().path());
        files.extend(inside.filter(|file| file.extension().is_some_and(|it| it == "toml")));
    }
    assert!(files.len() >= 6, "{files:?}");
    let judged = python
        .arg(top.join("tests/it/schema.py"))
        .arg(&schema)
        .args(&files)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(
        judged.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&judged.stderr)
    );
    let judged = said
        .lines()
        .filter(|line| line.contains("misspelt keys refused"));
    assert_eq!(judged.count(), files.len(), "{said}");
}
