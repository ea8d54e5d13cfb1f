//! Draws the state into a buffer of cells; if there is too little room, the least important parts are left
//! out first.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};

use super::keys::HELP;
use super::panes::Pane;
use super::state::{Link, Mode, State};
use super::table::{self, Tone};
use super::words::{Rate, bars, clean, interval};
use crate::admin::ctl::text::duration;

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Palette {
    Colours,
    /// Only bold, faint and reversed.
    Plain,
}

impl Palette {
    fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        match (self, tone) {
            (_, Tone::Plain) | (Self::Plain, Tone::Good) => style,
            (_, Tone::Faint) => style.add_modifier(Modifier::DIM),
            (Self::Plain, Tone::Watch | Tone::Bad | Tone::Wanted) => {
                style.add_modifier(Modifier::BOLD)
            }
            (Self::Colours, Tone::Good) => style.fg(Color::Green),
            (Self::Colours, Tone::Watch) => style.fg(Color::Yellow),
            (Self::Colours, Tone::Bad) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Self::Colours, Tone::Wanted) => style.fg(Color::Cyan),
        }
    }

    /// Returns the style of titles, keys and bars.
    fn accent(self) -> Style {
        match self {
            Self::Colours => Style::new().fg(Color::Cyan),
            Self::Plain => Style::new(),
        }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws the whole screen.
pub(super) fn draw(buffer: &mut Buffer, state: &mut State, palette: Palette) {
    let area = *buffer.area();
    let gauges = match (area.height, area.width) {
        (..12, _) => 0,
        (12..18, _) => 1,
        (_, WIDE..) => 2,
        (_, _) => 3,
    };
    let details = u16::from(area.height >= 12);
    let [title, paces, tabs, pane, detail, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(gauges),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(details),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_title(buffer, title, state, palette);
    draw_paces(buffer, paces, state, palette);
    draw_tabs(buffer, tabs, state);
    // One row is the heading.
    state.scroll(usize::from(pane.height.saturating_sub(1)));
    if state.mode == Mode::Help {
        draw_help(buffer, pane, palette);
    } else {
        draw_table(buffer, pane, state, palette);
        draw_detail(buffer, detail, state);
    }
    draw_foot(buffer, foot, state, palette);
}

/// A text that is left out before more important ones.
struct Piece {
    /// Texts with higher ranks are left out first; 0 = never.
    rank: u8,
    text: String,
    style: Style,
}

fn piece(rank: u8, text: impl Into<String>, style: Style) -> Piece {
    Piece {
        rank,
        text: text.into(),
        style,
    }
}

/// Draws pieces with `gap` blanks between them, and returns where they end.
fn draw_pieces(buffer: &mut Buffer, area: Rect, mut pieces: Vec<Piece>, gap: u16) -> u16 {
    let needed = |pieces: &[Piece]| -> u16 {
        let widths = pieces.iter().map(|it| width(&it.text) + gap);
        widths.sum::<u16>().saturating_sub(gap)
    };
    while needed(&pieces) > area.width {
        let Some(worst) = pieces.iter().map(|it| it.rank).max().filter(|it| *it > 0) else {
            break;
        };
        pieces.retain(|it| it.rank != worst);
    }
    let mut x = area.x;
    for piece in pieces {
        x = put(buffer, x, area, &piece.text, piece.style) + gap;
    }
    x.saturating_sub(gap)
}

fn width(text: &str) -> u16 {
    u16::try_from(table::width(text)).unwrap_or(u16::MAX)
}

/// Writes `text` from `x` to the end of `area` at most, and returns where it ends.
fn put(buffer: &mut Buffer, x: u16, area: Rect, text: &str, style: Style) -> u16 {
    if area.height == 0 || x >= area.right() {
        return x;
    }
    let room = usize::from(area.right() - x);
    buffer.set_stringn(x, area.y, text, room, style).0
}

/// Writes `text` at the right of `area`, unless that is taken up to `from`.
fn put_right(buffer: &mut Buffer, from: u16, area: Rect, text: &str, style: Style) {
    let x = area.right().saturating_sub(width(text));
    if x > from {
        put(buffer, x, area, text, style);
    }
}

fn draw_title(buffer: &mut Buffer, area: Rect, state: &State, palette: Palette) {
    let status = &state.watched.now.status;
    let (right, right_style) = match &state.link {
        Link::Lost(_) => ("lost".to_owned(), palette.style(Tone::Bad)),
        Link::Late(time) => {
            let text = format!("no answer for {}s", time.as_secs());
            (text, palette.style(Tone::Watch))
        }
        Link::Up if state.paused => ("paused".to_owned(), palette.style(Tone::Watch)),
        Link::Up => (format!("every {}", interval(state.interval)), FAINT),
    };
    let phase = match status.phase.as_str() {
        "running" => palette.style(Tone::Good),
        _ => palette.style(Tone::Watch),
    };
    let connections = format!("conns {}/{}", status.connections, status.max_connections);
    let pieces = vec![
        piece(2, "longsplice", BOLD),
        piece(6, clean(&status.version), Style::new()),
        piece(3, format!("pid {}", status.pid), Style::new()),
        piece(0, clean(&status.phase), phase),
        piece(
            4,
            format!("up {}", duration(status.uptime_ms)),
            Style::new(),
        ),
        piece(5, connections, Style::new()),
        piece(1, format!("tunnels {}", status.tunnels), BOLD),
    ];
    let room = area.width.saturating_sub(width(&right) + 2);
    let left = Rect {
        width: room,
        ..area
    };
    let end = draw_pieces(buffer, left, pieces, 2);
    put_right(buffer, end, area, &right, right_style);
}

/// Width from which three gauges are drawn side by side.
const WIDE: u16 = 120;

/// A rate and its last minutes.
struct Gauge {
    name: &'static str,
    text: String,
    past: Vec<Rate>,
}

fn gauges(state: &State) -> [Gauge; 6] {
    let now = state.watched.pulse();
    let past = &state.watched.pulses;
    let gauge = |name, text, of: fn(&super::rates::Pulse) -> Rate| Gauge {
        name,
        text,
        past: past.iter().map(of).collect(),
    };
    [
        gauge("in", now.bytes_in.bytes(), |it| it.bytes_in),
        gauge("out", now.bytes_out.bytes(), |it| it.bytes_out),
        gauge("opened", now.opened.count(), |it| it.opened),
        gauge("accepted", now.accepted.count(), |it| it.accepted),
        gauge("requests", now.requests.count(), |it| it.requests),
        gauge("refused", now.refused.count(), |it| it.refused),
    ]
}

fn draw_paces(buffer: &mut Buffer, area: Rect, state: &State, palette: Palette) {
    let gauges = gauges(state);
    let columns: &[&[usize]] = match (area.height, area.width) {
        (0, _) => return,
        (1, _) => {
            let ranks = 0..;
            let texts = gauges.iter().zip(ranks);
            let pieces = texts
                .map(|(it, rank)| piece(rank, format!("{} {}", it.name, it.text), Style::new()));
            draw_pieces(buffer, area, pieces.collect(), 2);
            return;
        }
        (2, _) => &[&[0, 1], &[3, 2], &[4, 5]],
        (_, 60..) => &[&[0, 1, 5], &[3, 2, 4]],
        (_, _) => &[&[0, 1, 2]],
    };
    let parts = Layout::horizontal(columns.iter().map(|_| Constraint::Fill(1)))
        .spacing(2)
        .split(area);
    for (part, column) in parts.iter().zip(columns) {
        for (at, row) in column.iter().zip(part.rows()) {
            draw_gauge(buffer, row, &gauges[*at], palette);
        }
    }
}

/// Cells of the name and of the number of a gauge.
const GAUGE_NAME: u16 = 8;
const GAUGE_NUMBER: u16 = 12;

fn draw_gauge(buffer: &mut Buffer, area: Rect, gauge: &Gauge, palette: Palette) {
    put(buffer, area.x, area, gauge.name, FAINT);
    let number = Rect {
        width: (GAUGE_NAME + GAUGE_NUMBER).min(area.width),
        ..area
    };
    put_right(buffer, area.x, number, &gauge.text, Style::new());
    let room = area.width.saturating_sub(number.width + 1);
    let from = gauge.past.len().saturating_sub(usize::from(room));
    let bars = bars(&gauge.past[from..]);
    put_right(buffer, number.right(), area, &bars, palette.accent());
}

fn draw_tabs(buffer: &mut Buffer, area: Rect, state: &State) {
    let label = |pane: &Pane| format!(" {} {} ", pane.at() + 1, pane.name());
    let all: u16 = Pane::ALL.iter().map(|pane| width(&label(pane))).sum();
    let mut x = area.x;
    for pane in Pane::ALL {
        let is_shown = pane == state.pane;
        let style = if is_shown { REVERSED } else { FAINT };
        let text = match is_shown || all <= area.width {
            true => label(&pane),
            false => format!(" {} ", pane.at() + 1),
        };
        x = put(buffer, x, area, &text, style);
    }
    let rows = state.table.rows.len();
    let count = match (&state.table.note, rows) {
        (Some(note), _) => note.clone(),
        (None, 0) => String::new(),
        (None, _) => format!("{}/{rows}", state.view().at + 1),
    };
    put_right(buffer, x, area, &count, FAINT);
}

fn draw_help(buffer: &mut Buffer, area: Rect, palette: Palette) {
    let lines = std::iter::once(("", "")).chain(HELP.iter().copied());
    for (row, (keys, what)) in area.rows().zip(lines) {
        put(buffer, row.x + 1, row, keys, palette.accent());
        put(buffer, row.x + 20, row, what, Style::new());
    }
}

fn draw_table(buffer: &mut Buffer, area: Rect, state: &State, palette: Palette) {
    let Some(head) = area.rows().next() else {
        return;
    };
    let table = &state.table;
    let fitted = table.fit(area.width);
    let view = state.view();
    let mut x = area.x;
    for (at, width) in &fitted {
        let column = &table.columns[*at];
        let mark = match (view.sort == Some(*at), view.reverse) {
            (false, _) => "",
            (true, false) => "▾",
            (true, true) => "▴",
        };
        let text = format!("{}{mark}", column.title);
        let place = Rect {
            x,
            width: *width,
            ..head
        };
        let style = palette.accent().add_modifier(Modifier::BOLD);
        put_cell(buffer, place, &text, column.right, style);
        x += width + 1;
    }
    if table.rows.is_empty() {
        if let Some(row) = area.rows().nth(2) {
            put(buffer, row.x + 2, row, table.empty, FAINT);
        }
        return;
    }
    let shown = table.rows.iter().enumerate().skip(view.first);
    for (line, (number, row)) in area.rows().skip(1).zip(shown) {
        let is_chosen = number == view.at;
        if is_chosen {
            buffer.set_style(line, REVERSED);
        }
        let mut x = area.x;
        for (at, width) in &fitted {
            let cell = &row.cells[*at];
            let place = Rect {
                x,
                width: *width,
                ..line
            };
            let mut style = palette.style(cell.tone);
            if matches!(state.link, Link::Lost(_)) {
                style = FAINT;
            }
            if is_chosen {
                style = style.add_modifier(Modifier::REVERSED);
            }
            put_cell(buffer, place, &cell.text, table.columns[*at].right, style);
            x += width + 1;
        }
    }
}

/// Draws the values of the selected row that had no room, the most important first.
fn draw_detail(buffer: &mut Buffer, area: Rect, state: &State) {
    let (table, Some(row)) = (&state.table, state.row()) else {
        return;
    };
    let fitted = table.fit(area.width);
    let shown = |at: usize| {
        let place = fitted.iter().find(|(column, _)| *column == at);
        place.is_some_and(|(_, room)| width(&row.cells[at].text) <= *room)
    };
    let mut hidden: Vec<usize> = (0..row.cells.len()).filter(|at| !shown(*at)).collect();
    hidden.sort_by_key(|at| table.columns[*at].rank);
    let mut x = area.x;
    for at in hidden {
        x = put(buffer, x, area, table.columns[at].title, FAINT) + 1;
        x = put(buffer, x, area, &row.cells[at].text, Style::new()) + 2;
    }
}

/// Writes into a cell of the table; what is too long ends in an ellipsis.
fn put_cell(buffer: &mut Buffer, area: Rect, text: &str, right: bool, style: Style) {
    let area = area.intersection(*buffer.area());
    if width(text) > area.width {
        let end = put(
            buffer,
            area.x,
            Rect {
                width: area.width.saturating_sub(1),
                ..area
            },
            text,
            style,
        );
        put(buffer, end, area, "…", style);
    } else if right {
        put(buffer, area.right() - width(text), area, text, style);
    } else {
        put(buffer, area.x, area, text, style);
    }
}

fn draw_foot(buffer: &mut Buffer, area: Rect, state: &State, palette: Palette) {
    let bad = palette.style(Tone::Bad);
    let pieces = match (&state.mode, &state.link, &state.notice) {
        (Mode::Question { text, .. }, _, _) => {
            // The question may be cut, the answers may not.
            let room = usize::from(area.width.saturating_sub(ANSWERS_LEN));
            let text: String = text.chars().take(room).collect();
            vec![
                piece(0, text, BOLD),
                piece(0, "y/n", palette.style(Tone::Watch)),
            ]
        }
        (Mode::Filter, _, _) => vec![piece(0, format!("filter: {}_", state.filter), BOLD)],
        (Mode::Interval(text), _, _) => vec![
            piece(0, format!("ask every: {text}_"), BOLD),
            piece(1, "100ms to 60s", FAINT),
        ],
        (Mode::Help, _, _) => vec![piece(0, "any key goes back", FAINT)],
        (Mode::Browse, Link::Lost(why), _) => {
            vec![piece(0, format!("lost: {why}; trying again"), bad)]
        }
        (Mode::Browse, Link::Up | Link::Late(_), Some(notice)) => {
            let style = if notice.bad { bad } else { BOLD };
            let first = notice.text.lines().next().unwrap_or_default();
            vec![piece(0, first, style)]
        }
        (Mode::Browse, Link::Up | Link::Late(_), None) => hints(state),
    };
    draw_pieces(buffer, area, pieces, 2);
}

/// Cells of `y/n` and the gap before it.
const ANSWERS_LEN: u16 = 5;

/// Returns the keys that are useful in this pane.
fn hints(state: &State) -> Vec<Piece> {
    let hint = |rank, text: &str| piece(rank, text, FAINT);
    let mut pieces = Vec::new();
    if !state.filter.is_empty() {
        pieces.push(piece(0, format!("filter: {}", state.filter), BOLD));
    }
    pieces.push(hint(0, "q quit"));
    pieces.push(hint(0, "? help"));
    pieces.push(hint(1, "Tab pane"));
    match state.pane {
        Pane::Servers | Pane::Health => pieces.push(hint(2, "D drain  U undrain")),
        Pane::Talkers | Pane::Tunnels => pieces.push(hint(2, "K end it")),
        Pane::Causes | Pane::Listeners | Pane::Paths => {}
    }
    pieces.push(hint(3, "s sort  r reverse"));
    pieces.push(hint(4, "/ filter"));
    pieces.push(hint(5, "p pause"));
    pieces.push(hint(6, "+ - interval"));
    pieces
}
