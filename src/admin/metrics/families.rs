//! The metric families: each is declared once, in the order of the page.
//!
//! The page of a scrape and that of the manual come from the table. No state is kept here.

use std::collections::BTreeMap;
use std::fmt;

use super::super::state::{BackendState, ServerState};
use super::page::{Kind, Rows};
use super::scrape::{Scrape, Thread, WAYS};
use crate::journal::counts::{Count, Names, Stage, Sum, Way};
use crate::journal::{Cause, Offloaded};

/// One metric family.
pub(super) struct Family {
    /// The name without `longsplice_` in front and `_total` at the end.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: Kind,
    /// The labels of each row, in their order.
    pub(super) labels: &'static [&'static str],
    /// The HELP line.
    pub(super) help: &'static str,
    /// Further text of the manual, in Markdown; may be empty.
    pub(super) detail: &'static str,
    /// Adds its rows.
    pub(super) collect: fn(&Scrape, &mut Rows<'_>) -> fmt::Result,
}

const NAMES: &[&str] = &["listener", "backend", "server"];
const NAMES_CAUSE: &[&str] = &["listener", "backend", "server", "cause"];
const NAMES_DIRECTION: &[&str] = &["listener", "backend", "server", "direction"];

/// Every family, in the order of the page.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "build",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1, with the version as label",
        detail: "",
        collect: |it, rows| rows.add(&[&it.status.version], 1),
    },
    Family {
        name: "start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Start of the process, in seconds since 1970",
        detail: "",
        collect: |it, rows| rows.add_real(it.started_s),
    },
    Family {
        name: "draining",
        kind: Kind::Gauge,
        labels: &[],
        help: "Whether the process was told to stop",
        detail: "1 from the beginning of a drain on, 0 before.",
        collect: |it, rows| {
            let is_draining = it.status.phase == "draining";
            rows.add_real(if is_draining { 1.0 } else { 0.0 })
        },
    },
    Family {
        name: "connections",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open client connections, tunnels included",
        detail: "",
        collect: |it, rows| rows.add(&[], it.status.connections as u64),
    },
    Family {
        name: "connections_max",
        kind: Kind::Gauge,
        labels: &[],
        help: "The configured server.max_connections",
        detail: "",
        collect: |it, rows| rows.add(&[], it.status.max_connections as u64),
    },
    Family {
        name: "log_queue_length",
        kind: Kind::Gauge,
        labels: &[],
        help: "Log entries waiting to be written",
        detail: "",
        collect: |it, rows| rows.add(&[], it.log_waiting as u64),
    },
    Family {
        name: "log_lines_dropped",
        kind: Kind::Counter,
        labels: &[],
        help: "Log entries dropped because the queue was full",
        detail: "",
        collect: |it, rows| rows.add(&[], it.status.log_lines_dropped),
    },
    Family {
        name: "connections_accepted",
        kind: Kind::Counter,
        labels: &["listener"],
        help: "Client connections accepted",
        detail: "",
        collect: accepted,
    },
    Family {
        name: "tunnels",
        kind: Kind::Gauge,
        labels: NAMES,
        help: "Open tunnels",
        detail: "",
        collect: |it, rows| {
            // The end of a tunnel may be read before its beginning.
            of_tunnels(it, rows, |sum| {
                sum.of(Count::Opened).saturating_sub(sum.ended())
            })
        },
    },
    Family {
        name: "tunnels_opened",
        kind: Kind::Counter,
        labels: NAMES,
        help: "Tunnels opened",
        detail: "",
        collect: |it, rows| of_tunnels(it, rows, |sum| sum.of(Count::Opened)),
    },
    Family {
        name: "tunnels_ended",
        kind: Kind::Counter,
        labels: NAMES_CAUSE,
        help: "Tunnels ended, by cause",
        detail: "",
        collect: |it, rows| by_cause(it, rows, Count::Ended),
    },
    Family {
        name: "requests",
        kind: Kind::Counter,
        labels: NAMES_CAUSE,
        help: "Requests answered that opened no tunnel, by cause",
        detail: "",
        collect: |it, rows| by_cause(it, rows, Count::Requests),
    },
    Family {
        name: "refused",
        kind: Kind::Counter,
        labels: NAMES_CAUSE,
        help: "Connections and requests refused or given up, by cause",
        detail: "Includes probes and idle connections that were closed, which leave no line in the log.",
        collect: |it, rows| by_cause(it, rows, Count::Refused),
    },
    Family {
        name: "tunnel_bytes",
        kind: Kind::Counter,
        labels: NAMES_DIRECTION,
        help: "Bytes through tunnels, open tunnels included",
        detail: "",
        collect: |it, rows| by_way(it, rows, Count::TunnelBytes),
    },
    Family {
        name: "body_bytes",
        kind: Kind::Counter,
        labels: NAMES_DIRECTION,
        help: "Bytes of request and response bodies",
        detail: "",
        collect: |it, rows| by_way(it, rows, Count::BodyBytes),
    },
    Family {
        name: "handshakes",
        kind: Kind::Counter,
        labels: &["listener", "version", "cipher", "resumed"],
        help: "Complete TLS handshakes with clients",
        detail: "",
        collect: handshakes,
    },
    Family {
        name: "offload_tunnels",
        kind: Kind::Gauge,
        labels: &["direction", "state"],
        help: "Open tunnels, by whether the kernel handles their TLS records or why not",
        detail: "The states are the values of `offload_in` and `offload_out` in [access lines](log-fields.md).",
        collect: offload_open,
    },
    Family {
        name: "offload_ended",
        kind: Kind::Counter,
        labels: &["listener", "backend", "server", "direction", "state"],
        help: "Ended tunnels, by whether the kernel handled their TLS records or why not",
        detail: "",
        collect: offload_ended,
    },
    Family {
        name: "queue_length",
        kind: Kind::Gauge,
        labels: &["backend"],
        help: "Requests waiting for a server",
        detail: "",
        collect: |it, rows| of_backends(it, rows, |backend| backend.waiting),
    },
    Family {
        name: "queue_max",
        kind: Kind::Gauge,
        labels: &["backend"],
        help: "The configured max_queue of the backend",
        detail: "",
        collect: |it, rows| of_backends(it, rows, |backend| backend.max_queue),
    },
    Family {
        name: "server_standing",
        kind: Kind::Gauge,
        labels: &["backend", "server", "standing"],
        help: "1 for the present state of the server, 0 for its other states",
        detail: "The states are `up`, `suspect`, `down` and `drained`.",
        collect: standings,
    },
    Family {
        name: "server_active",
        kind: Kind::Gauge,
        labels: &["backend", "server"],
        help: "Requests and tunnels that the server has now",
        detail: "",
        collect: |it, rows| of_servers(it, rows, |server| u64::from(server.active)),
    },
    Family {
        name: "server_share",
        kind: Kind::Gauge,
        labels: &["backend", "server"],
        help: "Present weight of the server",
        detail: "Less than the configured `weight` during a slow start.",
        collect: |it, rows| of_servers(it, rows, |server| u64::from(server.share)),
    },
    Family {
        name: "server_connects",
        kind: Kind::Counter,
        labels: &["backend", "server"],
        help: "Connections opened to the server",
        detail: "",
        collect: |it, rows| of_servers(it, rows, |server| server.connected),
    },
    Family {
        name: "server_connect_failures",
        kind: Kind::Counter,
        labels: &["backend", "server"],
        help: "Connections to the server that could not be opened",
        detail: "",
        collect: |it, rows| of_servers(it, rows, |server| server.refused),
    },
    Family {
        name: "relay_bytes",
        kind: Kind::Counter,
        labels: &["thread", "direction", "path"],
        help: "Bytes through tunnels, by path",
        detail: "The paths are the words of `path_in` in [access lines](log-fields.md): `copy`, `splice`, `user-records`, `kernel-tls`.",
        collect: relay_bytes,
    },
    Family {
        name: "relay_tunnels",
        kind: Kind::Gauge,
        labels: &["thread"],
        help: "Open tunnels of the relay thread",
        detail: "",
        collect: |it, rows| of_threads(it, rows, |thread| thread.tunnels),
    },
    Family {
        name: "pipes_open",
        kind: Kind::Gauge,
        labels: &["thread"],
        help: "Pipes in the pool for splice",
        detail: "",
        collect: |it, rows| of_threads(it, rows, |thread| thread.pipes.0),
    },
    Family {
        name: "pipes_lent",
        kind: Kind::Gauge,
        labels: &["thread"],
        help: "Pipes in use by tunnels",
        detail: "",
        collect: |it, rows| of_threads(it, rows, |thread| thread.pipes.1),
    },
    Family {
        name: "pipes_refused",
        kind: Kind::Counter,
        labels: &["thread"],
        help: "Times a tunnel needed a pipe and none was available",
        detail: "",
        collect: |it, rows| of_threads(it, rows, |thread| thread.pipes_refused),
    },
    Family {
        name: "ring_overflows",
        kind: Kind::Counter,
        labels: &["thread"],
        help: "Waits that found the queue of the ring overflowed; no event is lost",
        detail: "",
        collect: |it, rows| of_threads(it, rows, |thread| thread.overflows),
    },
    Family {
        name: "stage_seconds",
        kind: Kind::Histogram,
        labels: &["listener", "backend", "server", "stage"],
        help: "Duration of each stage of opening a connection or serving a request",
        detail: "The stages are `proxy_header`, `tls_handshake`, `head`, `queue`, `connect` and `response` (to the end of the response head, or to the upgrade).",
        collect: stages,
    },
];

