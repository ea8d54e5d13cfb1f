//! The panes: the rows that each makes from an overview.

use super::rates::{Share, Watched};
use super::table::{Cell, Column, Row, Table, Tone};
use super::words::Rate;
use crate::admin::ctl::Tunnels;
use crate::admin::ctl::text::{duration, size};
use crate::admin::overview::Overview;
use crate::admin::state::{BackendState, ServerState, TunnelState};

/// A pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    /// Servers by backend.
    Servers,
    /// The busiest tunnels.
    Talkers,
    /// Open tunnels.
    Tunnels,
    /// Changes of servers.
    Health,
    /// Entries by cause.
    Causes,
    /// Listeners.
    Listeners,
    /// Bytes by path.
    Paths,
}

impl Pane {
    /// All, in the order of their keys.
    pub(super) const ALL: [Self; 7] = [
        Self::Servers,
        Self::Talkers,
        Self::Tunnels,
        Self::Health,
        Self::Causes,
        Self::Listeners,
        Self::Paths,
    ];

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Servers => "Servers",
            Self::Talkers => "Talkers",
            Self::Tunnels => "Tunnels",
            Self::Health => "Health",
            Self::Causes => "Causes",
            Self::Listeners => "Listeners",
            Self::Paths => "Paths",
        }
    }

    /// Returns its place in [`Self::ALL`].
    pub(super) fn at(self) -> usize {
        Self::ALL.iter().position(|it| *it == self).unwrap_or(0)
    }

    /// Returns the column it is sorted by until the user chooses another; none = in the order of the answer.
    pub(super) fn sort(self) -> Option<usize> {
        match self {
            Self::Tunnels => Some(TUNNEL_BYTES),
            Self::Causes => Some(1),
            Self::Servers | Self::Talkers | Self::Health | Self::Listeners | Self::Paths => None,
        }
    }

    /// Returns its rows.
    pub(super) fn table(self, watched: &Watched, tunnels: Option<&Tunnels>) -> Table {
        match self {
            Self::Servers => servers(watched),
            Self::Talkers => talkers(&watched.now),
            Self::Tunnels => open_tunnels(&watched.now, tunnels),
            Self::Health => health(&watched.now),
            Self::Causes => causes(watched),
            Self::Listeners => listeners(watched),
            Self::Paths => paths(watched),
        }
    }
}

const SERVERS: &[Column] = &[
    Column::grown("SERVER", 16, 0),
    Column::left("STATE", 7, 0),
    Column::right("ACTIVE", 9, 0),
    Column::right("NEW/S", 8, 3),
    Column::right("IN", 11, 1),
    Column::right("OUT", 11, 1),
    Column::right("SINCE", 6, 2),
    Column::right("SHARE", 7, 7),
    Column::right("QUEUE", 6, 6),
    Column::right("REFUSED", 7, 9),
    Column::right("CHECKS", 8, 8),
    Column::right("FAILED", 6, 8),
    Column::right("CHANGES", 7, 10),
    Column::grown("WHY", 12, 4),
];

fn servers(watched: &Watched) -> Table {
    let all = watched.now.backends.iter();
    let rows = all.flat_map(|backend| {
        let row = move |it| server(watched, backend, it);
        backend.servers.iter().map(row)
    });
    Table {
        columns: SERVERS,
        rows: rows.collect(),
        empty: "no backend has a server",
        note: None,
    }
}

fn server(watched: &Watched, backend: &BackendState, server: &ServerState) -> Row {
    let subject = format!("{}/{}", backend.name, server.name);
    // The name of a resolved address contains the address.
    let shown = match server.name == server.address || server.name.contains('@') {
        true => subject.clone(),
        false => format!("{subject} ({})", server.address),
    };
    let share = Share::Server(backend.name.clone(), server.name.clone());
    let pulse = watched.pulse_of(&share);
    let active = match server.max_connections {
        Some(limit) => format!("{}/{limit}", server.active),
        None => server.active.to_string(),
    };
    let waiting = u64::try_from(backend.waiting).unwrap_or(u64::MAX);
    let failed = Cell::count(server.checks_failed);
    let refused = Cell::count(server.refused);
    Row {
        key: format!("{subject} {}", server.address),
        cells: vec![
            Cell::text(&shown),
            Cell::text(&server.standing).toned(standing(&server.standing)),
            Cell::number(u64::from(server.active), active),
            Cell::rate(Rate(pulse.opened.0 + pulse.requests.0)),
            Cell::bytes(pulse.bytes_in),
            Cell::bytes(pulse.bytes_out),
            age(&watched.now, server.since_ms),
            Cell::number(
                u64::from(server.share),
                format!("{}/{}", server.share, server.weight),
            ),
            Cell::count(waiting),
            refused,
            Cell::count(server.checks_passed),
            failed,
            Cell::count(server.changes),
            Cell::text(&server.why),
        ],
        subject: Some(subject),
    }
}

