//! One page of plain text, for scripts: the contents of the panes, without a terminal.

use std::fmt::Write;

use super::panes::Pane;
use super::state::State;
use super::table::Table;
use super::words::clean;
use crate::admin::ctl::text::duration;

/// Writes the page.
pub(super) fn page(state: &State) -> String {
    let watched = &state.watched;
    let (status, pulse) = (&watched.now.status, watched.pulse());
    let mut out = format!(
        "longsplice {}  pid {}  {}  up {}  connections {}/{}  tunnels {}\n",
        clean(&status.version),
        status.pid,
        clean(&status.phase),
        duration(status.uptime_ms),
        status.connections,
        status.max_connections,
        status.tunnels,
    );
    let _ = writeln!(
        out,
        "accepted {}  opened {}  requests {}  refused {}  in {}  out {}",
        pulse.accepted.count(),
        pulse.opened.count(),
        pulse.requests.count(),
        pulse.refused.count(),
        pulse.bytes_in.bytes(),
        pulse.bytes_out.bytes(),
    );
    // `longsplice ctl tunnels` lists single tunnels.
    for pane in Pane::ALL.into_iter().filter(|it| *it != Pane::Tunnels) {
        let mut table = pane.table(watched, None);
        table.sort(pane.sort(), false);
        let _ = write!(out, "\n{}\n{}", pane.name(), rows(&table));
    }
    out
}

/// Writes all columns of a table, each as wide as necessary.
fn rows(table: &Table) -> String {
    if table.rows.is_empty() {
        return format!("{}\n", table.empty);
    }
    let fitted = table.whole();
    let mut out = String::new();
    let titles = table.columns.iter().map(|column| column.title).collect();
    let rows = table.rows.iter();
    let rows = rows.map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect());
    let lines: Vec<Vec<&str>> = std::iter::once(titles).chain(rows).collect();
    for line in lines {
        let mut text = String::new();
        for ((cell, width), column) in line.iter().zip(&fitted).zip(table.columns) {
            let blanks = " ".repeat(width.saturating_sub(super::table::width(cell)));
            let _ = match column.right {
                true => write!(text, "{blanks}{cell}  "),
                false => write!(text, "{cell}{blanks}  "),
            };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}