fn values_of(names: &Names) -> [&str; 3] {
    let Names {
        listener,
        backend,
        server,
    } = names;
    let chosen = |name| Option::as_deref(name).unwrap_or("");
    [listener, chosen(backend), chosen(server)]
}

fn accepted(scrape: &Scrape, rows: &mut Rows<'_>) -> fmt::Result {
    let mut accepted: BTreeMap<&str, u64> = BTreeMap::new();
    for (names, sum) in &scrape.sums {
        *accepted.entry(&names.listener).or_default() += sum.of(Count::Accepted);
    }
    accepted
        .into_iter()
        .try_for_each(|(listener, count)| rows.add(&[listener], count))
}

fn of_tunnels(scrape: &Scrape, rows: &mut Rows<'_>, value: fn(&Sum) -> u64) -> fmt::Result {
    let with_tunnels = scrape.sums.iter();
    let mut with_tunnels = with_tunnels.filter(|(_, sum)| sum.of(Count::Opened) > 0);
    with_tunnels.try_for_each(|(names, sum)| rows.add(&values_of(names), value(sum)))
}

fn by_cause(scrape: &Scrape, rows: &mut Rows<'_>, count: fn(Cause) -> Count) -> fmt::Result {
    for (names, sum) in &scrape.sums {
        let [listener, backend, server] = values_of(names);
        for cause in Cause::ALL {
            let value = sum.of(count(*cause));
            if value > 0 {
                rows.add(&[listener, backend, server, cause.as_str()], value)?;
            }
        }
    }
    Ok(())
}

