//! The actions of keys.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::panes::Pane;
use super::state::{Effect, Mode, State};
use super::words::{INTERVALS, interval};
use crate::admin::ctl::CtlRequest;
use crate::config::duration_of;

/// Steps of `+` and `-`.
const STEPS_MS: [u64; 9] = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
/// Characters of a filter or an interval.
const TYPED_MAX: usize = 100;

/// The keys and their actions, for the help.
pub(super) const HELP: &[(&str, &str)] = &[
    ("q  Esc  Ctrl-C", "quit"),
    ("Tab  1-7", "the next pane, or this one"),
    ("arrows  j k", "move by a line"),
    (
        "PgUp PgDn Home End",
        "move by a page, to the top, to the end",
    ),
    ("s  S", "sort by the next column, by the one before"),
    ("r", "reverse the order"),
    ("/", "show only lines with a text; Esc shows all again"),
    ("p  space", "pause, and go on"),
    ("+ -  d", "ask more often, less often, or type how often"),
    ("D  U", "drain the server of the line, take it back"),
    ("K", "end the tunnel of the line"),
    ("Ctrl-L  Ctrl-Z", "draw anew, suspend"),
];

impl State {
    /// Performs the action of a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Effect> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, control) {
            (KeyCode::Char('c'), true) => return Some(Effect::Quit),
            (KeyCode::Char('z'), true) => return Some(Effect::Suspend),
            (KeyCode::Char('l'), true) => return Some(Effect::Redraw),
            (_, true) => return None,
            (_, false) => {}
        }
        self.notice = None;
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Browse => self.browse(key.code),
            // Any key closes the help.
            Mode::Help => None,
            Mode::Filter => self.type_filter(key.code),
            Mode::Interval(text) => self.type_interval(text, key.code),
            Mode::Question { text, request } => self.answer(text, request, key.code),
        }
    }

    fn browse(&mut self, code: KeyCode) -> Option<Effect> {
        let (at, page) = (self.view().at, self.page);
        match (code, ()) {
            (KeyCode::Char('q') | KeyCode::Esc, ()) => return Some(Effect::Quit),
            (KeyCode::Tab, ()) => return self.turn_by(1),
            (KeyCode::BackTab, ()) => return self.turn_by(Pane::ALL.len() - 1),
            (KeyCode::Char(digit @ '1'..='9'), ()) => {
                let number = digit.to_digit(10).and_then(|it| usize::try_from(it).ok());
                let pane = number.and_then(|it| Pane::ALL.get(it - 1))?;
                return self.turn_to(*pane);
            }
            (KeyCode::Up | KeyCode::Char('k'), ()) => self.go_to(at.saturating_sub(1)),
            (KeyCode::Down | KeyCode::Char('j'), ()) => self.go_to(at + 1),
            (KeyCode::PageUp, ()) => self.go_to(at.saturating_sub(page)),
            (KeyCode::PageDown, ()) => self.go_to(at + page),
            (KeyCode::Home | KeyCode::Char('g'), ()) => self.go_to(0),
            (KeyCode::End | KeyCode::Char('G'), ()) => self.go_to(usize::MAX),
            (KeyCode::Char('s'), ()) => self.sort_by_next(1),
            (KeyCode::Char('S'), ()) => self.sort_by_next(self.table.columns.len()),
            (KeyCode::Char('r'), ()) => {
                let view = self.view_mut();
                view.reverse = !view.reverse;
                self.settle();
            }
            (KeyCode::Char('/'), ()) => self.mode = Mode::Filter,
            (KeyCode::Char('d'), ()) => self.mode = Mode::Interval(String::new()),
            (KeyCode::Char('+' | '='), ()) => return self.ask_every(self.step(true)),
            (KeyCode::Char('-'), ()) => return self.ask_every(self.step(false)),
            (KeyCode::Char('p' | ' '), ()) => {
                self.paused = !self.paused;
                return (!self.paused).then_some(Effect::Look);
            }
            (KeyCode::Char('?' | 'h'), ()) => self.mode = Mode::Help,
            (KeyCode::Char('D'), ()) => self.ask_to_drain(true),
            (KeyCode::Char('U'), ()) => self.ask_to_drain(false),
            (KeyCode::Char('K'), ()) => self.ask_to_kill(),
            (_, ()) => {}
        }
        None
    }

    fn turn_by(&mut self, count: usize) -> Option<Effect> {
        let next = (self.pane.at() + count) % Pane::ALL.len();
        self.turn_to(Pane::ALL[next])
    }

    /// Sorts by the column `count` positions further; after the last one, by none.
    fn sort_by_next(&mut self, count: usize) {
        let places = self.table.columns.len() + 1;
        let view = self.view_mut();
        let place = view.sort.map_or(0, |at| at + 1);
        view.sort = ((place + count) % places).checked_sub(1);
        view.reverse = false;
        self.settle();
    }

    fn step(&self, faster: bool) -> Duration {
        let mut steps = STEPS_MS.map(Duration::from_millis).into_iter();
        let next = match faster {
            true => steps.rfind(|step| *step < self.interval),
            false => steps.find(|step| *step > self.interval),
        };
        next.unwrap_or(self.interval)
    }

    fn ask_every(&mut self, time: Duration) -> Option<Effect> {
        self.interval = time;
        self.say(format!("every {}", interval(time)), false);
        (!self.paused).then_some(Effect::Look)
    }

    fn type_filter(&mut self, code: KeyCode) -> Option<Effect> {
        match (code, ()) {
            (KeyCode::Enter, ()) => return None,
            (KeyCode::Esc, ()) => {
                self.filter.clear();
                self.settle();
                return None;
            }
            (code, ()) => edit(&mut self.filter, code),
        }
        self.mode = Mode::Filter;
        self.settle();
        None
    }

    fn type_interval(&mut self, mut text: String, code: KeyCode) -> Option<Effect> {
        match (code, ()) {
            (KeyCode::Esc, ()) => return None,
            (KeyCode::Enter, ()) if text.is_empty() => return None,
            (KeyCode::Enter, ()) => {
                // As in top, a plain number is seconds.
                let plain = text.bytes().all(|it| it.is_ascii_digit());
                let unit = if plain { "s" } else { "" };
                match duration_of(&format!("{text}{unit}")) {
                    Ok(time) if INTERVALS.contains(&time) => return self.ask_every(time),
                    Ok(_) => self.say("from 100ms to 60s".to_owned(), true),
                    Err(wrong) => self.say(format!("{text:?} {wrong}"), true),
                }
                return None;
            }
            (code, ()) => edit(&mut text, code),
        }
        self.mode = Mode::Interval(text);
        None
    }

    fn answer(&mut self, text: String, request: CtlRequest, code: KeyCode) -> Option<Effect> {
        match (code, ()) {
            (KeyCode::Char('y' | 'Y'), ()) => Some(Effect::Tell(request)),
            (KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc, ()) => None,
            // Other keys are no answer.
            (_, ()) => {
                self.mode = Mode::Question { text, request };
                None
            }
        }
    }

    fn ask_to_drain(&mut self, drained: bool) {
        let server = match self.pane {
            Pane::Servers | Pane::Health => self.row().and_then(|row| row.subject.clone()),
            Pane::Talkers | Pane::Tunnels | Pane::Causes | Pane::Listeners | Pane::Paths => None,
        };
        let Some(server) = server else {
            self.say("no server is chosen: they are in pane 1".to_owned(), true);
            return;
        };
        let shown = super::words::clean(&server);
        self.mode = match drained {
            true => Mode::Question {
                text: format!("Drain {shown}? Nothing new for it, its tunnels go on."),
                request: CtlRequest::Drain {
                    server: Some(server),
                },
            },
            false => Mode::Question {
                text: format!("Take {shown} back?"),
                request: CtlRequest::Undrain { server },
            },
        };
    }

    fn ask_to_kill(&mut self) {
        let chosen = match self.pane {
            Pane::Talkers | Pane::Tunnels => self.row(),
            Pane::Servers | Pane::Health | Pane::Causes | Pane::Listeners | Pane::Paths => None,
        };
        let chosen = chosen.and_then(|row| Some((row.subject.clone()?, self.client_of(row))));
        let Some((id, client)) = chosen else {
            self.say(
                "no tunnel is chosen: they are in panes 2 and 3".to_owned(),
                true,
            );
            return;
        };
        let text = format!("End tunnel {} of {client}?", super::words::clean(&id));
        self.mode = Mode::Question {
            text,
            request: CtlRequest::Kill { id },
        };
    }

    /// Returns the client of a tunnel's row.
    fn client_of(&self, row: &super::table::Row) -> String {
        let titles = self.table.columns.iter();
        let mut cells = titles.zip(&row.cells);
        let client = cells.find(|(column, _)| column.title == "CLIENT");
        client
            .map(|(_, cell)| cell.text.clone())
            .unwrap_or_default()
    }
}

/// Applies a key to the typed `text`.
fn edit(text: &mut String, code: KeyCode) {
    match (code, ()) {
        (KeyCode::Backspace, ()) => {
            text.pop();
        }
        (KeyCode::Char(c), ()) if !c.is_control() && text.chars().count() < TYPED_MAX => {
            text.push(c);
        }
        (_, ()) => {}
    }
}
