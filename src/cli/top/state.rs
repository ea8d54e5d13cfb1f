//! What `longsplice top` knows and shows: overviews come in, keys come in, nothing goes out but what
//! is to be done. No terminal, no socket, no clock.

use std::time::Duration;

use super::panes::Pane;
use super::rates::Watched;
use super::table::{Row, Table};
use super::words::clean;
use crate::admin::ctl::{CtlRequest, Tunnels};
use crate::admin::overview::Overview;

/// What the loop is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Give the terminal back and end.
    Quit,
    /// Give the terminal back and stop, until the shell wants us again.
    Suspend,
    /// Draw all of the screen.
    Redraw,
    /// Ask now.
    Look,
    /// Tell the process to do something.
    Tell(CtlRequest),
}

/// What the keys mean.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mode {
    /// Move, sort, choose.
    Browse,
    /// The help is shown.
    Help,
    /// A filter is typed.
    Filter,
    /// An interval is typed.
    Interval(String),
    /// Yes or no?
    Question {
        /// What is asked.
        text: String,
        /// What is done on yes.
        request: CtlRequest,
    },
}

/// Whether the process answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// It does.
    Up,
    /// It has not for this time.
    Late(Duration),
    /// It does not, and this is why.
    Lost(String),
}

/// A word about what happened, and whether it is a bad one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) bad: bool,
}

/// How one pane is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Column it is sorted by; none = as it comes.
    pub(super) sort: Option<usize>,
    pub(super) reverse: bool,
    /// Row that is followed wherever it goes; none = the first one, whichever it is.
    followed: Option<String>,
    /// Row the keys mean.
    pub(super) at: usize,
    /// First row on the screen.
    pub(super) first: usize,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) watched: Watched,
    pub(super) tunnels: Option<Tunnels>,
    pub(super) link: Link,
    pub(super) interval: Duration,
    pub(super) paused: bool,
    pub(super) pane: Pane,
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) notice: Option<Notice>,
    /// The rows of the pane, filtered and sorted.
    pub(super) table: Table,
    /// Rows that fit the screen, as drawn last.
    pub(super) page: usize,
    views: [View; Pane::ALL.len()],
}

impl State {
    /// Begins with a first overview.
    pub(super) fn new(overview: Overview, interval: Duration) -> Self {
        let watched = Watched::new(overview);
        let pane = Pane::Servers;
        let table = pane.table(&watched, None);
        let mut views: [View; Pane::ALL.len()] = Default::default();
        for (view, pane) in views.iter_mut().zip(Pane::ALL) {
            view.sort = pane.sort();
        }
        Self {
            watched,
            tunnels: None,
            link: Link::Up,
            interval,
            paused: false,
            pane,
            filter: String::new(),
            mode: Mode::Browse,
            notice: None,
            table,
            page: 1,
            views,
        }
    }

    /// Takes what the process said of itself.
    pub(super) fn take(&mut self, overview: Overview, tunnels: Option<Tunnels>) {
        if self.watched.is_same(&overview) {
            if matches!(self.link, Link::Lost(_)) {
                self.say("the process answers again".to_owned(), false);
            }
            self.watched.take(overview);
        } else {
            let (old, new) = (self.watched.now.status.pid, overview.status.pid);
            let text = format!("another process answers: pid {new}, before it was {old}");
            self.say(text, false);
            self.watched = Watched::new(overview);
            self.tunnels = None;
        }
        self.link = Link::Up;
        // An answer to what was asked before the pane was left is of no use later.
        if self.wants_tunnels() {
            self.tunnels = tunnels.or(self.tunnels.take());
        }
        self.settle();
    }

    /// Takes note that the process does not answer.
    pub(super) fn lose(&mut self, why: &str) {
        self.link = Link::Lost(clean(why));
    }

    /// Takes note of what came of [`Effect::Tell`].
    pub(super) fn told(&mut self, outcome: Result<String, String>) {
        match outcome {
            Ok(done) => self.say(clean(&done), false),
            Err(why) => self.say(clean(&why), true),
        }
    }

    pub(super) fn say(&mut self, text: String, bad: bool) {
        self.notice = Some(Notice { text, bad });
    }

    /// Tells whether the tunnels are to be asked for.
    pub(super) fn wants_tunnels(&self) -> bool {
        self.pane == Pane::Tunnels
    }

    /// Returns how the pane is looked at.
    pub(super) fn view(&self) -> &View {
        &self.views[self.pane.at()]
    }

    pub(super) fn view_mut(&mut self) -> &mut View {
        &mut self.views[self.pane.at()]
    }

    /// Returns the row the keys mean.
    pub(super) fn row(&self) -> Option<&Row> {
        self.table.rows.get(self.view().at)
    }

    /// Shows another pane.
    pub(super) fn turn_to(&mut self, pane: Pane) -> Option<Effect> {
        self.pane = pane;
        self.tunnels = None;
        self.settle();
        (self.wants_tunnels() && !self.paused).then_some(Effect::Look)
    }

    /// Moves to a row; the first one is the top of the list, any other is followed.
    pub(super) fn go_to(&mut self, at: usize) {
        let at = at.min(self.table.rows.len().saturating_sub(1));
        let key = self.table.rows.get(at).map(|row| row.key.clone());
        let view = self.view_mut();
        view.at = at;
        view.followed = key.filter(|_| at > 0);
    }

    /// Makes the rows anew, and finds the one that is followed among them.
    pub(super) fn settle(&mut self) {
        let mut table = self.pane.table(&self.watched, self.tunnels.as_ref());
        table.filter(&self.filter);
        let view = &mut self.views[self.pane.at()];
        table.sort(view.sort, view.reverse);
        let found = match &view.followed {
            Some(key) => table.rows.iter().position(|row| row.key == *key),
            None => Some(0),
        };
        view.at = match found {
            Some(at) => at,
            // It is gone: select the row that took its place.
            None => view.at.min(table.rows.len().saturating_sub(1)),
        };
        self.table = table;
        if found.is_none() {
            self.go_to(self.view().at);
        }
    }

    /// Sees to it that the row the keys mean is on the screen, which has room for `page` rows.
    pub(super) fn scroll(&mut self, page: usize) {
        self.page = page.max(1);
        let (page, len) = (self.page, self.table.rows.len());
        let view = self.view_mut();
        let last_first = len.saturating_sub(page);
        view.first = view.first.min(last_first).min(view.at);
        view.first = view.first.max((view.at + 1).saturating_sub(page));
    }
}
