//! Frames as displayed, and the effects of keys.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use expect_test::{Expect, expect};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::{Value, json};

use super::draw::{Palette, draw};
use super::panes::Pane;
use super::plain;
use super::state::{Effect, Link, Mode, State};
use crate::admin::ctl::{CtlRequest, Tunnels};
use crate::admin::overview::Overview;

const SECOND: Duration = Duration::from_secs(1);
/// When the first overview was taken.
const START_MS: u64 = 1_700_000_000_000;

fn server(name: &str, standing: &str, why: &str) -> Value {
    json!({
        "name": name, "address": name, "standing": standing, "weight": 2, "share": 1, "active": 3,
        "max_connections": 50, "connected": 9, "refused": 1, "since_ms": START_MS - 65_000,
        "why": why, "changes": 1, "checks_passed": 7, "checks_failed": 2,
    })
}

fn tunnel(id: &str, bytes_in: u64, age_ms: u64) -> Value {
    json!({
        "id": id, "listener": "edge", "client": format!("198.51.100.{id}"), "peer": "10.0.0.1:4711",
        "backend": "maps", "server": "10.1.0.1:80", "started_ms": START_MS - age_ms,
        "idle_ms": age_ms / 2, "half_closed": false, "bytes_in": bytes_in, "bytes_out": 10,
        "path_in": "copy", "path_out": "splice", "offload_in": null, "offload_out": null,
        "tls": null,
    })
}

/// The overview `steps` seconds after the first one.
fn overview(steps: u64) -> Overview {
    let totals = json!({
        "accepted": 100 + 3 * steps, "tunnels_opened": 50 + steps, "tunnels_ended": 10,
        "requests": 1000 + 250 * steps, "refused": 0, "bytes_in": steps * steps * 4000,
        "bytes_out": 5_000_000 * steps,
    });
    let mut traffic = totals.clone();
    traffic["listener"] = json!("edge");
    traffic["backend"] = json!("maps");
    traffic["server"] = json!("10.1.0.1:80");
    traffic["tunnels"] = json!(40);
    let text = json!({
        "at_ms": START_MS + 1000 * steps,
        "status": {
            "version": "0.1.0", "pid": 4711, "phase": "running", "started_ms": START_MS - 3_600_000,
            "uptime_ms": 3_600_000 + 1000 * steps, "connections": 44, "max_connections": 65_536,
            "tunnels": 40, "tunnels_by_thread": [20, 20],
            "causes": { "client-closed": 12 + 2 * steps, "idle-timeout": 90 },
            "log_lines_dropped": 0,
        },
        "totals": totals,
        "listeners": [{ "name": "edge", "mode": "http", "bind": ["0.0.0.0:80"], "tls": false }],
        "traffic": [traffic],
        "backends": [{
            "name": "maps", "balance": "source", "waiting": 4, "max_queue": 1024,
            "servers": [
                server("10.1.0.1:80", "up", ""),
                server("10.1.0.2:80", "down", "refused the connection"),
                server("10.1.0.3:80", "drained", "an operator wants it so"),
            ],
        }],
        "changes": [{
            "time_ms": START_MS - 65_000, "backend": "maps", "server": "10.1.0.2:80",
            "state": "down", "why": "refused the connection",
        }],
        "moved": [
            { "direction": "in", "path": "copy", "bytes": 4000 * steps },
            { "direction": "out", "path": "splice", "bytes": 5_000_000 * steps },
        ],
        "offload": [{ "direction": "in", "state": "kernel", "tunnels": 2 }],
        "busiest": [{ "bytes_per_second": 2_000_000, "tunnel": tunnel("7", 9000, 5000) }],
    });
    serde_json::from_value(text).unwrap()
}

fn tunnels(rows: &[(&str, u64, u64)]) -> Tunnels {
    let rows: Vec<Value> = rows
        .iter()
        .map(|(id, bytes, age)| tunnel(id, *bytes, *age))
        .collect();
    serde_json::from_value(json!({ "tunnels": rows, "more": false })).unwrap()
}

/// A state that has watched for `steps` seconds.
fn watched(steps: u64) -> State {
    let mut state = State::new(overview(0), SECOND);
    for step in 1..=steps {
        state.take(overview(step), None);
    }
    state
}

fn frame(state: &mut State, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(&mut buffer, state, Palette::Colours);
    buffer
}

