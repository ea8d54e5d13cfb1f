//! `longsplice top` in a real terminal: what it shows, what keys do, and how it leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ctl::{Watched, open};
use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::run;
use crate::harness::terminal::Terminal;

/// How tmux writes that a colour begins.
const COLOURED: &str = "\x1b[38;5;";

/// A client that says something again and again.
struct Chatter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Chatter {
    fn start(mut client: Peer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let text = "x".repeat(4000);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                client.send(&text);
                client.expect(&text);
                thread::yield_now();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn top(terminal: &Terminal, watched: &Watched, more: &str) {
    let socket = watched.socket.display();
    terminal.run(&format!("top --socket {socket} --interval 200ms {more}"));
}

/// Tells whether the line that begins with `name` has a pace that is not nothing.
fn has_pace(screen: &str, name: &str) -> bool {
    let mut lines = screen.lines().map(str::split_whitespace);
    lines.any(|mut words| {
        words.next() == Some(name) && words.next().is_some_and(|pace| !pace.starts_with("0B"))
    })
}

#[test]
fn the_screen_shows_the_process_and_keys_change_it() {
    let Some(terminal) = Terminal::open(100, 24) else {
        return;
    };
    let app = Origin::echo();
    let watched = Watched::start(|plan| plan, app);
    let _chatter = Chatter::start(open(&watched, "127.0.5.1", "x"));
    let mut victim = open(&watched, "127.0.5.2", "x");
    top(&terminal, &watched, "");
    let pid = format!("pid {}", watched.proxy.pid());
    terminal.wait("numbers", |screen| {
        screen.contains(&pid) && has_pace(screen, "in") && has_pace(screen, "out")
    });
    let server = format!("app/{app}");
    let screen = terminal.wait_text(&server);
    assert!(screen.contains("tunnels 2") && screen.contains('█'));
    let styled = terminal.styled();
    assert!(styled.contains(COLOURED), "{styled}");
    terminal.resize(40, 10);
    let small = terminal.wait("the small screen", |screen| screen.starts_with("running"));
    assert!(
        small.lines().count() <= 10 && small.contains(&server),
        "{small}"
    );
    terminal.resize(140, 40);
    terminal.wait_text("+ - interval");
    // Drawn anew on what somebody else has written there.
    terminal.scribble("another program's words");
    terminal.keys(&["C-l"]);
    terminal.wait("a whole screen", |screen| {
        !screen.contains("another program")
    });
    terminal.keys(&["3"]);
    terminal.wait("both tunnels", |screen| {
        screen.contains("127.0.5.1:") && screen.contains("127.0.5.2:")
    });
    terminal.keys(&["/", "5.2:", "Enter"]);
    terminal.wait("one of them", |screen| {
        !screen.contains("127.0.5.1:") && screen.contains("127.0.5.2:")
    });
    terminal.keys(&["K"]);
    terminal.wait_text("End tunnel ");
    terminal.keys(&["n"]);
    terminal.wait_text("filter: 5.2:");
    victim.send("still here");
    victim.expect("still here");
    terminal.keys(&["K"]);
    terminal.wait_text("End tunnel ");
    terminal.keys(&["y"]);
    victim.expect_closed();
    watched.proxy.wait_cause("close", "killed");
    terminal.wait_text(" is ended");
    terminal.keys(&["?"]);
    terminal.wait_text("any key goes back");
    terminal.keys(&["q"]);
    terminal.wait_text("nothing matches the filter");
    terminal.keys(&["q"]);
    terminal.expect_given_back(0);
}

#[test]
fn a_server_is_drained_and_taken_back_by_keys() {
    let Some(terminal) = Terminal::open(80, 24) else {
        return;
    };
    let watched = Watched::start(|plan| plan, Origin::echo());
    let standing = || watched.json("backends")[0]["servers"][0]["standing"].clone();
    top(&terminal, &watched, "");
    terminal.wait_text("D drain");
    terminal.keys(&["D"]);
    terminal.wait_text("Drain app/");
    terminal.keys(&["x", "Escape"]);
    terminal.wait_text("D drain");
    assert_eq!(standing(), "up");
    terminal.keys(&["D"]);
    terminal.wait_text("Drain app/");
    terminal.keys(&["y"]);
    terminal.wait_text(" drained ");
    assert_eq!(standing(), "drained");
    terminal.keys(&["U"]);
    terminal.wait_text("Take app/");
    terminal.keys(&["y"]);
    eventually("it is up again", || standing() == "up");
    terminal.wait("it is shown so", |screen| !screen.contains(" drained "));
    terminal.keys(&["C-c"]);
    terminal.expect_given_back(0);
}

#[test]
fn a_process_that_stops_or_ends_does_not_hold_the_keys() {
    let Some(terminal) = Terminal::open(80, 24) else {
        return;
    };
    let app = Origin::echo();
    let mut watched = Watched::start(|plan| plan, app);
    top(&terminal, &watched, "");
    terminal.wait_text("every 200ms");
    watched.proxy.signal(Signal::SIGSTOP);
    terminal.wait_text("no answer for ");
    terminal.keys(&["?"]);
    terminal.wait_text("any key goes back");
    terminal.keys(&["?"]);
    watched.proxy.signal(Signal::SIGCONT);
    terminal.wait_text("every 200ms");
    watched.proxy.signal(Signal::SIGKILL);
    watched.proxy.wait_exit();
    terminal.wait_text("lost: ");
    terminal.keys(&["5"]);
    terminal.wait_text("CAUSE");
    let keys = format!("admin_socket = \"{}\"", watched.socket.display());
    let before = watched.proxy.pid();
    watched.proxy = Plan::tcp(app).process_keys(&keys).start();
    let now = watched.proxy.pid();
    terminal.wait_text(&format!(
        "another process answers: pid {now}, before it was {before}"
    ));
    terminal.wait_text("every 200ms");
    terminal.keys(&["q"]);
    terminal.expect_given_back(0);
}

#[test]
fn the_terminal_is_given_back_after_a_signal_and_a_stop() {
    let Some(terminal) = Terminal::open(80, 24) else {
        return;
    };
    let watched = Watched::start(|plan| plan, Origin::echo());
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        top(&terminal, &watched, "");
        terminal.wait_text("every 200ms");
        kill(Pid::from_raw(terminal.pid()), signal).unwrap();
        terminal.expect_given_back(0);
        terminal.keys(&["clear", "Enter"]);
        terminal.wait("an empty screen", |screen| !screen.contains("exit:"));
    }
    terminal.keys(&["export NO_COLOR=1; clear", "Enter"]);
    top(&terminal, &watched, "");
    terminal.wait_text("every 200ms");
    let styled = terminal.styled();
    assert!(!styled.contains(COLOURED), "{styled}");
    terminal.keys(&["q"]);
    terminal.expect_given_back(0);
}

#[test]
fn a_page_is_printed_where_there_is_no_terminal() {
    let app = Origin::echo();
    let watched = Watched::start(|plan| plan, app);
    let _chatter = Chatter::start(open(&watched, "127.0.0.1", "x"));
    let socket = watched.socket.to_str().unwrap();
    let page = run(&["top", "--socket", socket, "--once", "--interval", "1s"]);
    assert_eq!(page.code, Some(0), "{}", page.stderr);
    let row = page
        .stdout
        .lines()
        .find(|line| line.contains(&format!("app/{app}")));
    assert!(
        row.is_some_and(|row| row.contains("KiB/s") || row.contains("MiB/s")),
        "{}",
        page.stdout
    );
    assert!(!page.stdout.contains('\x1b'));
    let rows = [
        (
            &["top", "--socket", socket][..],
            2,
            "--once prints one page",
        ),
        (
            &["top", "--socket", socket, "--once", "--interval", "61s"],
            2,
            "from 100ms to 60s",
        ),
        (
            &["top", "--socket", socket, "--once", "--interval", "soon"],
            2,
            "--interval",
        ),
        (
            &["top", "--socket", "/nonexistent", "--once"],
            1,
            "there is no such socket",
        ),
    ];
    for (words, code, said) in rows {
        let outcome = run(words);
        assert_eq!(outcome.code, Some(code), "{words:?}");
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}
