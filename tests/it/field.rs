//! What people send through proxies of this kind, asked of HAProxy, nginx and longsplice in one run.
//!
//! Every row of `field/rows.rs` is one case. What longsplice does is asserted; what the others do, in the
//! versions that are installed, is written beside it into a table in Markdown: `field.md` in the folder that
//! Cargo gives to integration tests (target/tmp).

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;

use crate::harness::free_addr;
use crate::harness::parts::{Part, Running};
use crate::harness::plan::{Plan, responding};
use crate::harness::process::{Proxy, wait_listening_on};

mod rows;
mod stage;

use rows::ROWS;
use stage::{Stage, Trial};

/// One case.
struct Row {
    /// The case, in words.
    case: &'static str,
    /// Plays it and says what happened.
    play: fn(&Trial<'_>) -> String,
    /// What longsplice does.
    ours: &'static str,
}

/// A proxy in front of a stage of its own.
struct Edge {
    /// The program and its version.
    name: String,
    addr: SocketAddr,
    stage: Arc<Stage>,
    _proxy: Process,
}

/// What runs until the edge is dropped.
enum Process {
    Ours(#[expect(dead_code, reason = "it ends with this value")] Proxy),
    Theirs(
        #[expect(dead_code, reason = "it ends with this value")] Running,
        #[expect(dead_code, reason = "it is removed with this value")] TempDir,
    ),
}

impl Edge {
    fn longsplice() -> Self {
        let (stage, server) = Stage::open();
        let proxy = Plan::http(server)
            .listener_timeouts("request_header = \"1s\"\nkeep_alive = \"30s\"")
            .routes(
                &(responding("path = \"/admin\"", "admin")
                    + "[[listener.route]]\nbackend = \"app\"\n"),
            )
            .start();
        Self {
            name: "longsplice".to_owned(),
            addr: proxy.addr(),
            stage,
            _proxy: Process::Ours(proxy),
        }
    }

    fn haproxy() -> Option<Self> {
        let mut command = Part::Haproxy.command()?;
        let name = version(Part::Haproxy.command()?.arg("-v"), "version ")?;
        let (stage, server) = Stage::open();
        let (dir, addr) = (TempDir::new().unwrap(), free_addr());
        let text = format!(
            "global\n  quiet\ndefaults\n  mode http\n  option forwardfor\n  timeout connect 5s\n  \
             timeout client 30s\n  timeout server 30s\n  timeout http-request 1s\n  \
             timeout http-keep-alive 30s\n  timeout tunnel 30s\nfrontend edge\n  bind {addr}\n  \
             http-request return status 200 content-type text/plain string admin \
             if {{ path -m beg /admin }}\n  default_backend app\nbackend app\n  server app {server}\n"
        );
        let config = dir.path().join("haproxy.cfg");
        fs::write(&config, text).unwrap();
        let running = Running::start(command.arg("-db").arg("-f").arg(&config));
        wait_listening_on(running.pid(), &addr.to_string());
        Some(Self {
            name: format!("HAProxy {name}"),
            addr,
            stage,
            _proxy: Process::Theirs(running, dir),
        })
    }

    fn nginx() -> Option<Self> {
        let mut command = Part::Nginx.command()?;
        let name = version(Part::Nginx.command()?.arg("-v"), "nginx/")?;
        let (stage, server) = Stage::open();
        let (dir, addr) = (TempDir::new().unwrap(), free_addr());
        let config = dir.path().join("nginx.conf");
        fs::write(&config, nginx_config(dir.path(), addr, server)).unwrap();
        let errors = dir.path().join("error.log");
        let running = Running::start(command.arg("-e").arg(errors).arg("-c").arg(&config));
        wait_listening_on(running.pid(), &addr.to_string());
        Some(Self {
            name: format!("nginx {name}"),
            addr,
            stage,
            _proxy: Process::Theirs(running, dir),
        })
    }

    /// Plays every row.
    fn play_all(&self) -> Vec<String> {
        let play = |row: &Row| {
            let trial = Trial::new(self.addr, &self.stage);
            (row.play)(&trial)
        };
        ROWS.iter().map(play).collect()
    }
}

/// What most people write who put nginx in front of WebSockets.
fn nginx_config(dir: &Path, addr: SocketAddr, server: SocketAddr) -> String {
    let at = dir.display();
    format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{}}\nhttp {{\n  \
         access_log off;\n  client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  \
         fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;\n  \
         client_header_timeout 1s;\n  keepalive_timeout 30s;\n  \
         map $http_upgrade $hop {{ default upgrade; '' ''; }}\n  \
         upstream app {{ server {server} max_fails=0; keepalive 8; }}\n  server {{\n    listen {addr};\n    \
         location /admin {{ return 200 admin; }}\n    location / {{\n      proxy_pass http://app;\n      \
         proxy_http_version 1.1;\n      proxy_buffering off;\n      proxy_request_buffering off;\n      \
         proxy_set_header Host $http_host;\n      proxy_set_header Upgrade $http_upgrade;\n      \
         proxy_set_header Connection $hop;\n      proxy_set_header X-Real-IP $remote_addr;\n      \
         proxy_set_header X-Forwarded-For $remote_addr;\n    }}\n  }}\n}}\n"
    )
}

/// Returns the word behind `mark` in what a command says.
fn version(command: &mut Command, mark: &str) -> Option<String> {
    let output = command.output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let (_, behind) = said.split_once(mark)?;
    let end = |letter: char| !letter.is_ascii_digit() && letter != '.';
    behind.split(end).next().map(str::to_owned)
}

/// Writes the table.
fn table(edges: &[(String, Vec<String>)]) -> String {
    // Writing to a `String` is infallible, here and below.
    let mut page = String::from("| case |");
    let _ = edges
        .iter()
        .try_for_each(|(name, _)| write!(page, " {name} |"));
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(edges.len()));
    page.push('\n');
    for (index, row) in ROWS.iter().enumerate() {
        let _ = write!(page, "| {} |", row.case);
        let _ = edges
            .iter()
            .try_for_each(|(_, outcomes)| write!(page, " {} |", outcomes[index]));
        page.push('\n');
    }
    page
}

#[test]
fn longsplice_bears_what_the_field_sends() {
    let makes: [fn() -> Option<Edge>; 3] =
        [Edge::haproxy, Edge::nginx, || Some(Edge::longsplice())];
    let play = |make: fn() -> Option<Edge>| {
        let edge = make()?;
        let outcomes = edge.play_all();
        Some((edge.name, outcomes))
    };
    let running = makes.map(|make| thread::spawn(move || play(make)));
    let edges: Vec<_> = running
        .into_iter()
        .filter_map(|edge| edge.join().unwrap())
        .collect();
    let page = table(&edges);
    fs::write(
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("field.md"),
        &page,
    )
    .unwrap();
    let (_, ours) = edges.last().unwrap();
    let differs = |(row, found): &(&Row, &String)| row.ours != found.as_str();
    let wrong: Vec<String> = ROWS
        .iter()
        .zip(ours)
        .filter(differs)
        .map(|(row, found)| format!("{}: {found} instead of {}", row.case, row.ours))
        .collect();
    assert!(wrong.is_empty(), "{}\n{page}", wrong.join("\n"));
}
