//! Rows and columns of a pane before they are drawn: selection, order and width.

use std::cmp::Ordering;

use ratatui::text::Span;

use super::words::{Rate, clean};

/// The meaning of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// None.
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Watch,
    /// Not well.
    Bad,
    /// Set by an operator.
    Wanted,
    /// No value.
    Faint,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
    /// Its sort value; none = its text.
    number: Option<u64>,
}

impl Cell {
    /// Makes a word or a name; no part of it reaches the terminal as a command.
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

    /// Makes a number with its displayed text.
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

    /// Makes a number.
    pub(super) fn count(number: u64) -> Self {
        Self::number(number, number.to_string())
    }

    /// Makes a rate.
    pub(super) fn rate(rate: Rate) -> Self {
        Self::number(rate.0, rate.count())
    }

    /// Makes a rate of bytes.
    pub(super) fn bytes(rate: Rate) -> Self {
        Self::number(rate.0, rate.bytes())
    }

    /// Sets the meaning.
    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.number, other.number) {
            // Large values come first.
            (Some(own), Some(other)) => other.cmp(&own),
            (None | Some(_), None) | (None, Some(_)) => self.text.cmp(&other.text),
        }
    }
}

/// A column, at the same index in every row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Least width, in cells.
    width: u16,
    /// Whether it takes the remaining room.
    grows: bool,
    pub(super) right: bool,
    /// Columns with higher ranks are left out first; 0 = never.
    pub(super) rank: u8,
}

impl Column {
    /// Makes a column of numbers.
    pub(super) const fn right(title: &'static str, width: u16, rank: u8) -> Self {
        Self {
            title,
            width,
            grows: false,
            right: true,
            rank,
        }
    }

    /// Makes a column of words of a known length.
    pub(super) const fn left(title: &'static str, width: u16, rank: u8) -> Self {
        Self {
            title,
            width,
            grows: false,
            right: false,
            rank,
        }
    }

    /// Makes a column of names, as wide as there is room.
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

/// One line, and the subject of its commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Identifies the row from one overview to the next.
    pub(super) key: String,
    /// The server or the tunnel to which commands apply.
    pub(super) subject: Option<String>,
    pub(super) cells: Vec<Cell>,
}

/// The contents of a pane.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Row>,
    /// Shown instead of rows if there are none.
    pub(super) empty: &'static str,
    /// Shown next to the rows.
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

    /// Returns the columns that fit into `room`, with a blank between them, and their widths.
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

    /// Returns the width of each column if there is room for everything.
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
