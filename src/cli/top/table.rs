//! Rows and columns of a pane before they are drawn: which rows, in which order, how wide.

use std::cmp::Ordering;

use ratatui::text::Span;

use super::words::{Rate, clean};

/// What a cell is a sign of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing in particular.
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Watch,
    /// Not well.
    Bad,
    /// An operator wanted it so.
    Wanted,
    /// There is nothing to tell.
    Faint,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
    /// What it is sorted by; none = its text.
    number: Option<u64>,
}

impl Cell {
    /// A word or a name; nothing of it reaches the terminal as a command.
    pub(super) fn text(text: &str) -> Self {
        let (text, tone) = match text {
            "" => ("-".to_owned(), Tone::Faint),
            text => (clean(text), Tone::Plain),
        };
        Self {
            text,
            tone,
            number: None,
        }
    }

    /// A number as it is shown.
    pub(super) fn number(number: u64, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone: if number == 0 {
                Tone::Faint
            } else {
                Tone::Plain
            },
            number: Some(number),
        }
    }

    /// A number.
    pub(super) fn count(number: u64) -> Self {
        Self::number(number, number.to_string())
    }

    /// A pace.
    pub(super) fn rate(rate: Rate) -> Self {
        Self::number(rate.0, rate.count())
    }

    /// A pace of bytes.
    pub(super) fn bytes(rate: Rate) -> Self {
        Self::number(rate.0, rate.bytes())
    }

    /// The same as a sign of something.
    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.number, other.number) {
            // What is large comes first.
            (Some(own), Some(other)) => other.cmp(&own),
            (None | Some(_), None) | (None, Some(_)) => self.text.cmp(&other.text),
        }
    }
}

/// A column, in every row at the same place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Cells it has at least.
    width: u16,
    /// Whether it takes what is left.
    grows: bool,
    pub(super) right: bool,
    /// The higher, the earlier it makes room; 0 = never.
    pub(super) rank: u8,
}

impl Column {
    /// Numbers.
    pub(super) const fn right(title: &'static str, width: u16, rank: u8) -> Self {
        Self {
            title,
            width,
            grows: false,
            right: true,
            rank,
        }
    }

    /// Words of a known length.
    pub(super) const fn left(title: &'static str, width: u16, rank: u8) -> Self {
        Self {
            title,
            width,
            grows: false,
            right: false,
            rank,
        }
    }

    /// Names, as wide as there is room.
    pub(super) const fn grown(title: &'static str, width: u16, rank: u8) -> Self {
        Self {
            title,
            width,
            grows: true,
            right: false,
            rank,
        }
    }
}

/// One line, and what can be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Tells it from all others, from one overview to the next.
    pub(super) key: String,
    /// The server or the tunnel that commands mean.
    pub(super) subject: Option<String>,
    pub(super) cells: Vec<Cell>,
}

/// What a pane shows.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Row>,
    /// Said in place of rows when there are none.
    pub(super) empty: &'static str,
    /// Said beside them.
    pub(super) note: Option<String>,
}

impl Table {
    /// Keeps the rows with `text` in one of their cells, in upper or lower case.
    pub(super) fn filter(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let wanted = text.to_lowercase();
        let has = |cell: &Cell| cell.text.to_lowercase().contains(&wanted);
        let before = self.rows.len();
        self.rows.retain(|row| row.cells.iter().any(has));
        if self.rows.is_empty() && before > 0 {
            self.empty = "nothing matches the filter";
        }
    }

    /// Orders the rows: numbers from the largest, words from A.
    pub(super) fn sort(&mut self, column: Option<usize>, reverse: bool) {
        if let Some(at) = column {
            let compare = |a: &Row, b: &Row| match (a.cells.get(at), b.cells.get(at)) {
                (Some(a), Some(b)) => a.compare(b),
                (None | Some(_), None) | (None, Some(_)) => Ordering::Equal,
            };
            self.rows.sort_by(compare);
        }
        if reverse {
            self.rows.reverse();
        }
    }

    /// Returns the columns that fit into `room`, with a blank between them, and how wide each is.
    pub(super) fn fit(&self, room: u16) -> Vec<(usize, u16)> {
        let mut kept: Vec<usize> = (0..self.columns.len()).collect();
        while self.least(&kept) > room {
            let rank = |at: &usize| self.columns[*at].rank;
            let Some(worst) = kept
                .iter()
                .copied()
                .filter(|at| rank(at) > 0)
                .max_by_key(rank)
            else {
                break;
            };
            kept.retain(|at| *at != worst);
        }
        let mut left = room.saturating_sub(self.least(&kept));
        let mut fitted = Vec::new();
        for at in kept {
            let column = &self.columns[at];
            let more = match column.grows {
                true => self.natural(at).saturating_sub(column.width).min(left),
                false => 0,
            };
            left -= more;
            fitted.push((at, column.width + more));
        }
        fitted
    }

    fn least(&self, kept: &[usize]) -> u16 {
        let widths: u16 = kept.iter().map(|at| self.columns[*at].width).sum();
        let gaps = u16::try_from(kept.len().saturating_sub(1)).unwrap_or(0);
        widths + gaps
    }

    /// Returns how wide each column is where there is room for everything.
    pub(super) fn whole(&self) -> Vec<usize> {
        let columns = self.columns.iter().enumerate();
        let widest = columns.map(|(at, column)| self.longest(at).max(width(column.title)));
        widest.collect()
    }

    fn natural(&self, at: usize) -> u16 {
        u16::try_from(self.longest(at)).unwrap_or(u16::MAX)
    }

    fn longest(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.cells.get(at));
        cells.map(|cell| width(&cell.text)).max().unwrap_or(0)
    }
}

/// Returns how many cells of a terminal a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}
