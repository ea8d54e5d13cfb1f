//! `/metrics`: everything that is counted, in the text format of Prometheus.
//!
//! Nothing is kept here: a scrape reads the counters of the threads and writes them down. Names of
//! listeners, backends and servers are those of the configuration; what was not chosen is empty.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::sample::{Sample, Sampler};
use super::state::{BackendState, Sources, Status};
use crate::journal::tally::{BOUNDS_US, Count, Names, Stage, Sum, Way};
use crate::journal::{Cause, Offloaded};
use crate::relay::stats::Means;

/// What the answer is.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

const WAYS: [(Way, &str); 2] = [(Way::In, "in"), (Way::Out, "out")];

/// Writes everything down.
///
/// # Errors
/// None that anybody has seen: the text is written into memory.
pub async fn text(sampler: &Sampler) -> Result<String, fmt::Error> {
    // First what moves open tunnels into the counters.
    let sample = sampler.sample().await;
    let sources = sampler.sources();
    let scrape = Scrape {
        status: sources.status(),
        backends: sources.backends(),
        sums: sources.counts.tally().read(),
        threads: threads_of(sources, &sample),
        log_waiting: sources.counts.waiting(),
        sample,
        started_s: since_1970_s(sources),
    };
    page_of(scrape)
}

fn page_of(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("longsplice");
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

fn since_1970_s(sources: &Sources) -> f64 {
    let since = sources.started.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// What a relay thread says of itself.
#[derive(Debug)]
struct Thread {
    number: String,
    tunnels: u64,
    moved: Vec<(&'static str, &'static str, u64)>,
    pipes: (u64, u64),
    pipes_refused: u64,
    overflows: u64,
}

fn threads_of(sources: &Sources, sample: &Sample) -> Vec<Thread> {
    let seen = sample.pipes.iter().zip(&sample.overflows);
    let threads = sources.relays.iter().zip(seen).enumerate();
    let thread = threads.map(|(number, (relay, ((open, lent), overflows)))| Thread {
        number: number.to_string(),
        tunnels: relay.alive() as u64,
        moved: WAYS
            .into_iter()
            .flat_map(|(way, word)| {
                let stats = relay.stats();
                Means::ALL.map(|means| {
                    let moved = stats.moved(way == Way::Out, means);
                    (word, means.as_str(), moved)
                })
            })
            .collect(),
        pipes: (*open as u64, *lent as u64),
        pipes_refused: relay.stats().pipes_refused(),
        overflows: *overflows,
    });
    thread.collect()
}

/// One scrape.
#[derive(Debug)]
struct Scrape {
    status: Status,
    backends: Vec<BackendState>,
    sums: BTreeMap<Names, Sum>,
    threads: Vec<Thread>,
    sample: Arc<Sample>,
    log_waiting: usize,
    started_s: f64,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        self.connections(&mut page)?;
        self.bytes(&mut page)?;
        self.tls(&mut page)?;
        self.backends(&mut page)?;
        self.threads(&mut page)?;
        self.stages(&mut page)
    }
}

impl Scrape {
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let status = &self.status;
        let version = [("version", status.version.as_str())];
        page.gauges(
            "build",
            "Always 1; the version is the label",
            [(&version[..], 1)],
        )?;
        page.gauge(
            "start_time_seconds",
            "When the process started, in seconds since 1970",
            self.started_s,
        )?;
        let draining = if status.phase == "draining" { 1.0 } else { 0.0 };
        page.gauge("draining", "Whether the process was told to stop", draining)?;
        let none: &[(&str, &str)] = &[];
        page.gauges(
            "connections",
            "Client connections now, tunnels among them",
            [(none, status.connections as u64)],
        )?;
        page.gauges(
            "connections_max",
            "server.max_connections",
            [(none, status.max_connections as u64)],
        )?;
        page.gauges(
            "log_queue_length",
            "Entries that wait to be written to the log",
            [(none, self.log_waiting as u64)],
        )?;
        page.counters(
            "log_lines_dropped",
            "Entries that found the queue of the log full",
            [(none, status.log_lines_dropped)],
        )
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut accepted: BTreeMap<&str, u64> = BTreeMap::new();
        for (names, sum) in &self.sums {
            *accepted.entry(&names.listener).or_default() += sum.of(Count::Accepted);
        }
        let accepted: Vec<_> = accepted
            .into_iter()
            .map(|(listener, count)| ([("listener", listener)], count))
            .collect();
        page.counters(
            "connections_accepted",
            "Connections of clients that were accepted",
            accepted.iter().map(|(labels, count)| (&labels[..], *count)),
        )?;
        page.by_names(
            &self.sums,
            "tunnels",
            "Open tunnels",
            MetricType::Gauge,
            |sum| {
                // An end may be counted before its beginning was read.
                sum.of(Count::Opened).saturating_sub(sum.ended())
            },
        )?;
        page.by_names(
            &self.sums,
            "tunnels_opened",
            "Tunnels that were opened",
            MetricType::Counter,
            |sum| sum.of(Count::Opened),
        )?;
        page.by_cause(
            &self.sums,
            "tunnels_ended",
            "Tunnels that ended",
            Count::Ended,
        )?;
        page.by_cause(
            &self.sums,
            "requests",
            "Requests that were answered and are no tunnels",
            Count::Requests,
        )?;
        page.by_cause(
            &self.sums,
            "refused",
            "Connections and requests that were refused or came to nothing",
            Count::Refused,
        )
    }

    fn bytes(&self, page: &mut Page<'_>) -> fmt::Result {
        type Of = fn(Way) -> Count;
        let families: [(&str, &str, Of); 2] = [
            (
                "tunnel_bytes",
                "Bytes through tunnels, open ones too",
                Count::TunnelBytes,
            ),
            (
                "body_bytes",
                "Bytes of bodies of requests and answers",
                Count::BodyBytes,
            ),
        ];
        for (name, help, count) in families {
            let rows = self.sums.iter().flat_map(|(names, sum)| {
                WAYS.map(|(way, word)| (with(names, &[("direction", word)]), sum.of(count(way))))
            });
            page.rows(name, help, MetricType::Counter, rows)?;
        }
        Ok(())
    }

    fn tls(&self, page: &mut Page<'_>) -> fmt::Result {
        let rows = self.sums.iter().flat_map(|(names, sum)| {
            let listener = ("listener", names.listener.to_string());
            sum.handshakes
                .iter()
                .map(move |((version, cipher, resumed), count)| {
                    let labels = vec![
                        listener.clone(),
                        ("version", (*version).to_owned()),
                        ("cipher", (*cipher).to_owned()),
                        ("resumed", resumed.to_string()),
                    ];
                    (labels, *count)
                })
        });
        page.rows(
            "handshakes",
            "TLS handshakes that were complete",
            MetricType::Counter,
            rows,
        )?;
        let open = WAYS.into_iter().zip(&self.sample.offload);
        let rows = open.flat_map(|((_, word), counts)| {
            Offloaded::ALL
                .into_iter()
                .zip(counts)
                .map(move |(state, count)| {
                    (
                        labels(&[("direction", word), ("state", state.as_str())]),
                        *count as u64,
                    )
                })
        });
        page.rows(
            "offload_tunnels",
            "Open tunnels by whether the kernel has their TLS records, or why not",
            MetricType::Gauge,
            rows,
        )?;
        let rows = self.sums.iter().flat_map(|(names, sum)| {
            WAYS.into_iter().flat_map(move |(way, word)| {
                Offloaded::ALL.map(|state| {
                    let more = [("direction", word), ("state", state.as_str())];
                    (with(names, &more), sum.of(Count::Offload(way, state)))
                })
            })
        });
        page.rows(
            "offload_ended",
            "Ended tunnels by whether the kernel had their TLS records, or why not",
            MetricType::Counter,
            rows.filter(|(_, count)| *count > 0),
        )
    }

    fn backends(&self, page: &mut Page<'_>) -> fmt::Result {
        let of_backend = |name: &str| labels(&[("backend", name)]);
        let rows = self.backends.iter();
        page.rows(
            "queue_length",
            "Requests that wait for a place at a server",
            MetricType::Gauge,
            rows.clone()
                .map(|it| (of_backend(&it.name), it.waiting as u64)),
        )?;
        page.rows(
            "queue_max",
            "max_queue",
            MetricType::Gauge,
            rows.map(|it| (of_backend(&it.name), it.max_queue as u64)),
        )?;
        let standings = ["up", "suspect", "down", "drained"];
        let servers = || {
            let each = self.backends.iter();
            each.flat_map(|backend| backend.servers.iter().map(move |server| (backend, server)))
        };
        let rows = servers().flat_map(|(backend, server)| {
            standings.map(|standing| {
                let more = [
                    ("backend", backend.name.as_str()),
                    ("server", server.name.as_str()),
                    ("standing", standing),
                ];
                (labels(&more), u64::from(server.standing == standing))
            })
        });
        page.rows(
            "server_standing",
            "1 for how the server stands, 0 for the rest",
            MetricType::Gauge,
            rows,
        )?;
        type Value = fn(&super::state::ServerState) -> u64;
        let families: [(&str, &str, MetricType, Value); 4] = [
            (
                "server_active",
                "Requests and tunnels now",
                MetricType::Gauge,
                |it| u64::from(it.active),
            ),
            (
                "server_share",
                "Its weight at this moment",
                MetricType::Gauge,
                |it| u64::from(it.share),
            ),
            (
                "server_connects",
                "Connections to it that were opened",
                MetricType::Counter,
                |it| it.connected,
            ),
            (
                "server_connect_failures",
                "Connections to it that could not be opened",
                MetricType::Counter,
                |it| it.refused,
            ),
        ];
        for (name, help, kind, value) in families {
            let rows = servers().map(|(backend, server)| {
                let names = [
                    ("backend", backend.name.as_str()),
                    ("server", server.name.as_str()),
                ];
                (labels(&names), value(server))
            });
            page.rows(name, help, kind, rows)?;
        }
        Ok(())
    }

    fn threads(&self, page: &mut Page<'_>) -> fmt::Result {
        let rows = self.threads.iter().flat_map(|thread| {
            thread.moved.iter().map(|(direction, path, bytes)| {
                let more = [
                    ("thread", thread.number.as_str()),
                    ("direction", direction),
                    ("path", path),
                ];
                (labels(&more), *bytes)
            })
        });
        page.rows(
            "relay_bytes",
            "Bytes through tunnels by how they went",
            MetricType::Counter,
            rows,
        )?;
        type Value = fn(&Thread) -> u64;
        let families: [(&str, &str, MetricType, Value); 5] = [
            (
                "relay_tunnels",
                "Open tunnels of the thread",
                MetricType::Gauge,
                |it| it.tunnels,
            ),
            (
                "pipes_open",
                "Pipes of the pool for splice",
                MetricType::Gauge,
                |it| it.pipes.0,
            ),
            (
                "pipes_lent",
                "Pipes that tunnels have now",
                MetricType::Gauge,
                |it| it.pipes.1,
            ),
            (
                "pipes_refused",
                "Times a pipe was wanted and none could be had",
                MetricType::Counter,
                |it| it.pipes_refused,
            ),
            (
                "ring_overflows",
                "Waits that found the queue of the ring overflowed; nothing is lost by it",
                MetricType::Counter,
                |it| it.overflows,
            ),
        ];
        for (name, help, kind, value) in families {
            let rows = self.threads.iter();
            let rows = rows.map(|it| (labels(&[("thread", &it.number)]), value(it)));
            page.rows(name, help, kind, rows)?;
        }
        Ok(())
    }

    fn stages(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "How long the parts of the opening of connections took";
        let mut family =
            page.0
                .encode_descriptor("stage_seconds", help, None, MetricType::Histogram)?;
        for (names, sum) in &self.sums {
            for stage in Stage::ALL {
                let (counts, sum_us) = sum.stage(stage);
                let total: u64 = counts.iter().sum();
                if total == 0 {
                    continue;
                }
                let bounds = BOUNDS_US
                    .iter()
                    .map(|us| seconds(*us))
                    .chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
                let labels = with(names, &[("stage", stage.as_str())]);
                let mut row = family.encode_family(&labels)?;
                row.encode_histogram::<NoLabelSet>(seconds(sum_us), total, &buckets, None)?;
            }
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact for 285 years of microseconds"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

type Labels = Vec<(&'static str, String)>;

fn labels(pairs: &[(&'static str, &str)]) -> Labels {
    let owned = pairs.iter().map(|(key, value)| (*key, (*value).to_owned()));
    owned.collect()
}

fn with(names: &Names, more: &[(&'static str, &str)]) -> Labels {
    let mut all = labels(&[
        ("listener", &names.listener),
        ("backend", names.backend.as_deref().unwrap_or("")),
        ("server", names.server.as_deref().unwrap_or("")),
    ]);
    all.extend(labels(more));
    all
}

/// The text as far as it is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        family.encode_gauge(&value)
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (&'l [(&'static str, &'l str)], u64)>,
    ) -> fmt::Result {
        let rows = rows
            .into_iter()
            .map(|(pairs, value)| (labels(pairs), value));
        self.rows(name, help, MetricType::Gauge, rows)
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (&'l [(&'static str, &'l str)], u64)>,
    ) -> fmt::Result {
        let rows = rows
            .into_iter()
            .map(|(pairs, value)| (labels(pairs), value));
        self.rows(name, help, MetricType::Counter, rows)
    }

    fn by_names(
        &mut self,
        sums: &BTreeMap<Names, Sum>,
        name: &str,
        help: &str,
        kind: MetricType,
        value: impl Fn(&Sum) -> u64,
    ) -> fmt::Result {
        let rows = sums.iter().filter(|(_, sum)| sum.of(Count::Opened) > 0);
        self.rows(
            name,
            help,
            kind,
            rows.map(|(names, sum)| (with(names, &[]), value(sum))),
        )
    }

    fn by_cause(
        &mut self,
        sums: &BTreeMap<Names, Sum>,
        name: &str,
        help: &str,
        count: fn(Cause) -> Count,
    ) -> fmt::Result {
        let rows = sums.iter().flat_map(|(names, sum)| {
            Cause::ALL.iter().filter_map(move |cause| {
                let value = sum.of(count(*cause));
                let more = [("cause", cause.as_str())];
                (value > 0).then(|| (with(names, &more), value))
            })
        });
        self.rows(name, help, MetricType::Counter, rows)
    }

    fn rows(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in rows {
            let mut row = family.encode_family(&labels)?;
            if matches!(kind, MetricType::Counter) {
                row.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            } else {
                row.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
