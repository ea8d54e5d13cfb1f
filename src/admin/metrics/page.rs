//! The rows of a family, in the text format of Prometheus.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::journal::counts::BOUNDS_US;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows; its name on the page ends in `_total`.
    Counter,
    /// A value of this moment.
    Gauge,
    /// Counts by duration.
    Histogram,
}

impl Kind {
    /// Returns the word of TYPE lines.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    fn encoded(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
        }
    }
}

/// Writes the rows of one family.
pub(super) struct Rows<'a> {
    encoder: MetricEncoder<'a>,
    kind: Kind,
    labels: &'static [&'static str],
}

impl<'a> Rows<'a> {
    /// Begins a family with its HELP and TYPE lines.
    pub(super) fn begin(
        page: &'a mut DescriptorEncoder<'_>,
        (name, help): (&'static str, &'static str),
        kind: Kind,
        labels: &'static [&'static str],
    ) -> Result<Self, fmt::Error> {
        Ok(Self {
            encoder: page.encode_descriptor(name, help, None, kind.encoded())?,
            kind,
            labels,
        })
    }

    /// Adds a row with a value for each label of the family.
    pub(super) fn add(&mut self, values: &[&str], value: u64) -> fmt::Result {
        let labels = self.labelled(values);
        let mut row = self.encoder.encode_family(&labels)?;
        match self.kind {
            Kind::Counter => row.encode_counter::<NoLabelSet, _, u64>(&value, None),
            Kind::Gauge | Kind::Histogram => row.encode_gauge(&value),
        }
    }

    /// Adds the only row of a gauge without labels.
    pub(super) fn add_real(&mut self, value: f64) -> fmt::Result {
        self.encoder.encode_gauge(&value)
    }

    /// Adds a histogram of counts by bucket, whose durations have this sum in microseconds.
    pub(super) fn add_histogram(
        &mut self,
        values: &[&str],
        counts: &[u64],
        sum_us: u64,
    ) -> fmt::Result {
        let labels = self.labelled(values);
        let bounds = BOUNDS_US.iter().map(|us| seconds(*us));
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        let mut row = self.encoder.encode_family(&labels)?;
        let total = counts.iter().sum();
        row.encode_histogram::<NoLabelSet>(seconds(sum_us), total, &buckets, None)
    }

    fn labelled<'v>(&self, values: &[&'v str]) -> Vec<(&'static str, &'v str)> {
        assert_eq!(values.len(), self.labels.len(), "{:?}", self.labels);
        let labels = self.labels.iter().copied();
        labels.zip(values.iter().copied()).collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact for 285 years of microseconds"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
