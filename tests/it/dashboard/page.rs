//! The page of the dashboard in a real browser.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Board, TOKEN};
use crate::harness::browser::Browser;
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::{free_addr, websocket};

/// What every look at the page begins with.
const TOOLS: &str = r##"
    const all = (selector) => [...document.querySelectorAll(selector)];
    const read = (selector) => document.querySelector(selector)?.textContent ?? null;
    const until = async (holds) => { while (!holds()) await new Promise((go) => setTimeout(go, 20)); };
    const number = (id) => parseFloat(read(`#tile-${id} .value span`)) || 0;
    const row = (name) => all(".backend tbody tr").find((it) => it.querySelector("th").textContent.includes(name));
"##;

/// A name of a backend that would be trouble if it were taken for markup.
const HOSTILE: &str = "<b>bold<script>document.title='taken'";

/// A listener in front of a server that echoes and one that is not there.
fn plan(up: SocketAddr, down: SocketAddr) -> Plan {
    let routes = format!(
        "[[listener.route]]\npath = \"/other/\"\nbackend = \"{HOSTILE}\"\n\
         [[listener.route]]\nbackend = \"app\"\n"
    );
    let more =
        format!("[[backend]]\nname = \"{HOSTILE}\"\n[[backend.server]]\naddress = \"{up}\"\n");
    Plan::http(up)
        .routes(&routes)
        .health("interval = \"200ms\"\nfast_interval = \"50ms\"")
        .server_keys("max_connections = 9")
        .and_server(down)
        .more(&more)
}

/// Says something through a tunnel again and again while `meanwhile` runs.
fn with_traffic<T>(proxy: &Proxy, meanwhile: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let mut client = websocket::open(proxy.addr());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                client.send([7; 2000]);
                client.read(2000);
                // The pace of this traffic.
                thread::sleep(Duration::from_millis(20));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        over.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn look(browser: Browser, admin: SocketAddr, program: &str) -> Value {
    let program = format!("(async () => {{ {TOOLS} {program} }})()");
    browser
        .watched()
        .evaluate(&format!("http://{admin}/"), &program)
}

/// Demands that the page sent requests to the proxy alone.
fn expect_no_stranger(seen: &Value, admin: SocketAddr) {
    let requests = seen["requests"].as_array().unwrap();
    assert!(requests.len() > 1, "{seen}");
    for url in requests {
        let url = url.as_str().unwrap();
        let ours = url.starts_with(&format!("http://{admin}/")) || url.starts_with("data:");
        assert!(ours, "{url}");
    }
}

#[test]
fn the_page_shows_what_happens_and_drains_a_server() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let (up, down) = (websocket::echo_server(), free_addr());
    let board = Board::writable(plan(up, down));
    let program = r##"
        const [up, down] = ["UP", "DOWN"];
        await until(() => number("tunnels") === 1 && number("in") > 0 && number("out") > 0);
        const first = document.querySelector("#tile-in .spark path").getAttribute("d");
        await until(() => document.querySelector("#tile-in .spark path").getAttribute("d") !== first);
        await until(() => row(down).querySelector(".standing").textContent === "down");
        const seen = {
            title: document.title,
            phase: read("#phase"),
            why: row(down).textContent,
            history: read("#changes"),
            busiest: read("#busiest"),
            names: all(".backend h3").map((it) => it.textContent),
            injected: all(".backend b, .backend script").length,
        };
        const button = () => row(up).querySelector("button");
        button().click();
        const form = document.querySelector("#asking form");
        document.querySelector("#token").value = "wrong-wrong-wrong";
        form.requestSubmit();
        await until(() => read("#asking-wrong").includes("401"));
        seen.refused = read("#asking-wrong");
        document.querySelector("#token").value = "TOKEN";
        form.requestSubmit();
        await until(() => !document.querySelector("#asking").open);
        await until(() => row(up).querySelector(".standing").textContent === "drained");
        seen.button = button().textContent;
        seen.stored = [localStorage.length, sessionStorage.length, document.cookie];
        return seen;
    "##;
    let program = program
        .replace("UP", &up.to_string())
        .replace("DOWN", &down.to_string())
        .replace("TOKEN", TOKEN);
    let seen = with_traffic(&board.proxy, || look(browser, board.admin, &program));
    expect_no_stranger(&seen, board.admin);
    let errors = seen["errors"].as_array().unwrap();
    // The wrong token, which the browser has a line for by itself.
    assert!(
        errors.len() == 1 && errors[0].as_str().unwrap().contains("401"),
        "{errors:?}"
    );
    let value = &seen["value"];
    assert_eq!(value["title"], "longsplice");
    assert_eq!(value["phase"], "running");
    assert_eq!(value["names"], json!(["app", HOSTILE]));
    assert_eq!(value["injected"], 0);
    for (part, words) in [
        ("why", "refused"),
        ("history", "down"),
        ("busiest", "edge → app/"),
        ("refused", "this is not the token (401)"),
        ("button", "Take back"),
    ] {
        let text = value[part].as_str().unwrap();
        assert!(text.contains(words), "{part}: {text}");
    }
    assert_eq!(value["stored"], json!([0, 0, ""]));
    assert_eq!(board.standing(), "drained");
}

