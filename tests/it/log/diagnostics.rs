//! The format of diagnostics: words, or one JSON object a line.

use serde_json::Value;

use crate::harness::origin::Origin;
use crate::harness::plan::{Plan, responding};
use crate::harness::process::Proxy;
use crate::harness::{eventually, free_addr};

/// The lines of standard error that are no access lines, each as an object; panics if one is none.
fn objects(proxy: &Proxy) -> Vec<Value> {
    let lines = proxy.log_lines();
    let objects = lines.iter().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    objects.filter(|it| it.get("event").is_none()).collect()
}

#[test]
fn every_line_is_an_object_with_time_level_and_message() {
    let plan = Plan::http(free_addr())
        .health("kind = \"tcp\"\ninterval = \"100ms\"\nfall = 1")
        .more("[log]\nformat = \"json\"\n");
    let proxy = plan.start();
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.read_to_end();
    eventually("a server is down", || {
        objects(&proxy).iter().any(|it| it["state"] == "down")
    });
    for object in objects(&proxy) {
        let time = object["time"].as_str().unwrap();
        assert!(time.contains('T') && time.ends_with('Z'), "{object}");
        assert!(object["message"].is_string(), "{object}");
        let levels = ["error", "warn", "info"];
        assert!(
            levels.contains(&object["level"].as_str().unwrap()),
            "{object}"
        );
    }
    let down = objects(&proxy).into_iter().find(|it| it["state"] == "down");
    assert_eq!(down.unwrap()["backend"], "app");
}

#[test]
fn a_reload_changes_the_format_and_a_file_has_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let plan = |format: &str| {
        Plan::routes_only(&responding("", "hello"))
            .process_keys("sandbox = false")
            .more(&format!(
                "[log]\nformat = \"{format}\"\ntarget = \"file:{}\"\n",
                file.display()
            ))
            .toml()
    };
    let proxy = Proxy::start(&plan("text"));
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    let reloaded = |count: usize| {
        eventually("it is told", || {
            lines().matches("reloaded").count() == count
        });
        lines().lines().last().unwrap().to_owned()
    };
    proxy.rewrite(&plan("json"));
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    let last = reloaded(1);
    let object: Value = serde_json::from_str(&last).unwrap_or_else(|_| panic!("{last}"));
    assert_eq!(object["level"], "info");
    proxy.rewrite(&plan("text"));
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    let last = reloaded(2);
    assert!(last.contains(" INFO ") && !last.starts_with('{'), "{last}");
}

#[test]
fn what_a_message_quotes_stays_one_line() {
    let origin = Origin::echo();
    let proxy = Plan::tcp(origin).more("[log]\nformat = \"json\"\n").start();
    // The text of this error has several lines.
    proxy.rewrite("x = 1\ny = \"\u{9b}\"\n");
    proxy.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("it is told", || {
        objects(&proxy).iter().any(|it| it["level"] == "error")
    });
    assert!(objects(&proxy).len() > 1);
}
