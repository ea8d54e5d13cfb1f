//! What the process may still do once it serves.

use std::fs;

use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};

/// Returns a field of /proc/PID/task/TID/status for each thread, as numbers.
fn of_threads(proxy: &Proxy, field: &str) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
    let number = |thread: std::io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{field}:")));
        line.unwrap().trim().parse().unwrap()
    };
    threads.map(number).collect()
}

fn ready(keys: &str) -> Proxy {
    let proxy = Plan::tcp(Origin::echo()).process_keys(keys).start();
    eventually("the process is ready", || proxy.log().contains(" ready "));
    proxy
}

#[test]
fn every_thread_is_confined() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let filters = own
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp_filters:"));
    let before: u32 = filters.unwrap().trim().parse().unwrap();
    for (keys, added) in [
        ("", 2),
        ("sandbox = true", 2),
        ("sandbox = \"log\"", 1),
        ("sandbox = false", 0),
    ] {
        let proxy = ready(keys);
        let filters = of_threads(&proxy, "Seccomp_filters");
        assert!(filters.len() >= 5, "{filters:?}");
        assert!(
            filters.iter().all(|count| *count == before + added),
            "{keys}: {filters:?}"
        );
        // Nothing that it might execute gains anything, confined or not.
        let privileges = of_threads(&proxy, "NoNewPrivs");
        assert!(privileges.iter().all(|set| *set == 1), "{privileges:?}");
        if added > 0 {
            let modes = of_threads(&proxy, "Seccomp");
            assert!(modes.iter().all(|mode| *mode == 2), "{modes:?}");
        }
        assert!(!proxy.log().contains("not confined"), "{}", proxy.log());
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
    }
}

#[test]
fn what_must_not_be_is_refused() {
    let outcome = run(&["doctor", "--sandbox"]);
    if outcome.stdout.contains("files: NotEnforced") {
        println!("skipped: no Landlock here");
    } else {
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(!outcome.stdout.contains("NOT REFUSED"), "{outcome:?}");
    }
    for what in [
        "start a program",
        "become a program",
        "open a packet socket",
    ] {
        let said = format!("{what}: refused: Operation not permitted");
        assert!(outcome.stdout.contains(&said), "{outcome:?}");
    }
}

#[test]
fn reloads_find_every_file_of_the_configuration_and_of_what_waits_for_a_restart() {
    let [ca, first, second] = [(); 3].map(|()| tempfile::TempDir::new().unwrap());
    let site = crate::harness::tls::Identity::new(&["localhost"]);
    let file = ca.path().join("ca.pem");
    fs::copy(site.file(), &file).unwrap();
    let tls = format!(
        "[backend.tls]\nserver_name = \"localhost\"\nca = \"{0}\"\ncert = \"{0}\"",
        file.display()
    );
    let plan = |folder: &tempfile::TempDir| {
        let keys = format!("pid_file = \"{}\"", folder.path().join("pid").display());
        let plan = Plan::tcp(Origin::echo()).process_keys(&keys);
        plan.server_keys("tls = true").more(&tls)
    };
    let plan_of_first = plan(&first);
    let proxy = plan_of_first.start();
    eventually("the process is ready", || proxy.log().contains(" ready "));
    for toml in [plan_of_first.toml(), plan(&second).toml()] {
        let said = proxy.reload(&toml);
        assert!(!said.contains("not reloaded"), "{said}\n{}", proxy.log());
    }
}

#[test]
fn a_process_that_is_ready_has_threads_that_accept() {
    for limit in 12..40 {
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let plan = Plan::tcp(Origin::echo());
        let mut proxy = Proxy::spawn_through(&["sh", "-c", &script, "sh"], &plan.toml());
        eventually("it is ready or has ended", || {
            !proxy.is_running() || proxy.log().contains(" ready ")
        });
        if proxy.log().contains(" ready ") {
            assert!(proxy.is_running(), "{limit}: {}", proxy.log());
            let threads = fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
            let accepting = threads.filter(|thread| {
                let name = thread.as_ref().unwrap().path().join("comm");
                fs::read_to_string(name).is_ok_and(|name| name.starts_with("reception-"))
            });
            assert!(accepting.count() > 0, "{limit}: {}", proxy.log());
        } else {
            assert_eq!(proxy.wait_exit(), Some(1), "{limit}");
        }
    }
}