#[test]
fn the_page_has_no_buttons_where_nothing_may_be_changed() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let board = Board::start(Plan::tcp(Origin::echo()), "");
    let program = "await until(() => all('.backend tbody tr').length === 1);
        return [all('main button').length, read('#access')];";
    let seen = look(browser, board.admin, program);
    assert_eq!(seen["value"], json!([0, "This page only reads."]));
    assert_eq!(seen["errors"], json!([]));
}

#[test]
fn the_page_fits_every_window_and_both_colours() {
    let Some(_) = Browser::find() else {
        return;
    };
    let (up, down) = (websocket::echo_server(), free_addr());
    let board = Board::writable(plan(up, down));
    let program = "await until(() => number('tunnels') > 0 && number('in') > 0 && row('DOWN'));
        const page = document.documentElement;
        return [page.scrollWidth, page.clientWidth, getComputedStyle(document.body).backgroundColor];"
        .replace("DOWN", &down.to_string());
    with_traffic(&board.proxy, || {
        let mut colours = Vec::new();
        for (name, width, height, scheme) in [
            ("light", 1280, 900, "light"),
            ("dark", 1280, 900, "dark"),
            ("tablet", 740, 1000, "light"),
            ("phone", 360, 780, "dark"),
        ] {
            let picture = format!("dashboard-{name}.png");
            let browser = Browser::find().unwrap();
            let browser = browser
                .with_window(width, height)
                .preferring(scheme)
                .picturing(Path::new(env!("CARGO_TARGET_TMPDIR")).join(picture));
            let seen = look(browser, board.admin, &program);
            assert_eq!(seen["errors"], json!([]), "{name}");
            expect_no_stranger(&seen, board.admin);
            let value = &seen["value"];
            let (needed, there) = (value[0].as_u64().unwrap(), value[1].as_u64().unwrap());
            assert!(
                needed <= there && there <= u64::from(width),
                "{name}: {value}"
            );
            colours.push(value[2].clone());
        }
        assert_ne!(colours[0], colours[1]);
        assert_eq!(colours[0], colours[2]);
        assert_eq!(colours[1], colours[3]);
    });
}

#[test]
fn the_page_says_when_the_process_drains_is_gone_and_is_back() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let mut board = Board::writable(Plan::tcp(Origin::echo()));
    let mut tunnel = Peer::connect(board.proxy.addr());
    tunnel.send("x");
    tunnel.expect("x");
    // What it has seen is said over the one way there is: it is written into the log.
    let program = r##"
        const tell = (server) => fetch("api/undrain", { method: "POST", body: JSON.stringify({ server }),
            headers: { "Content-Type": "application/json", Authorization: "Bearer TOKEN" } });
        const told = [];
        const note = async (phase) => {
            await until(() => read("#phase") === phase);
            told.push(read("#notice"));
        };
        await note("running");
        await tell("seen-running");
        await note("draining");
        await tell("seen-draining");
        await note("no answer");
        await note("running");
        return told;
    "##;
    let program = program.replace("TOKEN", TOKEN);
    let admin = board.admin;
    let looking = thread::spawn(move || look(browser, admin, &program));
    board.proxy.wait_said(&["admin http", "seen-running"]);
    board.proxy.signal(Signal::SIGTERM);
    board.proxy.wait_said(&["admin http", "seen-draining"]);
    // Once more: it does not wait for the tunnel.
    board.proxy.signal(Signal::SIGTERM);
    board.proxy.wait_exit();
    drop(tunnel);
    // A server that takes the request and sends no answer.
    let silent = TcpListener::bind(admin).unwrap();
    let (mut asking, _) = silent.accept().unwrap();
    asking.read_exact(&mut [0]).unwrap();
    drop((asking, silent));
    let again = board.plan.start();
    let seen = looking.join().unwrap();
    drop(again);
    let told: Vec<&str> = seen["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert_eq!(told[0], "");
    assert!(told[1].starts_with("The process drains"), "{told:?}");
    assert!(
        told[2].starts_with("The process has not answered since"),
        "{told:?}"
    );
    assert!(
        told[3].starts_with("The process was started anew at"),
        "{told:?}"
    );
}
