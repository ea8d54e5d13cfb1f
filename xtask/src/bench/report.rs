//! From raw rows to medians, ratios and verdicts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::subject::Subject;
use super::work::{Amounts, Metric, Work};

/// One figure of one measurement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// The work.
    pub(super) work: Work,
    /// The round.
    pub(super) round: usize,
    /// The proxy.
    pub(super) subject: Subject,
    /// The metric.
    pub(super) metric: Metric,
    /// The figure.
    pub(super) value: f64,
}

/// What must hold between the subject that is judged and a peer at the same work in the same run: the
/// metric, the peer, and the largest ratio.
type Target = (Metric, Subject, f64);

/// The targets of a work.
const fn targets(work: Work) -> &'static [Target] {
    use Metric::{CpuSecondsPerGb, CpuUs, P99Us};
    use Subject::{Haproxy, HaproxySplice, Longsplice, Nginx, NginxSmallBuffers, SpliceLoop};
    match work {
        Work::Handshakes { .. } => &[(CpuUs, Haproxy, 0.90), (CpuUs, Nginx, 1.00)],
        Work::Trips { tls: true, .. } => &[(CpuUs, Haproxy, 0.75), (CpuUs, Nginx, 0.75)],
        Work::TlsBulk { .. } => &[
            (CpuSecondsPerGb, Haproxy, 0.80),
            (CpuSecondsPerGb, Nginx, 0.80),
        ],
        Work::Trips {
            tunnels: ..1000, ..
        } => &[
            (CpuUs, Haproxy, 0.90),
            (CpuUs, HaproxySplice, 0.90),
            (CpuUs, Nginx, 0.95),
            (P99Us, Haproxy, 1.00),
            (P99Us, Nginx, 1.00),
        ],
        Work::Trips { .. } => &[
            (CpuUs, Haproxy, 0.70),
            (CpuUs, HaproxySplice, 0.70),
            (CpuUs, Nginx, 0.75),
            (P99Us, Haproxy, 1.00),
            (P99Us, Nginx, 1.00),
        ],
        Work::Bulk => &[
            (CpuSecondsPerGb, HaproxySplice, 0.35),
            (CpuSecondsPerGb, Nginx, 0.25),
            (CpuSecondsPerGb, NginxSmallBuffers, 0.25),
            (CpuSecondsPerGb, SpliceLoop, 0.90),
        ],
        Work::Short => &[(CpuUs, Haproxy, 1.00), (CpuUs, Nginx, 1.05)],
        Work::Upgrade => &[(CpuUs, Haproxy, 0.90), (CpuUs, Nginx, 1.05)],
        Work::Requests { .. } => &[(CpuUs, Haproxy, 1.00)],
        Work::Quiet { .. } | Work::Flood { .. } => &[(P99Us, Haproxy, 1.00), (P99Us, Nginx, 1.00)],
        Work::Observed { upgrade: false } => &[(CpuUs, Longsplice, 1.02)],
        // The additional cost of an opening is shown and not judged: it includes its log lines.
        Work::Observed { upgrade: true } => &[(CpuUs, Longsplice, f64::INFINITY)],
        Work::Idle { .. } | Work::Stalled => &[],
    }
}

/// The subjects whose figures are judged.
const fn judged(work: Work) -> Subject {
    match work {
        Work::Observed { .. } => Subject::LongspliceObserved,
        Work::Trips { .. }
        | Work::Bulk
        | Work::TlsBulk { .. }
        | Work::Short
        | Work::Handshakes { .. }
        | Work::Upgrade
        | Work::Requests { .. }
        | Work::Quiet { .. }
        | Work::Flood { .. }
        | Work::Idle { .. }
        | Work::Stalled => Subject::Longsplice,
    }
}

/// The absolute limit of a work, where there is one.
const fn limit(work: Work) -> Option<(Metric, f64)> {
    match work {
        Work::Idle { tls: false } => Some((Metric::ResidentBytes, 300.0)),
        Work::Idle { tls: true } => Some((Metric::ResidentBytes, 2000.0)),
        Work::Stalled => Some((Metric::KernelBytes, 2.0 * 1024.0 * 1024.0)),
        Work::Trips { .. }
        | Work::Bulk
        | Work::TlsBulk { .. }
        | Work::Short
        | Work::Handshakes { .. }
        | Work::Upgrade
        | Work::Requests { .. }
        | Work::Quiet { .. }
        | Work::Flood { .. }
        | Work::Observed { .. } => None,
    }
}

/// How much longer a message may take than at another work: that work, and the largest ratio.
const fn beside(work: Work) -> Option<(Work, f64)> {
    match work {
        Work::Flood { tls: true } => Some((Work::Quiet { tls: true }, 2.0)),
        Work::Flood { tls: false }
        | Work::Trips { .. }
        | Work::Bulk
        | Work::TlsBulk { .. }
        | Work::Short
        | Work::Handshakes { .. }
        | Work::Upgrade
        | Work::Requests { .. }
        | Work::Quiet { .. }
        | Work::Idle { .. }
        | Work::Stalled
        | Work::Observed { .. } => None,
    }
}

/// Writes the tables as Markdown: medians over the rounds, and ratios of the same round.
pub(super) fn tables(rows: &[Row], amounts: &Amounts) -> String {
    let mut text = String::new();
    for work in Work::ALL {
        let of_work: Vec<&Row> = rows.iter().filter(|row| row.work == work).collect();
        if !of_work.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "\n### {}: {}\n",
                work.name(),
                work.description(amounts)
            );
            medians(&mut text, work, &of_work);
            verdicts(&mut text, work, &of_work);
            comparisons(&mut text, work, rows);
        }
    }
    text
}