fn standing(word: &str) -> Tone {
    match word {
        "up" => Tone::Good,
        "suspect" => Tone::Watch,
        "down" => Tone::Bad,
        "drained" => Tone::Wanted,
        _ => Tone::Plain,
    }
}

/// Returns the time from `since_ms` until the overview; less than a second shows as just that.
fn age(now: &Overview, since_ms: u64) -> Cell {
    span(now.at_ms.saturating_sub(since_ms))
}

fn span(ms: u64) -> Cell {
    match ms {
        ..1000 => Cell::number(ms, "<1s"),
        _ => Cell::number(ms, duration(ms)),
    }
}

fn bytes(bytes: u64) -> Cell {
    Cell::number(bytes, size(bytes))
}

const TALKERS: &[Column] = &[
    Column::right("RATE", 11, 0),
    Column::grown("CLIENT", 17, 0),
    Column::grown("SERVER", 16, 1),
    Column::right("IN", 9, 2),
    Column::right("OUT", 9, 2),
    Column::right("AGE", 6, 3),
    Column::grown("LISTENER", 8, 6),
    Column::grown("PATH", 15, 5),
    Column::left("TLS", 17, 7),
    Column::grown("ID", 10, 4),
];

fn talkers(now: &Overview) -> Table {
    let row = |busy: &crate::admin::sample::Busy| {
        let it = &busy.tunnel;
        Row {
            key: it.id.clone(),
            subject: Some(it.id.clone()),
            cells: vec![
                Cell::number(busy.bytes_per_second, size(busy.bytes_per_second) + "/s"),
                Cell::text(&it.client),
                Cell::text(&target(it)),
                bytes(it.bytes_in),
                bytes(it.bytes_out),
                age(now, it.started_ms),
                Cell::text(&it.listener),
                Cell::text(&path(it)),
                Cell::text(it.tls.as_deref().unwrap_or_default()),
                Cell::text(&it.id),
            ],
        }
    };
    Table {
        columns: TALKERS,
        rows: now.busiest.iter().map(row).collect(),
        empty: "no tunnel moves anything",
        note: None,
    }
}

const TUNNELS: &[Column] = &[
    Column::grown("CLIENT", 17, 0),
    Column::grown("SERVER", 16, 1),
    Column::right("AGE", 6, 0),
    Column::right("IDLE", 6, 0),
    Column::right("BYTES", 9, 0),
    Column::right("IN", 9, 5),
    Column::right("OUT", 9, 5),
    Column::grown("LISTENER", 8, 6),
    Column::grown("PATH", 15, 4),
    Column::left("TLS", 17, 7),
    Column::grown("ID", 10, 3),
];
/// Index of the column BYTES.
const TUNNEL_BYTES: usize = 4;

fn open_tunnels(now: &Overview, tunnels: Option<&Tunnels>) -> Table {
    let row = |it: &TunnelState| Row {
        key: it.id.clone(),
        subject: Some(it.id.clone()),
        cells: vec![
            Cell::text(&it.client),
            Cell::text(&target(it)),
            age(now, it.started_ms),
            span(it.idle_ms),
            bytes(it.bytes_in.saturating_add(it.bytes_out)),
            bytes(it.bytes_in),
            bytes(it.bytes_out),
            Cell::text(&it.listener),
            Cell::text(&path(it)),
            Cell::text(it.tls.as_deref().unwrap_or_default()),
            Cell::text(&it.id),
        ],
    };
    let shown = tunnels.map_or(&[][..], |it| &it.tunnels);
    let more = tunnels.is_some_and(|it| it.more);
    Table {
        columns: TUNNELS,
        rows: shown.iter().map(row).collect(),
        empty: match tunnels {
            Some(_) => "no tunnel is open",
            None => "asking for the tunnels",
        },
        note: more.then(|| format!("only {} of {}", shown.len(), now.status.tunnels)),
    }
}

fn target(tunnel: &TunnelState) -> String {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    format!("{}/{}", name(&tunnel.backend), name(&tunnel.server))
}

fn path(tunnel: &TunnelState) -> String {
    match tunnel.path_in == tunnel.path_out {
        true => tunnel.path_in.clone(),
        false => format!("{} {}", tunnel.path_in, tunnel.path_out),
    }
}

