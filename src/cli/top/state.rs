//! The state of `longsplice top`: overviews and keys come in, effects for the loop come out. No terminal, no
//! socket, no clock.

use std::time::Duration;

use super::panes::Pane;
use super::rates::Watched;
use super::table::{Row, Table};
use super::words::clean;
use crate::admin::ctl::{CtlRequest, Tunnels};
use crate::admin::overview::Overview;

/// An effect that the loop has to carry out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Give the terminal back and end.
    Quit,
    /// Give the terminal back and stop, until the shell resumes us.
    Suspend,
    /// Draw all of the screen.
    Redraw,
    /// Request an overview now.
    Look,
    /// Send a request to the process.
    Tell(CtlRequest),
}

/// The mode, which decides the meaning of keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mode {
    /// Move, sort, choose.
    Browse,
    /// The help is shown.
    Help,
    /// A filter is being typed.
    Filter,
    /// An interval is being typed.
    Interval(String),
    /// A question with yes or no.
    Question {
        /// The question.
        text: String,
        /// The request to send on yes.
        request: CtlRequest,
    },
}

/// Whether the process answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// It answers.
    Up,
    /// It has not answered for this time.
    Late(Duration),
    /// It does not answer, for this reason.
    Lost(String),
}

/// A message about an event, and whether it is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) bad: bool,
}

/// The view of one pane.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Column it is sorted by; none = as it comes.
    pub(super) sort: Option<usize>,
    pub(super) reverse: bool,
    /// Key of the selected row, wherever it moves; none = the first row.
    followed: Option<String>,
    /// Index of the selected row.
    pub(super) at: usize,
    /// First row on the screen.
    pub(super) first: usize,
}

/// The whole state.
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
    /// Makes the state from a first overview.
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

    /// Takes an overview of the process.
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
        // An answer to a request from before the pane was left is not used later.
        if self.wants_tunnels() {
            self.tunnels = tunnels.or(self.tunnels.take());
        }
        self.settle();
    }

    /// Notes that the process does not answer.
    pub(super) fn lose(&mut self, why: &str) {
        self.link = Link::Lost(clean(why));
    }

    /// Notes the result of [`Effect::Tell`].
    pub(super) fn told(&mut self, outcome: Result<String, String>) {
        match outcome {
            Ok(done) => self.say(clean(&done), false),
            Err(why) => self.say(clean(&why), true),
        }
    }

    pub(super) fn say(&mut self, text: String, bad: bool) {
        self.notice = Some(Notice { text, bad });
    }

    /// Returns whether the tunnels are to be requested.
    pub(super) fn wants_tunnels(&self) -> bool {
        self.pane == Pane::Tunnels
    }

    /// Returns the view of the pane.
    pub(super) fn view(&self) -> &View {
        &self.views[self.pane.at()]
    }

    pub(super) fn view_mut(&mut self) -> &mut View {
        &mut self.views[self.pane.at()]
    }

    /// Returns the selected row.
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

    /// Selects a row; the first one is always the top of the list, any other is followed.
    pub(super) fn go_to(&mut self, at: usize) {
        let at = at.min(self.table.rows.len().saturating_sub(1));
        let key = self.table.rows.get(at).map(|row| row.key.clone());
        let view = self.view_mut();
        view.at = at;
        view.followed = key.filter(|_| at > 0);
    }

    /// Makes the rows again, and finds the selected one among them.
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

    /// Scrolls so that the selected row is on the screen, which has room for `page` rows.
    pub(super) fn scroll(&mut self, page: usize) {
        self.page = page.max(1);
        let (page, len) = (self.page, self.table.rows.len());
        let view = self.view_mut();
        let last_first = len.saturating_sub(page);
        view.first = view.first.min(last_first).min(view.at);
        view.first = view.first.max((view.at + 1).saturating_sub(page));
    }
}