fn medians(text: &mut String, work: Work, rows: &[&Row]) {
    let mut metrics: Vec<Metric> = rows.iter().map(|row| row.metric).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let names: Vec<&str> = metrics.iter().map(|metric| metric.name()).collect();
    let _ = writeln!(text, "| | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(metrics.len()));
    for &subject in work.subjects() {
        let cells: Vec<String> = metrics
            .iter()
            .map(|&metric| match median(values(rows, subject, metric)) {
                Some(value) => number(value),
                None => "-".to_owned(),
            })
            .collect();
        let _ = writeln!(text, "| {} | {} |", subject.name(), cells.join(" | "));
    }
    text.push('\n');
}

fn verdicts(text: &mut String, work: Work, rows: &[&Row]) {
    let subject = judged(work);
    for &(metric, peer, ratio_max) in targets(work) {
        let Some(ratio) = median(ratios(rows, metric, subject, peer)) else {
            continue;
        };
        let verdict = match ratio_max {
            f64::INFINITY => String::new(),
            _ if ratio <= ratio_max => format!(", at most {ratio_max:.2}: met"),
            _ => format!(", at most {ratio_max:.2}: MISSED"),
        };
        let (metric, subject) = (metric.name(), subject.name());
        let peer = peer.name();
        let _ = writeln!(text, "- {metric} {subject} / {peer}: {ratio:.2}{verdict}");
    }
    if let Some((metric, value_max)) = limit(work)
        && let Some(value) = median(values(rows, Subject::Longsplice, metric))
    {
        let verdict = if value <= value_max { "met" } else { "MISSED" };
        let (value, value_max) = (number(value), number(value_max));
        let _ = writeln!(
            text,
            "- {} {value}, at most {value_max}: {verdict}",
            metric.name()
        );
    }
}

/// The 99th percentile over that of another work, each proxy with itself; a target for longsplice.
fn comparisons(text: &mut String, work: Work, rows: &[Row]) {
    let Some((other, ratio_max)) = beside(work) else {
        return;
    };
    let p99 = |work, subject, round| {
        let found = rows.iter().find(|row| {
            (row.work, row.subject, row.round, row.metric) == (work, subject, round, Metric::P99Us)
        });
        found.map(|row| row.value)
    };
    for &subject in work.subjects() {
        let rounds = rows.iter().map(|row| row.round).max().unwrap_or_default();
        let ratios = (0..=rounds).filter_map(|round| {
            let (ours, theirs) = (p99(work, subject, round)?, p99(other, subject, round)?);
            Some(ours / theirs)
        });
        let Some(ratio) = median(ratios.collect()) else {
            continue;
        };
        let verdict = match subject {
            Subject::Longsplice if ratio <= ratio_max => format!(", at most {ratio_max:.2}: met"),
            Subject::Longsplice => format!(", at most {ratio_max:.2}: MISSED"),
            Subject::Haproxy
            | Subject::LongspliceObserved
            | Subject::HaproxySplice
            | Subject::Nginx
            | Subject::NginxSmallBuffers
            | Subject::SpliceLoop => String::new(),
        };
        let _ = writeln!(
            text,
            "- p99_us {} / {} of {}: {ratio:.2}{verdict}",
            work.name(),
            other.name(),
            subject.name()
        );
    }
}

fn values(rows: &[&Row], subject: Subject, metric: Metric) -> Vec<f64> {
    let matching = rows
        .iter()
        .filter(|row| row.subject == subject && row.metric == metric);
    matching.map(|row| row.value).collect()
}

/// A subject over a peer, round by round, so that what disturbed a round disturbs both.
fn ratios(rows: &[&Row], metric: Metric, subject: Subject, peer: Subject) -> Vec<f64> {
    let of = |subject| move |row: &&&Row| row.subject == subject && row.metric == metric;
    rows.iter()
        .filter(of(subject))
        .filter_map(|ours| {
            let theirs = rows
                .iter()
                .filter(of(peer))
                .find(|row| row.round == ours.round)?;
            Some(ours.value / theirs.value)
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

fn number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Writes the raw rows as CSV, below comment lines that say where they come from.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn save(path: &Path, remarks: &[String], rows: &[Row]) -> Result<()> {
    let mut text = String::new();
    for remark in remarks {
        let _ = writeln!(text, "# {remark}");
    }
    text.push_str("work,round,subject,metric,value\n");
    for Row {
        work,
        round,
        subject,
        metric,
        value,
    } in rows
    {
        let (work, subject, metric) = (work.name(), subject.name(), metric.name());
        let _ = writeln!(text, "{work},{round},{subject},{metric},{value:.4}");
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(round: usize, subject: Subject, value: f64) -> Row {
        Row {
            work: Work::Short,
            round,
            subject,
            metric: Metric::CpuUs,
            value,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rows = [
            row(0, Subject::Longsplice, 10.0),
            row(0, Subject::Nginx, 20.0),
            row(1, Subject::Nginx, 40.0),
            row(1, Subject::Longsplice, 30.0),
            row(2, Subject::Longsplice, 1.0),
        ];
        let rows: Vec<&Row> = rows.iter().collect();
        let ratios = |metric, ours, theirs| ratios(&rows, metric, ours, theirs);
        let (ours, theirs) = (Subject::Longsplice, Subject::Nginx);
        assert_eq!(ratios(Metric::CpuUs, ours, theirs), [0.5, 0.75]);
        assert_eq!(ratios(Metric::CpuUs, theirs, ours)[0].to_string(), "2");
        assert_eq!(ratios(Metric::P99Us, ours, theirs), [0.0; 0]);
    }

    #[test]
    fn medians_of_few_values() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
    }
}
