//! What a person sees: pages of longsplice in a real browser.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::browser::Browser;
use crate::harness::free_addr;
use crate::harness::process::Proxy;
use crate::harness::tls::shown_certificate;

/// Waits until the page says that its WebSocket is open, says something in its form, and waits for
/// the echo; what it yields is what a person reads then.
const SAY_SOMETHING: &str = r##"(async () => {
    const read = (selector) => document.querySelector(selector)?.textContent ?? null;
    const until = async (holds) => { while (!holds()) await new Promise(requestAnimationFrame); };
    await until(() => document.querySelector("#state.open"));
    document.forms[0].text.value = "said in the browser";
    document.forms[0].requestSubmit();
    await until(() => document.querySelector("#log li"));
    return { title: document.title, state: read("#state"), line: read("#log li"), time: read("#log li time") };
})()"##;

#[test]
fn the_demo_echoes_what_is_said_on_its_page() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let addr = free_addr();
    let demo = Proxy::start_with(&["demo", "--listen", &addr.to_string()], &[]);
    let url = demo.wait_stdout("a URL", |line| {
        line.split_whitespace()
            .find(|word| word.contains("://localhost:"))
            .map(str::to_owned)
    });
    let dir = TempDir::new().unwrap();
    let certificate = dir.path().join("demo.der");
    fs::write(&certificate, shown_certificate(addr, "localhost")).unwrap();
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo.png");
    let seen = browser
        .trusting(certificate)
        .picturing(&picture)
        .evaluate(&url, SAY_SOMETHING);
    assert_eq!(seen["title"], "longsplice demo");
    let socket = format!("wss://localhost:{}/ws", addr.port());
    assert_eq!(seen["state"], format!("open: {socket}"));
    let line = seen["line"].as_str().unwrap();
    let time = seen["time"].as_str().unwrap();
    assert_eq!(line, format!("said in the browser{time}"));
    assert!(time.ends_with(" ms"), "{time}");
    assert!(fs::read(picture).unwrap().starts_with(b"\x89PNG"));
    let open = demo.wait_access("open", |_| true);
    let agent = open["user_agent"].as_str().unwrap();
    assert!(agent.contains("Chrome/"), "{open}");
}