fn by_way(scrape: &Scrape, rows: &mut Rows<'_>, count: fn(Way) -> Count) -> fmt::Result {
    for (names, sum) in &scrape.sums {
        let [listener, backend, server] = values_of(names);
        for (way, word) in WAYS {
            rows.add(&[listener, backend, server, word], sum.of(count(way)))?;
        }
    }
    Ok(())
}

fn handshakes(scrape: &Scrape, rows: &mut Rows<'_>) -> fmt::Result {
    for (names, sum) in &scrape.sums {
        for ((version, cipher, resumed), count) in &sum.handshakes {
            let resumed = if *resumed { "true" } else { "false" };
            rows.add(&[&names.listener, version, cipher, resumed], *count)?;
        }
    }
    Ok(())
}

fn offload_open(scrape: &Scrape, rows: &mut Rows<'_>) -> fmt::Result {
    for ((_, word), counts) in WAYS.into_iter().zip(&scrape.sample.offload) {
        for (state, count) in Offloaded::ALL.into_iter().zip(counts) {
            rows.add(&[word, state.as_str()], *count as u64)?;
        }
    }
    Ok(())
}

fn offload_ended(scrape: &Scrape, rows: &mut Rows<'_>) -> fmt::Result {
    for (names, sum) in &scrape.sums {
        let [listener, backend, server] = values_of(names);
        for (way, word) in WAYS {
            for state in Offloaded::ALL {
                let count = sum.of(Count::Offload(way, state));
                if count > 0 {
                    rows.add(&[listener, backend, server, word, state.as_str()], count)?;
                }
            }
        }
    }
    Ok(())
}

fn of_backends(
    scrape: &Scrape,
    rows: &mut Rows<'_>,
    value: fn(&BackendState) -> usize,
) -> fmt::Result {
    let mut backends = scrape.backends.iter();
    backends.try_for_each(|backend| rows.add(&[&backend.name], value(backend) as u64))
}

fn servers(scrape: &Scrape) -> impl Iterator<Item = (&BackendState, &ServerState)> {
    let backends = scrape.backends.iter();
    backends.flat_map(|backend| backend.servers.iter().map(move |server| (backend, server)))
}

fn standings(scrape: &Scrape, rows: &mut Rows<'_>) -> fmt::Result {
    for (backend, server) in servers(scrape) {
        for standing in ["up", "suspect", "down", "drained"] {
            let value = u64::from(server.standing == standing);
            rows.add(&[&backend.name, &server.name, standing], value)?;
        }
    }
    Ok(())
}

fn of_servers(scrape: &Scrape, rows: &mut Rows<'_>, value: fn(&ServerState) -> u64) -> fmt::Result {
    servers(scrape)
        .try_for_each(|(backend, server)| rows.add(&[&backend.name, &server.name], value(server)))
}

fn relay_bytes(scrape: &Scrape, rows: &mut Rows<'_>) -> fmt::Result {
    for thread in &scrape.threads {
        for (direction, path, bytes) in &thread.moved {
            rows.add(&[&thread.number, direction, path], *bytes)?;
        }
    }
    Ok(())
}

fn of_threads(scrape: &Scrape, rows: &mut Rows<'_>, value: fn(&Thread) -> u64) -> fmt::Result {
    let mut threads = scrape.threads.iter();
    threads.try_for_each(|thread| rows.add(&[&thread.number], value(thread)))
}

fn stages(scrape: &Scrape, rows: &mut Rows<'_>) -> fmt::Result {
    for (names, sum) in &scrape.sums {
        let [listener, backend, server] = values_of(names);
        for stage in Stage::ALL {
            let (counts, sum_us) = sum.stage(stage);
            if counts.iter().any(|count| *count > 0) {
                let labels = [listener, backend, server, stage.as_str()];
                rows.add_histogram(&labels, counts, sum_us)?;
            }
        }
    }
    Ok(())
}