const HEALTH: &[Column] = &[
    Column::right("AGO", 7, 0),
    Column::grown("SERVER", 16, 0),
    Column::left("STATE", 7, 0),
    Column::grown("WHY", 6, 1),
];

fn health(now: &Overview) -> Table {
    let changes = now.changes.iter().enumerate();
    let rows = changes.map(|(at, change)| {
        let server = format!("{}/{}", change.backend, change.server);
        // Changes of the same moment are distinguished by the number of earlier ones.
        let from_end = now.changes.len() - at;
        Row {
            key: format!("{} {server} {} {from_end}", change.time_ms, change.state),
            cells: vec![
                age(now, change.time_ms),
                Cell::text(&server),
                Cell::text(&change.state).toned(standing(&change.state)),
                Cell::text(&change.why),
            ],
            subject: Some(server),
        }
    });
    Table {
        columns: HEALTH,
        rows: rows.collect(),
        empty: "nothing has changed with a server",
        note: None,
    }
}

const CAUSES: &[Column] = &[
    Column::grown("CAUSE", 18, 0),
    Column::right("SEEN", 12, 0),
    Column::right("NOW", 10, 0),
];

fn causes(watched: &Watched) -> Table {
    let causes = watched.now.status.causes.iter();
    let row = |(cause, seen): (&String, &u64)| {
        let rate = watched.rate_of(|it| it.status.causes.get(cause).copied().unwrap_or(0));
        Row {
            key: cause.clone(),
            subject: None,
            cells: vec![Cell::text(cause), Cell::count(*seen), Cell::rate(rate)],
        }
    };
    Table {
        columns: CAUSES,
        rows: causes.map(row).collect(),
        empty: "nothing has ended yet",
        note: None,
    }
}

const LISTENERS: &[Column] = &[
    Column::grown("LISTENER", 10, 0),
    Column::left("MODE", 4, 1),
    Column::left("TLS", 3, 2),
    Column::right("ACCEPTED", 9, 0),
    Column::right("OPENED", 9, 4),
    Column::right("REQUESTS", 9, 5),
    Column::right("REFUSED", 9, 0),
    Column::right("IN", 11, 3),
    Column::right("OUT", 11, 3),
    Column::grown("BIND", 12, 6),
];

fn listeners(watched: &Watched) -> Table {
    let rows = watched.now.listeners.iter().map(|it| {
        let pulse = watched.pulse_of(&Share::Listener(it.name.clone()));
        Row {
            key: it.name.clone(),
            subject: None,
            cells: vec![
                Cell::text(&it.name),
                Cell::text(&it.mode),
                Cell::text(if it.tls { "yes" } else { "no" }),
                Cell::rate(pulse.accepted),
                Cell::rate(pulse.opened),
                Cell::rate(pulse.requests),
                Cell::rate(pulse.refused),
                Cell::bytes(pulse.bytes_in),
                Cell::bytes(pulse.bytes_out),
                Cell::text(&it.bind.join(" ")),
            ],
        }
    });
    Table {
        columns: LISTENERS,
        rows: rows.collect(),
        empty: "there is no listener",
        note: None,
    }
}

const PATHS: &[Column] = &[
    Column::grown("WHAT", 12, 0),
    Column::left("WAY", 3, 0),
    Column::right("BYTES", 9, 0),
    Column::right("NOW", 11, 0),
    Column::right("TUNNELS", 8, 1),
];

fn paths(watched: &Watched) -> Table {
    let moved = watched.now.moved.iter().map(|it| {
        let rate = watched.rate_of(|overview| {
            let same = |other: &&crate::admin::overview::Moved| {
                other.direction == it.direction && other.path == it.path
            };
            overview.moved.iter().find(same).map_or(0, |it| it.bytes)
        });
        Row {
            key: format!("moved {} {}", it.path, it.direction),
            subject: None,
            cells: vec![
                Cell::text(&it.path),
                Cell::text(&it.direction),
                bytes(it.bytes),
                Cell::bytes(rate),
                Cell::text(""),
            ],
        }
    });
    let offload = watched.now.offload.iter().map(|it| {
        let tunnels = u64::try_from(it.tunnels).unwrap_or(u64::MAX);
        Row {
            key: format!("records {} {}", it.state, it.direction),
            subject: None,
            cells: vec![
                Cell::text(&format!("TLS records: {}", it.state)),
                Cell::text(&it.direction),
                Cell::text(""),
                Cell::text(""),
                Cell::count(tunnels),
            ],
        }
    });
    Table {
        columns: PATHS,
        rows: moved.chain(offload).collect(),
        empty: "nothing has moved",
        note: None,
    }
}