fn text(state: &mut State, width: u16, height: u16) -> String {
    let buffer = frame(state, width, height);
    let cells = usize::from(width.max(1));
    let lines = buffer.content().chunks(cells).map(|line| {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn check(state: &mut State, size: (u16, u16), expected: &Expect) {
    expected.assert_eq(&text(state, size.0, size.1));
}

fn press(state: &mut State, keys: &str) -> Option<Effect> {
    let mut effect = None;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            '\x08' => KeyCode::Backspace,
            key => KeyCode::Char(key),
        };
        effect = state.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    effect
}

#[test]
fn a_usual_terminal_shows_the_servers() {
    let mut state = watched(6);
    press(&mut state, "j");
    check(
        &mut state,
        (80, 18),
        &expect![[r#"
            longsplice  pid 4711  running  up 1h  conns 44/65536  tunnels 40        every 1s
            in         42.9KiB/s             ▁▂▃▅▆█  accepted       3.0/s             ██████
            out         4.7MiB/s             ██████  opened         1.0/s             ██████
            refused          0/s                     requests       250/s             ██████
             1 Servers  2 Talkers  3 Tunnels  4 Health  5 Causes  6 Listeners  7 Paths   2/3
            SERVER           STATE      ACTIVE    NEW/S          IN         OUT  SINCE
            maps/10.1.0.1:80 up           3/50    251/s   42.9KiB/s    4.7MiB/s  1m11s
            maps/10.1.0.2:80 down         3/50      0/s        0B/s        0B/s  1m11s
            maps/10.1.0.3:80 drained      3/50      0/s        0B/s        0B/s  1m11s







            WHY refused the connection  QUEUE 4  SHARE 1/2  CHECKS 7  FAILED 2  REFUSED 1  C
            q quit  ? help  Tab pane  D drain  U undrain  s sort  r reverse  / filter"#]],
    );
}

#[test]
fn a_small_terminal_shows_what_matters_most() {
    check(
        &mut watched(6),
        (40, 10),
        &expect![[r#"
        running  tunnels 40             every 1s
         1 Servers  2  3  4  5  6  7         1/3
        SERVER           STATE      ACTIVE
        maps/10.1.0.1:80 up           3/50
        maps/10.1.0.2:80 down         3/50
        maps/10.1.0.3:80 drained      3/50



        q quit  ? help  Tab pane"#]],
    );
}

#[test]
fn a_wide_terminal_shows_every_column() {
    check(
        &mut watched(6),
        (170, 20),
        &expect![[r#"
            longsplice  0.1.0  pid 4711  running  up 1h  conns 44/65536  tunnels 40                                                                                           every 1s
            in         42.9KiB/s                             ▁▂▃▅▆█  accepted       3.0/s                              ██████  requests       250/s                             ██████
            out         4.7MiB/s                             ██████  opened         1.0/s                              ██████  refused          0/s
             1 Servers  2 Talkers  3 Tunnels  4 Health  5 Causes  6 Listeners  7 Paths                                                                                             1/3
            SERVER           STATE      ACTIVE    NEW/S          IN         OUT  SINCE   SHARE  QUEUE REFUSED   CHECKS FAILED CHANGES WHY
            maps/10.1.0.1:80 up           3/50    251/s   42.9KiB/s    4.7MiB/s  1m11s     1/2      4       1        7      2       1 -
            maps/10.1.0.2:80 down         3/50      0/s        0B/s        0B/s  1m11s     1/2      4       1        7      2       1 refused the connection
            maps/10.1.0.3:80 drained      3/50      0/s        0B/s        0B/s  1m11s     1/2      4       1        7      2       1 an operator wants it so











            q quit  ? help  Tab pane  D drain  U undrain  s sort  r reverse  / filter  p pause  + - interval"#]],
    );
}

#[test]
fn every_pane_has_its_rows() {
    let mut state = watched(2);
    let mut shown = String::new();
    for key in ["2", "3", "4", "5", "6", "7"] {
        press(&mut state, key);
        if key == "3" {
            let rows = tunnels(&[("8", 5, 1000), ("9", 70_000, 90_000)]);
            state.take(overview(3), Some(rows));
        }
        // Without the parts that are the same for all of them.
        let frame = text(&mut state, 100, 12);
        let rows = frame
            .lines()
            .skip(2)
            .take(5)
            .map(|line| format!("{line}\n"));
        shown.extend(rows.filter(|line| line != "\n"));
    }
    expect![[r#"
         1 Servers  2 Talkers  3 Tunnels  4 Health  5 Causes  6 Listeners  7 Paths                       1/1
               RATE CLIENT            SERVER                  IN       OUT    AGE PATH            ID
           1.9MiB/s 198.51.100.7      maps/10.1.0.1:80    8.7KiB       10B     7s copy splice     7
         1 Servers  2 Talkers  3 Tunnels  4 Health  5 Causes  6 Listeners  7 Paths                       1/2
        CLIENT            SERVER              AGE   IDLE    BYTES▾        IN PATH            ID
        198.51.100.9      maps/10.1.0.1:80  1m33s    45s   68.3KiB   68.3KiB copy splice     9
        198.51.100.8      maps/10.1.0.1:80     4s    <1s       15B        5B copy splice     8
         1 Servers  2 Talkers  3 Tunnels  4 Health  5 Causes  6 Listeners  7 Paths                       1/1
            AGO SERVER           STATE   WHY
           1m8s maps/10.1.0.2:80 down    refused the connection
         1 Servers  2 Talkers  3 Tunnels  4 Health  5 Causes  6 Listeners  7 Paths                       1/2
        CAUSE                     SEEN▾        NOW
        idle-timeout                 90        0/s
        client-closed                18      2.0/s
         1 Servers  2 Talkers  3 Tunnels  4 Health  5 Causes  6 Listeners  7 Paths                       1/1
        LISTENER   MODE TLS  ACCEPTED    OPENED  REQUESTS   REFUSED          IN         OUT BIND
        edge       http no      3.0/s     1.0/s     250/s       0/s   19.5KiB/s    4.7MiB/s 0.0.0.0:80
         1 Servers  2 Talkers  3 Tunnels  4 Health  5 Causes  6 Listeners  7 Paths                       1/3
        WHAT                WAY     BYTES         NOW  TUNNELS
        copy                in    11.7KiB    3.9KiB/s        -
        splice              out   14.3MiB    4.7MiB/s        -
        TLS records: kernel in          -           -        2
    "#]].assert_eq(&shown);
}

#[test]
fn a_page_for_scripts_leaves_nothing_out() {
    expect![[r#"
        longsplice 0.1.0  pid 4711  running  up 1h  connections 44/65536  tunnels 40
        accepted 3.0/s  opened 1.0/s  requests 250/s  refused 0/s  in 11.7KiB/s  out 4.7MiB/s

        Servers
        SERVER            STATE    ACTIVE  NEW/S         IN       OUT  SINCE  SHARE  QUEUE  REFUSED  CHECKS  FAILED  CHANGES  WHY
        maps/10.1.0.1:80  up         3/50  251/s  11.7KiB/s  4.7MiB/s   1m7s    1/2      4        1       7       2        1  -
        maps/10.1.0.2:80  down       3/50    0/s       0B/s      0B/s   1m7s    1/2      4        1       7       2        1  refused the connection
        maps/10.1.0.3:80  drained    3/50    0/s       0B/s      0B/s   1m7s    1/2      4        1       7       2        1  an operator wants it so

        Talkers
            RATE  CLIENT        SERVER                IN  OUT  AGE  LISTENER  PATH         TLS  ID
        1.9MiB/s  198.51.100.7  maps/10.1.0.1:80  8.7KiB  10B   7s  edge      copy splice  -    7

        Health
         AGO  SERVER            STATE  WHY
        1m7s  maps/10.1.0.2:80  down   refused the connection

        Causes
        CAUSE          SEEN    NOW
        idle-timeout     90    0/s
        client-closed    16  2.0/s

        Listeners
        LISTENER  MODE  TLS  ACCEPTED  OPENED  REQUESTS  REFUSED         IN       OUT  BIND
        edge      http  no      3.0/s   1.0/s     250/s      0/s  11.7KiB/s  4.7MiB/s  0.0.0.0:80

        Paths
        WHAT                 WAY   BYTES       NOW  TUNNELS
        copy                 in   7.8KiB  3.9KiB/s        -
        splice               out  9.5MiB  4.7MiB/s        -
        TLS records: kernel  in        -         -        2
    "#]].assert_eq(&plain::page(&watched(2)));
}

#[test]
fn the_help_names_every_key() {
    let mut state = watched(1);
    press(&mut state, "?");
    check(
        &mut state,
        (60, 24),
        &expect![[r#"
            longsplice  pid 4711  running  up 1h  tunnels 40    every 1s
            in          3.9KiB/s        █  accepted       3.0/s        █
            out         4.7MiB/s        █  opened         1.0/s        █
            refused          0/s           requests       250/s        █
             1 Servers  2  3  4  5  6  7                             1/3

             q  Esc  Ctrl-C     quit
             Tab  1-7           the next pane, or this one
             arrows  j k        move by a line
             PgUp PgDn Home End move by a page, to the top, to the end
             s  S               sort by the next column, by the one befo
             r                  reverse the order
             /                  show only lines with a text; Esc shows a
             p  space           pause, and go on
             + -  d             ask more often, less often, or type how
             D  U               drain the server of the line, take it ba
             K                  end the tunnel of the line
             Ctrl-L  Ctrl-Z     draw anew, suspend





            any key goes back"#]],
    );
    assert_eq!(press(&mut state, "q"), None);
    assert_eq!(state.mode, Mode::Browse);
}

#[test]
fn every_size_can_be_drawn() {
    let mut state = watched(3);
    for keys in ["1", "2", "3", "/x\n", "1K", "D", "n?"] {
        press(&mut state, keys);
        for width in (0..24).chain([39, 59, 60, 79, 119, 120]) {
            for height in (0..8).chain([11, 12, 17, 18]) {
                frame(&mut state, width, height);
            }
        }
        frame(&mut state, 1000, 300);
    }
}

#[test]
fn nothing_a_stranger_wrote_commands_the_terminal() {
    let bad = "\x1b]0;owned\x07\u{9b}2J\u{202e}";
    let mut poisoned = overview(1);
    poisoned.backends[0].servers[0].why = bad.to_owned();
    poisoned.backends[0].servers[0].name = bad.to_owned();
    poisoned.backends[0].name = bad.to_owned();
    poisoned.status.version = bad.to_owned();
    poisoned.status.phase = bad.to_owned();
    poisoned.changes[0].why = bad.to_owned();
    poisoned.busiest[0].tunnel.client = bad.to_owned();
    poisoned.busiest[0].tunnel.id = bad.to_owned();
    poisoned.status.causes.insert(bad.to_owned(), 1);
    poisoned.listeners[0].name = bad.to_owned();
    poisoned.moved[0].path = bad.to_owned();
    let mut state = watched(0);
    state.take(poisoned, None);
    let sound = |state: &mut State| {
        let page = text(state, 200, 30) + &plain::page(state);
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!page.contains(obeyed), "{page:?}");
    };
    for keys in ["1", "D", "n2", "K", "n3", "4", "5", "6", "7"] {
        press(&mut state, keys);
        sound(&mut state);
    }
    state.told(Err(bad.to_owned()));
    sound(&mut state);
    state.lose(bad);
    sound(&mut state);
}

#[test]
fn a_row_is_followed_wherever_it_goes() {
    let mut state = watched(1);
    assert_eq!(press(&mut state, "3"), Some(Effect::Look));
    let id = |state: &State| state.row().unwrap().key.clone();
    state.take(
        overview(2),
        Some(tunnels(&[("1", 9, 0), ("2", 8, 0), ("3", 7, 0)])),
    );
    assert_eq!(id(&state), "1");
    press(&mut state, "j");
    assert_eq!(id(&state), "2");
    state.take(
        overview(3),
        Some(tunnels(&[("1", 9, 0), ("2", 1, 0), ("3", 7, 0)])),
    );
    assert_eq!((id(&state), state.view().at), ("2".to_owned(), 2));
    // It has ended: the row in its place is selected, or the last.
    state.take(overview(4), Some(tunnels(&[("1", 9, 0), ("3", 7, 0)])));
    assert_eq!(id(&state), "3");
    // At the top, whichever row is first.
    press(&mut state, "g");
    state.take(overview(5), Some(tunnels(&[("1", 9, 0), ("3", 70, 0)])));
    assert_eq!(id(&state), "3");
    press(&mut state, "G");
    assert_eq!(id(&state), "1");
}

#[test]
fn rows_are_sorted_by_any_column_and_filtered() {
    let mut state = watched(1);
    press(&mut state, "3");
    state.take(
        overview(2),
        Some(tunnels(&[("1", 5, 30), ("2", 9, 10), ("3", 7, 20)])),
    );
    let ids = |state: &State| -> String {
        state
            .table
            .rows
            .iter()
            .map(|row| row.key.as_str())
            .collect()
    };
    assert_eq!(ids(&state), "231");
    press(&mut state, "r");
    assert_eq!(ids(&state), "132");
    // IDLE, then AGE.
    press(&mut state, "S");
    assert_eq!(ids(&state), "132");
    press(&mut state, "r");
    assert_eq!(ids(&state), "231");
    press(&mut state, "/100.3");
    assert_eq!(ids(&state), "3");
    press(&mut state, "\x08");
    assert_eq!(ids(&state), "231");
    press(&mut state, "nobody\n");
    assert!(text(&mut state, 80, 24).contains("nothing matches the filter"));
    press(&mut state, "/\x1b");
    assert_eq!(ids(&state), "231");
}

#[test]
fn what_changes_something_is_asked_for_first() {
    let mut state = watched(1);
    press(&mut state, "jD");
    let asked = text(&mut state, 80, 24);
    assert!(asked.contains("Drain maps/10.1.0.2:80?"), "{asked}");
    assert_eq!(press(&mut state, "x"), None);
    // The table goes on below the question, which keeps its answer.
    state.take(overview(2), None);
    let server = Some("maps/10.1.0.2:80".to_owned());
    assert_eq!(
        press(&mut state, "y"),
        Some(Effect::Tell(CtlRequest::Drain { server }))
    );
    press(&mut state, "U");
    let server = "maps/10.1.0.2:80".to_owned();
    assert_eq!(
        press(&mut state, "y"),
        Some(Effect::Tell(CtlRequest::Undrain { server }))
    );
    press(&mut state, "2K");
    let asked = text(&mut state, 80, 24);
    assert!(asked.contains("End tunnel 7 of 198.51.100.7?"), "{asked}");
    assert_eq!(press(&mut state, "n"), None);
    assert_eq!(state.mode, Mode::Browse);
    press(&mut state, "K");
    let id = "7".to_owned();
    assert_eq!(
        press(&mut state, "y"),
        Some(Effect::Tell(CtlRequest::Kill { id }))
    );
    // If no row is selected, there is no question.
    for keys in ["1K", "5D", "5K"] {
        assert_eq!(press(&mut state, keys), None);
        assert!(
            state.mode == Mode::Browse && state.notice.as_ref().unwrap().bad,
            "{keys}"
        );
    }
}

#[test]
fn a_process_is_lost_and_found_again_or_another_one() {
    let mut state = watched(3);
    state.lose("nobody answers there");
    let shown = text(&mut state, 80, 24);
    assert!(
        shown.contains("lost: nobody answers there; trying again"),
        "{shown}"
    );
    assert!(shown.lines().next().unwrap().ends_with(" lost"), "{shown}");
    state.take(overview(9), None);
    assert!(text(&mut state, 80, 24).contains("the process answers again"));
    assert_eq!(state.watched.pulses.len(), 4);
    let mut other = overview(0);
    other.status.pid = 99;
    state.lose("nobody answers there");
    state.take(other, None);
    let shown = text(&mut state, 80, 24);
    assert!(
        shown.contains("another process answers: pid 99, before it was 4711"),
        "{shown}"
    );
    assert!(state.watched.pulses.is_empty(), "its counters began anew");
    state.link = Link::Late(Duration::from_secs(7));
    assert!(text(&mut state, 80, 24).contains("no answer for 7s"));
}

#[test]
fn the_interval_has_steps_and_can_be_typed() {
    let mut state = watched(1);
    assert_eq!(press(&mut state, "+"), Some(Effect::Look));
    assert_eq!(state.interval, Duration::from_millis(500));
    press(&mut state, "+++++");
    assert_eq!(state.interval, Duration::from_millis(100));
    press(&mut state, "----------");
    assert_eq!(state.interval, Duration::from_secs(60));
    let rows = [
        ("d2\n", 2000),
        ("d250ms\n", 250),
        ("d0\n", 250),
        ("dx\n", 250),
        ("d61\n", 250),
    ];
    for (keys, ms) in rows {
        press(&mut state, keys);
        assert_eq!(state.interval, Duration::from_millis(ms), "{keys:?}");
    }
    assert_eq!(press(&mut state, "p"), None);
    assert!(state.paused && text(&mut state, 80, 24).contains("paused"));
    assert_eq!(press(&mut state, "p"), Some(Effect::Look));
}

#[test]
fn keys_that_end_it() {
    for keys in ["q", "\x1b"] {
        assert_eq!(press(&mut watched(0), keys), Some(Effect::Quit));
    }
    let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    let mut state = watched(0);
    press(&mut state, "/text");
    assert_eq!(state.press(control('c')), Some(Effect::Quit));
    assert_eq!(state.press(control('z')), Some(Effect::Suspend));
    assert_eq!(press(&mut state, "q\n"), None);
    assert_eq!(state.filter, "textq");
    press(&mut state, "\t");
    assert_eq!(state.pane, Pane::Talkers);
}

#[test]
fn without_colours_there_are_none() {
    let mut state = watched(1);
    let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 24));
    draw(&mut buffer, &mut state, Palette::Plain);
    let plain = |cell: &ratatui::buffer::Cell| cell.fg == ratatui::style::Color::Reset;
    assert!(buffer.content().iter().all(plain));
    assert!(!frame(&mut state, 120, 24).content().iter().all(plain));
}
