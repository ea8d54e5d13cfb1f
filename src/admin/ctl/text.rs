//! Answers of `longsplice ctl` for people: aligned columns, readable sizes and times.

use std::fmt::Write;

use super::{CertificateState, Tunnels};
use crate::admin::state::{BackendState, ListenerState, Status};

const KIB: u64 = 1024;

/// Writes the process as a whole.
#[must_use]
pub fn status(status: &Status) -> String {
    let mut out = String::new();
    let rows = [
        ("version", status.version.clone()),
        ("pid", status.pid.to_string()),
        ("phase", status.phase.clone()),
        ("up for", duration(status.uptime_ms)),
        (
            "connections",
            format!("{} of {}", status.connections, status.max_connections),
        ),
        ("tunnels", status.tunnels.to_string()),
        ("lines dropped", status.log_lines_dropped.to_string()),
    ];
    for (name, value) in rows {
        let _ = writeln!(out, "{name:<14} {value}");
    }
    let causes = status.causes.iter();
    let causes: Vec<[String; 2]> = causes
        .map(|(cause, count)| [cause.clone(), count.to_string()])
        .collect();
    if !causes.is_empty() {
        out.push('\n');
        out += &table(["CAUSE", "SEEN"], &causes);
    }
    out
}

/// Writes the listeners.
#[must_use]
pub fn listeners(listeners: &[ListenerState]) -> String {
    let row = |it: &ListenerState| {
        let tls = if it.tls { "yes" } else { "no" };
        [
            it.name.clone(),
            it.mode.clone(),
            tls.to_owned(),
            it.bind.join(" "),
        ]
    };
    let rows: Vec<[String; 4]> = listeners.iter().map(row).collect();
    table(["LISTENER", "MODE", "TLS", "BIND"], &rows)
}

/// Writes the backends, a line for each server.
#[must_use]
pub fn backends(backends: &[BackendState]) -> String {
    let mut rows = Vec::new();
    for backend in backends {
        for server in &backend.servers {
            let limit = server.max_connections;
            let active = match limit {
                Some(limit) => format!("{}/{limit}", server.active),
                None => server.active.to_string(),
            };
            let name = match server.name == server.address {
                true => server.name.clone(),
                false => format!("{} ({})", server.name, server.address),
            };
            rows.push([
                format!("{}/{name}", backend.name),
                server.standing.clone(),
                format!("{}/{}", server.share, server.weight),
                active,
                server.connected.to_string(),
                server.refused.to_string(),
                format!("{}/{}", backend.waiting, backend.max_queue),
            ]);
        }
        if backend.servers.is_empty() {
            let mut row = [const { String::new() }; 7].map(|_| "-".to_owned());
            row[0] = format!("{}/-", backend.name);
            rows.push(row);
        }
    }
    let heads = [
        "SERVER",
        "STATE",
        "WEIGHT",
        "ACTIVE",
        "CONNECTED",
        "REFUSED",
        "QUEUE",
    ];
    table(heads, &rows)
}

/// Writes tunnels.
#[must_use]
pub fn tunnels(tunnels: &Tunnels, now_ms: u64) -> String {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<[String; 9]> = tunnels
        .tunnels
        .iter()
        .map(|it| {
            [
                it.id.clone(),
                it.client.clone(),
                it.listener.clone(),
                format!("{}/{}", name(&it.backend), name(&it.server)),
                duration(now_ms.saturating_sub(it.started_ms)),
                duration(it.idle_ms),
                size(it.bytes_in),
                size(it.bytes_out),
                format!("{} {}", it.path_in, it.path_out),
            ]
        })
        .collect();
    let heads = [
        "ID", "CLIENT", "LISTENER", "SERVER", "AGE", "IDLE", "IN", "OUT", "PATH",
    ];
    let mut out = table(heads, &rows);
    if tunnels.more {
        let _ = writeln!(out, "there are more than these {}", tunnels.tunnels.len());
    }
    out
}

/// Writes certificates.
#[must_use]
pub fn certificates(certificates: &[CertificateState]) -> String {
    let row = |it: &CertificateState| {
        let (end, days) = match it.not_after.is_empty() {
            true => ("-".to_owned(), "-".to_owned()),
            false => (it.not_after.clone(), it.days_left.to_string()),
        };
        let owner = match it.listener.as_str() {
            "" => format!("backend {}", it.backend),
            listener => format!("listener {listener}"),
        };
        [
            owner,
            it.role.clone(),
            it.names.join(" "),
            end,
            days,
            it.issuer.clone(),
            it.file.clone(),
        ]
    };
    let rows: Vec<[String; 7]> = certificates.iter().map(row).collect();
    let heads = ["OF", "ROLE", "NAMES", "UNTIL", "DAYS", "ISSUER", "FILE"];
    let mut out = table(heads, &rows);
    for it in certificates.iter().filter(|it| !it.refused.is_empty()) {
        let _ = writeln!(out, "{}: not used as it is now: {}", it.file, it.refused);
    }
    out
}

/// Aligns columns; empty cells show as `-`.
fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            let cell = if cell.is_empty() { "-" } else { cell };
            let _ = write!(text, "{cell:<width$}  ");
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(heads);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
    out
}

/// Writes a time in milliseconds with its two largest units.
#[must_use]
pub fn duration(ms: u64) -> String {
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
    ];
    let Some(at) = units.iter().position(|(_, len)| ms >= *len) else {
        return format!("{ms}ms");
    };
    let mut rest = ms;
    let mut text = String::new();
    for (unit, len) in units.iter().skip(at).take(2) {
        let count = rest / len;
        rest %= len;
        if count > 0 {
            let _ = write!(text, "{count}{unit}");
        }
    }
    text
}

/// Writes a number of bytes.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [("KiB", 1), ("MiB", 2), ("GiB", 3), ("TiB", 4)];
    let fits = |power: &&(&str, u32)| bytes >= KIB.pow(power.1);
    match units.iter().rev().find(fits) {
        None => format!("{bytes}B"),
        Some((unit, power)) => {
            let len = KIB.pow(*power);
            let (whole, tenth) = (bytes / len, bytes % len * 10 / len);
            format!("{whole}.{tenth}{unit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let rows = [
            (0, "0ms", "0B"),
            (999, "999ms", "999B"),
            (1024, "1s", "1.0KiB"),
            (61_000, "1m1s", "59.5KiB"),
            (90_061_000, "1d1h", "85.8MiB"),
            (u64::MAX, "213503982334d14h", "16777215.9TiB"),
        ];
        for (number, as_time, as_size) in rows {
            assert_eq!(
                (duration(number), size(number)),
                (as_time.to_owned(), as_size.to_owned())
            );
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            ["a".to_owned(), String::new()],
            ["long".to_owned(), "x".to_owned()],
        ];
        assert_eq!(table(["N", "V"], &rows), "N     V\na     -\nlong  x\n");
    }
}
